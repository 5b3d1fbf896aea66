/* alba: the command line of Albacore. See verb.h for how a verb is made. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alba/help.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "base/buf.h"
#include "base/log.h"
#include "daemon/nearest.h"
#include "daemon/process.h"

enum { MATCHES_SHOWN_MAX = 8 };

extern const struct verb up_verbs[];
extern const struct verb general_verbs[];
extern const struct verb vdisk_verbs[];
extern const struct verb object_verbs[];
extern const struct verb namespace_verbs[];
extern const struct verb namespace_info_verbs[];
extern const struct verb osd_verbs[];
extern const struct verb osd_change_verbs[];
extern const struct verb safety_verbs[];
extern const struct verb copy_verbs[];
extern const struct verb recover_verbs[];
extern const struct verb osd_statistics_verbs[];
extern const struct verb osd_value_verbs[];
extern const struct verb osd_range_verbs[];
extern const struct verb osd_bench_verbs[];
extern const struct verb asd_verbs[];
extern const struct verb asd_range_verbs[];
extern const struct verb asd_admin_verbs[];
extern const struct verb asd_inspect_verbs[];
extern const struct verb bench_verbs[];
extern const struct verb preset_verbs[];
extern const struct verb preset_explain_verbs[];
extern const struct verb proxy_object_verbs[];
extern const struct verb proxy_verbs[];
extern const struct verb proxy_info_verbs[];
extern const struct verb proxy_bench_verbs[];
extern const struct verb proxies_verbs[];
extern const struct verb host_verbs[];
extern const struct verb backup_verbs[];
extern const struct verb maintenance_verbs[];
extern const struct verb config_verbs[];
extern const struct verb refused_verbs[];

/* Tables of one group stand together: alba --help goes through them in this order. */
const struct verb *const verb_tables[] = {up_verbs,
                                          vdisk_verbs,
                                          object_verbs,
                                          namespace_verbs,
                                          namespace_info_verbs,
                                          preset_verbs,
                                          preset_explain_verbs,
                                          osd_verbs,
                                          osd_change_verbs,
                                          safety_verbs,
                                          copy_verbs,
                                          recover_verbs,
                                          osd_statistics_verbs,
                                          osd_value_verbs,
                                          osd_range_verbs,
                                          osd_bench_verbs,
                                          asd_verbs,
                                          asd_range_verbs,
                                          asd_admin_verbs,
                                          asd_inspect_verbs,
                                          bench_verbs,
                                          proxy_object_verbs,
                                          proxy_verbs,
                                          proxy_info_verbs,
                                          proxy_bench_verbs,
                                          proxies_verbs,
                                          host_verbs,
                                          backup_verbs,
                                          maintenance_verbs,
                                          config_verbs,
                                          general_verbs,
                                          refused_verbs,
                                          NULL};

/* A unique beginning of a verb serves as the verb, as scripts expect. */
const struct verb *verb_find(const char *name, struct err *e)
{
    const struct verb *found = NULL;
    struct nearest nearest = {0};
    struct buf matches = {0};
    unsigned match_count = 0;

    for (const struct verb *const *table = verb_tables; *table != NULL; table++) {
        for (const struct verb *v = *table; v->name != NULL; v++) {
            if (strcmp(v->name, name) == 0) {
                buf_release(&matches);
                return v;
            }
            if (strncmp(v->name, name, strlen(name)) == 0) {
                found = v;
                buf_printf(&matches, "%s%s", match_count != 0 ? ", " : "", v->name);
                match_count++;
            }
            nearest_offer(&nearest, name, v->name);
        }
    }
    if (match_count > MATCHES_SHOWN_MAX) {
        err_say(e, -EINVAL, "'%s' begins %u verbs; see alba --help", name, match_count);
    } else if (match_count > 1) {
        err_say(e, -EINVAL, "'%s' may be %.*s", name, (int)matches.len, (char *)matches.data);
    } else if (match_count == 0 && nearest.best != NULL) {
        err_say(e, -EINVAL, "no verb '%s'; did you mean '%s'?", name, nearest.best);
    } else if (match_count == 0) {
        err_say(e, -EINVAL, "no verb '%s'; see alba --help", name);
    }
    buf_release(&matches);
    return match_count == 1 ? found : NULL;
}

/* Whatever is wrong with the words around it: a program reads stdout alone. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--to-json") == 0) {
            return true;
        }
    }
    return false;
}

static bool asks_for_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* "alba help VERB", or all of them. */
static int help(int argc, char **argv)
{
    const struct verb *verb;
    struct err e;

    if (argc < 3) {
        help_overview(stdout);
        return output_flush("help", 0);
    }
    verb = verb_find(argv[2], &e);
    if (verb == NULL) {
        output_note("alba: %s", e.msg);
        return 1;
    }
    help_verb(verb, stdout);
    return output_flush("help", 0);
}

/* Of a command line that names none: its failure is told all the same. */
static const struct verb no_verb = {.name = "VERB", .group = "", .fails_with_exit_one = true};

int main(int argc, char **argv)
{
    struct cli cli = {.to_json = asks_for_json(argc, argv)};
    int rc;

    process_open_standard_streams();
    signal(SIGPIPE, SIG_IGN);
    log_set_level(LOG_WARN);
    if (argc < 2) {
        help_overview(stderr);
        return 1;
    }
    if (asks_for_help(argv[1])) {
        return help(argc, argv);
    }
    cli.verb = verb_find(strcmp(argv[1], "--version") == 0 ? "version" : argv[1], &cli.err);
    if (cli.verb == NULL && cli.to_json) {
        cli.verb = &no_verb;
        return output_finish(&cli, cli.err.code);
    }
    if (cli.verb == NULL) {
        output_note("alba: %s", cli.err.msg);
        return 1;
    }
    rc = cli_parse(&cli, argc - 2, argv + 2);
    if (rc != 0 && !cli.to_json) {
        output_note("alba %s: %s", cli.verb->name, cli.err.msg);
        return 1;
    }
    if (cli.verbose) {
        log_set_level(LOG_DEBUG);
    }
    if (rc == 0) {
        rc = cli.verb->run(&cli);
    }
    rc = output_finish(&cli, rc);
    json_decref(cli.result);
    for (unsigned i = 0; i < VERB_OPTIONS_MAX; i++) {
        free(cli.option_lists[i]);
    }
    return rc;
}
