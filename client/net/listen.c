#include "net/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static socklen_t addr_sockaddr(const struct net_addr *addr, struct sockaddr_storage *ret_sa)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)ret_sa;

    if (!addr->is_unix) {
        *ret_sa = addr->sockaddr;
        return addr->sockaddr.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                   : sizeof(struct sockaddr_in6);
    }
    memset(ret_sa, 0, sizeof *ret_sa);
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, addr->path, sizeof sun->sun_path);
    return sizeof *sun;
}

/* The file of a socket stays behind when its process dies. */
static bool is_stale(const struct sockaddr_storage *sa, socklen_t bytes)
{
    struct stat st;
    bool stale;
    int fd;

    if (lstat(((const struct sockaddr_un *)sa)->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
        return false;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return false;
    }
    stale = connect(fd, (const struct sockaddr *)sa, bytes) != 0 && errno == ECONNREFUSED;
    close(fd);
    return stale;
}

static bool is_every(const struct net_addr *addr)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&addr->sockaddr;

    return !addr->is_unix && !addr->only_v6 && addr->sockaddr.ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr);
}

/* "::" is every address, those of IPv4, too: they are all that there is without
 * IPv6. */
static int open_socket(struct net_addr *addr)
{
    int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    int fd = socket(addr->is_unix ? AF_UNIX : addr->sockaddr.ss_family, type, 0);

    if (fd < 0 && errno == EAFNOSUPPORT && is_every(addr)) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(net_addr_port(addr))};
        bool is_tls = addr->is_tls;

        net_addr_of_sockaddr(addr, (const struct sockaddr *)&v4);
        if (is_tls) {
            net_addr_set_tls(addr);
        }
        fd = socket(AF_INET, type, 0);
    }
    return fd;
}

static int bind_socket(int fd, const struct net_addr *addr)
{
    struct sockaddr_storage sa;
    socklen_t bytes = addr_sockaddr(addr, &sa);
    int on = 1;

    if (!addr->is_unix) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (addr->sockaddr.ss_family == AF_INET6) {
            int only_v6 = !is_every(addr);

            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6);
        }
    }
    if (bind(fd, (struct sockaddr *)&sa, bytes) == 0) {
        return 0;
    }
    if (!addr->is_unix || errno != EADDRINUSE) {
        return -errno;
    }
    if (!is_stale(&sa, bytes)) {
        return -EADDRINUSE;
    }
    if (unlink(addr->path) != 0 || bind(fd, (struct sockaddr *)&sa, bytes) != 0) {
        return -errno;
    }
    return 0;
}

static int note_identity(struct net_listen *l)
{
    struct sockaddr_storage sa;
    socklen_t bytes = sizeof sa;
    bool is_tls = l->addr.is_tls;
    struct stat st;
    int rc;

    if (l->addr.is_unix) {
        if (lstat(l->addr.path, &st) != 0) {
            return -errno;
        }
        l->dev = st.st_dev;
        l->ino = st.st_ino;
        return 0;
    }
    if (getsockname(l->fd, (struct sockaddr *)&sa, &bytes) != 0) {
        return -errno;
    }
    rc = net_addr_of_sockaddr(&l->addr, (struct sockaddr *)&sa);
    if (rc == 0 && is_tls) {
        net_addr_set_tls(&l->addr);
    }
    return rc;
}

int net_listen_open(struct net_listen *ret_listen, const struct net_addr *addr, struct err *e)
{
    struct net_listen l = {.addr = *addr};
    int rc;

    l.fd = open_socket(&l.addr);
    if (l.fd < 0) {
        return err_set(e, -errno, "socket for %s", addr->text);
    }
    rc = bind_socket(l.fd, &l.addr);
    if (rc != 0) {
        err_set(e, rc, "listen on %s", addr->text);
        goto out;
    }
    if (listen(l.fd, BACKLOG) != 0) {
        rc = err_set(e, -errno, "listen on %s", addr->text);
        goto out;
    }
    rc = note_identity(&l);
    if (rc != 0) {
        err_set(e, rc, "look at the socket of %s", addr->text);
        goto out;
    }
    *ret_listen = l;

out:
    if (rc != 0) {
        close(l.fd);
    }
    return rc;
}

void net_listen_unlink(const struct net_listen *l)
{
    struct stat st;

    if (l->addr.is_unix && lstat(l->addr.path, &st) == 0 && st.st_dev == l->dev &&
        st.st_ino == l->ino) {
        unlink(l->addr.path);
    }
}
