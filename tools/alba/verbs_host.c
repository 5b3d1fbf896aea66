/* Verbs about where metadata lies: the registry's engine, and those of the namespace managers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alba/asd_call.h"
#include "alba/asd_figures.h"
#include "alba/output.h"
#include "alba/session.h"
#include "alba/verb.h"
#include "base/mem.h"
#include "meta/kv.h"

enum { ASK_TIMEOUT_MS = 10000, HOST_ID_BYTES_MAX = 200 };

#define OWN_ENGINE "registry:" /* client/meta/KEYS.md: url of a host on the registry's engine */

/* ---- engines ---- */

/* "asd+tls://host:port/long-id", as kv_url_check() let it pass: free *ret_long_id (or NULL). */
static int engine_parts(const char *url, struct net_addr *ret_addr, char **ret_long_id,
                        struct err *e)
{
    bool is_tls = strncmp(url, "asd+tls://", 10) == 0;
    char *uri = mem_printf("tcp://%s", strstr(url, "://") + 3);
    char *slash = strchr(uri + strlen("tcp://"), '/');
    int rc;

    *ret_long_id = slash != NULL && slash[1] != '\0' ? mem_strdup(slash + 1) : NULL;
    if (slash != NULL) {
        *slash = '\0';
    }
    rc = net_addr_parse(ret_addr, uri, e);
    if (rc == 0 && is_tls) {
        net_addr_set_tls(ret_addr);
    }
    free(uri);
    return rc;
}

static const char *url_of(const struct session *s, const struct registry_nsm_host *host)
{
    return strcmp(host->url, OWN_ENGINE) == 0 ? kv_url(s->kv) : host->url;
}

/* A client of the ASD that the engine is on. */
static int engine_client(struct session *s, const char *url, struct asd_client **ret_client)
{
    struct asd_client_options options = {.tls = s->tls};
    char *long_id;
    int rc = engine_parts(url, &options.addr, &long_id, &s->err);

    if (rc == 0) {
        options.long_id = long_id;
        *ret_client = asd_client_new(&s->loop, &options);
    }
    free(long_id);
    return rc;
}

static int engine_version(struct session *s, const char *url, json_t **ret_version)
{
    const struct asd_request request = {.code = ASD_GET_VERSION};
    struct asd_client *client;
    struct asd_answer answer;
    bool escaped;
    int rc = engine_client(s, url, &client);

    if (rc != 0) {
        return rc;
    }
    rc = asd_call_with(&s->loop, client, &request, ASK_TIMEOUT_MS, &answer, &s->err);
    if (rc == 0) {
        *ret_version = json_pack("[i, i, i, o]", (int)answer.reply.version.major,
                                 (int)answer.reply.version.minor, (int)answer.reply.version.patch,
                                 output_name(answer.reply.version.text, &escaped));
        asd_answer_release(&answer);
    }
    blocking_asd_close(&s->loop, client);
    return rc;
}

/* {"creation", "period", "statistics": {request: {…}}}: what the engine itself counted. */
static int engine_statistics(struct session *s, const char *url, bool clear, json_t **ret_json)
{
    json_t *statistics = json_object();
    struct asd_client *client;
    json_t *figures;
    const char *key;
    json_t *value;
    int rc = engine_client(s, url, &client);

    if (rc != 0) {
        json_decref(statistics);
        return rc;
    }
    figures = asd_figures_ask(&s->loop, client, clear, ASK_TIMEOUT_MS, &s->err);
    blocking_asd_close(&s->loop, client);
    json_object_foreach(figures, key, value)
    {
        if (json_is_object(value)) {
            json_object_set(statistics, key, value);
        }
    }
    *ret_json = figures == NULL
                    ? NULL
                    : json_pack("{s:O, s:O, s:O, s:O, s:O}", "creation",
                                json_object_get(figures, "creation"), "period",
                                json_object_get(figures, "period"), "disk_usage",
                                json_object_get(figures, "disk_usage"), "capacity",
                                json_object_get(figures, "capacity"), "statistics", statistics);
    rc = figures != NULL ? 0 : s->err.code;
    json_decref(figures);
    json_decref(statistics);
    return rc;
}

/* As asd_figures_show() wants it. */
static void show_engine(const json_t *engine)
{
    json_t *flat = json_copy((json_t *)(uintptr_t)engine);

    json_object_update(flat, json_object_get(engine, "statistics"));
    json_object_del(flat, "statistics");
    asd_figures_show(flat);
    json_decref(flat);
}

static const struct registry_nsm_host *find_host(struct session *s, struct cli *cli, const char *id)
{
    const struct registry_nsm_host *host =
        registry_view_nsm_host_find(registry_view(s->registry), id);

    if (host == NULL) {
        err_say(&s->err, ERR_NOT_FOUND, "unknown nsm host %.100s; see alba list-nsm-hosts", id);
        session_fail_mgr(s, cli, MGR_NSM_HOST_UNKNOWN);
    }
    return host;
}

/* ---- list ---- */

