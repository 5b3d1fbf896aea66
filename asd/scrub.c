/* A pass goes: bite in the read pool -> on_bite -> wait for the rate -> the next bite … -> pause
 * -> the next pass. One timer; on_timer decides what is due.
 *
 * - the read pool is full, or descriptors are short: the bite is tried again, later and later;
 * - the index cannot be read: so is that, until it is damage; if nothing behind can be read either,
 *   the pass ends, but not as a whole one; or goes on trying, if it is the device that fails;
 * - reads fail (asd_health): it goes on slowly, so that it neither calls all that is on the disk
 *   bad nor misses that the device is back;
 * - its record cannot be written: the store is out of service, as after any failed write. */
#include "asd/scrub.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "asd/health.h"
#include "asd/scrub_private.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"

enum {
    NOTE_MS = 30 * 1000,        /* what a restart looks at again, at most */
    PAUSE_NOTE_MS = 600 * 1000, /* and what it waits longer */
    RETRY_MS = 100,
    SICK_MS = 10 * 1000, /* between bites while reads fail; and RETRY_MS, doubled, at most */
    TRIES = 3,           /* before it is said, and an index that fails is damage */
    LOG_EVERY_MS = 1000,
};

static void on_timer(uv_timer_t *timer);

/* ---- what is known ---- */

static void count_pause(struct asd_scrub *s)
{
    uint64_t now_ms = clock_mono_ms();
    uint64_t passed_s = (now_ms - s->paused_ms) / 1000;

    s->now.paused_s += passed_s;
    s->paused_ms += passed_s * 1000;
}

static void bad_release(struct asd_scrub_bad *bad)
{
    free(bad->key);
    free(bad->why);
}

static void list_clear(struct asd_scrub *s)
{
    for (unsigned i = 0; i < s->list_count; i++) {
        bad_release(&s->list[i]);
    }
    s->list_count = 0;
    memset(s->bad_by_kind, 0, sizeof(s->bad_by_kind));
}

static void list_add(struct asd_scrub *s, struct asd_scrub_bad *bad)
{
    unsigned long skipped;

    s->now.bad++;
    s->bad_by_kind[bad->kind]++;
    if (log_limit_pass(&s->bad_log, LOG_EVERY_MS, &skipped)) {
        log_warn("asd", "bad value", "key=\"%s\" kind=%s error=\"%s\" skipped=%lu", bad->key,
                 asd_bad_name(bad->kind), bad->why, skipped);
    }
    if (s->list_count < ASD_SCRUB_LIST_MAX) {
        s->list[s->list_count++] = *bad;
    } else {
        bad_release(bad);
    }
}

static void note_encode(struct asd_scrub *s, struct buf *b)
{
    struct asd_internal_key key = asd_key_of(ASD_KEY_SCRUB);

    s->now.next = slice_buf(&s->next);
    b->len = 0;
    asd_scrub_record_put(b, asd_internal_slice(&key), &s->now);
}

/* ---- passes ---- */

static void pass_begin(struct asd_scrub *s)
{
    list_clear(s);
    s->next.len = 0;
    s->now = (struct asd_scrub_record){.pass = s->now.pass + 1,
                                       .running = true,
                                       .started_s = clock_wall_us() / 1000000,
                                       .ended_s = s->now.ended_s,
                                       .last_bad = s->now.last_bad};
    s->due_ms = clock_mono_ms();
    log_info("asd", "scrub begins", "pass=%" PRIu64, s->now.pass);
}

static void pass_end(struct asd_scrub *s, bool whole)
{
    s->now.running = false;
    if (whole) {
        s->now.ended_s = clock_wall_us() / 1000000;
        s->now.last_bad = s->now.bad;
    }
    s->now.paused_s = 0;
    s->paused_ms = clock_mono_ms();
    s->next.len = 0;
    s->noted_ms = 0; /* soon */
    log_info("asd", whole ? "scrub done" : "scrub ended by damage",
             "pass=%" PRIu64 " keys=%" PRIu64 " bytes=%" PRIu64 " bad=%" PRIu64, s->now.pass,
             s->now.keys, s->now.bytes, s->now.bad);
}

/* ---- bites ---- */

static void wait_ms(struct asd_scrub *s, uint64_t ms)
{
    CHECK(uv_timer_start(&s->timer, on_timer, ms, 0) == 0);
}

static void finish_close(struct asd_scrub *s);

/* How many milliseconds so many bytes are to take. */
static uint64_t rate_ms(const struct asd_scrub *s, uint64_t bytes)
{
    uint64_t rate = s->settings.rate != 0 ? s->settings.rate : 1;

    return bytes / rate * 1000 + bytes % rate * 1000 / rate;
}

