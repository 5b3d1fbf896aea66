/* Verbs about OSDs and the registry itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_call.h"
#include "alba/asd_link.h"
#include "alba/deployment.h"
#include "alba/osd_usage.h"
#include "alba/osd_view.h"
#include "alba/osds.h"
#include "alba/output.h"
#include "alba/proxies.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "meta/osd_identity.h"

enum { ASD_TIMEOUT_MS = 5000 };

static int run_alba_id(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        cli->result = json_pack("{s:s}", "id", registry_view_alba_id(registry_view(s.registry)));
    }
    session_close(&s);
    return rc;
}

static void show_alba_id(const struct cli *cli)
{
    puts(json_string_value(json_object_get(cli->result, "id")));
}

/* ---- lists ---- */

/* Of kinds of OSD that are not here; programs of the older software look for every field. */
static const char *const other_kinds[] = {"albamgr_cfg", "prefix", "preset", "endpoints"};

static json_t *osd_json(const struct registry_view *view, const struct registry_osd *osd)
{
    json_t *ips = json_array();
    json_t *o;

    for (unsigned i = 0; i < osd->ip_count; i++) {
        json_array_append_new(ips, json_string(osd->ips[i]));
    }
    o = json_pack("{s:s, s:o, s:i, s:b, s:b, s:s, s:s, s:b, s:I}", "kind", "AsdV1", "ips", ips,
                  "port", (int)osd->port, "use_tls", osd->use_tls, "use_rdma", 0, "node_id",
                  osd->node_id, "long_id", osd->long_id, "decommissioned", osd->is_decommissioned,
                  "total", (json_int_t)osd->capacity_bytes);
    json_object_set_new(o, "id",
                        osd->is_claimed ? json_integer((json_int_t)osd->osd_id) : json_null());
    json_object_set_new(o, "alba_id",
                        osd->is_claimed ? json_string(registry_view_alba_id(view)) : json_null());
    json_object_set_new(o, "claimed_since",
                        osd->is_claimed ? json_real((double)osd->claimed_since_us / 1e6)
                                        : json_null());
    json_object_set_new(o, "datacenter", json_string(osd->datacenter));
    for (size_t i = 0; i < sizeof(other_kinds) / sizeof(*other_kinds); i++) {
        json_object_set_new(o, other_kinds[i], json_null());
    }
    return o;
}

/* What the disk itself says; null for an OSD that does not answer. */
static void add_usage(json_t *o, const struct osd_usage *usage, bool answers)
{
    json_object_set_new(o, "answers", json_boolean(answers));
    json_object_set_new(o, "used",
                        answers ? json_integer((json_int_t)usage->used_bytes) : json_null());
    if (answers) {
        json_object_set_new(o, "total", json_integer((json_int_t)usage->total_bytes));
    }
}

/* Claimed by another alba, or as metadata? Our claim without an OSD id was begun, and not ended. */
static bool is_foreign(const struct registry_view *view, const struct osd_usage *usage)
{
    return usage->owner[0] != '\0' && strcmp(usage->owner, registry_view_alba_id(view)) != 0;
}

/* OSDs are listed by id, those without one behind them. */
static size_t place_by_id(const json_t *osds, const struct registry_osd *osd)
{
    size_t place = 0;

    for (; place < json_array_size(osds); place++) {
        const json_t *id = json_object_get(json_array_get(osds, place), "id");

        if (osd->is_claimed &&
            (json_is_null(id) || json_integer_value(id) > (json_int_t)osd->osd_id)) {
            break;
        }
    }
    return place;
}

enum osd_filter { OSDS_ALL, OSDS_CLAIMED, OSDS_AVAILABLE, OSDS_DECOMMISSIONING, OSDS_PURGING };

static bool is_listed(const struct registry_osd *osd, enum osd_filter filter)
{
    switch (filter) {
    case OSDS_CLAIMED:
        return osd->is_claimed;
    case OSDS_AVAILABLE:
        return !osd->is_claimed;
    case OSDS_DECOMMISSIONING:
        return osd->is_claimed && osd->is_decommissioned && !osd->is_purging;
    case OSDS_PURGING:
        return osd->is_purging;
    default:
        return true;
    }
}

