#include "lib/fault_io.h"

#include "base/check.h"

static struct fault_io *fault; /* operations know their struct io only */

/* Of `bytes`, a part that differs from call to call. */
static size_t part_of(size_t bytes, size_t unit)
{
    size_t units = bytes / unit;

    return units < 2 ? bytes : (1 + atomic_load(&fault->calls) * 7919u % (units - 1)) * unit;
}

static ssize_t faulty_preadv(struct io *io, int fd, const struct iovec *iov, int iov_count,
                             uint64_t offset)
{
    struct iovec first = iov[0];
    int rc = atomic_load(&fault->read_rc);

    atomic_fetch_add(&fault->calls, 1);
    if (rc != 0) {
        return rc;
    }
    if (atomic_load(&fault->end_reads) && first.iov_len <= 4 * IO_DIRECT_BYTES) {
        return 0;
    }
    if (atomic_load(&fault->short_reads) || atomic_load(&fault->end_reads)) {
        first.iov_len = part_of(first.iov_len, IO_DIRECT_BYTES);
        return fault->below->preadv(io, fd, &first, 1, offset);
    }
    return fault->below->preadv(io, fd, iov, iov_count, offset);
}

static ssize_t faulty_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                              uint64_t offset)
{
    struct iovec first = iov[0];
    int rc = atomic_load(&fault->write_rc);

    atomic_fetch_add(&fault->calls, 1);
    if (rc != 0) {
        return rc;
    }
    if (atomic_load(&fault->short_writes)) {
        first.iov_len = part_of(first.iov_len, IO_DIRECT_BYTES);
        return fault->below->pwritev(io, fd, &first, 1, offset);
    }
    return fault->below->pwritev(io, fd, iov, iov_count, offset);
}

static int faulty_fdatasync(struct io *io, int fd)
{
    int rc = atomic_load(&fault->sync_rc);

    atomic_fetch_add(&fault->calls, 1);
    return rc != 0 ? rc : fault->below->fdatasync(io, fd);
}

static int faulty_open(struct io *io, const char *path, int flags)
{
    int rc = (flags & IO_OPEN_WRITE) != 0 ? atomic_load(&fault->open_rc) : 0;

    return rc != 0 ? rc : fault->below->open(io, path, flags);
}

void fault_io_init(struct fault_io *f, struct io *io)
{
    CHECK(fault == NULL);
    *f = (struct fault_io){.io = io, .below = io->ops, .ops = *io->ops};
    f->ops.os_fd = NULL; /* the kernel would read past us */
    f->ops.preadv = faulty_preadv;
    f->ops.pwritev = faulty_pwritev;
    f->ops.fdatasync = faulty_fdatasync;
    f->ops.open = faulty_open;
    io->ops = &f->ops;
    fault = f;
}

void fault_io_release(struct fault_io *f)
{
    f->io->ops = f->below;
    fault = NULL;
}
