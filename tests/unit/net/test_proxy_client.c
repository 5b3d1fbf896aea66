#include "net/proxy_client.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/asd_client.h"
#include "net/blocking.h"
#include "unit/net/raw.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_request.h"

enum { CALLS = 8, BIG = 16 << 20, ENDPOINTS = 2 };

struct answer {
    struct proxy_call call;
    struct gather request;
    struct buf payload;
    int rc;
    unsigned count;
};

/* The test plays both proxies. */
struct fixture {
    uv_loop_t loop;
    struct proxy_client *client;
    struct net_addr addrs[ENDPOINTS];
    int listeners[ENDPOINTS];
    struct answer answers[CALLS];
    uint8_t *big;
    bool closed;
};

static void start(struct fixture *f, unsigned endpoints, unsigned connections)
{
    struct proxy_client_options options = {.endpoints = f->addrs,
                                           .endpoint_count = endpoints,
                                           .connections_max = connections,
                                           .connect_timeout_ms = 300};

    f->client = proxy_client_new(&f->loop, &options);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        uint16_t port;

        f->listeners[i] = raw_listen(&port);
        f->addrs[i] = raw_addr(port);
    }
    f->big = mem_alloc(BIG);
    memset(f->big, 'z', BIG);
    *state = f;
    return 0;
}

static void on_client_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->client != NULL) {
        proxy_client_close(f->client, on_client_closed, f);
        RAW_UNTIL(&f->loop, f->closed);
    }
    raw_loop_close(&f->loop);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_true(f->answers[i].count <= 1);
        gather_release(&f->answers[i].request);
        buf_release(&f->answers[i].payload);
    }
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        close(f->listeners[i]);
    }
    free(f->big);
    free(f);
    return 0;
}

static void on_call(struct proxy_call *call, int rc)
{
    struct answer *a = container_of(call, struct answer, call);

    a->rc = rc;
    a->count++;
    if (rc == 0) {
        buf_put(&a->payload, call->reply.pos, rd_left(&call->reply));
    }
}

static void submit(struct fixture *f, unsigned i, unsigned timeout_ms)
{
    struct answer *a = &f->answers[i];

    assert_int_equal(proxy_client_call(f->client, &a->call, &a->request, timeout_ms, on_call), 0);
    assert_int_equal(a->count, 0);
}

static void call_small(struct fixture *f, unsigned i, unsigned timeout_ms)
{
    struct proxy_request request = {.code = PROXY_GET_ALBA_ID};

    proxy_request_encode(&request, &f->answers[i].request);
    submit(f, i, timeout_ms);
}

static void call_big(struct fixture *f, unsigned i, unsigned timeout_ms)
{
    buf_put_u32le(&f->answers[i].request.own, PROXY_APPLY);
    gather_borrow(&f->answers[i].request, slice_of(f->big, BIG));
    submit(f, i, timeout_ms);
}

static void wait_for(struct fixture *f, unsigned i)
{
    RAW_UNTIL(&f->loop, f->answers[i].count == 1);
}

/* ---- the test as a proxy ---- */

static uint32_t read_frame(struct fixture *f, int fd, uint8_t *ret_data, size_t bytes_max)
{
    uint8_t head[4];

    assert_int_equal(raw_recv(&f->loop, fd, head, 4), 4);
    assert_true(get_u32le(head) <= bytes_max);
    assert_int_equal(raw_recv(&f->loop, fd, ret_data, get_u32le(head)), get_u32le(head));
    return get_u32le(head);
}

static void reply(struct fixture *f, int fd, int32_t code, const void *payload, uint32_t bytes)
{
    uint8_t head[8];

    put_u32le(head, bytes + 4);
    put_u32le(head + 4, (uint32_t)code);
    raw_send(&f->loop, fd, head, 8);
    raw_send(&f->loop, fd, payload, bytes);
}

