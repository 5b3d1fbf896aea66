#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static void *must(void *p, size_t bytes)
{
    if (p == NULL) {
        fprintf(stderr, "out of memory: allocation of %zu bytes\n", bytes);
        abort();
    }
    return p;
}

void *mem_alloc(size_t bytes)
{
    return must(malloc(bytes != 0 ? bytes : 1), bytes);
}

void *mem_zalloc(size_t bytes)
{
    return must(calloc(1, bytes != 0 ? bytes : 1), bytes);
}

void *mem_array(size_t count, size_t item_bytes)
{
    CHECK(item_bytes == 0 || count <= SIZE_MAX / 2 / item_bytes);
    return mem_zalloc(count * item_bytes);
}

void *mem_realloc(void *old, size_t bytes)
{
    return must(realloc(old, bytes != 0 ? bytes : 1), bytes);
}

void *mem_aligned(size_t align, size_t bytes)
{
    void *p = NULL;

    if (posix_memalign(&p, align, bytes != 0 ? bytes : align) != 0) {
        p = NULL;
    }
    return must(p, bytes);
}

void *mem_dup(const void *data, size_t bytes)
{
    void *copy = mem_alloc(bytes);

    if (bytes != 0) {
        memcpy(copy, data, bytes);
    }
    return copy;
}

char *mem_strdup(const char *text)
{
    return mem_dup(text, strlen(text) + 1);
}

char *mem_printf(const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&text, fmt, ap);
    va_end(ap);
    return must(n < 0 ? NULL : text, 0);
}
