/* Manifests of some names: from the cache when that will do, else from the namespace manager.
 *
 * Loop thread only. */
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
typedef void (*lookup_cb)(struct lookup *lookup, int rc);

/* Embedded by the caller, left alone until the callback. */
struct lookup {
    struct err err;          /* out: why, if rc != 0 */
    struct object **objects; /* out: one per name, NULL: no such object; lookup_release() */

    struct engine *engine; /* private from here on */
    struct lookup_spec spec;
    size_t *missing;  /* indexes of names to ask for */
    uint32_t *stamps; /* of those, before asking */
    size_t missing_count;
    size_t asked;
    size_t bytes; /* decoded */
    size_t batch;
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
