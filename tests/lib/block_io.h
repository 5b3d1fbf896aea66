/* A gate in front of a disk's data: while it is shut, preadv, pwritev and fdatasync wait.
 *
 * Replaces the operations of a struct io in place; one gate at a time. init and release while
 * nobody uses the disk; the others from any thread. */
#ifndef TESTS_LIB_BLOCK_IO_H
#define TESTS_LIB_BLOCK_IO_H

#include <stdbool.h>

#include <uv.h>

#include "loop/io.h"

struct block_io {
    struct io *io; /* private */
    const struct io_ops *below;
    struct io_ops ops;
    uv_mutex_t lock;
    uv_cond_t changed;
    bool shut;
    unsigned waiting;
};

void block_io_init(struct block_io *b, struct io *io);
void block_io_release(struct block_io *b);
void block_io_shut(struct block_io *b);
void block_io_open(struct block_io *b);
/* Until somebody stands before the gate. */
void block_io_wait(struct block_io *b);
unsigned block_io_waiting(struct block_io *b);

#endif
