/* The store's front: opening, queues, the batch that is running, closing.
 *
 * An apply goes: asd_store_apply -> high or low -> (gathered once per turn of the loop, when no
 * commit runs) batch -> (commit thread) asd_commit_run -> (loop) commit_done -> cb, in order.
 *
 * - commit fails: cb gets ERR_FAILED, so does every apply that waits or comes later;
 * - store closes before the batch is formed: cb gets ERR_CANCELED. */
#include "asd/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asd/room.h"
#include "asd/store_private.h"
#include "asd/store_read.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    BATCH_APPLIES_MAX = 1024,
    BATCH_BYTES_MAX = 64 * 1048576,
    BATCH_LOW_BYTES_MAX = 8 * 1048576, /* beside High ones */
    READ_THREADS_DEFAULT = 8,
};

static const uint64_t SLAB_BYTES_DEFAULT = UINT64_C(4) << 30;

/* ---- the batch ---- */

static void batch_take(struct asd_store *store, struct list *queue, uint64_t bytes_max,
                       unsigned *applies, uint64_t *bytes)
{
    struct list *link;

    while (*applies < BATCH_APPLIES_MAX && (*applies == 0 || *bytes < bytes_max) &&
           (link = list_pop(queue)) != NULL) {
        struct asd_store_apply *apply = container_of(link, struct asd_store_apply, op.link);

        list_push(&store->commit.members, link);
        *bytes += apply->bytes;
        (*applies)++;
    }
}

/* Low ones get a small share of every batch, so that they neither starve nor fill it. */
static void batch_form(struct asd_store *store)
{
    unsigned applies = 0;
    unsigned low_applies = 0;
    uint64_t bytes = 0;
    uint64_t low_bytes = 0;

    batch_take(store, &store->high, BATCH_BYTES_MAX, &applies, &bytes);
    batch_take(store, &store->low, applies == 0 ? BATCH_BYTES_MAX : BATCH_LOW_BYTES_MAX,
               &low_applies, &low_bytes);
}

