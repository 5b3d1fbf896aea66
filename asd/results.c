#include "asd/results.h"

#include <stddef.h>

#include "asd/front_private.h"
#include "asd/read_private.h"
#include "asd/store_private.h"
#include "base/check.h"

enum { LOOK_MS = 5 }; /* memory given back by other fronts tells nobody */

static bool is_small(uint64_t bytes)
{
    return bytes <= ASD_RESULTS_SMALL_BYTES;
}

static bool is_giant(const struct asd_results *r, uint64_t bytes)
{
    return bytes > r->bytes_max / 2 && !is_small(bytes);
}

static void count_for_owner(struct asd_store_op *op, uint64_t bytes)
{
    if (op->owner != NULL) {
        atomic_fetch_add(&op->owner->bytes, bytes);
    }
}

static bool reserve_giant(struct asd_store_op *op, uint64_t bytes)
{
    uint64_t none = 0;

    if (!atomic_compare_exchange_strong(&op->store->results.giant_bytes, &none, bytes)) {
        return false;
    }
    op->giant_bytes = bytes;
    count_for_owner(op, bytes);
    return true;
}

static bool reserve(struct asd_store_op *op, uint64_t bytes)
{
    struct asd_results *r = &op->store->results;
    uint64_t bytes_max = r->bytes_max + (is_small(bytes) ? r->bytes_max / 4 : 0);
    uint64_t before = atomic_load(&r->bytes);

    if (is_giant(r, bytes)) {
        return reserve_giant(op, bytes);
    }
    do {
        if (before + bytes > bytes_max) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&r->bytes, &before, before + bytes));
    op->result_bytes = bytes;
    count_for_owner(op, bytes);
    return true;
}

/* Those of its kind that wait are not overtaken. */
static bool is_its_turn(const struct asd_results *r, uint64_t bytes)
{
    return is_small(bytes) ||
           atomic_load(is_giant(r, bytes) ? &r->giants_waiting : &r->waiting) == 0;
}

bool asd_results_take(struct asd_store_op *op, uint64_t bytes)
{
    op->lacking_bytes = 0;
    if (bytes <= op->result_bytes + op->giant_bytes) {
        return true; /* reserved when it had waited */
    }
    asd_results_give(op);
    if (is_its_turn(&op->store->results, bytes) && reserve(op, bytes)) {
        return true;
    }
    op->lacking_bytes = bytes;
    return false;
}

void asd_results_settle(struct asd_store_op *op, uint64_t bytes)
{
    struct asd_results *r = &op->store->results;

    if (op->giant_bytes != 0) {
        return; /* its place cannot be shared */
    }
    atomic_fetch_add(&r->bytes, bytes - op->result_bytes); /* modulo 2^64, as the next one */
    count_for_owner(op, bytes - op->result_bytes);
    op->result_bytes = bytes;
}

void asd_results_give(struct asd_store_op *op)
{
    uint64_t bytes = op->result_bytes + op->giant_bytes;

    if (bytes == 0) {
        return;
    }
    atomic_fetch_sub(&op->store->results.bytes, op->result_bytes);
    if (op->giant_bytes != 0) {
        atomic_store(&op->store->results.giant_bytes, 0);
    }
    count_for_owner(op, -bytes);
    op->result_bytes = 0;
    op->giant_bytes = 0;
}

/* ---- waiting ---- */

bool asd_results_lacks(const struct asd_store_op *op)
{
    return op->lacking_bytes != 0;
}

static atomic_uint *waiting_count(struct asd_store_op *op)
{
    struct asd_results *r = &op->store->results;

    return is_giant(r, op->lacking_bytes) ? &r->giants_waiting : &r->waiting;
}

static void wait_end(struct asd_store_op *op)
{
    list_remove(&op->link);
    op->waiting = false;
    atomic_fetch_sub(waiting_count(op), 1);
    op->lacking_bytes = 0;
}

static void give_up(struct asd_store_op *op, int rc, const char *why)
{
    wait_end(op);
    op->rc = err_say(&op->err, rc, "%s", why);
    asd_front_finish(op->front, op);
}

/* Whose owner holds least, of those, or not of those, that are giants. Those at the front have
 * waited longest. */
static struct asd_store_op *next_of(struct asd_front *front, bool giants)
{
    struct asd_store_op *next = NULL;
    uint64_t least = UINT64_MAX;

    LIST_FOR_EACH (it, &front->lacking) {
        struct asd_store_op *op = container_of(it, struct asd_store_op, link);
        uint64_t bytes = op->owner != NULL ? atomic_load(&op->owner->bytes) : 0;

        if (is_giant(&op->store->results, op->lacking_bytes) == giants && bytes < least) {
            least = bytes;
            next = op;
        }
    }
    return next;
}

static bool grant(struct asd_store_op *op)
{
    if (op == NULL || !reserve(op, op->lacking_bytes)) {
        return false;
    }
    wait_end(op);
    asd_read_again(op);
    return true;
}

/* The end of those that waited too long; memory for small ones, then for the others. */
static void on_look(uv_timer_t *timer)
{
    struct asd_front *front = container_of(timer, struct asd_front, results_timer);
    uint64_t now_ms = uv_now(front->loop);

    LIST_FOR_EACH_SAFE (it, &front->lacking) {
        struct asd_store_op *op = container_of(it, struct asd_store_op, link);

        if (now_ms - op->lacking_since_ms > ASD_RESULTS_WAIT_MS) {
            give_up(op, ERR_BUSY, "memory for replies: others have not taken theirs");
        } else if (is_small(op->lacking_bytes)) {
            grant(op);
        }
    }
    grant(next_of(front, true));
    while (grant(next_of(front, false))) {
    }
    if (list_empty(&front->lacking)) {
        uv_timer_stop(timer);
    }
}

void asd_results_wait(struct asd_store_op *op)
{
    struct asd_front *front = op->front;

    atomic_fetch_add(waiting_count(op), 1);
    if (op->lacking_since_ms == 0) {
        op->lacking_since_ms = uv_now(front->loop);
    }
    op->waiting = true;
    list_push(&front->lacking, &op->link);
    if (!uv_is_active((uv_handle_t *)&front->results_timer)) { /* who comes puts nobody off */
        CHECK(uv_timer_start(&front->results_timer, on_look, LOOK_MS, LOOK_MS) == 0);
    }
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
