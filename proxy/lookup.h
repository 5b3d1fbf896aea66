/* Manifests of some names: from the cache when that will do, else from the namespace manager.
 *
 * Who would take what the cache has also takes the answer to a question that is under way, so that
 * a herd of readers costs one. Unless the name was changed here since that question: then the
 * reader may know more than the answer will say. Loop thread only. */
#ifndef PROXY_LOOKUP_H
#define PROXY_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "proxy/namespace.h"

struct lookup_spec {
    const struct ns_use *use;  /* borrowed until the callback, */
    const struct slice *names; /* and these */
    size_t count;
    bool consistent;   /* as the namespace manager has it now */
    bool should_cache; /* what was found then; else it always is, on a miss */
};

struct lookup;
struct lookup_wait;
struct lookup_missing;
typedef void (*lookup_cb)(struct lookup *lookup, int rc);

/* Embedded by the caller, left alone until the callback. */
struct lookup {
    struct err err;          /* out: why, if rc != 0 */
    struct object **objects; /* out: one per name, NULL: no such object; lookup_release() */

    struct engine *engine; /* private from here on */
    struct lookup_spec spec;
    struct lookup_missing *missing; /* names to ask for; NULL: none yet */
    size_t missing_count;
    size_t asked;
    size_t bytes; /* decoded */
    size_t batch;
    struct lookup_wait *waits; /* for questions of others; NULL: none yet */
    size_t wait_count;
    size_t waiting; /* of those, not answered */
    bool is_asking;
    bool is_scheduled;
    int rc;
    lookup_cb cb;
    struct later_item later;
};

/* ERR_TOO_LARGE: more than engine->lookup_bytes_max. */
void lookup_start(struct lookup *lookup, struct engine *engine, const struct lookup_spec *spec,
                  lookup_cb cb);
void lookup_release(struct lookup *lookup); /* accepts {0} */

/* An object's manifest was updated: the cache follows if it holds that object; a newer object of
 * the name stays. *take_manifest becomes {0}. */
void lookup_renew(struct engine *engine, uint64_t ns_id, struct manifest *take_manifest);

#endif
