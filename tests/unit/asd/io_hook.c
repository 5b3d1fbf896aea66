#include "unit/asd/io_hook.h"

#include <stdatomic.h>
#include <stddef.h>

static const struct io_ops *below;
static struct io_ops hooked;
static _Atomic(io_hook_pwritev_cb) instead;
static atomic_int direct_fd;

static ssize_t hooked_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                              uint64_t offset)
{
    io_hook_pwritev_cb cb = instead;

    return (cb != NULL ? cb : below->pwritev)(io, fd, iov, iov_count, offset);
}

static int hooked_open(struct io *io, const char *path, int flags)
{
    int fd = below->open(io, path, flags);

    if ((flags & IO_OPEN_DIRECT) != 0) {
        direct_fd = fd;
    }
    return fd;
}

void io_hook_install(struct io *io)
{
    below = io->ops;
    hooked = *below;
    hooked.open = hooked_open;
    hooked.pwritev = hooked_pwritev;
    io->ops = &hooked;
    instead = NULL;
    direct_fd = -1;
}

void io_hook_pwritev(io_hook_pwritev_cb cb)
{
    instead = cb;
}

const struct io_ops *io_hook_below(void)
{
    return below;
}

int io_hook_direct_fd(void)
{
    return direct_fd;
}
