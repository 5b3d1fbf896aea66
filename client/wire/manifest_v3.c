/* Manifest version 3: our stored form. PROTOCOL.md, "Manifest version 3". */
#include <errno.h>
#include <inttypes.h>

#include "base/crc32c.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"
#include "wire/snappy_block.h"

/* The seal: see manifest_codec.h. Offsets count from the version byte. */
enum {
    SEAL_LENGTH_AT = 1,
    SEAL_CRC_AT = 5,
    SEAL_REST_AT = 9,
    SEAL_BODY_AT = 14,
    PACKING_NONE = 1,
    PACKING_SNAPPY = 2
};

enum { SCHEME_RSVM_W8 = 1, TAIL_MUST_KNOW = 0x80 };
enum { FRAGMENT_OSD = 1, FRAGMENT_CTR = 2, FRAGMENT_FNR = 4, FRAGMENT_FLAGS = 7 };
enum {
    FRAGMENT_BYTES_MIN = 1 + 1 + 1 + 1,
    CHUNK_BYTES_MAX = 5,
    FIXED_BYTES_MAX = 512 /* everything else but names and tail */
};

/* ---- seal ---- */

static uint32_t seal_crc(const uint8_t *record, size_t bytes)
{
    return crc32c(crc32c(0, record, SEAL_CRC_AT), record + SEAL_REST_AT, bytes - SEAL_REST_AT);
}

void manifest_seal_put(struct buf *b, struct slice raw)
{
    size_t start = b->len - 1;
    size_t body;
    uint8_t *record;

    put_u32le(buf_extend(b, SEAL_BODY_AT - 1) + 9, (uint32_t)raw.len);
    body = b->len;
    snappy_block_put(b, raw);
    record = b->data + start;
    record[SEAL_REST_AT] = PACKING_SNAPPY;
    if (b->len - body >= raw.len) {
        b->len = body;
        buf_put(b, raw.data, raw.len);
        record = b->data + start;
        record[SEAL_REST_AT] = PACKING_NONE;
    }
    put_u32le(record + SEAL_LENGTH_AT, (uint32_t)(b->len - start - SEAL_CRC_AT));
    put_u32le(record + SEAL_CRC_AT, seal_crc(record, b->len - start));
}

static int unpack(uint8_t packing, uint32_t raw_bytes, struct slice body, size_t raw_bytes_max,
                  struct buf *raw)
{
    size_t before = raw->len;
    int rc;

    if (packing == PACKING_NONE && body.len <= raw_bytes_max) {
        buf_put(raw, body.data, body.len);
    } else if (packing == PACKING_SNAPPY) {
        rc = snappy_block_get(body, raw_bytes_max, raw);
        if (rc != 0) {
            return rc;
        }
    } else {
        return ERR_CORRUPT;
    }
    return raw->len - before == raw_bytes ? 0 : ERR_CORRUPT;
}

int manifest_seal_get(struct rd *r, uint8_t version, size_t raw_bytes_max, struct buf *raw,
                      struct err *e)
{
    uint8_t head[SEAL_CRC_AT] = {version};
    struct slice rest = llio_string(r);
    struct rd inner = rd_of(rest.data, rest.len);
    uint32_t crc = rd_u32le(&inner);
    uint32_t raw_bytes;
    uint8_t packing;
    int rc;

    if (r->bad || inner.bad) {
        return err_set(e, ERR_CORRUPT, "record cut short");
    }
    put_u32le(head + SEAL_LENGTH_AT, (uint32_t)rest.len);
    if (crc32c(crc32c(0, head, sizeof(head)), inner.pos, rd_left(&inner)) != crc) {
        return err_set(e, ERR_CORRUPT, "record checksum");
    }
    packing = rd_u8(&inner);
    raw_bytes = rd_u32le(&inner);
    rc = inner.bad
             ? ERR_CORRUPT
             : unpack(packing, raw_bytes, slice_of(inner.pos, rd_left(&inner)), raw_bytes_max, raw);
    return rc == 0 ? 0
                   : err_set(e, rc, "record packing %u of %" PRIu32 " bytes", packing, raw_bytes);
}

/* ---- scheme ---- */

