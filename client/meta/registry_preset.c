/* Presets and NSM hosts of the registry. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/registry_private.h"

/* ---- presets ---- */

struct preset_op {
    struct reg_op op;
    struct preset preset;
};

static struct preset_op *preset_of(struct change *c)
{
    return container_of(container_of(c, struct reg_op, change), struct preset_op, op);
}

static void preset_done(struct change *change, int rc)
{
    preset_release(&preset_of(change)->preset);
    reg_op_done(change, rc);
}

static int build_create(struct change *c, const struct registry_view *view)
{
    struct preset *preset = &preset_of(c)->preset;

    if (registry_view_preset_find(view, preset->name) != NULL) {
        return err_set(&c->err, ERR_EXISTS, "preset '%s'", preset->name);
    }
    preset->version = 0;
    change_put_new(c, REG_PRESET, preset->name, preset_to_json(preset));
    return 0;
}

static int build_update(struct change *c, const struct registry_view *view)
{
    struct preset *wanted = &preset_of(c)->preset;
    const struct preset *old = registry_view_preset_find(view, wanted->name);
    struct preset changed;

    if (old == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "preset '%s'", wanted->name);
    }
    preset_copy(&changed, old);
    memcpy(changed.policies, wanted->policies, sizeof(changed.policies));
    changed.policy_count = wanted->policy_count;
    changed.fragment_bytes = wanted->fragment_bytes;
    changed.version = old->version + 1;
    change_put_new(c, REG_PRESET, changed.name, preset_to_json(&changed));
    preset_release(&changed);
    return 0;
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    struct preset_op *op = ctx;

    (void)reply;
    preset_done(&op->op.change, rc);
}

static void start_preset(struct registry *registry, const struct preset *preset,
                         change_build_cb build, registry_cb cb, void *ctx)
{
    struct preset_op *op = mem_zalloc(sizeof(*op));
    struct err *e = &op->op.change.err;

    op->op.cb = cb;
    op->op.ctx = ctx;
    preset_copy(&op->preset, preset);
    /* What the registry tells is not stored. */
    op->preset.is_default = false;
    op->preset.in_use = true;
    if (record_check_name("preset name", preset->name, MANIFEST_PRESET_BYTES_MAX, e) != 0 ||
        preset_validate(preset, e) != 0) {
        kv_fail(registry->kv, e, on_refused, op);
        return;
    }
    change_start(registry, &op->op.change, build, preset_done);
}

void registry_preset_create(struct registry *registry, const struct preset *preset, registry_cb cb,
                            void *ctx)
{
    start_preset(registry, preset, build_create, cb, ctx);
}

void registry_preset_update(struct registry *registry, const struct preset *preset, registry_cb cb,
                            void *ctx)
{
    start_preset(registry, preset, build_update, cb, ctx);
}

static int build_delete(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct preset *preset = registry_view_preset_find(view, op->name);
    struct preset told;
    bool in_use, is_default;

    if (preset == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "preset '%s'", op->name);
    }
    registry_view_preset_copy(view, preset, &told);
    in_use = told.in_use;
    is_default = told.is_default;
    preset_release(&told);
    if (in_use) {
        return err_say(&c->err, ERR_BUSY, "preset '%s' is used by namespaces", op->name);
    }
    change_delete(c, REG_PRESET, op->name);
    if (is_default) {
        change_put_new(c, REG_DEFAULT_PRESET, "", json_pack("{s:s}", "name", ""));
    }
    return 0;
}

static int build_set_default(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);

    if (registry_view_preset_find(view, op->name) == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "preset '%s'", op->name);
    }
    change_put_new(c, REG_DEFAULT_PRESET, "", json_pack("{s:s}", "name", op->name));
    return 0;
}

static void start_named(struct registry *registry, const char *name, change_build_cb build,
                        registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(name, NULL, cb, ctx);

    if (record_check_name("preset name", name, PRESET_NAME_BYTES_MAX, &op->change.err) != 0) {
        reg_op_refuse(registry, op);
        return;
    }
    change_start(registry, &op->change, build, reg_op_done);
}

