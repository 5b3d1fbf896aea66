/* A connection in its handshake: reads what the client says, lets nbd_handshake.c answer one
 * option at a time, sends the answer whole before it takes the next.
 *
 * A visitor that asks for an export that is just being opened is held: nothing more is read from
 * it, its option is offered again by each sweep, until the export is there or its time is up. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/nbd_server_private.h"

enum {
    READ_BYTES = 2048, /* a usual handshake sends a few hundred */
    LOG_EVERY_MS = 1000,
};

struct nbd_visitor {
    struct nbd_server *server;
    int fd;
    uv_poll_t poll;
    int poll_events;
    struct nbd_handshake hs;
    struct buf in;        /* not taken yet */
    size_t sent;          /* of hs.out */
    uint64_t deadline_ms; /* of the handshake; being held does not count */
    uint64_t hold_end_ms; /* 0: was never held */
    uint64_t held_ms;     /* since then; 0: is not held */
    struct list link;     /* nbd_server.visitors */
};

static void on_poll_closed(uv_handle_t *handle)
{
    struct nbd_visitor *v = container_of((uv_poll_t *)handle, struct nbd_visitor, poll);

    buf_release(&v->in);
    free(v);
}

/* The socket goes to the connection's worker, or is closed. */
static void leave(struct nbd_visitor *v, bool hand_over)
{
    struct nbd_server *s = v->server;
    struct nbd_export *export;

    list_remove(&v->link);
    uv_close((uv_handle_t *)&v->poll, on_poll_closed);
    s->stats.refused_host += v->hs.refused_host;
    if (hand_over) {
        nbd_server_hand_over(s, v->fd, &v->hs, slice_buf(&v->in));
        nbd_handshake_release(&v->hs);
        return;
    }
    close(v->fd);
    s->stats.handshakes_lost++;
    export = nbd_handshake_detach(&v->hs);
    nbd_handshake_release(&v->hs);
    nbd_server_forget(s, export);
}

static void fail(struct nbd_visitor *v, const char *why)
{
    unsigned long skipped;

    if (log_limit_pass(&v->server->log, LOG_EVERY_MS, &skipped)) {
        log_warn("nbd", "handshake failed", "peer=%s why='%s' skipped=%lu", v->hs.host.text, why,
                 skipped);
    }
    leave(v, false);
}

/* False: the visitor is gone. */
static bool send_out(struct nbd_visitor *v)
{
    struct buf *out = &v->hs.out;

    while (v->sent < out->len) {
        ssize_t n = send(v->fd, out->data + v->sent, out->len - v->sent, MSG_NOSIGNAL);

        if (n >= 0) {
            v->sent += (size_t)n;
        } else if (errno == EAGAIN) {
            return true;
        } else if (errno != EINTR) {
            leave(v, false); /* it went away: nothing to say */
            return false;
        }
    }
    v->sent = 0;
    buf_release(out);
    return true;
}

static void note_held(struct nbd_visitor *v)
{
    uint64_t now_ms = uv_now(v->server->loop);

    if (v->hs.held && v->held_ms == 0) {
        v->held_ms = now_ms;
        v->hold_end_ms = v->hold_end_ms != 0 ? v->hold_end_ms : now_ms + v->server->hold_ms;
    } else if (!v->hs.held && v->held_ms != 0) {
        v->deadline_ms += now_ms - v->held_ms;
        v->held_ms = 0;
    }
}

/* Answer what was read, one option at a time. False: the visitor is gone. */
static bool take_in(struct nbd_visitor *v)
{
    struct buf *in = &v->in;

    for (;;) {
        size_t taken;

        if (!send_out(v)) {
            return false;
        }
        if (v->hs.out.len != 0) {
            return true;
        }
        if (v->hs.state == NBD_HANDSHAKE_DONE) {
            leave(v, true);
            return false;
        }
        if (v->hs.state == NBD_HANDSHAKE_CLOSE) {
            if (v->hs.err.code != 0) {
                fail(v, v->hs.err.msg);
            } else {
                leave(v, false);
            }
            return false;
        }
        taken = nbd_handshake_take(&v->hs, in->data, in->len);
        note_held(v);
        if (taken == 0) {
            return true;
        }
        in->len -= taken;
        memmove(in->data, in->data + taken, in->len);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct nbd_visitor *v)
{
    int events = v->hs.out.len != 0 ? UV_WRITABLE : v->held_ms != 0 ? UV_DISCONNECT : UV_READABLE;

    if (events != v->poll_events) {
        v->poll_events = events;
        CHECK(uv_poll_start(&v->poll, events, on_poll) == 0);
    }
}

/* False: the visitor is gone. */
static bool receive(struct nbd_visitor *v)
{
    ssize_t n;

    /* what could not be taken yet is less than one option, so this stays bounded */
    CHECK(v->in.len <= NBD_HANDSHAKE_INPUT_BYTES + READ_BYTES);
    do {
        buf_reserve(&v->in, READ_BYTES);
        n = recv(v->fd, v->in.data + v->in.len, READ_BYTES, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        return true;
    }
    if (n <= 0) {
        leave(v, false);
        return false;
    }
    v->in.len += (size_t)n;
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct nbd_visitor *v = container_of(poll, struct nbd_visitor, poll);

    if (status < 0 || (events & UV_DISCONNECT) != 0) {
        leave(v, false);
        return;
    }
    if ((events & UV_READABLE) != 0 && !receive(v)) {
        return;
    }
    if (take_in(v)) {
        update_poll(v);
    }
}

void nbd_visitor_start(struct nbd_server *s, int fd, const struct net_addr *peer)
{
    struct nbd_visitor *v = mem_zalloc(sizeof(*v));
    struct nbd_host host = nbd_host_of(peer);

    v->server = s;
    v->fd = fd;
    v->deadline_ms = uv_now(s->loop) + s->handshake_timeout_ms;
    nbd_handshake_init(&v->hs, s->exports, &host);
    CHECK(uv_poll_init(s->loop, &v->poll, fd) == 0);
    list_push(&s->visitors, &v->link);
    s->stats.connections++;
    nbd_server_watch(s);
    if (send_out(v)) {
        update_poll(v);
    }
}

bool nbd_visitor_sweep(struct nbd_server *s)
{
    LIST_FOR_EACH_SAFE (it, &s->visitors) {
        struct nbd_visitor *v = container_of(it, struct nbd_visitor, link);

        if (v->held_ms != 0) {
            v->hs.impatient = uv_now(s->loop) >= v->hold_end_ms;
            if (take_in(v)) {
                update_poll(v);
            }
        } else if (uv_now(s->loop) >= v->deadline_ms) {
            fail(v, "took too long");
        }
    }
    return !list_empty(&s->visitors);
}

void nbd_visitor_drop(struct nbd_server *s, const struct nbd_export *export)
{
    LIST_FOR_EACH_SAFE (it, &s->visitors) {
        struct nbd_visitor *v = container_of(it, struct nbd_visitor, link);

        if (export == NULL || v->hs.export == export) {
            leave(v, false);
        }
    }
}
