#include "wire/proxy_request.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/mem.h"
#include "wire/llio.h"

/* Least bytes of an element of each list. */
enum {
    SLICE_BYTES = 8 + 4,
    OBJECT_SLICES_BYTES_MIN = 4 + 4, /* name, list */
    SESSION_BYTES_MIN = 4 + 1,       /* key, option */
    ASSERT_BYTES_MIN = 1 + 4,        /* kind, name */
    UPDATE_BYTES_MIN = 1 + 4,
    EXTENT_BYTES = 8 + 8
};

static void get_range(struct rd *r, struct proxy_range *range)
{
    range->first = llio_string(r);
    range->first_included = llio_bool(r);
    range->has_last = llio_bool(r);
    if (range->has_last) {
        range->last = llio_string(r);
        range->last_included = llio_bool(r);
    }
    range->max = llio_i32(r);
    range->reverse = llio_bool(r);
    if (range->max < 0 || range->max > PROXY_RANGE_MAX) {
        range->max = PROXY_RANGE_MAX;
    }
}

static void get_assert(struct rd *r, struct proxy_assert *a)
{
    a->kind = rd_u8(r);
    a->name = llio_string(r);
    switch (a->kind) {
    case PROXY_ASSERT_EXISTS:
    case PROXY_ASSERT_ABSENT:
        break;
    case PROXY_ASSERT_HAS_ID:
        a->object_id = llio_string(r);
        break;
    case PROXY_ASSERT_HAS_CHECKSUM:
        a->checksum = checksum_get(r);
        break;
    default:
        rd_fail(r);
    }
}

static void get_extents(struct rd *r, struct proxy_update *u)
{
    u->token = llio_string(r);
    u->extent_count = llio_count(r, EXTENT_BYTES);
    u->extents = u->extent_count != 0 ? mem_array(u->extent_count, sizeof(u->extents[0])) : NULL;
    for (uint32_t i = u->extent_count; i-- > 0;) {
        u->extents[i].offset = rd_u64le(r);
        u->extents[i].bytes = rd_u64le(r);
    }
}

static void get_update(struct rd *r, uint32_t code, struct proxy_update *u)
{
    u->kind = rd_u8(r);
    u->name = llio_string(r);
    switch (u->kind) {
    case PROXY_UPDATE_DELETE:
        return;
    case PROXY_UPDATE_UPLOAD:
        u->data = llio_string(r);
        break;
    case PROXY_UPDATE_UPLOAD_FILE:
        u->file = llio_string(r);
        break;
    case PROXY_UPDATE_UPLOAD_FD:
        if (code != PROXY_APPLY_FDS) {
            rd_fail(r);
            return;
        }
        get_extents(r, u);
        break;
    case PROXY_UPDATE_UPLOAD_STREAM:
        u->bytes = rd_u64le(r);
        if (code != PROXY_APPLY_STREAM || u->bytes > INT64_MAX) {
            rd_fail(r);
        }
        break;
    default:
        rd_fail(r);
    }
    u->checksum = checksum_get_opt(r, &u->has_checksum);
}

