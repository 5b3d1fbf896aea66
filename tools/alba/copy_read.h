/* Reading a copy of the registry from an OSD. One thread; calls block. */
#ifndef ALBA_COPY_READ_H
#define ALBA_COPY_READ_H

#include "alba/session.h"
#include "meta/copy_record.h"

enum { COPY_READ_TIMEOUT_MS = 10000 };

struct asd_client;

/* The head that lies there. ERR_NOT_FOUND: none; ERR_CORRUPT, ERR_VERSION: it cannot be read; any
 * other: the OSD does not answer, or is not the one that the client expects. */
int copy_read_head(struct session *s, struct asd_client *client, struct copy_head *ret_head,
                   struct err *e);
/* The snapshot of `head`, whole and checked. It is appended to an empty *ret_snapshot, also when
 * that fails. */
int copy_read_snapshot(struct session *s, struct asd_client *client, const struct copy_head *head,
                       struct buf *ret_snapshot, struct err *e);

#endif
