/* Between socket and framer, and between out queue and socket, when TLS is spoken.
 *
 * A handshake costs a millisecond or more, so that each step of it waits for its turn
 * (net_hub_take_turn()); what comes meanwhile is kept. From then on all that is read is decrypted
 * at once, straight into a large frame; the framer keeps what nobody may see yet, and nothing is
 * read meanwhile. Nothing of the out queue is encrypted before the socket takes what was: at most
 * NET_TLS_OUT_BYTES of records wait. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/stream_private.h"
#include "net/tls.h"

enum { IOV_MAX_PER_RECORD = 64 };

static void shake(struct net_task *task);

void net_stream_tls_init(struct net_stream *s, const char *peer)
{
    struct net_hub *hub = s->hub;

    s->tls = net_tls_session_new(s->tls_ctx, peer);
    s->shaking = true;
    hub->handshakes++;
    if (hub->plain == NULL) {
        hub->plain = mem_alloc(NET_HUB_HEADROOM_BYTES + NET_TLS_RECORD_BYTES);
    }
    net_task_init(&s->shake, shake);
    list_init(&s->silent);
}

static void shake_over(struct net_stream *s)
{
    if (s->shaking) {
        s->shaking = false;
        s->hub->handshakes--;
    }
    net_task_cancel(&s->shake);
    list_remove(&s->silent);
    free(s->kept);
    s->kept = NULL;
    s->kept_bytes = 0;
}

/* ---- sending ---- */

/* Records that are ready go to the socket; what it does not take, to libuv. */
static void send_records(struct net_stream *s)
{
    size_t bytes;
    const uint8_t *data = net_tls_out(s->tls, &bytes);
    uv_buf_t buf;
    int rc;

    if (bytes == 0 || s->probe_bytes != 0 || s->down || s->closing) {
        return;
    }
    buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)bytes);
    rc = uv_try_write(&s->uv.stream, &buf, 1);
    if (rc < 0 && rc != UV_EAGAIN) {
        net_stream_down(s, rc);
        return;
    }
    if (rc > 0) {
        net_tls_sent(s->tls, (size_t)rc);
    }
    if (rc < 0 || (size_t)rc < bytes) {
        data = net_tls_out_detach(s->tls, &bytes, &s->probe_data);
        net_stream_send_probe(s, data, bytes);
    }
    if (rc > 0) {
        net_stream_note_sent(s, (size_t)rc);
    }
}

/* The next bytes of the out queue as one piece, at most a record. Small ones are put together. */
static const uint8_t *next_piece(struct net_stream *s, size_t *ret_bytes)
{
    struct iovec iov[IOV_MAX_PER_RECORD];
    size_t all;
    unsigned n = net_outq_peek(&s->outq, iov, IOV_MAX_PER_RECORD, &all);
    size_t have = 0;

    if (n == 1 || iov[0].iov_len >= NET_TLS_RECORD_BYTES) {
        *ret_bytes = iov[0].iov_len;
        return iov[0].iov_base;
    }
    for (unsigned i = 0; i < n && have < NET_TLS_RECORD_BYTES; i++) {
        size_t room = NET_TLS_RECORD_BYTES - have;
        size_t part = iov[i].iov_len < room ? iov[i].iov_len : room;

        memcpy(s->hub->plain + have, iov[i].iov_base, part);
        have += part;
    }
    *ret_bytes = have;
    return s->hub->plain;
}

/* As many records as there is room for. */
static int encrypt(struct net_stream *s)
{
    while (!net_outq_empty(&s->outq)) {
        size_t bytes;
        const uint8_t *piece = next_piece(s, &bytes);
        ssize_t n = net_tls_write(s->tls, piece, bytes);

        if (n <= 0) {
            return (int)n;
        }
        net_outq_consume(&s->outq, (size_t)n);
    }
    return 0;
}

void net_stream_tls_flush(struct net_stream *s)
{
    bool more = true;

    while (more && s->connected && !s->shaking && !s->closing && !s->down && s->probe_bytes == 0) {
        int rc = encrypt(s);

        send_records(s);
        if (rc < 0) {
            net_stream_down(s, rc);
        }
        more = !net_outq_empty(&s->outq);
    }
}

/* ---- reading ---- */

