#include "policy/layout.h"

#include <assert.h>
#include <inttypes.h>

#include "base/check.h"
#include "policy/preset.h"

static_assert(LAYOUT_CHUNK_BYTES_MAX == (int64_t)PRESET_K_MAX * PRESET_FRAGMENT_BYTES_MAX,
              "a chunk of the largest preset");

int layout_init(struct layout *ret_layout, unsigned format, uint32_t k, uint32_t fragment_bytes,
                uint64_t object_bytes, struct err *e)
{
    uint32_t step = format == 0 ? LAYOUT_STEP0_BYTES : LAYOUT_CLUSTER_BYTES;
    uint64_t unit, chunk, count, last;

    CHECK(format <= 1);
    CHECK(k >= 1 && k <= PRESET_K_MAX);
    CHECK(fragment_bytes >= step && fragment_bytes <= PRESET_FRAGMENT_BYTES_MAX);
    CHECK(format == 0 || fragment_bytes % PRESET_FRAGMENT_BYTES_STEP == 0);

    unit = k == 1 ? 1 : (uint64_t)step * k;
    chunk = k == 1 ? fragment_bytes : (uint64_t)(fragment_bytes - fragment_bytes % step) * k;
    count = object_bytes / chunk + (object_bytes % chunk != 0);
    if (count > LAYOUT_CHUNKS_MAX) {
        return err_set(e, ERR_TOO_LARGE, "object of %" PRIu64 " bytes in chunks of %" PRIu64,
                       object_bytes, chunk);
    }
    if (count == 0) {
        count = 1;
    }
    last = object_bytes - (count - 1) * chunk;
    last = (last + unit - 1) / unit * unit;
    *ret_layout = (struct layout){.object_bytes = object_bytes,
                                  .k = k,
                                  .chunk_count = (uint32_t)count,
                                  .chunk_bytes = (uint32_t)(count == 1 ? last : chunk),
                                  .last_chunk_bytes = (uint32_t)last};
    return 0;
}

int layout_from_chunks(struct layout *ret_layout, uint32_t k, uint64_t object_bytes,
                       const uint32_t *chunk_bytes, uint32_t chunk_count, struct err *e)
{
    uint64_t before_last;

    if (k < 1 || k > PRESET_K_MAX) {
        return err_set(e, ERR_CORRUPT, "k is %" PRIu32, k);
    }
    if (chunk_count < 1 || chunk_count > LAYOUT_CHUNKS_MAX) {
        return err_set(e, ERR_CORRUPT, "%" PRIu32 " chunks", chunk_count);
    }
    for (uint32_t i = 0; i < chunk_count; i++) {
        if (chunk_bytes[i] > LAYOUT_CHUNK_BYTES_MAX || chunk_bytes[i] % k != 0 ||
            chunk_bytes[i] / k > PRESET_FRAGMENT_BYTES_MAX ||
            (i + 1 < chunk_count && (chunk_bytes[i] == 0 || chunk_bytes[i] != chunk_bytes[0])) ||
            chunk_bytes[i] > chunk_bytes[0]) {
            return err_set(e, ERR_CORRUPT, "chunk %" PRIu32 " of %" PRIu32 " has %" PRIu32 " bytes",
                           i, chunk_count, chunk_bytes[i]);
        }
    }
    /* The object ends inside the last chunk, or it would have one chunk less. */
    before_last = (uint64_t)chunk_bytes[0] * (chunk_count - 1);
    if (object_bytes < before_last || (object_bytes == before_last && chunk_count > 1) ||
        object_bytes - before_last > chunk_bytes[chunk_count - 1]) {
        return err_set(e, ERR_CORRUPT,
                       "object of %" PRIu64 " bytes in %" PRIu32 " chunks of %" PRIu32,
                       object_bytes, chunk_count, chunk_bytes[0]);
    }
    *ret_layout = (struct layout){.object_bytes = object_bytes,
                                  .k = k,
                                  .chunk_count = chunk_count,
                                  .chunk_bytes = chunk_bytes[0],
                                  .last_chunk_bytes = chunk_bytes[chunk_count - 1]};
    return 0;
}

uint32_t layout_chunk_bytes(const struct layout *l, uint32_t chunk)
{
    CHECK(chunk < l->chunk_count);
    return chunk + 1 == l->chunk_count ? l->last_chunk_bytes : l->chunk_bytes;
}

uint32_t layout_fragment_bytes(const struct layout *l, uint32_t chunk)
{
    return layout_chunk_bytes(l, chunk) / l->k;
}

uint64_t layout_chunk_offset(const struct layout *l, uint32_t chunk)
{
    CHECK(chunk < l->chunk_count);
    return (uint64_t)l->chunk_bytes * chunk;
}

uint32_t layout_chunk_data_bytes(const struct layout *l, uint32_t chunk)
{
    uint64_t left = l->object_bytes - layout_chunk_offset(l, chunk);
    uint32_t bytes = layout_chunk_bytes(l, chunk);

    return left < bytes ? (uint32_t)left : bytes;
}

bool layout_holds(const struct layout *l, uint64_t offset, uint64_t bytes)
{
    return offset <= l->object_bytes && bytes <= l->object_bytes - offset;
}

struct layout_iter layout_range(const struct layout *l, uint64_t offset, uint64_t bytes)
{
    CHECK(layout_holds(l, offset, bytes));
    return (struct layout_iter){.layout = l, .start = offset, .pos = offset, .end = offset + bytes};
}

bool layout_next(struct layout_iter *it, struct layout_piece *ret_piece)
{
    uint32_t chunk, in_chunk, fragment_bytes, offset, room;

    if (it->pos == it->end) {
        return false;
    }
    /* pos < object_bytes, so the chunk and its fragments are not empty. */
    chunk = (uint32_t)(it->pos / it->layout->chunk_bytes);
    in_chunk = (uint32_t)(it->pos % it->layout->chunk_bytes);
    fragment_bytes = layout_fragment_bytes(it->layout, chunk);
    offset = in_chunk % fragment_bytes;
    room = fragment_bytes - offset;
    *ret_piece = (struct layout_piece){
        .chunk = chunk,
        .fragment = in_chunk / fragment_bytes,
        .offset = offset,
        .bytes = it->end - it->pos < room ? (uint32_t)(it->end - it->pos) : room,
        .at = it->pos - it->start};
    it->pos += ret_piece->bytes;
    return true;
}
