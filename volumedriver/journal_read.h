/* Reading records back: clusters that are not in the backend yet, and what a SCO is packed from.
 * Loop thread; the reads run in the journal's pool. */
#ifndef VOLUMEDRIVER_JOURNAL_READ_H
#define VOLUMEDRIVER_JOURNAL_READ_H

#include <stdint.h>

#include "base/err.h"
#include "loop/pool.h"

struct journal;
struct record;
struct journal_read;
typedef void (*journal_read_cb)(struct journal_read *read, int rc);

struct journal_piece {
    struct record *record; /* of a write; the caller holds a reference */
    uint32_t skip;         /* clusters into it */
    uint32_t count;
    uint8_t *data;
};

/* Clusters of records, each checked against its CRC. */
struct journal_read {
    struct journal_piece *pieces; /* borrowed */
    uint32_t piece_count;
    struct err err;     /* out: says which record, if rc != 0 */
    struct record *bad; /* out: it, if rc is ERR_CORRUPT; else NULL */

    struct pool_work work; /* private */
    struct journal *journal;
    journal_read_cb cb;
    int rc;
};

/* ERR_BUSY: too many are waiting; nothing was started. */
int journal_read(struct journal *j, struct journal_read *read, journal_read_cb cb);

#endif
