/* Trailers of compressed fragments, so that a small read needs one round trip; bounded in
 * bytes (base/fifo_cache.h). Loop thread only. */
#ifndef PROXY_INDEX_CACHE_H
#define PROXY_INDEX_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/fifo_cache.h"
#include "policy/fragment_read.h"

/* A fragment's bytes are written once under these: what was verified stays true. */
struct index_key {
    struct fragment_id id; /* object, chunk, fragment */
    uint32_t version;
    uint32_t stored_bytes;
    uint32_t raw_bytes; /* from here on: a manifest may contradict another of its object */
    uint32_t block_bytes;
    uint32_t codec;
    uint32_t cipher;
};

/* Constant, counted: readers keep one over the life of a read. */
struct shared_index {
    struct fragment_index index;
    unsigned refs; /* private */
};

/* Takes over *take_index, which becomes {0}. One reference, the caller's. */
struct shared_index *shared_index_new(struct fragment_index *take_index);
void shared_index_drop(struct shared_index *index); /* accepts NULL */

struct index_entry;

struct index_cache {
    struct fifo_cache items;
    uint64_t hits;
    uint64_t misses;

    struct index_entry *entries; /* private */
};

void index_cache_init(struct index_cache *cache, size_t limit_bytes);
/* A reference for the caller, or NULL. */
struct shared_index *index_cache_get(struct index_cache *cache, const struct index_key *key);
/* The cache takes its own reference. */
void index_cache_put(struct index_cache *cache, const struct index_key *key,
                     struct shared_index *index);
void index_cache_release(struct index_cache *cache);

#endif
