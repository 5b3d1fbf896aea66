/* Life of a connection: accept -> preamble -> frames ... -> ending -> closed -> freed.
 *
 * `ending` lets queued replies leave; then, or at once when the stream is down, the stream
 * is closed. on_close runs when that is over; the struct goes when nobody holds it. */

#include "net/conn.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/gather.h"

enum { LOG_EVERY_MS = 1000, TLS_RECORD_HANDSHAKE = 0x16 };

struct reply {
    struct net_out out;
    struct gather gather;
    struct iovec iov; /* of `copy` */
    void (*sent)(void *ctx);
    void *ctx;
    uint8_t copy[];
};

static struct net_conn *conn_of(struct net_stream *s)
{
    return container_of(s, struct net_conn, stream);
}

static void log_dropped(struct net_conn *conn, const char *why)
{
    unsigned long skipped;

    if (log_limit_pass(&conn->server->dropped_log, LOG_EVERY_MS, &skipped)) {
        log_warn("net", "connection dropped", "peer=%s why=\"%s\" skipped=%lu", conn->peer.text,
                 why, skipped);
    }
}

/* Close when nothing keeps it open any more. */
static void conn_settle(struct net_conn *conn)
{
    struct net_server *server = conn->server;
    bool idle = net_stream_unsent_bytes(&conn->stream) == 0;

    if (conn->closed) {
        return;
    }
    if (conn->ending && (idle || conn->stream.down)) {
        net_stream_close(&conn->stream);
    } else if (server->closing && idle && conn->holds == 0) {
        net_stream_close(&conn->stream);
    }
}

static void conn_end(struct net_conn *conn)
{
    if (!conn->ending) {
        conn->ending = true;
        conn->end_at_ms = uv_now(conn->server->hub.loop) + NET_CONN_LINGER_MS;
        net_stream_pause(&conn->stream, true);
    }
    conn_settle(conn);
}

/* ---- stream callbacks ---- */

static int on_raw(void *ctx, const uint8_t *data, size_t bytes)
{
    struct net_conn *conn = conn_of(ctx);
    int taken = conn->server->options.ops->on_preamble(conn, data, bytes);

    if (taken < 0) {
        if (data[0] == TLS_RECORD_HANDSHAKE) {
            log_dropped(conn, "speaks TLS to a plain port");
        }
        conn_end(conn); /* an answer may still leave */
        return (int)bytes;
    }
    return taken;
}

static void on_frame(void *ctx, uint8_t *frame, uint32_t bytes)
{
    struct net_conn *conn = conn_of(ctx);

    conn->server->options.ops->on_frame(conn, frame, bytes);
}

static uint32_t align_at(void *ctx, const uint8_t *head, size_t bytes)
{
    struct net_conn *conn = conn_of(ctx);
    const struct net_server_ops *ops = conn->server->options.ops;

    return ops->frame_align_at != NULL ? ops->frame_align_at(conn, head, bytes) : 0;
}

static void on_window(void *ctx, uint32_t frame_bytes, uint32_t window)
{
    struct net_conn *conn = conn_of(ctx);

    if (conn->server->options.ops->on_frame_window != NULL) {
        conn->server->options.ops->on_frame_window(conn, frame_bytes, window);
    }
}

static void on_down(struct net_stream *s, int rc)
{
    struct net_conn *conn = conn_of(s);
    const char *why = net_stream_why(s, rc);

    if (rc != UV_EOF && rc != UV_ECONNRESET && rc != UV_EPIPE && !conn->refused) {
        log_dropped(conn, why != NULL ? why : err_text(rc));
    }
    conn_end(conn);
}

static void on_written(struct net_stream *s)
{
    conn_settle(conn_of(s));
}

static void conn_free_if_unused(struct net_conn *conn)
{
    struct net_server *server = conn->server;

    if (conn->closed && conn->holds == 0) {
        free(conn);
        net_server_conn_gone(server);
    }
}

static void on_closed(struct net_stream *s)
{
    struct net_conn *conn = conn_of(s);

    list_remove(&conn->link);
    conn->closed = true;
    if (!conn->refused) {
        atomic_fetch_sub(&conn->server->conn_count, 1);
        conn->holds++;
        conn->server->options.ops->on_close(conn);
        conn->holds--;
    }
    conn_free_if_unused(conn);
}

static const struct net_stream_ops stream_ops = {.framer = {.on_raw = on_raw,
                                                            .on_window = on_window,
                                                            .align_at = align_at,
                                                            .on_frame = on_frame},
                                                 .on_down = on_down,
                                                 .on_written = on_written,
                                                 .on_closed = on_closed};

/* ---- accepting ---- */

static void note_peer(struct net_conn *conn, const struct net_addr *listened)
{
    struct sockaddr_storage sa;
    int bytes = sizeof sa;

    conn->peer = *listened;
    if (!conn->peer.is_unix &&
        uv_tcp_getpeername(&conn->stream.uv.tcp, (struct sockaddr *)&sa, &bytes) == 0) {
        net_addr_of_sockaddr(&conn->peer, (struct sockaddr *)&sa);
        if (listened->is_tls) {
            net_addr_set_tls(&conn->peer);
        }
    }
}

