/* Buffers of a megabyte and more that come and go: frames, fragments, chunks.
 *
 * A fresh one costs a page fault and a cleared page for every 4 KiB, which is dearer than
 * all that is done with the bytes. So these are aligned for huge pages and ask for them, and a
 * process that says so keeps what it has freed, up to a bound, for the next one of that size.
 * Kept ones go before the system is asked for more, so that kept and used ones together stay
 * within that bound, too, unless used ones alone are beyond it.
 *
 * Any thread. free() is allowed instead of bigmem_free() and keeps nothing, but its buffer goes on
 * counting as used; bigmem_free() takes whatever free() takes. */
#ifndef BASE_BIGMEM_H
#define BASE_BIGMEM_H

#include <stddef.h>
#include <stdint.h>

enum {
    BIGMEM_BYTES_MIN = 1 << 20, /* less is plain malloc() */
    BIGMEM_BLOCKS_MAX = 256,    /* kept */
    BIGMEM_IDLE_MS = 5000
};

/* As mem_alloc(); from BIGMEM_BYTES_MIN on aligned to 2 MiB, not zeroed. */
void *bigmem_alloc(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
/* NULL when the system does not grant it: for sizes that peers name. */
void *bigmem_try(size_t bytes) __attribute__((malloc, alloc_size(1)));
void bigmem_free(void *data); /* accepts NULL */
/* What it holds is nothing yet: the system may have the pages back until they are written to. */
void bigmem_cool(void *data, size_t bytes);

/* Keep up to so many freed bytes from now on; 0, as at the start: none. */
void bigmem_keep(size_t bytes_max);
/* Give back what was not used for BIGMEM_IDLE_MS. Call it now and then. */
void bigmem_trim(uint64_t now_ms);
size_t bigmem_kept_bytes(void);

#endif
