/* Verbs about presets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "base/buf.h"
#include "base/mem.h"
#include "loop/io.h"
#include "policy/preset.h"

/* All of standard input, bounded. */
static int read_stdin(struct buf *text, struct err *e)
{
    size_t n;

    do {
        n = fread(buf_extend(text, 4096), 1, 4096, stdin);
        text->len -= 4096 - n;
    } while (n != 0 && text->len <= PRESET_TEXT_BYTES_MAX);
    return text->len <= PRESET_TEXT_BYTES_MAX
               ? 0
               : err_set(e, ERR_TOO_LARGE, "the preset on standard input");
}

static int read_preset(struct cli *cli, struct preset *ret_preset)
{
    const char *url = cli_option(cli, "input-url");
    const char *path = url != NULL && strncmp(url, "file://", 7) == 0 ? url + 7 : url;
    struct buf text = {0};
    int rc;

    if (path == NULL) {
        rc = read_stdin(&text, &cli->err);
    } else {
        rc = io_load_file(io_real(), path, PRESET_TEXT_BYTES_MAX, &text.data, &text.len);
        if (rc != 0) {
            err_set(&cli->err, rc, "preset file %s", path);
        }
    }
    if (rc == 0) {
        rc = preset_from_text(ret_preset, (const char *)text.data, text.len, &cli->err);
        if (rc != 0) {
            err_wrap(&cli->err, "%s", path != NULL ? path : "standard input");
        }
    }
    if (rc == 0) {
        preset_set_name(ret_preset, cli_arg(cli, 0));
    }
    buf_release(&text);
    if (rc != 0) {
        cli->exception_type = "albamgr_exn";
        cli->exception_code = MGR_PRESET_INVALID;
    }
    return rc;
}

static int run_create_preset(struct cli *cli)
{
    struct preset preset;
    struct session s;
    int rc = read_preset(cli, &preset);

    if (rc != 0) {
        return rc;
    }
    rc = session_open(&s, cli);
    if (rc == 0) {
        registry_preset_create(s.registry, &preset, session_done, &s);
        rc = session_wait(&s);
        if (rc != 0) {
            session_fail_mgr(&s, cli, rc == ERR_EXISTS ? MGR_PRESET_EXISTS : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    preset_release(&preset);
    return rc;
}

static int run_delete_preset(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        registry_preset_delete(s.registry, cli_arg(cli, 0), session_done, &s);
        rc = session_wait(&s);
        if (rc != 0) {
            session_fail_mgr(&s, cli,
                             rc == ERR_NOT_FOUND ? MGR_PRESET_NOT_FOUND
                             : rc == ERR_BUSY    ? MGR_PRESET_IN_USE
                                                 : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

static int run_set_default(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        registry_preset_set_default(s.registry, cli_arg(cli, 0), session_done, &s);
        rc = session_wait(&s);
        if (rc != 0) {
            session_fail_mgr(&s, cli, rc == ERR_NOT_FOUND ? MGR_PRESET_NOT_FOUND : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

static int run_list_presets(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);
    const struct registry_view *view = rc == 0 ? registry_view(s.registry) : NULL;

    cli->result = json_array();
    for (size_t i = 0; view != NULL && i < registry_view_preset_count(view); i++) {
        struct preset preset;

        registry_view_preset_copy(view, registry_view_preset(view, i), &preset);
        json_array_append_new(cli->result, preset_to_json(&preset));
        preset_release(&preset);
    }
    session_close(&s);
    return rc;
}

static void show_presets(const struct cli *cli)
{
    size_t index;
    json_t *preset;

    json_array_foreach(cli->result, index, preset)
    {
        char *policies = json_dumps(json_object_get(preset, "policies"), JSON_COMPACT);

        json_object_set_new(preset, "policies", json_string(policies));
        free(policies);
    }
    output_table(cli->result, "name=name default=is_default used=in_use version=version "
                              "fragment=fragment_size compression=compression policies=policies");
}

const struct verb preset_verbs[] = {
    {.name = "create-preset",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "make a preset out of a JSON file, or of standard input",
     .details = "For example:\n"
                "  {\"policies\": [[4,2,6,2],[4,2,5,2],[4,2,4,2]],\n"
                "   \"fragment_size\": 1048576, \"compression\": \"lz4\"}\n"
                "A policy is [k, m, c, x]: k data and m parity fragments, an upload is good with\n"
                "c of them, at most x on the disks of one node; the first policy that the\n"
                "disks allow is used.",
     .options = {{.name = "input-url",
                  .arg = "FILE",
                  .help = "the JSON (default: standard input)"}},
     .run = run_create_preset,
     .wants_registry = true},
    {.name = "delete-preset",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "delete a preset that no namespace uses",
     .run = run_delete_preset,
     .wants_registry = true},
    {.name = "list-presets",
     .group = "Presets",
     .summary = "list the presets",
     .run = run_list_presets,
     .show = show_presets,
     .wants_registry = true},
    {.name = "preset-set-default",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "use this preset for namespaces that name none",
     .run = run_set_default,
     .wants_registry = true},
    {.name = NULL},
};
