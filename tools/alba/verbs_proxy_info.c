/* Verbs that ask a proxy what it counted and what it knows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_figures.h"
#include "alba/ask.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "base/mem.h"

static json_t *text_json(struct slice text)
{
    bool escaped;

    return output_name(text, &escaped);
}

/* ---- statistics ---- */

static void add_stat(json_t *o, const char *name, const struct stat_sum *s)
{
    if (s->n != 0) { /* as programs expect it */
        json_object_set_new(o, name, stat_json(s));
    }
}

static json_t *ns_stats_json(const struct proxy_ns_stats *n)
{
    json_t *o = json_pack("{s:f}", "last_updated", n->last_updated_s);

    add_stat(o, "upload", &n->upload);
    add_stat(o, "download", &n->download);
    add_stat(o, "delete", &n->object_delete);
    json_object_update_new(
        o, json_pack("{s:i, s:i, s:i, s:i, s:i}", "manifest_cached", (int)n->manifest_cached,
                     "manifest_from_nsm", (int)n->manifest_from_nsm, "manifest_stale",
                     (int)n->manifest_stale, "fragment_cache_hits", (int)n->fragment_cache_hits,
                     "fragment_cache_misses", (int)n->fragment_cache_misses));
    add_stat(o, "partial_read_size", &n->partial_read_bytes);
    add_stat(o, "partial_read_count", &n->partial_read_count);
    add_stat(o, "partial_read_time", &n->partial_read_time);
    add_stat(o, "partial_read_objects", &n->partial_read_objects);
    add_stat(o, "empty_partial_read_count", &n->empty_partial_read_count);
    add_stat(o, "empty_partial_read_time", &n->empty_partial_read_time);
    add_stat(o, "empty_partial_read_objects", &n->empty_partial_read_objects);
    return o;
}

static json_t *make_statistics(const struct proxy_reply *reply)
{
    const struct proxy_statistics *s = &reply->statistics;
    json_t *list = json_array();

    for (uint32_t i = 0; i < s->count; i++) {
        json_array_append_new(
            list, json_pack("[o, o]", text_json(s->items[i].ns), ns_stats_json(&s->items[i])));
    }
    return json_pack("{s:f, s:f, s:o}", "creation", s->creation_s, "period", s->period_s,
                     "ns_stats", list);
}

static int run_statistics(struct cli *cli)
{
    const char *forget = cli_option(cli, "forget");
    struct slice *names = NULL;
    uint32_t count = 0;
    struct proxy_request request = {.code = PROXY_STATISTICS};
    int rc;

    for (const char *at = forget; at != NULL && *at != '\0'; at += *at == ',') {
        size_t len = strcspn(at, ",");

        names = mem_realloc(names, (count + 1) * sizeof(*names));
        names[count++] = slice_of(at, len);
        at += len;
    }
    request.statistics.clear = cli_flag(cli, "clear");
    request.statistics.forget = names;
    request.statistics.forget_count = count;
    rc = ask_proxy(cli, &request, make_statistics);
    free(names);
    return rc;
}

static void add_row(json_t *rows, const char *name, const char *what, const json_t *stat,
                    bool is_time)
{
    json_t *row = json_pack("{s:s, s:s, s:O}", "namespace", name, "what", what, "n",
                            json_object_get(stat, "n"));
    static const char *const keys[] = {"avg", "min", "max"};

    for (unsigned i = 0; i < 3; i++) {
        json_t *value = json_object_get(stat, keys[i]);

        json_object_set_new(row, keys[i],
                            is_time ? stat_seconds(value)
                                    : json_sprintf("%.0f", json_number_value(value)));
    }
    json_array_append_new(rows, row);
}

