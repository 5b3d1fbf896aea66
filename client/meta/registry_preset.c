/* Presets of the registry. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/registry_private.h"

enum { USERS_NAMED_MAX = 3, USERS_TEXT_BYTES = 192 };

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

static int check_claimed(struct change *c, const struct registry_view *view, const uint64_t *ids,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (registry_view_osd_by_id(view, ids[i]) == NULL) {
            return err_say(&c->err, ERR_NOT_FOUND, "unknown osd %" PRIu64, ids[i]);
        }
    }
    return 0;
}

static void put_default(struct change *c, const char *name)
{
    change_put_new(c, REG_DEFAULT_PRESET, "", json_pack("{s:s}", "name", name));
}

static int build_create(struct change *c, const struct registry_view *view)
{
    struct preset *preset = &preset_of(c)->preset;

    if (registry_view_preset_find(view, preset->name) != NULL) {
        return err_set(&c->err, ERR_EXISTS, "preset '%s'", preset->name);
    }
    if (check_claimed(c, view, preset->osd_ids, preset->osd_id_count) != 0) {
        return c->err.code;
    }
    preset->version = 0;
    change_put_new(c, REG_PRESET, preset->name, preset_to_json(preset));
    return 0;
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    struct preset_op *op = ctx;

    (void)reply;
    preset_done(&op->op.change, rc);
}

void registry_preset_create(struct registry *registry, const struct preset *preset, registry_cb cb,
                            void *ctx)
{
    struct preset_op *op = mem_zalloc(sizeof(*op));
    struct err *e = &op->op.change.err;

    op->op.cb = cb;
    op->op.ctx = ctx;
    preset_copy(&op->preset, preset);
    /* What the registry tells is not stored with it. */
    op->preset.is_default = false;
    op->preset.in_use = true;
    if (record_check_name("preset name", preset->name, MANIFEST_PRESET_BYTES_MAX, e) != 0 ||
        preset_validate(preset, e) != 0) {
        kv_fail(registry->kv, e, on_refused, op);
        return;
    }
    change_start(registry, &op->op.change, build_create, preset_done);
}

static const struct preset *find(const struct registry_view *view, struct reg_op *op)
{
    const struct preset *found = registry_view_preset_find(view, op->name);

    if (found == NULL) {
        err_set(&op->change.err, ERR_NOT_FOUND, "preset '%s'", op->name);
    }
    return found;
}

/* Takes the changed preset. */
static void put_next_version(struct change *c, struct preset *take)
{
    take->version++;
    change_put_new(c, REG_PRESET, take->name, preset_to_json(take));
    preset_release(take);
}

static int build_update(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct preset *old = find(view, op);
    struct preset changed;
    int rc;

    if (old == NULL) {
        return ERR_NOT_FOUND;
    }
    preset_copy(&changed, old);
    rc = preset_update(&changed, op->json, &c->err);
    if (rc != 0) {
        preset_release(&changed);
        return rc;
    }
    put_next_version(c, &changed);
    return 0;
}

static int build_add_osds(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct preset *old = find(view, op);
    size_t count = json_array_size(op->json);
    struct preset changed;
    uint64_t *ids;
    int rc;

    if (old == NULL) {
        return ERR_NOT_FOUND;
    }
    if (!old->osds_explicit) {
        return err_say(&c->err, ERR_CONFIG, "preset '%s' uses every osd; it has no list to add to",
                       op->name);
    }
    ids = mem_array(count + 1, sizeof(ids[0]));
    for (size_t i = 0; i < count; i++) {
        ids[i] = (uint64_t)json_integer_value(json_array_get(op->json, i));
    }
    preset_copy(&changed, old);
    rc = check_claimed(c, view, ids, count);
    if (rc == 0 && preset_add_osds(&changed, ids, (uint32_t)count) == 0) {
        rc = 1;
    }
    if (rc == 0) {
        rc = preset_validate(&changed, &c->err);
    }
    free(ids);
    if (rc != 0) {
        preset_release(&changed);
        return rc;
    }
    put_next_version(c, &changed);
    return 0;
}

/* "a, b, c and 4 more" */
static void name_users(const struct registry_view *view, const char *preset, char *ret_text,
                       size_t bytes)
{
    size_t users = 0, len = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < registry_view_namespace_count(view); i++) {
        const struct registry_namespace *ns = registry_view_namespace(view, i);

        if (strcmp(ns->preset, preset) == 0 && users++ < USERS_NAMED_MAX) {
            len += (size_t)snprintf(ret_text + len, bytes - len, "%s%.40s", len != 0 ? ", " : "",
                                    ns->name);
        }
    }
    if (users > USERS_NAMED_MAX) {
        snprintf(ret_text + len, bytes - len, " and %zu more", users - USERS_NAMED_MAX);
    }
}

static int build_delete(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct preset *preset = find(view, op);
    char users[USERS_TEXT_BYTES];
    struct preset told;
    bool in_use, is_default;

    if (preset == NULL) {
        return ERR_NOT_FOUND;
    }
    registry_view_preset_copy(view, preset, &told);
    in_use = told.in_use;
    is_default = told.is_default;
    preset_release(&told);
    if (in_use) {
        name_users(view, op->name, users, sizeof(users));
        return err_say(&c->err, ERR_BUSY, "preset '%s' is used by namespaces: %s", op->name, users);
    }
    if (is_default) {
        return err_say(&c->err, -EPERM,
                       "preset '%s' is the default; alba preset-set-default names another first",
                       op->name);
    }
    change_delete(c, REG_PRESET, op->name);
    return 0;
}

static int build_set_default(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);

    if (find(view, op) == NULL) {
        return ERR_NOT_FOUND;
    }
    put_default(c, op->name);
    return 0;
}

static void start_named(struct registry *registry, const char *name, json_t *take_json,
                        change_build_cb build, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(name, take_json, cb, ctx);

    if (record_check_name("preset name", name, PRESET_NAME_BYTES_MAX, &op->change.err) != 0) {
        reg_op_refuse(registry, op);
        return;
    }
    change_start(registry, &op->change, build, reg_op_done);
}

void registry_preset_update(struct registry *registry, const char *name, const json_t *json,
                            registry_cb cb, void *ctx)
{
    start_named(registry, name, json_deep_copy(json), build_update, cb, ctx);
}

void registry_preset_add_osds(struct registry *registry, const char *name, const uint64_t *osd_ids,
                              unsigned count, registry_cb cb, void *ctx)
{
    json_t *ids = json_array();

    for (unsigned i = 0; i < count; i++) {
        CHECK(json_array_append_new(ids, json_integer((json_int_t)osd_ids[i])) == 0);
    }
    start_named(registry, name, ids, build_add_osds, cb, ctx);
}

void registry_preset_delete(struct registry *registry, const char *name, registry_cb cb, void *ctx)
{
    start_named(registry, name, NULL, build_delete, cb, ctx);
}

void registry_preset_set_default(struct registry *registry, const char *name, registry_cb cb,
                                 void *ctx)
{
    start_named(registry, name, NULL, build_set_default, cb, ctx);
}
