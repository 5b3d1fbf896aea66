/* proceed() asks for the next batch of names, until none is left and nobody else's question is
 * awaited. A name that is being asked for has an entry in engine->asked_names until its answer is
 * there; who joined gets it, too. That there is no such object is not passed on: who joined asks
 * for himself, as the object may have been put, through another proxy, after that question. Nor is
 * a failure, which may be that of another name. A name that no object can have is absent. */
#include "proxy/lookup.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/table.h"
#include "meta/value.h"

enum { BATCH_MAX = 256 /* nsm_get() */, NAME_KEY_BYTES_MAX = 8 + MANIFEST_NAME_BYTES_MAX };

struct asked_name {
    struct lookup *owner; /* who asks */
    uint32_t stamp;
    struct list waits;
    UT_hash_handle hh;
    uint8_t key[];
};

struct lookup_missing {
    size_t index;   /* of the name */
    uint32_t stamp; /* before asking */
    bool may_join;  /* once: who did that in vain asks for himself */
};

struct lookup_wait {
    struct lookup *lookup;
    size_t index;
    struct list link;
};

static void proceed(struct lookup *lookup);

static void on_later(struct later_item *item)
{
    struct lookup *lookup = container_of(item, struct lookup, later);

    lookup->is_scheduled = false;
    proceed(lookup);
}

static void schedule(struct lookup *lookup)
{
    if (!lookup->is_scheduled) {
        lookup->is_scheduled = true;
        later_run(&lookup->engine->later, &lookup->later, on_later);
    }
}

/* The first failure is that of the lookup. */
static void fail(struct lookup *lookup, int rc, const struct err *why)
{
    if (lookup->rc == 0) {
        lookup->rc = rc;
        err_copy(&lookup->err, why);
    }
}

/* It takes memory once, however many of the names it has. */
static void count_object(struct lookup *lookup, const struct object *object)
{
    lookup->bytes += manifest_memory_bytes(&object->manifest);
}

/* ---- questions that others may join ---- */

static bool is_possible(struct slice name)
{
    return name.len <= MANIFEST_NAME_BYTES_MAX;
}

static size_t make_key(uint8_t key[NAME_KEY_BYTES_MAX], const struct lookup *lookup, size_t index)
{
    uint64_t ns_id = lookup->spec.use->ns->id;
    struct slice name = lookup->spec.names[index];

    memcpy(key, &ns_id, sizeof(ns_id));
    if (name.len > 0) {
        memcpy(key + sizeof(ns_id), name.data, name.len);
    }
    return sizeof(ns_id) + name.len;
}

static struct asked_name *find_asked(const struct lookup *lookup, size_t index)
{
    struct asked_name *asked;
    uint8_t key[NAME_KEY_BYTES_MAX];
    size_t bytes = make_key(key, lookup, index);

    HASH_FIND(hh, lookup->engine->asked_names, key, bytes, asked);
    return asked;
}

static bool join(struct lookup *lookup, size_t index)
{
    struct asked_name *asked = find_asked(lookup, index);
    struct lookup_wait *wait;

    if (asked == NULL ||
        asked->stamp != manifest_cache_stamp(&lookup->engine->manifests, lookup->spec.use->ns->id,
                                             lookup->spec.names[index])) {
        return false;
    }
    if (lookup->waits == NULL) {
        lookup->waits = mem_array(lookup->spec.count, sizeof(*lookup->waits));
    }
    wait = &lookup->waits[lookup->wait_count++];
    *wait = (struct lookup_wait){.lookup = lookup, .index = index};
    list_push(&asked->waits, &wait->link);
    lookup->waiting++;
    return true;
}

