/* Opening and closing a store, its settings and figures. */
#include "asd/store.h"

#include <stdlib.h>

#include "asd/front_private.h"
#include "asd/room.h"
#include "asd/space_sparse.h"
#include "asd/store_private.h"
#include "base/check.h"
#include "base/mem.h"

/* ---- closing: the first front and the pools, then the commit thread, then handles ---- */

static void store_free(struct asd_store *store)
{
    asd_evacuate_release(store);
    asd_mark_close(&store->mark);
    asd_space_release(&store->space);
    uv_mutex_destroy(&store->lock);
    uv_cond_destroy(&store->came);
    free(store);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct asd_store *store = handle->data;

    if (--store->closing_parts == 0) {
        struct asd_index *index = store->index;
        asd_store_close_cb cb = store->close_cb;
        void *ctx = store->close_ctx;

        store_free(store);
        index->ops->close(index);
        cb(ctx);
    }
}

static void close_handles(struct asd_store *store)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&store->reclaim_timer,
                              (uv_handle_t *)&store->reclaim_wake,
                              (uv_handle_t *)&store->evacuation.timer};

    store->closing_parts = sizeof(handles) / sizeof(handles[0]);
    for (unsigned i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        handles[i]->data = store;
        uv_close(handles[i], on_handle_closed);
    }
}

static void on_part_closed(void *ctx)
{
    struct asd_store *store = ctx;

    if (--store->closing_parts == 0) {
        asd_commit_stop(store);
        close_handles(store);
    }
}

void asd_store_close(struct asd_store *store, asd_store_close_cb cb, void *ctx)
{
    CHECK(!store->closing && store->fronts == 1);
    store->closing = true;
    store->close_cb = cb;
    store->close_ctx = ctx;
    store->closing_parts = 3;
    asd_evacuate_stop(store);
    pool_close(store->evacuation.pool, on_part_closed, store);
    asd_front_end(store->front, on_part_closed, store);
    pool_close(store->reclaim_pool, on_part_closed, store);
}

/* ---- opening ---- */

static void on_pool_given_up(void *ctx)
{
    (void)ctx;
}

static int threads_start(struct asd_store *store, unsigned read_threads, struct err *e)
{
    int rc = pool_new(store->loop, "asd-reclaim", 1, 1, &store->reclaim_pool);

    if (rc != 0) {
        return err_set(e, rc, "store: threads");
    }
    rc = pool_new(store->loop, "asd-evacuate", 1, 1, &store->evacuation.pool);
    if (rc != 0) {
        pool_close(store->reclaim_pool, on_pool_given_up, NULL);
        return err_set(e, rc, "store: threads");
    }
    rc = asd_commit_start(store, e);
    if (rc == 0) {
        rc = asd_front_open(store, store->loop,
                            read_threads != 0 ? read_threads : ASD_STORE_READ_THREADS,
                            &store->front, e);
        if (rc == 0) {
            store->has_front = true; /* nobody else knows the store yet */
            return 0;
        }
        asd_commit_stop(store);
    }
    pool_close(store->reclaim_pool, on_pool_given_up, NULL);
    pool_close(store->evacuation.pool, on_pool_given_up, NULL);
    return rc;
}

static void on_space_ready(void *ctx)
{
    struct asd_store *store = ctx;

    CHECK(uv_async_send(&store->reclaim_wake) == 0);
}

static void on_header_lost(void *ctx, uint64_t slab, int rc)
{
    asd_health_read(ctx, rc, slab, 0);
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
    atomic_store(&store->moved, !store->home->fresh); /* before a kill, perhaps */
    store->index = options->index;
    store->punch_delay_ms = options->punch_delay_ms;
    store->room = options->room;
    store->on_failed = options->on_failed;
    store->failed_ctx = options->failed_ctx;
    store->results.bytes_max =
        options->result_bytes_max != 0 ? options->result_bytes_max : ASD_RESULTS_BYTES_DEFAULT;
    asd_store_verify_checksums(store, options->verify_checksums);
    store->ring_depth = options->ring_depth;
    list_init(&store->high);
    list_init(&store->low);
    list_init(&store->commit.members);
    CHECK(uv_mutex_init(&store->lock) == 0 && uv_cond_init(&store->came) == 0);
    asd_store_set_limits(store, options->capacity_bytes, options->limit_percent);
    asd_space_init(&store->space, store->home, options->slab_bytes, options->sparse_part,
                   on_space_ready, on_header_lost, store);
    rc = asd_store_recover(store, e);
    if (rc == 0) {
        rc = threads_start(store, options->read_threads, e);
    }
    if (rc != 0) {
        store_free(store);
        return err_wrap(e, "home %s", options->home->path);
    }
    asd_reclaim_init(store);
    asd_reclaim_soon(store);
    asd_evacuate_init(store, options->evacuation_rate);
    *ret_store = store;
    return 0;
}

struct asd_front *asd_store_front(struct asd_store *store)
{
    return store->front;
}

unsigned asd_store_read_threads(unsigned fronts)
{
    unsigned share = ASD_STORE_READ_THREADS / fronts;

    return share > 2 ? share : 2;
}

/* ---- settings and figures ---- */

void asd_store_set_full(struct asd_store *store, bool full)
{
    uv_mutex_lock(&store->lock);
    store->full = full;
    uv_mutex_unlock(&store->lock);
}

void asd_store_set_limits(struct asd_store *store, uint64_t capacity_bytes, unsigned limit_percent)
{
    uv_mutex_lock(&store->lock);
    store->capacity_bytes = capacity_bytes;
    store->limit_percent = limit_percent;
    uv_mutex_unlock(&store->lock);
}

void asd_store_verify_checksums(struct asd_store *store, bool verify)
{
    atomic_store(&store->verify_checksums, verify);
}

void asd_store_set_evacuation_rate(struct asd_store *store, uint64_t bytes_per_second)
{
    atomic_store(&store->evacuation.rate, bytes_per_second);
    on_space_ready(store);
}

bool asd_store_failed(const struct asd_store *store, struct err *ret_err)
{
    bool failed = atomic_load(&store->failed);

    if (failed && ret_err != NULL) {
        *ret_err = store->failed_err;
    }
    return failed;
}

unsigned asd_store_reads_waiting(const struct asd_store *store)
{
    return atomic_load(&store->results.waiting) + atomic_load(&store->results.giants_waiting);
}

struct asd_store_stats asd_store_stats(struct asd_store *store)
{
    struct asd_counters *c = &store->counters;
    uint64_t capacity_bytes;

    uv_mutex_lock(&store->lock);
    capacity_bytes = store->capacity_bytes;
    uv_mutex_unlock(&store->lock);
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
        .evacuating = asd_evacuate_is_busy(store),
        .slabs_evacuated = c->slabs_evacuated,
        .slabs_stuck = asd_space_stuck_count(&store->space),
        .result_bytes =
            atomic_load(&store->results.bytes) + atomic_load(&store->results.giant_bytes),
        .reads_waiting = asd_store_reads_waiting(store),
    };
}
