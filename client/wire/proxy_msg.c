#include "wire/proxy_msg.h"

#include <errno.h>
#include <inttypes.h>

#include "base/check.h"
#include "wire/llio.h"

enum { PREAMBLE_VERSION_AT = 4, TEXT_SHOWN_MAX = 300 };

void proxy_preamble_put(struct buf *b)
{
    buf_put_u32le(b, PROXY_MAGIC);
    buf_put_u32le(b, PROXY_VERSION);
}

int proxy_preamble_parse(const uint8_t *data, size_t bytes)
{
    uint8_t magic[PREAMBLE_VERSION_AT];

    put_u32le(magic, PROXY_MAGIC);
    if (bytes != 0 && memcmp(data, magic, bytes < sizeof(magic) ? bytes : sizeof(magic)) != 0) {
        return ERR_PROTOCOL;
    }
    if (bytes < PROXY_PREAMBLE_BYTES) {
        return 0;
    }
    return get_u32le(data + PREAMBLE_VERSION_AT) == PROXY_VERSION ? PROXY_PREAMBLE_BYTES
                                                                  : ERR_VERSION;
}

void proxy_request_head(uint8_t ret_head[PROXY_HEAD_BYTES], size_t body_bytes)
{
    CHECK(body_bytes <= UINT32_MAX);
    put_u32le(ret_head, (uint32_t)body_bytes);
}

int proxy_reply_head(struct rd *frame, int32_t *ret_rc)
{
    int32_t rc = llio_i32(frame);

    if (frame->bad) {
        return ERR_PROTOCOL;
    }
    *ret_rc = rc;
    return 0;
}

/* ---- errors ---- */

static int32_t foreign_rc(int32_t rc)
{
    if (rc < PROXY_RC_IN_DOUBT) {
        return rc;
    }
    return rc == PROXY_RC_FULL ? PROXY_RC_NO_POLICY : PROXY_RC_UNKNOWN;
}

void proxy_error_put(struct buf *b, unsigned manifest_version, int32_t rc, struct slice text)
{
    size_t mark = llio_sub_begin(b);

    CHECK(rc != PROXY_RC_OK);
    llio_put_i32(b, manifest_version >= MANIFEST_V3 ? rc : foreign_rc(rc));
    llio_put_string(b, text);
    llio_sub_end(b, mark);
}

static int error_of(int32_t rc)
{
    switch (rc) {
    case PROXY_RC_OVERWRITE_NOT_ALLOWED:
    case PROXY_RC_NAMESPACE_EXISTS:
        return ERR_EXISTS;
    case PROXY_RC_OBJECT_NOT_FOUND:
    case PROXY_RC_NAMESPACE_NOT_FOUND:
    case PROXY_RC_PRESET_NOT_FOUND:
    case PROXY_RC_FILE_NOT_FOUND:
        return ERR_NOT_FOUND;
    case PROXY_RC_CHECKSUM_MISMATCH:
        return ERR_CHECKSUM;
    case PROXY_RC_SLICE_OUTSIDE_OBJECT:
        return -ERANGE;
    case PROXY_RC_UNKNOWN_OPERATION:
        return ERR_UNKNOWN_OPERATION;
    case PROXY_RC_NO_POLICY:
        return ERR_NO_POLICY;
    case PROXY_RC_VERSION:
        return ERR_VERSION;
    case PROXY_RC_ASSERT_FAILED:
        return ERR_ASSERT_FAILED;
    case PROXY_RC_IN_DOUBT:
        return ERR_IN_DOUBT;
    case PROXY_RC_FULL:
        return ERR_FULL;
    case PROXY_RC_BUSY:
        return ERR_BUSY;
    case PROXY_RC_TIMED_OUT:
        return -ETIMEDOUT;
    case PROXY_RC_TOO_LARGE:
        return ERR_TOO_LARGE;
    case PROXY_RC_NOT_ENOUGH:
        return ERR_NOT_ENOUGH;
    case PROXY_RC_BAD_ARGUMENT:
        return -EINVAL;
    case PROXY_RC_LOST:
        return ERR_LOST;
    default:
        return ERR_REMOTE;
    }
}

