/* A piece of a pass, in a thread: the next keys, then the value of each, until told to stop.
 *
 * Keys are listed first and looked up again one by one, so a value that is deleted or overwritten
 * meanwhile is left out or read as it is now. Where the index itself cannot be read, that is one
 * finding, and the pass goes on behind: see scrub_skip.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "asd/health.h"
#include "asd/read_private.h"
#include "asd/room.h"
#include "asd/scrub_private.h"
#include "asd/scrub_skip.h"
#include "asd/value.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "wire/asd_msg.h"

enum {
    BITE_BYTES = 1 << 20,
    BITE_KEYS_MAX = 256,
};

struct listed {
    struct buf bytes; /* index keys back to back */
    size_t ends[BITE_KEYS_MAX];
    unsigned count;
    uint64_t value_bytes;
};

static bool list_key(void *ctx, struct slice key, struct slice value)
{
    struct listed *l = ctx;
    struct asd_value_record record;
    struct err e;

    buf_put(&l->bytes, key.data, key.len);
    l->ends[l->count++] = l->bytes.len;
    l->value_bytes += value.len + key.len;
    if (asd_value_record_get(key, value, &record, &e) == 0 && record.in_slab) {
        l->value_bytes += record.bytes;
    }
    return l->count < BITE_KEYS_MAX && l->value_bytes < BITE_BYTES;
}

static int list_from(struct asd_store *store, struct slice from, asd_index_visit_cb visit,
                     void *ctx, struct err *e)
{
    struct asd_internal_key end = asd_key_of(ASD_KEY_VALUE + 1);

    return store->index->ops->iterate(store->index, from, asd_internal_slice(&end), false, visit,
                                      ctx, e);
}

/* ---- findings ---- */

static void found_bad(struct asd_scrub_bite *bite, struct slice client_key, enum asd_bad kind,
                      const struct err *e)
{
    char text[ASD_KEY_TEXT_BYTES];
    struct asd_scrub_bad *bad;

    if (bite->bad_count == bite->bad_cap) {
        bite->bad_cap = bite->bad_cap == 0 ? 16 : 2 * bite->bad_cap;
        bite->bad = mem_realloc(bite->bad, bite->bad_cap * sizeof(*bite->bad));
    }
    asd_key_text(client_key, text);
    bad = &bite->bad[bite->bad_count++];
    *bad = (struct asd_scrub_bad){.key = mem_strdup(text), .kind = kind, .why = mem_strdup(e->msg)};
}

/* 0: looked at, or not there any more. */
static int check_key(struct asd_scrub_bite *bite, struct slice key, struct err *e)
{
    struct asd_store *store = bite->store;
    unsigned flags = ASD_VERIFY_MEDIUM |
                     (atomic_load(&store->verify_checksums) ? (unsigned)ASD_VERIFY_CLIENT : 0);
    struct slice client_key = slice_of(key.data + 1, key.len - 1);
    enum asd_bad bad = ASD_BAD_NOTHING;
    struct asd_found found;
    int rc = asd_value_find(store, key, &found, e);

    if (rc == 0) {
        rc = asd_verify(store, &found, flags, &bad, e);
        bite->bytes += found.record.bytes;
        bite->cost_bytes +=
            asd_value_cost(client_key.len, found.record.in_slab, found.record.bytes);
    } else {
        bad = asd_verify_find_bad(rc, &found);
        rc = bad != ASD_BAD_NOTHING || rc == ERR_NOT_FOUND ? 0 : rc;
    }
    asd_value_found_release(store, &found);
    bite->keys += rc == 0;
    if (bad != ASD_BAD_NOTHING) {
        found_bad(bite, client_key, bad, e);
    }
    return rc;
}

/* ---- damage of the index ---- */

static bool stop_at_once(void *ctx, struct slice key, struct slice value)
{
    (void)ctx;
    (void)key;
    (void)value;
    return false;
}

static int can_list(void *ctx, struct slice from)
{
    const struct asd_scrub_bite *bite = ctx;
    struct err e;

    return atomic_load(&bite->stop) ? ERR_CANCELED
                                    : list_from(bite->store, from, stop_at_once, NULL, &e);
}

/* Nothing can be listed from `at` on, for `list_rc`: if that is damage, the pass goes on behind it.
 * What may pass is returned. */
