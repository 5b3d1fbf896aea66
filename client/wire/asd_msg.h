/* ASD protocol: preambles, frames, error replies, and the records inside messages.
 *
 * Version 1 is the existing protocol, one request at a time. Version 2 adds request
 * ids, so that replies may overtake one another. Requests: asd_request.h, replies:
 * asd_reply.h. No state, any thread. Bytes: PROTOCOL.md, "ASD protocol". */
#ifndef WIRE_ASD_MSG_H
#define WIRE_ASD_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/checksum.h"

enum {
    ASD_VERSION_1 = 1,
    ASD_VERSION_2 = 2,
    ASD_ID_BYTES_MAX = 256,
    ASD_HEAD_BYTES_MAX = 8,
    ASD_KEY_BYTES_MAX = 65536,
    ASD_KEY_TEXT_BYTES = 200,
    ASD_FRAME_BYTES_MAX = 72 * 1048576, /* a longer frame is a protocol error */
    ASD_RANGE_MAX = 200                 /* entries of one range reply */
};

enum asd_code {
    ASD_RANGE = 1,
    ASD_MULTI_GET = 2,
    ASD_APPLY = 3,
    ASD_RANGE_ENTRIES = 4,
    ASD_STATISTICS = 5,
    ASD_SET_FULL = 6,
    ASD_GET_VERSION = 7,
    ASD_MULTI_GET2 = 8,
    ASD_MULTI_EXISTS = 9,
    ASD_GET_DISK_USAGE = 10,
    ASD_PARTIAL_GET = 11,
    ASD_CAPABILITIES = 12,
    ASD_RANGE_VALIDATE = 13,
    ASD_SLOWNESS = 14
};

/* Return codes. 64 and up are sent on version 2 only; version 1 gets ASD_RC_UNKNOWN. */
enum asd_rc {
    ASD_RC_OK = 0,
    ASD_RC_UNKNOWN = 1,
    ASD_RC_ASSERT_FAILED = 2, /* text: the key */
    ASD_RC_UNKNOWN_OPERATION = 4,
    ASD_RC_FULL = 6,
    ASD_RC_VERSION = 7,
    ASD_RC_CORRUPT = 64,   /* text: key of the value that fails its checks */
    ASD_RC_BAD_SLICE = 65, /* PartialGet beyond the value */
    ASD_RC_BUSY = 66,      /* not executed, try again later */
    ASD_RC_FAILED = 67     /* the disk is out of service */
};

enum asd_prio { ASD_PRIO_HIGH = 1, ASD_PRIO_LOW = 2 };

/* ---- preamble ---- */

/* `long_id` NULL: take any server. */
void asd_preamble_put(struct buf *b, unsigned version, const char *long_id);

struct asd_preamble {
    uint32_t version;
    bool has_long_id;
    struct slice long_id; /* borrowed */
};

/* What `bytes` of the client's preamble say. Returns how many it takes; 0: not whole
 * yet; ERR_PROTOCOL: not our magic, close. A version other than 1 and 2 is returned as soon
 * as it is known (the rest is not looked at): answer asd_hello_put_refusal() and close. */
int asd_preamble_parse(const uint8_t *data, size_t bytes, struct asd_preamble *ret_preamble);
/* The server's answer, unframed. */
void asd_hello_put(struct buf *b, struct slice asd_id);
void asd_hello_put_refusal(struct buf *b, const char *text);
/* The client's side of it. Returns bytes taken; 0: not whole yet; ERR_VERSION: the
 * server does not speak the version asked for; ERR_REMOTE, ERR_PROTOCOL. */
int asd_hello_parse(const uint8_t *data, size_t bytes, struct slice *ret_asd_id, struct err *e);

/* ---- frames ---- */

/* Head of a request whose body (asd_request_encode()) has `body_bytes`. Returns its size. */
size_t asd_request_head(uint8_t ret_head[ASD_HEAD_BYTES_MAX], unsigned version, uint32_t request_id,
                        size_t body_bytes);
/* `frame` starts behind the length; leaves it before the payload. ERR_PROTOCOL if short. */
int asd_reply_head(struct rd *frame, unsigned version, uint32_t *ret_request_id, int32_t *ret_rc);

/* ---- errors ---- */

/* A whole error reply, frame head included. `text` goes with the codes that have one. */
void asd_error_put(struct buf *b, unsigned version, uint32_t request_id, int32_t rc,
                   struct slice text);
/* What an error reply means here: ERR_ASSERT_FAILED, ERR_FULL, … and a message.
 * *ret_key is the key it names (ASSERT_FAILED, CORRUPT), else empty; borrowed from `payload`. */
int asd_error_get(int32_t rc, struct rd payload, struct slice *ret_key, struct err *e);
/* The code for an error of ours, for the server: asd_rc_of(ERR_FULL) is ASD_RC_FULL. */
int32_t asd_rc_of(int err_code);

/* A key for people: printable characters as they are, the rest as \xNN; cut where it gets long. */
void asd_key_text(struct slice key, char ret_text[ASD_KEY_TEXT_BYTES]);
/* "Apply", "PartialGet": for logs and metrics; "?" for an unknown code. */
const char *asd_code_name(uint32_t code);

#endif
