/* What a proxy counts for each namespace, as ProxyStatistics reports it. */
#ifndef WIRE_PROXY_STATS_H
#define WIRE_PROXY_STATS_H

#include <stdint.h>

#include "base/buf.h"
#include "wire/asd_stats.h"

struct proxy_ns_stats {
    struct slice ns;
    struct stat_sum upload;
    struct stat_sum download;
    int32_t manifest_cached;
    int32_t manifest_from_nsm;
    int32_t manifest_stale;
    int32_t fragment_cache_hits;
    int32_t fragment_cache_misses;
    struct stat_sum partial_read_bytes;
    struct stat_sum partial_read_count;
    struct stat_sum partial_read_time;
    struct stat_sum partial_read_objects;
    struct stat_sum object_delete;
    struct stat_sum empty_partial_read_count;
    struct stat_sum empty_partial_read_time;
    struct stat_sum empty_partial_read_objects;
    double last_updated_s;
};

struct proxy_statistics {
    double creation_s; /* Unix time */
    double period_s;
    struct proxy_ns_stats *items; /* owned when decoded, borrowed when encoding */
    uint32_t count;
};

void proxy_statistics_put(struct buf *b, const struct proxy_statistics *s);
/* Sets r->bad on anything wrong; release in any case. */
void proxy_statistics_get(struct rd *r, struct proxy_statistics *ret_s);
void proxy_statistics_release(struct proxy_statistics *s);

#endif
