/* A framed server: listens on TCP addresses and unix sockets, reads the protocol's
 * preamble, then length-prefixed frames, and writes replies.
 *
 * One loop thread owns a server and its connections. Limits: connections_max
 * (for one more, that goes which has waited the longest without its preamble; if all have sent
 * theirs, the new one is closed at once), frame_bytes_max (a longer frame closes the
 * connection before anything is allocated), deadlines for the preamble, for a frame that
 * began and for a peer that takes no replies, and back-pressure: no frames are read or
 * handed over while a connection is paused by its owner or holds more than
 * NET_CONN_WRITE_BYTES_MAX of unsent replies. Replies queued in one turn of the loop leave
 * together at its end. */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "net/addr.h"

enum {
    NET_CONN_WRITE_BYTES_MAX = 8 * 1048576,
    NET_HANDSHAKES_MAX = 1024,       /* of TLS, not over yet */
    NET_PREAMBLE_TIMEOUT_MS = 10000, /* with the handshake of TLS */
    NET_FRAME_TIMEOUT_MS = 30000,
    NET_CONN_LINGER_MS = 1000 /* net_conn_close() waits so long for replies to leave */
};

enum net_hurry { NET_HURRY_FRAMES = 1, NET_HURRY_REPLIES = 2 };

struct gather;
struct net_tls; /* net/tls.h */
struct net_server;
struct net_conn;

struct net_server_ops {
    /* All bytes of the preamble so far, called again when more came. Returns how many bytes it
     * takes (> 0; framing starts behind them), 0 for "not whole yet", negative to close. It may
     * net_conn_write() an answer. */
    int (*on_preamble)(struct net_conn *conn, const uint8_t *data, size_t bytes);
    /* A large frame has begun, or has all of what was asked for so far: its next `window` bytes
     * (at most NET_FRAMER_WINDOW_BYTES) are to be read, which net_conn_pause() puts off. More of
     * them, on_frame or on_close follow. May be NULL. */
    void (*on_frame_window)(struct net_conn *conn, uint32_t frame_bytes, uint32_t window);
    /* See net_framer_ops.align_at. May be NULL. */
    uint32_t (*frame_align_at)(struct net_conn *conn, const uint8_t *head, size_t bytes);
    /* A whole frame body (without its 4 length bytes). Ownership of its memory (bigmem_free())
     * passes to the callee: it begins at `frame`; with frame_align_at, net_conn_frame_lead()
     * bytes before. */
    void (*on_frame)(struct net_conn *conn, uint8_t *frame, uint32_t bytes);
    /* The connection is gone and freed after this returns; cancel what it asked for.
     * Called once for each connection, whoever closed it. */
    void (*on_close)(struct net_conn *conn);
    /* Whose memory do others wait for? A set of enum net_hurry: a peer that moves less than
     * NET_HURRY_BYTES of a large frame, or of its replies (or less than a 16th of these), in
     * NET_HURRY_TIMEOUT_MS is dropped.
     * Asked now and then; may be NULL. */
    unsigned (*hurry)(void *ctx);
};

struct net_server_options {
    const struct net_addr *addrs;
    unsigned addr_count;
    const struct net_server_ops *ops;
    void *ctx;           /* net_conn_server_ctx() */
    struct net_tls *tls; /* borrowed; for the addresses with is_tls */
    unsigned connections_max;
    /* Of TLS, not over yet; 0: the default; with those of its peers never more than half of
     * connections_max. For one more, that closes which has waited the longest for a word of its
     * client; if all have spoken and wait for us, the new one is closed. */
    unsigned handshakes_max;
    uint32_t frame_bytes_max;
    unsigned frame_timeout_ms;    /* 0: the default; for each MiB (NET_PROGRESS_BYTES), both ways */
    unsigned preamble_timeout_ms; /* 0: the default */
    unsigned hurry_timeout_ms;    /* 0: the default */
};

/* Binds and listens; without addresses it serves what others hand over. On failure *ret_server
 * is NULL and *e names the address. */
int net_server_new(uv_loop_t *loop, const struct net_server_options *options,
                   struct net_server **ret_server, struct err *e);
/* Port of the i-th address (for port 0), 0 for unix. */
uint16_t net_server_port(const struct net_server *server, unsigned index);
unsigned net_server_connections(const struct net_server *server); /* any thread */
/* From now on each connection that `server` accepts goes to whichever has the fewest: itself, or
 * one of `peers` (borrowed), made without addresses, each on a loop of its own. connections_max
 * of `server` is for all of them. No peer is closed before `server` is. */
void net_server_share(struct net_server *server, struct net_server *const *peers,
                      unsigned peer_count);
/* No new connections, no new frames; connections that are held or have unsent replies get
 * `drain_ms`; then all are closed. When the last held one was dropped: `cb`, then the
 * server is freed. */
void net_server_close(struct net_server *server, unsigned drain_ms, void (*cb)(void *ctx),
                      void *ctx);

void *net_conn_server_ctx(const struct net_conn *conn);
void net_conn_set_user(struct net_conn *conn, void *user); /* state of the session */
void *net_conn_user(const struct net_conn *conn);
const struct net_addr *net_conn_peer(const struct net_conn *conn);
uint32_t net_conn_frame_lead(const struct net_conn *conn); /* in on_frame */
/* Keeps the struct alive past on_close for a request still running: a held
 * connection that is closed ignores writes. Balance with net_conn_drop(). */
void net_conn_hold(struct net_conn *conn);
void net_conn_drop(struct net_conn *conn);
bool net_conn_is_closed(const struct net_conn *conn);
/* The peer has closed its side: told by the kernel, so also while reading is paused. */
bool net_conn_peer_left(const struct net_conn *conn);
/* The same for another thread: by the descriptor, -1 once it is closed here. If it is closed, or
 * another's, by the time of the question, the connection has ended and either answer will do. */
int net_conn_fd(const struct net_conn *conn);
bool net_fd_peer_left(int fd);

/* Queue bytes as they are (preamble answers; raw bytes behind a version 1 frame). */
void net_conn_write(struct net_conn *conn, const void *data, size_t bytes); /* copied */
/* Queue a reply assembled by wire/gather.h, as it is. Takes over the gather's own bytes
 * (*reply becomes {0}); borrowed bytes must stay until `sent` runs (exactly once, later,
 * also when the connection dies; may be NULL when nothing is borrowed). */
void net_conn_write_gather(struct net_conn *conn, struct gather *reply, void (*sent)(void *ctx),
                           void *ctx);
/* From now on, while it is paused, it is looked at each second or so whether the peer has closed
 * its side; that ends the connection, as it does when it is read. */
void net_conn_watch(struct net_conn *conn);
/* Owner's back-pressure: no on_frame until unpaused, even for what was already read. */
void net_conn_pause(struct net_conn *conn, bool paused);
/* Between on_frame_window and on_frame: the frame is given up. Its memory is freed, its rest is
 * read and thrown away, and there is no on_frame for it. */
void net_conn_skip_frame(struct net_conn *conn);
/* What is queued may leave, then on_close; later. Writes from here on are ignored. */
void net_conn_close(struct net_conn *conn);

#endif
