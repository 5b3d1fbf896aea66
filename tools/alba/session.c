#include "alba/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alba/verb.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/kv.h"
#include "net/tls.h"
#include "wire/gather.h"

enum { ATTEMPT_PAUSE_MS = 1000 };

void session_init(struct session *s)
{
    *s = (struct session){0};
    CHECK(uv_loop_init(&s->loop) == 0);
}

int session_take_options(struct session *s, struct cli *cli)
{
    char *ca = cli->tls != NULL ? mem_strdup(cli->tls) : NULL;
    char *cert = ca != NULL ? strchr(ca, ',') : NULL;
    char *key = cert != NULL ? strchr(cert + 1, ',') : NULL;
    struct net_tls_files files = {.ca_cert = ca};
    int rc = 0;

    s->attempts = cli->attempts;
    if (cert != NULL && key != NULL) {
        *cert = '\0';
        *key = '\0';
        files.cert = cert + 1;
        files.key = key + 1;
    }
    if (ca != NULL && key == NULL) {
        rc = err_say(&cli->err, -EINVAL, "--tls=%.100s: want three files: CA,CERTIFICATE,KEY", ca);
    } else if (ca != NULL) {
        rc = net_tls_new(NET_TLS_CLIENT, &files, &s->tls, &cli->err);
    }
    free(ca);
    return rc;
}

void session_done(void *ctx, int rc, const struct err *e)
{
    struct session *s = ctx;

    s->done = true;
    s->rc = rc;
    if (rc != 0) {
        err_copy(&s->err, e);
    }
    uv_stop(&s->loop); /* it may come from a timer, which uv_run() runs before it polls */
}

int session_wait(struct session *s)
{
    loop_run_until(&s->loop, &s->done);
    s->done = false;
    return s->rc;
}

static bool may_try_again(int rc)
{
    return rc == UV_ECONNREFUSED || rc == UV_ETIMEDOUT || rc == UV_EOF || rc == UV_ECONNRESET ||
           rc == UV_EHOSTUNREACH || rc == UV_ENETUNREACH || rc == ERR_BUSY;
}

/* Behind the cause: what to do next, and where the address is from. */
static int say_next(struct session *s, const char *config, int rc)
{
    bool is_url = strstr(config, "://") != NULL;
    struct err why;

    if (!may_try_again(rc) && rc != ERR_PROTOCOL && rc != ERR_IDENTITY && rc != ERR_NOT_FOUND) {
        return rc;
    }
    err_copy(&why, &s->err);
    return err_say(&s->err, rc,
                   "%s; is it running (alba up) at this address%s%.80s? --config or ALBA_CONFIG "
                   "names another",
                   why.msg, is_url ? "" : " of ", is_url ? "" : config);
}

int session_open_registry(struct session *s, const char *config)
{
    int rc;

    if (config == NULL) {
        return err_say(&s->err, ERR_CONFIG,
                       "which deployment? give --config=URL (or a file that holds one), or set "
                       "ALBA_CONFIG; `alba up` writes D/alba.url");
    }
    rc = kv_open(&s->loop, config, s->tls, &s->kv, &s->err);
    if (rc != 0) {
        return rc;
    }
    s->registry = registry_new(s->kv);
    for (unsigned i = 0;; i++) {
        registry_refresh(s->registry, session_done, s);
        rc = session_wait(s);
        if (rc == 0 || i + 1 >= s->attempts || !may_try_again(rc)) {
            return say_next(s, config, rc);
        }
        uv_sleep(ATTEMPT_PAUSE_MS);
    }
}

int session_open(struct session *s, struct cli *cli)
{
    int rc;

    session_init(s);
    rc = session_take_options(s, cli);
    if (rc != 0) {
        return rc;
    }
    rc = session_open_registry(s, cli->config);
    return rc == 0 ? 0 : session_fail_mgr(s, cli, MGR_UNKNOWN);
}

static void on_closed(void *ctx)
{
    ((struct session *)ctx)->done = true;
}

void session_close(struct session *s)
{
    if (s->proxy != NULL) {
        blocking_proxy_close(&s->loop, s->proxy);
    }
    if (s->registry != NULL) {
        registry_close(s->registry, on_closed, s); /* and its engine */
        session_wait(s);
    } else if (s->kv != NULL) {
        kv_close(s->kv, on_closed, s);
        session_wait(s);
    }
    blocking_reply_release(&s->raw);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&s->loop) == 0);
    net_tls_free(s->tls);
}

const struct registry_osd *session_find_osd(struct session *s, struct cli *cli, const char *long_id)
{
    const struct registry_osd *osd = registry_view_osd_find(registry_view(s->registry), long_id);

    if (osd == NULL) {
        err_say(&s->err, ERR_NOT_FOUND, "no OSD '%.100s' is registered; see alba list-all-osds",
                long_id);
        session_fail_mgr(s, cli, MGR_OSD_UNKNOWN);
    }
    return osd;
}

/* ---- proxy ---- */

int session_use_proxy(struct session *s, const char *uri)
{
    return session_use_proxies(s, &uri, 1);
}

int session_use_proxies(struct session *s, const char *const *uris, unsigned count)
{
    struct net_addr addrs[PROXY_CLIENT_ENDPOINTS_MAX];

    CHECK(s->proxy == NULL && count <= PROXY_CLIENT_ENDPOINTS_MAX);
    for (unsigned i = 0; i < count; i++) {
        int rc = net_addr_parse(&addrs[i], uris[i], &s->err);

        if (rc != 0) {
            return rc;
        }
    }
    s->proxy = proxy_client_new(
        &s->loop, &(struct proxy_client_options){
                      .endpoints = addrs,
                      .endpoint_count = count,
                      .tls = s->tls,
                      .connections_max = s->proxy_connections != 0 ? s->proxy_connections : 1});
    return 0;
}

void session_drop_proxy(struct session *s)
{
    blocking_proxy_close(&s->loop, s->proxy);
    s->proxy = NULL;
}

int session_proxy(struct session *s, const struct proxy_request *request, unsigned timeout_ms,
                  struct proxy_reply *ret_reply)
{
    struct gather g = {0};
    int rc;

    blocking_reply_release(&s->raw);
    proxy_request_encode(request, &g);
    rc = blocking_proxy_call(&s->loop, s->proxy, &g, timeout_ms, &s->raw, &s->err);
    s->proxy_code = s->raw.proxy_code;
    if (rc == 0) {
        rc = proxy_reply_decode(s->raw.payload, request->code, ret_reply, &s->err);
    }
    gather_release(&g);
    return rc;
}

/* ---- errors ---- */

int session_fail_mgr(const struct session *s, struct cli *cli, int exception_code)
{
    cli->exception_type = "albamgr_exn";
    cli->exception_code = exception_code;
    return err_copy(&cli->err, &s->err);
}

int session_fail_proxy(const struct session *s, struct cli *cli)
{
    cli->exception_type = s->proxy_code != 0 ? "proxy_exn" : "unknown";
    cli->exception_code = s->proxy_code;
    return err_copy(&cli->err, &s->err);
}
