/* Handing an open file to a proxy on this machine: both ends of the side socket of a proxy's unix
 * socket (PROTOCOL.md, "Files that are handed over"). */
#ifndef NET_FD_PASS_H
#define NET_FD_PASS_H

#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"

enum {
    FD_PASS_MAGIC = 0x31644661,
    FD_PASS_REQUEST_BYTES = 8,
    FD_PASS_TOKEN_BYTES = 16,
    FD_PASS_REPLY_BYTES = 4 + FD_PASS_TOKEN_BYTES
};

/* The side socket of a proxy's; ERR_TOO_LARGE: its path is too long to have one. */
int fd_pass_addr(struct net_addr *ret_addr, const char *proxy_socket, struct err *e);

/* ---- client; blocks for timeout_ms at most, any thread ---- */

/* The token, and the connection that it lives as long as: close() it. */
int fd_pass_give(const struct net_addr *side, int fd, unsigned timeout_ms,
                 uint8_t ret_token[FD_PASS_TOKEN_BYTES], int *ret_conn, struct err *e);

/* ---- server ---- */

/* One request of a non-blocking connection: 0 and *ret_fd is the caller's. -EAGAIN: none yet.
 * UV_EOF, ERR_PROTOCOL or another error: close the connection. */
int fd_pass_take(int conn, int *ret_fd);
/* Is it the same user, or root? */
int fd_pass_check_peer(int conn);

#endif
