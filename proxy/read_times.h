/* How long reads of one kind take: the median and the 99th percentile of the last ones.
 *
 * A histogram of constant size (base/log_scale.h). All counts are halved when READ_TIMES_WINDOW
 * of them are there, so what is half a window old counts half. Pure. */
#ifndef PROXY_READ_TIMES_H
#define PROXY_READ_TIMES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    READ_TIMES_BUCKETS = 108, /* up to 134 s; longer ones count as that */
    READ_TIMES_WINDOW = 2000,
    READ_TIMES_ENOUGH = 100 /* fewer say nothing */
};

/* {0} is an empty one. */
struct read_times {
    uint32_t p50_us; /* out: rounded up, by at most 25 % */
    uint32_t p99_us; /* both are 0 while there are too few */

    uint32_t count; /* private from here on */
    uint32_t fresh; /* since the quantiles were taken */
    uint32_t buckets[READ_TIMES_BUCKETS];
};

void read_times_add(struct read_times *times, uint64_t took_us);

#endif
