#include "object/known.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"

struct known_entry {
    struct fifo_cache_item item;
    struct known_object *object; /* one reference */
    UT_hash_handle hh;
    size_t key_bytes;
    uint8_t key[]; /* length of the namespace, namespace, name: either may hold any byte */
};

/* ---- objects ---- */

static int check(const struct manifest *m, struct layout *ret_layout, struct err *e)
{
    int rc;

    if (m->opaque || m->scheme.fragment_format != 1 || m->scheme.cipher != MANIFEST_CIPHER_NONE ||
        !compress_is_known(m->scheme.codec)) {
        return err_set(e, ERR_VERSION, "fragment format %u, codec %u, cipher %u",
                       m->scheme.fragment_format, m->scheme.codec, m->scheme.cipher);
    }
    if (m->object_id.len != FRAGMENT_OBJECT_ID_BYTES) {
        return err_set(e, ERR_CORRUPT, "object id of %zu bytes", m->object_id.len);
    }
    rc = layout_from_chunks(ret_layout, m->scheme.k, m->size_bytes, m->chunk_bytes, m->chunk_count,
                            e);
    return rc == 0 ? 0 : err_wrap(e, "manifest");
}

/* Fragments that are read: data, or any replica, whose encodings may differ after a repair. */
static uint32_t width(const struct known_object *object)
{
    return object->layout.k == 1 ? manifest_fragments_per_chunk(&object->manifest)
                                 : object->layout.k;
}

static size_t index_count(const struct known_object *object)
{
    return (size_t)object->layout.chunk_count * width(object);
}

int known_object_new(uint64_t ns_id, struct manifest *take_manifest,
                     struct known_object **ret_object, struct err *e)
{
    struct known_object *object;
    struct layout layout;
    int rc = check(take_manifest, &layout, e);

    if (rc != 0) {
        return rc;
    }
    object = mem_zalloc(sizeof(*object));
    object->ns_id = ns_id;
    object->manifest = *take_manifest;
    object->layout = layout;
    object->indexes = mem_array(index_count(object) + 1, sizeof(*object->indexes));
    object->refs = 1;
    *take_manifest = (struct manifest){0};
    *ret_object = object;
    return 0;
}

void known_object_drop(struct known_object *object)
{
    if (object == NULL || --object->refs != 0) {
        return;
    }
    for (size_t i = 0; i < index_count(object); i++) {
        fragment_index_release(&object->indexes[i]);
    }
    free(object->indexes);
    manifest_release(&object->manifest);
    free(object);
}

/* With room for every trailer, whether it is there yet or not. */
static size_t object_bytes(const struct known_object *object)
{
    const struct manifest *m = &object->manifest;
    uint64_t blocks = 0;

    if (m->scheme.codec != MANIFEST_CODEC_NONE && m->scheme.block_bytes != 0) {
        blocks = (m->size_bytes / m->scheme.block_bytes + index_count(object)) *
                 (width(object) / object->layout.k);
    }
    return fifo_cache_malloc_bytes(sizeof(*object)) + manifest_memory_bytes(m) +
           fifo_cache_malloc_bytes((index_count(object) + 1) * sizeof(*object->indexes)) +
           (size_t)blocks * sizeof(struct fragment_entry);
}

/* Would a reader of both go to the same places for the same bytes? */
static bool is_same(const struct known_object *a, const struct known_object *b)
{
    const struct manifest *x = &a->manifest, *y = &b->manifest;
    size_t count = (size_t)x->chunk_count * manifest_fragments_per_chunk(x);

    if (a->ns_id != b->ns_id || !slice_eq(x->object_id, y->object_id) ||
        x->chunk_count != y->chunk_count || x->scheme.k != y->scheme.k ||
        x->scheme.m != y->scheme.m) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const struct manifest_fragment *f = &x->fragments[i], *g = &y->fragments[i];

        if (f->has_osd != g->has_osd || f->osd_id != g->osd_id || f->version != g->version) {
            return false;
        }
    }
    return true;
}

/* ---- entries ---- */

static struct known_entry *entry_new(struct slice ns, struct slice name)
{
    size_t head_bytes = sizeof(uint64_t) + ns.len;
    struct known_entry *entry = mem_zalloc(sizeof(*entry) + head_bytes + name.len);

    entry->key_bytes = head_bytes + name.len;
    put_u64le(entry->key, ns.len);
    if (ns.len != 0) {
        memcpy(entry->key + sizeof(uint64_t), ns.data, ns.len);
    }
    if (name.len != 0) {
        memcpy(entry->key + head_bytes, name.data, name.len);
    }
    return entry;
}

static struct known_entry *find(const struct known_objects *known, struct slice ns,
                                struct slice name, uint64_t *ret_hash)
{
    struct known_entry *probe = entry_new(ns, name);
    struct known_entry *entry;

    *ret_hash = table_hash(probe->key, probe->key_bytes);
    HASH_FIND(hh, known->entries, probe->key, probe->key_bytes, entry);
    free(probe);
    return entry;
}

static void entry_free(struct known_objects *known, struct known_entry *entry)
{
    HASH_DEL(known->entries, entry);
    known_object_drop(entry->object);
    free(entry);
}

