/* Verbs that tell what is in namespaces, and what the loss of OSDs would mean. Each reads every
 * manifest: nothing else knows it exactly. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/namespace_scan.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "alba/walk.h"
#include "meta/nsm_gc.h"

/* ---- contents ---- */

static json_t *statistics_json(const struct namespace_scan *scan)
{
    json_t *osds = json_array();

    for (size_t i = 0; i < scan->osd_count; i++) {
        json_array_append_new(osds, json_pack("[I, I]", (json_int_t)scan->osds[i].osd_id,
                                              (json_int_t)scan->osds[i].bytes));
    }
    return json_pack("{s:I, s:I, s:o, s:o, s:I}", "logical", (json_int_t)scan->logical_bytes,
                     "storage", (json_int_t)scan->stored_bytes, "storage_per_osd", osds,
                     "bucket_count", namespace_scan_buckets_json(scan), "damaged",
                     (json_int_t)scan->damaged);
}

static int scan_json(struct session *s, const struct registry_namespace *ns, json_t **ret_json)
{
    struct namespace_scan scan = {0};
    int rc = namespace_scan(&scan, s, ns);

    *ret_json = rc == 0 ? statistics_json(&scan) : NULL;
    namespace_scan_release(&scan);
    return rc;
}

static const struct registry_namespace *find(struct session *s, struct cli *cli, const char *name)
{
    const struct registry_namespace *ns =
        registry_view_namespace_find(registry_view(s->registry), name, strlen(name));

    if (ns == NULL) {
        err_say(&s->err, ERR_NOT_FOUND,
                "namespace '%.100s' does not exist; see alba list-namespaces", name);
        session_fail_mgr(s, cli, MGR_NAMESPACE_NOT_FOUND);
    }
    return ns;
}

