#include "wire/asd_stats.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/asd_msg.h"
#include "wire/llio.h"

enum { STATISTICS_V1 = 1, STATISTICS_V2 = 2, STAT_BYTES = 64, ENTRY_BYTES = 4 + STAT_BYTES };

void stat_sum_init(struct stat_sum *s)
{
    *s = (struct stat_sum){.alpha = 0.9};
}

void stat_sum_add(struct stat_sum *s, double x)
{
    double before = x - s->avg;

    s->n++;
    s->avg += before / (double)s->n;
    s->m2 += before * (x - s->avg);
    s->var = s->n > 1 ? s->m2 / (double)(s->n - 1) : 0;
    s->exp_avg = s->n > 1 ? s->alpha * s->exp_avg + (1 - s->alpha) * x : x;
    s->min = s->n > 1 && s->min < x ? s->min : x;
    s->max = s->n > 1 && s->max > x ? s->max : x;
}

void stat_sum_merge(struct stat_sum *into, const struct stat_sum *from)
{
    double apart = from->avg - into->avg;
    double part;

    if (from->n == 0) {
        return;
    }
    if (into->n == 0) {
        *into = *from;
        return;
    }
    part = (double)from->n / (double)(into->n + from->n);
    into->m2 += from->m2 + apart * apart * (double)into->n * part;
    into->avg += apart * part;
    into->exp_avg += (from->exp_avg - into->exp_avg) * part;
    into->n += from->n;
    into->var = into->m2 / (double)(into->n - 1);
    into->min = from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
}

void stat_sum_put(struct buf *b, const struct stat_sum *s)
{
    llio_put_i64(b, s->n);
    llio_put_float(b, s->avg);
    llio_put_float(b, s->exp_avg);
    llio_put_float(b, s->m2);
    llio_put_float(b, s->var);
    llio_put_float(b, s->min);
    llio_put_float(b, s->max);
    llio_put_float(b, s->alpha);
}

/* No clock and no sum of durations gives another kind of number, and JSON has none. */
static double finite_float(struct rd *r)
{
    double v = llio_float(r);

    if (!isfinite(v)) {
        rd_fail(r);
        return 0;
    }
    return v;
}

struct stat_sum stat_sum_get(struct rd *r)
{
    struct stat_sum s;

    s.n = llio_i64(r);
    s.avg = finite_float(r);
    s.exp_avg = finite_float(r);
    s.m2 = finite_float(r);
    s.var = finite_float(r);
    s.min = finite_float(r);
    s.max = finite_float(r);
    s.alpha = finite_float(r);
    return s;
}

void asd_statistics_put(struct buf *b, const struct asd_statistics *s)
{
    buf_put_u8(b, STATISTICS_V2);
    llio_put_float(b, s->creation_s);
    llio_put_float(b, s->period_s);
    llio_put_count(b, s->entry_count);
    for (uint32_t i = 0; i < s->entry_count; i++) {
        buf_put_u32le(b, s->entries[i].code);
        stat_sum_put(b, &s->entries[i].stat);
    }
}

void asd_statistics_get(struct rd *r, struct asd_statistics *ret_s)
{
    static const uint32_t v1_codes[] = {ASD_MULTI_GET, ASD_RANGE, ASD_RANGE_ENTRIES, ASD_APPLY};
    uint8_t version = rd_u8(r);

    *ret_s = (struct asd_statistics){0};
    ret_s->creation_s = finite_float(r);
    ret_s->period_s = finite_float(r);
    if (version == STATISTICS_V1) {
        ret_s->entry_count = sizeof(v1_codes) / sizeof(v1_codes[0]);
    } else if (version == STATISTICS_V2) {
        ret_s->entry_count = llio_count(r, ENTRY_BYTES);
    } else {
        rd_fail(r);
    }
    if (ret_s->entry_count == 0) {
        return;
    }
    ret_s->entries = mem_array(ret_s->entry_count, sizeof(ret_s->entries[0]));
    for (uint32_t i = 0; i < ret_s->entry_count; i++) {
        ret_s->entries[i].code = version == STATISTICS_V1 ? v1_codes[i] : rd_u32le(r);
        ret_s->entries[i].stat = stat_sum_get(r);
    }
}

void asd_statistics_release(struct asd_statistics *s)
{
    free(s->entries);
    *s = (struct asd_statistics){0};
}
