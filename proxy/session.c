#include "proxy/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "proxy/ops.h"
#include "proxy/rc.h"

enum { SLOW_LOG_EVERY_MS = 1000, ROOM_TIMEOUTS_MAX = 6 };

struct session *session_new(struct proxy_server *server, struct net_conn *conn)
{
    struct session *s = mem_zalloc(sizeof(*s));

    s->server = server;
    s->conn = conn;
    s->manifest_version = MANIFEST_V1;
    s->is_local = net_addr_is_local(net_conn_peer(conn));
    s->may_have_keys = s->is_local || net_conn_peer(conn)->is_tls;
    list_push(&server->sessions, &s->link);
    return s;
}

static void session_free(struct session *s)
{
    op_stream_leave(s);
    list_remove(&s->link);
    free(s);
}

/* ---- a request's end ---- */

static void note_slow(const struct session *s)
{
    struct proxy_server *server = s->server;
    uint64_t slow_ms = server->options.slow_request_ms;
    uint64_t ms = clock_mono_ms() - s->start_ms;
    unsigned long skipped;

    if (slow_ms == 0 || ms < slow_ms || s->request.code == PROXY_PING) {
        return;
    }
    server->slow_total++;
    if (log_limit_pass(&server->slow_log, SLOW_LOG_EVERY_MS, &skipped)) {
        log_warn("session", "slow request", "op=%s ms=%" PRIu64 " peer=%s skipped=%lu",
                 proxy_code_name(s->request.code), ms, net_conn_peer(s->conn)->text, skipped);
    }
}

static void finish(struct session *s)
{
    struct proxy_server *server = s->server;

    CHECK(s->is_running);
    note_slow(s);
    proxy_request_release(&s->request);
    bigmem_free(s->frame);
    s->frame = NULL;
    s->is_running = false;
    s->head_ms = 0;
    s->op = NULL;
    s->cancel = NULL;
    s->is_in_doubt = NULL;
    server->running--;
    frame_room_give(&server->room, &s->share);
    if (!s->is_closed) {
        net_conn_pause(s->conn, false);
    }
    net_conn_drop(s->conn);
    if (s->is_closed) {
        session_free(s);
    }
}

/* The connection, if no more, keeps the server. */
void session_keep_frame(struct session *s, struct session_frame *ret_frame)
{
    CHECK(s->is_running);
    *ret_frame = (struct session_frame){.conn = s->conn, .server = s->server, .data = s->frame};
    s->frame = NULL;
    frame_share_move(&s->server->room, &ret_frame->share, &s->share);
    net_conn_hold(s->conn);
}

void session_frame_release(struct session_frame *frame)
{
    bigmem_free(frame->data);
    frame_room_give(&frame->server->room, &frame->share);
    net_conn_drop(frame->conn);
}

void session_reply(struct session *s, const struct proxy_reply *reply, void (*sent)(void *ctx),
                   void *ctx)
{
    struct gather g = {0};
    struct err e;
    int rc;

    if (s->is_answered) {
        finish(s);
        if (sent != NULL) {
            sent(ctx);
        }
        return;
    }
    rc = proxy_reply_encode(reply, s->manifest_version, &g, &e);
    if (rc != 0) {
        gather_release(&g);
        session_fail(s, rc_of(rc), e.msg);
        if (sent != NULL) {
            sent(ctx);
        }
        return;
    }
    net_conn_write_gather(s->conn, &g, sent, ctx);
    finish(s);
}

void session_reply_unit(struct session *s)
{
    session_reply(s, &(struct proxy_reply){.code = s->request.code}, NULL, NULL);
}

static void write_error(struct session *s, int32_t rc, struct slice text)
{
    struct buf b = {0};

    CHECK(rc != PROXY_RC_OK);
    proxy_error_put(&b, s->manifest_version, rc, text);
    net_conn_write(s->conn, b.data, b.len);
    buf_release(&b);
}

void session_fail_name(struct session *s, int32_t rc, struct slice name)
{
    if (!s->is_answered) {
        write_error(s, rc, name);
    }
    finish(s);
}

static bool is_in_doubt(struct session *s)
{
    return s->is_in_doubt != NULL && s->is_in_doubt(s);
}

void session_fail(struct session *s, int32_t rc, const char *text)
{
    if (s->has_timed_out && rc == PROXY_RC_UNKNOWN && !is_in_doubt(s)) {
        rc = PROXY_RC_TIMED_OUT;
        text = "the request's deadline is over";
    }
    log_debug("session", "request failed", "op=%s rc=%" PRId32 " why=\"%s\"",
              proxy_code_name(s->request.code), rc, text);
    session_fail_name(s, rc, slice_str(text));
}

/* ---- a request's beginning ---- */

static void start_op(struct session *s)
{
    op_start start = op_find(s->request.code);

    if (start == NULL) {
        session_fail(s, PROXY_RC_UNKNOWN_OPERATION, "unknown operation");
        return;
    }
    if ((s->request.code == PROXY_APPLY || s->request.code == PROXY_APPLY_FDS ||
         s->request.code == PROXY_APPLY_STREAM) &&
        s->request.apply.deadline_ms != 0) {
        uint64_t from_ms = s->head_ms != 0 ? s->head_ms : s->start_ms; /* the client's clock runs */
        uint64_t until_ms = from_ms + s->request.apply.deadline_ms;
        bool is_stream = s->request.code == PROXY_APPLY_STREAM; /* of each step, and the client's */

        s->deadline_ms = is_stream || until_ms < s->deadline_ms ? until_ms : s->deadline_ms;
    }
    start(s);
}

