#include "wire/asd_request.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"

enum {
    RECORD_TAG = 1,               /* before every assert and update */
    ASSERT_BYTES_MIN = 1 + 4 + 1, /* tag, key, option */
    UPDATE_BYTES_MIN = 1 + 4 + 1, /* tag, key, option */
    PART_BYTES = 4 + 4,           /* offset, length */
    PART_REPLY_BYTES_MAX = ASD_FRAME_BYTES_MAX - 64
};

/* ---- encode ---- */

static void put_range(struct buf *b, const struct asd_range *range)
{
    llio_put_string(b, range->first);
    llio_put_bool(b, range->first_included);
    llio_put_bool(b, range->has_last);
    if (range->has_last) {
        llio_put_string(b, range->last);
        llio_put_bool(b, range->last_included);
    }
    llio_put_bool(b, range->reverse);
    llio_put_i32(b, range->max);
}

static void put_assert(struct gather *g, const struct asd_assert *a)
{
    buf_put_u8(&g->own, RECORD_TAG);
    llio_put_string(&g->own, a->key);
    llio_put_bool(&g->own, a->has_value);
    if (a->has_value) {
        gather_put_string(g, a->value);
    }
}

static void put_update(struct gather *g, const struct asd_update *u)
{
    buf_put_u8(&g->own, RECORD_TAG);
    llio_put_string(&g->own, u->key);
    llio_put_bool(&g->own, !u->is_delete);
    if (!u->is_delete) {
        CHECK(u->value.len <= LLIO_STRING_BYTES_MAX - u->rest.len);
        buf_put_u32le(&g->own, (uint32_t)(u->value.len + u->rest.len));
        gather_put(g, u->value);
        gather_put(g, u->rest);
        checksum_put(&g->own, &u->checksum);
        llio_put_bool(&g->own, u->assertable);
    }
}

static void put_apply(struct gather *g, const struct asd_apply *apply)
{
    llio_put_count(&g->own, apply->assert_count);
    for (uint32_t i = apply->assert_count; i-- > 0;) {
        put_assert(g, &apply->asserts[i]);
    }
    llio_put_count(&g->own, apply->update_count);
    for (uint32_t i = apply->update_count; i-- > 0;) {
        put_update(g, &apply->updates[i]);
    }
}

void asd_request_encode(const struct asd_request *request, struct gather *g)
{
    struct buf *b = &g->own;
    uint8_t prio = request->prio != 0 ? request->prio : ASD_PRIO_HIGH;

    CHECK(asd_code_name(request->code)[0] != '?');
    buf_put_u32le(b, request->code);
    switch (request->code) {
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
        put_range(b, &request->range);
        buf_put_u8(b, prio);
        break;
    case ASD_RANGE_VALIDATE:
        put_range(b, &request->range);
        llio_put_bool(b, request->verify_checksum);
        llio_put_bool(b, request->show_all);
        buf_put_u8(b, prio);
        break;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        llio_put_strings(b, request->keys.items, request->keys.count);
        buf_put_u8(b, prio);
        break;
    case ASD_APPLY:
        put_apply(g, &request->apply);
        buf_put_u8(b, prio);
        buf_put_u8(b, request->apply.flags);
        break;
    case ASD_PARTIAL_GET:
        llio_put_string(b, request->partial.key);
        llio_put_count(b, request->partial.part_count);
        for (uint32_t i = 0; i < request->partial.part_count; i++) {
            buf_put_u32le(b, request->partial.parts[i].offset);
            buf_put_u32le(b, request->partial.parts[i].bytes);
        }
        buf_put_u8(b, prio);
        break;
    case ASD_STATISTICS:
        llio_put_bool(b, request->clear);
        break;
    case ASD_SET_FULL:
        llio_put_bool(b, request->full);
        break;
    case ASD_SLOWNESS:
        llio_put_bool(b, request->slowness.on);
        if (request->slowness.on) {
            llio_put_float(b, request->slowness.fixed_s);
            llio_put_float(b, request->slowness.variable_s);
        }
        break;
    default: /* no arguments */
        break;
    }
}

