#include "wire/proxy_request.h"

#include "base/check.h"
#include "wire/llio.h"

enum { ANSWER_MS_MAX = 1000 }; /* how long an answer may be on its way */

static void put_range(struct buf *b, const struct proxy_range *range)
{
    llio_put_string(b, range->first);
    llio_put_bool(b, range->first_included);
    llio_put_bool(b, range->has_last);
    if (range->has_last) {
        llio_put_string(b, range->last);
        llio_put_bool(b, range->last_included);
    }
    llio_put_i32(b, range->max);
    llio_put_bool(b, range->reverse);
}

static void put_assert(struct buf *b, const struct proxy_assert *a)
{
    buf_put_u8(b, a->kind);
    llio_put_string(b, a->name);
    if (a->kind == PROXY_ASSERT_HAS_ID) {
        llio_put_string(b, a->object_id);
    } else if (a->kind == PROXY_ASSERT_HAS_CHECKSUM) {
        checksum_put(b, &a->checksum);
    }
}

static void put_extents(struct buf *b, const struct proxy_update *u)
{
    llio_put_string(b, u->token);
    llio_put_count(b, u->extent_count);
    for (uint32_t i = u->extent_count; i-- > 0;) {
        buf_put_u64le(b, u->extents[i].offset);
        buf_put_u64le(b, u->extents[i].bytes);
    }
}

static void put_update(struct gather *g, const struct proxy_update *u)
{
    buf_put_u8(&g->own, u->kind);
    llio_put_string(&g->own, u->name);
    if (u->kind == PROXY_UPDATE_DELETE) {
        return;
    }
    if (u->kind == PROXY_UPDATE_UPLOAD) {
        gather_put_string(g, u->data);
    } else if (u->kind == PROXY_UPDATE_UPLOAD_FD) {
        put_extents(&g->own, u);
    } else if (u->kind == PROXY_UPDATE_UPLOAD_STREAM) {
        buf_put_u64le(&g->own, u->bytes);
    } else {
        llio_put_string(&g->own, u->file);
    }
    checksum_put_opt(&g->own, u->has_checksum, &u->checksum);
}

static void put_apply(struct gather *g, const struct proxy_apply *apply)
{
    llio_put_count(&g->own, apply->assert_count);
    for (uint32_t i = apply->assert_count; i-- > 0;) {
        put_assert(&g->own, &apply->asserts[i]);
    }
    llio_put_count(&g->own, apply->update_count);
    for (uint32_t i = apply->update_count; i-- > 0;) {
        put_update(g, &apply->updates[i]);
    }
}

static void put_object(struct buf *b, const struct proxy_request *req)
{
    llio_put_string(b, req->object.name);
    switch (req->code) {
    case PROXY_DELETE_OBJECT:
        llio_put_bool(b, req->object.may_not_exist);
        return;
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        llio_put_string(b, req->object.file);
        llio_put_bool(b, req->object.allow_overwrite);
        checksum_put_opt(b, req->object.has_checksum, &req->object.checksum);
        return;
    case PROXY_READ_OBJECT_FS:
        llio_put_string(b, req->object.file);
        break;
    default:
        break;
    }
    llio_put_bool(b, req->consistent_read);
    llio_put_bool(b, req->should_cache);
}

static void put_reads(struct buf *b, const struct proxy_request *req)
{
    llio_put_count(b, req->reads.count);
    for (uint32_t i = req->reads.count; i-- > 0;) {
        const struct proxy_object_slices *object = &req->reads.items[i];

        llio_put_string(b, object->name);
        llio_put_count(b, object->slice_count);
        for (uint32_t j = object->slice_count; j-- > 0;) {
            llio_put_i64(b, object->slices[j].offset);
            llio_put_i32(b, object->slices[j].bytes);
        }
    }
    llio_put_bool(b, req->consistent_read);
}

static void put_session(struct buf *b, const struct proxy_request *req)
{
    llio_put_count(b, req->session.count);
    for (uint32_t i = req->session.count; i-- > 0;) {
        const struct proxy_session_entry *entry = &req->session.items[i];

        llio_put_string(b, entry->key);
        llio_put_opt_string(b, entry->has_value, entry->value);
    }
}

static void put_names(struct buf *b, const struct proxy_request *req)
{
    llio_put_strings(b, req->names.items, req->names.count);
    if (req->code == PROXY_READ_OBJECTS) {
        llio_put_bool(b, req->consistent_read);
        llio_put_bool(b, req->should_cache);
    }
}

static void put_arguments(const struct proxy_request *req, struct gather *g)
{
    struct buf *b = &g->own;

    switch (req->code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
    case PROXY_LIST_OBJECTS:
        put_range(b, &req->range);
        break;
    case PROXY_CREATE_NAMESPACE:
        llio_put_opt_string(b, req->create.has_preset, req->create.preset);
        break;
    case PROXY_DELETE_OBJECT:
    case PROXY_GET_OBJECT_INFO:
    case PROXY_READ_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        put_object(b, req);
        break;
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
        put_reads(b, req);
        break;
    case PROXY_STATISTICS:
        llio_put_bool(b, req->statistics.clear);
        llio_put_strings(b, req->statistics.forget, req->statistics.forget_count);
        break;
    case PROXY_PING:
        llio_put_float(b, req->delay_s);
        break;
    case PROXY_APPLY_SEQUENCE:
        llio_put_bool(b, req->apply.write_barrier);
        put_apply(g, &req->apply);
        break;
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
    case PROXY_APPLY_STREAM:
        buf_put_u32le(b, req->apply.flags);
        buf_put_u32le(b, req->apply.deadline_ms);
        put_apply(g, &req->apply);
        break;
    case PROXY_STREAM_PART:
        buf_put_u64le(b, req->part.offset);
        buf_put_u32le(b, req->part.crc32c);
        gather_put_string(g, req->part.data);
        break;
    case PROXY_READ_OBJECTS:
    case PROXY_MULTI_EXISTS:
        put_names(b, req);
        break;
    case PROXY_UPDATE_SESSION:
        put_session(b, req);
        break;
    case PROXY_GET_FRAGMENT_KEY:
        llio_put_string(b, req->key.alba_id);
        llio_put_i64(b, req->key.namespace_id);
        break;
    default: /* no arguments, or only the namespace */
        break;
    }
}

void proxy_request_encode(const struct proxy_request *request, struct gather *g)
{
    CHECK(proxy_code_name(request->code)[0] != '?');
    buf_put_u32le(&g->own, request->code);
    if (proxy_code_has_namespace(request->code)) {
        llio_put_string(&g->own, request->ns);
    }
    put_arguments(request, g);
}

void proxy_request_set_deadline(uint8_t *deadline_at, uint64_t left_ms)
{
    uint64_t slack_ms = left_ms / 8 < ANSWER_MS_MAX ? left_ms / 8 : ANSWER_MS_MAX;

    if (deadline_at == NULL) {
        return;
    }
    put_u32le(deadline_at, (uint32_t)(left_ms - slack_ms));
}

uint8_t *proxy_request_deadline_at(const struct proxy_request *request, struct gather *g)
{
    bool has_deadline = request->code == PROXY_APPLY || request->code == PROXY_APPLY_FDS ||
                        request->code == PROXY_APPLY_STREAM;

    if (!has_deadline || request->apply.deadline_ms != 0) {
        return NULL;
    }
    /* behind u command, S namespace, u flags */
    return g->own.data + 4 + 4 + request->ns.len + 4;
}
