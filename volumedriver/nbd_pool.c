#include "volumedriver/nbd_pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Smallest class that holds `bytes`; NBD_POOL_CLASSES when none does. */
static unsigned class_of(size_t bytes)
{
    unsigned i = 0;

    while (i < NBD_POOL_CLASSES && (size_t)NBD_POOL_ALIGN_BYTES << i < bytes) {
        i++;
    }
    return i;
}

uint8_t *nbd_pool_get(struct nbd_pool *pool, size_t bytes)
{
    unsigned class = class_of(bytes);
    void *data;

    if (class == NBD_POOL_CLASSES) {
        return mem_aligned(NBD_POOL_ALIGN_BYTES, bytes);
    }
    data = pool->free[class];
    if (data == NULL) {
        return mem_aligned(NBD_POOL_ALIGN_BYTES, (size_t)NBD_POOL_ALIGN_BYTES << class);
    }
    memcpy(&pool->free[class], data, sizeof(data)); /* a free buffer begins with the next one */
    pool->idle_bytes -= (size_t)NBD_POOL_ALIGN_BYTES << class;
    return data;
}

void nbd_pool_put(struct nbd_pool *pool, uint8_t *data, size_t bytes)
{
    unsigned class = class_of(bytes);

    if (class == NBD_POOL_CLASSES ||
        pool->idle_bytes + ((size_t)NBD_POOL_ALIGN_BYTES << class) > NBD_POOL_IDLE_BYTES_MAX) {
        free(data);
        return;
    }
    memcpy(data, &pool->free[class], sizeof(pool->free[class]));
    pool->free[class] = data;
    pool->idle_bytes += (size_t)NBD_POOL_ALIGN_BYTES << class;
}

void nbd_pool_release(struct nbd_pool *pool)
{
    for (unsigned i = 0; i < NBD_POOL_CLASSES; i++) {
        while (pool->free[i] != NULL) {
            void *data = pool->free[i];

            memcpy(&pool->free[i], data, sizeof(data));
            free(data);
        }
    }
    pool->idle_bytes = 0;
}
