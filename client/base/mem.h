/* Allocation that does not fail.
 *
 * When memory is exhausted these print the size and abort: every daemon here
 * may be killed at any time without loss, so dying is the one out-of-memory
 * path that is tested. Sizes that come from a peer, a disk or a user must be
 * bounded before they get here. Free with free(). Any thread. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *mem_zalloc(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *mem_array(size_t count, size_t item_bytes)
    __attribute__((malloc, alloc_size(1, 2), returns_nonnull)); /* zeroed */
void *mem_realloc(void *old, size_t bytes) __attribute__((alloc_size(2), returns_nonnull));
/* `align` is a power of two; for I/O buffers. */
void *mem_aligned(size_t align, size_t bytes)
    __attribute__((malloc, alloc_size(2), returns_nonnull));
void *mem_dup(const void *data, size_t bytes) __attribute__((malloc, returns_nonnull));
char *mem_strdup(const char *text) __attribute__((malloc, returns_nonnull));
/* printf into a fresh string. */
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

#endif
