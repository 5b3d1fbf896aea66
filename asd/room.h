/* Room in the file system under a store, which others may fill as well: how much is left, and
 * the ballast, space kept to be given up when there is none. What holds when: README.md, "Full".
 *
 * Any thread, but for what is called at start-up and on the loop. Nothing here need survive a
 * power loss. */
#ifndef ASD_ROOM_H
#define ASD_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "loop/pool.h"

enum {
    ASD_ROOM_LOOK_MS = 1000,
    ASD_ROOM_MARGIN_MAX = 1 << 30,
    ASD_ROOM_MARGIN_PART = 20, /* of the capacity, or of the file system if that is smaller */
    ASD_ROOM_BALLAST_MAX = 64 << 20,
    ASD_ROOM_BALLAST_PART = 64,
    /* Without so much RocksDB is not opened: 7.8 aborts when it cannot write its LOG. */
    ASD_ROOM_OPEN_BYTES = 1 << 20,
};

struct asd_home;
struct asd_index;
struct asd_index_rocksdb_options;

struct asd_room {
    char *home_path;
    char *ballast_path;
    uint64_t size_bytes;   /* of the file system, without what only root may use */
    uint64_t margin_bytes; /* for RocksDB's files, logs, and Applies with the reserve flag */
    uint64_t ballast_bytes;
    uv_mutex_t lock;                    /* held while looking */
    bool has_ballast;                   /* these: under lock */
    bool no_ballast;                    /* it cannot be laid here */
    bool blind;                         /* the file system does not say */
    atomic_uint_fast64_t keep_bytes;    /* from those without reserve */
    atomic_uint_fast64_t written_bytes; /* by commits */
    atomic_uint_fast64_t full_at;       /* written_bytes when nothing would be left */
    struct pool *pool; /* these: loop, while it is watched; NULL: nobody looks by himself */
    struct pool_work work;
    uv_timer_t timer;
    bool looking;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

/* `capacity_bytes`: as configured, or 0. */
int asd_room_init(struct asd_room *room, const char *home_path, uint64_t capacity_bytes,
                  struct err *e);
void asd_room_release(struct asd_room *room); /* accepts {0} */

/* Open the index where there may be no room for it: gives up the ballast when it must. -ENOSPC:
 * there is too little even so. */
int asd_room_open_index(struct asd_room *room, const struct asd_home *home,
                        const struct asd_index_rocksdb_options *options,
                        struct asd_index **ret_index, struct err *e);

/* Ask the file system; lay the ballast when there is room, give it up when there is none. */
void asd_room_look(struct asd_room *room);
/* Do so in a thread, now and every ASD_ROOM_LOOK_MS, until closed. */
int asd_room_watch(struct asd_room *room, uv_loop_t *loop, struct err *e);
/* `cb` comes later unless it was not watched. */
void asd_room_close(struct asd_room *room, void (*cb)(void *ctx), void *ctx);

/* As of the last look, less what was written since. */
uint64_t asd_room_left(struct asd_room *room);
/* Is there room for so many bytes more? With `reserve` the margin may be used. */
bool asd_room_has(struct asd_room *room, uint64_t bytes, bool reserve);
/* Before a commit is written: with little room left that is looked at anew, as others on the
 * file system may have taken it since. */
void asd_room_ready(struct asd_room *room);
void asd_room_wrote(struct asd_room *room, uint64_t bytes);
/* What a store that uses `used_bytes` may come to use. */
uint64_t asd_room_capacity(struct asd_room *room, uint64_t used_bytes);

#endif
