/* Namespaces of the registry.
 *
 * create: is the NSM host's engine ours? -> record `creating` -> first gc epoch there -> record
 *         `active`
 * delete: is it a disk's? -> record moved to removed/ -> gc epochs ended at the NSM host, if ours
 *
 * Stopped between the steps: KEYS.md, "Crash states". */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/nsm_gc.h"
#include "meta/registry_private.h"
#include "meta/registry_volume.h"

enum { DISK_LOOKS_MAX = 10 };

struct ns_op {
    struct reg_op op; /* number: namespace id; flag: it was there before, or known (delete) */
    bool (*is_wanted)(void *ctx);  /* delete; NULL: always */
    struct registry_volume volume; /* delete: the disk in it; raw.len 0: none */
    unsigned looks;                /* delete: at the disk's record again */
    char *preset;
    char *host;
    char *ours; /* create: a host whose engine is; NULL: none was asked yet */
    struct registry *registry;
};

static struct ns_op *ns_of(struct change *c)
{
    return container_of(container_of(c, struct reg_op, change), struct ns_op, op);
}

static void ns_done(struct change *change, int rc)
{
    struct ns_op *n = ns_of(change);

    registry_volume_release(&n->volume);
    free(n->preset);
    free(n->host);
    free(n->ours);
    reg_op_done(change, rc);
}

static void ns_fail(struct ns_op *n, const struct err *e)
{
    struct change *c = &n->op.change;

    err_copy(&c->err, e);
    ns_done(c, c->err.code);
}

/* Was it told to close, while it waited for others? Then `n` has been answered. */
static bool ns_is_closing(struct ns_op *n)
{
    struct err e;

    if (n->registry->closing) {
        err_set(&e, ERR_CANCELED, "namespace '%s'", n->op.name);
        ns_fail(n, &e);
        return true;
    }
    return false;
}

static struct ns_op *ns_new(struct registry *registry, const char *name, const char *preset,
                            registry_cb cb, void *ctx)
{
    struct ns_op *n = mem_zalloc(sizeof(*n));

    n->registry = registry;
    n->op.name = mem_strdup(name);
    n->preset = mem_strdup(preset != NULL ? preset : "");
    n->op.cb = cb;
    n->op.ctx = ctx;
    return n;
}

/* ---- create ---- */

/* The one that was asked, once one was: what others do meanwhile need not turn this one around. */
static const struct registry_nsm_host *choose_host(const struct ns_op *n,
                                                   const struct registry_view *view)
{
    const struct registry_nsm_host *asked =
        n->ours != NULL ? registry_view_nsm_host_find(view, n->ours) : NULL;
    const struct registry_nsm_host *best = NULL;
    size_t best_load = SIZE_MAX;

    if (asked != NULL && !asked->is_lost) {
        return asked;
    }
    for (size_t i = 0; i < registry_view_nsm_host_count(view); i++) {
        const struct registry_nsm_host *host = registry_view_nsm_host(view, i);
        size_t load = registry_view_nsm_host_load(view, host->id);

        if (!host->is_lost && load < best_load) {
            best = host;
            best_load = load;
        }
    }
    return best;
}

static bool is_host_asked(const struct ns_op *n)
{
    return n->ours != NULL && strcmp(n->ours, n->host) == 0;
}

/* The registry's own engine is ours. */
static void take_host(struct ns_op *n, const struct registry_view *view, const char *id)
{
    const struct registry_nsm_host *host = registry_view_nsm_host_find(view, id);

    free(n->host);
    n->host = mem_strdup(id);
    if (host != NULL && strcmp(host->url, "registry:") == 0) {
        free(n->ours);
        n->ours = mem_strdup(id);
    }
}

