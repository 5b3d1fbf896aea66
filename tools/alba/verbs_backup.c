/* Verbs that put the metadata of a deployment into a file, and a file back. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "alba/backup.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "base/mem.h"

/* ---- backup ---- */

/* Flushed, and so is the folder that has its name. */
static int settle(struct cli *cli, FILE *file, const char *part, const char *path)
{
    char *copy;
    int folder;
    int rc = 0;

    if (fflush(file) != 0 || fsync(fileno(file)) != 0) {
        return err_set(&cli->err, -errno, "write %.200s", part);
    }
    if (rename(part, path) != 0) {
        return err_set(&cli->err, -errno, "rename %.100s to %.100s", part, path);
    }
    copy = mem_strdup(path);
    folder = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || fsync(folder) != 0) {
        rc = err_set(&cli->err, -errno, "flush the folder of %.200s", path);
    }
    if (folder >= 0) {
        close(folder);
    }
    free(copy);
    return rc;
}

static json_t *summary(const struct backup_head *head, const struct backup_counts *counts)
{
    return json_pack("{s:s, s:I, s:f, s:I, s:I, s:I, s:I}", "alba_id", head->alba_id, "version",
                     (json_int_t)head->version, "time", (double)head->time_us / 1e6, "namespaces",
                     (json_int_t)counts->namespaces, "objects", (json_int_t)counts->objects,
                     "values", (json_int_t)counts->values, "damaged", (json_int_t)counts->damaged);
}

