/* Where a peer listens: "tcp://1.2.3.4:8000", "tcp://[::1]:8000", "unix:///run/x.sock", and
 * "tls://1.2.3.4:8000", a TCP port where TLS is spoken.
 *
 * Names other than "localhost" are not resolved on a loop: hosts are IP literals.
 * Any thread. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum { NET_ADDR_TEXT_MAX = 160, NET_ADDR_IP_MAX = 46 };

struct net_addr {
    bool is_unix;
    bool is_tls;
    bool only_v6;                     /* "::" to listen on: without the addresses of IPv4 */
    struct sockaddr_storage sockaddr; /* tcp, tls */
    char path[108];                   /* unix */
    char text[NET_ADDR_TEXT_MAX];     /* as it is printed in messages */
};

/* -EINVAL with the offending text in *e. */
int net_addr_parse(struct net_addr *ret_addr, const char *uri, struct err *e);
/* `host` is an IP literal or "localhost". */
int net_addr_tcp(struct net_addr *ret_addr, const char *host, uint16_t port, struct err *e);
/* The unix socket `name`.sock in `dir`, which is absolute. -EINVAL: too long for one, or `name` is
 * not a name of a file. */
int net_addr_unix_in(struct net_addr *ret_addr, const char *dir, const char *name, struct err *e);
/* What net_addr_tcp() gave becomes a port where TLS is spoken. */
void net_addr_set_tls(struct net_addr *addr);
/* As the kernel gave it; -EAFNOSUPPORT unless IPv4 or IPv6. */
int net_addr_of_sockaddr(struct net_addr *ret_addr, const struct sockaddr *sockaddr);
/* The host as an IP literal. */
void net_addr_ip(const struct net_addr *addr, char ret_ip[NET_ADDR_IP_MAX]);
uint16_t net_addr_port(const struct net_addr *addr); /* 0 for unix */
/* True for unix sockets and 127.0.0.0/8, ::1. */
bool net_addr_is_local(const struct net_addr *addr);

#endif
