#include "proxy/manifest_cache.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/table.h"
#include "proxy/holes.h"

/* Key: 8 bytes of namespace id, then the name. */
struct manifest_cache_entry {
    struct object *object;
    struct fifo_cache_item item;
    UT_hash_handle hh;
    size_t key_bytes;
    uint8_t key[];
};

enum {
    KEY_BYTES_MAX = sizeof(uint64_t) + MANIFEST_NAME_BYTES_MAX,
    MANIFEST_PARTS = 6 /* allocations of a struct manifest */
};

struct object *object_new(uint64_t ns_id, struct manifest *take_manifest)
{
    struct object *object = mem_zalloc(sizeof(*object));

    object->ns_id = ns_id;
    object->manifest = *take_manifest;
    object->refs = 1;
    object->born_ms = clock_mono_ms();
    object->has_holes = holes_count(&object->manifest) > 0;
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

static void on_evict(void *ctx, struct fifo_cache_item *item)
{
    struct manifest_cache *cache = ctx;
    struct manifest_cache_entry *entry = container_of(item, struct manifest_cache_entry, item);

    HASH_DEL(cache->entries, entry);
    object_drop(entry->object);
    free(entry);
}

void manifest_cache_init(struct manifest_cache *cache, size_t limit_bytes)
{
    *cache = (struct manifest_cache){0};
    fifo_cache_init(&cache->items, limit_bytes, on_evict, cache);
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
    fifo_cache_remove(&cache->items, &entry->item);
    on_evict(cache, &entry->item);
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
        cache->misses++;
        return NULL;
    }
    cache->hits++;
    fifo_cache_use(&entry->item);
    return object_hold(entry->object);
}

/* With what malloc() and the table add. */
static size_t memory_bytes(const struct manifest_cache_entry *entry)
{
    return fifo_cache_malloc_bytes(sizeof(*entry) + entry->key_bytes) + FIFO_CACHE_TABLE_BYTES +
           fifo_cache_malloc_bytes(sizeof(*entry->object)) +
           MANIFEST_PARTS * fifo_cache_malloc_bytes(0) +
           fifo_cache_malloc_bytes(manifest_memory_bytes(&entry->object->manifest));
}

void manifest_cache_put(struct manifest_cache *cache, struct object *object)
{
    uint8_t key[KEY_BYTES_MAX];
    size_t key_bytes = make_key(key, object->ns_id, object->manifest.name);
    struct manifest_cache_entry *entry;

    CHECK(key_bytes != 0);
    manifest_cache_remove(cache, object->ns_id, object->manifest.name);
    entry = mem_zalloc(sizeof(*entry) + key_bytes);
    entry->object = object_hold(object);
    entry->key_bytes = key_bytes;
    memcpy(entry->key, key, key_bytes);
    if (!fifo_cache_add(&cache->items, &entry->item, (uint32_t)table_hash(key, key_bytes),
                        memory_bytes(entry))) {
        object_drop(entry->object);
        free(entry);
        return;
    }
    HASH_ADD_KEYPTR(hh, cache->entries, entry->key, key_bytes, entry);
}

void manifest_cache_remove(struct manifest_cache *cache, uint64_t ns_id, struct slice name)
{
    struct manifest_cache_entry *entry = find(cache, ns_id, name);

    cache->stamps[stamp_index(ns_id, name)]++;
    if (entry != NULL) {
        drop_entry(cache, entry);
    }
}

void manifest_cache_doubt(struct manifest_cache *cache, const struct object *object)
{
    struct manifest_cache_entry *entry = find(cache, object->ns_id, object->manifest.name);

    if (entry != NULL && entry->object == object &&
        clock_mono_ms() - object->born_ms >= MANIFEST_CACHE_DOUBT_MS) {
        drop_entry(cache, entry);
    }
}

void manifest_cache_remove_namespace(struct manifest_cache *cache, uint64_t ns_id)
{
    struct manifest_cache_entry *entry, *next;

    for (size_t i = 0; i < MANIFEST_CACHE_STAMPS; i++) {
        cache->stamps[i]++;
    }
    HASH_ITER (hh, cache->entries, entry, next) {
        if (entry->object->ns_id == ns_id) {
            drop_entry(cache, entry);
        }
    }
}

void manifest_cache_release(struct manifest_cache *cache)
{
    fifo_cache_release(&cache->items);
}
