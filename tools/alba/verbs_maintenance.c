/* Verbs about what maintenance agents do, are to do, and are told to do. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "meta/registry_record.h"
#include "meta/registry_store.h"

enum { PAGE_ITEMS = 1000, FAILED_SHOWN_MAX = 100 };

/* ---- work ---- */

struct counting {
    struct session *s;
    json_int_t count;
    json_int_t failed_count;
    json_t *failed; /* the first of them */
    uint64_t last;
    bool more;
};

/* An item that was tried in vain, and why. */
static void note_failed(struct counting *c, const json_t *item)
{
    const json_t *failed = json_object_get(item, "failed");

    if (failed == NULL || ++c->failed_count > FAILED_SHOWN_MAX) {
        return;
    }
    json_array_append_new(c->failed, json_pack("{s:I, s:s, s:I, s:s, s:I, s:f, s:s}", "id",
                                               (json_int_t)json_u64(item, "id", 0), "kind",
                                               json_text(item, "kind", ""), "namespace",
                                               (json_int_t)json_u64(item, "namespace", 0), "object",
                                               json_text(item, "object", ""), "times",
                                               (json_int_t)json_u64(failed, "times", 0), "last",
                                               (double)json_u64(failed, "at_us", 0) / 1e6, "why",
                                               json_text(failed, "why", "")));
}

static void on_work(void *ctx, int rc, const struct err *e, json_t *items)
{
    struct counting *c = ctx;
    size_t count = json_array_size(items);

    if (rc == 0 && count != 0) {
        c->last = json_u64(json_array_get(items, count - 1), "id", UINT64_MAX);
        c->count += (json_int_t)count;
        for (size_t i = 0; i < count; i++) {
            note_failed(c, json_array_get(items, i));
        }
    }
    c->more = rc == 0 && count == PAGE_ITEMS && c->last != UINT64_MAX;
    session_done(c->s, rc, e);
}

