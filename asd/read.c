/* Reads of values: submit on the loop, work in the read pool, callback on the loop. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/front_private.h"
#include "asd/read_private.h"
#include "asd/results.h"
#include "asd/spare.h"
#include "asd/store_private.h"
#include "asd/value.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"

static void read_done(struct pool_work *work, int rc)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);

    op->in_pool = false;
    if (rc == 0 && asd_results_lacks(op) && !op->canceled && !op->front->closing) {
        asd_results_wait(op);
        return;
    }
    if (rc != 0 || asd_results_lacks(op)) {
        rc = err_set(&op->err, ERR_CANCELED, "canceled before it began");
    }
    op->cb(op, rc != 0 ? rc : op->rc);
}

static int read_start(struct asd_store_op *op)
{
    int rc;

    op->lacking_bytes = 0; /* a try without a thread may have left it */
    rc = pool_submit(op->front->read_pool, &op->work, op->low ? POOL_LOW : POOL_HIGH, op->run,
                     read_done);

    op->in_pool = rc == 0;
    return rc == 0 ? 0 : err_set(&op->err, rc, "reads");
}

int asd_read_submit(struct asd_front *front, struct asd_store_op *op,
                    const struct asd_reader *reader, pool_run_cb run, asd_store_cb cb)
{
    int rc;

    CHECK(!front->closing);
    op->store = front->store;
    op->front = front;
    op->run = run;
    op->low = reader != NULL && reader->prio == ASD_PRIO_LOW;
    op->owner = reader != NULL ? reader->owner : NULL;
    op->cb = cb;
    rc = read_start(op);
    asd_count(&front->store->counters.reads, rc == 0);
    return rc;
}

void asd_read_again(struct asd_store_op *op)
{
    int rc = read_start(op);

    if (rc != 0) { /* else op->rc is the thread's from here on */
        op->rc = rc;
        asd_front_finish(op->front, op);
    }
}

int asd_reply_check(uint64_t bytes, struct err *e)
{
    return bytes <= ASD_STORE_RESULT_BYTES_MAX
               ? 0
               : err_set(e, ERR_TOO_LARGE, "a reply of %" PRIu64 " bytes; at most %d", bytes,
                         ASD_STORE_RESULT_BYTES_MAX);
}

int asd_read_key_check(struct slice key, struct err *e)
{
    return key.len <= ASD_STORE_KEY_BYTES_MAX
               ? 0
               : err_set(e, ERR_TOO_LARGE, "key of %zu bytes", key.len);
}

static int keys_check(const struct slice *keys, uint32_t count, struct err *e)
{
    int rc =
        count <= ASD_STORE_ITEMS_MAX ? 0 : err_set(e, ERR_TOO_LARGE, "%" PRIu32 " keys", count);

    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = asd_read_key_check(keys[i], e);
    }
    return rc;
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

int asd_read_value(struct asd_store *store, const struct asd_found *found, struct asd_spare *spare,
                   struct asd_store_value *ret_value, struct err *e)
{
    uint32_t bytes = found->record.bytes;
    bool is_spare = false;
    uint8_t *data = spare != NULL ? asd_spare_take(spare, bytes, &is_spare) : bigmem_alloc(bytes);
    int rc = asd_value_read(store, found, data, e);

    if (rc != 0) {
        bigmem_free(data);
        return rc;
    }
    asd_count(&store->counters.read_bytes, bytes);
    *ret_value = (struct asd_store_value){
        .bytes = bytes, .data = data, .is_spare = is_spare, .checksum = found->record.checksum};
    return 0;
}

/* ---- reads that need no thread ---- */

enum { HOT_KEYS_MAX = 8 };

/* False when a thread has to do it: the index would read the disk, or a value is in a slab. */
static bool find_hot(struct asd_store *store, const struct asd_store_get *get,
                     struct asd_found *ret_found, int *ret_rcs, struct err *e)
{
    bool hot = true;
    uint32_t n = 0;

    for (; n < get->key_count && hot; n++) {
        ret_rcs[n] = asd_value_find_cached(store, get->keys[n], &ret_found[n], e);
        hot = ret_rcs[n] != ERR_BUSY && !(ret_rcs[n] == 0 && ret_found[n].record.in_slab);
    }
    for (uint32_t i = 0; i < n && !hot; i++) {
        asd_value_found_release(store, &ret_found[i]);
    }
    return hot;
}

static_assert(ASD_STORE_VALUE_BYTES_MAX + ASD_STORE_ITEM_BYTES_MAX <= ASD_STORE_RESULT_BYTES_MAX,
              "what can be set can be got");

/* What both the loop, which has spare buffers, and a thread do with values found. */
static void get_values(struct asd_store_get *get, const struct asd_found *found, const int *rcs,
                       struct asd_spare *spare)
{
    struct asd_store_op *op = &get->op;
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < get->key_count; i++) {
        bytes += ASD_STORE_ITEM_BYTES_MAX + (rcs[i] == 0 ? found[i].record.bytes : 0);
    }
    op->rc = asd_reply_check(bytes, &op->err);
    if (op->rc != 0 || !asd_results_take(op, bytes)) {
        return;
    }
    get->values = mem_array(get->key_count, sizeof(get->values[0]));
    for (uint32_t i = 0; i < get->key_count; i++) {
        int rc = rcs[i] != 0
                     ? rcs[i]
                     : asd_read_value(op->store, &found[i], spare, &get->values[i], &op->err);

        get->values[i].rc = rc;
    }
}

