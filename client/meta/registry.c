/* The registry's handle and its refresh.
 *
 * refresh: read `version` -> the same: done
 *                         -> a little newer: change log -> the keys it names -> publish
 *                         -> else: everything, list by list -> publish
 *
 * What is read is at least as new as the version it is published under; a part may be newer. A
 * later refresh reads such a part again, and a change asserts the version, so it is
 * never decided on a mixture. */
#include "meta/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/registry_private.h"

enum { LOAD_PAGE = 10000, CATCH_UP_MAX = 512, CATCH_UP_KEYS_MAX = 2048 };

struct refresh_wait {
    struct list link;
    registry_cb cb;
    void *ctx;
};

static void refresh_start(struct registry *r);

struct registry *registry_new(struct kv *kv)
{
    struct registry *r = mem_zalloc(sizeof(*r));

    r->kv = kv;
    r->own_nsm = nsm_new(kv);
    r->open_kv = kv_open;
    list_init(&r->hosts);
    list_init(&r->waiting);
    list_init(&r->served);
    list_init(&r->changes);
    return r;
}

const struct registry_view *registry_view(const struct registry *registry)
{
    return registry->view;
}

struct kv *registry_kv(const struct registry *registry)
{
    return registry->kv;
}

/* ---- end of a refresh ---- */

static void refresh_end(struct registry *r, int rc, const struct err *e)
{
    struct list served;
    struct list *link;

    list_init(&served);
    list_splice(&served, &r->served);
    r->refreshing = false;
    registry_view_drop(r->next);
    r->next = NULL;
    while ((link = list_pop(&served)) != NULL) {
        struct refresh_wait *w = container_of(link, struct refresh_wait, link);

        w->cb(w->ctx, rc, e);
        free(w);
    }
    if (!list_empty(&r->waiting) && !r->refreshing) {
        refresh_start(r);
    }
}

static void refresh_fail(struct registry *r, const struct err *e)
{
    refresh_end(r, e->code, e);
}

static void publish(struct registry *r)
{
    const struct registry_view *old = r->view;
    struct err none = {0};

    r->next->version = r->next_version;
    memcpy(r->next->commit, r->next_commit, sizeof(r->next->commit));
    registry_view_seal(r->next);
    r->view = r->next;
    r->next = NULL;
    registry_view_drop(old);
    if (r->on_change != NULL) {
        r->on_change(r->on_change_ctx);
    }
    refresh_end(r, 0, &none);
}

static int apply_items(struct registry *r, const struct kv_reply *reply, struct err *e)
{
    for (size_t i = 0; i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];

        if (registry_view_apply(r->next, item->key, item->value, item->found, e) != 0) {
            return e->code;
        }
    }
    return 0;
}

/* ---- full load ---- */

static void load_list(struct registry *r, struct slice resume);

static void on_list(void *ctx, int rc, const struct kv_reply *reply)
{
    struct registry *r = ctx;
    struct err e;

    if (rc != 0) {
        refresh_fail(r, reply->err);
        return;
    }
    if (apply_items(r, reply, &e) != 0) {
        refresh_fail(r, &e);
        return;
    }
    if (reply->has_more) {
        load_list(r, reply->items[reply->count - 1].key);
    } else if (++r->load_kind < RECORD_KINDS) {
        load_list(r, slice_of(NULL, 0));
    } else {
        publish(r);
    }
}

static void load_list(struct registry *r, struct slice resume)
{
    struct key low, high;

    reg_key(&low, record_prefix((enum record_kind)r->load_kind), "");
    high = low;
    key_prefix_end(&high);
    if (resume.len != 0) {
        low.len = 0;
        key_put(&low, resume.data, resume.len);
        key_next(&low);
    }
    kv_range(
        r->kv,
        &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = LOAD_PAGE}, 0,
        on_list, r);
}

static void on_singles(void *ctx, int rc, const struct kv_reply *reply)
{
    struct registry *r = ctx;
    struct err e;

    if (rc != 0) {
        refresh_fail(r, reply->err);
    } else if (apply_items(r, reply, &e) != 0) {
        refresh_fail(r, &e);
    } else {
        r->load_kind = 0;
        load_list(r, slice_of(NULL, 0));
    }
}

static void load_all(struct registry *r)
{
    static const char *const singles[] = {REG_ALBA, REG_DEFAULT_PRESET, REG_NEXT_ID, REG_RECOVERED};
    struct key keys[4];
    struct slice slices[4];
    struct registry_view *next = registry_view_new();

    buf_put(&next->version_value, r->next->version_value.data, r->next->version_value.len);
    registry_view_drop(r->next);
    r->next = next;
    for (int i = 0; i < 4; i++) {
        slices[i] = reg_key(&keys[i], singles[i], "");
    }
    kv_get(r->kv, slices, 4, 0, on_singles, r);
}

