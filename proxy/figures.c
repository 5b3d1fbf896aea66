#include "proxy/figures.h"

#include <stdio.h>

#include "daemon/metrics.h"

enum { NAME_BYTES = 96 };

static void put(struct buf *out, const char *prefix, const char *what, enum metric_type type,
                double value, const char *help)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s_%s", prefix, what);
    metrics_put_family(out, name, type, help);
    metrics_put_sample(out, name, NULL, value);
}

static const char *state_of(const struct osd *osd)
{
    if (osd->decommissioned) {
        return "decommissioned";
    }
    if (osd->aside) {
        return "aside";
    }
    return osd->full ? "full" : "ok";
}

static void print_osds(const struct engine *engine, const char *prefix, struct buf *out)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s_osd_up", prefix);
    metrics_put_family(out, name, METRIC_GAUGE, "1: the OSD is used, 0: it is set aside.");
    for (unsigned i = 0; i < osds_count(engine->osds); i++) {
        const struct osd *osd = osds_at(engine->osds, i);
        struct buf labels = {0};

        metrics_put_label(&labels, "osd", osd->long_id);
        buf_put_u8(&labels, 0);
        metrics_put_sample(out, name, (const char *)labels.data, osd->aside ? 0 : 1);
        buf_release(&labels);
    }
}

void figures_print(const struct engine *engine, const char *prefix, struct buf *out)
{
    const struct stats_totals *t = &engine->stats.totals;
    const struct {
        const char *name;
        uint64_t value;
        const char *help;
    } counters[] = {
        {"requests_total", t->requests, "Requests of clients."},
        {"puts_total", t->puts, "Objects put."},
        {"put_bytes_total", t->put_bytes, "Their bytes."},
        {"put_failures_total", t->put_failures, "Transactions that failed."},
        {"gets_total", t->gets, "Objects read, whole or in part."},
        {"get_bytes_total", t->get_bytes, "Bytes given to clients."},
        {"get_failures_total", t->get_failures, "Reads that failed."},
        {"deletes_total", t->deletes, "Objects deleted."},
        {"fragments_stored_total", t->fragments_stored, "Fragments stored."},
        {"fragments_failed_total", t->fragments_failed, "Fragments that an OSD did not take."},
        {"fragments_replaced_total", t->fragments_replaced, "Of those, sent to another OSD."},
        {"incomplete_objects_total", t->incomplete_objects, "Objects put with fragments missing."},
        {"epilogues_total", t->epilogues, "Manifests updated with late fragments."},
        {"reconstructed_total", t->reconstructed, "Reads that had to compute data from parity."},
        {"corrupt_fragments_total", t->corrupt_fragments, "Fragments that failed a check."},
        {"stale_manifests_total", t->stale_manifests, "Reads repeated with a fresh manifest."},
        {"in_doubt_total", t->in_doubt, "Commits whose outcome stayed unknown."},
        {"index_cache_hits_total", engine->indexes.hits, "Trailers found in the cache."},
        {"index_cache_misses_total", engine->indexes.misses, "Trailers fetched."},
    };

    for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++) {
        put(out, prefix, counters[i].name, METRIC_COUNTER, (double)counters[i].value,
            counters[i].help);
    }
    put(out, prefix, "transfer_bytes", METRIC_GAUGE, (double)engine->budget.used_bytes,
        "Memory that transfers hold.");
    put(out, prefix, "reply_bytes", METRIC_GAUGE, (double)engine->replies.used_bytes,
        "Data read for clients that have not taken it yet.");
    put(out, prefix, "replies_waiting", METRIC_GAUGE, (double)engine->replies.waiting_count,
        "Reads that wait for memory of replies.");
    put(out, prefix, "transfers_waiting", METRIC_GAUGE, (double)engine->budget.waiting_count,
        "Transfers that wait for memory.");
    put(out, prefix, "manifest_cache_bytes", METRIC_GAUGE, (double)engine->manifests.used_bytes,
        "Memory that cached manifests take.");
    print_osds(engine, prefix, out);
}

static json_t *list_osds(const struct engine *engine)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < osds_count(engine->osds); i++) {
        const struct osd *osd = osds_at(engine->osds, i);

        json_array_append_new(
            list,
            json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:f, s:I, s:I, s:I, s:s}", "id",
                      (json_int_t)osd->id, "long_id", osd->long_id, "node_id", osd->node_id,
                      "address", osd->addr.text, "state", state_of(osd), "used_bytes",
                      (json_int_t)osd->used_bytes, "total_bytes", (json_int_t)osd->total_bytes,
                      "latency_ms", osd->latency_ms, "calls", (json_int_t)osd->calls,
                      "failed_calls", (json_int_t)osd->failed_calls, "checksum_errors",
                      (json_int_t)osd->checksum_errors, "last_failure", osd->failures[0].text));
    }
    return list;
}

void figures_status(const struct engine *engine, json_t *object)
{
    const struct stats_totals *t = &engine->stats.totals;

    json_object_set_new(object, "puts", json_integer((json_int_t)t->puts));
    json_object_set_new(object, "gets", json_integer((json_int_t)t->gets));
    json_object_set_new(object, "incomplete_objects",
                        json_integer((json_int_t)t->incomplete_objects));
    json_object_set_new(object, "corrupt_fragments",
                        json_integer((json_int_t)t->corrupt_fragments));
    json_object_set_new(object, "transfer_bytes",
                        json_integer((json_int_t)engine->budget.used_bytes));
    json_object_set_new(object, "transfer_bytes_max",
                        json_integer((json_int_t)engine->budget.limit_bytes));
    json_object_set_new(object, "transfers_waiting",
                        json_integer((json_int_t)engine->budget.waiting_count));
    json_object_set_new(object, "osds", list_osds(engine));
}
