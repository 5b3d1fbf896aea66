/* Reading names and manifests.
 *
 * nsm_get: names -> ids -> manifests. Between the two steps an object may be overwritten; its
 * name is then looked up again, a few times. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/bytes.h"
#include "meta/nsm_private.h"

enum { GET_ROUNDS_MAX = 8 };

/* Damage, or a newer version, is the trouble of its object only. Returns 0, or why the whole call
 * fails. */
static int note_damage(struct nsm_object *object, int rc, const struct err *e)
{
    if (rc != ERR_CORRUPT && rc != ERR_VERSION) {
        return rc;
    }
    object->damage = rc;
    log_error("nsm", "metadata of an object cannot be read", "why=\"%s\"", e->msg);
    return 0;
}

static int take_object(struct nsm_object *object, const struct kv_item *item, struct slice id,
                       struct err *e)
{
    int rc = ns_value_manifest_open(item->key, item->value, id, &object->manifest, e);

    object->found = rc == 0;
    return note_damage(object, rc, e);
}

/* ---- get by name, by id, exists ---- */

struct get_item {
    struct slice name; /* owned; unused by nsm_get_ids */
    uint8_t id[NSM_OBJECT_ID_BYTES];
    bool open; /* still to be found out */
};

struct get_op {
    struct nsm_op op;
    struct get_item *items;
    size_t count;
    size_t *asked; /* items of the present read */
    size_t asked_count;
    unsigned round;
    bool by_id;
};

static void get_finish(struct get_op *g, int rc, const struct err *e)
{
    struct get_item *items = g->items;
    size_t count = g->count;

    g->op.reply->count = g->count;
    nsm_op_finish(&g->op, rc, e);
    for (size_t i = 0; i < count; i++) {
        slice_release(&items[i].name);
    }
    free(items);
    free(g->asked);
    free(g);
}

/* Read a key for every item that is open. */
static void get_read(struct get_op *g, bool names, kv_cb cb)
{
    struct key *keys = mem_array(g->count + 1, sizeof(*keys));
    struct slice *slices = mem_array(g->count + 1, sizeof(*slices));

    g->asked_count = 0;
    for (size_t i = 0; i < g->count; i++) {
        struct get_item *item = &g->items[i];
        size_t n = g->asked_count;

        if (item->open) {
            slices[n] =
                names ? ns_key_name(&keys[n], g->op.ns_id, item->name)
                      : ns_key_object(&keys[n], g->op.ns_id, slice_of(item->id, sizeof(item->id)));
            g->asked[g->asked_count++] = i;
        }
    }
    kv_get(g->op.nsm->kv, slices, g->asked_count, kv_left_ms(g->op.deadline_ms), cb, g);
    free(keys);
    free(slices);
}

static void on_names(void *ctx, int rc, const struct kv_reply *reply);

static void on_manifests(void *ctx, int rc, const struct kv_reply *reply)
{
    struct get_op *g = ctx;
    struct err e;
    bool again = false;
    bool failed = false;

    for (size_t i = 0; rc == 0 && i < g->asked_count; i++) {
        struct get_item *item = &g->items[g->asked[i]];
        struct nsm_object *object = &g->op.reply->objects[g->asked[i]];
        const struct kv_item *found = &reply->items[i];

        if (found->found) {
            rc = take_object(object, found, slice_of(item->id, sizeof(item->id)), &e);
            failed = rc != 0;
            item->open = false;
        } else if (g->by_id) {
            item->open = false;
        } else {
            again = true; /* replaced since its name was read */
        }
    }
    if (rc != 0 || !again) {
        get_finish(g, rc, failed ? &e : reply->err);
    } else if (++g->round == GET_ROUNDS_MAX) {
        err_set(&e, ERR_BUSY, "name is overwritten all the time");
        get_finish(g, e.code, &e);
    } else {
        get_read(g, true, on_names);
    }
}

/* The object id that a name key holds. */
static int take_id(const struct kv_item *item, uint8_t ret_id[NSM_OBJECT_ID_BYTES], struct err *e)
{
    struct rd payload;

    if (value_open(item->key, item->value, &payload, e) != 0) {
        return e->code;
    }
    if (rd_left(&payload) != NSM_OBJECT_ID_BYTES) {
        return err_set(e, ERR_CORRUPT, "object id of %zu bytes", rd_left(&payload));
    }
    memcpy(ret_id, payload.pos, NSM_OBJECT_ID_BYTES);
    return 0;
}