int proxy_error_get(int32_t rc, struct rd payload, struct err *e)
{
    struct slice text = llio_string(&payload);
    int shown = text.len < TEXT_SHOWN_MAX ? (int)text.len : TEXT_SHOWN_MAX;

    if (shown == 0) {
        return err_set(e, error_of(rc), "code %" PRId32 " without a text", rc);
    }
    if (rc == PROXY_RC_ASSERT_FAILED) { /* the text is the object's name alone */
        return err_set(e, error_of(rc), "object '%.*s'", shown, (const char *)text.data);
    }
    return err_say(e, error_of(rc), "%.*s", shown, (const char *)text.data);
}

unsigned proxy_session_manifest_version(unsigned wanted)
{
    if (wanted >= MANIFEST_V3) {
        return MANIFEST_V3;
    }
    return wanted >= MANIFEST_V2 ? MANIFEST_V2 : MANIFEST_V1;
}

const char *proxy_code_name(uint32_t code)
{
    static const char *const names[] = {
        [PROXY_LIST_NAMESPACES] = "ListNamespaces",
        [PROXY_NAMESPACE_EXISTS] = "NamespaceExists",
        [PROXY_CREATE_NAMESPACE] = "CreateNamespace",
        [PROXY_DELETE_NAMESPACE] = "DeleteNamespace",
        [PROXY_LIST_OBJECTS] = "ListObjects",
        [PROXY_DELETE_OBJECT] = "DeleteObject",
        [PROXY_GET_OBJECT_INFO] = "GetObjectInfo",
        [PROXY_READ_OBJECT_FS] = "ReadObjectFs",
        [PROXY_WRITE_OBJECT_FS] = "WriteObjectFs",
        [PROXY_READ_SLICES] = "ReadObjectsSlices",
        [PROXY_INVALIDATE_CACHE] = "InvalidateCache",
        [PROXY_STATISTICS] = "ProxyStatistics",
        [PROXY_DROP_CACHE] = "DropCache",
        [PROXY_GET_VERSION] = "GetVersion",
        [PROXY_OSD_VIEW] = "OsdView",
        [PROXY_GET_CLIENT_CONFIG] = "GetClientConfig",
        [PROXY_PING] = "Ping",
        [PROXY_WRITE_OBJECT_FS2] = "WriteObjectFs2",
        [PROXY_OSD_INFO] = "OsdInfo",
        [PROXY_READ_SLICES2] = "ReadObjectsSlices2",
        [PROXY_APPLY_SEQUENCE] = "ApplySequence",
        [PROXY_READ_OBJECTS] = "ReadObjects",
        [PROXY_MULTI_EXISTS] = "MultiExists",
        [PROXY_OSD_INFO2] = "OsdInfo2",
        [PROXY_GET_ALBA_ID] = "GetAlbaId",
        [PROXY_LIST_NAMESPACES2] = "ListNamespaces2",
        [PROXY_HAS_LOCAL_FRAGMENT_CACHE] = "HasLocalFragmentCache",
        [PROXY_UPDATE_SESSION] = "UpdateSession",
        [PROXY_GET_FRAGMENT_KEY] = "GetFragmentEncryptionKey",
        [PROXY_APPLY] = "Apply",
        [PROXY_APPLY_FDS] = "ApplyFds",
        [PROXY_APPLY_STREAM] = "ApplyStream",
        [PROXY_STREAM_PART] = "StreamPart",
    };
    enum { NAME_COUNT = sizeof(names) / sizeof(names[0]) };

    return code < NAME_COUNT && names[code] != NULL ? names[code] : "?";
}

bool proxy_code_has_namespace(uint32_t code)
{
    switch (code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
    case PROXY_STATISTICS:
    case PROXY_GET_VERSION:
    case PROXY_OSD_VIEW:
    case PROXY_GET_CLIENT_CONFIG:
    case PROXY_PING:
    case PROXY_OSD_INFO:
    case PROXY_OSD_INFO2:
    case PROXY_GET_ALBA_ID:
    case PROXY_HAS_LOCAL_FRAGMENT_CACHE:
    case PROXY_UPDATE_SESSION:
    case PROXY_GET_FRAGMENT_KEY:
    case PROXY_STREAM_PART:
        return false;
    default:
        return true;
    }
}
