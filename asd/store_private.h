/* The inside of a store, shared by store.c, front.c, commit*.c, reclaim.c and read*.c. */
#ifndef ASD_STORE_PRIVATE_H
#define ASD_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "asd/evacuate.h"
#include "asd/health.h"
#include "asd/home.h"
#include "asd/index.h"
#include "asd/mark.h"
#include "asd/results.h"
#include "asd/space.h"
#include "asd/store.h"
#include "base/err.h"
#include "base/list.h"
#include "loop/pool.h"

/* Counted by several threads, read by asd_store_stats(). */
struct asd_counters {
    atomic_uint_fast64_t used_bytes;
    atomic_uint_fast64_t applies, asserts_failed, refused_full, updates;
    atomic_uint_fast64_t batches, fdatasyncs, index_syncs;
    atomic_uint_fast64_t slab_write_bytes, index_write_bytes;
    atomic_uint_fast64_t reads, reads_hot, read_bytes, bad_values, read_errors;
    atomic_uint_fast64_t refused_checksum;
    atomic_uint_fast64_t frees, punches, punched_bytes, slabs_unlinked;
    atomic_uint_fast64_t moves, moves_lost, moved_bytes, slabs_evacuated;
};

/* health.c */
struct asd_health_state {
    atomic_int_fast64_t score;
    atomic_uint_fast64_t places[ASD_HEALTH_PLACES]; /* the last that could not be read */
    atomic_uint next_place;
    atomic_bool reads_fail;
};

static inline void asd_count(atomic_uint_fast64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/* One group commit. Commit thread only. */
struct asd_commit {
    struct list members; /* struct asd_store_apply.op.link, in order */
    bool full;           /* these three: settings, as of when the batch was formed */
    uint64_t usable_bytes;
    uint64_t reserve_bytes; /* the last of them, for asd_apply.flags & ASD_APPLY_RESERVE */
    int rc;                 /* out: not 0 means the store is out of service */
    struct err err;

    uint64_t used_bytes; /* these two: as in the usage record */
    uint64_t number;
};

struct asd_store {
    uv_loop_t *loop; /* of the first front */
    struct asd_front *front;
    struct asd_home *home;
    struct asd_index *index;
    struct asd_space space;
    struct asd_mark mark; /* written by the commit thread, flushed by the reclaim thread */
    atomic_bool moved;    /* there are moves that the mark was not flushed behind */
    struct asd_counters counters;
    struct asd_results results;
    struct asd_health_state health;
    atomic_bool verify_checksums;
    unsigned ring_depth;      /* of each front; 0: none */
    struct asd_commit commit; /* commit thread */
    struct asd_room *room;    /* borrowed; NULL: there is always room */
    pthread_t commit_thread;

    atomic_uint apply_count; /* of all fronts, not called back yet */
    atomic_uint_fast64_t apply_bytes;

    uv_mutex_t lock;  /* held shortly: nobody reads, writes or calls back under it */
    uv_cond_t came;   /* an apply waits, or `stopping` */
    struct list high; /* these: under lock; applies that wait, by priority */
    struct list low;
    bool stopping;
    bool has_front; /* the first one may be woken */
    unsigned fronts;
    uint64_t capacity_bytes;
    unsigned limit_percent;
    bool full;

    atomic_bool failed; /* set under lock, when failed_err is written */
    struct err failed_err;
    bool failed_told; /* loop */
    asd_store_failed_cb on_failed;
    void *failed_ctx;

    struct pool *reclaim_pool; /* loop from here on */
    struct pool_work reclaim;
    bool reclaim_running;
    bool reclaim_again; /* it met what passes */
    int reclaim_rc;
    struct err reclaim_err;
    uv_timer_t reclaim_timer;
    uv_async_t reclaim_wake;
    unsigned punch_delay_ms;
    struct asd_evacuation evacuation;

    bool closing;
    unsigned closing_parts;
    asd_store_close_cb close_cb;
    void *close_ctx;
};

/* From where a value is to be moved, unchanged, to the active slab. */
struct asd_move {
    uint64_t slab;
    uint64_t offset;
    uint32_t crc; /* as its record has it */
};

/* Submit a move, at Low priority, through the first front: `what` is one update, which sets the
 * key to what it holds (its bytes, checked, its flag and its checksum). As asd_store_apply(), but
 * for these:
 * ERR_ASSERT_FAILED if the key's value no longer lies there: the move is lost, and no harm done;
 * ERR_CORRUPT if the bytes are not those of the record; ERR_FULL only when the disk has no space
 * for the copy. A move uses no more bytes, so neither `limit` nor SetFull stop it. */
int asd_store_move(struct asd_store *store, struct asd_store_apply *apply,
                   const struct asd_apply *what, const struct asd_move *move, asd_store_cb cb);

/* Commit thread: commit->members. Leaves rc and err in each member. commit.c */
void asd_commit_run(struct asd_store *store);

/* Takes the store out of service: what waits gets ERR_FAILED. Any thread. commit_queue.c */
void asd_store_fail(struct asd_store *store, const struct err *e);

/* recover.c, at start-up: reads what the index knows about itself and settles what a crash
 * left; a fresh home gets its identity. */
int asd_store_recover(struct asd_store *store, struct err *e);

/* reclaim.c, loop thread */
void asd_reclaim_init(struct asd_store *store);
void asd_reclaim_soon(struct asd_store *store);

#endif
