/* The server and the ASD client over TLS: what they do without it, and who is refused. */
#include "net/asd_client.h"
#include "net/framer.h"
#include "net/server.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "unit/net/certs_fixture.h"
#include "unit/net/tls_peer.h"
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
    int log_fd, stderr_fd; /* -1: not captured */
};

/* ---- the server ---- */

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
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

static void on_sent(void *ctx)
{
    ((struct fixture *)ctx)->sents++;
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
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

static void on_window(struct net_conn *conn, uint32_t frame_bytes, uint32_t window)
{
    struct fixture *f = net_conn_server_ctx(conn);

    assert_true(window <= NET_FRAMER_WINDOW_BYTES && window <= frame_bytes);
    f->windows++;
}

static void on_conn_close(struct net_conn *conn)
{
    ((struct fixture *)net_conn_server_ctx(conn))->closes++;
}

static const struct net_server_ops ops = {.on_preamble = on_preamble,
                                          .on_frame_window = on_window,
                                          .on_frame = on_frame,
                                          .on_close = on_conn_close};

/* ---- fixture ---- */

static struct net_tls *make(enum net_tls_role role, struct net_tls_files files)
{
    struct net_tls *tls = NULL;
    struct err e = {0};

    if (net_tls_new(role, &files, &tls, &e) != 0) {
        fail_msg("%s", e.msg);
    }
    return tls;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    certs_make(&f->certs);
    f->log_fd = -1;
    f->stderr_fd = -1;
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

static void start_server(struct fixture *f)
{
    struct err e;

    assert_int_equal(net_server_new(&f->loop, &f->options, &f->server, &e), 0);
}

static uint16_t port_of(const struct fixture *f, unsigned which)
{
    return net_server_port(f->server, which);
}

static void on_client_closed(void *ctx)
{
    ((struct fixture *)ctx)->client_closed = true;
}

static void close_client(struct fixture *f)
{
    f->client_closed = false;
    asd_client_close(f->client, on_client_closed, f);
    f->client = NULL;
    RAW_UNTIL(&f->loop, f->client_closed);
}

/* `tls` as the client is told; the port may be the wrong one for it. */
static void start_client(struct fixture *f, bool tls, uint16_t port)
{
    struct asd_client_options options = {
        .addr = raw_addr(port), .tls = f->client_tls, .connect_timeout_ms = 5000};

    if (tls) {
        net_addr_set_tls(&options.addr);
    }
    f->client = asd_client_new(&f->loop, &options);
}

static void start(struct fixture *f)
{
    start_server(f);
    start_client(f, true, port_of(f, TLS_ADDR));
}

static void on_server_closed(void *ctx)
{
    ((struct fixture *)ctx)->server_closed = true;
}

static void close_server(struct fixture *f)
{
    net_server_close(f->server, 0, on_server_closed, f);
    f->server = NULL;
}

static int teardown(void **state)
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

/* ---- the log ---- */

static void capture_log(struct fixture *f)
{
    char *path = tempdir_path(f->certs.dir, "log");

    f->stderr_fd = dup(STDERR_FILENO);
    f->log_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    dup2(f->log_fd, STDERR_FILENO);
    free(path);
}

/* One line of the log says `text`, and none of the others warns. */
static void expect_logged(struct fixture *f, const char *text)
{
    char log[4096];
    ssize_t n;
    unsigned warnings = 0;

    dup2(f->stderr_fd, STDERR_FILENO);
    n = pread(f->log_fd, log, sizeof log - 1, 0);
    close(f->log_fd);
    close(f->stderr_fd);
    log[n > 0 ? n : 0] = '\0';
    for (const char *at = log; (at = strstr(at, " warn net: ")) != NULL; at++) {
        warnings++;
    }
    if (strstr(log, text) == NULL || warnings != 1) {
        fail_msg("want '%s' once in the log:\n%s", text, log);
    }
}

/* ---- calls ---- */

static void on_call(struct asd_call *call, int rc)
{
    struct answer *a = container_of(call, struct answer, call);

    a->rc = rc;
    a->count++;
    a->done = true;
    if (rc == 0) {
        buf_put(&a->payload, call->reply.pos, rd_left(&call->reply));
    }
}

static void call(struct fixture *f, unsigned i, uint32_t code)
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

static void wait_for(struct fixture *f, unsigned i)
{
    loop_run_until(&f->loop, &f->answers[i].done); /* its time ends it, if nothing else does */
}

static void expect_ok(struct fixture *f, unsigned i)
{
    wait_for(f, i);
    if (f->answers[i].rc != 0) {
        fail_msg("%s", f->answers[i].call.err.msg);
    }
}

static void expect_text(struct fixture *f, unsigned i, int rc, const char *text)
{
    wait_for(f, i);
    if (f->answers[i].rc != rc || strstr(f->answers[i].call.err.msg, text) == NULL) {
        fail_msg("want %d '%s', have %d '%s'", rc, text, f->answers[i].rc,
                 f->answers[i].call.err.msg);
    }
}

static void expect_big(struct fixture *f, unsigned i)
{
    expect_ok(f, i);
    assert_int_equal(f->answers[i].payload.len, BIG);
    assert_memory_equal(f->answers[i].payload.data, f->big, BIG);
}

/* ---- as without TLS ---- */

static void many_requests_of_every_size_go_both_ways(void **state)
{
    struct fixture *f = *state;

    start(f);
    for (unsigned i = 0; i < CALLS; i++) {
        call(f, i, i % 16 == 3 ? ASD_APPLY : i % 16 == 7 ? ASD_MULTI_GET : ASD_GET_VERSION);
    }
    for (unsigned i = 0; i < CALLS; i++) {
        expect_ok(f, i);
        if (i % 16 == 7) {
            expect_big(f, i);
        }
    }
    assert_int_equal(f->opens, 1);
    RAW_UNTIL(&f->loop, f->sents == 4); /* replies are the owner's again */
    assert_true(f->windows >= 4 * (BIG / NET_FRAMER_WINDOW_BYTES));
}

static void a_canceled_call_gives_its_memory_back_and_harms_no_other(void **state)
{
    struct fixture *f = *state;

    start(f);
    call(f, 0, ASD_GET_VERSION);
    expect_ok(f, 0);
    call(f, 1, ASD_APPLY);
    raw_turn(&f->loop); /* partly sent */
    asd_call_cancel(&f->answers[1].call);
    expect_text(f, 1, ERR_CANCELED, "");
    gather_release(&f->answers[1].request);
    f->answers[1].request = (struct gather){0};
    call(f, 2, ASD_GET_DISK_USAGE);
    asd_call_cancel(&f->answers[2].call);
    call(f, 3, ASD_GET_VERSION);
    expect_ok(f, 3);
    expect_text(f, 2, ERR_CANCELED, "");
    assert_int_equal(f->opens, 1);
}

static void a_paused_connection_hands_over_nothing(void **state)
{
    struct fixture *f = *state;

    start(f);
    call(f, 0, ASD_SET_FULL);
    call(f, 1, ASD_APPLY);
    call(f, 2, ASD_GET_VERSION);
    expect_ok(f, 0);
    raw_turn_for(&f->loop, 50);
    assert_int_equal(f->frames, 1);
    net_conn_pause(f->paused, false);
    expect_ok(f, 1);
    expect_ok(f, 2);
    assert_int_equal(f->frames, 3);
}

static struct tls_peer connect_peer(struct fixture *f, size_t step)
{
    struct tls_peer p =
        tls_peer_of(&f->loop, raw_connect(port_of(f, TLS_ADDR)), f->client_tls, "127.0.0.1");

    p.step = step;
    return p;
}

static void a_peer_that_sends_byte_by_byte_is_served(void **state)
{
    struct fixture *f = *state;
    struct buf b = {0};
    uint8_t reply[14];
    struct tls_peer p;
    int rc;

    start_server(f);
    p = connect_peer(f, 1);
    assert_int_equal(tls_peer_shake(&p), 0);
    tls_peer_enter(&p);
    put_request(&b, 5, ASD_GET_VERSION);
    tls_peer_say(&p, b.data, b.len);
    assert_int_equal(tls_peer_hear(&p, reply, sizeof reply, &rc), sizeof reply);
    assert_memory_equal(reply + 12, "ok", 2);
    buf_release(&b);
    tls_peer_close(&p);
}

static void a_peer_that_takes_no_replies_is_not_read_any_further(void **state)
{
    struct fixture *f = *state;
    struct slice key = slice_str("k");
    struct asd_request request = {.code = ASD_MULTI_GET, .keys = {.items = &key, .count = 1}};
    uint8_t *got = mem_alloc(BIG + 12);
    struct tls_peer p;
    unsigned frames;
    int rc;

    start_server(f);
    p = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&p), 0);
    tls_peer_enter(&p);
    for (unsigned i = 0; i < 4; i++) {
        struct gather g = {0};
        uint8_t head[ASD_HEAD_BYTES_MAX];
        const struct iovec *iov;
        size_t count, bytes, head_bytes;

        asd_request_encode(&request, &g);
        gather_finish(&g, &iov, &count, &bytes);
        head_bytes = asd_request_head(head, ASD_VERSION_2, i, bytes);
        tls_peer_say(&p, head, head_bytes);
        for (size_t k = 0; k < count; k++) {
            tls_peer_say(&p, iov[k].iov_base, iov[k].iov_len);
        }
        gather_release(&g);
        raw_turn_for(&f->loop, 20);
    }
    frames = f->frames;
    assert_int_equal(frames, 1); /* BIG is more than may wait */
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(tls_peer_hear(&p, got, BIG + 12, &rc), BIG + 12);
        assert_int_equal(get_u32le(got + 4), i);
        assert_memory_equal(got + 12, f->big, BIG);
    }
    assert_int_equal(f->frames, 4);
    tls_peer_close(&p);
    free(got);
}

