/* A front: one loop's requests to the store, and the callbacks.
 *
 * An apply goes: asd_store_apply -> high or low -> (at the end of the turn of the loop) the
 * store's queue, commit_queue.c -> answered -> (loop, woken once for many) cb, in order. A read
 * goes to the read pool, or, done already, to `finished`: cb at the end of the turn. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/front_private.h"
#include "asd/read_private.h"
#include "asd/results.h"
#include "asd/store_private.h"
#include "asd/store_read.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/ring.h"

enum { LOW_SHARE = 4 }; /* Low reads hold one of so many threads at most */

/* ---- callbacks ---- */

static void apply_end(struct asd_front *front, struct asd_store_apply *apply)
{
    front->apply_count--;
    atomic_fetch_sub(&front->store->apply_count, 1);
    atomic_fetch_sub(&front->store->apply_bytes, apply->bytes);
    apply->op.cb(&apply->op, apply->op.rc); /* may free apply */
}

static void run_finished(struct asd_front *front)
{
    struct list now;
    struct list *link;

    list_init(&now);
    list_splice(&now, &front->finished);
    while ((link = list_pop(&now)) != NULL) {
        struct asd_store_op *op = container_of(link, struct asd_store_op, link);

        op->cb(op, op->rc);
    }
}

/* The idle handle sees to it that the turn does not wait for more. */
static void on_gather_now(uv_idle_t *idle)
{
    (void)idle;
}

static void gather(struct asd_front *front)
{
    CHECK(uv_idle_start(&front->gather_now, on_gather_now) == 0);
}

/* Runs behind all requests of the turn. */
static void on_gather(uv_check_t *check)
{
    struct asd_front *front = container_of(check, struct asd_front, gather);

    /* That of the turn before the last: a poll that a stop of the process interrupts ends without
     * a look at the sockets when a timer is due by then. */
    front->looked_ms = front->turn_ms;
    front->turn_ms = uv_now(front->loop);
    if (uv_is_active((uv_handle_t *)&front->gather_now)) {
        uv_idle_stop(&front->gather_now);
        run_finished(front);
        asd_commit_take(front);
    }
}

void asd_front_finish(struct asd_front *front, struct asd_store_op *op)
{
    list_push(&front->finished, &op->link);
    gather(front);
}

/* ---- submitting ---- */

static int key_check(struct slice key, struct err *e)
{
    return key.len != 0 ? asd_read_key_check(key, e) : err_set(e, -EINVAL, "key of 0 bytes");
}

/* A move is of a value that is there already, however long. */
static int apply_check(const struct asd_apply *what, bool is_move, uint64_t *ret_bytes,
                       struct err *e)
{
    uint64_t bytes =
        ((uint64_t)what->assert_count + what->update_count) * ASD_STORE_APPLY_ITEM_BYTES;
    int rc = 0;

    if (what->assert_count > ASD_STORE_ITEMS_MAX || what->update_count > ASD_STORE_ITEMS_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%" PRIu32 " asserts, %" PRIu32 " updates",
                       what->assert_count, what->update_count);
    }
    for (uint32_t i = 0; i < what->assert_count && rc == 0; i++) {
        rc = key_check(what->asserts[i].key, e);
        bytes += what->asserts[i].key.len + what->asserts[i].value.len;
    }
    for (uint32_t i = 0; i < what->update_count && rc == 0; i++) {
        size_t value_bytes = what->updates[i].value.len;

        rc = key_check(what->updates[i].key, e);
        if (rc == 0 && value_bytes > ASD_STORE_VALUE_BYTES_MAX && !is_move) {
            rc = err_set(e, ERR_TOO_LARGE, "value of %zu bytes", value_bytes);
        }
        bytes += what->updates[i].key.len + value_bytes;
    }
    *ret_bytes = bytes;
    return rc;
}

/* One is let in whatever its size. */
static bool admit(struct asd_store *store, uint64_t bytes)
{
    unsigned count = atomic_fetch_add(&store->apply_count, 1);
    uint64_t before = atomic_fetch_add(&store->apply_bytes, bytes);

    if (count < ASD_STORE_APPLIES_MAX &&
        (count == 0 || before + bytes <= ASD_STORE_APPLY_BYTES_MAX)) {
        return true;
    }
    atomic_fetch_sub(&store->apply_count, 1);
    atomic_fetch_sub(&store->apply_bytes, bytes);
    return false;
}

static int submit(struct asd_front *front, struct asd_store_apply *apply, asd_store_cb cb)
{
    struct asd_store *store = front->store;
    uint64_t bytes = 0;
    int rc;

    CHECK(!front->closing);
    apply->op.store = store;
    apply->op.front = front;
    apply->op.cb = cb;
    rc = apply_check(apply->what, apply->move != NULL, &bytes, &apply->op.err);
    if (rc != 0) {
        return rc;
    }
    if (atomic_load(&store->failed)) {
        return err_set(&apply->op.err, ERR_FAILED, "%s", store->failed_err.msg);
    }
    if (!admit(store, bytes)) {
        return err_set(&apply->op.err, ERR_BUSY, "%u applies wait",
                       atomic_load(&store->apply_count));
    }
    apply->bytes = bytes;
    apply->came_ms = front->looked_ms;
    front->apply_count++;
    asd_count(&store->counters.applies, apply->move == NULL);
    apply->op.queued = true; /* nobody else knows it yet */
    list_push(apply->low ? &front->low : &front->high, &apply->op.link);
    gather(front);
    return 0;
}

int asd_store_apply(struct asd_front *front, struct asd_store_apply *apply,
                    const struct asd_apply *what, uint8_t prio, asd_store_cb cb)
{
    *apply = (struct asd_store_apply){.what = what, .low = prio == ASD_PRIO_LOW};
    return submit(front, apply, cb);
}

