/* Memory of results: values that were read, from before they are read until they are sent.
 *
 * A read that needs a thread takes its part there, where it knows how much that is; when too much
 * is taken it gives its thread back and waits in its front for at most ASD_RESULTS_WAIT_MS: whose
 * owner holds least goes first, of several the one that has waited longest, and nobody overtakes
 * it. Small ones pass by those that wait, up to a quarter more. A giant, of more than half of all
 * there may be, would keep all others out, so one at a time has its place beside: they wait for
 * each other only. So peers that ask for much and take nothing have one result each while others
 * wait, until the server drops them (asd_store_reads_waiting()). Private to the store. */
#ifndef ASD_RESULTS_H
#define ASD_RESULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    ASD_RESULTS_SMALL_BYTES = 65536,
    ASD_RESULTS_WAIT_MS = 20000,
    ASD_RESULTS_BYTES_DEFAULT = 64 * 1048576
};

struct asd_front;
struct asd_store_op;

/* Of all fronts. */
struct asd_results {
    uint64_t bytes_max;
    atomic_uint_fast64_t bytes;       /* without the giant */
    atomic_uint_fast64_t giant_bytes; /* 0: there is none */
    atomic_uint waiting;              /* reads; without giants */
    atomic_uint giants_waiting;
};

/* Any thread; once for each run of a read. False: not now. The run ends there, and there will be
 * another when there is memory; or the read ends with ERR_BUSY. */
bool asd_results_take(struct asd_store_op *op, uint64_t bytes);
/* It is so much, now that it is there. */
void asd_results_settle(struct asd_store_op *op, uint64_t bytes);
/* All that `op` holds; nothing is fine. */
void asd_results_give(struct asd_store_op *op);

/* ---- loop of the front ---- */

/* The run of `op` ended as asd_results_take() said no. */
bool asd_results_lacks(const struct asd_store_op *op);
void asd_results_wait(struct asd_store_op *op);
/* One that waits, or all of them, get ERR_CANCELED. */
void asd_results_abandon(struct asd_store_op *op);
void asd_results_cancel(struct asd_front *front);
void asd_results_init(struct asd_front *front);

#endif
