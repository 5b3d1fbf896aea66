#include "meta/registry_store.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/registry_private.h"

enum { KEYS_AT_ONCE = 10000 }; /* more than there are: proxies stop adding before */

struct json_op {
    registry_json_cb cb;
    void *ctx;
    bool list; /* an array of what was read; else the one value */
};

/* In place of an item that cannot be read: it must not hide the others. */
static json_t *stand_in(const struct kv_item *item, int rc)
{
    struct slice tail = reg_key_tail(item->key);
    char id[RECORD_ID_TEXT_BYTES] = "";
    json_t *json = json_object();

    if (tail.len == strlen(REG_WORK) + sizeof(id) - 1) {
        memcpy(id, tail.data + strlen(REG_WORK), sizeof(id) - 1);
    }
    json_object_set_new(json, "id", json_integer((json_int_t)strtoull(id, NULL, 16)));
    if (rc == ERR_CORRUPT) {
        json_object_set_new(json, "kind", json_string(REGISTRY_WORK_DAMAGED));
    }
    return json;
}

static void on_read(void *ctx, int rc, const struct kv_reply *reply)
{
    struct json_op *op = ctx;
    json_t *result = op->list ? json_array() : NULL;
    struct err e = {0};

    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];
        json_t *json = NULL;

        if (!item->found) {
            char text[KEY_TEXT_BYTES];

            key_text(item->key, text);
            rc = err_set(&e, ERR_NOT_FOUND, "%s", text);
        } else if (value_open_json(item->key, item->value, &json, &e) != 0) {
            rc = op->list ? 0 : e.code;
            if (op->list) {
                json_array_append_new(result, stand_in(item, e.code));
                e.code = 0;
            }
        } else if (op->list) {
            json_array_append_new(result, json);
        } else {
            result = json;
        }
    }
    op->cb(op->ctx, rc, e.code != 0 ? &e : reply->err, rc == 0 ? result : NULL);
    json_decref(result);
    free(op);
}

static struct json_op *json_op_new(registry_json_cb cb, void *ctx, bool list)
{
    struct json_op *op = mem_zalloc(sizeof(*op));

    *op = (struct json_op){.cb = cb, .ctx = ctx, .list = list};
    return op;
}

/* ---- configuration ---- */

static void on_bad_key(void *ctx, int rc, const struct kv_reply *reply)
{
    struct json_op *op = ctx;

    op->cb(op->ctx, rc, reply->err, NULL);
    free(op);
}

void registry_config_get(struct registry *registry, const char *key, registry_json_cb cb, void *ctx)
{
    struct json_op *op = json_op_new(cb, ctx, false);
    struct key full;
    struct slice k;
    struct err e;

    if (record_check_name("configuration key", key, REGISTRY_ID_BYTES_MAX, &e) != 0) {
        kv_fail(registry->kv, &e, on_bad_key, op);
        return;
    }
    k = reg_key(&full, REG_CONFIG, key);
    kv_get(registry->kv, &k, 1, 0, on_read, op);
}

/* The last writer wins; nothing is decided on it. */
static void on_config_set(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct reg_op *op = ctx;

    err_copy(&op->change.err, result->err);
    kv_txn_release(&op->change.txn);
    reg_op_done(&op->change, rc);
}

void registry_config_set(struct registry *registry, const char *key, json_t *json, registry_cb cb,
                         void *ctx)
{
    struct reg_op *op = reg_op_new(key, NULL, cb, ctx);
    struct buf value = {0};
    struct key full;
    struct slice k;

    if (record_check_name("configuration key", key, REGISTRY_ID_BYTES_MAX, &op->change.err) != 0) {
        reg_op_refuse(registry, op);
        return;
    }
    k = reg_key(&full, REG_CONFIG, key);
    value_make_json(&value, k, json);
    kv_txn_put(&op->change.txn, k, slice_buf(&value));
    buf_release(&value);
    kv_commit(registry->kv, &op->change.txn, clock_mono_ms() + KV_TIMEOUT_DEFAULT_MS, on_config_set,
              op);
}

/* ---- work items ---- */

/* `items`: how many there are. */
static uint64_t put_item(struct change *c, const struct registry_view *view, uint64_t items)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    uint64_t number = change_take_work_id(c, view, items == WORK_ITEMS_UNKNOWN ? items : items + 1);
    char id[RECORD_ID_TEXT_BYTES];

    record_id_text(number, id);
    json_object_set_new(op->json, "id", json_integer((json_int_t)number));
    change_put(c, REG_WORK, id, op->json);
    return number;
}

static int build_add(struct change *c, const struct registry_view *view)
{
    put_item(c, view, view->work_items);
    return 0;
}

void registry_work_add(struct registry *registry, json_t *item, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(NULL, json_deep_copy(item), cb, ctx);

    CHECK(json_is_object(op->json));
    change_start(registry, &op->change, build_add, reg_op_done);
}

