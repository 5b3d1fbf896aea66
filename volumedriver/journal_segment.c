/* The ring of segments: ready -> active -> full -> released -> ready.
 *
 * A segment is released when its records are and all older segments were; it is ready again
 * when a frame that says so (release_lsn) is durable, so that a replay after its overwriting
 * knows that nothing is missing. The file grows first, up to journal_bytes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "volumedriver/journal_private.h"

enum { ZERO_CHUNK_BYTES = 1048576 };

void segment_retire(struct journal *j, struct segment *s)
{
    list_remove(&s->link);
    s->state = SEGMENT_RETIRED;
    j->retired_count++;
    j->segments_max++; /* another one may take its place */
}

static void make_ready(struct journal *j, struct segment *s)
{
    if (s->bad) {
        segment_retire(j, s);
        return;
    }
    list_remove(&s->link);
    s->state = SEGMENT_READY;
    s->first_lsn = s->last_lsn = s->cover_lsn = 0;
    list_push(&j->ready, &s->link);
    j->ready_count++;
}

/* The array never moves while records and lists point into it: it is sized once. */
void segments_init(struct journal *j, uint32_t count)
{
    uint32_t cap = count + j->segments_max + JOURNAL_SEGMENTS_MIN;

    list_init(&j->ready);
    list_init(&j->used);
    list_init(&j->released);
    j->segments = mem_array(cap, sizeof(*j->segments));
    for (uint32_t i = 0; i < cap; i++) {
        list_init(&j->segments[i].link);
    }
    for (uint32_t i = 0; i < count; i++) {
        make_ready(j, &j->segments[i]);
    }
    j->segment_count = count;
}

static int zero_fill(struct journal *j, uint64_t offset, uint64_t bytes)
{
    uint8_t *zeroes = mem_aligned(FRAME_BLOCK_BYTES, ZERO_CHUNK_BYTES);
    int rc = 0;

    memset(zeroes, 0, ZERO_CHUNK_BYTES);
    while (bytes != 0 && rc == 0) {
        size_t n = bytes < ZERO_CHUNK_BYTES ? (size_t)bytes : ZERO_CHUNK_BYTES;

        rc = io_write_full(j->io, j->fd, zeroes, n, offset);
        offset += n;
        bytes -= n;
    }
    free(zeroes);
    return rc;
}

int segments_fill(struct journal *j, uint32_t count)
{
    return zero_fill(j, segment_offset(j, j->segment_count), count * j->segment_bytes);
}

void segments_add(struct journal *j, uint32_t count)
{
    while (count-- != 0) {
        make_ready(j, &j->segments[j->segment_count++]);
    }
}

static void grow_run(struct pool_work *work)
{
    struct journal *j = container_of(work, struct journal, grow_work);

    j->grow_rc = segments_fill(j, 1);
}

static void grow_done(struct pool_work *work, int rc)
{
    struct journal *j = container_of(work, struct journal, grow_work);

    j->growing = false;
    rc = rc != 0 ? rc : j->grow_rc;
    if (rc == 0) {
        j->grown = true;
        j->grow_after_ms = 0;
    } else if (rc != ERR_CANCELED) {
        /* The ring goes on with the segments it has, until the disk may have room again. */
        log_warn("journal", "cannot grow", "path=%s segments=%" PRIu32 " why=%s", j->path,
                 j->segment_count, err_text(rc));
        j->grow_after_ms = uv_now(j->options.loop) + j->options.grow_again_ms;
    }
    journal_kick(j);
}

static void grow(struct journal *j)
{
    if (j->growing || j->grown || j->closing || j->failed != 0 ||
        j->segment_count >= j->segments_max || uv_now(j->options.loop) < j->grow_after_ms) {
        return;
    }
    if (pool_submit(j->write_pool, &j->grow_work, POOL_LOW, grow_run, grow_done) == 0) {
        j->growing = true;
    }
}

bool segment_roll(struct journal *j, bool for_data)
{
    struct segment *s;

    if (j->ready_count <= (for_data ? segments_reserved(j) : 0)) {
        return false;
    }
    if (j->active != NULL) {
        j->active->state = SEGMENT_FULL;
    }
    s = container_of(list_pop(&j->ready), struct segment, link);
    j->ready_count--;
    CHECK(s->live == 0);
    s->state = SEGMENT_ACTIVE;
    s->first_lsn = s->last_lsn = j->next_lsn;
    list_push(&j->used, &s->link);
    j->active = s;
    j->active_offset = 0;
    rnd_bytes(j->salt, sizeof(j->salt));
    return true;
}