static uint64_t percent_of(uint64_t bytes, unsigned percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

static void commit_work(struct pool_work *work)
{
    asd_commit_run(container_of(work, struct asd_store, commit.work));
}

static void apply_end(struct asd_store *store, struct asd_store_apply *apply, int rc)
{
    store->apply_count--;
    store->apply_bytes -= apply->bytes;
    apply->op.cb(&apply->op, rc); /* may free apply */
}

static void commit_done(struct pool_work *work, int rc)
{
    struct asd_store *store = container_of(work, struct asd_store, commit.work);
    struct list members;
    struct list *link;

    list_init(&members);
    list_splice(&members, &store->commit.members);
    store->commit.running = false;
    if (rc == 0 && store->commit.rc != 0) {
        asd_store_fail(store, &store->commit.err);
    }
    while ((link = list_pop(&members)) != NULL) {
        struct asd_store_apply *apply = container_of(link, struct asd_store_apply, op.link);

        if (rc != 0) {
            err_set(&apply->op.err, rc, "store closes");
        }
        apply_end(store, apply, rc != 0 ? rc : apply->op.rc);
    }
    asd_store_gather(store);
}

static void commit_start(struct asd_store *store)
{
    struct asd_commit *commit = &store->commit;

    if (commit->running || store->closing || store->failed ||
        (list_empty(&store->high) && list_empty(&store->low))) {
        return;
    }
    batch_form(store);
    commit->full = store->full;
    commit->usable_bytes = percent_of(store->capacity_bytes, store->limit_percent);
    commit->reserve_bytes = percent_of(commit->usable_bytes, ASD_STORE_RESERVE_PERCENT);
    commit->running = true;
    CHECK(pool_submit(store->commit_pool, &commit->work, POOL_HIGH, commit_work, commit_done) == 0);
}

/* All requests that the loop finds in one turn go into one batch: the check handle runs
 * behind them, the idle handle sees to it that the turn does not wait for more. */
static void on_gather_now(uv_idle_t *idle)
{
    (void)idle;
}

void asd_store_gather(struct asd_store *store)
{
    if (!store->closing) {
        CHECK(uv_idle_start(&store->gather_now, on_gather_now) == 0);
    }
}

static void on_gather(uv_check_t *check)
{
    struct asd_store *store = container_of(check, struct asd_store, gather);

    if (uv_is_active((uv_handle_t *)&store->gather_now)) {
        uv_idle_stop(&store->gather_now);
        asd_read_finish(store);
        commit_start(store);
    }
}

/* ---- submitting ---- */

static int apply_check(const struct asd_apply *what, uint64_t *ret_bytes, struct err *e)
{
    uint64_t bytes = 0;

    if (what->assert_count > ASD_STORE_ITEMS_MAX || what->update_count > ASD_STORE_ITEMS_MAX) {
        return err_set(e, ERR_TOO_LARGE, "%" PRIu32 " asserts, %" PRIu32 " updates",
                       what->assert_count, what->update_count);
    }
    for (uint32_t i = 0; i < what->assert_count; i++) {
        size_t key_bytes = what->asserts[i].key.len;

        if (key_bytes == 0 || key_bytes > ASD_STORE_KEY_BYTES_MAX) {
            return err_set(e, key_bytes == 0 ? -EINVAL : ERR_TOO_LARGE, "key of %zu bytes",
                           key_bytes);
        }
        bytes += key_bytes + what->asserts[i].value.len;
    }
    for (uint32_t i = 0; i < what->update_count; i++) {
        size_t key_bytes = what->updates[i].key.len;
        size_t value_bytes = what->updates[i].value.len;

        if (key_bytes == 0 || key_bytes > ASD_STORE_KEY_BYTES_MAX) {
            return err_set(e, key_bytes == 0 ? -EINVAL : ERR_TOO_LARGE, "key of %zu bytes",
                           key_bytes);
        }
        if (value_bytes > ASD_STORE_VALUE_BYTES_MAX) {
            return err_set(e, ERR_TOO_LARGE, "value of %zu bytes", value_bytes);
        }
        bytes += key_bytes + value_bytes;
    }
    *ret_bytes = bytes;
    return 0;
}

static int submit(struct asd_store *store, struct asd_store_apply *apply, asd_store_cb cb)
{
    const struct asd_apply *what = apply->what;
    uint64_t bytes = 0;
    int rc;

    CHECK(!store->closing);
    apply->op.store = store;
    apply->op.cb = cb;
    rc = apply_check(what, &bytes, &apply->op.err);
    if (rc != 0) {
        return rc;
    }
    if (store->failed) {
        return err_set(&apply->op.err, ERR_FAILED, "%s", store->failed_err.msg);
    }
    if (store->apply_count == ASD_STORE_APPLIES_MAX ||
        (store->apply_count > 0 && store->apply_bytes + bytes > ASD_STORE_APPLY_BYTES_MAX)) {
        return err_set(&apply->op.err, ERR_BUSY, "%u applies wait", store->apply_count);
    }
    apply->bytes = bytes;
    store->apply_count++;
    store->apply_bytes += bytes;
    asd_count(&store->counters.applies, apply->move == NULL);
    list_push(apply->low ? &store->low : &store->high, &apply->op.link);
    asd_store_gather(store);
    return 0;
}

int asd_store_apply(struct asd_store *store, struct asd_store_apply *apply,
                    const struct asd_apply *what, uint8_t prio, asd_store_cb cb)
{
    *apply = (struct asd_store_apply){.what = what, .low = prio == ASD_PRIO_LOW};
    return submit(store, apply, cb);
}

int asd_store_move(struct asd_store *store, struct asd_store_apply *apply,
                   const struct asd_apply *what, const struct asd_move *move, asd_store_cb cb)
{
    *apply = (struct asd_store_apply){.what = what, .move = move, .low = true};
    return submit(store, apply, cb);
}

/* ---- failing and closing ---- */

static void answer_waiting(struct asd_store *store, int rc, const char *why)
{
    struct list waiting;
    struct list *link;

    list_init(&waiting);
    list_splice(&waiting, &store->high);
    list_splice(&waiting, &store->low);
    while ((link = list_pop(&waiting)) != NULL) {
        struct asd_store_apply *apply = container_of(link, struct asd_store_apply, op.link);

        err_set(&apply->op.err, rc, "%s", why);
        apply_end(store, apply, rc);
    }
}

void asd_store_fail(struct asd_store *store, const struct err *e)
{
    if (store->failed) {
        return;
    }
    store->failed = true;
    store->failed_err = *e;
    log_error("asd", "out of service", "home=%s error=%s", store->home->path, e->msg);
    answer_waiting(store, ERR_FAILED, e->msg);
    if (store->on_failed != NULL) {
        store->on_failed(store->failed_ctx, e);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct asd_store *store = handle->data;

    if (--store->closing_parts == 0) {
        asd_store_close_cb cb = store->close_cb;
        void *ctx = store->close_ctx;

        asd_mark_close(&store->mark);
        asd_space_release(&store->space);
        store->index->ops->close(store->index);
        free(store);
        cb(ctx);
    }
}

static void close_handles(struct asd_store *store)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&store->gather, (uv_handle_t *)&store->gather_now,
                              (uv_handle_t *)&store->reclaim_timer,
                              (uv_handle_t *)&store->reclaim_wake};

    store->closing_parts = sizeof(handles) / sizeof(handles[0]);
    for (unsigned i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        handles[i]->data = store;
        uv_close(handles[i], on_handle_closed);
    }
}

static void on_pool_closed(void *ctx)
{
    struct asd_store *store = ctx;

    if (--store->closing_parts == 0) {
        answer_waiting(store, ERR_CANCELED, "store closes");
        asd_read_finish(store);
        close_handles(store);
    }
}

void asd_store_close(struct asd_store *store, asd_store_close_cb cb, void *ctx)
{
    CHECK(!store->closing);
    store->closing = true;
    store->close_cb = cb;
    store->close_ctx = ctx;
    store->closing_parts = 3;
    pool_close(store->read_pool, on_pool_closed, store);
    pool_close(store->commit_pool, on_pool_closed, store);
    pool_close(store->reclaim_pool, on_pool_closed, store);
}

