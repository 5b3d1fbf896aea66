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

static int build_add(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    uint64_t number = change_take_id(c, view, NEXT_WORK);
    char id[RECORD_ID_TEXT_BYTES];

    record_id_text(number, id);
    json_object_set_new(op->json, "id", json_integer((json_int_t)number));
    change_put(c, REG_WORK, id, op->json);
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

struct once_op {
    struct reg_op op;
    uint64_t oldest; /* id of the oldest item; 0: there is none */
    uint64_t span_max;
};

static int build_add_once(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    struct once_op *once = container_of(op, struct once_op, op);
    uint64_t number;

    if (once->oldest != 0 && view->next_work_id - once->oldest >= once->span_max) {
        return err_say(&c->err, ERR_BUSY, "too many work items");
    }
    change_assert_absent(c, REG_WORK_KEY, op->name, ERR_EXISTS);
    json_object_set_new(op->json, "key", json_string(op->name));
    build_add(c, view);
    number = (uint64_t)json_integer_value(json_object_get(op->json, "id"));
    change_put_new(c, REG_WORK_KEY, op->name, json_pack("{s:I}", "id", (json_int_t)number));
    return 0;
}

/* reg_op_done() frees the first member, which is where the whole was allocated. */
_Static_assert(offsetof(struct once_op, op) == 0, "freed through its first member");

static void on_oldest(void *ctx, int rc, const struct err *e, json_t *json)
{
    struct once_op *once = ctx;

    if (rc != 0) {
        err_copy(&once->op.change.err, e);
        reg_op_done(&once->op.change, rc);
        return;
    }
    once->oldest = json_u64(json_array_get(json, 0), "id", 0);
    change_start(once->op.change.registry, &once->op.change, build_add_once, reg_op_done);
}

void registry_work_add_once(struct registry *registry, const char *key, json_t *item,
                            uint64_t span_max, registry_cb cb, void *ctx)
{
    struct once_op *once = mem_zalloc(sizeof(*once));

    CHECK(json_is_object(item) && strlen(key) <= REGISTRY_ID_BYTES_MAX);
    once->op = (struct reg_op){
        .name = mem_strdup(key), .json = json_deep_copy(item), .cb = cb, .ctx = ctx};
    once->op.change.registry = registry;
    once->span_max = span_max;
    registry_work_list(registry, 0, 1, on_oldest, once);
}

/* ---- remove ---- */

static int build_remove(struct change *c, const struct registry_view *view)
{
    struct reg_op *op = container_of(c, struct reg_op, change);
    char id[RECORD_ID_TEXT_BYTES];

    (void)view;
    record_id_text(op->number, id);
    change_delete(c, REG_WORK, id);
    if (op->name != NULL) {
        change_delete(c, REG_WORK_KEY, op->name);
    }
    return 0;
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
    change_start(op->change.registry, &op->change, build_remove, reg_op_done);
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
    key = json_string_value(json_object_get(json, "key"));
    op->name = key != NULL ? mem_strdup(key) : NULL;
    json_decref(json);
    change_start(op->change.registry, &op->change, build_remove, reg_op_done);
}

void registry_work_remove(struct registry *registry, uint64_t id, registry_cb cb, void *ctx)
{
    struct reg_op *op = reg_op_new(NULL, NULL, cb, ctx);
    char text[RECORD_ID_TEXT_BYTES];
    struct key full;
    struct slice k;

    op->number = id;
    op->change.registry = registry;
    record_id_text(id, text);
    k = reg_key(&full, REG_WORK, text);
    kv_get(registry->kv, &k, 1, 0, on_item, op);
}
