#include <sys/un.h>

#include "unit/net/asd_fixture.h"

/* ---- version 2 ---- */

static void replies_may_overtake_one_another(void **state)
{
    struct fixture *f = *state;
    uint32_t ids[3];

    for (unsigned i = 0; i < 3; i++) {
        call_version(f, i, 5000);
    }
    accept_v2(f);
    for (unsigned i = 0; i < 3; i++) {
        ids[i] = read_version_request(f);
    }
    answer(f, ids[2], "two");
    wait_for(f, 2);
    answer(f, ids[0], "zero");
    answer(f, ids[1], "one");
    wait_for(f, 1);
    assert_payload(f, 0, "zero");
    assert_payload(f, 1, "one");
    assert_payload(f, 2, "two");
    assert_string_equal(asd_client_long_id(f->client), "asd_1");
}

static uint8_t *detached;

static void on_detach(struct asd_call *call, int rc)
{
    struct answer *a = container_of(call, struct answer, call);

    a->rc = rc;
    a->count++;
    assert_int_equal(rd_left(&call->reply), 4);
    detached = asd_call_detach_reply(call);
}

static void a_reply_can_be_kept(void **state)
{
    struct fixture *f = *state;
    struct asd_request request = {.code = ASD_GET_VERSION};

    asd_request_encode(&request, &f->answers[0].request);
    assert_int_equal(
        asd_client_call(f->client, &f->answers[0].call, &f->answers[0].request, 5000, on_detach),
        0);
    accept_v2(f);
    answer(f, read_version_request(f), "kept");
    wait_for(f, 0);
    assert_memory_equal(detached + 8, "kept", 4);
    free(detached);
}

static void a_big_request_arrives_whole(void **state)
{
    struct fixture *f = *state;
    uint8_t *got = mem_alloc(BIG + 1000);
    uint32_t bytes;

    call_big(f, 0, 5000);
    call_version(f, 1, 5000);
    accept_v2(f);
    bytes = read_frame(f, got, BIG + 1000);
    assert_true(bytes > BIG);
    assert_non_null(memmem(got, bytes, f->big, BIG));
    answer(f, read_version_request(f), "v");
    wait_for(f, 1);
    answer(f, get_u32le(got), "");
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, 0);
    free(got);
}

static void error_replies_become_codes_and_name_the_asd(void **state)
{
    static const struct {
        int32_t rc;
        int code;
        bool maybe;
    } cases[] = {{ASD_RC_ASSERT_FAILED, ERR_ASSERT_FAILED, false},
                 {ASD_RC_FULL, ERR_FULL, false},
                 {ASD_RC_UNKNOWN_OPERATION, ERR_UNKNOWN_OPERATION, false},
                 {ASD_RC_UNKNOWN, ERR_REMOTE, true},
                 {ASD_RC_CORRUPT, ERR_CORRUPT, true},
                 {ASD_RC_BUSY, ERR_BUSY, false}};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 6; i++) {
        call_version(f, i, 5000);
    }
    accept_v2(f);
    for (unsigned i = 0; i < 6; i++) {
        struct answer *a = &f->answers[i];
        struct buf b = {0};

        asd_error_put(&b, 2, read_version_request(f), cases[i].rc, slice_str("the key"));
        raw_send(&f->loop, f->peer, b.data, b.len);
        buf_release(&b);
        wait_for(f, i);
        assert_int_equal(a->rc, cases[i].code);
        assert_int_equal(a->call.err.code, cases[i].code);
        assert_non_null(strstr(a->call.err.msg, f->options.addr.text));
        assert_int_equal(a->call.maybe_executed, cases[i].maybe);
        if (a->rc == ERR_ASSERT_FAILED || a->rc == ERR_CORRUPT) {
            assert_true(slice_eq(slice_buf(&a->call.failed_key), slice_str("the key")));
        }
    }
}

