/* NBD server: fixed newstyle handshake on TCP and unix sockets, then each connection is
 * handed to the loop that owns the chosen volume (volumedriver/nbd_worker.h).
 *
 * One thread, that of `loop`, owns the server and the exports; volumes may live on other
 * loops. Limits: connections_max (more are closed at once), NBD_OPTION_BYTES_MAX, a deadline
 * for the whole handshake (not counting up to hold_ms that the client is made to wait for an
 * export that is being opened), and one for a peer that stops in the middle of a request or takes
 * no replies. An idle connection may stay for ever (TCP keep-alive finds dead hosts).
 * TLS is not offered: put the port on a trusted network or use the unix socket. */
#ifndef VOLUMEDRIVER_NBD_SERVER_H
#define VOLUMEDRIVER_NBD_SERVER_H

#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "net/addr.h"
#include "volumedriver/nbd_export.h"

enum {
    NBD_ADDRS_MAX = 16,
    NBD_CONNECTIONS_MAX = 1024,
    NBD_HANDSHAKE_TIMEOUT_MS = 30000,
    NBD_HOLD_MS = 30000,
    NBD_STALL_TIMEOUT_MS = 60000,
};

struct nbd_server;
typedef void (*nbd_server_close_cb)(void *ctx);
typedef void (*nbd_server_drop_cb)(void *ctx);

struct nbd_server_options {
    const struct net_addr *addrs;
    unsigned addr_count; /* 1 to NBD_ADDRS_MAX */
    struct nbd_exports *exports;
    unsigned connections_max;      /* 0: NBD_CONNECTIONS_MAX */
    unsigned handshake_timeout_ms; /* 0: NBD_HANDSHAKE_TIMEOUT_MS */
    unsigned hold_ms;              /* for exports that are being opened; 0: NBD_HOLD_MS */
    unsigned stall_timeout_ms;     /* 0: NBD_STALL_TIMEOUT_MS */
};

struct nbd_server_stats {
    unsigned connections;     /* now, in handshake too */
    unsigned attached;        /* now, in transmission */
    uint64_t accepted;        /* so far */
    uint64_t refused_limit;   /* closed at once: connections_max */
    uint64_t refused_host;    /* another host has the export */
    uint64_t handshakes_lost; /* ended without an export: errors, deadlines, and clients that
                                 only looked */
};

/* Binds and listens. On failure *ret_server is NULL and *e names the address. */
int nbd_server_new(uv_loop_t *loop, const struct nbd_server_options *options,
                   struct nbd_server **ret_server, struct err *e);
/* Port of the i-th address (for port 0), 0 for unix. */
uint16_t nbd_server_port(const struct nbd_server *server, unsigned index);
void nbd_server_stats(const struct nbd_server *server, struct nbd_server_stats *ret_stats);

/* End the connections of an export that find() no longer returns: requests in flight get
 * `drain_ms` to finish, new ones NBD_ESHUTDOWN. Then `cb`, later: nothing uses the export or
 * its volume any more. Once per export, and not while the server closes. */
void nbd_server_drop_export(struct nbd_server *server, struct nbd_export *export, unsigned drain_ms,
                            nbd_server_drop_cb cb, void *ctx);
/* The same for all, and no new connections; then `cb`, later, and the server is freed. After
 * drain_ms only requests that the volumes still hold are waited for: close a volume that does
 * not answer, which ends them. */
void nbd_server_close(struct nbd_server *server, unsigned drain_ms, nbd_server_close_cb cb,
                      void *ctx);

#endif
