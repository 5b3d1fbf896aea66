/* Files that clients on this machine handed over, by token: the server of the side socket
 * (net/fd_pass.h).
 *
 * A file lives as long as the connection that it came on. Loop thread only; nothing here looks at
 * a file, which could block (proxy/source.h does, in the pool). */
#ifndef PROXY_FDS_H
#define PROXY_FDS_H

#include <uv.h>

#include "base/err.h"
#include "base/slice.h"

enum { FDS_CONNECTIONS_MAX = 64, FDS_OF_CONNECTION_MAX = 16 };

struct fds;

/* `socket`: the path of the proxy's own. Fails with an error that names the side socket. */
int fds_new(uv_loop_t *loop, const char *socket, struct fds **ret_fds, struct err *e);
/* A descriptor of the caller's for the file of this token; ERR_NOT_FOUND. */
int fds_dup(const struct fds *fds, struct slice token, int *ret_fd, struct err *e);
unsigned fds_count(const struct fds *fds); /* files held now */
void fds_close(struct fds *fds, void (*cb)(void *ctx), void *ctx);

#endif
