/* Reads of values: submit on the loop, work in the read pool, callback on the loop. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/read_private.h"
#include "asd/store_private.h"
#include "asd/value.h"
#include "base/check.h"
#include "base/mem.h"

int asd_read_submit(struct asd_store *store, struct asd_store_op *op, uint8_t prio, pool_run_cb run,
                    asd_store_cb cb)
{
    int rc;

    CHECK(!store->closing);
    op->store = store;
    op->cb = cb;
    rc = pool_submit(store->read_pool, &op->work, prio == ASD_PRIO_LOW ? POOL_LOW : POOL_HIGH, run,
                     asd_read_done);
    if (rc != 0) {
        return err_set(&op->err, rc, "reads");
    }
    asd_count(&store->counters.reads, 1);
    return 0;
}

void asd_read_done(struct pool_work *work, int rc)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);

    if (rc != 0) {
        err_set(&op->err, rc, "store closes");
    }
    op->cb(op, rc != 0 ? rc : op->rc);
}

int asd_results_take(struct asd_store_op *op, uint64_t bytes, struct err *e)
{
    atomic_uint_fast64_t *all = &op->store->counters.result_bytes;

    if (bytes > ASD_STORE_RESULT_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "a reply of %" PRIu64 " bytes; at most %d", bytes,
                       ASD_STORE_RESULT_BYTES_MAX);
    }
    uint64_t others = atomic_fetch_add_explicit(all, bytes, memory_order_relaxed);

    if (others != 0 && others + bytes > ASD_STORE_RESULTS_BYTES_MAX) {
        atomic_fetch_sub_explicit(all, bytes, memory_order_relaxed);
        return err_set(e, ERR_BUSY, "%" PRIu64 " bytes of replies wait to be sent", others);
    }
    op->result_bytes += bytes;
    return 0;
}

void asd_results_release(struct asd_store_op *op)
{
    if (op->result_bytes != 0) {
        atomic_fetch_sub_explicit(&op->store->counters.result_bytes, op->result_bytes,
                                  memory_order_relaxed);
        op->result_bytes = 0;
    }
}

/* ---- get, exists ---- */

struct lookup {
    struct buf bytes; /* index keys back to back */
    struct slice *keys;
    struct asd_found *found;
    int *rcs;
};

static void lookup_run(struct lookup *l, struct asd_store *store, const struct asd_store_get *get,
                       struct err *e)
{
    size_t at = 0;

    *l = (struct lookup){.keys = mem_array(get->key_count, sizeof(l->keys[0])),
                         .found = mem_array(get->key_count, sizeof(l->found[0])),
                         .rcs = mem_array(get->key_count, sizeof(l->rcs[0]))};
    for (uint32_t i = 0; i < get->key_count; i++) {
        asd_key_value_put(&l->bytes, get->keys[i]);
    }
    for (uint32_t i = 0; i < get->key_count; i++) {
        l->keys[i] = slice_of(l->bytes.data + at, get->keys[i].len + 1);
        at += l->keys[i].len;
    }
    asd_value_find_many(store, l->keys, get->key_count, l->found, l->rcs, e);
}

static void lookup_release(struct lookup *l, struct asd_store *store, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        asd_value_found_release(store, &l->found[i]);
    }
    free(l->keys);
    free(l->found);
    free(l->rcs);
    buf_release(&l->bytes);
}

int asd_read_value(struct asd_store *store, const struct asd_found *found,
                   struct asd_store_value *ret_value, struct err *e)
{
    uint32_t bytes = found->record.bytes;
    uint8_t *data = mem_alloc(bytes);
    int rc = asd_value_read(store, found, data, e);

    if (rc != 0) {
        free(data);
        return rc;
    }
    asd_count(&store->counters.read_bytes, bytes);
    *ret_value =
        (struct asd_store_value){.bytes = bytes, .data = data, .checksum = found->record.checksum};
    return 0;
}

static void get_work(struct pool_work *work)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);
    struct asd_store_get *get = container_of(op, struct asd_store_get, op);
    struct lookup l;
    uint64_t bytes = 0;

    lookup_run(&l, op->store, get, &op->err);
    for (uint32_t i = 0; i < get->key_count; i++) {
        bytes += ASD_STORE_ITEM_BYTES_MAX + (l.rcs[i] == 0 ? l.found[i].record.bytes : 0);
    }
    op->rc = asd_results_take(op, bytes, &op->err);
    if (op->rc == 0) {
        get->values = mem_array(get->key_count, sizeof(get->values[0]));
        for (uint32_t i = 0; i < get->key_count; i++) {
            int rc = l.rcs[i] != 0
                         ? l.rcs[i]
                         : asd_read_value(op->store, &l.found[i], &get->values[i], &op->err);

            get->values[i].rc = rc;
        }
    }
    lookup_release(&l, op->store, get->key_count);
}

