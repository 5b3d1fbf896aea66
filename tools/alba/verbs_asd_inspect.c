/* alba asd-inspect: the home of an ASD that does not run. Exit codes: 0 clean, 1 damage found,
 * 2 it could not be looked at. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "alba/escape.h"
#include "alba/output.h"
#include "alba/progress.h"
#include "alba/verb.h"
#include "asd/inspect.h"
#include "base/hex.h"
#include "base/mem.h"

enum { EXIT_DAMAGED = 1, EXIT_NOT_LOOKED = 2, SLABS_SHOWN_MAX = 20 };

static const char *const kinds[ASD_FINDING_KINDS] = {[ASD_FINDING_DAMAGE] = "damage",
                                                     [ASD_FINDING_SETTLED] = "settled at start",
                                                     [ASD_FINDING_NOTE] = "note"};

static json_t *slabs_json(const struct asd_inspection *in)
{
    json_t *slabs = json_array();

    for (size_t i = 0; i < in->slab_count; i++) {
        const struct asd_inspected_slab *s = &in->slabs[i];

        json_array_append_new(
            slabs,
            json_pack("{s:I, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "slab",
                      (json_int_t)s->number, "file", s->has_file, "record", s->has_record, "sealed",
                      s->record.sealed, "size", (json_int_t)s->record.size_bytes, "tail",
                      (json_int_t)s->record.tail, "live_record", (json_int_t)s->record.live_bytes,
                      "live", (json_int_t)s->live_bytes, "to_punch", (json_int_t)s->free_bytes,
                      "values", (json_int_t)s->values));
    }
    return slabs;
}

static json_t *findings_json(const struct asd_inspection *in)
{
    json_t *findings = json_array();

    for (size_t i = 0; i < in->finding_count; i++) {
        const struct asd_finding *f = &in->findings[i];

        json_array_append_new(
            findings, json_pack("{s:s, s:o, s:o}", "kind", kinds[f->kind], "key",
                                f->has_key ? escape_json(f->key) : json_null(), "text",
                                escape_json(slice_str(f->text)))); /* names of files are in it */
    }
    return findings;
}

static json_t *name_or_null(const char *name)
{
    bool escaped;

    return name != NULL ? output_name(slice_str(name), &escaped) : json_null();
}

static json_t *inspection_json(const struct asd_inspection *in)
{
    char store_id[2 * ASD_STORE_ID_BYTES + 1];
    json_t *o;

    hex_encode(store_id, in->store_id, ASD_STORE_ID_BYTES);
    o = json_pack("{s:o, s:o, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "asd_id",
                  name_or_null(in->asd_id), "node_id", name_or_null(in->node_id), "store_id",
                  store_id, "clean", in->counts[ASD_FINDING_DAMAGE] == 0, "whole", in->is_whole,
                  "commits", (json_int_t)in->usage.commit, "acknowledged",
                  (json_int_t)in->marked_commit, "used_record", (json_int_t)in->usage.used_bytes,
                  "used", (json_int_t)in->used_bytes, "values", (json_int_t)in->values,
                  "values_in_slabs", (json_int_t)in->slab_values);
    json_object_update_new(
        o,
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "free_records",
                  (json_int_t)in->free_records, "name_records", (json_int_t)in->names,
                  "verified_values", (json_int_t)in->read_values, "verified_bytes",
                  (json_int_t)in->read_bytes, "damage", (json_int_t)in->counts[ASD_FINDING_DAMAGE],
                  "settled_at_start", (json_int_t)in->counts[ASD_FINDING_SETTLED], "notes",
                  (json_int_t)in->counts[ASD_FINDING_NOTE], "slabs", slabs_json(in), "findings",
                  findings_json(in)));
    return o;
}

static void on_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct progress *p = ctx;

    p->total = total_bytes;
    progress_show(p, done_bytes);
}

