/* Who writes to an engine under restore: a key that holds the mark of the one that may, which every
 * transaction asserts. So what an earlier one sends late, or sends when it wakes, fails
 * (BACKUP.md, "Restore"). One thread; calls block; they fail with s->err. */
#ifndef ALBA_RESTORE_FENCE_H
#define ALBA_RESTORE_FENCE_H

#include "alba/backup.h"
#include "meta/value.h"

struct restore_fence {
    struct kv *kv; /* borrowed */
    struct key key;
    struct buf mark;    /* what the key holds; empty: nothing */
    bool is_unreadable; /* … nobody knows: it cannot be asserted */
};

/* What the key holds now: the first swap asserts that it still does. `kv` and `key` are set. */
int restore_fence_look(struct session *s, struct restore_fence *fence);
/* Does it still hold our mark? ERR_BUSY. */
int restore_fence_check(struct session *s, const struct restore_fence *fence);
/* The key := {<what>: now, id: fresh} and all of `more` (borrowed), together with *txn (NULL:
 * nothing), which is released. */
int restore_fence_swap(struct session *s, struct restore_fence *fence, const char *what,
                       const json_t *more, struct kv_txn *txn);
/* The same with a value of the caller's. */
int restore_fence_put(struct session *s, struct restore_fence *fence, const json_t *value,
                      struct kv_txn *txn);
/* *txn and the assert; releases it. */
int restore_fence_commit(struct session *s, const struct restore_fence *fence, struct kv_txn *txn);
/* Deletes low <= key < high, but leases and the key of the fence. */
int restore_fence_empty(struct session *s, const struct restore_fence *fence, struct key low,
                        struct slice high);
void restore_fence_release(struct restore_fence *fence); /* accepts {0} */

#endif
