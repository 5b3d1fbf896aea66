/* Reading what is to be stored from a file of a client's: hostile bounds, files that change.
 *
 * These calls block: pool threads only. */
#ifndef PROXY_SOURCE_H
#define PROXY_SOURCE_H

#include <stdint.h>

#include "base/err.h"
#include "wire/proxy_update.h"

/* All of them, or an error: UV_EOF when the file ends before. */
int source_read(int fd, uint64_t offset, uint8_t *ret_data, uint32_t bytes, struct err *e);
/* [offset, + bytes) of the extents one behind the other; it lies within their sum. */
int source_read_extents(int fd, const struct proxy_extent *extents, uint32_t count, uint64_t offset,
                        uint8_t *ret_data, uint32_t bytes, struct err *e);

/* Can what was handed over be read as these extents: a regular file, open for reading, nothing
 * empty or beyond its end? -EINVAL. What was opened for direct I/O, whose alignment is not ours to
 * keep, is opened once more without: *fd may become another one. */
int source_check(int *fd, const struct proxy_extent *extents, uint32_t count, struct err *e);
/* The sum of the extents; UINT64_MAX: more than any object. */
uint64_t source_bytes(const struct proxy_extent *extents, uint32_t count);

#endif
