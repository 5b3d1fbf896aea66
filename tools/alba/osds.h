/* Registering OSDs, as add-osd and `alba up` do it. One thread. */
#ifndef ALBA_OSDS_H
#define ALBA_OSDS_H

#include <stdint.h>

struct session;

/* Asks the ASD at the address (with TLS, if the session has certificates) who it is and registers
 * it, or brings its address up to date. ERR_EXISTS when it is registered just so. *ret_long_id
 * (free() it) is set whenever the ASD answered. */
int osd_register(struct session *s, const char *host, uint16_t port, const char *node_id,
                 const char *datacenter, char **ret_long_id);

#endif
