/* Block codecs of fragment format 1. A block that does not shrink is stored raw.
 *
 * Pure functions, any thread. */
#ifndef POLICY_COMPRESS_H
#define POLICY_COMPRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* Values are the compression tags of manifests and of fragment footers; below 64
 * they mean what other implementations mean by them. */
enum compress_codec {
    COMPRESS_NONE = 1,
    COMPRESS_SNAPPY = 2, /* of whole fragments: compress_whole.h */
    COMPRESS_BZIP2 = 3,  /* likewise */
    COMPRESS_LZ4 = 64
};

/* The most that one call takes. */
enum { COMPRESS_BLOCK_BYTES_MAX = 1 << 20 };

bool compress_is_known(uint32_t tag); /* as a block codec: none, lz4 */
const char *compress_name(enum compress_codec codec);
/* "none", "lz4", "snappy" or "bz2"; -EINVAL for anything else. */
int compress_parse(const char *name, enum compress_codec *ret_codec);

/* Compress `bytes` (<= COMPRESS_BLOCK_BYTES_MAX) into `ret_data`, which has room for
 * `bytes`. Returns the compressed length, less than `bytes`; or 0 when the block
 * does not shrink: then store it raw (what lies in ret_data is rubbish). */
uint32_t compress_block(enum compress_codec codec, uint8_t *ret_data, const uint8_t *data,
                        uint32_t bytes);

/* Inverse, for bytes from anywhere: exactly `raw_bytes` come out or ERR_CORRUPT. */
int decompress_block(enum compress_codec codec, uint8_t *ret_data, uint32_t raw_bytes,
                     const uint8_t *data, uint32_t bytes, struct err *e);

#endif
