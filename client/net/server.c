#include "net/server.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/conn.h"

enum { TICK_MS_MIN = 10, TICK_MS_MAX = 1000, TICK_MS_DRAINING = 20 };

static void server_settle(struct net_server *server);

static void on_connection(uv_stream_t *handle, int status)
{
    struct net_listener *listener = handle->data;
    unsigned long skipped;

    if (status == 0) {
        net_conn_accept(listener);
    } else if (log_limit_pass(&listener->server->refused_log, 1000, &skipped)) {
        log_warn("net", "accept failed", "address=%s error=\"%s\" skipped=%lu",
                 listener->listen.addr.text, err_text(status), skipped);
    }
}

static void on_task(struct net_task *task)
{
    net_conn_run_unsendable(container_of(task, struct net_server, task));
}

static void on_tick(uv_timer_t *timer)
{
    struct net_server *server = timer->data;
    const struct net_server_options *options = &server->options;
    uint64_t now_ms = uv_now(server->hub.loop);
    /* Not when we stood still ourselves: what they sent may not be read yet. */
    bool awake = now_ms - server->ticked_ms <= 2 * server->tick_ms;

    server->hurry = awake && options->ops->hurry != NULL ? options->ops->hurry(options->ctx) : 0;
    server->ticked_ms = now_ms;
    LIST_FOR_EACH (it, &server->conns) {
        net_conn_tick(container_of(it, struct net_conn, link), now_ms);
    }
}

static void listener_start(struct net_listener *listener, struct net_server *server)
{
    uv_loop_t *loop = server->hub.loop;

    listener->server = server;
    if (listener->listen.addr.is_unix) {
        CHECK(uv_pipe_init(loop, &listener->uv.pipe, 0) == 0);
        CHECK(uv_pipe_open(&listener->uv.pipe, listener->listen.fd) == 0);
    } else {
        CHECK(uv_tcp_init(loop, &listener->uv.tcp) == 0);
        CHECK(uv_tcp_open(&listener->uv.tcp, listener->listen.fd) == 0);
    }
    listener->uv.handle.data = listener;
    CHECK(uv_listen(&listener->uv.stream, 1024, on_connection) == 0);
}

static unsigned tick_ms_for(const struct net_server_options *o)
{
    unsigned shorter_ms =
        o->frame_timeout_ms < o->preamble_timeout_ms ? o->frame_timeout_ms : o->preamble_timeout_ms;

    shorter_ms = o->hurry_timeout_ms < shorter_ms ? o->hurry_timeout_ms : shorter_ms;
    shorter_ms /= 4;
    return shorter_ms < TICK_MS_MIN   ? TICK_MS_MIN
           : shorter_ms > TICK_MS_MAX ? TICK_MS_MAX
                                      : shorter_ms;
}

void net_server_limit_handshakes(struct net_server *server, unsigned max)
{
    max = max != 0 ? max : 1;
    if (server->options.handshakes_max > max) {
        server->options.handshakes_max = max;
    }
}

bool net_server_make_room(struct net_server *server)
{
    unsigned long skipped;

    LIST_FOR_EACH (it, &server->conns) { /* in order of their arrival */
        struct net_conn *conn = container_of(it, struct net_conn, link);

        if (conn->stream.framer.framing || conn->ending) {
            continue;
        }
        if (log_limit_pass(&server->dropped_log, 1000, &skipped)) {
            log_warn("net", "connection dropped",
                     "peer=%s why=\"no preamble while others wait\" skipped=%lu", conn->peer.text,
                     skipped);
        }
        conn->ending = true;
        net_stream_close(&conn->stream);
        return true;
    }
    return false;
}

int net_server_new(uv_loop_t *loop, const struct net_server_options *options,
                   struct net_server **ret_server, struct err *e)
{
    struct net_server *server;
    struct net_listener *listeners = mem_array(options->addr_count, sizeof *listeners);
    unsigned opened;

    *ret_server = NULL;
    for (opened = 0; opened < options->addr_count; opened++) {
        int rc = net_listen_open(&listeners[opened].listen, &options->addrs[opened], e);

        CHECK(!options->addrs[opened].is_tls || options->tls != NULL);
        if (rc != 0) {
            while (opened-- > 0) {
                net_listen_unlink(&listeners[opened].listen);
                close(listeners[opened].listen.fd);
            }
            free(listeners);
            return rc;
        }
    }

