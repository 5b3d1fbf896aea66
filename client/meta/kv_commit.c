#include "meta/kv_commit.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

enum { RESEND_FIRST_MS = 2, RESEND_LAST_MS = 128 };

struct commit_op {
    struct kv *kv;
    const struct kv_txn *txn;
    uint64_t deadline_ms;
    unsigned delay_ms; /* before the next sending */
    struct kv_commit_result result;
    struct err doubt; /* of the last sending that was in doubt */
    bool (*is_wanted)(void *ctx);
    kv_commit_cb cb;
    void *ctx;
};

unsigned kv_left_ms(uint64_t deadline_ms)
{
    uint64_t now = clock_mono_ms();

    return now < deadline_ms ? (unsigned)(deadline_ms - now) : 1;
}

static void send_txn(struct commit_op *op);

static void on_given_up(void *ctx, int rc, const struct kv_reply *reply)
{
    struct commit_op *op = ctx;

    op->result.err = reply->err;
    op->cb(op->ctx, rc, &op->result);
    free(op);
}

static void on_slept(void *ctx, int rc, const struct kv_reply *reply)
{
    if (rc == 0) {
        send_txn(ctx);
    } else {
        on_given_up(ctx, rc, reply);
    }
}

static void on_applied(void *ctx, int rc, const struct kv_reply *reply)
{
    struct commit_op *op = ctx;

    if (rc == ERR_IN_DOUBT) {
        unsigned delay_ms = op->delay_ms;

        op->result.doubted = true;
        err_copy(&op->doubt, reply->err);
        op->delay_ms = delay_ms < RESEND_LAST_MS ? 2 * delay_ms : RESEND_LAST_MS;
        if (clock_mono_ms() + delay_ms < op->deadline_ms) {
            kv_sleep(op->kv, delay_ms, on_slept, op);
            return;
        }
    }
    op->result.err = reply->err;
    op->result.failed_key = reply->failed_key;
    op->cb(op->ctx, rc, &op->result);
    free(op);
}

/* Why it must not be sent (any more): 0, or a code. */
static int too_late(const struct commit_op *op, struct err *e)
{
    if (clock_mono_ms() >= op->deadline_ms) {
        return err_set(e, UV_ETIMEDOUT, "commit");
    }
    if (op->is_wanted != NULL && !op->is_wanted(op->ctx)) {
        return err_say(e, UV_ECANCELED, "nobody waits for the commit any more");
    }
    return 0;
}

static void send_txn(struct commit_op *op)
{
    struct err e;

    if (too_late(op, &e) != 0) {
        kv_fail(op->kv, op->result.doubted ? &op->doubt : &e, on_given_up, op);
        return;
    }
    op->result.sent++;
    kv_apply(op->kv, op->txn, kv_left_ms(op->deadline_ms), on_applied, op);
}

void kv_commit_while(struct kv *kv, const struct kv_txn *txn, uint64_t deadline_ms,
                     bool (*is_wanted)(void *ctx), kv_commit_cb cb, void *ctx)
{
    struct commit_op *op = mem_zalloc(sizeof(*op));

    op->kv = kv;
    op->txn = txn;
    op->deadline_ms = deadline_ms;
    op->delay_ms = RESEND_FIRST_MS;
    op->is_wanted = is_wanted;
    op->cb = cb;
    op->ctx = ctx;
    send_txn(op);
}

void kv_commit(struct kv *kv, const struct kv_txn *txn, uint64_t deadline_ms, kv_commit_cb cb,
               void *ctx)
{
    kv_commit_while(kv, txn, deadline_ms, NULL, cb, ctx);
}
