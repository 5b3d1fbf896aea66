/* Making a registry: prepare the store -> look -> one transaction.
 *
 * Two of them at once: one transaction wins, the other finds a registry. So does a repetition
 * after a lost reply. */
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rnd.h"
#include "meta/engine_owner.h"
#include "meta/registry_private.h"

enum { INIT_TIMEOUT_MS = 20000 };

static void init_done(struct reg_op *op, int rc, const struct err *e)
{
    if (e != NULL) {
        err_copy(&op->change.err, e);
    }
    kv_txn_release(&op->change.txn);
    json_decref(op->change.keys);
    reg_op_done(&op->change, rc);
}

/* Somebody else made it; or it is being recovered. */
static void on_made(void *ctx, int rc, const struct err *e)
{
    struct err busy;

    if (rc == ERR_NOT_FOUND) {
        rc = err_say(&busy, ERR_BUSY,
                     "a recovery into this store has not ended: run alba recover-registry again");
        e = &busy;
    }
    init_done(ctx, rc, e);
}

/* The engine is an NSM host's. */
static void on_mark(void *ctx, int rc, const struct kv_reply *reply)
{
    struct reg_op *op = ctx;
    struct err why;

    if (rc == 0 && reply->items[0].found) {
        rc = engine_mark_refuse(kv_url(op->change.registry->kv), reply->items[0].value, &why);
        init_done(op, rc, &why);
    } else {
        init_done(op, rc != 0 ? rc : ERR_BUSY, rc != 0 ? reply->err : NULL);
    }
}

static void on_commit(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct reg_op *op = ctx;
    struct key key;
    struct slice mark = engine_mark_key(&key);

    if (rc == ERR_ASSERT_FAILED && slice_eq(result->failed_key, mark)) {
        kv_get(op->change.registry->kv, &mark, 1, 0, on_mark, op);
    } else if (rc == 0 || rc == ERR_ASSERT_FAILED) { /* there is one now */
        registry_refresh(op->change.registry, on_made, op);
    } else {
        init_done(op, rc, result->err);
    }
}

static void put_preset(struct change *c, const struct preset *preset)
{
    change_put_new(c, REG_PRESET, preset->name, preset_to_json(preset));
    change_put_new(c, REG_DEFAULT_PRESET, "", json_pack("{s:s}", "name", preset->name));
}

static void commit_first(struct reg_op *op)
{
    struct change *c = &op->change;
    char alba_id[RND_UUID_TEXT_BYTES];
    struct preset preset;
    struct key key;

    rnd_uuid_text(alba_id);
    c->keys = json_array();
    c->txn.reserve = true;
    change_put_new(
        c, REG_ALBA, "",
        json_pack("{s:s, s:I}", "id", alba_id, "created_us", (json_int_t)clock_wall_us()));
    change_put_new(c, REG_NSM_HOST, "registry",
                   json_pack("{s:s, s:s, s:b}", "id", "registry", "url", "registry:", "lost", 0));
    preset_init_default(&preset);
    preset.version = 0;
    put_preset(c, &preset);
    preset_release(&preset);
    change_put_new(c, REG_NEXT_ID, "",
                   json_pack("{s:I, s:I, s:I}", "osd", (json_int_t)1, "namespace", (json_int_t)1,
                             "work", (json_int_t)1));
    kv_txn_assert_absent(&c->txn, engine_mark_key(&key));
    change_assert_absent(c, REG_RECOVERING, "", ERR_BUSY);
    change_seal(c, NULL);
    kv_commit(c->registry->kv, &c->txn, clock_mono_ms() + INIT_TIMEOUT_MS, on_commit, op);
}

static void on_looked(void *ctx, int rc, const struct err *e)
{
    if (rc == ERR_NOT_FOUND) {
        commit_first(ctx);
    } else {
        init_done(ctx, rc, e);
    }
}

static void on_prepared(void *ctx, int rc, const struct kv_reply *reply)
{
    struct reg_op *op = ctx;

    if (rc != 0) {
        init_done(op, rc, reply->err);
        return;
    }
    registry_refresh(op->change.registry, on_looked, op);
}

void registry_init(struct registry *registry, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(NULL, NULL, cb, ctx);

    op->change.registry = registry;
    kv_prepare(registry->kv, on_prepared, op);
}
