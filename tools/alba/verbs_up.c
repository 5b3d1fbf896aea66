/* Verbs about a deployment on this machine. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "alba/deployment.h"
#include "alba/management.h"
#include "alba/output.h"
#include "alba/up.h"
#include "alba/verb.h"
#include "base/mem.h"

/* Asks the supervisor of the deployment. */
static int ask(struct cli *cli, const char *method, const char *target)
{
    const char *dir = deployment_dir(cli_option(cli, "dir"));
    char *socket_path = mem_printf("%s/run/up.sock", dir);
    int rc = management_call(socket_path, method, target, NULL, &cli->result, &cli->err);

    if (rc == -ECONNREFUSED) {
        err_say(&cli->err, rc, "no `alba up` runs for %s; give --dir or set ALBA_DIR", dir);
    }
    free(socket_path);
    return rc;
}

static int run_status(struct cli *cli)
{
    return ask(cli, "GET", "/status");
}

static void show_status(const struct cli *cli)
{
    printf("%s: %s, status page %s\n\n", json_string_value(json_object_get(cli->result, "dir")),
           json_string_value(json_object_get(cli->result, "state")),
           json_string_value(json_object_get(cli->result, "status_url")));
    output_table(json_object_get(cli->result, "daemons"),
                 "daemon=name state=state pid=pid address=address restarts=restarts "
                 "last-exit=last_exit");
}

static int change(struct cli *cli, const char *what, const char *query)
{
    char *name = management_escape(cli_arg(cli, 0));
    char *target = mem_printf("/daemons/%s/%s%s", name, what, query);
    int rc = ask(cli, "POST", target);

    free(target);
    free(name);
    return rc;
}

static int run_stop(struct cli *cli)
{
    return change(cli, "stop", cli_flag(cli, "kill") ? "?kill=1" : "");
}

static int run_start(struct cli *cli)
{
    return change(cli, "start", "");
}

static void show_note(const struct cli *cli)
{
    const char *note = json_string_value(json_object_get(cli->result, "note"));

    printf("%s is %s\n", json_string_value(json_object_get(cli->result, "name")),
           json_string_value(json_object_get(cli->result, "state")));
    if (note != NULL) {
        printf("%s\n", note);
    }
}

#define DIR_OPTION                                                                                 \
    {                                                                                              \
        .name = "dir", .letter = 'd', .arg = "D",                                                  \
        .help = "the deployment (default: $ALBA_DIR, else ./albacore)"                             \
    }

const struct verb up_verbs[] = {
    {.name = "up",
     .group = "This machine",
     .summary = "run a whole deployment below one folder, until Ctrl-C",
     .details = "Makes the folder if need be; the same command brings everything back. A daemon\n"
                "that dies is started again; one that dies five times a minute is held down.",
     .options = {DIR_OPTION,
                 {.name = "asds", .arg = "N", .help = "how many ASDs (default 6)"},
                 {.name = "nodes", .arg = "N", .help = "on how many pretended nodes (default 3)"},
                 {.name = "volume", .arg = "NAME:SIZE", .help = "make this disk, e.g. disk:10GiB"},
                 {.name = "recover-registry",
                  .help = "the metadata ASD's disk is lost: make it anew from the copies on the "
                          "other ASDs (alba recover-registry --help)"},
                 {.name = "accept-older",
                  .help = "with that: also when a newer copy may exist that cannot be read now"}},
     .run = up_run,
     .fails_with_exit_one = true},
    {.name = "status",
     .group = "This machine",
     .summary = "show what runs",
     .options = {DIR_OPTION},
     .run = run_status,
     .show = show_status,
     .fails_with_exit_one = true},
    {.name = "stop",
     .group = "This machine",
     .positionals = "DAEMON",
     .summary = "end a daemon and hold it down",
     .options = {DIR_OPTION, {.name = "kill", .help = "by SIGKILL, as a crash"}},
     .run = run_stop,
     .show = show_note,
     .fails_with_exit_one = true},
    {.name = "start",
     .group = "This machine",
     .positionals = "DAEMON",
     .summary = "start a daemon that is held down",
     .options = {DIR_OPTION},
     .run = run_start,
     .show = show_note,
     .fails_with_exit_one = true},
    {.name = NULL},
};
