/* An ASD of one value behind net/server.h with a plain and a TLS port, and an asd_client. For tests
 * only. */
#ifndef TESTS_NET_TLS_FIXTURE_H
#define TESTS_NET_TLS_FIXTURE_H

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "net/asd_client.h"
#include "net/framer.h"
#include "net/server.h"
#include "unit/net/certs_fixture.h"
#include "unit/net/raw.h"
#include "wire/asd_msg.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"

enum { CALLS = 64, BIG = 9 << 20 /* more than may be unsent */, TLS_ADDR = 0, PLAIN_ADDR = 1 };

/* An ASD of one value: Apply compares what comes with it, MultiGet sends it, GetVersion answers
 * at once, GetDiskUsage never. SetFull pauses the connection. */
struct fixture {
    uv_loop_t loop;
    struct certs certs;
    struct net_tls *server_tls, *client_tls;
    struct net_server *server;
    struct net_server_options options;
    struct net_addr addrs[2];
    struct asd_client *client;
    struct answer {
        struct asd_call call;
        struct gather request;
        struct buf payload;
        int rc;
        unsigned count;
        bool done;
    } answers[CALLS];
    uint8_t *big;
    struct net_conn *paused;
    unsigned frames, opens, closes, sents, windows;
    bool server_closed, client_closed;
    int log_fd, stderr_fd; /* while the log is captured */
};

/* ---- the server ---- */

static inline int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct fixture *f = net_conn_server_ctx(conn);
    struct asd_preamble p;
    int taken = asd_preamble_parse(data, bytes, &p);
    struct buf answer = {0};

    if (taken > 0) {
        asd_hello_put(&answer, slice_str("asd_1"));
        net_conn_write(conn, answer.data, answer.len);
        buf_release(&answer);
        f->opens++;
    }
    return taken;
}

static inline void on_sent(void *ctx)
{
    ((struct fixture *)ctx)->sents++;
}

static inline void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    struct fixture *f = net_conn_server_ctx(conn);
    struct asd_request request;
    struct gather g = {0};
    uint32_t id;
    struct err e;
    uint32_t more;

    assert_int_equal(asd_request_decode(rd_of(frame, bytes), ASD_VERSION_2, &id, &request, &e), 0);
    more = request.code == ASD_MULTI_GET ? BIG : 2;
    f->frames++;
    if (request.code == ASD_APPLY) {
        const struct asd_update *update = &request.apply.updates[0];

        assert_int_equal(update->value.len, BIG);
        assert_memory_equal(update->value.data, f->big, BIG);
    }
    if (request.code == ASD_SET_FULL) {
        f->paused = conn;
        net_conn_pause(conn, true);
    }
    buf_put_u32le(&g.own, 8 + more);
    buf_put_u32le(&g.own, id);
    buf_put_u32le(&g.own, 0);
    if (request.code == ASD_MULTI_GET) {
        gather_borrow(&g, slice_of(f->big, BIG));
        net_conn_write_gather(conn, &g, on_sent, f);
    } else if (request.code != ASD_GET_DISK_USAGE) {
        buf_put(&g.own, "ok", 2);
        net_conn_write_gather(conn, &g, NULL, NULL);
    } else {
        gather_release(&g);
    }
    asd_request_release(&request);
    bigmem_free(frame);
}

static inline void on_window(struct net_conn *conn, uint32_t frame_bytes, uint32_t window)
{
    struct fixture *f = net_conn_server_ctx(conn);

    assert_true(window <= NET_FRAMER_WINDOW_BYTES && window <= frame_bytes);
    f->windows++;
}

static inline void on_conn_close(struct net_conn *conn)
{
    ((struct fixture *)net_conn_server_ctx(conn))->closes++;
}

static const struct net_server_ops ops = {.on_preamble = on_preamble,
                                          .on_frame_window = on_window,
                                          .on_frame = on_frame,
                                          .on_close = on_conn_close};

/* ---- fixture ---- */

static inline struct net_tls *make(enum net_tls_role role, struct net_tls_files files)
{
    struct net_tls *tls = NULL;
    struct err e = {0};

    if (net_tls_new(role, &files, &tls, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    return tls;
}

static inline int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    certs_make(&f->certs);
    f->server_tls = make(NET_TLS_SERVER, certs_files(&f->certs, PAIR_SERVER));
    f->client_tls = make(NET_TLS_CLIENT, certs_files(&f->certs, PAIR_CLIENT));
    f->big = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++) {
        f->big[i] = (uint8_t)(i * 7 + i / 251);
    }
    f->addrs[TLS_ADDR] = raw_addr(0);
    net_addr_set_tls(&f->addrs[TLS_ADDR]);
    f->addrs[PLAIN_ADDR] = raw_addr(0);
    f->options = (struct net_server_options){.addrs = f->addrs,
                                             .addr_count = 2,
                                             .ops = &ops,
                                             .ctx = f,
                                             .tls = f->server_tls,
                                             .connections_max = 200,
                                             .frame_bytes_max = ASD_FRAME_BYTES_MAX,
                                             .frame_timeout_ms = 60000,
                                             .preamble_timeout_ms = 60000};
    *state = f;
    return 0;
}

