/* Handing fresh connections over to servers on other loops.
 *
 * (loop that listens) net_share_hand_over: accepted into a handle of this loop, its descriptor
 * doubled, the handle closed -> inbox of the peer -> (peer's loop) net_conn_adopt. A connection
 * counts for the peer from the first step on, so that a burst is spread, too. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/conn.h"

enum { LOG_EVERY_MS = 1000 };

struct arrival {
    struct list link;
    int fd;
    struct net_addr addr; /* listened at */
};

/* ---- the loop that listens ---- */

struct handle {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct net_server *server;
};

void net_server_share(struct net_server *server, struct net_server *const *peers,
                      unsigned peer_count)
{
    unsigned handshakes_max = server->options.connections_max / 2 / (peer_count + 1);

    net_server_limit_handshakes(server, handshakes_max);
    for (unsigned i = 0; i < peer_count; i++) {
        CHECK(peers[i]->options.addr_count == 0);
        CHECK(peers[i]->options.tls == server->options.tls); /* or one would speak in the clear */
        net_server_limit_handshakes(peers[i], handshakes_max);
    }
    server->peers = peers;
    server->peer_count = peer_count;
}

unsigned net_share_connections(const struct net_server *server)
{
    unsigned count = net_server_connections(server);

    for (unsigned i = 0; i < server->peer_count; i++) {
        count += net_server_connections(server->peers[i]);
    }
    return count;
}

struct net_server *net_share_pick(struct net_server *server)
{
    struct net_server *least = server;

    for (unsigned i = 0; i < server->peer_count; i++) {
        if (net_server_connections(server->peers[i]) < net_server_connections(least)) {
            least = server->peers[i];
        }
    }
    return least;
}

static void on_handle_closed(uv_handle_t *uv)
{
    struct handle *h = uv->data;

    net_server_conn_gone(h->server);
    free(h);
}

static int accept_fd(struct handle *h, struct net_listener *listener, int *ret_fd)
{
    uv_os_fd_t fd;
    int rc = uv_accept(&listener->uv.stream, &h->uv.stream);

    rc = rc == 0 ? uv_fileno(&h->uv.handle, &fd) : rc;
    if (rc != 0) {
        return rc;
    }
    *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return *ret_fd >= 0 ? 0 : uv_translate_sys_error(errno);
}

static void post(struct net_inbox *inbox, struct arrival *a)
{
    uv_mutex_lock(&inbox->lock);
    CHECK(!inbox->shut);
    list_push(&inbox->arrivals, &a->link);
    CHECK(uv_async_send(&inbox->wake) == 0);
    uv_mutex_unlock(&inbox->lock);
}

void net_share_hand_over(struct net_listener *listener, struct net_server *to)
{
    struct net_server *server = listener->server;
    struct handle *h = mem_zalloc(sizeof *h);
    unsigned long skipped;
    int fd = -1;
    int rc;

    h->server = server;
    rc = listener->listen.addr.is_unix ? uv_pipe_init(server->hub.loop, &h->uv.pipe, 0)
                                       : uv_tcp_init(server->hub.loop, &h->uv.tcp);
    CHECK(rc == 0);
    h->uv.handle.data = h;
    server->shell_count++;
    rc = accept_fd(h, listener, &fd);
    if (rc == 0) {
        struct arrival *a = mem_alloc(sizeof *a);

        *a = (struct arrival){.fd = fd, .addr = listener->listen.addr};
        atomic_fetch_add(&to->conn_count, 1);
        post(&to->inbox, a);
    } else if (log_limit_pass(&server->refused_log, LOG_EVERY_MS, &skipped)) {
        log_warn("net", "accept failed", "address=%s error=\"%s\" skipped=%lu",
                 listener->listen.addr.text, err_text(rc), skipped);
    }
    uv_close(&h->uv.handle, on_handle_closed);
}

/* ---- the peer's loop ---- */

static void on_arrivals(uv_async_t *wake)
{
    struct net_server *server = wake->data;
    struct list arrivals;
    struct list *link;

    list_init(&arrivals);
    uv_mutex_lock(&server->inbox.lock);
    list_splice(&arrivals, &server->inbox.arrivals);
    uv_mutex_unlock(&server->inbox.lock);
    while ((link = list_pop(&arrivals)) != NULL) {
        struct arrival *a = container_of(link, struct arrival, link);

        if (server->closing) {
            atomic_fetch_sub(&server->conn_count, 1);
            close(a->fd);
        } else {
            net_conn_adopt(server, a->fd, &a->addr);
        }
        free(a);
    }
}

void net_inbox_init(struct net_server *server)
{
    struct net_inbox *inbox = &server->inbox;

    list_init(&inbox->arrivals);
    CHECK(uv_mutex_init(&inbox->lock) == 0);
    CHECK(uv_async_init(server->hub.loop, &inbox->wake, on_arrivals) == 0);
    inbox->wake.data = server;
}

static void on_inbox_closed(uv_handle_t *handle)
{
    struct net_server *server = handle->data;

    uv_mutex_destroy(&server->inbox.lock);
    server->inbox.closed(server);
}

void net_inbox_close(struct net_server *server, void (*closed)(struct net_server *server))
{
    struct net_inbox *inbox = &server->inbox;

    on_arrivals(&inbox->wake);
    uv_mutex_lock(&inbox->lock);
    inbox->shut = true;
    uv_mutex_unlock(&inbox->lock);
    inbox->closed = closed;
    uv_close((uv_handle_t *)&inbox->wake, on_inbox_closed);
}
