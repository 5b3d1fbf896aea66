/* The map: where each cluster of each volume is in the backend.
 *
 * Pages of 512 locations in one page cache for all volumes, over a local store that is only a
 * cache: what is stored is exactly the state after the last SCO applied, or is dropped and
 * rebuilt from the backend (FORMAT.md, section 4). Loop thread only; store accesses run
 * in a pool. Nothing here is durable.
 *
 * An error of the store (ERR_FAILED, ERR_CORRUPT) is final for the volume: close it and open
 * it again with map_volume_reset(). */
#ifndef VOLUMEDRIVER_MAP_H
#define VOLUMEDRIVER_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include <uthash.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "loop/pool.h"
#include "volumedriver/checkpoint.h"
#include "volumedriver/sco.h"

enum {
    MAP_PAGE_CLUSTERS = 512,
    MAP_BUDGET_BYTES_MIN = 16 * 1048576,
    MAP_LOOKUP_CLUSTERS_MAX = 16384,
};

struct map;
struct map_volume;
struct map_lookup;
struct map_task;
typedef void (*map_lookup_cb)(struct map_lookup *lookup, int rc);
typedef void (*map_task_cb)(struct map_task *task, int rc);

/* A row of the SCO table, in memory. */
struct sco_row {
    struct sco_entry entry;
    uint32_t changed; /* number of the checkpoint that has to tell */
    bool dirty;       /* not in the store yet */
    struct list link; /* private: of the dirty ones */
    UT_hash_handle hh;
};

struct map_place { /* in a volume's chain of SCOs */
    uint64_t number;
    uint64_t seq;
};

struct map_volume {
    struct map *map; /* private, but read what has a comment */
    uint8_t uuid[16];
    uint64_t id;
    uint64_t epoch;
    uint8_t root_id[16];      /* of the root the map started from */
    uint8_t next_root_id[16]; /* of the one that is being put */
    uint32_t generation;
    bool keeps_zeroes;        /* an ancestor may show through: zero is not nothing */
    bool valid;               /* the store's content is that of `applied` */
    struct map_place applied; /* in memory */
    uint64_t ordinal;         /* SCOs applied since the store began */
    struct map_place stored;
    uint64_t stored_ordinal;
    uint32_t root_ordinal; /* of the last checkpoint in a root */
    uint32_t next_ordinal; /* of the one that rows changed now go into */
    struct sco_row *scos;  /* uthash by number */
    struct list dirty_scos;
    struct list pages;
    struct list dirty;
    uint32_t dirty_count;
    struct list lookups;
    struct list tasks; /* one runs, the others wait */
    struct list trails;
    unsigned loads;
    int failed;
    struct list link;
};

/* Where `count` clusters from `cluster` on are. */
struct map_lookup {
    uint64_t cluster;
    uint32_t count;
    uint64_t *locations; /* out, `count` entries; the caller's */

    struct list link; /* private */
    map_lookup_cb cb;
};

struct map_run {
    uint64_t cluster;
    uint64_t source; /* of a gc SCO: change only what holds this (and the places after it) */
    uint64_t location;
    uint32_t count;
};

enum map_task_kind { MAP_TASK_LOAD, MAP_TASK_RESET, MAP_TASK_APPLY, MAP_TASK_FLUSH, MAP_TASK_META };

/* A change or a store operation of one volume; they take turns in the order asked. */
struct map_task {
    struct err err; /* out: says why, if rc != 0 */
    bool found;     /* out, of map_volume_load() */

    uint8_t kind; /* private from here on */
    bool live;    /* count live clusters */
    bool gc;
    bool sco;
    struct map_volume *mv;
    struct map_run *runs; /* owned */
    uint32_t count;
    uint32_t run;
    uint32_t done; /* clusters of that run */
    struct sco_entry row;
    uint64_t last_seq;
    struct list link;
    struct pool_work turn;
    bool begun;
    uint64_t upto;
    struct map_iter **freeze; /* of a flush: made when it is done */
    map_task_cb cb;
};

/* `dir` NULL is refused. Blocks. */
int map_open(uv_loop_t *loop, const char *dir, uint64_t budget_bytes, struct map **ret_map,
             struct err *e);
/* Volumes are closed before. */
void map_close(struct map *map, void (*cb)(void *ctx), void *ctx);
uint64_t map_cached_bytes(const struct map *map);

void map_volume_init(struct map_volume *mv, struct map *map, const uint8_t uuid[16]);
/* Drops what is not stored. No lookups or tasks may be under way. */
void map_volume_release(struct map_volume *mv);

/* Fetch what the store says: task->found, and then root ids, applied, the SCO table. */
void map_volume_load(struct map_volume *mv, struct map_task *task, map_task_cb cb);
/* Forget all, in memory and stored: an empty map, not valid until map_volume_begin(). */
void map_volume_reset(struct map_volume *mv, struct map_task *task, map_task_cb cb);
/* The map is that of this root's checkpoint; from here on what is stored may be used again. */
void map_volume_begin(struct map_volume *mv, const uint8_t root_id[16], uint32_t ordinal,
                      struct map_place place);

/* 0: done, no callback comes. 1: later, by `cb`. Negative: the map has failed. */
int map_lookup(struct map_volume *mv, struct map_lookup *lookup, map_lookup_cb cb);

/* Lay a SCO of the chain over the map and enter it in the SCO table. */
void map_apply_sco(struct map_volume *mv, struct map_task *task, const struct sco_footer *footer,
                   const struct sco_extent *extents, map_task_cb cb);
/* Lay runs of a checkpoint over it; takes over `runs` (malloc'ed). */
void map_apply_runs(struct map_volume *mv, struct map_task *task, struct map_run *runs,
                    uint32_t count, map_task_cb cb);
/* A row of a checkpoint's SCO table. */
void map_put_sco(struct map_volume *mv, const struct sco_entry *entry);
const struct sco_entry *map_find_sco(const struct map_volume *mv, uint64_t number);

/* Store what is in memory. */
void map_flush(struct map_volume *mv, struct map_task *task, map_task_cb cb);
/* Likewise, and *ret_iter will see exactly that. The caller frees it, also on failure. */
struct map_iter;
void map_freeze(struct map_volume *mv, struct map_task *task, struct map_iter **ret_iter,
                map_task_cb cb);
/* The root that is about to be put; a store that says so is good with either. */
void map_set_next_root(struct map_volume *mv, struct map_task *task, const uint8_t root_id[16],
                       map_task_cb cb);
/* It is the root now, and its checkpoint `ordinal` holds all up to `upto_ordinal`. */
void map_root_replaced(struct map_volume *mv, struct map_task *task, uint32_t ordinal,
                       uint64_t upto_ordinal, map_task_cb cb);

#endif
