#include "proxy/server.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/server.h"
#include "proxy/session.h"

enum {
    CONNECTIONS_MAX_DEFAULT = 128,
    FRAME_BYTES_MAX_DEFAULT = (1 << 30) + (1 << 20),
    REQUEST_BYTES_MAX_DEFAULT = 384 << 20,
    TICK_MS = 500,
};

/* ---- from the sockets ---- */

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct proxy_server *server = net_conn_server_ctx(conn);
    int taken = proxy_preamble_parse(data, bytes);
    struct buf b = {0};

    if (taken > 0) {
        net_conn_set_user(conn, session_new(server, conn));
    } else if (taken == ERR_VERSION) {
        proxy_error_put(&b, MANIFEST_V1, PROXY_RC_VERSION,
                        slice_str("protocol version 1 is spoken here"));
        net_conn_write(conn, b.data, b.len);
        buf_release(&b);
    }
    return taken;
}

static void on_frame_window(struct net_conn *conn, uint32_t frame_bytes, uint32_t window)
{
    session_on_frame_window(net_conn_user(conn), frame_bytes, window);
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    session_on_frame(net_conn_user(conn), frame, bytes);
}

static void on_close(struct net_conn *conn)
{
    struct session *session = net_conn_user(conn);

    if (session != NULL) {
        net_conn_set_user(conn, NULL);
        session_on_close(session);
    }
}

static unsigned hurry(void *ctx)
{
    const struct proxy_server *server = ctx;

    return (frame_room_is_wanted(&server->room) ? NET_HURRY_FRAMES : 0U) |
           (server->engine->replies.waiting_count != 0 ? NET_HURRY_REPLIES : 0U);
}

static const struct net_server_ops ops = {.on_preamble = on_preamble,
                                          .on_frame_window = on_frame_window,
                                          .on_frame = on_frame,
                                          .on_close = on_close,
                                          .hurry = hurry};

static void on_tick(uv_timer_t *timer)
{
    struct proxy_server *server = container_of(timer, struct proxy_server, timer);
    uint64_t now = clock_mono_ms();

    LIST_FOR_EACH_SAFE (it, &server->sessions) {
        session_check(container_of(it, struct session, link), now);
    }
}

/* ---- life ---- */

static void set_defaults(struct proxy_server_options *o)
{
    o->addrs = NULL;
    o->fd_socket = NULL;
    o->connections_max = o->connections_max != 0 ? o->connections_max : CONNECTIONS_MAX_DEFAULT;
    o->frame_bytes_max = o->frame_bytes_max != 0 ? o->frame_bytes_max : FRAME_BYTES_MAX_DEFAULT;
    o->request_bytes_max =
        o->request_bytes_max != 0 ? o->request_bytes_max : REQUEST_BYTES_MAX_DEFAULT;
    o->room_timeout_ms = o->room_timeout_ms != 0 ? o->room_timeout_ms : PROXY_ROOM_TIMEOUT_MS;
    o->request_timeout_ms =
        o->request_timeout_ms != 0 ? o->request_timeout_ms : ENGINE_REQUEST_TIMEOUT_MS;
}

/* Without it clients send what they have. */
static void take_files(struct proxy_server *server, const char *socket)
{
    struct err e;

    if (socket != NULL && fds_new(server->engine->loop, socket, &server->fds, &e) != 0) {
        log_warn("proxy", "files cannot be handed over", "why=\"%s\"", e.msg);
    }
}

int proxy_server_new(struct engine *engine, const struct proxy_server_options *options,
                     struct proxy_server **ret_server, struct err *e)
{
    struct proxy_server *server = mem_zalloc(sizeof(*server));
    struct net_server_options net = {.addrs = options->addrs,
                                     .addr_count = options->addr_count,
                                     .ops = &ops,
                                     .ctx = server,
                                     .tls = options->tls};
    int rc;

    server->engine = engine;
    server->options = *options;
    set_defaults(&server->options);
    list_init(&server->sessions);
    frame_room_init(&server->room, server->options.request_bytes_max,
                    server->options.frame_bytes_max);
    net.connections_max = server->options.connections_max;
    net.frame_bytes_max = server->options.frame_bytes_max;
    rc = net_server_new(engine->loop, &net, &server->net, e);
    if (rc != 0) {
        free(server);
        return rc;
    }
    take_files(server, options->fd_socket);
    engine_hold(engine);
    CHECK(uv_timer_init(engine->loop, &server->timer) == 0);
    CHECK(uv_timer_start(&server->timer, on_tick, TICK_MS, TICK_MS) == 0);
    *ret_server = server;
    return 0;
}

void proxy_server_set_slow_ms(struct proxy_server *server, unsigned slow_request_ms)
{
    server->options.slow_request_ms = slow_request_ms;
}

void proxy_server_set_timeout_ms(struct proxy_server *server, unsigned request_timeout_ms)
{
    CHECK(request_timeout_ms != 0);
    server->options.request_timeout_ms = request_timeout_ms;
}

uint16_t proxy_server_port(const struct proxy_server *server, unsigned index)
{
    return net_server_port(server->net, index);
}

unsigned proxy_server_connections(const struct proxy_server *server)
{
    return net_server_connections(server->net);
}

/* ---- close ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct proxy_server *server = container_of((uv_timer_t *)handle, struct proxy_server, timer);
    struct engine *engine = server->engine;
    void (*cb)(void *) = server->close_cb;
    void *ctx = server->close_ctx;

    free(server);
    engine_drop(engine);
    cb(ctx);
}

static void on_fds_closed(void *ctx)
{
    struct proxy_server *server = ctx;

    uv_close((uv_handle_t *)&server->timer, on_timer_closed);
}

/* Nobody asks for a file any more. */
static void on_net_closed(void *ctx)
{
    struct proxy_server *server = ctx;

    if (server->fds != NULL) {
        fds_close(server->fds, on_fds_closed, server);
    } else {
        on_fds_closed(server);
    }
}

static void on_drain_over(uv_timer_t *timer)
{
    struct proxy_server *server = container_of(timer, struct proxy_server, timer);

    LIST_FOR_EACH_SAFE (it, &server->sessions) {
        session_cancel(container_of(it, struct session, link));
    }
    registry_cancel(server->engine->registry); /* for commits, which are not canceled */
}

void proxy_server_close(struct proxy_server *server, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!server->is_closing);
    server->is_closing = true;
    server->close_cb = cb;
    server->close_ctx = ctx;
    CHECK(uv_timer_start(&server->timer, on_drain_over, PROXY_SERVER_DRAIN_MS, TICK_MS) == 0);
    net_server_close(server->net, PROXY_SERVER_DRAIN_MS + TICK_MS, on_net_closed, server);
}
