/* Metadata engine: get, range, and one atomic transaction of asserts and updates.
 *
 * A struct kv belongs to one loop and is used on its thread only. Every call is
 * answered exactly once, later, from the loop, never from inside the call. Keys and
 * values given to kv_get() and kv_range() are copied; a transaction is borrowed until
 * its callback. What a callback is given is valid while it runs. A read that meets a
 * broken connection is tried again until its deadline.
 *
 * Errors of reads: UV_ETIMEDOUT, ERR_CORRUPT, ERR_BUSY (more than KV_OPS_MAX), ERR_CANCELED, what
 * connecting returned. Outcomes of kv_apply():
 *   0                  durable
 *   ERR_ASSERT_FAILED  not executed; reply->failed_key names the key
 *   ERR_TOO_LARGE      over a limit; nothing was sent
 *   ERR_IN_DOUBT       it may have been executed, or may still be
 *   ERR_CANCELED       canceled or closed; outcome unknown if it had been sent
 *   any other          not executed, and it never will be */
#ifndef META_KV_H
#define META_KV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    KV_KEY_BYTES_MAX = 2048,
    KV_UPDATES_MAX = 120, /* of one transaction */
    KV_ASSERTS_MAX = 120,
    KV_TXN_BYTES_MAX = 1048576, /* keys and values, asserts included */
    KV_GET_KEYS_MAX = 4096,
    KV_RANGE_BYTES_MAX = 16 * 1048576, /* a range stops early behind it, has_more set */
    KV_OPS_MAX = 8192,
    KV_TIMEOUT_DEFAULT_MS = 10000,
    KV_URL_BYTES_MAX = 1024
};

struct kv;
struct net_tls; /* net/tls.h */

struct kv_item {
    struct slice key;
    struct slice value; /* empty when keys_only, or damaged */
    bool found;         /* always, in a range */
    bool is_damaged;    /* found, but the store cannot read its value: an error of this key only */
};

struct kv_reply {
    const struct err *err;       /* why, when rc != 0 */
    const struct kv_item *items; /* get: one per key, in order of the call; range: in its order */
    size_t count;
    bool has_more;           /* range: the limit was reached before the end */
    struct slice failed_key; /* apply, ERR_ASSERT_FAILED */
};

typedef void (*kv_cb)(void *ctx, int rc, const struct kv_reply *reply);
typedef void (*kv_close_cb)(void *ctx);

/* ---- opening ---- */

/* `where` is an engine URL (asd://host:port, asd://host:port/long-id, asd+tls:// for TLS), or
 * file://path or the path of a file that holds one. Writes the URL (KV_URL_BYTES_MAX). ERR_CONFIG
 * names what is wrong; a URL of an engine that does not exist (arakoon://) or is not in this build
 * is refused by name. Reads a file: not on a busy loop. */
int kv_url_load(const char *where, char ret_url[KV_URL_BYTES_MAX], struct err *e);
/* The same check for text that must be a URL. */
int kv_url_check(const char *url, struct err *e);
/* kv_url_load() and an engine on it; connects with the first call. `tls` (borrowed until it is
 * closed, or NULL): for where TLS is spoken. */
int kv_open(uv_loop_t *loop, const char *where, struct net_tls *tls, struct kv **ret_kv,
            struct err *e);

/* Take the store for metadata, so that it is never claimed as storage. Once for each store,
 * again is harmless. ERR_EXISTS: it is storage, of the alba that the message names. Before that
 * an engine on an ASD answers all else with ERR_IDENTITY: nor is an unmounted disk taken for it. */
void kv_prepare(struct kv *kv, kv_cb cb, void *ctx);

/* ---- reading ---- */

/* timeout_ms 0: KV_TIMEOUT_DEFAULT_MS, here and below. The keys are read at one moment each,
 * not all at the same moment. */
void kv_get(struct kv *kv, const struct slice *keys, size_t count, unsigned timeout_ms, kv_cb cb,
            void *ctx);

/* low <= key < high. */
struct kv_range {
    struct slice low;
    struct slice high;
    size_t limit; /* > 0; larger results than a page of the engine are put together */
    bool reverse; /* from the upper end down */
    bool keys_only;
};

void kv_range(struct kv *kv, const struct kv_range *range, unsigned timeout_ms, kv_cb cb,
              void *ctx);

/* ---- transaction ---- */

struct kv_assert {
    struct slice key, value; /* owned */
    bool is_absent;          /* the key must not exist; else it must hold `value` */
};

struct kv_update {
    struct slice key, value; /* owned */
    bool is_delete;
};

/* {0} is empty. A key may be updated once. */
struct kv_txn {
    bool reserve;      /* may use the last 2 % of the store */
    bool low_priority; /* may wait behind others */

    struct kv_assert *asserts; /* read only; made by the calls below */
    struct kv_update *updates;
    unsigned assert_count, update_count;
    size_t bytes;
};

void kv_txn_assert_equal(struct kv_txn *txn, struct slice key, struct slice value);
void kv_txn_assert_absent(struct kv_txn *txn, struct slice key);
void kv_txn_put(struct kv_txn *txn, struct slice key, struct slice value);
void kv_txn_delete(struct kv_txn *txn, struct slice key);
void kv_txn_release(struct kv_txn *txn); /* leaves {0} */
/* What kv_apply() checks first: ERR_TOO_LARGE with the count, -EINVAL. */
int kv_txn_check(const struct kv_txn *txn, struct err *e);

void kv_apply(struct kv *kv, const struct kv_txn *txn, unsigned timeout_ms, kv_cb cb, void *ctx);

/* ---- for layers above ---- */

/* Answer with 0 after `delay_ms`, or with ERR_CANCELED when the engine is closed. */
void kv_sleep(struct kv *kv, unsigned delay_ms, kv_cb cb, void *ctx);
void kv_fail(struct kv *kv, const struct err *e, kv_cb cb, void *ctx); /* soon, with this error */

/* ---- end ---- */

const char *kv_url(const struct kv *kv);
uv_loop_t *kv_loop(const struct kv *kv);
struct net_tls *kv_tls(const struct kv *kv); /* as kv_open() was given it */
/* Everything open, and every later call, is answered with ERR_CANCELED, not at its deadline: for
 * somebody who wants to end. Again is harmless. _silent: if something has been open for `ms`. */
void kv_cancel(struct kv *kv);
void kv_cancel_silent(struct kv *kv, unsigned ms);
void kv_close(struct kv *kv, kv_close_cb cb, void *ctx); /* kv_cancel(), `cb`; *kv is freed */

#endif
