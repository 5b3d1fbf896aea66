/* Requests of one kind to one proxy, a number of them in flight, each timed. One thread.
 *
 * Every object that is written has a name that begins with a prefix of this run's own, and
 * proxy_bench_clean() deletes them. SIGINT ends a scenario early. */
#ifndef ALBA_PROXY_BENCH_H
#define ALBA_PROXY_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "alba/latencies.h"
#include "alba/progress.h"
#include "alba/target.h"
#include "base/rnd.h"

enum { PROXY_BENCH_DEPTH_MAX = 64, PROXY_BENCH_SLICE_BYTES = 4096 };

struct proxy_bench_op;
struct proxy_bench_scenario;

struct proxy_bench {
    struct target *target; /* opened with `depth` connections */
    struct cli *cli;
    const char *ns;
    uint64_t count;
    unsigned depth;
    uint32_t value_bytes;
    bool stop; /* SIGINT came */

    char prefix[64]; /* private from here on */
    uint8_t *value;
    struct rnd rnd;
    bool there; /* objects 0 … count - 1 are there */
    bool dirty; /* there may be some of this run */
    const struct proxy_bench_scenario *scenario;
    struct proxy_bench_op *ops;
    uint64_t started;
    uint64_t ended;
    unsigned running;
    bool done;
    int rc;
    struct err err;
    int32_t proxy_code;
    struct latencies latencies;
    struct progress progress;
    uv_signal_t sigint;
};

/* Sets the fields above `prefix` before. */
void proxy_bench_init(struct proxy_bench *b);
/* "writes", "reads", …: appends a row of latencies_json() to `rows`; writes the objects it needs
 * before. Fails with cli->err. */
int proxy_bench_run(struct proxy_bench *b, const char *scenario, json_t *rows);
bool proxy_bench_knows(const char *scenario);
int proxy_bench_clean(struct proxy_bench *b);
void proxy_bench_release(struct proxy_bench *b);

#endif
