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
    struct list link;
};

static void step(struct object_read *r);

size_t object_read_scratch_bytes(const struct readable *readable, uint64_t bytes,
                                 size_t range_count)
{
    size_t pieces = range_count < OBJECT_READ_PIECES_MAX ? range_count : OBJECT_READ_PIECES_MAX;
    uint32_t block = readable->object->manifest.scheme.block_bytes;
    size_t blocks =
        pieces * 2 * (block < FRAGMENT_BLOCK_BYTES_MAX ? block : FRAGMENT_BLOCK_BYTES_MAX);
    size_t chunk = layout_chunk_bytes(&readable->layout, 0) +
                   (size_t)readable->m * layout_fragment_bytes(&readable->layout, 0);

    if (readable->object->manifest.scheme.fragment_format ==
        0) { /* is fetched and unpacked whole */
        blocks += pieces * 2 * layout_fragment_bytes(&readable->layout, 0);
        return (bytes < chunk ? (size_t)bytes : chunk) + blocks;
    }
    return (bytes < chunk ? (size_t)bytes : chunk) + (readable->use_cache ? blocks : 0);
}

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
    bigmem_free(unit->padded);
    free(unit);
    step(r);
}

static struct unit *unit_new(struct object_read *r, uint8_t *dest, uint32_t bytes)
{
    struct unit *unit = mem_zalloc(sizeof(*unit));

    unit->owner = r;
    unit->dest = dest;
    unit->bytes = bytes;
    list_push(&r->units, &unit->link);
    return unit;
}

static void start_chunk(struct object_read *r, uint32_t chunk, uint8_t *dest)
{
    const struct layout *l = &r->readable->layout;
    struct unit *unit = unit_new(r, dest, layout_chunk_data_bytes(l, chunk));

    unit->is_chunk = true;
    r->chunks++;
    if (layout_chunk_bytes(l, chunk) != unit->bytes) {
        unit->padded = bigmem_alloc(layout_chunk_bytes(l, chunk));
        dest = unit->padded;
    }
    chunk_read_all(&unit->read, r->engine, r->readable, chunk, dest, on_unit);
}

static void start_piece(struct object_read *r, const struct layout_piece *piece, uint8_t *dest)
{
    struct unit *unit = unit_new(r, dest, piece->bytes);
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
        if (r->chunks == OBJECT_READ_CHUNKS_MAX) {
            return false;
        }
        start_chunk(r, piece.chunk, range->dest + r->done);
        r->done += layout_chunk_data_bytes(l, piece.chunk);
        return true;
    }
    if (r->pieces == OBJECT_READ_PIECES_MAX) {
        return false;
    }
    dest = range->dest + r->done;
    r->done += piece.bytes;
    if (readable_is_cached(r->readable, r->engine, piece.bytes)) {
        dest = read_cached(r, &piece, dest);
    }
    if (piece.bytes > 0) {
        start_piece(r, &piece, dest);
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
                       size_t range_count, object_read_cb cb)
{
    void *user = r->user;

    memset(r, 0, sizeof(*r));
    r->user = user;
    r->engine = engine;
    r->readable = readable;
    r->ranges = ranges;
    r->range_count = range_count;
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
