/* Frames: (loop) gather appends into a slot's buffer -> (worker) one write -> (loop) complete
 * in LSN order.
 *
 * Control records go first and may use the reserved segments; data waits when only those are
 * left. A frame never spans segments. What arrives while four frames are in flight forms
 * the next one. */
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "volumedriver/journal_private.h"

struct batch { /* what the next frame will hold */
    struct list appends;
    size_t extent_bytes;
    uint32_t extent_count;
    uint32_t data_blocks;
};

static uint32_t append_blocks(const struct journal_append *a)
{
    return a->op == FRAME_OP_WRITE ? a->record->count : 0;
}

/* Behind its extent. */
static uint32_t append_words(const struct journal_append *a)
{
    return a->op == FRAME_OP_SCO ? FRAME_SCO_BYTES / 4 : append_blocks(a);
}

static size_t batch_bytes(const struct batch *b)
{
    return ((size_t)frame_header_blocks(b->extent_bytes) + b->data_blocks) * FRAME_BLOCK_BYTES;
}

/* Move appends from `queue` while they fit into `bytes_max`. */
static void batch_take(struct batch *b, struct list *queue, size_t bytes_max)
{
    while (!list_empty(queue)) {
        struct journal_append *a = container_of(queue->next, struct journal_append, link);
        struct batch more = *b;

        more.extent_bytes += frame_extent_bytes(append_words(a));
        more.extent_count++;
        more.data_blocks += append_blocks(a);
        if (batch_bytes(&more) > bytes_max) {
            return;
        }
        b->extent_bytes = more.extent_bytes;
        b->extent_count = more.extent_count;
        b->data_blocks = more.data_blocks;
        list_remove(&a->link);
        list_push(&b->appends, &a->link);
    }
}

/* Copy `bytes` that start `skip` bytes into the iovecs. */
static void copy_in(uint8_t *to, const struct iovec *iov, size_t skip, size_t bytes)
{
    while (bytes != 0) {
        size_t n;

        for (; skip >= iov->iov_len; iov++) {
            skip -= iov->iov_len;
        }
        n = iov->iov_len - skip < bytes ? iov->iov_len - skip : bytes;
        memcpy(to, (const uint8_t *)iov->iov_base + skip, n);
        to += n;
        bytes -= n;
        skip += n;
    }
}

/* Data goes into the frame and its CRCs into the record, both from the one copy: what a guest
 * changes in its buffer meanwhile is either in both or in neither. */
static void fill_data(struct journal_append *a, uint8_t *to)
{
    struct record *r = a->record;

    copy_in(to, a->iov, a->iov_skip, (size_t)r->count * FRAME_BLOCK_BYTES);
    for (uint32_t i = 0; i < r->count; i++) {
        r->crcs[i] = crc32c(0, to + (size_t)i * FRAME_BLOCK_BYTES, FRAME_BLOCK_BYTES);
    }
}

static uint8_t *fill_extent(const struct journal_append *a, uint8_t *at)
{
    struct frame_extent x = {.epoch = a->epoch,
                             .op = a->op,
                             .kind = a->kind,
                             .crc_count = (uint16_t)append_words(a),
                             .seq = a->seq,
                             .a = a->a,
                             .b = a->b};
    struct frame_sco sco = {.predecessor = a->predecessor, .generation = a->generation};
    uint8_t payload[FRAME_SCO_BYTES];

    memcpy(x.volume, a->volume, UUID_BYTES);
    if (frame_op_is_data(a->op)) {
        x.a = a->record->cluster;
        x.count = a->record->count;
    } else if (a->op == FRAME_OP_SCO) {
        frame_sco_encode(&sco, payload);
        x.count = sizeof(payload);
        x.crcs = payload;
    }
    CHECK(frame_extent_check(&x) == 0); /* what a replay would refuse is not written */
    for (uint32_t i = 0; i < append_blocks(a); i++) {
        put_u32le(at + FRAME_EXTENT_BYTES + 4 * (size_t)i, a->record->crcs[i]);
    }
    return frame_extent_encode(&x, at);
}

