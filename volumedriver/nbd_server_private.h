/* What nbd_server.c (listening, life and end) and nbd_visitor.c (connections in their
 * handshake) share. Server thread only. */
#ifndef VOLUMEDRIVER_NBD_SERVER_PRIVATE_H
#define VOLUMEDRIVER_NBD_SERVER_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include "base/log.h"
#include "base/slice.h"
#include "net/listen.h"
#include "volumedriver/nbd_handshake.h"
#include "volumedriver/nbd_mail.h"
#include "volumedriver/nbd_server.h"

struct nbd_listener {
    struct nbd_server *server;
    struct net_listen listen;
    uv_poll_t poll;
    bool paused; /* out of descriptors */
};

/* An export, or all of them, whose connections are ending. */
struct nbd_drop {
    struct nbd_export *export; /* NULL: all */
    uint64_t kill_at_ms;
    bool killed;
    nbd_server_drop_cb cb;
    void *ctx;
    struct list link; /* nbd_server.drops */
    struct nbd_mail mail;
};

struct nbd_server {
    uv_loop_t *loop;
    struct nbd_exports *exports;
    unsigned connections_max, handshake_timeout_ms, hold_ms, stall_timeout_ms;
    struct nbd_listener listeners[NBD_ADDRS_MAX];
    unsigned listener_count;
    struct nbd_mailbox mailbox;
    uv_timer_t sweep; /* runs while there is something to watch */
    struct list visitors;
    struct list conns;
    struct list drops;
    struct nbd_server_stats stats;
    struct log_limit log;
    bool closing;   /* nbd_server_close() was called, */
    bool may_close; /* and has returned */
    bool closed;
    unsigned handles_open;
    nbd_server_close_cb close_cb;
    void *close_ctx;
    struct nbd_drop close_drop;
};

/* nbd_server.c */
/* `fd` is a connection that has chosen its export; `unread` came behind the handshake. */
void nbd_server_hand_over(struct nbd_server *s, int fd, struct nbd_handshake *hs,
                          struct slice unread);
/* A connection is gone; `export` (NULL: none) loses it. */
void nbd_server_forget(struct nbd_server *s, struct nbd_export *export);
void nbd_server_watch(struct nbd_server *s); /* start the sweep */

/* nbd_visitor.c */
void nbd_visitor_start(struct nbd_server *s, int fd, const struct net_addr *peer);
/* Drop those that are late, ask again for those that are held; returns whether there are any. */
bool nbd_visitor_sweep(struct nbd_server *s);
/* Drop those that chose `export`; NULL: all. */
void nbd_visitor_drop(struct nbd_server *s, const struct nbd_export *export);

#endif
