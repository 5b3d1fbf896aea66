#include "proxy/object_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "proxy/holes.h"

/* One chunk or one piece under way. */
struct unit {
    struct chunk_read read;
    struct object_read *owner;
    bool is_chunk;
    uint8_t *padded; /* owned: a last chunk that is longer than the object's bytes in it */
    uint8_t *dest;
    uint32_t bytes;
    size_t memory_bytes; /* of the owner's */
    struct list link;
};

static void step(struct object_read *r);

/* ---- memory ---- */

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool is_padded(const struct layout *l, uint32_t chunk)
{
    return layout_chunk_bytes(l, chunk) != layout_chunk_data_bytes(l, chunk);
}

static size_t chunk_memory(const struct readable *readable, uint32_t chunk)
{
    const struct layout *l = &readable->layout;

    return chunk_read_all_memory(readable, chunk) +
           (is_padded(l, chunk) ? layout_chunk_bytes(l, chunk) : 0);
}

/* ---- units ---- */

/* As one of whole fragments, or else by pieces. A slice that takes in a small chunk may be asked
 * for again like any other. */
static bool is_whole_chunk(const struct engine *engine, const struct readable *readable,
                           uint32_t chunk, uint64_t at, uint64_t left)
{
    const struct layout *l = &readable->layout;

    return at == layout_chunk_offset(l, chunk) && left >= layout_chunk_data_bytes(l, chunk) &&
           !readable_is_cached(readable, engine, layout_fragment_bytes(l, chunk));
}

/* With which unit a range of the object begins. */
struct cut {
    struct layout_piece piece; /* of a whole chunk: its first */
    bool is_chunk;
    uint32_t bytes;
    size_t memory_bytes;
};

static struct cut cut_next(const struct engine *engine, const struct readable *readable,
                           uint64_t at, uint64_t left)
{
    struct layout_iter it = layout_range(&readable->layout, at, left);
    struct cut cut;

    CHECK(layout_next(&it, &cut.piece));
    cut.is_chunk = is_whole_chunk(engine, readable, cut.piece.chunk, at, left);
    if (cut.is_chunk) {
        cut.bytes = layout_chunk_data_bytes(&readable->layout, cut.piece.chunk);
        cut.memory_bytes = chunk_memory(readable, cut.piece.chunk);
    } else {
        cut.bytes = cut.piece.bytes;
        cut.memory_bytes = chunk_read_range_memory(
            readable, engine, cut.piece.chunk,
            (struct block_range){.offset = cut.piece.offset, .bytes = cut.piece.bytes});
    }
    return cut;
}

size_t object_read_share_bytes(const struct engine *engine)
{
    return engine->budget.limit_bytes / OBJECT_READ_SHARE;
}

struct object_read_need object_read_need_of(const struct engine *engine,
                                            const struct readable *readable)
{
    return (struct object_read_need){.engine = engine, .readable = readable};
}

static void need_unit(struct object_read_need *need, size_t bytes, unsigned *count, unsigned max)
{
    need->most = max_of(need->most, bytes);
    if (*count < max) {
        need->sum += bytes;
        ++*count;
    }
}

void object_read_need_add(struct object_read_need *need, uint64_t offset, uint64_t bytes)
{
    while (bytes > 0) {
        struct cut cut = cut_next(need->engine, need->readable, offset, bytes);

        if (cut.is_chunk) {
            need_unit(need, cut.memory_bytes, &need->chunks, OBJECT_READ_CHUNKS_MAX);
        } else {
            need_unit(need, cut.memory_bytes, &need->pieces, OBJECT_READ_PIECES_MAX);
        }
        offset += cut.bytes;
        bytes -= cut.bytes;
    }
}

size_t object_read_need_bytes(const struct object_read_need *need)
{
    return max_of(need->most, min_of(need->sum, object_read_share_bytes(need->engine)));
}

/* ---- what is under way ---- */

/* Not: that a near fragment was preferred to a far one. */
static bool lacks_data(const struct object_read *r, uint32_t chunk)
{
    for (uint32_t i = 0; i < r->readable->k; i++) {
        const struct manifest_fragment *f = readable_fragment(r->readable, chunk, i);
        const struct osd *osd = f->has_osd ? osds_find(r->engine->osds, f->osd_id) : NULL;

        if (osd == NULL || osd->gone || osd->aside) {
            return true;
        }
    }
    return false;
}

/* What is lost, or was computed, may have been made anew by others. */
static void look_at_fragments(struct object_read *r, const struct chunk_read *read)
{
    if (read->bad != 0) {
        repair_queue_note(&r->engine->repairs, r->readable->object, read->chunk, read->bad);
    }
    if (read->bad != 0 || (read->computed && lacks_data(r, read->chunk))) {
        manifest_cache_doubt(&r->engine->manifests, r->readable->object);
    }
}

static void on_unit(struct chunk_read *read, int rc)
{
    struct unit *unit = container_of(read, struct unit, read);
    struct object_read *r = unit->owner;

    list_remove(&unit->link);
    r->memory_used -= unit->memory_bytes;
    if (unit->is_chunk) {
        r->chunks--;
    } else {
        r->pieces--;
    }
    look_at_fragments(r, read);
    if (rc == 0 && unit->padded != NULL) {
        memcpy(unit->dest, unit->padded, unit->bytes);
    }
    if (rc != 0 && r->rc == 0) {
        r->rc = rc;
        err_copy(&r->err, &read->err);
        LIST_FOR_EACH (it, &r->units) {
            chunk_read_cancel(&container_of(it, struct unit, link)->read);
        }
    }
    if (unit->padded != NULL) {
        r->engine->scratch_bytes -= layout_chunk_bytes(&r->readable->layout, read->chunk);
        bigmem_free(unit->padded);
    }
    free(unit);
    step(r);
}