static void a_late_reply_is_dropped_and_the_connection_stays(void **state)
{
    struct fixture *f = *state;
    uint32_t late;

    call_version(f, 0, 150);
    accept_v2(f);
    late = read_version_request(f);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_true(f->answers[0].call.maybe_executed);
    call_version(f, 1, 5000); /* takes the same slot, under another id */
    answer(f, late, "late");
    answer(f, read_version_request(f), "fresh");
    wait_for(f, 1);
    assert_payload(f, 1, "fresh");
}

/* ---- deadlines and cancels in every state ---- */

static void a_deadline_passes_while_connecting(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 100); /* the kernel accepts; nobody answers the preamble */
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_false(f->answers[0].call.maybe_executed);
}

static void a_server_that_does_not_shake_hands_is_given_up(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 60000);
    wait_for(f, 0); /* connect_timeout_ms is 300 */
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_false(f->answers[0].call.maybe_executed);
    assert_non_null(strstr(f->answers[0].call.err.msg, "connect"));
}

static void cancel_before_the_connection_is_answered_later(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 5000);
    call_version(f, 1, 5000);
    asd_call_cancel(&f->answers[0].call);
    asd_call_cancel(&f->answers[0].call);
    assert_int_equal(f->answers[0].count, 0);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
    assert_false(f->answers[0].call.maybe_executed);
    accept_v2(f);
    answer(f, read_version_request(f), "ok");
    wait_for(f, 1);
    assert_payload(f, 1, "ok");
}

static void cancel_after_sending_leaves_it_in_doubt(void **state)
{
    struct fixture *f = *state;
    uint32_t id;

    call_version(f, 0, 5000);
    accept_v2(f);
    id = read_version_request(f);
    asd_call_cancel(&f->answers[0].call);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
    assert_true(f->answers[0].call.maybe_executed);
    answer(f, id, "late");
    call_version(f, 1, 5000);
    answer(f, read_version_request(f), "ok");
    wait_for(f, 1);
}

/* The value's memory is the user's again in the callback, so it is overwritten there and then:
 * the peer must still get the old bytes, and the next frame behind them. */
static void cancel_while_partly_sent_gives_the_memory_back(void **state)
{
    struct fixture *f = *state;
    uint8_t *got = mem_alloc(BIG + 1000);
    uint32_t bytes;

    call_big(f, 0, 5000);
    call_big(f, 1, 5000); /* not begun: never appears */
    call_version(f, 2, 5000);
    accept_v2(f);
    raw_turn_for(&f->loop, 50);
    asd_call_cancel(&f->answers[0].call);
    asd_call_cancel(&f->answers[1].call);
    wait_for(f, 0);
    wait_for(f, 1);
    assert_true(f->answers[0].call.maybe_executed);
    assert_false(f->answers[1].call.maybe_executed);
    memset(f->big, 'x', BIG);
    bytes = read_frame(f, got, BIG + 1000);
    memset(f->big, 'z', BIG);
    assert_non_null(memmem(got, bytes, f->big, BIG));
    answer(f, read_version_request(f), "ok");
    wait_for(f, 2);
    assert_payload(f, 2, "ok");
    free(got);
}

static void a_deadline_passes_while_partly_sent(void **state)
{
    struct fixture *f = *state;

    call_big(f, 0, 150);
    accept_v2(f);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    memset(f->big, 'x', BIG);
}

static void closing_cancels_everything(void **state)
{
    struct fixture *f = *state;
    struct asd_call refused;

    call_big(f, 0, 5000);
    call_version(f, 1, 5000);
    accept_v2(f);
    raw_turn_for(&f->loop, 50);
    asd_client_close(f->client, on_client_closed, f);
    assert_int_equal(f->answers[0].count, 0);
    assert_int_equal(asd_client_call(f->client, &refused, &f->answers[0].request, 1, on_call),
                     ERR_CANCELED);
    f->client = NULL;
    wait_for(f, 0);
    wait_for(f, 1);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
    assert_int_equal(f->answers[1].rc, ERR_CANCELED);
    assert_false(f->answers[0].call.maybe_executed);
    RAW_UNTIL(&f->loop, f->closed);
}

