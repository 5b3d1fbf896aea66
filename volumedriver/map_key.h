/* Keys and values of the local map store. Bytes: FORMAT.md, section 4. */
#ifndef VOLUMEDRIVER_MAP_KEY_H
#define VOLUMEDRIVER_MAP_KEY_H

#include <stdint.h>
#include <string.h>

#include "base/buf.h"

enum {
    MAP_KEY_BYTES_MAX = 32,
    MAP_META_BYTES = 92,
    MAP_SCO_BYTES = 52,
    MAP_TRAIL_BYTES = 12,
    MAP_PAGE_BYTES = 4096,
};

struct map_key {
    uint8_t bytes[MAP_KEY_BYTES_MAX];
    uint8_t len;
};

static inline struct map_key map_key(const uint8_t uuid[16], char kind)
{
    struct map_key k = {.len = 17};

    memcpy(k.bytes, uuid, 16);
    k.bytes[16] = (uint8_t)kind;
    return k;
}

static inline struct map_key map_key_number(const uint8_t uuid[16], char kind, uint64_t number)
{
    struct map_key k = map_key(uuid, kind);

    put_u64be(k.bytes + 17, number);
    k.len = 25;
    return k;
}

static inline struct map_key map_key_page(const uint8_t uuid[16], uint64_t page,
                                          uint32_t generation)
{
    struct map_key k = map_key_number(uuid, 'p', page);

    put_u32be(k.bytes + 25, ~generation);
    k.len = 29;
    return k;
}

static inline struct slice map_key_slice(const struct map_key *k)
{
    return slice_of(k->bytes, k->len);
}

#endif
