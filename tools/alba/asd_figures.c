#include "alba/asd_figures.h"

#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "alba/asd_call.h"
#include "alba/output.h"
#include "base/check.h"

json_t *stat_json(const struct stat_sum *s)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "n", (json_int_t)s->n, "avg",
                     s->avg, "exp_avg", s->exp_avg, "m2", s->m2, "var", s->var, "min", s->min,
                     "max", s->max, "alpha", s->alpha);
}

static json_t *statistics_json(const struct asd_statistics *s, int64_t used, int64_t capacity)
{
    json_t *o = json_pack("{s:f, s:f, s:I, s:I}", "creation", s->creation_s, "period", s->period_s,
                          "disk_usage", (json_int_t)used, "capacity", (json_int_t)capacity);

    for (uint32_t i = 0; i < s->entry_count; i++) {
        json_object_set_new(o, asd_code_name(s->entries[i].code), stat_json(&s->entries[i].stat));
    }
    CHECK(o != NULL); /* its numbers are finite: the decoder takes no others */
    return o;
}

json_t *asd_figures_ask(uv_loop_t *loop, struct asd_client *client, bool clear, unsigned timeout_ms,
                        struct err *e)
{
    const struct asd_request usage = {.code = ASD_GET_DISK_USAGE};
    const struct asd_request statistics = {.code = ASD_STATISTICS, .clear = clear};
    struct asd_answer u;
    struct asd_answer s;
    json_t *o;
    int rc = asd_call_with(loop, client, &usage, timeout_ms, &u, e);

    if (rc != 0) {
        return NULL;
    }
    rc = asd_call_with(loop, client, &statistics, timeout_ms, &s, e);
    if (rc != 0) {
        asd_answer_release(&u);
        return NULL;
    }
    o = statistics_json(&s.reply.statistics, u.reply.usage.used_bytes,
                        u.reply.usage.capacity_bytes);
    asd_answer_release(&s);
    asd_answer_release(&u);
    return o;
}

json_t *stat_seconds(const json_t *seconds)
{
    double s = json_number_value(seconds);
    char text[32];

    if (s < 1e-3) {
        snprintf(text, sizeof(text), "%.0f us", s * 1e6);
    } else if (s < 1) {
        snprintf(text, sizeof(text), s < 0.1 ? "%.2f ms" : "%.0f ms", s * 1e3);
    } else {
        snprintf(text, sizeof(text), "%.2f s", s);
    }
    return json_string(text);
}

/* A peer may say anything: a time that no calendar has is shown as its number. */
void stat_time_text(double seconds, char *ret_text, size_t bytes)
{
    bool fits = seconds >= 0 && seconds < (double)INT32_MAX * 1000;
    time_t since = fits ? (time_t)seconds : 0;
    struct tm tm;

    if (!fits || localtime_r(&since, &tm) == NULL || strftime(ret_text, bytes, "%F %T", &tm) == 0) {
        snprintf(ret_text, bytes, "%g", seconds);
    }
}

static uint64_t size_of(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

void asd_figures_show(const json_t *o)
{
    json_t *rows = json_array();
    char used[OUTPUT_SIZE_TEXT_BYTES];
    char capacity[OUTPUT_SIZE_TEXT_BYTES];
    char when[32];
    const char *key;
    json_t *value;

    stat_time_text(json_real_value(json_object_get(o, "creation")), when, sizeof(when));
    output_size_text(used, size_of(o, "disk_usage"));
    output_size_text(capacity, size_of(o, "capacity"));
    printf("%s of %s used; requests since %s:\n", used, capacity, when);
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        if (json_is_object(value)) {
            json_array_append_new(rows,
                                  json_pack("{s:s, s:O, s:o, s:o, s:o}", "request", key, "n",
                                            json_object_get(value, "n"), "avg",
                                            stat_seconds(json_object_get(value, "avg")), "min",
                                            stat_seconds(json_object_get(value, "min")), "max",
                                            stat_seconds(json_object_get(value, "max"))));
        }
    }
    output_table(rows, "request=request count=n average=avg shortest=min longest=max");
    json_decref(rows);
}