static void closing_while_connecting_cancels_everything(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 5000);
    close_client(f);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
}

/* ---- losses ---- */

static void a_refused_connection_fails_at_once_and_is_tried_again(void **state)
{
    struct fixture *f = *state;
    uint16_t port = f->port;
    int fd;

    close(f->listener);
    f->listener = -1;
    call_version(f, 0, 60000);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ECONNREFUSED);
    assert_false(f->answers[0].call.maybe_executed);
    fd = raw_listen(&f->port);
    if (f->port != port) { /* the old port is taken by somebody else: rare */
        struct sockaddr_in sa = raw_loopback(port);

        close(fd);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
        assert_int_equal(listen(fd, 8), 0);
    }
    f->listener = fd;
    call_version(f, 1, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "back");
    wait_for(f, 1);
    assert_payload(f, 1, "back");
}

static void a_lost_connection_fails_what_was_sent_and_comes_back(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 5000);
    call_big(f, 1, 5000);
    accept_v2(f);
    read_version_request(f);
    close(f->peer);
    wait_for(f, 0);
    wait_for(f, 1);
    assert_true(f->answers[0].rc == UV_EOF || f->answers[0].rc == UV_ECONNRESET ||
                f->answers[0].rc == UV_EPIPE);
    assert_true(f->answers[0].call.maybe_executed);
    assert_false(f->answers[1].call.maybe_executed); /* half a frame is never executed */
    call_version(f, 2, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "back");
    wait_for(f, 2);
    assert_payload(f, 2, "back");
}

static void an_idle_loss_is_noticed_before_the_next_call(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "a");
    wait_for(f, 0);
    close(f->peer);
    raw_turn_for(&f->loop, 20);
    call_version(f, 1, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "b");
    wait_for(f, 1);
    assert_payload(f, 1, "b");
}

static void garbage_from_the_server_is_a_protocol_error(void **state)
{
    static const struct {
        const char *bytes;
        uint32_t len;
    } junk[] = {{"\xff\xff\xff\x7f", 4}, {"\x02\0\0\0ab", 6}, {"\x04\0\0\0abcd", 8}};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        call_version(f, i, 5000);
        accept_v2(f);
        read_version_request(f);
        raw_send(&f->loop, f->peer, junk[i].bytes, junk[i].len);
        wait_for(f, i);
        assert_int_equal(f->answers[i].rc, ERR_PROTOCOL);
        close(f->peer);
        f->peer = -1;
    }
    call_version(f, 3, 5000);
    assert_int_equal(accept_preamble(f), 2);
    raw_send(&f->loop, f->peer, "\0\0\0\0\xff\xff\0\0", 8); /* an id of 64 KiB */
    wait_for(f, 3);
    assert_int_equal(f->answers[3].rc, ERR_PROTOCOL);
    assert_false(f->answers[3].call.maybe_executed);
}

static void another_identity_is_an_error(void **state)
{
    struct fixture *f = *state;

    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    f->options.long_id = "asd_1";
    f->client = asd_client_new(&f->loop, &f->options);
    call_version(f, 0, 5000);
    assert_int_equal(accept_preamble(f), 2);
    hello(f, "asd_2");
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_IDENTITY);
    assert_false(f->answers[0].call.maybe_executed);
    assert_non_null(strstr(f->answers[0].call.err.msg, "asd_2"));
    close(f->peer);
    call_version(f, 1, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "ok");
    wait_for(f, 1);
    assert_payload(f, 1, "ok");
}

static struct net_addr socket_addr(void)
{
    struct net_addr addr;
    char uri[128];
    struct err e;

    snprintf(uri, sizeof uri, "unix:///tmp/albacore-asd-%d.sock", (int)getpid());
    assert_int_equal(net_addr_parse(&addr, uri, &e), 0);
    return addr;
}

static void listen_at(struct fixture *f, const struct net_addr *addr)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    close(f->listener);
    memcpy(sa.sun_path, addr->path, sizeof sa.sun_path);
    f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(f->listener, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(f->listener, 8), 0);
}

