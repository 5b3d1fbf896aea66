/* Giving space back: punches ranges that nobody can see any more, removes their free
 * records, drops dead slabs. One run at a time, in a thread of its own:
 *
 * dead slabs: remove slab, free and name records (synced) -> unlink
 * frees:      punch -> fdatasync of each slab punched -> remove free records (not synced)
 *
 * Before either, the mark is flushed if values were moved: nobody touched these, so their old
 * copies are given back only when an index that lost the move is sure to be told from a sound one.
 *
 * A crash anywhere repeats the step (FORMAT.md, "What a crash may leave"). A lack of space for the
 * file system's own records, of descriptors or of memory is waited for; records of a dead slab that
 * the index cannot read are left; any other failure takes the store out of service. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "asd/space_reclaim.h"
#include "asd/store_private.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    RUN_FREES_MAX = 1024,
    RETRY_MS = 10, /* more, after what passes */
};

/* ---- reclaim thread ---- */

static bool delete_visited(void *ctx, struct slice key, struct slice value)
{
    (void)value;
    asd_index_batch_delete(ctx, key);
    return true;
}

/* 0, or what passes. What cannot be read is left: nobody asks for what is of a slab that is gone,
 * and the damage may lie in blocks from which all was removed long ago. */
static int delete_places(struct asd_index *index, struct asd_internal_key first,
                         struct asd_internal_key end, struct asd_index_batch *batch, struct err *e)
{
    int rc = index->ops->iterate(index, asd_internal_slice(&first), asd_internal_slice(&end), false,
                                 delete_visited, batch, e);

    if (rc != 0 && !asd_health_is_passing(rc)) {
        log_error("asd", "records of a dead slab are left", "error=\"%s\"", e->msg);
        rc = 0;
    }
    return rc;
}

/* Called when what is to be given back has been taken: `moved` was set before it came. */
static int moves_settle(struct asd_store *store, struct err *e)
{
    int rc;

    if (!atomic_exchange(&store->moved, false)) {
        return 0;
    }
    rc = asd_mark_flush(&store->mark, e);
    if (rc != 0) {
        atomic_store(&store->moved, true);
    }
    asd_count(&store->counters.fdatasyncs, 1);
    return rc;
}

static int drop_slab(struct asd_store *store, struct asd_slab *slab, struct err *e)
{
    uint64_t n = slab->number;
    struct asd_internal_key key = asd_key_slab(n);
    struct asd_index_batch batch = {0};
    struct asd_index *index = store->index;
    int rc = moves_settle(store, e);

    if (rc != 0) {
        return rc;
    }
    rc = delete_places(index, asd_key_free(n, 0), asd_key_free(n + 1, 0), &batch, e);
    /* Of names only stale ones are left: of software that did not know them, of damaged values. */
    rc = rc != 0 ? rc : delete_places(index, asd_key_name(n, 0), asd_key_name(n + 1, 0), &batch, e);
    if (rc != 0) {
        asd_index_batch_release(&batch);
        asd_space_dead_again(&store->space, slab);
        store->reclaim_again = true;
        return 0;
    }
    asd_index_batch_delete(&batch, asd_internal_slice(&key));
    rc = index->ops->write(index, &batch, true, e);
    asd_count(&store->counters.index_syncs, 1);
    asd_index_batch_release(&batch);
    if (rc == 0) {
        rc = asd_space_drop(&store->space, slab, e);
    }
    if (rc == 0) {
        asd_count(&store->counters.slabs_unlinked, 1);
    }
    return rc;
}

