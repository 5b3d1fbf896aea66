#include "policy/compress.h"

#include <errno.h>
#include <inttypes.h>
#include <lz4.h>
#include <string.h>

#include "base/check.h"

bool compress_is_known(uint32_t tag)
{
    return tag == COMPRESS_NONE || tag == COMPRESS_LZ4;
}

static const struct {
    enum compress_codec codec;
    const char *name;
} names[] = {{COMPRESS_NONE, "none"},
             {COMPRESS_LZ4, "lz4"},
             {COMPRESS_SNAPPY, "snappy"},
             {COMPRESS_BZIP2, "bz2"}};

const char *compress_name(enum compress_codec codec)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].codec == codec) {
            return names[i].name;
        }
    }
    CHECK(false);
    return NULL;
}

int compress_parse(const char *name, enum compress_codec *ret_codec)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, name) == 0) {
            *ret_codec = names[i].codec;
            return 0;
        }
    }
    return -EINVAL;
}

uint32_t compress_block(enum compress_codec codec, uint8_t *ret_data, const uint8_t *data,
                        uint32_t bytes)
{
    CHECK(compress_is_known(codec));
    CHECK(bytes <= COMPRESS_BLOCK_BYTES_MAX);

    if (codec == COMPRESS_NONE || bytes < 2) {
        return 0;
    }
    /* One byte less than the input: what does not shrink fails early. */
    return (uint32_t)LZ4_compress_default((const char *)data, (char *)ret_data, (int)bytes,
                                          (int)bytes - 1);
}

int decompress_block(enum compress_codec codec, uint8_t *ret_data, uint32_t raw_bytes,
                     const uint8_t *data, uint32_t bytes, struct err *e)
{
    int n;

    CHECK(compress_is_known(codec) && codec != COMPRESS_NONE);
    CHECK(raw_bytes <= COMPRESS_BLOCK_BYTES_MAX);

    if (bytes > COMPRESS_BLOCK_BYTES_MAX) {
        return err_set(e, ERR_CORRUPT, "lz4 block of %" PRIu32 " bytes", bytes);
    }
    n = LZ4_decompress_safe((const char *)data, (char *)ret_data, (int)bytes, (int)raw_bytes);
    if (n < 0 || (uint32_t)n != raw_bytes) {
        return err_set(e, ERR_CORRUPT, "lz4 block of %" PRIu32 " bytes gives %d, not %" PRIu32,
                       bytes, n, raw_bytes);
    }
    return 0;
}
