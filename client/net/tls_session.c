/* OpenSSL reads from and writes to memory of ours, through a BIO that copies once: a record goes
 * from the caller's read buffer into OpenSSL's, and from there, encrypted in place, to `out`. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <uv.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/tls_private.h"

enum {
    BIO_OF_OURS = BIO_TYPE_SOURCE_SINK | 100,
    RECORD_OVERHEAD_BYTES = 256, /* SSL3_RT_MAX_ENCRYPTED_OVERHEAD */
    PEER_BYTES_MAX = 256,
    MESSAGES_MAX = 8, /* of TLS itself, once the handshake is over, in each MESSAGES_PER_BYTES */
    MESSAGES_PER_BYTES = 1 << 20
};

struct net_tls_session {
    SSL *ssl;
    const uint8_t *in; /* borrowed */
    size_t in_bytes;
    uint8_t *out; /* NET_TLS_OUT_BYTES, or NULL */
    size_t out_from, out_to;
    bool shaken;
    unsigned records; /* sent with the present key */
    unsigned records_per_key;
    unsigned messages; /* within `messages_bytes` of plaintext that were read */
    size_t messages_bytes;
    struct err err;
};

/* ---- between OpenSSL and memory ---- */

static bool too_many_messages(const struct net_tls_session *session)
{
    return session->messages > MESSAGES_MAX;
}

/* One SSL_read() would go through all the messages that there are: it gets no more of them. */
static int span_read(BIO *bio, char *ret_data, int bytes)
{
    struct net_tls_session *session = BIO_get_data(bio);
    size_t part = (size_t)bytes < session->in_bytes ? (size_t)bytes : session->in_bytes;

    BIO_clear_retry_flags(bio);
    if (part == 0 || too_many_messages(session)) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(ret_data, session->in, part);
    session->in += part;
    session->in_bytes -= part;
    return (int)part;
}

/* A peer that lets us answer without reading the answers comes to the end of the room. */
static int span_write(BIO *bio, const char *data, int bytes)
{
    struct net_tls_session *session = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if ((size_t)bytes > NET_TLS_OUT_BYTES - session->out_to) {
        BIO_set_retry_write(bio);
        return -1;
    }
    if (session->out == NULL) {
        session->out = mem_alloc(NET_TLS_OUT_BYTES);
    }
    memcpy(session->out + session->out_to, data, (size_t)bytes);
    session->out_to += (size_t)bytes;
    return bytes;
}

static long span_ctrl(BIO *bio, int command, long number, void *ptr)
{
    (void)bio;
    (void)number;
    (void)ptr;
    return command == BIO_CTRL_FLUSH;
}

static int span_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *net_tls_bio_new(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_OF_OURS, "albacore spans");

    CHECK(method != NULL && BIO_meth_set_read(method, span_read) == 1 &&
          BIO_meth_set_write(method, span_write) == 1 &&
          BIO_meth_set_ctrl(method, span_ctrl) == 1 &&
          BIO_meth_set_create(method, span_create) == 1);
    return method;
}

/* A change of keys costs a hundred times what its record costs to send. */
static void on_message(int sent, int version, int type, const void *data, size_t bytes, SSL *ssl,
                       void *ctx)
{
    struct net_tls_session *session = ctx;

    (void)version;
    (void)data;
    (void)bytes;
    (void)ssl;
    if (!sent && type == SSL3_RT_HANDSHAKE && session->shaken) {
        session->messages++;
    }
}

static void note_plaintext(struct net_tls_session *session, size_t bytes)
{
    session->messages_bytes += bytes;
    if (session->messages_bytes >= MESSAGES_PER_BYTES) {
        session->messages_bytes = 0;
        session->messages = 0;
    }
}

/* ---- life ---- */

static void expect_peer(SSL *ssl, const char *peer)
{
    uint8_t ip[sizeof(struct in6_addr)];

    if (inet_pton(AF_INET, peer, ip) == 1 || inet_pton(AF_INET6, peer, ip) == 1) {
        CHECK(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), peer) == 1);
    } else {
        SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
        CHECK(SSL_set1_host(ssl, peer) == 1);
    }
}

struct net_tls_session *net_tls_session_new(struct net_tls *tls, const char *peer)
{
    struct net_tls_session *session = mem_zalloc(sizeof *session);
    BIO *bio = BIO_new(tls->bio);

    pthread_mutex_lock(&tls->lock);
    session->ssl = SSL_new(tls->ctx);
    pthread_mutex_unlock(&tls->lock);
    CHECK(session->ssl != NULL && bio != NULL);
    session->records_per_key = tls->records_per_key;
    BIO_set_data(bio, session);
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_msg_callback(session->ssl, on_message);
    SSL_set_msg_callback_arg(session->ssl, session);
    if (tls->role == NET_TLS_SERVER) {
        SSL_set_accept_state(session->ssl);
    } else {
        CHECK(peer != NULL && strlen(peer) < PEER_BYTES_MAX);
        expect_peer(session->ssl, peer);
        SSL_set_connect_state(session->ssl);
    }
    return session;
}

void net_tls_session_free(struct net_tls_session *session)
{
    if (session == NULL) {
        return;
    }
    SSL_free(session->ssl);
    free(session->out);
    free(session);
}

/* ---- failures ---- */

const struct err *net_tls_session_err(const struct net_tls_session *session)
{
    return &session->err;
}