static inline void start_server(struct fixture *f)
{
    struct err e;

    assert_int_equal(net_server_new(&f->loop, &f->options, &f->server, &e), 0);
}

static inline uint16_t port_of(const struct fixture *f, unsigned which)
{
    return net_server_port(f->server, which);
}

static inline void on_client_closed(void *ctx)
{
    ((struct fixture *)ctx)->client_closed = true;
}

static inline void close_client(struct fixture *f)
{
    f->client_closed = false;
    asd_client_close(f->client, on_client_closed, f);
    f->client = NULL;
    RAW_UNTIL(&f->loop, f->client_closed);
}

/* `tls` as the client is told; the port may be the wrong one for it. */
static inline void start_client(struct fixture *f, bool tls, uint16_t port)
{
    struct asd_client_options options = {
        .addr = raw_addr(port), .tls = f->client_tls, .connect_timeout_ms = 5000};

    if (tls) {
        net_addr_set_tls(&options.addr);
    }
    f->client = asd_client_new(&f->loop, &options);
}

static inline void start(struct fixture *f)
{
    start_server(f);
    start_client(f, true, port_of(f, TLS_ADDR));
}

static inline void on_server_closed(void *ctx)
{
    ((struct fixture *)ctx)->server_closed = true;
}

static inline void close_server(struct fixture *f)
{
    net_server_close(f->server, 0, on_server_closed, f);
    f->server = NULL;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->client != NULL) {
        close_client(f);
    }
    if (f->server != NULL) {
        close_server(f);
    }
    raw_loop_close(&f->loop);
    assert_true(f->server_closed);
    for (unsigned i = 0; i < CALLS; i++) {
        gather_release(&f->answers[i].request);
        buf_release(&f->answers[i].payload);
        buf_release(&f->answers[i].call.failed_key);
    }
    net_tls_free(f->server_tls);
    net_tls_free(f->client_tls);
    certs_remove(&f->certs);
    free(f->big);
    free(f);
    return 0;
}

/* ---- calls ---- */

static inline void on_call(struct asd_call *call, int rc)
{
    struct answer *a = container_of(call, struct answer, call);

    a->rc = rc;
    a->count++;
    a->done = true;
    if (rc == 0) {
        buf_put(&a->payload, call->reply.pos, rd_left(&call->reply));
    }
}

static inline void call(struct fixture *f, unsigned i, uint32_t code)
{
    struct asd_update update = {.key = slice_str("k"), .value = slice_of(f->big, BIG)};
    struct slice key = slice_str("k");
    struct asd_request request = {.code = code};
    struct answer *a = &f->answers[i];

    if (code == ASD_APPLY) {
        request.apply.updates = &update;
        request.apply.update_count = 1;
    } else if (code == ASD_MULTI_GET) {
        request.keys.items = &key;
        request.keys.count = 1;
    }
    gather_release(&a->request);
    a->request = (struct gather){0};
    buf_release(&a->payload);
    a->count = 0;
    a->done = false;
    asd_request_encode(&request, &a->request);
    assert_int_equal(asd_client_call(f->client, &a->call, &a->request, 60000, on_call), 0);
}

static inline void wait_for(struct fixture *f, unsigned i)
{
    loop_run_until(&f->loop, &f->answers[i].done); /* its time ends it, if nothing else does */
}

static inline void expect_ok(struct fixture *f, unsigned i)
{
    wait_for(f, i);
    if (f->answers[i].rc != 0) {
        fail_msg("%s", f->answers[i].call.err.msg);
    }
}

static inline void expect_text(struct fixture *f, unsigned i, int rc, const char *text)
{
    wait_for(f, i);
    if (f->answers[i].rc != rc || strstr(f->answers[i].call.err.msg, text) == NULL) {
        fail_msg("want %d '%s', have %d '%s'", rc, text, f->answers[i].rc,
                 f->answers[i].call.err.msg);
    }
}

static inline void expect_big(struct fixture *f, unsigned i)
{
    expect_ok(f, i);
    assert_int_equal(f->answers[i].payload.len, BIG);
    assert_memory_equal(f->answers[i].payload.data, f->big, BIG);
}

#define TLS_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
