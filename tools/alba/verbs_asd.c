/* Verbs about keys and values of one ASD. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_keys.h"
#include "alba/asd_link.h"
#include "alba/escape.h"
#include "alba/input.h"
#include "alba/manifest_json.h"
#include "alba/verb.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "wire/asd_msg.h"

enum { VALUE_BYTES_MAX = ASD_FRAME_BYTES_MAX - 2 * ASD_KEY_BYTES_MAX };

/* ---- set ---- */

/* The value of the argument, or of --file. */
static int take_value(struct cli *cli, struct buf *ret_value)
{
    const char *file = cli_option(cli, "file");
    const char *text = cli_arg(cli, 1);

    if ((file == NULL) == (text == NULL)) {
        return err_say(&cli->err, -EINVAL, "give a VALUE, or a file with --file=FILE: one of them");
    }
    if (text != NULL) {
        return cli_bytes(cli, text, ret_value);
    }
    return input_load(file, VALUE_BYTES_MAX, ret_value, &cli->err);
}

static int run_set(struct cli *cli)
{
    struct asd_link l;
    struct asd_keys keys = {0};
    struct buf value = {0};
    struct asd_update update = {0};
    struct asd_answer answer;
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : take_value(cli, &value);
    cli->positional_count = 1; /* the value is no key */
    rc = rc != 0 ? rc : asd_keys_take(&keys, cli, 0);
    if (rc == 0) {
        const struct asd_request request = {.code = ASD_APPLY,
                                            .apply = {.updates = &update, .update_count = 1}};

        update = (struct asd_update){.key = keys.items[0],
                                     .value = slice_buf(&value),
                                     .checksum = checksum_crc32c(crc32c(0, value.data, value.len)),
                                     .assertable = true};
        rc = asd_link_call(&l, &request, &answer);
    }
    if (rc == 0) {
        cli->result = json_pack("[o, n]", escape_json(keys.items[0]));
        asd_answer_release(&answer);
    }
    asd_keys_release(&keys);
    buf_release(&value);
    asd_link_close(&l);
    return rc;
}

/* ---- get ---- */

static int save(struct cli *cli, const struct asd_value *value, struct slice key)
{
    const char *file = cli_option(cli, "file");
    FILE *out;
    bool ok;

    if (!value->found) {
        char text[ASD_KEY_TEXT_BYTES];

        asd_key_text(key, text);
        return err_say(&cli->err, ERR_NOT_FOUND,
                       "no key '%s'; alba asd-range lists those there are", text);
    }
    out = fopen(file, "wb");
    ok = out != NULL && fwrite(value->value.data, 1, value->value.len, out) == value->value.len;
    if (out != NULL && fclose(out) != 0) {
        ok = false;
    }
    return ok ? 0 : err_set(&cli->err, -errno, "%.200s", file);
}

static void put_value(json_t *result, struct slice key, const struct asd_value *v)
{
    struct buf name = {0};
    json_t *value = v->found
                        ? json_pack("[o, o]", escape_json(v->value), checksum_json(&v->checksum))
                        : json_null();

    escape_put(&name, key);
    buf_put_u8(&name, 0); /* escaped, it holds no other */
    json_object_set_new(result, (const char *)name.data, value);
    buf_release(&name);
}

static int get_values(struct asd_link *l, struct cli *cli, const struct asd_keys *keys)
{
    const struct asd_request request = {.code = ASD_MULTI_GET2,
                                        .keys = {.items = keys->items, .count = keys->count}};
    struct asd_answer answer;
    int rc = asd_link_call(l, &request, &answer);

    if (rc != 0) {
        return rc;
    }
    if (answer.reply.values.count != keys->count) {
        rc = err_say(&cli->err, ERR_PROTOCOL, "%u values for %u keys", answer.reply.values.count,
                     keys->count);
    } else if (cli_option(cli, "file") != NULL) {
        rc = save(cli, &answer.reply.values.items[0], keys->items[0]);
    } else {
        cli->result = json_object();
        for (uint32_t i = 0; i < keys->count; i++) {
            put_value(cli->result, keys->items[i], &answer.reply.values.items[i]);
        }
    }
    asd_answer_release(&answer);
    return rc;
}

static int run_multi_get(struct cli *cli)
{
    struct asd_link l;
    struct asd_keys keys = {0};
    int rc = asd_link_open(&l, cli);

    if (rc == 0 && cli_option(cli, "file") != NULL && cli->positional_count != 1) {
        rc = err_say(&cli->err, -EINVAL, "--file takes the value of one key");
    }
    rc = rc != 0 ? rc : asd_keys_take(&keys, cli, 0);
    rc = rc != 0 ? rc : get_values(&l, cli, &keys);
    asd_keys_release(&keys);
    asd_link_close(&l);
    return rc;
}

