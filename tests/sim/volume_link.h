/* What lies between a simulated node and a proxy: a route, a backend over it, and in front
 * of both a gate that falls when the node dies.
 *
 * A killed process hears nothing any more; its requests may still be on their way, so the
 * route of a dead node lives on for a while beside that of the next one. One loop. */
#ifndef TESTS_SIM_VOLUME_LINK_H
#define TESTS_SIM_VOLUME_LINK_H

#include "base/rnd.h"
#include "lib/vol_node.h"
#include "net/addr.h"

struct volume_link {
    const struct vol_link ops; /* for vol_node_init_on() */
    struct vol_node *node;
    const struct net_addr *addr;
    const char *namespace;
    struct rnd rnd;
    unsigned cut; /* thousandths of the transactions end in doubt: not sent, or on their way, or
                   * sent by volume_link_late() */

    struct list late;       /* gate_op.link */
    struct link_life *life; /* private from here on; of the node that runs now */
    unsigned lives;
};

struct volume_link *volume_link_new(struct vol_node *node, const struct net_addr *addr,
                                    const char *namespace, uint64_t seed);
/* Sends what is late, when a node runs: requests of its own and of those before it. */
void volume_link_late(struct volume_link *link);
/* Waits for the routes of the dead. */
void volume_link_free(struct volume_link *link);

#endif
