/* Verbs that go through the keys of one ASD. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alba/asd_keys.h"
#include "alba/asd_link.h"
#include "alba/escape.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "wire/asd_msg.h"

enum { RESULTS_MAX = 1000000 };

/* Where to go on, and how many are still wanted; -1: all. */
struct walk {
    struct asd_range range;
    struct buf first;
    struct buf last;
    int64_t left;
    bool more;
};

static int take_bool(struct cli *cli, const char *name, bool *ret_value)
{
    const char *text = cli_option(cli, name);

    *ret_value = strcmp(text, "true") == 0;
    if (!*ret_value && strcmp(text, "false") != 0) {
        return err_say(&cli->err, -EINVAL, "--%s=%.100s: want true or false", name, text);
    }
    return 0;
}

static int walk_init(struct walk *w, struct cli *cli)
{
    const char *first = cli_option(cli, "first");
    const char *last = cli_option(cli, "last");
    int rc;

    *w = (struct walk){.range = {.first_included = true, .reverse = cli_flag(cli, "reverse")}};
    rc = cli_number(cli, "max", -1, INT32_MAX, &w->left);
    if (rc == 0 && first != NULL) {
        rc = asd_keys_bytes(cli, first, &w->first);
    } else if (w->range.reverse) { /* from the end: no key is greater than this */
        memset(buf_extend(&w->first, ASD_KEY_BYTES_MAX), 0xff, ASD_KEY_BYTES_MAX);
    }
    rc = rc != 0 ? rc : take_bool(cli, "finc", &w->range.first_included);
    rc = rc != 0 ? rc : take_bool(cli, "linc", &w->range.last_included);
    if (rc == 0 && last != NULL) {
        w->range.has_last = true;
        rc = asd_keys_bytes(cli, last, &w->last);
    }
    w->range.first = slice_buf(&w->first);
    w->range.last = slice_buf(&w->last);
    return rc;
}

static void walk_release(struct walk *w)
{
    buf_release(&w->first);
    buf_release(&w->last);
}

static void walk_next(struct walk *w, struct slice key, bool included)
{
    struct buf first = {0};

    buf_put(&first, key.data, key.len);
    buf_release(&w->first);
    w->first = first;
    w->range.first = slice_buf(&w->first);
    w->range.first_included = included;
}

static int32_t walk_max(const struct walk *w)
{
    return w->left < 0 || w->left > ASD_RANGE_MAX ? ASD_RANGE_MAX : (int32_t)w->left;
}

/* Does the way to `key` lead on? Else the ASD would have us go on for ever. */
static bool walk_leads_to(const struct walk *w, struct slice key, bool or_stay)
{
    int order = slice_cmp(key, w->range.first);

    return order == 0 ? or_stay : (order < 0) == w->range.reverse;
}

/* `count` entries of a reply, of `max` at most, and where they lead. */
static int walk_check(struct asd_link *l, const struct walk *w, uint32_t count, int32_t max,
                      bool leads_on)
{
    struct err e;

    if (count > (uint32_t)max) {
        err_set(&e, ERR_PROTOCOL, "%" PRIu32 " keys, where %" PRId32 " were asked for", count, max);
    } else if (!leads_on) {
        char first[ASD_KEY_TEXT_BYTES];

        asd_key_text(w->range.first, first);
        err_set(&e, ERR_PROTOCOL, "its keys do not lead on from \"%s\"", first);
    } else {
        return 0;
    }
    return asd_link_fail(l, &e);
}

/* ---- range ---- */

static int take_keys(struct asd_link *l, struct walk *w, const struct asd_reply *reply, int32_t max,
                     json_t *keys)
{
    uint32_t count = reply->keys.count;
    const struct slice *items = reply->keys.items;
    bool leads_on =
        count == 0 || walk_leads_to(w, items[count - 1], w->range.first_included && count == 1);
    int rc = walk_check(l, w, count, max, leads_on);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(keys, escape_json(items[i]));
    }
    w->more = reply->keys.more;
    w->left -= w->left < 0 ? 0 : count;
    if (count != 0) {
        walk_next(w, items[count - 1], false);
    } else {
        w->left = 0; /* whatever it says about more */
    }
    return 0;
}

