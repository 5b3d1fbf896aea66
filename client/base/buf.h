/* Growable byte buffer to encode into, and a bounds-checked reader to decode from.
 *
 * Integers are little endian unless the name says `be`. A struct buf never
 * fails (see base/mem.h): the encoder bounds what it puts. A struct rd remembers
 * the first bad access: later reads return 0 or NULL, so a decoder reads
 * everything and tests `bad` once before it uses a value or allocates by it.
 * Not thread safe. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* ---- raw access at a place, for fixed layouts ---- */

static inline void put_u16le(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void put_u32le(uint8_t *p, uint32_t v)
{
    put_u16le(p, (uint16_t)v);
    put_u16le(p + 2, (uint16_t)(v >> 16));
}

static inline void put_u64le(uint8_t *p, uint64_t v)
{
    put_u32le(p, (uint32_t)v);
    put_u32le(p + 4, (uint32_t)(v >> 32));
}

static inline void put_u32be(uint8_t *p, uint32_t v)
{
    put_u32le(p, __builtin_bswap32(v));
}

static inline void put_u64be(uint8_t *p, uint64_t v)
{
    put_u64le(p, __builtin_bswap64(v));
}

static inline uint16_t get_u16le(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_u32le(const uint8_t *p)
{
    return (uint32_t)get_u16le(p) | (uint32_t)get_u16le(p + 2) << 16;
}

static inline uint64_t get_u64le(const uint8_t *p)
{
    return (uint64_t)get_u32le(p) | (uint64_t)get_u32le(p + 4) << 32;
}

static inline uint32_t get_u32be(const uint8_t *p)
{
    return __builtin_bswap32(get_u32le(p));
}

static inline uint64_t get_u64be(const uint8_t *p)
{
    return __builtin_bswap64(get_u64le(p));
}

/* ---- struct buf: {0} is a valid empty buffer ---- */

struct buf {
    uint8_t *data; /* owned; NULL when cap is 0 */
    size_t len;
    size_t cap;
};

void buf_release(struct buf *b); /* frees, leaves {0} */
void buf_reserve(struct buf *b, size_t more_bytes);
/* Hand the bytes to the caller, who frees them; *b becomes {0}. */
uint8_t *buf_detach(struct buf *b, size_t *ret_len);
/* Append `bytes` uninitialised bytes, return where they start (valid until the next put). */
uint8_t *buf_extend(struct buf *b, size_t bytes);
void buf_put(struct buf *b, const void *data, size_t bytes);
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16le(struct buf *b, uint16_t v);
void buf_put_u32le(struct buf *b, uint32_t v);
void buf_put_u64le(struct buf *b, uint64_t v);
void buf_put_u32be(struct buf *b, uint32_t v);
void buf_put_u64be(struct buf *b, uint64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline struct slice slice_buf(const struct buf *b)
{
    return (struct slice){.data = b->data, .len = b->len};
}

/* ---- struct rd: borrows the bytes ---- */

struct rd {
    const uint8_t *pos;
    const uint8_t *end;
    bool bad;
};

static inline struct rd rd_of(const void *data, size_t bytes)
{
    const uint8_t *p = data;

    return (struct rd){.pos = p, .end = bytes != 0 ? p + bytes : p};
}

static inline size_t rd_left(const struct rd *r)
{
    return r->bad ? 0 : (size_t)(r->end - r->pos);
}

/* `bytes` bytes in place, or NULL and bad. */
const uint8_t *rd_bytes(struct rd *r, size_t bytes);
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16le(struct rd *r);
uint32_t rd_u32le(struct rd *r);
uint64_t rd_u64le(struct rd *r);
uint32_t rd_u32be(struct rd *r);
uint64_t rd_u64be(struct rd *r);

#endif
