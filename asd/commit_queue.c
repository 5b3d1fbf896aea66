/* Applies of all fronts on their way into batches, and the thread that commits these.
 *
 * asd_commit_take -> high or low -> (commit thread, whenever it is free: all there are, within
 * the limits of a batch) -> asd_commit_run -> answered -> (loop of the front) cb. Those of
 * one turn of a loop come together, and so go in one batch.
 *
 * - the client of one that may have waited long has gone: it gets ERR_CANCELED;
 * - commit fails: its members get ERR_FAILED, so does every apply that waits or comes later;
 * - a front closes before the batch is formed: its applies get ERR_CANCELED. */
#include "asd/front_private.h"
#include "asd/store_private.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "loop/thread.h"

enum {
    BATCH_APPLIES_MAX = 1024,
    BATCH_BYTES_MAX = 64 * 1048576,
    BATCH_LOW_BYTES_MAX = 8 * 1048576, /* beside High ones */
};

/* ---- the batch: lock held ---- */

static void batch_take(struct asd_store *store, struct list *queue, uint64_t bytes_max,
                       unsigned *applies, uint64_t *bytes)
{
    struct list *link;

    while (*applies < BATCH_APPLIES_MAX && (*applies == 0 || *bytes < bytes_max) &&
           (link = list_pop(queue)) != NULL) {
        struct asd_store_apply *apply = container_of(link, struct asd_store_apply, op.link);

        apply->op.queued = false;
        list_push(&store->commit.members, link);
        *bytes += apply->bytes;
        (*applies)++;
    }
}

