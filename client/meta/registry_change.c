/* Changes of the registry: refresh -> build -> commit -> refresh -> done, one at a time.
 *
 * - the commit's assert on the version fails: another change came first; from the start;
 * - an assert of the operation's own fails: its refusal;
 * - in doubt, and the repetition fails: change/<version + 1> tells whose change that was. (One that
 *   jumps to a higher version looks there; what another made lies elsewhere: it stays in doubt.) */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "meta/registry_private.h"

enum { CHANGE_TIMEOUT_MS = 20000, TRACE_TIMEOUT_MS = 2000 };

static void change_run(struct change *c);

/* ---- filling the transaction ---- */

static void note_key(struct change *c, const char *prefix, const char *id)
{
    char *name = mem_printf("%s%s", prefix, id);

    CHECK(json_array_append_new(c->keys, json_string(name)) == 0);
    free(name);
}

void change_put_value(struct change *change, const char *prefix, const char *id, struct slice value)
{
    struct key key;

    kv_txn_put(&change->txn, reg_key(&key, prefix, id), value);
    note_key(change, prefix, id);
}

void change_put(struct change *change, const char *prefix, const char *id, const json_t *json)
{
    struct buf value = {0};
    struct key key;

    value_make_json(&value, reg_key(&key, prefix, id), json);
    change_put_value(change, prefix, id, slice_buf(&value));
    buf_release(&value);
}

void change_put_new(struct change *change, const char *prefix, const char *id, json_t *take_json)
{
    CHECK(take_json != NULL);
    change_put(change, prefix, id, take_json);
    json_decref(take_json);
}

void change_delete(struct change *change, const char *prefix, const char *id)
{
    struct key key;

    kv_txn_delete(&change->txn, reg_key(&key, prefix, id));
    note_key(change, prefix, id);
}

void change_assert_absent(struct change *change, const char *prefix, const char *id, int refusal)
{
    struct key key;

    kv_txn_assert_absent(&change->txn, reg_key(&key, prefix, id));
    change->refusal = refusal;
}

void change_assert_value(struct change *change, const char *prefix, const char *id,
                         struct slice value, int refusal)
{
    struct key key;

    kv_txn_assert_equal(&change->txn, reg_key(&key, prefix, id), value);
    change->refusal = refusal;
}

struct next_ids {
    uint64_t ids[NEXT_WORK + 1];
};

static struct next_ids next_of(const struct registry_view *view)
{
    return (struct next_ids){.ids = {[NEXT_OSD] = view->next_osd_id,
                                     [NEXT_NAMESPACE] = view->next_namespace_id,
                                     [NEXT_WORK] = view->next_work_id}};
}

static void put_next(struct change *change, const struct next_ids *next, uint64_t work_items)
{
    json_t *json =
        json_pack("{s:I, s:I, s:I}", "osd", (json_int_t)next->ids[NEXT_OSD], "namespace",
                  (json_int_t)next->ids[NEXT_NAMESPACE], "work", (json_int_t)next->ids[NEXT_WORK]);

    if (work_items != WORK_ITEMS_UNKNOWN) {
        json_object_set_new(json, "work_items", json_integer((json_int_t)work_items));
    }
    change_put_new(change, REG_NEXT_ID, "", json);
}

uint64_t change_take_id(struct change *change, const struct registry_view *view, enum next_id kind)
{
    struct next_ids next = next_of(view);
    uint64_t taken = next.ids[kind]++;

    put_next(change, &next, view->work_items);
    return taken;
}

uint64_t change_take_work_id(struct change *change, const struct registry_view *view,
                             uint64_t items)
{
    struct next_ids next = next_of(view);
    uint64_t taken = next.ids[NEXT_WORK]++;

    put_next(change, &next, items);
    return taken;
}

void change_put_work_items(struct change *change, const struct registry_view *view, uint64_t items)
{
    struct next_ids next = next_of(view);

    put_next(change, &next, items);
}

