/* Verbs that go through the keys of one ASD. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alba/asd_keys.h"
#include "alba/asd_link.h"
#include "alba/escape.h"
#include "alba/verb.h"
#include "alba/walk.h"
#include "base/mem.h"
#include "wire/asd_msg.h"

enum { RESULTS_MAX = 1000000 };

static struct asd_range range_of(const struct walk *w)
{
    return (struct asd_range){.first = w->first,
                              .last = w->last,
                              .max = walk_max(w, ASD_RANGE_MAX),
                              .first_included = w->first_included,
                              .has_last = w->has_last,
                              .last_included = w->last_included,
                              .reverse = w->reverse};
}

/* Does the way to `key` lead on? Else the ASD would have us go on for ever. */
static bool walk_leads_to(const struct walk *w, struct slice key, bool or_stay)
{
    int order = slice_cmp(key, w->first);

    return order == 0 ? or_stay : (order < 0) == w->reverse;
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

        asd_key_text(w->first, first);
        err_set(&e, ERR_PROTOCOL, "its keys do not lead on from \"%s\"", first);
    } else {
        return 0;
    }
    return asd_link_fail(l, &e);
}

/* ---- range ---- */

static int take_keys(struct asd_link *l, struct walk *w, const struct asd_reply *reply, int32_t max,
                     json_t *keys, bool *ret_goes_on)
{
    uint32_t count = reply->keys.count;
    const struct slice *items = reply->keys.items;
    bool leads_on =
        count == 0 || walk_leads_to(w, items[count - 1], w->first_included && count == 1);
    int rc = walk_check(l, w, count, max, leads_on);

    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < count; i++) {
        json_array_append_new(keys, escape_json(items[i]));
    }
    *ret_goes_on =
        walk_goes_on(w, count, count != 0 ? items[count - 1] : w->first, reply->keys.more);
    return 0;
}

static int list_keys(struct asd_link *l, struct walk *w, json_t *keys)
{
    bool goes_on;

    do {
        struct asd_request request = {.code = ASD_RANGE, .range = range_of(w)};
        struct asd_answer answer;
        int rc;

        rc = asd_link_call(l, &request, &answer);
        if (rc != 0) {
            return rc;
        }
        rc = take_keys(l, w, &answer.reply, request.range.max, keys, &goes_on);
        asd_answer_release(&answer);
        if (rc != 0) {
            return rc;
        }
    } while (goes_on);
    return 0;
}

static int run_range(struct cli *cli)
{
    struct asd_link l;
    struct walk w = {0};
    json_t *keys = json_array();
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : walk_init(&w, cli, ASD_KEY_BYTES_MAX);
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
                                      .range = range_of(w),
                                      .verify_checksum = cli_flag(cli, "verify-checksums"),
                                      .show_all = cli_flag(cli, "show-all")};
        struct asd_answer answer;
        int rc;

        request.range.max = follow ? ASD_RANGE_MAX : request.range.max;
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
    *ret_next = w->more ? escape_json(w->first) : json_null();
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

    rc = rc != 0 ? rc : walk_init(&w, cli, ASD_KEY_BYTES_MAX);
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

const struct verb asd_range_verbs[] = {
    {.name = "asd-range",
     .group = "One ASD",
     .summary = "list keys",
     .details = "One key a line, escaped; --unescape reads them back.",
     .options = {ASD_LINK_OPTIONS, WALK_OPTIONS("KEY", "100")},
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
                 WALK_OPTIONS("KEY", "100"),
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
     .options = {ASD_LINK_OSD_OPTIONS, WALK_OPTIONS("KEY", "100")},
     .run = run_range,
     .show = show_keys,
     .wants_registry = true},
    {.name = NULL},
};