static int skip_damage(struct asd_scrub_bite *bite, struct buf *at, int list_rc, struct err *e)
{
    struct asd_store *store = bite->store;
    int rc;

    if (list_rc == -EIO) {
        asd_health_index_error(store, crc32c(0, at->data, at->len));
    }
    if (list_rc != ERR_CORRUPT && (list_rc != -EIO || !bite->insist)) {
        return list_rc;
    }
    rc = asd_scrub_skip(at, can_list, bite);
    if (rc == ERR_CANCELED) {
        return 0; /* the next start begins there */
    }
    if (rc == ERR_NOT_FOUND && list_rc == -EIO) {
        return list_rc; /* the device as a whole */
    }
    if (rc != 0 && rc != ERR_NOT_FOUND) {
        return err_set(e, rc, "index behind damage");
    }
    asd_count(&store->counters.bad_values, 1);
    found_bad(bite, slice_buf(&bite->next), ASD_BAD_RECORD, e);
    if (rc == ERR_NOT_FOUND) {
        bite->done = bite->cut = true;
        return 0;
    }
    bite->next.len = 0;
    buf_put(&bite->next, at->data + 1, at->len - 1);
    return 0;
}

/* ---- the bite ---- */

/* Behind `key`: the first one that is longer. */
static void go_behind(struct asd_scrub_bite *bite, struct slice key)
{
    bite->next.len = 0;
    buf_put(&bite->next, key.data + 1, key.len - 1);
    buf_put_u8(&bite->next, 0);
}

static int check_some(struct asd_scrub_bite *bite, struct err *e)
{
    struct asd_store *store = bite->store;
    struct listed *l = mem_zalloc(sizeof(*l));
    struct buf from = {0};
    size_t at = 0;
    int list_rc;
    int rc = 0;

    asd_key_value_put(&from, slice_buf(&bite->next));
    list_rc = list_from(store, slice_buf(&from), list_key, l, e);
    if (list_rc != 0 && l->count == 0) {
        rc = skip_damage(bite, &from, list_rc, e);
    }
    for (unsigned i = 0; i < l->count && rc == 0 && !atomic_load(&bite->stop); i++) {
        struct slice key = slice_of(l->bytes.data + at, l->ends[i] - at);

        at = l->ends[i];
        rc = check_key(bite, key, e);
        bite->bytes += key.len;
        if (rc == 0) {
            go_behind(bite, key);
        }
    }
    if (list_rc == 0 && rc == 0 && at == l->bytes.len && l->count < BITE_KEYS_MAX &&
        l->value_bytes < BITE_BYTES) {
        bite->done = true;
    }
    buf_release(&l->bytes);
    buf_release(&from);
    free(l);
    return rc;
}

/* Not synced: a power loss only makes it look at some values again. */
static int write_note(struct asd_scrub_bite *bite, struct err *e)
{
    struct asd_store *store = bite->store;
    struct asd_internal_key key = asd_key_of(ASD_KEY_SCRUB);
    struct asd_index_batch batch = {0};
    int rc;

    if (bite->note.len == 0 ||
        (store->room != NULL && !asd_room_has(store->room, bite->note.len, false))) {
        return 0;
    }
    asd_index_batch_put(&batch, asd_internal_slice(&key), slice_buf(&bite->note),
                        slice_of(NULL, 0));
    rc = store->index->ops->write(store->index, &batch, false, e);
    asd_index_batch_release(&batch);
    return rc;
}

static void bite_work(struct pool_work *work)
{
    struct asd_store_op *op = container_of(work, struct asd_store_op, work);
    struct asd_scrub_bite *bite = container_of(op, struct asd_scrub_bite, op);

    bite->op.rc = 0;
    bite->note_rc = write_note(bite, &bite->op.err);
    if (bite->note_rc == 0 && bite->check) {
        bite->op.rc = check_some(bite, &bite->op.err);
    }
}

int asd_scrub_bite_submit(struct asd_scrub_bite *bite, asd_store_cb cb)
{
    static const struct asd_reader reader = {.prio = ASD_PRIO_LOW};

    return asd_read_submit(asd_store_front(bite->store), &bite->op, &reader, bite_work, cb);
}
