#include "wire/recovery_info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"

/* Ours start with 64, so that the foreign format (1) and ours refuse each other by name. */
enum { RECOVERY_INFO_V1 = 64, FLAG_OBJECT = 1, FLAG_CHECKSUM = 2, FLAGS = 3 };
enum { FRAGMENT_HAS_CTR = 1, RAW_BYTES_MAX = 4 * 1048576 };

static int check(const struct recovery_info *info, struct err *e)
{
    uint32_t per_chunk = info->scheme.k + info->scheme.m;

    if (info->name.len > MANIFEST_NAME_BYTES_MAX || info->object_id.len == 0 ||
        info->object_id.len > MANIFEST_OBJECT_ID_BYTES_MAX ||
        info->preset.len > MANIFEST_PRESET_BYTES_MAX) {
        return err_set(e, -EINVAL, "name, object id or preset name too long");
    }
    if (manifest_scheme_check(&info->scheme, e) != 0) {
        return e->code;
    }
    if (info->has_object && (info->chunk_count > MANIFEST_FRAGMENTS_MAX / per_chunk ||
                             info->chunk >= info->chunk_count ||
                             info->all_chunk_bytes[info->chunk] != info->chunk_bytes)) {
        return err_set(e, -EINVAL, "chunk %" PRIu32 " of %" PRIu32, info->chunk, info->chunk_count);
    }
    if (info->chunk_bytes > INT32_MAX || info->chunk_bytes % info->scheme.k != 0) {
        return err_set(e, -EINVAL, "chunk of %" PRIu32 " bytes", info->chunk_bytes);
    }
    return 0;
}

static void put_fragments(struct buf *b, const struct recovery_info *info)
{
    for (uint32_t i = 0; i < info->scheme.k + info->scheme.m; i++) {
        const struct recovery_fragment *f = &info->fragments[i];

        buf_put_u8(b, f->has_ctr ? FRAGMENT_HAS_CTR : 0);
        buf_put_u32le(b, f->packed_bytes);
        checksum_put(b, &f->checksum);
        if (f->has_ctr) {
            buf_put(b, f->ctr, sizeof(f->ctr));
        }
    }
}

static void put_body(struct buf *b, const struct recovery_info *info)
{
    unsigned flags =
        (info->has_object ? FLAG_OBJECT : 0U) | (info->has_checksum ? FLAG_CHECKSUM : 0U);

    buf_put_u8(b, (uint8_t)flags);
    llio_put_small(b, info->name);
    llio_put_small(b, info->object_id);
    manifest_scheme_put(b, &info->scheme);
    llio_put_small(b, info->preset);
    llio_put_i64(b, info->preset_version);
    llio_put_i64(b, info->timestamp_us);
    buf_put_u64le(b, info->gc_epoch);
    buf_put_u32le(b, info->chunk);
    buf_put_u32le(b, info->chunk_bytes);
    put_fragments(b, info);
    if (info->has_object) {
        buf_put_u64le(b, info->size_bytes);
        llio_put_varint(b, info->chunk_count);
        for (uint32_t i = 0; i < info->chunk_count; i++) {
            llio_put_varint(b, info->all_chunk_bytes[i]);
        }
    }
    if (info->has_checksum) {
        checksum_put(b, &info->checksum);
    }
}

int recovery_info_encode(const struct recovery_info *info, struct buf *b, struct err *e)
{
    size_t start = b->len;
    struct buf raw = {0};
    int rc = check(info, e);

    if (rc == 0) {
        put_body(&raw, info);
        buf_put_u8(b, RECOVERY_INFO_V1);
        manifest_seal_put(b, slice_buf(&raw));
        if (raw.len > RAW_BYTES_MAX || b->len - start > RECOVERY_INFO_BYTES_MAX) {
            b->len = start;
            rc = err_set(e, ERR_TOO_LARGE, "%zu bytes", raw.len);
        }
    }
    buf_release(&raw);
    return rc == 0 ? 0 : err_wrap(e, "recovery info");
}