/* ---- catching up by the change log ---- */

static void on_changed(void *ctx, int rc, const struct kv_reply *reply)
{
    struct registry *r = ctx;
    struct err e;

    if (rc != 0) {
        refresh_fail(r, reply->err);
    } else if (apply_items(r, reply, &e) != 0) {
        refresh_fail(r, &e);
    } else {
        publish(r);
    }
}

/* The keys that one change touched and a view shows, into `keys`. */
static int take_change(const struct kv_item *item, struct key *keys, size_t *count, struct err *e)
{
    json_t *json;
    json_t *name;
    size_t i;

    if (value_open_json(item->key, item->value, &json, e) != 0) {
        return e->code;
    }
    json_array_foreach(json_object_get(json, "keys"), i, name)
    {
        const char *tail = json_string_value(name);

        if (tail != NULL && strlen(tail) <= KEY_BYTES_MAX - 32 &&
            registry_view_shows(slice_str(tail)) && *count < CATCH_UP_KEYS_MAX) {
            reg_key(&keys[(*count)++], tail, "");
        }
    }
    json_decref(json);
    return 0;
}

/* The change that made the version of our view is in this store's history. */
static bool is_our_past(const struct registry *r, const struct kv_item *item)
{
    json_t *json;
    struct err e;
    bool ours;

    if (value_open_json(item->key, item->value, &json, &e) != 0) {
        return false;
    }
    ours = strcmp(json_text(json, "commit", ""), r->view->commit) == 0;
    json_decref(json);
    return ours;
}

static void on_change_log(void *ctx, int rc, const struct kv_reply *reply)
{
    struct registry *r = ctx;
    struct key *keys;
    struct slice *slices;
    size_t count = 0;
    struct err e;

    if (rc != 0) {
        refresh_fail(r, reply->err);
        return;
    }
    if (reply->count != r->next_version - r->view->version + 1 ||
        !is_our_past(r, &reply->items[0])) {
        load_all(r); /* the log does not reach back so far, or the store was restored */
        return;
    }
    keys = mem_array(CATCH_UP_KEYS_MAX, sizeof(*keys));
    slices = mem_array(CATCH_UP_KEYS_MAX, sizeof(*slices));
    for (size_t i = 1; rc == 0 && i < reply->count; i++) {
        rc = take_change(&reply->items[i], keys, &count, &e);
    }
    for (size_t i = 0; i < count; i++) {
        slices[i] = slice_key(&keys[i]);
    }
    if (rc != 0) {
        refresh_fail(r, &e);
    } else if (count == CATCH_UP_KEYS_MAX) {
        load_all(r);
    } else {
        kv_get(r->kv, slices, count, 0, on_changed, r);
    }
    free(keys);
    free(slices);
}

static void catch_up(struct registry *r)
{
    char id[RECORD_ID_TEXT_BYTES];
    struct key low, high;

    record_id_text(r->view->version, id);
    reg_key(&low, REG_CHANGE, id);
    record_id_text(r->next_version + 1, id);
    reg_key(&high, REG_CHANGE, id);
    kv_range(
        r->kv,
        &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = CATCH_UP_MAX},
        0, on_change_log, r);
}

/* ---- start of a refresh ---- */

static int take_version(struct registry *r, const struct kv_item *item, struct err *e)
{
    json_t *json;

    if (!item->found) {
        return err_say(e, ERR_NOT_FOUND, "no registry in %s", kv_url(r->kv));
    }
    if (value_open_json(item->key, item->value, &json, e) != 0) {
        return e->code;
    }
    if (json_object_get(json, "restoring") != NULL) {
        json_decref(json);
        return err_say(e, ERR_CONFIG,
                       "registry in %s: half restored; alba restore-metadata --force",
                       kv_url(r->kv));
    }
    r->next_version = json_u64(json, "version", 0);
    snprintf(r->next_commit, sizeof(r->next_commit), "%s", json_text(json, "commit", ""));
    json_decref(json);
    return 0;
}

static void on_version(void *ctx, int rc, const struct kv_reply *reply)
{
    struct registry *r = ctx;
    const struct kv_item *item = reply->items;
    struct err e = {0};

    if (rc != 0) {
        refresh_fail(r, reply->err);
        return;
    }
    if (take_version(r, item, &e) != 0) {
        refresh_fail(r, &e);
        return;
    }
    if (r->view != NULL && slice_eq(item->value, slice_buf(&r->view->version_value))) {
        refresh_end(r, 0, &e);
        return;
    }
    if (r->view != NULL && r->next_version > r->view->version &&
        r->next_version - r->view->version <= CATCH_UP_MAX) {
        r->next = registry_view_clone(r->view);
        buf_put(&r->next->version_value, item->value.data, item->value.len);
        catch_up(r);
    } else {
        r->next = registry_view_new();
        buf_put(&r->next->version_value, item->value.data, item->value.len);
        load_all(r);
    }
}