static void show_statistics(const struct cli *cli)
{
    json_t *rows = json_array();
    json_t *counts = json_array();
    char when[32];
    size_t index;
    json_t *pair;

    stat_time_text(json_real_value(json_object_get(cli->result, "creation")), when, sizeof(when));
    printf("since %s:\n", when);
    json_array_foreach(json_object_get(cli->result, "ns_stats"), index, pair)
    {
        const char *name = json_string_value(json_array_get(pair, 0));
        json_t *row = json_copy(json_array_get(pair, 1));
        const char *key;
        json_t *value;

        json_object_set_new(row, "namespace", json_string(name));
        json_array_append_new(counts, row);
        json_object_foreach(json_array_get(pair, 1), key, value)
        {
            if (json_is_object(value)) {
                size_t len = strlen(key);
                bool counts_things = strstr(key, "_size") != NULL ||
                                     strstr(key, "_count") != NULL ||
                                     (len > 8 && strcmp(key + len - 8, "_objects") == 0);

                add_row(rows, name, key, value, !counts_things);
            }
        }
    }
    output_table(counts,
                 "namespace=namespace manifests-cached=manifest_cached fetched=manifest_from_nsm "
                 "stale=manifest_stale cache-hits=fragment_cache_hits "
                 "misses=fragment_cache_misses");
    putchar('\n');
    output_table(rows, "namespace=namespace what=what n=n average=avg least=min most=max");
    json_decref(rows);
    json_decref(counts);
}

/* ---- configuration ---- */

static json_t *make_client_config(const struct proxy_reply *reply)
{
    const struct arakoon_config *c = &reply->client_config;
    json_t *nodes = json_array();

    for (uint32_t i = 0; i < c->node_count; i++) {
        json_t *ips = json_array();

        for (uint32_t j = 0; j < c->nodes[i].ip_count; j++) {
            json_array_append_new(ips, text_json(c->nodes[i].ips[j]));
        }
        json_array_append_new(nodes,
                              json_pack("{s:o, s:o, s:i}", "name", text_json(c->nodes[i].name),
                                        "ips", ips, "port", (int)c->nodes[i].port));
    }
    return json_pack("{s:o, s:o}", "cluster_id", text_json(c->cluster_id), "nodes", nodes);
}

static int run_client_config(struct cli *cli)
{
    return ask_proxy(cli, &(struct proxy_request){.code = PROXY_GET_CLIENT_CONFIG},
                     make_client_config);
}

static void show_fields(const struct cli *cli)
{
    output_fields(cli->result);
}

/* ---- OSDs ---- */

static json_t *times_json(const double *times_s, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, json_real(times_s[i]));
    }
    return list;
}

static json_t *events_json(const struct osd_event *events, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list,
                              json_pack("[f, o]", events[i].time_s, text_json(events[i].text)));
    }
    return list;
}

static json_t *strings_json(const struct slice *items, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(list, text_json(items[i]));
    }
    return list;
}

static json_t *info_json(const struct osd_info *info)
{
    json_t *o =
        json_pack("{s:s, s:o, s:i, s:b, s:b, s:o, s:o, s:b, s:I, s:I}", "kind",
                  info->kind == OSD_KIND_ASD ? "AsdV1" : "Other", "ips",
                  strings_json(info->hosts, info->host_count), "port", (int)info->port, "use_tls",
                  info->use_tls, "use_rdma", info->use_rdma, "long_id", text_json(info->long_id),
                  "node_id", text_json(info->node_id), "decommissioned", info->decommissioned,
                  "total", (json_int_t)info->total_bytes, "used", (json_int_t)info->used_bytes);

    json_object_update_new(o, json_pack("{s:o, s:o, s:o, s:o, s:I}", "seen",
                                        times_json(info->seen, info->seen_count), "read",
                                        times_json(info->read, info->read_count), "write",
                                        times_json(info->write, info->write_count), "errors",
                                        events_json(info->errors, info->error_count),
                                        "checksum_errors", (json_int_t)info->checksum_errors));
    return o;
}

static json_t *make_osd_info(const struct proxy_reply *reply)
{
    json_t *list = json_array();

    for (uint32_t a = 0; a < reply->albas.count; a++) {
        const struct proxy_alba *alba = &reply->albas.items[a];

        for (uint32_t i = 0; i < alba->osd_count; i++) {
            json_array_append_new(list, json_pack("[I, o]", (json_int_t)alba->osds[i].osd_id,
                                                  info_json(&alba->osds[i].info)));
        }
    }
    return list;
}

static int run_osd_info(struct cli *cli)
{
    return ask_proxy(cli, &(struct proxy_request){.code = PROXY_OSD_INFO}, make_osd_info);
}

static void show_osd_info(const struct cli *cli)
{
    json_t *rows = json_array();
    size_t index;
    json_t *pair;

    json_array_foreach(cli->result, index, pair)
    {
        json_t *row = json_copy(json_array_get(pair, 1));

        json_object_set(row, "id", json_array_get(pair, 0));
        json_array_append_new(rows, row);
    }
    output_sizes(rows, "used");
    output_sizes(rows, "total");
    output_table(rows, "id=id long_id=long_id node=node_id address=ips port=port used=used "
                       "total=total checksum-errors=checksum_errors");
    json_decref(rows);
}