void segment_record_added(struct journal *j, struct record *record, struct segment *s)
{
    record->segment = segment_index(j, s);
    s->live++;
    j->live_records++;
}

void journal_record_hold(struct record *record)
{
    CHECK(record->refs > 0);
    record->refs++;
}

void journal_record_drop(struct journal *j, struct record *record)
{
    struct segment *s;

    CHECK(record->refs > 0);
    if (--record->refs != 0) {
        return;
    }
    if (record->data_offset != 0) {
        s = &j->segments[record->segment];
        CHECK(s->live > 0 && j->live_records > 0);
        s->live--;
        j->live_records--;
        if (s->live == 0 || j->full) {
            journal_kick(j);
        }
    }
    free(record);
}

void journal_record_abandon(struct journal *j, struct record *record)
{
    (void)j;
    CHECK(record->refs == 1);
    free(record);
}

static void release_oldest(struct journal *j)
{
    while (!list_empty(&j->used)) {
        struct segment *s = container_of(j->used.next, struct segment, link);

        bool lost = j->damage_lsn != 0 && s->last_lsn >= j->damage_lsn;

        if (s->state != SEGMENT_FULL || s->live != 0 || s->last_lsn > j->completed_lsn || lost) {
            /* What is lost may lie between two segments: then it stays where it was. */
            if (j->damage_lsn == 0 || s->first_lsn <= j->damage_lsn) {
                j->release_lsn = s->first_lsn;
            }
            return;
        }
        s->state = SEGMENT_RELEASED;
        j->release_lsn = s->last_lsn + 1;
        list_remove(&s->link);
        list_push(&j->released, &s->link);
    }
}

void segments_covered(struct journal *j, uint64_t lsn)
{
    LIST_FOR_EACH (it, &j->released) {
        struct segment *s = container_of(it, struct segment, link);

        s->cover_lsn = s->cover_lsn != 0 ? s->cover_lsn : lsn;
    }
}

/* Volumes upload what lies in the older half of a ring that is more than half full. */
static void press(struct journal *j)
{
    uint32_t ring = j->grow_after_ms != 0 ? j->segment_count : j->segments_max;
    uint32_t used = 0, half = (ring - j->retired_count) / 2;
    uint64_t lsn = 0;

    LIST_FOR_EACH (it, &j->used) {
        used++;
    }
    if (used <= half && j->live_records <= JOURNAL_RECORDS_MAX / 2 && !j->full) {
        return;
    }
    used = used > half ? used - half : 1;
    LIST_FOR_EACH (it, &j->used) {
        lsn = container_of(it, struct segment, link)->last_lsn;
        if (--used == 0) {
            break;
        }
    }
    /* What is in flight is in no volume's hands yet: it is told when it has completed. */
    lsn = lsn < j->completed_lsn ? lsn : j->completed_lsn;
    if (lsn > j->pressed_lsn && j->options.on_pressure != NULL) {
        j->pressed_lsn = lsn;
        j->options.on_pressure(j->options.ctx, lsn);
    }
}

bool segments_wait_for_cover(const struct journal *j)
{
    return !list_empty(&j->released) &&
           container_of(j->released.next, struct segment, link)->cover_lsn == 0;
}

void segments_pump(struct journal *j)
{
    release_oldest(j);
    LIST_FOR_EACH_SAFE (it, &j->released) {
        struct segment *s = container_of(it, struct segment, link);

        if (s->cover_lsn == 0 || s->cover_lsn > j->durable_lsn) {
            break;
        }
        make_ready(j, s);
    }
    if (j->ready_count <= segments_reserved(j) + 1) {
        /* Nobody else may come and tell the release. */
        j->want_empty = j->want_empty || segments_wait_for_cover(j);
        grow(j);
    }
    if (list_empty(&j->data) && j->ready_count > segments_reserved(j) &&
        j->live_records < JOURNAL_RECORDS_MAX) {
        j->full = false;
    }
    press(j);
}