static int list_keys(struct asd_link *l, struct walk *w, json_t *keys)
{
    do {
        struct asd_request request = {.code = ASD_RANGE, .range = w->range};
        struct asd_answer answer;
        int rc;

        request.range.max = walk_max(w);
        rc = asd_link_call(l, &request, &answer);
        if (rc != 0) {
            return rc;
        }
        rc = take_keys(l, w, &answer.reply, request.range.max, keys);
        asd_answer_release(&answer);
        if (rc != 0) {
            return rc;
        }
    } while (w->more && w->left != 0);
    return 0;
}

static int run_range(struct cli *cli)
{
    struct asd_link l;
    struct walk w = {0};
    json_t *keys = json_array();
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : walk_init(&w, cli);
    rc = rc != 0 ? rc : list_keys(&l, &w, keys);
    if (rc == 0) {
        cli->result = json_pack("{s:I, s:b, s:O}", "n", (json_int_t)json_array_size(keys),
                                "have_more", w.more, "keys", keys);
    }
    json_decref(keys);
    walk_release(&w);
    asd_link_close(&l);
    return rc;
}

static void show_more(const struct cli *cli)
{
    if (json_is_true(json_object_get(cli->result, "have_more"))) {
        fprintf(stderr, "there are more; --max=-1 prints all\n");
    }
}

static void show_keys(const struct cli *cli)
{
    size_t index;
    json_t *key;

    json_array_foreach(json_object_get(cli->result, "keys"), index, key)
    {
        puts(json_string_value(key));
    }
    show_more(cli);
}

/* ---- range-validate ---- */

struct validation {
    json_t *results;
    uint64_t failed; /* keys */
};

static void add_validation(struct validation *v, const struct asd_validation *from)
{
    json_t *checks = json_array();
    bool ok = true;

    for (uint32_t i = 0; i < from->check_count; i++) {
        const struct asd_check *c = &from->checks[i];

        json_array_append_new(checks, json_pack("[o, b]", escape_json(c->name), c->ok));
        ok = ok && c->ok;
    }
    json_array_append_new(v->results, json_pack("[o, o]", escape_json(from->key), checks));
    v->failed += !ok;
}

/* A reply holds what was found among its keys; `next` is where the next part begins. */
static int take_validations(struct asd_link *l, struct walk *w, const struct asd_reply *reply,
                            int32_t max, struct validation *v)
{
    struct slice next = reply->validations.next;
    bool leads_on = !reply->validations.has_next || walk_leads_to(w, next, max == 0);
    int rc = walk_check(l, w, reply->validations.count, max, leads_on);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < reply->validations.count; i++) {
        add_validation(v, &reply->validations.items[i]);
    }
    w->more = reply->validations.has_next;
    if (w->more) {
        walk_next(w, next, true);
    }
    return 0;
}

static int validate(struct asd_link *l, struct cli *cli, struct walk *w, struct validation *v,
                    json_t **ret_next)
{
    bool follow = cli_flag(cli, "follow");

    do {
        struct asd_request request = {.code = ASD_RANGE_VALIDATE,
                                      .range = w->range,
                                      .verify_checksum = cli_flag(cli, "verify-checksums"),
                                      .show_all = cli_flag(cli, "show-all")};
        struct asd_answer answer;
        int rc;

        request.range.max = follow ? ASD_RANGE_MAX : walk_max(w);
        rc = asd_link_call(l, &request, &answer);
        if (rc != 0) {
            return rc;
        }
        rc = take_validations(l, w, &answer.reply, request.range.max, v);
        asd_answer_release(&answer);
        if (rc != 0) {
            return rc;
        }
    } while (w->more && follow && json_array_size(v->results) < RESULTS_MAX);
    *ret_next = w->more ? escape_json(w->range.first) : json_null();
    return 0;
}

