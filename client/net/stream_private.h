/* Private to stream.c and stream_tls.c. */
#ifndef NET_STREAM_PRIVATE_H
#define NET_STREAM_PRIVATE_H

#include "net/stream.h"

/* ---- of stream.c, for TLS ---- */

void net_stream_down(struct net_stream *s, int rc);
/* Nothing more will come: net_stream_down() with `rc`, once what came is handed over. */
void net_stream_end_reading(struct net_stream *s, int rc);
/* `bytes` came, and the framer, which had `whole_count_before`, said `rc`. */
void net_stream_note_read(struct net_stream *s, size_t bytes, uint64_t whole_count_before, int rc);
void net_stream_note_sent(struct net_stream *s, size_t bytes);
/* The socket is full: libuv keeps `bytes` at `data` and tells when they are gone. */
void net_stream_send_probe(struct net_stream *s, const uint8_t *data, size_t bytes);

/* ---- of stream_tls.c ---- */

/* A session with `peer`, an IP address (clients), or NULL (servers). */
void net_stream_tls_init(struct net_stream *s, const char *peer);
/* Connected: the client has the first word. */
void net_stream_tls_start(struct net_stream *s);
/* Ciphertext came. */
void net_stream_tls_take(struct net_stream *s, const uint8_t *data, size_t bytes);
/* The connection ended without a word of TLS, or reading failed. */
void net_stream_tls_cut(struct net_stream *s, int rc);
void net_stream_tls_flush(struct net_stream *s);
/* The stream is about to be closed: what is still to be said, if the socket takes it. */
void net_stream_tls_end(struct net_stream *s);

#endif
