/* Changes and store operations of one volume's map; they take turns in the order asked.
 *
 * The caller owns a task until its callback, which comes exactly once, later. Loop thread only.
 * When the volume's map has failed or is closed, what has not run ends with that error. */
#ifndef VOLUMEDRIVER_MAP_TASK_H
#define VOLUMEDRIVER_MAP_TASK_H

#include "volumedriver/map.h"
#include "volumedriver/uuid.h"

struct map_task;
typedef void (*map_task_cb)(struct map_task *task, int rc);

struct map_run {
    uint64_t cluster;
    uint64_t source; /* of a gc SCO: change only what holds this (and the places after it) */
    uint64_t location;
    uint32_t count;
};

enum map_task_kind { MAP_TASK_LOAD, MAP_TASK_RESET, MAP_TASK_APPLY, MAP_TASK_FLUSH, MAP_TASK_META };

struct map_task {
    struct err err; /* out: says why, if rc != 0 */
    bool found;     /* out, of map_volume_load() */

    enum map_task_kind kind; /* private from here on */
    bool live;               /* count live clusters */
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
    bool begun;
    uint64_t upto;
    struct map_iter **freeze; /* of a flush: made when it is done */
    map_task_cb cb;
};

/* Fetch what the store says: task->found, and then root ids, applied, the SCO table. */
void map_volume_load(struct map_volume *mv, struct map_task *task, map_task_cb cb);
/* Forget all, in memory and stored: an empty map, not valid until map_volume_begin(). */
void map_volume_reset(struct map_volume *mv, struct map_task *task, map_task_cb cb);
/* The map is that of this root's checkpoint; from here on what is stored may be used again. */
void map_volume_begin(struct map_volume *mv, const uint8_t root_id[UUID_BYTES], uint32_t ordinal,
                      struct map_place place);

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
void map_set_next_root(struct map_volume *mv, struct map_task *task,
                       const uint8_t root_id[UUID_BYTES], map_task_cb cb);
/* It is the root now, and its checkpoint `ordinal` holds all up to `upto_ordinal`. */
void map_root_replaced(struct map_volume *mv, struct map_task *task, uint32_t ordinal,
                       uint64_t upto_ordinal, map_task_cb cb);

#endif
