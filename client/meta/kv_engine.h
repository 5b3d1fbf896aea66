/* What an engine implements. Private to engines and kv.c.
 *
 * kv.c checks limits, copies arguments into a struct kv_op, counts and lists it. The engine
 * fills op->rc, err, items, has_more or failed_key and calls kv_op_finish() later, from
 * the loop; or kv_op_fail() at any time. */
#ifndef META_KV_ENGINE_H
#define META_KV_ENGINE_H

#include "base/list.h"
#include "meta/kv.h"

enum kv_op_kind { KV_OP_GET, KV_OP_RANGE, KV_OP_APPLY, KV_OP_PREPARE, KV_OP_SLEEP };

struct kv_op {
    enum kv_op_kind kind;
    struct kv *kv;
    struct slice *keys; /* GET; owned with their bytes */
    size_t key_count;
    struct kv_range range;    /* RANGE; owned bytes */
    const struct kv_txn *txn; /* APPLY; borrowed */
    uint64_t begun_ms;        /* on clock_mono_ms(), as is this one: */
    uint64_t deadline_ms;

    struct err err; /* results from here on */
    struct kv_item *items;
    size_t item_count, item_cap;
    void **blocks; /* owned memory that the items point into */
    size_t block_count;
    bool has_more;
    struct buf failed_key;
    int rc;

    struct list link; /* private to kv.c: open ops, or those to be answered soon */
    bool answering;
    kv_cb cb;
    void *ctx;
};

struct kv_engine_ops {
    void (*start)(struct kv *kv, struct kv_op *op);
    /* Cancel what is open: kv_op_finish or kv_op_fail with ERR_CANCELED, now or soon. */
    void (*cancel)(struct kv *kv);
    /* After cancel: free what the engine holds, then kv_engine_closed(). */
    void (*close)(struct kv *kv);
    size_t op_bytes; /* size of the engine's op, struct kv_op first */
};

/* First member of an engine's handle. */
struct kv {
    const struct kv_engine_ops *ops;
    uv_loop_t *loop;
    char *url;           /* owned */
    struct net_tls *tls; /* borrowed; NULL: no TLS */
    struct list open;
    struct list answers;  /* to be answered from the loop */
    struct list sleepers; /* … and those with a time (deadline_ms) */
    unsigned op_count;
    uv_timer_t answer_timer;
    bool answering;
    bool canceled; /* no new work; true as well when closing */
    bool closing;
    bool engine_closed;
    kv_close_cb close_cb;
    void *close_ctx;
};

void kv_engine_init(struct kv *kv, const struct kv_engine_ops *ops, uv_loop_t *loop,
                    const char *url);
/* The last thing an engine does: *kv is freed (as the allocation the handle begins) soon. */
void kv_engine_closed(struct kv *kv);

/* Append an item; `key` and `value` stay until the op is answered. */
void kv_op_add(struct kv_op *op, struct slice key, struct slice value, bool found);
/* … whose value cannot be read. */
void kv_op_add_damaged(struct kv_op *op, struct slice key);
/* Hand over memory that items point into. */
void kv_op_own(struct kv_op *op, void *block);
/* Answer now: from a callback of the loop only. Frees *op. */
void kv_op_finish(struct kv_op *op, int rc);
/* Answer soon, from the loop, with op->err (set by the caller, rc = err.code). */
void kv_op_fail(struct kv_op *op);

/* The asd:// and asd+tls:// engine. `url` was checked. */
int kv_asd_open(uv_loop_t *loop, const char *url, struct net_tls *tls, struct kv **ret_kv,
                struct err *e);

#endif
