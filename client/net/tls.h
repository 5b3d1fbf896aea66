/* TLS 1.3: who we are and whom we trust, and sessions that turn plaintext into records and back.
 *
 * A context is made from PEM files and shared by every connection of a process; it outlives its
 * sessions. Any thread may make sessions and reload. A session belongs to one loop thread, does no
 * I/O and holds at most NET_TLS_OUT_BYTES of records to be sent.
 *
 * Both sides show a certificate and verify the other's: the server refuses a client without one
 * that its CA has signed; the client also wants the address that it connected to among the
 * server's subject alternative names. There are no session tickets: a resumed session would not be
 * verified against a CA or a date that has changed, and connections here live long. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
    NET_TLS_RECORD_BYTES = 16384,    /* plaintext of one record at most */
    NET_TLS_OUT_BYTES = 68 * 1024,   /* four records, and what the protocol itself says */
    NET_TLS_INPUT_BYTES = 128 * 1024 /* of a handshake, before it is looked at */
};

enum net_tls_role { NET_TLS_SERVER, NET_TLS_CLIENT };

struct net_tls_files {
    const char *ca_cert; /* who signs the certificates of our peers */
    const char *cert;    /* our chain, leaf first; NULL with `key`: none (clients only) */
    const char *key;
};

struct net_tls;
struct net_tls_session;

/* Fails with ERR_TLS or ERR_CONFIG; *e names the file and says why. Blocks shortly. */
int net_tls_new(enum net_tls_role role, const struct net_tls_files *files, struct net_tls **ret_tls,
                struct err *e);
/* Read the files again (`files` NULL), or others: for sessions made from now on. On failure the
 * context stays as it is. */
int net_tls_reload(struct net_tls *tls, const struct net_tls_files *files, struct err *e);
/* As they were given. */
const struct net_tls_files *net_tls_files(const struct net_tls *tls);
void net_tls_free(struct net_tls *tls); /* accepts NULL */

/* `peer` (clients): the IP address or the name that the server's certificate must be for. */
struct net_tls_session *net_tls_session_new(struct net_tls *tls, const char *peer);
void net_tls_session_free(struct net_tls_session *session); /* accepts NULL */

/* The next bytes of the peer, borrowed until net_tls_read() or net_tls_handshake() has said 0 or
 * failed: then they are used up. */
void net_tls_give(struct net_tls_session *session, const uint8_t *data, size_t bytes);
/* 1: done. 0: more of the peer's bytes are needed. Else a code, with net_tls_session_err(). In
 * any case there may be something to send. */
int net_tls_handshake(struct net_tls_session *session);
/* Plaintext, at most one record's. 0: more of the peer's bytes are needed. UV_EOF: the peer has
 * ended the session, as it should. */
ssize_t net_tls_read(struct net_tls_session *session, uint8_t *ret_data, size_t bytes);
/* Makes one record of the beginning of `data`; how many bytes that was. 0: no room. */
ssize_t net_tls_write(struct net_tls_session *session, const uint8_t *data, size_t bytes);
/* Say that no more will come. */
void net_tls_end(struct net_tls_session *session);

/* What is to be sent. */
const uint8_t *net_tls_out(const struct net_tls_session *session, size_t *ret_bytes);
/* The first `bytes` of it were. */
void net_tls_sent(struct net_tls_session *session, size_t bytes);
/* The rest of it passes to the caller, who frees *ret_block; the bytes begin at what is
 * returned. */
const uint8_t *net_tls_out_detach(struct net_tls_session *session, size_t *ret_bytes,
                                  uint8_t **ret_block);

/* Why it failed; code 0: it did not. */
const struct err *net_tls_session_err(const struct net_tls_session *session);

#endif
