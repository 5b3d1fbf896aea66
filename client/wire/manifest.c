#include "wire/manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"
#include "wire/snappy_block.h"

/* ---- memory ---- */

bool manifest_try_alloc(struct manifest *m, uint32_t chunk_count)
{
    uint32_t per_chunk = manifest_fragments_per_chunk(m);

    if (m->scheme.k > MANIFEST_K_MAX || m->scheme.m > MANIFEST_M_MAX || per_chunk == 0 ||
        chunk_count > MANIFEST_FRAGMENTS_MAX / per_chunk) {
        return false;
    }
    free(m->chunk_bytes);
    free(m->fragments);
    m->chunk_count = chunk_count;
    m->chunk_bytes = mem_array(chunk_count, sizeof(m->chunk_bytes[0]));
    m->fragments = mem_array((size_t)chunk_count * per_chunk, sizeof(m->fragments[0]));
    return true;
}

void manifest_alloc_chunks(struct manifest *m, uint32_t chunk_count)
{
    CHECK(manifest_try_alloc(m, chunk_count));
}

static void owned_release(struct slice *owned)
{
    free((void *)(uintptr_t)owned->data);
    *owned = (struct slice){0};
}

void manifest_set(struct slice *owned, struct slice value)
{
    struct slice copy = {0};

    if (value.len != 0) {
        copy = slice_of(mem_dup(value.data, value.len), value.len);
    }
    owned_release(owned);
    *owned = copy;
}

void manifest_copy(struct manifest *ret_copy, const struct manifest *m)
{
    struct manifest copy = *m;
    size_t fragments = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);

    copy.name = copy.object_id = copy.preset = copy.tail = (struct slice){0};
    manifest_set(&copy.name, m->name);
    manifest_set(&copy.object_id, m->object_id);
    manifest_set(&copy.preset, m->preset);
    manifest_set(&copy.tail, m->tail);
    copy.chunk_bytes = NULL;
    copy.fragments = NULL;
    if (m->chunk_count != 0) {
        manifest_alloc_chunks(&copy, m->chunk_count);
        memcpy(copy.chunk_bytes, m->chunk_bytes, m->chunk_count * sizeof(m->chunk_bytes[0]));
        memcpy(copy.fragments, m->fragments, fragments * sizeof(m->fragments[0]));
    }
    *ret_copy = copy;
}

void manifest_release(struct manifest *m)
{
    owned_release(&m->name);
    owned_release(&m->object_id);
    owned_release(&m->preset);
    owned_release(&m->tail);
    free(m->chunk_bytes);
    free(m->fragments);
    *m = (struct manifest){0};
}

size_t manifest_memory_bytes(const struct manifest *m)
{
    size_t fragments = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);

    return m->name.len + m->object_id.len + m->preset.len + m->tail.len +
           m->chunk_count * sizeof(m->chunk_bytes[0]) + fragments * sizeof(m->fragments[0]);
}

/* ---- checks, before encoding and after decoding ---- */

int manifest_scheme_check(const struct manifest_scheme *scheme, struct err *e)
{
    if (scheme->k == 0 || scheme->k > MANIFEST_K_MAX || scheme->m > MANIFEST_M_MAX ||
        scheme->c > scheme->k + scheme->m) {
        return err_set(e, -EINVAL, "policy %" PRIu32 "+%" PRIu32 ", %" PRIu32 " needed", scheme->k,
                       scheme->m, scheme->c);
    }
    if (scheme->codec == 0 || scheme->cipher == 0) {
        return err_set(e, -EINVAL, "codec %u, cipher %u", scheme->codec, scheme->cipher);
    }
    if (scheme->block_bytes > INT32_MAX || scheme->max_disks_per_node > INT32_MAX) {
        return err_set(e, -EINVAL, "block of %" PRIu32 " bytes, %" PRIu32 " disks per node",
                       scheme->block_bytes, scheme->max_disks_per_node);
    }
    return 0;
}

static int check_texts(const struct manifest *m, struct err *e)
{
    if (m->name.len > MANIFEST_NAME_BYTES_MAX) {
        return err_set(e, -EINVAL, "object name of %zu bytes", m->name.len);
    }
    if (m->object_id.len == 0 || m->object_id.len > MANIFEST_OBJECT_ID_BYTES_MAX) {
        return err_set(e, -EINVAL, "object id of %zu bytes", m->object_id.len);
    }
    if (m->preset.len > MANIFEST_PRESET_BYTES_MAX || m->tail.len > MANIFEST_TAIL_BYTES_MAX) {
        return err_set(e, -EINVAL, "preset name of %zu, tail of %zu bytes", m->preset.len,
                       m->tail.len);
    }
    return 0;
}

