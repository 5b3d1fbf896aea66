#include "wire/proxy_reply.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "wire/llio.h"

/* Least bytes of an element of each list. */
enum {
    MANIFEST_BYTES_MIN = 1 + 4,
    OBJECT_INFO_BYTES_MIN = 4 + 4 + MANIFEST_BYTES_MIN + 4,
    OBJECT_BYTES_MIN = 1,             /* an absent one */
    CLAIM_BYTES_MIN = 4 + 1,          /* long id, kind */
    OSD_STATE_BYTES_MIN = 4 + 4 + 24, /* id, JSON, counts and options */
    OSD_BYTES_MIN = 4 + 4 + 4,        /* id, info, capabilities */
    ALBA_BYTES_MIN = 4 + 4,
    SETTING_BYTES_MIN = 4 + 4
};

/* Packed manifests are small, unpacked ones are not: all of one reply together may take this. */
enum { MANIFESTS_MEMORY_MAX = 256 * 1048576 };

struct decoder {
    struct rd *r;
    struct err *e;
    size_t memory; /* of the manifests so far */
    int rc;        /* why a manifest was refused */
};

static struct manifest *get_manifest(struct decoder *dec)
{
    struct manifest *m;

    if (dec->r->bad) {
        return NULL;
    }
    m = mem_zalloc(sizeof(*m));
    dec->rc = manifest_decode(dec->r, m, dec->e);
    if (dec->rc != 0) {
        free(m);
        return NULL;
    }
    dec->memory += manifest_memory_bytes(m);
    if (dec->memory > MANIFESTS_MEMORY_MAX) {
        dec->rc = err_set(dec->e, ERR_TOO_LARGE, "manifests of %zu bytes", dec->memory);
        rd_fail(dec->r);
    }
    return m;
}

static void free_manifest(struct manifest *m)
{
    if (m != NULL) {
        manifest_release(m);
        free(m);
    }
}

static void get_object_infos(struct decoder *dec, struct proxy_reply *reply)
{
    uint32_t count = llio_count(dec->r, OBJECT_INFO_BYTES_MIN);

    reply->objects.count = count;
    reply->objects.items = count != 0 ? mem_array(count, sizeof(struct proxy_object_info)) : NULL;
    for (uint32_t i = count; i-- > 0 && !dec->r->bad;) {
        struct proxy_object_info *info = &reply->objects.items[i];

        info->name = llio_string(dec->r);
        info->alba_id = llio_string(dec->r);
        info->manifest = get_manifest(dec);
        info->namespace_id = llio_xint(dec->r);
    }
}

static void get_objects(struct decoder *dec, struct proxy_reply *reply)
{
    if (reply->code == PROXY_WRITE_OBJECT_FS2) {
        reply->objects.count = 1;
        reply->objects.items = mem_array(1, sizeof(struct proxy_object_info));
        reply->objects.items[0].manifest = get_manifest(dec);
        reply->objects.items[0].namespace_id = llio_xint(dec->r);
        return;
    }
    if (reply->code == PROXY_READ_SLICES || reply->code == PROXY_READ_SLICES2) {
        reply->objects.data = llio_string(dec->r);
    }
    if (reply->code != PROXY_READ_SLICES) {
        get_object_infos(dec, reply);
    }
}

static void get_read(struct decoder *dec, struct proxy_reply *reply)
{
    uint32_t count;

    reply->read.namespace_id = llio_xint(dec->r);
    count = llio_count(dec->r, OBJECT_BYTES_MIN);
    reply->read.count = count;
    reply->read.items = count != 0 ? mem_array(count, sizeof(struct proxy_object)) : NULL;
    for (uint32_t i = count; i-- > 0 && !dec->r->bad;) {
        struct proxy_object *object = &reply->read.items[i];

        object->found = llio_bool(dec->r);
        if (object->found) {
            object->manifest = get_manifest(dec);
            object->data = llio_string(dec->r);
        }
    }
}

static void get_namespaces(struct rd *r, struct proxy_reply *reply)
{
    bool with_preset = reply->code == PROXY_LIST_NAMESPACES2;
    uint32_t count = llio_count(r, with_preset ? 8 : 4);

    reply->namespaces.count = count;
    reply->namespaces.items = count != 0 ? mem_array(count, sizeof(struct proxy_namespace)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        reply->namespaces.items[i].name = llio_string(r);
        if (with_preset) {
            reply->namespaces.items[i].preset = llio_string(r);
        }
    }
    reply->namespaces.more = llio_bool(r);
}

