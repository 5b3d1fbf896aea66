/* Requests to an ASD, both directions.
 *
 * A client fills a struct asd_request (its arrays stay its own) and encodes it; a
 * server decodes one and releases it. Bytes inside are borrowed: from the frame when decoded,
 * by the message when encoded (values of GATHER_BORROW_BYTES_MIN and more). Any thread. */
#ifndef WIRE_ASD_REQUEST_H
#define WIRE_ASD_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/asd_msg.h"
#include "wire/checksum.h"
#include "wire/gather.h"

#define ASD_REQUEST_UNTOLD UINT32_MAX

enum { ASD_APPLY_RESERVE = 1 }; /* the last 2 % of what may be used, too; version 2 only */

struct asd_range {
    struct slice first; /* the upper end when `reverse` */
    struct slice last;  /* if has_last */
    int32_t max;        /* < 0 or > ASD_RANGE_MAX: ASD_RANGE_MAX */
    bool first_included;
    bool has_last;
    bool last_included;
    bool reverse;
};

struct asd_assert {
    struct slice key;
    struct slice value; /* must be equal to it; without has_value: key must be absent */
    bool has_value;
};

struct asd_update {
    struct slice key;
    struct slice value; /* unless is_delete */
    struct slice rest;  /* of the value, when it lies in two places; encoding only */
    struct checksum checksum;
    bool is_delete;
    bool assertable; /* may be used in an assert later; false for fragments */
};

struct asd_apply {
    struct asd_assert *asserts;
    struct asd_update *updates; /* several on one key: the last wins */
    uint32_t assert_count;
    uint32_t update_count;
    uint8_t flags; /* ASD_APPLY_* */
};

struct asd_part {
    uint32_t offset; /* into the stored value */
    uint32_t bytes;
};

struct asd_request {
    uint32_t code; /* enum asd_code */
    uint8_t prio;  /* enum asd_prio; 0 when encoding means high */
    union {
        struct asd_range range; /* Range, RangeEntries, RangeValidate */
        struct {                /* MultiGet, MultiGet2, MultiExists */
            struct slice *items;
            uint32_t count;
        } keys;
        struct asd_apply apply;
        struct { /* PartialGet */
            struct slice key;
            struct asd_part *parts; /* replied in this order */
            uint32_t part_count;
        } partial;
        bool clear; /* Statistics */
        bool full;  /* SetFull */
        struct {    /* Slowness */
            double fixed_s;
            double variable_s;
            bool on;
        } slowness;
    };
    bool verify_checksum; /* RangeValidate */
    bool show_all;        /* RangeValidate */
};

/* Append command code and arguments, in version 2 form. */
void asd_request_encode(const struct asd_request *request, struct gather *g);

/* `frame` starts behind its length. On success *ret_request is to be released.
 * *ret_request_id is set (0 on version 1) unless the frame is too short to have one.
 * ERR_UNKNOWN_OPERATION, or ERR_PROTOCOL with what is wrong; then nothing to release.
 * Bytes behind the arguments are ignored. */
int asd_request_decode(struct rd frame, unsigned version, uint32_t *ret_request_id,
                       struct asd_request *ret_request, struct err *e);
void asd_request_release(struct asd_request *request);
/* Of a request whose first `bytes` bytes are `head`, before it is whole: where the first value of
 * `value_bytes_min` and more begins. 0: it sets none; ASD_REQUEST_UNTOLD: that lies behind `head`,
 * or will never be known. */
uint32_t asd_request_value_at(const uint8_t *head, size_t bytes, unsigned version,
                              uint32_t value_bytes_min);

/* ---- for a client whose connection speaks version 1 ---- */

struct asd_v1_tail {
    uint32_t code;
    uint64_t part_bytes; /* sum of a PartialGet's parts */
};

/* Rewrite an encoded request into version 1 form, once, before it is sent. The tail tells
 * asd_v1_tail_bytes() what the request was. */
void asd_v1_request(struct gather *request, struct asd_v1_tail *ret_tail);
/* Back into version 2 form: whose message it is may send it again, and to another server. */
void asd_v1_undo(struct gather *request);
/* How many raw bytes follow the reply frame with this payload (behind return code 0).
 * Read them in right behind it: payload and tail together are the version 2 payload.
 * ERR_PROTOCOL when the payload is malformed or there would be more than a frame may hold. */
int asd_v1_tail_bytes(const struct asd_v1_tail *tail, struct rd payload, uint32_t *ret_bytes);

#endif