static void refresh_start(struct registry *r)
{
    struct key key;
    struct slice k = reg_key(&key, REG_VERSION, "");

    r->refreshing = true;
    list_splice(&r->served, &r->waiting);
    kv_get(r->kv, &k, 1, 0, on_version, r);
}

void registry_refresh(struct registry *registry, registry_cb cb, void *ctx)
{
    struct refresh_wait *w = mem_zalloc(sizeof(*w));

    w->cb = cb;
    w->ctx = ctx;
    list_push(&registry->waiting, &w->link);
    if (!registry->refreshing) {
        refresh_start(registry);
    }
}

/* ---- polling ---- */

static void poll_again(struct registry *r);

static void on_polled(void *ctx, int rc, const struct err *e)
{
    struct registry *r = ctx;
    static struct log_limit limit;
    unsigned long skipped;

    if (rc != 0 && rc != ERR_CANCELED && log_limit_pass(&limit, 60000, &skipped)) {
        log_warn("registry", "refresh failed", "why=\"%s\" skipped=%lu", e->msg, skipped);
    }
    poll_again(r);
}

static void on_poll_time(void *ctx, int rc, const struct kv_reply *reply)
{
    (void)reply;
    if (rc == 0) {
        registry_refresh(ctx, on_polled, ctx);
    }
}

static void poll_again(struct registry *r)
{
    if (!r->closing) {
        kv_sleep(r->kv, r->poll_ms, on_poll_time, r);
    }
}

void registry_poll(struct registry *registry, unsigned interval_ms, void (*on_change)(void *ctx),
                   void *ctx)
{
    CHECK(registry->poll_ms == 0 && interval_ms != 0);
    registry->poll_ms = interval_ms;
    registry->on_change = on_change;
    registry->on_change_ctx = ctx;
    poll_again(registry);
}

void registry_unwatch(struct registry *registry)
{
    registry->on_change = NULL;
}

/* ---- NSM hosts ---- */

int registry_nsm(struct registry *registry, const char *host_id, struct nsm **ret_nsm,
                 struct err *e)
{
    const struct registry_nsm_host *record;
    struct registry_host *host;

    CHECK(registry->view != NULL);
    record = registry_view_nsm_host_find(registry->view, host_id);
    if (record == NULL) {
        return err_set(e, ERR_NOT_FOUND, "NSM host '%s'", host_id);
    }
    if (strcmp(record->url, "registry:") == 0) {
        *ret_nsm = registry->own_nsm;
        return 0;
    }
    LIST_FOR_EACH (it, &registry->hosts) {
        host = container_of(it, struct registry_host, link);
        if (strcmp(host->url, record->url) == 0) {
            *ret_nsm = host->nsm;
            return 0;
        }
    }
    if (registry->closing) {
        return err_set(e, ERR_CANCELED, "NSM host '%s'", host_id);
    }
    host = mem_zalloc(sizeof(*host));
    if (registry->open_kv(kv_loop(registry->kv), record->url, kv_tls(registry->kv), &host->kv, e) !=
        0) {
        free(host);
        return err_wrap(e, "NSM host '%s'", host_id);
    }
    host->url = mem_strdup(record->url);
    host->nsm = nsm_new(host->kv);
    list_push(&registry->hosts, &host->link);
    *ret_nsm = host->nsm;
    return 0;
}

/* ---- close ---- */

void registry_part_closed(struct registry *r)
{
    registry_close_cb cb = r->close_cb;
    void *ctx = r->close_ctx;
    struct list *link;

    if (!r->closing || --r->closing_parts != 0) {
        return;
    }
    CHECK(list_empty(&r->changes) && list_empty(&r->waiting));
    while ((link = list_pop(&r->hosts)) != NULL) {
        struct registry_host *host = container_of(link, struct registry_host, link);

        nsm_free(host->nsm);
        free(host->url);
        free(host);
    }
    nsm_free(r->own_nsm);
    registry_view_drop(r->view);
    free(r);
    if (cb != NULL) {
        cb(ctx);
    }
}

static void on_kv_closed(void *ctx)
{
    registry_part_closed(ctx);
}

void registry_close(struct registry *registry, registry_close_cb cb, void *ctx)
{
    CHECK(!registry->closing);
    registry->closing = true;
    registry->close_cb = cb;
    registry->close_ctx = ctx;
    registry->closing_parts = 1 + registry->external;
    LIST_FOR_EACH (it, &registry->hosts) {
        registry->closing_parts++;
        kv_close(container_of(it, struct registry_host, link)->kv, on_kv_closed, registry);
    }
    kv_close(registry->kv, on_kv_closed, registry);
}