static int accept_greeting(struct fixture *f, unsigned endpoint)
{
    /* UpdateSession [("manifest_ser", Some "\x03")] */
    static const uint8_t session[] = "\x20\0\0\0\x01\0\0\0\x0c\0\0\0manifest_ser\x01\x01\0\0\0\x03";
    int fd = raw_accept(&f->loop, f->listeners[endpoint]);
    uint8_t bytes[100];

    assert_int_equal(raw_recv(&f->loop, fd, bytes, 8), 8);
    assert_memory_equal(bytes, "\x1b\xde\x79\x44\x01\0\0\0", 8);
    assert_int_equal(read_frame(f, fd, bytes, sizeof bytes), sizeof session - 1);
    assert_memory_equal(bytes, session, sizeof session - 1);
    return fd;
}

static int accept_session(struct fixture *f, unsigned endpoint)
{
    int fd = accept_greeting(f, endpoint);

    reply(f, fd, 0, "\x01\0\0\0\x0c\0\0\0manifest_ser\x01\0\0\0\x03", 25);
    return fd;
}

static void answer_small(struct fixture *f, int fd, const char *text)
{
    uint8_t frame[16];

    assert_int_equal(read_frame(f, fd, frame, sizeof frame), 4);
    assert_int_equal(get_u32le(frame), PROXY_GET_ALBA_ID);
    reply(f, fd, 0, text, (uint32_t)strlen(text));
}

static void assert_payload(const struct fixture *f, unsigned i, const char *text)
{
    assert_int_equal(f->answers[i].rc, 0);
    assert_int_equal(f->answers[i].payload.len, strlen(text));
    assert_memory_equal(f->answers[i].payload.data, text, strlen(text));
}

static bool nobody_connects(struct fixture *f, unsigned endpoint, unsigned ms)
{
    int fd;

    raw_turn_for(&f->loop, ms);
    fd = accept(f->listeners[endpoint], NULL, NULL);
    if (fd >= 0) {
        close(fd);
    }
    return fd < 0;
}

/* ---- tests ---- */

static void calls_run_side_by_side_and_reuse_connections(void **state)
{
    struct fixture *f = *state;
    int a, b;

    start(f, 1, 2);
    call_small(f, 0, 5000);
    call_small(f, 1, 5000);
    call_small(f, 2, 5000); /* waits: two connections at most */
    a = accept_session(f, 0);
    b = accept_session(f, 0);
    answer_small(f, b, "second");
    wait_for(f, 1);
    answer_small(f, b, "third");
    wait_for(f, 2);
    answer_small(f, a, "first");
    wait_for(f, 0);
    assert_payload(f, 0, "first");
    assert_payload(f, 1, "second");
    assert_payload(f, 2, "third");
    assert_true(nobody_connects(f, 0, 20));
    assert_int_equal(proxy_client_manifest_version(f->client), 3);
    close(a);
    close(b);
}

static void a_proxy_without_sessions_gets_manifest_version_1(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f, 1, 1);
    call_small(f, 0, 5000);
    fd = accept_greeting(f, 0);
    reply(f, fd, PROXY_RC_UNKNOWN_OPERATION, "\x01\0\0\0?", 5);
    answer_small(f, fd, "ok");
    wait_for(f, 0);
    assert_int_equal(proxy_client_manifest_version(f->client), 1);
    close(fd);
}

