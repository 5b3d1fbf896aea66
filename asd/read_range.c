/* Ranges: the keys first, in one look at the index, then, where asked for, the values one
 * by one. A key that is gone by then is left out. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asd/read_private.h"
#include "asd/results.h"
#include "asd/store_private.h"
#include "asd/value.h"
#include "asd/verify.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"

struct keys_seen {
    struct buf *bytes;
    size_t *ends; /* of each key in bytes */
    uint32_t count;
    uint32_t max; /* takes one more, to tell what comes next */
};

static bool see_key(void *ctx, struct slice key, struct slice value)
{
    struct keys_seen *seen = ctx;

    (void)value;
    buf_put(seen->bytes, key.data + 1, key.len - 1);
    seen->ends[seen->count++] = seen->bytes->len;
    return seen->count <= seen->max;
}

/* An index key as a bound: `behind` makes it the first one behind the key itself. */
static void bound_put(struct buf *b, struct slice client_key, bool behind)
{
    asd_key_value_put(b, client_key);
    if (behind) {
        buf_put_u8(b, 0);
    }
}

static void range_bounds(const struct asd_range *range, struct buf *ret_from, struct buf *ret_to)
{
    if (!range->reverse) {
        bound_put(ret_from, range->first, !range->first_included);
        if (range->has_last) {
            bound_put(ret_to, range->last, range->last_included);
        } else {
            buf_put_u8(ret_to, ASD_KEY_VALUE + 1);
        }
    } else {
        bound_put(ret_to, range->first, range->first_included);
        if (range->has_last) {
            bound_put(ret_from, range->last, !range->last_included);
        } else {
            buf_put_u8(ret_from, ASD_KEY_VALUE);
        }
    }
}

static int range_keys(struct asd_store_range *r, struct err *e)
{
    const struct asd_range *range = r->range;
    uint32_t max =
        range->max < 0 || range->max > ASD_RANGE_MAX ? ASD_RANGE_MAX : (uint32_t)range->max;
    struct keys_seen seen = {.bytes = r->keys, .max = max};
    struct asd_index *index = r->op.store->index;
    struct buf from = {0};
    struct buf to = {0};
    int rc = 0;

    seen.ends = mem_array((size_t)max + 1, sizeof(seen.ends[0]));
    range_bounds(range, &from, &to);
    if (slice_cmp(slice_buf(&from), slice_buf(&to)) < 0) {
        rc = index->ops->iterate(index, slice_buf(&from), slice_buf(&to), range->reverse, see_key,
                                 &seen, e);
        asd_value_note_index(r->op.store, slice_buf(&from), rc);
    }
    if (rc == 0) {
        size_t start = 0;

        r->entries = mem_array(seen.count, sizeof(r->entries[0]));
        for (uint32_t i = 0; i < seen.count; i++) {
            r->entries[i].key = slice_of(r->keys->data + start, seen.ends[i] - start);
            start = seen.ends[i];
        }
        r->more = seen.count > max;
        r->entry_count = r->more ? max : seen.count;
        if (r->more) {
            r->next = r->entries[max].key;
        }
    }
    buf_release(&from);
    buf_release(&to);
    free(seen.ends);
    return rc;
}

/* ---- values ---- */

/* 0: told how it is. Else it could not be looked at: the request fails. */
static int entry_check(struct asd_store_range *r, struct asd_store_entry *entry,
                       const struct asd_found *found, struct err *e)
{
    const struct asd_value_record *record = &found->record;
    struct asd_store *store = r->op.store;
    enum asd_bad bad = ASD_BAD_NOTHING;
    int rc = 0;

    entry->in_slab = record->in_slab;
    entry->value.bytes = record->bytes;
    entry->value.checksum = record->checksum;
    if (r->kind == ASD_STORE_VERIFY) {
        rc = asd_verify(store, found, ASD_VERIFY_CLIENT, &bad, e);
    } else if (record->in_slab) {
        rc = asd_verify_there(store, found, &bad, e);
    }
    entry->there = record->in_slab && bad != ASD_BAD_SLAB;
    entry->verified = r->kind == ASD_STORE_VERIFY && bad == ASD_BAD_NOTHING;
    if (rc == 0 && (bad == ASD_BAD_SLAB || bad == ASD_BAD_READ)) {
        entry->value.rc = e->code;
    }
    return rc;
}

/* What the record would have told is gone with it. */
static void entry_damaged(struct asd_store_entry *entry, const struct asd_found *found, int rc)
{
    const struct asd_value_record *record = &found->record;

    entry->in_slab = record->in_slab; /* the record is sound, its slab does not exist */
    entry->value.checksum = record->checksum;
    entry->value.rc = rc;
}

/* ERR_NOT_FOUND: gone. ERR_TOO_LARGE: the value is longer than `bytes_max`. ERR_BUSY: memory for
 * it is lacking. */