static struct net_conn *conn_new(struct net_server *server, const struct net_addr *listened)
{
    struct net_stream_options options = {.ops = &stream_ops,
                                         .frame_bytes_max = server->options.frame_bytes_max,
                                         .write_bytes_max = NET_CONN_WRITE_BYTES_MAX,
                                         .expect_raw = true,
                                         .answers = true,
                                         .is_unix = listened->is_unix,
                                         .tls = listened->is_tls ? server->options.tls : NULL};
    struct net_conn *conn = mem_zalloc(sizeof *conn);

    conn->server = server;
    list_init(&conn->link);
    CHECK(net_stream_init(&conn->stream, &server->hub, &options) == 0);
    server->shell_count++;
    return conn;
}

/* The owner never hears of it. */
static void conn_refuse(struct net_conn *conn)
{
    conn->refused = true;
    net_stream_close(&conn->stream);
}

static void log_too_many(struct net_server *server, const struct net_addr *listened)
{
    unsigned long skipped;

    if (log_limit_pass(&server->refused_log, LOG_EVERY_MS, &skipped)) {
        log_warn("net", "too many connections", "address=%s max=%u handshakes=%u skipped=%lu",
                 listened->text, server->options.connections_max, server->hub.handshakes, skipped);
    }
}

/* Who has kept silent the longest gives way, so that nobody can keep the others out. */
static bool handshake_has_place(struct net_server *server)
{
    struct net_stream *silent;

    if (server->hub.handshakes < server->options.handshakes_max) {
        return true;
    }
    silent = net_stream_longest_silent(&server->hub);
    if (silent == NULL) {
        return false;
    }
    log_dropped(conn_of(silent), "silent in the TLS handshake while others wait");
    net_stream_close(silent);
    return true;
}

/* It is counted. */
static void conn_begin(struct net_conn *conn, const struct net_addr *listened)
{
    struct net_server *server = conn->server;

    if (listened->is_tls && !handshake_has_place(server)) {
        log_too_many(server, listened);
        atomic_fetch_sub(&server->conn_count, 1);
        conn_refuse(conn);
        return;
    }
    list_push(&server->conns, &conn->link);
    note_peer(conn, listened);
    net_stream_start(&conn->stream);
    net_server_conn_opened(server);
}

void net_conn_accept(struct net_listener *listener)
{
    const struct net_addr *listened = &listener->listen.addr;
    struct net_server *server = listener->server;
    struct net_server *to = net_share_pick(server);
    bool full = net_share_connections(server) >= server->options.connections_max;
    struct net_conn *conn;

    if (to != server && !full && !server->closing) {
        net_share_hand_over(listener, to);
        return;
    }
    if (full && !server->closing) {
        full = !net_server_make_room(server);
    }
    conn = conn_new(server, listened);
    if (net_stream_accept(&conn->stream, &listener->uv.stream) != 0) {
        conn_refuse(conn);
    } else if (full || server->closing) {
        log_too_many(server, listened);
        conn_refuse(conn);
    } else {
        atomic_fetch_add(&server->conn_count, 1);
        conn_begin(conn, listened);
    }
}

void net_conn_adopt(struct net_server *server, int fd, const struct net_addr *listened)
{
    struct net_conn *conn = conn_new(server, listened);

    if (net_stream_open(&conn->stream, fd) != 0) {
        close(fd);
        atomic_fetch_sub(&server->conn_count, 1);
        conn_refuse(conn);
    } else {
        conn_begin(conn, listened);
    }
}

static bool frame_stalls(const struct net_conn *conn, uint64_t now_ms)
{
    const struct net_stream *s = &conn->stream;

    return (conn->server->hurry & NET_HURRY_FRAMES) != 0 && s->read_since_ms != 0 &&
           s->framer.frame != NULL && s->framer.frame_bytes >= NET_FRAMER_DIRECT_BYTES_MIN &&
           now_ms - s->read_paced_ms > conn->server->options.hurry_timeout_ms;
}

/* Who does not take its replies is not read, either: then its large frame stalls with them. */
static bool replies_stall(const struct net_conn *conn, uint64_t now_ms)
{
    const struct net_stream *s = &conn->stream;
    bool holds_frame = s->choked && s->framer.frame != NULL &&
                       s->framer.frame_bytes >= NET_FRAMER_DIRECT_BYTES_MIN;
    unsigned held = NET_HURRY_REPLIES | (holds_frame ? NET_HURRY_FRAMES : 0U);

    return (conn->server->hurry & held) != 0 && s->write_since_ms != 0 &&
           now_ms - s->write_paced_ms > conn->server->options.hurry_timeout_ms;
}

