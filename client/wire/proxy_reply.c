#include "wire/proxy_reply.h"

#include <inttypes.h>

#include "base/check.h"
#include "wire/llio.h"

/* What an encoder carries along. */
struct encoder {
    struct gather *g;
    unsigned manifest_version;
    struct err *e;
};

static int put_manifest(struct encoder *enc, const struct manifest *m)
{
    return manifest_encode(m, enc->manifest_version, &enc->g->own, enc->e);
}

static int put_object_infos(struct encoder *enc, const struct proxy_object_info *items,
                            uint32_t count)
{
    struct buf *b = &enc->g->own;

    llio_put_count(b, count);
    for (uint32_t i = count; i-- > 0;) {
        int rc;

        llio_put_string(b, items[i].name);
        llio_put_string(b, items[i].alba_id);
        rc = put_manifest(enc, items[i].manifest);
        if (rc != 0) {
            return rc;
        }
        llio_put_xint(b, items[i].namespace_id);
    }
    return 0;
}

/* One string made of all the parts. */
static int put_data(struct encoder *enc, const struct slice *parts, uint32_t count)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < count; i++) {
        total += parts[i].len;
    }
    if (total > LLIO_STRING_BYTES_MAX) {
        return err_set(enc->e, ERR_TOO_LARGE, "reply of %" PRIu64 " bytes", total);
    }
    buf_put_u32le(&enc->g->own, (uint32_t)total);
    for (uint32_t i = 0; i < count; i++) {
        gather_put(enc->g, parts[i]);
    }
    return 0;
}

static int put_objects(struct encoder *enc, const struct proxy_reply *reply)
{
    int rc = 0;

    if (reply->code == PROXY_WRITE_OBJECT_FS2) {
        CHECK(reply->objects.count == 1);
        rc = put_manifest(enc, reply->objects.items[0].manifest);
        if (rc == 0) {
            llio_put_xint(&enc->g->own, reply->objects.items[0].namespace_id);
        }
        return rc;
    }
    if (reply->code == PROXY_READ_SLICES || reply->code == PROXY_READ_SLICES2) {
        rc = put_data(enc, reply->objects.parts, reply->objects.part_count);
    }
    if (rc == 0 && reply->code != PROXY_READ_SLICES) {
        rc = put_object_infos(enc, reply->objects.items, reply->objects.count);
    }
    return rc;
}

static int put_read(struct encoder *enc, const struct proxy_reply *reply)
{
    struct buf *b = &enc->g->own;

    llio_put_xint(b, reply->read.namespace_id);
    llio_put_count(b, reply->read.count);
    for (uint32_t i = reply->read.count; i-- > 0;) {
        const struct proxy_object *object = &reply->read.items[i];
        int rc;

        llio_put_bool(b, object->found);
        if (!object->found) {
            continue;
        }
        rc = put_manifest(enc, object->manifest);
        if (rc != 0) {
            return rc;
        }
        gather_put_string(enc->g, object->data);
    }
    return 0;
}

static void put_namespaces(struct buf *b, const struct proxy_reply *reply)
{
    llio_put_count(b, reply->namespaces.count);
    for (uint32_t i = reply->namespaces.count; i-- > 0;) {
        llio_put_string(b, reply->namespaces.items[i].name);
        if (reply->code == PROXY_LIST_NAMESPACES2) {
            llio_put_string(b, reply->namespaces.items[i].preset);
        }
    }
    llio_put_bool(b, reply->namespaces.more);
}

static void put_view(struct buf *b, const struct proxy_reply *reply)
{
    llio_put_count(b, reply->view.claim_count);
    for (uint32_t i = reply->view.claim_count; i-- > 0;) {
        llio_put_string(b, reply->view.claims[i].long_id);
        osd_claim_put(b, &reply->view.claims[i].claim);
    }
    llio_put_count(b, reply->view.state_count);
    for (uint32_t i = reply->view.state_count; i-- > 0;) {
        llio_put_xint(b, reply->view.states[i].osd_id);
        llio_put_string(b, reply->view.states[i].info_json);
        osd_state_put(b, &reply->view.states[i].state);
    }
}

static void put_osds(struct buf *b, const struct proxy_alba *alba)
{
    llio_put_count(b, alba->osd_count);
    for (uint32_t i = alba->osd_count; i-- > 0;) {
        llio_put_xint(b, alba->osds[i].osd_id);
        osd_info_put(b, &alba->osds[i].info);
        osd_capabilities_put(b, alba->osds[i].capabilities);
    }
}

static void put_albas(struct buf *b, const struct proxy_reply *reply)
{
    if (reply->code == PROXY_OSD_INFO) {
        CHECK(reply->albas.count == 1);
        put_osds(b, &reply->albas.items[0]);
        return;
    }
    llio_put_count(b, reply->albas.count);
    for (uint32_t i = reply->albas.count; i-- > 0;) {
        llio_put_string(b, reply->albas.items[i].alba_id);
        put_osds(b, &reply->albas.items[i]);
    }
}

