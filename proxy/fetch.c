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
#include "policy/fragment0.h"
#include "proxy/fetch0.h"

static void on_answer(struct shared_wait *wait, int rc);

static bool is_known(const struct manifest_scheme *scheme)
{
    return scheme->fragment_format == 0
               ? compress_whole_is_known(scheme->codec) && !cipher_is_aead(scheme->cipher)
           : scheme->fragment_format == 1 ? compress_is_known(scheme->codec)
                                          : false;
}

int readable_init(struct readable *ret_readable, struct engine *engine, struct object *object,
                  struct err *e)
{
    const struct manifest *m = &object->manifest;
    int rc;

    if (m->opaque || !is_known(&m->scheme)) {
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
    ret_readable->key = NULL;
    if (m->scheme.cipher != MANIFEST_CIPHER_NONE) {
        rc = key_files_find(engine->options.keys, m->scheme.key_id, &ret_readable->key, e);
        if (rc != 0) {
            return err_wrap(e, "object of preset '%.*s'", (int)m->preset.len,
                            (const char *)m->preset.data);
        }
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

static uint32_t block_bytes_of(const struct readable *readable)
{
    return readable_is_format0(readable) ? FRAGMENT0_SLICE_BYTES
                                         : readable->object->manifest.scheme.block_bytes;
}

struct block_source readable_source(const struct readable *readable, uint32_t chunk,
                                    uint32_t fragment)
{
    const struct manifest *m = &readable->object->manifest;

    return (struct block_source){
        .ns_id = readable->object->ns_id,
        .id = fragment_id_of(m->object_id.data, chunk, fragment, readable->k),
        .raw_bytes = layout_fragment_bytes(&readable->layout, chunk),
        .block_bytes = block_bytes_of(readable)};
}

bool readable_is_cached(const struct readable *readable, const struct engine *engine,
                        uint32_t bytes)
{
    return readable->use_cache && bytes <= BLOCK_CACHE_PIECE_MAX &&
           block_bytes_of(readable) >= FRAGMENT_BLOCK_BYTES_MIN &&
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

/* Of a fragment that is read anew in stripes, the read that found it bad has told. */
static void finish(struct fetch *f, int rc)
{
    if ((rc == ERR_CORRUPT || rc == ERR_VERSION || rc == -ERANGE) && !f->range.exact) {
        log_corrupt(f);
    }
    if (rc != 0 && f->osd != NULL) {
        err_wrap(&f->err, "osd %" PRIu64, f->osd->id);
    }
    shared_index_drop(f->index);
    f->index = NULL;
    shared_get_drop(f->wait.get);
    f->wait.get = NULL;
    if (f->raw != NULL) {
        fetch0_keep(f);
    }
    f->cb(f, f->canceled && rc != 0 ? ERR_CANCELED : rc);
}

static void on_finish(struct later_item *item)
{
    struct fetch *f = container_of(item, struct fetch, later);

    finish(f, f->rc);
}

/* After looking at bytes that came, as others may, too: the OSD has sent them once. */
static void finish_checked(struct fetch *f, int rc)
{
    if ((rc == ERR_CORRUPT || rc == ERR_VERSION) && !f->wait.get->is_known_bad) {
        f->wait.get->is_known_bad = true;
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

/* Who joins gets what the other asked for, which may be more. */
static void ask(struct fetch *f)
{
    struct shared_get_spec spec = {
        .osd = f->osd,
        .ns_id = f->readable->object->ns_id,
        .name = {.object_id = f->readable->object->manifest.object_id,
                 .chunk = f->range.chunk,
                 .fragment = f->range.fragment,
                 .version =
                     readable_fragment(f->readable, f->range.chunk, f->range.fragment)->version},
        .stored_bytes = f->ref.stored_bytes,
        .shape = f->ref.shape,
        .state = f->state,
        .raw_offset = f->range.offset,
        .raw_bytes = f->range.bytes,
        .exact = f->range.exact,
        .low_priority = f->readable->low_priority};
    int rc;

    spec.part_count = parts_of(f, spec.parts);
    shared_get_drop(f->wait.get);
    f->wait.get = NULL;
    rc = shared_get_join(f->engine, &spec, &f->wait, on_answer);
    if (rc != 0) {
        err_set(&f->err, rc, "asking");
        finish_later(f, rc);
        return;
    }
    f->state = f->wait.get->spec.state;
    f->has_joined = f->has_joined || f->wait.has_joined;
    f->is_waiting = true;
}

/* ---- unpacking ---- */

/* Every byte that is given out is covered by the checksum of its block, the blocks by those
 * of the trailer, and the trailer names object, chunk and fragment. The manifest's checksum of
 * the whole value would be a second pass over the same bytes. */
static int unpack_all(struct fetch *f)
{
    const uint8_t *value = f->wait.get->data.data;
    struct fragment_range trailer = fragment_trailer_range(&f->ref);
    struct fragment_index index = {0};
    struct fragment_range blocks;
    int rc;

    rc = fragment_index_init(&index, &f->ref, value + trailer.offset, trailer.bytes, &f->err);
    if (rc == 0) {
        blocks = fragment_index_range(&index, f->range.offset, f->range.bytes);
        rc = fragment_index_unpack(&index, &f->ref, f->range.offset, f->range.bytes,
                                   slice_of(value + blocks.offset, blocks.bytes), f->range.dest,
                                   &f->err);
    }
    fragment_index_release(&index);
    return rc;
}

/* What came may be for a longer range than ours, and bad elsewhere: of that, our three parts. */
static int unpack_flat(struct fetch *f)
{
    const struct shared_get *get = f->wait.get;
    struct fragment_range own[SHARED_GET_PARTS_MAX];
    const uint8_t *from = get->data.data;
    uint8_t *cut = NULL;
    size_t bytes = 0;
    int rc;

    if (f->range.offset == get->spec.raw_offset && f->range.bytes == get->spec.raw_bytes) {
        return fragment_flat_unpack(&f->ref, f->range.offset, f->range.bytes, get->data,
                                    f->range.dest, &f->err);
    }
    parts_of(f, own);
    cut = bigmem_alloc((size_t)own[0].bytes + own[1].bytes + own[2].bytes);
    for (uint32_t i = 0; i < get->spec.part_count; i++) {
        const struct fragment_range *has = &get->spec.parts[i];

        memcpy(cut + bytes, from + (own[i].offset - has->offset), own[i].bytes);
        bytes += own[i].bytes;
        from += has->bytes;
    }
    rc = fragment_flat_unpack(&f->ref, f->range.offset, f->range.bytes, slice_of(cut, bytes),
                              f->range.dest, &f->err);
    bigmem_free(cut);
    return rc;
}

/* The same. The other may have seen another trailer than we, if the OSD makes them up. */
static int unpack_blocks(struct fetch *f)
{
    const struct shared_get *get = f->wait.get;
    struct fragment_range has = get->spec.parts[0];
    struct fragment_range want =
        fragment_index_range(&f->index->index, f->range.offset, f->range.bytes);

    if (want.offset < has.offset || want.offset - has.offset > has.bytes ||
        want.bytes > has.bytes - (want.offset - has.offset)) {
        return err_set(&f->err, ERR_CORRUPT, "two trailers that contradict each other");
    }
    return fragment_index_unpack(&f->index->index, &f->ref, f->range.offset, f->range.bytes,
                                 slice_of(get->data.data + (want.offset - has.offset), want.bytes),
                                 f->range.dest, &f->err);
}

/* Any thread: uses *fetch, and the answer and the manifest, which are constant. */
static int unpack(struct fetch *f, enum fetch_state state)
{
    switch (state) {
    case FETCH_FLAT:
        return unpack_flat(f);
    case FETCH_ALL:
        return readable_is_format0(f->readable) ? fetch0_unpack(f) : unpack_all(f);
    case FETCH_BLOCKS:
        return unpack_blocks(f);
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

/* The others' manifests say the same of these bytes: what is wrong with them is wrong for all. */
static void unpack_done(struct pool_work *work, int rc)
{
    struct fetch *f = container_of(work, struct fetch, work);
    struct list others, *link;

    if (rc != 0) {
        f->rc = err_set(&f->err, rc, "unpacking");
    }
    list_init(&others);
    fetch0_give(f, f->rc, &others);
    while ((link = list_pop(&others)) != NULL) {
        struct fetch *other = container_of(link, struct fetch, link);

        err_copy(&other->err, &f->err);
        finish_checked(other, f->rc);
    }
    finish_checked(f, f->rc);
}

static void unpack_in_pool(struct fetch *f)
{
    int rc;

    if (fetch0_join(f)) {
        return;
    }
    rc = pool_submit(f->engine->pool, &f->work, f->readable->low_priority ? POOL_LOW : POOL_HIGH,
                     unpack_run, unpack_done);
    if (rc != 0) {
        finish(f, err_set(&f->err, rc, "unpacking"));
    } else if (readable_is_format0(f->readable) && f->wait.get->unpacker == NULL &&
               !f->readable->low_priority) {
        f->wait.get->unpacker = f;
    }
}

/* ---- replies ---- */

static struct index_key key_of(const struct fetch *f)
{
    return (struct index_key){
        .id = f->ref.id,
        .version = readable_fragment(f->readable, f->range.chunk, f->range.fragment)->version,
        .stored_bytes = f->ref.stored_bytes,
        .raw_bytes = f->ref.shape.raw_bytes,
        .block_bytes = f->ref.shape.block_bytes,
        .codec = (uint32_t)f->ref.shape.codec,
        .cipher = (uint32_t)f->ref.shape.cipher};
}

static void on_trailer(struct fetch *f)
{
    struct fragment_index index;
    struct index_key key = key_of(f);
    const struct slice *data = &f->wait.get->data;
    int rc = fragment_index_init(&index, &f->ref, data->data, (uint32_t)data->len, &f->err);

    if (rc != 0) {
        finish_checked(f, rc);
        return;
    }
    f->index = shared_index_new(&index);
    index_cache_put(&f->engine->indexes, &key, f->index);
    f->state = FETCH_BLOCKS;
    ask(f);
}

static uint32_t bytes_to_unpack(const struct fetch *f)
{
    return readable_is_format0(f->readable) ? f->ref.shape.raw_bytes : f->range.bytes;
}

static void on_answer(struct shared_wait *wait, int rc)
{
    struct fetch *f = container_of(wait, struct fetch, wait);

    f->is_waiting = false;
    if (rc != 0) {
        err_copy(&f->err, &wait->get->err);
        finish(f, rc);
    } else if (f->state == FETCH_TRAILER) {
        on_trailer(f);
    } else if (bytes_to_unpack(f) > FETCH_INLINE_BYTES) {
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
                                           .cipher = m->scheme.cipher},
                                 .stored_bytes =
                                     readable_fragment(r, chunk, fragment)->packed_bytes};
}

static enum fetch_state first_state(struct fetch *f)
{
    struct index_key key = key_of(f);

    if (readable_is_format0(f->readable) ||
        (!f->range.exact && (f->ref.stored_bytes <= FETCH_WHOLE_BYTES ||
                             f->range.bytes >= f->ref.shape.raw_bytes / 2))) {
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
    if (readable->key != NULL) {
        f->crypto = (struct fragment_crypto){.cipher = (enum cipher)f->ref.shape.cipher,
                                             .key = readable->key};
        memcpy(f->crypto.ctr, mf->ctr, sizeof(f->crypto.ctr));
        f->ref.crypto = &f->crypto;
    }
    f->osd = mf->has_osd ? osds_find(engine->osds, mf->osd_id) : NULL;
    rc = readable_is_format0(readable) ? fetch0_check(f) : fragment_ref_check(&f->ref, &f->err);
    if (rc == 0 && f->ref.shape.cipher == CIPHER_AES_CTR_256 && !mf->has_ctr) {
        rc = err_set(&f->err, ERR_CORRUPT, "manifest: fragment without its counter");
    }
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

/* Is an answer waited for that has to be left? */
static bool end(struct fetch *f)
{
    bool was_waiting = f->is_waiting;

    f->canceled = true;
    f->is_waiting = false;
    if (was_waiting) {
        finish_later(f, err_set(&f->err, ERR_CANCELED, "read"));
    }
    return was_waiting;
}

void fetch_cancel(struct fetch *f)
{
    if (end(f)) {
        shared_get_leave(&f->wait);
    }
}

void fetch_overtake(struct fetch *f, uint64_t too_long_ns)
{
    if (end(f)) {
        shared_get_overtake(&f->wait, too_long_ns);
    }
}

bool fetch_is_asking(const struct fetch *f)
{
    return f->is_waiting;
}
