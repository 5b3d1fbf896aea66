/* Client of one ASD: many requests in flight over one connection, replies in any order.
 *
 * Speaks preamble version 2 and falls back to version 1 (one request at a time)
 * when the server answers code 7. Connects on the first call and again after a
 * loss; calls made meanwhile wait for the connection, at most until their
 * deadline. Everything here runs on the loop thread of the client.
 *
 * A connection that cannot be made by any of its addresses fails every waiting call at once; the
 * next call tries again, so back-off is the caller's.
 *
 * A call is encoded by asd_request_encode() (command code and arguments, without the
 * frame header), its reply read by asd_reply_decode(). Errors a callback can get: ERR_ASSERT_FAILED
 * (failed_key is set), ERR_FULL, ERR_UNKNOWN_OPERATION, ERR_BUSY, ERR_CORRUPT (failed_key is set),
 * and the others of asd_error_get(); ERR_REMOTE (the server's message is in err), ERR_IDENTITY
 * (another long id, or another owner, than expected), ERR_TLS, ERR_PROTOCOL, UV_ETIMEDOUT,
 * ERR_CANCELED, and what connect, read or write returned. For the last kind and for UV_ETIMEDOUT
 * and ERR_CANCELED `maybe_executed` tells whether the server may have seen the whole request: a
 * write is then in doubt. It is false after a refusal (ERR_ASSERT_FAILED, ERR_FULL,
 * ERR_UNKNOWN_OPERATION, ERR_BUSY). */
#ifndef NET_ASD_CLIENT_H
#define NET_ASD_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "net/addr.h"
#include "net/outq.h"

enum {
    ASD_CLIENT_CALLS_MAX = 1024 /* waiting or in flight; more get ERR_BUSY */
};

struct gather;  /* wire/gather.h */
struct net_tls; /* net/tls.h */
struct asd_client;
struct asd_call;
typedef void (*asd_call_cb)(struct asd_call *call, int rc);
typedef void (*asd_client_close_cb)(void *ctx);

/* One request. The caller owns it, usually embedded in a larger struct, and leaves
 * it alone from a successful submit until the callback. */
struct asd_call {
    struct err err;        /* out: says why, if rc != 0; names the ASD */
    struct rd reply;       /* out: payload behind rc 0; valid while the callback runs */
    struct buf failed_key; /* out: key of a failed assert or of a bad value; caller releases */
    bool maybe_executed;   /* out: see above */

    struct list link; /* private from here on */
    struct asd_client *client;
    struct gather *request;
    struct net_out out;
    uint64_t deadline_ms;
    uint32_t id;
    int state;
    int rc;
    bool is_v1; /* `request` was rewritten for a version 1 server */
    asd_call_cb cb;
};

struct asd_client_options {
    struct net_addr addr;
    /* The ways to it besides `addr`, the next of which is tried when one cannot be connected; the
     * one that could is tried first the next time. Copied. */
    const struct net_addr *others;
    unsigned other_count;
    /* Where it listens besides, if it is on this machine: tried first, at each connecting, and
     * the addresses when nobody listens there. NULL: nowhere. Copied. */
    const struct net_addr *local;
    /* For an address that is_tls: borrowed until the client is closed. NULL: such calls fail. */
    struct net_tls *tls;
    const char *long_id; /* expected identity; NULL: take any. Copied. */
    /* Whose claim (osd_keys.h) the store must carry: asked before the first request of each
     * connection. Without it every call fails with ERR_IDENTITY, as a disk that is not mounted, or
     * that somebody else has claimed, answers under the same long id. NULL: anybody's. Copied. */
    const char *owner;
    unsigned connect_timeout_ms; /* 0: 1000 */
    unsigned claim_timeout_ms;   /* of the question for `owner`; 0: 10 s */
};

/* Cannot fail; connects later. */
struct asd_client *asd_client_new(uv_loop_t *loop, const struct asd_client_options *options);

/* `request` and the memory it borrows stay untouched until the callback.
 * 0: `cb` runs exactly once, later. Nothing was started after ERR_BUSY, ERR_TOO_LARGE
 * (longer than a frame may be), ERR_CANCELED (the client is closing). */
int asd_client_call(struct asd_client *client, struct asd_call *call, struct gather *request,
                    unsigned timeout_ms, asd_call_cb cb);
/* A wish: the callback still comes, later, with ERR_CANCELED unless the reply was
 * there first. The request's memory is no longer used once the callback has run. */
void asd_call_cancel(struct asd_call *call);
/* In the callback after rc 0: take over the bytes that call->reply points into;
 * bigmem_free() or free() what is returned (the frame, not the payload's first byte). */
uint8_t *asd_call_detach_reply(struct asd_call *call);

/* Identity the server gave at the last handshake, "" before the first. */
const char *asd_client_long_id(const struct asd_client *client);
/* Every call is answered with ERR_CANCELED, then `cb`; the client is freed. */
void asd_client_close(struct asd_client *client, asd_client_close_cb cb, void *ctx);

#endif
