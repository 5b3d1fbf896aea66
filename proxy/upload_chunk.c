/* A chunk: (filled by its stream ->) read and encode in the pool -> all its fragments on their way
 * -> closed.
 *
 * Jobs of one upload run one after another, so the object's checksum is made in order. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "proxy/recovery.h"
#include "proxy/source.h"
#include "proxy/upload_private.h"

/* Pool thread: uses *chunk and the upload's constants, and its digest, which is the
 * jobs' own until the last of them has ended. */
static int read_file(struct upload_chunk *chunk)
{
    struct upload *u = chunk->upload;
    uint64_t offset = layout_chunk_offset(&u->layout, chunk->index);
    uint32_t bytes = layout_chunk_data_bytes(&u->layout, chunk->index);

    chunk->raw = bigmem_alloc(bytes);
    chunk->encode.data = chunk->raw;
    return u->spec.extents != NULL
               ? source_read_extents(u->spec.fd, u->spec.extents, u->spec.extent_count, offset,
                                     chunk->raw, bytes, &chunk->err)
               : source_read(u->spec.fd, offset, chunk->raw, bytes, &chunk->err);
}

static bool is_borrowed(const struct encode *x)
{
    bool is = false;

    for (uint32_t i = 0; i < x->k; i++) {
        is = is || x->payloads[i] != NULL;
    }
    return is;
}

static void chunk_run(struct pool_work *work)
{
    struct upload_chunk *chunk = container_of(work, struct upload_chunk, work);
    struct encode *x = &chunk->encode;

    if (chunk->upload->spec.data == NULL && chunk->upload->spec.stream == NULL) {
        chunk->rc = read_file(chunk);
    }
    if (chunk->rc == 0) {
        encode_run(x);
        digest_add(&chunk->upload->digest, x->data, x->data_bytes, x->data_crc);
    }
    if (!is_borrowed(x)) {
        bigmem_free(chunk->raw);
        chunk->raw = NULL;
    }
}

/* ---- on the loop, after encoding ---- */

static void fill_manifest(struct upload_chunk *chunk)
{
    struct manifest *m = &chunk->upload->manifest;

    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        encode_note(&chunk->encode, i, manifest_fragment_at(m, chunk->index, i));
    }
}

/* The last chunk completes the object's checksum. */
static int finish_digest(struct upload *u)
{
    const struct upload_spec *spec = &u->spec;
    struct checksum found = digest_result(&u->digest);

    if (spec->has_checksum && spec->preset->verify_upload &&
        !checksum_eq(&found, &spec->checksum)) {
        char is[CHECKSUM_TEXT_BYTES], should[CHECKSUM_TEXT_BYTES];

        checksum_text(&found, is);
        checksum_text(&spec->checksum, should);
        return err_set(&u->err, ERR_CHECKSUM, "the data has %s, the request says %s", is, should);
    }
    u->manifest.checksum = spec->has_checksum ? spec->checksum : found;
    return 0;
}

static int after_encoding(struct upload_chunk *chunk)
{
    struct upload *u = chunk->upload;
    int rc = chunk->rc;

    if (rc != 0) {
        return err_copy(&u->err, &chunk->err);
    }
    fill_manifest(chunk);
    if (chunk->index + 1 == u->layout.chunk_count) {
        rc = finish_digest(u);
    }
    if (rc == 0) {
        rc = recovery_of(&u->manifest, chunk->index, chunk->index + 1 == u->layout.chunk_count,
                         u->key, &chunk->recovery, &u->err);
    }
    return rc;
}

static void chunk_done(struct pool_work *work, int rc)
{
    struct upload_chunk *chunk = container_of(work, struct upload_chunk, work);
    struct upload *u = chunk->upload;

    u->pending--;
    u->is_encoding = false;
    if (u->state == UPLOAD_RUN) {
        rc = rc == 0 ? after_encoding(chunk) : err_set(&u->err, rc, "encoding");
        if (rc != 0) {
            upload_fail_attempt(u, rc, true);
        } else {
            chunk->is_encoded = true;
            chunk->start_ms = clock_mono_ms();
            upload_chunk_place(chunk);
        }
    }
    upload_step(u);
}

static void encode_chunk(struct upload_chunk *chunk)
{
    struct upload *u = chunk->upload;
    int rc = pool_submit(u->engine->pool, &chunk->work, u->spec.low_priority ? POOL_LOW : POOL_HIGH,
                         chunk_run, chunk_done);

    if (rc != 0) {
        err_set(&u->err, rc, "encoding");
        upload_fail_attempt(u, rc, true);
        return;
    }
    u->is_encoding = true;
    u->pending++;
}

static void end_filling(struct upload_chunk *chunk)
{
    chunk->is_filling = false;
    chunk->upload->is_encoding = false;
    chunk->upload->pending--;
}

