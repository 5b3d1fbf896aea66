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

/* Of one fetch, besides where its bytes go. What a manifest must not say is not fetched. */
static size_t fetch_bytes(const struct readable *r, uint32_t chunk, uint32_t bytes)
{
    const struct manifest_scheme *scheme = &r->object->manifest.scheme;
    const struct fragment_shape shape = {.raw_bytes = layout_fragment_bytes(&r->layout, chunk),
                                         .block_bytes = scheme->block_bytes,
                                         .codec = scheme->codec,
                                         .cipher = scheme->cipher};
    size_t whole, part;

    if (shape.raw_bytes > FRAGMENT_RAW_BYTES_MAX) {
        return 0;
    }
    if (readable_is_format0(r)) {
        whole = fragment0_stored_max(shape.raw_bytes, (enum compress_codec)shape.codec,
                                     (enum cipher)shape.cipher);
        return whole + (bytes < shape.raw_bytes ? shape.raw_bytes : 0);
    }
    if (shape.block_bytes < FRAGMENT_BLOCK_BYTES_MIN ||
        shape.block_bytes > FRAGMENT_BLOCK_BYTES_MAX) {
        return 0;
    }
    whole = fragment_stored_max(&shape);
    part = (size_t)bytes + 2 * shape.block_bytes + fragment_trailer_bytes(&shape);
    if (bytes >= shape.raw_bytes / 2) {
        return whole;
    }
    return min_of(whole, part > FETCH_WHOLE_BYTES ? part : FETCH_WHOLE_BYTES);
}

size_t chunk_read_all_memory(const struct readable *r, uint32_t chunk)
{
    uint32_t fragment = layout_fragment_bytes(&r->layout, chunk);

    return (size_t)r->m * fragment + (r->k + r->m) * fetch_bytes(r, chunk, fragment);
}

size_t chunk_read_range_memory(const struct readable *r, const struct engine *engine,
                               uint32_t chunk, uint32_t bytes)
{
    uint32_t fragment = layout_fragment_bytes(&r->layout, chunk);
    size_t part = bytes;
    size_t buffers = r->k + r->m - 1;

    if (readable_is_cached(r, engine, bytes)) {
        part += 2 * (size_t)readable_source(r, chunk, 0).block_bytes;
        part = min_of(part, fragment);
        buffers++;
    }
    return buffers * part + (r->k + r->m) * fetch_bytes(r, chunk, (uint32_t)part);
}