static void on_names(void *ctx, int rc, const struct kv_reply *reply)
{
    struct get_op *g = ctx;
    bool any = false;
    bool failed = false;
    struct err e;

    for (size_t i = 0; rc == 0 && i < g->asked_count; i++) {
        struct get_item *item = &g->items[g->asked[i]];
        int why = 0;

        item->open = reply->items[i].found;
        if (item->open) {
            why = take_id(&reply->items[i], item->id, &e);
            rc = note_damage(&g->op.reply->objects[g->asked[i]], why, &e);
            failed = rc != 0;
            item->open = why == 0;
        }
        any |= item->open;
    }
    if (rc != 0 || !any) {
        get_finish(g, rc, failed ? &e : reply->err);
    } else {
        get_read(g, false, on_manifests);
    }
}

static void on_exists(void *ctx, int rc, const struct kv_reply *reply)
{
    struct get_op *g = ctx;

    for (size_t i = 0; rc == 0 && i < g->count; i++) {
        g->op.reply->exists[i] = reply->items[i].found;
    }
    get_finish(g, rc, reply->err);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    get_finish(ctx, rc, reply->err);
}

static struct get_op *get_new(struct nsm *nsm, uint64_t ns_id, size_t count, nsm_cb cb, void *ctx)
{
    struct get_op *g = mem_zalloc(sizeof(*g));

    nsm_op_init(&g->op, nsm, ns_id, 0, cb, ctx);
    if (count <= KV_GET_KEYS_MAX) {
        g->items = mem_array(count + 1, sizeof(*g->items));
        g->asked = mem_array(count + 1, sizeof(*g->asked));
        g->count = count;
    }
    return g;
}

/* How many are asked for comes from peers, too. */
static int check_count(size_t count, size_t max, struct err *e)
{
    return count > max ? err_set(e, ERR_TOO_LARGE, "%zu names (at most %zu)", count, max) : 0;
}

/* Names come from peers: one that is too long is an error of the whole call. */
static int take_names(struct get_op *g, const struct slice *names, struct err *e)
{
    for (size_t i = 0; i < g->count; i++) {
        g->items[i].open = true;
        if (names[i].len > MANIFEST_NAME_BYTES_MAX) {
            return err_set(e, ERR_TOO_LARGE, "name of %zu bytes (at most %d)", names[i].len,
                           MANIFEST_NAME_BYTES_MAX);
        }
        g->items[i].name = slice_dup(names[i]);
    }
    return 0;
}

void nsm_get(struct nsm *nsm, uint64_t ns_id, const struct slice *names, size_t count, nsm_cb cb,
             void *ctx)
{
    struct get_op *g = get_new(nsm, ns_id, count, cb, ctx);
    struct err e;

    g->op.reply->objects = mem_array(g->count + 1, sizeof(*g->op.reply->objects));
    if (check_count(count, NSM_GET_MAX, &e) != 0 || take_names(g, names, &e) != 0) {
        kv_fail(nsm->kv, &e, on_refused, g);
        return;
    }
    get_read(g, true, on_names);
}

void nsm_exists(struct nsm *nsm, uint64_t ns_id, const struct slice *names, size_t count, nsm_cb cb,
                void *ctx)
{
    struct get_op *g = get_new(nsm, ns_id, count, cb, ctx);
    struct err e;

    g->op.reply->exists = mem_array(g->count + 1, sizeof(*g->op.reply->exists));
    if (check_count(count, NSM_EXISTS_MAX, &e) != 0 || take_names(g, names, &e) != 0) {
        kv_fail(nsm->kv, &e, on_refused, g);
        return;
    }
    get_read(g, true, on_exists);
}

void nsm_get_ids(struct nsm *nsm, uint64_t ns_id, const struct slice *ids, size_t count, nsm_cb cb,
                 void *ctx)
{
    struct get_op *g = get_new(nsm, ns_id, count, cb, ctx);
    struct err e;

    g->by_id = true;
    g->op.reply->objects = mem_array(g->count + 1, sizeof(*g->op.reply->objects));
    if (check_count(count, NSM_GET_MAX, &e) != 0) {
        kv_fail(nsm->kv, &e, on_refused, g);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        /* An id of another length is nobody's: not found. */
        g->items[i].open = ids[i].len == NSM_OBJECT_ID_BYTES;
        if (g->items[i].open) {
            memcpy(g->items[i].id, ids[i].data, NSM_OBJECT_ID_BYTES);
        }
    }
    get_read(g, false, on_manifests);
}

/* ---- lists ---- */

struct list_op {
    struct nsm_op op;
    size_t skip; /* bytes of the key in front of what is listed */
};

