/* What this client knows of objects: manifests by namespace and name, bounded in bytes, not swept
 * by a scan (base/fifo_cache.h). Kept are only those that can be read without a proxy.
 *
 * An entry may be older than the truth: others overwrite and delete objects. It is never older
 * than a change that this client made or asked for: see the stamps. Loop thread only. */
#ifndef OBJECT_KNOWN_H
#define OBJECT_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/fifo_cache.h"
#include "base/slice.h"
#include "policy/fragment_read.h"
#include "policy/layout.h"
#include "wire/manifest.h"

enum { KNOWN_STAMPS = 4096, KNOWN_SUSPECT_MS = 2000 };

struct known_entry;

/* Immutable but for `indexes`; counted: readers keep one over the life of a read. */
struct known_object {
    uint64_t ns_id;
    struct manifest manifest;
    struct layout layout;
    uint64_t suspect_until_ms; /* a fragment was missing or damaged: through a proxy until then */

    struct fragment_index *indexes; /* private from here on: trailers of data fragments, or {0} */
    unsigned refs;
};

/* ERR_VERSION, ERR_CORRUPT: only a proxy can read it, and *manifest is left alone; else takes it
 * over and leaves {0}. One reference, the caller's. */
int known_object_new(uint64_t ns_id, struct manifest *take_manifest,
                     struct known_object **ret_object, struct err *e);
void known_object_drop(struct known_object *object); /* accepts NULL */

struct known_objects {
    struct fifo_cache cache;

    struct known_entry *entries; /* private */
    uint64_t epoch;
    struct known_stamp {
        uint64_t changes; /* to all names with one hash */
        unsigned writing;
    } stamps[KNOWN_STAMPS];
};

void known_init(struct known_objects *known, size_t limit_bytes); /* 0: nothing is kept */
void known_release(struct known_objects *known);

/* A reference for the caller, or NULL. */
struct known_object *known_get(struct known_objects *known, struct slice ns, struct slice name);

/* Around a question to a proxy: `object` (NULL: none; the reference stays the caller's) is kept
 * unless a write to the name was under way, or anything changed, since the stamp was taken. */
uint64_t known_ask(struct known_objects *known, struct slice ns, struct slice name);
void known_answer(struct known_objects *known, struct slice ns, struct slice name, uint64_t stamp,
                  struct known_object *object);

/* Around every write: what was known is forgotten first, and what the write made of the object is
 * kept only when no other write to the name touched it in time. Exactly one _end per _begin. */
uint64_t known_write_begin(struct known_objects *known, struct slice ns, struct slice name);
void known_write_end(struct known_objects *known, struct slice ns, struct slice name,
                     uint64_t stamp, struct known_object *object);

/* Did this client write the name, or one with the same hash, at any time? Then another proxy than
 * the one that served the write may remember what was there before. */
bool known_was_written(const struct known_objects *known, struct slice ns, struct slice name);

/* Also what is being asked about just now. */
void known_forget_namespace(struct known_objects *known, struct slice ns);

/* ---- trailers of compressed fragments, kept as long as their object ---- */

/* NULL: not known. Valid while the object is held. */
const struct fragment_index *known_index(const struct known_object *object, uint32_t chunk,
                                         uint32_t fragment);
/* Takes over *take_index and leaves {0}; the first one stays. Its room is counted already. */
const struct fragment_index *known_index_put(struct known_object *object, uint32_t chunk,
                                             uint32_t fragment, struct fragment_index *take_index);

#endif
