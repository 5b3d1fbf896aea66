/* An object of any size to a proxy, part by part as that asks for it (client/wire/PROTOCOL.md,
 * "Streams"). Any thread; blocks.
 *
 * How a request gets to a proxy is its owner's: all of them over one connection, one after the
 * other. Nothing is stored before the last part was sent: so what ends before that is begun again,
 * where another proxy is known through that; a few times, or as long as it gets on. */
#ifndef NET_PROXY_UPLOAD_H
#define NET_PROXY_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wire/proxy_request.h"

enum {
    PROXY_UPLOAD_BYTES_MIN = 16 << 20, /* what is not larger goes in one request */
    PROXY_UPLOAD_PAUSE_MS = 500        /* before it is begun again */
};

/* What became of one request. */
struct proxy_upload_answer {
    int rc;
    struct err err;      /* why, if rc != 0 */
    int32_t proxy_code;  /* as proxy_call.proxy_code */
    bool maybe_executed; /* as proxy_call.maybe_executed */
    bool wants_part;     /* this: */
    uint64_t offset;
    uint32_t bytes_max;
};

struct proxy_upload {
    struct slice ns;
    struct proxy_apply apply; /* its one update is a PROXY_UPDATE_UPLOAD_STREAM */

    void (*call)(void *ctx, const struct proxy_request *request,
                 struct proxy_upload_answer *ret_answer);
    /* Bytes of the object, which may be wanted more than once. */
    int (*read)(void *ctx, uint64_t offset, uint8_t *ret_data, size_t bytes, struct err *e);
    /* Another try is to begin: wait so long, or less. False: there is to be none. */
    bool (*pause)(void *ctx, unsigned ms);
    void *ctx;

    struct err err;     /* out: why, if it failed */
    int32_t proxy_code; /* out: an enum proxy_rc, when a proxy said so */

    uint8_t *part;     /* private from here on */
    uint64_t farthest; /* that a proxy has asked for */
    bool has_begun;    /* this try: a proxy has taken the first request */
    bool is_over;      /* it was executed, or may have been: not once more */
};

/* Fill in all before `err`. ERR_IN_DOUBT: the last part was sent, and not answered: it is there
 * whole or not at all. PROXY_RC_UNKNOWN_OPERATION: a proxy that knows no streams. */
int proxy_upload_run(struct proxy_upload *upload);

#endif
