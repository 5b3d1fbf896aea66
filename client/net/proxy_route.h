/* The way to the proxies: which one serves a call, and what happens when it does not.
 *
 * Namespaces are spread over the proxies; one's calls stay with a proxy, whose caches know it, as
 * long as that is well. A proxy that cannot be reached, breaks off, or talks nonsense is set
 * aside; so is one that says nothing for PROXY_ROUTE_SILENT_MS while it has calls and then does not
 * answer a ping: its calls are taken back from it. A ping, at growing intervals, takes it back.
 *
 * A call that was not executed, or may be executed twice, goes on to the next proxy, or waits for
 * one, until its deadline. Any other whose outcome is unknown ends at once. Callbacks come exactly
 * once, later, never from inside a call. Loop thread only. */
#ifndef NET_PROXY_ROUTE_H
#define NET_PROXY_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "net/proxy_client.h"

enum {
    PROXY_ROUTE_SILENT_MS = 2000,
    PROXY_ROUTE_PING_MS = 4000,
    PROXY_ROUTE_BACKOFF_MS_MIN = 50, /* between pings of a proxy, and between tries of a call */
    PROXY_ROUTE_BACKOFF_MS_MAX = 2000,
};

struct proxy_route;
struct proxy_route_call;
typedef void (*proxy_route_cb)(struct proxy_route_call *call, int rc);

/* Embed it. Its owner fills the first part in and keeps all until the callback. */
struct proxy_route_call {
    struct gather *request; /* may be sent more than once; borrowed */
    uint32_t spread;        /* calls with the same number stay together */
    unsigned timeout_ms;    /* 0: the route's */
    unsigned attempt_ms;    /* for one try, once sent; 0: what is left until the deadline */
    bool repeatable;        /* executed twice is as good as once */
    uint8_t *deadline_at; /* u32 of the request: how long the proxy may take; NULL: none, or set */

    struct proxy_call proxy; /* out: the last try; its err says why, if rc != 0 */

    struct proxy_route *route;     /* private from here on */
    struct proxy_route_peer *peer; /* that has it now */
    uint64_t deadline_ms, due_ms;
    unsigned tries;
    bool taken_back; /* its peer does not answer */
    bool refused;    /* no proxy will ever take it */
    bool canceled;
    struct err err; /* of the try before */
    struct list link;
    proxy_route_cb cb;
};

struct proxy_route_options {
    const struct net_addr *proxies; /* copied */
    unsigned proxy_count;           /* 1 to PROXY_CLIENT_ENDPOINTS_MAX */
    struct net_tls *tls;            /* borrowed until closed; as in proxy_client_options */
    unsigned timeout_ms;            /* how long a call waits for a proxy that answers */
    unsigned silent_ms, ping_ms;    /* 0: as above */
};

struct proxy_route *proxy_route_new(uv_loop_t *loop, const struct proxy_route_options *options);
void proxy_route_submit(struct proxy_route *route, struct proxy_route_call *call,
                        proxy_route_cb cb);
/* In the callback of a call that was answered, with something that may be better later (*why):
 * once more, after a while. `proxy_is_bad`: and rather not to this proxy. False: its time is up, or
 * it may not be repeated; nothing was done. */
bool proxy_route_again(struct proxy_route_call *call, bool proxy_is_bad, const struct err *why);

/* A wish: the callback still comes, with ERR_CANCELED unless an answer was there first. */
void proxy_route_cancel(struct proxy_route_call *call);

/* No proxy is well: why, and since when (µs since 1970). */
bool proxy_route_is_down(const struct proxy_route *route, struct err *ret_why,
                         uint64_t *ret_since_us);

/* The program stops: no call takes longer than `ms` from now. */
void proxy_route_finish(struct proxy_route *route, unsigned ms);
/* When every call was answered. Later `cb`, and the route is freed. */
void proxy_route_close(struct proxy_route *route, void (*cb)(void *ctx), void *ctx);

#endif
