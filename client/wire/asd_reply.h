/* Replies of an ASD (return code 0), both directions.
 *
 * A server fills a struct asd_reply and encodes the whole frame; a client decodes the payload
 * and releases. Bytes inside are borrowed: from the payload when decoded; by the message when
 * encoded (values of GATHER_BORROW_BYTES_MIN and more, and all parts of a PartialGet).
 * Arrays are owned when decoded, borrowed when encoding. Any thread. */
#ifndef WIRE_ASD_REPLY_H
#define WIRE_ASD_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/asd_msg.h"
#include "wire/asd_stats.h"
#include "wire/checksum.h"
#include "wire/gather.h"
#include "wire/osd_info.h"

struct asd_value {
    struct slice value;
    struct checksum checksum;
    bool found;
};

struct asd_entry {
    struct slice key;
    struct slice value;
    struct checksum checksum;
};

/* A Set update that lies in a file of its own (older servers). */
struct asd_file_number {
    struct slice key;
    struct slice number; /* a varint, passed on as it is */
};

struct asd_check {
    struct slice name; /* "file_exists", "CRC32c", … */
    bool ok;
};

struct asd_validation {
    struct slice key;
    struct asd_check *checks;
    uint32_t check_count;
};

struct asd_reply {
    uint32_t code; /* of the request */
    union {
        struct { /* Range */
            struct slice *items;
            uint32_t count;
            bool more;
        } keys;
        struct { /* MultiGet, MultiGet2: one per key, in order */
            struct asd_value *items;
            uint32_t count;
        } values;
        struct { /* Apply */
            struct asd_file_number *items;
            uint32_t count;
        } file_numbers;
        struct { /* RangeEntries */
            struct asd_entry *items;
            uint32_t count;
            bool more;
        } entries;
        struct asd_statistics statistics;
        struct { /* GetVersion */
            int32_t major;
            int32_t minor;
            int32_t patch;
            struct slice text;
        } version;
        struct { /* MultiExists */
            bool *items;
            uint32_t count;
        } exists;
        struct { /* GetDiskUsage */
            int64_t used_bytes;
            int64_t capacity_bytes;
        } usage;
        struct {                       /* PartialGet */
            const struct slice *parts; /* encoding: one for each part asked for */
            uint32_t part_count;
            struct slice data; /* decoded: all parts, back to back */
            bool found;
        } partial;
        struct osd_capabilities capabilities;
        struct { /* RangeValidate */
            struct asd_validation *items;
            uint32_t count;
            struct slice next; /* go on from here, if has_next */
            bool has_next;
        } validations;
    };
};

/* Append a whole frame. Values go behind the frame on version 1 where it wants that. */
void asd_reply_encode(const struct asd_reply *reply, unsigned version, uint32_t request_id,
                      struct gather *g);

/* `payload` starts behind return code 0 and holds the version 1 tail, if any. On success
 * *ret_reply is to be released. ERR_PROTOCOL: nothing to release. The caller compares counts
 * and the length of partial.data with what it asked for. */
int asd_reply_decode(struct rd payload, uint32_t code, struct asd_reply *ret_reply, struct err *e);
void asd_reply_release(struct asd_reply *reply);

#endif
