/* NSM hosts of the registry.
 *
 * add, update: refresh -> prepare the engine -> mark it as this host's -> record
 *
 * So an engine is nobody else's before a namespace can go there. Stopped between mark and record:
 * KEYS.md, "Crash states". */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/engine_owner.h"
#include "meta/registry_private.h"

#define OWN_ENGINE "registry:"

struct host_op {
    struct reg_op op; /* flag: the engine is the registry's */
    struct registry *registry;
    char *url;
    bool is_new, is_lost, adopts;
    struct kv *kv;
    int rc;
};

static struct host_op *host_of(struct change *c)
{
    return container_of(container_of(c, struct reg_op, change), struct host_op, op);
}

static void host_done(struct change *c, int rc)
{
    free(host_of(c)->url);
    reg_op_done(c, rc); /* frees from the first member on: all of it */
}

/* ---- add, update ---- */

/* The record as it is now. ERR_EXISTS, ERR_NOT_FOUND. */
static int find_record(struct host_op *h, const struct registry_view *view,
                       const struct registry_nsm_host **ret_record)
{
    struct err *e = &h->op.change.err;

    *ret_record = registry_view_nsm_host_find(view, h->op.name);
    if (h->is_new && *ret_record != NULL) {
        return err_set(e, ERR_EXISTS, "NSM host '%s'", h->op.name);
    }
    return h->is_new || *ret_record != NULL
               ? 0
               : err_set(e, ERR_NOT_FOUND, "NSM host '%s'", h->op.name);
}

/* The registry's engine is one host's, too. */
static int check_own(struct host_op *h, const struct registry_view *view)
{
    for (size_t i = 0; i < registry_view_nsm_host_count(view); i++) {
        const struct registry_nsm_host *other = registry_view_nsm_host(view, i);

        if (strcmp(other->url, OWN_ENGINE) == 0 && strcmp(other->id, h->op.name) != 0) {
            return err_say(&h->op.change.err, ERR_EXISTS,
                           "metadata %.90s is the registry's own engine, and NSM host '%.60s' "
                           "already: take an empty one",
                           h->url, other->id);
        }
    }
    return 0;
}

static int build_host(struct change *c, const struct registry_view *view)
{
    struct host_op *h = host_of(c);
    const struct registry_nsm_host *record;

    if (find_record(h, view, &record) != 0 || (h->op.flag && check_own(h, view) != 0)) {
        return c->err.code;
    }
    change_put_new(c, REG_NSM_HOST, h->op.name,
                   json_pack("{s:s, s:s, s:b}", "id", h->op.name, "url",
                             h->op.flag ? OWN_ENGINE : h->url, "lost", (int)h->is_lost));
    return 0;
}

static void on_closed(void *ctx)
{
    struct host_op *h = ctx;
    struct registry *registry = h->registry;
    struct change *c = &h->op.change;

    if (h->rc == 0 && registry->closing) {
        h->rc = err_set(&c->err, ERR_CANCELED, "NSM host '%s'", h->op.name);
    }
    if (h->rc != 0) {
        host_done(c, h->rc);
    } else {
        change_start(registry, c, build_host, host_done);
    }
    registry->external--;
    registry_part_closed(registry);
}

static void on_claimed(void *ctx, int rc, const struct err *e, bool is_registry)
{
    struct host_op *h = ctx;

    h->rc = rc;
    h->op.flag = is_registry;
    if (rc != 0) {
        err_copy(&h->op.change.err, e);
    }
    kv_close(h->kv, on_closed, h);
}

static void on_prepared(void *ctx, int rc, const struct kv_reply *reply)
{
    struct host_op *h = ctx;
    const struct registry_view *view = h->registry->view;
    const struct registry_nsm_host *record = registry_view_nsm_host_find(view, h->op.name);
    struct engine_claim claim = {.alba_id = registry_view_alba_id(view), .host_id = h->op.name};

    if (rc != 0) {
        on_claimed(h, rc, reply->err, false);
        return;
    }
    if (h->adopts) {
        claim.claimer = ENGINE_ADOPT;
    } else if (record != NULL && strcmp(record->url, h->url) == 0) {
        claim.claimer = ENGINE_KNOWN;
    } else if (record != NULL && !h->is_lost &&
               registry_view_nsm_host_load(view, h->op.name) != 0) {
        claim.claimer = ENGINE_MOVED;
    }
    engine_claim(h->kv, &claim, on_claimed, h);
}

