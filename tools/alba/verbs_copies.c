/* Copies of the registry on OSDs: where they are, and writing them now. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "alba/copy_read.h"
#include "alba/output.h"
#include "alba/verb.h"
#include "base/clock.h"
#include "loop/run.h"
#include "meta/registry_copy.h"
#include "net/asd_client.h"

enum { VERSION_JUMP = 1 << 20 };

struct present { /* the registry as it is */
    struct session *s;
    struct copy_head head;
    struct copy_history history;
};

static void on_snapshot(void *ctx, int rc, const struct err *e, struct registry_snapshot *snapshot)
{
    struct present *p = ctx;

    if (rc == 0) {
        p->head = snapshot->head;
        p->history = snapshot->history;
        snapshot->history = (struct copy_history){0};
    }
    session_done(p->s, rc, e);
}

static const char *state_of(const struct copy_head *copy, const struct present *present)
{
    static const char *const texts[] = {
        [COPY_OLDER] = "older", [COPY_CURRENT] = "current", [COPY_AHEAD] = "ahead"};

    return texts[copy_history_judge(&present->history, &present->head, copy)];
}

static json_t *describe(struct session *s, const struct registry_osd *osd,
                        const struct present *present)
{
    struct asd_client_options options = {.tls = s->tls, .owner = present->head.alba_id};
    struct net_addr addrs[REGISTRY_OSD_IPS_MAX];
    struct asd_client *client;
    struct copy_head copy;
    json_t *o =
        json_pack("{s:I, s:s, s:s, s:n, s:n, s:n, s:n}", "id", (json_int_t)osd->osd_id, "long_id",
                  osd->long_id, "node_id", osd->node_id, "version", "age_s", "bytes", "why");
    struct err e;
    int rc = registry_osd_client_options(osd, addrs, &options, &e);

    if (rc == 0) {
        client = asd_client_new(&s->loop, &options);
        rc = copy_read_head(s, client, &copy, &e);
        blocking_asd_close(&s->loop, client);
    }
    if (rc == 0) {
        json_object_set_new(o, "state", json_string(state_of(&copy, present)));
        json_object_set_new(o, "version", json_integer((json_int_t)copy.version));
        json_object_set_new(
            o, "age_s",
            json_integer(((json_int_t)clock_wall_us() - (json_int_t)copy.time_us) / 1000000));
        json_object_set_new(o, "bytes", json_integer(copy.bytes));
        return o;
    }
    json_object_set_new(o, "state",
                        json_string(rc == ERR_NOT_FOUND                      ? "none"
                                    : rc == ERR_CORRUPT || rc == ERR_VERSION ? "unreadable"
                                                                             : "no answer"));
    if (rc != ERR_NOT_FOUND) {
        json_object_set_new(o, "why", json_string(e.msg));
    }
    return o;
}

/* In order of id, as other lists of OSDs. */
static void insert(json_t *osds, json_t *o)
{
    json_int_t id = json_integer_value(json_object_get(o, "id"));
    size_t place = json_array_size(osds);

    while (place > 0 &&
           json_integer_value(json_object_get(json_array_get(osds, place - 1), "id")) > id) {
        place--;
    }
    json_array_insert_new(osds, place, o);
}

