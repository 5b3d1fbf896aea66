/* A plain socket and a TLS session on it: the other side of a TLS connection, step by step. For
 * tests only. */
#ifndef TESTS_NET_TLS_PEER_H
#define TESTS_NET_TLS_PEER_H

#include "net/tls.h"
#include "unit/net/raw.h"
#include "wire/asd_msg.h"

struct tls_peer {
    uv_loop_t *loop;
    int fd;
    struct net_tls_session *session;
    size_t step; /* bytes of ciphertext sent and given at a time; 0: as they come */
};

static inline void tls_peer_flush(struct tls_peer *p)
{
    size_t bytes;
    const uint8_t *data;

    while ((data = net_tls_out(p->session, &bytes)) != NULL) {
        size_t part = p->step != 0 && p->step < bytes ? p->step : bytes;

        raw_send(p->loop, p->fd, data, part);
        net_tls_sent(p->session, part);
        if (p->step != 0) {
            raw_turn(p->loop);
        }
    }
}

/* Waits for ciphertext. Returns how much came, 0 at the end of the stream. */
static inline size_t tls_peer_wait(struct tls_peer *p, uint8_t *ret_data, size_t bytes)
{
    size_t want = p->step != 0 && p->step < bytes ? p->step : bytes;
    ssize_t n = -1;

    RAW_UNTIL(p->loop, (n = recv(p->fd, ret_data, want, MSG_DONTWAIT)) >= 0 || errno != EAGAIN);
    return n > 0 ? (size_t)n : 0;
}

/* 0 or a code. */
static inline int tls_peer_shake(struct tls_peer *p)
{
    static uint8_t data[1000]; /* what TLS leaves of it is read later */
    int rc;

    while ((rc = net_tls_handshake(p->session)) == 0) {
        size_t n;

        tls_peer_flush(p);
        n = tls_peer_wait(p, data, sizeof data);
        if (n == 0) {
            return UV_EOF;
        }
        net_tls_give(p->session, data, n);
    }
    tls_peer_flush(p);
    return rc > 0 ? 0 : rc;
}

static inline void tls_peer_say(struct tls_peer *p, const void *data, size_t bytes)
{
    const uint8_t *at = data;

    while (bytes != 0) {
        ssize_t n = net_tls_write(p->session, at, bytes);

        assert_true(n > 0);
        tls_peer_flush(p);
        at += n;
        bytes -= (size_t)n;
    }
}

/* Returns how many bytes were heard before the end of the stream or `bytes` were there; *ret_rc is
 * what TLS said then (0: the stream was cut). */
static inline size_t tls_peer_hear(struct tls_peer *p, void *ret_data, size_t bytes, int *ret_rc)
{
    uint8_t *to = ret_data;
    size_t have = 0;

    *ret_rc = 0;
    while (have < bytes) {
        ssize_t n = net_tls_read(p->session, to + have, bytes - have);

        if (n > 0) {
            have += (size_t)n;
        } else if (n < 0) {
            *ret_rc = (int)n;
            break;
        } else {
            static uint8_t data[NET_TLS_RECORD_BYTES];
            size_t got = tls_peer_wait(p, data, sizeof data);

            if (got == 0) {
                break;
            }
            net_tls_give(p->session, data, got);
        }
    }
    return have;
}

static inline struct tls_peer tls_peer_of(uv_loop_t *loop, int fd, struct net_tls *tls,
                                          const char *name)
{
    return (struct tls_peer){.loop = loop, .fd = fd, .session = net_tls_session_new(tls, name)};
}

static inline void tls_peer_close(struct tls_peer *p)
{
    close(p->fd);
    net_tls_session_free(p->session);
}

/* To the ASD of the tests, "asd_1". */
static inline void tls_peer_enter(struct tls_peer *p)
{
    struct buf b = {0};
    uint8_t hello[13]; /* code, length, "asd_1" */
    int rc;

    asd_preamble_put(&b, ASD_VERSION_2, NULL);
    tls_peer_say(p, b.data, b.len);
    buf_release(&b);
    assert_int_equal(tls_peer_hear(p, hello, sizeof hello, &rc), sizeof hello);
    assert_memory_equal(hello + 8, "asd_1", 5);
}

static inline void put_request(struct buf *b, uint32_t id, uint32_t code)
{
    buf_put_u32le(b, 8);
    buf_put_u32le(b, id);
    buf_put_u32le(b, code);
}

#endif
