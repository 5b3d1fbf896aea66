/* The server of one ASD: sessions of both protocol versions in front of a store.
 *
 * Version 1: one request at a time on a connection. Version 2: up to
 * ASD_SERVER_REQUESTS_MAX, answered in any order; then reading stops until some have
 * ended. Connections are spread over `threads` loops: the one given, whose thread owns the server
 * and calls everything here, and others in threads of the server. Protocol:
 * client/wire/PROTOCOL.md. */
#ifndef ASD_SERVER_H
#define ASD_SERVER_H

#include <stdint.h>

#include <uv.h>

#include "asd/store.h"
#include "base/err.h"
#include "net/addr.h"

enum {
    ASD_SERVER_REQUESTS_MAX = 256,     /* in flight on one connection */
    ASD_SERVER_CONNECTIONS_MAX = 4096, /* defaults, these two, over all loops */
    ASD_SERVER_REQUEST_BYTES_MAX = 96 << 20,
    ASD_SERVER_THREADS_MAX = 64,
    ASD_SERVER_DRAIN_MS = 5000
};

struct asd_server;
struct metrics;
struct net_tls; /* net/tls.h */

struct asd_server_options {
    struct asd_store *store; /* borrowed, outlives the server */
    const char *asd_id;      /* borrowed */
    const struct net_addr *addrs;
    unsigned addr_count;
    struct net_tls *tls;      /* borrowed, outlives the server; for addresses that speak TLS */
    unsigned threads;         /* loops; 0: 1 */
    unsigned connections_max; /* 0, here and below: the default */
    /* Memory of large frames, those that come and those of requests that run; a frame of more
     * than half of a loop's part may come beside. Who gets none is not read. */
    size_t request_bytes_max;
    unsigned slow_request_ms;  /* see asd_server_set_slow_ms() */
    uint64_t (*wall_us)(void); /* as clock_wall_us(), which NULL means; for statistics only */
};

/* Listens. On failure *ret_server is NULL and *e names the address. */
int asd_server_new(uv_loop_t *loop, const struct asd_server_options *options,
                   struct asd_server **ret_server, struct err *e);
uint16_t asd_server_port(const struct asd_server *server, unsigned index);
/* Requests that run are answered (for ASD_SERVER_DRAIN_MS), then `cb`; the server is freed. */
void asd_server_close(struct asd_server *server, void (*cb)(void *ctx), void *ctx);
/* asd_requests_total, asd_request_seconds and the like. */
void asd_server_metrics(struct asd_server *server, struct metrics *metrics);
unsigned asd_server_connections(const struct asd_server *server);
unsigned asd_server_requests(const struct asd_server *server); /* in flight */
/* Not begun when their connection went, and so never executed. */
uint64_t asd_server_canceled(const struct asd_server *server);
uint64_t asd_server_request_bytes(const struct asd_server *server);
/* Requests that take so long, from the whole frame to the reply, are counted and logged, one in a
 * second and loop. 0: none. */
void asd_server_set_slow_ms(struct asd_server *server, unsigned slow_request_ms);

#endif
