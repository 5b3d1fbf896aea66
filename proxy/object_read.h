/* Ranges of one object into memory, verified.
 *
 * Loop thread only. Ranges are cut into whole chunks and pieces of single fragments, so the
 * least is read from the OSDs, and a bounded number of those is under way at once: as many as the
 * memory takes that the caller has for them, but always one. */
#ifndef PROXY_OBJECT_READ_H
#define PROXY_OBJECT_READ_H

#include "proxy/chunk_read.h"

enum {
    OBJECT_READ_PIECES_MAX = 64, /* under way */
    OBJECT_READ_CHUNKS_MAX = 3,
    OBJECT_READ_SHARE = 3 /* of the memory of all transfers, 1 / so much for one request */
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
    size_t range;        /* next to be cut */
    uint64_t done;       /* bytes of it that are cut */
    size_t memory_bytes; /* for what is under way */
    size_t memory_used;
    unsigned pieces;
    unsigned chunks;
    bool canceled;
    int rc;
    object_read_cb cb;
    struct list units;
    struct later_item later;
};

/* What one request may take at once for all that it reads; more only for a single chunk or piece
 * that is larger. */
size_t object_read_share_bytes(const struct engine *engine);

/* Memory that a read is worth having beside its destinations: enough for each of its chunks and
 * pieces alone, and within the share for many at once. */
struct object_read_need {
    const struct engine *engine; /* private; borrowed, as is the next */
    const struct readable *readable;
    size_t most; /* for one of them */
    size_t sum;
    unsigned chunks;
    unsigned pieces;
};

struct object_read_need object_read_need_of(const struct engine *engine,
                                            const struct readable *readable);
/* A range of the read, within the object. */
void object_read_need_add(struct object_read_need *need, uint64_t offset, uint64_t bytes);
size_t object_read_need_bytes(const struct object_read_need *need);

/* Takes no more than `scratch_bytes` besides, as the above says of its ranges. Those lie within
 * the object; `readable` and `ranges` are borrowed until the callback. It comes once, later: 0,
 * ERR_NOT_ENOUGH, ERR_CANCELED. */
void object_read_start(struct object_read *read, struct engine *engine,
                       const struct readable *readable, const struct object_read_range *ranges,
                       size_t range_count, size_t scratch_bytes, object_read_cb cb);
void object_read_cancel(struct object_read *read); /* a wish */

#endif