/* Not a value's fault: again, later each time. */
static void try_again(struct asd_scrub *s)
{
    uint64_t ms = SICK_MS;

    s->tries = s->bite.keys != 0 ? 1 : s->tries + 1;
    if (s->tries < 8 && (uint64_t)RETRY_MS << (s->tries - 1) < ms) {
        ms = (uint64_t)RETRY_MS << (s->tries - 1);
    }
    s->due_ms += ms;
    if (s->tries == TRIES) {
        log_warn("asd", "scrub waits", "error=\"%s\"", s->bite.op.err.msg);
    }
}

static void take_bite(struct asd_scrub *s)
{
    struct asd_scrub_bite *bite = &s->bite;
    bool sick = bite->bad_count != 0 && asd_health(s->store, &(struct err){0}) != 0;

    for (unsigned i = 0; i < bite->bad_count; i++) {
        list_add(s, &bite->bad[i]);
    }
    bite->bad_count = 0;
    s->now.keys += bite->keys;
    s->now.bytes += bite->bytes;
    s->now.cost_bytes += bite->cost_bytes;
    s->total_keys += bite->keys;
    s->total_bytes += bite->bytes;
    s->next.len = 0;
    buf_put(&s->next, bite->next.data, bite->next.len);
    s->due_ms = s->begun_ms + rate_ms(s, bite->bytes);
    if (sick) {
        s->due_ms += SICK_MS;
    }
    if (bite->op.rc != 0) {
        try_again(s);
        return;
    }
    s->tries = 0;
    if (bite->done) {
        pass_end(s, !bite->cut);
    }
}

static void on_bite(struct asd_store_op *op, int rc)
{
    struct asd_scrub *s = container_of(op, struct asd_scrub, bite.op);

    s->busy = false;
    if (rc != ERR_CANCELED && s->bite.note_rc != 0) {
        err_wrap(&op->err, "scrub");
        asd_store_fail(s->store, &op->err);
    } else if (rc != ERR_CANCELED && s->bite.check) {
        take_bite(s);
    }
    if (s->closing) {
        finish_close(s);
    } else {
        on_timer(&s->timer);
    }
}

static void bite_begin(struct asd_scrub *s, bool check, bool note)
{
    struct asd_scrub_bite *bite = &s->bite;

    bite->check = check;
    bite->insist = s->tries >= TRIES;
    bite->done = bite->cut = false;
    bite->keys = bite->bytes = bite->cost_bytes = 0;
    bite->note_rc = 0;
    bite->note.len = 0;
    if (note && !asd_store_failed(s->store, NULL)) {
        note_encode(s, &bite->note);
    }
    bite->next.len = 0;
    buf_put(&bite->next, s->next.data, s->next.len);
    s->begun_ms = clock_mono_ms();
    s->busy = true;
    if (asd_scrub_bite_submit(bite, on_bite) != 0) {
        s->busy = false;
        wait_ms(s, RETRY_MS);
    } else if (note) { /* out of service, too: the next try is then */
        s->noted_ms = s->begun_ms;
    }
}

/* ---- what is due ---- */

static void pass_step(struct asd_scrub *s, uint64_t now_ms)
{
    if (now_ms < s->due_ms) {
        wait_ms(s, s->due_ms - now_ms);
        return;
    }
    bite_begin(s, true, now_ms - s->noted_ms >= NOTE_MS);
}

static void pause_step(struct asd_scrub *s, uint64_t now_ms)
{
    uint64_t left_ms;

    count_pause(s);
    if (s->now.pass == 0 || s->now.paused_s >= s->settings.interval_s) {
        pass_begin(s);
        pass_step(s, now_ms);
        return;
    }
    if (s->noted_ms == 0 || now_ms - s->noted_ms >= PAUSE_NOTE_MS) {
        bite_begin(s, false, true);
        return;
    }
    left_ms = (s->settings.interval_s - s->now.paused_s) * 1000;
    wait_ms(s, left_ms < PAUSE_NOTE_MS ? left_ms : PAUSE_NOTE_MS);
}

static void on_timer(uv_timer_t *timer)
{
    struct asd_scrub *s = container_of(timer, struct asd_scrub, timer);
    uint64_t now_ms = clock_mono_ms();

    if (s->busy || s->closing) {
        return;
    }
    if (s->settings.rate == 0) {
        uv_timer_stop(&s->timer);
    } else if (s->now.running) {
        pass_step(s, now_ms);
    } else {
        pause_step(s, now_ms);
    }
}

