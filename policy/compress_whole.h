/* Codecs of fragment format 0: the fragment as one piece, as other implementations have it.
 *
 * Pure functions, any thread. */
#ifndef POLICY_COMPRESS_WHOLE_H
#define POLICY_COMPRESS_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/compress.h"

/* COMPRESS_SNAPPY, COMPRESS_BZIP2 or COMPRESS_NONE. */
bool compress_whole_is_known(uint32_t tag);
/* The most that `bytes` can become. */
uint32_t compress_whole_max(enum compress_codec codec, uint32_t bytes);
/* Returns the length; `ret_data` has room for compress_whole_max(). */
uint32_t compress_whole(enum compress_codec codec, uint8_t *ret_data, const uint8_t *raw,
                        uint32_t bytes);
/* Inverse, for bytes from anywhere: exactly `raw_bytes` come out or ERR_CORRUPT. */
int decompress_whole(enum compress_codec codec, uint8_t *ret_raw, uint32_t raw_bytes,
                     const uint8_t *data, uint32_t bytes, struct err *e);

#endif