static void put_version(struct change *c)
{
    char id[RECORD_ID_TEXT_BYTES];
    struct buf value = {0};
    struct key key;
    struct slice k = reg_key(&key, REG_VERSION, "");
    json_t *json =
        json_pack("{s:I, s:s}", "version", (json_int_t)c->version, "commit", c->commit_id);

    CHECK(json != NULL);
    value_make_json(&value, k, json);
    kv_txn_put(&c->txn, k, slice_buf(&value));
    json_decref(json);

    json = json_pack("{s:s, s:O}", "commit", c->commit_id, "keys", c->keys);
    CHECK(json != NULL);
    record_id_text(c->version, id);
    k = reg_key(&key, REG_CHANGE, id);
    value.len = 0;
    value_make_json(&value, k, json);
    kv_txn_put(&c->txn, k, slice_buf(&value));
    json_decref(json);
    buf_release(&value);
}

void change_seal(struct change *change, const struct registry_view *view)
{
    uint8_t commit_id[16];
    char id[RECORD_ID_TEXT_BYTES];
    struct key key;
    struct slice k = reg_key(&key, REG_VERSION, "");

    rnd_bytes(commit_id, sizeof(commit_id));
    hex_encode(change->commit_id, commit_id, sizeof(commit_id));
    change->base_version = view != NULL ? view->version : 0;
    if (change->version <= change->base_version) {
        change->version = change->base_version + 1;
    }
    if (view != NULL) {
        kv_txn_assert_equal(&change->txn, k, slice_buf(&view->version_value));
    } else {
        kv_txn_assert_absent(&change->txn, k);
    }
    put_version(change);
    if (change->base_version >= REGISTRY_CHANGES_KEPT) {
        record_id_text(change->base_version + 1 - REGISTRY_CHANGES_KEPT, id);
        kv_txn_delete(&change->txn, reg_key(&key, REG_CHANGE, id));
    }
}

/* ---- running ---- */

/* Answer it; the next one gets its turn before, so that `done` may start another. */
static void change_end(struct change *c, int rc)
{
    struct registry *r = c->registry;

    list_remove(&c->link);
    kv_txn_release(&c->txn);
    json_decref(c->keys);
    if (rc != 0 && c->err.code != rc) {
        err_set(&c->err, rc, "registry");
    }
    if (!list_empty(&r->changes)) {
        change_run(container_of(r->changes.next, struct change, link));
    }
    c->done(c, rc);
}

static void change_fail(struct change *c, const struct err *e)
{
    if (e != &c->err) {
        err_copy(&c->err, e);
    }
    change_end(c, c->err.code);
}

static void on_view_shows_it(void *ctx, int rc, const struct err *e)
{
    (void)rc;
    (void)e; /* it is committed, whether or not the view could be read again */
    change_end(ctx, 0);
}

static void change_committed(struct change *c)
{
    c->committed = true;
    registry_refresh(c->registry, on_view_shows_it, c);
}

static void on_slept(void *ctx, int rc, const struct kv_reply *reply)
{
    if (rc != 0) {
        change_fail(ctx, reply->err);
        return;
    }
    change_run(ctx);
}

static void change_again(struct change *c)
{
    uint64_t dice;

    if (++c->tries >= REGISTRY_TRIES_MAX || clock_mono_ms() >= c->deadline_ms) {
        err_say(&c->err, ERR_BUSY, "others change the registry all the time");
        change_fail(c, &c->err);
        return;
    }
    rnd_bytes(&dice, sizeof(dice));
    kv_sleep(c->registry->kv, c->tries < 3 ? 0 : (unsigned)(dice % (4u * c->tries)), on_slept, c);
}

static void on_trace(void *ctx, int rc, const struct kv_reply *reply)
{
    struct change *c = ctx;
    json_t *json = NULL;

    if (rc != 0 || !reply->items[0].found ||
        value_open_json(reply->items[0].key, reply->items[0].value, &json, &c->err) != 0) {
        err_set(&c->err, ERR_IN_DOUBT, "change of the registry");
        change_fail(c, &c->err);
        return;
    }
    if (strcmp(json_text(json, "commit", ""), c->commit_id) == 0) {
        change_committed(c);
    } else {
        change_again(c); /* that version is another's: ours never happens */
    }
    json_decref(json);
}