static int look(struct session *s, struct cli *cli)
{
    struct present present = {.s = s};
    const struct registry_view *view = registry_view(s->registry);
    json_t *osds = json_array();
    int current = 0;
    int rc;

    registry_snapshot_read(s->kv, on_snapshot, &present);
    rc = session_wait(s);
    for (size_t i = 0; rc == 0 && i < registry_view_osd_count(view); i++) {
        const struct registry_osd *osd = registry_view_osd(view, i);
        json_t *o;

        if (osd->is_claimed) {
            o = describe(s, osd, &present);
            current += strcmp(json_string_value(json_object_get(o, "state")), "current") == 0;
            insert(osds, o);
        }
    }
    cli->result = json_pack("{s:I, s:i, s:o}", "version", (json_int_t)present.head.version,
                            "current", current, "osds", osds);
    copy_history_release(&present.history);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

/* ---- writing ---- */

struct writing {
    struct session *s;
    struct registry_copy_status status;
};

static void on_written(void *ctx, int rc, const struct err *e,
                       const struct registry_copy_status *status)
{
    struct writing *w = ctx;

    (void)rc; /* an OSD that failed is seen below; that there are enough is what counts */
    w->status = *status;
    session_done(w->s, status->version != 0 ? 0 : rc, e);
}

static int write_once(struct session *s, struct registry_copier *copier,
                      struct registry_copy_status *ret_status)
{
    struct writing w = {.s = s};
    int rc;

    registry_copier_run(copier, on_written, &w);
    rc = session_wait(s);
    *ret_status = w.status;
    return rc;
}

/* A registry that was restored from something older goes beyond what OSDs know. */
static int supersede(struct session *s, struct registry_copier *copier,
                     struct registry_copy_status *status)
{
    uint64_t least =
        status->ahead_version > status->version ? status->ahead_version : status->version;
    uint64_t version = least + VERSION_JUMP;
    int rc;

    if (least > COPY_VERSION_MAX / 2) {
        return err_say(&s->err, ERR_CORRUPT,
                       "an OSD holds a copy of version %" PRIu64
                       ", which no registry reaches: decommission it (alba registry-copies)",
                       least);
    }
    registry_raise_version(s->registry, version, session_done, s);
    rc = session_wait(s);
    return rc != 0 ? rc : write_once(s, copier, status);
}

static bool is_enough(const struct registry_copy_status *status)
{
    return status->copies != 0 &&
           (status->copies >= REGISTRY_COPIES_LEAST || status->copies >= status->wanted);
}

/* Once more if they are too few: maintenance may have written the same meanwhile, and what was
 * asserted of an OSD's copy was no longer so. */
static int write_copies(struct session *s, struct registry_copier *copier,
                        struct registry_copy_status *status)
{
    int rc = write_once(s, copier, status);

    return rc != 0 || status->ahead != 0 || is_enough(status) ? rc : write_once(s, copier, status);
}

static int write_now(struct session *s, struct cli *cli)
{
    const struct registry_copy_options options = {.is_manual = true,
                                                  .timeout_ms = COPY_READ_TIMEOUT_MS};
    struct registry_copier *copier = registry_copier_new(&s->loop, s->registry, &options);
    struct registry_copy_status status = {0};
    bool closed = false;
    int rc = write_copies(s, copier, &status);

    if (rc == 0 && status.ahead != 0 && cli_flag(cli, "supersede")) {
        rc = supersede(s, copier, &status);
    }
    if (rc == 0 && status.ahead != 0) {
        rc = err_say(&s->err, ERR_STALE,
                     "%u OSDs hold a registry (version %" PRIu64
                     ") that is not of the past of this one (%" PRIu64
                     "), which was restored from something older; to go on with this one: alba "
                     "registry-copies --supersede",
                     status.ahead, status.ahead_version, status.version);
    } else if (rc == 0 && !is_enough(&status)) {
        rc = err_say(&s->err, ERR_NOT_ENOUGH, "only %u OSDs hold a copy%s%.200s", status.copies,
                     status.trouble[0] != '\0' ? ": " : "", status.trouble);
    }
    registry_copier_close(copier, loop_set_true, &closed);
    loop_run_until(&s->loop, &closed);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

static int run_copies(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0 && (cli_flag(cli, "write") || cli_flag(cli, "supersede"))) {
        rc = write_now(&s, cli);
    }
    rc = rc != 0 ? rc : look(&s, cli);
    session_close(&s);
    return rc;
}

static void show_copies(const struct cli *cli)
{
    printf("registry version %" JSON_INTEGER_FORMAT ", held by %" JSON_INTEGER_FORMAT " OSDs\n\n",
           json_integer_value(json_object_get(cli->result, "version")),
           json_integer_value(json_object_get(cli->result, "current")));
    output_table(json_object_get(cli->result, "osds"),
                 "id=id long_id=long_id node=node_id copy=state version=version "
                 "age-seconds=age_s bytes=bytes why=why");
}

const struct verb copy_verbs[] = {
    {.name = "registry-copies",
     .group = "OSDs",
     .summary = "show which OSDs hold a copy of the registry",
     .details = "The maintenance agent keeps them: they bring the registry back when the metadata\n"
                "store is lost (alba recover-registry).",
     .options = {{.name = "write", .help = "bring the copies up to date first"},
                 {.name = "supersede",
                  .help = "this registry was restored from something older than the copies: raise "
                          "its version above theirs and replace them"}},
     .run = run_copies,
     .show = show_copies,
     .wants_registry = true,
     .fails_with_exit_one = true},
    {.name = NULL},
};