/* When not, one that is under way ends later, and it is asked again. */
static bool has_room(const struct object_read *r, size_t bytes)
{
    return r->memory_used == 0 ||
           (r->memory_used < r->memory_bytes && bytes <= r->memory_bytes - r->memory_used);
}

static struct unit *unit_new(struct object_read *r, uint8_t *dest, uint32_t bytes,
                             size_t memory_bytes)
{
    struct unit *unit = mem_zalloc(sizeof(*unit));

    unit->owner = r;
    unit->dest = dest;
    unit->bytes = bytes;
    unit->memory_bytes = memory_bytes;
    r->memory_used += memory_bytes;
    list_push(&r->units, &unit->link);
    return unit;
}

static void start_chunk(struct object_read *r, const struct cut *cut, uint8_t *dest)
{
    const struct layout *l = &r->readable->layout;
    struct unit *unit = unit_new(r, dest, cut->bytes, cut->memory_bytes);
    uint32_t chunk = cut->piece.chunk;

    unit->is_chunk = true;
    r->chunks++;
    if (is_padded(l, chunk)) {
        unit->padded = bigmem_alloc(layout_chunk_bytes(l, chunk));
        r->engine->scratch_bytes += layout_chunk_bytes(l, chunk);
        dest = unit->padded;
    }
    chunk_read_all(&unit->read, r->engine, r->readable, chunk, dest, on_unit);
}

static void start_piece(struct object_read *r, const struct layout_piece *piece, uint8_t *dest,
                        size_t memory)
{
    struct unit *unit = unit_new(r, dest, piece->bytes, memory);
    struct fetch_range range = {.chunk = piece->chunk,
                                .fragment = piece->fragment,
                                .offset = piece->offset,
                                .bytes = piece->bytes,
                                .dest = dest};

    r->pieces++;
    chunk_read_range(&unit->read, r->engine, r->readable, &range, on_unit);
}

/* What the cache does not have is left in *piece. */
static uint8_t *read_cached(struct object_read *r, struct layout_piece *piece, uint8_t *dest)
{
    struct block_source source = readable_source(r->readable, piece->chunk, piece->fragment);
    struct block_range left = {.offset = piece->offset, .bytes = piece->bytes};

    block_cache_read(&r->engine->blocks, &source, &left, dest);
    dest += left.offset - piece->offset;
    piece->offset = left.offset;
    piece->bytes = left.bytes;
    if (left.bytes == 0) {
        r->cache_hits++;
    } else {
        r->cache_misses++;
    }
    return dest;
}

static void start_piece_or_chunk(struct object_read *r, struct cut *cut, uint8_t *dest)
{
    if (cut->is_chunk) {
        start_chunk(r, cut, dest);
        return;
    }
    if (readable_is_cached(r->readable, r->engine, cut->bytes)) {
        dest = read_cached(r, &cut->piece, dest);
    }
    if (cut->piece.bytes > 0) {
        start_piece(r, &cut->piece, dest, cut->memory_bytes);
    }
}

/* Cut the next unit off the ranges; false when it has to wait, or nothing is left. */
static bool start_next(struct object_read *r)
{
    const struct object_read_range *range;
    struct cut cut;
    bool is_full;

    while (r->range < r->range_count && r->done == r->ranges[r->range].bytes) {
        r->range++;
        r->done = 0;
    }
    if (r->range == r->range_count) {
        return false;
    }
    range = &r->ranges[r->range];
    cut = cut_next(r->engine, r->readable, range->offset + r->done, range->bytes - r->done);
    is_full =
        cut.is_chunk ? r->chunks == OBJECT_READ_CHUNKS_MAX : r->pieces == OBJECT_READ_PIECES_MAX;
    if (is_full || !has_room(r, cut.memory_bytes)) {
        return false;
    }
    r->done += cut.bytes;
    start_piece_or_chunk(r, &cut, range->dest + r->done - cut.bytes);
    return true;
}

static void step(struct object_read *r)
{
    while (r->rc == 0 && start_next(r)) {
    }
    if (r->chunks + r->pieces == 0) {
        r->cb(r, r->rc);
    }
}

static void on_start(struct later_item *item)
{
    step(container_of(item, struct object_read, later));
}

void object_read_start(struct object_read *r, struct engine *engine,
                       const struct readable *readable, const struct object_read_range *ranges,
                       size_t range_count, size_t scratch_bytes, object_read_cb cb)
{
    void *user = r->user;

    holes_seen(engine, readable->object);
    memset(r, 0, sizeof(*r));
    r->user = user;
    r->engine = engine;
    r->readable = readable;
    r->ranges = ranges;
    r->range_count = range_count;
    r->memory_bytes = scratch_bytes;
    r->cb = cb;
    list_init(&r->units);
    later_run(&engine->later, &r->later, on_start);
}

void object_read_cancel(struct object_read *r)
{
    if (r->rc != 0) {
        return;
    }
    r->rc = err_set(&r->err, ERR_CANCELED, "read");
    LIST_FOR_EACH (it, &r->units) {
        chunk_read_cancel(&container_of(it, struct unit, link)->read);
    }
}
