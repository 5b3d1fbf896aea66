#include "proxy/index_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"

enum { KEY_BYTES = FRAGMENT_OBJECT_ID_BYTES + 8 * 4 };

struct index_entry {
    struct shared_index *index;
    struct fifo_cache_item item;
    UT_hash_handle hh;
    uint8_t key[KEY_BYTES];
};

static void make_key(uint8_t bytes[KEY_BYTES], const struct index_key *key)
{
    const uint32_t numbers[8] = {key->id.chunk,  key->id.fragment, key->version, key->stored_bytes,
                                 key->raw_bytes, key->block_bytes, key->codec,   key->cipher};

    memcpy(bytes, key->id.object_id, FRAGMENT_OBJECT_ID_BYTES);
    memcpy(bytes + FRAGMENT_OBJECT_ID_BYTES, numbers, sizeof(numbers));
}

struct shared_index *shared_index_new(struct fragment_index *take_index)
{
    struct shared_index *index = mem_zalloc(sizeof(*index));

    index->index = *take_index;
    index->refs = 1;
    *take_index = (struct fragment_index){0};
    return index;
}

void shared_index_drop(struct shared_index *index)
{
    if (index != NULL && --index->refs == 0) {
        fragment_index_release(&index->index);
        free(index);
    }
}

static void on_evict(void *ctx, struct fifo_cache_item *item)
{
    struct index_cache *cache = ctx;
    struct index_entry *entry = container_of(item, struct index_entry, item);

    HASH_DEL(cache->entries, entry);
    shared_index_drop(entry->index);
    free(entry);
}

void index_cache_init(struct index_cache *cache, size_t limit_bytes)
{
    *cache = (struct index_cache){0};
    fifo_cache_init(&cache->items, limit_bytes, on_evict, cache);
}

static struct index_entry *find(struct index_cache *cache, const struct index_key *key)
{
    struct index_entry *entry;
    uint8_t bytes[KEY_BYTES];

    make_key(bytes, key);
    HASH_FIND(hh, cache->entries, bytes, KEY_BYTES, entry);
    return entry;
}

struct shared_index *index_cache_get(struct index_cache *cache, const struct index_key *key)
{
    struct index_entry *entry = find(cache, key);

    if (entry == NULL) {
        cache->misses++;
        return NULL;
    }
    cache->hits++;
    fifo_cache_use(&entry->item);
    entry->index->refs++;
    return entry->index;
}

static size_t memory_bytes(const struct fragment_index *index)
{
    return fifo_cache_malloc_bytes(sizeof(struct index_entry)) + FIFO_CACHE_TABLE_BYTES +
           fifo_cache_malloc_bytes(sizeof(struct shared_index)) +
           fifo_cache_malloc_bytes(fragment_index_memory_bytes(index));
}

void index_cache_put(struct index_cache *cache, const struct index_key *key,
                     struct shared_index *index)
{
    struct index_entry *entry;

    if (find(cache, key) != NULL) {
        return;
    }
    entry = mem_zalloc(sizeof(*entry));
    make_key(entry->key, key);
    if (!fifo_cache_add(&cache->items, &entry->item, (uint32_t)table_hash(entry->key, KEY_BYTES),
                        memory_bytes(&index->index))) {
        free(entry);
        return;
    }
    entry->index = index;
    index->refs++;
    HASH_ADD(hh, cache->entries, key, KEY_BYTES, entry);
}

void index_cache_release(struct index_cache *cache)
{
    fifo_cache_release(&cache->items);
}
