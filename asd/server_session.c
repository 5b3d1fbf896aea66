/* Connections and the life of a request:
 *
 *   frame -> decode -> (delay) -> store -> reply built -> written -> freed
 *
 * A request holds its connection; when that is gone, what has not begun is canceled, and what has
 * is thrown away when it ends: until then its frame stays. */
#include <stdlib.h>

#include "asd/server_private.h"
#include "asd/space_direct.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/framer.h"

/* ---- end of a request ---- */

/* What was asked for: a reply borrows nothing of it, and so need not keep it. */
static void forget(struct asd_server_request *r)
{
    asd_request_release(&r->in);
    if (r->frame != NULL) {
        bigmem_free(r->frame - r->frame_lead);
        r->frame = NULL;
        asd_session_give(r);
    }
}

static void request_free(struct asd_server_request *r)
{
    struct asd_lane *lane = r->lane;

    if (r->has_get) {
        asd_store_get_release(&r->get);
    }
    if (r->has_partial) {
        asd_store_partial_release(&r->partial);
    }
    if (r->has_range) {
        asd_store_range_release(&r->range);
    }
    forget(r);
    asd_session_end(r);
    free(r->items);
    free(r->more_items);
    free(r);
    atomic_fetch_sub_explicit(&lane->requests, 1, memory_order_relaxed);
    asd_lane_settle(lane);
}

/* It counts until now, as it takes memory until now, and who takes no replies gets no more of
 * them. A version 1 client may also close its side behind a request: it is not read on, which
 * would see that and end the connection, before it has its answer. */
static void on_sent(void *ctx)
{
    struct asd_server_request *r = ctx;

    if (!r->session->closed) {
        asd_session_sent(r);
    }
    request_free(r);
}

static void note_time(struct asd_server_request *r)
{
    uint64_t ns = clock_mono_ns() - r->start_ns;
    struct asd_lane *lane = r->lane;
    uint32_t code = r->in.code;

    if (code < ASD_CODES) {
        uv_mutex_lock(&lane->stats_lock);
        stat_sum_add(&lane->stats[code], (double)ns / 1e9);
        uv_mutex_unlock(&lane->stats_lock);
        metric_observe(&lane->seconds[code], ns);
    }
    asd_server_note_slow(r, ns);
}

/* Write the reply, let the connection go on. *g is used up. */
static void send_reply(struct asd_server_request *r, struct gather *g)
{
    struct net_conn *conn = r->conn;

    note_time(r);
    forget(r);
    list_remove(&r->in_session);
    net_conn_write_gather(conn, g, on_sent, r);
    net_conn_drop(conn);
}

void asd_server_drop(struct asd_server_request *r)
{
    net_conn_drop(r->conn);
    request_free(r);
}

void asd_server_answer(struct asd_server_request *r, const struct asd_reply *reply)
{
    struct gather g = {0};

    asd_reply_encode(reply, r->version, r->id, &g);
    send_reply(r, &g);
}

void asd_server_answer_err(struct asd_server_request *r, int rc, const struct err *e,
                           struct slice key)
{
    struct gather g = {0};
    int32_t code = asd_rc_of(rc);
    bool names_key =
        code == ASD_RC_ASSERT_FAILED || (code == ASD_RC_CORRUPT && r->version == ASD_VERSION_2);

    metric_inc(&r->lane->errors_total);
    asd_error_put(&g.own, r->version, r->id, code, names_key ? key : slice_str(e->msg));
    send_reply(r, &g);
}

/* ---- connections ---- */

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct asd_lane *lane = net_conn_server_ctx(conn);
    struct slice asd_id = lane->server->asd_id;
    struct asd_preamble p;
    int taken = asd_preamble_parse(data, bytes, &p);
    struct buf answer = {0};

    if (taken <= 0) {
        return taken;
    }
    if (p.version != ASD_VERSION_1 && p.version != ASD_VERSION_2) {
        asd_hello_put_refusal(&answer, "protocol version not supported");
    } else {
        asd_hello_put(&answer, asd_id);
    }
    net_conn_write(conn, answer.data, answer.len);
    buf_release(&answer);
    if ((p.version != ASD_VERSION_1 && p.version != ASD_VERSION_2) ||
        (p.has_long_id && !slice_eq(p.long_id, asd_id))) {
        net_conn_close(conn);
        return taken;
    }
    asd_session_new(lane, conn, p.version);
    if (p.version == ASD_VERSION_2) {
        net_conn_watch(conn); /* in version 1 a closed side is no more than that */
    }
    return taken;
}

void asd_server_count_canceled(struct asd_lane *lane)
{
    atomic_fetch_add_explicit(&lane->canceled, 1, memory_order_relaxed);
}

