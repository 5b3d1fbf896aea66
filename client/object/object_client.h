/* Client of an Albacore: objects through any of its proxies, and verified slices straight from the
 * OSDs.
 *
 * Requests go to a proxy and fail over to another inside one request (net/proxy_route.h). A read
 * of an object that is known (object/known.h), that need not be consistent, and whose OSDs are
 * well, and near as far as there is a choice, goes to the OSDs; with any doubt it goes to a proxy.
 * Which way it went is counted.
 *
 * Callbacks come exactly once, later, never from inside a call. Loop thread only. What a stale
 * manifest can and cannot do: README.md. */
#ifndef OBJECT_OBJECT_CLIENT_H
#define OBJECT_OBJECT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "net/proxy_route.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

enum {
    OBJECT_TIMEOUT_MS = 60000,
    OBJECT_DIRECT_MS = 500,
    OBJECT_REFRESH_MS = 2000 /* OSDs are asked for no more often */
};

struct object_client;

struct object_client_options {
    const struct net_addr *proxies; /* copied */
    unsigned proxy_count;           /* 1 to PROXY_CLIENT_ENDPOINTS_MAX */
    unsigned spread;                /* which of them is preferred: this modulo their number */
    struct net_tls *tls;            /* borrowed: who we are, where TLS is spoken; or NULL */
    size_t known_bytes;             /* of manifests and trailers that are kept; 0: none */
    bool proxy_only;                /* no direct reads */
    unsigned timeout_ms;            /* of a request that has none of its own; 0: the default */
    unsigned direct_ms;             /* an OSD that takes longer is set aside; 0: the default */
    const char *const *near_nodes;  /* read preference: node ids; copied. None: all are near */
    unsigned near_node_count;
};

/* Since the start. Every read counts once under direct_reads or proxy_reads, those under the
 * latter that would have been direct also under the first reason against it. */
struct object_counters {
    uint64_t direct_reads, direct_bytes, direct_round_trips;
    uint64_t direct_far_trips; /* of the round trips: to OSDs that are far */
    uint64_t proxy_reads, proxy_bytes;
    uint64_t not_known;   /* no manifest, or none that can be read directly */
    uint64_t suspect;     /* a fragment was missing or damaged lately */
    uint64_t aside;       /* an OSD is set aside, not known or busy, or lacks a fragment still */
    uint64_t far;         /* a fragment is far that can be computed from near ones */
    uint64_t missing;     /* tried: a fragment is not there */
    uint64_t damaged;     /* tried: bytes that fail their checks */
    uint64_t unreachable; /* tried: an OSD did not answer, or is another one */
    uint64_t refreshes;   /* of the list of OSDs */
    uint64_t proxy_tries; /* of requests, the first ones included */
    uint64_t known_objects, known_bytes;
    uint64_t osds_aside; /* now, as are the two before */
};

struct object_client *object_client_new(uv_loop_t *loop,
                                        const struct object_client_options *options);
void object_client_counters(const struct object_client *client,
                            struct object_counters *ret_counters);
/* It does not know (yet) where the OSDs are. */
bool object_client_lists_osds(const struct object_client *client);
/* Forget what is known of a namespace here. */
void object_client_forget(struct object_client *client, struct slice ns);
/* Requests under way are canceled; then `cb`, and it is freed. */
void object_client_close(struct object_client *client, void (*cb)(void *ctx), void *ctx);

/* ---- any request to a proxy ---- */

struct object_call;
struct object_stream;
typedef void (*object_call_cb)(struct object_call *call, int rc);

struct object_noted { /* private */
    struct slice name;
    uint64_t stamp;
};

struct object_call {
    struct err err;           /* out: why, if rc != 0 */
    int32_t proxy_code;       /* out: an enum proxy_rc, when a proxy said so */
    struct proxy_reply reply; /* out: valid while the callback runs, if rc is 0 */

    struct object_client *client; /* private from here on */
    struct object_stream *stream; /* NULL: it goes by the client's own way */
    struct proxy_route_call way;
    struct gather request;
    uint32_t code;
    struct slice ns;            /* owned */
    struct object_noted *noted; /* owned, with their names */
    size_t noted_count;
    bool is_write; /* noted as written, not as asked for */
    object_call_cb cb;
    struct list link;
};

/* `request` is used during the call only; data of uploads stays as it is until the callback.
 * ERR_IN_DOUBT: a change may have happened. timeout_ms 0: the client's. */
void object_client_call(struct object_client *client, struct object_call *call,
                        const struct proxy_request *request, unsigned timeout_ms,
                        object_call_cb cb);
void object_call_cancel(struct object_call *call); /* a wish */
/* In the callback: the bytes that the reply borrows become the caller's, for bigmem_free(). */
uint8_t *object_call_detach(struct object_call *call);

#endif