static void on_room(struct frame_share *share)
{
    struct session *s = container_of(share, struct session, share);

    s->server->room_given_ms = clock_mono_ms();
    net_conn_pause(s->conn, false);
}

/* Long, while nobody got any; or very long. */
static bool has_waited_in_vain(const struct session *s, uint64_t now_ms)
{
    uint64_t timeout_ms = s->server->options.room_timeout_ms;
    uint64_t given_ms = s->server->room_given_ms;
    uint64_t since_ms = given_ms > s->wait_ms ? given_ms : s->wait_ms;

    return now_ms - since_ms >= timeout_ms || now_ms - s->wait_ms >= ROOM_TIMEOUTS_MAX * timeout_ms;
}

void session_on_frame_window(struct session *s, uint32_t frame_bytes, uint32_t window)
{
    if (s->head_ms == 0) {
        s->head_ms = clock_mono_ms();
    }
    if (!frame_room_take(&s->server->room, &s->share, frame_bytes, window, on_room)) {
        s->wait_ms = clock_mono_ms();
        net_conn_pause(s->conn, true);
    }
}

/* What came of the frame was only a part of the request, so nothing of it was done. */
static void give_up_frame(struct session *s)
{
    log_debug("session", "no room for a frame", "peer=%s", net_conn_peer(s->conn)->text);
    frame_room_give(&s->server->room, &s->share);
    net_conn_skip_frame(s->conn);
    s->head_ms = 0;
    write_error(s, PROXY_RC_BUSY, slice_str("no memory for requests, try again later"));
    net_conn_pause(s->conn, false);
}

static int32_t rc_of_malformed(int decode_rc)
{
    switch (decode_rc) {
    case ERR_UNKNOWN_OPERATION:
        return PROXY_RC_UNKNOWN_OPERATION;
    case ERR_TOO_LARGE:
        return PROXY_RC_TOO_LARGE;
    default:
        return PROXY_RC_BAD_ARGUMENT;
    }
}

void session_on_frame(struct session *s, uint8_t *take_frame, uint32_t bytes)
{
    struct proxy_server *server = s->server;
    struct err e;
    int rc;

    CHECK(!s->is_running);
    s->is_running = true;
    s->has_timed_out = false;
    s->frame = take_frame;
    s->frame_bytes = bytes;
    s->start_ms = clock_mono_ms();
    s->deadline_ms = s->start_ms + server->options.request_timeout_ms;
    net_conn_hold(s->conn);
    net_conn_pause(s->conn, true);
    server->running++;
    server->engine->stats.totals.requests++;

    s->request = (struct proxy_request){0};
    rc = proxy_request_decode(rd_of(take_frame, bytes), &s->request, &e);
    if (rc != 0) {
        s->request = (struct proxy_request){0};
        session_fail(s, rc_of_malformed(rc), e.msg);
        return;
    }
    start_op(s);
}

uint8_t *session_take_frame(struct session *s, struct proxy_request *ret_request)
{
    uint8_t *frame = s->frame;

    *ret_request = s->request;
    s->request = (struct proxy_request){.code = ret_request->code};
    s->frame = NULL;
    frame_room_give(&s->server->room, &s->share);
    return frame;
}

void session_drop_frame(struct session *s)
{
    struct proxy_request request;

    bigmem_free(session_take_frame(s, &request));
    proxy_request_release(&request);
}

void session_cancel(struct session *s)
{
    session_cancel_cb cancel = s->cancel;

    s->cancel = NULL;
    if (s->is_running && cancel != NULL) {
        cancel(s);
    }
}

void session_on_close(struct session *s)
{
    s->is_closed = true;
    if (s->is_running) {
        session_cancel(s);
    } else {
        frame_room_give(&s->server->room, &s->share);
        session_free(s);
    }
}

/* What it still holds, frame and memory, is given back when it ends. */
static void leave_behind(struct session *s)
{
    struct session *next = session_new(s->server, s->conn);
    bool in_doubt = is_in_doubt(s);

    log_debug("session", "request left behind at its deadline", "op=%s in_doubt=%d",
              proxy_code_name(s->request.code), in_doubt);
    next->manifest_version = s->manifest_version;
    op_stream_move(s, next);
    write_error(s, in_doubt ? PROXY_RC_IN_DOUBT : PROXY_RC_TIMED_OUT,
                slice_str(in_doubt ? "the request's deadline is over, its outcome is unknown"
                                   : "the request's deadline is over"));
    s->is_answered = true;
    s->is_closed = true;
    net_conn_set_user(s->conn, next);
    net_conn_pause(s->conn, false); /* may hand over the next frame */
}

void session_check(struct session *s, uint64_t now_ms)
{
    if (frame_share_waits(&s->share)) {
        if (has_waited_in_vain(s, now_ms) && !net_conn_is_closed(s->conn)) {
            give_up_frame(s);
        }
        return;
    }
    op_stream_check(s, now_ms);
    if (!s->is_running || s->is_closed) {
        return;
    }
    if (now_ms >= s->deadline_ms && s->has_timed_out) {
        leave_behind(s);
    } else if (now_ms >= s->deadline_ms) {
        s->has_timed_out = true;
        session_cancel(s); /* with the next check it has had its time to end */
    } else if (s->cancel != NULL && net_conn_peer_left(s->conn)) {
        session_cancel(s);
    }
}

bool session_is_wanted(const struct session *s)
{
    return clock_mono_ms() < s->deadline_ms && !net_conn_peer_left(s->conn);
}

const struct fs_rules *session_fs_rules(const struct session *s)
{
    return s->is_local ? &s->server->options.fs : NULL;
}

const struct fds *session_fds(const struct session *s)
{
    return net_conn_peer(s->conn)->is_unix ? s->server->fds : NULL;
}
