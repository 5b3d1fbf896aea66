/* Verbs about the state of one ASD, and about those of a deployment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_figures.h"
#include "alba/asd_link.h"
#include "alba/output.h"
#include "alba/verb.h"

enum { SOON_MS = 5000, SLOWNESS_MAX_S = 3600 };

/* ---- statistics ---- */

static int run_statistics(struct cli *cli)
{
    const struct asd_request hello = {.code = ASD_GET_VERSION};
    struct asd_link l;
    struct asd_answer answer;
    struct err e;
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : asd_link_call(&l, &hello, &answer); /* as often as --attempts says */
    if (rc == 0) {
        asd_answer_release(&answer);
        cli->result =
            asd_figures_ask(&l.s.loop, l.client, cli_flag(cli, "clear"), ASD_LINK_TIMEOUT_MS, &e);
        rc = cli->result != NULL ? 0 : asd_link_fail(&l, &e);
    }
    asd_link_close(&l);
    return rc;
}

static void show_statistics(const struct cli *cli)
{
    asd_figures_show(cli->result);
}

/* ---- statistics of many ---- */

static json_t *osd_statistics(struct session *s, const struct registry_osd *osd, bool clear)
{
    struct asd_client_options options = {.tls = s->tls};
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    uv_loop_t *loop = &s->loop;
    struct asd_client *client;
    json_t *result = NULL;
    bool escaped;
    struct err e = {0};

    if (registry_osd_client_options(osd, addrs, &options, &e) == 0) {
        client = asd_client_new(loop, &options);
        result = asd_figures_ask(loop, client, clear, SOON_MS, &e);
        blocking_asd_close(loop, client);
    }
    if (result != NULL) {
        return json_pack("{s:b, s:o}", "success", 1, "result", result);
    }
    return json_pack("{s:b, s:{s:o, s:s, s:i}}", "success", 0, "error", "message",
                     output_name(slice_str(e.msg), &escaped), "exception_type", "unknown",
                     "exception_code", 0);
}

static int statistics_of_all(struct cli *cli, struct session *s)
{
    const struct registry_view *view = registry_view(s->registry);

    for (size_t i = 0; i < registry_view_osd_count(view); i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);

        json_object_set_new(cli->result, osd->long_id,
                            osd_statistics(s, osd, cli_flag(cli, "clear")));
    }
    return 0;
}

static int statistics_of_named(struct cli *cli, struct session *s)
{
    for (unsigned i = 0; i < cli->positional_count; i++) {
        const char *long_id = cli_arg(cli, i);
        const struct registry_osd *osd = session_find_osd(s, cli, long_id);

        if (osd == NULL) {
            return cli->err.code;
        }
        json_object_set_new(cli->result, long_id, osd_statistics(s, osd, cli_flag(cli, "clear")));
    }
    return 0;
}

static int run_multistatistics(struct cli *cli)
{
    struct session s;
    int rc;

    if (cli_flag(cli, "all") == (cli->positional_count != 0)) {
        return err_say(&cli->err, -EINVAL, "name OSDs by their long ids, or give --all");
    }
    rc = session_open(&s, cli);
    cli->result = json_object();
    if (rc == 0) {
        rc = cli_flag(cli, "all") ? statistics_of_all(cli, &s) : statistics_of_named(cli, &s);
    }
    session_close(&s);
    return rc;
}

static void show_multistatistics(const struct cli *cli)
{
    const char *long_id;
    json_t *one;
    bool first = true;

    json_object_foreach(cli->result, long_id, one)
    {
        printf("%s%s: ", first ? "" : "\n", long_id);
        first = false;
        if (json_is_true(json_object_get(one, "success"))) {
            asd_figures_show(json_object_get(one, "result"));
        } else {
            puts(json_string_value(json_object_get(json_object_get(one, "error"), "message")));
        }
    }
}

/* ---- one question, one answer ---- */

static uint64_t size_of(const json_t *o, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(o, key));
}

static int ask(struct cli *cli, const struct asd_request *request,
               json_t *(*make)(const struct asd_reply *reply))
{
    struct asd_link l;
    struct asd_answer answer;
    int rc = asd_link_open(&l, cli);

    rc = rc != 0 ? rc : asd_link_call(&l, request, &answer);
    if (rc == 0) {
        cli->result = make != NULL ? make(&answer.reply) : NULL;
        asd_answer_release(&answer);
    }
    asd_link_close(&l);
    return rc;
}

static json_t *make_usage(const struct asd_reply *reply)
{
    return json_pack("{s:I, s:I}", "disk_usage", (json_int_t)reply->usage.used_bytes, "capacity",
                     (json_int_t)reply->usage.capacity_bytes);
}

static int run_disk_usage(struct cli *cli)
{
    return ask(cli, &(struct asd_request){.code = ASD_GET_DISK_USAGE}, make_usage);
}

static void show_usage(const struct cli *cli)
{
    uint64_t used = size_of(cli->result, "disk_usage");
    uint64_t capacity = size_of(cli->result, "capacity");
    char used_text[OUTPUT_SIZE_TEXT_BYTES];
    char capacity_text[OUTPUT_SIZE_TEXT_BYTES];

    output_size_text(used_text, used);
    output_size_text(capacity_text, capacity);
    printf("%s of %s used (%.1f %%)\n", used_text, capacity_text,
           capacity > 0 ? 100.0 * (double)used / (double)capacity : 0);
}

static json_t *make_version(const struct asd_reply *reply)
{
    bool escaped;

    return json_pack("[i, i, i, o]", (int)reply->version.major, (int)reply->version.minor,
                     (int)reply->version.patch, output_name(reply->version.text, &escaped));
}

