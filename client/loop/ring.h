/* Reads of files without threads: the kernel's io_uring, on a loop.
 *
 * ring_read -> (end of the turn, one system call for all) the kernel -> (loop) done. Everything
 * here is for the loop thread. A priority counts as in loop/pool.h: High before Low, one Low read
 * is taken after POOL_HIGH_BURST High ones. Low reads hold at most a quarter of the places
 * (1 / RING_LOW_SHARE), so that neither device nor loop is theirs when a High one comes, and only
 * RING_LOW_BESIDE_HIGH while High ones come and go, without those that have hung for
 * RING_LOW_HANGS_MS. An idle ring does not keep uv_run() from returning.
 *
 * Not every kernel has io_uring and not every system allows it: whoever uses a ring has a pool,
 * too. That is also where to go with a read that failed or came short. */
#ifndef LOOP_RING_H
#define LOOP_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <uv.h>

#include "base/list.h"
#include "loop/pool.h"

enum {
    RING_DEPTH_MAX = 1024,
    RING_LOW_SHARE = 4,
    RING_LOW_BESIDE_HIGH = 2,
    RING_HIGH_RECENT_MS = 20, /* that long after the last High one Low goes on holding back */
    RING_LOW_HANGS_MS = 100
};

struct ring_read;
/* Bytes read, perhaps fewer than asked for; a negative errno; or ERR_CANCELED: it never began. */
typedef void (*ring_done_cb)(struct ring_read *read, ssize_t rc);

struct ring_read { /* embedded by the caller; private while submitted */
    struct list link;
    int fd;
    uint32_t bytes;
    void *data;
    uint64_t offset;
    enum pool_priority priority;
    ring_done_cb done;
    uint64_t begun_ms; /* of a Low one */
    int rc;
};

struct ring;
typedef void (*ring_close_cb)(void *ctx);

/* At most `depth` reads are with the kernel and at most `queue_max` wait. A negative errno
 * (*ret_ring NULL) when there is no io_uring for us. */
int ring_new(uv_loop_t *loop, unsigned depth, unsigned queue_max, struct ring **ret_ring);
unsigned ring_room(const struct ring *ring); /* reads that it would take now */
/* `fd` is the operating system's (io_ops.os_fd) and, like `data`, stays until `done`. 0: `done`
 * will run exactly once, later. ERR_BUSY: too many wait, nothing was started. */
int ring_read(struct ring *ring, struct ring_read *read, int fd, void *data, uint32_t bytes,
              uint64_t offset, enum pool_priority priority, ring_done_cb done);
/* Reads that have not begun get ERR_CANCELED; the others finish; then `cb`, then the ring is
 * freed. No reads from here on. */
void ring_close(struct ring *ring, ring_close_cb cb, void *ctx);

#endif
