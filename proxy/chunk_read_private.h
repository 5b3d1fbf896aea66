/* What chunk_read.c and the other chunk_*.c share; nobody else includes this. */
#ifndef PROXY_CHUNK_READ_PRIVATE_H
#define PROXY_CHUNK_READ_PRIVATE_H

#include "proxy/chunk_read.h"

/* ---- chunk_read.c ---- */

/* The part of `whole` [at, at + bytes) of its range, into the same places. Fragments in `never`
 * (bit i: fragment i) are not asked. */
void chunk_read_stripe(struct chunk_read *read, const struct chunk_read *whole, uint32_t at,
                       uint32_t bytes, uint32_t never, chunk_read_cb cb);

/* ---- chunk_stripes.c ---- */

/* May the stripes bring what the whole did not? */
bool chunk_stripes_have_hope(const struct chunk_read *whole);
/* Nothing of it is under way. `cb` comes once, later. */
void chunk_stripes_start(struct chunk_read *whole, chunk_read_cb cb);
void chunk_stripes_cancel(struct chunk_stripes *stripes);

enum { CHUNK_ALL = UINT32_MAX }; /* chunk_read.wanted: all data fragments */

static inline bool chunk_is_wanted(const struct chunk_read *r, uint32_t fragment)
{
    return r->wanted == CHUNK_ALL ? fragment < r->readable->k : fragment == r->wanted;
}

static inline enum chunk_part_state chunk_state_of(const struct chunk_read *r, uint32_t fragment)
{
    return r->parts[fragment] == NULL ? CHUNK_PART_IDLE : r->parts[fragment]->state;
}

/* ---- chunk_choose.c: which fragment is asked for ---- */

/* Of a fragment; NULL: nowhere, or with an OSD that is not known. */
struct osd *chunk_choose_osd(const struct chunk_read *read, uint32_t fragment);
/* The next one that has to be under way now; -1: none has, or none is left. */
int chunk_choose_next(const struct chunk_read *read, bool *ret_is_hedge);
/* How many of those under way are late. */
uint32_t chunk_choose_late(const struct chunk_read *read);
/* Before the first: a read in a while is sent to an OSD that is suspect. */
void chunk_choose_tried(struct chunk_read *read);

/* ---- chunk_hedge.c: which of them are late ----
 *
 * A fragment that is late counts as not asked for, so another is asked besides (a range whose own
 * fragment is late: k others); it still counts when it comes. Only well OSDs are asked besides:
 * not set aside, not suspect (osd_suspect.h), not busy. With too few of those nothing is late. */

/* The first fragments have been asked for. `late` runs, and again, after some were found late. */
void chunk_hedge_begin(struct chunk_read *read, void (*late)(struct chunk_read *read));
/* A fragment has come. */
void chunk_hedge_came(struct chunk_read *read, const struct chunk_part *part);
/* Fragments under way of which the read does not need one. */
void chunk_hedge_end_reading(struct chunk_read *read);
/* May a fragment be asked of it besides? */
bool chunk_hedge_is_well(const struct osd *osd);

#endif