static void on_delay_closed(uv_handle_t *handle)
{
    struct asd_server_request *r =
        container_of((uv_timer_t *)handle, struct asd_server_request, delay);

    if (r->session->closed) {
        asd_server_count_canceled(r->lane);
        asd_server_drop(r);
    } else {
        asd_server_request_run(r);
    }
}

static void on_delay_over(uv_timer_t *timer)
{
    struct asd_server_request *r = container_of(timer, struct asd_server_request, delay);

    r->delaying = false;
    list_remove(&r->link);
    uv_close((uv_handle_t *)timer, on_delay_closed);
}

static void run_delayed(struct asd_server_request *r)
{
    struct asd_lane *lane = r->lane;
    struct asd_server *server = lane->server;
    double part = (double)rnd_below(&lane->rnd, 1000001) / 1e6;
    double seconds;

    uv_mutex_lock(&server->lock);
    seconds = server->slow_fixed_s + part * server->slow_variable_s;
    uv_mutex_unlock(&server->lock);
    r->delaying = true;
    CHECK(uv_timer_init(lane->loop, &r->delay) == 0);
    list_push(&lane->delayed, &r->link);
    uv_timer_start(&r->delay, on_delay_over, (uint64_t)(seconds * 1000), 0);
}

void asd_session_end_delays(struct asd_lane *lane)
{
    while (!list_empty(&lane->delayed)) {
        on_delay_over(&container_of(lane->delayed.next, struct asd_server_request, link)->delay);
    }
}

/* A value that goes to the disk past the page cache should lie so that it is not copied first. */
static uint32_t frame_align_at(struct net_conn *conn, const uint8_t *head, size_t bytes)
{
    const struct asd_session *session = net_conn_user(conn);
    uint32_t at = session != NULL ? asd_request_value_at(head, bytes, session->version,
                                                         ASD_SPACE_DIRECT_BYTES_MIN)
                                  : 0;

    return at == ASD_REQUEST_UNTOLD ? NET_FRAMER_UNTOLD : at;
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    struct asd_lane *lane = net_conn_server_ctx(conn);
    struct asd_session *session = net_conn_user(conn);
    struct asd_server_request *r;
    struct err e;
    int rc;

    if (session == NULL) { /* refused in the preamble */
        bigmem_free(frame - net_conn_frame_lead(conn));
        return;
    }
    r = mem_zalloc(sizeof *r);
    r->lane = lane;
    r->conn = conn;
    r->session = session;
    list_push(&session->running, &r->in_session);
    r->version = session->version;
    r->frame = frame;
    r->frame_lead = net_conn_frame_lead(conn);
    r->start_ns = clock_mono_ns();
    net_conn_hold(conn);
    atomic_fetch_add_explicit(&lane->requests, 1, memory_order_relaxed);
    asd_session_begin(r);
    rc = asd_request_decode(rd_of(frame, bytes), session->version, &r->id, &r->in, &e);
    if (rc != 0) {
        r->in = (struct asd_request){0};
        asd_server_answer_err(r, rc, &e, slice_of(NULL, 0));
        return;
    }
    metric_inc(&lane->requests_total[r->in.code]);
    if (atomic_load_explicit(&lane->server->slow, memory_order_relaxed) &&
        r->in.code != ASD_SLOWNESS) {
        run_delayed(r);
    } else {
        asd_server_request_run(r);
    }
}

static void cancel(struct asd_server_request *r)
{
    if (r->delaying) {
        on_delay_over(&r->delay);
    } else if (r->submitted && asd_store_cancel(&r->op)) {
        asd_server_count_canceled(r->lane);
    }
}

static void on_frame_window(struct net_conn *conn, uint32_t frame_bytes, uint32_t window)
{
    struct asd_session *session = net_conn_user(conn);

    if (session != NULL) {
        asd_session_on_window(session, frame_bytes, window);
    }
}

static void on_close(struct net_conn *conn)
{
    struct asd_session *session = net_conn_user(conn);

    if (session == NULL) {
        return;
    }
    session->closed = true;
    LIST_FOR_EACH_SAFE (it, &session->running) {
        cancel(container_of(it, struct asd_server_request, in_session));
    }
    asd_session_on_close(session);
}

static unsigned hurry(void *ctx)
{
    const struct asd_lane *lane = ctx;

    return (frame_room_is_wanted(&lane->room) ? NET_HURRY_FRAMES : 0U) |
           (asd_store_reads_waiting(lane->server->store) != 0 ? NET_HURRY_REPLIES : 0U);
}

const struct net_server_ops asd_session_ops = {.on_preamble = on_preamble,
                                               .on_frame_window = on_frame_window,
                                               .frame_align_at = frame_align_at,
                                               .on_frame = on_frame,
                                               .on_close = on_close,
                                               .hurry = hurry};
