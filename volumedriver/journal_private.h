/* Inside of the journal, shared by its source files only. */
#ifndef VOLUMEDRIVER_JOURNAL_PRIVATE_H
#define VOLUMEDRIVER_JOURNAL_PRIVATE_H

#include "base/buf.h"
#include "base/table.h"
#include "volumedriver/journal.h"
#include "volumedriver/journal_segment.h"

enum slot_state { SLOT_FREE, SLOT_WRITING, SLOT_WRITTEN };

struct frame_slot {
    struct pool_work work;
    struct journal *journal;
    struct list appends;
    uint8_t *buffer; /* FRAME_BYTES_MAX, aligned */
    uint64_t lsn;
    uint64_t offset;
    size_t bytes;
    int rc;
    int sync_rc;
    enum slot_state state;
    bool syncs; /* the job that writes it makes it durable, too */
};

struct tail_entry {
    uint8_t volume[UUID_BYTES];
    struct tail tail;
    UT_hash_handle hh;
};

struct journal {
    struct journal_options options;
    char *path;
    struct io *io;
    int fd;
    int lock_fd;
    int failed; /* the first error, or 0 */
    uint8_t id[UUID_BYTES];
    uint8_t salt[UUID_BYTES]; /* of the active segment */
    uint64_t segment_bytes;
    uint32_t segments_max;

    struct segment *segments; /* array of segments_cap */
    uint32_t segment_count;
    struct list ready;
    struct list used;
    struct list released;
    uint32_t ready_count;
    uint32_t retired_count;
    struct segment *active;
    uint64_t active_offset; /* where the next frame goes, within it */
    uint64_t release_lsn;
    uint64_t live_records;
    uint64_t pressed_lsn; /* on_pressure() was told */
    bool full;            /* data waits for space */

    uint64_t incarnation;
    uint64_t first_lsn;
    uint64_t next_lsn;
    uint64_t completed_lsn;
    uint64_t durable_lsn;
    uint64_t told_durable_lsn; /* in the newest frame */
    uint64_t record_lsn;       /* of the newest frame that is not empty */
    struct frame_slot slots[JOURNAL_FRAMES_IN_FLIGHT];
    struct list data;    /* struct journal_append that wait for a frame */
    struct list control; /* those that may pass data */
    struct list canceled;
    bool want_empty;

    struct list flushes; /* struct journal_flush that wait for an fdatasync */
    struct list appends; /* durable ones, written, that wait for an fdatasync */
    struct pool_work sync_work;
    uint64_t sync_lsn; /* durable when the running sync ends */
    int sync_rc;
    bool syncing;
    unsigned flushed_frames; /* in a row, each of which somebody asked to flush */
    bool newest_flushed;     /* somebody did for the newest one with records */

    struct pool_work grow_work;
    bool growing;
    bool grown;  /* zero-filled, waits for a sync that begins now or later */
    bool growth; /* the running sync began behind that */
    int grow_rc;
    uint64_t grow_after_ms; /* it failed: not before; 0: it did not */

    struct pool *write_pool; /* frames, syncs, growth */
    struct pool *read_pool;
    unsigned pools_open;
    unsigned reads;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer; /* JOURNAL_IDLE_MS after a sync */
    bool kicked;
    bool closing;
    unsigned handles_open;
    void (*close_cb)(void *ctx);
    void *close_ctx;

    struct tail_entry *tails; /* uthash by volume */
    uint64_t lost_lsn;        /* highest LSN of a frame that is damaged beyond naming; 0: none */
    uint64_t damage_lsn;      /* lowest one not settled; 0: none */
    struct journal_stats stats;
};

static inline uint64_t segment_offset(const struct journal *j, uint32_t index)
{
    return JOURNAL_SUPER_BYTES + index * j->segment_bytes;
}

/* Ready segments that data may not take. What an opening added beyond journal_bytes is no room for
 * data, or each life of a full journal would add more. */
static inline uint32_t segments_reserved(const struct journal *j)
{
    return JOURNAL_RESERVE +
           (j->segment_count > j->segments_max ? j->segment_count - j->segments_max : 0);
}

static inline uint32_t segment_index(const struct journal *j, const struct segment *s)
{
    return (uint32_t)(s - j->segments);
}

void journal_free(struct journal *j); /* journal_open.c: nothing is in flight */

/* journal.c: run journal_pump() at the end of this loop turn. */
void journal_kick(struct journal *j);
void journal_fail(struct journal *j, int rc, const char *what);

/* journal_frame.c: fill and send frames, complete them in order. */
void journal_frames_pump(struct journal *j);
bool journal_frames_idle(const struct journal *j);

/* journal_full.c */
void journal_end_canceled(struct journal *j);

/* journal_sync.c */
void journal_sync_pump(struct journal *j);
void journal_sync_start(struct journal *j);
/* Frame `lsn` is about to be sent: true when its job is to sync as well. */
bool journal_sync_along(struct journal *j, uint64_t lsn);
void journal_sync_ended(struct journal *j, int rc);
void journal_sync_fail(struct journal *j);

/* journal_replay.c, blocking: fills in segments, LSNs and tails. */
int journal_replay(struct journal *j, struct err *e);

#endif
