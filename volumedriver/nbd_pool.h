/* Buffers of a worker, kept for the next request: 4 KiB aligned, sizes rounded up to powers
 * of two. Loop thread only. */
#ifndef VOLUMEDRIVER_NBD_POOL_H
#define VOLUMEDRIVER_NBD_POOL_H

#include <stddef.h>
#include <stdint.h>

enum {
    NBD_POOL_ALIGN_BYTES = 4096,
    NBD_POOL_CLASSES = 9,                   /* 4 KiB … 1 MiB; larger ones come from malloc */
    NBD_POOL_IDLE_BYTES_MAX = 16 * 1048576, /* kept for later; more is freed */
};

struct nbd_pool { /* {0} is an empty one; private */
    void *free[NBD_POOL_CLASSES];
    size_t idle_bytes;
};

/* `bytes` > 0, bounded by the caller; the contents are undefined. */
uint8_t *nbd_pool_get(struct nbd_pool *pool, size_t bytes);
/* `bytes` as it was asked for. */
void nbd_pool_put(struct nbd_pool *pool, uint8_t *data, size_t bytes);
void nbd_pool_release(struct nbd_pool *pool);

#endif
