#include "meta/connect.h"

#include "base/check.h"
#include "base/log.h"

static void try_now(struct connect *c);

static void on_retry(uv_timer_t *timer)
{
    try_now(container_of(timer, struct connect, retry));
}

static void on_refreshed(void *ctx, int rc, const struct err *e)
{
    struct connect *c = ctx;

    if (c->is_closing) {
        return;
    }
    if (rc == 0 || rc == ERR_NOT_FOUND || rc == ERR_VERSION || rc == ERR_CONFIG ||
        rc == ERR_IDENTITY) {
        c->is_done = true;
        c->cb(c->ctx, rc, e);
        return;
    }
    log_warn("connect", "registry not reached", "why=\"%s\" again_ms=%d", e->msg, CONNECT_RETRY_MS);
    CHECK(uv_timer_start(&c->retry, on_retry, CONNECT_RETRY_MS, 0) == 0);
}

static void try_now(struct connect *c)
{
    registry_refresh(c->registry, on_refreshed, c);
}

int connect_start(struct connect *c, uv_loop_t *loop, const char *where, struct net_tls *tls,
                  connect_cb cb, void *ctx, struct err *e)
{
    struct kv *kv;
    int rc = kv_open(loop, where, tls, &kv, e);

    if (rc != 0) {
        return rc;
    }
    *c = (struct connect){.registry = registry_new(kv), .cb = cb, .ctx = ctx};
    CHECK(uv_timer_init(loop, &c->retry) == 0);
    try_now(c);
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct connect *c = container_of((uv_timer_t *)handle, struct connect, retry);

    c->close_cb(c->close_ctx);
}

static void on_registry_closed(void *ctx)
{
    struct connect *c = ctx;

    c->registry = NULL;
    uv_close((uv_handle_t *)&c->retry, on_timer_closed);
}

void connect_close(struct connect *c, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!c->is_closing);
    c->is_closing = true;
    c->close_cb = cb;
    c->close_ctx = ctx;
    uv_timer_stop(&c->retry);
    registry_close(c->registry, on_registry_closed, c);
}
