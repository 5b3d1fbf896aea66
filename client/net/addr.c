#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static void tcp_text(struct net_addr *addr, const char *ip, uint16_t port)
{
    bool v6 = addr->sockaddr.ss_family == AF_INET6;

    snprintf(addr->text, sizeof addr->text, v6 ? "tcp://[%s]:%u" : "tcp://%s:%u", ip, port);
}

int net_addr_tcp(struct net_addr *ret_addr, const char *host, uint16_t port, struct err *e)
{
    struct net_addr addr = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&addr.sockaddr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&addr.sockaddr;

    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
    } else {
        return err_say(e, -EINVAL, "'%.64s' is not an IP address, and names are not looked up",
                       host);
    }
    tcp_text(&addr, host, port);
    *ret_addr = addr;
    return 0;
}

void net_addr_set_tls(struct net_addr *addr)
{
    addr->is_tls = true;
    memcpy(addr->text, "tls", 3); /* in the place of "tcp" */
}

void net_addr_ip(const struct net_addr *addr, char ret_ip[NET_ADDR_IP_MAX])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr->sockaddr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr->sockaddr;
    bool is_v4 = addr->sockaddr.ss_family == AF_INET;

    inet_ntop(addr->sockaddr.ss_family, is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr,
              ret_ip, NET_ADDR_IP_MAX);
}

static int parse_port(const char *text, uint16_t *ret_port)
{
    unsigned port = 0;

    if (*text == '\0') {
        return -EINVAL;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return -EINVAL;
        }
        port = port * 10 + (unsigned)(*text - '0');
        if (port > UINT16_MAX) {
            return -EINVAL;
        }
    }
    *ret_port = (uint16_t)port;
    return 0;
}

/* `rest` is "host:port" or "[v6]:port". */
static int parse_tcp(struct net_addr *ret_addr, const char *rest, const char *uri, struct err *e)
{
    char host[INET6_ADDRSTRLEN + 1];
    const char *host_end;
    const char *colon;
    uint16_t port;

    if (*rest == '[') {
        rest++;
        host_end = strchr(rest, ']');
        colon = host_end != NULL ? host_end + 1 : NULL;
    } else {
        host_end = strchr(rest, ':');
        colon = host_end;
    }
    if (colon == NULL || *colon != ':' || host_end == rest ||
        (size_t)(host_end - rest) >= sizeof host || parse_port(colon + 1, &port) != 0) {
        return err_set(e, -EINVAL, "address '%.128s': want tcp://IP:PORT", uri);
    }
    memcpy(host, rest, (size_t)(host_end - rest));
    host[host_end - rest] = '\0';
    if (net_addr_tcp(ret_addr, host, port, e) != 0) {
        return err_wrap(e, "address '%.128s'", uri);
    }
    return 0;
}

static int parse_unix(struct net_addr *ret_addr, const char *path, const char *uri, struct err *e)
{
    struct net_addr addr = {.is_unix = true};

    if (*path != '/') {
        return err_set(e, -EINVAL, "address '%.128s': want unix:///ABSOLUTE/PATH", uri);
    }
    if (strlen(path) >= sizeof addr.path) {
        return err_say(e, -EINVAL, "socket path of %zu bytes (at most %zu): '%.60s…'", strlen(path),
                       sizeof addr.path - 1, path);
    }
    memcpy(addr.path, path, strlen(path) + 1);
    snprintf(addr.text, sizeof addr.text, "unix://%s", path);
    *ret_addr = addr;
    return 0;
}

int net_addr_unix_in(struct net_addr *ret_addr, const char *dir, const char *name, struct err *e)
{
    char path[sizeof ret_addr->path];
    int bytes = snprintf(path, sizeof path, "%s/%s.sock", dir, name);

    if (bytes < 0 || (size_t)bytes >= sizeof path || name[0] == '\0' || strchr(name, '/') != NULL) {
        return err_set(e, -EINVAL, "no unix socket '%.64s.sock' can be in '%.128s'", name, dir);
    }
    return parse_unix(ret_addr, path, path, e);
}

int net_addr_parse(struct net_addr *ret_addr, const char *uri, struct err *e)
{
    if (strncmp(uri, "tcp://", 6) == 0) {
        return parse_tcp(ret_addr, uri + 6, uri, e);
    }
    if (strncmp(uri, "tls://", 6) == 0) {
        int rc = parse_tcp(ret_addr, uri + 6, uri, e);

        if (rc == 0) {
            net_addr_set_tls(ret_addr);
        }
        return rc;
    }
    if (strncmp(uri, "unix://", 7) == 0) {
        return parse_unix(ret_addr, uri + 7, uri, e);
    }
    return err_set(e, -EINVAL,
                   "address '%.128s': want tcp://IP:PORT, tls://IP:PORT or unix:///PATH", uri);
}

int net_addr_of_sockaddr(struct net_addr *ret_addr, const struct sockaddr *sockaddr)
{
    struct net_addr addr = {0};
    char ip[INET6_ADDRSTRLEN];

    if (sockaddr->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)sockaddr;

        memcpy(&addr.sockaddr, v4, sizeof *v4);
        inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof ip);
        tcp_text(&addr, ip, ntohs(v4->sin_port));
    } else if (sockaddr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)sockaddr;

        memcpy(&addr.sockaddr, v6, sizeof *v6);
        inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof ip);
        tcp_text(&addr, ip, ntohs(v6->sin6_port));
    } else {
        return -EAFNOSUPPORT;
    }
    *ret_addr = addr;
    return 0;
}

bool net_addr_is_local(const struct net_addr *addr)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr->sockaddr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr->sockaddr;

    if (addr->is_unix) {
        return true;
    }
    if (addr->sockaddr.ss_family == AF_INET) {
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) && v6->sin6_addr.s6_addr[12] == 127);
}

uint16_t net_addr_port(const struct net_addr *addr)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&addr->sockaddr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr->sockaddr;

    if (addr->is_unix) {
        return 0;
    }
    return ntohs(addr->sockaddr.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
}