static int write_to(struct cli *cli, struct session *s, FILE *file)
{
    struct backup_counts counts;
    struct backup_head head;
    json_t *lost = json_array();
    int rc = backup_write(s, file, &head, &counts, lost);

    if (rc == 0) {
        cli->result = summary(&head, &counts);
        json_object_set(cli->result, "lost", lost);
    }
    json_decref(lost);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

/* The backup that is there may be the only one that has the manifests of what is lost now. */
static int check_lost(struct cli *cli, const char *path)
{
    const json_t *lost = json_object_get(cli->result, "lost");

    if (json_array_size(lost) == 0 || access(path, F_OK) != 0 || cli_flag(cli, "accept-lost")) {
        return 0;
    }
    return err_say(&cli->err, ERR_EXISTS,
                   "%.200s stays as it is: %zu namespaces are lost (the first: %.100s), of whose "
                   "objects it may be the only record; --accept-lost replaces it",
                   path, json_array_size(lost), json_string_value(json_array_get(lost, 0)));
}

static int write_file(struct cli *cli, struct session *s, const char *path)
{
    char *part = mem_printf("%s.part-XXXXXX", path); /* another backup may run */
    int fd = mkostemp(part, O_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    int rc;

    if (file == NULL) {
        rc = err_set(&cli->err, -errno, "file %.200s", part);
        free(part);
        return rc;
    }
    rc = write_to(cli, s, file);
    rc = rc != 0 ? rc : check_lost(cli, path);
    rc = rc != 0 ? rc : settle(cli, file, part, path);
    fclose(file);
    if (rc != 0) {
        unlink(part);
    }
    free(part);
    return rc;
}

static int run_backup(struct cli *cli)
{
    const char *path = cli_option(cli, "output");
    struct session s;
    int rc;

    if (path == NULL && (cli->to_json || isatty(STDOUT_FILENO) == 1)) {
        return err_say(&cli->err, -EINVAL,
                       "where to? give --output=FILE, or send standard output there");
    }
    backup_catch_signals();
    rc = session_open(&s, cli);
    if (rc == 0 && path != NULL) {
        rc = write_file(cli, &s, path);
    } else if (rc == 0) {
        rc = write_to(cli, &s, stdout);
        if (rc == 0 && fflush(stdout) != 0) {
            rc = err_set(&cli->err, -errno, "write to standard output");
        }
    }
    session_close(&s);
    return rc;
}

static void tell(const struct cli *cli, const char *what, FILE *out)
{
    const json_t *r = cli->result;
    time_t seconds = (time_t)json_real_value(json_object_get(r, "time"));
    json_int_t damaged = json_integer_value(json_object_get(r, "damaged"));
    char when[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(when, sizeof(when), "%F %T UTC", &tm);
    fprintf(out, "%s: the registry of alba %s, version %lld of %s, %lld namespaces, %lld objects\n",
            what, json_string_value(json_object_get(r, "alba_id")),
            (long long)json_integer_value(json_object_get(r, "version")), when,
            (long long)json_integer_value(json_object_get(r, "namespaces")),
            (long long)json_integer_value(json_object_get(r, "objects")));
    if (damaged != 0) {
        fprintf(out, "%lld values were damaged and are not in it\n", (long long)damaged);
    }
}

static void show_backup(const struct cli *cli)
{
    const json_t *lost = json_object_get(cli->result, "lost");
    size_t index;
    json_t *name;

    tell(cli, "backed up", stderr);
    json_array_foreach(lost, index, name)
    {
        output_note("namespace %s is lost: nothing of its objects is in it",
                    json_string_value(name));
    }
}

/* ---- restore ---- */

static int open_target(struct session *s, struct cli *cli, bool only_check)
{
    int rc;

    session_init(s);
    rc = session_take_options(s, cli);
    if (rc != 0 || only_check) {
        return rc;
    }
    if (cli->config == NULL) {
        return err_say(&cli->err, ERR_CONFIG,
                       "where to? give --config=URL (or a file that holds one), or set "
                       "ALBA_CONFIG");
    }
    return kv_open(&s->loop, cli->config, s->tls, &s->kv, &cli->err);
}

static json_t *names_of(const json_t *object)
{
    json_t *names = json_array();
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        json_array_append_new(names, json_string(name));
    }
    return names;
}

static int run_restore(struct cli *cli)
{
    const char *path = cli_arg(cli, 0);
    struct restore_options options = {.hosts = cli_option(cli, "host"),
                                      .force = cli_flag(cli, "force"),
                                      .replace_alba = cli_option(cli, "replace-alba"),
                                      .only_check = cli_flag(cli, "check")};
    struct restore_result result = {0};
    struct session s;
    FILE *file = fopen(path, "rbe");
    int rc;

    if (file == NULL) {
        return err_set(&cli->err, -errno, "file %.200s", path);
    }
    backup_catch_signals();
    rc = open_target(&s, cli, options.only_check);
    if (rc == 0) {
        rc = restore_run(&s, file, &options, &result);
        if (rc != 0) {
            session_fail_mgr(&s, cli, MGR_UNKNOWN);
            err_wrap(&cli->err, "%.150s", path);
        }
    }
    if (rc == 0) {
        cli->result = summary(&result.head, &result.counts);
        json_object_set_new(cli->result, "left_out", names_of(result.left_out));
        json_object_set_new(cli->result, "kept_osds", names_of(result.kept_osds));
    }
    json_decref(result.left_out);
    json_decref(result.kept_osds);
    session_close(&s);
    fclose(file);
    return rc;
}

static void show_restore(const struct cli *cli)
{
    const json_t *left_out = json_object_get(cli->result, "left_out");
    size_t index;
    json_t *host, *osd;

    if (cli_flag(cli, "check")) {
        tell(cli, "whole", stdout);
        return;
    }
    tell(cli, "restored", stdout);
    json_array_foreach(left_out, index, host)
    {
        printf("namespaces of NSM host %s are as they are there; --host=%s would restore them\n",
               json_string_value(host), json_string_value(host));
    }
    json_array_foreach(json_object_get(cli->result, "kept_osds"), index, osd)
    {
        printf("OSD %s was claimed after the backup, and stays\n", json_string_value(osd));
    }
    puts("copies of the registry on OSDs may be of a later state: see alba registry-copies");
}

const struct verb backup_verbs[] = {
    {.name = "backup-metadata",
     .group = "Metadata",
     .summary = "put the registry and all namespaces' metadata into a file",
     .details =
         "It holds no secrets and no objects. The registry is of one moment; every object that "
         "was\nthere all the time is in it. client/meta/BACKUP.md tells more.",
     .options = {{.name = "accept-lost",
                  .help = "replace FILE although namespaces are lost that it may have"},
                 {.name = "output",
                  .arg = "FILE",
                  .help = "where to (default: standard output, unless that is a terminal)"}},
     .run = run_backup,
     .show = show_backup,
     .wants_registry = true,
     .fails_with_exit_one = true},
    {.name = "restore-metadata",
     .group = "Metadata",
     .positionals = "FILE",
     .summary = "put such a file into an engine that holds no metadata",
     .details =
         "First all of it is checked; nothing is written if anything is wrong. Proxies, volume\n"
         "drivers and maintenance agents should not run meanwhile. Objects written since the\n"
         "backup are unknown afterwards. --config names the engine.",
     .options = {{.name = "check", .help = "only check the file"},
                 {.name = "force", .help = "delete the metadata that is there"},
                 {.name = "replace-alba",
                  .arg = "ID",
                  .help = "with --force: also when that metadata is of this other alba"},
                 {.name = "host",
                  .arg = "ID[,ID…]",
                  .help = "the namespaces of these NSM hosts, too",
                  .is_list = true}},
     .run = run_restore,
     .show = show_restore,
     .wants_registry = true,
     .fails_with_exit_one = true},
    {.name = NULL},
};
