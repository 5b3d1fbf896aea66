/* The store of one ASD: keys, values, and one way to change them, the transaction.
 *
 * One loop thread opens and closes a store. Requests go through a front, one loop's access to
 * it; that loop makes them and gets their callbacks. Work runs in the store's own threads.
 * A transaction is durable once its callback reports 0, and not before; one that
 * reports ERR_FAILED or ERR_CANCELED may have happened, wholly, or not at all. Reads see
 * durable transactions only and never wait for a commit. After a failed write, flush or index
 * write every apply of every front gets ERR_FAILED until the process starts anew; reads go on.
 * Bytes on disk and what a crash leaves: FORMAT.md. */
#ifndef ASD_STORE_H
#define ASD_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "asd/store_stats.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "loop/pool.h"
#include "wire/asd_request.h"

enum {
    ASD_STORE_INLINE_BYTES_MAX = 16383, /* longer values go to a slab */
    ASD_STORE_KEY_BYTES_MAX = ASD_KEY_BYTES_MAX,
    ASD_STORE_VALUE_BYTES_MAX = ASD_FRAME_BYTES_MAX - 112, /* a get can reply it */
    ASD_STORE_ITEMS_MAX = 65536, /* keys, parts, asserts or updates of one request */
    /* Applies that wait or run, of all fronts, and keys and values in them; more: ERR_BUSY. */
    ASD_STORE_APPLIES_MAX = 4096,
    ASD_STORE_APPLY_BYTES_MAX = 512 * 1048576,
    ASD_STORE_APPLY_ITEM_BYTES = 400, /* counted for each assert and update: what it becomes */
    ASD_STORE_READ_THREADS = 8,
    ASD_STORE_RESERVE_PERCENT = 2 /* of what may be used: for those with the reserve flag */
};

struct io;
struct asd_front;
struct asd_home;
struct asd_index;
struct asd_results_owner;
struct asd_room;
struct asd_store;
struct asd_store_op;
typedef void (*asd_store_cb)(struct asd_store_op *op, int rc);
typedef void (*asd_store_close_cb)(void *ctx);
typedef void (*asd_store_failed_cb)(void *ctx, const struct err *e);

/* How many commits a store has put into its index: an asd_index_count_cb. */
int asd_store_count_commits(struct asd_index *index, uint64_t *ret_commits, struct err *e);

struct asd_store_options {
    struct asd_home *home;   /* borrowed; a fresh one gets its identity at the end of open */
    struct asd_index *index; /* closed with the store, not when open fails */
    uint64_t capacity_bytes;
    unsigned limit_percent;    /* this part of the capacity may be used, the reserve included */
    uint64_t slab_bytes;       /* of new slab files; 0: 4 GiB */
    unsigned sparse_part;      /* slabs of which 1/that lives are emptied; 0: 8 */
    uint64_t evacuation_rate;  /* so many bytes per second; 0: not */
    unsigned read_threads;     /* of the first front; 0: ASD_STORE_READ_THREADS */
    uint64_t result_bytes_max; /* of values read and not released; 0: 64 MiB */
    unsigned ring_depth;     /* of each front: small reads with the kernel at once; 0: in threads */
    bool verify_checksums;   /* as asd_store_verify_checksums() */
    unsigned punch_delay_ms; /* gather frees this long; 0: punch at once */
    struct asd_room *room;   /* borrowed; NULL: there is always room */
    asd_store_failed_cb on_failed; /* once, when it goes out of service; NULL: nobody asks */
    void *failed_ctx;
};

/* Opens, and settles what a crash left, with a first front on `loop`. Blocks; call it before the
 * loop serves anybody. On failure *ret_store is NULL and *e names the file. */
int asd_store_open(uv_loop_t *loop, const struct asd_store_options *options,
                   struct asd_store **ret_store, struct err *e);
/* When all fronts but the first are closed; that one closes with it. Then `cb`, and the store,
 * its index included, is gone. */
void asd_store_close(struct asd_store *store, asd_store_close_cb cb, void *ctx);

struct asd_front *asd_store_front(struct asd_store *store); /* the first one; others: front.h */
/* For each of so many fronts: together ASD_STORE_READ_THREADS, but two at least, so that a read
 * at High need not wait for one at Low. */
unsigned asd_store_read_threads(unsigned fronts);

/* Head of every request. The caller owns a request and everything it points to again in
 * the callback, which runs exactly once, later, if the submit returned 0. */
struct asd_store_op {
    struct err err; /* out: says why, if rc != 0 */

    struct asd_store *store; /* private from here on */
    struct asd_front *front;
    struct list link;
    struct pool_work work;
    struct asd_ring_op *in_ring; /* NULL: not there */
    bool in_pool;
    bool waiting; /* for memory of results */
    bool canceled;
    bool queued;     /* under asd_store.lock: waits for a batch */
    pool_run_cb run; /* of a read; these, too: */
    bool low;
    struct asd_results_owner *owner;
    uint64_t result_bytes;     /* memory it holds */
    uint64_t giant_bytes;      /* the same, of a giant */
    uint64_t lacking_bytes;    /* waits for so many; 0: does not */
    uint64_t lacking_since_ms; /* 0: never waited */
    asd_store_cb cb;
    int rc;
};

/* Of a request not called back yet, on its loop. True: it had not begun and will not; the callback
 * comes later, with ERR_CANCELED. False: it runs, or has run; the callback comes as it would. */
bool asd_store_cancel(struct asd_store_op *op);

struct asd_store_apply {
    struct asd_store_op op;
    struct slice failed_key; /* out, for ERR_ASSERT_FAILED, ERR_CHECKSUM, ERR_CORRUPT: in `what` */

    const struct asd_apply *what; /* private from here on */
    const struct asd_move *move;  /* NULL: a client's */
    uint64_t bytes;
    uint64_t came_ms;                           /* into its socket, or later */
    bool (*is_wanted)(struct asd_store_op *op); /* asd_front_ask(); NULL: it is */
    bool low;
};

/* `prio`: enum asd_prio; 0 is high. At once: -EINVAL, ERR_BUSY, ERR_FAILED, ERR_TOO_LARGE. In the
 * callback: ERR_ASSERT_FAILED (what judged it is durable), ERR_FULL, ERR_BUSY (no descriptor),
 * ERR_FAILED, ERR_CANCELED, ERR_CHECKSUM, ERR_CORRUPT (an asserted value), or the index's error. */
int asd_store_apply(struct asd_front *front, struct asd_store_apply *apply,
                    const struct asd_apply *what, uint8_t prio, asd_store_cb cb);

/* ---- settings and figures: any thread ---- */

void asd_store_set_full(struct asd_store *store, bool full); /* until told otherwise or restart */
void asd_store_set_limits(struct asd_store *store, uint64_t capacity_bytes, unsigned limit_percent);
/* Compare the client's checksum, if it gave one, with each value set from now on: ERR_CHECKSUM for
 * an apply with one that is wrong. */
void asd_store_verify_checksums(struct asd_store *store, bool verify);
void asd_store_set_evacuation_rate(struct asd_store *store, uint64_t bytes_per_second);
/* True once a write, flush or index write has failed; *ret_err (may be NULL) says which. */
bool asd_store_failed(const struct asd_store *store, struct err *ret_err);

/* Are there reads that wait for memory of results (asd/results.h)? How many. */
unsigned asd_store_reads_waiting(const struct asd_store *store);
struct asd_store_stats asd_store_stats(struct asd_store *store);

#endif