static void look_for_trace(struct change *c)
{
    char id[RECORD_ID_TEXT_BYTES];
    struct key key;
    struct slice k;

    record_id_text(c->version, id);
    k = reg_key(&key, REG_CHANGE, id);
    kv_get(c->registry->kv, &k, 1, TRACE_TIMEOUT_MS, on_trace, c);
}

static void on_commit(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct change *c = ctx;
    struct slice version = slice_str(REG_VERSION);

    if (rc == 0) {
        change_committed(c);
        return;
    }
    err_copy(&c->err, result->err);
    if (rc == ERR_CANCELED) { /* it may have been sent, and nobody may ask any more */
        err_set(&c->err, ERR_IN_DOUBT, "change of the registry");
        change_fail(c, &c->err);
    } else if (result->doubted) {
        look_for_trace(c);
    } else if (rc != ERR_ASSERT_FAILED) {
        change_fail(c, &c->err);
    } else if (slice_eq(reg_key_tail(result->failed_key), version)) {
        change_again(c);
    } else {
        char text[KEY_TEXT_BYTES];

        key_text(result->failed_key, text);
        err_set(&c->err, c->refusal, "%s", text);
        change_fail(c, &c->err);
    }
}

static void on_refreshed(void *ctx, int rc, const struct err *e)
{
    struct change *c = ctx;

    if (rc != 0) {
        change_fail(c, e);
        return;
    }
    kv_txn_release(&c->txn);
    c->txn.reserve = true; /* what empties a full system goes through here, too */
    json_decref(c->keys);
    c->keys = json_array();
    c->err = (struct err){0};
    c->version = 0;
    rc = c->build(c, c->registry->view);
    if (rc < 0) {
        change_fail(c, &c->err);
        return;
    }
    if (rc > 0) {
        change_end(c, 0);
        return;
    }
    change_seal(c, c->registry->view);
    kv_commit(c->registry->kv, &c->txn, c->deadline_ms, on_commit, c);
}

static void change_run(struct change *c)
{
    registry_refresh(c->registry, on_refreshed, c);
}

void change_start(struct registry *registry, struct change *change, change_build_cb build,
                  change_done_cb done)
{
    bool idle = list_empty(&registry->changes);

    change->registry = registry;
    change->build = build;
    change->done = done;
    change->deadline_ms = clock_mono_ms() + CHANGE_TIMEOUT_MS;
    change->tries = 0;
    change->committed = false;
    change->txn = (struct kv_txn){0};
    change->keys = NULL;
    change->err = (struct err){0};
    list_push(&registry->changes, &change->link);
    if (idle) {
        change_run(change);
    }
}

static int build_raise(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);

    if (view->version >= op->number) {
        return 1;
    }
    c->version = op->number;
    if (json_object_get(view->recovered, "restored_from_version") != NULL) {
        json_t *recovered = json_deep_copy(view->recovered);

        json_object_del(recovered, "restored_from_version");
        change_put_new(c, REG_RECOVERED, "", recovered);
    }
    return 0;
}

void registry_raise_version(struct registry *registry, uint64_t version, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(NULL, NULL, cb, ctx);

    op->number = version;
    change_start(registry, &op->change, build_raise, reg_op_done);
}

/* ---- the usual operation ---- */

struct reg_op *reg_op_new(const char *name, json_t *take_json, registry_cb cb, void *ctx)
{
    struct reg_op *op = mem_zalloc(sizeof(*op));

    op->name = name != NULL ? mem_strdup(name) : NULL;
    op->json = take_json;
    op->cb = cb;
    op->ctx = ctx;
    return op;
}

void reg_op_done(struct change *change, int rc)
{
    struct reg_op *op = container_of(change, struct reg_op, change);

    op->cb(op->ctx, rc, &op->change.err);
    json_decref(op->json);
    free(op->name);
    free(op);
}

static void on_refused(void *ctx, int rc, const struct kv_reply *reply)
{
    struct reg_op *op = ctx;

    (void)reply;
    reg_op_done(&op->change, rc);
}

void reg_op_refuse(struct registry *registry, struct reg_op *op)
{
    kv_fail(registry->kv, &op->change.err, on_refused, op);
}
