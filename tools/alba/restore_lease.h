/* The lease of the maintenance agents, held while metadata is restored: what an agent knows of
 * objects must not be acted upon when they come and go. One thread; calls block. */
#ifndef ALBA_RESTORE_LEASE_H
#define ALBA_RESTORE_LEASE_H

#include "alba/backup.h"
#include "meta/lease.h"

/* Waits for one that nobody renews; ERR_BUSY, in s->err: an agent works. *ret_lease in any case is
 * for restore_lease_end(). */
int restore_lease_take(struct session *s, struct lease **ret_lease);
void restore_lease_end(struct session *s, struct lease *lease); /* accepts NULL */

#endif
