/* Emptying slabs of which little is left: their last values are moved to the active slab, then
 * they are unlinked as any dead slab.
 *
 * One slab at a time, at Low priority, no faster than a rate. It reads in a thread of its own and
 * submits moves (store_private.h, asd_store_move) on the loop: what clients do meanwhile wins.
 * Calls: loop thread. Part of struct asd_store; private to the store. */
#ifndef ASD_EVACUATE_H
#define ASD_EVACUATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "loop/pool.h"

enum {
    /* Read and not yet moved; or one value, if that is larger. */
    ASD_EVACUATE_BYTES_MAX = 8 * 1048576,
    ASD_EVACUATE_MOVES_MAX = 256,
    ASD_EVACUATE_RETRY_MS = 1000,      /* after what cannot be done now: no room, too much waits */
    ASD_EVACUATE_RETRY_MS_MAX = 60000, /* doubles up to that */
    ASD_EVACUATE_INDEX_TRIES = 8,      /* of a step, if it is the index that fails */
};

struct asd_store;
struct asd_evacuate_move;

enum asd_evacuate_state {
    ASD_EVACUATE_IDLE,
    ASD_EVACUATE_WAITING, /* for the timer */
    ASD_EVACUATE_READING, /* in the thread */
    ASD_EVACUATE_MOVING,
};

/* What of the slab a step looks at. */
enum asd_evacuate_pass {
    ASD_EVACUATE_NAMES,
    ASD_EVACUATE_VALUES, /* all of the store's: when names were missing */
};

/* Private. */
struct asd_evacuation {
    struct pool *pool;
    struct pool_work work;
    uv_timer_t timer;
    atomic_int state;          /* enum asd_evacuate_state */
    atomic_uint_fast64_t rate; /* bytes per second; 0: off */

    uint64_t slab; /* these: not IDLE */
    bool has_slab;
    uint64_t slab_moves;
    enum asd_evacuate_pass pass;
    struct buf from;      /* index key where the step begins; empty: where the pass does */
    unsigned tries;       /* of the step, in vain */
    uint64_t step_bytes;  /* these: while WAITING; what the step before read */
    uint64_t rate_waited; /* the rate that the wait is for */

    atomic_bool stop;  /* what runs in the thread is to end soon */
    struct buf next;   /* these: the thread's while READING: where the next step begins */
    bool at_end;       /* there is none */
    atomic_bool again; /* the step is to be done once more, later */
    int bad_rc;        /* not 0: a value cannot be moved, bad_err says why */
    struct err bad_err;
    struct asd_evacuate_move *moves[ASD_EVACUATE_MOVES_MAX];
    size_t move_count;
    uint64_t move_bytes;
    uint64_t seen_bytes; /* of the index */

    size_t waiting; /* for answers */
};

/* `rate` as set later. The caller makes the pool before, and closes it with the timer. */
void asd_evacuate_init(struct asd_store *store, uint64_t rate);
void asd_evacuate_soon(struct asd_store *store); /* if there is something to do */
/* Under way, or about to be; not while there is no room to move anything. Any thread. */
bool asd_evacuate_is_busy(struct asd_store *store);
void asd_evacuate_stop(struct asd_store *store); /* the store closes */
/* The pool and the timer are closed, every move is answered. */
void asd_evacuate_release(struct asd_store *store);

#endif
