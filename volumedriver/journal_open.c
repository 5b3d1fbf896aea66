/* Opening a journal: the lock, the file, the replay, the opening frame.
 *
 * The opening frame goes right behind the accepted end when it fits there (FORMAT.md says why
 * that is safe), so a crash loop costs a block each time, not a segment. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "volumedriver/journal_private.h"

enum {
    SEGMENTS_MAX = 65535,
    GROW_AGAIN_MS = 60000,
    READ_THREADS = 4,
    READ_QUEUE_MAX = 65536,
    WRITE_QUEUE_MAX = JOURNAL_FRAMES_IN_FLIGHT + 2, /* and a sync, and growth */
};

/* No more than the next opening takes: it counts those that are beyond journal_bytes as well. */
static uint32_t ring_segments(uint64_t journal_bytes, uint64_t segment_bytes)
{
    uint64_t n = journal_bytes / segment_bytes;

    return n < SEGMENTS_MAX / 2 ? (uint32_t)n : SEGMENTS_MAX / 2;
}

/* Two processes would write the same segments. Kept until the last pool thread is gone; the
 * kernel keeps it as long for a process that is killed. Not for a disk in memory. */
static int lock(struct journal *j, struct err *e)
{
    char *path;
    int rc = 0;

    if (j->io != io_real()) {
        return 0;
    }
    path = mem_printf("%s.lock", j->path);
    j->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (j->lock_fd < 0) {
        rc = err_set(e, -errno, "lock");
    } else if (flock(j->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        rc = errno == EWOULDBLOCK ? err_say(e, ERR_BUSY, "in use by another process")
                                  : err_set(e, -errno, "lock");
    }
    free(path);
    return rc;
}

static int create(struct journal *j, const struct journal_options *o, struct err *e)
{
    struct frame_super super = {.segment_bytes = o->segment_bytes};
    char *temporary = mem_printf("%s/journal.new", o->dir);
    uint8_t *block = mem_aligned(FRAME_BLOCK_BYTES, JOURNAL_SUPER_BYTES);
    int rc;

    rnd_bytes(super.journal_id, sizeof(super.journal_id));
    frame_super_encode(&super, block);
    rc = j->io->ops->unlink(j->io, temporary);
    if (rc == 0 || rc == -ENOENT) {
        rc = j->fd =
            j->io->ops->open(j->io, temporary, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    }
    if (rc >= 0) {
        rc = io_write_full(j->io, j->fd, block, JOURNAL_SUPER_BYTES, 0);
        j->segment_bytes = super.segment_bytes;
        segments_init(j, 0);
        rc = rc != 0 ? rc : segments_fill(j, JOURNAL_SEGMENTS_MIN);
        rc = rc != 0 ? rc : j->io->ops->fdatasync(j->io, j->fd);
        rc = rc != 0 ? rc : j->io->ops->rename(j->io, temporary, j->path);
        rc = rc != 0 ? rc : j->io->ops->sync_dir(j->io, o->dir);
    }
    if (rc == 0) {
        segments_add(j, JOURNAL_SEGMENTS_MIN);
    }
    memcpy(j->id, super.journal_id, UUID_BYTES);
    free(temporary);
    free(block);
    return rc >= 0 ? 0 : err_set(e, rc, "creating %s", j->path);
}

static int read_super(struct journal *j, struct err *e)
{
    uint8_t *block = mem_aligned(FRAME_BLOCK_BYTES, JOURNAL_SUPER_BYTES);
    struct frame_super super;
    int rc = io_read_full(j->io, j->fd, block, JOURNAL_SUPER_BYTES, 0);

    if (rc != 0) {
        err_set(e, rc, "reading");
    } else {
        rc = frame_super_decode(block, &super, e);
    }
    if (rc == 0) {
        memcpy(j->id, super.journal_id, UUID_BYTES);
        j->segment_bytes = super.segment_bytes;
    }
    free(block);
    return rc;
}

static int load(struct journal *j, struct err *e)
{
    uint64_t bytes;
    int rc = read_super(j, e);

    if (rc != 0) {
        return rc;
    }
    rc = j->io->ops->size(j->io, j->fd, &bytes);
    if (rc != 0) {
        return err_set(e, rc, "size");
    }
    bytes = (bytes - JOURNAL_SUPER_BYTES) / j->segment_bytes;
    if (bytes > SEGMENTS_MAX) {
        return err_set(e, ERR_CORRUPT, "%" PRIu64 " segments", bytes);
    }
    j->segments_max = ring_segments(j->options.journal_bytes, j->segment_bytes);
    segments_init(j, (uint32_t)bytes);
    return journal_replay(j, e);
}

static bool fits_behind_end(const struct journal *j)
{
    return j->active != NULL && j->active_offset + FRAME_BLOCK_BYTES <= j->segment_bytes;
}

/* A segment for the opening frame if it needs one, and the reserve that lets a full journal be
 * drained. A disk without room for the reserve must not keep the tails from their volumes. */
static int make_room(struct journal *j, struct err *e)
{
    uint32_t needed = fits_behind_end(j) ? 0 : 1;
    uint32_t wanted = needed + JOURNAL_RESERVE;
    int rc;

    if (j->ready_count >= wanted) {
        return 0;
    }
    wanted -= j->ready_count;
    rc = segments_fill(j, wanted);
    if (rc == 0) {
        segments_add(j, wanted); /* nothing is written to them before the next sync */
        return 0;
    }
    if (j->ready_count < needed) {
        return err_set(e, rc, "growing");
    }
    log_warn("journal", "cannot grow", "path=%s segments=%" PRIu32 " why=%s", j->path,
             j->segment_count, err_text(rc));
    return 0;
}

/* The first frame of this incarnation, durable before any other. What was replayed, and new
 * segments, are made durable first: they may be in the page cache only. */
static int write_opening_frame(struct journal *j, uint64_t incarnation_before)
{
    struct frame_extent x = {
        .op = FRAME_OP_INCARNATION, .a = incarnation_before, .b = j->next_lsn - 1};
    uint8_t *block = mem_aligned(FRAME_BLOCK_BYTES, FRAME_BLOCK_BYTES);
    struct frame_header h;
    int rc;

    CHECK(fits_behind_end(j) || segment_roll(j, false));
    h = (struct frame_header){.offset =
                                  segment_offset(j, segment_index(j, j->active)) + j->active_offset,
                              .lsn = j->next_lsn,
                              .incarnation = j->incarnation,
                              .first_lsn = j->first_lsn,
                              .durable_lsn = j->durable_lsn,
                              .release_lsn = j->release_lsn,
                              .segment_bytes = j->segment_bytes,
                              .header_blocks = 1,
                              .extent_count = 1};
    memset(block, 0, FRAME_BLOCK_BYTES);
    memcpy(h.journal_id, j->id, UUID_BYTES);
    memcpy(h.salt, j->salt, UUID_BYTES);
    frame_extent_encode(&x, block + FRAME_HEAD_BYTES);
    frame_header_seal(&h, block);
    rc = j->io->ops->fdatasync(j->io, j->fd);
    rc = rc != 0 ? rc : io_write_full(j->io, j->fd, block, FRAME_BLOCK_BYTES, h.offset);
    rc = rc != 0 ? rc : j->io->ops->fdatasync(j->io, j->fd);
    free(block);
    j->active->last_lsn = j->next_lsn;
    j->active_offset += FRAME_BLOCK_BYTES;
    j->told_durable_lsn = j->durable_lsn;
    j->completed_lsn = j->durable_lsn = j->next_lsn++;
    return rc;
}

static int open_file(struct journal *j, struct err *e)
{
    int rc = lock(j, e);

    if (rc != 0) {
        return rc;
    }
    j->fd = j->io->ops->open(j->io, j->path, IO_OPEN_WRITE);
    if (j->fd == -ENOENT) {
        rc = create(j, &j->options, e);
        j->first_lsn = j->next_lsn = j->release_lsn = 1;
    } else if (j->fd < 0) {
        return err_set(e, j->fd, "open");
    } else {
        /* Whoever made it may have been killed before its name was durable. */
        rc = j->io->ops->sync_dir(j->io, j->options.dir);
        rc = rc != 0 ? err_set(e, rc, "syncing the directory of %s", j->path) : load(j, e);
    }
    rc = rc != 0 ? rc : make_room(j, e);
    if (rc != 0) {
        return rc;
    }
    j->segments_max = ring_segments(j->options.journal_bytes, j->segment_bytes) + j->retired_count;
    j->incarnation++;
    j->first_lsn = j->next_lsn;
    j->durable_lsn = j->next_lsn - 1;
    rc = write_opening_frame(j, j->incarnation - 1);
    return rc != 0 ? err_set(e, rc, "writing the opening frame") : 0;
}

static void set_options(struct journal *j, const struct journal_options *options)
{
    struct journal_options *o = &j->options;

    *o = *options;
    o->segment_bytes = o->segment_bytes != 0 ? o->segment_bytes : JOURNAL_SEGMENT_BYTES_DEFAULT;
    o->journal_bytes = o->journal_bytes != 0 ? o->journal_bytes : JOURNAL_BYTES_DEFAULT;
    if (o->journal_bytes < JOURNAL_SEGMENTS_MIN * o->segment_bytes) {
        o->journal_bytes = JOURNAL_SEGMENTS_MIN * o->segment_bytes;
    }
    o->grow_again_ms = o->grow_again_ms != 0 ? o->grow_again_ms : GROW_AGAIN_MS;
    j->io = o->io;
    j->segments_max = ring_segments(o->journal_bytes, o->segment_bytes);
}

static void start_loop(struct journal *j)
{
    CHECK(pool_new(j->options.loop, "journal", JOURNAL_FRAMES_IN_FLIGHT + 1, WRITE_QUEUE_MAX,
                   &j->write_pool) == 0);
    CHECK(pool_new(j->options.loop, "journal-read", READ_THREADS, READ_QUEUE_MAX, &j->read_pool) ==
          0);
    CHECK(uv_check_init(j->options.loop, &j->check) == 0);
    CHECK(uv_idle_init(j->options.loop, &j->idle) == 0);
    CHECK(uv_timer_init(j->options.loop, &j->timer) == 0);
    uv_unref((uv_handle_t *)&j->timer);
    for (unsigned i = 0; i < JOURNAL_FRAMES_IN_FLIGHT; i++) {
        j->slots[i].journal = j;
        j->slots[i].buffer = mem_aligned(FRAME_BLOCK_BYTES, FRAME_BYTES_MAX);
        list_init(&j->slots[i].appends);
    }
}

static void abandon(void *ctx, struct record *record)
{
    journal_record_abandon(ctx, record);
}

void journal_free(struct journal *j)
{
    struct tail_entry *entry, *next;

    HASH_ITER (hh, j->tails, entry, next) {
        HASH_DEL(j->tails, entry);
        tail_release(&entry->tail, abandon, j);
        free(entry);
    }
    if (j->fd >= 0) {
        j->io->ops->close(j->io, j->fd);
    }
    for (unsigned i = 0; i < JOURNAL_FRAMES_IN_FLIGHT; i++) {
        free(j->slots[i].buffer);
    }
    if (j->lock_fd >= 0) {
        close(j->lock_fd);
    }
    free(j->segments);
    free(j->path);
    free(j);
}

int journal_open(const struct journal_options *options, struct journal **ret_journal, struct err *e)
{
    struct journal *j = mem_zalloc(sizeof(*j));
    uint64_t segment_bytes;
    int rc;

    *ret_journal = NULL;
    set_options(j, options);
    segment_bytes = j->options.segment_bytes;
    j->path = mem_printf("%s/journal", options->dir);
    j->fd = j->lock_fd = -1;
    list_init(&j->data);
    list_init(&j->control);
    list_init(&j->canceled);
    list_init(&j->flushes);
    list_init(&j->appends);
    if (segment_bytes < JOURNAL_SEGMENT_BYTES_MIN || segment_bytes > JOURNAL_SEGMENT_BYTES_MAX ||
        segment_bytes % FRAME_BLOCK_BYTES != 0) {
        rc = err_set(e, -EINVAL, "segment_bytes %" PRIu64, segment_bytes);
    } else {
        rc = open_file(j, e);
    }
    j->options.dir = NULL; /* borrowed until here */
    if (rc != 0) {
        err_wrap(e, "journal %s", j->path);
        journal_free(j);
        return rc;
    }
    start_loop(j);
    *ret_journal = j;
    return 0;
}
