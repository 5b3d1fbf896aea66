#include "policy/compress_whole.h"

#include <bzlib.h>
#include <inttypes.h>
#include <snappy-c.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

enum { BZIP2_LENGTH_BYTES = 4, BZIP2_BLOCK_SIZE = 9 };

bool compress_whole_is_known(uint32_t tag)
{
    return tag == COMPRESS_NONE || tag == COMPRESS_SNAPPY || tag == COMPRESS_BZIP2;
}

uint32_t compress_whole_max(enum compress_codec codec, uint32_t bytes)
{
    switch (codec) {
    case COMPRESS_SNAPPY:
        return (uint32_t)snappy_max_compressed_length(bytes);
    case COMPRESS_BZIP2: /* as its manual says: 1 % and 600 bytes more */
        return BZIP2_LENGTH_BYTES + bytes + bytes / 100 + 601;
    default:
        return bytes;
    }
}

static uint32_t bzip2_compress(uint8_t *ret_data, const uint8_t *raw, uint32_t bytes)
{
    unsigned room = compress_whole_max(COMPRESS_BZIP2, bytes) - BZIP2_LENGTH_BYTES;

    put_u32le(ret_data, bytes);
    /* It takes a non-const pointer and only reads. */
    CHECK(BZ2_bzBuffToBuffCompress((char *)ret_data + BZIP2_LENGTH_BYTES, &room,
                                   (char *)(uintptr_t)raw, bytes, BZIP2_BLOCK_SIZE, 0, 0) == BZ_OK);
    return BZIP2_LENGTH_BYTES + room;
}

uint32_t compress_whole(enum compress_codec codec, uint8_t *ret_data, const uint8_t *raw,
                        uint32_t bytes)
{
    size_t n = compress_whole_max(codec, bytes);

    CHECK(compress_whole_is_known(codec));
    if (codec == COMPRESS_BZIP2) {
        return bzip2_compress(ret_data, raw, bytes);
    }
    if (codec == COMPRESS_SNAPPY) {
        CHECK(snappy_compress((const char *)raw, bytes, (char *)ret_data, &n) == SNAPPY_OK);
        return (uint32_t)n;
    }
    if (bytes > 0) {
        memcpy(ret_data, raw, bytes);
    }
    return bytes;
}

static int wrong_length(struct err *e, const char *codec, uint64_t length, uint32_t raw_bytes)
{
    return err_set(e, ERR_CORRUPT, "%s: %" PRIu64 " bytes, not %" PRIu32, codec, length, raw_bytes);
}

static int snappy_decompress(uint8_t *ret_raw, uint32_t raw_bytes, const uint8_t *data,
                             uint32_t bytes, struct err *e)
{
    size_t n = 0;

    if (snappy_uncompressed_length((const char *)data, bytes, &n) != SNAPPY_OK || n != raw_bytes) {
        return wrong_length(e, "snappy", n, raw_bytes);
    }
    if (snappy_uncompress((const char *)data, bytes, (char *)ret_raw, &n) != SNAPPY_OK ||
        n != raw_bytes) {
        return err_set(e, ERR_CORRUPT, "snappy");
    }
    return 0;
}

static int bzip2_decompress(uint8_t *ret_raw, uint32_t raw_bytes, const uint8_t *data,
                            uint32_t bytes, struct err *e)
{
    char none;
    unsigned n = raw_bytes;
    int rc;

    if (bytes < BZIP2_LENGTH_BYTES || get_u32le(data) != raw_bytes) {
        return wrong_length(e, "bzip2", bytes < BZIP2_LENGTH_BYTES ? 0 : get_u32le(data),
                            raw_bytes);
    }
    rc = BZ2_bzBuffToBuffDecompress(raw_bytes > 0 ? (char *)ret_raw : &none, &n,
                                    (char *)(uintptr_t)data + BZIP2_LENGTH_BYTES,
                                    bytes - BZIP2_LENGTH_BYTES, 0, 0);
    CHECK(rc != BZ_MEM_ERROR);
    if (rc != BZ_OK || n != raw_bytes) {
        return err_set(e, ERR_CORRUPT, "bzip2: error %d", rc);
    }
    return 0;
}

int decompress_whole(enum compress_codec codec, uint8_t *ret_raw, uint32_t raw_bytes,
                     const uint8_t *data, uint32_t bytes, struct err *e)
{
    CHECK(compress_whole_is_known(codec));
    if (codec == COMPRESS_SNAPPY) {
        return snappy_decompress(ret_raw, raw_bytes, data, bytes, e);
    }
    if (codec == COMPRESS_BZIP2) {
        return bzip2_decompress(ret_raw, raw_bytes, data, bytes, e);
    }
    if (bytes != raw_bytes) {
        return wrong_length(e, "uncompressed", bytes, raw_bytes);
    }
    if (bytes > 0) {
        memcpy(ret_raw, data, bytes);
    }
    return 0;
}
