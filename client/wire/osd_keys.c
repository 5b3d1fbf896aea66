#include "wire/osd_keys.h"

#include "base/check.h"
#include "base/err.h"
#include "wire/llio.h"

/* Every namespaced key starts: 'p' · int32_be 0 · 'n' · namespace id. */
static const uint8_t namespaces_prefix[] = {'p', 0, 0, 0, 0, 'n'};

static const uint8_t kind_bytes[] = {
    [OSD_KEY_NS_NAME] = 'n',
    [OSD_KEY_FRAGMENT] = 'o',
    [OSD_KEY_RECOVERY] = 'r',
    [OSD_KEY_GC_TAG] = 'g',
};

static void put_fragment(struct buf *b, const struct osd_fragment *f)
{
    llio_put_string(b, f->object_id);
    buf_put_u32le(b, f->chunk);
    buf_put_u32le(b, f->fragment);
    buf_put_u32le(b, f->version);
}

void osd_key_put_all_namespaces(struct buf *b)
{
    buf_put(b, namespaces_prefix, sizeof(namespaces_prefix));
}

void osd_key_put_ns_status(struct buf *b, uint64_t namespace_id)
{
    osd_key_put_all_namespaces(b);
    llio_put_xint_be(b, namespace_id);
}

void osd_key_put_kind_prefix(struct buf *b, uint64_t namespace_id, enum osd_key_kind kind)
{
    CHECK(kind >= OSD_KEY_NS_NAME && kind <= OSD_KEY_GC_TAG);
    osd_key_put_ns_status(b, namespace_id);
    buf_put_u8(b, kind_bytes[kind]);
}

void osd_key_put_ns_name(struct buf *b, uint64_t namespace_id)
{
    osd_key_put_kind_prefix(b, namespace_id, OSD_KEY_NS_NAME);
}

void osd_key_put_fragment(struct buf *b, uint64_t namespace_id, const struct osd_fragment *f)
{
    osd_key_put_kind_prefix(b, namespace_id, OSD_KEY_FRAGMENT);
    put_fragment(b, f);
}

void osd_key_put_recovery(struct buf *b, uint64_t namespace_id, const struct osd_fragment *f)
{
    osd_key_put_kind_prefix(b, namespace_id, OSD_KEY_RECOVERY);
    put_fragment(b, f);
}

void osd_key_put_gc_epoch_prefix(struct buf *b, uint64_t namespace_id, uint64_t gc_epoch)
{
    osd_key_put_kind_prefix(b, namespace_id, OSD_KEY_GC_TAG);
    buf_put_u64be(b, gc_epoch);
}

void osd_key_put_gc_tag(struct buf *b, uint64_t namespace_id, uint64_t gc_epoch,
                        const struct osd_fragment *f)
{
    osd_key_put_gc_epoch_prefix(b, namespace_id, gc_epoch);
    put_fragment(b, f);
}

void osd_key_put_next_msg_id(struct buf *b)
{
    static const uint8_t key[] = {'p', 0, 0, 0, 0, 'm'};

    buf_put(b, key, sizeof(key));
}

void osd_key_put_instance_log(struct buf *b)
{
    static const uint8_t key[] = {'l', 0, 0, 0, 0};

    buf_put(b, key, sizeof(key));
}

void osd_key_put_instance_index(struct buf *b, struct slice alba_id)
{
    buf_put_u8(b, 'j');
    llio_put_string(b, alba_id);
}

void osd_key_put_copy_head(struct buf *b)
{
    buf_put_u8(b, OSD_KEY_COPY_BYTE);
    buf_put_u8(b, 'h');
}

void osd_key_put_copy_chunk(struct buf *b, uint32_t index)
{
    buf_put_u8(b, OSD_KEY_COPY_BYTE);
    buf_put_u8(b, 'c');
    buf_put_u32be(b, index);
}

void osd_key_prefix_end(struct buf *b)
{
    while (b->len > 0 && b->data[b->len - 1] == 0xff) {
        b->len--;
    }
    CHECK(b->len > 0);
    b->data[b->len - 1]++;
}

int osd_key_parse(struct slice key, struct osd_key *ret_key)
{
    struct rd r = rd_of(key.data, key.len);
    const uint8_t *prefix = rd_bytes(&r, sizeof(namespaces_prefix));
    struct osd_key k = {0};

    if (prefix == NULL || memcmp(prefix, namespaces_prefix, sizeof(namespaces_prefix)) != 0) {
        return ERR_NOT_FOUND;
    }
    k.namespace_id = llio_xint_be(&r);
    if (!r.bad && rd_left(&r) == 0) {
        k.kind = OSD_KEY_NS_STATUS;
        *ret_key = k;
        return 0;
    }
    switch (rd_u8(&r)) {
    case 'n':
        k.kind = OSD_KEY_NS_NAME;
        break;
    case 'g':
        k.kind = OSD_KEY_GC_TAG;
        k.gc_epoch = rd_u64be(&r);
        break;
    case 'o':
        k.kind = OSD_KEY_FRAGMENT;
        break;
    case 'r':
        k.kind = OSD_KEY_RECOVERY;
        break;
    default:
        return ERR_NOT_FOUND;
    }
    if (k.kind != OSD_KEY_NS_NAME) {
        k.fragment.object_id = llio_string(&r);
        k.fragment.chunk = rd_u32le(&r);
        k.fragment.fragment = rd_u32le(&r);
        k.fragment.version = rd_u32le(&r);
    }
    if (r.bad || rd_left(&r) != 0) {
        return ERR_NOT_FOUND;
    }
    *ret_key = k;
    return 0;
}
