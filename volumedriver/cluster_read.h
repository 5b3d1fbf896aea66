/* Whole clusters of a volume into memory, from wherever they lie: journal, map, backend. */
#ifndef VOLUMEDRIVER_CLUSTER_READ_H
#define VOLUMEDRIVER_CLUSTER_READ_H

#include "loop/later.h"
#include "volumedriver/journal.h"
#include "volumedriver/map.h"

struct volume;
struct cluster_read;
typedef void (*cluster_read_cb)(struct cluster_read *rd, int rc);

/* Whole clusters into memory; see volume_read.c. */
struct cluster_read {
    struct err err; /* out: says why, if rc != 0 */
    struct volume *v;
    uint64_t cluster;
    uint32_t count;
    uint8_t *data; /* NULL: only find out where they are (`locations`) */

    uint64_t *locations; /* of those not in the journal; freed by cluster_read_release() */
    uint8_t *where;      /* per cluster: enum cluster_where */
    struct map_lookup lookup;
    struct list map_wait; /* volume_remap.waits */
    struct journal_read journal;
    struct journal_piece *pieces;
    uint32_t piece_cap;
    struct object_read *objects;
    struct data_run *runs; /* in the backend, by SCO; those from run_next on are still to be read */
    uint32_t run_count, run_next;
    unsigned reading;
    unsigned pending;
    unsigned attempt;
    int rc;
    struct later_item later;
    cluster_read_cb cb;
};

enum cluster_where { IN_MAP, IN_JOURNAL, IS_ZERO };

void cluster_read_start(struct cluster_read *rd, cluster_read_cb cb);
void cluster_read_release(struct cluster_read *rd);

#endif
