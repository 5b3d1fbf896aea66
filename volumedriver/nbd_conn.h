/* One NBD connection after its handshake, from its hand-over to a worker until it ended.
 *
 * Called by the server, on the server's thread; everything else about a connection happens
 * on its worker's. Disconnecting waits for the requests that the volume still holds. */
#ifndef VOLUMEDRIVER_NBD_CONN_H
#define VOLUMEDRIVER_NBD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "volumedriver/nbd_export.h"
#include "volumedriver/nbd_mail.h"

struct nbd_conn;
/* On the server's thread, once: the socket is closed and no request is in flight. The callee
 * gives the export's place back and calls nbd_conn_free(). */
typedef void (*nbd_conn_end_cb)(void *ctx, struct nbd_conn *conn);

struct nbd_conn_options {
    int fd;                    /* taken over */
    struct nbd_export *export; /* attached */
    struct list *conns;        /* goes on this list of the server's */
    bool structured;
    bool allocation;       /* base:allocation was selected */
    const uint8_t *unread; /* came behind the handshake; at most NBD_HANDSHAKE_INPUT_BYTES */
    size_t unread_bytes;
    unsigned stall_timeout_ms;
    const char *peer;         /* for messages */
    struct nbd_mailbox *home; /* the server's */
    nbd_conn_end_cb end_cb;
    void *ctx;
};

/* Makes the connection and hands it to the export's worker. */
struct nbd_conn *nbd_conn_start(const struct nbd_conn_options *options);
/* Requests in flight may finish, new ones get NBD_ESHUTDOWN; then it ends. */
void nbd_conn_drain(struct nbd_conn *conn);
/* The socket is closed at once; it ends when the volume has answered. */
void nbd_conn_kill(struct nbd_conn *conn);
struct nbd_export *nbd_conn_export(const struct nbd_conn *conn);
struct nbd_conn *nbd_conn_of_link(struct list *link);
/* Takes it off the list. In end_cb or later. */
void nbd_conn_free(struct nbd_conn *conn);

#endif
