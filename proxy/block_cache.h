/* Raw blocks of fragments as they were read and verified, in memory, for slices; bounded in
 * bytes (base/fifo_cache.h).
 *
 * What is here is never out of date: a block is kept under the object id, which is drawn afresh
 * for every attempt to put, names one sequence of bytes for ever, and is asked for only by who
 * holds a manifest that names it. An object that is written again has another id; whether a
 * reader may use an older manifest is the business of manifest_cache.h. Raw bytes do not depend
 * on where a fragment is stored or how often it was packed, so repair changes nothing either.
 *
 * Loop thread only. */
#ifndef PROXY_BLOCK_CACHE_H
#define PROXY_BLOCK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fifo_cache.h"
#include "policy/fragment.h"

/* A longer piece of a fragment is read past this cache: such a reader is faster than memory
 * would make it worth while. */
enum { BLOCK_CACHE_PIECE_MAX = 65536 };

/* Whose blocks. */
struct block_source {
    uint64_t ns_id;
    struct fragment_id id;
    uint32_t raw_bytes;   /* of the fragment */
    uint32_t block_bytes; /* > 0 */
};

/* Raw bytes of the fragment. */
struct block_range {
    uint32_t offset;
    uint32_t bytes;
};

struct block_entry;
struct block_namespace;

struct block_cache {
    struct fifo_cache items;
    uint64_t hits; /* blocks */
    uint64_t misses;

    struct block_entry *entries; /* private */
    struct block_namespace *namespaces;
};

void block_cache_init(struct block_cache *cache, size_t limit_bytes); /* 0: keeps nothing */
static inline bool block_cache_is_on(const struct block_cache *cache)
{
    return cache->items.limit_bytes > 0;
}
/* Copies what is there at the start and at the end of *range to its place in `dest`, which is that
 * of range->offset. The rest, which may be all or nothing (bytes 0), is left in *range. */
void block_cache_read(struct block_cache *cache, const struct block_source *source,
                      struct block_range *range, uint8_t *dest);
/* Whole blocks around a range, within the fragment. */
struct block_range block_range_align(const struct block_source *source, struct block_range range);
/* `data` is that of the aligned range; what is there stays. */
void block_cache_put(struct block_cache *cache, const struct block_source *source,
                     struct block_range aligned, const uint8_t *data);
void block_cache_remove_namespace(struct block_cache *cache, uint64_t ns_id);
void block_cache_release(struct block_cache *cache);

#endif
