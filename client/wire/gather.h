/* A message under construction: small parts copied, large values borrowed.
 *
 * Encoders append to `own` as to any struct buf; gather_borrow() notes that foreign
 * bytes belong at the present end. gather_finish() turns that into iovecs, so that a
 * 1 MiB value goes from its buffer to the socket uncopied. Borrowed memory must stay as
 * it is until the message was sent. {0} is a valid empty message. One thread at a time. */
#ifndef WIRE_GATHER_H
#define WIRE_GATHER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"

enum { GATHER_BORROW_BYTES_MIN = 4096 }; /* shorter values are cheaper to copy */

struct gather_piece {
    size_t at;          /* goes before own.data[at] */
    struct slice bytes; /* borrowed */
};

struct gather {
    struct buf own;

    struct gather_piece *pieces; /* private from here on */
    size_t piece_count;
    size_t piece_cap;
    size_t borrowed_bytes;
    size_t cut; /* see gather_cut() */
    struct iovec *iov;
};

static inline size_t gather_bytes(const struct gather *g)
{
    return g->own.len + g->borrowed_bytes;
}

/* Foreign bytes come here, whatever their size. */
void gather_borrow(struct gather *g, struct slice bytes);
/* Copied when shorter than GATHER_BORROW_BYTES_MIN, else borrowed. */
void gather_put(struct gather *g, struct slice bytes);
/* int32 length, then gather_put(). */
void gather_put_string(struct gather *g, struct slice s);
/* What follows lies behind the frame of an ASD protocol version 1 reply. At most once. */
void gather_cut(struct gather *g);

/* The iovecs in order, none empty, valid until the next put or the release. */
void gather_finish(struct gather *g, const struct iovec **ret_iov, size_t *ret_count,
                   size_t *ret_bytes);
/* Append everything to `b`, copied. */
void gather_flatten(const struct gather *g, struct buf *b);
void gather_release(struct gather *g); /* leaves {0} */

#endif
