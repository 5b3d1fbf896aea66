/* Verbs about presets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/input.h"
#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"
#include "policy/preset.h"
#include "proxy/key_files.h"

static int fail_preset(struct cli *cli, int rc)
{
    cli->exception_type = "albamgr_exn";
    cli->exception_code = MGR_PRESET_INVALID;
    return rc;
}

/* ["cipher", path of a key file] -> ["cipher", the key's id]: the key goes no further than here. */
static int replace_key(json_t *json, struct err *e)
{
    json_t *field = json_object_get(json, "fragment_encryption");
    const char *path = json_string_value(json_array_get(field, 1));
    uint8_t bytes[CIPHER_KEY_BYTES], id[KEY_ID_BYTES];
    char text[KEY_ID_TEXT_BYTES];
    int rc;

    if (path == NULL || hex_decode(id, sizeof(id), path) == 0) {
        return 0; /* nothing to replace; what is wrong is said by who reads the preset */
    }
    rc = key_file_read(path, bytes, e);
    if (rc == 0) {
        key_id_of(id, bytes);
        hex_encode(text, id, sizeof(id));
        json_array_set_new(field, 1, json_string(text));
    }
    key_wipe(bytes, sizeof(bytes));
    return rc;
}

/* Of --input-url, or standard input. *ret_name, for messages, is static or borrowed from *cli. */
static int load_json(struct cli *cli, json_t **ret_json, const char **ret_name)
{
    const char *url = cli_option(cli, "input-url");
    const char *path = url != NULL && strncmp(url, "file://", 7) == 0 ? url + 7 : url;
    struct buf text = {0};
    int rc = input_load(path, PRESET_TEXT_BYTES_MAX, &text, &cli->err);

    *ret_name = path != NULL ? path : "standard input";
    if (rc == 0 && text.len == 0) {
        rc = err_say(&cli->err, -EINVAL,
                     "%s is empty: want the JSON of a preset; see alba %s --help", *ret_name,
                     cli->verb->name);
    } else if (rc == 0) {
        rc = preset_load_text(ret_json, (const char *)text.data, text.len, &cli->err);
        if (rc == 0) {
            rc = replace_key(*ret_json, &cli->err);
            json_decref(rc != 0 ? *ret_json : NULL);
        }
        if (rc != 0) {
            err_wrap(&cli->err, "%s", *ret_name);
        }
    }
    buf_release(&text);
    return rc != 0 ? fail_preset(cli, rc) : 0;
}

