/* The proxy protocol's server side: sockets, sessions, limits.
 *
 * Loop thread only. Memory is bounded twice: by request_bytes_max for large frames (who does
 * not fit is not read on until it is its turn: frame_room.h), and by the engine's budget for
 * transfers. */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"
#include "net/frame_room.h"
#include "proxy/engine.h"
#include "proxy/fds.h"
#include "proxy/fs.h"

enum {
    PROXY_SERVER_DRAIN_MS = 10000,
    PROXY_ROOM_TIMEOUT_MS =
        20000 /* a frame that waits, while none got room for so long, is told "busy" */
};

struct net_server;
struct net_tls; /* net/tls.h */

struct proxy_server_options {
    const struct net_addr *addrs; /* used during the call */
    unsigned addr_count;
    struct net_tls *tls;         /* borrowed until closed; for the addresses with is_tls */
    unsigned connections_max;    /* 0: 128 */
    uint32_t frame_bytes_max;    /* 0: 1 GiB and a little */
    size_t request_bytes_max;    /* received frames; 0: 384 MiB */
    unsigned request_timeout_ms; /* 0: ENGINE_REQUEST_TIMEOUT_MS */
    unsigned room_timeout_ms;    /* 0: PROXY_ROOM_TIMEOUT_MS */
    unsigned slow_request_ms;    /* such requests are logged; 0: none */
    struct fs_rules fs;          /* borrowed until closed */
    const char *fd_socket;       /* files are handed over beside this unix socket, a path; used
                                  * during the call; NULL: none are taken */
};

struct proxy_server {
    struct engine *engine; /* borrowed; outlives the server */
    struct proxy_server_options options;
    struct net_server *net;
    struct list sessions;
    struct frame_room room; /* of large frames, being read or running */
    uint64_t room_given_ms; /* when a frame that waited got some, last */
    unsigned running;
    uint64_t slow_total; /* requests that took slow_request_ms or longer */
    struct fds *fds;     /* or NULL */

    struct log_limit slow_log; /* private from here on */
    uv_timer_t timer;
    bool is_closing;
    unsigned open;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

int proxy_server_new(struct engine *engine, const struct proxy_server_options *options,
                     struct proxy_server **ret_server, struct err *e);
/* For requests from now on; 0: none is logged. */
void proxy_server_set_slow_ms(struct proxy_server *server, unsigned slow_request_ms);
void proxy_server_set_timeout_ms(struct proxy_server *server, unsigned request_timeout_ms);
uint16_t proxy_server_port(const struct proxy_server *server, unsigned index);
unsigned proxy_server_connections(const struct proxy_server *server);
/* No new requests; those that run get PROXY_SERVER_DRAIN_MS, then they are canceled, and
 * so is what they wait for in the metadata: the engine's registry answers nothing any more. `cb`
 * when it is freed. */
void proxy_server_close(struct proxy_server *server, void (*cb)(void *ctx), void *ctx);

#endif
