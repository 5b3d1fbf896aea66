#include "proxy/index_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"

enum { KEY_BYTES = FRAGMENT_OBJECT_ID_BYTES + 4 * 4 };

struct index_entry {
    struct shared_index *index;
    size_t bytes;
    struct list link;
    UT_hash_handle hh;
    uint8_t key[KEY_BYTES];
};

static void make_key(uint8_t bytes[KEY_BYTES], const struct index_key *key)
{
    const uint32_t numbers[4] = {key->id.chunk, key->id.fragment, key->version, key->stored_bytes};

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

void index_cache_init(struct index_cache *cache, size_t limit_bytes)
{
    *cache = (struct index_cache){.limit_bytes = limit_bytes};
    list_init(&cache->recent);
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
    list_remove(&entry->link);
    list_push(&cache->recent, &entry->link);
    entry->index->refs++;
    return entry->index;
}

static void drop_entry(struct index_cache *cache, struct index_entry *entry)
{
    HASH_DEL(cache->entries, entry);
    list_remove(&entry->link);
    cache->used_bytes -= entry->bytes;
    shared_index_drop(entry->index);
    free(entry);
}

void index_cache_put(struct index_cache *cache, const struct index_key *key,
                     struct shared_index *index)
{
    struct index_entry *entry = find(cache, key);
    size_t bytes =
        sizeof(*entry) + sizeof(*index) + index->index.block_count * sizeof(*index->index.entries);

    if (entry != NULL || bytes > cache->limit_bytes) {
        return;
    }
    while (cache->used_bytes > cache->limit_bytes - bytes) {
        drop_entry(cache, container_of(cache->recent.next, struct index_entry, link));
    }
    entry = mem_zalloc(sizeof(*entry));
    entry->index = index;
    index->refs++;
    entry->bytes = bytes;
    make_key(entry->key, key);
    HASH_ADD(hh, cache->entries, key, KEY_BYTES, entry);
    list_push(&cache->recent, &entry->link);
    cache->used_bytes += bytes;
}

void index_cache_release(struct index_cache *cache)
{
    while (!list_empty(&cache->recent)) {
        drop_entry(cache, container_of(cache->recent.next, struct index_entry, link));
    }
}