static int run_version(struct cli *cli)
{
    return ask(cli, &(struct asd_request){.code = ASD_GET_VERSION}, make_version);
}

static void show_version(const struct cli *cli)
{
    const json_t *v = cli->result;

    printf("%d.%d.%d %s\n", (int)json_integer_value(json_array_get(v, 0)),
           (int)json_integer_value(json_array_get(v, 1)),
           (int)json_integer_value(json_array_get(v, 2)), json_string_value(json_array_get(v, 3)));
}

static json_t *make_capabilities(const struct asd_reply *reply)
{
    static const char *const names[] = {[OSD_CAP_MULTI_GET2] = "CMultiGet2",
                                        [OSD_CAP_PARTIAL_GET] = "CPartialGet",
                                        [OSD_CAP_RORA_FETCHER] = "CRoraFetcher",
                                        [OSD_CAP_RORA_FETCHER2] = "CRoraFetcher2"};
    json_t *list = json_array();

    for (unsigned i = OSD_CAP_MULTI_GET2; i <= OSD_CAP_RORA_FETCHER2; i++) {
        if ((reply->capabilities.mask & 1U << i) != 0) {
            json_array_append_new(list, json_pack("[s]", names[i]));
        }
    }
    return list;
}

static int run_capabilities(struct cli *cli)
{
    return ask(cli, &(struct asd_request){.code = ASD_CAPABILITIES}, make_capabilities);
}

static void show_capabilities(const struct cli *cli)
{
    size_t index;
    json_t *item;

    json_array_foreach(cli->result, index, item)
    {
        puts(json_string_value(json_array_get(item, 0)));
    }
}

/* ---- settings ---- */

static int run_set_full(struct cli *cli)
{
    const char *text = cli_arg(cli, 0);
    bool full = text == NULL || strcmp(text, "true") == 0;

    if (!full && strcmp(text, "false") != 0) {
        return err_say(&cli->err, -EINVAL, "'%.100s': want true or false", text);
    }
    return ask(cli, &(struct asd_request){.code = ASD_SET_FULL, .full = full}, NULL);
}

static int take_seconds(struct cli *cli, const char *name, double *ret_seconds)
{
    const char *text = cli_option(cli, name);
    char *end;

    *ret_seconds = text != NULL ? strtod(text, &end) : 0;
    if (text != NULL &&
        (end == text || *end != '\0' || !(*ret_seconds >= 0 && *ret_seconds <= SLOWNESS_MAX_S))) {
        return err_say(&cli->err, -EINVAL, "--%s=%.100s: want seconds, 0 to %d", name, text,
                       SLOWNESS_MAX_S);
    }
    return 0;
}

static int run_set_slowness(struct cli *cli)
{
    struct asd_request request = {.code = ASD_SLOWNESS};
    int rc = take_seconds(cli, "fixed", &request.slowness.fixed_s);

    rc = rc != 0 ? rc : take_seconds(cli, "variable", &request.slowness.variable_s);
    if (rc != 0) {
        return rc;
    }
    request.slowness.on = cli_option(cli, "fixed") != NULL || cli_option(cli, "variable") != NULL;
    if (request.slowness.on == cli_flag(cli, "off")) {
        return err_say(&cli->err, -EINVAL, "give --fixed or --variable (seconds), or --off");
    }
    return ask(cli, &request, NULL);
}

#define CLEAR_OPTION                                                                               \
    {                                                                                              \
        .name = "clear", .help = "begin to count anew"                                             \
    }

const struct verb asd_admin_verbs[] = {
    {.name = "asd-statistics",
     .group = "One ASD",
     .summary = "print how many requests it had and how long they took",
     .options = {ASD_LINK_OPTIONS, CLEAR_OPTION},
     .run = run_statistics,
     .show = show_statistics},
    {.name = "asd-disk-usage",
     .group = "One ASD",
     .summary = "print what it uses of its capacity",
     .options = {ASD_LINK_OPTIONS},
     .run = run_disk_usage,
     .show = show_usage},
    {.name = "asd-get-version",
     .group = "One ASD",
     .summary = "print its version",
     .options = {ASD_LINK_OPTIONS},
     .run = run_version,
     .show = show_version},
    {.name = "asd-capabilities",
     .group = "One ASD",
     .summary = "print which optional requests it knows",
     .options = {ASD_LINK_OPTIONS},
     .run = run_capabilities,
     .show = show_capabilities},
    {.name = "asd-set-full",
     .group = "One ASD",
     .positionals = "[true|false]",
     .summary = "have it refuse values as if it were full (true), or not",
     .details = "Deletes, and what metadata and repair write, go on. Until false, or its restart.",
     .options = {ASD_LINK_OPTIONS},
     .run = run_set_full},
    {.name = "asd-set-slowness",
     .group = "One ASD",
     .summary = "delay every request, to see what others make of a slow disk",
     .details =
         "Each waits --fixed seconds and up to --variable seconds by chance. Until --off, or "
         "its restart.",
     .options = {ASD_LINK_OPTIONS,
                 {.name = "fixed", .arg = "S", .help = "seconds for every request"},
                 {.name = "variable", .arg = "S", .help = "at most so many seconds more"},
                 {.name = "off", .help = "no delay"}},
     .run = run_set_slowness},
    {.name = NULL},
};

const struct verb osd_statistics_verbs[] = {
    {.name = "asd-multistatistics",
     .group = "OSDs",
     .positionals = "[LONG-ID…]",
     .summary = "print the statistics of OSDs that are registered",
     .options = {{.name = "all", .help = "of all"}, CLEAR_OPTION},
     .run = run_multistatistics,
     .show = show_multistatistics,
     .wants_registry = true},
    {.name = NULL},
};
