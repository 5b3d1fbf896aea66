/* Proxy protocol: preamble, frames, error codes, session keys.
 *
 * Requests: proxy_request.h, replies: proxy_reply.h, transactions: proxy_update.h. No state, any
 * thread. Bytes: PROTOCOL.md, "Proxy protocol". */
#ifndef WIRE_PROXY_MSG_H
#define WIRE_PROXY_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/checksum.h"
#include "wire/gather.h"
#include "wire/manifest.h"

enum {
    PROXY_MAGIC = 1148837403,
    PROXY_VERSION = 1,
    PROXY_PREAMBLE_BYTES = 8,
    PROXY_HEAD_BYTES = 4,
    PROXY_RANGE_MAX = 200,        /* entries of one range reply */
    PROXY_APPLY_COUNT_MAX = 1024, /* asserts, and updates, of one transaction */
    PROXY_STREAM_PART_BYTES_MAX = 4 << 20
};

#define PROXY_SESSION_MANIFEST_SER "manifest_ser"

enum proxy_code {
    PROXY_LIST_NAMESPACES = 1,
    PROXY_NAMESPACE_EXISTS = 2,
    PROXY_CREATE_NAMESPACE = 3,
    PROXY_DELETE_NAMESPACE = 4,
    PROXY_LIST_OBJECTS = 5,
    PROXY_DELETE_OBJECT = 8,
    PROXY_GET_OBJECT_INFO = 9,
    PROXY_READ_OBJECT_FS = 10,
    PROXY_WRITE_OBJECT_FS = 11,
    PROXY_READ_SLICES = 13,
    PROXY_INVALIDATE_CACHE = 14,
    PROXY_STATISTICS = 15,
    PROXY_DROP_CACHE = 16,
    PROXY_GET_VERSION = 17,
    PROXY_OSD_VIEW = 18,
    PROXY_GET_CLIENT_CONFIG = 19,
    PROXY_PING = 20,
    PROXY_WRITE_OBJECT_FS2 = 21,
    PROXY_OSD_INFO = 22,
    PROXY_READ_SLICES2 = 23,
    PROXY_APPLY_SEQUENCE = 24,
    PROXY_READ_OBJECTS = 25,
    PROXY_MULTI_EXISTS = 26,
    PROXY_OSD_INFO2 = 28,
    PROXY_GET_ALBA_ID = 29,
    PROXY_LIST_NAMESPACES2 = 30,
    PROXY_HAS_LOCAL_FRAGMENT_CACHE = 31,
    PROXY_UPDATE_SESSION = 32,
    PROXY_GET_FRAGMENT_KEY = 33,
    PROXY_APPLY = 64,        /* ours: a transaction with flags and a deadline */
    PROXY_APPLY_FDS = 65,    /* ours: the same, with uploads from files that were handed over */
    PROXY_APPLY_STREAM = 66, /* ours: the same, with one upload whose data comes in parts */
    PROXY_STREAM_PART = 67   /* ours: the part that was asked for */
};

/* Codes of an error reply; each is followed by a message. */
enum proxy_rc {
    PROXY_RC_OK = 0,
    PROXY_RC_UNKNOWN = 1,
    PROXY_RC_OVERWRITE_NOT_ALLOWED = 2,
    PROXY_RC_OBJECT_NOT_FOUND = 3,
    PROXY_RC_NAMESPACE_EXISTS = 4,
    PROXY_RC_NAMESPACE_NOT_FOUND = 5,
    PROXY_RC_CHECKSUM_MISMATCH = 7,
    PROXY_RC_CHECKSUM_ALGO_NOT_ALLOWED = 8,
    PROXY_RC_PRESET_NOT_FOUND = 9,
    PROXY_RC_BAD_SLICE_LENGTH = 10,
    PROXY_RC_OVERLAPPING_SLICES = 11,
    PROXY_RC_SLICE_OUTSIDE_OBJECT = 12,
    PROXY_RC_UNKNOWN_OPERATION = 13,
    PROXY_RC_FILE_NOT_FOUND = 14,
    PROXY_RC_NO_POLICY = 15,
    PROXY_RC_VERSION = 17,
    PROXY_RC_ASSERT_FAILED = 18, /* message: the object's name */
    /* ours, for sessions of manifest version 3: */
    PROXY_RC_IN_DOUBT = 64,   /* a commit whose outcome is not known */
    PROXY_RC_FULL = 65,       /* OSDs are at their limit */
    PROXY_RC_BUSY = 66,       /* not executed, try again later */
    PROXY_RC_TIMED_OUT = 67,  /* deadline passed, not executed */
    PROXY_RC_TOO_LARGE = 68,  /* over a limit, not executed; the message names it */
    PROXY_RC_NOT_ENOUGH = 69, /* too few fragments could be read */
    PROXY_RC_BAD_ARGUMENT = 70,
    PROXY_RC_LOST = 71 /* the namespace's manifests went with the metadata */
};

/* ---- preamble and frames ---- */

void proxy_preamble_put(struct buf *b);
/* Returns bytes taken (PROXY_PREAMBLE_BYTES); 0: not whole yet; ERR_PROTOCOL: not our magic,
 * close; ERR_VERSION: answer an error reply PROXY_RC_VERSION, then close. */
int proxy_preamble_parse(const uint8_t *data, size_t bytes);

/* Length of a frame whose body has `body_bytes` (<= UINT32_MAX). */
void proxy_request_head(uint8_t ret_head[PROXY_HEAD_BYTES], size_t body_bytes);
/* A whole error reply. Codes of ours become one that the session's clients know. */
void proxy_error_put(struct buf *b, unsigned manifest_version, int32_t rc, struct slice text);
/* What an error reply means here (ERR_NOT_FOUND, ERR_ASSERT_FAILED, …, else ERR_REMOTE). */
int proxy_error_get(int32_t rc, struct rd payload, struct err *e);
/* `frame` starts behind the length; leaves it before the payload. */
int proxy_reply_head(struct rd *frame, int32_t *ret_rc);

/* Manifest version a session gets when the client asks for `wanted`: min(2, wanted), or 3
 * when it asks for 3 or more. Before it asks: MANIFEST_V1. */
unsigned proxy_session_manifest_version(unsigned wanted);

/* "ReadObjectsSlices2": for logs and metrics; "?" for an unknown code. */
const char *proxy_code_name(uint32_t code);
/* Its first argument is a namespace. */
bool proxy_code_has_namespace(uint32_t code);

#endif
