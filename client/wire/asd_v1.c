/* What a client that fell back to protocol version 1 has to do differently. */
#include "base/check.h"
#include "wire/asd_request.h"
#include "wire/llio.h"

enum {
    PART_BYTES = 8,
    VALUE_INLINE = 1,
    VALUE_LATER = 2,
    VALUE_BYTES_MIN = 1 /* an absent one */
};

/* Turn the list of parts around, in place, and add up their lengths. */
static uint64_t reverse_parts(struct buf *b)
{
    struct rd r = rd_of(b->data, b->len);
    uint64_t total = 0;
    uint32_t count;
    uint8_t *parts;

    rd_u32le(&r);
    llio_string(&r);
    count = llio_count(&r, PART_BYTES);
    CHECK(!r.bad);
    parts = b->data + (r.pos - b->data);
    for (uint32_t i = 0; i < count; i++) {
        total += get_u32le(parts + (size_t)i * PART_BYTES + 4);
    }
    for (uint32_t i = 0; i < count / 2; i++) {
        uint8_t *low = parts + (size_t)i * PART_BYTES;
        uint8_t *high = parts + (size_t)(count - 1 - i) * PART_BYTES;
        uint64_t part = get_u64le(low);

        put_u64le(low, get_u64le(high));
        put_u64le(high, part);
    }
    return total;
}

void asd_v1_request(struct gather *request, struct asd_v1_tail *ret_tail)
{
    struct buf *b = &request->own;
    struct asd_v1_tail tail = {0};

    CHECK(b->len >= sizeof(uint32_t));
    tail.code = get_u32le(b->data);
    if (tail.code == ASD_PARTIAL_GET) {
        tail.part_bytes = reverse_parts(b);
    } else if (tail.code == ASD_APPLY) {
        b->len--; /* the flags, last of all */
    }
    *ret_tail = tail;
}

void asd_v1_undo(struct gather *request)
{
    struct buf *b = &request->own;
    uint32_t code = get_u32le(b->data);

    if (code == ASD_PARTIAL_GET) {
        reverse_parts(b);
    } else if (code == ASD_APPLY) {
        b->len++; /* they are there still */
    }
}

static uint64_t later_bytes(struct rd *r)
{
    uint32_t count = llio_count(r, VALUE_BYTES_MIN);
    uint64_t total = 0;

    for (uint32_t i = 0; i < count && !r->bad; i++) {
        if (!llio_bool(r)) {
            continue;
        }
        switch (rd_u8(r)) {
        case VALUE_INLINE:
            llio_string(r);
            break;
        case VALUE_LATER:
            total += rd_u32le(r);
            break;
        default:
            rd_fail(r);
        }
        checksum_get(r);
    }
    return total;
}

int asd_v1_tail_bytes(const struct asd_v1_tail *tail, struct rd payload, uint32_t *ret_bytes)
{
    uint64_t total = 0;

    if (tail->code == ASD_MULTI_GET2) {
        total = later_bytes(&payload);
    } else if (tail->code == ASD_PARTIAL_GET) {
        total = llio_bool(&payload) ? tail->part_bytes : 0;
    }
    if (payload.bad || total > ASD_FRAME_BYTES_MAX) {
        return ERR_PROTOCOL;
    }
    *ret_bytes = (uint32_t)total;
    return 0;
}