static void on_filled(void *ctx)
{
    struct upload_chunk *chunk = ctx;
    struct upload *u = chunk->upload;

    end_filling(chunk);
    encode_chunk(chunk);
    upload_step(u);
}

static void fill_chunk(struct upload_chunk *chunk)
{
    struct upload *u = chunk->upload;
    uint32_t bytes = layout_chunk_data_bytes(&u->layout, chunk->index);

    chunk->raw = bigmem_alloc(bytes);
    chunk->encode.data = chunk->raw;
    chunk->is_filling = true;
    u->is_encoding = true; /* one after another */
    u->pending++;
    put_stream_read(u->spec.stream, layout_chunk_offset(&u->layout, chunk->index), chunk->raw,
                    bytes, on_filled, chunk);
}

void upload_chunk_start(struct upload *u)
{
    struct upload_chunk *chunk = mem_zalloc(sizeof(*chunk));
    uint32_t index = u->next_chunk;
    struct encode *x = &chunk->encode;

    chunk->upload = u;
    chunk->index = index;
    chunk->fragment_count = u->policy.k + u->policy.m;
    memcpy(x->object_id, u->manifest.object_id.data, sizeof(x->object_id));
    x->chunk = index;
    x->k = u->policy.k;
    x->m = u->policy.m;
    x->codec = u->spec.preset->codec;
    x->with_sha1 = u->spec.preset->fragment_checksum == PRESET_CHECKSUM_SHA1;
    x->cipher = u->spec.preset->cipher;
    x->key = u->key;
    x->fragment_bytes = layout_fragment_bytes(&u->layout, index);
    x->data_bytes = layout_chunk_data_bytes(&u->layout, index);
    x->data_stays = u->spec.data == NULL || u->spec.data_stays;
    if (u->spec.data != NULL) {
        x->data = u->spec.data + layout_chunk_offset(&u->layout, index);
    }
    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        chunk->fragments[i].chunk = chunk;
        chunk->fragments[i].index = i;
    }
    list_push(&u->chunks, &chunk->link);
    u->open_count++;
    u->next_chunk++;
    if (u->spec.stream != NULL && x->data_bytes != 0) {
        fill_chunk(chunk);
    } else {
        encode_chunk(chunk);
    }
}

/* ---- its fragments ---- */

unsigned upload_chunk_count(const struct upload_chunk *chunk, enum upload_fragment_state state)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        count += chunk->fragments[i].state == state;
    }
    return count;
}

uint64_t upload_chunk_patience_ms(const struct upload_chunk *chunk)
{
    const struct upload *u = chunk->upload;
    double slack;

    if (chunk->enough_ms == 0) {
        return 0;
    }
    slack = (double)(chunk->enough_ms - chunk->start_ms) * u->engine->options.upload_slack;
    return chunk->enough_ms + (uint64_t)slack;
}

bool upload_chunk_step(struct upload_chunk *chunk)
{
    unsigned ended;

    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        upload_fragment_step(&chunk->fragments[i]);
    }
    ended = upload_chunk_count(chunk, UPLOAD_FRAGMENT_STORED) +
            upload_chunk_count(chunk, UPLOAD_FRAGMENT_FAILED);
    return ended == chunk->fragment_count;
}

static int compare_ms(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

void upload_chunk_judge(const struct upload_chunk *chunk)
{
    uint64_t took_ms[PRESET_FRAGMENTS_MAX];
    size_t count = 0;
    size_t middle;

    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        if (chunk->fragments[i].state == UPLOAD_FRAGMENT_STORED) {
            took_ms[count++] = chunk->fragments[i].took_ms;
        }
    }
    if (count < 2) {
        return;
    }
    qsort(took_ms, count, sizeof(*took_ms), compare_ms);
    middle = (count - 1) / 2;
    for (uint32_t i = 0; i < chunk->fragment_count; i++) {
        const struct upload_fragment *f = &chunk->fragments[i];

        if (f->state == UPLOAD_FRAGMENT_STORED) { /* beside the median of the others */
            osd_note_write(f->osd, f->begun_ms, f->begun_ms + f->took_ms,
                           took_ms[f->took_ms <= took_ms[middle] ? middle + 1 : middle]);
        }
    }
}

void upload_chunk_cancel(struct upload_chunk *chunk)
{
    if (chunk->is_filling) {
        put_stream_stop(chunk->upload->spec.stream);
        end_filling(chunk);
    }
    for (uint32_t i = 0; i < chunk->fragment_count && chunk->is_encoded; i++) {
        upload_fragment_cancel(&chunk->fragments[i]);
    }
}

void upload_chunk_free(struct upload_chunk *chunk)
{
    encode_release(&chunk->encode);
    buf_release(&chunk->recovery);
    bigmem_free(chunk->raw);
    free(chunk);
}