static void a_handshake_that_makes_no_sense_is_a_protocol_error(void **state)
{
    static const struct {
        int32_t code;
        const char *payload;
        uint32_t bytes;
    } bad[] = {{0, "", 0},
               {0, "\xff\xff\xff\x7f", 4},
               {0, "\x01\0\0\0\x0c\0\0\0manifest_ser\x01\0\0\0\x09", 25},
               {0, "\x01\0\0\0\x0c\0\0\0manifest_ser\0\0\0\0", 24}};
    struct fixture *f = *state;
    int fd;

    start(f, 1, 1);
    for (unsigned i = 0; i < 4; i++) {
        call_small(f, i, 5000);
        fd = accept_greeting(f, 0);
        reply(f, fd, bad[i].code, bad[i].payload, bad[i].bytes);
        wait_for(f, i);
        assert_int_equal(f->answers[i].rc, ERR_PROTOCOL);
        assert_false(f->answers[i].call.maybe_executed);
        close(fd);
    }
    call_small(f, 4, 5000);
    fd = accept_greeting(f, 0);
    reply(f, fd, PROXY_RC_VERSION, "\x03\0\0\0old", 7);
    wait_for(f, 4);
    assert_int_equal(f->answers[4].rc, ERR_VERSION);
    assert_non_null(strstr(f->answers[4].call.err.msg, "old"));
    close(fd);
}

static void error_codes_are_kept_and_translated(void **state)
{
    static const struct {
        int32_t code;
        int rc;
        bool maybe;
    } cases[] = {{PROXY_RC_OBJECT_NOT_FOUND, ERR_NOT_FOUND, false},
                 {PROXY_RC_ASSERT_FAILED, ERR_ASSERT_FAILED, false},
                 {PROXY_RC_NO_POLICY, ERR_NO_POLICY, false},
                 {PROXY_RC_CHECKSUM_ALGO_NOT_ALLOWED, ERR_REMOTE, false},
                 {PROXY_RC_UNKNOWN, ERR_REMOTE, true},
                 {77, ERR_REMOTE, true}};
    struct fixture *f = *state;
    int fd;

    start(f, 1, 1);
    call_small(f, 0, 5000);
    fd = accept_session(f, 0);
    for (unsigned i = 0; i < 6; i++) {
        uint8_t frame[16];

        if (i != 0) {
            call_small(f, i, 5000);
        }
        read_frame(f, fd, frame, sizeof frame);
        reply(f, fd, cases[i].code, "\x04\0\0\0name", 8);
        wait_for(f, i);
        assert_int_equal(f->answers[i].rc, cases[i].rc);
        assert_int_equal(f->answers[i].call.proxy_code, cases[i].code);
        assert_int_equal(f->answers[i].call.maybe_executed, cases[i].maybe);
        assert_non_null(strstr(f->answers[i].call.err.msg, "name"));
        assert_non_null(strstr(f->answers[i].call.err.msg, f->addrs[0].text));
    }
    close(fd);
}

static void a_dead_endpoint_is_passed_over(void **state)
{
    struct fixture *f = *state;
    int fd;

    close(f->listeners[0]);
    f->listeners[0] = -1;
    start(f, 2, 4);
    call_small(f, 0, 5000);
    fd = accept_session(f, 1);
    answer_small(f, fd, "from the second");
    wait_for(f, 0);
    assert_payload(f, 0, "from the second");
    close(fd);
    raw_turn_for(&f->loop, 20);
    call_small(f, 1, 5000); /* goes to the one that worked */
    fd = accept_session(f, 1);
    answer_small(f, fd, "again");
    wait_for(f, 1);
    close(fd);
}

static void an_endpoint_that_does_not_shake_hands_is_passed_over(void **state)
{
    struct fixture *f = *state;
    int silent, fd;

    start(f, 2, 1);
    call_small(f, 0, 5000);
    silent = accept_greeting(f, 0);
    fd = accept_session(f, 1); /* after connect_timeout_ms */
    answer_small(f, fd, "ok");
    wait_for(f, 0);
    close(silent);
    close(fd);
}

static void when_all_endpoints_are_dead_calls_fail_and_later_ones_try_again(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < ENDPOINTS; i++) {
        close(f->listeners[i]);
        f->listeners[i] = -1;
    }
    start(f, 2, 4);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 3 * round; i < 3 * round + 3; i++) {
            call_small(f, i, 60000);
        }
        for (unsigned i = 3 * round; i < 3 * round + 3; i++) {
            wait_for(f, i);
            assert_int_equal(f->answers[i].rc, UV_ECONNREFUSED);
            assert_false(f->answers[i].call.maybe_executed);
        }
    }
}

