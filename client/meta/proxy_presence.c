/* WRITE (our own) -> LOOK (at all) -> SWEEP (those that are gone) -> wait -> WRITE …
 *
 * - our record was taken from us while we were frozen: the next WRITE puts it back;
 * - a WRITE that arrives after the end: a record that never changes, swept by whoever lives;
 * - two sweep the same one: the assert of the later fails, with all that goes with it; it looks
 *   anew at its next turn;
 * - too many records: WRITE makes no new one until there are less. */
#include "meta/proxy_presence.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/bytes.h"

enum { SWEEP_MAX = 64 /* in one transaction */, TTL_INTERVALS = 3 };

/* One record of others, as it was last seen. */
struct seen {
    struct slice key, value; /* owned */
    uint64_t since_ms;       /* unchanged */
    uint32_t ttl_ms;
    bool is_damaged; /* the store cannot read it: nothing to assert */
    bool is_here;    /* in the look that is going on */
};

struct proxy_presence {
    struct kv *kv;
    struct proxy_record self;
    bool has_self;
    bool is_written; /* as far as we know it is there */
    bool is_crowded; /* there is no room for another one */
    unsigned interval_ms;
    uint64_t (*now_ms)(void);
    struct key key; /* of our own */
    struct seen *seen;
    size_t seen_count;

