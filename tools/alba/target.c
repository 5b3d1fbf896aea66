#include "alba/target.h"

#include <stdlib.h>
#include <string.h>

#include "alba/deployment.h"
#include "alba/proxies.h"
#include "alba/verb.h"
#include "base/mem.h"

enum { MOVES_MAX = 3 /* of one call */ };

static bool is_named(const struct cli *cli)
{
    return cli_flag(cli, "host") || cli_flag(cli, "port");
}

/* Is the registry asked for a proxy? */
static bool looks_up(const struct cli *cli)
{
    return !is_named(cli) &&
           (cli->config_given || (cli->config != NULL && getenv("ALBA_DIR") == NULL));
}

/* The proxy of --host and --port, else that of $ALBA_DIR, else the defaults. */
static int proxy_uri(struct cli *cli, char **ret_uri)
{
    const char *host = cli_option(cli, "host");
    int64_t port;
    int rc;

    *ret_uri = is_named(cli) ? NULL : deployment_proxy_uri();
    if (*ret_uri != NULL) {
        return 0;
    }
    rc = cli_number(cli, "port", 1, 65535, &port);
    if (rc == 0) {
        *ret_uri = mem_printf(strchr(host, ':') != NULL ? "%s://[%s]:%d" : "%s://%s:%d",
                              cli->tls != NULL ? "tls" : "tcp", host, (int)port);
    }
    return rc;
}

/* Its own, or those of a registry. */
static int find(struct target *t, struct cli *cli)
{
    int rc = session_open_registry(&t->s, cli->config);

    if (t->is_private && rc != 0) {
        return session_fail_mgr(&t->s, cli, MGR_UNKNOWN);
    }
    if (t->is_private) {
        rc = private_proxy_start(&t->proxy, cli->config, t->s.tls, &cli->err);
        return rc != 0 ? rc : session_use_proxy(&t->s, t->proxy.uri);
    }
    t->config = mem_strdup(cli->config);
    t->has_registry = rc == 0;
    rc = rc != 0 ? rc : proxies_use(&t->s);
    return rc != 0 ? session_fail_proxy(&t->s, cli) : 0;
}

static int open_target(struct target *t, struct cli *cli, unsigned connections)
{
    char *uri = NULL;
    int rc;

    *t = (struct target){.is_private = cli->verb->wants_registry};
    session_init(&t->s);
    t->s.proxy_connections = connections;
    rc = session_take_options(&t->s, cli);
    if (rc == 0 && (t->is_private || looks_up(cli))) {
        /* A private proxy would wait for metadata that does not answer, and say nothing. */
        rc = find(t, cli);
    } else if (rc == 0 && !is_named(cli)) {
        t->config = deployment_config();
    }
    if (rc != 0 || t->s.proxy != NULL) {
        return rc;
    }
    rc = proxy_uri(cli, &uri);
    if (rc != 0) {
        return rc;
    }
    rc = session_use_proxy(&t->s, uri);
    free(uri);
    return rc == 0 ? 0 : session_fail_proxy(&t->s, cli);
}

int target_open(struct target *t, struct cli *cli)
{
    return open_target(t, cli, 1);
}

int target_open_wide(struct target *t, struct cli *cli, unsigned connections)
{
    const struct proxy_request request = {.code = PROXY_GET_VERSION};
    struct proxy_reply reply;
    int rc = open_target(t, cli, connections);

    rc = rc != 0 ? rc : target_call(t, cli, &request, TARGET_TIMEOUT_MS, &reply);
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    return rc;
}

void target_close(struct target *t)
{
    session_close(&t->s);
    private_proxy_stop(&t->proxy);
    free(t->config);
}

/* A private proxy's address tells the user nothing: the message goes without it. */
static void forget_proxy(struct err *e, const char *uri)
{
    char *prefix = mem_printf("proxy %s: ", uri);
    size_t len = strlen(prefix);

    if (strncmp(e->msg, prefix, len) == 0) {
        memmove(e->msg, e->msg + len, strlen(e->msg + len) + 1);
    }
    free(prefix);
}

/* ---- another proxy ---- */

