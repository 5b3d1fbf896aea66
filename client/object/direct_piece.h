/* One verified range of one stored fragment, from its OSD.
 *
 * One round trip when it is not compressed, its trailer is known, or most of it is wanted anyway;
 * else two. Bytes that fail a check are never given out. Loop thread only. */
#ifndef OBJECT_DIRECT_PIECE_H
#define OBJECT_DIRECT_PIECE_H

#include <stdbool.h>
#include <stdint.h>

#include "loop/later.h"
#include "object/known.h"
#include "object/osd_book.h"
#include "wire/gather.h"

enum {
    DIRECT_WHOLE_BYTES = 32768, /* a fragment up to this is always fetched whole */
    DIRECT_CALL_MS_MIN = 1
};

/* What a direct read needs of its client; constant. */
struct direct_env {
    struct osd_book *book;
    struct later *later;
    uint64_t *round_trips; /* counted here ... */
    uint64_t *far_trips;   /* ... and those of them to OSDs that are far */
    unsigned call_ms;      /* an OSD that takes longer for a call is set aside */
};

struct direct_range {
    uint32_t chunk;
    uint32_t fragment;
    uint32_t offset; /* in the raw fragment */
    uint32_t bytes;  /* > 0, within it */
    uint8_t *dest;   /* borrowed until the callback */
};

struct direct_piece;
typedef void (*direct_piece_cb)(struct direct_piece *piece, int rc);

enum direct_piece_state {
    DIRECT_FLAT,    /* blocks, their entries and the footer in one request */
    DIRECT_ALL,     /* the whole value */
    DIRECT_TRAILER, /* of a compressed fragment, to find the blocks */
    DIRECT_BLOCKS
};

/* Embedded by the caller, left alone until the callback. */
struct direct_piece {
    struct err err; /* out: why, if rc != 0 */

    const struct direct_env *env; /* private from here on */
    struct known_object *object;
    struct direct_range range;
    uint64_t deadline_ms;
    direct_piece_cb cb;
    enum direct_piece_state state;
    bool is_calling;
    bool canceled;
    int rc;
    struct book_osd *osd;
    struct fragment_ref ref;
    const struct fragment_index *index; /* the object's */
    struct asd_call call;
    struct gather request;
    struct slice data;
    struct later_item later;
};

/* `object` is held by the caller. The callback comes once, later: 0; ERR_NOT_FOUND (the OSD does
 * not have it); ERR_CORRUPT, ERR_VERSION; ERR_BUSY (the OSD is set aside or not known); or why it
 * did not answer. */
void direct_piece_start(struct direct_piece *piece, const struct direct_env *env,
                        struct known_object *object, const struct direct_range *range,
                        uint64_t deadline_ms, direct_piece_cb cb);
void direct_piece_cancel(struct direct_piece *piece); /* a wish */

#endif