static int build_create(struct change *c, const struct registry_view *view)
{
    struct ns_op *n = ns_of(c);
    const struct registry_namespace *old =
        registry_view_namespace_find(view, n->op.name, strlen(n->op.name));
    const struct preset *preset = registry_view_preset_find(view, n->preset);
    const struct registry_nsm_host *host = choose_host(n, view);
    struct registry_namespace ns;

    if (old != NULL) {
        if (old->state == REGISTRY_NS_LOST) {
            return err_say(&c->err, ERR_EXISTS,
                           "namespace '%s' is lost: recover or delete it first", n->op.name);
        }
        if (old->state == REGISTRY_NS_ACTIVE) {
            return err_set(&c->err, ERR_EXISTS, "namespace '%s'", n->op.name);
        }
        n->op.flag = true; /* somebody began; go on for them */
        n->op.number = old->id;
        take_host(n, view, old->nsm_host);
        return 1;
    }
    if (preset == NULL && n->preset[0] == '\0') {
        return err_say(&c->err, ERR_NOT_FOUND,
                       "no preset is the default: name one, or alba preset-set-default does");
    }
    if (preset == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "preset '%s'", n->preset);
    }
    if (host == NULL) {
        return err_say(&c->err, ERR_NOT_FOUND, "no NSM host that is not lost");
    }
    take_host(n, view, host->id);
    if (!is_host_asked(n)) {
        return 1; /* and then from the start */
    }
    n->op.number = change_take_id(c, view, NEXT_NAMESPACE);
    ns = (struct registry_namespace){.id = n->op.number,
                                     .name = n->op.name,
                                     .preset = preset->name,
                                     .nsm_host = host->id,
                                     .state = REGISTRY_NS_CREATING,
                                     .created_us = clock_wall_us()};
    change_put_new(c, REG_NAMESPACE, n->op.name, record_namespace_json(&ns));
    return 0;
}

static int build_activate(struct change *c, const struct registry_view *view)
{
    struct ns_op *n = ns_of(c);
    const struct registry_namespace *ns =
        registry_view_namespace_find(view, n->op.name, strlen(n->op.name));
    struct registry_namespace active;

    if (ns == NULL || ns->id != n->op.number) {
        return err_say(&c->err, ERR_NOT_FOUND, "namespace '%s' was deleted meanwhile", n->op.name);
    }
    if (ns->state != REGISTRY_NS_CREATING) {
        return 1;
    }
    active = *ns;
    active.state = REGISTRY_NS_ACTIVE;
    change_put_new(c, REG_NAMESPACE, n->op.name, record_namespace_json(&active));
    return 0;
}

static void activated(struct change *c, int rc)
{
    struct ns_op *n = ns_of(c);

    if (rc == 0 && n->op.flag) {
        rc = err_set(&c->err, ERR_EXISTS, "namespace '%s'", n->op.name);
    }
    ns_done(c, rc);
}

static void on_setup(void *ctx, int rc, struct nsm_reply *reply)
{
    struct ns_op *n = ctx;

    if (rc != 0) {
        ns_fail(n, &reply->err);
    } else if (!ns_is_closing(n)) {
        change_start(n->registry, &n->op.change, build_activate, activated);
    }
}

static void created(struct change *c, int rc);

static void on_host_asked(void *ctx, int rc, const struct err *e)
{
    struct ns_op *n = ctx;

    if (rc != 0) {
        ns_fail(n, e);
    } else if (!ns_is_closing(n)) {
        free(n->ours);
        n->ours = mem_strdup(n->host);
        change_start(n->registry, &n->op.change, build_create, created);
    }
}

/* Of another alba: its namespaces have the same ids. */
static void ask_host(struct ns_op *n)
{
    struct err e = {0};
    int rc = registry_nsm_host_claim(n->registry, n->host, on_host_asked, n, &e);

    if (rc != 0) {
        on_host_asked(n, rc > 0 ? 0 : rc, &e);
    }
}

