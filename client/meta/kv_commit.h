/* Commit a transaction in spite of lost replies: the very same one is sent again until an
 * answer comes or the time is over. Behind the deadline nothing is sent, not even by a process that
 * was stopped meanwhile: UV_ETIMEDOUT, or ERR_IN_DOUBT when it had been sent.
 *
 * The caller then judges: ERR_ASSERT_FAILED with `doubted` may mean that an earlier sending
 * succeeded; a trace of something unique in the transaction tells. */
#ifndef META_KV_COMMIT_H
#define META_KV_COMMIT_H

#include <stdbool.h>

#include "meta/kv.h"

struct kv_commit_result {
    const struct err *err;
    struct slice failed_key; /* ERR_ASSERT_FAILED */
    bool doubted;            /* a sending was in doubt: it may have been executed, or may be yet */
    unsigned sent;           /* how often */
};

/* Codes as kv_apply(); ERR_IN_DOUBT and ERR_CANCELED are final. */
typedef void (*kv_commit_cb)(void *ctx, int rc, const struct kv_commit_result *result);

/* `txn` is borrowed until the callback. `deadline_ms` on clock_mono_ms(). */
void kv_commit(struct kv *kv, const struct kv_txn *txn, uint64_t deadline_ms, kv_commit_cb cb,
               void *ctx);
/* is_wanted(ctx) is asked before each sending; false: UV_ECANCELED, or ERR_IN_DOUBT as above. */
void kv_commit_while(struct kv *kv, const struct kv_txn *txn, uint64_t deadline_ms,
                     bool (*is_wanted)(void *ctx), kv_commit_cb cb, void *ctx);

/* Milliseconds until `deadline_ms`, at least 1: to pass as a timeout. */
unsigned kv_left_ms(uint64_t deadline_ms);

#endif