static void who_does_not_finish_the_handshake_in_time_is_dropped(void **state)
{
    struct fixture *f = *state;
    struct tls_peer silent, slow;

    f->options.preamble_timeout_ms = 100;
    start_server(f);
    silent = connect_peer(f, 0);
    slow = connect_peer(f, 0);
    assert_int_equal(net_tls_handshake(slow.session), 0);
    tls_peer_flush(&slow); /* and no more */
    RAW_UNTIL(&f->loop, f->closes == 2);
    assert_int_equal(net_server_connections(f->server), 0);
    tls_peer_close(&silent);
    tls_peer_close(&slow);
}

/* ---- how a connection ends ---- */

static void the_server_says_that_it_ends(void **state)
{
    struct fixture *f = *state;
    struct tls_peer p;
    uint8_t byte;
    int rc;

    start_server(f);
    p = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&p), 0);
    tls_peer_enter(&p);
    close_server(f);
    assert_int_equal(tls_peer_hear(&p, &byte, 1, &rc), 0);
    assert_int_equal(rc, UV_EOF);
    tls_peer_close(&p);
}

static void a_peer_that_ends_or_is_cut_is_forgotten(void **state)
{
    struct fixture *f = *state;

    start_server(f);
    for (unsigned cut = 0; cut < 2; cut++) {
        struct tls_peer p = connect_peer(f, 0);

        assert_int_equal(tls_peer_shake(&p), 0);
        tls_peer_enter(&p);
        if (!cut) {
            net_tls_end(p.session);
            tls_peer_flush(&p);
            RAW_UNTIL(&f->loop, f->closes == cut + 1);
        }
        tls_peer_close(&p);
        RAW_UNTIL(&f->loop, f->closes == cut + 1);
    }
}

