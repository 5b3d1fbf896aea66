/* Requests of one kind to one proxy, a number of them in flight, each timed. One thread.
 *
 * Every object that is written has a name that begins with a prefix of this run's own, and
 * proxy_bench_clean() deletes them. SIGINT ends a scenario early. */
#ifndef ALBA_PROXY_BENCH_H
#define ALBA_PROXY_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "alba/runner.h"
#include "alba/target.h"

enum { PROXY_BENCH_DEPTH_MAX = 64, PROXY_BENCH_SLICE_BYTES = 4096 };

struct proxy_bench_op;
struct proxy_bench_scenario;

struct proxy_bench {
    struct target *target; /* opened with `depth` connections */
    struct cli *cli;
    const char *ns;
    uint32_t value_bytes;
    struct runner runner; /* its stop: SIGINT came */

    bool there; /* private from here on: objects 0 … count - 1 are there */
    bool dirty; /* there may be some of this run */
    const struct proxy_bench_scenario *scenario;
    struct proxy_bench_op *ops;
    int32_t proxy_code; /* of the first failure */
};

/* Sets the first four fields before. */
void proxy_bench_init(struct proxy_bench *b, uint64_t count, unsigned depth);
/* "writes", "reads", …: appends a row of latencies_json() to `rows`; writes the objects it needs
 * before. Fails with cli->err. */
int proxy_bench_run(struct proxy_bench *b, const char *scenario, json_t *rows);
bool proxy_bench_knows(const char *scenario);
int proxy_bench_clean(struct proxy_bench *b);
void proxy_bench_release(struct proxy_bench *b);

#endif
