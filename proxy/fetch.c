/* FLAT or ALL: one request, verified, done. TRAILER -> BLOCKS: two, of which the first is
 * saved by the cache. Large replies are verified and unpacked in the pool, from the bytes as
 * they came. */
#include "proxy/fetch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/hex.h"
#include "base/log.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"
#include "wire/osd_keys.h"

static void on_reply(struct osd_call *call, int rc);

int readable_init(struct readable *ret_readable, struct object *object, struct err *e)
{
    const struct manifest *m = &object->manifest;
    int rc;

    if (m->opaque || m->scheme.fragment_format != 1 || m->scheme.cipher != MANIFEST_CIPHER_NONE ||
        !compress_is_known(m->scheme.codec)) {
        return err_set(e, ERR_VERSION,
                       "object in fragment format %u, codec %u, cipher %u: this program cannot "
                       "read it",
                       m->scheme.fragment_format, m->scheme.codec, m->scheme.cipher);
    }
    if (m->object_id.len != FRAGMENT_OBJECT_ID_BYTES || m->scheme.m > PRESET_M_MAX) {
        return err_set(e, ERR_CORRUPT, "manifest: object id of %zu bytes, m %" PRIu32,
                       m->object_id.len, m->scheme.m);
    }
    rc = layout_from_chunks(&ret_readable->layout, m->scheme.k, m->size_bytes, m->chunk_bytes,
                            m->chunk_count, e);
    if (rc != 0) {
        return err_wrap(e, "manifest");
    }
    ret_readable->object = object;
    ret_readable->low_priority = false;
    ret_readable->use_cache = false;
    ret_readable->k = m->scheme.k;
    ret_readable->m = m->scheme.m;
    return 0;
}

const struct manifest_fragment *readable_fragment(const struct readable *readable, uint32_t chunk,
                                                  uint32_t fragment)
{
    return manifest_fragment_at(&readable->object->manifest, chunk, fragment);
}

struct block_source readable_source(const struct readable *readable, uint32_t chunk,
                                    uint32_t fragment)
{
    const struct manifest *m = &readable->object->manifest;

    return (struct block_source){
        .ns_id = readable->object->ns_id,
        .id = fragment_id_of(m->object_id.data, chunk, fragment, readable->k),
        .raw_bytes = layout_fragment_bytes(&readable->layout, chunk),
        .block_bytes = m->scheme.block_bytes};
}

bool readable_is_cached(const struct readable *readable, const struct engine *engine,
                        uint32_t bytes)
{
    return readable->use_cache && bytes <= BLOCK_CACHE_PIECE_MAX &&
           readable->object->manifest.scheme.block_bytes >= FRAGMENT_BLOCK_BYTES_MIN &&
           block_cache_is_on(&engine->blocks);
}

/* ---- ending ---- */

static void log_corrupt(struct fetch *f)
{
    const struct manifest *m = &f->readable->object->manifest;
    char id[2 * FRAGMENT_OBJECT_ID_BYTES + 1];
    unsigned long skipped;

    f->engine->stats.totals.corrupt_fragments++;
    if (log_limit_pass(&f->engine->corrupt_limit, 1000, &skipped)) {
        hex_encode(id, m->object_id.data, m->object_id.len);
        log_warn("fetch", "bad fragment",
                 "osd=%" PRIu64 " object=%s chunk=%" PRIu32 " fragment=%" PRIu32
                 " why=\"%s\" skipped=%lu",
                 f->osd->id, id, f->range.chunk, f->range.fragment, f->err.msg, skipped);
    }
}

static void finish(struct fetch *f, int rc)
{
    if (rc == ERR_CORRUPT || rc == ERR_VERSION || rc == -ERANGE) {
        log_corrupt(f);
    }
    shared_index_drop(f->index);
    f->index = NULL;
    bigmem_free(f->reply);
    f->reply = NULL;
    gather_release(&f->request);
    f->cb(f, f->canceled && rc != 0 ? ERR_CANCELED : rc);
}

static void on_finish(struct later_item *item)
{
    struct fetch *f = container_of(item, struct fetch, later);

    finish(f, f->rc);
}

/* After looking at bytes that came. */
static void finish_checked(struct fetch *f, int rc)
{
    if (rc == ERR_CORRUPT || rc == ERR_VERSION) {
        osd_note_corrupt(f->osd);
    }
    finish(f, rc);
}

static void finish_later(struct fetch *f, int rc)
{
    f->rc = rc;
    later_run(&f->engine->later, &f->later, on_finish);
}

/* ---- asking ---- */

