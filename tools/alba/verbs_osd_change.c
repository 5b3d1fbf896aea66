/* Verbs that change what the registry says of an OSD, and one that asks an OSD whose it is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_link.h"
#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "meta/osd_identity.h"

enum { ASK_TIMEOUT_MS = 10000 };

static int fail_unknown(struct session *s, struct cli *cli, const char *long_id)
{
    err_say(&s->err, ERR_NOT_FOUND,
            "Albamgr_protocol.Protocol.Error.Osd_unknown: unknown osd %.100s", long_id);
    return session_fail_mgr(s, cli, MGR_OSD_UNKNOWN);
}

/* The session and the OSD of --long-id. */
static int open_osd(struct session *s, struct cli *cli, const struct registry_osd **ret_osd)
{
    const char *long_id = cli_option(cli, "long-id");
    int rc = session_open(s, cli);

    if (rc != 0) {
        return rc;
    }
    if (long_id == NULL) {
        return err_say(&cli->err, -EINVAL, "--long-id is needed; see alba list-all-osds");
    }
    *ret_osd = registry_view_osd_find(registry_view(s->registry), long_id);
    return *ret_osd != NULL ? 0 : fail_unknown(s, cli, long_id);
}

static int store(struct session *s, struct cli *cli, const struct registry_osd *osd)
{
    int rc;

    registry_osd_update(s->registry, osd, session_done, s);
    rc = session_wait(s);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

/* ---- update ---- */

/* "a,b": cuts *text up. */
static int take_ips(struct cli *cli, char *text, struct registry_osd *osd)
{
    osd->ip_count = 0;
    for (char *rest = text, *ip; (ip = strsep(&rest, ",")) != NULL;) {
        if (osd->ip_count == REGISTRY_OSD_IPS_MAX) {
            return err_say(&cli->err, -EINVAL, "--ip: at most %d addresses", REGISTRY_OSD_IPS_MAX);
        }
        osd->ips[osd->ip_count++] = ip;
    }
    return 0;
}

/* false: not one of them was given. */
static bool is_change(const struct cli *cli)
{
    static const char *const options[] = {"ip", "port", "node-id", "datacenter"};
    bool given = false;

    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
        given = given || cli_option(cli, options[i]) != NULL;
    }
    return given;
}

static int run_update(struct cli *cli)
{
    const char *node_id = cli_option(cli, "node-id");
    const char *datacenter = cli_option(cli, "datacenter");
    char *ips = NULL;
    const struct registry_osd *old;
    struct registry_osd osd;
    struct session s;
    int64_t port;
    int rc = open_osd(&s, cli, &old);

    if (rc == 0 &&
        (cli_option(cli, "endpoint") != NULL || cli_option(cli, "alba-osd-config-url") != NULL)) {
        rc = err_say(&cli->err, -EINVAL,
                     "no OSD here is another alba, nor a proxy of one; --ip and --port tell where "
                     "an ASD is");
    }
    if (rc == 0 && !is_change(cli)) {
        rc = err_say(&cli->err, -EINVAL,
                     "nothing to change: give --ip, --port, --node-id or --datacenter");
    }
    if (rc == 0) {
        osd = *old;
        if (cli_option(cli, "ip") != NULL) {
            ips = mem_strdup(cli_option(cli, "ip"));
            rc = take_ips(cli, ips, &osd);
        }
        if (rc == 0 && cli_option(cli, "port") != NULL) {
            rc = cli_number(cli, "port", 1, UINT16_MAX, &port);
            osd.port = rc == 0 ? (uint16_t)port : osd.port;
        }
        osd.node_id = node_id != NULL ? node_id : osd.node_id;
        osd.datacenter = datacenter != NULL ? datacenter : osd.datacenter;
        rc = rc != 0 ? rc : store(&s, cli, &osd);
    }
    session_close(&s);
    free(ips);
    return rc;
}

/* ---- the end of an OSD ---- */

static int run_decommission(struct cli *cli)
{
    const struct registry_osd *old;
    struct registry_osd osd;
    struct session s;
    int rc = open_osd(&s, cli, &old);

    if (rc == 0 && old->is_decommissioned) {
        rc = err_say(&s.err, ERR_EXISTS, "osd %.100s is decommissioned already", old->long_id);
        session_fail_mgr(&s, cli, MGR_OSD_DECOMMISSIONED);
    } else if (rc == 0) {
        osd = *old;
        osd.is_decommissioned = true;
        rc = store(&s, cli, &osd);
    }
    session_close(&s);
    return rc;
}

