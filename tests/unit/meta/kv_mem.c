#include "unit/meta/kv_mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/rnd.h"
#include "meta/bytes.h"
#include "meta/kv_engine.h"
#include "meta/ns_keys.h"

struct entry {
    struct slice key, value;
    bool is_damaged;
};

struct kv_mem_store {
    struct entry *entries; /* in order of key */
    size_t count, cap;
    struct list held; /* mem_op.held */
    struct list late; /* late_txn.link */
    struct rnd rnd;
    unsigned turns;
    unsigned handles;
    struct kv_mem_counts counts;
    struct slice unreadable; /* borrowed */
};

struct kv_mem {
    struct kv kv;
    struct kv_mem_store *store;
    struct list ops; /* mem_op.link, in order of arrival */
    uv_idle_t idle;
    uint64_t now; /* turns */
    kv_mem_fate_cb fate;
    void *fate_ctx;
    unsigned failing_reads;
    struct slice hold_prefix; /* borrowed; empty: hold nothing */
    struct mem_op *held_answer;
    bool is_frozen;
};

struct mem_op {
    struct kv_op op;
    struct list link;
    struct list held;
    enum kv_mem_fate fate;
    uint64_t execute_at, answer_at;
    bool executed;
    int rc;
};

struct late_txn {
    struct list link;
    struct kv_txn txn;
};

/* ---- store ---- */

