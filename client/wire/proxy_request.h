/* Requests to a proxy, both directions.
 *
 * A client fills a struct proxy_request (its arrays stay its own) and encodes it; a server
 * decodes one and releases it. Bytes inside are borrowed: from the frame when decoded, by the
 * message when encoded (data of GATHER_BORROW_BYTES_MIN and more). Any thread. */
#ifndef WIRE_PROXY_REQUEST_H
#define WIRE_PROXY_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/checksum.h"
#include "wire/gather.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_update.h"

enum {
    PROXY_APPLY_RESERVE = 1,     /* may use the last 2 % of the disks */
    PROXY_APPLY_LOW_PRIORITY = 2 /* gives way to other clients */
};

struct proxy_range {
    struct slice first; /* the upper end when `reverse` */
    struct slice last;
    int32_t max; /* < 0 or > PROXY_RANGE_MAX: PROXY_RANGE_MAX */
    bool first_included;
    bool has_last;
    bool last_included;
    bool reverse;
};

struct proxy_slice {
    int64_t offset;
    int32_t bytes; /* as sent: the server checks both for sense */
};

struct proxy_object_slices {
    struct slice name;
    struct proxy_slice *slices;
    uint32_t slice_count;
};

struct proxy_session_entry {
    struct slice key;
    struct slice value;
    bool has_value;
};

struct proxy_apply {
    struct proxy_assert *asserts;
    struct proxy_update *updates;
    uint32_t assert_count;
    uint32_t update_count;
    bool write_barrier;   /* ApplySequence; has no meaning */
    uint32_t flags;       /* Apply: PROXY_APPLY_*; unknown bits are refused */
    uint32_t deadline_ms; /* Apply: 0 = the server's default */
};

struct proxy_request {
    uint32_t code;        /* enum proxy_code */
    struct slice ns;      /* all that name a namespace */
    bool consistent_read; /* GetObjectInfo, ReadObjectFs, ReadSlices*, ReadObjects */
    bool should_cache;    /* GetObjectInfo, ReadObjectFs, ReadObjects */
    union {
        struct proxy_range range; /* ListNamespaces, ListNamespaces2, ListObjects */
        struct {                  /* CreateNamespace */
            struct slice preset;
            bool has_preset;
        } create;
        struct { /* DeleteObject, GetObjectInfo, ReadObjectFs, WriteObjectFs, WriteObjectFs2 */
            struct slice name;
            struct slice file;        /* the *Fs ones */
            bool may_not_exist;       /* DeleteObject */
            bool allow_overwrite;     /* WriteObjectFs* */
            bool has_checksum;        /* WriteObjectFs* */
            struct checksum checksum; /* WriteObjectFs* */
        } object;
        struct { /* ReadSlices, ReadSlices2 */
            struct proxy_object_slices *items;
            uint32_t count;
        } reads;
        struct { /* ProxyStatistics */
            struct slice *forget;
            uint32_t forget_count;
            bool clear;
        } statistics;
        double delay_s;           /* Ping */
        struct proxy_apply apply; /* ApplySequence, Apply, ApplyFds, ApplyStream */
        struct {                  /* ReadObjects, MultiExists */
            struct slice *items;
            uint32_t count;
        } names;
        struct { /* UpdateSession */
            struct proxy_session_entry *items;
            uint32_t count;
        } session;
        struct { /* StreamPart */
            uint64_t offset;
            uint32_t crc32c;   /* of the data */
            struct slice data; /* empty: the stream is given up */
        } part;
        struct { /* GetFragmentEncryptionKey */
            struct slice alba_id;
            int64_t namespace_id;
        } key;
    };
};

/* Append command code and arguments. */
void proxy_request_encode(const struct proxy_request *request, struct gather *g);
/* Where the deadline of an Apply that names none lies, in what was encoded into the empty `g`, so
 * that it can be said when the request is sent. NULL: it has one, or is another command. */
uint8_t *proxy_request_deadline_at(const struct proxy_request *request, struct gather *g);
/* A bit less than `left_ms`: the answer that nothing happened is to find its client. NULL: none. */
void proxy_request_set_deadline(uint8_t *deadline_at, uint64_t left_ms);
/* `frame` starts behind its length. On success *ret_request is to be released.
 * ERR_UNKNOWN_OPERATION; ERR_PROTOCOL, or ERR_TOO_LARGE (PROXY_APPLY_COUNT_MAX), with what is
 * wrong; then nothing to release.
 * Bytes behind the arguments are ignored. */
int proxy_request_decode(struct rd frame, struct proxy_request *ret_request, struct err *e);
void proxy_request_release(struct proxy_request *request);

#endif
