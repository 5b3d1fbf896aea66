#include "asd/spare.h"

#include <stdlib.h>

#include "base/bigmem.h"
#include "base/mem.h"

uint8_t *asd_spare_take(struct asd_spare *spare, size_t bytes, bool *ret_is_spare)
{
    *ret_is_spare = bytes >= ASD_SPARE_BYTES_MIN && bytes <= ASD_SPARE_BYTES;
    if (!*ret_is_spare) {
        return bigmem_alloc(bytes);
    }
    return spare->count != 0 ? spare->buffers[--spare->count] : mem_alloc(ASD_SPARE_BYTES);
}

void asd_spare_give(struct asd_spare *spare, uint8_t *buffer)
{
    if (buffer != NULL && spare->count < ASD_SPARE_COUNT_MAX) {
        spare->buffers[spare->count++] = buffer;
    } else {
        free(buffer);
    }
}

void asd_spare_release(struct asd_spare *spare)
{
    while (spare->count != 0) {
        free(spare->buffers[--spare->count]);
    }
}
