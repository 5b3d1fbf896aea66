#include "wire/llio.h"

#include <assert.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"

/* From here on an id takes the long form: this marker, then 8 bytes. */
static const uint32_t XINT_LONG = 0x7fffffff;

enum { VARINT_BYTES_MAX = 10, STRING_BYTES_MIN = 4, FLOAT_BYTES = 8 };

void llio_put_float(struct buf *b, double v)
{
    uint64_t bits;

    static_assert(sizeof(bits) == sizeof(v), "a float is an IEEE double");
    memcpy(&bits, &v, sizeof(bits));
    buf_put_u64le(b, bits);
}

void llio_put_string(struct buf *b, struct slice s)
{
    CHECK(s.len <= LLIO_STRING_BYTES_MAX);
    buf_put_u32le(b, (uint32_t)s.len);
    buf_put(b, s.data, s.len);
}

void llio_put_opt_string(struct buf *b, bool has, struct slice s)
{
    llio_put_bool(b, has);
    if (has) {
        llio_put_string(b, s);
    }
}

void llio_put_count(struct buf *b, size_t count)
{
    CHECK(count <= LLIO_COUNT_MAX);
    buf_put_u32le(b, (uint32_t)count);
}

void llio_put_strings(struct buf *b, const struct slice *strings, size_t count)
{
    llio_put_count(b, count);
    for (size_t i = count; i-- > 0;) {
        llio_put_string(b, strings[i]);
    }
}

void llio_put_floats(struct buf *b, const double *values, size_t count)
{
    llio_put_count(b, count);
    for (size_t i = count; i-- > 0;) {
        llio_put_float(b, values[i]);
    }
}

void llio_put_xint(struct buf *b, uint64_t v)
{
    CHECK(v <= INT64_MAX);
    if (v < XINT_LONG) {
        buf_put_u32le(b, (uint32_t)v);
    } else {
        buf_put_u32le(b, XINT_LONG);
        buf_put_u64le(b, v);
    }
}

void llio_put_xint_be(struct buf *b, uint64_t v)
{
    CHECK(v <= INT64_MAX);
    if (v < XINT_LONG) {
        buf_put_u32be(b, (uint32_t)v);
    } else {
        buf_put_u32be(b, XINT_LONG);
        buf_put_u64be(b, v);
    }
}

void llio_put_varint(struct buf *b, uint64_t v)
{
    while (v >= 0x80) {
        buf_put_u8(b, (uint8_t)(v | 0x80));
        v >>= 7;
    }
    buf_put_u8(b, (uint8_t)v);
}

void llio_put_small(struct buf *b, struct slice s)
{
    llio_put_varint(b, s.len);
    buf_put(b, s.data, s.len);
}

size_t llio_sub_begin(struct buf *b)
{
    size_t mark = b->len;

    buf_put_u32le(b, 0);
    return mark;
}

void llio_sub_end(struct buf *b, size_t mark)
{
    size_t bytes = b->len - mark - sizeof(uint32_t);

    CHECK(bytes <= LLIO_STRING_BYTES_MAX);
    put_u32le(b->data + mark, (uint32_t)bytes);
}

bool llio_bool(struct rd *r)
{
    uint8_t v = rd_u8(r);

    if (v > 1) {
        rd_fail(r);
        return false;
    }
    return v == 1;
}

double llio_float(struct rd *r)
{
    uint64_t bits = rd_u64le(r);
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static struct slice bytes_of(struct rd *r, uint64_t bytes)
{
    const uint8_t *data;

    if (bytes > rd_left(r)) {
        rd_fail(r);
        return slice_of(NULL, 0);
    }
    data = rd_bytes(r, (size_t)bytes);
    return slice_of(data, data != NULL ? (size_t)bytes : 0);
}

struct slice llio_string(struct rd *r)
{
    uint32_t bytes = rd_u32le(r);

    return bytes_of(r, bytes);
}

struct slice llio_opt_string(struct rd *r, bool *ret_has)
{
    *ret_has = llio_bool(r);
    return *ret_has ? llio_string(r) : slice_of(NULL, 0);
}

/* Only the form the encoder would choose is taken: a key must not have two spellings. */
uint64_t llio_xint(struct rd *r)
{
    uint32_t head = rd_u32le(r);
    uint64_t v = head;

    if (head == XINT_LONG) {
        v = rd_u64le(r);
    }
    if (head > XINT_LONG || v > INT64_MAX || (head == XINT_LONG && v < XINT_LONG)) {
        rd_fail(r);
    }
    return r->bad ? 0 : v;
}

uint64_t llio_xint_be(struct rd *r)
{
    uint32_t head = rd_u32be(r);
    uint64_t v = head;

    if (head == XINT_LONG) {
        v = rd_u64be(r);
    }
    if (head > XINT_LONG || v > INT64_MAX || (head == XINT_LONG && v < XINT_LONG)) {
        rd_fail(r);
    }
    return r->bad ? 0 : v;
}

uint64_t llio_varint(struct rd *r)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < VARINT_BYTES_MAX; i++) {
        uint8_t byte = rd_u8(r);

        if (i == VARINT_BYTES_MAX - 1 && byte > 1) {
            break; /* more than 64 bits */
        }
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            return r->bad ? 0 : v;
        }
    }
    rd_fail(r);
    return 0;
}

struct slice llio_small(struct rd *r)
{
    return bytes_of(r, llio_varint(r));
}

struct rd llio_sub(struct rd *r)
{
    struct slice s = llio_string(r);
    struct rd sub = rd_of(s.data, s.len);

    sub.bad = r->bad;
    return sub;
}

struct rd llio_small_sub(struct rd *r)
{
    struct slice s = llio_small(r);
    struct rd sub = rd_of(s.data, s.len);

    sub.bad = r->bad;
    return sub;
}

uint32_t llio_count(struct rd *r, size_t item_bytes_min)
{
    uint32_t count = rd_u32le(r);

    CHECK(item_bytes_min != 0);
    if (count > LLIO_COUNT_MAX || count > rd_left(r) / item_bytes_min) {
        rd_fail(r);
        return 0;
    }
    return count;
}

uint32_t llio_strings(struct rd *r, struct slice **ret_items)
{
    uint32_t count = llio_count(r, STRING_BYTES_MIN);
    struct slice *items = count != 0 ? mem_array(count, sizeof(*items)) : NULL;

    for (uint32_t i = count; i-- > 0;) {
        items[i] = llio_string(r);
    }
    if (r->bad) {
        free(items);
        items = NULL;
        count = 0;
    }
    *ret_items = items;
    return count;
}

uint32_t llio_floats(struct rd *r, double **ret_items)
{
    uint32_t count = llio_count(r, FLOAT_BYTES);
    double *items = count != 0 ? mem_array(count, sizeof(*items)) : NULL;

    for (uint32_t i = count; i-- > 0;) {
        items[i] = llio_float(r);
    }
    *ret_items = items;
    return count;
}
