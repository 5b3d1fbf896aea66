#include "proxy/own_record.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/clock.h"

int own_record_check(const struct proxy_config *config, struct err *e)
{
    struct net_addr addr;

    if (config->announce.count > PROXY_RECORD_ENDPOINTS_MAX) {
        return err_say(e, ERR_CONFIG, "'announce': at most %d addresses",
                       (int)PROXY_RECORD_ENDPOINTS_MAX);
    }
    for (unsigned i = 0; i < config->announce.count; i++) {
        if (net_addr_parse(&addr, config->announce.items[i], e) != 0) {
            return err_wrap(e, "'announce'");
        }
    }
    return 0;
}

/* 0.0.0.0 or ::, which nobody can connect to. */
static bool is_any(const struct net_addr *addr)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr->sockaddr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr->sockaddr;

    return addr->sockaddr.ss_family == AF_INET ? v4->sin_addr.s_addr == INADDR_ANY
                                               : IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

static bool is_link_local(const struct sockaddr *sockaddr)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sockaddr;

    return sockaddr->sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

/* `ip` in the place of the one of `like`. */
static bool add_tcp(struct proxy_record *record, const struct net_addr *like, const char *ip,
                    uint16_t port)
{
    struct net_addr addr;
    struct err ignored;

    if (net_addr_tcp(&addr, ip, port, &ignored) != 0) {
        return false;
    }
    if (like->is_tls) {
        net_addr_set_tls(&addr);
    }
    return proxy_record_add_endpoint(record, addr.text);
}

static void add_interfaces(struct proxy_record *record, const struct net_addr *any, uint16_t port)
{
    bool is_v4 = any->sockaddr.ss_family == AF_INET, found = false;
    uv_interface_address_t *list = NULL;
    char ip[NET_ADDR_IP_MAX];
    struct net_addr addr;
    int count = 0;

    if (uv_interface_addresses(&list, &count) != 0) {
        count = 0;
    }
    for (int i = 0; i < count; i++) {
        const struct sockaddr *sockaddr = (const struct sockaddr *)&list[i].address;
        bool fits = sockaddr->sa_family == AF_INET ? is_v4 || !any->only_v6 : !is_v4;

        if (!list[i].is_internal && fits && !is_link_local(sockaddr) &&
            net_addr_of_sockaddr(&addr, sockaddr) == 0) {
            net_addr_ip(&addr, ip);
            found = add_tcp(record, any, ip, port) || found;
        }
    }
    if (list != NULL) {
        uv_free_interface_addresses(list, count);
    }
    if (!found) {
        add_tcp(record, any, is_v4 ? "127.0.0.1" : "::1", port);
    }
}

static void add_listening(struct proxy_record *record, const struct net_addr *addr, uint16_t port)
{
    char ip[NET_ADDR_IP_MAX];

    if (addr->is_unix) {
        proxy_record_add_endpoint(record, addr->text);
    } else if (is_any(addr)) {
        add_interfaces(record, addr, port);
    } else {
        net_addr_ip(addr, ip);
        add_tcp(record, addr, ip, port);
    }
}

void own_record_make(const struct proxy_config *config, const struct daemon_addrs *addrs,
                     const uint16_t *ports, struct proxy_record *ret_record)
{
    struct proxy_record record = {.started_us = clock_wall_us()};
    char host[PROXY_RECORD_TEXT_BYTES] = "";

    gethostname(host, sizeof(host) - 1);
    snprintf(record.host, sizeof(record.host), "%s", host);
    snprintf(record.version, sizeof(record.version), "%s", ALBACORE_VERSION);
    proxy_record_this_machine(record.machine);
    for (unsigned i = 0; i < config->announce.count; i++) {
        proxy_record_add_endpoint(&record, config->announce.items[i]);
    }
    for (unsigned i = 0; config->announce.count == 0 && i < addrs->count; i++) {
        add_listening(&record, &addrs->items[i], ports[i]);
    }
    *ret_record = record;
}
