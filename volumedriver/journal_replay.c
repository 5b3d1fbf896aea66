/* Replay, second half: which of the frames that were found are the log. accept_frames() walks the
 * LSNs by the rules of FORMAT.md, "Opening"; the records of frames that turn out to lie
 * behind an end or below the release LSN are dropped again. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/journal_replay.h"

static struct incarnation *incarnation_of(struct replay *r, uint64_t number)
{
    uint32_t at = 0;

    while (at < r->incarnation_count && r->incarnations[at].number < number) {
        at++;
    }
    if (at == r->incarnation_count || r->incarnations[at].number != number) {
        r->incarnations =
            mem_realloc(r->incarnations, (r->incarnation_count + 1) * sizeof(*r->incarnations));
        memmove(&r->incarnations[at + 1], &r->incarnations[at],
                (r->incarnation_count - at) * sizeof(*r->incarnations));
        r->incarnations[at] = (struct incarnation){.number = number};
        r->incarnation_count++;
    }
    return &r->incarnations[at];
}

static void list_incarnations(struct replay *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        const struct frame_header *h = &r->frames[i].h;
        struct incarnation *inc = incarnation_of(r, h->incarnation);

        inc->first_lsn = h->first_lsn;
        inc->durable_lsn = h->durable_lsn > inc->durable_lsn ? h->durable_lsn : inc->durable_lsn;
    }
}

static const struct incarnation *incarnation_at(const struct replay *r, uint64_t lsn)
{
    for (uint32_t i = r->incarnation_count; i-- > 0;) {
        if (r->incarnations[i].first_lsn <= lsn) {
            return &r->incarnations[i];
        }
    }
    return NULL;
}

/* The last LSN that is known to have been written whole, from `lsn` on: what a frame of its
 * incarnation says was synced, or what an earlier replay read. */
static uint64_t covered_to(const struct replay *r, uint64_t lsn)
{
    const struct incarnation *inc = incarnation_at(r, lsn);
    const struct incarnation *last = &r->incarnations[r->incarnation_count - 1];

    if (last->first_lsn > lsn) {
        return last->first_lsn - 1;
    }
    return inc != NULL ? inc->durable_lsn : 0;
}

static int by_lsn(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->h.lsn != y->h.lsn) {
        return x->h.lsn < y->h.lsn ? -1 : 1;
    }
    return x->h.incarnation < y->h.incarnation ? -1 : x->h.incarnation > y->h.incarnation;
}

static struct tail *tail_of(struct journal *j, const uint8_t volume[UUID_BYTES])
{
    struct tail_entry *entry;

    HASH_FIND(hh, j->tails, volume, UUID_BYTES, entry);
    if (entry == NULL) {
        entry = mem_zalloc(sizeof(*entry));
        memcpy(entry->volume, volume, UUID_BYTES);
        HASH_ADD(hh, j->tails, volume, UUID_BYTES, entry);
    }
    return &entry->tail;
}

static int accept_frame(struct replay *r, struct found *f, struct err *e)
{
    struct segment *s = &r->j->segments[f->segment];

    if (f->unknown) {
        return err_set(e, ERR_VERSION, "the frame at %" PRIu64 " needs a newer version",
                       f->h.offset);
    }
    s->first_lsn = s->first_lsn == 0 ? f->h.lsn : s->first_lsn;
    s->last_lsn = f->h.lsn;
    r->j->stats.replayed_frames++;
    for (uint32_t i = 0; i < f->item_count; i++) {
        struct found_item *item = &f->items[i];
        struct tail *tail;

        if (item->item.op == FRAME_OP_INCARNATION) {
            continue;
        }
        tail = tail_of(r->j, item->volume);
        if (item->item.record != NULL) {
            item->item.record->data_offset = item->data_offset;
            segment_record_added(r->j, item->item.record, s);
            r->j->stats.replayed_records++;
        }
        tail_push(tail, &item->item);
        item->item.record = NULL; /* the tail's now */
    }
    return 0;
}

static void note_lost(struct replay *r, uint64_t first, uint64_t last)
{
    log_error("journal", "frames are damaged", "path=%s first_lsn=%" PRIu64 " last_lsn=%" PRIu64,
              r->j->path, first, last);
    r->j->stats.damaged_frames += last - first + 1;
}