static size_t lower_bound(const struct kv_mem_store *store, struct slice key)
{
    size_t low = 0;
    size_t high = store->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (slice_cmp(store->entries[mid].key, key) < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

static struct entry *find(const struct kv_mem_store *store, struct slice key)
{
    size_t at = lower_bound(store, key);

    return at < store->count && slice_eq(store->entries[at].key, key) ? &store->entries[at] : NULL;
}

static void put(struct kv_mem_store *store, struct slice key, struct slice value)
{
    struct entry *entry = find(store, key);
    size_t at;

    if (entry != NULL) {
        struct slice fresh = slice_dup(value);

        slice_release(&entry->value);
        entry->value = fresh;
        entry->is_damaged = false;
        return;
    }
    if (store->count == store->cap) {
        store->cap = store->cap != 0 ? 2 * store->cap : 64;
        store->entries = mem_realloc(store->entries, store->cap * sizeof(*store->entries));
    }
    at = lower_bound(store, key);
    memmove(store->entries + at + 1, store->entries + at,
            (store->count - at) * sizeof(*store->entries));
    store->entries[at] = (struct entry){.key = slice_dup(key), .value = slice_dup(value)};
    store->count++;
}

static void drop(struct kv_mem_store *store, struct slice key)
{
    size_t at = lower_bound(store, key);

    if (at == store->count || !slice_eq(store->entries[at].key, key)) {
        return;
    }
    slice_release(&store->entries[at].key);
    slice_release(&store->entries[at].value);
    memmove(store->entries + at, store->entries + at + 1,
            (store->count - at - 1) * sizeof(*store->entries));
    store->count--;
}

/* The assert that fails, or NULL when the transaction was executed. */
static const struct kv_assert *execute(struct kv_mem_store *store, const struct kv_txn *txn)
{
    for (unsigned i = 0; i < txn->assert_count; i++) {
        const struct kv_assert *a = &txn->asserts[i];
        const struct entry *entry = find(store, a->key);

        if (a->is_absent ? entry != NULL : entry == NULL || !slice_eq(entry->value, a->value)) {
            return a;
        }
    }
    for (unsigned i = 0; i < txn->update_count; i++) {
        if (txn->updates[i].is_delete) {
            drop(store, txn->updates[i].key);
        } else {
            put(store, txn->updates[i].key, txn->updates[i].value);
        }
    }
    store->counts.executed++;
    return NULL;
}

/* ---- operations ---- */

/* Does the read meet the value that cannot be read? */
static bool meets_unreadable(const struct kv_mem_store *store, const struct kv_op *op)
{
    if (store->unreadable.len == 0) {
        return false;
    }
    for (size_t i = 0; i < op->key_count; i++) {
        if (slice_eq(op->keys[i], store->unreadable)) {
            return true;
        }
    }
    for (size_t i = 0; i < op->item_count && op->kind == KV_OP_RANGE; i++) {
        if (!op->range.keys_only && slice_eq(op->items[i].key, store->unreadable)) {
            return true;
        }
    }
    return false;
}

static void add_copy(struct kv_op *op, const struct entry *entry, bool with_value)
{
    struct slice key = slice_dup(entry->key);
    struct slice value = with_value ? slice_dup(entry->value) : slice_of(NULL, 0);

    kv_op_own(op, (void *)(uintptr_t)key.data);
    kv_op_own(op, (void *)(uintptr_t)value.data);
    kv_op_add(op, key, value, true);
}

static void add_entry(struct kv_op *op, const struct entry *entry, bool with_value)
{
    add_copy(op, entry, with_value && !entry->is_damaged);
    op->items[op->item_count - 1].is_damaged = with_value && entry->is_damaged;
}

static void read_keys(struct kv_mem_store *store, struct kv_op *op)
{
    for (size_t i = 0; i < op->key_count; i++) {
        const struct entry *entry = find(store, op->keys[i]);

        if (entry != NULL) {
            add_entry(op, entry, true);
        } else {
            kv_op_add(op, op->keys[i], slice_of(NULL, 0), false);
        }
    }
}

static void read_range(struct kv_mem_store *store, struct kv_op *op)
{
    size_t low = lower_bound(store, op->range.low);
    size_t high = lower_bound(store, op->range.high);

    while (low < high && op->item_count < op->range.limit) {
        add_entry(op, &store->entries[op->range.reverse ? --high : low++], !op->range.keys_only);
    }
    op->has_more = low < high;
}

/* An assert would have to read it. */
static bool asserts_damaged(const struct kv_mem_store *store, const struct kv_txn *txn)
{
    for (unsigned i = 0; i < txn->assert_count; i++) {
        const struct entry *entry = find(store, txn->asserts[i].key);

        if (entry != NULL && entry->is_damaged && !txn->asserts[i].is_absent) {
            return true;
        }
    }
    return false;
}

static void apply(struct kv_mem_store *store, struct mem_op *m)
{
    const struct kv_assert *failed;

    if (asserts_damaged(store, m->op.txn)) {
        m->rc = err_set(&m->op.err, ERR_CORRUPT, "test engine");
        return;
    }
    failed = execute(store, m->op.txn);
    if (m->fate == KV_MEM_LOST_REPLY) {
        m->rc = err_set(&m->op.err, ERR_IN_DOUBT, "reply lost");
    } else if (failed != NULL) {
        m->rc = err_set(&m->op.err, ERR_ASSERT_FAILED, "test engine");
        buf_put(&m->op.failed_key, failed->key.data, failed->key.len);
    }
}

static void keep_late(struct kv_mem_store *store, const struct kv_txn *txn)
{
    struct late_txn *late = mem_zalloc(sizeof(*late));

    for (unsigned i = 0; i < txn->assert_count; i++) {
        if (txn->asserts[i].is_absent) {
            kv_txn_assert_absent(&late->txn, txn->asserts[i].key);
        } else {
            kv_txn_assert_equal(&late->txn, txn->asserts[i].key, txn->asserts[i].value);
        }
    }
    for (unsigned i = 0; i < txn->update_count; i++) {
        if (txn->updates[i].is_delete) {
            kv_txn_delete(&late->txn, txn->updates[i].key);
        } else {
            kv_txn_put(&late->txn, txn->updates[i].key, txn->updates[i].value);
        }
    }
    list_push(&store->late, &late->link);
}

static void hold_answer(struct kv_mem *mem, struct mem_op *m)
{
    struct slice prefix = mem->hold_prefix;

    if (prefix.len != 0 && m->op.keys[0].len >= prefix.len &&
        memcmp(m->op.keys[0].data, prefix.data, prefix.len) == 0) {
        mem->held_answer = m;
        mem->hold_prefix = slice_of(NULL, 0);
    }
}

static void run(struct kv_mem *mem, struct mem_op *m)
{
    bool is_read = m->op.kind == KV_OP_GET || m->op.kind == KV_OP_RANGE;

    m->executed = true;
    if (is_read && mem->failing_reads != 0) {
        mem->failing_reads--;
        m->rc = err_set(&m->op.err, UV_ECONNRESET, "test engine");
        return;
    }
    switch (m->op.kind) {
    case KV_OP_GET:
        read_keys(mem->store, &m->op);
        hold_answer(mem, m);
        break;
    case KV_OP_RANGE:
        read_range(mem->store, &m->op);
        break;
    case KV_OP_PREPARE:
    case KV_OP_SLEEP:
        break;
    case KV_OP_APPLY:
        if (m->fate == KV_MEM_REFUSED) {
            m->rc = err_set(&m->op.err, ERR_FULL, "test engine");
        } else if (m->fate == KV_MEM_LOST_REQUEST) {
            m->rc = err_set(&m->op.err, ERR_IN_DOUBT, "request lost");
        } else if (m->fate == KV_MEM_LATE) {
            keep_late(mem->store, m->op.txn);
            m->rc = err_set(&m->op.err, ERR_IN_DOUBT, "request delayed");
        } else {
            apply(mem->store, m);
        }
    }
    if (is_read && meets_unreadable(mem->store, &m->op)) {
        m->rc = err_set(&m->op.err, ERR_CORRUPT, "test engine");
    }
}

static void on_turn(uv_idle_t *idle)
{
    struct kv_mem *mem = container_of(idle, struct kv_mem, idle);
    struct list done;
    struct list *link;
    bool busy = false;

    mem->now++;
    list_init(&done);
    LIST_FOR_EACH_SAFE (it, &mem->ops) {
        struct mem_op *m = container_of(it, struct mem_op, link);

        if (!m->executed && m->fate == KV_MEM_HELD) {
            continue;
        }
        busy = busy || !m->executed || !mem->is_frozen;
        if (!m->executed && mem->now >= m->execute_at) {
            run(mem, m);
        }
        if (m->executed && !mem->is_frozen && mem->now >= m->answer_at && m != mem->held_answer) {
            list_remove(&m->link);
            list_push(&done, &m->link);
        }
    }
    if (!busy) {
        uv_idle_stop(idle);
    }
    while ((link = list_pop(&done)) != NULL) {
        struct mem_op *m = container_of(link, struct mem_op, link);

        kv_op_finish(&m->op, m->rc);
    }
}

static void schedule(struct kv_mem *mem, struct mem_op *m)
{
    struct kv_mem_store *store = mem->store;

    m->execute_at = mem->now + 1 + rnd_below(&store->rnd, store->turns);
    m->answer_at = m->execute_at + rnd_below(&store->rnd, store->turns);
    uv_idle_start(&mem->idle, on_turn);
}

static bool is_of_namespace(struct slice key)
{
    uint64_t ns_id;
    struct err e;

    return ns_key_parse_id(key, &ns_id, &e) == 0;
}

static void mem_start(struct kv *kv, struct kv_op *op)
{
    struct kv_mem *mem = container_of(kv, struct kv_mem, kv);
    struct mem_op *m = container_of(op, struct mem_op, op);
    struct kv_mem_counts *counts = &mem->store->counts;

    counts->gets += op->kind == KV_OP_GET;
    counts->ns_gets += op->kind == KV_OP_GET && is_of_namespace(op->keys[0]);
    counts->ranges += op->kind == KV_OP_RANGE;
    counts->applies += op->kind == KV_OP_APPLY;
    list_init(&m->held);
    list_init(&m->link);
    list_push(&mem->ops, &m->link);
    if (op->kind == KV_OP_APPLY && mem->fate != NULL) {
        m->fate = mem->fate(mem->fate_ctx, op->txn);
    }
    if (m->fate == KV_MEM_HELD) {
        list_push(&mem->store->held, &m->held);
    } else {
        schedule(mem, m);
    }
}

static void on_idle_closed(uv_handle_t *handle)
{
    struct kv_mem *mem = container_of(handle, struct kv_mem, idle);

    mem->store->handles--;
    kv_engine_closed(&mem->kv);
}

static void mem_cancel(struct kv *kv)
{
    struct kv_mem *mem = container_of(kv, struct kv_mem, kv);
    struct list *link;

    while ((link = list_pop(&mem->ops)) != NULL) {
        struct mem_op *m = container_of(link, struct mem_op, link);

        list_remove(&m->held);
        err_set(&m->op.err, ERR_CANCELED, "test engine");
        kv_op_fail(&m->op);
    }
}

static void mem_close(struct kv *kv)
{
    struct kv_mem *mem = container_of(kv, struct kv_mem, kv);

    uv_close((uv_handle_t *)&mem->idle, on_idle_closed);
}

static const struct kv_engine_ops mem_ops = {.start = mem_start,
                                             .cancel = mem_cancel,
                                             .close = mem_close,
                                             .op_bytes = sizeof(struct mem_op)};

/* ---- for tests ---- */

struct kv_mem_store *kv_mem_store_new(uint64_t seed)
{
    struct kv_mem_store *store = mem_zalloc(sizeof(*store));

    store->rnd = rnd_seed(seed);
    store->turns = 1;
    list_init(&store->held);
    list_init(&store->late);
    return store;
}

void kv_mem_store_free(struct kv_mem_store *store)
{
    struct list *link;

    CHECK(store->handles == 0);
    while ((link = list_pop(&store->late)) != NULL) {
        struct late_txn *late = container_of(link, struct late_txn, link);

        kv_txn_release(&late->txn);
        free(late);
    }
    while (store->count != 0) {
        drop(store, store->entries[store->count - 1].key);
    }
    free(store->entries);
    free(store);
}

void kv_mem_store_jitter(struct kv_mem_store *store, unsigned turns)
{
    store->turns = turns != 0 ? turns : 1;
}

struct kv *kv_mem_open(uv_loop_t *loop, struct kv_mem_store *store)
{
    struct kv_mem *mem = mem_zalloc(sizeof(*mem));

    kv_engine_init(&mem->kv, &mem_ops, loop, "mem://");
    mem->store = store;
    list_init(&mem->ops);
    CHECK(uv_idle_init(loop, &mem->idle) == 0);
    store->handles++;
    return &mem->kv;
}

void kv_mem_set_fate(struct kv *kv, kv_mem_fate_cb fate, void *ctx)
{
    struct kv_mem *mem = container_of(kv, struct kv_mem, kv);

    mem->fate = fate;
    mem->fate_ctx = ctx;
}

void kv_mem_first_key(const struct kv_mem_store *store, struct slice prefix, struct buf *ret_key)
{
    size_t at = lower_bound(store, prefix);

    CHECK(at < store->count);
    ret_key->len = 0;
    buf_put(ret_key, store->entries[at].key.data, store->entries[at].key.len);
}

void kv_mem_set_unreadable(struct kv_mem_store *store, struct slice key)
{
    store->unreadable = key;
}

enum kv_mem_fate kv_mem_full(void *ctx, const struct kv_txn *txn)
{
    bool grows = false;

    (void)ctx;
    for (unsigned i = 0; i < txn->update_count; i++) {
        grows = grows || !txn->updates[i].is_delete;
    }
    return grows && !txn->reserve ? KV_MEM_REFUSED : KV_MEM_NORMAL;
}

void kv_mem_hold_answer(struct kv *kv, struct slice prefix)
{
    container_of(kv, struct kv_mem, kv)->hold_prefix = prefix;
}

bool kv_mem_has_held_answer(const struct kv *kv)
{
    return container_of(kv, const struct kv_mem, kv)->held_answer != NULL;
}

void kv_mem_answer_held(struct kv *kv)
{
    container_of(kv, struct kv_mem, kv)->held_answer = NULL;
}

void kv_mem_freeze(struct kv *kv, bool is_frozen)
{
    struct kv_mem *mem = container_of(kv, struct kv_mem, kv);

    mem->is_frozen = is_frozen;
    uv_idle_start(&mem->idle, on_turn);
}

unsigned kv_mem_unexecuted(const struct kv *kv)
{
    const struct kv_mem *mem = container_of(kv, const struct kv_mem, kv);
    unsigned count = 0;

    LIST_FOR_EACH (it, &mem->ops) {
        const struct mem_op *m = container_of(it, struct mem_op, link);

        count += m->op.kind == KV_OP_APPLY && !m->executed;
    }
    return count;
}

void kv_mem_fail_reads(struct kv *kv, unsigned count)
{
    container_of(kv, struct kv_mem, kv)->failing_reads = count;
}

unsigned kv_mem_run_late(struct kv_mem_store *store)
{
    struct list *link;
    unsigned passed = 0;

    while ((link = list_pop(&store->late)) != NULL) {
        struct late_txn *late = container_of(link, struct late_txn, link);

        passed += execute(store, &late->txn) == NULL;
        kv_txn_release(&late->txn);
        free(late);
    }
    return passed;
}

static bool run_held(struct kv_mem_store *store, struct list *link)
{
    struct mem_op *m = container_of(link, struct mem_op, held);

    apply(store, m);
    m->executed = true;
    schedule(container_of(m->op.kv, struct kv_mem, kv), m);
    return m->rc == 0;
}

unsigned kv_mem_run_held(struct kv_mem_store *store)
{
    struct list *link;
    unsigned passed = 0;

    while ((link = list_pop(&store->held)) != NULL) {
        passed += run_held(store, link);
    }
    return passed;
}

bool kv_mem_run_newest_held(struct kv_mem_store *store)
{
    struct list *newest = store->held.prev;

    CHECK(!list_empty(&store->held));
    list_remove(newest);
    return run_held(store, newest);
}

void kv_mem_refuse_held(struct kv_mem_store *store)
{
    struct list *link;

    while ((link = list_pop(&store->held)) != NULL) {
        struct mem_op *m = container_of(link, struct mem_op, held);

        m->rc = err_set(&m->op.err, ERR_FULL, "test engine");
        m->executed = true;
        schedule(container_of(m->op.kv, struct kv_mem, kv), m);
    }
}

bool kv_mem_has_held(void *store)
{
    return kv_mem_held_count(store) != 0;
}

unsigned kv_mem_held_count(const struct kv_mem_store *store)
{
    unsigned count = 0;

    LIST_FOR_EACH (it, &store->held) {
        count++;
    }
    return count;
}

bool kv_mem_peek(const struct kv_mem_store *store, struct slice key, struct slice *ret_value)
{
    const struct entry *entry = find(store, key);

    if (entry != NULL && ret_value != NULL) {
        *ret_value = entry->value;
    }
    return entry != NULL;
}

size_t kv_mem_count_prefix(const struct kv_mem_store *store, struct slice prefix)
{
    size_t count = 0;

    for (size_t i = lower_bound(store, prefix); i < store->count; i++) {
        struct slice key = store->entries[i].key;

        if (key.len < prefix.len || memcmp(key.data, prefix.data, prefix.len) != 0) {
            break;
        }
        count++;
    }
    return count;
}

void kv_mem_damage(struct kv_mem_store *store, struct slice key)
{
    struct entry *entry = find(store, key);

    CHECK(entry != NULL);
    entry->is_damaged = true;
}

void kv_mem_poke(struct kv_mem_store *store, struct slice key, struct slice value)
{
    put(store, key, value);
}

struct kv_mem_counts kv_mem_counts(const struct kv_mem_store *store)
{
    return store->counts;
}
