#include "meta/kv.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "meta/bytes.h"
#include "meta/kv_engine.h"

/* ---- one operation ---- */

static void op_free(struct kv_op *op)
{
    for (size_t i = 0; i < op->key_count; i++) {
        slice_release(&op->keys[i]);
    }
    for (size_t i = 0; i < op->block_count; i++) {
        free(op->blocks[i]);
    }
    free(op->keys);
    slice_release(&op->range.low);
    slice_release(&op->range.high);
    free(op->blocks);
    free(op->items);
    buf_release(&op->failed_key);
    free(op);
}

void kv_op_add(struct kv_op *op, struct slice key, struct slice value, bool found)
{
    if (op->item_count == op->item_cap) {
        op->item_cap = op->item_cap != 0 ? 2 * op->item_cap : 16;
        op->items = mem_realloc(op->items, op->item_cap * sizeof(*op->items));
    }
    op->items[op->item_count++] = (struct kv_item){.key = key, .value = value, .found = found};
}

void kv_op_add_damaged(struct kv_op *op, struct slice key)
{
    kv_op_add(op, key, slice_of(NULL, 0), true);
    op->items[op->item_count - 1].is_damaged = true;
}

void kv_op_own(struct kv_op *op, void *block)
{
    op->blocks = mem_realloc(op->blocks, (op->block_count + 1) * sizeof(*op->blocks));
    op->blocks[op->block_count++] = block;
}

static void close_when_idle(struct kv *kv);

void kv_op_finish(struct kv_op *op, int rc)
{
    struct kv *kv = op->kv;
    struct kv_reply reply = {
        .err = &op->err,
        .items = rc == 0 ? op->items : NULL,
        .count = rc == 0 ? op->item_count : 0,
        .has_more = op->has_more,
        .failed_key = slice_buf(&op->failed_key),
    };

    list_remove(&op->link);
    op->cb(op->ctx, rc, &reply);
    op_free(op);
    kv->op_count--;
    close_when_idle(kv);
}

static void answer(uv_timer_t *timer);

static void wake_in(struct kv *kv, uint64_t delay_ms)
{
    if (!uv_is_active((uv_handle_t *)&kv->answer_timer) ||
        uv_timer_get_due_in(&kv->answer_timer) > delay_ms) {
        uv_timer_start(&kv->answer_timer, answer, delay_ms, 0);
    }
}

static void answer(uv_timer_t *timer)
{
    struct kv *kv = container_of(timer, struct kv, answer_timer);
    uint64_t now = clock_mono_ms();
    uint64_t next = UINT64_MAX;
    struct list batch;
    struct list *link;

    list_init(&batch);
    list_splice(&batch, &kv->answers); /* what callbacks add waits for the next turn */
    LIST_FOR_EACH_SAFE (it, &kv->sleepers) {
        struct kv_op *op = container_of(it, struct kv_op, link);

        if (op->deadline_ms <= now) {
            list_remove(it);
            list_push(&batch, it);
        } else if (op->deadline_ms < next) {
            next = op->deadline_ms;
        }
    }
    if (next != UINT64_MAX) {
        wake_in(kv, next - now);
    }
    kv->answering = true; /* a callback may close the engine */
    while ((link = list_pop(&batch)) != NULL) {
        struct kv_op *op = container_of(link, struct kv_op, link);

        kv_op_finish(op, op->err.code);
    }
    kv->answering = false;
    close_when_idle(kv);
}

/* With op->err.code as rc. */
static void answer_soon(struct kv_op *op)
{
    CHECK(!op->answering);
    op->answering = true;
    list_remove(&op->link);
    list_push(&op->kv->answers, &op->link);
    wake_in(op->kv, 0);
}

void kv_op_fail(struct kv_op *op)
{
    CHECK(op->err.code != 0);
    answer_soon(op);
}

static struct kv_op *op_new(struct kv *kv, enum kv_op_kind kind, unsigned timeout_ms, kv_cb cb,
                            void *ctx)
{
    struct kv_op *op = mem_zalloc(kv->ops->op_bytes);

    op->kind = kind;
    op->kv = kv;
    op->begun_ms = clock_mono_ms();
    op->deadline_ms = op->begun_ms + (timeout_ms != 0 ? timeout_ms : KV_TIMEOUT_DEFAULT_MS);
    op->cb = cb;
    op->ctx = ctx;
    list_init(&op->link);
    list_push(&kv->open, &op->link);
    kv->op_count++;
    if (kv->canceled) { /* the next step of something that is being canceled */
        err_set(&op->err, ERR_CANCELED, "%s", kv->url);
    }
    return op;
}

/* Hand it to the engine, unless something (rc in op->err) speaks against it. */
static void op_start(struct kv_op *op)
{
    struct kv *kv = op->kv;

    if (op->err.code == 0 && kv->op_count > KV_OPS_MAX) {
        err_set(&op->err, ERR_BUSY, "%s: %d requests", kv->url, KV_OPS_MAX);
    }
    if (op->err.code != 0) {
        kv_op_fail(op);
    } else {
        kv->ops->start(kv, op);
    }
}

