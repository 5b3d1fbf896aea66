/* Requests of one kind to one ASD, a number of them in flight, each timed. One thread.
 *
 * Every key that is written begins with a prefix of this run's own, and bench_clean() deletes
 * them. SIGINT ends a scenario early; what comes after is skipped but the deletes. */
#ifndef ALBA_BENCH_H
#define ALBA_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "alba/asd_link.h"
#include "alba/runner.h"

enum { BENCH_DEPTH_MAX = 256, BENCH_SLICE_BYTES = 4096 };

struct bench_op;

/* What one request of a scenario is. */
struct bench_scenario {
    const char *name;
    bool needs_values; /* the keys have to be there */
    bool writes;
    bool deletes;                            /* it leaves no values */
    uint64_t (*bytes)(uint64_t value_bytes); /* each carries, for MB/s; NULL: none */
    void (*fill)(struct bench_op *op);       /* op->request, for op->index */
};

struct bench {
    struct asd_link *link;
    struct runner runner; /* its stop: SIGINT came */

    uint32_t value_bytes; /* private from here on */
    bool values_there;    /* keys 0 … count - 1 have their value */
    bool dirty;           /* there may be values of this run */
    const struct bench_scenario *scenario;
    struct bench_op *ops;
};

/* "sets", "gets", …; NULL: there is none of that name. */
const struct bench_scenario *bench_scenario(const char *name);
void bench_init(struct bench *b, struct asd_link *link, uint64_t count, unsigned depth,
                uint32_t value_bytes);
/* Appends a row of latencies_json() to `rows`; makes the values that the scenario needs before.
 * Fails as asd_link_call(). */
int bench_run(struct bench *b, const struct bench_scenario *scenario, json_t *rows);
int bench_clean(struct bench *b); /* no value of this run is left */
void bench_release(struct bench *b);

#endif