void manifest_scheme_put(struct buf *b, const struct manifest_scheme *scheme)
{
    buf_put_u8(b, SCHEME_RSVM_W8);
    buf_put_u8(b, (uint8_t)scheme->k);
    buf_put_u8(b, (uint8_t)scheme->m);
    buf_put_u8(b, (uint8_t)scheme->c);
    buf_put_u32le(b, scheme->max_disks_per_node);
    buf_put_u8(b, scheme->fragment_format);
    buf_put_u8(b, scheme->codec);
    buf_put_u8(b, scheme->cipher);
    buf_put_u32le(b, scheme->block_bytes);
    if (scheme->cipher != MANIFEST_CIPHER_NONE) {
        buf_put(b, scheme->key_id, sizeof(scheme->key_id));
    }
}

struct manifest_scheme manifest_scheme_get(struct rd *r)
{
    struct manifest_scheme scheme = {0};
    const uint8_t *key_id;

    if (rd_u8(r) != SCHEME_RSVM_W8) {
        rd_fail(r);
    }
    scheme.k = rd_u8(r);
    scheme.m = rd_u8(r);
    scheme.c = rd_u8(r);
    scheme.max_disks_per_node = rd_u32le(r);
    scheme.fragment_format = rd_u8(r);
    scheme.codec = rd_u8(r);
    scheme.cipher = rd_u8(r);
    scheme.block_bytes = rd_u32le(r);
    if (scheme.cipher != MANIFEST_CIPHER_NONE) {
        key_id = rd_bytes(r, sizeof(scheme.key_id));
        if (key_id != NULL) {
            memcpy(scheme.key_id, key_id, sizeof(scheme.key_id));
        }
    }
    return scheme;
}

/* ---- body ---- */

static void put_fragment(struct buf *b, const struct manifest_fragment *f)
{
    unsigned flags = (f->has_osd ? FRAGMENT_OSD : 0U) | (f->has_ctr ? FRAGMENT_CTR : 0U) |
                     (f->fnr_bytes != 0 ? FRAGMENT_FNR : 0U);

    buf_put_u8(b, (uint8_t)flags);
    if (f->has_osd) {
        llio_put_varint(b, f->osd_id);
    }
    llio_put_varint(b, f->version);
    checksum_put(b, &f->checksum);
    llio_put_varint(b, f->packed_bytes);
    if (f->has_ctr) {
        buf_put(b, f->ctr, sizeof(f->ctr));
    }
    if (f->fnr_bytes != 0) {
        llio_put_small(b, slice_of(f->fnr, f->fnr_bytes));
    }
}

static uint32_t get_varint_u31(struct rd *r)
{
    uint64_t v = llio_varint(r);

    if (v > INT32_MAX) {
        rd_fail(r);
        return 0;
    }
    return (uint32_t)v;
}

static void get_fragment(struct rd *r, struct manifest_fragment *f)
{
    uint8_t flags = rd_u8(r);
    const uint8_t *ctr;
    struct slice fnr;

    if ((flags & ~FRAGMENT_FLAGS) != 0) {
        rd_fail(r);
    }
    f->has_osd = (flags & FRAGMENT_OSD) != 0;
    f->osd_id = f->has_osd ? llio_varint(r) : 0;
    f->version = get_varint_u31(r);
    f->checksum = checksum_get(r);
    f->packed_bytes = get_varint_u31(r);
    if ((flags & FRAGMENT_CTR) != 0) {
        ctr = rd_bytes(r, sizeof(f->ctr));
        f->has_ctr = true;
        if (ctr != NULL) {
            memcpy(f->ctr, ctr, sizeof(f->ctr));
        }
    }
    if ((flags & FRAGMENT_FNR) != 0) {
        fnr = llio_small(r);
        if (fnr.len == 0 || fnr.len > sizeof(f->fnr)) {
            rd_fail(r);
            return;
        }
        f->fnr_bytes = (uint8_t)fnr.len;
        memcpy(f->fnr, fnr.data, fnr.len);
    }
}

static void put_body(struct buf *b, const struct manifest *m)
{
    size_t fragments = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);

    llio_put_small(b, m->name);
    llio_put_small(b, m->object_id);
    buf_put_u64le(b, m->size_bytes);
    checksum_put(b, &m->checksum);
    manifest_scheme_put(b, &m->scheme);
    llio_put_small(b, m->preset);
    llio_put_i64(b, m->preset_version);
    buf_put_u32le(b, m->version_id);
    llio_put_i64(b, m->timestamp_us);
    buf_put_u64le(b, m->gc_epoch);
    llio_put_varint(b, m->chunk_count);
    for (uint32_t i = 0; i < m->chunk_count; i++) {
        llio_put_varint(b, m->chunk_bytes[i]);
    }
    for (size_t i = 0; i < fragments; i++) {
        put_fragment(b, &m->fragments[i]);
    }
    buf_put(b, m->tail.data, m->tail.len);
}