static void created(struct change *c, int rc)
{
    struct ns_op *n = ns_of(c);
    struct nsm *nsm;
    struct err e;

    if (rc != 0) {
        ns_done(c, rc);
    } else if (!is_host_asked(n)) {
        ask_host(n);
    } else if (registry_nsm(n->registry, n->host, &nsm, &e) != 0) {
        ns_fail(n, &e);
    } else {
        nsm_namespace_setup(nsm, n->op.number, on_setup, n);
    }
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    struct ns_op *n = ctx;

    (void)reply;
    ns_done(&n->op.change, rc);
}

void registry_namespace_create(struct registry *registry, const char *name, const char *preset,
                               registry_cb cb, void *ctx)
{
    struct ns_op *n = ns_new(registry, name, preset, cb, ctx);
    struct err *e = &n->op.change.err;

    if (record_check_name("namespace name", name, REGISTRY_NAME_BYTES_MAX, e) != 0 ||
        (n->preset[0] != '\0' &&
         record_check_name("preset name", n->preset, PRESET_NAME_BYTES_MAX, e) != 0)) {
        kv_fail(registry->kv, e, on_refused, n);
        return;
    }
    change_start(registry, &n->op.change, build_create, created);
}

/* ---- delete ---- */

static bool may_be_a_disk(const struct ns_op *n)
{
    return strlen(n->op.name) == RND_UUID_TEXT_BYTES - 1;
}

/* A disk's namespace has its UUID for a name, and goes only with it: its driver says so in the
 * record first. (One that says the disk is being made may be older than the disk, in a registry
 * that was recovered.) Asserted: that is so still. */
static int check_disk(struct ns_op *n, struct err *e)
{
    struct change *c = &n->op.change;

    if (n->volume.raw.len == 0) {
        change_assert_absent(c, REG_VOLUME_ID, n->op.name, ERR_ASSERT_FAILED);
        return 0;
    }
    if (n->volume.state != REGISTRY_VOLUME_DELETING) {
        return err_say(e, -EINVAL,
                       "namespace '%s' holds disk '%.90s': `alba vdisk-delete %.90s` deletes both",
                       n->op.name, n->volume.name, n->volume.name);
    }
    change_assert_value(c, REG_VOLUME, n->volume.name, slice_buf(&n->volume.raw),
                        ERR_ASSERT_FAILED);
    return 0;
}

static int build_delete(struct change *c, const struct registry_view *view)
{
    struct ns_op *n = ns_of(c);
    const struct registry_namespace *ns =
        registry_view_namespace_find(view, n->op.name, strlen(n->op.name));
    struct registry_namespace removed;
    char id[RECORD_ID_TEXT_BYTES];

    if (n->is_wanted != NULL && !n->is_wanted(n->op.ctx)) {
        return err_say(&c->err, UV_ECANCELED, "nobody waits for the delete any more");
    }
    if (ns == NULL || (n->op.flag && ns->id != n->op.number)) { /* of the name, later: another */
        return err_set(&c->err, ERR_NOT_FOUND, "namespace '%s'", n->op.name);
    }
    if (may_be_a_disk(n) && check_disk(n, &c->err) != 0) {
        return c->err.code;
    }
    n->op.flag = true;
    removed = *ns;
    removed.state = REGISTRY_NS_REMOVING;
    removed.removed_at_us = clock_wall_us();
    n->op.number = ns->id;
    free(n->host);
    n->host = mem_strdup(ns->nsm_host);
    record_id_text(ns->id, id);
    change_delete(c, REG_NAMESPACE, n->op.name);
    change_put_new(c, REG_REMOVED, id, record_namespace_json(&removed));
    return 0;
}

/* The namespace is deleted whatever comes of it: maintenance fences again. */
static void fenced(struct ns_op *n, int rc, const struct err *e)
{
    if (rc != 0) {
        log_warn("registry", "deleted namespace not fenced yet", "id=%" PRIu64 " why=\"%s\"",
                 n->op.number, e->msg);
    }
    ns_done(&n->op.change, 0);
}

static void on_fenced(void *ctx, int rc, struct nsm_reply *reply)
{
    fenced(ctx, rc, &reply->err);
}

