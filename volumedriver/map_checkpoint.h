/* Builds the parts of a map checkpoint from the local store, one part in memory at a time.
 *
 * map_checkpoint_begin() stores what is in memory and freezes that state; changes of the
 * map go on meanwhile. Then map_checkpoint_next() until `last`, then map_checkpoint_end(). Loop
 * thread only; the work is done in the map's pool. */
#ifndef VOLUMEDRIVER_MAP_CHECKPOINT_H
#define VOLUMEDRIVER_MAP_CHECKPOINT_H

#include "volumedriver/map_task.h"

struct map_checkpoint;
typedef void (*map_checkpoint_cb)(struct map_checkpoint *cp, int rc);

struct map_range {
    uint64_t cluster;
    uint64_t end;
};

struct map_checkpoint {
    struct err err;         /* out: says why, if rc != 0 */
    struct map_place place; /* out of begin: the state that it holds */
    uint64_t upto_ordinal;  /* out of begin */
    uint32_t ordinal;       /* out of begin: its own number */
    struct buf object;      /* out of next: a part; the caller releases it */
    bool last;              /* out of next: no more parts behind this one */

    void *owner; /* the caller's, set behind begin() */

    struct map_volume *mv; /* private from here on */
    bool full;
    bool started;
    struct map_task task;
    struct map_iter *iter;
    struct sco_entry *rows;
    uint32_t row_count;
    uint32_t row;             /* next one to tell */
    struct map_range *ranges; /* of a delta: what changed, sorted, disjoint */
    uint32_t range_count;
    uint32_t range_cap;
    uint32_t range;
    uint64_t cluster; /* next one within it */
    uint64_t page;    /* held in `locations`, when has_page */
    bool has_page;
    uint64_t locations[MAP_PAGE_CLUSTERS];
    struct checkpoint_header header;
    struct pool_work work;
    int rc;
    map_checkpoint_cb cb;
};

/* `full`: the whole map (a base), else what changed since the last root. */
void map_checkpoint_begin(struct map_volume *mv, struct map_checkpoint *cp, bool full,
                          map_checkpoint_cb cb);
/* The next part, as object `number` made under `epoch`. */
void map_checkpoint_next(struct map_checkpoint *cp, uint64_t number, uint64_t epoch,
                         map_checkpoint_cb cb);
/* Frees what it holds. Nothing may be under way. */
void map_checkpoint_end(struct map_checkpoint *cp);

#endif
