/* libmicrohttpd runs inside the loop: its epoll descriptor is polled, a timer fires when it
 * wants to run by itself, and connections are accepted here and handed to it. */

#include "daemon/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/http_request.h"

enum { CONNECTION_MEMORY_BYTES = 16384, LINGER_MS = 1000, ACCEPTS_MAX = 16, ACCEPT_AGAIN_MS = 200 };

static void server_run(struct http_server *server);
static void settle(struct http_server *server);

/* ---- driving the daemon ---- */

static void on_timer(uv_timer_t *timer)
{
    server_run(timer->data);
}

static void server_run(struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;

    if (server->mhd == NULL) {
        return;
    }
    MHD_run(server->mhd);
    if (MHD_get_timeout(server->mhd, &wait_ms) == MHD_YES) {
        uv_timer_start(&server->timer, on_timer, wait_ms, 0);
    } else {
        uv_timer_stop(&server->timer);
    }
    settle(server);
}

void http_server_kick(struct http_server *server)
{
    uv_timer_start(&server->timer, on_timer, 0, 0);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    server_run(poll->data);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_accept_again(uv_timer_t *timer)
{
    struct http_server *server = timer->data;

    for (unsigned i = 0; i < server->options.addr_count && !server->closing; i++) {
        uv_poll_start(&server->listeners[i].poll, UV_READABLE, on_acceptable);
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct http_listener *listener = poll->data;
    struct http_server *server = listener->server;

    (void)status;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage sa;
        socklen_t bytes = sizeof sa;
        int fd = accept4(listener->listen.fd, (struct sockaddr *)&sa, &bytes,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
            uv_poll_stop(poll); /* it would report the same connection again and again */
            uv_timer_start(&server->accept_again, on_accept_again, ACCEPT_AGAIN_MS, 0);
        }
        if (fd < 0) {
            break;
        }
        /* It closes the socket when there are too many. */
        MHD_add_connection(server->mhd, fd, (struct sockaddr *)&sa, bytes);
    }
    server_run(server);
}

static void on_mhd_log(void *ctx, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static void on_mhd_log(void *ctx, const char *fmt, va_list ap)
{
    char text[256];

    (void)ctx;
    vsnprintf(text, sizeof text, fmt, ap);
    log_debug("http", "library message", "text=\"%s\"", text);
}

/* ---- opening ---- */

static struct MHD_Daemon *start_mhd(struct http_server *server)
{
    const struct http_options *o = &server->options;

    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0,
        NULL, NULL, http_on_access, server, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_CONNECTION_LIMIT, o->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, o->timeout_s,
        MHD_OPTION_NOTIFY_COMPLETED, http_on_completed, server, MHD_OPTION_END);
}

static void set_defaults(struct http_options *o)
{
    o->addrs = NULL; /* not ours to keep */
    if (o->connections_max == 0) {
        o->connections_max = HTTP_CONNECTIONS_DEFAULT;
    }
    if (o->body_bytes_max == 0) {
        o->body_bytes_max = HTTP_BODY_BYTES_DEFAULT;
    }
    if (o->timeout_s == 0) {
        o->timeout_s = HTTP_TIMEOUT_S_DEFAULT;
    }
}

static void close_listeners(struct http_listener *listeners, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        net_listen_unlink(&listeners[i].listen);
        close(listeners[i].listen.fd);
    }
}

static void start_polls(struct http_server *server)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->mhd, MHD_DAEMON_INFO_EPOLL_FD);

    CHECK(info != NULL);
    CHECK(uv_poll_init(server->loop, &server->poll, info->epoll_fd) == 0);
    server->poll.data = server;
    CHECK(uv_poll_start(&server->poll, UV_READABLE, on_event) == 0);
    uv_timer_init(server->loop, &server->timer);
    server->timer.data = server;
    uv_timer_init(server->loop, &server->linger);
    server->linger.data = server;
    uv_timer_init(server->loop, &server->accept_again);
    server->accept_again.data = server;
    for (unsigned i = 0; i < server->options.addr_count; i++) {
        struct http_listener *listener = &server->listeners[i];

        listener->server = server;
        CHECK(uv_poll_init(server->loop, &listener->poll, listener->listen.fd) == 0);
        listener->poll.data = listener;
        CHECK(uv_poll_start(&listener->poll, UV_READABLE, on_acceptable) == 0);
    }
    server->handles_open = 4 + server->options.addr_count;
}