static void get_chunks(struct rd *r, struct manifest *m)
{
    uint64_t count = llio_varint(r);
    uint64_t chunk_bytes_min = 1 + manifest_fragments_per_chunk(m) * FRAGMENT_BYTES_MIN;

    if (r->bad || count > rd_left(r) / chunk_bytes_min || !manifest_try_alloc(m, (uint32_t)count)) {
        rd_fail(r);
        return;
    }
    for (uint32_t i = 0; i < m->chunk_count; i++) {
        m->chunk_bytes[i] = get_varint_u31(r);
    }
    for (size_t i = 0; i < (size_t)m->chunk_count * manifest_fragments_per_chunk(m); i++) {
        get_fragment(r, &m->fragments[i]);
    }
}

/* Fields of later versions: u8 tag · varint length · bytes. Those a reader may skip are kept. */
static int get_tail(struct rd *r, struct manifest *m, struct err *e)
{
    struct slice all = slice_of(r->pos, rd_left(r));

    while (rd_left(r) > 0) {
        uint8_t tag = rd_u8(r);

        llio_small(r);
        if (!r->bad && (tag & TAIL_MUST_KNOW) != 0) {
            return err_set(e, ERR_VERSION, "manifest field %u of a newer version", tag);
        }
    }
    if (r->bad) {
        return err_set(e, ERR_CORRUPT, "manifest tail");
    }
    manifest_set(&m->tail, all);
    return 0;
}

static int get_body(struct rd *r, struct manifest *m, struct err *e)
{
    manifest_set(&m->name, llio_small(r));
    manifest_set(&m->object_id, llio_small(r));
    m->size_bytes = rd_u64le(r);
    m->checksum = checksum_get(r);
    m->scheme = manifest_scheme_get(r);
    manifest_set(&m->preset, llio_small(r));
    m->preset_version = llio_i64(r);
    m->version_id = rd_u32le(r);
    m->timestamp_us = llio_i64(r);
    m->gc_epoch = rd_u64le(r);
    get_chunks(r, m);
    if (r->bad) {
        return err_set(e, ERR_CORRUPT, "manifest body");
    }
    return get_tail(r, m, e);
}

int manifest_v3_put(struct buf *b, const struct manifest *m, struct err *e)
{
    struct buf raw = {0};
    int rc = 0;

    if (m->opaque || m->scheme.codec == MANIFEST_CODEC_OPAQUE) {
        return err_set(e, -EINVAL, "manifest came through version 1 or 2, which lost its codec");
    }
    put_body(&raw, m);
    if (raw.len > MANIFEST_RAW_BYTES_MAX) {
        rc = err_set(e, ERR_TOO_LARGE, "manifest of %zu bytes", raw.len);
    } else {
        manifest_seal_put(b, slice_buf(&raw));
    }
    buf_release(&raw);
    return rc;
}

int manifest_v3_get(struct rd *r, struct manifest *ret_manifest, struct err *e)
{
    struct buf raw = {0};
    struct rd body;
    int rc = manifest_seal_get(r, MANIFEST_V3, MANIFEST_RAW_BYTES_MAX, &raw, e);

    if (rc == 0) {
        body = rd_of(raw.data, raw.len);
        rc = get_body(&body, ret_manifest, e);
    }
    if (rc == 0 && manifest_check(ret_manifest, e) != 0) {
        e->code = rc = ERR_CORRUPT;
    }
    buf_release(&raw);
    return rc == 0 ? 0 : err_wrap(e, "manifest version 3");
}

static size_t fragment_bytes_bound(const struct manifest_fragment *largest)
{
    struct manifest_fragment f = *largest;
    struct buf b = {0};
    size_t bytes;

    f.version = INT32_MAX; /* repairs raise it */
    put_fragment(&b, &f);
    bytes = b.len;
    buf_release(&b);
    return bytes;
}

uint64_t manifest_v3_bytes_bound(size_t name_bytes, size_t preset_bytes, uint64_t chunk_count,
                                 uint32_t fragments_per_chunk,
                                 const struct manifest_fragment *largest)
{
    uint64_t per_chunk =
        CHUNK_BYTES_MAX + (uint64_t)fragments_per_chunk * fragment_bytes_bound(largest);

    if (chunk_count > MANIFEST_FRAGMENTS_MAX) {
        return UINT64_MAX;
    }
    return FIXED_BYTES_MAX + name_bytes + preset_bytes + chunk_count * per_chunk;
}