static void fill_frame(struct journal *j, struct frame_slot *slot, uint32_t header_blocks,
                       uint32_t data_blocks, uint32_t extent_count)
{
    uint8_t *at = slot->buffer + FRAME_HEAD_BYTES;
    uint32_t block = header_blocks;
    struct frame_header h = {.offset = slot->offset,
                             .lsn = slot->lsn,
                             .incarnation = j->incarnation,
                             .first_lsn = j->first_lsn,
                             .durable_lsn = j->durable_lsn,
                             .release_lsn = j->release_lsn,
                             .segment_bytes = j->segment_bytes,
                             .header_blocks = header_blocks,
                             .data_blocks = data_blocks,
                             .extent_count = extent_count};

    memcpy(h.journal_id, j->id, UUID_BYTES);
    memcpy(h.salt, j->salt, UUID_BYTES);
    LIST_FOR_EACH (it, &slot->appends) {
        struct journal_append *a = container_of(it, struct journal_append, link);

        a->lsn = slot->lsn;
        if (a->record != NULL) {
            a->record->data_offset = slot->offset + (uint64_t)block * FRAME_BLOCK_BYTES;
            a->record->seq = a->seq;
            a->record->lsn = slot->lsn;
            a->record->epoch = a->epoch;
            segment_record_added(j, a->record, j->active);
            j->stats.records++;
        }
        if (a->op == FRAME_OP_WRITE) {
            fill_data(a, slot->buffer + (size_t)block * FRAME_BLOCK_BYTES);
            block += a->record->count;
        }
        at = fill_extent(a, at);
    }
    memset(at, 0, (size_t)(slot->buffer + (size_t)header_blocks * FRAME_BLOCK_BYTES - at));
    frame_header_seal(&h, slot->buffer);
}

static void write_run(struct pool_work *work)
{
    struct frame_slot *slot = container_of(work, struct frame_slot, work);
    struct journal *j = slot->journal;

    slot->rc = io_write_full(j->io, j->fd, slot->buffer, slot->bytes, slot->offset);
    slot->sync_rc = slot->syncs && slot->rc == 0 ? j->io->ops->fdatasync(j->io, j->fd) : slot->rc;
}

static void end_append(struct journal_append *a, int rc)
{
    list_remove(&a->link);
    a->cb(a, rc);
}

static void end_appends(struct list *appends, int rc)
{
    while (!list_empty(appends)) {
        end_append(container_of(appends->next, struct journal_append, link), rc);
    }
}

static struct frame_slot *slot_of(struct journal *j, uint64_t lsn)
{
    return &j->slots[lsn % JOURNAL_FRAMES_IN_FLIGHT];
}

/* The frame is in the page cache, and so are all before it. */
static void complete(struct journal *j, struct frame_slot *slot)
{
    j->completed_lsn = slot->lsn;
    slot->state = SLOT_FREE;
    LIST_FOR_EACH_SAFE (it, &slot->appends) {
        struct journal_append *a = container_of(it, struct journal_append, link);

        if (a->durable) {
            list_remove(&a->link);
            list_push(&j->appends, &a->link);
        } else {
            end_append(a, 0);
        }
    }
}

static void write_done(struct pool_work *work, int rc)
{
    struct frame_slot *slot = container_of(work, struct frame_slot, work);
    struct journal *j = slot->journal;
    bool synced = slot->syncs;
    int sync_rc = rc != 0 ? rc : slot->sync_rc;

    slot->state = SLOT_WRITTEN;
    slot->rc = rc != 0 ? rc : slot->rc;
    if (slot->rc != 0) {
        journal_fail(j, slot->rc, "write");
    } else if (synced && sync_rc != 0) {
        journal_fail(j, sync_rc, "fdatasync"); /* before anything of it is acknowledged */
    }
    for (slot = slot_of(j, j->completed_lsn + 1);
         slot->state == SLOT_WRITTEN && slot->lsn == j->completed_lsn + 1 && j->failed == 0;
         slot = slot_of(j, j->completed_lsn + 1)) {
        complete(j, slot);
    }
    if (j->failed != 0) {
        for (unsigned i = 0; i < JOURNAL_FRAMES_IN_FLIGHT; i++) {
            if (j->slots[i].state == SLOT_WRITTEN) {
                j->slots[i].state = SLOT_FREE;
                end_appends(&j->slots[i].appends, ERR_FAILED);
            }
        }
    }
    if (synced) {
        journal_sync_ended(j, sync_rc);
    }
    journal_kick(j);
}

