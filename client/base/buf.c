#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

enum { BUF_FIRST_BYTES = 64 };

void buf_release(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

void buf_reserve(struct buf *b, size_t more_bytes)
{
    size_t cap = b->cap != 0 ? b->cap : BUF_FIRST_BYTES;

    CHECK(more_bytes <= SIZE_MAX / 4 - b->len);
    if (b->cap - b->len >= more_bytes && b->data != NULL) {
        return;
    }
    while (cap - b->len < more_bytes) {
        cap *= 2;
    }
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

uint8_t *buf_detach(struct buf *b, size_t *ret_len)
{
    uint8_t *data = b->data;

    *ret_len = b->len;
    *b = (struct buf){0};
    return data;
}

uint8_t *buf_extend(struct buf *b, size_t bytes)
{
    uint8_t *at;

    buf_reserve(b, bytes);
    at = b->data + b->len;
    b->len += bytes;
    return at;
}

void buf_put(struct buf *b, const void *data, size_t bytes)
{
    if (bytes != 0) {
        memcpy(buf_extend(b, bytes), data, bytes);
    }
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    *buf_extend(b, 1) = v;
}

void buf_put_u16le(struct buf *b, uint16_t v)
{
    put_u16le(buf_extend(b, 2), v);
}

void buf_put_u32le(struct buf *b, uint32_t v)
{
    put_u32le(buf_extend(b, 4), v);
}

void buf_put_u64le(struct buf *b, uint64_t v)
{
    put_u64le(buf_extend(b, 8), v);
}

void buf_put_u32be(struct buf *b, uint32_t v)
{
    put_u32be(buf_extend(b, 4), v);
}

void buf_put_u64be(struct buf *b, uint64_t v)
{
    put_u64be(buf_extend(b, 8), v);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    CHECK(n >= 0);
    buf_reserve(b, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

const uint8_t *rd_bytes(struct rd *r, size_t bytes)
{
    const uint8_t *at = r->pos;

    if (r->bad || (size_t)(r->end - r->pos) < bytes) {
        r->bad = true;
        return NULL;
    }
    if (bytes != 0) {
        r->pos += bytes;
    }
    return at;
}

uint8_t rd_u8(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 1);

    return p != NULL ? *p : 0;
}

uint16_t rd_u16le(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 2);

    return p != NULL ? get_u16le(p) : 0;
}

uint32_t rd_u32le(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 4);

    return p != NULL ? get_u32le(p) : 0;
}

uint64_t rd_u64le(struct rd *r)
{
    const uint8_t *p = rd_bytes(r, 8);

    return p != NULL ? get_u64le(p) : 0;
}

uint32_t rd_u32be(struct rd *r)
{
    return __builtin_bswap32(rd_u32le(r));
}

uint64_t rd_u64be(struct rd *r)
{
    return __builtin_bswap64(rd_u64le(r));
}

int slice_cmp(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n != 0 ? memcmp(a.data, b.data, n) : 0;

    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}
