#include "base/fifo_cache.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

enum { WAYS = 4, GHOST_BUCKETS_MIN = 64, GHOST_PART = 8, MALLOC_UNIT = 16 };

void fifo_cache_init(struct fifo_cache *cache, size_t limit_bytes, fifo_cache_evict_cb evict,
                     void *ctx)
{
    *cache = (struct fifo_cache){.limit_bytes = limit_bytes, .evict = evict, .ctx = ctx};
    list_init(&cache->small);
    list_init(&cache->main);
}

size_t fifo_cache_malloc_bytes(size_t bytes)
{
    return (bytes + sizeof(size_t) + MALLOC_UNIT - 1) / MALLOC_UNIT * MALLOC_UNIT;
}

/* ---- hashes of what has gone ----
 *
 * A table without chains: a bucket holds the last four that fell into it. One that is pushed
 * out too early costs an item its short cut into the main queue, no more; the same goes for two
 * keys with one hash. */

static struct fifo_cache_ghost *bucket_of(const struct fifo_cache *cache, uint32_t hash)
{
    return &cache->ghosts[(size_t)(hash & (cache->ghost_buckets - 1)) * WAYS];
}

static void ghost_store(struct fifo_cache *cache, uint32_t hash, uint32_t at)
{
    struct fifo_cache_ghost *bucket = bucket_of(cache, hash);
    struct fifo_cache_ghost *oldest = bucket;

    for (unsigned i = 0; i < WAYS; i++) {
        if (bucket[i].hash == hash) {
            oldest = &bucket[i];
            break;
        }
        if (cache->gone - bucket[i].at > cache->gone - oldest->at) {
            oldest = &bucket[i];
        }
    }
    *oldest = (struct fifo_cache_ghost){.hash = hash, .at = at};
}

static size_t ghost_bytes(uint32_t buckets)
{
    return buckets == 0 ? 0
                        : fifo_cache_malloc_bytes(buckets * WAYS * sizeof(struct fifo_cache_ghost));
}

/* Twice as many places as items, but no more than a small part of the memory. */
static void ghosts_grow(struct fifo_cache *cache)
{
    uint32_t had = cache->ghost_buckets;
    uint32_t buckets = had == 0 ? GHOST_BUCKETS_MIN : had * 2;
    struct fifo_cache_ghost *old = cache->ghosts;

    if (cache->count * 2 < (size_t)had * WAYS || buckets > UINT32_MAX / 2 ||
        ghost_bytes(buckets) > cache->limit_bytes / GHOST_PART) {
        return;
    }
    cache->ghosts = mem_array((size_t)buckets * WAYS, sizeof(*cache->ghosts));
    cache->ghost_buckets = buckets;
    cache->used_bytes += ghost_bytes(buckets) - ghost_bytes(had);
    if (had == 0) {
        cache->gone = UINT32_MAX / 2; /* places never used are long gone */
    }
    for (size_t i = 0; i < (size_t)had * WAYS; i++) {
        if (old[i].at != 0) {
            ghost_store(cache, old[i].hash, old[i].at);
        }
    }
    free(old);
}

static bool ghost_has(const struct fifo_cache *cache, uint32_t hash)
{
    const struct fifo_cache_ghost *bucket;

    if (cache->ghost_buckets == 0) {
        return false;
    }
    bucket = bucket_of(cache, hash);
    for (unsigned i = 0; i < WAYS; i++) {
        if (bucket[i].hash == hash && cache->gone - bucket[i].at <= cache->count) {
            return true;
        }
    }
    return false;
}

static void ghost_add(struct fifo_cache *cache, uint32_t hash)
{
    cache->gone++;
    if (cache->ghost_buckets != 0) {
        ghost_store(cache, hash, cache->gone);
    }
}

/* ---- queues ---- */

static void enqueue(struct fifo_cache *cache, struct fifo_cache_item *item, bool is_main)
{
    item->is_main = is_main;
    list_push(is_main ? &cache->main : &cache->small, &item->link);
    cache->small_bytes += is_main ? 0 : item->bytes;
}

static struct fifo_cache_item *dequeue(struct fifo_cache *cache, struct list *queue)
{
    struct fifo_cache_item *item = container_of(list_pop(queue), struct fifo_cache_item, link);

    cache->small_bytes -= item->is_main ? 0 : item->bytes;
    return item;
}

static void evict(struct fifo_cache *cache, struct fifo_cache_item *item)
{
    cache->used_bytes -= item->bytes;
    cache->count--;
    cache->evictions++;
    cache->evict(cache->ctx, item);
}

/* Look at the oldest of a queue: it goes, or moves on. */
static void advance(struct fifo_cache *cache)
{
    bool from_small = list_empty(&cache->main) ||
                      (!list_empty(&cache->small) &&
                       cache->small_bytes >= cache->limit_bytes / FIFO_CACHE_SMALL_PART);
    struct fifo_cache_item *item = dequeue(cache, from_small ? &cache->small : &cache->main);

    if (from_small && item->uses >= FIFO_CACHE_USES) {
        item->uses = 0;
        enqueue(cache, item, true);
    } else if (!from_small && item->uses > 0) {
        item->uses--;
        enqueue(cache, item, true);
    } else {
        if (from_small) {
            ghost_add(cache, item->hash);
        }
        evict(cache, item);
    }
}

bool fifo_cache_add(struct fifo_cache *cache, struct fifo_cache_item *item, uint32_t hash,
                    size_t bytes)
{
    bytes = bytes < sizeof(*item) ? sizeof(*item) : bytes;
    if (bytes > cache->limit_bytes - cache->limit_bytes / GHOST_PART) {
        return false;
    }
    ghosts_grow(cache);
    while (cache->used_bytes > cache->limit_bytes - bytes) {
        advance(cache);
    }
    *item = (struct fifo_cache_item){.bytes = bytes, .hash = hash};
    enqueue(cache, item, ghost_has(cache, hash));
    cache->used_bytes += bytes;
    cache->count++;
    return true;
}

void fifo_cache_remove(struct fifo_cache *cache, struct fifo_cache_item *item)
{
    list_remove(&item->link);
    cache->small_bytes -= item->is_main ? 0 : item->bytes;
    cache->used_bytes -= item->bytes;
    cache->count--;
}

void fifo_cache_release(struct fifo_cache *cache)
{
    while (cache->count > 0) {
        evict(cache, dequeue(cache, list_empty(&cache->small) ? &cache->main : &cache->small));
    }
    free(cache->ghosts);
    cache->used_bytes -= ghost_bytes(cache->ghost_buckets);
    cache->ghosts = NULL;
    cache->ghost_buckets = 0;
}