/* Frame by frame from the release LSN; leaves next_lsn at the end. */
static int accept_frames(struct replay *r, struct err *e)
{
    uint64_t n = r->release_lsn;
    uint32_t i = 0;

    qsort(r->frames, r->count, sizeof(*r->frames), by_lsn);
    for (;;) {
        const struct incarnation *inc = incarnation_at(r, n);
        uint64_t next, covered = covered_to(r, n);
        struct found *f = NULL;

        while (i < r->count &&
               (r->frames[i].h.lsn < n ||
                r->frames[i].h.incarnation != incarnation_at(r, r->frames[i].h.lsn)->number)) {
            i++; /* below the release LSN, or behind the cut of its incarnation */
        }
        if (i < r->count && r->frames[i].h.lsn == n) {
            f = &r->frames[i++];
        }
        if (f != NULL && (!f->bad || covered >= n)) {
            if (f->bad) {
                note_lost(r, n, n);
            }
            if (accept_frame(r, f, e) != 0) {
                return e->code;
            }
            r->end = f;
            n++;
            continue;
        }
        if (f != NULL || inc == NULL || covered < n) {
            break;
        }
        next = i < r->count && r->frames[i].h.lsn <= covered ? r->frames[i].h.lsn : covered + 1;
        note_lost(r, n, next - 1);
        r->j->lost_lsn = next - 1;
        r->j->damage_lsn = r->j->damage_lsn != 0 ? r->j->damage_lsn : n;
        n = next;
    }
    r->j->next_lsn = n;
    return 0;
}

/* ---- what the ring looks like then ---- */

static int by_first_lsn(const void *a, const void *b)
{
    struct segment *const *x = a, *const *y = b;

    return (*x)->first_lsn < (*y)->first_lsn ? -1 : 1;
}

static void order_segments(struct journal *j)
{
    struct segment **used = mem_array(j->segment_count + (size_t)1, sizeof(struct segment *));
    uint32_t count = 0;

    for (uint32_t i = 0; i < j->segment_count; i++) {
        if (j->segments[i].first_lsn != 0) {
            used[count++] = &j->segments[i];
        }
    }
    qsort(used, count, sizeof(struct segment *), by_first_lsn);
    for (uint32_t i = 0; i < count; i++) {
        list_remove(&used[i]->link);
        j->ready_count--;
        used[i]->state = SEGMENT_FULL;
        list_push(&j->used, &used[i]->link);
    }
    free(used);
    for (uint32_t i = 0; i < j->segment_count; i++) {
        if (j->segments[i].bad && j->segments[i].state == SEGMENT_READY) {
            j->ready_count--;
            segment_retire(j, &j->segments[i]);
        }
    }
}

/* The new incarnation goes on in the segment of the last frame, behind it. Not when that frame is
 * lost (nobody knows where it ended), nor in a segment with unreadable blocks. */
static void continue_at_end(struct replay *r)
{
    struct journal *j = r->j;
    struct segment *s;

    if (r->end == NULL || r->end->h.lsn + 1 != j->next_lsn || j->segments[r->end->segment].bad) {
        return;
    }
    s = &j->segments[r->end->segment];
    s->state = SEGMENT_ACTIVE;
    j->active = s;
    j->active_offset =
        r->end->h.offset + frame_bytes(&r->end->h) - segment_offset(j, r->end->segment);
    memcpy(j->salt, r->end->h.salt, UUID_BYTES);
}

static void replay_release(struct replay *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        for (uint32_t k = 0; k < r->frames[i].item_count; k++) {
            free(r->frames[i].items[k].item.record);
        }
        free(r->frames[i].items);
    }
    free(r->frames);
    free(r->incarnations);
    free(r->buffer);
    r->j->io->ops->close(r->j->io, r->fd);
}

int journal_replay(struct journal *j, struct err *e)
{
    struct replay r = {.j = j, .release_lsn = 1};
    int rc;

    r.fd = j->io->ops->open(j->io, j->path, IO_OPEN_READ | IO_OPEN_DIRECT);
    if (r.fd == -EINVAL) { /* a file system without O_DIRECT, such as tmpfs */
        r.fd = j->io->ops->open(j->io, j->path, IO_OPEN_READ);
    }
    if (r.fd < 0) {
        return err_set(e, r.fd, "open for replay");
    }
    r.buffer = mem_aligned(FRAME_BLOCK_BYTES, (size_t)j->segment_bytes);
    rc = replay_collect(&r, e);
    if (rc == 0) {
        list_incarnations(&r);
        j->next_lsn = r.release_lsn;
        if (r.count != 0) {
            rc = accept_frames(&r, e);
            j->incarnation = r.incarnations[r.incarnation_count - 1].number;
        }
        j->release_lsn = r.release_lsn;
        order_segments(j);
        continue_at_end(&r);
    }
    replay_release(&r);
    return rc;
}
