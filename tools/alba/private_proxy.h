/* A proxy for one invocation of the CLI: the verbs that name no proxy do their work
 * through an alba-proxy of their own, started on a unix socket in a folder that only this
 * user may enter, and ended with the verb. What a verb that was killed has left of its folder the
 * next one removes. One thread. */
#ifndef ALBA_PRIVATE_PROXY_H
#define ALBA_PRIVATE_PROXY_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct net_tls; /* net/tls.h */

struct private_proxy {
    pid_t pid;
    char *dir;  /* owned */
    int dir_fd; /* of `dir`, unless that is NULL: locked, so that others let it be */
    char *uri;  /* owned: "unix://…" */
};

/* Starts it and waits until it listens. It uses the files of `tls`, if that is not NULL. Its file
 * commands may use any path this user may. */
int private_proxy_start(struct private_proxy *p, const char *config, const struct net_tls *tls,
                        struct err *e);
/* What it has read since it began, files and sockets: for a line on the terminal. 0: not known. */
uint64_t private_proxy_bytes_read(const struct private_proxy *p);
void private_proxy_stop(struct private_proxy *p); /* accepts {0} */

#endif
