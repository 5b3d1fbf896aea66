/* The first contact: is there a proxy, and if not, why? */
#ifndef ALBACORE_GREET_H
#define ALBACORE_GREET_H

#include "albacore/job.h"

/* Each proxy is tried once, all at the same time; 0 as soon as one has answered. Otherwise *e names
 * each with its cause, as many as there is room for; the code is ALBACORE_UNREACHABLE when they
 * differ. */
int greet_run(struct albacore *client, const struct net_addr *proxies, unsigned count,
              struct albacore_error *e);

#endif
