#include "wire/snappy_block.h"

#include <snappy-c.h>

#include "base/check.h"
#include "base/err.h"

void snappy_block_put(struct buf *b, struct slice raw)
{
    size_t bytes = snappy_max_compressed_length(raw.len);
    uint8_t *at;

    buf_reserve(b, bytes);
    at = b->data + b->len;
    CHECK(snappy_compress((const char *)raw.data, raw.len, (char *)at, &bytes) == SNAPPY_OK);
    b->len += bytes;
}

int snappy_block_get(struct slice block, size_t bytes_max, struct buf *b)
{
    const char *data = (const char *)block.data;
    size_t bytes;

    if (snappy_uncompressed_length(data, block.len, &bytes) != SNAPPY_OK) {
        return ERR_CORRUPT;
    }
    if (bytes > bytes_max) {
        return ERR_TOO_LARGE;
    }
    buf_reserve(b, bytes);
    if (snappy_uncompress(data, block.len, (char *)b->data + b->len, &bytes) != SNAPPY_OK) {
        return ERR_CORRUPT;
    }
    b->len += bytes;
    return 0;
}