int asd_store_move(struct asd_store *store, struct asd_store_apply *apply,
                   const struct asd_apply *what, const struct asd_move *move, asd_store_cb cb)
{
    *apply = (struct asd_store_apply){.what = what, .move = move, .low = true};
    return submit(store->front, apply, cb);
}

void asd_front_ask(struct asd_store_apply *apply, bool (*is_wanted)(struct asd_store_op *op))
{
    apply->is_wanted = is_wanted;
}

bool asd_store_cancel(struct asd_store_op *op)
{
    op->canceled = true;
    if (op->in_ring != NULL) {
        asd_ring_cancel(op->in_ring);
        return false;
    }
    if (op->waiting) {
        asd_results_abandon(op);
        return true;
    }
    return op->in_pool ? pool_cancel(op->front->read_pool, &op->work) : asd_commit_cancel_one(op);
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct asd_front *front = handle->data;

    if (--front->closing_handles == 0) {
        struct asd_store *store = front->store;
        asd_store_close_cb cb = front->close_cb;
        void *ctx = front->close_ctx;

        uv_mutex_lock(&store->lock);
        store->fronts--;
        uv_mutex_unlock(&store->lock);
        asd_spare_release(&front->spare);
        free(front);
        cb(ctx);
    }
}

static void close_when_idle(struct asd_front *front)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&front->wake, (uv_handle_t *)&front->gather,
                              (uv_handle_t *)&front->gather_now,
                              (uv_handle_t *)&front->results_timer};

    if (!front->closing || front->read_pool != NULL || front->ring != NULL ||
        front->apply_count != 0) {
        return;
    }
    run_finished(front);
    uv_mutex_lock(&front->store->lock);
    if (front == front->store->front) {
        front->store->has_front = false;
    }
    uv_mutex_unlock(&front->store->lock);
    front->closing_handles = sizeof(handles) / sizeof(handles[0]);
    for (unsigned i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        handles[i]->data = front;
        uv_close(handles[i], on_handle_closed);
    }
}

static void on_pool_closed(void *ctx)
{
    struct asd_front *front = ctx;

    front->read_pool = NULL;
    close_when_idle(front);
}

static void on_ring_closed(void *ctx)
{
    struct asd_front *front = ctx;

    front->ring = NULL;
    close_when_idle(front);
}

void asd_front_end(struct asd_front *front, asd_store_close_cb cb, void *ctx)
{
    CHECK(!front->closing);
    front->closing = true;
    front->close_cb = cb;
    front->close_ctx = ctx;
    asd_commit_cancel(front);
    asd_results_cancel(front);
    pool_close(front->read_pool, on_pool_closed, front);
    if (front->ring != NULL) {
        ring_close(front->ring, on_ring_closed, front);
    }
}

void asd_front_close(struct asd_front *front, asd_store_close_cb cb, void *ctx)
{
    CHECK(front != front->store->front);
    asd_front_end(front, cb, ctx);
}

/* ---- opening ---- */

static void tell_failed(struct asd_store *store)
{
    if (atomic_load(&store->failed) && !store->failed_told) {
        store->failed_told = true;
        if (store->on_failed != NULL) {
            store->on_failed(store->failed_ctx, &store->failed_err);
        }
    }
}

static void on_wake(uv_async_t *wake)
{
    struct asd_front *front = container_of(wake, struct asd_front, wake);
    struct asd_store *store = front->store;
    struct list answered;
    struct list *link;

    list_init(&answered);
    uv_mutex_lock(&store->lock);
    list_splice(&answered, &front->answered);
    uv_mutex_unlock(&store->lock);
    while ((link = list_pop(&answered)) != NULL) {
        apply_end(front, container_of(link, struct asd_store_apply, op.link));
    }
    if (front == store->front) {
        tell_failed(store);
    }
    close_when_idle(front);
}

/* Without one the pool does it. */
static void ring_start(struct asd_front *front)
{
    struct asd_store *store = front->store;
    int rc;

    if (store->ring_depth == 0 || store->home->io->ops->os_fd == NULL) {
        return;
    }
    rc = ring_new(front->loop, store->ring_depth, ASD_STORE_READS_MAX, &front->ring);
    if (rc != 0) {
        log_info("asd", "no io_uring, threads read", "error=\"%s\"", err_text(rc));
    }
}

int asd_front_open(struct asd_store *store, uv_loop_t *loop, unsigned read_threads,
                   struct asd_front **ret_front, struct err *e)
{
    struct asd_front *front = mem_zalloc(sizeof(*front));
    int rc = pool_new(loop, "asd-read", read_threads, ASD_STORE_READS_MAX, &front->read_pool);

    *ret_front = NULL;
    if (rc != 0) {
        free(front);
        return err_set(e, rc, "store: read threads");
    }
    pool_limit_low(front->read_pool, read_threads < LOW_SHARE ? 1 : read_threads / LOW_SHARE);
    front->store = store;
    front->loop = loop;
    front->looked_ms = front->turn_ms = uv_now(loop);
    list_init(&front->answered);
    list_init(&front->high);
    list_init(&front->low);
    list_init(&front->finished);
    asd_results_init(front);
    CHECK(uv_async_init(loop, &front->wake, on_wake) == 0);
    CHECK(uv_check_init(loop, &front->gather) == 0);
    CHECK(uv_idle_init(loop, &front->gather_now) == 0);
    CHECK(uv_check_start(&front->gather, on_gather) == 0);
    ring_start(front);
    uv_mutex_lock(&store->lock);
    store->fronts++;
    uv_mutex_unlock(&store->lock);
    *ret_front = front;
    return 0;
}