static void show_decommissioned(const struct cli *cli)
{
    printf(
        "osd %s gets no new fragments; those it has stay there and are read.\n"
        "alba get-disk-safety --include-decommissioning-as-dead tells what losing it would mean\n",
        cli_option(cli, "long-id"));
}

/* Nobody's OSD is forgotten at once. One of ours stays known: manifests name its id. */
static int run_purge(struct cli *cli)
{
    const struct registry_osd *old;
    struct registry_osd osd;
    struct session s;
    int rc = open_osd(&s, cli, &old);

    if (rc == 0 && !old->is_claimed) {
        registry_osd_remove(s.registry, old->long_id, session_done, &s);
        rc = session_wait(&s);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    } else if (rc == 0 && !old->is_purging) {
        osd = *old;
        osd.is_decommissioned = true;
        osd.is_purging = true;
        rc = store(&s, cli, &osd);
    }
    session_close(&s);
    return rc;
}

static void show_purged(const struct cli *cli)
{
    printf("osd %s is given up: it gets no new fragments, and those it has count as lost.\n"
           "alba get-disk-safety tells which objects that leaves with less redundancy\n",
           cli_option(cli, "long-id"));
}

/* ---- whose is it? ---- */

struct asking {
    struct session *s;
    struct cli *cli;
};

static void on_identity(void *ctx, int rc, const struct err *e, const struct osd_identity *identity)
{
    const struct asking *a = ctx;

    if (rc == 0) {
        a->cli->result = identity->owner[0] != '\0' ? json_string(identity->owner) : json_null();
    }
    session_done(a->s, rc, e);
}

static int run_claimed_by(struct cli *cli)
{
    struct osd_question question = {.timeout_ms = ASK_TIMEOUT_MS};
    struct session s;
    struct asking a = {.s = &s, .cli = cli};
    int64_t port;
    int rc = cli_number(cli, "port", 1, UINT16_MAX, &port);

    if (rc != 0) {
        return rc;
    }
    session_init(&s);
    rc = session_take_options(&s, cli);
    rc = rc != 0 ? rc
                 : net_addr_tcp(&question.addr, cli_option(cli, "host"), (uint16_t)port, &cli->err);
    if (rc == 0) {
        question.tls = s.tls;
        if (s.tls != NULL) {
            net_addr_set_tls(&question.addr);
        }
        osd_ask(&s.loop, &question, on_identity, &a);
        rc = session_wait(&s);
        rc = rc == 0 ? 0 : err_copy(&cli->err, &s.err);
    }
    session_close(&s);
    return rc;
}

static void show_claimed_by(const struct cli *cli)
{
    const char *owner = json_string_value(cli->result);

    puts(owner != NULL ? owner : "nobody's");
}

#define REFUSED "refused: no OSD here is another alba, nor a proxy of one"

#define LONG_ID                                                                                    \
    {                                                                                              \
        .name = "long-id", .arg = "ID", .help = "as alba list-all-osds shows it"                   \
    }

const struct verb osd_change_verbs[] = {
    {.name = "update-osd",
     .group = "OSDs",
     .summary = "tell where an OSD is now",
     .options = {LONG_ID,
                 {.name = "ip",
                  .arg = "IP[,IP…]",
                  .help = "its addresses, instead of the old ones",
                  .is_list = true},
                 {.name = "port", .arg = "PORT", .help = "its port"},
                 {.name = "node-id", .arg = "ID", .help = "the machine it is in"},
                 {.name = "datacenter", .arg = "ID", .help = "where that machine is"},
                 {.name = "endpoint", .arg = "URI", .help = REFUSED, .is_list = true},
                 {.name = "alba-osd-config-url", .arg = "URL", .help = REFUSED}},
     .run = run_update,
     .wants_registry = true},
    {.name = "decommission-osd",
     .group = "OSDs",
     .summary = "put no new fragments on an OSD",
     .details = "Those it has stay and are read. No agent moves them away in this version.",
     .options = {LONG_ID},
     .run = run_decommission,
     .show = show_decommissioned,
     .wants_registry = true},
    {.name = "purge-osd",
     .group = "OSDs",
     .summary = "give an OSD up: its fragments count as lost",
     .details =
         "One that nobody claimed is forgotten. One of ours stays in list-purging-osds, as\n"
         "manifests name it; no agent of this version takes it out of them. What can still be\n"
         "read from it is used.",
     .options = {LONG_ID},
     .run = run_purge,
     .show = show_purged,
     .wants_registry = true},
    {.name = "get-osd-claimed-by",
     .group = "OSDs",
     .summary = "ask an OSD which alba it belongs to",
     .options = {ASD_LINK_ADDRESS},
     .run = run_claimed_by,
     .show = show_claimed_by},
    {.name = NULL},
};
