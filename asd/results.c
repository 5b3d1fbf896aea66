#include "asd/results.h"

#include <stddef.h>

#include "asd/front_private.h"
#include "asd/read_private.h"
#include "asd/store_private.h"
#include "base/check.h"

enum { LOOK_MS = 5 }; /* memory given back by other fronts tells nobody */

static void hold(struct asd_store_op *op, uint64_t bytes)
{
    op->result_bytes += bytes;
    if (op->owner != NULL) {
        atomic_fetch_add(&op->owner->bytes, bytes);
    }
}

static bool reserve(struct asd_store_op *op, uint64_t bytes)
{
    struct asd_results *r = &op->store->results;
    uint64_t bytes_max = r->bytes_max;
    uint64_t before = atomic_fetch_add(&r->bytes, bytes);

    if (bytes <= ASD_RESULTS_SMALL_BYTES) {
        bytes_max += bytes_max / 4;
    }
    if (before != 0 && before + bytes > bytes_max) {
        atomic_fetch_sub(&r->bytes, bytes);
        return false;
    }
    hold(op, bytes);
    return true;
}

bool asd_results_take(struct asd_store_op *op, uint64_t bytes)
{
    op->lacking_bytes = 0;
    if (bytes <= op->result_bytes) {
        return true; /* reserved when it had waited */
    }
    asd_results_give(op);
    if ((bytes <= ASD_RESULTS_SMALL_BYTES || atomic_load(&op->store->results.waiting) == 0) &&
        reserve(op, bytes)) {
        return true;
    }
    op->lacking_bytes = bytes;
    return false;
}

void asd_results_add(struct asd_store_op *op, uint64_t bytes)
{
    atomic_fetch_add(&op->store->results.bytes, bytes);
    hold(op, bytes);
}

void asd_results_give(struct asd_store_op *op)
{
    if (op->result_bytes != 0) {
        atomic_fetch_sub(&op->store->results.bytes, op->result_bytes);
        if (op->owner != NULL) {
            atomic_fetch_sub(&op->owner->bytes, op->result_bytes);
        }
        op->result_bytes = 0;
    }
}

/* ---- waiting ---- */

bool asd_results_lacks(const struct asd_store_op *op)
{
    return op->lacking_bytes != 0;
}

static void wait_end(struct asd_store_op *op)
{
    list_remove(&op->link);
    op->waiting = false;
    atomic_fetch_sub(&op->store->results.waiting, 1);
    op->lacking_bytes = 0;
}

static void give_up(struct asd_store_op *op, int rc, const char *why)
{
    wait_end(op);
    op->rc = err_say(&op->err, rc, "%s", why);
    asd_front_finish(op->front, op);
}

/* Those at the front have waited longest. */
static struct asd_store_op *next_of(struct asd_front *front)
{
    struct asd_store_op *next = NULL;
    uint64_t least = UINT64_MAX;

    LIST_FOR_EACH (it, &front->lacking) {
        struct asd_store_op *op = container_of(it, struct asd_store_op, link);
        uint64_t bytes = op->owner != NULL ? atomic_load(&op->owner->bytes) : 0;

        if (bytes < least) {
            least = bytes;
            next = op;
        }
    }
    return next;
}

static void on_look(uv_timer_t *timer)
{
    struct asd_front *front = container_of(timer, struct asd_front, results_timer);
    uint64_t now_ms = uv_now(front->loop);
    struct asd_store_op *op;

    LIST_FOR_EACH_SAFE (it, &front->lacking) {
        op = container_of(it, struct asd_store_op, link);
        if (now_ms - op->lacking_since_ms > ASD_RESULTS_WAIT_MS) {
            give_up(op, ERR_BUSY, "memory for replies: others have not taken theirs");
        }
    }
    while ((op = next_of(front)) != NULL && reserve(op, op->lacking_bytes)) {
        wait_end(op);
        asd_read_again(op);
    }
    if (op == NULL) {
        uv_timer_stop(timer);
    }
}

void asd_results_wait(struct asd_store_op *op)
{
    struct asd_front *front = op->front;

    atomic_fetch_add(&op->store->results.waiting, 1);
    if (op->lacking_since_ms == 0) {
        op->lacking_since_ms = uv_now(front->loop);
    }
    op->waiting = true;
    list_push(&front->lacking, &op->link);
    CHECK(uv_timer_start(&front->results_timer, on_look, LOOK_MS, LOOK_MS) == 0);
}

void asd_results_abandon(struct asd_store_op *op)
{
    give_up(op, ERR_CANCELED, "canceled before it began");
}

void asd_results_cancel(struct asd_front *front)
{
    LIST_FOR_EACH_SAFE (it, &front->lacking) {
        asd_results_abandon(container_of(it, struct asd_store_op, link));
    }
    uv_timer_stop(&front->results_timer);
}

void asd_results_init(struct asd_front *front)
{
    list_init(&front->lacking);
    CHECK(uv_timer_init(front->loop, &front->results_timer) == 0);
}
