/* Owned slices. */
#ifndef META_BYTES_H
#define META_BYTES_H

#include <stdlib.h>

#include "base/mem.h"
#include "base/slice.h"

static inline struct slice slice_dup(struct slice s)
{
    return slice_of(s.len != 0 ? mem_dup(s.data, s.len) : NULL, s.len);
}

static inline void slice_release(struct slice *s)
{
    free((void *)(uintptr_t)s->data);
    *s = slice_of(NULL, 0);
}

#endif