/* ---- life ---- */

/* A record that cannot be used only means that it begins anew. */
static int load(struct asd_scrub *s, struct err *e)
{
    struct asd_index *index = s->store->index;
    struct asd_internal_key key = asd_key_of(ASD_KEY_SCRUB);
    struct asd_index_value value = {0};
    int rc = index->ops->get(index, asd_internal_slice(&key), &value, e);

    if (rc == ERR_NOT_FOUND) {
        return 0;
    }
    if (rc == 0) {
        rc = asd_scrub_record_get(asd_internal_slice(&key), value.bytes, &s->now, e);
    }
    if (rc == 0) {
        buf_put(&s->next, s->now.next.data, s->now.next.len);
    } else {
        log_warn("asd", "scrub begins anew", "error=\"%s\"", e->msg);
        s->now = (struct asd_scrub_record){0};
    }
    index->ops->release(index, &value);
    return rc == ERR_CORRUPT || rc == ERR_VERSION ? 0 : rc;
}

int asd_scrub_new(struct asd_store *store, const struct asd_scrub_settings *settings,
                  struct asd_scrub **ret_scrub, struct err *e)
{
    struct asd_scrub *s = mem_zalloc(sizeof(*s));
    int rc;

    *ret_scrub = NULL;
    s->store = s->bite.store = store;
    s->settings = *settings;
    rc = load(s, e);
    if (rc != 0) {
        buf_release(&s->next);
        free(s);
        return err_wrap(e, "scrub");
    }
    s->paused_ms = s->noted_ms = s->due_ms = clock_mono_ms();
    CHECK(uv_timer_init(store->loop, &s->timer) == 0);
    wait_ms(s, 0);
    *ret_scrub = s;
    return 0;
}

void asd_scrub_set(struct asd_scrub *s, const struct asd_scrub_settings *settings)
{
    s->settings = *settings;
    s->due_ms = clock_mono_ms(); /* the pause after the last bite was by the old rate */
    on_timer(&s->timer);
}

int asd_scrub_now(struct asd_scrub *s, struct err *e)
{
    if (s->settings.rate == 0) {
        return err_say(e, ERR_BUSY, "scrub_rate is 0");
    }
    if (!s->now.running && !s->busy) {
        pass_begin(s);
        on_timer(&s->timer);
    } else if (!s->now.running) { /* it notes the end of the last one just now */
        s->now.paused_s = UINT64_MAX / 2;
    }
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct asd_scrub *s = container_of((uv_timer_t *)handle, struct asd_scrub, timer);
    asd_scrub_close_cb cb = s->close_cb;
    void *ctx = s->close_ctx;

    list_clear(s);
    free(s->bite.bad);
    buf_release(&s->bite.note);
    buf_release(&s->bite.next);
    buf_release(&s->next);
    free(s);
    cb(ctx);
}

/* Once nothing runs: one more note, then the end. */
static void finish_close(struct asd_scrub *s)
{
    if (s->noted_ms != UINT64_MAX && s->now.pass != 0) {
        bite_begin(s, false, true);
        s->noted_ms = UINT64_MAX; /* the last one */
        if (s->busy) {
            return;
        }
    }
    uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

void asd_scrub_close(struct asd_scrub *s, asd_scrub_close_cb cb, void *ctx)
{
    CHECK(!s->closing);
    s->closing = true;
    atomic_store(&s->bite.stop, true);
    s->close_cb = cb;
    s->close_ctx = ctx;
    if (!s->now.running) {
        count_pause(s);
    }
    if (!s->busy) {
        finish_close(s);
    }
}

struct asd_scrub_stats asd_scrub_stats(const struct asd_scrub *s)
{
    struct asd_scrub_stats stats = {
        .running = s->now.running,
        .pass = s->now.pass,
        .keys = s->now.keys,
        .bytes = s->now.bytes,
        .cost_bytes = s->now.cost_bytes,
        .bad = s->now.bad,
        .started_s = s->now.started_s,
        .ended_s = s->now.ended_s,
        .last_bad = s->now.last_bad,
        .paused_s = s->now.paused_s,
        .total_keys = s->total_keys,
        .total_bytes = s->total_bytes,
    };

    memcpy(stats.bad_by_kind, s->bad_by_kind, sizeof(stats.bad_by_kind));
    return stats;
}

const struct asd_scrub_bad *asd_scrub_list(const struct asd_scrub *s, unsigned *ret_count)
{
    *ret_count = s->list_count;
    return s->list;
}
