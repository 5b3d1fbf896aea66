#include "volumedriver/nbd_option.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

static uint16_t rd_u16be(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 2);

    return (uint16_t)(p != NULL ? p[0] << 8 | p[1] : 0);
}

static void put_u16be(struct buf *b, uint16_t v)
{
    buf_put_u8(b, (uint8_t)(v >> 8));
    buf_put_u8(b, (uint8_t)v);
}

int nbd_option_decode(struct nbd_option *ret_option, const uint8_t *data)
{
    if (get_u64be(data) != NBD_OPTS_MAGIC) {
        return ERR_PROTOCOL;
    }
    ret_option->option = get_u32be(data + 8);
    ret_option->bytes = get_u32be(data + 12);
    return 0;
}

static int check_string(struct slice s)
{
    if (s.len > NBD_STRING_BYTES_MAX) {
        return ERR_TOO_LARGE;
    }
    return s.len != 0 && memchr(s.data, '\0', s.len) != NULL ? -EINVAL : 0;
}

/* 32 bits of length, then the bytes. */
static int rd_string(struct rd *r, struct slice *ret_string)
{
    uint32_t bytes = rd_u32be(r);
    const uint8_t *data = rd_bytes(r, bytes);

    if (r->bad) {
        return -EINVAL;
    }
    *ret_string = slice_of(data, bytes);
    return check_string(*ret_string);
}

int nbd_option_name_decode(struct slice *ret_name, struct slice data)
{
    int rc = check_string(data);

    if (rc == 0) {
        *ret_name = data;
    }
    return rc;
}

int nbd_option_go_decode(struct nbd_option_go *ret_go, struct slice data)
{
    struct nbd_option_go go = {0};
    struct rd r = rd_of(data.data, data.len);
    int rc = rd_string(&r, &go.name);
    uint16_t count;

    if (rc != 0) {
        return rc;
    }
    count = rd_u16be(&r);
    if (r.bad || rd_left(&r) != (size_t)count * 2) {
        return -EINVAL;
    }
    while (count-- > 0) {
        switch (rd_u16be(&r)) {
        case NBD_INFO_NAME:
            go.want_name = true;
            break;
        case NBD_INFO_DESCRIPTION:
            go.want_description = true;
            break;
        case NBD_INFO_BLOCK_SIZE:
            go.want_block_size = true;
            break;
        default: /* the export itself is always told; what we do not know is left out */
            break;
        }
    }
    *ret_go = go;
    return 0;
}

int nbd_option_meta_decode(struct nbd_option_meta *ret_meta, struct slice data, bool listing)
{
    struct nbd_option_meta meta = {0};
    struct rd r = rd_of(data.data, data.len);
    int rc = rd_string(&r, &meta.name);
    uint32_t count;

    if (rc != 0) {
        return rc;
    }
    count = rd_u32be(&r);
    if (r.bad || count > rd_left(&r) / 4) {
        return -EINVAL;
    }
    meta.allocation = listing && count == 0;
    while (count-- > 0) {
        struct slice query;

        rc = rd_string(&r, &query);
        if (rc != 0) {
            return rc;
        }
        if (slice_eq(query, slice_str("base:allocation")) ||
            (listing && slice_eq(query, slice_str("base:")))) {
            meta.allocation = true;
        }
    }
    if (rd_left(&r) != 0) {
        return -EINVAL;
    }
    *ret_meta = meta;
    return 0;
}

static void put_head(struct buf *out, uint32_t option, enum nbd_rep type, size_t bytes)
{
    buf_put_u64be(out, NBD_OPT_REPLY_MAGIC);
    buf_put_u32be(out, option);
    buf_put_u32be(out, type);
    buf_put_u32be(out, (uint32_t)bytes);
}

void nbd_option_reply_put(struct buf *out, uint32_t option, enum nbd_rep type, struct slice data)
{
    put_head(out, option, type, data.len);
    buf_put(out, data.data, data.len);
}

void nbd_option_error_put(struct buf *out, uint32_t option, enum nbd_rep type, const char *text)
{
    nbd_option_reply_put(out, option, type, slice_str(text));
}

void nbd_option_server_put(struct buf *out, uint32_t option, const char *name,
                           const char *description)
{
    struct slice n = slice_str(name);
    struct slice d = slice_str(description != NULL ? description : "");

    put_head(out, option, NBD_REP_SERVER, 4 + n.len + d.len);
    buf_put_u32be(out, (uint32_t)n.len);
    buf_put(out, n.data, n.len);
    buf_put(out, d.data, d.len);
}

void nbd_option_export_put(struct buf *out, uint32_t option, uint64_t size_bytes, uint16_t flags)
{
    put_head(out, option, NBD_REP_INFO, 12);
    put_u16be(out, NBD_INFO_EXPORT);
    buf_put_u64be(out, size_bytes);
    put_u16be(out, flags);
}

void nbd_option_text_put(struct buf *out, uint32_t option, enum nbd_info kind, const char *text)
{
    struct slice t = slice_str(text);

    put_head(out, option, NBD_REP_INFO, 2 + t.len);
    put_u16be(out, (uint16_t)kind);
    buf_put(out, t.data, t.len);
}

void nbd_option_block_size_put(struct buf *out, uint32_t option, uint32_t min_bytes,
                               uint32_t preferred_bytes, uint32_t max_bytes)
{
    put_head(out, option, NBD_REP_INFO, 14);
    put_u16be(out, NBD_INFO_BLOCK_SIZE);
    buf_put_u32be(out, min_bytes);
    buf_put_u32be(out, preferred_bytes);
    buf_put_u32be(out, max_bytes);
}

void nbd_option_context_put(struct buf *out, uint32_t option, uint32_t id, const char *name)
{
    struct slice n = slice_str(name);

    put_head(out, option, NBD_REP_META_CONTEXT, 4 + n.len);
    buf_put_u32be(out, id);
    buf_put(out, n.data, n.len);
}