static int check_chunks(const struct manifest *m, struct err *e)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < m->chunk_count; i++) {
        if (m->chunk_bytes[i] > INT32_MAX || m->chunk_bytes[i] % m->scheme.k != 0 ||
            m->chunk_bytes[i] > m->chunk_bytes[0]) {
            return err_set(e, -EINVAL, "chunk %" PRIu32 " of %" PRIu32 " bytes", i,
                           m->chunk_bytes[i]);
        }
        total += m->chunk_bytes[i];
    }
    if (m->size_bytes > total) {
        return err_set(e, -EINVAL, "%" PRIu64 " bytes in chunks of %" PRIu64, m->size_bytes, total);
    }
    return 0;
}

static int check_fragments(const struct manifest *m, struct err *e)
{
    size_t count = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);

    for (size_t i = 0; i < count; i++) {
        const struct manifest_fragment *f = &m->fragments[i];

        if (f->osd_id > INT64_MAX || f->version > INT32_MAX || f->packed_bytes > INT32_MAX ||
            f->fnr_bytes > MANIFEST_FNR_BYTES_MAX || f->checksum.algo > CHECKSUM_CRC32C) {
            return err_set(e, -EINVAL, "fragment %zu: field out of range", i);
        }
    }
    return 0;
}

int manifest_check(const struct manifest *m, struct err *e)
{
    int rc = manifest_scheme_check(&m->scheme, e);

    if (rc == 0) {
        rc = check_texts(m, e);
    }
    if (rc == 0 && m->chunk_count > MANIFEST_FRAGMENTS_MAX / manifest_fragments_per_chunk(m)) {
        rc = err_set(e, -EINVAL, "%" PRIu32 " chunks", m->chunk_count);
    }
    if (rc == 0 && (m->version_id > INT32_MAX || m->checksum.algo > CHECKSUM_CRC32C)) {
        rc = err_set(e, -EINVAL, "version id %" PRIu32, m->version_id);
    }
    if (rc == 0) {
        rc = check_chunks(m, e);
    }
    return rc == 0 ? check_fragments(m, e) : rc;
}

/* ---- encode, decode ---- */

int manifest_encode(const struct manifest *m, unsigned version, struct buf *b, struct err *e)
{
    size_t start = b->len;
    struct buf raw = {0};
    size_t mark;
    int rc = manifest_check(m, e);

    CHECK(version >= MANIFEST_V1 && version <= MANIFEST_V3);
    if (rc != 0) {
        return err_wrap(e, "manifest");
    }
    buf_put_u8(b, (uint8_t)version);
    if (version == MANIFEST_V3) {
        rc = manifest_v3_put(b, m, e);
    } else {
        manifest_v12_put(&raw, m, version);
        mark = llio_sub_begin(b);
        snappy_block_put(b, slice_buf(&raw));
        llio_sub_end(b, mark);
        if (raw.len > MANIFEST_RAW_BYTES_MAX) {
            rc = err_set(e, ERR_TOO_LARGE, "manifest of %zu bytes", raw.len);
        }
    }
    if (rc == 0 && b->len - start > MANIFEST_RECORD_BYTES_MAX) {
        rc = err_set(e, ERR_TOO_LARGE, "manifest of %zu bytes", b->len - start);
    }
    if (rc != 0) {
        b->len = start;
    }
    buf_release(&raw);
    return rc;
}

static int get_v12(struct rd *r, unsigned version, struct manifest *m, struct err *e)
{
    struct slice block = llio_string(r);
    struct buf raw = {0};
    struct rd inner;
    int rc = 0;

    if (r->bad || snappy_block_get(block, MANIFEST_RAW_BYTES_MAX, &raw) != 0) {
        rc = err_set(e, ERR_PROTOCOL, "manifest version %u: bad snappy block", version);
        goto out;
    }
    inner = rd_of(raw.data, raw.len);
    manifest_v12_get(&inner, version, m);
    if (inner.bad) {
        rc = err_set(e, ERR_PROTOCOL, "manifest version %u: malformed", version);
        goto out;
    }
    if (manifest_check(m, e) != 0) {
        e->code = rc = ERR_PROTOCOL;
        err_wrap(e, "manifest version %u", version);
    }
out:
    buf_release(&raw);
    return rc;
}

int manifest_decode(struct rd *r, struct manifest *ret_manifest, struct err *e)
{
    struct manifest m = {0};
    uint8_t version = rd_u8(r);
    int rc;

    if (r->bad) {
        return err_set(e, ERR_PROTOCOL, "manifest: nothing there");
    }
    if (version == MANIFEST_V3) {
        rc = manifest_v3_get(r, &m, e);
    } else if (version == MANIFEST_V1 || version == MANIFEST_V2) {
        rc = get_v12(r, version, &m, e);
    } else {
        rc = err_set(e, ERR_VERSION, "manifest version %u", version);
    }
    if (rc != 0) {
        manifest_release(&m);
        rd_fail(r);
        return rc;
    }
    *ret_manifest = m;
    return 0;
}