static int by_place(const void *a, const void *b)
{
    const struct asd_free *x = *(struct asd_free *const *)a;
    const struct asd_free *y = *(struct asd_free *const *)b;

    if (x->slab->number != y->slab->number) {
        return x->slab->number < y->slab->number ? -1 : 1;
    }
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Punch frees[0..n), which lie one behind the other in one slab. */
static int punch_run(struct asd_store *store, struct asd_free **frees, size_t n, struct err *e)
{
    struct asd_slab *slab = frees[0]->slab;
    uint64_t bytes = frees[n - 1]->offset + frees[n - 1]->bytes - frees[0]->offset;
    int rc = asd_space_punch(&store->space, slab, frees[0]->offset, bytes, e);

    if (rc == ERR_CORRUPT) {
        if (!slab->unpunched) {
            log_error("asd", "cannot punch, file is unusable", "error=%s", e->msg);
        }
        slab->unpunched = true;
        return 0; /* nothing to give back there, but by unlinking it */
    }
    if (rc == 0) {
        asd_count(&store->counters.punches, 1);
        asd_count(&store->counters.punched_bytes, bytes);
    }
    return rc;
}

/* Punch all, flush each slab. *ret_done = how many, from the front, are punched. */
static int punch_all(struct asd_store *store, struct asd_free **frees, size_t n, size_t *ret_done,
                     struct err *e)
{
    size_t at = 0;
    int rc = 0;

    *ret_done = 0;
    while (at < n && rc == 0) {
        size_t end = at + 1;

        while (end < n && frees[end]->slab == frees[at]->slab &&
               frees[end]->offset == frees[end - 1]->offset + frees[end - 1]->bytes) {
            end++;
        }
        rc = punch_run(store, frees + at, end - at, e);
        if (rc == 0) {
            at = end;
        }
    }
    for (size_t i = 0; i < at; i++) {
        if (i == 0 || frees[i]->slab != frees[i - 1]->slab) {
            int flush_rc = asd_space_flush_slab(&store->space, frees[i]->slab, e);

            asd_count(&store->counters.fdatasyncs, 1);
            if (flush_rc != 0 && flush_rc != ERR_CORRUPT) {
                return flush_rc;
            }
        }
    }
    *ret_done = at;
    return rc;
}

static int forget_frees(struct asd_store *store, struct asd_free **frees, size_t n, struct err *e)
{
    struct asd_index_batch batch = {0};
    int rc;

    if (n == 0) {
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct asd_internal_key key = asd_key_free(frees[i]->slab->number, frees[i]->offset);

        asd_index_batch_delete(&batch, asd_internal_slice(&key));
    }
    rc = store->index->ops->write(store->index, &batch, false, e);
    asd_index_batch_release(&batch);
    return rc;
}

static int reclaim_frees(struct asd_store *store, struct err *e)
{
    struct asd_free **frees;
    struct list taken;
    struct list *link;
    size_t done = 0;
    size_t n = 0;
    int rc;

    list_init(&taken);
    if (asd_space_take_ready(&store->space, RUN_FREES_MAX, &taken) == 0) {
        return 0;
    }
    frees = mem_array(RUN_FREES_MAX, sizeof(frees[0]));
    while ((link = list_pop(&taken)) != NULL) {
        frees[n++] = container_of(link, struct asd_free, link);
    }
    qsort(frees, n, sizeof(frees[0]), by_place);
    rc = moves_settle(store, e);
    rc = rc != 0 ? rc : punch_all(store, frees, n, &done, e);
    if (asd_health_is_passing(rc)) {
        store->reclaim_again = true;
        rc = 0;
    }
    if (rc == 0) {
        rc = forget_frees(store, frees, done, e);
    }
    for (size_t i = 0; i < n; i++) {
        if (i >= done && store->reclaim_again) {
            asd_space_free_again(&store->space, frees[i]);
        } else {
            asd_space_free_done(&store->space, frees[i]);
        }
    }
    free(frees);
    return rc;
}

static void reclaim_work(struct pool_work *work)
{
    struct asd_store *store = container_of(work, struct asd_store, reclaim);
    struct asd_slab *slab;
    int rc = 0;

    store->reclaim_again = false;
    while (rc == 0 && !store->reclaim_again &&
           (slab = asd_space_take_dead(&store->space)) != NULL) {
        rc = drop_slab(store, slab, &store->reclaim_err);
    }
    if (rc == 0) {
        rc = reclaim_frees(store, &store->reclaim_err);
    }
    store->reclaim_rc = rc;
}

/* ---- loop ---- */

static void reclaim_done(struct pool_work *work, int rc)
{
    struct asd_store *store = container_of(work, struct asd_store, reclaim);

    store->reclaim_running = false;
    if (rc != 0) {
        return; /* closing */
    }
    if (store->reclaim_rc != 0) {
        err_wrap(&store->reclaim_err, "reclaim");
        asd_store_fail(store, &store->reclaim_err);
        return;
    }
    asd_reclaim_soon(store);
}

static void reclaim_start(uv_timer_t *timer)
{
    struct asd_store *store = container_of(timer, struct asd_store, reclaim_timer);

    if (store->closing || store->failed || store->reclaim_running) {
        return;
    }
    store->reclaim_running = true;
    CHECK(pool_submit(store->reclaim_pool, &store->reclaim, POOL_LOW, reclaim_work, reclaim_done) ==
          0);
}

void asd_reclaim_soon(struct asd_store *store)
{
    bool urgent = asd_space_is_urgent(&store->space);
    unsigned delay_ms = urgent ? 0 : store->punch_delay_ms;

    if (store->closing || store->failed || store->reclaim_running ||
        (uv_is_active((uv_handle_t *)&store->reclaim_timer) && (!urgent || store->reclaim_again)) ||
        !asd_space_has_work(&store->space)) {
        return;
    }
    if (store->reclaim_again) {
        delay_ms += RETRY_MS;
    }
    CHECK(uv_timer_start(&store->reclaim_timer, reclaim_start, delay_ms, 0) == 0);
}

static void reclaim_wake(uv_async_t *async)
{
    struct asd_store *store = container_of(async, struct asd_store, reclaim_wake);

    asd_reclaim_soon(store);
    asd_evacuate_soon(store);
}

void asd_reclaim_init(struct asd_store *store)
{
    CHECK(uv_timer_init(store->loop, &store->reclaim_timer) == 0);
    CHECK(uv_async_init(store->loop, &store->reclaim_wake, reclaim_wake) == 0);
}