/* The proxy that was named has to answer; that of $ALBA_DIR, and those of the registry, may be
 * down. */
static int load_view(struct osd_view *v, struct session *s, struct cli *cli)
{
    const char *named = cli_option(cli, "proxy");
    char *here = named == NULL && !cli->config_given ? deployment_proxy_uri() : NULL;
    const char *uri = named != NULL ? named : here;
    int rc = uri != NULL ? session_use_proxy(s, uri) : proxies_use_one(s);

    free(here);
    rc = rc != 0 ? rc : osd_view_load(v, s);
    return rc == 0 || named == NULL ? 0 : session_fail_proxy(s, cli);
}

static void list_osd(struct cli *cli, struct session *s, const struct registry_osd *osd,
                     enum osd_filter filter, const struct osd_view *seen)
{
    const struct registry_view *view = registry_view(s->registry);
    struct osd_usage usage;
    struct err e;
    bool answers = osd_usage(s, osd, &usage, &e) == 0;
    json_t *o;

    if (filter == OSDS_AVAILABLE && is_foreign(view, &usage)) {
        return;
    }
    o = osd_json(view, osd);
    if (is_foreign(view, &usage)) {
        json_object_set_new(o, "alba_id", json_string(usage.owner));
    }
    add_usage(o, &usage, answers);
    osd_view_add(seen, osd->long_id, o);
    json_array_insert_new(cli->result, place_by_id(cli->result, osd), o);
}

static int list_osds(struct cli *cli, enum osd_filter filter)
{
    struct osd_view seen = {0};
    struct session s;
    int rc = session_open(&s, cli);

    rc = rc != 0 ? rc : load_view(&seen, &s, cli);

    const struct registry_view *view = rc == 0 ? registry_view(s.registry) : NULL;

    for (size_t i = 0; view != NULL && i < registry_view_osd_count(view); i++) {
        if (is_listed(registry_view_osd(view, i), filter)) {
            list_osd(cli, &s, registry_view_osd(view, i), filter, &seen);
        }
    }
    osd_view_release(&seen);
    session_close(&s);
    return rc;
}

static int run_list_osds(struct cli *cli)
{
    cli->result = json_array();
    return list_osds(cli, OSDS_CLAIMED);
}

static int run_list_all_osds(struct cli *cli)
{
    cli->result = json_array();
    return list_osds(cli, OSDS_ALL);
}

static int run_list_available_osds(struct cli *cli)
{
    cli->result = json_array();
    return list_osds(cli, OSDS_AVAILABLE);
}

static int run_list_decommissioning(struct cli *cli)
{
    cli->result = json_array();
    return list_osds(cli, OSDS_DECOMMISSIONING);
}

static int run_list_purging(struct cli *cli)
{
    cli->result = json_array();
    return list_osds(cli, OSDS_PURGING);
}

#define COLUMNS                                                                                    \
    "id=id long_id=long_id node=node_id address=ips port=port used=used total=total "              \
    "answers=answers checksum-errors=checksum_errors"

static void show_osds(const struct cli *cli)
{
    bool foreign = false;
    size_t index;
    json_t *o;

    json_array_foreach(cli->result, index, o)
    {
        foreign = foreign || (json_is_null(json_object_get(o, "id")) &&
                              json_is_string(json_object_get(o, "alba_id")));
    }
    output_sizes(cli->result, "used");
    output_sizes(cli->result, "total");
    output_table(cli->result, foreign ? COLUMNS " alba=alba_id" : COLUMNS);
}

/* ---- add, claim ---- */

struct asking {
    struct session *s;
    char **ret_long_id;
    uint64_t *ret_capacity;
};

