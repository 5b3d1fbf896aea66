/* Ids across a restore, and its last transaction: from then on there is a registry. One thread;
 * calls block; they fail with s->err. */
#ifndef ALBA_RESTORE_END_H
#define ALBA_RESTORE_END_H

#include "alba/restore_fence.h"

/* What the target's registry (and a restore before this one, whose mark the fence has seen) has
 * given out: {osd, namespace, work, unsure_from}, as far as it can be read; the caller's. The fence
 * asserts that no change was made since it looked. */
int restore_ids_read(struct session *s, const struct restore_fence *fence, json_t **ret_ids);

/* reg/version goes on one above the head's, with a commit of its own; ids above both what was
 * restored and `ids`, as changes that came after the backup have given out some. */
int restore_end(struct session *s, const struct backup_head *head, struct restore_fence *fence,
                const json_t *ids);

#endif
