#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "proxy/get.h"

struct extent {
    uint64_t offset, end;
};

static int compare_extents(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static bool overlap(const struct proxy_slice *slices, uint32_t count)
{
    struct extent *extents = mem_array(count + 1, sizeof(*extents));
    uint32_t used = 0;
    bool found = false;

    for (uint32_t i = 0; i < count; i++) {
        if (slices[i].bytes > 0) {
            extents[used].offset = (uint64_t)slices[i].offset;
            extents[used++].end = (uint64_t)slices[i].offset + (uint64_t)slices[i].bytes;
        }
    }
    qsort(extents, used, sizeof(*extents), compare_extents);
    for (uint32_t i = 1; i < used; i++) {
        found = found || extents[i].offset < extents[i - 1].end;
    }
    free(extents);
    return found;
}

int32_t get_check_slices(const struct get_item *item, uint64_t size_bytes, struct err *e)
{
    for (uint32_t i = 0; i < item->slice_count; i++) {
        const struct proxy_slice *s = &item->slices[i];

        if (s->bytes < 0) {
            err_set(e, -EINVAL, "slice of %" PRId32 " bytes", s->bytes);
            return PROXY_RC_BAD_SLICE_LENGTH;
        }
        if (s->offset < 0 || (uint64_t)s->offset > size_bytes ||
            (uint64_t)s->bytes > size_bytes - (uint64_t)s->offset) {
            err_set(e, -EINVAL,
                    "slice of %" PRId32 " bytes at %" PRId64 ", the object has %" PRIu64, s->bytes,
                    s->offset, size_bytes);
            return PROXY_RC_SLICE_OUTSIDE_OBJECT;
        }
    }
    if (overlap(item->slices, item->slice_count)) {
        err_set(e, -EINVAL, "slices overlap");
        return PROXY_RC_OVERLAPPING_SLICES;
    }
    return PROXY_RC_OK;
}
