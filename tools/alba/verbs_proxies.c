/* Verbs about the proxies that the registry lists. */
#include "alba/output.h"
#include "alba/proxies.h"
#include "alba/verb.h"

#include <stdio.h>

static json_t *record_json(const struct proxy_record *record)
{
    json_t *endpoints = json_array();

    for (unsigned i = 0; i < record->endpoint_count; i++) {
        json_array_append_new(endpoints, json_string(record->endpoints[i]));
    }
    return json_pack("{s:s, s:s, s:s, s:f, s:o}", "id", record->id, "host", record->host, "version",
                     record->version, "started", (double)record->started_us / 1e6, "endpoints",
                     endpoints);
}

static int run_list(struct cli *cli)
{
    struct proxies proxies = {0};
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        rc = proxies_list(&s, &proxies);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    cli->result = json_array();
    for (size_t i = 0; i < proxies.count; i++) {
        json_array_append_new(cli->result, record_json(&proxies.records[i]));
    }
    if (proxies.damaged != 0) {
        fprintf(stderr, "%zu records cannot be read; they go by themselves\n", proxies.damaged);
    }
    proxies_release(&proxies);
    session_close(&s);
    return rc;
}

static void show_list(const struct cli *cli)
{
    json_t *rows = json_deep_copy(cli->result);
    size_t index;
    json_t *row;

    json_array_foreach(rows, index, row)
    {
        struct buf text = {0};
        size_t at;
        json_t *uri;

        json_array_foreach(json_object_get(row, "endpoints"), at, uri)
        {
            buf_printf(&text, "%s%s", at != 0 ? " " : "", json_string_value(uri));
        }
        json_object_set_new(row, "endpoints", json_stringn((char *)text.data, text.len));
        buf_release(&text);
    }
    output_table(rows, "host=host version=version listens=endpoints");
    json_decref(rows);
}

const struct verb proxies_verbs[] = {
    {.name = "list-proxies",
     .group = "Proxy",
     .summary = "list the proxies that serve, as the registry has them",
     .details = "A proxy that died is listed until three of its announce_interval have passed.",
     .run = run_list,
     .show = show_list,
     .fails_with_exit_one = true,
     .wants_registry = true},
    {.name = NULL},
};
