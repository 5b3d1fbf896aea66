/* look -> (free, or unchanged for a ttl) take -> renew … -> give back
 *
 * - a renewal fails or its reply is lost: the lease is believed in until its ttl from the last
 *   success, then not; the next look shows what came of it (our owner: go on; another's:
 *   lost);
 * - the process sleeps: every question is answered by the clock;
 * - the record is damaged for a ttl: it is replaced by one of an owner that does not exist, which
 *   everybody has to see unchanged for a ttl like any other. That write cannot assert what it
 *   replaces; should it meet a fresh record of a holder, the holder cannot renew, and has stopped
 *   before the next one begins. */
#include "meta/lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/registry_record.h"

struct lease {
    struct kv *kv;
    char *owner;
    unsigned ttl_ms, renew_ms;
    uint64_t (*now_ms)(void);
    void (*on_change)(void *ctx, bool is_held);
    void *ctx;
    struct key key;

    struct buf seen;       /* the value last seen; empty: none */
    uint64_t seen_at_ms;   /* since when it is unchanged */
    uint64_t seen_counter; /* in it */
    bool seen_is_ours;
    uint64_t damaged_at_ms; /* since when it cannot be read; 0: it can */
    bool healing;           /* txn replaces the damaged one */

    struct kv_txn txn;
    struct buf wanted; /* the value that txn writes */
    uint64_t sent_at_ms;
    uint64_t held_until_ms; /* 0: not held */
    bool told;              /* what on_change said last */
    bool busy;
    bool giving_back;
    uv_timer_t timer;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static void look(struct lease *l);

bool lease_is_held(const struct lease *lease)
{
    return lease_left_ms(lease) != 0;
}

uint64_t lease_left_ms(const struct lease *lease)
{
    uint64_t now = lease->now_ms();

    return now < lease->held_until_ms ? lease->held_until_ms - now : 0;
}

/* ---- turns ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct lease *l = container_of((uv_timer_t *)handle, struct lease, timer);

    if (l->close_cb != NULL) {
        l->close_cb(l->close_ctx);
    }
    kv_txn_release(&l->txn);
    buf_release(&l->seen);
    buf_release(&l->wanted);
    free(l->owner);
    free(l);
}

static void tell(struct lease *l)
{
    bool held = lease_is_held(l);

    if (held != l->told) {
        l->told = held;
        if (l->on_change != NULL) {
            l->on_change(l->ctx, held);
        }
    }
}

static void on_time(uv_timer_t *timer)
{
    struct lease *l = container_of(timer, struct lease, timer);

    tell(l);
    if (!l->busy) {
        look(l);
    }
}

static void next_turn(struct lease *l)
{
    uint64_t left = lease_left_ms(l);
    uint64_t in_ms = l->renew_ms;

    l->busy = false;
    if (l->giving_back) {
        uv_close((uv_handle_t *)&l->timer, on_timer_closed);
        return;
    }
    if (left != 0 && left < in_ms) {
        in_ms = left;
    }
    uv_timer_start(&l->timer, on_time, in_ms, 0);
    tell(l);
}

/* ---- writing ---- */

static void on_written(void *ctx, int rc, const struct kv_reply *reply)
{
    struct lease *l = ctx;
    char text[KEY_TEXT_BYTES];

    (void)reply;
    kv_txn_release(&l->txn);
    if (rc == 0 && l->healing) { /* the next look sees it, for the first time */
        l->damaged_at_ms = 0;
        l->seen.len = 0;
        l->seen_is_ours = false;
        key_text(slice_key(&l->key), text);
        log_error("lease", "damaged record replaced", "key=%s", text);
    } else if (rc == 0) {
        buf_release(&l->seen);
        l->seen = l->wanted;
        l->wanted = (struct buf){0};
        l->seen_is_ours = true;
        l->seen_counter++;
        l->held_until_ms = l->giving_back ? 0 : l->sent_at_ms + l->ttl_ms;
    } else if (rc == ERR_ASSERT_FAILED) {
        l->held_until_ms = 0; /* somebody else wrote: it is not ours */
        l->seen_is_ours = false;
    }
    l->healing = false;
    next_turn(l);
}

static void write_lease(struct lease *l, const char *owner)
{
    json_t *json = json_pack("{s:s, s:I, s:i}", "owner", owner, "counter",
                             (json_int_t)(l->seen_counter + 1), "ttl_ms", (int)l->ttl_ms);

    CHECK(json != NULL);
    l->wanted.len = 0;
    value_make_json(&l->wanted, slice_key(&l->key), json);
    json_decref(json);
    l->txn.reserve = true;
    if (l->healing) {
        ; /* what is there cannot be asserted */
    } else if (l->seen.len != 0) {
        kv_txn_assert_equal(&l->txn, slice_key(&l->key), slice_buf(&l->seen));
    } else {
        kv_txn_assert_absent(&l->txn, slice_key(&l->key));
    }
    kv_txn_put(&l->txn, slice_key(&l->key), slice_buf(&l->wanted));
    l->sent_at_ms = l->now_ms();
    kv_apply(l->kv, &l->txn, l->ttl_ms, on_written, l);
}

/* ---- looking ---- */

static bool is_free(struct lease *l, const struct kv_item *item)
{
    struct err e;
    json_t *json;
    bool nobodys;
    int rc;

    if (!item->found) {
        l->seen.len = 0;
        l->seen_is_ours = false;
        l->damaged_at_ms = 0;
        return true;
    }
    if (!slice_eq(item->value, slice_buf(&l->seen))) {
        l->seen.len = 0;
        buf_put(&l->seen, item->value.data, item->value.len);
        l->seen_at_ms = l->now_ms();
    }
    rc = value_open_json(item->key, item->value, &json, &e);
    if (rc != ERR_CORRUPT) {
        l->damaged_at_ms = 0;
    } else if (l->damaged_at_ms == 0) {
        l->damaged_at_ms = l->now_ms();
    }
    if (rc != 0) {
        return false;
    }
    l->seen_counter = json_u64(json, "counter", 0);
    l->seen_is_ours = strcmp(json_text(json, "owner", ""), l->owner) == 0;
    nobodys = json_text(json, "owner", "")[0] == '\0';
    json_decref(json);
    return nobodys || l->seen_is_ours || l->now_ms() - l->seen_at_ms >= l->ttl_ms;
}

/* By an owner that does not exist, and that nobody else writes. */
static void heal(struct lease *l)
{
    char nobody[160];

    snprintf(nobody, sizeof(nobody), "(was damaged) %s", l->owner);
    l->healing = true;
    write_lease(l, nobody);
}

static void on_looked(void *ctx, int rc, const struct kv_reply *reply)
{
    struct lease *l = ctx;
    bool mine_to_take;

    if (rc != 0) {
        next_turn(l);
        return;
    }
    mine_to_take = is_free(l, &reply->items[0]);
    if (!l->seen_is_ours) {
        l->held_until_ms = 0;
    }
    if (l->giving_back) {
        if (l->seen_is_ours) {
            write_lease(l, "");
        } else {
            next_turn(l);
        }
    } else if (mine_to_take) {
        write_lease(l, l->owner);
    } else if (l->damaged_at_ms != 0 && l->now_ms() - l->damaged_at_ms >= l->ttl_ms) {
        heal(l);
    } else {
        next_turn(l);
    }
}

static void look(struct lease *l)
{
    struct slice k = slice_key(&l->key);

    l->busy = true;
    if (lease_is_held(l)) { /* its end is told even when the engine does not answer */
        uv_timer_start(&l->timer, on_time, lease_left_ms(l), 0);
    }
    kv_get(l->kv, &k, 1, l->ttl_ms, on_looked, l);
}

/* ---- life ---- */

struct lease *lease_new(struct kv *kv, const struct lease_options *options)
{
    struct lease *l = mem_zalloc(sizeof(*l));

    CHECK(strlen(options->name) <= REGISTRY_NAME_BYTES_MAX && options->owner[0] != '\0');
    CHECK(options->renew_ms != 0 && options->renew_ms <= options->ttl_ms / 2);
    l->kv = kv;
    l->owner = mem_strdup(options->owner);
    l->ttl_ms = options->ttl_ms;
    l->renew_ms = options->renew_ms;
    l->now_ms = options->now_ms != NULL ? options->now_ms : clock_mono_ms;
    l->on_change = options->on_change;
    l->ctx = options->ctx;
    reg_key(&l->key, REG_LEASE, options->name);
    CHECK(uv_timer_init(kv_loop(kv), &l->timer) == 0);
    look(l);
    return l;
}

void lease_close(struct lease *lease, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!lease->giving_back);
    lease->giving_back = true;
    lease->close_cb = cb;
    lease->close_ctx = ctx;
    uv_timer_stop(&lease->timer);
    if (!lease->busy) {
        look(lease);
    }
}
