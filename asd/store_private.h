/* The inside of a store, shared by store.c, commit.c, reclaim.c and read*.c. */
#ifndef ASD_STORE_PRIVATE_H
#define ASD_STORE_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "asd/home.h"
#include "asd/index.h"
#include "asd/mark.h"
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
    atomic_uint_fast64_t moves, moves_lost, moved_bytes;
};

/* health.c */
struct asd_health_state {
    atomic_int_fast64_t score;
    atomic_uint_fast64_t last_place;
    atomic_bool reads_fail;
};

static inline void asd_count(atomic_uint_fast64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/* One group commit. The loop fills it while idle; the commit thread owns it while it runs. */
struct asd_commit {
    struct pool_work work;
    struct list members; /* struct asd_store_apply.op.link, in order */
    bool running;
    bool full; /* these three: settings, as of when the batch was formed */
    uint64_t usable_bytes;
    uint64_t reserve_bytes; /* the last of them, for asd_apply.flags & ASD_APPLY_RESERVE */
    int rc;                 /* out: not 0 means the store is out of service */
    struct err err;

    uint64_t used_bytes; /* these two: commit thread, as in the usage record */
    uint64_t number;
};

struct asd_store {
    uv_loop_t *loop;
    struct asd_home *home;
    struct asd_index *index;
    struct asd_space space;
    struct asd_mark mark; /* commit thread */
    struct asd_counters counters;
    struct asd_health_state health;
    atomic_bool verify_checksums;

    uint64_t capacity_bytes;
    unsigned limit_percent;
    bool full;
    struct asd_room *room; /* borrowed; NULL: there is always room */

    struct list high; /* applies that wait, by priority */
    struct list low;
    unsigned apply_count; /* waiting or running */
    uint64_t apply_bytes;
    struct asd_commit commit;
    struct list finished; /* reads that needed no thread: callbacks at the end of the turn */
    uv_check_t gather;    /* forms a batch of all requests of one turn of the loop */
    uv_idle_t gather_now;

    struct pool *commit_pool;
    struct pool *read_pool;
    struct pool *reclaim_pool;

    struct pool_work reclaim;
    bool reclaim_running;
    bool reclaim_again; /* a punch found no space */
    int reclaim_rc;
    struct err reclaim_err;
    uv_timer_t reclaim_timer;
    uv_async_t reclaim_wake;
    unsigned punch_delay_ms;

    bool failed;
    struct err failed_err;
    asd_store_failed_cb on_failed;
    void *failed_ctx;

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

/* Submit a move at Low priority: `what` is one update, which sets the key to what it holds (its
 * bytes, checked, its flag and its checksum). As asd_store_apply(), but for these:
 * ERR_ASSERT_FAILED if the key's value no longer lies there: the move is lost, and no harm done;
 * ERR_CORRUPT if the bytes are not those of the record; ERR_FULL only when the disk has no space
 * for the copy. A move uses no more bytes, so neither `limit` nor SetFull stop it. */
int asd_store_move(struct asd_store *store, struct asd_store_apply *apply,
                   const struct asd_apply *what, const struct asd_move *move, asd_store_cb cb);

/* Commit thread: commit->members. Leaves rc and err in each member. commit.c */
void asd_commit_run(struct asd_store *store);

/* recover.c, at start-up: reads what the index knows about itself and settles what a crash
 * left; a fresh home gets its identity. */
int asd_store_recover(struct asd_store *store, struct err *e);

/* reclaim.c, loop thread */
void asd_reclaim_init(struct asd_store *store);
void asd_reclaim_soon(struct asd_store *store);

/* At the end of this turn of the loop: form a batch, run the callbacks of finished reads. Loop
 * thread. store.c */
void asd_store_gather(struct asd_store *store);
/* Run those callbacks. read.c */
void asd_read_finish(struct asd_store *store);

/* Takes the store out of service. Loop thread. store.c */
void asd_store_fail(struct asd_store *store, const struct err *e);

#endif