/* Which parts of the stored value, by state. */
static uint32_t parts_of(const struct fetch *f, struct fragment_range parts[3])
{
    struct fragment_flat flat;

    switch (f->state) {
    case FETCH_FLAT:
        flat = fragment_flat_ranges(&f->ref, f->range.offset, f->range.bytes);
        parts[0] = flat.blocks;
        parts[1] = flat.entries;
        parts[2] = flat.footer;
        return 3;
    case FETCH_ALL:
        parts[0] = (struct fragment_range){.offset = 0, .bytes = f->ref.stored_bytes};
        return 1;
    case FETCH_TRAILER:
        parts[0] = fragment_trailer_range(&f->ref);
        return 1;
    case FETCH_BLOCKS:
        parts[0] = fragment_index_range(&f->index->index, f->range.offset, f->range.bytes);
        return 1;
    }
    CHECK(false);
    return 0;
}

static void ask(struct fetch *f)
{
    const struct manifest *m = &f->readable->object->manifest;
    struct fragment_range parts[3];
    struct asd_part asked[3];
    struct osd_fragment name = {
        .object_id = m->object_id,
        .chunk = f->range.chunk,
        .fragment = f->range.fragment,
        .version = readable_fragment(f->readable, f->range.chunk, f->range.fragment)->version};
    struct buf key = {0};
    struct asd_request request = {.code = ASD_PARTIAL_GET,
                                  .prio = f->readable->low_priority ? ASD_PRIO_LOW : ASD_PRIO_HIGH,
                                  .partial = {.parts = asked}};
    int rc;

    request.partial.part_count = parts_of(f, parts);
    for (uint32_t i = 0; i < request.partial.part_count; i++) {
        asked[i] = (struct asd_part){.offset = parts[i].offset, .bytes = parts[i].bytes};
    }
    osd_key_put_fragment(&key, f->readable->object->ns_id, &name);
    request.partial.key = slice_buf(&key);
    gather_release(&f->request);
    asd_request_encode(&request, &f->request);
    buf_release(&key);
    rc = osd_call_start(f->osd, &f->call, &f->request, OSD_READ, f->engine->options.osd_timeout_ms,
                        on_reply);
    if (rc != 0) {
        err_set(&f->err, rc, "osd %" PRIu64, f->osd->id);
        finish_later(f, rc);
        return;
    }
    f->is_calling = true;
}

/* ---- unpacking ---- */

/* Every byte that is given out is covered by the checksum of its block, the blocks by those
 * of the trailer, and the trailer names object, chunk and fragment. The manifest's checksum of
 * the whole value would be a second pass over the same bytes. */
static int unpack_all(struct fetch *f)
{
    struct fragment_range trailer = fragment_trailer_range(&f->ref);
    struct fragment_index index = {0};
    struct fragment_range blocks;
    int rc;

    rc =
        fragment_index_init(&index, &f->ref, f->data.data + trailer.offset, trailer.bytes, &f->err);
    if (rc == 0) {
        blocks = fragment_index_range(&index, f->range.offset, f->range.bytes);
        rc = fragment_index_unpack(&index, &f->ref, f->range.offset, f->range.bytes,
                                   slice_of(f->data.data + blocks.offset, blocks.bytes),
                                   f->range.dest, &f->err);
    }
    fragment_index_release(&index);
    return rc;
}

/* Any thread: uses *fetch and the manifest, which is constant. */
static int unpack(struct fetch *f, enum fetch_state state)
{
    switch (state) {
    case FETCH_FLAT:
        return fragment_flat_unpack(&f->ref, f->range.offset, f->range.bytes, f->data,
                                    f->range.dest, &f->err);
    case FETCH_ALL:
        return unpack_all(f);
    case FETCH_BLOCKS:
        return fragment_index_unpack(&f->index->index, &f->ref, f->range.offset, f->range.bytes,
                                     f->data, f->range.dest, &f->err);
    default:
        CHECK(false);
        return 0;
    }
}

static void unpack_run(struct pool_work *work)
{
    struct fetch *f = container_of(work, struct fetch, work);

    f->rc = unpack(f, f->state);
}

static void unpack_done(struct pool_work *work, int rc)
{
    struct fetch *f = container_of(work, struct fetch, work);

    if (rc != 0) {
        finish(f, err_set(&f->err, rc, "unpacking"));
    } else {
        finish_checked(f, f->rc);
    }
}

/* The reply's bytes outlive the callback only when detached. */
static void unpack_in_pool(struct fetch *f)
{
    int rc;

    f->reply = asd_call_detach_reply(&f->call.asd);
    rc = pool_submit(f->engine->pool, &f->work, f->readable->low_priority ? POOL_LOW : POOL_HIGH,
                     unpack_run, unpack_done);
    if (rc != 0) {
        finish(f, err_set(&f->err, rc, "unpacking"));
    }
}

/* ---- replies ---- */