static void get_view(struct rd *r, struct proxy_reply *reply)
{
    uint32_t count = llio_count(r, CLAIM_BYTES_MIN);

    reply->view.claim_count = count;
    reply->view.claims = count != 0 ? mem_array(count, sizeof(struct proxy_claim)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        reply->view.claims[i].long_id = llio_string(r);
        reply->view.claims[i].claim = osd_claim_get(r);
    }
    count = llio_count(r, OSD_STATE_BYTES_MIN);
    reply->view.state_count = count;
    reply->view.states = count != 0 ? mem_array(count, sizeof(struct proxy_osd_state)) : NULL;
    for (uint32_t i = count; i-- > 0 && !r->bad;) {
        reply->view.states[i].osd_id = llio_xint(r);
        reply->view.states[i].info_json = llio_string(r);
        osd_state_get(r, &reply->view.states[i].state);
    }
}

static void get_osds(struct rd *r, struct proxy_alba *alba)
{
    alba->osd_count = llio_count(r, OSD_BYTES_MIN);
    alba->osds = alba->osd_count != 0 ? mem_array(alba->osd_count, sizeof(alba->osds[0])) : NULL;
    for (uint32_t i = alba->osd_count; i-- > 0 && !r->bad;) {
        alba->osds[i].osd_id = llio_xint(r);
        osd_info_get(r, &alba->osds[i].info);
        alba->osds[i].capabilities = osd_capabilities_get(r);
    }
}

static void get_albas(struct rd *r, struct proxy_reply *reply)
{
    bool several = reply->code == PROXY_OSD_INFO2;
    uint32_t count = several ? llio_count(r, ALBA_BYTES_MIN) : 1;

    reply->albas.count = count;
    reply->albas.items = count != 0 ? mem_array(count, sizeof(struct proxy_alba)) : NULL;
    for (uint32_t i = count; i-- > 0 && !r->bad;) {
        if (several) {
            reply->albas.items[i].alba_id = llio_string(r);
        }
        get_osds(r, &reply->albas.items[i]);
    }
}

static void get_version(struct rd *r, struct proxy_reply *reply)
{
    reply->version.major = llio_i32(r);
    reply->version.minor = llio_i32(r);
    reply->version.patch = llio_i32(r);
    reply->version.hash = llio_string(r);
}

static void get_exists(struct rd *r, struct proxy_reply *reply)
{
    uint32_t count = llio_count(r, 1);

    reply->exists.count = count;
    reply->exists.items = count != 0 ? mem_array(count, sizeof(bool)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        reply->exists.items[i] = llio_bool(r);
    }
}

static void get_session(struct rd *r, struct proxy_reply *reply)
{
    uint32_t count = llio_count(r, SETTING_BYTES_MIN);

    reply->session.count = count;
    reply->session.items = count != 0 ? mem_array(count, sizeof(struct proxy_setting)) : NULL;
    for (uint32_t i = count; i-- > 0;) {
        reply->session.items[i].key = llio_string(r);
        reply->session.items[i].value = llio_string(r);
    }
}

/* Replies without manifests. */
static void get_plain(struct rd *r, struct proxy_reply *reply)
{
    switch (reply->code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
        get_namespaces(r, reply);
        break;
    case PROXY_LIST_OBJECTS:
        reply->names.count = llio_strings(r, &reply->names.items);
        reply->names.more = llio_bool(r);
        break;
    case PROXY_NAMESPACE_EXISTS:
    case PROXY_HAS_LOCAL_FRAGMENT_CACHE:
        reply->yes = llio_bool(r);
        break;
    case PROXY_GET_OBJECT_INFO:
        reply->info.size_bytes = rd_u64le(r);
        reply->info.checksum = checksum_get(r);
        break;
    case PROXY_STATISTICS:
        proxy_statistics_get(r, &reply->statistics);
        break;
    case PROXY_GET_VERSION:
        get_version(r, reply);
        break;
    case PROXY_OSD_VIEW:
        get_view(r, reply);
        break;
    case PROXY_GET_CLIENT_CONFIG:
        arakoon_config_get(r, &reply->client_config);
        break;
    case PROXY_PING:
        reply->time_s = llio_float(r);
        break;
    case PROXY_OSD_INFO:
    case PROXY_OSD_INFO2:
        get_albas(r, reply);
        break;
    case PROXY_MULTI_EXISTS:
        get_exists(r, reply);
        break;
    case PROXY_GET_ALBA_ID:
        reply->text = llio_string(r);
        break;
    case PROXY_UPDATE_SESSION:
        get_session(r, reply);
        break;
    case PROXY_GET_FRAGMENT_KEY:
        reply->key.key = llio_opt_string(r, &reply->key.has_key);
        break;
    default: /* nothing told */
        break;
    }
}

