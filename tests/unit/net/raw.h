/* Plain sockets that play the other side, byte by byte, while the loop under test runs in the
 * same thread: every wait turns the loop. For tests only. */
#ifndef TESTS_NET_RAW_H
#define TESTS_NET_RAW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/addr.h"
#include "unit/net/turn.h"

static inline struct sockaddr_in raw_loopback(uint16_t port)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port)};

    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sa;
}

static inline struct net_addr raw_addr(uint16_t port)
{
    struct net_addr addr;
    struct err e;

    assert_int_equal(net_addr_tcp(&addr, "127.0.0.1", port, &e), 0);
    return addr;
}

static inline int raw_connect(uint16_t port)
{
    struct sockaddr_in sa = raw_loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static inline int raw_listen(uint16_t *ret_port)
{
    struct sockaddr_in sa = raw_loopback(0);
    socklen_t bytes = sizeof sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &bytes), 0);
    *ret_port = ntohs(sa.sin_port);
    return fd;
}

static inline int raw_accept(uv_loop_t *loop, int listener)
{
    int fd = -1;

    RAW_UNTIL(loop, (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0);
    return fd;
}

/* The peer must take it all. */
static inline void raw_send(uv_loop_t *loop, int fd, const void *data, size_t bytes)
{
    const uint8_t *p = data;

    while (bytes != 0) {
        ssize_t n = -1;

        RAW_UNTIL(loop, (n = send(fd, p, bytes, MSG_DONTWAIT | MSG_NOSIGNAL)) >= 0);
        p += n;
        bytes -= (size_t)n;
    }
}

/* Returns how many bytes came before the end of file or `bytes` were there. */
static inline size_t raw_recv(uv_loop_t *loop, int fd, void *ret_data, size_t bytes)
{
    uint8_t *p = ret_data;
    size_t have = 0;

    while (have < bytes) {
        ssize_t n = -1;

        RAW_UNTIL(loop,
                  (n = recv(fd, p + have, bytes - have, MSG_DONTWAIT)) >= 0 || errno == ECONNRESET);
        if (n <= 0) {
            break;
        }
        have += (size_t)n;
    }
    return have;
}

/* Nothing comes within `ms`, and the peer does not close either. */
static inline bool raw_is_quiet(uv_loop_t *loop, int fd, unsigned ms)
{
    uint64_t end_ms = clock_mono_ms() + ms;
    char byte;

    while (clock_mono_ms() < end_ms) {
        if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno != EAGAIN) {
            return false;
        }
        raw_turn(loop);
    }
    return true;
}

static inline bool raw_is_closed_by_peer(uv_loop_t *loop, int fd)
{
    char byte;

    return raw_recv(loop, fd, &byte, 1) == 0;
}

static inline unsigned raw_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

#endif