static void on_identified(void *ctx, int rc, const struct err *e,
                          const struct osd_identity *identity)
{
    const struct asking *a = ctx;
    struct err refusal;

    if (rc == 0 && strcmp(identity->owner, OSD_OWNER_METADATA) == 0) {
        rc = err_say(&refusal, ERR_CONFIG, "OSD '%s' holds metadata and cannot be storage",
                     identity->long_id);
        e = &refusal;
    }
    if (rc == 0) {
        *a->ret_long_id = mem_strdup(identity->long_id);
        *a->ret_capacity = identity->capacity_bytes;
    }
    session_done(a->s, rc, e);
}

/* The long id and the capacity that the ASD at an address tells. */
static int ask_asd(struct session *s, const char *host, uint16_t port, char **ret_long_id,
                   uint64_t *ret_capacity)
{
    struct asking a = {.s = s, .ret_long_id = ret_long_id, .ret_capacity = ret_capacity};
    struct osd_question question = {.tls = s->tls, .timeout_ms = ASD_TIMEOUT_MS};
    int rc = net_addr_tcp(&question.addr, host, port, &s->err);

    if (rc == 0 && s->tls != NULL) {
        net_addr_set_tls(&question.addr);
    }
    if (rc == 0) {
        osd_ask(&s->loop, &question, on_identified, &a);
        rc = session_wait(s);
    }
    return rc;
}

int osd_register(struct session *s, const char *host, uint16_t port, const char *node_id,
                 const char *datacenter, char **ret_long_id)
{
    bool use_tls = s->tls != NULL;
    struct registry_osd osd = {.ips = {host},
                               .ip_count = 1,
                               .port = port,
                               .use_tls = use_tls,
                               .node_id = node_id,
                               .datacenter = datacenter};
    const struct registry_osd *old;
    int rc = ask_asd(s, host, port, ret_long_id, &osd.capacity_bytes);

    if (rc != 0) {
        return rc;
    }
    osd.long_id = *ret_long_id;
    old = registry_view_osd_find(registry_view(s->registry), osd.long_id);
    if (old != NULL && old->port == port && old->use_tls == use_tls && old->ip_count == 1 &&
        strcmp(old->ips[0], host) == 0) {
        return err_say(&s->err, ERR_EXISTS, "osd %s is registered already", osd.long_id);
    }
    if (old != NULL) {
        osd.is_decommissioned = old->is_decommissioned;
        osd.is_purging = old->is_purging;
        registry_osd_update(s->registry, &osd, session_done, s);
    } else {
        registry_osd_add(s->registry, &osd, session_done, s);
    }
    return session_wait(s);
}

static int run_add_osd(struct cli *cli)
{
    struct session s;
    const char *node_id = cli_option(cli, "node-id");
    char *long_id = NULL;
    int64_t port;
    int rc = cli_number(cli, "port", 1, 65535, &port);

    if (rc != 0) {
        return rc;
    }
    if (cli_option(cli, "alba-osd-config-url") != NULL || cli_option(cli, "prefix") != NULL ||
        cli_option(cli, "preset") != NULL || cli_option(cli, "endpoint") != NULL) {
        return err_say(&cli->err, -EINVAL,
                       "neither another alba nor a proxy can be an OSD here; give --host and "
                       "--port of an ASD");
    }
    if (node_id == NULL) {
        return err_say(&cli->err, -EINVAL,
                       "--node-id is needed: fragments are spread over nodes, so name the machine");
    }
    rc = session_open(&s, cli);
    if (rc == 0) {
        rc = osd_register(&s, cli_option(cli, "host"), (uint16_t)port, node_id,
                          cli_option(cli, "datacenter"), &long_id);
        if (rc != 0) {
            session_fail_mgr(&s, cli, rc == ERR_EXISTS ? MGR_OSD_EXISTS : MGR_UNKNOWN);
        } else {
            cli->result = json_pack("{s:s}", "long_id", long_id);
        }
    }
    session_close(&s);
    free(long_id);
    return rc;
}

static void show_long_id(const struct cli *cli)
{
    printf("registered %s; claim it with: alba claim-osd --long-id=%s\n",
           json_string_value(json_object_get(cli->result, "long_id")),
           json_string_value(json_object_get(cli->result, "long_id")));
}

