/* How long each operation of a benchmark took, and what is said about it. One thread. */
#ifndef ALBA_LATENCIES_H
#define ALBA_LATENCIES_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

enum { LATENCIES_MAX = 10000000 };

struct latencies {
    uint32_t *us; /* {0} is empty */
    size_t count;
    size_t cap;
};

void latencies_add(struct latencies *l, uint64_t ns);
void latencies_release(struct latencies *l);
/* {"name", "ops", "seconds", "ops_per_s", "mb_per_s", "p50_us", "p99_us", "max_us"}. */
json_t *latencies_json(struct latencies *l, const char *name, double seconds, uint64_t bytes);
void latencies_show(const json_t *rows); /* an array of those, as a table */

#endif
