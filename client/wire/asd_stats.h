/* Running statistics of one kind of request, and the record an ASD reports.
 *
 * One thread per struct; readers copy it. */
#ifndef WIRE_ASD_STATS_H
#define WIRE_ASD_STATS_H

#include <stdint.h>

#include "base/buf.h"

/* Seconds, or bytes, or counts: whatever was added. */
struct stat_sum {
    int64_t n;
    double avg;
    double exp_avg; /* alpha * exp_avg + (1 - alpha) * x */
    double m2;      /* sum of squared differences from avg (Welford) */
    double var;     /* m2 / (n - 1) */
    double min;
    double max;
    double alpha;
};

void stat_sum_init(struct stat_sum *s);
void stat_sum_add(struct stat_sum *s, double x);
/* As if all of `from` had been added to `into`; exp_avg becomes the mean of both, by their n. */
void stat_sum_merge(struct stat_sum *into, const struct stat_sum *from);
void stat_sum_put(struct buf *b, const struct stat_sum *s);
struct stat_sum stat_sum_get(struct rd *r);

struct asd_stat_entry {
    uint32_t code; /* command */
    struct stat_sum stat;
};

struct asd_statistics {
    double creation_s; /* Unix time */
    double period_s;
    struct asd_stat_entry *entries; /* owned when decoded, borrowed when encoding */
    uint32_t entry_count;
};

void asd_statistics_put(struct buf *b, const struct asd_statistics *s);
/* Sets r->bad on anything wrong; release in any case. Reads versions 1 and 2. */
void asd_statistics_get(struct rd *r, struct asd_statistics *ret_s);
void asd_statistics_release(struct asd_statistics *s);

#endif
