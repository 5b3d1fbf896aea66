/* Connections and the life of a request:
 *
 *   frame -> decode -> (delay) -> store -> reply built -> written -> freed
 *
 * A request holds its connection; when that is gone, the answer is thrown away. */
#include "asd/server.h"

#include <stdlib.h>

#include "asd/server_private.h"
#include "asd/space_direct.h"
#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/framer.h"

static void finish_close(struct asd_server *server)
{
    if (!server->net_closed || server->requests != 0) {
        return;
    }
    server->close_cb(server->close_ctx);
    free(server);
}

/* ---- end of a request ---- */

static void request_free(struct asd_server_request *r)
{
    struct asd_server *server = r->server;

    if (r->has_get) {
        asd_store_get_release(&r->get);
    }
    if (r->has_partial) {
        asd_store_partial_release(&r->partial);
    }
    if (r->has_range) {
        asd_store_range_release(&r->range);
    }
    asd_request_release(&r->in);
    bigmem_free(r->frame - r->frame_lead);
    free(r->items);
    free(r->more_items);
    free(r);
    server->requests--;
    if (server->close_cb != NULL) {
        finish_close(server);
    }
}

static void on_sent(void *ctx)
{
    request_free(ctx);
}

static void note_time(struct asd_server_request *r)
{
    uint64_t ns = clock_mono_ns() - r->start_ns;
    uint32_t code = r->in.code;

    if (code < ASD_CODES) {
        stat_sum_add(&r->server->stats[code], (double)ns / 1e9);
        metric_observe(&r->server->seconds[code], ns);
    }
}

/* Write the reply, let the connection go on. *g is used up. */
static void send_reply(struct asd_server_request *r, struct gather *g)
{
    struct net_conn *conn = r->conn;
    struct asd_session *session = r->session;

    note_time(r);
    if (!net_conn_is_closed(conn)) {
        session->requests--;
        net_conn_pause(conn, false);
    }
    net_conn_write_gather(conn, g, on_sent, r);
    net_conn_drop(conn);
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

    metric_inc(&r->server->errors_total);
    asd_error_put(&g.own, r->version, r->id, code, names_key ? key : slice_str(e->msg));
    send_reply(r, &g);
}

/* ---- connections ---- */

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct asd_server *server = net_conn_server_ctx(conn);
    struct asd_preamble p;
    int taken = asd_preamble_parse(data, bytes, &p);
    struct buf answer = {0};
    struct asd_session *session;

    if (taken <= 0) {
        return taken;
    }
    if (p.version != ASD_VERSION_1 && p.version != ASD_VERSION_2) {
        asd_hello_put_refusal(&answer, "protocol version not supported");
    } else {
        asd_hello_put(&answer, server->asd_id);
    }
    net_conn_write(conn, answer.data, answer.len);
    buf_release(&answer);
    if ((p.version != ASD_VERSION_1 && p.version != ASD_VERSION_2) ||
        (p.has_long_id && !slice_eq(p.long_id, server->asd_id))) {
        net_conn_close(conn);
        return taken;
    }
    session = mem_zalloc(sizeof *session);
    session->version = p.version;
    net_conn_set_user(conn, session);
    return taken;
}

static void on_delay_closed(uv_handle_t *handle)
{
    asd_server_request_run(container_of((uv_timer_t *)handle, struct asd_server_request, delay));
}

static void on_delay_over(uv_timer_t *timer)
{
    struct asd_server_request *r = container_of(timer, struct asd_server_request, delay);

    list_remove(&r->link);
    uv_close((uv_handle_t *)timer, on_delay_closed);
}

static void run_delayed(struct asd_server_request *r)
{
    struct asd_server *server = r->server;
    double part = (double)rnd_below(&server->rnd, 1000001) / 1e6;
    double seconds = server->slow_fixed_s + part * server->slow_variable_s;

    CHECK(uv_timer_init(server->loop, &r->delay) == 0);
    list_push(&server->delayed, &r->link);
    uv_timer_start(&r->delay, on_delay_over, (uint64_t)(seconds * 1000), 0);
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
    struct asd_server *server = net_conn_server_ctx(conn);
    struct asd_session *session = net_conn_user(conn);
    struct asd_server_request *r;
    struct err e;
    int rc;

    if (session == NULL) { /* refused in the preamble */
        bigmem_free(frame - net_conn_frame_lead(conn));
        return;
    }
    r = mem_zalloc(sizeof *r);
    r->server = server;
    r->conn = conn;
    r->session = session;
    r->version = session->version;
    r->frame = frame;
    r->frame_lead = net_conn_frame_lead(conn);
    r->start_ns = clock_mono_ns();
    net_conn_hold(conn);
    server->requests++;
    session->requests++;
    if (session->version == ASD_VERSION_1 || session->requests == ASD_SERVER_REQUESTS_MAX) {
        net_conn_pause(conn, true);
    }
    rc = asd_request_decode(rd_of(frame, bytes), session->version, &r->id, &r->in, &e);
    if (rc != 0) {
        r->in = (struct asd_request){0};
        asd_server_answer_err(r, rc, &e, slice_of(NULL, 0));
        return;
    }
    metric_inc(&server->requests_total[r->in.code]);
    if (server->slow && r->in.code != ASD_SLOWNESS) {
        run_delayed(r);
    } else {
        asd_server_request_run(r);
    }
}