static int run_work(struct cli *cli)
{
    struct session s;
    struct counting c = {.s = &s, .failed = json_array()};
    int rc = session_open(&s, cli);

    if (rc == 0) {
        do {
            registry_work_list(s.registry, c.last, PAGE_ITEMS, on_work, &c);
            rc = session_wait(&s);
        } while (rc == 0 && c.more);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    session_close(&s);
    cli->result = json_pack("{s:I, s:I, s:o}", "count", c.count, "failed_count", c.failed_count,
                            "failed", c.failed);
    return rc;
}

static void show_work(const struct cli *cli)
{
    long long failed = json_integer_value(json_object_get(cli->result, "failed_count"));

    printf("%lld items of work wait\n",
           (long long)json_integer_value(json_object_get(cli->result, "count")));
    if (failed > 0) {
        printf("%lld were tried in vain, and will be again%s:\n\n", failed,
               failed > FAILED_SHOWN_MAX ? "; the first of them" : "");
        output_table(json_object_get(cli->result, "failed"),
                     "id=id kind=kind namespace=namespace object=object tries=times why=why");
    }
}

static int run_jobs(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    cli->result = json_array();
    session_close(&s);
    return rc;
}

static void show_jobs(const struct cli *cli)
{
    (void)cli;
    puts("no jobs: this version has none (rewrite, verify)");
}

/* ---- agents ---- */

static void on_lease(void *ctx, int rc, const struct kv_reply *reply)
{
    struct cli *cli = ((void **)ctx)[0];
    struct session *s = ((void **)ctx)[1];
    json_t *lease = NULL;
    struct err e;

    if (rc == 0 && reply->items[0].found && !reply->items[0].is_damaged &&
        value_open_json(reply->items[0].key, reply->items[0].value, &lease, &e) == 0) {
        json_array_append_new(cli->result,
                              json_pack("{s:s, s:s, s:I}", "id", json_text(lease, "owner", ""),
                                        "lease", "maintenance", "ttl_ms",
                                        (json_int_t)json_u64(lease, "ttl_ms", 0)));
        json_decref(lease);
    }
    session_done(s, rc, reply->err);
}

static int run_participants(struct cli *cli)
{
    struct session s;
    struct key key;
    struct slice k = reg_key(&key, REG_LEASE, "maintenance");
    int rc = session_open(&s, cli);

    cli->result = json_array();
    if (rc == 0) {
        kv_get(s.kv, &k, 1, 0, on_lease, (void *[]){cli, &s});
        rc = session_wait(&s);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    session_close(&s);
    return rc;
}

static void show_participants(const struct cli *cli)
{
    output_table(cli->result, "agent=id");
}

/* ---- configuration ---- */

#define CONFIG_KEY "maintenance"

/* What agents of this version do not look at: said with every answer, until they do. */
static const char *const not_used[] = {"enable_auto_repair", "auto_repair_timeout_seconds",
                                       "auto_repair_disabled_nodes", "enable_rebalance",
                                       "cache_eviction_prefix_preset_pairs"};

static json_t *default_config(void)
{
    return json_pack("{s:b, s:f, s:[], s:b, s:{}, s:n}", "enable_auto_repair", 1,
                     "auto_repair_timeout_seconds", 900.0, "auto_repair_disabled_nodes",
                     "enable_rebalance", 1, "cache_eviction_prefix_preset_pairs",
                     "redis_lru_cache_eviction");
}

static void on_config(void *ctx, int rc, const struct err *e, json_t *json)
{
    struct cli *cli = ((void **)ctx)[0];

    if (rc == 0) {
        json_object_update(cli->result, json);
    }
    session_done(((void **)ctx)[1], rc == ERR_NOT_FOUND ? 0 : rc, e);
}

/* Into cli->result. */
static int load_config(struct cli *cli, struct session *s)
{
    int rc;

    cli->result = default_config();
    registry_config_get(s->registry, CONFIG_KEY, on_config, (void *[]){cli, s});
    rc = session_wait(s);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

static void name_not_used(struct cli *cli)
{
    json_t *names = json_array();

    for (size_t i = 0; i < sizeof(not_used) / sizeof(not_used[0]); i++) {
        json_array_append_new(names, json_string(not_used[i]));
    }
    json_object_set_new(cli->result, "not_used", names);
}

static int run_get_config(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    rc = rc != 0 ? rc : load_config(cli, &s);
    session_close(&s);
    if (rc == 0) {
        name_not_used(cli);
    }
    return rc;
}

static int refuse_closed(struct cli *cli)
{
    static const char *const closed[] = {"eviction-type-random",
                                         "enable-auto-cleanup-deleted-namespaces-days"};

    for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
        if (cli_option(cli, closed[i]) != NULL || cli_flag(cli, closed[i])) {
            return err_say(&cli->err, -EINVAL,
                           "--%s is of the older software's closed edition and not known here",
                           closed[i]);
        }
    }
    return 0;
}

static int switch_flag(struct cli *cli, const char *on, const char *off, const char *key)
{
    if (cli_flag(cli, on) && cli_flag(cli, off)) {
        return err_say(&cli->err, -EINVAL, "--%s and --%s contradict each other", on, off);
    }
    if (cli_flag(cli, on) || cli_flag(cli, off)) {
        json_object_set_new(cli->result, key, json_boolean(cli_flag(cli, on)));
    }
    return 0;
}

static void change_nodes(struct cli *cli)
{
    json_t *nodes = json_object_get(cli->result, "auto_repair_disabled_nodes");
    const char *add = cli_option(cli, "auto-repair-add-disabled-node");
    const char *remove = cli_option(cli, "auto-repair-remove-disabled-node");

    for (size_t i = json_array_size(nodes); i-- > 0;) {
        const char *node = json_string_value(json_array_get(nodes, i));

        if (node != NULL && ((remove != NULL && strcmp(node, remove) == 0) ||
                             (add != NULL && strcmp(node, add) == 0))) {
            json_array_remove(nodes, i);
        }
    }
    if (add != NULL) {
        json_array_append_new(nodes, json_string(add));
    }
}

static int change_config(struct cli *cli)
{
    int64_t seconds;
    int rc = switch_flag(cli, "enable-auto-repair", "disable-auto-repair", "enable_auto_repair");

    rc = rc != 0 ? rc
                 : switch_flag(cli, "enable-rebalance", "disable-rebalance", "enable_rebalance");
    if (rc == 0 && cli_option(cli, "auto-repair-timeout-seconds") != NULL) {
        rc = cli_number(cli, "auto-repair-timeout-seconds", 0, INT32_MAX, &seconds);
        if (rc == 0) {
            json_object_set_new(cli->result, "auto_repair_timeout_seconds",
                                json_real((double)seconds));
        }
    }
    if (rc == 0) {
        change_nodes(cli);
    }
    return rc;
}

static int run_update_config(struct cli *cli)
{
    struct session s;
    int rc = refuse_closed(cli);

    if (rc != 0) {
        return rc;
    }
    rc = session_open(&s, cli);
    rc = rc != 0 ? rc : load_config(cli, &s);
    rc = rc != 0 ? rc : change_config(cli);
    if (rc == 0) {
        registry_config_set(s.registry, CONFIG_KEY, cli->result, session_done, &s);
        rc = session_wait(&s);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    session_close(&s);
    if (rc == 0) {
        name_not_used(cli);
    }
    return rc;
}

static void show_config(const struct cli *cli)
{
    json_t *shown = json_copy(cli->result);
    size_t index;
    json_t *name;

    json_object_del(shown, "not_used");
    output_fields(shown);
    json_decref(shown);
    fputs("\nno agent of this version looks at:", stdout);
    json_array_foreach(json_object_get(cli->result, "not_used"), index, name)
    {
        printf("%s %s", index == 0 ? "" : ",", json_string_value(name));
    }
    putchar('\n');
}

#define CONFIG_NOTE "Which of it agents of this version look at is part of the answer."

const struct verb maintenance_verbs[] = {
    {.name = "get-maintenance-config",
     .group = "Maintenance",
     .summary = "print what maintenance agents are told to do",
     .details = CONFIG_NOTE,
     .run = run_get_config,
     .show = show_config,
     .wants_registry = true},
    {.name = "update-maintenance-config",
     .group = "Maintenance",
     .summary = "change it",
     .details = CONFIG_NOTE,
     .options = {{.name = "enable-auto-repair", .help = "repair what lay on OSDs that are gone"},
                 {.name = "disable-auto-repair", .help = "do not"},
                 {.name = "auto-repair-timeout-seconds",
                  .arg = "S",
                  .help = "how long an OSD may be silent before"},
                 {.name = "auto-repair-add-disabled-node",
                  .arg = "ID",
                  .help = "not for OSDs of this machine"},
                 {.name = "auto-repair-remove-disabled-node",
                  .arg = "ID",
                  .help = "for its OSDs again"},
                 {.name = "enable-rebalance", .help = "move fragments to emptier OSDs"},
                 {.name = "disable-rebalance", .help = "do not"},
                 {.name = "eviction-type-random", .help = "refused"},
                 {.name = "enable-auto-cleanup-deleted-namespaces-days",
                  .arg = "N",
                  .help = "refused: maintenance cleans deleted namespaces at once"}},
     .run = run_update_config,
     .show = show_config,
     .wants_registry = true},
    {.name = "list-work",
     .group = "Maintenance",
     .summary = "count the items of work that wait for an agent, and show why some failed",
     .run = run_work,
     .show = show_work,
     .wants_registry = true},
    {.name = "list-jobs",
     .group = "Maintenance",
     .summary = "list jobs: this version has none",
     .run = run_jobs,
     .show = show_jobs,
     .wants_registry = true},
    {.name = "list-participants",
     .group = "Maintenance",
     .summary = "print which agent has the lease to work; others stand by unseen",
     .run = run_participants,
     .show = show_participants,
     .wants_registry = true},
    {.name = NULL},
};