static void unix_sockets_work_too(void **state)
{
    struct fixture *f = *state;

    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    f->options.addr = socket_addr();
    f->client = asd_client_new(&f->loop, &f->options);
    call_version(f, 0, 5000); /* nobody has made the socket */
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ENOENT);

    listen_at(f, &f->options.addr);
    call_version(f, 1, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "ok");
    wait_for(f, 1);
    assert_payload(f, 1, "ok");
    unlink(f->options.addr.path);
}

static void a_socket_on_this_machine_goes_before_the_address(void **state)
{
    struct fixture *f = *state;
    struct net_addr local = socket_addr();

    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    f->options.local = &local;
    f->client = asd_client_new(&f->loop, &f->options);
    call_version(f, 0, 5000); /* nobody has made the socket */
    accept_v2(f);
    answer(f, read_version_request(f), "by tcp");
    wait_for(f, 0);
    assert_payload(f, 0, "by tcp");

    listen_at(f, &local); /* and no more at the address */
    call_version(f, 1, 5000);
    read_version_request(f);
    close(f->peer);
    wait_for(f, 1);
    call_version(f, 2, 5000);
    accept_v2(f);
    answer(f, read_version_request(f), "here");
    wait_for(f, 2);
    assert_payload(f, 2, "here");

    unlink(local.path); /* it ends: neither there nor there */
    close(f->listener);
    f->listener = -1;
    call_version(f, 3, 5000);
    read_version_request(f);
    close(f->peer);
    f->peer = -1;
    wait_for(f, 3);
    call_version(f, 4, 5000);
    wait_for(f, 4);
    assert_int_equal(f->answers[4].rc, UV_ECONNREFUSED);
    assert_non_null(strstr(f->answers[4].call.err.msg, f->options.addr.text));
}

/* Nobody listens at the first and nobody speaks at the second. The one that answered is tried first
 * from then on: the silent one is not connected again. */
static void another_address_is_tried_when_one_cannot_be_connected(void **state)
{
    struct fixture *f = *state;
    struct net_addr others[2];
    uint16_t dead_port, silent_port;
    int dead = raw_listen(&dead_port), silent = raw_listen(&silent_port);

    close(dead);
    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    others[0] = raw_addr(silent_port);
    others[1] = f->options.addr;
    f->options.addr = raw_addr(dead_port);
    f->options.others = others;
    f->options.other_count = 2;
    f->client = asd_client_new(&f->loop, &f->options);
    call_version(f, 0, 60000);
    accept_v2(f);
    answer(f, read_version_request(f), "third");
    wait_for(f, 0);
    assert_payload(f, 0, "third");

    close(raw_accept(&f->loop, silent));
    call_version(f, 1, 60000);
    read_version_request(f);
    close(f->peer);
    wait_for(f, 1);
    call_version(f, 2, 60000);
    accept_v2(f);
    answer(f, read_version_request(f), "again");
    wait_for(f, 2);
    assert_payload(f, 2, "again");
    assert_int_equal(accept4(silent, NULL, NULL, SOCK_CLOEXEC), -1);
    close(silent);
}

/* The message is of the last that was tried, and each is tried once. */
static void calls_fail_when_no_address_can_be_connected(void **state)
{
    struct fixture *f = *state;
    struct net_addr others[1];
    uint16_t port;

    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    close(raw_listen(&port));
    others[0] = raw_addr(port);
    close(f->listener);
    f->listener = -1;
    f->options.others = others;
    f->options.other_count = 1;
    f->client = asd_client_new(&f->loop, &f->options);
    for (unsigned i = 0; i < 2; i++) {
        call_version(f, i, 60000);
        wait_for(f, i);
        assert_int_equal(f->answers[i].rc, UV_ECONNREFUSED);
    }
    assert_non_null(strstr(f->answers[0].call.err.msg, others[0].text));
    assert_non_null(strstr(f->answers[1].call.err.msg, f->options.addr.text));
}

