/* Looking at the writes of a store, or failing them: a function between it and its I/O seam, which
 * may be changed while threads of the store run. One seam at a time. */
#ifndef UNIT_ASD_IO_HOOK_H
#define UNIT_ASD_IO_HOOK_H

#include "loop/io.h"

typedef ssize_t (*io_hook_pwritev_cb)(struct io *io, int fd, const struct iovec *iov, int iov_count,
                                      uint64_t offset);

/* Before the store is opened; for as long as `io` lives. */
void io_hook_install(struct io *io);
/* Instead of pwritev() of the seam from now on; NULL: nothing. */
void io_hook_pwritev(io_hook_pwritev_cb cb);
const struct io_ops *io_hook_below(void);
int io_hook_direct_fd(void); /* the last that was opened with IO_OPEN_DIRECT; -1: none */

#endif
