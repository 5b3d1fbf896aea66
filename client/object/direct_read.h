/* Ranges of one object, straight from the OSDs: all of them verified, or none.
 *
 * Only data fragments (or one of the replicas, a near one first) are asked; what they cannot give,
 * or what others that are near could, is not computed here. Loop thread only. */
#ifndef OBJECT_DIRECT_READ_H
#define OBJECT_DIRECT_READ_H

#include "object/direct_piece.h"

enum { DIRECT_PIECES_MAX = 64 /* under way for one read */ };

struct object_slice {
    uint64_t offset; /* in the object */
    uint64_t bytes;
    uint8_t *dest; /* borrowed until the callback */
};

struct direct_read;
typedef void (*direct_read_cb)(struct direct_read *read, int rc);

/* Embedded by the caller, left alone until the callback. */
struct direct_read {
    struct err err; /* out: why, if rc != 0: the first piece that failed */

    const struct direct_env *env; /* private from here on */
    struct known_object *object;  /* one reference */
    const struct object_slice *slices;
    size_t slice_count;
    size_t slice; /* whose pieces are being started */
    struct layout_iter iter;
    uint64_t deadline_ms;
    int rc;
    struct list pieces; /* under way */
    unsigned piece_count;
    struct later_item later;
    direct_read_cb cb;
};

enum direct_way {
    DIRECT_POSSIBLE,
    DIRECT_ASIDE, /* an OSD that has data is not known, or not well */
    DIRECT_FAR    /* one that has data is far, and enough others are near to compute it from */
};

/* Can it be tried at all? One look per fragment, at all of a chunk for one that is far. */
enum direct_way direct_read_way(const struct direct_env *env, const struct known_object *object,
                                const struct object_slice *slices, size_t count);
/* Slices lie within the object and are borrowed, as is `object`. One callback, later. */
void direct_read_start(struct direct_read *read, const struct direct_env *env,
                       struct known_object *object, const struct object_slice *slices, size_t count,
                       uint64_t deadline_ms, direct_read_cb cb);
void direct_read_cancel(struct direct_read *read); /* a wish */

#endif
