/* The map: where each cluster of each volume is in the backend.
 *
 * Pages of 512 locations in one page cache for all volumes, over a local store that is only a
 * cache: what is stored is exactly the state after the last SCO applied, or is dropped and
 * rebuilt from the backend (FORMAT.md, section 4). Loop thread only; store accesses run
 * in a pool. Nothing here is durable.
 *
 * After an error of the store (ERR_FAILED, ERR_CORRUPT) nothing can be had of a volume's map until
 * map_volume_reset() has emptied it; on_fail tells. While the store cannot be written it is
 * read all the same, and what would write fails. When its disk takes data again it is dropped and
 * made anew: then the maps of all volumes fail. */
#ifndef VOLUMEDRIVER_MAP_H
#define VOLUMEDRIVER_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/table.h"
#include "loop/pool.h"
#include "volumedriver/checkpoint.h"
#include "volumedriver/sco.h"
#include "volumedriver/uuid.h"

enum {
    MAP_PAGE_CLUSTERS = 512,
    MAP_BUDGET_BYTES_MIN = 16 * 1048576,
    MAP_LOOKUP_CLUSTERS_MAX = 16384,
};

struct map;
struct map_volume;
struct map_lookup;
typedef void (*map_lookup_cb)(struct map_lookup *lookup, int rc);

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
    uint8_t uuid[UUID_BYTES];
    uint64_t id;
    uint64_t epoch;
    uint8_t root_id[UUID_BYTES];      /* of the root the map started from */
    uint8_t next_root_id[UUID_BYTES]; /* of the one that is being put */
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
    struct list tasks; /* struct map_task: one runs, the others wait */
    struct list trails;
    unsigned loads;        /* of pages, in the pool */
    unsigned parts;        /* of a checkpoint, likewise */
    struct pool_work turn; /* steps the tasks, and ends a close */
    bool turning;
    bool closing;
    bool storing; /* a task is in the pool */
    int failed;
    struct err err; /* says why, if failed != 0 */
    /* The owner's, may be NULL: it has just failed. May ask nothing of the map. */
    void (*on_fail)(struct map_volume *mv);
    struct list link;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

/* Where `count` clusters from `cluster` on are. */
struct map_lookup {
    uint64_t cluster;
    uint32_t count;
    uint64_t *locations; /* out, `count` entries; the caller's */

    uint32_t done; /* private from here on: clusters that are answered */
    struct list link;
    map_lookup_cb cb;
};

/* `dir` NULL is refused. Blocks. */
int map_open(uv_loop_t *loop, const char *dir, uint64_t budget_bytes, struct map **ret_map,
             struct err *e);
/* Volumes are closed before. */
void map_close(struct map *map, void (*cb)(void *ctx), void *ctx);
uint64_t map_cached_bytes(const struct map *map);
/* If not, wait with what makes it dirty: on_fail will come. */
bool map_can_store(const struct map *map);

void map_volume_init(struct map_volume *mv, struct map *map, const uint8_t uuid[UUID_BYTES]);
/* Cancels what waits (ERR_CANCELED), waits for what runs, drops what is not stored; then `cb`.
 * Nothing may be asked of it from here on. */
void map_volume_close(struct map_volume *mv, void (*cb)(void *ctx), void *ctx);

/* 0: done, no callback comes. 1: later, by `cb`. Negative: the map has failed. */
int map_lookup(struct map_volume *mv, struct map_lookup *lookup, map_lookup_cb cb);

#endif