/* They come together, and the second request waits. */
static void the_last_word_of_a_peer_does_not_overtake_its_requests(void **state)
{
    struct fixture *f = *state;
    uint8_t replies[2 * 14];
    struct buf b = {0};
    struct tls_peer p;
    int rc;

    start_server(f);
    p = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&p), 0);
    tls_peer_enter(&p);
    buf_put(&b, (uint8_t[]){9, 0, 0, 0, 1, 0, 0, 0, ASD_SET_FULL, 0, 0, 0, true}, 13);
    put_request(&b, 2, ASD_GET_VERSION);
    assert_int_equal(net_tls_write(p.session, b.data, b.len), b.len);
    net_tls_end(p.session);
    tls_peer_flush(&p);
    RAW_UNTIL(&f->loop, f->paused != NULL);
    raw_turn_for(&f->loop, 20);
    net_conn_pause(f->paused, false);
    assert_int_equal(tls_peer_hear(&p, replies, sizeof replies, &rc), sizeof replies);
    assert_int_equal(get_u32le(replies + 14 + 4), 2);
    RAW_UNTIL(&f->loop, f->closes == 1);
    buf_release(&b);
    tls_peer_close(&p);
}

/* The test plays the ASD: it accepts, and cuts the connection in the middle of a reply. */
static void a_reply_that_is_cut_is_an_error(void **state)
{
    struct fixture *f = *state;
    uint16_t port;
    int listener = raw_listen(&port);
    struct buf b = {0};
    uint8_t data[64];
    struct tls_peer p;
    int rc;

    start_server(f);
    start_client(f, true, port);
    call(f, 0, ASD_GET_VERSION);
    p = tls_peer_of(&f->loop, raw_accept(&f->loop, listener), f->server_tls, NULL);
    assert_int_equal(tls_peer_shake(&p), 0);
    assert_int_equal(tls_peer_hear(&p, data, 9, &rc), 9);
    asd_hello_put(&b, slice_str("asd_1"));
    tls_peer_say(&p, b.data, b.len);
    assert_int_equal(tls_peer_hear(&p, data, 12, &rc), 12);
    tls_peer_say(&p, "\x20\0\0\0\0\0", 6); /* of 36 bytes */
    raw_turn_for(&f->loop, 10);
    assert_int_equal(f->answers[0].count, 0);
    tls_peer_close(&p);
    expect_text(f, 0, UV_ECONNRESET, "connection lost");
    assert_true(f->answers[0].call.maybe_executed);
    buf_release(&b);
    close(listener);
}