void registry_work_list(struct registry *registry, uint64_t after, size_t limit,
                        registry_json_cb cb, void *ctx)
{
    char id[RECORD_ID_TEXT_BYTES];
    struct key low, high;

    record_id_text(after, id);
    reg_key(&low, REG_WORK, id);
    key_next(&low);
    reg_key(&high, REG_WORK, "");
    key_prefix_end(&high);
    kv_range(registry->kv,
             &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = limit},
             0, on_read, json_op_new(cb, ctx, true));
}

/* ---- one work item of a key at most ---- */

/* How many there are is in next-id. Where it is not (older programs leave it out), they are
 * counted: what was counted after the view was read is exact if the change goes through, which
 * asserts that nothing has changed since. An older program takes items away without telling: so at
 * the limit they are counted, too, now and then. */
struct once_op {
    struct reg_op op;
    uint64_t items_max;
    uint64_t counted, counted_version; /* so many at that version; 0: not counted */
    bool wants_count;                  /* the view does not know */
    unsigned tries;
};

enum { COUNT_TRIES_MAX = 5, COUNT_AGAIN_MS = 60000 };

static int build_add_once(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    struct once_op *once = container_of(op, struct once_op, op);
    uint64_t *counted_ms = &c->registry->work_counted_ms;
    uint64_t items = view->work_items;
    uint64_t number;

    if (once->counted_version == view->version) {
        items = once->counted;
    } else if (items == WORK_ITEMS_UNKNOWN ||
               (items >= once->items_max &&
                (*counted_ms == 0 || clock_mono_ms() - *counted_ms >= COUNT_AGAIN_MS))) {
        once->wants_count = true;
        once->counted_version = view->version;
        return err_say(&c->err, ERR_BUSY, "work items are to be counted");
    }
    if (items >= once->items_max) {
        return err_say(&c->err, ERR_BUSY, "too many work items");
    }
    change_assert_absent(c, REG_WORK_KEY, op->name, ERR_EXISTS);
    json_object_set_new(op->json, "key", json_string(op->name));
    number = put_item(c, view, items);
    change_put_new(c, REG_WORK_KEY, op->name, json_pack("{s:I}", "id", (json_int_t)number));
    return 0;
}

/* reg_op_done() frees the first member, which is where the whole was allocated. */
_Static_assert(offsetof(struct once_op, op) == 0, "freed through its first member");

static void once_done(struct change *change, int rc);

static void on_counted(void *ctx, int rc, const struct kv_reply *reply)
{
    struct once_op *once = ctx;
    struct change *c = &once->op.change;

    if (rc != 0) {
        err_copy(&c->err, reply->err);
        reg_op_done(c, rc);
        return;
    }
    once->counted = reply->count;
    c->registry->work_counted_ms = clock_mono_ms();
    change_start(c->registry, c, build_add_once, once_done);
}

static void once_done(struct change *change, int rc)
{
    struct reg_op *op = container_of(change, struct reg_op, change);
    struct once_op *once = container_of(op, struct once_op, op);
    struct key low, high;

    if (rc == 0 || !once->wants_count || ++once->tries > COUNT_TRIES_MAX) {
        reg_op_done(change, rc);
        return;
    }
    once->wants_count = false;
    reg_key(&low, REG_WORK, "");
    high = low;
    key_prefix_end(&high);
    kv_range(change->registry->kv,
             &(struct kv_range){.low = slice_key(&low),
                                .high = slice_key(&high),
                                .limit = once->items_max,
                                .keys_only = true},
             0, on_counted, once);
}

void registry_work_add_once(struct registry *registry, const char *key, json_t *item,
                            uint64_t items_max, registry_cb cb, void *ctx)
{
    struct once_op *once = mem_zalloc(sizeof(*once));

    CHECK(json_is_object(item) && strlen(key) <= REGISTRY_ID_BYTES_MAX);
    once->op = (struct reg_op){
        .name = mem_strdup(key), .json = json_deep_copy(item), .cb = cb, .ctx = ctx};
    once->items_max = items_max;
    change_start(registry, &once->op.change, build_add_once, once_done);
}

/* ---- remove ---- */

/* The item as it was read is asserted, so that one that is gone is not counted twice. Of one that
 * is damaged nobody can tell: then it is not known any more how many there are. */
struct remove_op {
    struct reg_op op;
    struct buf raw; /* empty: damaged */
};
_Static_assert(offsetof(struct remove_op, op) == 0, "freed through its first member");

static struct remove_op *remove_of(struct reg_op *op)
{
    return container_of(op, struct remove_op, op);
}

static int build_remove(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    const struct buf *raw = &remove_of(op)->raw;
    uint64_t items = view->work_items;
    char id[RECORD_ID_TEXT_BYTES];

    record_id_text(op->number, id);
    if (raw->len == 0) {
        items = WORK_ITEMS_UNKNOWN;
    } else {
        change_assert_value(c, REG_WORK, id, slice_buf(raw), ERR_STALE);
        items -= items != WORK_ITEMS_UNKNOWN && items > 0;
    }
    change_put_work_items(c, view, items);
    change_delete(c, REG_WORK, id);
    if (op->name != NULL) {
        change_delete(c, REG_WORK_KEY, op->name);
    }
    return 0;
}

static void read_item(struct reg_op *op);

