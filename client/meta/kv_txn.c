/* Building and checking a transaction. */
#include <stdlib.h>

#include "base/mem.h"
#include "meta/bytes.h"
#include "meta/kv.h"

/* Room for one more; grows at powers of two. */
static void *grow(void *items, unsigned count, size_t item_bytes)
{
    if ((count & (count - 1)) != 0) {
        return items;
    }
    return mem_realloc(items, (count != 0 ? 2 * (size_t)count : 1) * item_bytes);
}

static void add_assert(struct kv_txn *txn, struct slice key, struct slice value, bool is_absent)
{
    txn->asserts = grow(txn->asserts, txn->assert_count, sizeof(*txn->asserts));
    txn->asserts[txn->assert_count++] = (struct kv_assert){
        .key = slice_dup(key), .value = slice_dup(value), .is_absent = is_absent};
    txn->bytes += key.len + value.len;
}

static void add_update(struct kv_txn *txn, struct slice key, struct slice value, bool is_delete)
{
    txn->updates = grow(txn->updates, txn->update_count, sizeof(*txn->updates));
    txn->updates[txn->update_count++] = (struct kv_update){
        .key = slice_dup(key), .value = slice_dup(value), .is_delete = is_delete};
    txn->bytes += key.len + value.len;
}

void kv_txn_assert_equal(struct kv_txn *txn, struct slice key, struct slice value)
{
    add_assert(txn, key, value, false);
}

void kv_txn_assert_absent(struct kv_txn *txn, struct slice key)
{
    add_assert(txn, key, slice_of(NULL, 0), true);
}

void kv_txn_put(struct kv_txn *txn, struct slice key, struct slice value)
{
    add_update(txn, key, value, false);
}

void kv_txn_delete(struct kv_txn *txn, struct slice key)
{
    add_update(txn, key, slice_of(NULL, 0), true);
}

void kv_txn_release(struct kv_txn *txn)
{
    for (unsigned i = 0; i < txn->assert_count; i++) {
        slice_release(&txn->asserts[i].key);
        slice_release(&txn->asserts[i].value);
    }
    for (unsigned i = 0; i < txn->update_count; i++) {
        slice_release(&txn->updates[i].key);
        slice_release(&txn->updates[i].value);
    }
    free(txn->asserts);
    free(txn->updates);
    *txn = (struct kv_txn){0};
}

static int check_key(struct slice key, struct err *e)
{
    if (key.len == 0 || key.len > KV_KEY_BYTES_MAX) {
        return err_set(e, -EINVAL, "key of %zu bytes", key.len);
    }
    return 0;
}

int kv_txn_check(const struct kv_txn *txn, struct err *e)
{
    if (txn->update_count > KV_UPDATES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "transaction of %u updates (at most %d)",
                       txn->update_count, KV_UPDATES_MAX);
    }
    if (txn->assert_count > KV_ASSERTS_MAX) {
        return err_set(e, ERR_TOO_LARGE, "transaction of %u asserts (at most %d)",
                       txn->assert_count, KV_ASSERTS_MAX);
    }
    if (txn->bytes > KV_TXN_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "transaction of %zu bytes (at most %d)", txn->bytes,
                       KV_TXN_BYTES_MAX);
    }
    for (unsigned i = 0; i < txn->assert_count; i++) {
        if (check_key(txn->asserts[i].key, e) != 0) {
            return e->code;
        }
    }
    for (unsigned i = 0; i < txn->update_count; i++) {
        if (check_key(txn->updates[i].key, e) != 0) {
            return e->code;
        }
        for (unsigned j = 0; j < i; j++) {
            if (slice_eq(txn->updates[i].key, txn->updates[j].key)) {
                return err_set(e, -EINVAL, "transaction updates a key twice");
            }
        }
    }
    return 0;
}
