/* The inside of a front, and of the queue between fronts and the commit thread. */
#ifndef ASD_FRONT_PRIVATE_H
#define ASD_FRONT_PRIVATE_H

#include <stdbool.h>

#include <uv.h>

#include "asd/front.h"
#include "asd/spare.h"
#include "asd/store.h"
#include "base/err.h"
#include "base/list.h"
#include "loop/pool.h"

/* One loop's access to a store. */
struct asd_front {
    struct asd_store *store;
    uv_loop_t *loop;
    struct list answered; /* applies done with, in order; under asd_store.lock */
    uv_async_t wake;      /* there are some, or the store has failed; sent under that lock */

    struct list high; /* loop from here on; these: applies of this turn, by priority */
    struct list low;
    struct list finished; /* requests that needed no thread: callbacks at the end of the turn */
    unsigned apply_count; /* not called back yet */
    uint64_t turn_ms;     /* when the loop last polled */
    uint64_t looked_ms;   /* earlier: what comes out of a socket now was not there yet */
    uv_check_t gather;    /* all applies of one turn of the loop go into one batch */
    uv_idle_t gather_now;
    struct pool *read_pool; /* NULL: closed */
    struct ring *ring;      /* NULL: none, or closed */
    struct list lacking;    /* reads that wait for memory of results; results.c */
    uv_timer_t results_timer;
    struct asd_spare spare;

    bool closing;
    unsigned closing_handles;
    asd_store_close_cb close_cb;
    void *close_ctx;
};

/* ---- commit_queue.c ---- */

int asd_commit_start(struct asd_store *store, struct err *e);
/* When no apply waits any more. Waits for the thread. */
void asd_commit_stop(struct asd_store *store);
/* The front's applies of this turn, all at once. Its loop. */
void asd_commit_take(struct asd_front *front);
/* All that waits of this front gets ERR_CANCELED. Its loop. */
void asd_commit_cancel(struct asd_front *front);
/* False: `op` does not wait for a batch. Its loop. */
bool asd_commit_cancel_one(struct asd_store_op *op);

/* ---- front.c: loop of the front ---- */

/* asd_front_close(), of the first one, too. */
void asd_front_end(struct asd_front *front, asd_store_close_cb cb, void *ctx);
/* `op` needs no thread: its callback comes at the end of this turn of the loop. */
void asd_front_finish(struct asd_front *front, struct asd_store_op *op);

#endif
