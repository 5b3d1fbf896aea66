/* The scrub as JSON and as metrics. */
#include <inttypes.h>
#include <stdio.h>

#include <jansson.h>

#include "asd/scrub_private.h"
#include "daemon/metrics.h"

/* Of the pass, by what values cost; 0 to 1. */
static double progress(const struct asd_scrub *s, const struct asd_scrub_stats *stats)
{
    double used = (double)atomic_load(&s->store->counters.used_bytes);
    double part = used > 0 ? (double)stats->cost_bytes / used : 1;

    return !stats->running ? (stats->pass != 0) : part < 1 ? part : 1;
}

static json_t *list_of(const struct asd_scrub *s)
{
    json_t *list = json_array();
    unsigned count;
    const struct asd_scrub_bad *bad = asd_scrub_list(s, &count);

    for (unsigned i = 0; i < count; i++) {
        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "key", bad[i].key, "kind",
                                              asd_bad_name(bad[i].kind), "error", bad[i].why));
    }
    return list;
}

json_t *asd_scrub_status(const struct asd_scrub *s)
{
    struct asd_scrub_stats stats = asd_scrub_stats(s);
    const char *state = s->settings.rate == 0 ? "off" : stats.running ? "running" : "paused";

    return json_pack("{s:s, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "state", state,
                     "pass", (json_int_t)stats.pass, "percent", 100 * progress(s, &stats), "keys",
                     (json_int_t)stats.keys, "bytes", (json_int_t)stats.bytes, "bad_values",
                     (json_int_t)stats.bad, "bad_values_last_pass", (json_int_t)stats.last_bad,
                     "started", (json_int_t)stats.started_s, "ended", (json_int_t)stats.ended_s,
                     "rate", (json_int_t)s->settings.rate, "interval_s",
                     (json_int_t)s->settings.interval_s, "bad", list_of(s));
}

static void put(struct buf *out, const char *name, enum metric_type type, double value,
                const char *help)
{
    metrics_put_family(out, name, type, help);
    metrics_put_sample(out, name, NULL, value);
}

void asd_scrub_collect(const struct asd_scrub *s, struct buf *out)
{
    struct asd_scrub_stats stats = asd_scrub_stats(s);

    put(out, "asd_scrub_running", METRIC_GAUGE, stats.running, "1: a pass is under way.");
    put(out, "asd_scrub_passes_total", METRIC_COUNTER,
        (double)(stats.pass - (stats.running ? 1 : 0)), "Passes done since the ASD was made.");
    put(out, "asd_scrub_progress_ratio", METRIC_GAUGE, progress(s, &stats), "Of the pass.");
    put(out, "asd_scrub_keys_total", METRIC_COUNTER, (double)stats.total_keys, "Values read.");
    put(out, "asd_scrub_bytes_total", METRIC_COUNTER, (double)stats.total_bytes, "Bytes read.");
    put(out, "asd_scrub_last_end_timestamp_seconds", METRIC_GAUGE, (double)stats.ended_s,
        "When the last whole pass ended; 0: there was none.");
    put(out, "asd_scrub_last_bad_values", METRIC_GAUGE, (double)stats.last_bad,
        "Bad values of the last whole pass.");
    metrics_put_family(out, "asd_scrub_bad_values", METRIC_GAUGE,
                       "Bad values of this pass, found since the start of the process.");
    for (unsigned kind = ASD_BAD_NOTHING + 1; kind < ASD_BADS; kind++) {
        char label[64];

        snprintf(label, sizeof label, "kind=\"%s\"", asd_bad_name((enum asd_bad)kind));
        metrics_put_sample(out, "asd_scrub_bad_values", label, (double)stats.bad_by_kind[kind]);
    }
}