static void announce(struct lookup *lookup, const struct lookup_missing *missing)
{
    uint8_t key[NAME_KEY_BYTES_MAX];
    size_t bytes = make_key(key, lookup, missing->index);
    struct asked_name *asked;

    if (find_asked(lookup, missing->index) != NULL) {
        return;
    }
    asked = mem_zalloc(sizeof(*asked) + bytes);
    asked->owner = lookup;
    asked->stamp = missing->stamp;
    list_init(&asked->waits);
    memcpy(asked->key, key, bytes);
    HASH_ADD(hh, lookup->engine->asked_names, key, bytes, asked);
}

static void add_missing(struct lookup *lookup, size_t index, bool may_join)
{
    if (lookup->missing == NULL) {
        lookup->missing = mem_array(lookup->spec.count, sizeof(*lookup->missing));
    }
    lookup->missing[lookup->missing_count++] =
        (struct lookup_missing){.index = index, .may_join = may_join};
}

/* What the owner found, or why it could not be read; neither: who joined asks for himself. Returns
 * whether anybody had joined. */
static bool answer(struct lookup *owner, size_t at, struct object *object, const struct err *why)
{
    struct asked_name *asked = find_asked(owner, owner->missing[at].index);
    const struct lookup *counted = owner;
    struct list *link;
    bool any = false;

    if (asked == NULL || asked->owner != owner) {
        return false;
    }
    HASH_DEL(owner->engine->asked_names, asked);
    while ((link = list_pop(&asked->waits)) != NULL) {
        struct lookup_wait *wait = container_of(link, struct lookup_wait, link);

        wait->lookup->waiting--;
        if (why != NULL) {
            fail(wait->lookup, why->code, why);
        } else if (object != NULL) {
            wait->lookup->objects[wait->index] = object_hold(object);
            if (wait->lookup != counted) { /* those of one lookup mostly follow each other */
                count_object(wait->lookup, object);
                counted = wait->lookup;
            }
        } else if (wait->lookup != owner) {
            add_missing(wait->lookup, wait->index, false);
        }
        schedule(wait->lookup);
        any = true;
    }
    free(asked);
    return any;
}

/* ---- answers ---- */

/* While the question was under way somebody may have written the name, and have been told so:
 * the answer is good for this reader, who asked before, but not for the cache. */
static void take(struct lookup *lookup, size_t at, struct nsm_object *found)
{
    struct engine *engine = lookup->engine;
    size_t index = lookup->missing[at].index;
    bool keep = lookup->spec.should_cache || !lookup->spec.consistent;

    if (!found->found) {
        manifest_cache_remove(&engine->manifests, lookup->spec.use->ns->id,
                              lookup->spec.names[index]);
        answer(lookup, at, NULL, NULL);
        return;
    }
    lookup->objects[index] = object_new(lookup->spec.use->ns->id, &found->manifest);
    count_object(lookup, lookup->objects[index]);
    keep = answer(lookup, at, lookup->objects[index], NULL) || keep;
    if (keep) {
        manifest_cache_offer(&engine->manifests, lookup->objects[index], lookup->missing[at].stamp);
    }
}

/* The protocol has no answer for one object of several: the message names it, so that the
 * caller can do without. */
static void fail_damaged(struct lookup *lookup, size_t at, int rc)
{
    struct slice name = lookup->spec.names[lookup->missing[at].index];
    char text[KEY_TEXT_BYTES];
    struct err e;

    key_text(name, text);
    err_set(&e, rc, "object '%s': its metadata is %s", text,
            rc == ERR_VERSION ? "of a newer version" : "damaged");
    fail(lookup, rc, &e);
    answer(lookup, at, NULL, &e);
}

static void on_got(void *ctx, int rc, struct nsm_reply *reply)
{
    struct lookup *lookup = ctx;

    if (rc != 0) {
        fail(lookup, rc, &reply->err);
    }
    for (size_t i = 0; i < lookup->batch; i++) {
        size_t at = lookup->asked + i;

        if (rc != 0) {
            answer(lookup, at, NULL, NULL);
        } else if (reply->objects[i].damage != 0) {
            fail_damaged(lookup, at, reply->objects[i].damage);
        } else {
            take(lookup, at, &reply->objects[i]);
        }
    }
    lookup->asked += lookup->batch;
    lookup->is_asking = false;
    proceed(lookup);
}

