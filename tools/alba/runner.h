/* Requests of one kind, a number of them in flight, each timed: what the benchmarks of ASDs and
 * of proxies have in common. One thread.
 *
 * SIGINT and SIGTERM end a run early, but one that cleans up; a second one ends that, too. */
#ifndef ALBA_RUNNER_H
#define ALBA_RUNNER_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <uv.h>

#include "alba/latencies.h"
#include "alba/progress.h"
#include "base/err.h"
#include "base/rnd.h"

/* RUNNER_WRITES: request `index` may make what is named by it. RUNNER_CLEANS: no signal ends it. */
enum runner_kind { RUNNER_READS, RUNNER_WRITES, RUNNER_CLEANS };

/* Sends request `index` from place `place` (0 … depth - 1). 0: runner_ended() comes once, later. */
typedef int (*runner_send_cb)(void *ctx, unsigned place, uint64_t index, struct err *e);

struct runner {
    uv_loop_t *loop;
    uint64_t count; /* requests of a run; of one that cleans: as many as were begun to be written */
    unsigned depth;
    uint32_t value_bytes; /* of `value` */
    runner_send_cb send;
    void *ctx;

    char prefix[64]; /* what is written is named so: of this runner alone */
    uint8_t *value;  /* random */
    struct rnd rnd;
    bool stop;      /* a signal came */
    uint64_t ended; /* of the last run */
    double seconds; /* that it took */
    int rc;
    struct err err; /* why it failed: of the first that did */
    struct latencies latencies;

    uint64_t started; /* private from here on */
    unsigned running;
    uint64_t limit;   /* of `started` */
    uint64_t written; /* the most that a run which writes has started */
    enum runner_kind kind;
    bool done;
    uint64_t *start_ns; /* by place */
    struct progress progress;
    uv_signal_t signals[2];
};

/* Sets the fields above `prefix` before. */
void runner_init(struct runner *r);
/* `name` is shown. Ends with the first failure: r->err. */
int runner_run(struct runner *r, const char *name, enum runner_kind kind);
/* Appends a row of latencies_json() about the last run. */
void runner_row(struct runner *r, const char *name, uint64_t bytes_each, json_t *rows);
void runner_ended(struct runner *r, unsigned place, int rc, const struct err *e);
void runner_release(struct runner *r);

#endif