static void get_fragments(struct rd *r, struct recovery_info *info)
{
    uint32_t count = info->scheme.k + info->scheme.m;
    const uint8_t *ctr;

    if (r->bad || info->scheme.k > MANIFEST_K_MAX || info->scheme.m > MANIFEST_M_MAX) {
        rd_fail(r);
        return;
    }
    info->fragments = mem_array(count, sizeof(info->fragments[0]));
    for (uint32_t i = 0; i < count; i++) {
        struct recovery_fragment *f = &info->fragments[i];
        uint8_t flags = rd_u8(r);

        f->has_ctr = flags == FRAGMENT_HAS_CTR;
        f->packed_bytes = rd_u32le(r);
        f->checksum = checksum_get(r);
        ctr = f->has_ctr ? rd_bytes(r, sizeof(f->ctr)) : NULL;
        if (ctr != NULL) {
            memcpy(f->ctr, ctr, sizeof(f->ctr));
        }
        if (flags > FRAGMENT_HAS_CTR || f->packed_bytes > INT32_MAX) {
            rd_fail(r);
        }
    }
}

static void get_object(struct rd *r, struct recovery_info *info)
{
    uint64_t count;

    info->size_bytes = rd_u64le(r);
    count = llio_varint(r);
    if (r->bad || count > rd_left(r) || count > MANIFEST_FRAGMENTS_MAX) {
        rd_fail(r);
        return;
    }
    info->chunk_count = (uint32_t)count;
    info->all_chunk_bytes = mem_array(count, sizeof(info->all_chunk_bytes[0]));
    for (uint32_t i = 0; i < info->chunk_count; i++) {
        uint64_t bytes = llio_varint(r);

        if (bytes > INT32_MAX) {
            rd_fail(r);
            return;
        }
        info->all_chunk_bytes[i] = (uint32_t)bytes;
    }
}

static void get_body(struct rd *r, struct recovery_info *info)
{
    uint8_t flags = rd_u8(r);

    info->name = llio_small(r);
    info->object_id = llio_small(r);
    info->scheme = manifest_scheme_get(r);
    info->preset = llio_small(r);
    info->preset_version = llio_i64(r);
    info->timestamp_us = llio_i64(r);
    info->gc_epoch = rd_u64le(r);
    info->chunk = rd_u32le(r);
    info->chunk_bytes = rd_u32le(r);
    get_fragments(r, info);
    info->has_object = (flags & FLAG_OBJECT) != 0;
    if (info->has_object) {
        get_object(r, info);
    }
    info->has_checksum = (flags & FLAG_CHECKSUM) != 0;
    info->checksum = info->has_checksum ? checksum_get(r) : checksum_none();
    if ((flags & ~FLAGS) != 0) {
        rd_fail(r);
    }
}

int recovery_info_decode(struct slice value, struct recovery_info *ret_info, struct err *e)
{
    struct rd r = rd_of(value.data, value.len);
    struct recovery_info info = {0};
    struct buf raw = {0};
    uint8_t version = rd_u8(&r);
    struct rd body;
    int rc;

    if (r.bad || version != RECOVERY_INFO_V1) {
        return err_set(e, r.bad ? ERR_CORRUPT : ERR_VERSION, "recovery info format %u", version);
    }
    rc = manifest_seal_get(&r, version, RAW_BYTES_MAX, &raw, e);
    if (rc != 0) {
        buf_release(&raw);
        return err_wrap(e, "recovery info");
    }
    body = rd_of(raw.data, raw.len);
    get_body(&body, &info);
    info.body = raw;
    if (body.bad) {
        rc = err_set(e, ERR_CORRUPT, "recovery info body");
    } else if (check(&info, e) != 0) {
        e->code = rc = ERR_CORRUPT;
    }
    if (rc != 0) {
        recovery_info_release(&info);
        return rc;
    }
    *ret_info = info;
    return 0;
}

void recovery_info_release(struct recovery_info *info)
{
    free(info->fragments);
    free(info->all_chunk_bytes);
    buf_release(&info->body);
    *info = (struct recovery_info){0};
}
