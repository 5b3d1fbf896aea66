#include "alba/target.h"

#include <stdlib.h>
#include <string.h>

#include "alba/deployment.h"
#include "alba/proxies.h"
#include "alba/verb.h"
#include "base/mem.h"

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

int target_open(struct target *t, struct cli *cli)
{
    return target_open_wide(t, cli, 1);
}

int target_open_wide(struct target *t, struct cli *cli, unsigned connections)
{
    char *uri = NULL;
    int rc;

    *t = (struct target){.is_private = cli->verb->wants_registry};
    session_init(&t->s);
    t->s.proxy_connections = connections;
    rc = session_take_options(&t->s, cli);
    if (rc != 0) {
        return rc;
    }
    if (t->is_private) {
        /* The proxy would wait for metadata that does not answer, and say nothing. */
        rc = session_open_registry(&t->s, cli->config);
        if (rc != 0) {
            return session_fail_mgr(&t->s, cli, MGR_UNKNOWN);
        }
        rc = private_proxy_start(&t->proxy, cli->config, t->s.tls, &cli->err);
        return rc != 0 ? rc : session_use_proxy(&t->s, t->proxy.uri);
    }
    if (looks_up(cli)) {
        rc = session_open_registry(&t->s, cli->config);
        rc = rc != 0 ? rc : proxies_use(&t->s);
    }
    if (rc != 0) {
        return session_fail_proxy(&t->s, cli);
    }
    if (t->s.proxy != NULL) {
        return 0;
    }
    rc = proxy_uri(cli, &uri);
    if (rc != 0) {
        return rc;
    }
    rc = session_use_proxy(&t->s, uri);
    free(uri);
    return rc == 0 ? 0 : session_fail_proxy(&t->s, cli);
}

void target_close(struct target *t)
{
    session_close(&t->s);
    private_proxy_stop(&t->proxy);
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

int target_call(struct target *t, struct cli *cli, const struct proxy_request *request,
                unsigned timeout_ms, struct proxy_reply *ret_reply)
{
    int rc = session_proxy(&t->s, request, timeout_ms, ret_reply);

    return rc == 0 ? 0 : target_fail(t, cli, &t->s.err, t->s.proxy_code);
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
