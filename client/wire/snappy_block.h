/* Raw snappy blocks: the packing of manifests and recovery infos. Any thread. */
#ifndef WIRE_SNAPPY_BLOCK_H
#define WIRE_SNAPPY_BLOCK_H

#include <stddef.h>

#include "base/buf.h"

/* Append `raw` packed. */
void snappy_block_put(struct buf *b, struct slice raw);
/* Append what `block` unpacks to. ERR_CORRUPT; ERR_TOO_LARGE when that is over `bytes_max`. */
int snappy_block_get(struct slice block, size_t bytes_max, struct buf *b);

#endif