static json_t *host_json(const struct session *s, const struct registry_nsm_host *host)
{
    const char *url = url_of(s, host);
    json_t *nodes = json_array();
    char ip[NET_ADDR_IP_MAX] = "";
    struct net_addr addr;
    char *long_id;
    struct err e;

    if (engine_parts(url, &addr, &long_id, &e) == 0) {
        net_addr_ip(&addr, ip);
        json_array_append_new(nodes, json_pack("{s:s, s:[s], s:i}", "name",
                                               long_id != NULL ? long_id : host->id, "ips", ip,
                                               "port", (int)net_addr_port(&addr)));
    }
    free(long_id);
    return json_pack(
        "{s:s, s:s%, s:s, s:o, s:b, s:I, s:s}", "id", host->id, "kind", url, strcspn(url, ":+"),
        "cluster_id", host->id, "nodes", nodes, "lost", (int)host->is_lost, "namespaces_count",
        (json_int_t)registry_view_nsm_host_load(registry_view(s->registry), host->id), "url", url);
}

static int run_list(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);
    const struct registry_view *view = rc == 0 ? registry_view(s.registry) : NULL;

    cli->result = json_array();
    for (size_t i = 0; view != NULL && i < registry_view_nsm_host_count(view); i++) {
        json_array_append_new(cli->result, host_json(&s, registry_view_nsm_host(view, i)));
    }
    session_close(&s);
    return rc;
}

static void show_list(const struct cli *cli)
{
    output_table(cli->result, "id=id url=url namespaces=namespaces_count lost=lost");
}

/* ---- add, update ---- */

/* --id, or what stands behind the scheme of the URL. */
static int host_id(struct cli *cli, const char *url, char ret_id[HOST_ID_BYTES_MAX])
{
    const char *id = cli_option(cli, "id") != NULL ? cli_option(cli, "id") : strstr(url, "://") + 3;

    if (strlen(id) >= HOST_ID_BYTES_MAX) {
        return err_say(&cli->err, -EINVAL, "give the host a name: --id=NAME");
    }
    snprintf(ret_id, HOST_ID_BYTES_MAX, "%s", id);
    return 0;
}

static int change_host(struct cli *cli, bool is_new)
{
    char url[KV_URL_BYTES_MAX];
    char id[HOST_ID_BYTES_MAX];
    struct session s;
    int rc = session_open(&s, cli);

    rc = rc != 0 ? rc : kv_url_load(cli_arg(cli, 0), url, &cli->err);
    rc = rc != 0 ? rc : host_id(cli, url, id);
    if (rc != 0) {
        goto out;
    }
    if (!is_new && find_host(&s, cli, id) == NULL) {
        rc = ERR_NOT_FOUND;
        goto out;
    }
    if (is_new) {
        registry_nsm_host_add(s.registry, id, url, cli_flag(cli, "adopt"), session_done, &s);
    } else {
        registry_nsm_host_update(s.registry, id, url, cli_flag(cli, "lost"), cli_flag(cli, "adopt"),
                                 session_done, &s);
    }
    rc = session_wait(&s);
    if (rc != 0) {
        session_fail_mgr(&s, cli, rc == ERR_EXISTS ? MGR_NSM_HOST_EXISTS : MGR_UNKNOWN);
    }

out:
    session_close(&s);
    return rc;
}

static int run_add(struct cli *cli)
{
    return change_host(cli, true);
}

static int run_update(struct cli *cli)
{
    return change_host(cli, false);
}

/* ---- versions, statistics ---- */

/* NULL: the registry's engine. */
static int ask_version(struct cli *cli, const char *id)
{
    const struct registry_nsm_host *host = NULL;
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0 && id != NULL) {
        host = find_host(&s, cli, id);
        rc = host != NULL ? 0 : ERR_NOT_FOUND;
    }
    if (rc == 0) {
        rc = engine_version(&s, host != NULL ? url_of(&s, host) : kv_url(s.kv), &cli->result);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    session_close(&s);
    return rc;
}

static int run_version(struct cli *cli)
{
    return ask_version(cli, cli_arg(cli, 0));
}

static int run_mgr_version(struct cli *cli)
{
    return ask_version(cli, NULL);
}

static void show_version(const struct cli *cli)
{
    const json_t *v = cli->result;

    printf("%d.%d.%d %s\n", (int)json_integer_value(json_array_get(v, 0)),
           (int)json_integer_value(json_array_get(v, 1)),
           (int)json_integer_value(json_array_get(v, 2)), json_string_value(json_array_get(v, 3)));
}

static int run_mgr_statistics(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        rc = engine_statistics(&s, kv_url(s.kv), cli_flag(cli, "clear"), &cli->result);
        rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
    }
    session_close(&s);
    return rc;
}

static int run_host_statistics(struct cli *cli)
{
    const struct registry_nsm_host *host;
    struct session s;
    int rc = session_open(&s, cli);

    if (rc == 0) {
        host = find_host(&s, cli, cli_arg(cli, 0));
        if (host == NULL) {
            rc = ERR_NOT_FOUND;
        } else {
            rc = engine_statistics(&s, url_of(&s, host), cli_flag(cli, "clear"), &cli->result);
            rc = rc == 0 ? 0 : session_fail_mgr(&s, cli, MGR_UNKNOWN);
        }
    }
    session_close(&s);
    return rc;
}

