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
#include "wire/manifest.h"

struct encode {
    uint8_t object_id[FRAGMENT_OBJECT_ID_BYTES]; /* in */
    uint32_t chunk;
    uint32_t k;
    uint32_t m;
    enum compress_codec codec;
    enum cipher cipher;
    const struct master_key *key; /* borrowed; with a cipher */
    uint32_t fragment_bytes;      /* raw; all k together hold the chunk */
    bool with_sha1;               /* of each image: the checksum that a manifest has of it */
    const uint8_t *data;          /* borrowed; what lacks to k * fragment_bytes is zeroes */
    bool data_stays;              /* until encode_release(): what does not shrink is not copied */
    uint32_t data_bytes;
    uint32_t wanted; /* bit i: fragment i is made; 0: all are */

    uint8_t *images[PRESET_FRAGMENTS_MAX]; /* out: owned; k = 1: all the same one; NULL: not made */
    /* Of `data`: what fragment i begins with in place of its image; NULL: with its image. */
    const uint8_t *payloads[PRESET_FRAGMENTS_MAX];
    uint32_t stored_bytes[PRESET_FRAGMENTS_MAX];
    uint32_t crcs[PRESET_FRAGMENTS_MAX];                      /* CRC32C of the image */
    uint8_t sha1s[PRESET_FRAGMENTS_MAX][CHECKSUM_SHA1_BYTES]; /* when asked for */
    uint8_t ctrs[PRESET_FRAGMENTS_MAX][CIPHER_CTR_BYTES];     /* of AES_CTR_256 */
    uint32_t data_crc; /* CRC32C of `data`, when all are made */
};

/* Memory that one chunk takes while it is encoded and sent. */
size_t encode_memory_bytes(uint32_t k, uint32_t m, uint32_t fragment_bytes,
                           enum compress_codec codec, enum cipher cipher);
/* Salts and counters are fresh each time: the same data is never encrypted to the same bytes. */
void encode_run(struct encode *x);
void encode_release(struct encode *x); /* the images */
/* What is stored of fragment i: the one and then the other. The first may be empty. */
void encode_value(const struct encode *x, uint32_t i, struct slice *ret_payload,
                  struct slice *ret_image);
/* Can fragments of an object that was made so be made again? ERR_VERSION. */
int encode_can(const struct manifest_scheme *scheme, struct err *e);
/* Of image i, in the algorithm of the preset. */
struct checksum encode_sum(const struct encode *x, uint32_t i);
/* What a manifest says of fragment i: its sums, not its place. */
void encode_note(const struct encode *x, uint32_t i, struct manifest_fragment *ret_fragment);
/* Of the end of image i: no other encoding under its key has the same. */
uint32_t encode_tail_bytes(const struct encode *x, uint32_t i);

#endif