static int read_preset(struct cli *cli, struct preset *ret_preset)
{
    const char *from;
    json_t *json;
    int rc = load_json(cli, &json, &from);

    if (rc != 0) {
        return rc;
    }
    rc = preset_from_json(ret_preset, json, &cli->err);
    json_decref(json);
    if (rc != 0) {
        err_wrap(&cli->err, "%s", from);
        return fail_preset(cli, rc);
    }
    preset_set_name(ret_preset, cli_arg(cli, 0));
    return 0;
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
            session_fail_mgr(&s, cli,
                             rc == ERR_EXISTS      ? MGR_PRESET_EXISTS
                             : rc == ERR_NOT_FOUND ? MGR_OSD_UNKNOWN
                                                   : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    preset_release(&preset);
    return rc;
}

static int code_of(int rc)
{
    return rc == ERR_NOT_FOUND ? MGR_PRESET_NOT_FOUND
           : rc == -EPERM      ? MGR_PRESET_IS_DEFAULT
           : rc == ERR_BUSY    ? MGR_PRESET_IN_USE
           : rc == ERR_CONFIG  ? MGR_PRESET_INVALID
                               : MGR_UNKNOWN;
}

static int run_update_preset(struct cli *cli)
{
    const char *from;
    struct session s;
    json_t *json;
    int rc = load_json(cli, &json, &from);

    if (rc != 0) {
        return rc;
    }
    rc = session_open(&s, cli);
    if (rc == 0) {
        registry_preset_update(s.registry, cli_arg(cli, 0), json, session_done, &s);
        rc = session_wait(&s);
        if (rc != 0) {
            session_fail_mgr(&s, cli, code_of(rc));
        }
    }
    session_close(&s);
    json_decref(json);
    return rc;
}

/* "1,2,3"; *ret_ids is the caller's. */
static int read_ids(struct cli *cli, uint64_t **ret_ids, unsigned *ret_count)
{
    const char *text = cli_option(cli, "osd-id");
    uint64_t *ids;
    unsigned count = 0;

    if (text == NULL) {
        return err_say(&cli->err, -EINVAL, "--osd-id is needed; see alba list-osds");
    }
    ids = mem_array(strlen(text) + 1, sizeof(ids[0]));
    for (const char *at = text;; at++) {
        char *end;
        unsigned long long id;

        errno = 0;
        id = strtoull(at, &end, 10);
        if (errno != 0 || *at < '0' || *at > '9' || (*end != ',' && *end != '\0') ||
            id > INT64_MAX) {
            free(ids);
            return err_say(&cli->err, -EINVAL, "--osd-id=%.100s: want numbers, as list-osds shows",
                           text);
        }
        ids[count++] = id;
        at = end;
        if (*at == '\0') {
            break;
        }
    }
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

static int run_add_osds(struct cli *cli)
{
    const char *name = cli_arg(cli, 0);
    struct session s;
    uint64_t *ids = NULL;
    unsigned count = 0;
    int rc = read_ids(cli, &ids, &count);

    if (rc != 0) {
        return rc;
    }
    rc = session_open(&s, cli);
    if (rc == 0) {
        registry_preset_add_osds(s.registry, name, ids, count, session_done, &s);
        rc = session_wait(&s);
        if (rc == ERR_NOT_FOUND && registry_view_preset_find(registry_view(s.registry), name)) {
            session_fail_mgr(&s, cli, MGR_OSD_UNKNOWN);
        } else if (rc != 0) {
            session_fail_mgr(&s, cli, code_of(rc));
        }
    }
    session_close(&s);
    free(ids);
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
            session_fail_mgr(&s, cli, code_of(rc));
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
            session_fail_mgr(&s, cli, code_of(rc));
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
        json_object_set(preset, "encryption",
                        json_array_get(json_object_get(preset, "fragment_encryption"), 0));
        free(policies);
    }
    output_table(cli->result,
                 "name=name default=is_default used=in_use version=version "
                 "fragment=fragment_size compression=compression encryption=encryption "
                 "policies=policies");
}

/* ---- propagation: a preset is read where it is stored, so there is none ---- */

static int not_found(struct cli *cli, const char *name)
{
    cli->exception_type = "albamgr_exn";
    cli->exception_code = MGR_PRESET_NOT_FOUND;
    return err_set(&cli->err, ERR_NOT_FOUND, "preset '%s'", name);
}

static void add_state(struct cli *cli, const struct preset *preset)
{
    json_array_append_new(cli->result,
                          json_pack("{s:s, s:I, s:[]}", "name", preset->name, "version",
                                    (json_int_t)preset->version, "namespaces"));
}

static int run_propagation_state(struct cli *cli)
{
    struct session s;
    int rc = 0;

    if (cli_flag(cli, "all-presets") == (cli->positional_count != 0)) {
        return err_say(&cli->err, -EINVAL, "want the names of presets, or --all-presets");
    }
    rc = session_open(&s, cli);
    cli->result = json_array();
    if (rc == 0) {
        const struct registry_view *view = registry_view(s.registry);

        for (size_t i = 0; cli_flag(cli, "all-presets") && i < registry_view_preset_count(view);
             i++) {
            add_state(cli, registry_view_preset(view, i));
        }
        for (unsigned i = 0; rc == 0 && i < cli->positional_count; i++) {
            const struct preset *preset = registry_view_preset_find(view, cli_arg(cli, i));

            if (preset == NULL) {
                rc = not_found(cli, cli_arg(cli, i));
            } else {
                add_state(cli, preset);
            }
        }
    }
    session_close(&s);
    return rc;
}

static void show_propagation_state(const struct cli *cli)
{
    size_t index;
    json_t *row;

    json_array_foreach(cli->result, index, row)
    {
        json_object_set_new(
            row, "waiting",
            json_integer((json_int_t)json_array_size(json_object_get(row, "namespaces"))));
    }
    output_table(cli->result, "name=name version=version waiting=waiting");
}

static int run_propagate(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0 && registry_view_preset_find(registry_view(s.registry), cli_arg(cli, 0)) == NULL) {
        rc = not_found(cli, cli_arg(cli, 0));
    }
    session_close(&s);
    return rc;
}

