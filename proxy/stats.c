#include "proxy/stats.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/table.h"

struct stats_ns {
    struct proxy_ns_stats sums; /* its name is that below */
    struct list link;
    UT_hash_handle hh;
    char name[];
};

static double wall_s(void)
{
    return (double)clock_wall_us() / 1e6;
}

static void begin(struct stats *stats)
{
    stats->creation_s = wall_s();
    stats->creation_ns = clock_mono_ns();
}

void stats_init(struct stats *stats)
{
    *stats = (struct stats){0};
    list_init(&stats->used);
    begin(stats);
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

static void drop(struct stats *stats, struct stats_ns *item)
{
    HASH_DEL(stats->table, item);
    list_remove(&item->link);
    free(item);
    stats->count--;
}

static struct stats_ns *oldest(const struct stats *stats)
{
    return container_of(stats->used.next, struct stats_ns, link);
}

static struct stats_ns *find(const struct stats *stats, struct slice ns)
{
    struct stats_ns *item = NULL;

    HASH_FIND(hh, stats->table, ns.data, ns.len, item);
    return item;
}

static struct stats_ns *add(struct stats *stats, struct slice ns)
{
    struct stats_ns *item = mem_zalloc(sizeof(*item) + ns.len + 1);

    if (stats->count == STATS_NAMESPACES_MAX) {
        drop(stats, oldest(stats));
    }
    memcpy(item->name, ns.data, ns.len);
    item->sums.ns = slice_of(item->name, ns.len);
    sums_init(&item->sums);
    HASH_ADD_KEYPTR(hh, stats->table, item->name, ns.len, item);
    list_init(&item->link);
    stats->count++;
    return item;
}

struct proxy_ns_stats *stats_of(struct stats *stats, struct slice ns)
{
    struct stats_ns *item = find(stats, ns);

    if (item == NULL) {
        item = add(stats, ns);
    }
    list_remove(&item->link);
    list_push(&stats->used, &item->link);
    item->sums.last_updated_s = wall_s();
    return &item->sums;
}

void stats_add(int32_t *sum, uint64_t more)
{
    *sum = more < (uint64_t)(INT32_MAX - *sum) ? *sum + (int32_t)more : INT32_MAX;
}

void stats_report(const struct stats *stats, struct proxy_statistics *ret)
{
    *ret =
        (struct proxy_statistics){.creation_s = stats->creation_s,
                                  .period_s = (double)(clock_mono_ns() - stats->creation_ns) / 1e9};
    ret->items = mem_array(stats->count + 1, sizeof(*ret->items));
    LIST_FOR_EACH (it, &stats->used) {
        ret->items[ret->count++] = container_of(it, struct stats_ns, link)->sums;
    }
}

void stats_clear(struct stats *stats)
{
    while (stats->count > 0) {
        drop(stats, oldest(stats));
    }
    begin(stats);
}

void stats_forget(struct stats *stats, struct slice ns)
{
    struct stats_ns *item = find(stats, ns);

    if (item != NULL) {
        drop(stats, item);
    }
}

void stats_release(struct stats *stats)
{
    stats_clear(stats);
}