static void remove_done(struct change *change, int rc)
{
    struct reg_op *op = container_of(change, struct reg_op, change);

    buf_release(&remove_of(op)->raw);
    if (rc == ERR_STALE) { /* gone, or its failure was noted meanwhile */
        free(op->name);
        op->name = NULL;
        read_item(op);
    } else {
        reg_op_done(change, rc);
    }
}

/* The item is damaged: which key is its? */
static void on_work_keys(void *ctx, int rc, const struct kv_reply *reply)
{
    struct reg_op *op = ctx;
    struct err e;
    json_t *json;

    if (rc != 0) {
        err_copy(&op->change.err, reply->err);
        reg_op_done(&op->change, rc);
        return;
    }
    for (size_t i = 0; op->name == NULL && i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];
        struct slice tail = reg_key_tail(item->key);

        if (value_open_json(item->key, item->value, &json, &e) == 0) {
            if (json_u64(json, "id", 0) == op->number) {
                op->name = mem_printf("%.*s", (int)(tail.len - strlen(REG_WORK_KEY)),
                                      (const char *)tail.data + strlen(REG_WORK_KEY));
            }
            json_decref(json);
        }
    }
    change_start(op->change.registry, &op->change, build_remove, remove_done);
}

static void find_work_key(struct reg_op *op)
{
    struct key low, high;

    reg_key(&low, REG_WORK_KEY, "");
    high = low;
    key_prefix_end(&high);
    kv_range(
        op->change.registry->kv,
        &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = KEYS_AT_ONCE},
        0, on_work_keys, op);
}

static void on_item(void *ctx, int rc, const struct kv_reply *reply)
{
    struct reg_op *op = ctx;
    json_t *json = NULL;
    const char *key;

    if (rc != 0 || !reply->items[0].found) {
        err_copy(&op->change.err, reply->err);
        reg_op_done(&op->change, rc);
        return;
    }
    /* One that is damaged goes, too. */
    if (value_open_json(reply->items[0].key, reply->items[0].value, &json, &op->change.err) != 0) {
        find_work_key(op);
        return;
    }
    buf_put(&remove_of(op)->raw, reply->items[0].value.data, reply->items[0].value.len);
    key = json_string_value(json_object_get(json, "key"));
    op->name = key != NULL ? mem_strdup(key) : NULL;
    json_decref(json);
    change_start(op->change.registry, &op->change, build_remove, remove_done);
}

static void read_item(struct reg_op *op)
{
    char text[RECORD_ID_TEXT_BYTES];
    struct key full;
    struct slice k;

    record_id_text(op->number, text);
    k = reg_key(&full, REG_WORK, text);
    kv_get(op->change.registry->kv, &k, 1, 0, on_item, op);
}

void registry_work_remove(struct registry *registry, uint64_t id, registry_cb cb, void *ctx)
{
    struct remove_op *remove = mem_zalloc(sizeof(*remove));

    remove->op = (struct reg_op){.number = id, .cb = cb, .ctx = ctx};
    remove->op.change.registry = registry;
    read_item(&remove->op);
}

/* ---- failures ---- */

static void on_noted(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct reg_op *op = ctx;

    err_copy(&op->change.err, result->err);
    kv_txn_release(&op->change.txn);
    reg_op_done(&op->change, rc == ERR_ASSERT_FAILED ? 0 : rc);
}

static void on_item_to_note(void *ctx, int rc, const struct kv_reply *reply)
{
    struct reg_op *op = ctx;
    struct change *c = &op->change;
    const struct kv_item *item = reply->items;
    struct buf value = {0};
    json_t *json = NULL;
    json_t *why;

    if (rc != 0 || !item->found || value_open_json(item->key, item->value, &json, &c->err) != 0) {
        err_copy(&c->err, reply->err);
        reg_op_done(c, rc);
        return;
    }
    why = json_string(op->name);
    why = why != NULL ? why : json_string("a reason that is no UTF-8");
    json_object_set_new(
        json, "failed",
        json_pack("{s:I, s:I, s:o}", "times",
                  (json_int_t)json_u64(json_object_get(json, "failed"), "times", 0) + 1, "at_us",
                  (json_int_t)clock_wall_us(), "why", why));
    value_make_json(&value, item->key, json);
    kv_txn_assert_equal(&c->txn, item->key, item->value);
    kv_txn_put(&c->txn, item->key, slice_buf(&value));
    buf_release(&value);
    json_decref(json);
    kv_commit(c->registry->kv, &c->txn, clock_mono_ms() + KV_TIMEOUT_DEFAULT_MS, on_noted, op);
}

void registry_work_note(struct registry *registry, uint64_t id, const char *why, registry_cb cb,
                        void *ctx)
{
    struct reg_op *op = reg_op_new(why, NULL, cb, ctx);
    char text[RECORD_ID_TEXT_BYTES];
    struct key full;
    struct slice k;

    op->change.registry = registry;
    record_id_text(id, text);
    k = reg_key(&full, REG_WORK, text);
    kv_get(registry->kv, &k, 1, 0, on_item_to_note, op);
}
