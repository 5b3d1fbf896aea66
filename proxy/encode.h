/* One chunk of a new object, made into the values that its OSDs will store.
 *
 * No I/O; made for pool threads: one thread per struct. Works in slices that stay in the
 * CPU cache: each slice of the k data fragments is read once for parity, compression
 * and checksums. */
#ifndef PROXY_ENCODE_H
#define PROXY_ENCODE_H

#include <stdint.h>

#include "policy/compress.h"
#include "policy/fragment.h"
#include "policy/preset.h"

struct encode {
    uint8_t object_id[FRAGMENT_OBJECT_ID_BYTES]; /* in */
    uint32_t chunk;
    uint32_t k;
    uint32_t m;
    enum compress_codec codec;
    uint32_t fragment_bytes; /* raw; all k together hold the chunk */
    const uint8_t *data;     /* borrowed; what lacks to k * fragment_bytes is zeroes */
    uint32_t data_bytes;

    uint8_t *images[PRESET_FRAGMENTS_MAX]; /* out: owned; k = 1: all the same one */
    uint32_t stored_bytes[PRESET_FRAGMENTS_MAX];
    uint32_t crcs[PRESET_FRAGMENTS_MAX]; /* CRC32C of the image */
    uint32_t data_crc;                   /* CRC32C of `data` */
};

/* Memory that one chunk takes while it is encoded and sent. */
size_t encode_memory_bytes(uint32_t k, uint32_t m, uint32_t fragment_bytes,
                           enum compress_codec codec);
void encode_run(struct encode *x);
void encode_release(struct encode *x); /* the images */

#endif