static void fence(void *ctx, int rc, const struct err *e)
{
    struct ns_op *n = ctx;
    struct nsm *nsm;
    struct err why = {0};

    if (rc != 0) {
        fenced(n, rc, e);
    } else if (n->registry->closing || registry_nsm(n->registry, n->host, &nsm, &why) != 0) {
        ns_done(&n->op.change, 0);
    } else {
        nsm_namespace_fence(nsm, n->op.number, on_fenced, n);
    }
}

static void on_disk(void *ctx, int rc, const struct err *e, struct registry_volume *volume);

/* The disk's record has changed; or the one of its UUID is damaged, which looks like that. */
static void look_again(struct ns_op *n)
{
    struct err *e = &n->op.change.err;

    if (++n->looks <= DISK_LOOKS_MAX) {
        registry_volume_get_uuid(n->registry, n->op.name, on_disk, n);
    } else if (n->volume.raw.len == 0) {
        ns_done(&n->op.change,
                err_say(e, ERR_CORRUPT, "namespace '%s': registry key volume-id/%s names no disk",
                        n->op.name, n->op.name));
    } else {
        ns_done(&n->op.change,
                err_say(e, ERR_BUSY, "disk '%.90s' changes all the time", n->volume.name));
    }
}

static void deleted(struct change *c, int rc)
{
    struct ns_op *n = ns_of(c);
    struct err e = {0};

    if (rc == ERR_ASSERT_FAILED) {
        if (!ns_is_closing(n)) {
            look_again(n);
        }
        return;
    }
    if (rc != 0) {
        ns_done(c, rc);
        return;
    }
    rc = registry_nsm_host_claim(n->registry, n->host, fence, n, &e);
    if (rc != 0) {
        fence(n, rc > 0 ? 0 : rc, &e);
    }
}

static void on_disk(void *ctx, int rc, const struct err *e, struct registry_volume *volume)
{
    struct ns_op *n = ctx;

    if (rc != 0 && rc != ERR_NOT_FOUND) {
        ns_fail(n, e);
        return;
    }
    registry_volume_release(&n->volume);
    if (rc == 0 && strcmp(volume->uuid, n->op.name) == 0) {
        registry_volume_move(&n->volume, volume);
    }
    if (!ns_is_closing(n)) {
        change_start(n->registry, &n->op.change, build_delete, deleted);
    }
}

void registry_namespace_delete_while(struct registry *registry, const char *name,
                                     bool (*is_wanted)(void *ctx), registry_cb cb, void *ctx)
{
    struct ns_op *n = ns_new(registry, name, NULL, cb, ctx);

    n->is_wanted = is_wanted;
    if (record_check_name("namespace name", name, REGISTRY_NAME_BYTES_MAX, &n->op.change.err) !=
        0) {
        kv_fail(registry->kv, &n->op.change.err, on_refused, n);
        return;
    }
    if (may_be_a_disk(n)) {
        registry_volume_get_uuid(registry, name, on_disk, n);
    } else {
        change_start(registry, &n->op.change, build_delete, deleted);
    }
}

void registry_namespace_delete(struct registry *registry, const char *name, registry_cb cb,
                               void *ctx)
{
    registry_namespace_delete_while(registry, name, NULL, cb, ctx);
}

static int build_forget(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct registry_namespace *ns = registry_view_namespace_by_id(view, op->number);
    char id[RECORD_ID_TEXT_BYTES];

    if (ns == NULL) {
        return 1; /* another agent was faster */
    }
    if (ns->state != REGISTRY_NS_REMOVING) {
        return err_set(&c->err, ERR_BUSY, "namespace '%s' is not removed", ns->name);
    }
    record_id_text(op->number, id);
    change_delete(c, REG_REMOVED, id);
    return 0;
}

void registry_namespace_forget(struct registry *registry, uint64_t id, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(NULL, NULL, cb, ctx);

    op->number = id;
    change_start(registry, &op->change, build_forget, reg_op_done);
}
