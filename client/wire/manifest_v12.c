/* Manifest versions 1 and 2: what foreign clients read. They know the fragment format 0 and a
 * few codecs and ciphers; everything else is shown to them as a compression tag of 64 or more,
 * which makes them go through a proxy. */
#include <math.h>

#include "base/check.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"

enum { TAG = 1, RSVM = 1, W8 = 1, NO_ENCRYPTION = 1, ENCRYPTED = 2, AES = 1, L256 = 1, SHA256 = 1 };
enum { MODE_CBC = 1, MODE_CTR = 2, OPAQUE_TAG_MIN = 64 };
/* Year 2242: beyond, a double of seconds is too coarse to tell microseconds. */
static const double timestamp_s_max = 8589934591.0;

/* ---- encode ---- */

static uint8_t compression_tag(const struct manifest *m)
{
    const struct manifest_scheme *s = &m->scheme;

    if (s->codec >= OPAQUE_TAG_MIN) {
        return s->codec;
    }
    if (s->cipher > MANIFEST_CIPHER_AES_CTR_256) {
        return MANIFEST_CODEC_OPAQUE;
    }
    /* Of our format, plain and CTR payload bytes lie where those readers expect them. */
    if (s->fragment_format != 0 &&
        (s->codec != MANIFEST_CODEC_NONE || s->cipher == MANIFEST_CIPHER_AES_CBC_256)) {
        return MANIFEST_CODEC_OPAQUE;
    }
    return s->codec;
}

static void put_encrypt_info(struct buf *b, const struct manifest_scheme *s)
{
    if (s->cipher != MANIFEST_CIPHER_AES_CBC_256 && s->cipher != MANIFEST_CIPHER_AES_CTR_256) {
        buf_put_u8(b, NO_ENCRYPTION);
        return;
    }
    buf_put_u8(b, ENCRYPTED);
    buf_put_u8(b, AES);
    buf_put_u8(b, s->cipher == MANIFEST_CIPHER_AES_CBC_256 ? MODE_CBC : MODE_CTR);
    buf_put_u8(b, L256);
    buf_put_u8(b, SHA256);
    llio_put_string(b, slice_of(s->key_id, sizeof(s->key_id)));
}

static void put_head(struct buf *b, const struct manifest *m)
{
    llio_put_string(b, m->name);
    llio_put_string(b, m->object_id);
    llio_put_count(b, m->chunk_count);
    for (uint32_t i = m->chunk_count; i-- > 0;) {
        buf_put_u32le(b, m->chunk_bytes[i]);
    }
    buf_put_u8(b, TAG);
    buf_put_u8(b, RSVM);
    buf_put_u32le(b, m->scheme.k);
    buf_put_u32le(b, m->scheme.m);
    buf_put_u8(b, W8);
    buf_put_u8(b, compression_tag(m));
    put_encrypt_info(b, &m->scheme);
    checksum_put(b, &m->checksum);
    buf_put_u64le(b, m->size_bytes);
}

static void put_osd(struct buf *b, const struct manifest_fragment *f)
{
    llio_put_bool(b, f->has_osd);
    if (f->has_osd) {
        llio_put_xint(b, f->osd_id);
    }
    buf_put_u32le(b, f->version);
}

static void put_location(struct buf *b, const struct manifest_fragment *f)
{
    put_osd(b, f);
}

static void put_checksum(struct buf *b, const struct manifest_fragment *f)
{
    checksum_put(b, &f->checksum);
}

static void put_packed_bytes(struct buf *b, const struct manifest_fragment *f)
{
    buf_put_u32le(b, f->packed_bytes);
}

static void put_ctr(struct buf *b, const struct manifest_fragment *f)
{
    llio_put_opt_string(b, f->has_ctr, slice_of(f->ctr, sizeof(f->ctr)));
}