/* It has stopped, and would not answer by TCP, either. */
static void who_is_silent_on_this_machine_is_asked_once(void **state)
{
    struct fixture *f = *state;
    struct net_addr local = socket_addr();
    int tcp = dup(f->listener);

    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    f->options.local = &local;
    f->client = asd_client_new(&f->loop, &f->options);
    listen_at(f, &local);
    call_version(f, 0, 60000);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_int_equal(accept4(tcp, NULL, NULL, SOCK_CLOEXEC), -1);
    unlink(local.path);
    close(tcp);
}

static void calls_over_the_limit_are_refused(void **state)
{
    struct fixture *f = *state;
    struct asd_request request = {.code = ASD_GET_VERSION};
    struct answer *many = mem_array(ASD_CLIENT_CALLS_MAX + 1, sizeof *many);

    for (unsigned i = 0; i <= ASD_CLIENT_CALLS_MAX; i++) {
        asd_request_encode(&request, &many[i].request);
        assert_int_equal(asd_client_call(f->client, &many[i].call, &many[i].request, 5000, on_call),
                         i < ASD_CLIENT_CALLS_MAX ? 0 : ERR_BUSY);
    }
    accept_v2(f);
    for (unsigned i = 0; i < ASD_CLIENT_CALLS_MAX; i++) {
        answer(f, read_version_request(f), "ok");
    }
    RAW_UNTIL(&f->loop, many[ASD_CLIENT_CALLS_MAX - 1].count == 1);
    for (unsigned i = 0; i <= ASD_CLIENT_CALLS_MAX; i++) {
        assert_int_equal(many[i].count, i < ASD_CLIENT_CALLS_MAX);
        gather_release(&many[i].request);
        buf_release(&many[i].payload);
    }
    free(many);
}

/* ---- version 1 ---- */

static void an_old_server_gets_one_request_at_a_time(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];

    for (unsigned i = 0; i < 3; i++) {
        call_version(f, i, 5000);
    }
    accept_v1(f);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(read_frame(f, frame, sizeof frame), 4);
        assert_int_equal(get_u32le(frame), ASD_GET_VERSION);
        assert_true(raw_is_quiet(&f->loop, f->peer, 30));
        answer_v1(f, "ok", 2);
        wait_for(f, i);
        assert_payload(f, i, "ok");
    }
}

/* Slices follow the frame on version 1; the reply must look as on version 2. */
static void bytes_behind_the_frame_are_part_of_the_reply(void **state)
{
    struct fixture *f = *state;
    struct asd_part parts[2] = {{.offset = 0, .bytes = 3}, {.offset = 8, .bytes = 70000}};
    struct asd_request request = {
        .code = ASD_PARTIAL_GET,
        .partial = {.key = slice_str("k"), .parts = parts, .part_count = 2}};
    uint8_t frame[100];

    asd_request_encode(&request, &f->answers[0].request);
    submit(f, 0, 5000);
    call_version(f, 1, 5000);
    accept_v1(f);
    read_frame(f, frame, sizeof frame);
    answer_v1(f, "\x01", 1);
    raw_send(&f->loop, f->peer, f->big, 3);
    assert_int_equal(f->answers[0].count, 0);
    raw_send(&f->loop, f->peer, f->big, 70000);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].payload.len, 1 + 70003);
    assert_memory_equal(f->answers[0].payload.data + 1, f->big, 70003);
    read_frame(f, frame, sizeof frame);
    answer_v1(f, "next", 4);
    wait_for(f, 1);
    assert_payload(f, 1, "next");
}

