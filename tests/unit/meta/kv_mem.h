/* A metadata engine in memory, for tests and simulations: several handles on one store,
 * replies in any order, and faults.
 *
 * Every operation is executed some loop turns after it was asked for and answered some turns
 * later; how many comes from the seed. One loop. */
#ifndef TESTS_UNIT_META_KV_MEM_H
#define TESTS_UNIT_META_KV_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/kv.h"

/* What becomes of a transaction. */
enum kv_mem_fate {
    KV_MEM_NORMAL,
    KV_MEM_REFUSED,      /* definite error (ERR_FULL), not executed */
    KV_MEM_LOST_REQUEST, /* ERR_IN_DOUBT, not executed */
    KV_MEM_LOST_REPLY,   /* executed, then ERR_IN_DOUBT (also when an assert failed) */
    KV_MEM_LATE,         /* ERR_IN_DOUBT at once; executed by kv_mem_run_late() */
    KV_MEM_HELD          /* not executed until kv_mem_run_held(); then normal */
};

typedef enum kv_mem_fate (*kv_mem_fate_cb)(void *ctx, const struct kv_txn *txn);

struct kv_mem_counts {
    unsigned gets, ranges, applies; /* as asked for */
    unsigned ns_gets;  /* of these those in namespaces: a registry asks when it likes */
    unsigned executed; /* transactions that changed the store */
};

struct kv_mem_store;

struct kv_mem_store *kv_mem_store_new(uint64_t seed);
void kv_mem_store_free(struct kv_mem_store *store); /* no handle is open */
/* An operation takes 1 … `turns` turns before and after its execution. Default 1. */
void kv_mem_store_jitter(struct kv_mem_store *store, unsigned turns);

struct kv *kv_mem_open(uv_loop_t *loop, struct kv_mem_store *store);
void kv_mem_set_fate(struct kv *kv, kv_mem_fate_cb fate, void *ctx); /* NULL: NORMAL */
/* The next `count` reads of this handle fail with UV_ECONNRESET. */
void kv_mem_fail_reads(struct kv *kv, unsigned count);

/* From now on the store cannot read this value. Writing the key anew heals it. */
void kv_mem_damage(struct kv_mem_store *store, struct slice key);

/* A fate: a full store, which takes only transactions with `reserve` and those that only delete. */
enum kv_mem_fate kv_mem_full(void *ctx, const struct kv_txn *txn);
/* The next get whose first key begins with `prefix` (borrowed) is executed, and answered only after
 * kv_mem_answer_held(). */
void kv_mem_hold_answer(struct kv *kv, struct slice prefix);
bool kv_mem_has_held_answer(const struct kv *kv);
void kv_mem_answer_held(struct kv *kv);

/* As of a process that is stopped: what it had asked for is executed, no answer reaches it. */
void kv_mem_freeze(struct kv *kv, bool is_frozen);
/* Transactions of this handle that are not executed yet. */
unsigned kv_mem_unexecuted(const struct kv *kv);

/* Execute, now, what was delayed; returns how many of them passed their asserts. */
unsigned kv_mem_run_late(struct kv_mem_store *store);
unsigned kv_mem_run_held(struct kv_mem_store *store);
/* Only the one that was asked for last. */
bool kv_mem_run_newest_held(struct kv_mem_store *store);
/* They end with ERR_FULL, not executed. */
void kv_mem_refuse_held(struct kv_mem_store *store);
unsigned kv_mem_held_count(const struct kv_mem_store *store);
bool kv_mem_has_held(void *store); /* to wait for */

/* Straight from the store. Borrowed until the next change. */
bool kv_mem_peek(const struct kv_mem_store *store, struct slice key, struct slice *ret_value);
size_t kv_mem_count_prefix(const struct kv_mem_store *store, struct slice prefix);
/* The first key with this prefix; there is one. */
void kv_mem_first_key(const struct kv_mem_store *store, struct slice prefix, struct buf *ret_key);
/* As an engine whose own checksum of this value fails: gets of the key, and ranges with the values
 * over it, give ERR_CORRUPT. Borrowed; empty: none. */
void kv_mem_set_unreadable(struct kv_mem_store *store, struct slice key);
void kv_mem_poke(struct kv_mem_store *store, struct slice key, struct slice value);
struct kv_mem_counts kv_mem_counts(const struct kv_mem_store *store);

#endif
