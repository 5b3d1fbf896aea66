/* One fdatasync at a time; it covers every frame that was complete when it began, and growth.
 * Who asks while one runs shares the next.
 *
 * A guest that flushes after each write (a database's log) waits for two jobs each time. So once a
 * few frames in a row were flushed, one that goes out alone is written and synced by one job, and
 * the flush finds it done. The write is answered late, which costs that guest nothing; the
 * first frame that nobody flushes ends it.
 *
 * Nobody else syncs this file: Linux tells a write-back error once for each open file, and one
 * told elsewhere (to a sync for growth, say) would let a flush succeed over lost frames. */
#include "base/check.h"
#include "volumedriver/journal_private.h"

enum { FLUSHED_FRAMES_MIN = 4 };

static void end_flush(struct journal_flush *f, int rc)
{
    list_remove(&f->link);
    f->cb(f, rc);
}

void journal_sync_fail(struct journal *j)
{
    while (!list_empty(&j->flushes)) {
        end_flush(container_of(j->flushes.next, struct journal_flush, link), ERR_FAILED);
    }
    while (!list_empty(&j->appends)) {
        struct journal_append *a = container_of(list_pop(&j->appends), struct journal_append, link);

        a->cb(a, ERR_FAILED);
    }
}

/* Answer what is durable by now; true when something that is complete is not. */
static bool answer(struct journal *j)
{
    struct list flushes, appends;
    bool more = false;

    /* Callbacks may queue new ones: those wait for the next turn. */
    list_init(&flushes);
    list_init(&appends);
    list_splice(&flushes, &j->flushes);
    list_splice(&appends, &j->appends);
    LIST_FOR_EACH_SAFE (it, &appends) {
        struct journal_append *a = container_of(it, struct journal_append, link);

        if (a->lsn <= j->durable_lsn) {
            list_remove(&a->link);
            a->cb(a, 0);
        } else {
            more = true;
        }
    }
    LIST_FOR_EACH_SAFE (it, &flushes) {
        struct journal_flush *f = container_of(it, struct journal_flush, link);

        if (f->lsn <= j->durable_lsn) {
            end_flush(f, 0);
        } else {
            more = true;
        }
    }
    list_splice(&flushes, &j->flushes);
    list_splice(&j->flushes, &flushes);
    list_splice(&appends, &j->appends);
    list_splice(&j->appends, &appends);
    return more;
}

static void on_idle(uv_timer_t *timer)
{
    struct journal *j = container_of(timer, struct journal, timer);

    if (j->failed != 0 || j->closing) {
        return;
    }
    if (!journal_frames_idle(j)) {
        /* One under way was formed before the sync ended and does not tell it either. */
        uv_timer_start(&j->timer, on_idle, JOURNAL_IDLE_MS, 0);
    } else if (j->told_durable_lsn < j->durable_lsn && j->told_durable_lsn < j->record_lsn) {
        j->want_empty =
            !j->full || j->ready_count != 0; /* what drains a full one needs room, too */
        uv_timer_start(&j->timer, on_idle, JOURNAL_TOLD_MS, 0);
        journal_kick(j);
    } else if (j->record_lsn <= j->told_durable_lsn && j->completed_lsn > j->durable_lsn &&
               !j->syncing) {
        journal_sync_start(j); /* what was told would be lost with the page cache */
    }
}

static void sync_run(struct pool_work *work)
{
    struct journal *j = container_of(work, struct journal, sync_work);

    j->sync_rc = j->io->ops->fdatasync(j->io, j->fd);
}

void journal_sync_ended(struct journal *j, int rc)
{
    j->syncing = false;
    j->stats.syncs++;
    if (rc != 0) {
        journal_fail(j, rc, "fdatasync");
    } else if (j->failed == 0) {
        j->durable_lsn = j->sync_lsn;
        if (j->growth) {
            j->grown = false;
            segments_add(j, 1);
        }
        if (!j->closing) {
            uv_timer_start(&j->timer, on_idle, JOURNAL_IDLE_MS, 0);
        }
    }
    journal_kick(j);
}

static void sync_done(struct pool_work *work, int rc)
{
    struct journal *j = container_of(work, struct journal, sync_work);

    journal_sync_ended(j, rc != 0 ? rc : j->sync_rc);
}

/* A released segment is wanted back and the frame that says so is not durable yet. */
static bool wants_release(const struct journal *j)
{
    const struct segment *s;

    if (list_empty(&j->released) || j->ready_count > segments_reserved(j) + 1) {
        return false;
    }
    s = container_of(j->released.next, struct segment, link);
    return s->cover_lsn > j->durable_lsn && s->cover_lsn <= j->completed_lsn;
}

static void begin(struct journal *j, uint64_t lsn)
{
    j->syncing = true;
    j->sync_lsn = lsn;
    j->growth = j->grown;
}

/* Alone: all before it are complete, so when its write has ended it is, too, and a sync that
 * begins then covers it. */
bool journal_sync_along(struct journal *j, uint64_t lsn)
{
    bool along;

    j->flushed_frames = j->newest_flushed ? j->flushed_frames + 1 : 0;
    j->newest_flushed = false;
    along = j->flushed_frames >= FLUSHED_FRAMES_MIN && j->completed_lsn + 1 == lsn && !j->syncing &&
            list_empty(&j->data) && list_empty(&j->control);
    if (along) {
        begin(j, lsn);
    }
    return along;
}

void journal_sync_start(struct journal *j)
{
    begin(j, j->completed_lsn);
    CHECK(pool_submit(j->write_pool, &j->sync_work, POOL_HIGH, sync_run, sync_done) == 0);
}

void journal_sync_pump(struct journal *j)
{
    bool wanted;

    if (j->failed != 0) {
        journal_sync_fail(j);
        return;
    }
    wanted = answer(j);
    wanted = (wanted || wants_release(j)) && j->completed_lsn > j->durable_lsn;
    if ((wanted || j->grown) && !j->syncing) {
        journal_sync_start(j);
    }
}

void journal_flush(struct journal *j, struct journal_flush *flush, uint64_t lsn,
                   journal_flush_cb cb)
{
    *flush = (struct journal_flush){.lsn = lsn, .cb = cb};
    j->newest_flushed = j->newest_flushed || lsn + 1 == j->next_lsn;
    list_push(&j->flushes, &flush->link);
    journal_kick(j);
}
