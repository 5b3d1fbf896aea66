/* Keys and values of the local map store. Bytes: FORMAT.md, section 4. */
#ifndef VOLUMEDRIVER_MAP_KEY_H
#define VOLUMEDRIVER_MAP_KEY_H

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "volumedriver/uuid.h"

/* Where the parts of a key begin, and how long one of a page is. */
enum {
    MAP_KEY_KIND_AT = UUID_BYTES,
    MAP_KEY_NUMBER_AT = MAP_KEY_KIND_AT + 1,
    MAP_KEY_GENERATION_AT = MAP_KEY_NUMBER_AT + 8,
    MAP_KEY_PAGE_BYTES = MAP_KEY_GENERATION_AT + 4,
};

enum {
    MAP_META_BYTES = 92,
    MAP_SCO_BYTES = 52,
    MAP_TRAIL_BYTES = 12,
    MAP_PAGE_BYTES = 4096,
};

struct map_key {
    uint8_t bytes[MAP_KEY_PAGE_BYTES];
    uint8_t len;
};

static inline struct map_key map_key(const uint8_t uuid[UUID_BYTES], char kind)
{
    struct map_key k = {.len = MAP_KEY_NUMBER_AT};

    memcpy(k.bytes, uuid, UUID_BYTES);
    k.bytes[MAP_KEY_KIND_AT] = (uint8_t)kind;
    return k;
}

static inline struct map_key map_key_number(const uint8_t uuid[UUID_BYTES], char kind,
                                            uint64_t number)
{
    struct map_key k = map_key(uuid, kind);

    put_u64be(k.bytes + MAP_KEY_NUMBER_AT, number);
    k.len = MAP_KEY_GENERATION_AT;
    return k;
}

static inline struct map_key map_key_page(const uint8_t uuid[UUID_BYTES], uint64_t page,
                                          uint32_t generation)
{
    struct map_key k = map_key_number(uuid, 'p', page);

    put_u32be(k.bytes + MAP_KEY_GENERATION_AT, ~generation);
    k.len = MAP_KEY_PAGE_BYTES;
    return k;
}

static inline struct slice map_key_slice(const struct map_key *k)
{
    return slice_of(k->bytes, k->len);
}

#endif