static int run_inspect(struct cli *cli)
{
    const char *home = cli_option(cli, "home");
    struct asd_inspection inspection;
    struct progress p;
    struct asd_inspect_options options = {
        .verify = cli_flag(cli, "verify"), .progress = on_progress, .ctx = &p};
    char *path;
    int rc;

    cli->exit_code = EXIT_NOT_LOOKED;
    if (home == NULL) {
        return err_say(&cli->err, -EINVAL,
                       "--home=DIR is needed: \"home\" of the ASD's "
                       "configuration");
    }
    path = realpath(home, NULL);
    if (path == NULL) {
        return err_set(&cli->err, -errno, "home %.200s", home);
    }
    options.home = path;
    progress_begin(&p, "verifying", 0, true);
    rc = asd_inspect(&options, &inspection, &cli->err);
    progress_end(&p);
    if (rc == 0) {
        cli->exit_code = inspection.counts[ASD_FINDING_DAMAGE] != 0 ? EXIT_DAMAGED : 0;
        cli->result = inspection_json(&inspection);
        asd_inspection_release(&inspection);
    }
    free(path);
    return rc;
}

/* ---- for people ---- */

static json_int_t number(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
    const char *value = json_string_value(json_object_get(o, key));

    return value != NULL ? value : "?";
}

static void show_slabs(const json_t *result)
{
    static const char *const sizes[] = {"size", "tail", "live", "to_punch"};
    json_t *rows = json_deep_copy(json_object_get(result, "slabs"));
    size_t count = json_array_size(rows);

    while (json_array_size(rows) > SLABS_SHOWN_MAX) {
        json_array_remove(rows, json_array_size(rows) - 1);
    }
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        output_sizes(rows, sizes[i]);
    }
    if (count != 0) {
        putchar('\n');
        output_table(rows, "slab=slab size=size tail=tail live=live to-punch=to_punch "
                           "values=values sealed=sealed");
    }
    if (count > SLABS_SHOWN_MAX) {
        printf("… %zu more; --to-json lists all\n", count - SLABS_SHOWN_MAX);
    }
    json_decref(rows);
}

static void show_findings(const json_t *result)
{
    const json_t *findings = json_object_get(result, "findings");
    json_int_t all =
        number(result, "damage") + number(result, "settled_at_start") + number(result, "notes");
    size_t index;
    json_t *f;

    if (json_array_size(findings) != 0) {
        putchar('\n');
    }
    json_array_foreach(findings, index, f)
    {
        const char *key = json_string_value(json_object_get(f, "key"));

        printf("%s: %s%s%s%s\n", text(f, "kind"), key != NULL ? "value of " : "",
               key != NULL ? key : "", key != NULL ? ": " : "", text(f, "text"));
    }
    if (all > (json_int_t)json_array_size(findings)) {
        printf("… %lld more\n", (long long)(all - (json_int_t)json_array_size(findings)));
    }
}

static void show_inspection(const struct cli *cli)
{
    const json_t *r = cli->result;
    char used[OUTPUT_SIZE_TEXT_BYTES];
    char read[OUTPUT_SIZE_TEXT_BYTES];

    output_size_text(used, (uint64_t)number(r, "used"));
    output_size_text(read, (uint64_t)number(r, "verified_bytes"));
    printf("ASD %s on node %s, store %s\n", text(r, "asd_id"), text(r, "node_id"),
           text(r, "store_id"));
    printf("commits: %lld, values: %lld (%lld in slabs), of %s\n", (long long)number(r, "commits"),
           (long long)number(r, "values"), (long long)number(r, "values_in_slabs"), used);
    if (cli_flag(cli, "verify")) {
        printf("verified: %lld values, %s read from slabs\n",
               (long long)number(r, "verified_values"), read);
    }
    show_slabs(r);
    show_findings(r);
    if (!json_is_true(json_object_get(r, "whole"))) {
        puts("\nnot all could be looked at");
    }
    if (cli->exit_code == 0) {
        puts("\nclean");
    } else {
        printf(
            "\ndamaged (findings: %lld). Delete the values that are damaged, or remove the home: "
            "repair makes\nthem anew elsewhere.\n",
            (long long)number(r, "damage"));
    }
}

const struct verb asd_inspect_verbs[] = {
    {.name = "asd-inspect",
     .group = "One ASD",
     .summary = "check the home of an ASD that does not run: index against slabs",
     .details =
         "Reads only. Exit code 0: clean, 1: damage was found, 2: it could not be looked at (an "
         "ASD\n"
         "runs on it, there is no store, newer software wrote it). What a crash may leave is no\n"
         "damage and is listed as \"settled at start\".",
     .options = {{.name = "home", .arg = "DIR", .help = "as in the ASD's configuration"},
                 {.name = "verify", .help = "read every value and compare its checksums"}},
     .run = run_inspect,
     .show = show_inspection},
    {.name = NULL},
};