/* A whole version 2 fragment. */
static void put_fragment(struct buf *b, const struct manifest_fragment *f)
{
    struct buf record = {0};

    buf_put_u8(&record, TAG);
    put_osd(&record, f);
    checksum_put(&record, &f->checksum);
    buf_put_u32le(&record, f->packed_bytes);
    llio_put_bool(&record, f->has_ctr);
    if (f->has_ctr) {
        llio_put_small(&record, slice_of(f->ctr, sizeof(f->ctr)));
    }
    llio_put_bool(&record, f->fnr_bytes != 0);
    if (f->fnr_bytes != 0) {
        llio_put_small(&record, slice_of(f->fnr, f->fnr_bytes));
    }
    llio_put_small(b, slice_buf(&record));
    buf_release(&record);
}

static void put_layout(struct buf *b, const struct manifest *m,
                       void (*put)(struct buf *b, const struct manifest_fragment *f))
{
    buf_put_u8(b, TAG);
    llio_put_count(b, m->chunk_count);
    for (uint32_t chunk = m->chunk_count; chunk-- > 0;) {
        uint32_t count = manifest_fragments_per_chunk(m);

        llio_put_count(b, count);
        for (uint32_t i = count; i-- > 0;) {
            put(b, manifest_fragment_at(m, chunk, i));
        }
    }
}

static void put_versions(struct buf *b, const struct manifest *m)
{
    buf_put_u32le(b, m->version_id);
    buf_put_u32le(b, m->scheme.max_disks_per_node);
    llio_put_float(b, (double)m->timestamp_us / 1e6);
}

void manifest_v12_put(struct buf *b, const struct manifest *m, unsigned version)
{
    put_head(b, m);
    if (version == MANIFEST_V2) {
        put_layout(b, m, put_fragment);
        put_versions(b, m);
        return;
    }
    put_layout(b, m, put_location);
    put_layout(b, m, put_checksum);
    put_layout(b, m, put_packed_bytes);
    put_versions(b, m);
    put_layout(b, m, put_ctr);
}

/* ---- decode ---- */

static void get_tag(struct rd *r, uint8_t tag)
{
    if (rd_u8(r) != tag) {
        rd_fail(r);
    }
}

static void get_encrypt_info(struct rd *r, struct manifest_scheme *s)
{
    struct slice key_id;
    uint8_t mode;

    s->cipher = MANIFEST_CIPHER_NONE;
    switch (rd_u8(r)) {
    case NO_ENCRYPTION:
        return;
    case ENCRYPTED:
        break;
    default:
        rd_fail(r);
        return;
    }
    get_tag(r, AES);
    mode = rd_u8(r);
    get_tag(r, L256);
    get_tag(r, SHA256);
    key_id = llio_string(r);
    if ((mode != MODE_CBC && mode != MODE_CTR) || key_id.len != sizeof(s->key_id)) {
        rd_fail(r);
        return;
    }
    s->cipher = mode == MODE_CBC ? MANIFEST_CIPHER_AES_CBC_256 : MANIFEST_CIPHER_AES_CTR_256;
    memcpy(s->key_id, key_id.data, sizeof(s->key_id));
}

static void get_compression(struct rd *r, struct manifest *m)
{
    m->scheme.codec = rd_u8(r);
    m->opaque = m->scheme.codec >= OPAQUE_TAG_MIN;
    if (!m->opaque && m->scheme.codec > MANIFEST_CODEC_TEST) {
        rd_fail(r);
    }
}

static void get_head(struct rd *r, struct manifest *m)
{
    struct rd sizes;
    uint32_t chunk_count;

    manifest_set(&m->name, llio_string(r));
    manifest_set(&m->object_id, llio_string(r));
    chunk_count = llio_count(r, sizeof(uint32_t));
    sizes = *r;
    rd_bytes(r, (size_t)chunk_count * sizeof(uint32_t));
    get_tag(r, TAG);
    get_tag(r, RSVM);
    m->scheme.k = rd_u32le(r);
    m->scheme.m = rd_u32le(r);
    get_tag(r, W8);
    get_compression(r, m);
    get_encrypt_info(r, &m->scheme);
    m->checksum = checksum_get(r);
    m->size_bytes = rd_u64le(r);
    if (r->bad || m->size_bytes > INT64_MAX || !manifest_try_alloc(m, chunk_count)) {
        rd_fail(r);
        return;
    }
    for (uint32_t i = chunk_count; i-- > 0;) {
        m->chunk_bytes[i] = rd_u32le(&sizes);
    }
}

