/* Verbs about virtual disks, over the management API of a volumedriver. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "alba/deployment.h"
#include "alba/management.h"
#include "alba/output.h"
#include "alba/size.h"
#include "alba/verb.h"
#include "base/mem.h"

static int call(struct cli *cli, const char *method, const char *target, json_t *take_body)
{
    const char *given = cli_option(cli, "socket");
    char *socket_path = given != NULL
                            ? mem_strdup(given)
                            : mem_printf("%s/run/volumedriver.sock", deployment_dir(NULL));
    int rc = management_call(socket_path, method, target, take_body, &cli->result, &cli->err);

    json_decref(take_body);
    free(socket_path);
    return rc;
}

/* "/volumes/NAME" of the first positional. */
static int call_volume(struct cli *cli, const char *method, const char *what, json_t *take_body)
{
    char *name = management_escape(cli_arg(cli, 0));
    char *target = mem_printf("/volumes/%s%s", name, what);
    int rc = call(cli, method, target, take_body);

    free(target);
    free(name);
    return rc;
}

static int run_create(struct cli *cli)
{
    uint64_t bytes;
    json_t *body;
    int rc = size_parse(cli_arg(cli, 1), &bytes, &cli->err);

    if (rc != 0) {
        return rc;
    }
    body = json_pack("{s:s, s:I}", "name", cli_arg(cli, 0), "size", (json_int_t)bytes);
    if (cli_option(cli, "preset") != NULL) {
        json_object_set_new(body, "preset", json_string(cli_option(cli, "preset")));
    }
    return call(cli, "POST", "/volumes", body);
}

/* Another daemon's management socket has no volumes. */
static int run_list(struct cli *cli)
{
    int rc = call(cli, "GET", "/volumes", NULL);

    if (rc == ERR_NOT_FOUND && cli_option(cli, "socket") != NULL) {
        err_say(&cli->err, rc, "%s is not the management socket of a volumedriver",
                cli_option(cli, "socket"));
    }
    return rc;
}

static int run_info(struct cli *cli)
{
    return call_volume(cli, "GET", "", NULL);
}

static int run_resize(struct cli *cli)
{
    uint64_t bytes;
    int rc = size_parse(cli_arg(cli, 1), &bytes, &cli->err);

    return rc != 0 ? rc
                   : call_volume(cli, "PUT", "", json_pack("{s:I}", "size", (json_int_t)bytes));
}

static int run_delete(struct cli *cli)
{
    return call_volume(cli, "DELETE", "", NULL);
}

static int run_take(struct cli *cli)
{
    if (!cli_flag(cli, "force") || !cli_flag(cli, "accept-loss")) {
        return err_say(&cli->err, -EINVAL,
                       "taking a volume from its owner loses what is only in the owner's journal; "
                       "say --force --accept-loss when the owner is gone for good");
    }
    return call_volume(cli, "POST", "/take", json_pack("{s:b, s:b}", "force", 1, "accept_loss", 1));
}

static void show_list(const struct cli *cli)
{
    output_sizes(cli->result, "size");
    output_table(cli->result, "name=name size=size state=state preset=preset epoch=epoch "
                              "nbd=nbd_uri");
}

static void show_disk(const struct cli *cli)
{
    output_fields(cli->result);
}

static void show_deleted(const struct cli *cli)
{
    printf("disk '%s' is deleted\n", cli_arg(cli, 0));
}

#define SOCKET_OPTION                                                                              \
    {                                                                                              \
        .name = "socket", .arg = "PATH",                                                           \
        .help = "management socket (default: run/volumedriver.sock below $ALBA_DIR)"               \
    }

const struct verb vdisk_verbs[] = {
    {.name = "vdisk-create",
     .group = "Virtual disks",
     .positionals = "NAME SIZE",
     .summary = "make a disk, e.g. alba vdisk-create db1 10GiB",
     .options = {SOCKET_OPTION,
                 {.name = "preset",
                  .arg = "P",
                  .help = "for its objects (default: the driver's default_preset; under `alba up` "
                          "that is volumes)"}},
     .run = run_create,
     .show = show_disk,
     .fails_with_exit_one = true},
    {.name = "vdisk-list",
     .group = "Virtual disks",
     .summary = "list the disks",
     .options = {SOCKET_OPTION},
     .run = run_list,
     .show = show_list,
     .fails_with_exit_one = true},
    {.name = "vdisk-info",
     .group = "Virtual disks",
     .positionals = "NAME",
     .summary = "show a disk and its statistics",
     .options = {SOCKET_OPTION},
     .run = run_info,
     .show = show_disk,
     .fails_with_exit_one = true},
    {.name = "vdisk-resize",
     .group = "Virtual disks",
     .positionals = "NAME SIZE",
     .summary = "make a disk larger",
     .options = {SOCKET_OPTION},
     .run = run_resize,
     .show = show_disk,
     .fails_with_exit_one = true},
    {.name = "vdisk-delete",
     .group = "Virtual disks",
     .positionals = "NAME",
     .summary = "delete a disk and all its data",
     .options = {SOCKET_OPTION},
     .run = run_delete,
     .show = show_deleted,
     .fails_with_exit_one = true},
    {.name = "vdisk-take",
     .group = "Virtual disks",
     .positionals = "NAME",
     .summary = "open a disk here whose owner is gone for good",
     .options = {SOCKET_OPTION,
                 {.name = "force", .help = "although another driver owns it"},
                 {.name = "accept-loss", .help = "of writes that only its journal holds"}},
     .run = run_take,
     .show = show_disk,
     .fails_with_exit_one = true},
    {.name = NULL},
};