static int run_show(struct cli *cli)
{
    const struct registry_namespace *ns = NULL;
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        ns = find(&s, cli, cli_arg(cli, 0));
        rc = ns != NULL ? scan_json(&s, ns, &cli->result) : ERR_NOT_FOUND;
        if (rc != 0 && ns != NULL) {
            session_fail_mgr(&s, cli, MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

static void size_field(json_t *fields, const char *name, const json_t *bytes)
{
    char text[OUTPUT_SIZE_TEXT_BYTES];

    output_size_text(text, (uint64_t)json_integer_value(bytes));
    json_object_set_new(fields, name, json_string(text));
}

static json_int_t object_count(const json_t *statistics)
{
    json_int_t objects = json_integer_value(json_object_get(statistics, "damaged"));
    size_t index;
    json_t *bucket;

    json_array_foreach(json_object_get(statistics, "bucket_count"), index, bucket)
    {
        objects += json_integer_value(json_array_get(bucket, 1));
    }
    return objects;
}

static void show_one(const struct cli *cli)
{
    const json_t *r = cli->result;
    json_t *fields = json_object();
    json_t *osds = json_array();
    size_t index;
    json_t *row;

    json_object_set_new(fields, "objects", json_integer(object_count(r)));
    size_field(fields, "bytes", json_object_get(r, "logical"));
    size_field(fields, "stored", json_object_get(r, "storage"));
    if (json_integer_value(json_object_get(r, "damaged")) != 0) {
        json_object_set(fields, "damaged manifests", json_object_get(r, "damaged"));
    }
    output_fields(fields);
    json_decref(fields);
    putchar('\n');
    output_table(json_object_get(r, "bucket_count"),
                 "k=#0.#0 m=#0.#1 fragments=#0.#2 on-one-node=#0.#3 objects=#1");
    json_array_foreach(json_object_get(r, "storage_per_osd"), index, row)
    {
        json_array_append_new(osds, json_pack("{s:O, s:O}", "osd", json_array_get(row, 0), "stored",
                                              json_array_get(row, 1)));
    }
    output_sizes(osds, "stored");
    putchar('\n');
    output_table(osds, "osd=osd stored=stored");
    json_decref(osds);
}

static json_t *namespace_row(const struct registry_namespace *ns, json_t *take_statistics)
{
    return json_pack("{s:s, s:o, s:{s:I, s:s, s:s, s:s, s:s}}", "name", ns->name, "statistics",
                     take_statistics, "namespace", "id", (json_int_t)ns->id, "name", ns->name,
                     "nsm_host_id", ns->nsm_host, "state", registry_namespace_state_text(ns->state),
                     "preset_name", ns->preset);
}

static int show_some(struct cli *cli, struct session *s, struct walk *w, json_t *list)
{
    const struct registry_view *view = registry_view_hold(registry_view(s->registry));
    size_t count = registry_view_namespace_count(view);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct registry_namespace *ns =
            registry_view_namespace(view, w->reverse ? count - 1 - i : i);
        json_t *statistics;

        if (!walk_takes(w, slice_str(ns->name))) {
            continue;
        }
        rc = scan_json(s, ns, &statistics);
        if (rc == 0) {
            json_array_append_new(list, namespace_row(ns, statistics));
        } else {
            session_fail_mgr(s, cli, MGR_UNKNOWN);
        }
    }
    registry_view_drop(view);
    return rc;
}

static int run_show_all(struct cli *cli)
{
    json_t *list = json_array();
    struct walk w = {0};
    struct session s;
    int rc = session_open(&s, cli);

    rc = rc != 0 ? rc : walk_init(&w, cli, REGISTRY_NAME_BYTES_MAX);
    rc = rc != 0 ? rc : show_some(cli, &s, &w, list);
    walk_release(&w);
    session_close(&s);
    cli->result = json_pack("[I, o]", (json_int_t)json_array_size(list), list);
    return rc;
}

static void show_all(const struct cli *cli)
{
    json_t *rows = json_array();
    size_t index;
    json_t *item;

    json_array_foreach(json_array_get(cli->result, 1), index, item)
    {
        const json_t *ns = json_object_get(item, "namespace");
        const json_t *statistics = json_object_get(item, "statistics");

        json_array_append_new(
            rows, json_pack("{s:O, s:O, s:O, s:I, s:O, s:O}", "name", json_object_get(ns, "name"),
                            "preset", json_object_get(ns, "preset_name"), "state",
                            json_object_get(ns, "state"), "objects", object_count(statistics),
                            "bytes", json_object_get(statistics, "logical"), "stored",
                            json_object_get(statistics, "storage")));
    }
    output_sizes(rows, "bytes");
    output_sizes(rows, "stored");
    output_table(rows,
                 "name=name preset=preset state=state objects=objects bytes=bytes stored=stored");
    json_decref(rows);
}

/* ---- lists ---- */

static int run_by_id(struct cli *cli)
{
    json_t *names = json_object();
    struct session s;
    int rc = session_open(&s, cli);
    const struct registry_view *view = rc == 0 ? registry_view(s.registry) : NULL;

    for (size_t i = 0; view != NULL && i < registry_view_namespace_count(view); i++) {
        const struct registry_namespace *ns = registry_view_namespace(view, i);
        char id[24];

        snprintf(id, sizeof(id), "%llu", (unsigned long long)ns->id);
        json_object_set_new(names, id, json_string(ns->name));
    }
    session_close(&s);
    cli->result = json_pack("[o]", names);
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    json_int_t left = json_integer_value(json_array_get(*(json_t *const *)a, 0));
    json_int_t right = json_integer_value(json_array_get(*(json_t *const *)b, 0));

    return left < right ? -1 : left > right;
}

static void show_by_id(const struct cli *cli)
{
    size_t count = json_object_size(json_array_get(cli->result, 0));
    json_t **rows = calloc(count + 1, sizeof(*rows));
    json_t *sorted = json_array();
    const char *id;
    size_t n = 0;
    json_t *name;

    json_object_foreach(json_array_get(cli->result, 0), id, name)
    {
        rows[n++] = json_pack("[I, O]", (json_int_t)strtoll(id, NULL, 10), name);
    }
    qsort(rows, n, sizeof(json_t *), compare_ids);
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(sorted, rows[i]);
    }
    output_table(sorted, "id=#0 name=#1");
    json_decref(sorted);
    free(rows);
}

static void on_osd_page(void *ctx, int rc, struct nsm_reply *reply)
{
    void **both = ctx;

    *(bool *)both[1] = rc == 0 && reply->count != 0;
    session_done(both[0], rc, &reply->err);
}

static size_t place_by_id(const json_t *list, uint64_t osd_id)
{
    size_t place = 0;

    while (place < json_array_size(list) &&
           json_integer_value(json_array_get(json_array_get(list, place), 0)) <
               (json_int_t)osd_id) {
        place++;
    }
    return place;
}

/* Every OSD of this alba that takes new fragments of any namespace, and those that hold some. */
static int list_osds(struct cli *cli, struct session *s, const struct registry_namespace *ns)
{
    const struct registry_view *view = registry_view_hold(registry_view(s->registry));
    uint64_t ns_id = ns->id;
    struct nsm *nsm;
    int rc = registry_nsm(s->registry, ns->nsm_host, &nsm, &s->err);

    for (size_t i = 0; rc == 0 && i < registry_view_osd_count(view); i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);
        bool has_some = !osd->is_decommissioned;

        if (!osd->is_claimed) {
            continue;
        }
        if (!has_some) {
            nsm_list_osd(nsm, ns_id, osd->osd_id, slice_of(NULL, 0), 1, on_osd_page,
                         (void *[]){s, &has_some});
            rc = session_wait(s);
        }
        if (has_some) {
            json_array_insert_new(cli->result, place_by_id(cli->result, osd->osd_id),
                                  json_pack("[I, [s]]", (json_int_t)osd->osd_id,
                                            osd->is_decommissioned ? "Decommissioning" : "Active"));
        }
    }
    registry_view_drop(view);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

static int run_osds(struct cli *cli)
{
    const struct registry_namespace *ns;
    struct session s;
    int rc = session_open(&s, cli);

    cli->result = json_array();
    if (rc == 0) {
        ns = find(&s, cli, cli_arg(cli, 0));
        rc = ns != NULL ? list_osds(cli, &s, ns) : ERR_NOT_FOUND;
    }
    session_close(&s);
    return rc;
}

static void show_osds(const struct cli *cli)
{
    output_table(cli->result, "osd=#0 state=#1.#0");
}

const struct verb namespace_info_verbs[] = {
    {.name = "list-namespaces-by-id",
     .group = "Namespaces",
     .summary = "list the namespaces by their ids",
     .run = run_by_id,
     .show = show_by_id,
     .wants_registry = true},
    {.name = "show-namespace",
     .group = "Namespaces",
     .positionals = "NAME",
     .summary = "show what is in a namespace and where",
     .details = "Reads every manifest. What is written meanwhile may be counted or not.",
     .run = run_show,
     .show = show_one,
     .wants_registry = true},
    {.name = "show-namespaces",
     .group = "Namespaces",
     .summary = "the same of all namespaces",
     .options = {WALK_OPTIONS("NAME", "100")},
     .run = run_show_all,
     .show = show_all,
     .wants_registry = true},
    {.name = "list-namespace-osds",
     .group = "Namespaces",
     .positionals = "NAME",
     .summary = "list the OSDs that a namespace is on, or may come to",
     .run = run_osds,
     .show = show_osds,
     .wants_registry = true},
    {.name = "list-ns-osds",
     .group = "Namespaces",
     .positionals = "NAME",
     .summary = "the same as list-namespace-osds",
     .run = run_osds,
     .show = show_osds,
     .wants_registry = true},
    {.name = NULL},
};