static void show_statistics(const struct cli *cli)
{
    show_engine(cli->result);
}

/* "a,b"; NULL: all. */
static int statistics_of(struct cli *cli, struct session *s, const char *ids)
{
    const struct registry_view *view = registry_view(s->registry);
    bool clear = cli_flag(cli, "clear");
    int rc = 0;

    for (size_t i = 0; ids == NULL && rc == 0 && i < registry_view_nsm_host_count(view); i++) {
        const struct registry_nsm_host *host = registry_view_nsm_host(view, i);
        json_t *one;

        rc = engine_statistics(s, url_of(s, host), clear, &one);
        json_object_set_new(cli->result, host->id, rc == 0 ? one : json_null());
    }
    for (const char *at = ids; rc == 0 && at != NULL && *at != '\0'; at += *at == ',') {
        size_t len = strcspn(at, ",");
        char *id = mem_printf("%.*s", (int)len, at);
        const struct registry_nsm_host *host = find_host(s, cli, id);
        json_t *one = NULL;

        rc = host != NULL ? engine_statistics(s, url_of(s, host), clear, &one) : ERR_NOT_FOUND;
        json_object_set_new(cli->result, id, rc == 0 ? one : json_null());
        free(id);
        if (host == NULL) {
            return rc;
        }
        at += len;
    }
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

static int run_hosts_statistics(struct cli *cli)
{
    struct session s;
    int rc = session_open(&s, cli);

    cli->result = json_object();
    rc = rc != 0 ? rc : statistics_of(cli, &s, cli_option(cli, "nsm-hosts"));
    session_close(&s);
    return rc;
}

static void show_hosts_statistics(const struct cli *cli)
{
    const char *id;
    json_t *one;
    bool first = true;

    json_object_foreach(cli->result, id, one)
    {
        printf("%s%s: ", first ? "" : "\n", id);
        first = false;
        show_engine(one);
    }
}

#define CLEAR                                                                                      \
    {                                                                                              \
        .name = "clear", .help = "begin to count anew"                                             \
    }
#define HOST_ID                                                                                    \
    {                                                                                              \
        .name = "id", .arg = "NAME", .help = "its name (default: host and port of the URL)"        \
    }

#define ADOPT                                                                                      \
    {                                                                                              \
        .name = "adopt", .help = "it has namespaces of this alba, and nothing there says so"       \
    }

const struct verb host_verbs[] = {
    {.name = "list-nsm-hosts",
     .group = "Metadata",
     .summary = "list where the metadata of namespaces lies",
     .run = run_list,
     .show = show_list,
     .wants_registry = true},
    {.name = "add-nsm-host",
     .group = "Metadata",
     .positionals = "URL",
     .summary = "use one more engine for the metadata of new namespaces",
     .details =
         "URL is that of an engine, such as asd://192.0.2.1:8000, or of a file that holds it.\n"
         "The ASD is claimed for metadata, and marked as this host of this alba. One that is "
         "storage "
         "is\nrefused, and so is an engine that is a host already, or has a registry: two would "
         "give "
         "their\nnamespaces the same ids, and delete each other's objects.",
     .options = {HOST_ID, ADOPT},
     .run = run_add,
     .wants_registry = true},
    {.name = "update-nsm-host",
     .group = "Metadata",
     .positionals = "URL",
     .summary = "tell where an engine is now",
     .details =
         "The engine is that host's, or empty. With --lost and the URL that it has, it is not "
         "asked.",
     .options = {HOST_ID,
                 {.name = "lost", .help = "it is gone: no new namespace comes to it"},
                 ADOPT},
     .run = run_update,
     .wants_registry = true},
    {.name = "nsm-get-version",
     .group = "Metadata",
     .positionals = "ID",
     .summary = "ask the engine of a namespace manager for its version",
     .run = run_version,
     .show = show_version,
     .wants_registry = true},
    {.name = "nsm-host-statistics",
     .group = "Metadata",
     .positionals = "ID",
     .summary = "print what the engine of a namespace manager counted",
     .options = {CLEAR},
     .run = run_host_statistics,
     .show = show_statistics,
     .wants_registry = true},
    {.name = "nsm-hosts-statistics",
     .group = "Metadata",
     .summary = "the same of several",
     .options = {{.name = "nsm-hosts",
                  .arg = "ID[,ID…]",
                  .help = "of these (default: of all)",
                  .is_list = true},
                 CLEAR},
     .run = run_hosts_statistics,
     .show = show_hosts_statistics,
     .wants_registry = true},
    {.name = "mgr-get-version",
     .group = "Metadata",
     .summary = "ask the engine of the registry for its version",
     .run = run_mgr_version,
     .show = show_version,
     .wants_registry = true},
    {.name = "mgr-statistics",
     .group = "Metadata",
     .summary = "print what the engine of the registry counted",
     .options = {CLEAR},
     .run = run_mgr_statistics,
     .show = show_statistics,
     .wants_registry = true},
    {.name = NULL},
};