    server = mem_zalloc(sizeof *server);
    net_hub_init(&server->hub, loop);
    net_task_init(&server->task, on_task);
    server->options = *options;
    server->options.addrs = NULL; /* not ours to keep */
    if (options->handshakes_max == 0) {
        server->options.handshakes_max = NET_HANDSHAKES_MAX;
    }
    net_server_limit_handshakes(server, options->connections_max / 2);
    if (options->frame_timeout_ms == 0) {
        server->options.frame_timeout_ms = NET_FRAME_TIMEOUT_MS;
    }
    if (options->preamble_timeout_ms == 0) {
        server->options.preamble_timeout_ms = NET_PREAMBLE_TIMEOUT_MS;
    }
    if (options->hurry_timeout_ms == 0) {
        server->options.hurry_timeout_ms = NET_HURRY_TIMEOUT_MS;
    }
    server->tick_ms = tick_ms_for(&server->options);
    list_init(&server->conns);
    list_init(&server->unsendable);
    uv_timer_init(loop, &server->timer);
    server->timer.data = server;
    server->listeners = listeners;
    server->listeners_open = options->addr_count;
    for (unsigned i = 0; i < options->addr_count; i++) {
        listener_start(&listeners[i], server);
    }
    if (options->addr_count == 0) {
        net_inbox_init(server);
    }
    *ret_server = server;
    return 0;
}

uint16_t net_server_port(const struct net_server *server, unsigned index)
{
    CHECK(index < server->options.addr_count);
    return net_addr_port(&server->listeners[index].listen.addr);
}

unsigned net_server_connections(const struct net_server *server)
{
    return atomic_load_explicit(&server->conn_count, memory_order_relaxed);
}

void net_server_conn_opened(struct net_server *server)
{
    if (!uv_is_active((uv_handle_t *)&server->timer)) {
        uv_timer_start(&server->timer, on_tick, server->tick_ms, server->tick_ms);
    }
}

void net_server_conn_gone(struct net_server *server)
{
    server->shell_count--;
    if (server->conn_count == 0 && !server->handles_closing) {
        uv_timer_stop(&server->timer);
    }
    server_settle(server);
}

/* ---- closing: listeners, connections, then timer and hub ---- */

static void on_hub_closed(struct net_hub *hub)
{
    struct net_server *server = container_of(hub, struct net_server, hub);

    server->close_cb(server->close_ctx);
    free(server->listeners);
    free(server);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct net_server *server = handle->data;

    net_hub_close(&server->hub, on_hub_closed);
}

static void close_timer(struct net_server *server)
{
    uv_close((uv_handle_t *)&server->timer, on_timer_closed);
}

static void server_settle(struct net_server *server)
{
    if (!server->closing || server->handles_closing || server->listeners_open != 0 ||
        server->shell_count != 0) {
        return;
    }
    server->handles_closing = true;
    net_conn_run_unsendable(server);
    net_task_cancel(&server->task);
    if (server->options.addr_count == 0) {
        net_inbox_close(server, close_timer);
    } else {
        close_timer(server);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct net_listener *listener = handle->data;

    listener->server->listeners_open--;
    server_settle(listener->server);
}

void net_server_close(struct net_server *server, unsigned drain_ms, void (*cb)(void *ctx),
                      void *ctx)
{
    CHECK(!server->closing);
    server->closing = true;
    server->close_cb = cb;
    server->close_ctx = ctx;
    uv_update_time(server->hub.loop);
    server->drain_until_ms = uv_now(server->hub.loop) + drain_ms;
    for (unsigned i = 0; i < server->options.addr_count; i++) {
        net_listen_unlink(&server->listeners[i].listen);
        uv_close(&server->listeners[i].uv.handle, on_listener_closed);
    }
    LIST_FOR_EACH (it, &server->conns) {
        net_conn_drain(container_of(it, struct net_conn, link));
    }
    if (server->conn_count != 0) {
        uv_timer_start(&server->timer, on_tick, drain_ms < TICK_MS_DRAINING ? drain_ms : 20,
                       TICK_MS_DRAINING);
    }
    server_settle(server); /* there may be nothing to wait for */
}
