/* get-disk-safety: what would be left of the redundancy if some OSDs were gone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/namespace_scan.h"
#include "alba/osd_usage.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "base/mem.h"

struct dead_osds {
    uint64_t *ids;
    size_t count;
};

static bool is_dead(const void *ctx, uint64_t osd_id)
{
    const struct dead_osds *dead = ctx;

    for (size_t i = 0; i < dead->count; i++) {
        if (dead->ids[i] == osd_id) {
            return true;
        }
    }
    return false;
}

/* It is itself and holds our claim, now. */
static bool answers(struct session *s, const struct registry_osd *osd)
{
    struct osd_usage usage;
    struct err e;

    return osd_usage(s, osd, &usage, &e) == 0;
}

/* "a,b" */
static bool is_named(const char *list, const char *long_id)
{
    size_t len = strlen(long_id);

    for (const char *at = list; at != NULL && *at != '\0'; at += *at == ',') {
        size_t part = strcspn(at, ",");

        if (part == len && memcmp(at, long_id, len) == 0) {
            return true;
        }
        at += part;
    }
    return false;
}

static int check_named(struct session *s, struct cli *cli, const char *list)
{
    const struct registry_view *view = registry_view(s->registry);

    for (const char *at = list; at != NULL && *at != '\0'; at += *at == ',') {
        size_t part = strcspn(at, ",");
        char *long_id = mem_printf("%.*s", (int)part, at);
        bool is_known = registry_view_osd_find(view, long_id) != NULL;

        if (!is_known) {
            err_say(&s->err, ERR_NOT_FOUND, "unknown osd %.100s", long_id);
            session_fail_mgr(s, cli, MGR_OSD_UNKNOWN);
        }
        free(long_id);
        if (!is_known) {
            return ERR_NOT_FOUND;
        }
        at += part;
    }
    return 0;
}

static int find_dead(struct session *s, struct cli *cli, struct dead_osds *ret_dead)
{
    const struct registry_view *view = registry_view(s->registry);
    const char *named = cli_option(cli, "long-id");
    const char *node = cli_option(cli, "node-id");
    int rc = check_named(s, cli, named);

    if (rc != 0) {
        return rc;
    }
    ret_dead->ids = mem_array(registry_view_osd_count(view) + 1, sizeof(*ret_dead->ids));
    for (size_t i = 0; i < registry_view_osd_count(view); i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);

        if (osd->is_claimed &&
            (osd->is_purging || is_named(named, osd->long_id) ||
             (node != NULL && strcmp(node, osd->node_id) == 0) ||
             (osd->is_decommissioned && cli_flag(cli, "include-decommissioning-as-dead")) ||
             (cli_flag(cli, "include-errored-as-dead") && !answers(s, osd)))) {
            ret_dead->ids[ret_dead->count++] = osd->osd_id;
        }
    }
    return 0;
}

static json_t *safety_json(const struct registry_namespace *ns, const struct namespace_scan *scan)
{
    json_t *buckets = json_array();
    json_int_t worst = 0;
    int safety = 0;
    bool has_objects = namespace_scan_safety(scan, &safety);

    for (size_t i = 0; i < scan->bucket_count; i++) {
        const struct scan_bucket *b = &scan->buckets[i];
        int left = scan_bucket_safety(b);

        worst += left == safety ? (json_int_t)b->count : 0;
        json_array_append_new(
            buckets, json_pack("{s:[i, i, i, i], s:I, s:i, s:i}", "bucket", (int)b->k, (int)b->m,
                               (int)b->c, (int)b->x, "count", (json_int_t)b->count,
                               "applicable_dead_osds", (int)b->dead, "remaining_safety", left));
    }
    return json_pack("{s:s, s:o, s:o, s:o, s:I}", "namespace", ns->name, "safety",
                     has_objects ? json_integer(safety) : json_null(), "safety_count",
                     has_objects ? json_integer(worst) : json_null(), "bucket_safety", buckets,
                     "damaged", (json_int_t)scan->damaged);
}