static void on_close(struct net_conn *conn)
{
    free(net_conn_user(conn));
}

static const struct net_server_ops ops = {.on_preamble = on_preamble,
                                          .frame_align_at = frame_align_at,
                                          .on_frame = on_frame,
                                          .on_close = on_close};

/* ---- life ---- */

int asd_server_new(uv_loop_t *loop, const struct asd_server_options *options,
                   struct asd_server **ret_server, struct err *e)
{
    struct asd_server *server = mem_zalloc(sizeof *server);
    struct net_server_options net = {.addrs = options->addrs,
                                     .addr_count = options->addr_count,
                                     .ops = &ops,
                                     .ctx = server,
                                     .connections_max = ASD_SERVER_CONNECTIONS_MAX,
                                     .frame_bytes_max = ASD_FRAME_BYTES_MAX};
    uint64_t seed;
    int rc;

    *ret_server = NULL;
    rnd_bytes(&seed, sizeof seed);
    server->loop = loop;
    server->store = options->store;
    server->asd_id = slice_str(options->asd_id);
    server->wall_us = options->wall_us != NULL ? options->wall_us : clock_wall_us;
    server->created_s = (double)server->wall_us() / 1e6;
    server->created_ns = clock_mono_ns();
    server->rnd = rnd_seed(seed);
    list_init(&server->delayed);
    for (unsigned i = 0; i < ASD_CODES; i++) {
        stat_sum_init(&server->stats[i]);
    }
    rc = net_server_new(loop, &net, &server->net, e);
    if (rc != 0) {
        free(server);
        return rc;
    }
    *ret_server = server;
    return 0;
}

uint16_t asd_server_port(const struct asd_server *server, unsigned index)
{
    return net_server_port(server->net, index);
}

unsigned asd_server_connections(const struct asd_server *server)
{
    return net_server_connections(server->net);
}

unsigned asd_server_requests(const struct asd_server *server)
{
    return server->requests;
}

static void on_net_closed(void *ctx)
{
    struct asd_server *server = ctx;

    server->net_closed = true;
    finish_close(server);
}

void asd_server_close(struct asd_server *server, void (*cb)(void *ctx), void *ctx)
{
    CHECK(server->close_cb == NULL);
    server->close_cb = cb;
    server->close_ctx = ctx;
    while (!list_empty(&server->delayed)) { /* nobody waits for these any more */
        on_delay_over(&container_of(server->delayed.next, struct asd_server_request, link)->delay);
    }
    net_server_close(server->net, ASD_SERVER_DRAIN_MS, on_net_closed, server);
}

void asd_server_metrics(struct asd_server *server, struct metrics *metrics)
{
    static const char *const labels[ASD_CODES] = {
        NULL,
        "op=\"range\"",
        "op=\"multi_get\"",
        "op=\"apply\"",
        "op=\"range_entries\"",
        "op=\"statistics\"",
        "op=\"set_full\"",
        "op=\"get_version\"",
        "op=\"multi_get2\"",
        "op=\"multi_exists\"",
        "op=\"get_disk_usage\"",
        "op=\"partial_get\"",
        "op=\"capabilities\"",
        "op=\"range_validate\"",
        "op=\"slowness\"",
    };

    for (unsigned code = ASD_RANGE; code < ASD_CODES; code++) {
        metrics_counter(metrics, &server->requests_total[code], "asd_requests_total", labels[code],
                        1, "Requests that were understood.");
    }
    for (unsigned code = ASD_RANGE; code < ASD_CODES; code++) {
        metrics_histogram(metrics, &server->seconds[code], "asd_request_seconds", labels[code],
                          1e-9, 1 << 14, 1ull << 34, "From the whole frame to the reply.");
    }
    metrics_counter(metrics, &server->errors_total, "asd_errors_total", NULL, 1,
                    "Requests answered with an error.");
}