static void show_validations(const struct cli *cli)
{
    const json_t *result = cli->result;
    size_t index;
    json_t *item;

    json_array_foreach(json_object_get(result, "keys"), index, item)
    {
        size_t i;
        json_t *check;

        printf("%s:", json_string_value(json_array_get(item, 0)));
        json_array_foreach(json_array_get(item, 1), i, check)
        {
            printf("%s %s %s", i != 0 ? "," : "", json_string_value(json_array_get(check, 0)),
                   json_is_true(json_array_get(check, 1)) ? "ok" : "FAILED");
        }
        putchar('\n');
    }
    if (json_array_size(json_object_get(result, "keys")) == 0) {
        puts("no value failed");
    }
    if (!json_is_null(json_object_get(result, "next"))) {
        fprintf(stderr, "checked up to %s; --follow goes on to the end\n",
                json_string_value(json_object_get(result, "next")));
    }
}

static int run_range_validate(struct cli *cli)
{
    struct asd_link l;
    struct walk w = {0};
    struct validation v = {.results = json_array()};
    json_t *next = NULL;
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : walk_init(&w, cli);
    rc = rc != 0 ? rc : validate(&l, cli, &w, &v, &next);
    if (rc == 0) {
        cli->result = json_pack("{s:O, s:o, s:I}", "keys", v.results, "next", next, "failed",
                                (json_int_t)v.failed);
    }
    if (rc == 0 && v.failed != 0 && !cli->to_json) {
        show_validations(cli);
        fflush(stdout);
        rc = err_say(&cli->err, ERR_CORRUPT,
                     "%llu value%s failed: delete those keys, and repair makes them anew elsewhere",
                     (unsigned long long)v.failed, v.failed == 1 ? "" : "s");
    }
    json_decref(v.results);
    walk_release(&w);
    asd_link_close(&l);
    return rc;
}

#define RANGE_OPTIONS                                                                              \
    {.name = "first", .arg = "KEY", .help = "begin here (default: at the first key)"},             \
        {.name = "finc",                                                                           \
         .arg = "BOOL",                                                                            \
         .value_default = "true",                                                                  \
         .help = "with the first key itself"},                                                     \
        {.name = "last", .arg = "KEY", .help = "end here (default: at the last key)"},             \
        {.name = "linc",                                                                           \
         .arg = "BOOL",                                                                            \
         .value_default = "true",                                                                  \
         .help = "with the last key itself"},                                                      \
        {.name = "max",                                                                            \
         .arg = "N",                                                                               \
         .value_default = "100",                                                                   \
         .help = "so many keys at most; -1: all"},                                                 \
        {.name = "reverse", .help = "downwards; --first is the upper end then"}, ASD_KEYS_UNESCAPE

const struct verb asd_range_verbs[] = {
    {.name = "asd-range",
     .group = "One ASD",
     .summary = "list keys",
     .details = "One key a line, escaped; --unescape reads them back.",
     .options = {ASD_LINK_OPTIONS, RANGE_OPTIONS},
     .run = run_range,
     .show = show_keys},
    {.name = "asd-range-validate",
     .group = "One ASD",
     .summary = "check values where they lie, and list those that fail",
     .details =
         "Every value is where the index says, and with --verify-checksums it is read and "
         "compared\nwith its checksums. Fails if any value does; with --to-json it succeeds, "
         "and \"failed\"\ncounts the values that did not pass.",
     .options = {ASD_LINK_OPTIONS,
                 RANGE_OPTIONS,
                 {.name = "verify-checksums", .help = "read the values, too"},
                 {.name = "follow", .help = "to the end, not --max keys"},
                 {.name = "show-all", .help = "list the sound ones, too"}},
     .run = run_range_validate,
     .show = show_validations},
    {.name = NULL},
};

const struct verb osd_range_verbs[] = {
    {.name = "osd-range",
     .group = "OSDs",
     .summary = "list keys of an OSD",
     .options = {ASD_LINK_OSD_OPTIONS, RANGE_OPTIONS},
     .run = run_range,
     .show = show_keys,
     .wants_registry = true},
    {.name = NULL},
};