static uint64_t percent_of(uint64_t bytes, unsigned percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

/* Low ones get a small share of every batch, so that they neither starve nor fill it. */
static void batch_form(struct asd_store *store)
{
    struct asd_commit *commit = &store->commit;
    unsigned applies = 0;
    unsigned low_applies = 0;
    uint64_t bytes = 0;
    uint64_t low_bytes = 0;

    batch_take(store, &store->high, BATCH_BYTES_MAX, &applies, &bytes);
    batch_take(store, &store->low, applies == 0 ? BATCH_BYTES_MAX : BATCH_LOW_BYTES_MAX,
               &low_applies, &low_bytes);
    commit->full = store->full;
    commit->usable_bytes = percent_of(store->capacity_bytes, store->limit_percent);
    commit->reserve_bytes = percent_of(commit->usable_bytes, ASD_STORE_RESERVE_PERCENT);
}

/* ---- answers: lock held ---- */

/* `op` is done with; its front is woken. */
static void answer(struct asd_store_op *op, int rc)
{
    struct asd_front *front = op->front;
    bool was_empty = list_empty(&front->answered);

    op->rc = rc;
    op->queued = false;
    list_push(&front->answered, &op->link);
    if (was_empty) {
        CHECK(uv_async_send(&front->wake) == 0);
    }
}

static void answer_done(struct list *done)
{
    struct list *link;

    while ((link = list_pop(done)) != NULL) {
        struct asd_store_op *op = container_of(link, struct asd_store_op, link);

        answer(op, op->rc);
    }
}

static void answer_all(struct list *ops, int rc, const char *why)
{
    struct list *link;

    while ((link = list_pop(ops)) != NULL) {
        struct asd_store_op *op = container_of(link, struct asd_store_op, link);

        err_set(&op->err, rc, "%s", why);
        answer(op, rc);
    }
}

/* ---- failing ---- */

/* Lock held. False: it had failed before. */
static bool fail_begin(struct asd_store *store, const struct err *e)
{
    if (atomic_load(&store->failed)) {
        return false;
    }
    store->failed_err = *e;
    atomic_store(&store->failed, true);
    return true;
}

/* Lock held. */
static void fail_waiting(struct asd_store *store)
{
    answer_all(&store->high, ERR_FAILED, store->failed_err.msg);
    answer_all(&store->low, ERR_FAILED, store->failed_err.msg);
    if (store->has_front) {
        CHECK(uv_async_send(&store->front->wake) == 0); /* it tells the owner */
    }
}

static void log_failure(const struct asd_store *store, const struct err *e)
{
    log_error("asd", "out of service", "home=%s error=%s", store->home->path, e->msg);
}

void asd_store_fail(struct asd_store *store, const struct err *e)
{
    bool first;

    uv_mutex_lock(&store->lock);
    first = fail_begin(store, e);
    if (first) {
        fail_waiting(store);
    }
    uv_mutex_unlock(&store->lock);
    if (first) {
        log_failure(store, e);
    }
}

/* ---- the thread ---- */

/* The loops see who leaves, and cancel what waits of it. But when the process was stopped, this
 * thread goes on before they have seen who left meanwhile. */
static void leave_out_unwanted(struct asd_commit *commit, struct list *unwanted)
{
    uint64_t now_ms = clock_mono_ms();

    list_init(unwanted);
    LIST_FOR_EACH_SAFE (it, &commit->members) {
        struct asd_store_apply *apply = container_of(it, struct asd_store_apply, op.link);

        if (apply->is_wanted != NULL && apply->came_ms + ASD_FRONT_ASK_MS <= now_ms &&
            !apply->is_wanted(&apply->op)) {
            list_remove(it);
            apply->op.rc = err_set(&apply->op.err, ERR_CANCELED, "nobody waits for it any more");
            list_push(unwanted, it);
        }
    }
}

static void commit_batch(struct asd_store *store)
{
    struct asd_commit *commit = &store->commit;
    struct list unwanted;
    bool fails = false;

    batch_form(store);
    uv_mutex_unlock(&store->lock);
    leave_out_unwanted(commit, &unwanted);
    if (!list_empty(&commit->members)) {
        asd_commit_run(store);
    }
    uv_mutex_lock(&store->lock);
    if (commit->rc != 0) {
        fails = fail_begin(store, &commit->err);
    }
    answer_done(&unwanted);
    answer_done(&commit->members);
    if (fails) {
        fail_waiting(store);
        uv_mutex_unlock(&store->lock);
        log_failure(store, &commit->err);
        uv_mutex_lock(&store->lock);
    }
}

static void *commit_main(void *arg)
{
    struct asd_store *store = arg;

    pthread_setname_np(pthread_self(), "asd-commit");
    uv_mutex_lock(&store->lock);
    while (!store->stopping) {
        if (list_empty(&store->high) && list_empty(&store->low)) {
            uv_cond_wait(&store->came, &store->lock);
        } else {
            commit_batch(store);
        }
    }
    uv_mutex_unlock(&store->lock);
    return NULL;
}

int asd_commit_start(struct asd_store *store, struct err *e)
{
    int rc = loop_thread_start(&store->commit_thread, commit_main, store);

    return rc != 0 ? err_set(e, rc, "store: commit thread") : 0;
}

void asd_commit_stop(struct asd_store *store)
{
    uv_mutex_lock(&store->lock);
    CHECK(list_empty(&store->high) && list_empty(&store->low));
    store->stopping = true;
    uv_cond_signal(&store->came);
    uv_mutex_unlock(&store->lock);
    CHECK(pthread_join(store->commit_thread, NULL) == 0);
}

/* ---- for fronts ---- */

void asd_commit_take(struct asd_front *front)
{
    struct asd_store *store = front->store;

    if (list_empty(&front->high) && list_empty(&front->low)) {
        return;
    }
    uv_mutex_lock(&store->lock);
    if (atomic_load(&store->failed)) {
        answer_all(&front->high, ERR_FAILED, store->failed_err.msg);
        answer_all(&front->low, ERR_FAILED, store->failed_err.msg);
    } else {
        list_splice(&store->high, &front->high);
        list_splice(&store->low, &front->low);
        uv_cond_signal(&store->came);
    }
    uv_mutex_unlock(&store->lock);
}

static void cancel_of(struct list *queue, const struct asd_front *front)
{
    LIST_FOR_EACH_SAFE (it, queue) {
        struct asd_store_op *op = container_of(it, struct asd_store_op, link);

        if (op->front == front) {
            list_remove(it);
            err_set(&op->err, ERR_CANCELED, "store closes");
            answer(op, ERR_CANCELED);
        }
    }
}

void asd_commit_cancel(struct asd_front *front)
{
    struct asd_store *store = front->store;

    uv_mutex_lock(&store->lock);
    cancel_of(&store->high, front);
    cancel_of(&store->low, front);
    cancel_of(&front->high, front);
    cancel_of(&front->low, front);
    uv_mutex_unlock(&store->lock);
}

bool asd_commit_cancel_one(struct asd_store_op *op)
{
    struct asd_store *store = op->store;
    bool queued;

    uv_mutex_lock(&store->lock);
    queued = op->queued;
    if (queued) {
        list_remove(&op->link);
        err_set(&op->err, ERR_CANCELED, "nobody waits for it");
        answer(op, ERR_CANCELED);
    }
    uv_mutex_unlock(&store->lock);
    return queued;
}
