/* preset-explain: what a preset comes to on the OSDs as they are now. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/osd_usage.h"
#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "policy/explain.h"

struct facts {
    const struct preset *preset; /* borrowed */
    struct choose_osd *osds;     /* claimed, of the preset; node ids borrowed from the view */
    uint32_t count;
    json_t *left_out; /* rows of those that get no fragments */
};

static void leave_out(struct facts *f, const struct registry_osd *osd, json_t *why)
{
    json_array_append_new(f->left_out,
                          json_pack("{s:I, s:s, s:s, s:o}", "id", (json_int_t)osd->osd_id,
                                    "long_id", osd->long_id, "node_id", osd->node_id, "why", why));
}

/* Is it fit for new fragments? As a proxy would find out, but by asking now. */
static void ask(struct facts *f, struct session *s, const struct registry_osd *osd,
                struct choose_osd *o)
{
    struct osd_usage usage;
    char used[OUTPUT_SIZE_TEXT_BYTES], total[OUTPUT_SIZE_TEXT_BYTES];
    struct err e;
    int rc;

    if (osd->is_decommissioned) {
        leave_out(f, osd, json_string("decommissioned"));
        return;
    }
    rc = osd_usage(s, osd, &usage, &e);
    rc = rc != 0 ? rc : osd_takes_values(s, osd, &e);
    o->used_bytes = usage.used_bytes;
    o->total_bytes = usage.total_bytes;
    if (rc == ERR_FULL) {
        output_size_text(used, o->used_bytes);
        output_size_text(total, o->total_bytes);
        leave_out(f, osd, json_sprintf("full: %s of %s used", used, total));
    } else if (rc != 0) {
        leave_out(
            f, osd,
            json_sprintf(rc == ERR_IDENTITY ? "is not what was claimed: %s" : "does not answer: %s",
                         e.msg));
    } else {
        o->usable = true;
    }
}

static void collect(struct facts *f, struct session *s)
{
    const struct registry_view *view = registry_view(s->registry);
    const struct preset *p = f->preset;

    f->osds = mem_array(registry_view_osd_count(view) + 1, sizeof(f->osds[0]));
    f->left_out = json_array();
    for (size_t i = 0; i < registry_view_osd_count(view); i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);
        struct choose_osd *o = &f->osds[f->count];

        if (!osd->is_claimed) {
            continue;
        }
        *o = (struct choose_osd){
            .osd_id = osd->osd_id, .node_id = osd->node_id, .datacenter = osd->datacenter};
        if (preset_allows_osd(p, osd->osd_id)) {
            ask(f, s, osd, o);
            f->count++;
        } else {
            leave_out(f, osd, json_string("not in the list of the preset"));
        }
    }
    for (uint32_t i = 0; i < p->osd_id_count; i++) {
        if (registry_view_osd_by_id(view, p->osd_ids[i]) == NULL) {
            json_array_append_new(f->left_out,
                                  json_pack("{s:I, s:n, s:n, s:s}", "id", (json_int_t)p->osd_ids[i],
                                            "long_id", "node_id", "why",
                                            "in the list of the preset, but there is no such osd"));
        }
    }
    choose_index(f->osds, f->count);
}

/* ---- as JSON ---- */

static json_t *policy_json(const struct preset_policy *p)
{
    return json_pack("[i, i, i, i]", (int)p->k, (int)p->m, (int)p->min_fragments,
                     (int)p->max_per_node);
}

static json_t *survival_json(const struct explain_survival *s)
{
    return json_pack("{s:i, s:i, s:i}", "disks", (int)s->disks, "nodes", (int)s->nodes,
                     "datacenters", (int)s->datacenters);
}

static json_t *row_of(const struct explain *x, const struct preset *preset, uint32_t i)
{
    const struct explain_policy *p = &x->policies[i];
    char why[EXPLAIN_WHY_BYTES];
    json_t *row =
        json_pack("{s:o, s:b, s:b, s:i}", "policy", policy_json(&p->policy), "possible",
                  (int)p->is_possible, "applies", i == x->applies, "fits", (int)p->capacity);

    if (!p->is_possible) {
        explain_why(x, preset, i, why);
        json_object_set_new(row, "why", json_string(why));
        return row;
    }
    json_object_set_new(row, "fragments", json_integer(p->fragment_count));
    json_object_set_new(row, "overhead",
                        json_real((double)p->fragment_count / (double)p->policy.k));
    json_object_set_new(row, "survives", survival_json(&p->stored));
    json_object_set_new(row, "survives_at_once", survival_json(&p->at_once));
    json_object_set_new(row, "osds_may_fail", json_integer(p->may_fail));
    return row;
}

static json_t *nodes_json(const struct facts *f)
{
    json_t *rows = json_array();

    for (uint32_t node = 0; node < f->count; node++) {
        const struct choose_osd *any = NULL;
        uint32_t all = 0, usable = 0;

        for (uint32_t i = 0; i < f->count; i++) {
            if (f->osds[i].node == node) {
                any = &f->osds[i];
                all++;
                usable += f->osds[i].usable;
            }
        }
        if (any != NULL) {
            json_array_append_new(rows, json_pack("{s:s, s:s, s:i, s:i}", "node_id", any->node_id,
                                                  "datacenter", any->datacenter, "usable",
                                                  (int)usable, "osds", (int)all));
        }
    }
    return rows;
}