void kv_get(struct kv *kv, const struct slice *keys, size_t count, unsigned timeout_ms, kv_cb cb,
            void *ctx)
{
    struct kv_op *op = op_new(kv, KV_OP_GET, timeout_ms, cb, ctx);

    CHECK(count <= KV_GET_KEYS_MAX);
    op->keys = mem_array(count != 0 ? count : 1, sizeof(*op->keys));
    op->key_count = count;
    for (size_t i = 0; i < count; i++) {
        op->keys[i] = slice_dup(keys[i]);
        if (keys[i].len == 0 || keys[i].len > KV_KEY_BYTES_MAX) {
            err_set(&op->err, -EINVAL, "key of %zu bytes", keys[i].len);
        }
    }
    op_start(op);
}

void kv_range(struct kv *kv, const struct kv_range *range, unsigned timeout_ms, kv_cb cb, void *ctx)
{
    struct kv_op *op = op_new(kv, KV_OP_RANGE, timeout_ms, cb, ctx);

    CHECK(range->limit > 0);
    op->range = *range;
    op->range.low = slice_dup(range->low);
    op->range.high = slice_dup(range->high);
    if (slice_cmp(range->low, range->high) < 0) {
        op_start(op);
    } else { /* nothing can lie between: no engine needs to know such ranges */
        answer_soon(op);
    }
}

void kv_apply(struct kv *kv, const struct kv_txn *txn, unsigned timeout_ms, kv_cb cb, void *ctx)
{
    struct kv_op *op = op_new(kv, KV_OP_APPLY, timeout_ms, cb, ctx);

    op->txn = txn;
    if (op->err.code == 0) {
        kv_txn_check(txn, &op->err);
    }
    op_start(op);
}

void kv_prepare(struct kv *kv, kv_cb cb, void *ctx)
{
    op_start(op_new(kv, KV_OP_PREPARE, 0, cb, ctx));
}

void kv_sleep(struct kv *kv, unsigned delay_ms, kv_cb cb, void *ctx)
{
    struct kv_op *op = op_new(kv, KV_OP_SLEEP, 0, cb, ctx);

    op->deadline_ms = clock_mono_ms() + delay_ms;
    if (op->err.code != 0) {
        kv_op_fail(op);
        return;
    }
    list_remove(&op->link);
    list_push(&kv->sleepers, &op->link);
    wake_in(kv, delay_ms);
}

void kv_fail(struct kv *kv, const struct err *e, kv_cb cb, void *ctx)
{
    struct kv_op *op = op_new(kv, KV_OP_SLEEP, 0, cb, ctx);

    err_copy(&op->err, e);
    kv_op_fail(op);
}

/* ---- life ---- */

void kv_engine_init(struct kv *kv, const struct kv_engine_ops *ops, uv_loop_t *loop,
                    const char *url)
{
    *kv = (struct kv){.ops = ops, .loop = loop, .url = mem_strdup(url)};
    list_init(&kv->open);
    list_init(&kv->answers);
    list_init(&kv->sleepers);
    CHECK(uv_timer_init(loop, &kv->answer_timer) == 0);
}

const char *kv_url(const struct kv *kv)
{
    return kv->url;
}

struct net_tls *kv_tls(const struct kv *kv)
{
    return kv->tls;
}

uv_loop_t *kv_loop(const struct kv *kv)
{
    return kv->loop;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct kv *kv = container_of(handle, struct kv, answer_timer);
    kv_close_cb cb = kv->close_cb;
    void *ctx = kv->close_ctx;

    free(kv->url);
    free(kv);
    if (cb != NULL) {
        cb(ctx);
    }
}

static void close_when_idle(struct kv *kv)
{
    if (kv->engine_closed && kv->op_count == 0 && !kv->answering &&
        !uv_is_closing((uv_handle_t *)&kv->answer_timer)) {
        uv_close((uv_handle_t *)&kv->answer_timer, on_timer_closed);
    }
}

void kv_engine_closed(struct kv *kv)
{
    kv->engine_closed = true;
    close_when_idle(kv);
}

void kv_cancel(struct kv *kv)
{
    struct list *link;

    kv->canceled = true;
    while ((link = list_pop(&kv->sleepers)) != NULL) {
        struct kv_op *op = container_of(link, struct kv_op, link);

        err_set(&op->err, ERR_CANCELED, "%s", kv->url);
        kv_op_fail(op);
    }
    kv->ops->cancel(kv);
}

void kv_cancel_silent(struct kv *kv, unsigned ms)
{
    uint64_t now = clock_mono_ms();

    LIST_FOR_EACH (it, &kv->open) {
        if (now - container_of(it, struct kv_op, link)->begun_ms >= ms) {
            kv_cancel(kv);
            return;
        }
    }
}

void kv_close(struct kv *kv, kv_close_cb cb, void *ctx)
{
    CHECK(!kv->closing);
    kv->closing = true;
    kv->close_cb = cb;
    kv->close_ctx = ctx;
    kv_cancel(kv);
    kv->ops->close(kv);
}
