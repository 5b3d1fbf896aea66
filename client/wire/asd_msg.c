#include "wire/asd_msg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "wire/llio.h"

static const uint8_t magic[] = {'a', 'L', 'b', 'A'};

enum { HELLO_TEXT_BYTES_MAX = 4096, KEY_START_BYTES = 56 };

/* ---- preamble ---- */

void asd_preamble_put(struct buf *b, unsigned version, const char *long_id)
{
    buf_put(b, magic, sizeof(magic));
    buf_put_u32le(b, version);
    llio_put_opt_string(b, long_id != NULL,
                        long_id != NULL ? slice_str(long_id) : slice_of(NULL, 0));
}

int asd_preamble_parse(const uint8_t *data, size_t bytes, struct asd_preamble *ret_preamble)
{
    struct rd r = rd_of(data, bytes);
    struct asd_preamble p = {0};
    uint32_t id_bytes;

    if (bytes != 0 && memcmp(data, magic, bytes < sizeof(magic) ? bytes : sizeof(magic)) != 0) {
        return ERR_PROTOCOL;
    }
    rd_bytes(&r, sizeof(magic));
    p.version = rd_u32le(&r);
    if (r.bad) {
        return 0;
    }
    if (p.version != ASD_VERSION_1 && p.version != ASD_VERSION_2) {
        *ret_preamble = p;
        return (int)(bytes - rd_left(&r));
    }
    if (rd_left(&r) > 0 && *r.pos > 1) {
        return ERR_PROTOCOL;
    }
    p.has_long_id = llio_bool(&r);
    if (p.has_long_id) {
        id_bytes = rd_u32le(&r);
        if (id_bytes > ASD_ID_BYTES_MAX) {
            return ERR_PROTOCOL;
        }
        p.long_id = slice_of(rd_bytes(&r, id_bytes), id_bytes);
    }
    if (r.bad) {
        return 0;
    }
    *ret_preamble = p;
    return (int)(bytes - rd_left(&r));
}

void asd_hello_put(struct buf *b, struct slice asd_id)
{
    CHECK(asd_id.len <= ASD_ID_BYTES_MAX);
    llio_put_i32(b, ASD_RC_OK);
    llio_put_string(b, asd_id);
}

void asd_hello_put_refusal(struct buf *b, const char *text)
{
    llio_put_i32(b, ASD_RC_VERSION);
    llio_put_string(b, slice_str(text));
}

int asd_hello_parse(const uint8_t *data, size_t bytes, struct slice *ret_asd_id, struct err *e)
{
    struct rd r = rd_of(data, bytes);
    int32_t rc = llio_i32(&r);
    uint32_t text_bytes;
    struct slice text;

    if (r.bad) {
        return 0;
    }
    text_bytes = rd_u32le(&r);
    if (!r.bad && text_bytes > (rc == ASD_RC_OK ? ASD_ID_BYTES_MAX : HELLO_TEXT_BYTES_MAX)) {
        return err_set(e, ERR_PROTOCOL, "handshake: text of %" PRIu32 " bytes", text_bytes);
    }
    text = slice_of(rd_bytes(&r, text_bytes), text_bytes);
    if (rc != ASD_RC_OK) {
        /* The server closes now: what text is there is good enough. */
        if (r.bad) {
            text.len = 0;
        }
        return err_set(e, rc == ASD_RC_VERSION ? ERR_VERSION : ERR_REMOTE,
                       "handshake: code %" PRId32 " \"%.*s\"", rc, (int)text.len,
                       text.len != 0 ? (const char *)text.data : "");
    }
    if (r.bad) {
        return 0;
    }
    *ret_asd_id = text;
    return (int)(bytes - rd_left(&r));
}

/* ---- frames ---- */

size_t asd_request_head(uint8_t ret_head[ASD_HEAD_BYTES_MAX], unsigned version, uint32_t request_id,
                        size_t body_bytes)
{
    CHECK(body_bytes <= ASD_FRAME_BYTES_MAX);
    if (version == ASD_VERSION_1) {
        put_u32le(ret_head, (uint32_t)body_bytes);
        return 4;
    }
    put_u32le(ret_head, (uint32_t)body_bytes + 4);
    put_u32le(ret_head + 4, request_id);
    return 8;
}

int asd_reply_head(struct rd *frame, unsigned version, uint32_t *ret_request_id, int32_t *ret_rc)
{
    uint32_t id = version == ASD_VERSION_1 ? 0 : rd_u32le(frame);
    int32_t rc = llio_i32(frame);

    if (frame->bad) {
        return ERR_PROTOCOL;
    }
    *ret_request_id = id;
    *ret_rc = rc;
    return 0;
}

/* ---- errors ---- */

static bool rc_has_text(int32_t rc)
{
    return rc != ASD_RC_OK && rc != ASD_RC_UNKNOWN_OPERATION && rc != ASD_RC_FULL;
}

void asd_error_put(struct buf *b, unsigned version, uint32_t request_id, int32_t rc,
                   struct slice text)
{
    size_t mark = llio_sub_begin(b);

