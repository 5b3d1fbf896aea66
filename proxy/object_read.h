/* Ranges of one object into memory, verified.
 *
 * Loop thread only. Ranges are cut into whole chunks and pieces of single fragments, so the
 * least is read from the OSDs, and a bounded number of those is under way at once. */
#ifndef PROXY_OBJECT_READ_H
#define PROXY_OBJECT_READ_H

#include "proxy/chunk_read.h"

enum {
    OBJECT_READ_PIECES_MAX = 64, /* under way */
    OBJECT_READ_CHUNKS_MAX = 3
};

struct object_read_range {
    uint64_t offset;
    uint64_t bytes;
    uint8_t *dest; /* borrowed */
};

struct object_read;
typedef void (*object_read_cb)(struct object_read *read, int rc);

/* Embedded by the caller, left alone until the callback. */
struct object_read {
    struct err err;        /* out: why, if rc != 0 */
    uint32_t cache_hits;   /* out: short pieces that came from the block cache, whole, */
    uint32_t cache_misses; /* and those that did not */
    void *user;            /* the caller's */

    struct engine *engine; /* private from here on */
    const struct readable *readable;
    const struct object_read_range *ranges;
    size_t range_count;
    size_t range;  /* next to be cut */
    uint64_t done; /* bytes of it that are cut */
    unsigned pieces;
    unsigned chunks;
    bool canceled;
    int rc;
    object_read_cb cb;
    struct list units;
    struct later_item later;
};

/* Memory that a read of so many bytes in so many ranges takes beside its destinations, at most. */
size_t object_read_scratch_bytes(const struct readable *readable, uint64_t bytes,
                                 size_t range_count);
/* Ranges lie within the object; `readable` and `ranges` are borrowed until the callback. It
 * comes once, later: 0, ERR_NOT_ENOUGH, ERR_CANCELED. */
void object_read_start(struct object_read *read, struct engine *engine,
                       const struct readable *readable, const struct object_read_range *ranges,
                       size_t range_count, object_read_cb cb);
void object_read_cancel(struct object_read *read); /* a wish */

#endif
