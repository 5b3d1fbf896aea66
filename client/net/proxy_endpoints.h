/* Which proxy to try next: private to the proxy client.
 *
 * The one that last worked comes first, then the others in order; one that failed is set
 * aside for a while that doubles, which puts it last, never out. */
#ifndef NET_PROXY_ENDPOINTS_H
#define NET_PROXY_ENDPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/proxy_client.h"

struct proxy_endpoints {
    struct {
        struct net_addr addr;
        uint64_t set_aside_until_ms;
        unsigned back_off_ms;
    } items[PROXY_CLIENT_ENDPOINTS_MAX];
    unsigned count;
    unsigned preferred;
};

void proxy_endpoints_init(struct proxy_endpoints *e, const struct net_addr *addrs, unsigned count);
void proxy_endpoints_worked(struct proxy_endpoints *e, unsigned index);
void proxy_endpoints_failed(struct proxy_endpoints *e, unsigned index);
/* Among those whose bit is not in `tried`; -1 when all are. */
int proxy_endpoints_pick(const struct proxy_endpoints *e, uint32_t tried);
bool proxy_endpoints_all_tried(const struct proxy_endpoints *e, uint32_t tried);
const char *proxy_endpoints_text(const struct proxy_endpoints *e, unsigned index);

#endif
