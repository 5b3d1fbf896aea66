/* Life of a namespace and its gc epochs. Every transaction here may be sent by any number of
 * agents, late or twice: its asserts say when it is (still) right, and finding the work done
 * is success. */
#include "meta/nsm_gc.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meta/nsm_private.h"

enum { DELETE_BATCH = 100 };

struct gc_op {
    struct nsm_op op;
    uint64_t epoch;
    struct kv_txn txn;
    bool destroy; /* fence: go on with everything */
    bool swept;   /* sweep: has_more */
    size_t limit, cap;
};

static void gc_finish(struct gc_op *g, int rc, const struct err *e)
{
    nsm_op_finish(&g->op, rc, e);
    kv_txn_release(&g->txn);
    free(g);
}

static struct gc_op *gc_new(struct nsm *nsm, uint64_t ns_id, uint64_t epoch, nsm_cb cb, void *ctx)
{
    struct gc_op *g = mem_zalloc(sizeof(*g));

    nsm_op_init(&g->op, nsm, ns_id, 0, cb, ctx);
    g->epoch = epoch;
    return g;
}

static void gc_commit(struct gc_op *g, kv_commit_cb cb)
{
    g->txn.reserve = true; /* a full store is emptied by these */
    kv_commit(g->op.nsm->kv, &g->txn, g->op.deadline_ms, cb, g);
}

static void assert_epoch(struct gc_op *g, uint64_t epoch, bool alive)
{
    struct buf value = {0};
    struct key key;
    struct slice k = ns_key_epoch(&key, g->op.ns_id, epoch);

    if (alive) {
        ns_value_epoch(&value, k);
        kv_txn_assert_equal(&g->txn, k, slice_buf(&value));
        buf_release(&value);
    } else {
        kv_txn_assert_absent(&g->txn, k);
    }
}

static void put_epoch(struct gc_op *g, uint64_t epoch)
{
    struct buf value = {0};
    struct key key;
    struct slice k = ns_key_epoch(&key, g->op.ns_id, epoch);

    ns_value_epoch(&value, k);
    kv_txn_put(&g->txn, k, slice_buf(&value));
    value.len = 0;
    k = ns_key_epoch_began(&key, g->op.ns_id, epoch);
    value_begin(&value);
    buf_put_u64le(&value, clock_wall_us());
    value_end(&value, k);
    kv_txn_put(&g->txn, k, slice_buf(&value));
    buf_release(&value);
}

static bool failed_on_epoch(const struct gc_op *g, const struct kv_commit_result *result,
                            uint64_t epoch)
{
    struct key key;

    return slice_eq(result->failed_key, ns_key_epoch(&key, g->op.ns_id, epoch));
}

/* ---- setup ---- */

static void on_setup(void *ctx, int rc, const struct kv_commit_result *result)
{
    gc_finish(ctx, rc == ERR_ASSERT_FAILED ? 0 : rc, result->err);
}

void nsm_namespace_setup(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, 1, cb, ctx);
    struct buf value = {0};
    struct key key;
    struct slice k = ns_key_info(&key, ns_id);

    kv_txn_assert_absent(&g->txn, k);
    value_begin(&value);
    buf_put_u64le(&value, clock_wall_us());
    value_end(&value, k);
    kv_txn_put(&g->txn, k, slice_buf(&value));
    buf_release(&value);
    put_epoch(g, 1);
    gc_commit(g, on_setup);
}

/* ---- fence, destroy ---- */

static void fence_read(struct gc_op *g);
static void destroy_read(struct gc_op *g);

static void on_fenced(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct gc_op *g = ctx;

    if (rc != 0) {
        gc_finish(g, rc, result->err);
        return;
    }
    fence_read(g); /* an epoch may have begun meanwhile */
}

static void on_epochs_to_end(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;

    if (rc != 0) {
        gc_finish(g, rc, reply->err);
        return;
    }
    if (reply->count == 0 && !g->destroy) {
        gc_finish(g, 0, NULL);
        return;
    }
    if (reply->count == 0) {
        destroy_read(g);
        return;
    }
    kv_txn_release(&g->txn);
    for (size_t i = 0; i < reply->count; i++) {
        kv_txn_delete(&g->txn, reply->items[i].key);
    }
    gc_commit(g, on_fenced);
}

