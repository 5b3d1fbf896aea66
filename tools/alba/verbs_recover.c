/* The registry back from its copies on OSDs. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alba/output.h"
#include "alba/recover.h"
#include "alba/verb.h"
#include "meta/kv.h"

static int look_and_write(struct recover *r, struct cli *cli)
{
    bool dry_run = cli_flag(cli, "dry-run");
    int rc = recover_add(r, cli_option(cli, "from-osds"));

    rc = rc != 0 ? rc : recover_look(r);
    if (rc != 0) {
        return rc;
    }
    cli->result = recover_report(r);
    json_object_set_new(cli->result, "restored", json_boolean(!dry_run));
    if (dry_run) {
        return 0;
    }
    rc = kv_open(&r->s->loop, cli->config, r->s->tls, &r->s->kv, &r->s->err);
    return rc != 0 ? rc : recover_write(r, r->s->kv, cli_flag(cli, "accept-older"));
}

static int run_recover(struct cli *cli)
{
    struct recover r;
    struct session s;
    int rc;

    if (cli_option(cli, "from-osds") == NULL) {
        return err_say(&cli->err, -EINVAL,
                       "--from-osds=HOST:PORT,… is needed: some OSDs of this alba; the others are "
                       "found by what those know");
    }
    if (cli->config == NULL && !cli_flag(cli, "dry-run")) {
        return err_say(&cli->err, ERR_CONFIG,
                       "into which metadata store? give --config=URL (or a file that holds one)");
    }
    session_init(&s);
    recover_init(&r, &s);
    rc = session_take_options(&s, cli);
    if (rc == 0) {
        rc = look_and_write(&r, cli);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    recover_release(&r);
    session_close(&s);
    return rc;
}

static void show_recover(const struct cli *cli)
{
    const json_t *result = cli->result;
    bool restored = json_is_true(json_object_get(result, "restored"));
    const json_t *doubts = json_object_get(result, "doubts");
    size_t i;
    json_t *text;

    output_table(json_object_get(result, "sources"),
                 "address=address long_id=long_id copy=copy version=version age-seconds=age_s "
                 "why=why");
    printf("\n%s alba %s: version %" JSON_INTEGER_FORMAT ", %" JSON_INTEGER_FORMAT
           " s old: %" JSON_INTEGER_FORMAT " OSDs, %" JSON_INTEGER_FORMAT
           " presets, %" JSON_INTEGER_FORMAT " volumes, and these namespaces:\n\n",
           restored ? "restored" : "would restore",
           json_string_value(json_object_get(result, "alba_id")),
           json_integer_value(json_object_get(result, "version")),
           json_integer_value(json_object_get(result, "age_s")),
           json_integer_value(json_object_get(result, "osds")),
           json_integer_value(json_object_get(result, "presets")),
           json_integer_value(json_object_get(result, "volumes")));
    output_table(json_object_get(result, "namespaces"), "id=id name=name state=state");
    puts("\nA lost namespace has its fragments, but not its manifests, which were in the metadata\n"
         "that is gone; only a backup of the metadata has them. Its objects cannot be read, nor\n"
         "volumes on it be opened; nothing deletes its fragments but deleting the namespace.");
    json_array_foreach(doubts, i, text)
    {
        printf("doubt: %s\n", json_string_value(text));
    }
}

const struct verb recover_verbs[] = {
    {.name = "recover-registry",
     .group = "OSDs",
     .summary = "put the newest copy of the registry on OSDs into an empty metadata store",
     .details =
         "For when the metadata store is lost. Asks the OSDs that are named and those that their\n"
         "copies list; takes the newest whole copy. Refuses a store that is not empty. A\n"
         "deployment of `alba up` is recovered by `alba up --recover-registry`.",
     .options = {{.name = "from-osds", .arg = "HOST:PORT,…", .help = "some OSDs of the alba"},
                 {.name = "dry-run", .help = "only say what would be restored"},
                 {.name = "accept-older",
                  .help = "also when a newer copy may exist that cannot be read now"}},
     .run = run_recover,
     .show = show_recover,
     .wants_registry = true,
     .fails_with_exit_one = true},
    {.name = NULL},
};
