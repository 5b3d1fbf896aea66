#include "proxy/manifest_cache.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/table.h"

/* Key: 8 bytes of namespace id, then the name. */
struct manifest_cache_entry {
    struct object *object;
    size_t bytes;
    struct list link;
    UT_hash_handle hh;
    size_t key_bytes;
    uint8_t key[];
};

enum { KEY_BYTES_MAX = sizeof(uint64_t) + MANIFEST_NAME_BYTES_MAX };

struct object *object_new(uint64_t ns_id, struct manifest *take_manifest)
{
    struct object *object = mem_zalloc(sizeof(*object));

    object->ns_id = ns_id;
    object->manifest = *take_manifest;
    object->refs = 1;
    *take_manifest = (struct manifest){0};
    return object;
}

struct object *object_hold(struct object *object)
{
    object->refs++;
    return object;
}

void object_drop(struct object *object)
{
    if (object != NULL && --object->refs == 0) {
        manifest_release(&object->manifest);
        free(object);
    }
}

void manifest_cache_init(struct manifest_cache *cache, size_t limit_bytes)
{
    *cache = (struct manifest_cache){.limit_bytes = limit_bytes};
    list_init(&cache->recent);
}

/* 0 when no object can have this name. */
static size_t make_key(uint8_t key[KEY_BYTES_MAX], uint64_t ns_id, struct slice name)
{
    if (name.len > MANIFEST_NAME_BYTES_MAX) {
        return 0;
    }
    memcpy(key, &ns_id, sizeof(ns_id));
    if (name.len > 0) {
        memcpy(key + sizeof(ns_id), name.data, name.len);
    }
    return sizeof(ns_id) + name.len;
}

static struct manifest_cache_entry *find(struct manifest_cache *cache, uint64_t ns_id,
                                         struct slice name)
{
    struct manifest_cache_entry *entry = NULL;
    uint8_t key[KEY_BYTES_MAX];
    size_t bytes = make_key(key, ns_id, name);

    if (bytes != 0) {
        HASH_FIND(hh, cache->entries, key, bytes, entry);
    }
    return entry;
}

static void drop_entry(struct manifest_cache *cache, struct manifest_cache_entry *entry)
{
    HASH_DEL(cache->entries, entry);
    list_remove(&entry->link);
    cache->used_bytes -= entry->bytes;
    cache->count--;
    object_drop(entry->object);
    free(entry);
}

/* Names share stamps: then an answer is not kept though it could have been. */
static size_t stamp_index(uint64_t ns_id, struct slice name)
{
    return crc32c((uint32_t)ns_id, name.data, name.len) % MANIFEST_CACHE_STAMPS;
}

uint32_t manifest_cache_stamp(const struct manifest_cache *cache, uint64_t ns_id, struct slice name)
{
    return cache->stamps[stamp_index(ns_id, name)];
}

void manifest_cache_offer(struct manifest_cache *cache, struct object *object, uint32_t stamp)
{
    struct slice name = object->manifest.name;

    if (manifest_cache_stamp(cache, object->ns_id, name) == stamp) {
        manifest_cache_put(cache, object);
    } else {
        manifest_cache_remove(cache, object->ns_id, name);
    }
}

struct object *manifest_cache_get(struct manifest_cache *cache, uint64_t ns_id, struct slice name)
{
    struct manifest_cache_entry *entry = find(cache, ns_id, name);

    if (entry == NULL) {
        return NULL;
    }
    list_remove(&entry->link);
    list_push(&cache->recent, &entry->link);
    return object_hold(entry->object);
}

void manifest_cache_put(struct manifest_cache *cache, struct object *object)
{
    uint8_t key[KEY_BYTES_MAX];
    size_t key_bytes = make_key(key, object->ns_id, object->manifest.name);
    struct manifest_cache_entry *entry;
    size_t bytes;

    CHECK(key_bytes != 0);
    manifest_cache_remove(cache, object->ns_id, object->manifest.name);
    bytes = sizeof(*entry) + key_bytes + manifest_memory_bytes(&object->manifest);
    if (bytes > cache->limit_bytes) {
        return;
    }
    while (cache->used_bytes > cache->limit_bytes - bytes) {
        drop_entry(cache, container_of(cache->recent.next, struct manifest_cache_entry, link));
    }
    entry = mem_zalloc(sizeof(*entry) + key_bytes);
    entry->object = object_hold(object);
    entry->bytes = bytes;
    entry->key_bytes = key_bytes;
    memcpy(entry->key, key, key_bytes);
    HASH_ADD_KEYPTR(hh, cache->entries, entry->key, key_bytes, entry);
    list_push(&cache->recent, &entry->link);
    cache->used_bytes += bytes;
    cache->count++;
}

void manifest_cache_remove(struct manifest_cache *cache, uint64_t ns_id, struct slice name)
{
    struct manifest_cache_entry *entry = find(cache, ns_id, name);

    cache->stamps[stamp_index(ns_id, name)]++;
    if (entry != NULL) {
        drop_entry(cache, entry);
    }
}

void manifest_cache_remove_namespace(struct manifest_cache *cache, uint64_t ns_id)
{
    for (size_t i = 0; i < MANIFEST_CACHE_STAMPS; i++) {
        cache->stamps[i]++;
    }
    LIST_FOR_EACH_SAFE (it, &cache->recent) {
        struct manifest_cache_entry *entry = container_of(it, struct manifest_cache_entry, link);

        if (entry->object->ns_id == ns_id) {
            drop_entry(cache, entry);
        }
    }
}

void manifest_cache_release(struct manifest_cache *cache)
{
    while (!list_empty(&cache->recent)) {
        drop_entry(cache, container_of(cache->recent.next, struct manifest_cache_entry, link));
    }
}
