/* Where the registry is, as GetClientConfig tells it: the engine's URL as the record of a foreign
 * metadata cluster (wire/arakoon_config.h), one node for each "host:port" in it. What else a URL
 * holds, a password among it, is not told. Any thread. */
#ifndef PROXY_CLIENT_CONFIG_H
#define PROXY_CLIENT_CONFIG_H

#include "wire/arakoon_config.h"

enum { CLIENT_CONFIG_NODES_MAX = 16 };

struct client_config {
    struct arakoon_config config; /* borrows from here on, and the alba id */
    struct arakoon_node nodes[CLIENT_CONFIG_NODES_MAX];
    struct slice hosts[CLIENT_CONFIG_NODES_MAX];
};

/* Borrows both texts; the struct must not be moved. What is no "host:port" is left out. */
void client_config_init(struct client_config *ret_config, const char *alba_id, const char *url);

#endif