static struct index_key key_of(const struct fetch *f)
{
    return (struct index_key){
        .id = f->ref.id,
        .version = readable_fragment(f->readable, f->range.chunk, f->range.fragment)->version,
        .stored_bytes = f->ref.stored_bytes};
}

static void on_trailer(struct fetch *f)
{
    struct fragment_index index;
    struct index_key key = key_of(f);
    int rc = fragment_index_init(&index, &f->ref, f->data.data, (uint32_t)f->data.len, &f->err);

    if (rc != 0) {
        finish_checked(f, rc);
        return;
    }
    f->index = shared_index_new(&index);
    index_cache_put(&f->engine->indexes, &key, f->index);
    f->state = FETCH_BLOCKS;
    ask(f);
}

static size_t expected_bytes(const struct fetch *f)
{
    struct fragment_range parts[3];
    uint32_t count = parts_of(f, parts);
    size_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        sum += parts[i].bytes;
    }
    return sum;
}

static int decode(struct fetch *f)
{
    struct asd_reply reply;
    int rc = asd_reply_decode(f->call.asd.reply, ASD_PARTIAL_GET, &reply, &f->err);

    if (rc != 0) {
        return rc;
    }
    if (!reply.partial.found) {
        rc = err_set(&f->err, ERR_NOT_FOUND, "fragment on osd %" PRIu64, f->osd->id);
    } else if (reply.partial.data.len != expected_bytes(f)) {
        rc = err_set(&f->err, ERR_CORRUPT, "%zu bytes came, %zu were asked for",
                     reply.partial.data.len, expected_bytes(f));
    }
    f->data = reply.partial.data;
    asd_reply_release(&reply);
    return rc;
}

static void on_reply(struct osd_call *call, int rc)
{
    struct fetch *f = container_of(call, struct fetch, call);

    f->is_calling = false;
    buf_release(&call->asd.failed_key);
    if (rc != 0) {
        err_copy(&f->err, &call->asd.err);
        finish(f, rc);
        return;
    }
    rc = f->canceled ? err_set(&f->err, ERR_CANCELED, "read") : decode(f);
    if (rc != 0) {
        finish_checked(f, rc);
        return;
    }
    if (f->state == FETCH_TRAILER) {
        on_trailer(f);
    } else if (f->range.bytes > FETCH_INLINE_BYTES) {
        unpack_in_pool(f);
    } else {
        finish_checked(f, unpack(f, f->state));
    }
}

/* ---- start ---- */

static struct fragment_ref ref_of(const struct readable *r, uint32_t chunk, uint32_t fragment)
{
    const struct manifest *m = &r->object->manifest;

    return (struct fragment_ref){.id = fragment_id_of(m->object_id.data, chunk, fragment, r->k),
                                 .shape = {.raw_bytes = layout_fragment_bytes(&r->layout, chunk),
                                           .block_bytes = m->scheme.block_bytes,
                                           .codec = m->scheme.codec,
                                           .cipher = CIPHER_NONE},
                                 .stored_bytes =
                                     readable_fragment(r, chunk, fragment)->packed_bytes};
}

static enum fetch_state first_state(struct fetch *f)
{
    struct index_key key = key_of(f);

    if (f->ref.stored_bytes <= FETCH_WHOLE_BYTES || f->range.bytes >= f->ref.shape.raw_bytes / 2) {
        return FETCH_ALL;
    }
    if (fragment_is_flat(&f->ref.shape)) {
        return FETCH_FLAT;
    }
    f->index = index_cache_get(&f->engine->indexes, &key);
    return f->index != NULL ? FETCH_BLOCKS : FETCH_TRAILER;
}

void fetch_start(struct fetch *f, struct engine *engine, const struct readable *readable,
                 const struct fetch_range *range, fetch_cb cb)
{
    const struct manifest_fragment *mf = readable_fragment(readable, range->chunk, range->fragment);
    int rc;

    memset(f, 0, sizeof(*f));
    f->engine = engine;
    f->readable = readable;
    f->range = *range;
    f->cb = cb;
    f->ref = ref_of(readable, range->chunk, range->fragment);
    f->osd = mf->has_osd ? osds_find(engine->osds, mf->osd_id) : NULL;
    rc = fragment_ref_check(&f->ref, &f->err);
    if (rc == 0 && f->osd == NULL) {
        rc = err_set(&f->err, ERR_NOT_FOUND, "chunk %" PRIu32 " fragment %" PRIu32 ": its osd",
                     range->chunk, range->fragment);
    }
    if (rc != 0) {
        finish_later(f, rc);
        return;
    }
    f->state = first_state(f);
    ask(f);
}

void fetch_cancel(struct fetch *f)
{
    if (!f->canceled) {
        f->canceled = true;
        if (f->is_calling) {
            osd_call_cancel(&f->call);
        }
    }
}
