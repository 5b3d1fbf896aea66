#include "wire/proxy_stats.h"

#include <stdlib.h>

#include "base/mem.h"
#include "wire/llio.h"

enum { STATISTICS_V1 = 1, NS_STATS_BYTES_MIN = 4 + 8 * 64 + 5 * 4 + 8 };

static void put_ns(struct buf *b, const struct proxy_ns_stats *s)
{
    llio_put_string(b, s->ns);
    stat_sum_put(b, &s->upload);
    stat_sum_put(b, &s->download);
    llio_put_i32(b, s->manifest_cached);
    llio_put_i32(b, s->manifest_from_nsm);
    llio_put_i32(b, s->manifest_stale);
    llio_put_i32(b, s->fragment_cache_hits);
    llio_put_i32(b, s->fragment_cache_misses);
    stat_sum_put(b, &s->partial_read_bytes);
    stat_sum_put(b, &s->partial_read_count);
    stat_sum_put(b, &s->partial_read_time);
    stat_sum_put(b, &s->partial_read_objects);
    stat_sum_put(b, &s->object_delete);
    stat_sum_put(b, &s->empty_partial_read_count);
    stat_sum_put(b, &s->empty_partial_read_time);
    stat_sum_put(b, &s->empty_partial_read_objects);
    llio_put_float(b, s->last_updated_s);
}

static void get_ns(struct rd *r, struct proxy_ns_stats *s)
{
    s->ns = llio_string(r);
    s->upload = stat_sum_get(r);
    s->download = stat_sum_get(r);
    s->manifest_cached = llio_i32(r);
    s->manifest_from_nsm = llio_i32(r);
    s->manifest_stale = llio_i32(r);
    s->fragment_cache_hits = llio_i32(r);
    s->fragment_cache_misses = llio_i32(r);
    s->partial_read_bytes = stat_sum_get(r);
    s->partial_read_count = stat_sum_get(r);
    s->partial_read_time = stat_sum_get(r);
    s->partial_read_objects = stat_sum_get(r);
    s->object_delete = stat_sum_get(r);
    s->empty_partial_read_count = stat_sum_get(r);
    s->empty_partial_read_time = stat_sum_get(r);
    s->empty_partial_read_objects = stat_sum_get(r);
    s->last_updated_s = llio_float(r);
}

void proxy_statistics_put(struct buf *b, const struct proxy_statistics *s)
{
    buf_put_u8(b, STATISTICS_V1);
    llio_put_float(b, s->creation_s);
    llio_put_float(b, s->period_s);
    llio_put_count(b, s->count);
    for (uint32_t i = s->count; i-- > 0;) {
        put_ns(b, &s->items[i]);
    }
}

void proxy_statistics_get(struct rd *r, struct proxy_statistics *ret_s)
{
    *ret_s = (struct proxy_statistics){0};
    if (rd_u8(r) != STATISTICS_V1) {
        rd_fail(r);
        return;
    }
    ret_s->creation_s = llio_float(r);
    ret_s->period_s = llio_float(r);
    ret_s->count = llio_count(r, NS_STATS_BYTES_MIN);
    ret_s->items = ret_s->count != 0 ? mem_array(ret_s->count, sizeof(ret_s->items[0])) : NULL;
    for (uint32_t i = ret_s->count; i-- > 0;) {
        get_ns(r, &ret_s->items[i]);
    }
}

void proxy_statistics_release(struct proxy_statistics *s)
{
    free(s->items);
    *s = (struct proxy_statistics){0};
}
