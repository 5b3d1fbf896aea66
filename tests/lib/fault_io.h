/* A disk that misbehaves on demand: reads, writes and flushes that fail or come short.
 *
 * Replaces the operations of a struct io in place; one at a time. init and release while nobody
 * uses the disk; the settings may change at any time. */
#ifndef TESTS_LIB_FAULT_IO_H
#define TESTS_LIB_FAULT_IO_H

#include <stdatomic.h>

#include "loop/io.h"

struct fault_io {
    atomic_int read_rc; /* these three: not 0: what every such call returns, doing nothing */
    atomic_int write_rc;
    atomic_int sync_rc;
    atomic_int open_rc;       /* not 0: what every open to write returns */
    atomic_bool short_reads;  /* a part of what was asked for, at least a byte */
    atomic_bool short_writes; /* whole blocks for direct ones */
    atomic_bool end_reads;    /* as if the file ended a little before */
    atomic_uint calls;        /* of the three kinds */

    struct io *io; /* private */
    const struct io_ops *below;
    struct io_ops ops;
};

void fault_io_init(struct fault_io *f, struct io *io);
void fault_io_release(struct fault_io *f);

#endif
