/* The journal of one local device, shared by its volumes: a write is acknowledged when its
 * record is in here. Bytes and rules: FORMAT.md, section 1.
 *
 * Loop thread only, but for journal_open(), which blocks. Many records of many volumes share
 * a frame; appends complete in the order they were made, after a write that survives kill -9;
 * with `durable`, after an fdatasync. After a failed write or sync the journal is out of
 * service: every append and flush gets ERR_FAILED.
 *
 * When space runs short on_pressure() names the LSN up to which volumes should upload; appends
 * of data wait until records are dropped (journal_full.h). */
#ifndef VOLUMEDRIVER_JOURNAL_H
#define VOLUMEDRIVER_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "loop/io.h"
#include "volumedriver/extent_tree.h"
#include "volumedriver/frame.h"
#include "volumedriver/journal_read.h"
#include "volumedriver/tail.h"
#include "volumedriver/uuid.h"

enum {
    JOURNAL_SEGMENTS_MIN = 4,
    JOURNAL_FRAMES_IN_FLIGHT = 4,
    JOURNAL_IDLE_MS = 50,          /* until an empty frame tells what was flushed */
    JOURNAL_TOLD_MS = 1000,        /* until that frame is flushed itself */
    JOURNAL_RECORDS_MAX = 1048576, /* in memory; more wait, as for space */
};

#define JOURNAL_SEGMENT_BYTES_DEFAULT (UINT64_C(64) << 20)
#define JOURNAL_BYTES_DEFAULT (UINT64_C(4) << 30)

struct journal;
struct journal_append;
struct journal_flush;
typedef void (*journal_append_cb)(struct journal_append *append, int rc);
typedef void (*journal_flush_cb)(struct journal_flush *flush, int rc);

struct journal_options {
    uv_loop_t *loop;
    struct io *io;
    const char *dir;        /* exists; copied */
    uint64_t segment_bytes; /* 0: default; an existing journal keeps its own */
    uint64_t journal_bytes; /* 0: default; at most 32767 segments */
    uint64_t grow_again_ms; /* after a try that failed; 0: a minute */
    void (*on_pressure)(void *ctx, uint64_t lsn);
    void *ctx;
};

/* One record. The caller owns it until the callback. */
struct journal_append {
    const uint8_t *volume; /* borrowed, UUID_BYTES */
    uint64_t seq;
    uint64_t a; /* as in struct frame_extent; a record fills in `a` and count itself */
    uint64_t b;
    uint64_t predecessor; /* of a SCO assigned */
    uint32_t generation;  /* the same */
    uint32_t epoch;
    uint8_t op;
    uint8_t kind;            /* enum sco_kind, enum frame_open_kind, or 0 */
    bool durable;            /* the callback waits for an fdatasync */
    struct record *record;   /* of a write, trim, write-zeroes, SCO assigned; else NULL */
    const struct iovec *iov; /* of a write: borrowed, data starts `iov_skip` bytes in */
    size_t iov_skip;

    uint64_t lsn; /* out */

    struct list link; /* private */
    journal_append_cb cb;
    uint64_t since_ms;
    int rc;
};

struct journal_flush {
    uint64_t lsn; /* private from here on */
    struct list link;
    journal_flush_cb cb;
};

/* Blocks while it replays. On failure *ret_journal is NULL; ERR_BUSY: another process has it. */
int journal_open(const struct journal_options *options, struct journal **ret_journal,
                 struct err *e);
/* Waits for what is in flight, syncs, frees. Volumes are closed before. */
void journal_close(struct journal *j, void (*cb)(void *ctx), void *ctx);
const uint8_t *journal_id(const struct journal *j); /* UUID_BYTES */
/* Clusters that one record may have. */
uint32_t journal_record_clusters_max(const struct journal *j);

/* What the replay found of `volume`; the caller owns it (tail_release). Once per volume. */
void journal_take_tail(struct journal *j, const uint8_t volume[UUID_BYTES], struct tail *ret_tail);
/* Highest epoch of the records that nobody took yet; 0: none. */
uint32_t journal_tail_epoch(const struct journal *j, const uint8_t volume[UUID_BYTES]);
/* Records of volumes nobody took: how many, and of which (the n-th). */
unsigned journal_tail_count(const struct journal *j);
const uint8_t *journal_tail_volume(const struct journal *j, unsigned index);

/* The first lost frame of which nobody knows whose records it held; 0: none. Nothing from there on
 * is given back, so that every replay finds the loss again, until it is settled: when each
 * volume that the registry places on this journal has proof or carries its verdict there. */
uint64_t journal_damage_lsn(const struct journal *j);
void journal_damage_settle(struct journal *j);

/* Data comes behind all data appended before, other records may pass it. The `record` of a SCO
 * assigned (record_new(FRAME_OP_SCO, number, 1)) is dropped when the SCO is committed and
 * complete, as its data is. */
void journal_append(struct journal *j, struct journal_append *append, journal_append_cb cb);
/* Everything that completed with an LSN <= lsn is durable when `cb` gets 0. */
void journal_flush(struct journal *j, struct journal_flush *flush, uint64_t lsn,
                   journal_flush_cb cb);

void journal_record_hold(struct record *record);
/* The last drop of an appended (or replayed) record gives its place back and frees it. */
void journal_record_drop(struct journal *j, struct record *record);
/* Frees it and keeps its place taken: the next replay finds it again. */
void journal_record_abandon(struct journal *j, struct record *record);

struct journal_stats {
    uint64_t frames, records, bytes, data_bytes, syncs;
    uint64_t segments, segments_max, segments_used, segments_retired, live_records;
    uint64_t lsn, completed_lsn, durable_lsn, incarnation;
    uint64_t replayed_frames, replayed_records, damaged_frames;
    bool failed;
};
void journal_stats(const struct journal *j, struct journal_stats *ret_stats);

#endif