static json_t *explain_json(const struct facts *f)
{
    struct explain x;
    json_t *policies = json_array();
    json_t *result;

    explain_preset(&x, f->preset, f->osds, f->count);
    for (uint32_t i = 0; i < x.policy_count; i++) {
        json_array_append_new(policies, row_of(&x, f->preset, i));
    }
    result = json_pack("{s:s, s:I, s:i, s:{s:i, s:i, s:i}, s:o, s:o, s:o, s:O}", "name",
                       f->preset->name, "version", (json_int_t)f->preset->version, "fragment_size",
                       (int)f->preset->fragment_bytes, "usable", "osds", (int)x.usable_osds,
                       "nodes", (int)x.nodes, "datacenters", (int)x.datacenters, "policy",
                       x.applies < x.policy_count ? policy_json(&x.policies[x.applies].policy)
                                                  : json_null(),
                       "policies", policies, "nodes", nodes_json(f), "left_out", f->left_out);
    json_object_set_new(result, "osds_may_fail",
                        x.applies < x.policy_count
                            ? json_pack("{s:i, s:i}", "until_next_policy",
                                        (int)x.may_fail_until_next, "until_writes_stop",
                                        (int)x.may_fail_until_stop)
                            : json_null());
    return result;
}

static int run_explain(struct cli *cli)
{
    struct facts f = {0};
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        f.preset = registry_view_preset_find(registry_view(s.registry), cli_arg(cli, 0));
        if (f.preset == NULL) {
            cli->exception_type = "albamgr_exn";
            cli->exception_code = MGR_PRESET_NOT_FOUND;
            rc = err_set(&cli->err, ERR_NOT_FOUND, "preset '%s'", cli_arg(cli, 0));
        }
    }
    if (rc == 0) {
        collect(&f, &s);
        cli->result = explain_json(&f);
    }
    free(f.osds);
    json_decref(f.left_out);
    session_close(&s);
    return rc;
}

/* ---- for people ---- */

static int at(const json_t *o, const char *key)
{
    return (int)json_integer_value(json_object_get(o, key));
}

static void print_survival(const char *what, const json_t *s)
{
    static const char *const kinds[] = {"disk", "node", "datacenter"};
    static const char *const keys[] = {"disks", "nodes", "datacenters"};
    unsigned said = 0;

    printf("  %s: ", what);
    for (unsigned i = 0; i < 3; i++) {
        int n = at(s, keys[i]);

        if (n != 0) {
            printf("%s%d %s%s", said++ != 0 ? ", or " : "any ", n, kinds[i], n == 1 ? "" : "s");
        }
    }
    puts(said != 0 ? "" : "nothing");
}

static void print_policy(const json_t *row)
{
    char *text = json_dumps(json_object_get(row, "policy"), JSON_COMPACT);

    if (json_is_true(json_object_get(row, "applies"))) {
        printf("%s applies: %d of %d fragments are placed, %.2f bytes stored for each byte\n", text,
               at(row, "fragments"),
               (int)(json_integer_value(json_array_get(json_object_get(row, "policy"), 0)) +
                     json_integer_value(json_array_get(json_object_get(row, "policy"), 1))),
               json_real_value(json_object_get(row, "overhead")));
        print_survival("an object survives the loss of", json_object_get(row, "survives"));
        print_survival("one whose put met failures, until it is repaired",
                       json_object_get(row, "survives_at_once"));
    } else if (json_is_true(json_object_get(row, "possible"))) {
        printf("%s is possible, but comes later\n", text);
    } else {
        printf("%s is not possible: %s\n", text, json_string_value(json_object_get(row, "why")));
    }
    free(text);
}

static void show_explain(const struct cli *cli)
{
    const json_t *r = cli->result, *usable = json_object_get(r, "usable");
    const json_t *may_fail = json_object_get(r, "osds_may_fail");
    size_t index;
    json_t *row;

    printf("preset %s, version %d (usable OSDs: %d, nodes: %d, datacenters: %d)\n\n",
           json_string_value(json_object_get(r, "name")), at(r, "version"), at(usable, "osds"),
           at(usable, "nodes"), at(usable, "datacenters"));
    json_array_foreach(json_object_get(r, "policies"), index, row)
    {
        print_policy(row);
    }
    if (json_is_null(may_fail)) {
        puts("\nNo policy applies: puts are refused.");
    } else {
        printf("\nOSDs that may fail, whichever, and this policy still applies: %d; and puts are "
               "still taken: %d.\n",
               at(may_fail, "until_next_policy"), at(may_fail, "until_writes_stop"));
    }
    if (json_array_size(json_object_get(r, "nodes")) != 0) {
        putchar('\n');
        output_table(json_object_get(r, "nodes"),
                     "node=node_id datacenter=datacenter usable=usable of=osds");
    }
    if (json_array_size(json_object_get(r, "left_out")) != 0) {
        puts("\nWithout new fragments:");
        output_table(json_object_get(r, "left_out"), "id=id long_id=long_id node=node_id why=why");
    }
}

const struct verb preset_explain_verbs[] = {
    {.name = "preset-explain",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "which policy applies now, what objects survive, how many osds may fail",
     .details =
         "Asks each OSD of the preset now. Why a policy that comes earlier does not apply is\n"
         "told with the count of what fits; OSDs that get no new fragments are named:\n"
         "decommissioned, full (they refuse values), or not answering.",
     .run = run_explain,
     .show = show_explain,
     .wants_registry = true,
     .fails_with_exit_one = true},
    {.name = NULL},
};
