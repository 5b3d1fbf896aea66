/* Manifests by namespace and name, bounded in bytes (base/fifo_cache.h).
 *
 * A struct object is an immutable, counted manifest: readers keep one over the life of a
 * read, whatever the cache does. Loop thread only. */
#ifndef PROXY_MANIFEST_CACHE_H
#define PROXY_MANIFEST_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fifo_cache.h"
#include "base/slice.h"
#include "wire/manifest.h"

struct object {
    uint64_t ns_id;
    struct manifest manifest;
    unsigned refs; /* private */
    uint64_t born_ms;
    bool has_holes;        /* fragments that no OSD took */
    uint64_t holes_due_ms; /* when a read looks at them again (holes.h) */
};

/* Takes over *manifest, which becomes {0}. One reference, the caller's. */
struct object *object_new(uint64_t ns_id, struct manifest *take_manifest);
struct object *object_hold(struct object *object);
void object_drop(struct object *object); /* accepts NULL */

struct manifest_cache_entry;

enum { MANIFEST_CACHE_STAMPS = 4096, MANIFEST_CACHE_DOUBT_MS = 1000 };

struct manifest_cache {
    struct fifo_cache items;
    uint64_t hits;
    uint64_t misses;

    struct manifest_cache_entry *entries;   /* private */
    uint32_t stamps[MANIFEST_CACHE_STAMPS]; /* changes of all names with one hash */
};

void manifest_cache_init(struct manifest_cache *cache, size_t limit_bytes);
/* A reference for the caller, or NULL. */
struct object *manifest_cache_get(struct manifest_cache *cache, uint64_t ns_id, struct slice name);
/* For who asks the namespace manager and will offer the answer: take it before asking. */
uint32_t manifest_cache_stamp(const struct manifest_cache *cache, uint64_t ns_id,
                              struct slice name);
/* As manifest_cache_put() when nothing was put or removed under this name since the stamp;
 * else the answer may be older than what happened meanwhile, and nothing is kept. */
void manifest_cache_offer(struct manifest_cache *cache, struct object *object, uint32_t stamp);
/* Replaces what the name had. The cache takes its own reference. */
void manifest_cache_put(struct manifest_cache *cache, struct object *object);
void manifest_cache_remove(struct manifest_cache *cache, uint64_t ns_id, struct slice name);
/* A fragment is not where this says, and others may have made it anew elsewhere: whoever is next
 * asks the namespace manager. Nothing happens unless it is what its name has, and older than
 * MANIFEST_CACHE_DOUBT_MS: what cannot be mended soon is not asked about by every read. */
void manifest_cache_doubt(struct manifest_cache *cache, const struct object *object);
void manifest_cache_remove_namespace(struct manifest_cache *cache, uint64_t ns_id);
void manifest_cache_release(struct manifest_cache *cache);

#endif
