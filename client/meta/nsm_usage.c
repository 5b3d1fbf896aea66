/* Usage counts: one key for each writer, so that writers do not meet; the sum is "about". */
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "meta/bytes.h"
#include "meta/nsm_private.h"

enum { WRITERS_MAX = 100 };

static const char counted_writer[] = "counted"; /* what maintenance found */

struct usage_op {
    struct nsm *nsm;
    uint64_t ns_id;
    struct key key; /* of the writer */
    struct nsm_usage usage;
    struct kv_txn txn;
    uint64_t deadline_ms;
    unsigned tries;
    bool replace;
    nsm_usage_cb cb;
    void *ctx;
};

static void usage_finish(struct usage_op *u, int rc, const struct err *e)
{
    u->nsm->op_count--;
    u->cb(u->ctx, rc, e, &u->usage);
    kv_txn_release(&u->txn);
    free(u);
}

static struct usage_op *usage_new(struct nsm *nsm, uint64_t ns_id, nsm_usage_cb cb, void *ctx)
{
    struct usage_op *u = mem_zalloc(sizeof(*u));

    u->nsm = nsm;
    u->ns_id = ns_id;
    u->deadline_ms = clock_mono_ms() + KV_TIMEOUT_DEFAULT_MS;
    u->cb = cb;
    u->ctx = ctx;
    nsm->op_count++;
    return u;
}

struct nsm_usage nsm_usage_of(const struct manifest *m)
{
    struct nsm_usage usage = {.objects = 1, .logical_bytes = (int64_t)m->size_bytes};
    size_t count = (size_t)m->chunk_count * manifest_fragments_per_chunk(m);

    for (size_t i = 0; i < count; i++) {
        usage.stored_bytes += m->fragments[i].has_osd ? m->fragments[i].packed_bytes : 0;
    }
    return usage;
}

static int usage_sum(struct nsm_usage *sum, const struct kv_item *item, struct err *e)
{
    struct nsm_usage part;
    struct rd r;

    if (value_open(item->key, item->value, &r, e) != 0) {
        return e->code;
    }
    part.objects = (int64_t)rd_u64le(&r);
    part.logical_bytes = (int64_t)rd_u64le(&r);
    part.stored_bytes = (int64_t)rd_u64le(&r);
    if (r.bad) {
        return err_set(e, ERR_CORRUPT, "usage count");
    }
    /* Sums wrap rather than overflow: a damaged count must not stop anything. */
    sum->objects = (int64_t)((uint64_t)sum->objects + (uint64_t)part.objects);
    sum->logical_bytes = (int64_t)((uint64_t)sum->logical_bytes + (uint64_t)part.logical_bytes);
    sum->stored_bytes = (int64_t)((uint64_t)sum->stored_bytes + (uint64_t)part.stored_bytes);
    return 0;
}

static void usage_put(struct usage_op *u, const struct nsm_usage *usage)
{
    struct buf value = {0};

    value_begin(&value);
    buf_put_u64le(&value, (uint64_t)usage->objects);
    buf_put_u64le(&value, (uint64_t)usage->logical_bytes);
    buf_put_u64le(&value, (uint64_t)usage->stored_bytes);
    value_end(&value, slice_key(&u->key));
    kv_txn_put(&u->txn, slice_key(&u->key), slice_buf(&value));
    buf_release(&value);
}

static void read_all(struct usage_op *u, kv_cb cb)
{
    struct key low, high;

    ns_key_root(&low, u->ns_id, 'u');
    high = low;
    key_prefix_end(&high);
    kv_range(
        u->nsm->kv,
        &(struct kv_range){.low = slice_key(&low), .high = slice_key(&high), .limit = WRITERS_MAX},
        kv_left_ms(u->deadline_ms), cb, u);
}

/* ---- get ---- */

static void on_counts(void *ctx, int rc, const struct kv_reply *reply)
{
    struct usage_op *u = ctx;
    struct err e = {0};

    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        rc = usage_sum(&u->usage, &reply->items[i], &e);
    }
    usage_finish(u, rc, e.code != 0 ? &e : reply->err);
}

void nsm_usage_get(struct nsm *nsm, uint64_t ns_id, nsm_usage_cb cb, void *ctx)
{
    read_all(usage_new(nsm, ns_id, cb, ctx), on_counts);
}

/* ---- add, replace ---- */

static void write_read(struct usage_op *u);

static void on_written(void *ctx, int rc, const struct kv_commit_result *result)
{
    struct usage_op *u = ctx;

    /* In doubt and then refused: our own sending, most likely. About is good enough. */
    if (rc == ERR_ASSERT_FAILED && result->doubted) {
        usage_finish(u, 0, result->err);
    } else if (rc == ERR_ASSERT_FAILED && ++u->tries < NSM_TRIES_MAX) {
        write_read(u);
    } else {
        usage_finish(u, rc, result->err);
    }
}

static void on_old(void *ctx, int rc, const struct kv_reply *reply)
{
    struct usage_op *u = ctx;
    struct nsm_usage sum = u->usage;
    bool own = false;
    struct err e = {0};

    kv_txn_release(&u->txn);
    for (size_t i = 0; rc == 0 && i < reply->count; i++) {
        const struct kv_item *item = &reply->items[i];

        if (!item->found) {
            continue;
        }
        kv_txn_assert_equal(&u->txn, item->key, item->value);
        if (slice_eq(item->key, slice_key(&u->key))) {
            own = true;
        } else {
            kv_txn_delete(&u->txn, item->key);
        }
        if (!u->replace) {
            rc = usage_sum(&sum, item, &e);
        }
    }
    if (rc != 0) {
        usage_finish(u, rc, e.code != 0 ? &e : reply->err);
        return;
    }
    if (!own) {
        kv_txn_assert_absent(&u->txn, slice_key(&u->key));
    }
    usage_put(u, &sum);
    kv_commit(u->nsm->kv, &u->txn, u->deadline_ms, on_written, u);
}

static void write_read(struct usage_op *u)
{
    struct slice k = slice_key(&u->key);

    if (u->replace) {
        read_all(u, on_old);
    } else {
        kv_get(u->nsm->kv, &k, 1, kv_left_ms(u->deadline_ms), on_old, u);
    }
}

void nsm_usage_add(struct nsm *nsm, uint64_t ns_id, const char *writer,
                   const struct nsm_usage *delta, nsm_usage_cb cb, void *ctx)
{
    struct usage_op *u = usage_new(nsm, ns_id, cb, ctx);

    u->usage = *delta;
    ns_key_usage(&u->key, ns_id, writer);
    write_read(u);
}

void nsm_usage_replace(struct nsm *nsm, uint64_t ns_id, const struct nsm_usage *counted,
                       nsm_usage_cb cb, void *ctx)
{
    struct usage_op *u = usage_new(nsm, ns_id, cb, ctx);

    u->usage = *counted;
    u->replace = true;
    ns_key_usage(&u->key, ns_id, counted_writer);
    write_read(u);
}