static void get_location(struct rd *r, struct manifest_fragment *f)
{
    f->has_osd = llio_bool(r);
    if (f->has_osd) {
        f->osd_id = llio_xint(r);
    }
    f->version = rd_u32le(r);
}

static void get_checksum(struct rd *r, struct manifest_fragment *f)
{
    f->checksum = checksum_get(r);
}

static void get_packed_bytes(struct rd *r, struct manifest_fragment *f)
{
    f->packed_bytes = rd_u32le(r);
}

static void set_ctr(struct rd *r, struct slice ctr, struct manifest_fragment *f)
{
    if (ctr.len != sizeof(f->ctr)) {
        rd_fail(r);
        return;
    }
    f->has_ctr = true;
    memcpy(f->ctr, ctr.data, sizeof(f->ctr));
}

static void set_fnr(struct rd *r, struct slice fnr, struct manifest_fragment *f)
{
    if (fnr.len > sizeof(f->fnr)) {
        rd_fail(r);
        return;
    }
    f->fnr_bytes = (uint8_t)fnr.len;
    if (fnr.len != 0) {
        memcpy(f->fnr, fnr.data, fnr.len);
    }
}

static void get_ctr(struct rd *r, struct manifest_fragment *f)
{
    if (llio_bool(r)) {
        set_ctr(r, llio_string(r), f);
    }
}

/* ctr and fnr came later: they may be missing at the end. */
static void get_fragment(struct rd *r, struct manifest_fragment *f)
{
    struct rd record = llio_small_sub(r);

    get_tag(&record, TAG);
    get_location(&record, f);
    f->checksum = checksum_get(&record);
    f->packed_bytes = rd_u32le(&record);
    if (rd_left(&record) > 0 && llio_bool(&record)) {
        set_ctr(&record, llio_small(&record), f);
    }
    if (rd_left(&record) > 0 && llio_bool(&record)) {
        set_fnr(&record, llio_small(&record), f);
    }
    r->bad = r->bad || record.bad;
}

/* Every chunk has k + m fragments, or it is malformed. */
static void get_layout(struct rd *r, struct manifest *m,
                       void (*get)(struct rd *r, struct manifest_fragment *f))
{
    uint32_t count = manifest_fragments_per_chunk(m);

    get_tag(r, TAG);
    if (rd_u32le(r) != m->chunk_count) {
        rd_fail(r);
    }
    for (uint32_t chunk = m->chunk_count; chunk-- > 0 && !r->bad;) {
        if (rd_u32le(r) != count) {
            rd_fail(r);
        }
        for (uint32_t i = count; i-- > 0;) {
            get(r, manifest_fragment_at(m, chunk, i));
        }
    }
}

static void get_versions(struct rd *r, struct manifest *m)
{
    double timestamp_s;

    m->version_id = rd_u32le(r);
    m->scheme.max_disks_per_node = rd_u32le(r);
    timestamp_s = llio_float(r);
    if (!isfinite(timestamp_s) || timestamp_s < 0 || timestamp_s > timestamp_s_max) {
        rd_fail(r);
        return;
    }
    m->timestamp_us = (int64_t)((long double)timestamp_s * 1e6L + 0.5L); /* rounded once */
}

void manifest_v12_get(struct rd *r, unsigned version, struct manifest *ret_manifest)
{
    struct manifest *m = ret_manifest;

    m->preset_version = -1;
    get_head(r, m);
    if (r->bad) {
        return;
    }
    if (version == MANIFEST_V2) {
        get_layout(r, m, get_fragment);
        get_versions(r, m);
        return;
    }
    get_layout(r, m, get_location);
    get_layout(r, m, get_checksum);
    get_layout(r, m, get_packed_bytes);
    get_versions(r, m);
    if (rd_left(r) > 0) {
        get_layout(r, m, get_ctr);
    }
}