static json_t *claim_json(const struct osd_claim *claim)
{
    switch (claim->kind) {
    case OSD_CLAIM_THIS:
        return json_pack("[s, I]", "ThisAlba", (json_int_t)claim->osd_id);
    case OSD_CLAIM_ANOTHER:
        return json_pack("[s, o]", "AnotherAlba", text_json(claim->alba_id));
    default:
        return json_pack("[s]", "Available");
    }
}

static json_t *state_json(const struct osd_state *s)
{
    json_t *o = json_pack(
        "{s:b, s:o, s:o, s:o, s:o}", "disqualified", s->disqualified, "read",
        times_json(s->read, s->read_count), "write", times_json(s->write, s->write_count), "errors",
        events_json(s->errors, s->error_count), "seen", times_json(s->seen, s->seen_count));

    json_object_set_new(o, "checksum_errors",
                        s->has_checksum_errors ? json_integer(s->checksum_errors) : json_null());
    return o;
}

static json_t *make_osd_view(const struct proxy_reply *reply)
{
    json_t *claims = json_array();
    json_t *states = json_array();

    for (uint32_t i = 0; i < reply->view.claim_count; i++) {
        const struct proxy_claim *c = &reply->view.claims[i];

        json_array_append_new(claims,
                              json_pack("[o, o]", text_json(c->long_id), claim_json(&c->claim)));
    }
    for (uint32_t i = 0; i < reply->view.state_count; i++) {
        const struct proxy_osd_state *s = &reply->view.states[i];

        json_array_append_new(states,
                              json_pack("[I, o]", (json_int_t)s->osd_id, state_json(&s->state)));
    }
    return json_pack("{s:o, s:o}", "claims", claims, "state", states);
}

static int run_osd_view(struct cli *cli)
{
    return ask_proxy(cli, &(struct proxy_request){.code = PROXY_OSD_VIEW}, make_osd_view);
}

static json_t *newest(const json_t *state, const char *key)
{
    const json_t *time = json_array_get(json_object_get(state, key), 0);
    char text[32];

    if (time == NULL) {
        return json_null();
    }
    stat_time_text(json_number_value(time), text, sizeof(text));
    return json_string(text);
}

static void show_osd_view(const struct cli *cli)
{
    json_t *rows = json_array();
    size_t index;
    json_t *pair;

    json_array_foreach(json_object_get(cli->result, "state"), index, pair)
    {
        json_t *row = json_copy(json_array_get(pair, 1));

        json_object_set(row, "osd", json_array_get(pair, 0));
        json_object_set_new(row, "last_read", newest(row, "read"));
        json_object_set_new(row, "last_write", newest(row, "write"));
        json_array_append_new(rows, row);
    }
    output_table(json_object_get(cli->result, "claims"), "long_id=#0 claim=#1.#0 osd=#1.#1");
    putchar('\n');
    output_table(rows, "osd=osd set-aside=disqualified last-read=last_read last-write=last_write "
                       "checksum-errors=checksum_errors last-error=errors.#0.#1");
    json_decref(rows);
}

const struct verb proxy_info_verbs[] = {
    {.name = "proxy-statistics",
     .group = "Proxy",
     .summary = "print what a proxy counted, by namespace",
     .options = {TARGET_OPTIONS,
                 {.name = "clear", .help = "begin to count anew"},
                 {.name = "forget",
                  .arg = "NAME[,NAME…]",
                  .help = "forget what was counted for these namespaces",
                  .is_list = true}},
     .run = run_statistics,
     .show = show_statistics},
    {.name = "proxy-client-cfg",
     .group = "Proxy",
     .summary = "print which alba a proxy serves",
     .options = {TARGET_OPTIONS},
     .run = run_client_config,
     .show = show_fields},
    {.name = "proxy-osd-info",
     .group = "Proxy",
     .summary = "print what a proxy tells clients about the OSDs",
     .options = {TARGET_OPTIONS},
     .run = run_osd_info,
     .show = show_osd_info},
    {.name = "proxy-osd-view",
     .group = "Proxy",
     .summary = "print how the OSDs look from a proxy",
     .options = {TARGET_OPTIONS},
     .run = run_osd_view,
     .show = show_osd_view},
    {.name = NULL},
};