void net_conn_tick(struct net_conn *conn, uint64_t now_ms)
{
    const struct net_server_options *o = &conn->server->options;
    const struct net_stream *s = &conn->stream;
    bool framing = s->framer.framing;
    uint64_t read_max_ms = framing ? o->frame_timeout_ms : o->preamble_timeout_ms;

    if (conn->ending) {
        if (now_ms >= conn->end_at_ms) {
            net_stream_close(&conn->stream);
        }
        return;
    }
    if (conn->server->closing && now_ms >= conn->server->drain_until_ms) {
        net_stream_close(&conn->stream);
    } else if (s->read_since_ms != 0 && now_ms - s->read_since_ms > read_max_ms) {
        log_dropped(conn, framing ? "frame not whole in time" : "no preamble in time");
        net_stream_close(&conn->stream);
    } else if (frame_stalls(conn, now_ms)) {
        log_dropped(conn, "frame stalled while others wait for memory");
        net_stream_close(&conn->stream);
    } else if (replies_stall(conn, now_ms)) {
        log_dropped(conn, "peer takes no replies while others wait for memory");
        net_stream_close(&conn->stream);
    } else if (s->write_since_ms != 0 && now_ms - s->write_since_ms > o->frame_timeout_ms) {
        log_dropped(conn, "peer takes no replies");
        net_stream_close(&conn->stream);
    } else if (conn->watched && s->paused && net_conn_peer_left(conn)) {
        conn_end(conn);
    }
}

void net_conn_drain(struct net_conn *conn)
{
    net_stream_pause(&conn->stream, true);
    conn_settle(conn);
}

/* ---- for the owner ---- */

void *net_conn_server_ctx(const struct net_conn *conn)
{
    return conn->server->options.ctx;
}

void net_conn_set_user(struct net_conn *conn, void *user)
{
    conn->user = user;
}

void *net_conn_user(const struct net_conn *conn)
{
    return conn->user;
}

const struct net_addr *net_conn_peer(const struct net_conn *conn)
{
    return &conn->peer;
}

void net_conn_hold(struct net_conn *conn)
{
    conn->holds++;
}

void net_conn_drop(struct net_conn *conn)
{
    CHECK(conn->holds > 0);
    conn->holds--;
    if (conn->closed) {
        conn_free_if_unused(conn);
    } else {
        conn_settle(conn);
    }
}

uint32_t net_conn_frame_lead(const struct net_conn *conn)
{
    return conn->stream.framer.frame_lead;
}

bool net_conn_is_closed(const struct net_conn *conn)
{
    return conn->closed || conn->ending;
}

int net_conn_fd(const struct net_conn *conn)
{
    int fd;

    return uv_fileno((const uv_handle_t *)&conn->stream.uv, &fd) == 0 ? fd : -1;
}

bool net_fd_peer_left(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};

    return fd < 0 || poll(&poll_fd, 1, 0) > 0; /* that, or the end of the descriptor */
}

bool net_conn_peer_left(const struct net_conn *conn)
{
    return net_conn_is_closed(conn) || net_fd_peer_left(net_conn_fd(conn));
}

static void reply_done(struct net_out *out, int rc)
{
    struct reply *reply = container_of(out, struct reply, out);

    (void)rc;
    if (reply->sent != NULL) {
        reply->sent(reply->ctx);
    }
    gather_release(&reply->gather);
    free(reply);
}

static void conn_send(struct net_conn *conn, struct reply *reply)
{
    reply->out.done = reply_done;
    if (net_conn_is_closed(conn)) {
        list_push(&conn->server->unsendable, &reply->out.link);
        net_hub_schedule(&conn->server->hub, &conn->server->task);
        return;
    }
    net_stream_write(&conn->stream, &reply->out);
}

void net_conn_run_unsendable(struct net_server *server)
{
    struct list *link;

    while ((link = list_pop(&server->unsendable)) != NULL) {
        reply_done(container_of(link, struct net_out, link), ERR_CANCELED);
    }
}

void net_conn_write(struct net_conn *conn, const void *data, size_t bytes)
{
    struct reply *reply;

    if (bytes == 0) {
        return;
    }
    reply = mem_alloc(sizeof *reply + bytes);
    *reply = (struct reply){.iov = {.iov_base = reply->copy, .iov_len = bytes}};
    memcpy(reply->copy, data, bytes);
    reply->out.iov = &reply->iov;
    reply->out.iov_count = 1;
    conn_send(conn, reply);
}

void net_conn_write_gather(struct net_conn *conn, struct gather *g, void (*sent)(void *ctx),
                           void *ctx)
{
    struct reply *reply = mem_zalloc(sizeof *reply);
    size_t bytes;

    CHECK(gather_bytes(g) != 0);
    reply->gather = *g;
    *g = (struct gather){0};
    reply->sent = sent;
    reply->ctx = ctx;
    gather_finish(&reply->gather, &reply->out.iov, &reply->out.iov_count, &bytes);
    conn_send(conn, reply);
}

void net_conn_watch(struct net_conn *conn)
{
    conn->watched = true;
}

void net_conn_pause(struct net_conn *conn, bool paused)
{
    if (!net_conn_is_closed(conn) && !conn->server->closing) {
        net_stream_pause(&conn->stream, paused);
    }
}

void net_conn_skip_frame(struct net_conn *conn)
{
    net_framer_skip(&conn->stream.framer);
}

void net_conn_close(struct net_conn *conn)
{
    if (!conn->closed) {
        conn_end(conn);
    }
}
