/* Buffers for results of about 4 KiB that need no thread: taken and given back on one loop.
 *
 * malloc() keeps what is smaller per thread; from 1 KiB on it takes the lock of all threads and
 * tidies up: 2 to 3 % of the CPU of a hot get (docs/PERFORMANCE.md, two loops beside one).
 */
#ifndef ASD_SPARE_H
#define ASD_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ASD_SPARE_BYTES_MIN = 1024, ASD_SPARE_BYTES = 4096, ASD_SPARE_COUNT_MAX = 128 };

struct asd_spare {
    uint8_t *buffers[ASD_SPARE_COUNT_MAX];
    unsigned count;
};

/* Of at least `bytes`; *ret_is_spare says where it belongs. free() is allowed for either kind. */
uint8_t *asd_spare_take(struct asd_spare *spare, size_t bytes, bool *ret_is_spare);
/* One that is spare; NULL is fine. */
void asd_spare_give(struct asd_spare *spare, uint8_t *buffer);
void asd_spare_release(struct asd_spare *spare);

#endif