static void on_refreshed(void *ctx, int rc, const struct err *e)
{
    struct host_op *h = ctx;
    struct registry *registry = h->registry;
    struct change *c = &h->op.change;
    const struct registry_nsm_host *record;

    if (rc != 0) {
        err_copy(&c->err, e);
        host_done(c, rc);
        return;
    }
    rc = find_record(h, registry->view, &record);
    if (rc == 0 && record != NULL && h->is_lost && strcmp(record->url, h->url) == 0) {
        change_start(registry, c, build_host, host_done); /* it may be gone: nobody is asked */
        return;
    }
    rc = rc != 0 ? rc
                 : registry->open_kv(kv_loop(registry->kv), h->url, kv_tls(registry->kv), &h->kv,
                                     &c->err);
    if (rc != 0) {
        host_done(c, rc);
        return;
    }
    registry->external++;
    kv_prepare(h->kv, on_prepared, h);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    (void)reply;
    host_done(ctx, rc);
}

static void start(struct registry *registry, struct host_op *h, const char *id, const char *url,
                  registry_cb cb, void *ctx)
{
    struct change *c = &h->op.change;

    h->registry = registry;
    h->url = mem_strdup(url);
    h->op.name = mem_strdup(id);
    h->op.cb = cb;
    h->op.ctx = ctx;
    if (record_check_name("NSM host id", id, REGISTRY_ID_BYTES_MAX, &c->err) != 0 ||
        kv_url_check(url, &c->err) != 0) {
        kv_fail(registry->kv, &c->err, on_refused, c);
        return;
    }
    registry_refresh(registry, on_refreshed, h);
}

void registry_nsm_host_add(struct registry *registry, const char *id, const char *url, bool adopts,
                           registry_cb cb, void *ctx)
{
    struct host_op *h = mem_zalloc(sizeof(*h));

    h->is_new = true;
    h->adopts = adopts;
    start(registry, h, id, url, cb, ctx);
}

void registry_nsm_host_update(struct registry *registry, const char *id, const char *url,
                              bool is_lost, bool adopts, registry_cb cb, void *ctx)
{
    struct host_op *h = mem_zalloc(sizeof(*h));

    h->is_lost = is_lost;
    h->adopts = adopts;
    start(registry, h, id, url, cb, ctx);
}

/* ---- is it still there? ---- */

struct host_claim {
    registry_cb cb;
    void *ctx;
};

static void on_known(void *ctx, int rc, const struct err *e, bool is_registry)
{
    struct host_claim *claim = ctx;

    (void)is_registry; /* older programs let it be two hosts: no ids collide */
    claim->cb(claim->ctx, rc, e);
    free(claim);
}

int registry_nsm_host_claim(struct registry *registry, const char *host_id, registry_cb cb,
                            void *ctx, struct err *e)
{
    struct engine_claim known = {.host_id = host_id, .claimer = ENGINE_KNOWN};
    struct host_claim *claim;
    struct nsm *nsm;
    int rc = registry_nsm(registry, host_id, &nsm, e);

    if (rc != 0 || nsm == registry->own_nsm) {
        return rc != 0 ? rc : 1;
    }
    known.alba_id = registry_view_alba_id(registry->view);
    claim = mem_zalloc(sizeof(*claim));
    *claim = (struct host_claim){.cb = cb, .ctx = ctx};
    engine_claim(nsm_kv(nsm), &known, on_known, claim);
    return 0;
}

void registry_cancel(struct registry *registry)
{
    LIST_FOR_EACH (it, &registry->hosts) {
        kv_cancel(container_of(it, struct registry_host, link)->kv);
    }
    kv_cancel(registry->kv);
}

void registry_cancel_silent(struct registry *registry, unsigned ms)
{
    LIST_FOR_EACH (it, &registry->hosts) {
        kv_cancel_silent(container_of(it, struct registry_host, link)->kv, ms);
    }
    kv_cancel_silent(registry->kv, ms);
}