static void read_prefix(struct gc_op *g, const struct key *prefix, size_t limit, kv_cb cb)
{
    struct key high = *prefix;

    key_prefix_end(&high);
    kv_range(
        g->op.nsm->kv,
        &(struct kv_range){
            .low = slice_key(prefix), .high = slice_key(&high), .limit = limit, .keys_only = true},
        0, cb, g);
}

static void fence_read(struct gc_op *g)
{
    struct key prefix;

    ns_key_root(&prefix, g->op.ns_id, 'e');
    read_prefix(g, &prefix, DELETE_BATCH, on_epochs_to_end);
}

void nsm_namespace_fence(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx)
{
    fence_read(gc_new(nsm, ns_id, 0, cb, ctx));
}

static void on_destroyed(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct gc_op *g = ctx;

    if (rc != 0) {
        gc_finish(g, rc, result->err);
        return;
    }
    g->op.deadline_ms = clock_mono_ms() + KV_TIMEOUT_DEFAULT_MS; /* of the next step */
    destroy_read(g);
}

static void on_keys_to_delete(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;
    struct key info;

    if (rc != 0 || reply->count == 0) {
        gc_finish(g, rc, reply->err);
        return;
    }
    kv_txn_release(&g->txn);
    g->txn.low_priority = true;
    ns_key_info(&info, g->op.ns_id);
    for (size_t i = 0; i < reply->count; i++) {
        /* `i` keeps a late setup from beginning anew; it goes last, alone. */
        if (reply->count == 1 || !slice_eq(reply->items[i].key, slice_key(&info))) {
            kv_txn_delete(&g->txn, reply->items[i].key);
        }
    }
    gc_commit(g, on_destroyed);
}

static void destroy_read(struct gc_op *g)
{
    struct key prefix;

    ns_key_root(&prefix, g->op.ns_id, 'i');
    prefix.len -= 2; /* all kinds */
    read_prefix(g, &prefix, DELETE_BATCH, on_keys_to_delete);
}

void nsm_namespace_destroy(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, 0, cb, ctx);

    g->destroy = true;
    fence_read(g);
}

/* ---- which namespaces are there ---- */

static void list_next(struct gc_op *g);

static void on_some_namespace(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;
    struct nsm_reply *out = g->op.reply;
    struct err e;

    if (rc != 0 || reply->count == 0) {
        gc_finish(g, rc, reply->err);
        return;
    }
    if (out->count == g->limit) {
        out->has_more = true;
        gc_finish(g, 0, NULL);
        return;
    }
    if (ns_key_parse_id(reply->items[0].key, &g->epoch, &e) != 0) {
        gc_finish(g, e.code, &e);
        return;
    }
    if (out->count == g->cap) {
        g->cap = g->cap != 0 ? 2 * g->cap : 64;
        out->epochs = mem_realloc(out->epochs, g->cap * sizeof(*out->epochs));
    }
    out->epochs[out->count++] = g->epoch;
    list_next(g);
}

/* The first key behind those of namespace g->epoch. */
static void list_next(struct gc_op *g)
{
    struct key low, high;

    ns_key_root(&low, g->epoch, 'a');
    low.len -= 2;
    key_prefix_end(&low);
    high = low;
    high.len -= 9; /* the id and its slash: …/ns/ */
    key_prefix_end(&high);
    kv_range(g->op.nsm->kv,
             &(struct kv_range){
                 .low = slice_key(&low), .high = slice_key(&high), .limit = 1, .keys_only = true},
             0, on_some_namespace, g);
}

void nsm_namespace_list(struct nsm *nsm, uint64_t after, size_t limit, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, 0, after, cb, ctx);

    g->limit = limit;
    list_next(g);
}

/* ---- gc epochs ---- */

static void on_epochs(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;
    struct nsm_reply *out = g->op.reply;
    size_t skip = ns_key_prefix_bytes();

    if (rc == 0) {
        out->epochs = mem_array(reply->count + 1, sizeof(*out->epochs));
        for (size_t i = 0; i < reply->count; i++) {
            if (reply->items[i].key.len == skip + 8) {
                out->epochs[out->count++] = get_u64be(reply->items[i].key.data + skip);
            }
        }
    }
    gc_finish(g, rc, reply->err);
}

void nsm_gc_epochs(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, 0, cb, ctx);
    struct key prefix;

    ns_key_root(&prefix, ns_id, 'e');
    read_prefix(g, &prefix, 4096, on_epochs);
}