static int run_claim_osd(struct cli *cli)
{
    const char *long_id = cli_option(cli, "long-id");
    const struct registry_osd *osd;
    struct session s;
    int rc;

    if (long_id == NULL) {
        return err_say(&cli->err, -EINVAL, "--long-id is needed; see alba list-available-osds");
    }
    rc = session_open(&s, cli);
    if (rc == 0) {
        osd = registry_view_osd_find(registry_view(s.registry), long_id);
        if (osd == NULL) {
            rc =
                err_say(&s.err, ERR_NOT_FOUND,
                        "Albamgr_protocol.Protocol.Error.Osd_unknown: unknown osd %.100s", long_id);
        } else if (osd->is_claimed) {
            rc = err_say(&s.err, ERR_EXISTS, "osd %s is claimed already", long_id);
        } else {
            registry_osd_claim(s.registry, long_id, session_done, &s);
            rc = session_wait(&s);
        }
        if (rc != 0) {
            session_fail_mgr(&s, cli,
                             rc == ERR_EXISTS      ? MGR_OSD_CLAIMED
                             : rc == ERR_NOT_FOUND ? MGR_OSD_UNKNOWN
                                                   : MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

#define PROXY_OPTION                                                                               \
    {                                                                                              \
        .name = "proxy", .arg = "URI",                                                             \
        .help = "whose reads, writes and errors to show (default: one of the deployment)"          \
    }

#define REFUSED "refused: another alba cannot be an OSD here, nor a proxy of one"

const struct verb osd_verbs[] = {
    {.name = "get-alba-id",
     .group = "OSDs",
     .summary = "print the id of this alba",
     .run = run_alba_id,
     .show = show_alba_id,
     .wants_registry = true},
    {.name = "add-osd",
     .group = "OSDs",
     .summary = "register the ASD at an address",
     .options =
         {ASD_LINK_ADDRESS,
          {.name = "node-id", .arg = "ID", .help = "the machine it is in"},
          {.name = "datacenter", .arg = "ID", .value_default = "", .help = "where that machine is"},
          {.name = "alba-osd-config-url", .arg = "URL", .help = REFUSED},
          {.name = "prefix", .arg = "PREFIX", .help = REFUSED},
          {.name = "preset", .arg = "NAME", .help = REFUSED},
          {.name = "endpoint", .arg = "URI", .help = REFUSED, .is_list = true}},
     .run = run_add_osd,
     .show = show_long_id,
     .wants_registry = true},
    {.name = "claim-osd",
     .group = "OSDs",
     .summary = "take a registered OSD for this alba",
     .options = {{.name = "long-id", .arg = "ID", .help = "as alba list-available-osds shows it"}},
     .run = run_claim_osd,
     .wants_registry = true},
    {.name = "list-osds",
     .group = "OSDs",
     .summary = "list the OSDs of this alba",
     .options = {PROXY_OPTION},
     .run = run_list_osds,
     .show = show_osds,
     .wants_registry = true},
    {.name = "list-all-osds",
     .group = "OSDs",
     .summary = "list every registered OSD",
     .options = {PROXY_OPTION},
     .run = run_list_all_osds,
     .show = show_osds,
     .wants_registry = true},
    {.name = "list-available-osds",
     .group = "OSDs",
     .summary = "list registered OSDs that nobody claimed",
     .options = {PROXY_OPTION},
     .run = run_list_available_osds,
     .show = show_osds,
     .wants_registry = true},
    {.name = "list-decommissioning-osds",
     .group = "OSDs",
     .summary = "list OSDs that get no new fragments",
     .options = {PROXY_OPTION},
     .run = run_list_decommissioning,
     .show = show_osds,
     .wants_registry = true},
    {.name = "list-purging-osds",
     .group = "OSDs",
     .summary = "list OSDs that are given up",
     .options = {PROXY_OPTION},
     .run = run_list_purging,
     .show = show_osds,
     .wants_registry = true},
    {.name = NULL},
};
