#include "proxy/lookup.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/value.h"

enum { BATCH_MAX = 256 }; /* nsm_get() */

static void ask_next(struct lookup *lookup);

/* While the question was under way somebody may have written the name, and have been told so:
 * the answer is good for this reader, who asked before, but not for the cache. */
static void take(struct lookup *lookup, size_t asked, struct nsm_object *found)
{
    struct engine *engine = lookup->engine;
    size_t index = lookup->missing[asked];

    if (!found->found) {
        manifest_cache_remove(&engine->manifests, lookup->spec.use->ns->id,
                              lookup->spec.names[index]);
        return;
    }
    lookup->bytes += manifest_memory_bytes(&found->manifest);
    lookup->objects[index] = object_new(lookup->spec.use->ns->id, &found->manifest);
    if (lookup->spec.should_cache || !lookup->spec.consistent) {
        manifest_cache_offer(&engine->manifests, lookup->objects[index], lookup->stamps[asked]);
    }
}

/* The protocol has no answer for one object of several: the message names it, so that the
 * caller can do without. */
static void fail_damaged(struct lookup *lookup, size_t asked)
{
    struct slice name = lookup->spec.names[lookup->missing[asked]];
    char text[KEY_TEXT_BYTES];

    key_text(name, text);
    err_set(&lookup->err, ERR_CORRUPT, "object '%s': its metadata is damaged", text);
    lookup->cb(lookup, ERR_CORRUPT);
}

static void on_got(void *ctx, int rc, struct nsm_reply *reply)
{
    struct lookup *lookup = ctx;

    if (rc != 0) {
        err_copy(&lookup->err, &reply->err);
        lookup->cb(lookup, rc);
        return;
    }
    for (size_t i = 0; i < lookup->batch && i < reply->count; i++) {
        if (reply->objects[i].is_damaged) {
            fail_damaged(lookup, lookup->asked + i);
            return;
        }
        take(lookup, lookup->asked + i, &reply->objects[i]);
    }
    lookup->asked += lookup->batch;
    if (lookup->bytes > lookup->engine->lookup_bytes_max) {
        err_set(&lookup->err, ERR_TOO_LARGE, "more than %zu bytes of manifests in one request",
                lookup->engine->lookup_bytes_max);
        lookup->cb(lookup, ERR_TOO_LARGE);
        return;
    }
    ask_next(lookup);
}

static void ask_next(struct lookup *lookup)
{
    struct slice names[BATCH_MAX];
    size_t left = lookup->missing_count - lookup->asked;

    if (left == 0) {
        lookup->cb(lookup, 0);
        return;
    }
    lookup->batch = left < BATCH_MAX ? left : BATCH_MAX;
    for (size_t i = 0; i < lookup->batch; i++) {
        names[i] = lookup->spec.names[lookup->missing[lookup->asked + i]];
    }
    nsm_get(lookup->spec.use->nsm, lookup->spec.use->ns->id, names, lookup->batch, on_got, lookup);
}

static void on_later(struct later_item *item)
{
    ask_next(container_of(item, struct lookup, later));
}

void lookup_start(struct lookup *lookup, struct engine *engine, const struct lookup_spec *spec,
                  lookup_cb cb)
{
    const struct registry_namespace *ns = spec->use->ns;
    struct proxy_ns_stats *sums = stats_of(&engine->stats, slice_str(ns->name));

    *lookup = (struct lookup){.engine = engine, .spec = *spec, .cb = cb};
    lookup->objects = mem_array(spec->count + 1, sizeof(*lookup->objects));
    lookup->missing = mem_array(spec->count + 1, sizeof(*lookup->missing));
    lookup->stamps = mem_array(spec->count + 1, sizeof(*lookup->stamps));
    for (size_t i = 0; i < spec->count; i++) {
        if (!spec->consistent) {
            lookup->objects[i] = manifest_cache_get(&engine->manifests, ns->id, spec->names[i]);
        }
        if (lookup->objects[i] == NULL) {
            lookup->stamps[lookup->missing_count] =
                manifest_cache_stamp(&engine->manifests, ns->id, spec->names[i]);
            lookup->missing[lookup->missing_count++] = i;
        }
    }
    sums->manifest_cached += (int32_t)(spec->count - lookup->missing_count);
    sums->manifest_from_nsm += (int32_t)lookup->missing_count;
    later_run(&engine->later, &lookup->later, on_later);
}

void lookup_release(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->spec.count; i++) {
        object_drop(lookup->objects[i]);
    }
    free(lookup->objects);
    free(lookup->missing);
    free(lookup->stamps);
    lookup->objects = NULL;
    lookup->missing = NULL;
    lookup->stamps = NULL;
    lookup->spec.count = 0;
}

void lookup_renew(struct engine *engine, uint64_t ns_id, struct manifest *take_manifest)
{
    struct manifest_cache *cache = &engine->manifests;
    struct object *old = manifest_cache_get(cache, ns_id, take_manifest->name);
    struct object *object = object_new(ns_id, take_manifest);

    if (old != NULL && slice_eq(old->manifest.object_id, object->manifest.object_id) &&
        old->manifest.version_id <= object->manifest.version_id) {
        manifest_cache_put(cache, object);
    }
    object_drop(object);
    object_drop(old);
}