static void put_version(struct buf *b, const struct proxy_reply *reply)
{
    llio_put_i32(b, reply->version.major);
    llio_put_i32(b, reply->version.minor);
    llio_put_i32(b, reply->version.patch);
    llio_put_string(b, reply->version.hash);
}

static void put_exists(struct buf *b, const struct proxy_reply *reply)
{
    llio_put_count(b, reply->exists.count);
    for (uint32_t i = reply->exists.count; i-- > 0;) {
        llio_put_bool(b, reply->exists.items[i]);
    }
}

static void put_session(struct buf *b, const struct proxy_reply *reply)
{
    llio_put_count(b, reply->session.count);
    for (uint32_t i = reply->session.count; i-- > 0;) {
        llio_put_string(b, reply->session.items[i].key);
        llio_put_string(b, reply->session.items[i].value);
    }
}

/* Replies that cannot fail to be encoded. */
static void put_plain(struct buf *b, const struct proxy_reply *reply)
{
    switch (reply->code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
        put_namespaces(b, reply);
        break;
    case PROXY_LIST_OBJECTS:
        llio_put_strings(b, reply->names.items, reply->names.count);
        llio_put_bool(b, reply->names.more);
        break;
    case PROXY_NAMESPACE_EXISTS:
    case PROXY_HAS_LOCAL_FRAGMENT_CACHE:
        llio_put_bool(b, reply->yes);
        break;
    case PROXY_GET_OBJECT_INFO:
        buf_put_u64le(b, reply->info.size_bytes);
        checksum_put(b, &reply->info.checksum);
        break;
    case PROXY_STATISTICS:
        proxy_statistics_put(b, &reply->statistics);
        break;
    case PROXY_GET_VERSION:
        put_version(b, reply);
        break;
    case PROXY_OSD_VIEW:
        put_view(b, reply);
        break;
    case PROXY_GET_CLIENT_CONFIG:
        arakoon_config_put(b, &reply->client_config);
        break;
    case PROXY_PING:
        llio_put_float(b, reply->time_s);
        break;
    case PROXY_OSD_INFO:
    case PROXY_OSD_INFO2:
        put_albas(b, reply);
        break;
    case PROXY_MULTI_EXISTS:
        put_exists(b, reply);
        break;
    case PROXY_GET_ALBA_ID:
        llio_put_string(b, reply->text);
        break;
    case PROXY_UPDATE_SESSION:
        put_session(b, reply);
        break;
    case PROXY_GET_FRAGMENT_KEY:
        llio_put_opt_string(b, reply->key.has_key, reply->key.key);
        break;
    default: /* nothing to tell */
        break;
    }
}

enum { STREAM_WANTS = 1, STREAM_DONE = 2 };

static int put_stream(struct encoder *enc, const struct proxy_reply *reply)
{
    struct buf *b = &enc->g->own;

    buf_put_u8(b, reply->wants_part ? STREAM_WANTS : STREAM_DONE);
    if (!reply->wants_part) {
        return put_objects(enc, reply);
    }
    buf_put_u64le(b, reply->want.offset);
    buf_put_u32le(b, reply->want.bytes_max);
    return 0;
}

static int put_payload(struct encoder *enc, const struct proxy_reply *reply)
{
    switch (reply->code) {
    case PROXY_APPLY_STREAM:
    case PROXY_STREAM_PART:
        return put_stream(enc, reply);
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
    case PROXY_WRITE_OBJECT_FS2:
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        return put_objects(enc, reply);
    case PROXY_READ_OBJECTS:
        return put_read(enc, reply);
    default:
        put_plain(&enc->g->own, reply);
        return 0;
    }
}

int proxy_reply_encode(const struct proxy_reply *reply, unsigned manifest_version, struct gather *g,
                       struct err *e)
{
    struct encoder enc = {.g = g, .manifest_version = manifest_version, .e = e};
    struct gather before = *g;
    size_t mark = llio_sub_begin(&g->own);
    size_t start = gather_bytes(g);
    int rc;

    CHECK(proxy_code_name(reply->code)[0] != '?');
    llio_put_i32(&g->own, PROXY_RC_OK);
    rc = put_payload(&enc, reply);
    if (rc == 0 && gather_bytes(g) - start > LLIO_STRING_BYTES_MAX) {
        rc = err_set(e, ERR_TOO_LARGE, "reply of %zu bytes", gather_bytes(g) - start);
    }
    if (rc != 0) {
        g->own.len = before.own.len;
        g->piece_count = before.piece_count;
        g->borrowed_bytes = before.borrowed_bytes;
        return rc;
    }
    put_u32le(g->own.data + mark, (uint32_t)(gather_bytes(g) - start));
    return 0;
}