    CHECK(rc != ASD_RC_OK);
    if (version == ASD_VERSION_1) {
        rc = rc >= ASD_RC_CORRUPT ? ASD_RC_UNKNOWN : rc;
    } else {
        buf_put_u32le(b, request_id);
    }
    llio_put_i32(b, rc);
    if (rc_has_text(rc)) {
        llio_put_string(b, text);
    }
    llio_sub_end(b, mark);
}

/* Returns how many bytes of the key there was room for. */
static size_t key_text(struct slice key, char *ret_text, size_t bytes)
{
    size_t at = 0, i = 0;

    for (; i < key.len && at + 8 < bytes; i++) {
        uint8_t c = key.data[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\\';

        at += (size_t)snprintf(ret_text + at, bytes - at, plain ? "%c" : "\\x%02x", c);
    }
    ret_text[at] = '\0';
    return i;
}

void asd_key_text(struct slice key, char ret_text[ASD_KEY_TEXT_BYTES])
{
    key_text(key, ret_text, ASD_KEY_TEXT_BYTES);
}

/* The cause comes first, and the key is short: the messages of many layers share one line. */
static int key_error(struct err *e, int code, struct slice key)
{
    char start[KEY_START_BYTES];
    bool is_cut = key_text(key, start, sizeof(start)) < key.len;

    return err_say(e, code, "%s: key \"%s\"%s", err_text(code), start, is_cut ? "…" : "");
}

int asd_error_get(int32_t rc, struct rd payload, struct slice *ret_key, struct err *e)
{
    struct slice text = rc_has_text(rc) ? llio_string(&payload) : slice_of(NULL, 0);
    char printable[ASD_KEY_TEXT_BYTES];

    if (payload.bad) {
        text = slice_of(NULL, 0);
    }
    asd_key_text(text, printable);
    *ret_key = slice_of(NULL, 0);
    switch (rc) {
    case ASD_RC_ASSERT_FAILED:
        *ret_key = text;
        return key_error(e, ERR_ASSERT_FAILED, text);
    case ASD_RC_CORRUPT:
        *ret_key = text;
        return key_error(e, ERR_CORRUPT, text);
    case ASD_RC_UNKNOWN_OPERATION:
        return err_set(e, ERR_UNKNOWN_OPERATION, "asd");
    case ASD_RC_FULL:
        return err_set(e, ERR_FULL, "asd");
    case ASD_RC_VERSION:
        return err_set(e, ERR_VERSION, "%s", printable);
    case ASD_RC_BAD_SLICE:
        return err_set(e, -ERANGE, "%s", printable);
    case ASD_RC_BUSY:
        return err_set(e, ERR_BUSY, "%s", printable);
    case ASD_RC_FAILED:
        return err_set(e, ERR_FAILED, "%s", printable);
    default:
        return err_set(e, ERR_REMOTE, "code %" PRId32 " \"%s\"", rc, printable);
    }
}

int32_t asd_rc_of(int err_code)
{
    switch (err_code) {
    case 0:
        return ASD_RC_OK;
    case ERR_ASSERT_FAILED:
        return ASD_RC_ASSERT_FAILED;
    case ERR_UNKNOWN_OPERATION:
        return ASD_RC_UNKNOWN_OPERATION;
    case ERR_FULL:
    case -ENOSPC:
        return ASD_RC_FULL;
    case ERR_VERSION:
        return ASD_RC_VERSION;
    case ERR_CORRUPT:
    case ERR_CHECKSUM:
        return ASD_RC_CORRUPT;
    case -ERANGE:
        return ASD_RC_BAD_SLICE;
    case ERR_BUSY:
    case -EMFILE: /* too many files, too little memory: it passes */
    case -ENFILE:
    case -ENOMEM:
        return ASD_RC_BUSY;
    case ERR_FAILED:
    case -EIO:
        return ASD_RC_FAILED;
    default:
        return ASD_RC_UNKNOWN;
    }
}

const char *asd_code_name(uint32_t code)
{
    static const char *const names[] = {
        [ASD_RANGE] = "Range",
        [ASD_MULTI_GET] = "MultiGet",
        [ASD_APPLY] = "Apply",
        [ASD_RANGE_ENTRIES] = "RangeEntries",
        [ASD_STATISTICS] = "Statistics",
        [ASD_SET_FULL] = "SetFull",
        [ASD_GET_VERSION] = "GetVersion",
        [ASD_MULTI_GET2] = "MultiGet2",
        [ASD_MULTI_EXISTS] = "MultiExists",
        [ASD_GET_DISK_USAGE] = "GetDiskUsage",
        [ASD_PARTIAL_GET] = "PartialGet",
        [ASD_CAPABILITIES] = "Capabilities",
        [ASD_RANGE_VALIDATE] = "RangeValidate",
        [ASD_SLOWNESS] = "Slowness",
    };

    return code >= ASD_RANGE && code <= ASD_SLOWNESS ? names[code] : "?";
}
