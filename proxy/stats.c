#include "proxy/stats.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

static double wall_s(void)
{
    return (double)clock_wall_us() / 1e6;
}

void stats_init(struct stats *stats)
{
    *stats = (struct stats){.creation_s = wall_s()};
    stats->since_s = stats->creation_s;
}

static void sums_init(struct proxy_ns_stats *s)
{
    s->manifest_cached = s->manifest_from_nsm = s->manifest_stale = 0;
    s->fragment_cache_hits = s->fragment_cache_misses = 0;
    stat_sum_init(&s->upload);
    stat_sum_init(&s->download);
    stat_sum_init(&s->partial_read_bytes);
    stat_sum_init(&s->partial_read_count);
    stat_sum_init(&s->partial_read_time);
    stat_sum_init(&s->partial_read_objects);
    stat_sum_init(&s->object_delete);
    stat_sum_init(&s->empty_partial_read_count);
    stat_sum_init(&s->empty_partial_read_time);
    stat_sum_init(&s->empty_partial_read_objects);
}

static void drop(struct stats *stats, uint32_t index)
{
    free((void *)(uintptr_t)stats->items[index]->sums.ns.data);
    free(stats->items[index]);
    stats->items[index] = stats->items[--stats->count];
}

static void drop_oldest(struct stats *stats)
{
    uint32_t oldest = 0;

    for (uint32_t i = 1; i < stats->count; i++) {
        if (stats->items[i]->sums.last_updated_s < stats->items[oldest]->sums.last_updated_s) {
            oldest = i;
        }
    }
    drop(stats, oldest);
}

struct proxy_ns_stats *stats_of(struct stats *stats, struct slice ns)
{
    struct stats_ns *item = NULL;

    for (uint32_t i = 0; i < stats->count && item == NULL; i++) {
        if (slice_eq(stats->items[i]->sums.ns, ns)) {
            item = stats->items[i];
            stats->items[i] = stats->items[0]; /* what is used is found first */
            stats->items[0] = item;
        }
    }
    if (item == NULL) {
        if (stats->count == STATS_NAMESPACES_MAX) {
            drop_oldest(stats);
        }
        item = mem_zalloc(sizeof(*item));
        item->sums.ns = slice_of(mem_dup(ns.data, ns.len), ns.len);
        sums_init(&item->sums);
        stats->items = mem_realloc(stats->items, (stats->count + 1) * sizeof(struct stats_ns *));
        stats->items[stats->count++] = item;
    }
    item->sums.last_updated_s = wall_s();
    return &item->sums;
}

void stats_report(const struct stats *stats, struct proxy_statistics *ret)
{
    *ret = (struct proxy_statistics){.creation_s = stats->creation_s,
                                     .period_s = wall_s() - stats->since_s,
                                     .count = stats->count};
    ret->items = mem_array(stats->count + 1, sizeof(*ret->items));
    for (uint32_t i = 0; i < stats->count; i++) {
        ret->items[i] = stats->items[i]->sums;
    }
}

void stats_clear(struct stats *stats)
{
    stats->since_s = wall_s();
    while (stats->count > 0) {
        drop(stats, stats->count - 1);
    }
}

void stats_forget(struct stats *stats, struct slice ns)
{
    for (uint32_t i = 0; i < stats->count; i++) {
        if (slice_eq(stats->items[i]->sums.ns, ns)) {
            drop(stats, i);
            return;
        }
    }
}

void stats_release(struct stats *stats)
{
    stats_clear(stats);
    free(stats->items);
    stats->items = NULL;
}
