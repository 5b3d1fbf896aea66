/* Opens a listening socket, with an error that names the address. Any thread; blocks shortly. */
#ifndef NET_LISTEN_H
#define NET_LISTEN_H

#include <sys/stat.h>

#include "base/err.h"
#include "net/addr.h"

struct net_listen {
    int fd;
    struct net_addr addr; /* with the port the kernel picked, if it was 0 */
    dev_t dev;            /* unix: the socket file we made */
    ino_t ino;
};

/* "::" is every address, those of IPv4, too, unless it is `only_v6`; without IPv6 in the kernel it
 * becomes 0.0.0.0. A unix socket file that nobody listens on any more is replaced. */
int net_listen_open(struct net_listen *ret_listen, const struct net_addr *addr, struct err *e);
/* Remove the socket file, if it is still ours. Does not touch the descriptor. */
void net_listen_unlink(const struct net_listen *listen);

#endif
