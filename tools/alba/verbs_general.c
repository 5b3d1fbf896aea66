/* Verbs about the program itself, and those that become a daemon. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alba/completion.h"
#include "alba/daemons.h"
#include "alba/help.h"
#include "alba/man.h"
#include "alba/verb.h"
#include "base/mem.h"

char *daemons_path(const char *program, struct err *e)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *slash;
    char *path;

    if (len < 0) {
        err_set(e, -errno, "find this program");
        return NULL;
    }
    self[len] = '\0';
    slash = strrchr(self, '/');
    path = mem_printf("%.*s/%s", (int)(slash - self), self, program);
    if (access(path, X_OK) != 0) {
        err_set(e, -errno, "program %s", path);
        free(path);
        return NULL;
    }
    return path;
}

static int run_version(struct cli *cli)
{
    cli->result = json_string(ALBACORE_VERSION);
    return 0;
}

static void show_version(const struct cli *cli)
{
    printf(cli_flag(cli, "terse") ? "%s\n" : "albacore %s\n", json_string_value(cli->result));
}

static int run_commands(struct cli *cli)
{
    cli->result = help_commands();
    return 0;
}

static void show_commands(const struct cli *cli)
{
    size_t index;
    json_t *name;

    json_array_foreach(cli->result, index, name)
    {
        puts(json_string_value(name));
    }
}

static int run_completion(struct cli *cli)
{
    const char *what = cli_arg(cli, 0);
    const char *kind = cli_arg(cli, 1);

    if (strcmp(what, "values") == 0 && kind != NULL) {
        return completion_values(cli, kind);
    }
    if (strcmp(what, "bash") != 0 || kind != NULL) {
        return err_say(&cli->err, -EINVAL, "want `bash`, or `values` and a kind");
    }
    if (cli->to_json) {
        return err_say(&cli->err, -EINVAL, "a script is no JSON; leave --to-json out");
    }
    return 0;
}

static void show_completion(const struct cli *cli)
{
    if (json_is_array(cli->result)) {
        show_commands(cli);
    } else {
        completion_bash();
    }
}

static int run_man(struct cli *cli)
{
    return cli->to_json ? err_say(&cli->err, -EINVAL, "a manual is no JSON; leave --to-json out")
                        : 0;
}

static void show_man(const struct cli *cli)
{
    (void)cli;
    man_page(stdout);
}

/* Replaces this process by a daemon; the words behind the verb go along. */
static int become(struct cli *cli, const char *program)
{
    char *path = daemons_path(program, &cli->err);
    const char *args[8];
    unsigned count = 0;
    int rc;

    if (path == NULL) {
        return cli->err.code;
    }
    args[count++] = path;
    if (cli_option(cli, "config") != NULL) { /* not $ALBA_CONFIG: that is the registry's */
        args[count++] = "--config";
        args[count++] = cli_option(cli, "config");
    }
    if (strcmp(program, "alba-asd") == 0 && cli_flag(cli, "create")) { /* its own option */
        args[count++] = "--create";
    }
    if (cli_flag(cli, "check")) {
        args[count++] = "--check";
    }
    if (cli_flag(cli, "help-config")) {
        args[count++] = "--help-config";
    }
    args[count] = NULL;
    execv(path, (char *const *)(uintptr_t)args);
    rc = err_set(&cli->err, -errno, "run %s", path);
    free(path);
    return rc;
}

static int run_asd(struct cli *cli)
{
    return become(cli, "alba-asd");
}

static int run_proxy(struct cli *cli)
{
    return become(cli, "alba-proxy");
}

static int run_maintenance(struct cli *cli)
{
    return become(cli, "alba-maintenance");
}

#define DAEMON_OPTIONS                                                                             \
    {                                                                                              \
        {.name = "check", .help = "check the configuration and exit"},                             \
            {.name = "help-config", .help = "list the configuration's keys"},                      \
            {.name = "config", .arg = "FILE", .help = "its configuration"},                        \
        {                                                                                          \
            .name = "log-sink", .arg = "SINK", .help = "accepted; logs go to standard error"       \
        }                                                                                          \
    }

const struct verb general_verbs[] = {
    {.name = "version",
     .group = "General",
     .summary = "print the version",
     .options = {{.name = "terse", .help = "the number alone"}},
     .run = run_version,
     .show = show_version},
    {.name = "commands",
     .group = "General",
     .summary = "list the verbs, one a line",
     .run = run_commands,
     .show = show_commands},
    {.name = "completion",
     .group = "General",
     .positionals = "bash|values [KIND]",
     .summary = "print a shell's completion script, or the names it offers",
     .details = "For this shell:  source <(alba completion bash)\n"
                "KIND is namespace, preset, osd, host, volume or daemon.",
     .run = run_completion,
     .show = show_completion,
     .wants_registry = true,
     .fails_with_exit_one = true},
    {.name = "man",
     .group = "General",
     .summary = "print the manual, for man -l -",
     .run = run_man,
     .show = show_man,
     .fails_with_exit_one = true},
    {.name = "asd-start",
     .group = "Daemons",
     .summary = "become the daemon of one disk (alba-asd)",
     .options =
         {{.name = "create", .help = "make its store, if there is none: the first time only"},
          {.name = "check", .help = "check the configuration and exit"},
          {.name = "help-config", .help = "list the configuration's keys"},
          {.name = "config", .arg = "FILE", .help = "its configuration"},
          {.name = "log-sink", .arg = "SINK", .help = "accepted; logs go to standard error"}},
     .run = run_asd},
    {.name = "proxy-start",
     .group = "Daemons",
     .summary = "become a proxy (alba-proxy)",
     .options = DAEMON_OPTIONS,
     .run = run_proxy},
    {.name = "maintenance",
     .group = "Daemons",
     .summary = "become a maintenance agent (alba-maintenance)",
     .options = DAEMON_OPTIONS,
     .run = run_maintenance},
    {.name = NULL},
};
