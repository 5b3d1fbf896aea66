/* How an object is cut into chunks and fragments, and which fragment bytes hold
 * a range of it. Arithmetic only, any thread.
 *
 * All chunks but the last have the same size. Fragment i < k of a chunk is its
 * i-th part of chunk_bytes / k bytes; parity fragments have the same size.
 * An empty object is one chunk of size 0. */
#ifndef POLICY_LAYOUT_H
#define POLICY_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum {
    LAYOUT_CLUSTER_BYTES = 4096, /* never straddles two fragments of format 1, k > 1 */
    LAYOUT_STEP0_BYTES = 16,     /* of format 0, k > 1 */
    LAYOUT_CHUNKS_MAX = 1 << 20,
    LAYOUT_CHUNK_BYTES_MAX = 20 * (64 << 20) /* PRESET_K_MAX * PRESET_FRAGMENT_BYTES_MAX */
};

struct layout {
    uint64_t object_bytes; /* without padding */
    uint32_t k;
    uint32_t chunk_count;      /* >= 1 */
    uint32_t chunk_bytes;      /* of all chunks but the last */
    uint32_t last_chunk_bytes; /* with padding */
};

/* For a new object of fragment format 0 or 1. k > 1: the last chunk is padded with zeroes to a
 * multiple of 4096 * k (format 0: 16 * k, and a fragment size is rounded down to 16). k = 1: no
 * padding, because a cluster cannot straddle fragments there and a replica is then the object,
 * byte for byte.
 * k and fragment_bytes are those of a valid preset. ERR_TOO_LARGE beyond CHUNKS_MAX. */
int layout_init(struct layout *ret_layout, unsigned format, uint32_t k, uint32_t fragment_bytes,
                uint64_t object_bytes, struct err *e);

/* From the chunk sizes of a manifest, ours or foreign; ERR_CORRUPT when they do not
 * fit k and the object size. */
int layout_from_chunks(struct layout *ret_layout, uint32_t k, uint64_t object_bytes,
                       const uint32_t *chunk_bytes, uint32_t chunk_count, struct err *e);

/* With padding. */
uint32_t layout_chunk_bytes(const struct layout *l, uint32_t chunk);
uint32_t layout_fragment_bytes(const struct layout *l, uint32_t chunk);
/* Where the chunk starts in the object, and how many of its bytes are object. */
uint64_t layout_chunk_offset(const struct layout *l, uint32_t chunk);
uint32_t layout_chunk_data_bytes(const struct layout *l, uint32_t chunk);

/* One run of object bytes inside one data fragment. */
struct layout_piece {
    uint32_t chunk;
    uint32_t fragment;
    uint32_t offset; /* in the raw fragment */
    uint32_t bytes;
    uint64_t at; /* in the asked range */
};

/* for (it = layout_range(l, offset, bytes); layout_next(&it, &piece);) …
 * The pieces come in object order, cover the range, and are never empty. */
struct layout_iter {
    const struct layout *layout; /* borrowed; private from here */
    uint64_t start;
    uint64_t pos;
    uint64_t end;
};

/* offset + bytes <= object_bytes (see layout_holds). */
struct layout_iter layout_range(const struct layout *l, uint64_t offset, uint64_t bytes);
bool layout_next(struct layout_iter *it, struct layout_piece *ret_piece);

/* For ranges from a peer. */
bool layout_holds(const struct layout *l, uint64_t offset, uint64_t bytes);

#endif
