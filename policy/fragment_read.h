/* Reading parts of a stored fragment (format 1), verified.
 *
 * No I/O here: ask which stored ranges are needed, fetch them, hand them back.
 * A range of raw bytes is always one range of the payload. References must have
 * passed fragment_ref_check(); raw ranges lie within shape.raw_bytes; what was
 * fetched may be hostile and gives ERR_CORRUPT or ERR_VERSION, never wrong bytes.
 * Any thread; a struct fragment_index is constant once made. */
#ifndef POLICY_FRAGMENT_READ_H
#define POLICY_FRAGMENT_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"
#include "policy/fragment.h"

/* A range of the stored value, as a PartialGet takes it. */
struct fragment_range {
    uint32_t offset;
    uint32_t bytes;
};

/* ---- reading ranges of any fragment: trailer first (cache it), then blocks ---- */

struct fragment_entry {
    uint32_t offset; /* of the block in the payload; bit 31: stored raw */
    uint32_t crc;    /* of the stored bytes; 0 with an authenticated cipher */
};

struct fragment_index {
    struct fragment_shape shape;
    uint32_t block_count;
    uint32_t payload_bytes;
    uint8_t salt[FRAGMENT_SALT_BYTES];
    struct fragment_entry *entries; /* owned */
    uint8_t *tags;                  /* owned; CIPHER_TAG_BYTES each; NULL: not an AEAD cipher */
};

/* The tail to fetch. */
struct fragment_range fragment_trailer_range(const struct fragment_ref *ref);
int fragment_index_init(struct fragment_index *ret_index, const struct fragment_ref *ref,
                        const uint8_t *trailer, uint32_t trailer_bytes, struct err *e);
void fragment_index_release(struct fragment_index *index); /* accepts {0} */
/* Heap bytes it holds, for caches bounded in bytes. */
size_t fragment_index_memory_bytes(const struct fragment_index *index);

/* The stored bytes that raw [raw_offset, + raw_bytes) needs.
 * Empty for an empty range. */
struct fragment_range fragment_index_range(const struct fragment_index *index, uint32_t raw_offset,
                                           uint32_t raw_bytes);
/* `ref` as for fragment_index_init(), `stored` is that range; `ret_raw` gets the raw_bytes asked
 * for. */
int fragment_index_unpack(const struct fragment_index *index, const struct fragment_ref *ref,
                          uint32_t raw_offset, uint32_t raw_bytes, struct slice stored,
                          uint8_t *ret_raw, struct err *e);

/* ---- reading ranges of an uncompressed fragment in one round trip ---- */

struct fragment_flat {
    struct fragment_range blocks;  /* whole blocks around the raw range */
    struct fragment_range entries; /* of these blocks */
    struct fragment_range footer;
};

/* The three ranges to fetch in one PartialGet; fragment_is_flat(). */
struct fragment_flat fragment_flat_ranges(const struct fragment_ref *ref, uint32_t raw_offset,
                                          uint32_t raw_bytes);
/* Verify the three, which `stored` holds one behind the other, as a PartialGet answers. `ret_raw`
 * gets the raw_bytes asked for. */
int fragment_flat_unpack(const struct fragment_ref *ref, uint32_t raw_offset, uint32_t raw_bytes,
                         struct slice stored, uint8_t *ret_raw, struct err *e);

#endif
