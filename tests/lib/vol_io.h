/* A struct io in front of another one that can be killed: from then on every call but close
 * fails and changes nothing, as for a process that got SIGKILL, while what it wrote
 * stays in the page cache below. Also makes writes and syncs end late, so that
 * others overtake them. */
#ifndef TESTS_LIB_VOL_IO_H
#define TESTS_LIB_VOL_IO_H

#include <stdatomic.h>

#include "loop/io.h"

struct vol_io {
    struct io io; /* hand out &io */
    struct io *below;
    atomic_bool killed;
    atomic_uint jitter; /* state of a cheap generator; 0: no delays */
};

void vol_io_init(struct vol_io *v, struct io *below, unsigned jitter_seed);
void vol_io_kill(struct vol_io *v);
void vol_io_revive(struct vol_io *v);

#endif
