#include "lib/vol_io.h"

#include <errno.h>
#include <unistd.h>

#include "base/check.h"

static struct vol_io *self(struct io *io)
{
    return container_of(io, struct vol_io, io);
}

/* Not -EIO from the disk: the process is gone and nobody looks at the result. */
#define LIVE_OR_FAIL(v)                                                                            \
    do {                                                                                           \
        if (atomic_load(&(v)->killed)) {                                                           \
            return -EIO;                                                                           \
        }                                                                                          \
    } while (0)

static void dawdle(struct vol_io *v)
{
    unsigned x = atomic_load(&v->jitter);

    if (x != 0) {
        x = x * 1664525U + 1013904223U;
        atomic_store(&v->jitter, x | 1);
        if (x >> 29 == 0) {
            usleep(x >> 8 & 255);
        }
    }
}

static int vol_open(struct io *io, const char *path, int flags)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->open(self(io)->below, path, flags);
}

static int vol_close(struct io *io, int fd)
{
    return self(io)->below->ops->close(self(io)->below, fd);
}

static ssize_t vol_preadv(struct io *io, int fd, const struct iovec *iov, int iov_count,
                          uint64_t offset)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->preadv(self(io)->below, fd, iov, iov_count, offset);
}

static ssize_t vol_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                           uint64_t offset)
{
    ssize_t n;

    LIVE_OR_FAIL(self(io));
    n = self(io)->below->ops->pwritev(self(io)->below, fd, iov, iov_count, offset);
    dawdle(self(io));
    return n;
}

static int vol_fdatasync(struct io *io, int fd)
{
    int rc;

    LIVE_OR_FAIL(self(io));
    rc = self(io)->below->ops->fdatasync(self(io)->below, fd);
    dawdle(self(io));
    return rc;
}

static int vol_truncate(struct io *io, int fd, uint64_t size_bytes)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->truncate(self(io)->below, fd, size_bytes);
}

static int vol_allocate(struct io *io, int fd, enum io_allocate_mode mode, uint64_t offset,
                        uint64_t bytes)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->allocate(self(io)->below, fd, mode, offset, bytes);
}

static int vol_size(struct io *io, int fd, uint64_t *ret_bytes)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->size(self(io)->below, fd, ret_bytes);
}

static int vol_unlink(struct io *io, const char *path)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->unlink(self(io)->below, path);
}

static int vol_rename(struct io *io, const char *from, const char *to)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->rename(self(io)->below, from, to);
}

static int vol_mkdir(struct io *io, const char *path)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->mkdir(self(io)->below, path);
}

static int vol_sync_dir(struct io *io, const char *path)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->sync_dir(self(io)->below, path);
}

static int vol_list_dir(struct io *io, const char *path, io_list_cb cb, void *ctx)
{
    LIVE_OR_FAIL(self(io));
    return self(io)->below->ops->list_dir(self(io)->below, path, cb, ctx);
}

static const struct io_ops ops = {
    .open = vol_open,
    .close = vol_close,
    .preadv = vol_preadv,
    .pwritev = vol_pwritev,
    .fdatasync = vol_fdatasync,
    .truncate = vol_truncate,
    .allocate = vol_allocate,
    .size = vol_size,
    .unlink = vol_unlink,
    .rename = vol_rename,
    .mkdir = vol_mkdir,
    .sync_dir = vol_sync_dir,
    .list_dir = vol_list_dir,
};

void vol_io_init(struct vol_io *v, struct io *below, unsigned jitter_seed)
{
    v->io.ops = &ops;
    v->below = below;
    atomic_init(&v->killed, false);
    atomic_init(&v->jitter, jitter_seed);
}

void vol_io_kill(struct vol_io *v)
{
    atomic_store(&v->killed, true);
}

void vol_io_revive(struct vol_io *v)
{
    atomic_store(&v->killed, false);
}
