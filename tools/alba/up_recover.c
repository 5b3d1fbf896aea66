/* The metadata ASD of a deployment came up empty, or not at all: its disk is lost, or not mounted.
 *
 * A deployment whose ASDs were configured has had a registry (it is made before them): a new one,
 * with another alba id, would not be served by those ASDs. So nothing is made without a word. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alba/output.h"
#include "alba/recover.h"
#include "alba/up.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "loop/io.h"

static bool has_config(const struct up *up, const char *name)
{
    char *path = deployment_path(&up->d, "etc", name, ".json");
    bool there = access(path, F_OK) == 0;

    free(path);
    return there;
}

/* lost+found: a file system that was just made. */
static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    unsigned count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.' && strcmp(entry->d_name, "lost+found") != 0;
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count == 0;
}

static bool is_recovery(const struct up *up)
{
    return cli_flag(up->cli, "recover-registry");
}

static int say_lost(struct up *up, const char *what)
{
    return err_say(&up->s.err, ERR_NOT_FOUND,
                   "%s, but this deployment had a registry: is the disk of %s/data/meta mounted? "
                   "If it is lost: alba up --recover-registry",
                   what, up->d.dir);
}

int up_check_metadata(struct up *up)
{
    char *home = deployment_path(&up->d, "data", "meta", "");
    int rc = 0;

    if (has_config(up, "asd0") && is_empty(home)) {
        if (is_recovery(up)) {
            /* As the first time: the ASD may make a store of it (asd/FORMAT.md). */
            rc = io_make_dir(io_real(), home);
            rc = rc == 0 ? io_store_file(io_real(), home, "new", "", 0) : rc;
            rc = rc == 0 ? 0 : err_set(&up->s.err, rc, "make %s", home);
        } else {
            rc = say_lost(up, "there is no metadata store");
        }
    }
    free(home);
    return rc;
}

int up_wait_restored(struct up *up)
{
    enum { PAUSES = 10 }; /* between two looks */
    int rc;

    fprintf(stderr,
            "a restore of the metadata was cut. Nothing but the metadata ASD runs until it is "
            "done; from another shell:\n"
            "  alba restore-metadata --force --config=%s/alba.url BACKUP\n",
            up->d.dir);
    do {
        for (unsigned i = 0; i < PAUSES && up->stop_signals == 0; i++) {
            up_pause(up);
        }
        if (up->stop_signals != 0) {
            return err_set(&up->s.err, ERR_CANCELED, "start");
        }
        registry_refresh(up->s.registry, session_done, &up->s);
        rc = session_wait(&up->s); /* the ASD may be started anew meanwhile */
    } while (rc != 0 && rc != ERR_NOT_FOUND && rc != ERR_IDENTITY);
    if (rc == 0) {
        fprintf(stderr, "the metadata is restored\n");
    }
    return rc;
}

static void say_doubts(const struct recover *r)
{
    size_t i;
    json_t *text;

    json_array_foreach(r->doubts, i, text)
    {
        output_note("doubt: %s", json_string_value(text));
    }
}

static size_t count_lost(const json_t *report)
{
    size_t count = 0;
    size_t i;
    json_t *ns;

    json_array_foreach(json_object_get(report, "namespaces"), i, ns)
    {
        count += strcmp(json_string_value(json_object_get(ns, "state")), "lost") == 0;
    }
    return count;
}

static void say_result(const struct recover *r)
{
    json_t *report = recover_report(r);

    fprintf(stderr,
            "registry recovered from %s: version %llu, %zu OSDs, %zu presets, %lld volumes\n"
            "%zu namespaces are lost: their manifests were in the metadata that is gone; objects "
            "and volumes on them cannot be read, their fragments stay\n",
            r->sources[r->from].where, (unsigned long long)r->head.version,
            registry_view_osd_count(r->view), registry_view_preset_count(r->view),
            (long long)json_integer_value(json_object_get(report, "volumes")), count_lost(report));
    json_decref(report);
}

/* The ports of ASDs in this deployment's configuration: where they are now. */
static int add_asds(struct up *up, struct recover *r)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < up->d.asds; i++) {
        char name[32];
        char *address;

        if (up_wait_asd(up, up->asds[i], NULL) != 0) {
            output_note("going on without %s: %s", up->asds[i]->name, up->s.err.msg);
            continue;
        }
        snprintf(name, sizeof name, "asd%u", i);
        address =
            mem_printf("127.0.0.1:%d", (int)json_integer_value(json_object_get(up->d.ports, name)));
        rc = recover_add(r, address);
        free(address);
    }
    return rc;
}

int up_recover_registry(struct up *up)
{
    struct recover r;
    int rc;

    if (!has_config(up, "asd0")) {
        return 0;
    }
    if (!is_recovery(up)) {
        return say_lost(up, "the metadata store is empty");
    }
    rc = up_start_asds(up);
    recover_init(&r, &up->s);
    rc = rc != 0 ? rc : add_asds(up, &r);
    rc = rc != 0 ? rc : recover_look(&r);
    if (rc == 0) {
        say_doubts(&r);
        rc = recover_write(&r, up->s.kv, cli_flag(up->cli, "accept-older"));
    }
    if (rc == 0) {
        say_result(&r);
    }
    recover_release(&r);
    return rc;
}
