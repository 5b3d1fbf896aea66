/* Running, closing and the entry points. Every loop turn in which something was asked or ended
 * finishes with pump(): release segments, answer flushes, start a sync, form frames. So
 * what arrives in one turn shares a frame, and no callback runs inside a call. */
#include "volumedriver/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/journal_private.h"

/* ---- running ---- */

static void finish_close(struct journal *j);

static void pump(struct journal *j)
{
    journal_end_canceled(j);
    segments_pump(j);
    journal_sync_pump(j);
    journal_frames_pump(j);
    finish_close(j);
}

static void on_check(uv_check_t *check)
{
    struct journal *j = container_of(check, struct journal, check);

    uv_idle_stop(&j->idle);
    uv_check_stop(&j->check);
    j->kicked = false;
    pump(j);
}

static void on_turn(uv_idle_t *idle)
{
    (void)idle; /* keeps the loop from blocking before the check */
}

void journal_kick(struct journal *j)
{
    if (j->kicked || j->write_pool == NULL || j->handles_open != 0) {
        return;
    }
    j->kicked = true;
    uv_idle_start(&j->idle, on_turn);
    uv_check_start(&j->check, on_check);
}

void journal_fail(struct journal *j, int rc, const char *what)
{
    if (j->failed == 0) {
        j->failed = rc;
        log_error("journal", "device out of service", "path=%s what=%s why=%s", j->path, what,
                  err_text(rc));
    }
}

/* The volume's writes may go on while it takes an epoch. Those that wait for room come behind the
 * opening, so its seq is that of the first of them. */
static void open_in_front(struct journal *j, struct journal_append *open)
{
    LIST_FOR_EACH (it, &j->data) {
        const struct journal_append *a = container_of(it, struct journal_append, link);

        if (memcmp(a->volume, open->volume, UUID_BYTES) == 0) {
            open->seq = a->seq;
            return;
        }
    }
}

void journal_append(struct journal *j, struct journal_append *append, journal_append_cb cb)
{
    bool is_data = frame_op_is_data(append->op);

    CHECK(!j->closing);
    /* Those keep their place in the journal until they are dropped. */
    CHECK((append->record != NULL) == (is_data || append->op == FRAME_OP_SCO));
    append->cb = cb;
    append->since_ms = uv_now(j->options.loop);
    if (append->op == FRAME_OP_OPEN) {
        open_in_front(j, append);
    }
    list_push(is_data ? &j->data : &j->control, &append->link);
    journal_kick(j);
}

/* ---- what was replayed ---- */

void journal_take_tail(struct journal *j, const uint8_t volume[UUID_BYTES], struct tail *ret_tail)
{
    struct tail_entry *entry;

    HASH_FIND(hh, j->tails, volume, UUID_BYTES, entry);
    *ret_tail = (struct tail){0};
    if (entry != NULL) {
        HASH_DEL(j->tails, entry);
        *ret_tail = entry->tail;
        free(entry);
    }
    ret_tail->lost_lsn = j->lost_lsn;
}

uint32_t journal_tail_epoch(const struct journal *j, const uint8_t volume[UUID_BYTES])
{
    const struct tail_entry *entry;
    uint32_t epoch = 0;

    HASH_FIND(hh, j->tails, volume, UUID_BYTES, entry);
    for (uint32_t i = 0; entry != NULL && i < entry->tail.count; i++) {
        epoch = entry->tail.items[i].epoch > epoch ? entry->tail.items[i].epoch : epoch;
    }
    return epoch;
}

unsigned journal_tail_count(const struct journal *j)
{
    return HASH_COUNT(j->tails);
}

const uint8_t *journal_tail_volume(const struct journal *j, unsigned index)
{
    const struct tail_entry *entry = j->tails;

    while (index-- != 0) {
        entry = entry->hh.next;
    }
    return entry->volume;
}

uint64_t journal_damage_lsn(const struct journal *j)
{
    return j->damage_lsn;
}

void journal_damage_settle(struct journal *j)
{
    j->damage_lsn = 0;
    journal_kick(j);
}

const uint8_t *journal_id(const struct journal *j)
{
    return j->id;
}

uint32_t journal_record_clusters_max(const struct journal *j)
{
    uint64_t blocks = j->segment_bytes / FRAME_BLOCK_BYTES / 2;

    return blocks < FRAME_RECORD_CLUSTERS_MAX ? (uint32_t)blocks : FRAME_RECORD_CLUSTERS_MAX;
}

void journal_stats(const struct journal *j, struct journal_stats *ret_stats)
{
    *ret_stats = j->stats;
    ret_stats->segments = j->segment_count;
    ret_stats->segments_max = j->segments_max;
    ret_stats->segments_used = j->segment_count - j->ready_count;
    ret_stats->live_records = j->live_records;
    ret_stats->lsn = j->next_lsn - 1;
    ret_stats->completed_lsn = j->completed_lsn;
    ret_stats->durable_lsn = j->durable_lsn;
    ret_stats->incarnation = j->incarnation;
    ret_stats->segments_retired = j->retired_count;
    ret_stats->failed = j->failed != 0;
}

/* ---- closing ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct journal *j = handle->data;
    void (*cb)(void *) = j->close_cb;
    void *ctx = j->close_ctx;

    if (--j->handles_open == 0) {
        journal_free(j);
        cb(ctx);
    }
}

static void on_pool_closed(void *ctx)
{
    struct journal *j = ctx;

    if (--j->pools_open != 0) {
        return;
    }
    j->handles_open = 3;
    j->check.data = j->idle.data = j->timer.data = j;
    uv_close((uv_handle_t *)&j->check, on_handle_closed);
    uv_close((uv_handle_t *)&j->idle, on_handle_closed);
    uv_close((uv_handle_t *)&j->timer, on_handle_closed);
}

/* Closing: write what waits, sync it, then the pools, then the handles. */
static void finish_close(struct journal *j)
{
    struct pool *write_pool = j->write_pool;

    if (!j->closing || !journal_frames_idle(j) || j->syncing || j->growing || j->reads != 0 ||
        !list_empty(&j->data) || !list_empty(&j->control)) {
        return;
    }
    if (j->failed == 0 && j->durable_lsn < j->completed_lsn) {
        journal_sync_start(j);
        return;
    }
    j->failed = j->failed != 0 ? j->failed : ERR_CANCELED;
    journal_sync_fail(j);
    j->write_pool = NULL; /* no kicks from here on */
    j->pools_open = 2;
    pool_close(write_pool, on_pool_closed, j);
    pool_close(j->read_pool, on_pool_closed, j);
}

void journal_close(struct journal *j, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!j->closing);
    j->close_cb = cb;
    j->close_ctx = ctx;
    uv_timer_stop(&j->timer);
    journal_kick(j);
    j->closing = true;
}