static void a_request_that_was_sent_is_never_sent_again(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];
    int fd;

    start(f, 2, 4);
    call_small(f, 0, 5000);
    fd = accept_session(f, 0);
    read_frame(f, fd, frame, sizeof frame);
    close(fd);
    wait_for(f, 0);
    assert_true(f->answers[0].rc == UV_EOF || f->answers[0].rc == UV_ECONNRESET);
    assert_true(f->answers[0].call.maybe_executed);
    assert_true(nobody_connects(f, 1, 50));
    assert_true(nobody_connects(f, 0, 0));
}

static void a_request_that_was_half_sent_goes_elsewhere(void **state)
{
    struct fixture *f = *state;
    uint8_t *got = mem_alloc(BIG + 100);
    int fd;

    start(f, 2, 1);
    call_big(f, 0, 5000);
    fd = accept_session(f, 0);
    assert_int_equal(raw_recv(&f->loop, fd, got, 1000), 1000);
    close(f->listeners[0]);
    f->listeners[0] = -1;
    close(fd);
    fd = accept_session(f, 1);
    assert_int_equal(read_frame(f, fd, got, BIG + 100), BIG + 4);
    assert_memory_equal(got + 4, f->big, BIG);
    reply(f, fd, 0, "ok", 2);
    wait_for(f, 0);
    assert_payload(f, 0, "ok");
    close(fd);
    free(got);
}

static void waiting_calls_survive_the_loss_of_the_only_connection(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];
    int fd;

    start(f, 1, 1);
    call_small(f, 0, 5000);
    call_small(f, 1, 5000);
    fd = accept_session(f, 0);
    read_frame(f, fd, frame, sizeof frame);
    close(fd);
    wait_for(f, 0);
    fd = accept_session(f, 0);
    answer_small(f, fd, "second");
    wait_for(f, 1);
    assert_payload(f, 1, "second");
    close(fd);
}

static void a_deadline_in_flight_costs_the_connection(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];
    int old, fd;

    start(f, 1, 1);
    call_small(f, 0, 200);
    call_small(f, 1, 5000);
    call_small(f, 2, 100); /* never gets a connection */
    old = accept_session(f, 0);
    read_frame(f, old, frame, sizeof frame);
    wait_for(f, 2);
    assert_int_equal(f->answers[2].rc, UV_ETIMEDOUT);
    assert_false(f->answers[2].call.maybe_executed);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_true(f->answers[0].call.maybe_executed);
    assert_true(raw_is_closed_by_peer(&f->loop, old));
    fd = accept_session(f, 0);
    answer_small(f, fd, "ok");
    wait_for(f, 1);
    close(old);
    close(fd);
}

static void cancel_works_in_every_state(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];
    int fd;

    start(f, 1, 1);
    call_small(f, 0, 5000); /* canceled while connecting */
    proxy_call_cancel(&f->answers[0].call);
    proxy_call_cancel(&f->answers[0].call);
    assert_int_equal(f->answers[0].count, 0);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
    assert_false(f->answers[0].call.maybe_executed);

    call_small(f, 1, 5000); /* canceled after sending */
    fd = accept_session(f, 0);
    read_frame(f, fd, frame, sizeof frame);
    proxy_call_cancel(&f->answers[1].call);
    wait_for(f, 1);
    assert_int_equal(f->answers[1].rc, ERR_CANCELED);
    assert_true(f->answers[1].call.maybe_executed);
    close(fd);

    call_big(f, 2, 5000); /* canceled while partly sent */
    fd = accept_session(f, 0);
    raw_turn_for(&f->loop, 30);
    proxy_call_cancel(&f->answers[2].call);
    wait_for(f, 2);
    memset(f->big, 'x', BIG);
    assert_false(f->answers[2].call.maybe_executed); /* its connection is cut: never whole */
    close(fd);

    call_small(f, 3, 5000);
    fd = accept_session(f, 0);
    answer_small(f, fd, "ok");
    wait_for(f, 3);
    close(fd);
}