/* All of it: what the framer may not hand over yet, it keeps. */
static int decrypt(struct net_stream *s)
{
    uint8_t *plain = s->hub->plain + NET_HUB_HEADROOM_BYTES;

    while (!s->down && !s->closing) {
        size_t room = NET_TLS_RECORD_BYTES;
        uint8_t *direct = s->framer.blocked ? NULL : net_framer_buffer(&s->framer, &room);
        ssize_t n = net_tls_read(s->tls, direct != NULL ? direct : plain, room);
        int rc;

        if (n <= 0) {
            return (int)n;
        }
        rc = direct != NULL ? net_framer_filled(&s->framer, (size_t)n)
                            : net_framer_feed(&s->framer, plain, (size_t)n);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* What was decrypted before the peer's last word comes before it, too. */
static int put_off_end(struct net_stream *s, int rc)
{
    if (rc != UV_EOF || !(s->answers || s->framer.blocked || s->framer.stash != NULL)) {
        return rc;
    }
    net_stream_end_reading(s, rc);
    return 0;
}

static void take(struct net_stream *s, const uint8_t *data, size_t bytes)
{
    uint64_t whole_count = s->framer.whole_count;
    int rc;

    net_tls_give(s->tls, data, bytes);
    rc = put_off_end(s, decrypt(s));
    send_records(s); /* TLS may have something to say, when it refuses most of all */
    net_stream_note_read(s, bytes, whole_count, rc);
}

static void keep(struct net_stream *s, const uint8_t *data, size_t bytes)
{
    s->kept = mem_realloc(s->kept, s->kept_bytes + bytes);
    memcpy(s->kept + s->kept_bytes, data, bytes);
    s->kept_bytes += bytes;
}

/* One step of the handshake, with what came so far. */
static void shake(struct net_task *task)
{
    struct net_stream *s = container_of(task, struct net_stream, shake);
    uint64_t whole_count = s->framer.whole_count;
    uint8_t *kept = s->kept;
    int rc;

    net_tls_give(s->tls, kept, s->kept_bytes);
    s->kept = NULL;
    s->kept_bytes = 0;
    rc = net_tls_handshake(s->tls);
    send_records(s);
    if (rc > 0) {
        shake_over(s);
        rc = put_off_end(s, decrypt(s));
        send_records(s);
        net_stream_note_read(s, 0, whole_count, rc);
        net_stream_tls_flush(s);
        if (s->end_rc != 0 && !s->closing) {
            net_stream_end_reading(s, s->end_rc);
        }
    } else if (rc < 0 || s->end_rc != 0) {
        net_stream_down(s, rc < 0 ? rc : s->end_rc);
    } else if (!s->down && !s->closing) {
        list_push(&s->hub->silent, &s->silent);
    }
    free(kept);
}

void net_stream_tls_start(struct net_stream *s)
{
    if (s->answers) {
        list_push(&s->hub->silent, &s->silent);
    } else {
        net_hub_take_turn(s->hub, &s->shake);
    }
}

struct net_stream *net_stream_longest_silent(const struct net_hub *hub)
{
    return list_empty(&hub->silent) ? NULL
                                    : container_of(hub->silent.next, struct net_stream, silent);
}

void net_stream_tls_take(struct net_stream *s, const uint8_t *data, size_t bytes)
{
    if (!s->shaking) {
        take(s, data, bytes);
        return;
    }
    if (s->kept_bytes + bytes > NET_TLS_INPUT_BYTES) {
        net_stream_down(s, ERR_PROTOCOL);
        return;
    }
    keep(s, data, bytes);
    list_remove(&s->silent);
    net_stream_note_read(s, bytes, s->framer.whole_count, 0);
    net_hub_take_turn(s->hub, &s->shake);
}

/* A peer that has ended says so first. Whoever cuts the connection could also cut a message. */
void net_stream_tls_cut(struct net_stream *s, int rc)
{
    rc = rc == UV_EOF ? UV_ECONNRESET : rc;
    if (s->kept_bytes != 0) { /* its last words may tell why, when it is their turn */
        net_stream_end_reading(s, rc);
    } else {
        net_stream_down(s, rc);
    }
}

const char *net_stream_why(const struct net_stream *s, int rc)
{
    if (s->tls != NULL && net_tls_session_err(s->tls)->code != 0) {
        return net_tls_session_err(s->tls)->msg;
    }
    if (s->tls != NULL && s->shaking && (rc == UV_ECONNRESET || rc == UV_EPIPE)) {
        return "closed in the TLS handshake: does this port speak TLS?";
    }
    return NULL;
}

/* ---- end ---- */

/* Not in the middle of a message: that is cut, and should look so. */
void net_stream_tls_end(struct net_stream *s)
{
    if (!s->shaking && !s->down && s->probe_bytes == 0 && net_outq_empty(&s->outq)) {
        size_t bytes;
        uv_buf_t buf;

        net_tls_end(s->tls);
        buf.base = (char *)(uintptr_t)net_tls_out(s->tls, &bytes);
        buf.len = bytes;
        if (bytes != 0) {
            uv_try_write(&s->uv.stream, &buf, 1); /* as good as it gets */
        }
    }
    shake_over(s);
}