static void show_values(const struct cli *cli)
{
    const char *key;
    json_t *value;

    json_object_foreach(cli->result, key, value)
    {
        json_t *checksum = json_array_get(value, 1);
        const char *text = json_string_value(json_array_get(checksum, 1));

        if (json_is_null(value)) {
            printf("%s: None\n", key);
        } else {
            printf("%s: \"%s\"%s%s%s\n", key, json_string_value(json_array_get(value, 0)),
                   text != NULL ? " (" : "", text != NULL ? text : "", text != NULL ? ")" : "");
        }
    }
}

/* ---- delete ---- */

/* How many of them there are: a delete does not ask. */
static int count_there(struct asd_link *l, const struct asd_keys *keys, unsigned *ret_count)
{
    const struct asd_request request = {.code = ASD_MULTI_EXISTS,
                                        .keys = {.items = keys->items, .count = keys->count}};
    struct asd_answer answer;
    int rc = asd_link_call(l, &request, &answer);

    *ret_count = 0;
    if (rc == 0) {
        for (uint32_t i = 0; i < answer.reply.exists.count; i++) {
            *ret_count += answer.reply.exists.items[i];
        }
        asd_answer_release(&answer);
    }
    return rc;
}

static int run_delete(struct cli *cli)
{
    struct asd_link l;
    struct asd_keys keys = {0};
    struct asd_update *updates = NULL;
    struct asd_answer answer;
    unsigned there = 0;
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : asd_keys_take(&keys, cli, 0);
    rc = rc != 0 || cli->to_json ? rc : count_there(&l, &keys, &there); /* only people are told */
    if (rc == 0) {
        updates = mem_array(keys.count, sizeof(*updates));
        for (uint32_t i = 0; i < keys.count; i++) {
            updates[i] = (struct asd_update){.key = keys.items[i], .is_delete = true};
        }
        const struct asd_request request = {
            .code = ASD_APPLY, .apply = {.updates = updates, .update_count = keys.count}};
        rc = asd_link_call(&l, &request, &answer);
    }
    if (rc == 0) {
        asd_answer_release(&answer);
        if (!cli->to_json) {
            printf("%u of %u key%s deleted%s\n", there, keys.count, keys.count == 1 ? "" : "s",
                   there == keys.count ? ""
                   : keys.count == 1   ? "; it was not there"
                   : there == 0        ? "; they were not there"
                                       : "; the others were not there");
        }
    }
    free(updates);
    asd_keys_release(&keys);
    asd_link_close(&l);
    return rc;
}

#define FILE_TO_SAVE                                                                               \
    {                                                                                              \
        .name = "file", .arg = "FILE",                                                             \
        .help = "write the value of the one KEY to this file, as "                                 \
                "it is"                                                                            \
    }

const struct verb asd_verbs[] = {
    {.name = "asd-set",
     .group = "One ASD",
     .positionals = "KEY [VALUE]",
     .summary = "store a value",
     .details = "The value is durable when this returns. It replaces the one the key had.",
     .options = {ASD_LINK_OPTIONS,
                 {.name = "file",
                  .arg = "FILE",
                  .help = "the value is what this file (or pipe) holds"},
                 CLI_UNESCAPE},
     .run = run_set},
    {.name = "asd-multi-get",
     .group = "One ASD",
     .positionals = "KEY [KEY…]",
     .summary = "print values; None where there is none",
     .details = "A value is printed in quotes and escaped, with its checksum behind it.",
     .options = {ASD_LINK_OPTIONS, FILE_TO_SAVE, CLI_UNESCAPE},
     .run = run_multi_get,
     .show = show_values},
    {.name = "asd-delete",
     .group = "One ASD",
     .positionals = "KEY",
     .summary = "delete a key",
     .options = {ASD_LINK_OPTIONS, CLI_UNESCAPE},
     .run = run_delete},
    {.name = "asd-multi-delete",
     .group = "One ASD",
     .positionals = "KEY [KEY…]",
     .summary = "delete keys, all of them or none",
     .options = {ASD_LINK_OPTIONS, CLI_UNESCAPE},
     .run = run_delete},
    {.name = NULL},
};

const struct verb osd_value_verbs[] = {
    {.name = "osd-multi-get",
     .group = "OSDs",
     .positionals = "KEY [KEY…]",
     .summary = "print values of an OSD; None where there is none",
     .options = {ASD_LINK_OSD_OPTIONS, FILE_TO_SAVE, CLI_UNESCAPE},
     .run = run_multi_get,
     .show = show_values,
     .wants_registry = true},
    {.name = NULL},
};
