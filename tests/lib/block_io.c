#include "lib/block_io.h"

#include "base/check.h"

static struct block_io *gate; /* operations know their struct io only */

static void pass(void)
{
    uv_mutex_lock(&gate->lock);
    gate->waiting++;
    uv_cond_broadcast(&gate->changed);
    while (gate->shut) {
        uv_cond_wait(&gate->changed, &gate->lock);
    }
    gate->waiting--;
    uv_mutex_unlock(&gate->lock);
}

static ssize_t gated_preadv(struct io *io, int fd, const struct iovec *iov, int iov_count,
                            uint64_t offset)
{
    pass();
    return gate->below->preadv(io, fd, iov, iov_count, offset);
}

static ssize_t gated_pwritev(struct io *io, int fd, const struct iovec *iov, int iov_count,
                             uint64_t offset)
{
    pass();
    return gate->below->pwritev(io, fd, iov, iov_count, offset);
}

static int gated_fdatasync(struct io *io, int fd)
{
    pass();
    return gate->below->fdatasync(io, fd);
}

void block_io_init(struct block_io *b, struct io *io)
{
    CHECK(gate == NULL);
    *b = (struct block_io){.io = io, .below = io->ops, .ops = *io->ops};
    CHECK(uv_mutex_init(&b->lock) == 0 && uv_cond_init(&b->changed) == 0);
    b->ops.preadv = gated_preadv;
    b->ops.pwritev = gated_pwritev;
    b->ops.fdatasync = gated_fdatasync;
    io->ops = &b->ops;
    gate = b;
}

void block_io_release(struct block_io *b)
{
    b->io->ops = b->below;
    gate = NULL;
    uv_mutex_destroy(&b->lock);
    uv_cond_destroy(&b->changed);
}

static void set_shut(struct block_io *b, bool shut)
{
    uv_mutex_lock(&b->lock);
    b->shut = shut;
    uv_cond_broadcast(&b->changed);
    uv_mutex_unlock(&b->lock);
}

void block_io_shut(struct block_io *b)
{
    set_shut(b, true);
}

void block_io_open(struct block_io *b)
{
    set_shut(b, false);
}

void block_io_wait(struct block_io *b)
{
    uv_mutex_lock(&b->lock);
    CHECK(b->shut);
    while (b->waiting == 0) {
        uv_cond_wait(&b->changed, &b->lock);
    }
    uv_mutex_unlock(&b->lock);
}

unsigned block_io_waiting(struct block_io *b)
{
    unsigned waiting;

    uv_mutex_lock(&b->lock);
    waiting = b->waiting;
    uv_mutex_unlock(&b->lock);
    return waiting;
}