static void frame_send(struct journal *j, struct frame_slot *slot, struct batch *b)
{
    uint32_t header_blocks = frame_header_blocks(b->extent_bytes);

    list_splice(&slot->appends, &b->appends);
    slot->lsn = j->next_lsn++;
    slot->offset = segment_offset(j, segment_index(j, j->active)) + j->active_offset;
    slot->bytes = batch_bytes(b);
    fill_frame(j, slot, header_blocks, b->data_blocks, b->extent_count);
    j->active->last_lsn = slot->lsn;
    j->active_offset += slot->bytes;
    j->told_durable_lsn = j->durable_lsn;
    j->record_lsn = b->extent_count != 0 ? slot->lsn : j->record_lsn;
    j->want_empty = false;
    segments_covered(j, slot->lsn);
    j->stats.frames++;
    j->stats.bytes += slot->bytes;
    j->stats.data_bytes += (uint64_t)b->data_blocks * FRAME_BLOCK_BYTES;
    slot->syncs = b->extent_count != 0 && journal_sync_along(j, slot->lsn);
    slot->state = SLOT_WRITING;
    /* The pool's queue holds every slot, the sync and the growth. */
    CHECK(pool_submit(j->write_pool, &slot->work, POOL_HIGH, write_run, write_done) == 0);
}

/* What a frame may take of the active segment. When no other is left its last block is for the
 * frame that gives released ones back: without it nothing could be written any more. */
static size_t bytes_left(const struct journal *j)
{
    uint64_t left = j->active != NULL ? j->segment_bytes - j->active_offset : 0;

    if (j->ready_count == 0) {
        left -= left < FRAME_BLOCK_BYTES ? left : FRAME_BLOCK_BYTES;
    }
    return left < FRAME_BYTES_MAX ? (size_t)left : FRAME_BYTES_MAX;
}

/* Fill `b` from `queue` with what fits the active segment, or else a new one. False: nothing
 * could be taken because no segment may be. */
static bool gather(struct journal *j, struct batch *b, struct list *queue, bool for_data)
{
    batch_take(b, queue, bytes_left(j));
    if (b->extent_count == 0) {
        if (!segment_roll(j, for_data)) {
            return false;
        }
        batch_take(b, queue, bytes_left(j));
        CHECK(b->extent_count != 0);
    }
    return true;
}

static bool has_room_for_empty(struct journal *j)
{
    bool tells_release = segments_wait_for_cover(j);

    return j->active != NULL && j->segment_bytes - j->active_offset >= FRAME_BLOCK_BYTES
               ? tells_release || bytes_left(j) >= FRAME_BLOCK_BYTES
               : segment_roll(j, false);
}

/* One frame from what waits; false when nothing may be sent. */
static bool frame_form(struct journal *j, struct frame_slot *slot)
{
    bool may_data = j->live_records < JOURNAL_RECORDS_MAX && j->ready_count >= segments_reserved(j);
    struct batch b = {0};

    list_init(&b.appends);
    if (!list_empty(&j->control)) {
        gather(j, &b, &j->control, false);
        if (may_data && list_empty(&j->control)) { /* data never passes an opening */
            batch_take(&b, &j->data, bytes_left(j));
        }
    } else if (!list_empty(&j->data)) {
        if (!may_data || !gather(j, &b, &j->data, true)) {
            j->full = true;
        }
    }
    if (b.extent_count == 0 && (!j->want_empty || !has_room_for_empty(j))) {
        return false;
    }
    if (b.data_blocks != 0) {
        j->full = false;
    }
    frame_send(j, slot, &b);
    return true;
}

void journal_frames_pump(struct journal *j)
{
    struct frame_slot *slot;

    if (j->failed != 0) {
        end_appends(&j->control, ERR_FAILED);
        end_appends(&j->data, ERR_FAILED);
        return;
    }
    while ((slot = slot_of(j, j->next_lsn))->state == SLOT_FREE &&
           (!list_empty(&j->control) || !list_empty(&j->data) || j->want_empty)) {
        if (!frame_form(j, slot)) {
            return;
        }
    }
}

bool journal_frames_idle(const struct journal *j)
{
    for (unsigned i = 0; i < JOURNAL_FRAMES_IN_FLIGHT; i++) {
        if (j->slots[i].state != SLOT_FREE) {
            return false;
        }
    }
    return true;
}