static void closing_answers_everything(void **state)
{
    struct fixture *f = *state;
    struct proxy_call refused;
    int fd;

    start(f, 1, 2);
    call_big(f, 0, 5000);
    fd = accept_session(f, 0);
    call_small(f, 1, 5000);
    call_small(f, 2, 5000);
    raw_turn_for(&f->loop, 20);
    proxy_client_close(f->client, on_client_closed, f);
    assert_int_equal(proxy_client_call(f->client, &refused, &f->answers[0].request, 1, on_call),
                     ERR_CANCELED);
    f->client = NULL;
    for (unsigned i = 0; i < 3; i++) {
        wait_for(f, i);
        assert_int_equal(f->answers[i].rc, ERR_CANCELED);
    }
    RAW_UNTIL(&f->loop, f->closed);
    close(fd);
}

static void garbage_in_a_reply_fails_the_call(void **state)
{
    static const struct {
        const char *bytes;
        uint32_t len;
    } junk[] = {{"\xff\xff\xff\xff", 4}, {"\x02\0\0\0ab", 6}};
    struct fixture *f = *state;

    start(f, 1, 1);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t frame[16];
        int fd;

        call_small(f, i, 5000);
        fd = accept_session(f, 0);
        read_frame(f, fd, frame, sizeof frame);
        raw_send(&f->loop, fd, junk[i].bytes, junk[i].len);
        wait_for(f, i);
        assert_int_equal(f->answers[i].rc, ERR_PROTOCOL);
        assert_true(f->answers[i].call.maybe_executed);
        close(fd);
    }
}

static void blocking_calls_return_the_error_of_the_client(void **state)
{
    struct fixture *f = *state;
    struct asd_client_options options = {.addr = f->addrs[1]};
    struct asd_client *asd = asd_client_new(&f->loop, &options);
    struct blocking_reply blocking;
    struct gather g = {0};
    struct err e;

    close(f->listeners[1]);
    f->listeners[1] = -1;
    buf_put_u32le(&g.own, 7);
    assert_int_equal(blocking_asd_call(&f->loop, asd, &g, 1000, &blocking, &e), UV_ECONNREFUSED);
    assert_false(blocking.maybe_executed);
    blocking_reply_release(&blocking);
    blocking_asd_close(&f->loop, asd);

    start(f, 1, 1); /* nobody answers the handshake */
    assert_int_equal(blocking_proxy_call(&f->loop, f->client, &g, 100, &blocking, &e),
                     UV_ETIMEDOUT);
    assert_int_equal(e.code, UV_ETIMEDOUT);
    blocking_reply_release(&blocking);
    blocking_proxy_close(&f->loop, f->client);
    f->client = NULL;
    gather_release(&g);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_run_side_by_side_and_reuse_connections),
        TEST(a_proxy_without_sessions_gets_manifest_version_1),
        TEST(a_handshake_that_makes_no_sense_is_a_protocol_error),
        TEST(error_codes_are_kept_and_translated),
        TEST(a_dead_endpoint_is_passed_over),
        TEST(an_endpoint_that_does_not_shake_hands_is_passed_over),
        TEST(when_all_endpoints_are_dead_calls_fail_and_later_ones_try_again),
        TEST(a_request_that_was_sent_is_never_sent_again),
        TEST(a_request_that_was_half_sent_goes_elsewhere),
        TEST(waiting_calls_survive_the_loss_of_the_only_connection),
        TEST(a_deadline_in_flight_costs_the_connection),
        TEST(cancel_works_in_every_state),
        TEST(closing_answers_everything),
        TEST(garbage_in_a_reply_fails_the_call),
        TEST(blocking_calls_return_the_error_of_the_client),
    };

    return cmocka_run_group_tests_name("net/proxy_client", tests, NULL, NULL);
}
