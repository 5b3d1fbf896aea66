/* One TCP or unix-socket connection: framed reading, queued writing.
 *
 * The core that the server and both clients share. What is queued during a turn of the
 * loop is written at its end in one system call (net/hub.h). No timers here: owners have
 * one and look at the *_since_ms fields. Nothing queued is ever in libuv's hands except
 * a copied piece, so memory of a message comes back at once (net_stream_abandon()).
 * Loop thread only. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "net/addr.h"
#include "net/framer.h"
#include "net/hub.h"
#include "net/outq.h"

struct net_stream;
struct net_tls;         /* net/tls.h */
struct net_tls_session; /* likewise */

/* A transfer has made progress, and gets its time anew, whenever it has moved so much. */
enum { NET_PROGRESS_BYTES = 1 << 20 };
/* As much as a peer must send, or take, within NET_HURRY_TIMEOUT_MS while others wait for the
 * memory that its frame, or its replies, hold; and of replies at least a 16th of what waits. */
enum { NET_HURRY_BYTES = 128 << 10, NET_HURRY_PART = 16, NET_HURRY_TIMEOUT_MS = 5000 };

struct net_stream_ops {
    struct net_framer_ops framer;             /* their ctx is the stream */
    void (*on_connect)(struct net_stream *s); /* net_stream_connect() succeeded */
    /* Connecting, reading or writing failed, or the peer closed (UV_EOF). Once; the owner
     * calls net_stream_close(), now or later. Not after net_stream_close(). */
    void (*on_down)(struct net_stream *s, int rc);
    void (*on_written)(struct net_stream *s); /* some bytes left; may be NULL */
    void (*on_closed)(struct net_stream *s);  /* may free it */
};

struct net_stream_options {
    const struct net_stream_ops *ops;
    uint32_t frame_bytes_max;
    size_t write_bytes_max; /* no reading while more is unsent; 0: no limit */
    bool expect_raw;        /* on_raw comes first */
    /* A server's: who has said all it had to say is sent what waits for it, before on_down. */
    bool answers;
    bool is_unix;
    struct net_tls *tls; /* speak TLS; borrowed until on_closed. NULL: plain */
};

struct net_stream {
    struct net_framer framer;
    uint64_t
        read_since_ms; /* loop time of the last progress in what is partly read; 0: nothing is */
    uint64_t read_paced_ms;  /* the same of the last NET_HURRY_BYTES */
    uint64_t write_since_ms; /* loop time of the last progress in sending; 0: nothing waits */
    uint64_t write_paced_ms; /* the same of the last NET_HURRY_BYTES */
    bool down;

    union { /* private from here on */
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct net_hub *hub;
    const struct net_stream_ops *ops;
    struct net_task task;
    struct net_outq outq;
    size_t write_bytes_max;
    size_t read_bytes;    /* since read_since_ms */
    size_t paced_bytes;   /* since read_paced_ms */
    size_t written_bytes; /* since write_since_ms */
    size_t taken_bytes;   /* since write_paced_ms */
    bool answers;
    bool connected;
    bool reading;
    bool receiving; /* what comes is read; else it stays in the socket */
    bool paused;    /* by the owner */
    bool choked;    /* too much unsent */
    bool closing;
    int end_rc; /* no more is read: down with this when all that came is used up. 0: not yet */
    uv_connect_t connect;
    uv_write_t probe; /* a copied piece, sent through libuv when the socket is full */
    uint8_t *probe_data;
    size_t probe_bytes; /* in flight */

    struct net_tls *tls_ctx; /* these with TLS only */
    struct net_tls_session *tls;
    bool shaking; /* no plaintext yet */
    struct net_task shake;
    struct list silent; /* in net_hub.silent */
    uint8_t *kept;      /* came while the next step of the handshake waits for its turn */
    size_t kept_bytes;
};

int net_stream_init(struct net_stream *s, struct net_hub *hub,
                    const struct net_stream_options *options);
/* Non-zero: nothing started, on_down will not run. */
int net_stream_connect(struct net_stream *s, const struct net_addr *addr);
int net_stream_accept(struct net_stream *s, uv_stream_t *listener);
/* A connected descriptor; on success it is the stream's. */
int net_stream_open(struct net_stream *s, int fd);
/* After accept or open, or in on_connect. */
void net_stream_start(struct net_stream *s);

/* See net/outq.h. `done` runs later, from the loop. */
void net_stream_write(struct net_stream *s, struct net_out *out);
bool net_stream_abandon(struct net_stream *s, struct net_out *out);
size_t net_stream_unsent_bytes(const struct net_stream *s);
/* No callbacks of the framer while paused. */
void net_stream_pause(struct net_stream *s, bool paused);
/* The stream whose TLS handshake has waited the longest for a word of its peer; NULL: none does. */
struct net_stream *net_stream_longest_silent(const struct net_hub *hub);
/* In on_down, and with its `rc`: what TLS knows of the reason, or NULL. */
const char *net_stream_why(const struct net_stream *s, int rc);
/* Unsent messages get ERR_CANCELED, then on_closed; later, from the loop. */
void net_stream_close(struct net_stream *s);

#endif
