/* Journal records in memory, and a map from clusters to the newest record for each.
 *
 * Intervals never overlap: an insert cuts what lies below it. Logarithmic; not thread
 * safe. */
#ifndef VOLUMEDRIVER_EXTENT_TREE_H
#define VOLUMEDRIVER_EXTENT_TREE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

/* One write, trim or write-zeroes of a volume whose SCO is not yet released; or the assignment
 * of that SCO (FRAME_OP_SCO, `cluster` is its number, `count` 1): no data, but it keeps
 * its place in the journal as well. */
struct record {
    struct list link; /* in its volume, by seq */
    uint64_t seq;
    uint64_t lsn;
    uint64_t cluster;
    uint64_t data_offset; /* of its first cluster in the journal file */
    uint32_t count;
    uint32_t epoch;
    uint32_t segment; /* index of the journal segment that holds it */
    uint32_t refs;    /* its volume and each read that needs its bytes: journal_record_drop() */
    uint8_t op;       /* enum frame_op */
    bool bad;         /* found rotten while it was packed: lost */
    uint32_t crcs[];  /* of a write: one for each cluster */
};

/* Zeroed but for the arguments and refs = 1. */
struct record *record_new(uint8_t op, uint64_t cluster, uint32_t count);

struct extent { /* private links; the rest may be read */
    struct extent *left, *right;
    uint64_t start;
    uint32_t count;
    uint32_t skip; /* `start` is this many clusters into the record */
    uint32_t priority;
    const struct record *record; /* borrowed */
};

/* {0} is a valid empty tree. */
struct extent_tree {
    struct extent *root;
    uint32_t count;         /* extents */
    uint32_t data_clusters; /* covered by writes */
    uint64_t zero_clusters; /* covered by trims and write-zeroes */
    uint64_t rnd;
};

void extent_tree_release(struct extent_tree *t);
/* Cover record's range by it. The record outlives its extents. */
void extent_tree_insert(struct extent_tree *t, const struct record *record);
/* The extent that holds `cluster`, or the first one behind it; NULL: none. Valid until
 * the next change. */
const struct extent *extent_tree_find(const struct extent_tree *t, uint64_t cluster);
/* Take out what the range [cluster, cluster + count) touches of records with seq <= last. */
void extent_tree_forget(struct extent_tree *t, uint64_t cluster, uint32_t count, uint64_t last_seq);

#endif