static int scan_all(struct session *s, struct cli *cli, const struct dead_osds *dead)
{
    const struct registry_view *view = registry_view_hold(registry_view(s->registry));
    const char *only = cli_option(cli, "namespace");
    bool found = only == NULL;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < registry_view_namespace_count(view); i++) {
        const struct registry_namespace *ns = registry_view_namespace(view, i);
        struct namespace_scan scan = {.is_dead = is_dead, .ctx = dead};

        if (only != NULL && strcmp(only, ns->name) != 0) {
            continue;
        }
        found = true;
        rc = namespace_scan(&scan, s, ns);
        if (rc == 0) {
            json_array_append_new(cli->result, safety_json(ns, &scan));
        } else {
            session_fail_mgr(s, cli, MGR_UNKNOWN);
        }
        namespace_scan_release(&scan);
    }
    registry_view_drop(view);
    if (rc == 0 && !found) {
        rc = err_say(&s->err, ERR_NOT_FOUND, "namespace '%.100s' does not exist", only);
        session_fail_mgr(s, cli, MGR_NAMESPACE_NOT_FOUND);
    }
    return rc;
}

static int run_safety(struct cli *cli)
{
    struct dead_osds dead = {0};
    struct session s;
    int rc = session_open(&s, cli);

    cli->result = json_array();
    rc = rc != 0 ? rc : find_dead(&s, cli, &dead);
    rc = rc != 0 ? rc : scan_all(&s, cli, &dead);
    session_close(&s);
    free(dead.ids);
    return rc;
}

static void show_safety(const struct cli *cli)
{
    json_t *rows = json_array();
    json_int_t damaged = 0;
    size_t index;
    json_t *ns;

    json_array_foreach(cli->result, index, ns)
    {
        size_t i;
        json_t *b;

        damaged += json_integer_value(json_object_get(ns, "damaged"));
        json_array_foreach(json_object_get(ns, "bucket_safety"), i, b)
        {
            json_int_t left = json_integer_value(json_object_get(b, "remaining_safety"));
            json_t *bucket = json_object_get(b, "bucket");

            json_array_append_new(
                rows,
                json_pack("{s:O, s:o, s:O, s:O, s:O, s:o}", "namespace",
                          json_object_get(ns, "namespace"), "code",
                          json_sprintf("%d+%d", (int)json_integer_value(json_array_get(bucket, 0)),
                                       (int)json_integer_value(json_array_get(bucket, 1))),
                          "there", json_array_get(bucket, 2), "dead",
                          json_object_get(b, "applicable_dead_osds"), "objects",
                          json_object_get(b, "count"), "left",
                          left >= 0 ? json_integer(left) : json_string("LOST")));
        }
    }
    output_table(rows, "namespace=namespace code=code fragments=there dead=dead objects=objects "
                       "more-may-be-lost=left");
    if (damaged != 0) {
        fprintf(stderr, "%lld objects have damaged manifests and are not counted\n",
                (long long)damaged);
    }
    json_decref(rows);
}

const struct verb safety_verbs[] = {
    {.name = "get-disk-safety",
     .group = "OSDs",
     .summary = "show how many more disks each namespace may lose",
     .details = "Reads every manifest. OSDs that are being purged count as dead, and so do those "
                "that\nthe options name. A bucket is [k, m, fragments, most of them on a node].",
     .options =
         {{.name = "long-id", .arg = "ID[,ID…]", .help = "as if these were dead", .is_list = true},
          {.name = "node-id", .arg = "ID", .help = "as if all on this machine were dead"},
          {.name = "namespace", .arg = "NAME", .help = "look at this one only"},
          {.name = "include-decommissioning-as-dead",
           .help = "as if those that get no new fragments were dead"},
          {.name = "include-errored-as-dead",
           .help = "as if those that do not answer now were dead"}},
     .run = run_safety,
     .show = show_safety,
     .wants_registry = true},
    {.name = NULL},
};
