/* What transactions of the proxy protocol are made of: asserts and updates. No state, any thread.
 * Bytes: PROTOCOL.md, "Proxy protocol". */
#ifndef WIRE_PROXY_UPDATE_H
#define WIRE_PROXY_UPDATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "wire/checksum.h"

enum proxy_assert_kind {
    PROXY_ASSERT_EXISTS = 1,
    PROXY_ASSERT_ABSENT = 2,
    PROXY_ASSERT_HAS_ID = 3,
    PROXY_ASSERT_HAS_CHECKSUM = 4
};

struct proxy_assert {
    uint8_t kind;
    struct slice name;
    struct slice object_id;   /* HAS_ID */
    struct checksum checksum; /* HAS_CHECKSUM */
};

enum proxy_update_kind {
    PROXY_UPDATE_UPLOAD_FILE = 1,
    PROXY_UPDATE_UPLOAD = 2,
    PROXY_UPDATE_DELETE = 3,       /* an absent name is fine */
    PROXY_UPDATE_UPLOAD_FD = 4,    /* ApplyFds only */
    PROXY_UPDATE_UPLOAD_STREAM = 5 /* ApplyStream only */
};

/* A part of a file that was handed over (net/fd_pass.h). */
struct proxy_extent {
    uint64_t offset;
    uint64_t bytes;
};

struct proxy_update {
    uint8_t kind;
    struct slice name;
    struct slice file;  /* UPLOAD_FILE: a path on the proxy's machine */
    struct slice data;  /* UPLOAD; borrowed by the message when long */
    struct slice token; /* UPLOAD_FD: what the proxy gave for the file */
    struct proxy_extent *extents;
    uint32_t extent_count;
    uint64_t bytes; /* UPLOAD_STREAM: of the whole object */
    struct checksum checksum;
    bool has_checksum;
};

#endif