static void send_twice(struct fixture *f, const struct asd_request *request, bool again_old)
{
    struct buf expected = {0};
    uint8_t first[100], second[100];
    uint32_t bytes;

    asd_request_encode(request, &f->answers[0].request);
    gather_flatten(&f->answers[0].request, &expected);
    submit(f, 0, 5000);
    accept_v1(f);
    bytes = read_frame(f, first, sizeof first);
    assert_true(bytes != expected.len || memcmp(first, expected.data, bytes) != 0);
    close(f->peer);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_EOF);
    assert_int_equal(
        asd_client_call(f->client, &f->answers[1].call, &f->answers[0].request, 5000, on_call), 0);
    if (again_old) {
        accept_v1(f);
        assert_int_equal(read_frame(f, second, sizeof second), bytes);
        assert_memory_equal(first, second, bytes);
        answer_v1(f, "", 0);
    } else {
        accept_v2(f);
        bytes = read_frame(f, second, sizeof second);
        assert_int_equal(bytes, 4 + expected.len);
        assert_memory_equal(second + 4, expected.data, expected.len);
        answer(f, get_u32le(second), "");
    }
    wait_for(f, 1);
    buf_release(&expected);
}

/* The proxy sends a request again that was lost with its connection. */
static void a_request_can_be_sent_again_after_an_old_server(void **state)
{
    struct asd_part parts[3] = {
        {.offset = 0, .bytes = 3}, {.offset = 8, .bytes = 5}, {.offset = 20, .bytes = 7}};
    struct asd_update update = {.key = slice_str("k"), .value = slice_str("v")};
    const struct asd_request requests[2] = {
        {.code = ASD_PARTIAL_GET,
         .partial = {.key = slice_str("k"), .parts = parts, .part_count = 3}},
        {.code = ASD_APPLY, .apply = {.updates = &update, .update_count = 1, .flags = 1}}};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        void *fresh;

        setup(&fresh);
        send_twice(fresh, &requests[i / 2], i % 2 == 0);
        teardown(&fresh);
    }
}

/* There are no ids, so a late reply cannot be told from the next one. */
static void a_deadline_on_version_1_costs_the_connection(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];
    int old;

    call_version(f, 0, 200);
    call_version(f, 1, 5000);
    accept_v1(f);
    read_frame(f, frame, sizeof frame);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_true(f->answers[0].call.maybe_executed);
    assert_true(raw_is_closed_by_peer(&f->loop, f->peer));
    old = f->peer;
    accept_v1(f);
    close(old);
    read_frame(f, frame, sizeof frame);
    answer_v1(f, "ok", 2);
    wait_for(f, 1);
    assert_payload(f, 1, "ok");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replies_may_overtake_one_another),
        TEST(a_reply_can_be_kept),
        TEST(a_big_request_arrives_whole),
        TEST(error_replies_become_codes_and_name_the_asd),
        TEST(a_late_reply_is_dropped_and_the_connection_stays),
        TEST(a_deadline_passes_while_connecting),
        TEST(a_server_that_does_not_shake_hands_is_given_up),
        TEST(cancel_before_the_connection_is_answered_later),
        TEST(cancel_after_sending_leaves_it_in_doubt),
        TEST(cancel_while_partly_sent_gives_the_memory_back),
        TEST(a_deadline_passes_while_partly_sent),
        TEST(closing_cancels_everything),
        TEST(closing_while_connecting_cancels_everything),
        TEST(a_refused_connection_fails_at_once_and_is_tried_again),
        TEST(a_lost_connection_fails_what_was_sent_and_comes_back),
        TEST(an_idle_loss_is_noticed_before_the_next_call),
        TEST(garbage_from_the_server_is_a_protocol_error),
        TEST(another_identity_is_an_error),
        TEST(unix_sockets_work_too),
        TEST(a_socket_on_this_machine_goes_before_the_address),
        TEST(another_address_is_tried_when_one_cannot_be_connected),
        TEST(calls_fail_when_no_address_can_be_connected),
        TEST(who_is_silent_on_this_machine_is_asked_once),
        TEST(calls_over_the_limit_are_refused),
        TEST(an_old_server_gets_one_request_at_a_time),
        TEST(bytes_behind_the_frame_are_part_of_the_reply),
        cmocka_unit_test(a_request_can_be_sent_again_after_an_old_server),
        TEST(a_deadline_on_version_1_costs_the_connection),
    };

    return cmocka_run_group_tests_name("net/asd_client", tests, NULL, NULL);
}
