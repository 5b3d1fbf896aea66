/* A volume: a virtual disk with an asynchronous block API on iovecs.
 *
 * A completed write survives kill -9 of this process; a completed flush, or a write
 * with VOLUME_FUA, survives power loss (volumedriver/FORMAT.md says how). A flush
 * covers every write that had completed when the flush was submitted, whoever sent it.
 * Overlapping requests in flight may take effect in either order, each one whole per 512
 * bytes; after a crash the volume equals a prefix of its writes.
 *
 * One loop thread owns a volume; call everything here from it. Submit functions
 * return 0 (`cb` will run exactly once, later, never from inside the call) or a
 * negative code (req->err says why, `cb` will not run):
 *   ERR_BUSY   VOLUME_REQS_MAX requests are in flight: try again when one ends
 *   -EINVAL    offset or length not a multiple of 512, or beyond the end
 *   -EROFS     the volume is read only (asked for, a template, or damaged)
 * A callback gets 0, or ERR_FENCED (another owner took over), ERR_CORRUPT (stored data
 * fails its checks; nothing was returned), ERR_FAILED (the journal's device failed), -ENOSPC
 * (the journal stayed full), ERR_CANCELED (the volume is closing), -EIO, or a code of
 * the backend. The request, the iovecs and their buffers are the caller's again only in
 * the callback. */
#ifndef VOLUMEDRIVER_VOLUME_H
#define VOLUMEDRIVER_VOLUME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <uv.h>

#include "base/err.h"
#include "base/list.h"

enum {
    VOLUME_SECTOR_BYTES = 512,
    VOLUME_CLUSTER_BYTES = 4096,
    VOLUME_REQS_MAX = 1024,
    VOLUME_REQ_BYTES_MAX = 32 * 1048576, /* of a read or write; others: any length */
};

enum volume_flags {
    VOLUME_FUA = 1,         /* durable when the callback runs */
    VOLUME_EXTENT_ZERO = 1, /* reads as zeroes */
    VOLUME_EXTENT_HOLE = 2, /* holds no space in the backend or the journal */
};

enum volume_state {
    VOLUME_OPENING,
    VOLUME_RUNNING,
    VOLUME_DAMAGED, /* read only: part of the journal is unreadable */
    VOLUME_FENCED,  /* another owner took over: every request fails */
    VOLUME_FAILED,  /* the journal's device failed: writes fail */
    VOLUME_CLOSING
};

struct volume;
struct volume_req;
typedef void (*volume_cb)(struct volume_req *req, int rc);
typedef void (*volume_close_cb)(void *ctx, int rc);

struct volume_extent {
    uint64_t bytes;
    uint32_t flags; /* VOLUME_EXTENT_… */
};

enum volume_op {
    VOLUME_OP_READ,
    VOLUME_OP_WRITE,
    VOLUME_OP_FLUSH,
    VOLUME_OP_TRIM,
    VOLUME_OP_ZEROES,
    VOLUME_OP_STATUS,
};

/* Embed it in a larger request; needs no initialisation. */
struct volume_req {
    struct err err;        /* out: says why, if rc != 0 */
    unsigned extent_count; /* out: of volume_block_status() */

    struct list link; /* private from here on */
    struct volume *volume;
    volume_cb cb;
    const struct iovec *iov;
    int iov_count;
    int rc;
    enum volume_op op;
    unsigned flags;
    uint64_t offset_bytes;
    uint64_t length_bytes;
    void *plan;
    uint64_t submitted_ns;
};

/* Sum of the iovecs <= VOLUME_REQ_BYTES_MAX. Never-written and zeroed ranges read as zeroes. */
int volume_read(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                const struct iovec *iov, int iov_count, volume_cb cb);
int volume_write(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                 const struct iovec *iov, int iov_count, unsigned flags, volume_cb cb);
int volume_flush(struct volume *v, struct volume_req *req, volume_cb cb);
/* Both make the range read as zeroes, durably as a write does, and give space back. */
int volume_trim(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                uint64_t length_bytes, unsigned flags, volume_cb cb);
int volume_write_zeroes(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, unsigned flags, volume_cb cb);
/* What lies in the range: fills at most `extents_max` extents from offset_bytes on, in order,
 * neighbours with equal flags merged; req->extent_count says how many. They may cover less
 * than the range, never more, and at least one cluster. */
int volume_block_status(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, struct volume_extent *extents, unsigned extents_max,
                        volume_cb cb);

uint64_t volume_size_bytes(const struct volume *v);
bool volume_is_readonly(const struct volume *v);
enum volume_state volume_state(const struct volume *v);
const char *volume_name(const struct volume *v);

struct volume_stats {
    uint64_t reads, writes, flushes, trims, zeroes; /* completed requests */
    uint64_t read_bytes, write_bytes, trim_bytes, zero_bytes;
    uint64_t rmw_writes; /* writes that had to read a part of a cluster first */
    uint64_t journal_read_bytes, backend_read_bytes, backend_read_calls;
    uint64_t sco_puts, sco_put_bytes, sco_put_retries, checkpoints, checkpoint_bytes;
    uint64_t errors;
    uint64_t tail_bytes; /* acknowledged, not yet in the committed prefix */
    uint64_t tail_extents;
    uint64_t last_seq, committed_seq, released_seq;
    uint64_t latency_ns[2]; /* sums over completed reads and writes */
};
void volume_stats(const struct volume *v, struct volume_stats *ret_stats);

#endif
