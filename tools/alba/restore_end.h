/* The last transaction of restore-metadata: from then on there is a registry. One thread; calls
 * block. */
#ifndef ALBA_RESTORE_END_H
#define ALBA_RESTORE_END_H

#include "alba/backup.h"

/* Fills *txn: reg/version, which must hold `mark`, as the head says; and raised ids, as changes
 * that came after the backup have given out some. Fails with s->err. */
int restore_end(struct session *s, const struct backup_head *head, struct slice mark,
                struct kv_txn *txn);

#endif