/* ---- who is refused ---- */

static void change(struct net_tls *tls, struct net_tls_files files)
{
    struct err e;

    assert_int_equal(net_tls_reload(tls, &files, &e), 0);
}

static void expect_refused(struct fixture *f, int rc, const char *client, const char *server)
{
    capture_log(f);
    call(f, 0, ASD_GET_VERSION);
    expect_text(f, 0, rc, client);
    RAW_UNTIL(&f->loop, net_server_connections(f->server) == 0);
    expect_logged(f, server);
    assert_int_equal(f->opens, 0);
}

static void a_client_without_a_certificate_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, (struct net_tls_files){.ca_cert = f->certs.ca});
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer refuses: certificate required",
                   "why=\"TLS: the peer has no certificate\"");
}

static void a_client_of_another_ca_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, certs_files(&f->certs, PAIR_STRANGER));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer refuses: unknown ca",
                   "why=\"TLS: the peer's certificate: unable to get local issuer certificate\"");
}

static void a_client_whose_certificate_has_expired_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, certs_files(&f->certs, PAIR_EXPIRED));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer refuses: certificate expired",
                   "why=\"TLS: the peer's certificate: certificate has expired\"");
}

static void a_server_for_another_address_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->server_tls, certs_files(&f->certs, PAIR_ELSEWHERE));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer's certificate: IP address mismatch",
                   "why=\"TLS: the peer refuses: ");
}

static void a_server_of_another_ca_is_refused(void **state)
{
    struct fixture *f = *state;

    change(f->client_tls, certs_files(&f->certs, PAIR_STRANGER));
    change(f->server_tls, certs_files(&f->certs, PAIR_EXPIRED));
    start(f);
    expect_refused(f, ERR_TLS, "TLS: the peer's certificate: certificate has expired",
                   "why=\"TLS: the peer refuses: certificate expired\"");
}

static void plain_words_to_the_tls_port_are_refused(void **state)
{
    struct fixture *f = *state;

    start_server(f);
    start_client(f, false, port_of(f, TLS_ADDR));
    expect_refused(f, ERR_TLS, "speaks TLS, but was asked without",
                   "why=\"TLS: the peer speaks something else\"");
}

static void tls_to_the_plain_port_is_refused(void **state)
{
    struct fixture *f = *state;

    start_server(f);
    start_client(f, true, port_of(f, PLAIN_ADDR));
    expect_refused(f, UV_ECONNRESET, "closed in the TLS handshake: does this port speak TLS?",
                   "why=\"speaks TLS to a plain port\"");
}

