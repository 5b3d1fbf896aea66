/* version -> every key of the registry, page by page -> version again: the same? */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meta/registry_copy.h"
#include "meta/registry_record.h"

enum { SNAPSHOT_TRIES_MAX = 8, SNAPSHOT_PAGE = 10000 };

struct snapshot_op {
    struct kv *kv;
    struct registry_snapshot result;
    struct buf version; /* as it was read first */
    unsigned tries;
    bool is_read; /* the second look at the version is under way */
    registry_snapshot_cb cb;
    void *ctx;
};

static void finish(struct snapshot_op *op, int rc, const struct err *e)
{
    op->cb(op->ctx, rc, e, &op->result);
    buf_release(&op->result.bytes);
    copy_history_release(&op->result.history);
    buf_release(&op->version);
    free(op);
}

static void look(struct snapshot_op *op);
static void read_page(struct snapshot_op *op, struct slice after);

static void on_page(void *ctx, int rc, const struct kv_reply *reply)
{
    struct snapshot_op *op = ctx;
    struct err e;

    if (rc != 0) {
        finish(op, rc, reply->err);
        return;
    }
    for (size_t i = 0; i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];

        copy_history_note(&op->result.history, item->key, item->value);
        if (!copy_keeps(reg_key_tail(item->key))) {
            continue;
        }
        if (copy_put(&op->result.bytes, item->key, item->value, &e) != 0) {
            finish(op, e.code, &e); /* an incomplete copy is none */
            return;
        }
        op->result.head.record_count++;
    }
    if (reply->has_more && reply->count > 0) {
        read_page(op, reply->items[reply->count - 1].key);
    } else {
        look(op);
    }
}

static void read_page(struct snapshot_op *op, struct slice after)
{
    struct key low, high;

    reg_key(&low, "", "");
    high = low;
    key_prefix_end(&high);
    if (after.len != 0) {
        low.len = 0;
        key_put(&low, after.data, after.len);
        key_next(&low);
    }
    kv_range(op->kv,
             &(struct kv_range){
                 .low = slice_key(&low), .high = slice_key(&high), .limit = SNAPSHOT_PAGE},
             0, on_page, op);
}

/* version, alba: what the head says. */
static int take_head(struct snapshot_op *op, const struct kv_item *items, struct err *e)
{
    struct copy_head *head = &op->result.head;
    json_t *json;

    *head = (struct copy_head){.time_us = clock_wall_us()};
    if (!items[0].found || !items[1].found) {
        return err_say(e, ERR_NOT_FOUND, "no registry in %s", kv_url(op->kv));
    }
    if (value_open_json(items[0].key, items[0].value, &json, e) != 0) {
        return e->code;
    }
    head->version = json_u64(json, "version", 0);
    snprintf(head->commit, sizeof(head->commit), "%s", json_text(json, "commit", ""));
    json_decref(json);
    if (value_open_json(items[1].key, items[1].value, &json, e) != 0) {
        return e->code;
    }
    snprintf(head->alba_id, sizeof(head->alba_id), "%s", json_text(json, "id", ""));
    json_decref(json);
    return strlen(head->commit) == COPY_COMMIT_TEXT_BYTES - 1
               ? 0
               : err_set(e, ERR_CORRUPT, "commit id of the registry's version");
}

static void on_version(void *ctx, int rc, const struct kv_reply *reply)
{
    struct snapshot_op *op = ctx;
    struct err e;

    if (rc != 0) {
        finish(op, rc, reply->err);
        return;
    }
    if (op->is_read && slice_eq(reply->items[0].value, slice_buf(&op->version))) {
        finish(op, 0, reply->err);
        return;
    }
    if (++op->tries > SNAPSHOT_TRIES_MAX) {
        err_say(&e, ERR_BUSY, "the registry changes all the time: it could not be read as one");
        finish(op, e.code, &e);
        return;
    }
    if (take_head(op, reply->items, &e) != 0) {
        finish(op, e.code, &e);
        return;
    }
    op->version.len = op->result.bytes.len = 0;
    copy_history_release(&op->result.history);
    buf_put(&op->version, reply->items[0].value.data, reply->items[0].value.len);
    op->is_read = true;
    read_page(op, slice_of(NULL, 0));
}

static void look(struct snapshot_op *op)
{
    struct key keys[2];
    struct slice slices[2] = {reg_key(&keys[0], REG_VERSION, ""), reg_key(&keys[1], REG_ALBA, "")};

    kv_get(op->kv, slices, 2, 0, on_version, op);
}

void registry_snapshot_read(struct kv *kv, registry_snapshot_cb cb, void *ctx)
{
    struct snapshot_op *op = mem_zalloc(sizeof(*op));

    op->kv = kv;
    op->cb = cb;
    op->ctx = ctx;
    look(op);
}
