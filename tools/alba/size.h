/* Sizes as people type them. Any thread. */
#ifndef ALBA_SIZE_H
#define ALBA_SIZE_H

#include <stdint.h>

#include "base/err.h"

/* "10GiB", "10G", "512MiB", "4096": bytes, in powers of 1024; -EINVAL for anything else and 0. */
int size_parse(const char *text, uint64_t *ret_bytes, struct err *e);

#endif
