/* A small input of a verb: a file, a pipe, a terminal. Any thread; blocks. */
#ifndef ALBA_INPUT_H
#define ALBA_INPUT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* All of `path` (NULL: standard input) to its end, whatever size it tells; *ret_bytes is the
 * caller's, also after a failure. ERR_TOO_LARGE beyond `bytes_max`. */
int input_load(const char *path, size_t bytes_max, struct buf *ret_bytes, struct err *e);

#endif