static void on_began(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;
    const struct kv_item *item = reply->items;
    struct rd payload;
    struct err e = {0};

    if (rc == 0) {
        g->op.reply->epochs = mem_array(1, sizeof(*g->op.reply->epochs));
        g->op.reply->count = 1;
    }
    if (rc == 0 && item->found) {
        rc = value_open(item->key, item->value, &payload, &e);
        g->op.reply->epochs[0] = rc == 0 ? rd_u64le(&payload) : 0;
    }
    gc_finish(g, rc, e.code != 0 ? &e : reply->err);
}

void nsm_gc_began(struct nsm *nsm, uint64_t ns_id, uint64_t epoch, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, epoch, cb, ctx);
    struct key key;
    struct slice k = ns_key_epoch_began(&key, ns_id, epoch);

    kv_get(nsm->kv, &k, 1, 0, on_began, g);
}

static void on_advanced(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct gc_op *g = ctx;
    struct err e;

    if (rc != ERR_ASSERT_FAILED) {
        gc_finish(g, rc, result->err);
    } else if (failed_on_epoch(g, result, g->epoch + 1)) {
        gc_finish(g, 0, NULL);
    } else {
        err_set(&e, ERR_STALE, "gc epoch %llu", (unsigned long long)g->epoch);
        gc_finish(g, e.code, &e);
    }
}

void nsm_gc_advance(struct nsm *nsm, uint64_t ns_id, uint64_t from, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, from, cb, ctx);

    assert_epoch(g, from, true);
    assert_epoch(g, from + 1, false);
    put_epoch(g, from + 1);
    gc_commit(g, on_advanced);
}

static void on_disabled(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct gc_op *g = ctx;
    struct err e;

    if (rc != ERR_ASSERT_FAILED) {
        gc_finish(g, rc, result->err);
    } else if (failed_on_epoch(g, result, g->epoch)) {
        gc_finish(g, 0, NULL); /* has ended before */
    } else {
        err_set(&e, ERR_BUSY, "gc epoch %llu is not the oldest, or is the current one",
                (unsigned long long)g->epoch);
        gc_finish(g, e.code, &e);
    }
}

void nsm_gc_disable(struct nsm *nsm, uint64_t ns_id, uint64_t epoch, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, epoch, cb, ctx);
    struct key key;

    assert_epoch(g, epoch, true); /* first: engines name the first that fails */
    assert_epoch(g, epoch - 1, false);
    assert_epoch(g, epoch + 1, true);
    kv_txn_delete(&g->txn, ns_key_epoch(&key, ns_id, epoch));
    kv_txn_delete(&g->txn, ns_key_epoch_began(&key, ns_id, epoch));
    gc_commit(g, on_disabled);
}

/* ---- tombstones ---- */

static void on_swept(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct gc_op *g = ctx;

    g->op.reply->has_more = g->swept;
    gc_finish(g, rc, result->err);
}

static void on_tombstones(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;

    if (rc != 0 || reply->count == 0) {
        gc_finish(g, rc, reply->err);
        return;
    }
    g->swept = reply->has_more;
    for (size_t i = 0; i < reply->count; i++) {
        kv_txn_delete(&g->txn, reply->items[i].key);
    }
    g->txn.low_priority = true;
    gc_commit(g, on_swept);
}

static void on_oldest(void *ctx, int rc, const struct kv_reply *reply)
{
    struct gc_op *g = ctx;
    size_t skip = ns_key_prefix_bytes();
    struct key low, high;

    /* No epoch lives: the namespace is being destroyed, which takes the tombstones along. */
    if (rc != 0 || reply->count == 0 || reply->items[0].key.len != skip + 8) {
        gc_finish(g, rc, reply->err);
        return;
    }
    ns_key_root(&low, g->op.ns_id, 't');
    high = low;
    key_put_u64be(&high, get_u64be(reply->items[0].key.data + skip));
    kv_range(g->op.nsm->kv,
             &(struct kv_range){.low = slice_key(&low),
                                .high = slice_key(&high),
                                .limit = g->limit < DELETE_BATCH ? g->limit : DELETE_BATCH,
                                .keys_only = true},
             0, on_tombstones, g);
}

void nsm_gc_sweep(struct nsm *nsm, uint64_t ns_id, size_t limit, nsm_cb cb, void *ctx)
{
    struct gc_op *g = gc_new(nsm, ns_id, 0, cb, ctx);
    struct key prefix;

    g->limit = limit;
    ns_key_root(&prefix, ns_id, 'e');
    read_prefix(g, &prefix, 1, on_oldest);
}
