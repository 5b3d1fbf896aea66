/* What a journal still holds of one volume: items in LSN order, as replayed, and the rules that
 * turn them into the volume's unfinished history (FORMAT.md, section 3). Pure. */
#ifndef VOLUMEDRIVER_TAIL_H
#define VOLUMEDRIVER_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "volumedriver/extent_tree.h"

/* A record that survived; `a`, `b` and `seq` as in struct frame_extent. */
struct tail_item {
    uint64_t lsn;
    uint64_t seq;
    uint64_t a;
    uint64_t b;
    uint64_t predecessor;  /* of a SCO assigned */
    struct record *record; /* owned; of a write, trim, write-zeroes, SCO assigned; else NULL */
    uint32_t generation;   /* of a SCO assigned */
    uint32_t epoch;
    uint8_t op;
    uint8_t kind;
    bool bad;  /* part of its data fails its CRCs */
    bool gone; /* private */
};

struct tail {
    struct tail_item *items; /* owned */
    uint32_t count;
    uint32_t cap;
    uint64_t lost_lsn; /* the last frame of which nobody knows whose records it held; 0: none */
    bool damaged;      /* it was found so before */
};

struct tail_sco { /* a SCO that was assigned and may or may not have been put */
    uint64_t number;
    uint64_t predecessor;
    uint64_t first_seq; /* kind gc: both 0 */
    uint64_t last_seq;
    struct record *record; /* owned; keeps its place: journal_record_drop(), _abandon() */
    uint32_t epoch;
    uint32_t generation;
    uint8_t kind; /* enum sco_kind. A gc SCO that is missing is put with 0 extents */
};

struct tail_history {
    struct list records;   /* struct record.link, seq = prefix_seq + 1, + 2, … */
    struct list stranded;  /* struct record.link: of no use, but not to be thrown away */
    struct tail_sco *scos; /* owned; in order of the chain, from the prefix on */
    uint32_t sco_count;
    uint64_t last_seq;    /* of the last record, or prefix_seq */
    uint64_t last_number; /* of the last of `scos`, or the prefix's: predecessor of the next one */
    bool damaged;         /* something is missing: the volume may only be read */
    const char *why;      /* static text, when damaged */
};

/* Does it hold a record of that LSN or a lower one? */
bool tail_pins(const struct tail *t, uint64_t lsn);
void tail_push(struct tail *t, const struct tail_item *item);
/* Drops what is left through `drop`, frees the array. */
void tail_release(struct tail *t, void (*drop)(void *ctx, struct record *record), void *ctx);

/* What is known of the volume from elsewhere. */
struct tail_bounds {
    uint32_t since;         /* lowest epoch of the journal's unbroken ownership */
    uint32_t epoch;         /* the one that is being opened */
    uint64_t prefix_number; /* end of the committed prefix */
    uint64_t prefix_seq;
};

/* Sort out `t` (left empty): records of epochs below `since`, void ones and those of the prefix go
 * to `drop`. */
void tail_resolve(struct tail *t, const struct tail_bounds *bounds,
                  void (*drop)(void *ctx, struct record *record), void *ctx,
                  struct tail_history *ret_history);

#endif