void registry_preset_delete(struct registry *registry, const char *name, registry_cb cb, void *ctx)
{
    start_named(registry, name, build_delete, cb, ctx);
}

void registry_preset_set_default(struct registry *registry, const char *name, registry_cb cb,
                                 void *ctx)
{
    start_named(registry, name, build_set_default, cb, ctx);
}

/* ---- NSM hosts ---- */

static int build_host_add(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);

    if (registry_view_nsm_host_find(view, op->name) != NULL) {
        return err_set(&c->err, ERR_EXISTS, "NSM host '%s'", op->name);
    }
    change_put(c, REG_NSM_HOST, op->name, op->json);
    return 0;
}

static int build_host_update(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);

    if (registry_view_nsm_host_find(view, op->name) == NULL) {
        return err_set(&c->err, ERR_NOT_FOUND, "NSM host '%s'", op->name);
    }
    change_put(c, REG_NSM_HOST, op->name, op->json);
    return 0;
}

static struct reg_op *host_new(const char *id, const char *url, bool is_lost, registry_cb cb,
                               void *ctx)
{
    struct reg_op *op = reg_op_new(id, NULL, cb, ctx);
    struct err *e = &op->change.err;

    if (record_check_name("NSM host id", id, REGISTRY_ID_BYTES_MAX, e) == 0 &&
        (strcmp(url, "registry:") == 0 || kv_url_check(url, e) == 0)) {
        op->json = json_pack("{s:s, s:s, s:b}", "id", id, "url", url, "lost", (int)is_lost);
    }
    return op;
}

/* The engine of a new host must be taken for metadata before namespaces go there. */
struct host_add {
    struct reg_op *op;
    struct registry *registry;
    struct kv *kv;
    int rc;
};

static void on_host_closed(void *ctx)
{
    struct host_add *add = ctx;
    struct registry *registry = add->registry;
    struct reg_op *op = add->op;

    if (add->rc != 0 || registry->closing) {
        int rc = add->rc != 0 ? add->rc : err_set(&op->change.err, ERR_CANCELED, "NSM host");

        reg_op_done(&op->change, rc);
    } else {
        change_start(registry, &op->change, build_host_add, reg_op_done);
    }
    free(add);
    registry->external--;
    registry_part_closed(registry);
}

static void on_host_prepared(void *ctx, int rc, const struct kv_reply *reply)
{
    struct host_add *add = ctx;

    add->rc = rc;
    if (rc != 0) {
        err_copy(&add->op->change.err, reply->err);
    }
    kv_close(add->kv, on_host_closed, add);
}

void registry_nsm_host_add(struct registry *registry, const char *id, const char *url,
                           registry_cb cb, void *ctx)
{
    struct reg_op *op = host_new(id, url, false, cb, ctx);
    struct host_add *add;
    struct kv *kv;

    if (op->json == NULL) {
        reg_op_refuse(registry, op);
        return;
    }
    if (strcmp(url, "registry:") == 0) {
        change_start(registry, &op->change, build_host_add, reg_op_done);
        return;
    }
    if (registry->open_kv(kv_loop(registry->kv), url, kv_tls(registry->kv), &kv, &op->change.err) !=
        0) {
        reg_op_refuse(registry, op);
        return;
    }
    add = mem_zalloc(sizeof(*add));
    *add = (struct host_add){.op = op, .registry = registry, .kv = kv};
    registry->external++;
    kv_prepare(kv, on_host_prepared, add);
}

void registry_nsm_host_update(struct registry *registry, const char *id, const char *url,
                              bool is_lost, registry_cb cb, void *ctx)
{
    struct reg_op *op = host_new(id, url, is_lost, cb, ctx);

    if (op->json == NULL) {
        reg_op_refuse(registry, op);
        return;
    }
    change_start(registry, &op->change, build_host_update, reg_op_done);
}

void registry_cancel(struct registry *registry)
{
    LIST_FOR_EACH (it, &registry->hosts) {
        kv_cancel(container_of(it, struct registry_host, link)->kv);
    }
    kv_cancel(registry->kv);
}
