#include "proxy/read_times.h"

#include "base/log_scale.h"

static uint32_t quantile(const struct read_times *t, uint32_t percent)
{
    uint32_t rank = (uint32_t)(((uint64_t)t->count * percent + 99) / 100);
    uint32_t seen = 0;
    unsigned i = 0;

    while (i < READ_TIMES_BUCKETS - 1 && (seen += t->buckets[i]) < rank) {
        i++;
    }
    return (uint32_t)log_scale_upper(i);
}

static void halve(struct read_times *t)
{
    t->count = 0;
    for (unsigned i = 0; i < READ_TIMES_BUCKETS; i++) {
        t->buckets[i] /= 2;
        t->count += t->buckets[i];
    }
}

void read_times_add(struct read_times *t, uint64_t took_us)
{
    unsigned index = log_scale_index(took_us);

    t->buckets[index < READ_TIMES_BUCKETS ? index : READ_TIMES_BUCKETS - 1]++;
    t->count++;
    if (++t->fresh >= READ_TIMES_ENOUGH / 2 && t->count >= READ_TIMES_ENOUGH) {
        t->fresh = 0;
        t->p50_us = quantile(t, 50);
        t->p99_us = quantile(t, 99);
    }
    if (t->count >= READ_TIMES_WINDOW) {
        halve(t);
    }
}