int asd_store_get(struct asd_store *store, struct asd_store_get *get, const struct slice *keys,
                  uint32_t key_count, uint8_t prio, asd_store_cb cb)
{
    *get = (struct asd_store_get){.keys = keys, .key_count = key_count};
    if (key_count > ASD_STORE_ITEMS_MAX) {
        return err_set(&get->op.err, ERR_TOO_LARGE, "%" PRIu32 " keys", key_count);
    }
    return asd_read_submit(store, &get->op, prio, get_work, cb);
}

static void exists_work(struct pool_work *work)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);
    struct asd_store_get *get = container_of(op, struct asd_store_get, op);
    struct lookup l;

    lookup_run(&l, op->store, get, &op->err);
    op->rc = 0;
    get->exists = mem_array(get->key_count, sizeof(get->exists[0]));
    for (uint32_t i = 0; i < get->key_count; i++) {
        get->exists[i] = l.rcs[i] == 0;
        if (l.rcs[i] != 0 && l.rcs[i] != ERR_NOT_FOUND) {
            op->rc = l.rcs[i];
        }
    }
    lookup_release(&l, op->store, get->key_count);
}

int asd_store_exists(struct asd_store *store, struct asd_store_get *get, const struct slice *keys,
                     uint32_t key_count, uint8_t prio, asd_store_cb cb)
{
    *get = (struct asd_store_get){.keys = keys, .key_count = key_count};
    if (key_count > ASD_STORE_ITEMS_MAX) {
        return err_set(&get->op.err, ERR_TOO_LARGE, "%" PRIu32 " keys", key_count);
    }
    return asd_read_submit(store, &get->op, prio, exists_work, cb);
}

void asd_store_get_release(struct asd_store_get *get)
{
    for (uint32_t i = 0; i < get->key_count && get->values != NULL; i++) {
        free(get->values[i].data);
    }
    asd_results_release(&get->op);
    free(get->values);
    free(get->exists);
    get->values = NULL;
    get->exists = NULL;
}

/* ---- partial ---- */

static int partial_read(struct asd_store_partial *partial, struct asd_found *found, struct err *e)
{
    uint64_t bytes = 0;
    size_t at = 0;

    for (uint32_t i = 0; i < partial->part_count; i++) {
        bytes += partial->parts[i].bytes;
    }
    int taken = asd_results_take(&partial->op, bytes, e);

    if (taken != 0) {
        return taken;
    }
    partial->data = mem_alloc(bytes);
    for (uint32_t i = 0; i < partial->part_count; i++) {
        const struct asd_part *part = &partial->parts[i];
        int rc = asd_value_read_part(partial->op.store, found, part->offset, part->bytes,
                                     partial->data + at, e);

        if (rc != 0) {
            return rc;
        }
        at += part->bytes;
    }
    partial->data_bytes = at;
    asd_count(&partial->op.store->counters.read_bytes, at);
    return 0;
}

static void partial_work(struct pool_work *work)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);
    struct asd_store_partial *partial = container_of(op, struct asd_store_partial, op);
    struct buf key = {0};
    struct asd_found found;

    asd_key_value_put(&key, partial->key);
    op->rc = asd_value_find(op->store, slice_buf(&key), &found, &op->err);
    if (op->rc == ERR_NOT_FOUND) {
        err_set(&op->err, op->rc, "key of %zu bytes", partial->key.len);
    } else if (op->rc == 0) {
        op->rc = partial_read(partial, &found, &op->err);
    }
    asd_value_found_release(op->store, &found);
    buf_release(&key);
    if (op->rc != 0) {
        asd_store_partial_release(partial);
    }
}

int asd_store_partial(struct asd_store *store, struct asd_store_partial *partial, struct slice key,
                      const struct asd_part *parts, uint32_t part_count, uint8_t prio,
                      asd_store_cb cb)
{
    *partial = (struct asd_store_partial){.key = key, .parts = parts, .part_count = part_count};
    if (part_count > ASD_STORE_ITEMS_MAX) {
        return err_set(&partial->op.err, ERR_TOO_LARGE, "%" PRIu32 " parts", part_count);
    }
    return asd_read_submit(store, &partial->op, prio, partial_work, cb);
}

void asd_store_partial_release(struct asd_store_partial *partial)
{
    asd_results_release(&partial->op);
    free(partial->data);
    partial->data = NULL;
    partial->data_bytes = 0;
}
