#include "proxy/block_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"

enum { KEY_BYTES = FRAGMENT_OBJECT_ID_BYTES + 3 * 4 };

/* So that all of one can be dropped without a look at all others. */
struct block_namespace {
    uint64_t id;
    struct list blocks;
    UT_hash_handle hh;
};

struct block_entry {
    struct fifo_cache_item item;
    struct list link; /* in its namespace */
    struct block_namespace *ns;
    UT_hash_handle hh;
    uint32_t bytes;
    uint32_t read_end; /* where in it the last reader stopped */
    uint8_t key[KEY_BYTES];
    uint8_t data[];
};

static void on_evict(void *ctx, struct fifo_cache_item *item)
{
    struct block_cache *cache = ctx;
    struct block_entry *entry = container_of(item, struct block_entry, item);

    HASH_DEL(cache->entries, entry);
    list_remove(&entry->link);
    if (list_empty(&entry->ns->blocks)) {
        HASH_DEL(cache->namespaces, entry->ns);
        free(entry->ns);
    }
    free(entry);
}

void block_cache_init(struct block_cache *cache, size_t limit_bytes)
{
    *cache = (struct block_cache){0};
    fifo_cache_init(&cache->items, limit_bytes, on_evict, cache);
}

static void make_key(uint8_t key[KEY_BYTES], const struct block_source *source, uint32_t block)
{
    const uint32_t numbers[3] = {source->id.chunk, source->id.fragment, block};

    memcpy(key, source->id.object_id, FRAGMENT_OBJECT_ID_BYTES);
    memcpy(key + FRAGMENT_OBJECT_ID_BYTES, numbers, sizeof(numbers));
}

static uint32_t bytes_of(const struct block_source *source, uint32_t block)
{
    uint32_t left = source->raw_bytes - block * source->block_bytes;

    return left < source->block_bytes ? left : source->block_bytes;
}

static struct block_entry *find(struct block_cache *cache, const struct block_source *source,
                                uint32_t block)
{
    struct block_entry *entry;
    uint8_t key[KEY_BYTES];

    make_key(key, source, block);
    HASH_FIND(hh, cache->entries, key, KEY_BYTES, entry);
    return entry;
}

/* Who reads on from where the last one stopped goes through the object in small steps, which is
 * a scan: it does not count as another use of the block. */
static void use(struct block_entry *entry, uint32_t from, uint32_t end)
{
    if (from != entry->read_end || from == 0) {
        fifo_cache_use(&entry->item);
    }
    entry->read_end = end;
}

/* The part of the block that lies in the range; false: it is not there. */
static bool copy_block(struct block_cache *cache, const struct block_source *source,
                       const struct block_range *range, uint32_t block, uint8_t *dest)
{
    struct block_entry *entry = find(cache, source, block);
    uint32_t start = block * source->block_bytes;
    uint32_t from = range->offset > start ? range->offset - start : 0;
    uint32_t end = range->offset + range->bytes - start;

    if (entry == NULL || entry->bytes != bytes_of(source, block)) {
        return false; /* the manifest contradicts an earlier one of the same object */
    }
    end = end < entry->bytes ? end : entry->bytes;
    memcpy(dest + (start + from - range->offset), entry->data + from, end - from);
    use(entry, from, end);
    return true;
}

void block_cache_read(struct block_cache *cache, const struct block_source *source,
                      struct block_range *range, uint8_t *dest)
{
    const struct block_range asked = *range;
    uint32_t first = asked.offset / source->block_bytes;
    uint32_t last = (asked.offset + asked.bytes - 1) / source->block_bytes;
    uint32_t from = first, to = last + 1; /* missing: [from, to) */
    uint32_t end = asked.offset + asked.bytes;

    while (from < to && copy_block(cache, source, &asked, from, dest)) {
        from++;
    }
    while (from + 1 < to && copy_block(cache, source, &asked, to - 1, dest)) {
        to--;
    }
    cache->hits += last + 1 - first - (to - from);
    cache->misses += to - from;
    if (from > first) {
        range->offset = from == to ? end : from * source->block_bytes;
    }
    if (to <= last) {
        end = to * source->block_bytes;
    }
    range->bytes = end > range->offset ? end - range->offset : 0;
}

struct block_range block_range_align(const struct block_source *source, struct block_range range)
{
    uint32_t from = range.offset - range.offset % source->block_bytes;
    uint32_t over = (range.offset + range.bytes) % source->block_bytes;
    uint32_t to = range.offset + range.bytes;

    if (over != 0) {
        uint32_t more = source->block_bytes - over;

        to = more < source->raw_bytes - to ? to + more : source->raw_bytes;
    }
    return (struct block_range){.offset = from, .bytes = to - from};
}

static struct block_namespace *namespace_of(struct block_cache *cache, uint64_t id)
{
    struct block_namespace *ns;

    HASH_FIND(hh, cache->namespaces, &id, sizeof(id), ns);
    if (ns == NULL) {
        ns = mem_zalloc(sizeof(*ns));
        ns->id = id;
        list_init(&ns->blocks);
        HASH_ADD(hh, cache->namespaces, id, sizeof(ns->id), ns);
    }
    return ns;
}

static void put_block(struct block_cache *cache, const struct block_source *source, uint32_t block,
                      const uint8_t *data)
{
    uint32_t bytes = bytes_of(source, block);
    struct block_entry *entry = mem_alloc(sizeof(*entry) + bytes);

    make_key(entry->key, source, block);
    if (!fifo_cache_add(&cache->items, &entry->item, (uint32_t)table_hash(entry->key, KEY_BYTES),
                        fifo_cache_malloc_bytes(sizeof(*entry) + bytes) + FIFO_CACHE_TABLE_BYTES)) {
        free(entry);
        return;
    }
    entry->bytes = bytes;
    entry->read_end = 0;
    memcpy(entry->data, data, bytes);
    entry->ns = namespace_of(cache, source->ns_id);
    list_push(&entry->ns->blocks, &entry->link);
    HASH_ADD(hh, cache->entries, key, KEY_BYTES, entry);
}

void block_cache_put(struct block_cache *cache, const struct block_source *source,
                     struct block_range aligned, const uint8_t *data)
{
    uint32_t first = aligned.offset / source->block_bytes;
    uint32_t count = (aligned.bytes + source->block_bytes - 1) / source->block_bytes;

    CHECK(aligned.offset % source->block_bytes == 0);
    for (uint32_t i = 0; i < count; i++) {
        if (find(cache, source, first + i) == NULL) {
            put_block(cache, source, first + i, data + (size_t)i * source->block_bytes);
        }
    }
}

void block_cache_remove_namespace(struct block_cache *cache, uint64_t ns_id)
{
    struct block_namespace *ns;
    bool is_last = false;

    HASH_FIND(hh, cache->namespaces, &ns_id, sizeof(ns_id), ns);
    while (ns != NULL && !is_last) {
        struct block_entry *entry = container_of(ns->blocks.next, struct block_entry, link);

        is_last = entry->link.next == &ns->blocks;
        fifo_cache_remove(&cache->items, &entry->item);
        on_evict(cache, &entry->item);
    }
}

void block_cache_release(struct block_cache *cache)
{
    fifo_cache_release(&cache->items);
}