/* ---- drive ---- */

/* Those of the next that somebody is asking for by now are joined. */
static void make_batch(struct lookup *lookup)
{
    lookup->batch = 0;
    while (lookup->batch < BATCH_MAX && lookup->asked + lookup->batch < lookup->missing_count) {
        struct lookup_missing *next = &lookup->missing[lookup->asked + lookup->batch];

        if (next->may_join && join(lookup, next->index)) {
            *next = lookup->missing[--lookup->missing_count];
        } else {
            next->stamp = manifest_cache_stamp(&lookup->engine->manifests, lookup->spec.use->ns->id,
                                               lookup->spec.names[next->index]);
            announce(lookup, next);
            lookup->batch++;
        }
    }
}

static void ask_next(struct lookup *lookup)
{
    struct slice names[BATCH_MAX];

    lookup->is_asking = true;
    for (size_t i = 0; i < lookup->batch; i++) {
        names[i] = lookup->spec.names[lookup->missing[lookup->asked + i].index];
    }
    nsm_get(lookup->spec.use->nsm, lookup->spec.use->ns->id, names, lookup->batch, on_got, lookup);
}

static void finish(struct lookup *lookup)
{
    const char *ns = lookup->spec.use->ns->name;
    struct proxy_ns_stats *sums = stats_of(&lookup->engine->stats, slice_str(ns));

    for (size_t i = 0; i < lookup->wait_count; i++) {
        list_remove(&lookup->waits[i].link);
    }
    if (lookup->is_scheduled) {
        later_cancel(&lookup->later);
    }
    stats_add(&sums->manifest_cached, lookup->spec.count - lookup->missing_count);
    stats_add(&sums->manifest_from_nsm, lookup->missing_count);
    lookup->cb(lookup, lookup->rc);
}

static void proceed(struct lookup *lookup)
{
    if (lookup->is_asking) {
        return;
    }
    if (lookup->rc == 0 && lookup->bytes > lookup->engine->lookup_bytes_max) {
        lookup->rc =
            err_set(&lookup->err, ERR_TOO_LARGE, "more than %zu bytes of manifests in one request",
                    lookup->engine->lookup_bytes_max);
    }
    lookup->batch = 0;
    if (lookup->rc == 0) {
        make_batch(lookup);
    }
    if (lookup->batch > 0) {
        ask_next(lookup);
    } else if (lookup->rc != 0 || lookup->waiting == 0) {
        finish(lookup);
    }
}

void lookup_start(struct lookup *lookup, struct engine *engine, const struct lookup_spec *spec,
                  lookup_cb cb)
{
    uint64_t ns_id = spec->use->ns->id;

    *lookup = (struct lookup){.engine = engine, .spec = *spec, .cb = cb};
    lookup->objects = mem_array(spec->count + 1, sizeof(*lookup->objects));
    for (size_t i = 0; i < spec->count; i++) {
        if (!is_possible(spec->names[i])) {
            continue;
        }
        if (!spec->consistent) {
            lookup->objects[i] = manifest_cache_get(&engine->manifests, ns_id, spec->names[i]);
        }
        if (lookup->objects[i] == NULL) {
            add_missing(lookup, i, !spec->consistent);
        }
    }
    schedule(lookup);
}

void lookup_release(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->spec.count; i++) {
        object_drop(lookup->objects[i]);
    }
    free(lookup->objects);
    free(lookup->missing);
    free(lookup->waits);
    lookup->objects = NULL;
    lookup->missing = NULL;
    lookup->waits = NULL;
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
    } else if (old == NULL) { /* an answer that is on its way may be older */
        manifest_cache_remove(cache, ns_id, object->manifest.name);
    }
    object_drop(object);
    object_drop(old);
}
