/* A work item goes: pool_submit -> high or low -> a worker's hands -> finished -> done.
 *
 * - canceled, or closed, before a worker took it: moved to `finished` as canceled;
 * - pool_close ends when the last `done` has run: workers joined, handle closed, cb. */
#include "loop/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "loop/thread.h"

enum { POOL_NAME_BYTES = 16 };

struct pool {
    /* loop thread only */
    uv_async_t wake;
    unsigned queue_max;
    unsigned load; /* submitted and not yet given back by `done` */
    pool_close_cb close_cb;
    void *close_ctx;

    unsigned threads_count;
    pthread_t *threads;
    char name[POOL_NAME_BYTES];

    pthread_mutex_t lock; /* all below */
    pthread_cond_t work_came;
    struct list high, low, finished;
    unsigned high_streak; /* High items taken since the last Low one, or since Low was empty */
    unsigned low_running, low_running_max;
    bool closing;
};

/* The next item by the rules in pool.h, or NULL. Lock held. */
static struct pool_work *take(struct pool *pool, enum pool_priority *ret_priority)
{
    bool low = !list_empty(&pool->low) && pool->low_running < pool->low_running_max;
    struct list *link;

    if (low && (list_empty(&pool->high) || pool->high_streak >= POOL_HIGH_BURST)) {
        pool->high_streak = 0;
        *ret_priority = POOL_LOW;
        link = list_pop(&pool->low);
    } else {
        link = list_pop(&pool->high);
        *ret_priority = POOL_HIGH;
        pool->high_streak = low ? pool->high_streak + 1 : 0;
    }
    if (link == NULL) {
        return NULL;
    }
    container_of(link, struct pool_work, link)->waiting = false;
    return container_of(link, struct pool_work, link);
}

/* Lock held; the item belongs to the loop thread from here on. */
static void finish(struct pool *pool, struct pool_work *work, int rc)
{
    bool was_empty = list_empty(&pool->finished);

    work->rc = rc;
    work->waiting = false;
    list_push(&pool->finished, &work->link);
    if (was_empty) {
        CHECK(uv_async_send(&pool->wake) == 0);
    }
}

static void *worker_main(void *arg)
{
    struct pool *pool = arg;
    enum pool_priority priority;

    pthread_setname_np(pthread_self(), pool->name);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct pool_work *work = take(pool, &priority);

        if (work != NULL) {
            pool->low_running += priority == POOL_LOW;
            pthread_mutex_unlock(&pool->lock);
            work->run(work);
            pthread_mutex_lock(&pool->lock);
            pool->low_running -= priority == POOL_LOW;
            finish(pool, work, 0);
        } else if (pool->closing) {
            break;
        } else {
            pthread_cond_wait(&pool->work_came, &pool->lock);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void stop_workers(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    pthread_cond_broadcast(&pool->work_came);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads_count; i++) {
        CHECK(pthread_join(pool->threads[i], NULL) == 0);
    }
}

static void pool_free(struct pool *pool)
{
    pthread_cond_destroy(&pool->work_came);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct pool *pool = handle->data;
    pool_close_cb cb = pool->close_cb;
    void *ctx = pool->close_ctx;

    pool_free(pool);
    cb(ctx);
}

static void on_wake(uv_async_t *wake)
{
    struct pool *pool = wake->data;
    struct list finished;
    struct list *link;

    list_init(&finished);
    pthread_mutex_lock(&pool->lock);
    list_splice(&finished, &pool->finished);
    pthread_mutex_unlock(&pool->lock);

    while ((link = list_pop(&finished)) != NULL) {
        struct pool_work *work = container_of(link, struct pool_work, link);

        pool->load--;
        work->done(work, work->rc);
    }
    if (pool->load != 0) {
        return;
    }
    if (pool->close_cb == NULL) {
        uv_unref((uv_handle_t *)&pool->wake); /* an idle pool does not keep the loop running */
    } else if (!uv_is_closing((uv_handle_t *)&pool->wake)) {
        stop_workers(pool);
        uv_close((uv_handle_t *)&pool->wake, on_wake_closed);
    }
}

static int start_workers(struct pool *pool, unsigned threads)
{
    int rc = 0;

    while (rc == 0 && pool->threads_count < threads) {
        rc = loop_thread_start(&pool->threads[pool->threads_count], worker_main, pool);
        pool->threads_count += rc == 0;
    }
    return rc;
}

int pool_new(uv_loop_t *loop, const char *name, unsigned threads, unsigned queue_max,
             struct pool **ret_pool)
{
    struct pool *pool = mem_zalloc(sizeof *pool);
    int rc;

    CHECK(threads > 0 && queue_max > 0);
    *ret_pool = NULL;
    pool->queue_max = queue_max;
    pool->threads = mem_array(threads, sizeof *pool->threads);
    pool->low_running_max = threads > 1 ? threads - 1 : 1;
    snprintf(pool->name, sizeof pool->name, "%s", name);
    list_init(&pool->high);
    list_init(&pool->low);
    list_init(&pool->finished);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_came, NULL);

    rc = start_workers(pool, threads);
    if (rc == 0) {
        rc = uv_async_init(loop, &pool->wake, on_wake);
    }
    if (rc != 0) {
        stop_workers(pool);
        pool_free(pool);
        return rc;
    }
    pool->wake.data = pool;
    uv_unref((uv_handle_t *)&pool->wake);
    *ret_pool = pool;
    return 0;
}

void pool_limit_low(struct pool *pool, unsigned running_max)
{
    CHECK(running_max > 0);
    pthread_mutex_lock(&pool->lock);
    if (running_max < pool->low_running_max) {
        pool->low_running_max = running_max;
    }
    pthread_mutex_unlock(&pool->lock);
}

int pool_submit(struct pool *pool, struct pool_work *work, enum pool_priority priority,
                pool_run_cb run, pool_done_cb done)
{
    CHECK(pool->close_cb == NULL);
    if (pool->load == pool->queue_max) {
        return ERR_BUSY;
    }
    if (pool->load++ == 0) {
        uv_ref((uv_handle_t *)&pool->wake);
    }
    work->run = run;
    work->done = done;

    pthread_mutex_lock(&pool->lock);
    work->waiting = true;
    list_push(priority == POOL_HIGH ? &pool->high : &pool->low, &work->link);
    pthread_cond_signal(&pool->work_came);
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

bool pool_cancel(struct pool *pool, struct pool_work *work)
{
    bool waited;

    pthread_mutex_lock(&pool->lock);
    waited = work->waiting;
    if (waited) {
        list_remove(&work->link);
        finish(pool, work, ERR_CANCELED);
    }
    pthread_mutex_unlock(&pool->lock);
    return waited;
}

unsigned pool_load(const struct pool *pool)
{
    return pool->load;
}

void pool_close(struct pool *pool, pool_close_cb cb, void *ctx)
{
    struct list waiting;
    struct list *link;

    CHECK(pool->close_cb == NULL && cb != NULL);
    pool->close_cb = cb;
    pool->close_ctx = ctx;
    uv_ref((uv_handle_t *)&pool->wake);

    list_init(&waiting);
    pthread_mutex_lock(&pool->lock);
    list_splice(&waiting, &pool->high);
    list_splice(&waiting, &pool->low);
    while ((link = list_pop(&waiting)) != NULL) {
        finish(pool, container_of(link, struct pool_work, link), ERR_CANCELED);
    }
    pthread_mutex_unlock(&pool->lock);
    CHECK(uv_async_send(&pool->wake) == 0); /* when nothing was in flight */
}
