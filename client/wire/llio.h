/* Primitive encodings of both protocols: strings, options, lists, tagged integers.
 *
 * Encoders append to a struct buf and never fail; a value that the format cannot
 * hold is our own mistake (CHECK). Decoders read from a struct rd, borrow the bytes
 * and set `bad` at the first thing a well-behaved peer would not send. Any thread.
 * Bytes: PROTOCOL.md, "Primitives". */
#ifndef WIRE_LLIO_H
#define WIRE_LLIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    LLIO_COUNT_MAX = 1 << 18, /* elements of one list; a longer one is refused */
    LLIO_STRING_BYTES_MAX = INT32_MAX
};

/* ---- encode ---- */

static inline void llio_put_bool(struct buf *b, bool v)
{
    buf_put_u8(b, v ? 1 : 0);
}

static inline void llio_put_i32(struct buf *b, int32_t v)
{
    buf_put_u32le(b, (uint32_t)v);
}

static inline void llio_put_i64(struct buf *b, int64_t v)
{
    buf_put_u64le(b, (uint64_t)v);
}

void llio_put_float(struct buf *b, double v);
void llio_put_string(struct buf *b, struct slice s);
/* None when `has` is false. */
void llio_put_opt_string(struct buf *b, bool has, struct slice s);
/* The count before a list. The caller then puts the elements, last one first. */
void llio_put_count(struct buf *b, size_t count);
void llio_put_strings(struct buf *b, const struct slice *strings, size_t count);
void llio_put_floats(struct buf *b, const double *values, size_t count);
/* v <= INT64_MAX */
void llio_put_xint(struct buf *b, uint64_t v);
void llio_put_xint_be(struct buf *b, uint64_t v);
void llio_put_varint(struct buf *b, uint64_t v);
void llio_put_small(struct buf *b, struct slice s); /* varint length, bytes */

/* A sub-record behind its int32 length: begin, put its fields, end with what begin gave. */
size_t llio_sub_begin(struct buf *b);
void llio_sub_end(struct buf *b, size_t mark);

/* ---- decode ---- */

static inline void rd_fail(struct rd *r)
{
    r->bad = true;
}

bool llio_bool(struct rd *r); /* also the tag of an option */
double llio_float(struct rd *r);
struct slice llio_string(struct rd *r);
/* *ret_has says whether it was there. */
struct slice llio_opt_string(struct rd *r, bool *ret_has);
uint64_t llio_xint(struct rd *r);
uint64_t llio_xint_be(struct rd *r);
uint64_t llio_varint(struct rd *r);
struct slice llio_small(struct rd *r);
/* Reader over a sub-record (int32 length, or varint length); *r stands behind it. */
struct rd llio_sub(struct rd *r);
struct rd llio_small_sub(struct rd *r);

static inline int32_t llio_i32(struct rd *r)
{
    return (int32_t)rd_u32le(r);
}

static inline int64_t llio_i64(struct rd *r)
{
    return (int64_t)rd_u64le(r);
}

/* Count of a list whose elements take at least `item_bytes_min` (> 0) bytes each:
 * bad, and 0, when so many cannot follow or it is over LLIO_COUNT_MAX. So the
 * caller may allocate by it. It then fills its array from the back:
 *     for (uint32_t i = count; i-- > 0;) { item[i] = …; } */
uint32_t llio_count(struct rd *r, size_t item_bytes_min);
/* list string and list float. *ret_items is the caller's to free(), NULL when there are none
 * or the reader is bad. Strings inside are borrowed. Returns the count. */
uint32_t llio_strings(struct rd *r, struct slice **ret_items);
uint32_t llio_floats(struct rd *r, double **ret_items);

#endif