const struct verb preset_verbs[] = {
    {.name = "create-preset",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "make a preset out of a JSON file, or of standard input",
     .details =
         "For example:\n"
         "  {\"policies\": [[4,2,6,2],[4,2,5,2],[4,2,4,2]],\n"
         "   \"fragment_size\": 1048576, \"compression\": \"lz4\"}\n"
         "A policy is [k, m, c, x]: k data and m parity fragments, an upload is good with\n"
         "c of them, at most x on the disks of one node; the first policy that the\n"
         "disks allow is used. compression is lz4, none, snappy or bz2; the last two are\n"
         "for objects that other software reads: there a small read costs a whole fragment.\n"
         "\"fragment_encryption\": [\"xchacha20-poly1305\", \"/etc/alba/keys/one\"] encrypts:\n"
         "the file has 32 random bytes and mode 600, and every proxy names it in its\n"
         "'key_files' (transfers of this program: $ALBA_KEY_FILES, else keys/ below\n"
         "$ALBA_DIR). The registry keeps the key's id (SHA-256) only. Ciphers besides:\n"
         "aes-256-gcm, and aes-ctr-256, which does not detect forgery.\n"
         "One of those that list-presets --to-json shows is taken as well: name, version,\n"
         "in_use and is_default are the registry's own (alba preset-set-default).",
     .options = {{.name = "input-url",
                  .arg = "FILE",
                  .help = "the JSON: a file or a pipe (default: standard input)"}},
     .run = run_create_preset,
     .wants_registry = true},
    {.name = "update-preset",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "change a preset by a JSON file, or by standard input",
     .details = "What may change: policies, fragment_size, fragment_encryption,\n"
                "max_per_datacenter; what the JSON does not name stays. For example:\n"
                "  {\"policies\": [[5,3,7,2],[4,2,5,2]]}\n"
                "The version of the preset goes up by one, and every proxy uses it from its next\n"
                "look at the registry on (a few seconds). Objects that exist stay as they are,\n"
                "so a preset with a cipher may get another one, or another key, but not none.",
     .options = {{.name = "input-url",
                  .arg = "FILE",
                  .help = "the JSON: a file or a pipe (default: standard input)"}},
     .run = run_update_preset,
     .wants_registry = true},
    {.name = "add-osds-to-preset",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "let a preset with a list of osds use more of them",
     .options = {{.name = "osd-id",
                  .arg = "ID",
                  .help = "as list-osds shows it; may be given several times",
                  .is_list = true}},
     .run = run_add_osds,
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
    {.name = "get-presets-propagation-state",
     .group = "Presets",
     .positionals = "[NAME…]",
     .summary = "which namespaces wait for the newest version of a preset: none, ever",
     .details =
         "Proxies and agents read presets where they are stored, so a version is in use\n"
         "everywhere within seconds and nothing is handed on to namespaces. The verb is for\n"
         "programs that wait until the list `namespaces` of each preset is empty.",
     .options = {{.name = "all-presets", .help = "of every preset"}},
     .run = run_propagation_state,
     .show = show_propagation_state,
     .wants_registry = true},
    {.name = "dev-add-propagate-preset",
     .group = "Presets",
     .positionals = "NAME",
     .summary = "for older programs: there is nothing to hand on, so it only looks at the name",
     .run = run_propagate,
     .wants_registry = true},
    {.name = NULL},
};
