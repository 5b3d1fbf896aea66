/* Which of many items a cache keeps: bounded in bytes, and not swept by a scan.
 *
 * S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache eviction",
 * SOSP 2023): what is new enters a small queue of a tenth of the bytes. What was used at least
 * FIFO_CACHE_USES times when it has passed through goes on to the main queue, the rest goes, and
 * only its hash is remembered, until as many others have gone as the cache holds. What comes
 * back in that time enters the main queue at once, where each use since the last visit of the
 * hand buys another round. So what is asked for once passes through the small queue and moves
 * nothing else; and a use is a counter, not a move in a list.
 *
 * Intrusive: the owner embeds a struct fifo_cache_item, finds items in a table of its own and
 * frees them in the callback. One thread. */
#ifndef BASE_FIFO_CACHE_H
#define BASE_FIFO_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum {
    FIFO_CACHE_USES = 2,        /* in the small queue, to get into the main one */
    FIFO_CACHE_USES_MAX = 3,    /* counted */
    FIFO_CACHE_SMALL_PART = 10, /* 1 / this of the bytes */
    /* What a table of base/table.h takes for an item besides its handle, at most. */
    FIFO_CACHE_TABLE_BYTES = 16
};

struct fifo_cache_item { /* private */
    struct list link;
    size_t bytes;
    uint32_t hash;
    uint8_t uses;
    bool is_main;
};

/* The item has left the cache: take it out of the table and free it. It may not touch the
 * cache. */
typedef void (*fifo_cache_evict_cb)(void *ctx, struct fifo_cache_item *item);

struct fifo_cache_ghost {
    uint32_t hash;
    uint32_t at; /* of fifo_cache.gone */
};

struct fifo_cache {
    size_t limit_bytes;
    size_t used_bytes; /* <= limit_bytes, with the memory of gone items' hashes */
    size_t count;
    uint64_t evictions;

    struct list small, main; /* private from here on; oldest first */
    size_t small_bytes;
    struct fifo_cache_ghost *ghosts; /* buckets of 4 */
    uint32_t ghost_buckets;
    uint32_t gone; /* counts what left the small queue */
    fifo_cache_evict_cb evict;
    void *ctx;
};

void fifo_cache_init(struct fifo_cache *cache, size_t limit_bytes, fifo_cache_evict_cb evict,
                     void *ctx);
/* `bytes` is all the memory that the item takes, and counts as no less than the item itself;
 * `hash` is that of its key. Others are evicted until there is room. False: larger than seven
 * eighths of the cache, which has not changed; the item stays the caller's. */
bool fifo_cache_add(struct fifo_cache *cache, struct fifo_cache_item *item, uint32_t hash,
                    size_t bytes);
/* The item was asked for and is there. */
static inline void fifo_cache_use(struct fifo_cache_item *item)
{
    if (item->uses < FIFO_CACHE_USES_MAX) {
        item->uses++;
    }
}
/* The item becomes the caller's; nothing is evicted, nothing remembered. */
void fifo_cache_remove(struct fifo_cache *cache, struct fifo_cache_item *item);
/* Evicts everything. */
void fifo_cache_release(struct fifo_cache *cache);

/* What malloc() takes for `bytes`. */
size_t fifo_cache_malloc_bytes(size_t bytes);

#endif