static int entry_fill(struct asd_store_range *r, struct asd_store_entry *entry, uint64_t bytes_max,
                      struct err *e)
{
    struct asd_store *store = r->op.store;
    struct asd_found found;
    struct buf key = {0};
    int rc;

    asd_key_value_put(&key, entry->key);
    rc = asd_value_find(store, slice_buf(&key), &found, e);
    if (rc == 0 && found.record.bytes > bytes_max) {
        rc = ERR_TOO_LARGE;
    } else if (rc == 0 && r->kind == ASD_STORE_ENTRIES &&
               found.record.bytes > ASD_STORE_ENTRIES_BYTES_MAX &&
               !asd_results_take(&r->op, found.record.bytes)) {
        rc = ERR_BUSY;
    } else if (rc == 0 && r->kind == ASD_STORE_ENTRIES) {
        entry->value.rc = asd_read_value(store, &found, NULL, &entry->value, e);
    } else if (rc == 0) {
        rc = entry_check(r, entry, &found, e);
    } else if (asd_verify_find_bad(rc, &found) != ASD_BAD_NOTHING) {
        entry_damaged(entry, &found, rc); /* told for this key */
        rc = 0;
    }
    asd_value_found_release(store, &found);
    buf_release(&key);
    return rc;
}

/* Stops where keys and values get too many bytes; the first value is given whatever its size. */
static int range_values(struct asd_store_range *r, struct err *e)
{
    uint64_t bytes_max = r->kind == ASD_STORE_ENTRIES  ? ASD_STORE_ENTRIES_BYTES_MAX
                         : r->kind == ASD_STORE_VERIFY ? ASD_STORE_VALIDATE_BYTES_MAX
                                                       : UINT64_MAX;
    uint64_t bytes = 0;
    uint32_t kept = 0;
    int rc = 0;

    for (uint32_t i = 0; i < r->entry_count; i++) {
        struct asd_store_entry entry = r->entries[i];
        uint64_t left;

        bytes += entry.key.len + ASD_STORE_ITEM_BYTES_MAX;
        left = bytes < bytes_max ? bytes_max - bytes : 0;
        rc = left == 0 && kept != 0 ? ERR_TOO_LARGE
                                    : entry_fill(r, &entry, kept == 0 ? UINT64_MAX : left, e);
        if (rc == ERR_TOO_LARGE) {
            r->more = true;
            r->next = entry.key;
            break;
        }
        if (rc == 0) {
            bytes += entry.value.bytes;
            r->entries[kept++] = entry;
        } else if (rc != ERR_NOT_FOUND) {
            break;
        }
    }
    r->entry_count = kept;
    return rc == ERR_TOO_LARGE || rc == ERR_NOT_FOUND ? 0 : rc;
}

static uint64_t held_bytes(const struct asd_store_range *r)
{
    uint64_t bytes = r->keys->len;

    for (uint32_t i = 0; i < r->entry_count; i++) {
        bytes += r->entries[i].value.data != NULL ? r->entries[i].value.bytes : 0;
    }
    return bytes;
}

static void range_free(struct asd_store_range *r)
{
    for (uint32_t i = 0; i < r->entry_count; i++) {
        bigmem_free(r->entries[i].value.data);
    }
    free(r->entries);
    if (r->keys != NULL) {
        buf_release(r->keys);
    }
    free(r->keys);
    r->entries = NULL;
    r->entry_count = 0;
    r->keys = NULL;
}

static void range_work(struct pool_work *work)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);
    struct asd_store_range *r = container_of(op, struct asd_store_range, op);
    uint64_t bytes_max =
        r->kind == ASD_STORE_ENTRIES ? ASD_STORE_ENTRIES_BYTES_MAX : ASD_RESULTS_SMALL_BYTES;

    if (!asd_results_take(op, bytes_max)) {
        return;
    }
    r->keys = mem_zalloc(sizeof(*r->keys));
    op->rc = range_keys(r, &op->err);
    if (op->rc == 0 && r->kind != ASD_STORE_KEYS) {
        op->rc = range_values(r, &op->err);
    }
    if (asd_results_lacks(op)) {
        range_free(r); /* from the start again, when there is memory for the first value */
    } else {
        asd_results_settle(op, held_bytes(r));
    }
}

int asd_store_range(struct asd_front *front, struct asd_store_range *request,
                    const struct asd_range *range, enum asd_store_range_kind kind,
                    const struct asd_reader *reader, asd_store_cb cb)
{
    int rc;

    *request = (struct asd_store_range){.range = range, .kind = kind};
    rc = asd_read_key_check(range->first, &request->op.err);
    if (rc == 0 && range->has_last) {
        rc = asd_read_key_check(range->last, &request->op.err);
    }
    return rc != 0 ? rc : asd_read_submit(front, &request->op, reader, range_work, cb);
}

void asd_store_range_release(struct asd_store_range *request)
{
    range_free(request);
    asd_results_give(&request->op);
}
