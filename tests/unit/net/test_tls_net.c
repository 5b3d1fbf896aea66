/* The server and the ASD client over TLS: what they do without it, and handshakes. */
#include "unit/net/tls_fixture.h"
#include "unit/net/tls_peer.h"

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

/* Asks for BIG. */
static void ask_big(struct tls_peer *p, uint32_t id)
{
    struct slice key = slice_str("k");
    struct asd_request request = {.code = ASD_MULTI_GET, .keys = {.items = &key, .count = 1}};
    struct gather g = {0};
    uint8_t head[ASD_HEAD_BYTES_MAX];
    const struct iovec *iov;
    size_t count, bytes, head_bytes;

    asd_request_encode(&request, &g);
    gather_finish(&g, &iov, &count, &bytes);
    head_bytes = asd_request_head(head, ASD_VERSION_2, id, bytes);
    tls_peer_say(p, head, head_bytes);
    for (size_t k = 0; k < count; k++) {
        tls_peer_say(p, iov[k].iov_base, iov[k].iov_len);
    }
    gather_release(&g);
}

static void hear_big(struct fixture *f, struct tls_peer *p, uint32_t id)
{
    uint8_t *got = mem_alloc(BIG + 12);
    int rc;

    assert_int_equal(tls_peer_hear(p, got, BIG + 12, &rc), BIG + 12);
    assert_int_equal(get_u32le(got + 4), id);
    assert_memory_equal(got + 12, f->big, BIG);
    free(got);
}

static void a_peer_that_takes_no_replies_is_not_read_any_further(void **state)
{
    struct fixture *f = *state;
    struct tls_peer p;

    start_server(f);
    p = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&p), 0);
    tls_peer_enter(&p);
    for (uint32_t i = 0; i < 4; i++) {
        ask_big(&p, i);
        raw_turn_for(&f->loop, 20);
    }
    assert_int_equal(f->frames, 1); /* BIG is more than may wait */
    for (uint32_t i = 0; i < 4; i++) {
        hear_big(f, &p, i);
    }
    assert_int_equal(f->frames, 4);
    tls_peer_close(&p);
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

static void who_ends_behind_its_requests_gets_every_reply(void **state)
{
    struct fixture *f = *state;
    struct tls_peer p;
    uint8_t byte;
    int rc;

    start_server(f);
    p = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&p), 0);
    tls_peer_enter(&p);
    ask_big(&p, 1);
    net_tls_end(p.session);
    tls_peer_flush(&p);
    assert_int_equal(shutdown(p.fd, SHUT_WR), 0);
    raw_turn_for(&f->loop, 50);
    hear_big(f, &p, 1);
    assert_int_equal(tls_peer_hear(&p, &byte, 1, &rc), 0);
    RAW_UNTIL(&f->loop, f->closes == 1);
    tls_peer_close(&p);
}

/* ---- many ---- */

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

/* ---- places for handshakes ---- */

static void the_longest_silent_handshake_gives_way_to_a_new_one(void **state)
{
    enum { PLACES = 3 };
    struct fixture *f = *state;
    struct tls_peer peers[PLACES], late;
    uint8_t byte;

    f->options.handshakes_max = PLACES;
    start_server(f);
    for (unsigned i = 0; i < PLACES; i++) {
        peers[i] = connect_peer(f, 0);
        RAW_UNTIL(&f->loop, net_server_connections(f->server) == i + 1);
    }
    assert_int_equal(net_tls_handshake(peers[0].session), 0);
    tls_peer_flush(&peers[0]); /* of the others, the second came first */
    RAW_UNTIL(&f->loop, recv(peers[0].fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1);
    late = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&late), 0);
    tls_peer_enter(&late);
    assert_true(raw_is_closed_by_peer(&f->loop, peers[1].fd));
    assert_int_equal(tls_peer_shake(&peers[0]), 0);
    assert_int_equal(tls_peer_shake(&peers[2]), 0);
    assert_int_equal(f->closes, 1);
    tls_peer_close(&late);
    for (unsigned i = 0; i < PLACES; i++) {
        tls_peer_close(&peers[i]);
    }
}

/* However many they are, there is a connection left for who speaks. */
static void silent_ones_hold_at_most_half_of_the_connections(void **state)
{
    enum { SILENT = 10 };
    struct fixture *f = *state;
    struct tls_peer late;
    int fds[SILENT];

    f->options.connections_max = 4;
    start_server(f);
    for (unsigned i = 0; i < SILENT; i++) {
        fds[i] = raw_connect(port_of(f, TLS_ADDR));
        RAW_UNTIL(&f->loop, f->closes + net_server_connections(f->server) == i + 1);
    }
    assert_int_equal(net_server_connections(f->server), 2);
    late = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&late), 0);
    tls_peer_enter(&late);
    tls_peer_close(&late);
    for (unsigned i = 0; i < SILENT; i++) {
        close(fds[i]);
    }
}

/* Its last word and the new connection are there together. */
static void a_handshake_that_waits_for_its_turn_keeps_its_place(void **state)
{
    struct fixture *f = *state;
    struct tls_peer p, late;
    int fd;

    f->options.handshakes_max = 1;
    start_server(f);
    p = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&p), 0); /* the last word was sent, the loop has not turned */
    fd = raw_connect(port_of(f, TLS_ADDR));
    assert_true(raw_is_closed_by_peer(&f->loop, fd));
    tls_peer_enter(&p);
    assert_int_equal(f->closes, 0); /* who is refused never was */
    late = connect_peer(f, 0);
    assert_int_equal(tls_peer_shake(&late), 0);
    close(fd);
    tls_peer_close(&p);
    tls_peer_close(&late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TLS_TEST(many_requests_of_every_size_go_both_ways),
        TLS_TEST(a_canceled_call_gives_its_memory_back_and_harms_no_other),
        TLS_TEST(a_paused_connection_hands_over_nothing),
        TLS_TEST(a_peer_that_sends_byte_by_byte_is_served),
        TLS_TEST(a_peer_that_takes_no_replies_is_not_read_any_further),
        TLS_TEST(who_does_not_finish_the_handshake_in_time_is_dropped),
        TLS_TEST(the_server_says_that_it_ends),
        TLS_TEST(a_peer_that_ends_or_is_cut_is_forgotten),
        TLS_TEST(the_last_word_of_a_peer_does_not_overtake_its_requests),
        TLS_TEST(a_reply_that_is_cut_is_an_error),
        TLS_TEST(who_ends_behind_its_requests_gets_every_reply),
        TLS_TEST(many_handshakes_at_once_take_turns),
        TLS_TEST(handshakes_of_peers_that_have_left_take_turns_too),
        TLS_TEST(the_longest_silent_handshake_gives_way_to_a_new_one),
        TLS_TEST(silent_ones_hold_at_most_half_of_the_connections),
        TLS_TEST(a_handshake_that_waits_for_its_turn_keeps_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
