/* How a foreign alba reaches its metadata cluster: part of GetClientConfig and of some OsdInfos.
 *
 * We have no such cluster; our proxies tell of their metadata engine in its place.
 * Strings borrowed, arrays owned when decoded. Any thread. */
#ifndef WIRE_ARAKOON_CONFIG_H
#define WIRE_ARAKOON_CONFIG_H

#include <stdint.h>

#include "base/buf.h"

struct arakoon_node {
    struct slice name;
    struct slice *ips;
    uint32_t ip_count;
    int32_t port;
};

struct arakoon_config {
    struct slice cluster_id;
    struct arakoon_node *nodes;
    uint32_t node_count;
};

/* Version 1. */
void arakoon_config_put(struct buf *b, const struct arakoon_config *config);
/* Versions 1 and 2 (of 2 the TLS and keepalive settings are skipped). Sets r->bad on
 * anything wrong; release in any case. */
void arakoon_config_get(struct rd *r, struct arakoon_config *ret_config);
void arakoon_config_release(struct arakoon_config *config);

#endif
