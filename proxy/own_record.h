/* What this proxy tells of itself in the registry (meta/proxy_record.h). One thread. */
#ifndef PROXY_OWN_RECORD_H
#define PROXY_OWN_RECORD_H

#include "daemon/addrs.h"
#include "meta/proxy_record.h"
#include "proxy/config.h"

/* `announce` is a list of URIs that can be parsed. */
int own_record_check(const struct proxy_config *config, struct err *e);
/* Its endpoints are `announce`, or else where it listens (`addrs`, their real `ports`): for all
 * interfaces the addresses of each of them, or the loopback when there is nothing else. */
void own_record_make(const struct proxy_config *config, const struct daemon_addrs *addrs,
                     const uint16_t *ports, struct proxy_record *ret_record);

#endif