static void on_evict(void *ctx, struct fifo_cache_item *item)
{
    entry_free(ctx, container_of(item, struct known_entry, item));
}

static void entry_drop(struct known_objects *known, struct known_entry *entry)
{
    fifo_cache_remove(&known->cache, &entry->item);
    entry_free(known, entry);
}

static void keep(struct known_objects *known, struct slice ns, struct slice name,
                 struct known_object *object)
{
    uint64_t hash;
    struct known_entry *entry = find(known, ns, name, &hash);
    size_t bytes;

    if (entry != NULL && is_same(entry->object, object)) {
        return; /* its trailers are worth keeping, and what is suspected of it */
    }
    if (entry != NULL) {
        entry_drop(known, entry);
    }
    entry = entry_new(ns, name);
    bytes = fifo_cache_malloc_bytes(sizeof(*entry) + entry->key_bytes) + FIFO_CACHE_TABLE_BYTES +
            object_bytes(object);
    if (!fifo_cache_add(&known->cache, &entry->item, (uint32_t)hash, bytes)) {
        free(entry);
        return;
    }
    entry->object = object;
    object->refs++;
    HASH_ADD(hh, known->entries, key, (unsigned)entry->key_bytes, entry);
}

/* ---- the cache ---- */

void known_init(struct known_objects *known, size_t limit_bytes)
{
    memset(known, 0, sizeof(*known));
    fifo_cache_init(&known->cache, limit_bytes, on_evict, known);
}

void known_release(struct known_objects *known)
{
    fifo_cache_release(&known->cache);
}

struct known_object *known_get(struct known_objects *known, struct slice ns, struct slice name)
{
    uint64_t hash;
    struct known_entry *entry = find(known, ns, name, &hash);

    if (entry == NULL) {
        return NULL;
    }
    fifo_cache_use(&entry->item);
    entry->object->refs++;
    return entry->object;
}

static uint64_t stamp_of(const struct known_objects *known, const struct known_stamp *stamp)
{
    return known->epoch + stamp->changes; /* both only grow */
}

uint64_t known_ask(struct known_objects *known, struct slice ns, struct slice name)
{
    uint64_t hash;

    find(known, ns, name, &hash);
    return stamp_of(known, &known->stamps[hash % KNOWN_STAMPS]);
}

void known_answer(struct known_objects *known, struct slice ns, struct slice name, uint64_t stamp,
                  struct known_object *object)
{
    uint64_t hash;
    struct known_entry *entry = find(known, ns, name, &hash);
    const struct known_stamp *s = &known->stamps[hash % KNOWN_STAMPS];

    if (object == NULL) {
        if (entry != NULL) {
            entry_drop(known, entry);
        }
    } else if (s->writing == 0 && stamp_of(known, s) == stamp) {
        keep(known, ns, name, object);
    }
}

uint64_t known_write_begin(struct known_objects *known, struct slice ns, struct slice name)
{
    uint64_t hash;
    struct known_entry *entry = find(known, ns, name, &hash);
    struct known_stamp *s = &known->stamps[hash % KNOWN_STAMPS];

    if (entry != NULL) {
        entry_drop(known, entry);
    }
    s->writing++;
    s->changes++;
    return stamp_of(known, s);
}

void known_write_end(struct known_objects *known, struct slice ns, struct slice name,
                     uint64_t stamp, struct known_object *object)
{
    uint64_t hash;
    struct known_entry *entry = find(known, ns, name, &hash);
    struct known_stamp *s = &known->stamps[hash % KNOWN_STAMPS];
    bool alone = s->writing == 1 && stamp_of(known, s) == stamp;

    CHECK(s->writing > 0);
    s->writing--;
    s->changes++;
    if (entry != NULL) {
        entry_drop(known, entry);
    }
    if (object != NULL && alone) {
        keep(known, ns, name, object);
    }
}

bool known_was_written(const struct known_objects *known, struct slice ns, struct slice name)
{
    uint64_t hash;

    find(known, ns, name, &hash);
    return known->stamps[hash % KNOWN_STAMPS].changes != 0;
}

void known_forget_namespace(struct known_objects *known, struct slice ns)
{
    struct known_entry *entry, *next;

    HASH_ITER (hh, known->entries, entry, next) {
        if (slice_eq(slice_of(entry->key + sizeof(uint64_t), get_u64le(entry->key)), ns)) {
            entry_drop(known, entry);
        }
    }
    known->epoch++;
}

/* ---- trailers ---- */

static struct fragment_index *slot(const struct known_object *object, uint32_t chunk,
                                   uint32_t fragment)
{
    return &object->indexes[(size_t)chunk * width(object) + fragment];
}

const struct fragment_index *known_index(const struct known_object *object, uint32_t chunk,
                                         uint32_t fragment)
{
    const struct fragment_index *index = slot(object, chunk, fragment);

    return index->entries != NULL ? index : NULL;
}

const struct fragment_index *known_index_put(struct known_object *object, uint32_t chunk,
                                             uint32_t fragment, struct fragment_index *take_index)
{
    struct fragment_index *index = slot(object, chunk, fragment);

    if (index->entries != NULL) {
        fragment_index_release(take_index);
        return index;
    }
    *index = *take_index;
    *take_index = (struct fragment_index){0};
    return index;
}
