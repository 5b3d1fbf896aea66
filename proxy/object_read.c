#include "proxy/object_read.h"

#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"

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

/* Of the largest piece that so many bytes can have in a chunk. */
static size_t piece_memory(const struct readable *readable, const struct engine *engine,
                           uint32_t chunk, uint64_t bytes)
{
    uint32_t fragment = layout_fragment_bytes(&readable->layout, chunk);

    return chunk_read_range_memory(readable, engine, chunk,
                                   (uint32_t)(bytes < fragment ? bytes : fragment));
}

size_t object_read_share_bytes(const struct engine *engine)
{
    return engine->budget.limit_bytes / OBJECT_READ_SHARE;
}

/* All chunks but the last are like the first. */
size_t object_read_scratch_bytes(const struct readable *readable, const struct engine *engine,
                                 uint64_t bytes, size_t range_count)
{
    const struct layout *l = &readable->layout;
    uint32_t last = l->chunk_count - 1, fragment = layout_fragment_bytes(l, 0);
    uint64_t chunk_count, piece_count;
    size_t chunk = 0, piece, sum = 0;

    if (fragment == 0 || bytes == 0) {
        return 0;
    }
    piece = max_of(piece_memory(readable, engine, 0, bytes),
                   piece_memory(readable, engine, last, bytes));
    if (bytes >= layout_chunk_data_bytes(l, last)) {
        chunk_count = bytes / layout_chunk_bytes(l, 0) + range_count;
        chunk = max_of(chunk_memory(readable, 0), chunk_memory(readable, last));
        sum = min_of(chunk_count, OBJECT_READ_CHUNKS_MAX) * chunk;
    }
    if (range_count > 1 || readable->use_cache ||
        (bytes < l->object_bytes && bytes % layout_chunk_bytes(l, 0) != 0)) {
        piece_count = min_of(bytes / fragment + 2 * range_count, OBJECT_READ_PIECES_MAX);
        sum += piece_count * max_of(piece_memory(readable, engine, 0, bytes / piece_count + 1),
                                    piece_memory(readable, engine, last, bytes / piece_count + 1));
    }
    return max_of(max_of(chunk, piece), min_of(sum, object_read_share_bytes(engine)));
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

static bool start_chunk(struct object_read *r, uint32_t chunk, uint8_t *dest)
{
    const struct layout *l = &r->readable->layout;
    size_t memory = chunk_memory(r->readable, chunk);
    struct unit *unit;

    if (r->chunks == OBJECT_READ_CHUNKS_MAX || !has_room(r, memory)) {
        return false;
    }
    unit = unit_new(r, dest, layout_chunk_data_bytes(l, chunk), memory);

    unit->is_chunk = true;
    r->chunks++;
    if (is_padded(l, chunk)) {
        unit->padded = bigmem_alloc(layout_chunk_bytes(l, chunk));
        r->engine->scratch_bytes += layout_chunk_bytes(l, chunk);
        dest = unit->padded;
    }
    chunk_read_all(&unit->read, r->engine, r->readable, chunk, dest, on_unit);
    return true;
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

/* As one of whole fragments, or else by pieces. A slice that takes in a small chunk may be asked
 * for again like any other. */
static bool is_whole_chunk(const struct object_read *r, uint32_t chunk, uint64_t at, uint64_t left)
{
    const struct layout *l = &r->readable->layout;

    return at == layout_chunk_offset(l, chunk) && left >= layout_chunk_data_bytes(l, chunk) &&
           !readable_is_cached(r->readable, r->engine, layout_fragment_bytes(l, chunk));
}

/* Cut the next unit off the ranges; false when it has to wait, or nothing is left. */
static bool start_next(struct object_read *r)
{
    const struct object_read_range *range;
    const struct layout *l = &r->readable->layout;
    struct layout_iter it;
    struct layout_piece piece;
    uint64_t at, left;
    uint8_t *dest;
    size_t memory;

    while (r->range < r->range_count && r->done == r->ranges[r->range].bytes) {
        r->range++;
        r->done = 0;
    }
    if (r->range == r->range_count) {
        return false;
    }
    range = &r->ranges[r->range];
    at = range->offset + r->done;
    left = range->bytes - r->done;
    it = layout_range(l, at, left);
    CHECK(layout_next(&it, &piece));
    if (is_whole_chunk(r, piece.chunk, at, left)) {
        if (!start_chunk(r, piece.chunk, range->dest + r->done)) {
            return false;
        }
        r->done += layout_chunk_data_bytes(l, piece.chunk);
        return true;
    }
    memory = chunk_read_range_memory(r->readable, r->engine, piece.chunk, piece.bytes);
    if (r->pieces == OBJECT_READ_PIECES_MAX || !has_room(r, memory)) {
        return false;
    }
    dest = range->dest + r->done;
    r->done += piece.bytes;
    if (readable_is_cached(r->readable, r->engine, piece.bytes)) {
        dest = read_cached(r, &piece, dest);
    }
    if (piece.bytes > 0) {
        start_piece(r, &piece, dest, memory);
    }
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