static bool only_reads(uint32_t code)
{
    switch (code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_NAMESPACE_EXISTS:
    case PROXY_LIST_OBJECTS:
    case PROXY_GET_OBJECT_INFO:
    case PROXY_READ_SLICES2:
    case PROXY_READ_OBJECTS:
    case PROXY_GET_VERSION:
        return true;
    default:
        return false;
    }
}

/* It was not reached, or is lost: and another may do what was asked, as it can be done twice, or
 * was not done. (Parts of a stream are of their connection.) */
static bool may_go_on(const struct target *t, const struct proxy_request *request, int rc)
{
    bool maybe_executed = t->s.raw.maybe_executed;

    if (t->config == NULL || t->s.proxy_code != 0 || request->code == PROXY_STREAM_PART) {
        return false;
    }
    switch (rc) {
    case UV_ENOENT: /* no such socket */
    case UV_EACCES:
    case UV_ECONNREFUSED:
    case UV_EHOSTUNREACH:
    case UV_ENETUNREACH:
    case UV_ECONNRESET:
    case UV_EPIPE:
    case UV_EOF:
        return !maybe_executed || only_reads(request->code);
    case UV_ETIMEDOUT:
        return !maybe_executed;
    default:
        return false;
    }
}

/* To those that the registry lists now. When there are none, the session stays as it was. */
static bool move(struct target *t)
{
    struct session *s = &t->s;
    struct proxy_client *lost = s->proxy;
    bool maybe_executed = s->raw.maybe_executed;
    struct err why;

    err_copy(&why, &s->err);
    s->proxy = NULL;
    if (!t->has_registry) {
        t->has_registry = session_open_registry(s, t->config) == 0;
    }
    if (t->has_registry) {
        proxies_use(s);
    }
    if (s->proxy != NULL) {
        blocking_proxy_close(&s->loop, lost);
        return true;
    }
    if (!t->has_registry) { /* it is not opened twice */
        free(t->config);
        t->config = NULL;
    }
    s->proxy = lost;
    s->proxy_code = 0;
    s->raw.maybe_executed = maybe_executed;
    err_copy(&s->err, &why);
    return false;
}

int target_say_doubt(struct cli *cli, const char *done, const char *verb_to_look)
{
    struct err why;

    err_copy(&why, &cli->err);
    return err_say(&cli->err, ERR_IN_DOUBT,
                   "may or may not have been %s: look with %s, or repeat it (%s)", done,
                   verb_to_look, why.msg);
}

/* A request that changes something was sent, and what became of it was not told. */
static int say_doubt(struct cli *cli, uint32_t code)
{
    switch (code) {
    case PROXY_APPLY_SEQUENCE:
    case PROXY_WRITE_OBJECT_FS:
        return target_say_doubt(cli, "stored", "show-object");
    case PROXY_DELETE_OBJECT:
        return target_say_doubt(cli, "deleted", "show-object");
    case PROXY_CREATE_NAMESPACE:
        return target_say_doubt(cli, "made", "list-namespaces");
    case PROXY_DELETE_NAMESPACE:
        return target_say_doubt(cli, "deleted", "list-namespaces");
    default:
        return cli->err.code;
    }
}

int target_call(struct target *t, struct cli *cli, const struct proxy_request *request,
                unsigned timeout_ms, struct proxy_reply *ret_reply)
{
    int rc = session_proxy(&t->s, request, timeout_ms, ret_reply);

    for (unsigned i = 0; i < MOVES_MAX && may_go_on(t, request, rc) && move(t); i++) {
        rc = session_proxy(&t->s, request, timeout_ms, ret_reply);
    }
    if (rc == 0) {
        return 0;
    }
    target_fail(t, cli, &t->s.err, t->s.proxy_code);
    if (rc == ERR_IN_DOUBT ||
        (t->s.proxy_code == 0 && t->s.raw.maybe_executed && rc != ERR_CANCELED)) {
        rc = say_doubt(cli, request->code);
    }
    return rc;
}

int target_fail(struct target *t, struct cli *cli, const struct err *why, int32_t proxy_code)
{
    err_copy(&t->s.err, why);
    t->s.proxy_code = proxy_code;
    session_fail_proxy(&t->s, cli);
    if (t->is_private) {
        forget_proxy(&cli->err, t->proxy.uri);
    }
    return cli->err.code;
}
