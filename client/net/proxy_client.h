/* Client of one or more proxies: a small pool of connections, one request at a
 * time on each (the proxy protocol has no request ids).
 *
 * A call goes to the first endpoint that connects, preferring the one that last
 * worked and leaving those that just failed for last; it moves on to the next endpoint
 * only while the request was certainly not executed (see maybe_executed). It fails when
 * every endpoint has failed since it was submitted. A deadline or cancel of a request that
 * is out costs its connection. Connections negotiate manifest version 3. Loop thread
 * only. A call is encoded by proxy_request_encode() (code and arguments).
 *
 * Errors: the proxy's codes as proxy_code with ERR_REMOTE (or ERR_ASSERT_FAILED,
 * ERR_NOT_FOUND, ERR_EXISTS, ERR_NO_POLICY, ERR_CHECKSUM, ERR_UNKNOWN_OPERATION where one
 * fits) and its message in err; otherwise as in net/asd_client.h. */
#ifndef NET_PROXY_CLIENT_H
#define NET_PROXY_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "net/addr.h"
#include "net/outq.h"

enum {
    PROXY_CLIENT_CALLS_MAX = 4096,
    PROXY_CLIENT_ENDPOINTS_MAX = 16,
    PROXY_CLIENT_CONNECTIONS_DEFAULT = 16,
    PROXY_CLIENT_REPLY_BYTES_MAX = 1073741824,
    PROXY_CLIENT_REQUEST_BYTES_MAX = 1073741824 + 65536 /* a value of 1 GiB and its frame */
};

struct gather;
struct proxy_conn;
struct proxy_client;
struct proxy_call;
typedef void (*proxy_call_cb)(struct proxy_call *call, int rc);
typedef void (*proxy_client_close_cb)(void *ctx);

struct proxy_call {
    struct err err;      /* out: says why, if rc != 0; names the proxy */
    int32_t proxy_code;  /* out: the proxy's own code when it answered one, else 0 */
    struct rd reply;     /* out: payload behind the code; valid while the callback runs */
    bool maybe_executed; /* out: the proxy may have seen the whole request; false after a
                          * reply that says it did nothing */

    struct list link; /* private from here on */
    struct proxy_client *client;
    struct proxy_conn *conn;
    struct gather *request;
    struct net_out out;
    uint64_t deadline_ms;
    uint32_t tried; /* endpoints that failed since the submit, as bits */
    unsigned attempts;
    int state;
    int rc;
    proxy_call_cb cb;
};

struct proxy_client_options {
    const struct net_addr *endpoints; /* copied */
    unsigned endpoint_count;
    unsigned connections_max;    /* 0: the default */
    unsigned connect_timeout_ms; /* with the handshakes; 0: 1000, with TLS 5000 */
    struct net_tls *tls;         /* borrowed until closed; for endpoints with is_tls. NULL: none */
};

struct proxy_client *proxy_client_new(uv_loop_t *loop, const struct proxy_client_options *options);
/* As asd_client_call(). */
int proxy_client_call(struct proxy_client *client, struct proxy_call *call, struct gather *request,
                      unsigned timeout_ms, proxy_call_cb cb);
void proxy_call_cancel(struct proxy_call *call);
uint8_t *proxy_call_detach_reply(struct proxy_call *call);
/* Manifest version that connections agreed on (1, 2 or 3); 0 before the first. */
unsigned proxy_client_manifest_version(const struct proxy_client *client);
void proxy_client_close(struct proxy_client *client, proxy_client_close_cb cb, void *ctx);

#endif
