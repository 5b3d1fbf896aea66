/* Where a daemon listens, out of its configuration: the same meaning of `ips` and `port` for every
 * way in. Any thread. */
#ifndef DAEMON_ADDRS_H
#define DAEMON_ADDRS_H

#include "daemon/config.h"
#include "net/addr.h"

enum { DAEMON_ADDRS_MAX = 16 };

struct daemon_addrs {
    struct net_addr items[DAEMON_ADDRS_MAX];
    unsigned count; /* {0} is empty */
};

/* Adds `port` of each of `ips`, of every interface when there are none; nothing when `port` is
 * CONFIG_NONE. "::" has the addresses of IPv4 unless there is one in `ips`. ERR_CONFIG: more than
 * DAEMON_ADDRS_MAX; -EINVAL: no address. */
int daemon_addrs_tcp(struct daemon_addrs *addrs, const struct config_strings *ips, int64_t port,
                     struct err *e);
/* The same, for TLS. */
int daemon_addrs_tls(struct daemon_addrs *addrs, const struct config_strings *ips, int64_t port,
                     struct err *e);
/* For check(): a port without TLS that other machines reach has to be allowed. */
int daemon_addrs_check_plain(const struct config_strings *ips, int64_t port, bool allow_plain,
                             struct err *e);
/* Adds the unix socket at `path`; nothing when that is NULL. */
int daemon_addrs_unix(struct daemon_addrs *addrs, const char *path, struct err *e);

#endif
