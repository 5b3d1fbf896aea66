#include "alba/restore_fence.h"

#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rnd.h"
#include "meta/kv_commit.h"
#include "meta/registry_record.h"

enum { TXN_KEYS = 100, COMMIT_TIMEOUT_MS = 60000 };

static const char lease_root[] = "/alba/v1/reg/lease/";

static void on_committed(void *ctx, int rc, const struct kv_commit_result *result)
{
    session_done(ctx, rc, result->err);
}

static int commit(struct session *s, const struct restore_fence *fence, struct kv_txn *txn)
{
    struct slice k = slice_key(&fence->key);
    int rc;

    if (fence->mark.len != 0) {
        kv_txn_assert_equal(txn, k, slice_buf(&fence->mark));
    } else if (!fence->is_unreadable) {
        kv_txn_assert_absent(txn, k);
    }
    txn->reserve = true;
    kv_commit(fence->kv, txn, clock_mono_ms() + COMMIT_TIMEOUT_MS, on_committed, s);
    rc = session_wait(s);
    kv_txn_release(txn);
    return rc;
}

static int taken_over(struct session *s)
{
    return err_say(&s->err, ERR_BUSY, "another restore, or a program, has written meanwhile");
}

int restore_fence_look(struct session *s, struct restore_fence *fence)
{
    struct backup_page page = {0};
    struct slice k = slice_key(&fence->key);
    int rc = backup_get(s, fence->kv, &k, 1, &page);

    fence->mark.len = 0;
    fence->is_unreadable = rc == 0 && page.items[0].is_damaged;
    if (rc == 0 && page.items[0].found && !fence->is_unreadable) {
        buf_put(&fence->mark, page.items[0].value.data, page.items[0].value.len);
    }
    backup_page_release(&page);
    return rc;
}

/* Reads: does the key hold `value`? */
static int holds(struct session *s, const struct restore_fence *fence, struct slice value,
                 bool *ret_holds)
{
    struct restore_fence now = {.kv = fence->kv, .key = fence->key};
    int rc = restore_fence_look(s, &now);

    *ret_holds = rc == 0 && slice_eq(slice_buf(&now.mark), value);
    restore_fence_release(&now);
    return rc;
}

int restore_fence_check(struct session *s, const struct restore_fence *fence)
{
    bool ours;
    int rc = holds(s, fence, slice_buf(&fence->mark), &ours);

    return rc != 0 || ours ? rc : taken_over(s);
}

int restore_fence_put(struct session *s, struct restore_fence *fence, const json_t *value,
                      struct kv_txn *txn)
{
    struct kv_txn none = {0};
    struct buf wanted = {0};
    bool ours = false;
    int rc;

    txn = txn != NULL ? txn : &none;
    value_make_json(&wanted, slice_key(&fence->key), value);
    kv_txn_put(txn, slice_key(&fence->key), slice_buf(&wanted));
    rc = commit(s, fence, txn);
    if (rc == ERR_ASSERT_FAILED) { /* or an earlier sending of the same has done it */
        rc = holds(s, fence, slice_buf(&wanted), &ours);
        rc = rc != 0 || ours ? rc : taken_over(s);
    }
    if (rc == 0) {
        buf_release(&fence->mark);
        fence->mark = wanted;
        fence->is_unreadable = false;
    } else {
        buf_release(&wanted);
    }
    return rc;
}

int restore_fence_swap(struct session *s, struct restore_fence *fence, const char *what,
                       const json_t *more, struct kv_txn *txn)
{
    json_t *value = more != NULL ? json_copy((json_t *)(uintptr_t)more) : json_object();
    char id[RND_UUID_TEXT_BYTES];
    int rc;

    rnd_uuid_text(id);
    CHECK(value != NULL);
    json_object_set_new(value, what, json_integer((json_int_t)clock_wall_us()));
    json_object_set_new(value, "id", json_string(id));
    rc = restore_fence_put(s, fence, value, txn);
    json_decref(value);
    return rc;
}

int restore_fence_commit(struct session *s, const struct restore_fence *fence, struct kv_txn *txn)
{
    int rc = commit(s, fence, txn);

    return rc == ERR_ASSERT_FAILED ? taken_over(s) : rc;
}

int restore_fence_empty(struct session *s, const struct restore_fence *fence, struct key low,
                        struct slice high)
{
    struct backup_page page = {0};
    struct kv_txn txn = {0};
    int rc;

    do {
        rc = backup_range(s, fence->kv, slice_key(&low), high, TXN_KEYS, true, &page);
        for (size_t i = 0; rc == 0 && i < page.count; i++) {
            struct slice key = page.items[i].key;
            bool is_lease = key.len >= strlen(lease_root) &&
                            memcmp(key.data, lease_root, strlen(lease_root)) == 0;

            if (!is_lease && !slice_eq(key, slice_key(&fence->key))) {
                kv_txn_delete(&txn, key);
            }
        }
        if (rc == 0 && page.has_more) {
            low.len = 0;
            key_put(&low, page.items[page.count - 1].key.data, page.items[page.count - 1].key.len);
            key_next(&low);
        }
        rc = rc != 0 || txn.update_count == 0 ? rc : restore_fence_commit(s, fence, &txn);
    } while (rc == 0 && page.has_more);
    backup_page_release(&page);
    kv_txn_release(&txn);
    return rc;
}

void restore_fence_release(struct restore_fence *fence)
{
    buf_release(&fence->mark);
    *fence = (struct restore_fence){0};
}
