#include "alba/latencies.h"

#include <math.h>
#include <stdlib.h>

#include "alba/output.h"
#include "base/mem.h"

void latencies_add(struct latencies *l, uint64_t ns)
{
    uint64_t us = ns / 1000;

    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? 2 * l->cap : 1024;
        l->us = mem_realloc(l->us, l->cap * sizeof(*l->us));
    }
    l->us[l->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void latencies_release(struct latencies *l)
{
    free(l->us);
    *l = (struct latencies){0};
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static json_int_t percentile(const struct latencies *l, unsigned per_cent)
{
    return l->count != 0 ? l->us[(l->count - 1) * per_cent / 100] : 0;
}

json_t *latencies_json(struct latencies *l, const char *name, double seconds, uint64_t bytes)
{
    double s = seconds > 0 ? seconds : 1e-9;

    if (l->count != 0) {
        qsort(l->us, l->count, sizeof(*l->us), compare);
    }
    return json_pack("{s:s, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "name", name, "ops",
                     (json_int_t)l->count, "seconds", seconds, "ops_per_s", (double)l->count / s,
                     "mb_per_s", (double)bytes / s / 1e6, "p50_us", percentile(l, 50), "p99_us",
                     percentile(l, 99), "max_us", percentile(l, 100));
}

static json_t *rounded(const json_t *value)
{
    return json_real(round(json_number_value(value) * 10) / 10);
}

void latencies_show(const json_t *rows)
{
    json_t *shown = json_array();
    size_t index;
    json_t *row;

    json_array_foreach(rows, index, row)
    {
        json_t *copy = json_copy(row);

        json_object_set_new(
            copy, "ops_per_s",
            json_integer((json_int_t)json_number_value(json_object_get(row, "ops_per_s"))));
        json_object_set_new(copy, "mb_per_s", rounded(json_object_get(row, "mb_per_s")));
        json_array_append_new(shown, copy);
    }
    output_table(shown, "what=name ops=ops ops/s=ops_per_s MB/s=mb_per_s p50-us=p50_us "
                        "p99-us=p99_us longest-us=max_us");
    json_decref(shown);
}
