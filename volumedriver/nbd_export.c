#include "volumedriver/nbd_export.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

struct nbd_host nbd_host_of(const struct net_addr *peer)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&peer->sockaddr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&peer->sockaddr;
    struct nbd_host host = {.is_local = net_addr_is_local(peer)};

    snprintf(host.text, sizeof(host.text), "%s", peer->text);
    if (peer->is_unix) {
        return host;
    }
    if (peer->sockaddr.ss_family == AF_INET) {
        host.ip[10] = 0xff;
        host.ip[11] = 0xff;
        memcpy(host.ip + 12, &v4->sin_addr, 4);
    } else {
        memcpy(host.ip, &v6->sin6_addr, 16);
    }
    return host;
}

static bool same_host(const struct nbd_host *a, const struct nbd_host *b)
{
    return (a->is_local && b->is_local) ||
           (a->is_local == b->is_local && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0);
}

int nbd_export_check(const struct nbd_export *export, const struct nbd_host *host, struct err *e)
{
    if (export->dropped) {
        return err_say(e, -ESHUTDOWN, "export '%.128s' is going away", export->name);
    }
    if (export->read_only || export->shared || export->attached == 0 ||
        same_host(&export->host, host)) {
        return 0;
    }
    return err_say(e, -EBUSY, "export '%.128s' is in use by another host (%s)", export->name,
                   export->host.text);
}

int nbd_export_attach(struct nbd_export *export, const struct nbd_host *host, struct err *e)
{
    int rc = nbd_export_check(export, host, e);

    if (rc == 0 && export->attached++ == 0) {
        export->host = *host;
    }
    return rc;
}

void nbd_export_detach(struct nbd_export *export)
{
    CHECK(export->attached > 0);
    export->attached--;
}