/* ---- opening ---- */

static void on_pool_given_up(void *ctx)
{
    (void)ctx;
}

static int pools_start(struct asd_store *store, unsigned read_threads, struct err *e)
{
    struct pool **pools[] = {&store->commit_pool, &store->reclaim_pool, &store->read_pool};
    unsigned threads = read_threads != 0 ? read_threads : READ_THREADS_DEFAULT;
    int rc = pool_new(store->loop, "asd-commit", 1, 1, &store->commit_pool);

    rc = rc == 0 ? pool_new(store->loop, "asd-reclaim", 1, 1, &store->reclaim_pool) : rc;
    rc = rc == 0
             ? pool_new(store->loop, "asd-read", threads, ASD_STORE_READS_MAX, &store->read_pool)
             : rc;
    if (rc == 0) {
        return 0;
    }
    for (unsigned i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
        if (*pools[i] != NULL) {
            pool_close(*pools[i], on_pool_given_up, NULL);
        }
    }
    return err_set(e, rc, "store: threads");
}

static void handles_start(struct asd_store *store)
{
    CHECK(uv_check_init(store->loop, &store->gather) == 0);
    CHECK(uv_idle_init(store->loop, &store->gather_now) == 0);
    CHECK(uv_check_start(&store->gather, on_gather) == 0);
    asd_reclaim_init(store);
}

static void on_space_ready(void *ctx)
{
    struct asd_store *store = ctx;

    CHECK(uv_async_send(&store->reclaim_wake) == 0);
}

int asd_store_open(uv_loop_t *loop, const struct asd_store_options *options,
                   struct asd_store **ret_store, struct err *e)
{
    struct asd_store *store = mem_zalloc(sizeof(*store));
    int rc;

    *ret_store = NULL;
    store->loop = loop;
    store->home = options->home;
    store->mark.fd = -1;
    store->index = options->index;
    store->punch_delay_ms = options->punch_delay_ms;
    store->room = options->room;
    store->on_failed = options->on_failed;
    store->failed_ctx = options->failed_ctx;
    asd_store_verify_checksums(store, options->verify_checksums);
    list_init(&store->high);
    list_init(&store->low);
    list_init(&store->commit.members);
    list_init(&store->finished);
    asd_store_set_limits(store, options->capacity_bytes, options->limit_percent);
    asd_space_init(&store->space, store->home,
                   options->slab_bytes != 0 ? options->slab_bytes : SLAB_BYTES_DEFAULT,
                   on_space_ready, store);
    rc = asd_store_recover(store, e);
    if (rc == 0) {
        rc = pools_start(store, options->read_threads, e);
    }
    if (rc != 0) {
        asd_mark_close(&store->mark);
        asd_space_release(&store->space);
        free(store);
        return err_wrap(e, "home %s", options->home->path);
    }
    handles_start(store);
    asd_reclaim_soon(store);
    *ret_store = store;
    return 0;
}

/* ---- settings and figures ---- */

void asd_store_set_full(struct asd_store *store, bool full)
{
    store->full = full;
}

void asd_store_set_limits(struct asd_store *store, uint64_t capacity_bytes, unsigned limit_percent)
{
    store->capacity_bytes = capacity_bytes;
    store->limit_percent = limit_percent;
}

void asd_store_verify_checksums(struct asd_store *store, bool verify)
{
    atomic_store(&store->verify_checksums, verify);
}

bool asd_store_failed(const struct asd_store *store, struct err *ret_err)
{
    if (store->failed && ret_err != NULL) {
        *ret_err = store->failed_err;
    }
    return store->failed;
}

struct asd_store_stats asd_store_stats(struct asd_store *store)
{
    struct asd_counters *c = &store->counters;
    uint64_t capacity_bytes = store->capacity_bytes;

    if (store->room != NULL) {
        uint64_t most = asd_room_capacity(store->room, c->used_bytes);

        capacity_bytes = most < capacity_bytes ? most : capacity_bytes;
    }
    return (struct asd_store_stats){
        .used_bytes = c->used_bytes,
        .capacity_bytes = capacity_bytes,
        .slab_count = asd_space_slab_count(&store->space),
        .applies = c->applies,
        .asserts_failed = c->asserts_failed,
        .refused_full = c->refused_full,
        .refused_checksum = c->refused_checksum,
        .updates = c->updates,
        .batches = c->batches,
        .fdatasyncs = c->fdatasyncs,
        .index_syncs = c->index_syncs,
        .slab_write_bytes = c->slab_write_bytes,
        .index_write_bytes = c->index_write_bytes,
        .reads = c->reads,
        .reads_hot = c->reads_hot,
        .read_bytes = c->read_bytes,
        .bad_values = c->bad_values,
        .read_errors = c->read_errors,
        .frees = c->frees,
        .frees_pending = asd_space_pending(&store->space),
        .punches = c->punches,
        .punched_bytes = c->punched_bytes,
        .slabs_unlinked = c->slabs_unlinked,
        .moves = c->moves,
        .moves_lost = c->moves_lost,
        .moved_bytes = c->moved_bytes,
    };
}
