#include "daemon/addrs.h"

#include <stdlib.h>

#include "base/mem.h"

static int room(const struct daemon_addrs *addrs, unsigned count, struct err *e)
{
    return count <= DAEMON_ADDRS_MAX - addrs->count
               ? 0
               : err_say(e, ERR_CONFIG, "at most %d addresses to listen on", DAEMON_ADDRS_MAX);
}

/* Where addresses of IPv4 are asked for by name, "::" does not take them, too. */
static void tell_families(struct net_addr *items, unsigned count)
{
    bool has_v4 = false;

    for (unsigned i = 0; i < count; i++) {
        has_v4 = has_v4 || items[i].sockaddr.ss_family == AF_INET;
    }
    for (unsigned i = 0; i < count; i++) {
        items[i].only_v6 = has_v4;
    }
}

int daemon_addrs_tcp(struct daemon_addrs *addrs, const struct config_strings *ips, int64_t port,
                     struct err *e)
{
    unsigned n = ips->count != 0 ? ips->count : 1;
    unsigned before = addrs->count;
    int rc;

    if (port == CONFIG_NONE) {
        return 0;
    }
    rc = room(addrs, n, e);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        const char *ip = ips->count != 0 ? ips->items[i] : "::"; /* with those of IPv4 */

        rc = net_addr_tcp(&addrs->items[addrs->count], ip, (uint16_t)port, e);
        addrs->count += rc == 0;
    }
    tell_families(&addrs->items[before], addrs->count - before);
    return rc;
}

int daemon_addrs_tls(struct daemon_addrs *addrs, const struct config_strings *ips, int64_t port,
                     struct err *e)
{
    unsigned before = addrs->count;
    int rc = daemon_addrs_tcp(addrs, ips, port, e);

    for (unsigned i = before; i < addrs->count; i++) {
        net_addr_set_tls(&addrs->items[i]);
    }
    return rc;
}

int daemon_addrs_check_plain(const struct config_strings *ips, int64_t port, bool allow_plain,
                             struct err *e)
{
    struct daemon_addrs addrs = {0};
    int rc = allow_plain ? 0 : daemon_addrs_tcp(&addrs, ips, port, e);

    for (unsigned i = 0; rc == 0 && i < addrs.count; i++) {
        if (!net_addr_is_local(&addrs.items[i])) {
            rc = err_say(e, ERR_CONFIG,
                         "%.100s would be open to other machines without TLS: give 'tls' and no "
                         "'port', or 'ips' of the loopback only, or say \"allow_plain\": true",
                         addrs.items[i].text);
        }
    }
    return rc;
}

int daemon_addrs_unix(struct daemon_addrs *addrs, const char *path, struct err *e)
{
    char *uri;
    int rc;

    if (path == NULL) {
        return 0;
    }
    uri = mem_printf("unix://%s", path);
    rc = room(addrs, 1, e);
    rc = rc != 0 ? rc : net_addr_parse(&addrs->items[addrs->count], uri, e);
    addrs->count += rc == 0;
    free(uri);
    return rc;
}
