/* Small parts of values in slabs, without a thread: the loop looks the key up, the kernel reads
 * (loop/ring.h).
 *
 * asd_read_by_ring -> ring_read per part -> on_part ... -> the callback, or, when a part failed or
 * came short, all of it again in the pool, which finds out why. The slab is pinned meanwhile. */
#include <stdlib.h>

#include "asd/front_private.h"
#include "asd/health.h"
#include "asd/read_private.h"
#include "asd/results.h"
#include "asd/space_file.h"
#include "asd/store_private.h"
#include "asd/value.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/ring.h"

enum {
    PARTS_MAX = 16,
    PART_BYTES_MAX = 65536 /* more is worth a thread */
};

struct asd_ring_part {
    struct ring_read read;
    struct asd_ring_op *op;
};

struct asd_ring_op {
    struct asd_store_partial *partial;
    pool_run_cb run_in_pool;
    struct asd_reader reader;
    struct asd_found found;
    unsigned left; /* parts under way */
    bool failed;
    bool canceled;
    struct asd_ring_part parts[];
};

/* In memory, in a slab whose file is open; ERR_BUSY: a thread has to find out. */
static int find(struct asd_store *store, struct slice key, struct asd_found *ret_found, int *ret_fd)
{
    struct err e;

    if (asd_value_find_cached(store, key, ret_found, &e) == 0 && ret_found->record.in_slab) {
        *ret_fd = asd_space_os_fd(&store->space, ret_found->pin.slab);
        if (*ret_fd >= 0) {
            return 0;
        }
    }
    asd_value_found_release(store, ret_found);
    return ERR_BUSY;
}

/* Sums up the parts; false when they are none for the ring, or beyond the value. */
static bool parts_fit(const struct asd_store_partial *partial, const struct asd_found *found,
                      size_t *ret_bytes)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < partial->part_count; i++) {
        const struct asd_part *part = &partial->parts[i];

        if (part->bytes == 0 || part->bytes > PART_BYTES_MAX ||
            part->offset > found->record.bytes ||
            part->bytes > found->record.bytes - part->offset) {
            return false;
        }
        bytes += part->bytes;
    }
    *ret_bytes = bytes;
    return true;
}

static void finish(struct asd_ring_op *op)
{
    struct asd_store_partial *partial = op->partial;
    struct asd_store *store = partial->op.store;
    struct asd_front *front = partial->op.front;
    struct asd_store_op *request = &partial->op;
    bool failed = op->failed;
    bool canceled = op->canceled || front->closing;
    struct asd_reader reader = op->reader;
    pool_run_cb run_in_pool = op->run_in_pool;
    int rc = 0;

    asd_value_found_release(store, &op->found);
    free(op);
    request->in_ring = NULL;
    if (!failed) {
        asd_health_read(store, 0, 0, 0);
        asd_count(&store->counters.reads, 1);
        asd_count(&store->counters.reads_hot, 1);
        asd_count(&store->counters.read_bytes, partial->data_bytes);
        request->cb(request, 0);
        return;
    }
    asd_store_partial_release(partial);
    rc = canceled ? err_set(&request->err, ERR_CANCELED, "nobody waits for it")
                  : asd_read_submit(front, request, &reader, run_in_pool, request->cb);
    if (rc != 0) {
        request->cb(request, rc);
    }
}

static void on_part(struct ring_read *read, ssize_t rc)
{
    struct asd_ring_op *op = container_of(read, struct asd_ring_part, read)->op;

    op->failed = op->failed || rc != (ssize_t)read->bytes;
    if (--op->left == 0) {
        finish(op);
    }
}

bool asd_read_by_ring(struct asd_front *front, struct asd_store_partial *partial,
                      const struct asd_reader *reader, pool_run_cb run_in_pool, asd_store_cb cb)
{
    struct asd_store *store = front->store;
    struct asd_reader who = reader != NULL ? *reader : (struct asd_reader){0};
    enum pool_priority priority = who.prio == ASD_PRIO_LOW ? POOL_LOW : POOL_HIGH;
    struct asd_found found;
    struct asd_ring_op *op;
    size_t bytes = 0;
    int fd = -1;

    if (front->ring == NULL || partial->part_count == 0 || partial->part_count > PARTS_MAX ||
        find(store, partial->key, &found, &fd) != 0) {
        return false;
    }
    partial->op.store = store;
    partial->op.front = front;
    partial->op.owner = who.owner;
    partial->op.cb = cb;
    if (!parts_fit(partial, &found, &bytes) || ring_room(front->ring) < partial->part_count ||
        !asd_results_take(&partial->op, bytes)) {
        asd_value_found_release(store, &found);
        return false;
    }
    partial->data = asd_spare_take(&front->spare, bytes, &partial->is_spare);
    op = mem_alloc(sizeof(*op) + partial->part_count * sizeof(op->parts[0]));
    *op = (struct asd_ring_op){.partial = partial,
                               .run_in_pool = run_in_pool,
                               .reader = who,
                               .found = found,
                               .left = partial->part_count};
    partial->op.in_ring = op;
    for (uint32_t i = 0; i < partial->part_count; i++) {
        const struct asd_part *part = &partial->parts[i];

        op->parts[i].op = op;
        CHECK(ring_read(front->ring, &op->parts[i].read, fd, partial->data + partial->data_bytes,
                        part->bytes, found.record.offset + part->offset, priority, on_part) == 0);
        partial->data_bytes += part->bytes;
    }
    return true;
}

void asd_ring_cancel(struct asd_ring_op *op)
{
    op->canceled = true;
}