static bool get_hot(struct asd_front *front, struct asd_store_get *get,
                    const struct asd_reader *reader, asd_store_cb cb)
{
    struct asd_store *store = front->store;
    struct asd_found found[HOT_KEYS_MAX];
    int rcs[HOT_KEYS_MAX];

    get->op.store = store;
    get->op.front = front;
    get->op.owner = reader != NULL ? reader->owner : NULL;
    get->op.cb = cb;
    if (get->key_count > HOT_KEYS_MAX || !find_hot(store, get, found, rcs, &get->op.err)) {
        return false;
    }
    get_values(get, found, rcs, &front->spare);
    for (uint32_t i = 0; i < get->key_count; i++) {
        asd_value_found_release(store, &found[i]);
    }
    if (asd_results_lacks(&get->op)) {
        return false;
    }
    asd_front_finish(front, &get->op);
    asd_count(&store->counters.reads, 1);
    asd_count(&store->counters.reads_hot, 1);
    return true;
}

static void get_work(struct pool_work *work)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);
    struct asd_store_get *get = container_of(op, struct asd_store_get, op);
    struct lookup l;

    lookup_run(&l, op->store, get, &op->err);
    get_values(get, l.found, l.rcs, NULL);
    lookup_release(&l, op->store, get->key_count);
}

int asd_store_get(struct asd_front *front, struct asd_store_get *get, const struct slice *keys,
                  uint32_t key_count, const struct asd_reader *reader, asd_store_cb cb)
{
    int rc;

    *get = (struct asd_store_get){.keys = keys, .key_count = key_count};
    rc = keys_check(keys, key_count, &get->op.err);
    if (rc != 0) {
        return rc;
    }
    CHECK(!front->closing);
    return get_hot(front, get, reader, cb) ? 0
                                           : asd_read_submit(front, &get->op, reader, get_work, cb);
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
        if (op->rc == 0 && l.rcs[i] != 0 && l.rcs[i] != ERR_NOT_FOUND) {
            get->failed_key = get->keys[i];
            op->rc = err_set(&op->err, l.rcs[i], "key of %zu bytes", get->keys[i].len);
        }
    }
    lookup_release(&l, op->store, get->key_count);
}

int asd_store_exists(struct asd_front *front, struct asd_store_get *get, const struct slice *keys,
                     uint32_t key_count, const struct asd_reader *reader, asd_store_cb cb)
{
    int rc;

    *get = (struct asd_store_get){.keys = keys, .key_count = key_count};
    rc = keys_check(keys, key_count, &get->op.err);
    return rc != 0 ? rc : asd_read_submit(front, &get->op, reader, exists_work, cb);
}

static void give_back(struct asd_store_op *op, uint8_t *data, bool is_spare)
{
    if (is_spare) {
        asd_spare_give(&op->front->spare, data);
    } else {
        bigmem_free(data);
    }
}

void asd_store_get_release(struct asd_store_get *get)
{
    for (uint32_t i = 0; i < get->key_count && get->values != NULL; i++) {
        give_back(&get->op, get->values[i].data, get->values[i].is_spare);
    }
    free(get->values);
    free(get->exists);
    get->values = NULL;
    get->exists = NULL;
    asd_results_give(&get->op);
}

/* ---- partial ---- */

static int partial_read(struct asd_store_partial *partial, struct asd_found *found, struct err *e)
{
    uint64_t bytes = 0;
    size_t at = 0;

    for (uint32_t i = 0; i < partial->part_count; i++) {
        bytes += partial->parts[i].bytes;
    }
    int taken = asd_reply_check(bytes, e);

    if (taken != 0 || !asd_results_take(&partial->op, bytes)) {
        return taken;
    }
    partial->data = bigmem_alloc(bytes);
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

int asd_store_partial(struct asd_front *front, struct asd_store_partial *partial, struct slice key,
                      const struct asd_part *parts, uint32_t part_count,
                      const struct asd_reader *reader, asd_store_cb cb)
{
    int rc;

    *partial = (struct asd_store_partial){.key = key, .parts = parts, .part_count = part_count};
    if (part_count > ASD_STORE_ITEMS_MAX) {
        return err_set(&partial->op.err, ERR_TOO_LARGE, "%" PRIu32 " parts", part_count);
    }
    rc = asd_read_key_check(key, &partial->op.err);
    if (rc != 0) {
        return rc;
    }
    CHECK(!front->closing);
    return asd_read_by_ring(front, partial, reader, partial_work, cb)
               ? 0
               : asd_read_submit(front, &partial->op, reader, partial_work, cb);
}

void asd_store_partial_release(struct asd_store_partial *partial)
{
    give_back(&partial->op, partial->data, partial->is_spare);
    partial->data = NULL;
    partial->is_spare = false; /* a thread may do it again */
    partial->data_bytes = 0;
    asd_results_give(&partial->op);
}
