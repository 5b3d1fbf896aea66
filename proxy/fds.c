/* Connections are polled, not read by libuv, whose streams drop what comes along with bytes. */
#include "proxy/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "net/fd_pass.h"
#include "net/listen.h"
#include "wire/proxy_msg.h"

enum { ACCEPT_AGAIN_MS = 1000 };

struct given {
    uint8_t token[FD_PASS_TOKEN_BYTES];
    int fd;
};

struct fds_conn {
    struct fds *fds;
    uv_poll_t poll;
    int fd;
    struct given given[FDS_OF_CONNECTION_MAX];
    unsigned given_count;
    struct list link;
};

struct fds {
    uv_loop_t *loop;
    struct net_listen listen;
    uv_poll_t poll;
    uv_timer_t timer; /* listens again, after no descriptor was left */
    struct list conns;
    unsigned conn_count;
    unsigned count;
    unsigned open; /* handles */
    bool closing;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

/* ---- ends ---- */

static void closed_one(struct fds *fds)
{
    if (--fds->open == 0) {
        fds->close_cb(fds->close_ctx);
        free(fds);
    }
}

static void on_conn_closed(uv_handle_t *handle)
{
    struct fds_conn *conn = container_of((uv_poll_t *)handle, struct fds_conn, poll);
    struct fds *fds = conn->fds;

    close(conn->fd);
    free(conn);
    closed_one(fds);
}

static void drop(struct fds_conn *conn)
{
    for (unsigned i = 0; i < conn->given_count; i++) {
        close(conn->given[i].fd);
    }
    conn->fds->count -= conn->given_count;
    conn->fds->conn_count--;
    conn->given_count = 0;
    list_remove(&conn->link);
    uv_close((uv_handle_t *)&conn->poll, on_conn_closed);
}

/* ---- requests ---- */

static int answer(const struct fds_conn *conn, uint32_t code, const uint8_t *token)
{
    uint8_t reply[FD_PASS_REPLY_BYTES] = {0};

    put_u32le(reply, code);
    if (token != NULL) {
        memcpy(reply + 4, token, FD_PASS_TOKEN_BYTES);
    }
    return send(conn->fd, reply, sizeof(reply), MSG_NOSIGNAL | MSG_DONTWAIT) ==
                   (ssize_t)sizeof(reply)
               ? 0
               : ERR_FAILED;
}

/* One end of a connection of ours, held here, would keep it open for ever. */
static bool is_socket(int fd)
{
    int type;
    socklen_t bytes = sizeof(type);

    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0;
}

static int take(struct fds_conn *conn)
{
    struct given *given = &conn->given[conn->given_count];
    int fd;
    int rc = fd_pass_take(conn->fd, &fd);

    if (rc != 0) {
        return rc == -EAGAIN ? 0 : rc;
    }
    if (is_socket(fd)) {
        close(fd);
        return ERR_PROTOCOL;
    }
    if (conn->given_count == FDS_OF_CONNECTION_MAX) {
        close(fd);
        return answer(conn, PROXY_RC_BUSY, NULL);
    }
    given->fd = fd;
    rnd_bytes(given->token, sizeof(given->token));
    conn->given_count++;
    conn->fds->count++;
    return answer(conn, PROXY_RC_OK, given->token);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct fds_conn *conn = container_of(poll, struct fds_conn, poll);

    (void)events;
    if (status != 0 || take(conn) != 0) {
        drop(conn);
    }
}

/* ---- connections ---- */

static void on_listen_again(uv_timer_t *timer);

static void welcome(struct fds *fds, int fd)
{
    struct fds_conn *conn;

    if (fd_pass_check_peer(fd) != 0 || fds->conn_count == FDS_CONNECTIONS_MAX) {
        close(fd);
        return;
    }
    conn = mem_zalloc(sizeof(*conn));
    conn->fds = fds;
    conn->fd = fd;
    if (uv_poll_init(fds->loop, &conn->poll, fd) != 0) {
        close(fd);
        free(conn);
        return;
    }
    fds->open++;
    fds->conn_count++;
    list_push(&fds->conns, &conn->link);
    CHECK(uv_poll_start(&conn->poll, UV_READABLE | UV_DISCONNECT, on_readable) == 0);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct fds *fds = container_of(poll, struct fds, poll);
    int fd = accept4(fds->listen.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)status;
    (void)events;
    if (fd >= 0) {
        welcome(fds, fd);
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        uv_poll_stop(&fds->poll); /* it would wake us at once, again and again */
        uv_timer_start(&fds->timer, on_listen_again, ACCEPT_AGAIN_MS, 0);
    }
}

static void on_listen_again(uv_timer_t *timer)
{
    struct fds *fds = container_of(timer, struct fds, timer);

    CHECK(uv_poll_start(&fds->poll, UV_READABLE, on_connection) == 0);
}

/* ---- for the proxy ---- */

int fds_dup(const struct fds *fds, struct slice token, int *ret_fd, struct err *e)
{
    LIST_FOR_EACH (it, &fds->conns) {
        const struct fds_conn *conn = container_of(it, struct fds_conn, link);

        for (unsigned i = 0; i < conn->given_count; i++) {
            if (slice_eq(slice_of(conn->given[i].token, FD_PASS_TOKEN_BYTES), token)) {
                *ret_fd = fcntl(conn->given[i].fd, F_DUPFD_CLOEXEC, 0);
                return *ret_fd >= 0 ? 0 : err_set(e, -errno, "a descriptor more");
            }
        }
    }
    return err_say(e, ERR_NOT_FOUND, "no file was handed to this proxy under that token");
}

unsigned fds_count(const struct fds *fds)
{
    return fds->count;
}

int fds_new(uv_loop_t *loop, const char *socket, struct fds **ret_fds, struct err *e)
{
    struct fds *fds = mem_zalloc(sizeof(*fds));
    struct net_addr addr;
    int rc = fd_pass_addr(&addr, socket, e);

    rc = rc != 0 ? rc : net_listen_open(&fds->listen, &addr, e);
    if (rc != 0) {
        free(fds);
        return rc;
    }
    fds->loop = loop;
    list_init(&fds->conns);
    CHECK(uv_timer_init(loop, &fds->timer) == 0);
    CHECK(uv_poll_init(loop, &fds->poll, fds->listen.fd) == 0);
    CHECK(uv_poll_start(&fds->poll, UV_READABLE, on_connection) == 0);
    fds->open = 2;
    *ret_fds = fds;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    closed_one(container_of((uv_timer_t *)handle, struct fds, timer));
}

static void on_listen_closed(uv_handle_t *handle)
{
    struct fds *fds = container_of((uv_poll_t *)handle, struct fds, poll);

    net_listen_unlink(&fds->listen);
    close(fds->listen.fd);
    closed_one(fds);
}

void fds_close(struct fds *fds, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!fds->closing);
    fds->closing = true;
    fds->close_cb = cb;
    fds->close_ctx = ctx;
    LIST_FOR_EACH_SAFE (it, &fds->conns) {
        drop(container_of(it, struct fds_conn, link));
    }
    uv_close((uv_handle_t *)&fds->timer, on_timer_closed);
    uv_close((uv_handle_t *)&fds->poll, on_listen_closed);
}