/* ---- decode ---- */

/* Old clients leave it out of some commands; then it means high. The C++ client sends
 * it as 4 bytes, of which the first is taken. */
static uint8_t get_prio(struct rd *r, bool mandatory)
{
    uint8_t prio;

    if (!mandatory && !r->bad && rd_left(r) == 0) {
        return ASD_PRIO_HIGH;
    }
    prio = rd_u8(r);
    if (prio != ASD_PRIO_HIGH && prio != ASD_PRIO_LOW) {
        rd_fail(r);
    }
    return prio;
}

static void get_range(struct rd *r, struct asd_range *range)
{
    range->first = llio_string(r);
    range->first_included = llio_bool(r);
    range->has_last = llio_bool(r);
    if (range->has_last) {
        range->last = llio_string(r);
        range->last_included = llio_bool(r);
    }
    range->reverse = llio_bool(r);
    range->max = llio_i32(r);
    if (range->max < 0 || range->max > ASD_RANGE_MAX) {
        range->max = ASD_RANGE_MAX;
    }
}

static void get_tag(struct rd *r)
{
    if (rd_u8(r) != RECORD_TAG) {
        rd_fail(r);
    }
}

static void get_asserts(struct rd *r, struct asd_apply *apply)
{
    uint32_t count = llio_count(r, ASSERT_BYTES_MIN);

    apply->assert_count = count;
    apply->asserts = count != 0 ? mem_array(count, sizeof(apply->asserts[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct asd_assert *a = &apply->asserts[i];

        get_tag(r);
        a->key = llio_string(r);
        a->value = llio_opt_string(r, &a->has_value);
    }
}

static void get_updates(struct rd *r, struct asd_apply *apply)
{
    uint32_t count = llio_count(r, UPDATE_BYTES_MIN);

    apply->update_count = count;
    apply->updates = count != 0 ? mem_array(count, sizeof(apply->updates[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct asd_update *u = &apply->updates[i];
        bool is_set;

        get_tag(r);
        u->key = llio_string(r);
        u->value = llio_opt_string(r, &is_set);
        u->is_delete = !is_set;
        if (is_set) {
            u->checksum = checksum_get(r);
            u->assertable = llio_bool(r);
        }
    }
}

static void get_apply(struct rd *r, unsigned version, struct asd_request *req)
{
    get_asserts(r, &req->apply);
    get_updates(r, &req->apply);
    req->prio = get_prio(r, false);
    if (version != ASD_VERSION_1 && rd_left(r) > 0) {
        req->apply.flags = rd_u8(r);
        if ((req->apply.flags & ~ASD_APPLY_RESERVE) != 0) {
            rd_fail(r);
        }
    }
}

/* On version 1 the list is reversed like any list; on version 2 it stands in order. The
 * C++ client writes it in order on version 1 too, but never asks for more than one part. */
static void get_partial(struct rd *r, unsigned version, struct asd_request *req)
{
    uint64_t total = 0;
    uint32_t count;

    req->partial.key = llio_string(r);
    count = llio_count(r, PART_BYTES);
    req->partial.part_count = count;
    req->partial.parts = count != 0 ? mem_array(count, sizeof(struct asd_part)) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct asd_part *part = &req->partial.parts[version == ASD_VERSION_1 ? count - 1 - i : i];

        part->offset = rd_u32le(r);
        part->bytes = rd_u32le(r);
        total += part->bytes;
        if (part->offset > INT32_MAX || part->bytes > INT32_MAX) {
            rd_fail(r);
        }
    }
    if (total > PART_REPLY_BYTES_MAX) {
        rd_fail(r);
    }
    req->prio = get_prio(r, true);
}

static bool is_delay(double seconds)
{
    return isfinite(seconds) && seconds >= 0;
}

static void get_slowness(struct rd *r, struct asd_request *req)
{
    req->slowness.on = llio_bool(r);
    if (req->slowness.on) {
        req->slowness.fixed_s = llio_float(r);
        req->slowness.variable_s = llio_float(r);
        if (!is_delay(req->slowness.fixed_s) || !is_delay(req->slowness.variable_s)) {
            rd_fail(r);
        }
    }
}

static bool get_arguments(struct rd *r, unsigned version, struct asd_request *req)
{
    switch (req->code) {
    case ASD_RANGE:
    case ASD_RANGE_ENTRIES:
        get_range(r, &req->range);
        req->prio = get_prio(r, false);
        return true;
    case ASD_RANGE_VALIDATE:
        get_range(r, &req->range);
        req->verify_checksum = llio_bool(r);
        req->show_all = llio_bool(r);
        req->prio = get_prio(r, true);
        return true;
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        req->keys.count = llio_strings(r, &req->keys.items);
        req->prio = get_prio(r, false);
        return true;
    case ASD_APPLY:
        get_apply(r, version, req);
        return true;
    case ASD_PARTIAL_GET:
        get_partial(r, version, req);
        return true;
    case ASD_STATISTICS:
        req->clear = llio_bool(r);
        return true;
    case ASD_SET_FULL:
        req->full = llio_bool(r);
        return true;
    case ASD_SLOWNESS:
        get_slowness(r, req);
        return true;
    case ASD_GET_VERSION:
    case ASD_GET_DISK_USAGE:
    case ASD_CAPABILITIES:
        return true;
    default:
        return false;
    }
}

/* Bad when `r` ends before it is known. */
static bool find_value(struct rd *r, uint32_t value_bytes_min)
{
    for (uint32_t left = rd_u32le(r); left > 0 && !r->bad; left--) {
        bool has_value;

        get_tag(r);
        llio_string(r);
        llio_opt_string(r, &has_value);
    }
    for (uint32_t left = rd_u32le(r); left > 0 && !r->bad; left--) {
        struct rd value;

        get_tag(r);
        llio_string(r);
        if (!llio_bool(r)) {
            continue;
        }
        value = *r;
        if (rd_u32le(&value) >= value_bytes_min && !value.bad) {
            *r = value;
            return true;
        }
        llio_string(r);
        checksum_get(r);
        llio_bool(r);
    }
    return false;
}

uint32_t asd_request_value_at(const uint8_t *head, size_t bytes, unsigned version,
                              uint32_t value_bytes_min)
{
    struct rd r = rd_of(head, bytes);
    bool found = false;

    if (version != ASD_VERSION_1) {
        rd_u32le(&r); /* id */
    }
    if (rd_u32le(&r) == ASD_APPLY) {
        found = find_value(&r, value_bytes_min);
    }
    return r.bad ? ASD_REQUEST_UNTOLD : found ? (uint32_t)(r.pos - head) : 0;
}

int asd_request_decode(struct rd frame, unsigned version, uint32_t *ret_request_id,
                       struct asd_request *ret_request, struct err *e)
{
    struct asd_request req = {.prio = ASD_PRIO_HIGH};
    uint32_t id = version == ASD_VERSION_1 ? 0 : rd_u32le(&frame);

    if (!frame.bad) {
        *ret_request_id = id;
    }
    req.code = rd_u32le(&frame);
    if (frame.bad) {
        return err_set(e, ERR_PROTOCOL, "request too short");
    }
    if (!get_arguments(&frame, version, &req)) {
        return err_set(e, ERR_UNKNOWN_OPERATION, "command %" PRIu32, req.code);
    }
    if (frame.bad) {
        asd_request_release(&req);
        return err_set(e, ERR_PROTOCOL, "%s: malformed arguments", asd_code_name(req.code));
    }
    *ret_request = req;
    return 0;
}

void asd_request_release(struct asd_request *request)
{
    switch (request->code) {
    case ASD_MULTI_GET:
    case ASD_MULTI_GET2:
    case ASD_MULTI_EXISTS:
        free(request->keys.items);
        break;
    case ASD_APPLY:
        free(request->apply.asserts);
        free(request->apply.updates);
        break;
    case ASD_PARTIAL_GET:
        free(request->partial.parts);
        break;
    default:
        break;
    }
    *request = (struct asd_request){0};
}
