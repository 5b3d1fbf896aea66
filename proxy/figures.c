#include "proxy/figures.h"

#include "daemon/metrics.h"

static const char *state_of(const struct osd *osd)
{
    if (osd->decommissioned) {
        return "decommissioned";
    }
    if (osd->aside) {
        return "aside";
    }
    if (osd->full) {
        return "full";
    }
    return osd->slow.is ? "slow" : "ok";
}

static void print_osds(const struct engine *engine, struct buf *out)
{
    static const char name[] = "proxy_osd_up";

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

/* What clients asked for. */
static void print_clients(const struct engine *engine, struct buf *out)
{
    const struct stats_totals *t = &engine->stats.totals;
    const struct metric_single figures[] = {
        {"proxy_requests_total", METRIC_COUNTER, t->requests, "Requests of clients."},
        {"proxy_puts_total", METRIC_COUNTER, t->puts, "Objects put."},
        {"proxy_put_bytes_total", METRIC_COUNTER, t->put_bytes, "Their bytes."},
        {"proxy_put_failures_total", METRIC_COUNTER, t->put_failures, "Transactions that failed."},
        {"proxy_gets_total", METRIC_COUNTER, t->gets, "Objects read, whole or in part."},
        {"proxy_get_bytes_total", METRIC_COUNTER, t->get_bytes, "Bytes given to clients."},
        {"proxy_get_failures_total", METRIC_COUNTER, t->get_failures, "Reads that failed."},
        {"proxy_deletes_total", METRIC_COUNTER, t->deletes, "Objects deleted."},
        {"proxy_incomplete_objects_total", METRIC_COUNTER, t->incomplete_objects,
         "Objects put with fragments missing."},
        {"proxy_stale_manifests_total", METRIC_COUNTER, t->stale_manifests,
         "Reads repeated with a fresh manifest."},
        {"proxy_in_doubt_total", METRIC_COUNTER, t->in_doubt,
         "Commits whose outcome stayed unknown."},
    };

    metrics_put_singles(out, figures, sizeof(figures) / sizeof(*figures));
}

/* What became of fragments. */
static void print_fragments(const struct engine *engine, struct buf *out)
{
    const struct stats_totals *t = &engine->stats.totals;
    const struct metric_single figures[] = {
        {"proxy_fragments_stored_total", METRIC_COUNTER, t->fragments_stored, "Fragments stored."},
        {"proxy_fragments_failed_total", METRIC_COUNTER, t->fragments_failed,
         "Fragments that an OSD did not take."},
        {"proxy_fragments_replaced_total", METRIC_COUNTER, t->fragments_replaced,
         "Of those, sent to another OSD."},
        {"proxy_epilogues_total", METRIC_COUNTER, t->epilogues,
         "Manifests updated with late fragments."},
        {"proxy_fragment_reads_total", METRIC_COUNTER, t->fragment_reads,
         "Requests to OSDs for a fragment or a part of one."},
        {"proxy_unpacks_shared_total", METRIC_COUNTER, t->unpacks_shared,
         "Fragments of format 0 that another reader was unpacking at the moment."},
        {"proxy_fragment_reads_shared_total", METRIC_COUNTER, t->fragment_reads_shared,
         "Reads of fragments that waited for such a request of another read."},
        {"proxy_near_reads_total", METRIC_COUNTER, t->near_reads,
         "Reads of fragments for clients, from preferred nodes (any, when none is preferred)."},
        {"proxy_far_reads_total", METRIC_COUNTER, t->far_reads, "The same from other nodes."},
        {"proxy_reconstructed_total", METRIC_COUNTER, t->reconstructed,
         "Reads that had to compute data from parity."},
        {"proxy_hedges_total", METRIC_COUNTER, t->hedges,
         "Reads that took too long and went another way as well, within 2 % of all."},
        {"proxy_hedges_away_total", METRIC_COUNTER, t->hedges_away,
         "The same beyond the 2 %: they waited for an OSD that was found not to answer."},
        {"proxy_hedges_won_total", METRIC_COUNTER, t->hedges_won,
         "Of both, those for which the other way was faster."},
        {"proxy_hedges_refused_total", METRIC_COUNTER, t->hedges_refused,
         "Reads that took too long when 2 % had gone another way already."},
        {"proxy_hedges_saturated_total", METRIC_COUNTER, t->hedges_saturated,
         "Reads that took too long while the proxy had too much to do."},
        {"proxy_corrupt_fragments_total", METRIC_COUNTER, t->corrupt_fragments,
         "Fragments that failed a check."},
        {"proxy_repaired_fragments_total", METRIC_COUNTER, t->fragments_repaired,
         "Lost or damaged fragments made anew."},
        {"proxy_repaired_bytes_total", METRIC_COUNTER, t->repaired_bytes, "Their bytes."},
        {"proxy_repairs_failed_total", METRIC_COUNTER, t->repairs_failed,
         "Objects whose repair failed, or was not complete."},
        {"proxy_repairs_left_total", METRIC_COUNTER, t->repairs_left,
         "Of those, left to maintenance as work items."},
        {"proxy_repairs_dropped_total", METRIC_COUNTER, t->repairs_dropped,
         "Times lost fragments were found and not noted: too many others waited, or the object was "
         "under repair."},
        {"proxy_repairs_waiting", METRIC_GAUGE, engine->repairs.count,
         "Objects that wait for a repair, are under repair, or rest after one that failed."},
    };

    metrics_put_singles(out, figures, sizeof(figures) / sizeof(*figures));
}

/* Caches and memory. */
static void print_memory(const struct engine *engine, struct buf *out)
{
    const struct metric_single figures[] = {
        {"proxy_index_cache_hits_total", METRIC_COUNTER, engine->indexes.hits,
         "Trailers found in the cache."},
        {"proxy_index_cache_misses_total", METRIC_COUNTER, engine->indexes.misses,
         "Trailers fetched."},
        {"proxy_transfer_bytes", METRIC_GAUGE, engine->budget.used_bytes,
         "Memory that transfers hold."},
        {"proxy_read_scratch_bytes", METRIC_GAUGE, engine->scratch_bytes,
         "What reads have asked of OSDs or unpacked, besides what they give out."},
        {"proxy_reply_bytes", METRIC_GAUGE, engine->replies.used_bytes,
         "Data read for clients that have not taken it yet."},
        {"proxy_stream_bytes", METRIC_GAUGE, engine->streams.used_bytes,
         "Memory that puts hold that come in parts."},
        {"proxy_streams_waiting", METRIC_GAUGE, engine->streams.waiting_count,
         "Puts in parts that wait for memory."},
        {"proxy_replies_waiting", METRIC_GAUGE, engine->replies.waiting_count,
         "Reads that wait for memory of replies."},
        {"proxy_transfers_waiting", METRIC_GAUGE, engine->budget.waiting_count,
         "Transfers that wait for memory."},
        {"proxy_index_cache_bytes", METRIC_GAUGE, engine->indexes.items.used_bytes,
         "Memory that cached trailers take."},
        {"proxy_block_cache_hits_total", METRIC_COUNTER, engine->blocks.hits,
         "Blocks that slices found in the cache."},
        {"proxy_block_cache_misses_total", METRIC_COUNTER, engine->blocks.misses,
         "Blocks that were not there."},
        {"proxy_block_cache_evictions_total", METRIC_COUNTER, engine->blocks.items.evictions,
         "Blocks that made room for others."},
        {"proxy_block_cache_bytes", METRIC_GAUGE, engine->blocks.items.used_bytes,
         "Memory that cached blocks take."},
        {"proxy_manifest_cache_hits_total", METRIC_COUNTER, engine->manifests.hits,
         "Manifests found in the cache."},
        {"proxy_manifest_cache_misses_total", METRIC_COUNTER, engine->manifests.misses,
         "Manifests that were not there when a reader would have taken them."},
        {"proxy_manifest_cache_bytes", METRIC_GAUGE, engine->manifests.items.used_bytes,
         "Memory that cached manifests take."},
    };

    metrics_put_singles(out, figures, sizeof(figures) / sizeof(*figures));
}

void figures_print(const struct engine *engine, struct buf *out)
{
    print_clients(engine, out);
    print_fragments(engine, out);
    print_memory(engine, out);
    print_osds(engine, out);
}

static json_t *list_osds(const struct engine *engine)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < osds_count(engine->osds); i++) {
        const struct osd *osd = osds_at(engine->osds, i);

        json_array_append_new(
            list,
            json_pack("{s:I, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:f, s:I, s:I, s:I, s:s}", "id",
                      (json_int_t)osd->id, "long_id", osd->long_id, "node_id", osd->node_id,
                      "address", osd->addrs[0].text, "state", state_of(osd), "suspect",
                      osd->suspect.is, "used_bytes", (json_int_t)osd->used_bytes, "total_bytes",
                      (json_int_t)osd->total_bytes, "latency_ms", osd->latency_ms, "calls",
                      (json_int_t)osd->calls, "failed_calls", (json_int_t)osd->failed_calls,
                      "checksum_errors", (json_int_t)osd->checksum_errors, "last_failure",
                      osd->failures[0].text));
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