int http_server_new(uv_loop_t *loop, const struct http_options *options,
                    struct http_server **ret_server, struct err *e)
{
    struct http_listener *listeners = mem_array(options->addr_count, sizeof *listeners);
    struct http_server *server;

    *ret_server = NULL;
    for (unsigned i = 0; i < options->addr_count; i++) {
        int rc = net_listen_open(&listeners[i].listen, &options->addrs[i], e);

        if (rc != 0) {
            close_listeners(listeners, i);
            free(listeners);
            return err_wrap(e, "http");
        }
    }
    server = mem_zalloc(sizeof *server);
    server->loop = loop;
    server->listeners = listeners;
    server->options = *options;
    set_defaults(&server->options);
    list_init(&server->requests);
    server->mhd = start_mhd(server);
    if (server->mhd == NULL) {
        close_listeners(listeners, options->addr_count);
        free(listeners);
        free(server);
        return err_set(e, errno != 0 ? -errno : -ENOMEM, "http: start");
    }
    start_polls(server);
    http_standard_routes(server);
    *ret_server = server;
    return 0;
}

uint16_t http_server_port(const struct http_server *server, unsigned index)
{
    CHECK(index < server->options.addr_count);
    return net_addr_port(&server->listeners[index].listen.addr);
}

void http_route(struct http_server *server, unsigned methods, const char *path, bool is_prefix,
                http_handler handler, void *ctx)
{
    CHECK(server->route_count < HTTP_ROUTES_MAX);
    server->routes[server->route_count++] = (struct http_route){.path = path,
                                                                .path_bytes = strlen(path),
                                                                .methods = methods,
                                                                .is_prefix = is_prefix,
                                                                .handler = handler,
                                                                .ctx = ctx};
}

/* ---- closing: answers leave (within LINGER_MS), the library stops, handles close ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;

    if (--server->handles_open == 0) {
        MHD_stop_daemon(server->mhd);
        server->close_cb(server->close_ctx);
        free(server->listeners);
        free(server);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_listener *listener = handle->data;

    close(listener->listen.fd);
    handle->data = listener->server;
    on_handle_closed(handle);
}

static void finish(struct http_server *server)
{
    if (uv_is_closing((uv_handle_t *)&server->poll)) {
        return;
    }
    uv_close((uv_handle_t *)&server->poll, on_handle_closed);
    uv_close((uv_handle_t *)&server->timer, on_handle_closed);
    uv_close((uv_handle_t *)&server->linger, on_handle_closed);
    uv_close((uv_handle_t *)&server->accept_again, on_handle_closed);
}

static void on_linger_over(uv_timer_t *timer)
{
    finish(timer->data);
}

static void settle(struct http_server *server)
{
    if (server->closing && list_empty(&server->requests)) {
        finish(server);
    }
}

void http_server_close(struct http_server *server, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!server->closing);
    server->closing = true;
    server->close_cb = cb;
    server->close_ctx = ctx;
    for (unsigned i = 0; i < server->options.addr_count; i++) {
        net_listen_unlink(&server->listeners[i].listen);
        uv_close((uv_handle_t *)&server->listeners[i].poll, on_listener_closed);
    }
    LIST_FOR_EACH (it, &server->requests) {
        http_request_abandon(container_of(it, struct http_request, link));
    }
    uv_timer_start(&server->linger, on_linger_over, LINGER_MS, 0);
    http_server_kick(server);
}
