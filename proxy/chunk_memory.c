/* What a chunk_read can hold at once, by what chunk_read.c and fetch.c do at worst: the answers of
 * all OSDs, when those that are late (chunk_hedge.c) come with the others, before any is unpacked;
 * and the ranges of other fragments, good or not, until the end. */
#include "policy/fragment0.h"
#include "proxy/chunk_read.h"
#include "proxy/fetch0.h"

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Whole blocks around it, as they are stored: never more than their raw bytes. */
static size_t blocks_bytes(const struct fragment_shape *shape, struct block_range range)
{
    const struct block_source source = {.raw_bytes = shape->raw_bytes,
                                        .block_bytes = shape->block_bytes};

    return block_range_align(&source, range).bytes;
}

/* One answer, besides where its bytes go. What a manifest must not say is not fetched. */
static size_t answer_bytes(const struct readable *r, const struct fragment_shape *shape,
                           uint32_t packed_bytes, struct block_range range)
{
    bool is_whole = range.bytes == shape->raw_bytes;
    size_t whole;

    if (readable_is_format0(r)) {
        whole = fragment0_stored_max(shape->raw_bytes, (enum compress_codec)shape->codec,
                                     (enum cipher)shape->cipher);
        return min_of(packed_bytes, whole) + (is_whole ? 0 : shape->raw_bytes);
    }
    whole = min_of(packed_bytes, fragment_stored_max(shape));
    if (whole <= FETCH_WHOLE_BYTES || range.bytes >= shape->raw_bytes / 2) {
        return whole;
    }
    return min_of(whole, blocks_bytes(shape, range) + fragment_trailer_bytes(shape));
}

/* Of all that the chunk has. */
static size_t answers_bytes(const struct readable *r, uint32_t chunk, struct block_range range)
{
    const struct manifest_scheme *scheme = &r->object->manifest.scheme;
    const struct fragment_shape shape = {.raw_bytes = layout_fragment_bytes(&r->layout, chunk),
                                         .block_bytes = scheme->block_bytes,
                                         .codec = scheme->codec,
                                         .cipher = scheme->cipher};
    size_t sum = 0;

    if (shape.raw_bytes > FRAGMENT_RAW_BYTES_MAX ||
        (!readable_is_format0(r) && (shape.block_bytes < FRAGMENT_BLOCK_BYTES_MIN ||
                                     shape.block_bytes > FRAGMENT_BLOCK_BYTES_MAX))) {
        return 0;
    }
    for (uint32_t i = 0; i < r->k + r->m; i++) {
        const struct manifest_fragment *f = readable_fragment(r, chunk, i);

        sum += f->has_osd ? answer_bytes(r, &shape, f->packed_bytes, range) : 0;
    }
    return sum;
}

size_t chunk_read_all_memory(const struct readable *r, uint32_t chunk)
{
    uint32_t fragment = layout_fragment_bytes(&r->layout, chunk);

    return (size_t)r->m * fragment +
           answers_bytes(r, chunk, (struct block_range){.bytes = fragment});
}

size_t chunk_read_range_memory(const struct readable *r, const struct engine *engine,
                               uint32_t chunk, struct block_range range)
{
    struct block_source source = readable_source(r, chunk, 0);
    size_t buffers = r->k + r->m - 1;

    if (readable_is_cached(r, engine, range.bytes)) {
        range = block_range_align(&source, range);
        buffers++;
    }
    return buffers * range.bytes + answers_bytes(r, chunk, range);
}
