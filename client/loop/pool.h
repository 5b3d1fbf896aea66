/* A bounded set of worker threads for calls that block, one per disk or per kind
 * of work, so that one slow disk cannot hold the threads of another.
 *
 * pool_submit -> (worker) run -> (loop) done. The loop thread owns the pool; `run`
 * touches only its own work item and constants, or what it locks itself. Work runs
 * in submission order within a priority, High before Low (one Low item is taken
 * after POOL_HIGH_BURST High ones, so Low never starves). Low items leave one thread
 * free, or more (pool_limit_low), so that a High one does not wait behind them (with one
 * thread: at most one).
 * An idle pool does not keep uv_run() from returning. */
#ifndef LOOP_POOL_H
#define LOOP_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"

enum { POOL_HIGH_BURST = 16 };
enum pool_priority { POOL_HIGH, POOL_LOW };

struct pool_work;
typedef void (*pool_run_cb)(struct pool_work *work);
/* rc is 0, or ERR_CANCELED when `run` never ran. May free or resubmit `work`. */
typedef void (*pool_done_cb)(struct pool_work *work, int rc);

struct pool_work { /* embedded by the caller; private while submitted */
    struct list link;
    pool_run_cb run;
    pool_done_cb done;
    bool waiting; /* under the pool's lock */
    int rc;
};

struct pool;
typedef void (*pool_close_cb)(void *ctx);

/* `name` (<= 15 characters) names the threads; it is copied. `queue_max` bounds
 * items that wait or run. Fails only when threads cannot be made (*ret_pool NULL). */
int pool_new(uv_loop_t *loop, const char *name, unsigned threads, unsigned queue_max,
             struct pool **ret_pool);
/* At most so many Low items run at once, and never more than leave a thread free. */
void pool_limit_low(struct pool *pool, unsigned running_max);
/* 0: `done` will run exactly once on the loop, later. ERR_BUSY: queue full, nothing started. */
int pool_submit(struct pool *pool, struct pool_work *work, enum pool_priority priority,
                pool_run_cb run, pool_done_cb done);
/* Of an item whose `done` has not run. True: it had not begun; `done` gets ERR_CANCELED, later. */
bool pool_cancel(struct pool *pool, struct pool_work *work);
unsigned pool_load(const struct pool *pool); /* items waiting or running */
/* Items that have not started get ERR_CANCELED; running ones finish; then `cb`, then
 * the pool is freed. No submits from here on. */
void pool_close(struct pool *pool, pool_close_cb cb, void *ctx);

#endif