static void on_list(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *l = ctx;
    struct nsm_reply *out = l->op.reply;

    if (rc == 0) {
        out->names = mem_array(reply->count + 1, sizeof(*out->names));
        out->count = reply->count;
        out->has_more = reply->has_more;
        for (size_t i = 0; i < reply->count; i++) {
            struct slice key = reply->items[i].key;

            /* The range is ours: all keys in it begin with the prefix. */
            out->names[i] = slice_dup(slice_of(key.data + l->skip, key.len - l->skip));
        }
    }
    nsm_op_finish(&l->op, rc, reply->err);
    free(l);
}

static void list_keys(struct nsm *nsm, uint64_t ns_id, const struct kv_range *range, size_t skip,
                      nsm_cb cb, void *ctx)
{
    struct list_op *l = mem_zalloc(sizeof(*l));

    nsm_op_init(&l->op, nsm, ns_id, 0, cb, ctx);
    l->skip = skip;
    kv_range(nsm->kv, range, 0, on_list, l);
}

/* Bounded: no name is longer, so no end needs more of a long one. */
static struct slice bounded(struct slice name)
{
    size_t max = MANIFEST_NAME_BYTES_MAX + 1;

    return slice_of(name.data, name.len < max ? name.len : max);
}

void nsm_list(struct nsm *nsm, uint64_t ns_id, const struct nsm_range *range, nsm_cb cb, void *ctx)
{
    struct key low, high;
    struct slice lower = range->reverse ? range->last : range->first;
    struct slice upper = range->reverse ? range->first : range->last;
    bool has_lower = range->reverse ? range->has_last : true;
    bool has_upper = range->reverse ? true : range->has_last;
    bool lower_in = range->reverse ? range->last_included : range->first_included;
    bool upper_in = range->reverse ? range->first_included : range->last_included;

    ns_key_name(&low, ns_id, has_lower ? bounded(lower) : slice_of(NULL, 0));
    if (has_lower && !lower_in) {
        key_next(&low);
    }
    ns_key_name(&high, ns_id, has_upper ? bounded(upper) : slice_of(NULL, 0));
    if (!has_upper) {
        key_prefix_end(&high);
    } else if (upper_in) {
        key_next(&high);
    }
    list_keys(nsm, ns_id,
              &(struct kv_range){.low = slice_key(&low),
                                 .high = slice_key(&high),
                                 .limit = range->limit,
                                 .reverse = range->reverse,
                                 .keys_only = true},
              ns_key_prefix_bytes(), cb, ctx);
}

void nsm_list_osd(struct nsm *nsm, uint64_t ns_id, uint64_t osd_id, struct slice after,
                  size_t limit, nsm_cb cb, void *ctx)
{
    struct key low, high;
    size_t skip;

    ns_key_osd(&high, ns_id, osd_id, slice_of(NULL, 0));
    skip = high.len;
    key_prefix_end(&high);
    ns_key_osd(&low, ns_id, osd_id, bounded(after));
    if (after.len != 0) {
        key_next(&low);
    }
    list_keys(
        nsm, ns_id,
        &(struct kv_range){
            .low = slice_key(&low), .high = slice_key(&high), .limit = limit, .keys_only = true},
        skip, cb, ctx);
}

static void on_objects(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *l = ctx;
    struct nsm_reply *out = l->op.reply;
    bool failed = false;
    struct err e;

    if (rc == 0) {
        out->objects = mem_array(reply->count + 1, sizeof(*out->objects));
        out->count = reply->count;
        out->has_more = reply->has_more;
    }
    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        struct slice key = reply->items[i].key;

        rc = take_object(&out->objects[i], &reply->items[i],
                         slice_of(key.data + l->skip, key.len - l->skip), &e);
        failed = rc != 0;
    }
    nsm_op_finish(&l->op, rc, failed ? &e : reply->err);
    free(l);
}

void nsm_list_objects(struct nsm *nsm, uint64_t ns_id, struct slice after, size_t limit, nsm_cb cb,
                      void *ctx)
{
    struct list_op *l = mem_zalloc(sizeof(*l));
    struct key low, high;

    nsm_op_init(&l->op, nsm, ns_id, 0, cb, ctx);
    l->skip = ns_key_prefix_bytes();
    ns_key_root(&high, ns_id, 'o');
    key_prefix_end(&high);
    ns_key_object(&low, ns_id, bounded(after));
    if (after.len != 0) {
        key_next(&low);
    }
    kv_range(nsm->kv,
             &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = limit},
             0, on_objects, l);
}