static void a_client_without_a_context_says_so(void **state)
{
    struct fixture *f = *state;
    struct asd_client_options options = {.addr = raw_addr(1)};

    start_server(f);
    net_addr_set_tls(&options.addr);
    f->client = asd_client_new(&f->loop, &options);
    call(f, 0, ASD_GET_VERSION);
    expect_text(f, 0, ERR_CONFIG, "no certificates are configured here");
}

/* ---- reload, many ---- */

static void a_reload_leaves_open_connections_alone(void **state)
{
    struct fixture *f = *state;

    start(f);
    call(f, 0, ASD_GET_VERSION);
    expect_ok(f, 0);
    change(f->server_tls, certs_files(&f->certs, PAIR_ELSEWHERE));
    call(f, 1, ASD_GET_VERSION);
    expect_ok(f, 1);
    close_client(f);
    start_client(f, true, port_of(f, TLS_ADDR));
    call(f, 2, ASD_GET_VERSION);
    expect_text(f, 2, ERR_TLS, "IP address mismatch");
    change(f->server_tls, certs_files(&f->certs, PAIR_SERVER));
    call(f, 3, ASD_GET_VERSION);
    expect_ok(f, 3);
    assert_int_equal(f->opens, 2);
}

/* All begin at once; those who are already in are answered between the handshakes. */
static void many_handshakes_at_once_take_turns(void **state)
{
    enum { PEERS = 50 };
    struct fixture *f = *state;
    struct tls_peer peers[PEERS];
    unsigned served = 0;

    start(f);
    call(f, 0, ASD_GET_VERSION);
    expect_ok(f, 0);
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i] = connect_peer(f, 0);
        assert_int_equal(net_tls_handshake(peers[i].session), 0);
        tls_peer_flush(&peers[i]);
    }
    call(f, 0, ASD_GET_VERSION);
    for (unsigned turns = 0; f->answers[0].count == 0 && turns < 20; turns++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        uint8_t byte;

        served += recv(peers[i].fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1;
    }
    assert_int_equal(f->answers[0].count, 1);
    assert_true(served < PEERS);
    for (unsigned i = 0; i < PEERS; i++) {
        assert_int_equal(tls_peer_shake(&peers[i]), 0);
        tls_peer_enter(&peers[i]);
        tls_peer_close(&peers[i]);
    }
}

static void handshakes_of_peers_that_have_left_take_turns_too(void **state)
{
    enum { PEERS = 50 };
    struct fixture *f = *state;
    struct tls_peer peers[PEERS];

    start_server(f);
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i] = connect_peer(f, 0);
        assert_int_equal(net_tls_handshake(peers[i].session), 0);
        tls_peer_flush(&peers[i]);
        assert_int_equal(shutdown(peers[i].fd, SHUT_WR), 0);
    }
    for (unsigned closes = 0; closes < PEERS; closes = f->closes) {
        raw_turn(&f->loop);
        assert_true(f->closes <= closes + 1);
    }
    for (unsigned i = 0; i < PEERS; i++) {
        tls_peer_close(&peers[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_requests_of_every_size_go_both_ways),
        TEST(a_canceled_call_gives_its_memory_back_and_harms_no_other),
        TEST(a_paused_connection_hands_over_nothing),
        TEST(a_peer_that_sends_byte_by_byte_is_served),
        TEST(a_peer_that_takes_no_replies_is_not_read_any_further),
        TEST(who_does_not_finish_the_handshake_in_time_is_dropped),
        TEST(the_server_says_that_it_ends),
        TEST(a_peer_that_ends_or_is_cut_is_forgotten),
        TEST(the_last_word_of_a_peer_does_not_overtake_its_requests),
        TEST(a_reply_that_is_cut_is_an_error),
        TEST(a_client_without_a_certificate_is_refused),
        TEST(a_client_of_another_ca_is_refused),
        TEST(a_client_whose_certificate_has_expired_is_refused),
        TEST(a_server_for_another_address_is_refused),
        TEST(a_server_of_another_ca_is_refused),
        TEST(plain_words_to_the_tls_port_are_refused),
        TEST(tls_to_the_plain_port_is_refused),
        TEST(a_client_without_a_context_says_so),
        TEST(a_reload_leaves_open_connections_alone),
        TEST(many_handshakes_at_once_take_turns),
        TEST(handshakes_of_peers_that_have_left_take_turns_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