static void get_stream(struct decoder *dec, struct proxy_reply *reply)
{
    switch (rd_u8(dec->r)) {
    case 1:
        reply->wants_part = true;
        reply->want.offset = rd_u64le(dec->r);
        reply->want.bytes_max = rd_u32le(dec->r);
        if (reply->want.bytes_max == 0) {
            rd_fail(dec->r);
        }
        break;
    case 2:
        get_objects(dec, reply);
        break;
    default:
        rd_fail(dec->r);
    }
}

static void get_payload(struct decoder *dec, struct proxy_reply *reply)
{
    switch (reply->code) {
    case PROXY_APPLY_STREAM:
    case PROXY_STREAM_PART:
        get_stream(dec, reply);
        break;
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
    case PROXY_WRITE_OBJECT_FS2:
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        get_objects(dec, reply);
        break;
    case PROXY_READ_OBJECTS:
        get_read(dec, reply);
        break;
    default:
        get_plain(dec->r, reply);
    }
}

int proxy_reply_decode(struct rd payload, uint32_t code, struct proxy_reply *ret_reply,
                       struct err *e)
{
    struct decoder dec = {.r = &payload, .e = e};
    struct proxy_reply reply = {.code = code};

    CHECK(proxy_code_name(code)[0] != '?');
    get_payload(&dec, &reply);
    if (payload.bad) {
        proxy_reply_release(&reply);
        if (dec.rc != 0) {
            return err_wrap(e, "%s", proxy_code_name(code));
        }
        return err_set(e, ERR_PROTOCOL, "%s: malformed reply", proxy_code_name(code));
    }
    *ret_reply = reply;
    return 0;
}

static void release_albas(struct proxy_reply *reply)
{
    for (uint32_t i = 0; i < reply->albas.count; i++) {
        struct proxy_alba *alba = &reply->albas.items[i];

        for (uint32_t j = 0; j < alba->osd_count; j++) {
            osd_info_release(&alba->osds[j].info);
        }
        free(alba->osds);
    }
    free(reply->albas.items);
}

static void release_view(struct proxy_reply *reply)
{
    for (uint32_t i = 0; i < reply->view.state_count; i++) {
        osd_state_release(&reply->view.states[i].state);
    }
    free(reply->view.states);
    free(reply->view.claims);
}

static void release_objects(struct proxy_reply *reply)
{
    for (uint32_t i = 0; i < reply->objects.count; i++) {
        free_manifest(reply->objects.items[i].manifest);
    }
    free(reply->objects.items);
}

void proxy_reply_release(struct proxy_reply *reply)
{
    switch (reply->code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
        free(reply->namespaces.items);
        break;
    case PROXY_LIST_OBJECTS:
        free(reply->names.items);
        break;
    case PROXY_READ_SLICES2:
    case PROXY_WRITE_OBJECT_FS2:
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        release_objects(reply);
        break;
    case PROXY_APPLY_STREAM:
    case PROXY_STREAM_PART:
        if (!reply->wants_part) {
            release_objects(reply);
        }
        break;
    case PROXY_READ_OBJECTS:
        for (uint32_t i = 0; i < reply->read.count; i++) {
            free_manifest(reply->read.items[i].manifest);
        }
        free(reply->read.items);
        break;
    case PROXY_STATISTICS:
        proxy_statistics_release(&reply->statistics);
        break;
    case PROXY_OSD_VIEW:
        release_view(reply);
        break;
    case PROXY_GET_CLIENT_CONFIG:
        arakoon_config_release(&reply->client_config);
        break;
    case PROXY_OSD_INFO:
    case PROXY_OSD_INFO2:
        release_albas(reply);
        break;
    case PROXY_MULTI_EXISTS:
        free(reply->exists.items);
        break;
    case PROXY_UPDATE_SESSION:
        free(reply->session.items);
        break;
    default:
        break;
    }
    *reply = (struct proxy_reply){0};
}