/* 0, or ERR_TOO_LARGE, with nothing allocated for what is over the limit. */
static int get_apply(struct rd *r, uint32_t code, struct proxy_apply *apply)
{
    uint32_t count = llio_count(r, ASSERT_BYTES_MIN);

    if (count > PROXY_APPLY_COUNT_MAX) {
        return ERR_TOO_LARGE;
    }
    apply->assert_count = count;
    apply->asserts = count != 0 ? mem_array(count, sizeof(apply->asserts[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        get_assert(r, &apply->asserts[i]);
    }
    count = llio_count(r, UPDATE_BYTES_MIN);
    if (count > PROXY_APPLY_COUNT_MAX) {
        return ERR_TOO_LARGE;
    }
    apply->update_count = count;
    apply->updates = count != 0 ? mem_array(count, sizeof(apply->updates[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        get_update(r, code, &apply->updates[i]);
    }
    if (code == PROXY_APPLY_STREAM &&
        (count != 1 || apply->updates[0].kind != PROXY_UPDATE_UPLOAD_STREAM)) {
        rd_fail(r);
    }
    return 0;
}

static void get_apply_options(struct rd *r, struct proxy_apply *apply)
{
    apply->flags = rd_u32le(r);
    apply->deadline_ms = rd_u32le(r);
    if ((apply->flags & ~(uint32_t)(PROXY_APPLY_RESERVE | PROXY_APPLY_LOW_PRIORITY)) != 0) {
        rd_fail(r);
    }
}

static void get_object(struct rd *r, struct proxy_request *req)
{
    req->object.name = llio_string(r);
    switch (req->code) {
    case PROXY_DELETE_OBJECT:
        req->object.may_not_exist = llio_bool(r);
        return;
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        req->object.file = llio_string(r);
        req->object.allow_overwrite = llio_bool(r);
        req->object.checksum = checksum_get_opt(r, &req->object.has_checksum);
        return;
    case PROXY_READ_OBJECT_FS:
        req->object.file = llio_string(r);
        break;
    default:
        break;
    }
    req->consistent_read = llio_bool(r);
    req->should_cache = llio_bool(r);
}

static void get_reads(struct rd *r, struct proxy_request *req)
{
    uint32_t count = llio_count(r, OBJECT_SLICES_BYTES_MIN);

    req->reads.count = count;
    req->reads.items = count != 0 ? mem_array(count, sizeof(req->reads.items[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct proxy_object_slices *object = &req->reads.items[i];

        object->name = llio_string(r);
        object->slice_count = llio_count(r, SLICE_BYTES);
        object->slices = object->slice_count != 0
                             ? mem_array(object->slice_count, sizeof(object->slices[0]))
                             : NULL;
        for (uint32_t j = object->slice_count; j-- > 0;) {
            object->slices[j].offset = llio_i64(r);
            object->slices[j].bytes = llio_i32(r);
        }
    }
    req->consistent_read = llio_bool(r);
}

static void get_session(struct rd *r, struct proxy_request *req)
{
    uint32_t count = llio_count(r, SESSION_BYTES_MIN);

    req->session.count = count;
    req->session.items = count != 0 ? mem_array(count, sizeof(req->session.items[0])) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        struct proxy_session_entry *entry = &req->session.items[i];

        entry->key = llio_string(r);
        entry->value = llio_opt_string(r, &entry->has_value);
    }
}

static void get_names(struct rd *r, struct proxy_request *req)
{
    req->names.count = llio_strings(r, &req->names.items);
    if (req->code == PROXY_READ_OBJECTS) {
        req->consistent_read = llio_bool(r);
        req->should_cache = llio_bool(r);
    }
}

/* 0, with r->bad when they are malformed; or ERR_TOO_LARGE. */
static int get_arguments(struct rd *r, struct proxy_request *req)
{
    switch (req->code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
    case PROXY_LIST_OBJECTS:
        get_range(r, &req->range);
        break;
    case PROXY_CREATE_NAMESPACE:
        req->create.preset = llio_opt_string(r, &req->create.has_preset);
        break;
    case PROXY_DELETE_OBJECT:
    case PROXY_GET_OBJECT_INFO:
    case PROXY_READ_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        get_object(r, req);
        break;
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
        get_reads(r, req);
        break;
    case PROXY_STATISTICS:
        req->statistics.clear = llio_bool(r);
        if (rd_left(r) > 0) { /* added later */
            req->statistics.forget_count = llio_strings(r, &req->statistics.forget);
        }
        break;
    case PROXY_PING:
        req->delay_s = llio_float(r);
        break;
    case PROXY_APPLY_SEQUENCE:
        req->apply.write_barrier = llio_bool(r);
        return get_apply(r, req->code, &req->apply);
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
    case PROXY_APPLY_STREAM:
        get_apply_options(r, &req->apply);
        return get_apply(r, req->code, &req->apply);
    case PROXY_STREAM_PART:
        req->part.offset = rd_u64le(r);
        req->part.crc32c = rd_u32le(r);
        req->part.data = llio_string(r);
        break;
    case PROXY_READ_OBJECTS:
    case PROXY_MULTI_EXISTS:
        get_names(r, req);
        break;
    case PROXY_UPDATE_SESSION:
        get_session(r, req);
        break;
    case PROXY_GET_FRAGMENT_KEY:
        req->key.alba_id = llio_string(r);
        req->key.namespace_id = llio_i64(r);
        break;
    default:
        break;
    }
    return 0;
}

int proxy_request_decode(struct rd frame, struct proxy_request *ret_request, struct err *e)
{
    struct proxy_request req = {.code = rd_u32le(&frame)};
    int rc;

    if (frame.bad) {
        return err_set(e, ERR_PROTOCOL, "request too short");
    }
    if (proxy_code_name(req.code)[0] == '?') {
        return err_set(e, ERR_UNKNOWN_OPERATION, "command %" PRIu32, req.code);
    }
    if (proxy_code_has_namespace(req.code)) {
        req.ns = llio_string(&frame);
    }
    rc = get_arguments(&frame, &req);
    if (rc != 0) {
        proxy_request_release(&req);
        return err_set(e, rc, "%s: more than %d asserts or updates", proxy_code_name(req.code),
                       PROXY_APPLY_COUNT_MAX);
    }
    if (frame.bad) {
        proxy_request_release(&req);
        return err_set(e, ERR_PROTOCOL, "%s: malformed arguments", proxy_code_name(req.code));
    }
    *ret_request = req;
    return 0;
}

void proxy_request_release(struct proxy_request *request)
{
    switch (request->code) {
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
        for (uint32_t i = 0; i < request->reads.count; i++) {
            free(request->reads.items[i].slices);
        }
        free(request->reads.items);
        break;
    case PROXY_STATISTICS:
        free(request->statistics.forget);
        break;
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
    case PROXY_APPLY_STREAM:
        for (uint32_t i = 0; i < request->apply.update_count; i++) {
            free(request->apply.updates[i].extents);
        }
        free(request->apply.asserts);
        free(request->apply.updates);
        break;
    case PROXY_READ_OBJECTS:
    case PROXY_MULTI_EXISTS:
        free(request->names.items);
        break;
    case PROXY_UPDATE_SESSION:
        free(request->session.items);
        break;
    default:
        break;
    }
    *request = (struct proxy_request){0};
}