    struct kv_txn txn;
    bool busy;
    bool closing;
    uv_timer_t timer;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static void seen_release(struct seen *s)
{
    slice_release(&s->key);
    slice_release(&s->value);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct proxy_presence *p = container_of((uv_timer_t *)handle, struct proxy_presence, timer);

    p->close_cb(p->close_ctx);
    for (size_t i = 0; i < p->seen_count; i++) {
        seen_release(&p->seen[i]);
    }
    free(p->seen);
    kv_txn_release(&p->txn);
    free(p);
}

/* ---- the end of a turn ---- */

static void on_withdrawn(void *ctx, int rc, const struct kv_reply *reply)
{
    struct proxy_presence *p = ctx;

    (void)rc; /* what stays is swept by others */
    (void)reply;
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}

static void withdraw(struct proxy_presence *p)
{
    if (!p->is_written) {
        uv_close((uv_handle_t *)&p->timer, on_timer_closed);
        return;
    }
    kv_txn_release(&p->txn);
    kv_txn_delete(&p->txn, slice_key(&p->key));
    kv_apply(p->kv, &p->txn, PROXY_PRESENCE_CALL_MS, on_withdrawn, p);
}

static void write_own(struct proxy_presence *p);

static void on_time(uv_timer_t *timer)
{
    write_own(container_of(timer, struct proxy_presence, timer));
}

static void end_turn(struct proxy_presence *p)
{
    p->busy = false;
    if (p->closing) {
        withdraw(p);
    } else {
        uv_timer_start(&p->timer, on_time, p->interval_ms, 0);
    }
}

/* ---- sweep ---- */

static void on_swept(void *ctx, int rc, const struct kv_reply *reply)
{
    struct proxy_presence *p = ctx;

    (void)reply;
    if (rc == 0) {
        log_info("presence", "records of proxies that are gone were deleted", "count=%u",
                 p->txn.update_count);
    }
    end_turn(p);
}

static void sweep(struct proxy_presence *p)
{
    uint64_t now = p->now_ms();

    kv_txn_release(&p->txn);
    for (size_t i = 0; i < p->seen_count && p->txn.update_count < SWEEP_MAX; i++) {
        const struct seen *s = &p->seen[i];

        if (now - s->since_ms < s->ttl_ms) {
            continue;
        }
        if (!s->is_damaged) {
            kv_txn_assert_equal(&p->txn, s->key, s->value);
        }
        kv_txn_delete(&p->txn, s->key);
    }
    if (p->txn.update_count == 0) {
        end_turn(p);
        return;
    }
    kv_apply(p->kv, &p->txn, PROXY_PRESENCE_CALL_MS, on_swept, p);
}

/* ---- look ---- */

static struct seen *find(struct proxy_presence *p, struct slice key)
{
    for (size_t i = 0; i < p->seen_count; i++) {
        if (slice_eq(p->seen[i].key, key)) {
            return &p->seen[i];
        }
    }
    p->seen = mem_realloc(p->seen, (p->seen_count + 1) * sizeof(*p->seen));
    p->seen[p->seen_count] = (struct seen){.key = slice_dup(key), .since_ms = p->now_ms()};
    return &p->seen[p->seen_count++];
}

static void note(struct proxy_presence *p, const struct kv_item *item)
{
    struct seen *s = find(p, item->key);
    struct proxy_record record;
    struct err ignored;

    s->is_here = true;
    if (s->is_damaged != item->is_damaged || !slice_eq(s->value, item->value)) {
        slice_release(&s->value);
        s->value = slice_dup(item->value);
        s->is_damaged = item->is_damaged;
        s->since_ms = p->now_ms();
    }
    s->ttl_ms =
        !item->is_damaged && proxy_record_open(item->key, item->value, &record, &ignored) == 0
            ? record.ttl_ms
            : TTL_INTERVALS * p->interval_ms;
}

static void forget_absent(struct proxy_presence *p)
{
    size_t kept = 0;

    for (size_t i = 0; i < p->seen_count; i++) {
        if (p->seen[i].is_here) {
            p->seen[i].is_here = false;
            p->seen[kept++] = p->seen[i];
        } else {
            seen_release(&p->seen[i]);
        }
    }
    p->seen_count = kept;
}

static void on_looked(void *ctx, int rc, const struct kv_reply *reply)
{
    struct proxy_presence *p = ctx;
    bool was_crowded = p->is_crowded;

    if (rc != 0 || p->closing) {
        end_turn(p);
        return;
    }
    p->is_written = false;
    for (size_t i = 0; i < reply->count; i++) {
        if (p->has_self && slice_eq(reply->items[i].key, slice_key(&p->key))) {
            p->is_written = true;
        } else {
            note(p, &reply->items[i]);
        }
    }
    forget_absent(p);
    p->is_crowded = reply->count >= PROXY_RECORDS_MAX && !p->is_written;
    if (p->is_crowded && p->has_self && !was_crowded) {
        log_warn("presence", "the registry lists as many proxies as it takes, not this one",
                 "max=%d", (int)PROXY_RECORDS_MAX);
    }
    sweep(p);
}

static void look(struct proxy_presence *p)
{
    struct key low, high;

    proxy_record_range(&low, &high);
    kv_range(p->kv,
             &(struct kv_range){
                 .low = slice_key(&low), .high = slice_key(&high), .limit = PROXY_RECORDS_MAX + 1},
             PROXY_PRESENCE_CALL_MS, on_looked, p);
}

/* ---- write ---- */

static void on_written(void *ctx, int rc, const struct kv_reply *reply)
{
    struct proxy_presence *p = ctx;

    (void)reply;
    p->is_written = p->is_written || rc == 0 || rc == ERR_IN_DOUBT;
    if (rc != 0 || p->closing) {
        end_turn(p);
    } else {
        look(p);
    }
}

static void write_own(struct proxy_presence *p)
{
    struct buf value = {0};

    p->busy = true;
    if (!p->has_self || p->is_crowded) {
        look(p);
        return;
    }
    p->self.counter++;
    proxy_record_put(&value, slice_key(&p->key), &p->self);
    kv_txn_release(&p->txn);
    p->txn.reserve = true;
    kv_txn_put(&p->txn, slice_key(&p->key), slice_buf(&value));
    buf_release(&value);
    kv_apply(p->kv, &p->txn, PROXY_PRESENCE_CALL_MS, on_written, p);
}

/* ---- life ---- */

struct proxy_presence *proxy_presence_new(struct kv *kv,
                                          const struct proxy_presence_options *options)
{
    struct proxy_presence *p = mem_zalloc(sizeof(*p));

    p->kv = kv;
    p->interval_ms = options->interval_ms != 0 ? options->interval_ms : PROXY_PRESENCE_INTERVAL_MS;
    p->now_ms = options->now_ms != NULL ? options->now_ms : clock_mono_ms;
    p->has_self = options->self != NULL;
    if (p->has_self) {
        p->self = *options->self;
        p->self.ttl_ms = TTL_INTERVALS * p->interval_ms;
        rnd_uuid_text(p->self.id);
        proxy_record_key(&p->key, p->self.id);
    }
    CHECK(uv_timer_init(kv_loop(kv), &p->timer) == 0);
    write_own(p);
    return p;
}

void proxy_presence_close(struct proxy_presence *presence, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!presence->closing);
    presence->closing = true;
    presence->close_cb = cb;
    presence->close_ctx = ctx;
    uv_timer_stop(&presence->timer);
    if (!presence->busy) {
        withdraw(presence);
    }
}
