#include "net/fd_pass.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <uv.h>

#include "base/buf.h"
#include "base/mem.h"

enum { TAKEN_FDS_MAX = 4 /* looked at, to close them; the kernel drops what is beyond */ };

int fd_pass_addr(struct net_addr *ret_addr, const char *proxy_socket, struct err *e)
{
    char *uri = mem_printf("unix://%s.fd", proxy_socket);
    int rc = net_addr_parse(ret_addr, uri, e);

    free(uri);
    return rc == 0 ? 0 : (e->code = ERR_TOO_LARGE);
}

/* ---- client ---- */

static int send_fd(int conn, int fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    uint8_t request[FD_PASS_REQUEST_BYTES] = {0};
    struct iovec iov = {.iov_base = request, .iov_len = sizeof(request)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

    put_u32le(request, FD_PASS_MAGIC);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &fd, sizeof(int));
    return sendmsg(conn, &msg, MSG_NOSIGNAL) == (ssize_t)sizeof(request) ? 0 : -errno;
}

static int receive_token(int conn, uint8_t ret_token[FD_PASS_TOKEN_BYTES], struct err *e)
{
    uint8_t reply[FD_PASS_REPLY_BYTES];
    ssize_t n = recv(conn, reply, sizeof(reply), MSG_WAITALL);

    if (n != (ssize_t)sizeof(reply)) {
        return err_set(e, n < 0 ? -errno : UV_EOF, "answer");
    }
    if (get_u32le(reply) != 0) {
        return err_set(e, ERR_BUSY, "refused with %u", get_u32le(reply));
    }
    memcpy(ret_token, reply + 4, FD_PASS_TOKEN_BYTES);
    return 0;
}

int fd_pass_give(const struct net_addr *side, int fd, unsigned timeout_ms,
                 uint8_t ret_token[FD_PASS_TOKEN_BYTES], int *ret_conn, struct err *e)
{
    struct timeval patience = {.tv_sec = timeout_ms / 1000,
                               .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int conn = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;

    memcpy(sa.sun_path, side->path, strlen(side->path) + 1);
    if (conn < 0 || setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(conn, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0 ||
        connect(conn, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
        rc = err_set(e, -errno, "connect");
    } else if (send_fd(conn, fd) != 0) {
        rc = err_set(e, -errno, "send");
    } else {
        rc = receive_token(conn, ret_token, e);
    }
    if (rc == 0) {
        *ret_conn = conn;
        return 0;
    }
    if (conn >= 0) {
        close(conn);
    }
    return err_wrap(e, "handing a file to %s", side->text);
}

/* ---- server ---- */

int fd_pass_check_peer(int conn)
{
    struct ucred peer;
    socklen_t bytes = sizeof(peer);

    if (getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) {
        return -errno;
    }
    return peer.uid == 0 || peer.uid == geteuid() ? 0 : -EACCES;
}

/* Closes all of them but the first. Returns how many there were. */
static size_t collect(struct msghdr *msg, int *ret_fd)
{
    size_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < here && c->cmsg_type == SCM_RIGHTS; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (count++ == 0) {
                *ret_fd = fd;
            } else {
                close(fd);
            }
        }
    }
    return count;
}

int fd_pass_take(int conn, int *ret_fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(TAKEN_FDS_MAX * sizeof(int))];
    } control;
    uint8_t request[FD_PASS_REQUEST_BYTES];
    struct iovec iov = {.iov_base = request, .iov_len = sizeof(request)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n = recvmsg(conn, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int fd = -1;
    size_t count;

    if (n < 0) {
        return errno == EINTR ? -EAGAIN : -errno;
    }
    count = collect(&msg, &fd);
    if (n == (ssize_t)sizeof(request) && count == 1 && (msg.msg_flags & MSG_CTRUNC) == 0 &&
        get_u32le(request) == FD_PASS_MAGIC && get_u32le(request + 4) == 0) {
        *ret_fd = fd;
        return 0;
    }
    if (count > 0) {
        close(fd);
    }
    return n == 0 ? UV_EOF : ERR_PROTOCOL;
}