/* OpenSSL says nothing to who does not speak TLS at all; ours understand this much of it. */
static void say_alert(struct net_tls_session *session)
{
    static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 70}; /* fatal: protocol version */

    if (SSL_is_server(session->ssl)) {
        span_write(SSL_get_wbio(session->ssl), (const char *)alert, sizeof alert);
    }
}

static int say_why(struct net_tls_session *session)
{
    unsigned long code = ERR_peek_error();
    long verdict = SSL_get_verify_result(session->ssl);
    const char *why = ERR_reason_error_string(code);
    int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;

    if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED && verdict != X509_V_OK) {
        return err_say(&session->err, ERR_TLS, "TLS: the peer's certificate: %s",
                       X509_verify_cert_error_string(verdict));
    }
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
        say_alert(session);
        return err_say(&session->err, ERR_TLS, "TLS: the peer speaks something else");
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return err_say(&session->err, ERR_TLS, "TLS: the peer has no certificate");
    default:
        break;
    }
    if (reason > SSL_AD_REASON_OFFSET && why != NULL) { /* "tlsv13 alert certificate required" */
        const char *alert = strstr(why, "alert ");

        return err_say(&session->err, ERR_TLS, "TLS: the peer refuses: %s",
                       alert != NULL ? alert + strlen("alert ") : why);
    }
    return err_say(&session->err, ERR_TLS, "TLS: %s", why != NULL ? why : "failed");
}

/* `result` of an SSL function that gave no bytes: 0 to go on later, or a code. */
static int judge(struct net_tls_session *session, int result)
{
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_WANT_WRITE:
        return err_say(&session->err, ERR_TLS, "TLS: the peer asks without reading the answers");
    case SSL_ERROR_ZERO_RETURN:
        return UV_EOF;
    default:
        say_why(session);
        ERR_clear_error();
        return ERR_TLS;
    }
}

/* ---- use ---- */

void net_tls_give(struct net_tls_session *session, const uint8_t *data, size_t bytes)
{
    CHECK(session->in_bytes == 0);
    session->in = data;
    session->in_bytes = bytes;
}

int net_tls_handshake(struct net_tls_session *session)
{
    int result;

    if (session->err.code != 0) {
        return session->err.code;
    }
    ERR_clear_error();
    result = SSL_do_handshake(session->ssl);
    session->shaken = result == 1;
    return session->shaken ? 1 : judge(session, result);
}

ssize_t net_tls_read(struct net_tls_session *session, uint8_t *ret_data, size_t bytes)
{
    int want = bytes < NET_TLS_RECORD_BYTES ? (int)bytes : NET_TLS_RECORD_BYTES;
    int result;

    if (session->err.code != 0) {
        return session->err.code;
    }
    ERR_clear_error();
    result = SSL_read(session->ssl, ret_data, want);
    if (result > 0) {
        note_plaintext(session, (size_t)result);
        return result;
    }
    if (too_many_messages(session)) {
        result =
            err_say(&session->err, ERR_TLS, "TLS: the peer says too much of the protocol itself");
    } else {
        result = judge(session, result);
    }
    if (result != 0) {
        session->in_bytes = 0;
    }
    return result;
}

/* OpenSSL does not do so by itself. If it cannot now, writing fails, too. */
static void change_key(struct net_tls_session *session)
{
    if (session->records >= session->records_per_key &&
        SSL_key_update(session->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) {
        session->records = 0;
    }
}

ssize_t net_tls_write(struct net_tls_session *session, const uint8_t *data, size_t bytes)
{
    int part = bytes < NET_TLS_RECORD_BYTES ? (int)bytes : NET_TLS_RECORD_BYTES;
    int result;

    if (session->err.code != 0) {
        return session->err.code;
    }
    if (NET_TLS_OUT_BYTES - session->out_to < NET_TLS_RECORD_BYTES + 2 * RECORD_OVERHEAD_BYTES) {
        return 0;
    }
    change_key(session);
    ERR_clear_error();
    result = SSL_write(session->ssl, data, part);
    if (result > 0) {
        session->records++;
        return result;
    }
    result = judge(session, result);
    if (result == 0) { /* there is room; OpenSSL reads to write only to end what the peer began */
        return err_say(&session->err, ERR_TLS,
                       "TLS: the peer stops within a message of the protocol");
    }
    return result;
}

void net_tls_end(struct net_tls_session *session)
{
    if (session->shaken && session->err.code == 0) {
        SSL_shutdown(session->ssl);
        ERR_clear_error();
    }
}

const uint8_t *net_tls_out(const struct net_tls_session *session, size_t *ret_bytes)
{
    *ret_bytes = session->out_to - session->out_from;
    return *ret_bytes != 0 ? session->out + session->out_from : NULL;
}

void net_tls_sent(struct net_tls_session *session, size_t bytes)
{
    CHECK(bytes <= session->out_to - session->out_from);
    session->out_from += bytes;
    if (session->out_from == session->out_to) {
        free(session->out);
        session->out = NULL;
        session->out_from = 0;
        session->out_to = 0;
    }
}

const uint8_t *net_tls_out_detach(struct net_tls_session *session, size_t *ret_bytes,
                                  uint8_t **ret_block)
{
    const uint8_t *data = net_tls_out(session, ret_bytes);

    *ret_block = session->out;
    session->out = NULL;
    session->out_from = 0;
    session->out_to = 0;
    return data;
}
