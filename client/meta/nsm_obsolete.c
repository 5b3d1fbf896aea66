/* Obsolete objects, and usage counts. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/bytes.h"
#include "meta/nsm_private.h"

/* ---- list ---- */

/* A range; when it fails because one value in it is damaged, only its first key, and that alone. */
struct list_op {
    struct nsm *nsm;
    struct key low, high;
    struct nsm_obsolete_list *list;
    nsm_obsolete_cb cb;
    void *ctx;
};

void nsm_obsolete_list_free(struct nsm_obsolete_list *list)
{
    if (list == NULL) {
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        slice_release(&list->items[i].key);
        slice_release(&list->items[i].raw);
        manifest_release(&list->items[i].manifest);
    }
    slice_release(&list->last);
    free(list->items);
    free(list);
}

static int take_record(struct nsm_obsolete *to, const struct kv_item *from, struct err *e)
{
    uint8_t commit_id[NS_COMMIT_ID_BYTES];

    if (ns_value_obsolete_open(from->key, from->value, commit_id, &to->time_us, &to->manifest, e) !=
        0) {
        return e->code;
    }
    to->key = slice_dup(from->key);
    to->raw = slice_dup(from->value);
    to->is_whole = from->key.len == ns_key_prefix_bytes() + NSM_OBJECT_ID_BYTES;
    return 0;
}

static void list_end(struct list_op *op, int rc, const struct err *e)
{
    if (rc != 0) {
        err_copy(&op->list->err, e);
    }
    op->nsm->op_count--;
    op->cb(op->ctx, rc, op->list);
    free(op);
}

static void note_bad(struct nsm_obsolete_list *list, const struct err *e)
{
    list->bad_count++;
    list->bad = *e;
}

static void add_record(struct nsm_obsolete_list *list, const struct kv_item *item)
{
    struct err e;

    if (take_record(&list->items[list->count], item, &e) == 0) {
        list->count++;
    } else {
        note_bad(list, &e); /* which names the key */
    }
}

static void on_alone(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *op = ctx;

    if (rc == ERR_CORRUPT) {
        char text[KEY_TEXT_BYTES];

        note_bad(op->list, reply->err);
        key_text(op->list->last, text);
        err_wrap(&op->list->bad, "%s", text);
    } else if (rc != 0) {
        list_end(op, rc, reply->err);
        return;
    } else if (reply->items[0].found) {
        add_record(op->list, &reply->items[0]);
    }
    list_end(op, 0, NULL);
}

static void on_first_key(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *op = ctx;

    if (rc != 0 || reply->count == 0) {
        list_end(op, rc, reply->err);
        return;
    }
    op->list->items = mem_array(1, sizeof(*op->list->items));
    op->list->has_more = reply->has_more;
    op->list->last = slice_dup(reply->items[0].key);
    kv_get(op->nsm->kv, &op->list->last, 1, 0, on_alone, op);
}

static void on_records(void *ctx, int rc, const struct kv_reply *reply)
{
    struct list_op *op = ctx;
    struct nsm_obsolete_list *list = op->list;

    if (rc == ERR_CORRUPT) {
        kv_range(op->nsm->kv,
                 &(struct kv_range){.low = slice_key(&op->low),
                                    .high = slice_key(&op->high),
                                    .limit = 1,
                                    .keys_only = true},
                 0, on_first_key, op);
        return;
    }
    if (rc != 0) {
        list_end(op, rc, reply->err);
        return;
    }
    list->items = mem_array(reply->count + 1, sizeof(*list->items));
    list->has_more = reply->has_more;
    for (size_t i = 0; i < reply->count; i++) {
        add_record(list, &reply->items[i]);
    }
    if (reply->count > 0) {
        list->last = slice_dup(reply->items[reply->count - 1].key);
    }
    list_end(op, 0, NULL);
}

void nsm_obsolete_list(struct nsm *nsm, uint64_t ns_id, struct slice after, size_t limit,
                       nsm_obsolete_cb cb, void *ctx)
{
    struct list_op *op = mem_zalloc(sizeof(*op));

    op->nsm = nsm;
    op->list = mem_zalloc(sizeof(*op->list));
    op->cb = cb;
    op->ctx = ctx;
    nsm->op_count++;
    ns_key_root(&op->low, ns_id, 'x');
    op->high = op->low;
    key_prefix_end(&op->high);
    if (after.len != 0 && after.len < KEY_BYTES_MAX) {
        op->low.len = 0;
        key_put(&op->low, after.data, after.len);
        key_next(&op->low);
    }
    kv_range(nsm->kv,
             &(struct kv_range){
                 .low = slice_key(&op->low), .high = slice_key(&op->high), .limit = limit},
             0, on_records, op);
}

/* ---- remove ---- */

struct remove_op {
    struct nsm_op op;
    struct kv_txn txn;
};

static void on_removed(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct remove_op *r = ctx;

    /* The record is gone: another agent was faster, or an earlier sending did it. */
    nsm_op_finish(&r->op, rc == ERR_ASSERT_FAILED ? 0 : rc, result->err);
    kv_txn_release(&r->txn);
    free(r);
}

/* d/ keys stood for fragments that are gone now; the tombstone keeps a delayed copy of the put
 * from reviving the object, until its gc epoch ends. */
static void forget_object(struct remove_op *r, const struct nsm_obsolete *obsolete)
{
    const struct manifest *m = &obsolete->manifest;
    struct slice commit_id = slice_of(obsolete->raw.data + VALUE_HEAD_BYTES, NS_COMMIT_ID_BYTES);
    struct buf value = {0};
    struct key key;
    struct slice k = ns_key_tombstone(&key, r->op.ns_id, m->gc_epoch, m->object_id);
    uint64_t *osds;
    size_t count = ns_manifest_osds(m, &osds);

    value_make(&value, k, commit_id);
    kv_txn_put(&r->txn, k, slice_buf(&value));
    buf_release(&value);
    for (size_t i = 0; i < count; i++) {
        kv_txn_delete(&r->txn, ns_key_osd(&key, r->op.ns_id, osds[i], m->object_id));
    }
    free(osds);
}

void nsm_obsolete_remove(struct nsm *nsm, uint64_t ns_id, const struct nsm_obsolete *obsolete,
                         nsm_cb cb, void *ctx)
{
    struct remove_op *r = mem_zalloc(sizeof(*r));

    nsm_op_init(&r->op, nsm, ns_id, 0, cb, ctx);
    r->txn.low_priority = true;
    r->txn.reserve = true;
    kv_txn_assert_equal(&r->txn, obsolete->key, obsolete->raw);
    kv_txn_delete(&r->txn, obsolete->key);
    if (obsolete->is_whole) {
        forget_object(r, obsolete);
    }
    kv_commit(nsm->kv, &r->txn, r->op.deadline_ms, on_removed, r);
}
