/* Which proxy a call goes to, and what becomes of it when that proxy is not what it should be. The
 * test plays the proxies. */
#include <stdio.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/proxy_route.h"
#include "unit/net/raw.h"
#include "wire/gather.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_request.h"

enum { CALLS = 4, PROXIES = 2, SILENT_MS = 150, PING_MS = 150, FRAME_BYTES = 64 };

struct answer {
    struct proxy_route_call call;
    struct gather request;
    struct buf payload;
    int rc;
    unsigned count;
    unsigned agains; /* times to ask for another try */
};

struct fixture {
    uv_loop_t loop;
    struct proxy_route *route;
    struct net_addr addrs[PROXIES];
    uint16_t ports[PROXIES];
    int listeners[PROXIES];
    struct answer answers[CALLS];
    bool closed;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    for (unsigned i = 0; i < PROXIES; i++) {
        f->listeners[i] = raw_listen(&f->ports[i]);
        f->addrs[i] = raw_addr(f->ports[i]);
    }
    *state = f;
    return 0;
}

static void start(struct fixture *f, unsigned proxies, unsigned timeout_ms)
{
    f->route = proxy_route_new(&f->loop, &(struct proxy_route_options){.proxies = f->addrs,
                                                                       .proxy_count = proxies,
                                                                       .timeout_ms = timeout_ms,
                                                                       .silent_ms = SILENT_MS,
                                                                       .ping_ms = PING_MS});
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    proxy_route_close(f->route, on_closed, f);
    RAW_UNTIL(&f->loop, f->closed);
    raw_loop_close(&f->loop);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_true(f->answers[i].count <= 1);
        gather_release(&f->answers[i].request);
        buf_release(&f->answers[i].payload);
    }
    for (unsigned i = 0; i < PROXIES; i++) {
        close(f->listeners[i]);
    }
    free(f);
    return 0;
}

static void on_call(struct proxy_route_call *call, int rc)
{
    struct answer *a = container_of(call, struct answer, call);
    struct err why;

    if (a->agains != 0) {
        a->agains--;
        err_say(&why, ERR_PROTOCOL, "it makes no sense");
        assert_true(proxy_route_again(call, true, &why));
        return;
    }
    a->rc = rc;
    a->count++;
    if (rc == 0) {
        buf_put(&a->payload, call->proxy.reply.pos, rd_left(&call->proxy.reply));
    }
}

static void submit(struct fixture *f, unsigned i, bool repeatable)
{
    struct answer *a = &f->answers[i];

    proxy_request_encode(&(struct proxy_request){.code = PROXY_GET_ALBA_ID}, &a->request);
    a->call.request = &a->request;
    a->call.repeatable = repeatable;
    proxy_route_submit(f->route, &a->call, on_call);
    assert_int_equal(a->count, 0);
}

static void wait_for(struct fixture *f, unsigned i)
{
    RAW_UNTIL(&f->loop, f->answers[i].count == 1);
}

static void assert_answer(struct fixture *f, unsigned i, const char *text)
{
    wait_for(f, i);
    assert_int_equal(f->answers[i].rc, 0);
    assert_int_equal(f->answers[i].payload.len, strlen(text));
    assert_memory_equal(f->answers[i].payload.data, text, strlen(text));
}

static bool is_down(const struct fixture *f, const char *said)
{
    uint64_t since_us = 0;
    struct err why;

    if (!proxy_route_is_down(f->route, &why, &since_us)) {
        return false;
    }
    assert_true(since_us != 0);
    if (strstr(why.msg, said) == NULL) {
        fail_msg("'%s' is not in '%s'", said, why.msg);
    }
    return true;
}

/* ---- the test as a proxy ---- */

static void reply(struct fixture *f, int fd, int32_t code, const void *payload, uint32_t bytes)
{
    uint8_t frame[FRAME_BYTES]; /* in one piece: a second would wait for an acknowledgement */

    assert_in_range(bytes, 0, sizeof(frame) - 8);
    put_u32le(frame, bytes + 4);
    put_u32le(frame + 4, (uint32_t)code);
    memcpy(frame + 8, payload, bytes);
    raw_send(&f->loop, fd, frame, 8 + bytes);
}

/* The code of the next request. */
static uint32_t take_request(struct fixture *f, int fd)
{
    uint8_t bytes[FRAME_BYTES];

    assert_int_equal(raw_recv(&f->loop, fd, bytes, 4), 4);
    assert_in_range(get_u32le(bytes), 4, sizeof(bytes) - 4);
    assert_int_equal(raw_recv(&f->loop, fd, bytes + 4, get_u32le(bytes)), get_u32le(bytes));
    return get_u32le(bytes + 4);
}

static int accept_session(struct fixture *f, unsigned i)
{
    int fd = raw_accept(&f->loop, f->listeners[i]);
    uint8_t preamble[PROXY_PREAMBLE_BYTES];

    assert_int_equal(raw_recv(&f->loop, fd, preamble, sizeof(preamble)), sizeof(preamble));
    assert_int_equal(take_request(f, fd), PROXY_UPDATE_SESSION);
    reply(f, fd, 0, "\x01\0\0\0\x0c\0\0\0manifest_ser\x01\0\0\0\x03", 25);
    return fd;
}

static void take_call(struct fixture *f, int fd)
{
    assert_int_equal(take_request(f, fd), PROXY_GET_ALBA_ID);
}

/* Accepts the connection for pings, which a proxy may have to do twice, and answers one. */
static int answer_ping(struct fixture *f, unsigned i)
{
    int fd = accept_session(f, i);

    assert_int_equal(take_request(f, fd), PROXY_PING);
    reply(f, fd, 0, "\0\0\0\0\0\0\0\0", 8);
    return fd;
}

/* It dies: its port refuses from now on. */
static void stop_listening(struct fixture *f, unsigned i)
{
    close(f->listeners[i]);
    f->listeners[i] = -1;
}

static void listen_again(struct fixture *f, unsigned i)
{
    struct sockaddr_in sa = raw_loopback(f->ports[i]);
    int on = 1;

    f->listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(f->listeners[i], SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(f->listeners[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(f->listeners[i], 64), 0);
}

/* ---- tests ---- */

static void calls_are_spread_and_stay_with_their_proxy(void **state)
{
    struct fixture *f = *state;
    int a, b;

    start(f, 2, 10000);
    f->answers[1].call.spread = f->answers[2].call.spread = 1;
    submit(f, 0, true);
    a = accept_session(f, 0);
    take_call(f, a);
    reply(f, a, 0, "a", 1);
    assert_answer(f, 0, "a");
    for (unsigned i = 1; i <= 2; i++) {
        submit(f, i, true);
        b = i == 1 ? accept_session(f, 1) : b;
        take_call(f, b);
        reply(f, b, 0, "b", 1);
        assert_answer(f, i, "b");
    }
    close(a);
    close(b);
}

static void a_refused_call_goes_to_the_next_proxy(void **state)
{
    struct fixture *f = *state;
    int fd;

    stop_listening(f, 0);
    start(f, 2, 10000);
    submit(f, 0, false);
    fd = accept_session(f, 1);
    take_call(f, fd);
    reply(f, fd, 0, "b", 1);
    assert_answer(f, 0, "b");
    assert_false(is_down(f, ""));
    close(fd);
}

static void a_call_waits_for_the_only_proxy_to_come_back(void **state)
{
    struct fixture *f = *state;
    int ping, fd;

    stop_listening(f, 0);
    start(f, 1, 10000);
    submit(f, 0, false); /* never sent, so it may be tried again */
    RAW_UNTIL(&f->loop, is_down(f, f->addrs[0].text));
    assert_true(is_down(f, "Connection refused"));
    listen_again(f, 0);
    ping = answer_ping(f, 0);
    fd = accept_session(f, 0);
    assert_false(is_down(f, ""));
    take_call(f, fd);
    reply(f, fd, 0, "back", 4);
    assert_answer(f, 0, "back");
    close(ping);
    close(fd);
}

static void a_call_ends_at_its_deadline_with_the_cause(void **state)
{
    struct fixture *f = *state;

    stop_listening(f, 0);
    stop_listening(f, 1);
    start(f, 2, 300);
    submit(f, 0, true);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ECONNREFUSED);
    assert_non_null(strstr(f->answers[0].call.proxy.err.msg, "no success within 300 ms"));
    assert_non_null(strstr(f->answers[0].call.proxy.err.msg, "Connection refused"));
    assert_true(is_down(f, "Connection refused"));
}

static void a_read_whose_proxy_dies_is_tried_again_and_a_write_is_in_doubt(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f, 2, 10000);
    submit(f, 0, true);
    fd = accept_session(f, 0);
    take_call(f, fd);
    close(fd);
    fd = accept_session(f, 1);
    take_call(f, fd);
    reply(f, fd, 0, "other", 5);
    assert_answer(f, 0, "other");
    submit(f, 1, false);
    take_call(f, fd);
    close(fd);
    wait_for(f, 1);
    assert_int_not_equal(f->answers[1].rc, 0);
    assert_true(f->answers[1].call.proxy.maybe_executed);
}

/* Stopped, not dead: the kernel still takes connections and bytes for it. */
static void a_proxy_that_falls_silent_loses_its_calls(void **state)
{
    struct fixture *f = *state;
    int silent, also, other;

    start(f, 2, 10000);
    submit(f, 0, true);
    silent = accept_session(f, 0);
    take_call(f, silent);
    submit(f, 1, false);
    also = accept_session(f, 0);
    take_call(f, also);
    other = accept_session(f, 1); /* the read; of the write nobody knows */
    take_call(f, other);
    wait_for(f, 1);
    assert_int_not_equal(f->answers[1].rc, 0);
    assert_true(f->answers[1].call.proxy.maybe_executed);
    assert_non_null(strstr(f->answers[1].call.proxy.err.msg, "no answer for"));
    reply(f, other, 0, "b", 1);
    assert_answer(f, 0, "b");
    assert_true(raw_is_closed_by_peer(&f->loop, silent));
    close(silent);
    close(also);
    close(other);
}

static void a_slow_call_is_left_alone_while_pings_are_answered(void **state)
{
    struct fixture *f = *state;
    int fd, ping;

    start(f, 1, 10000);
    submit(f, 0, true);
    fd = accept_session(f, 0);
    take_call(f, fd);
    ping = answer_ping(f, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(take_request(f, ping), PROXY_PING);
        reply(f, ping, 0, "\0\0\0\0\0\0\0\0", 8);
    }
    assert_int_equal(f->answers[0].count, 0);
    reply(f, fd, 0, "slow", 4);
    assert_answer(f, 0, "slow");
    close(fd);
    close(ping);
}

/* A proxy with all the connections that it may have closes the one for pings, again and again. */
static void a_proxy_that_hangs_up_on_pings_keeps_its_calls(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f, 1, 10000);
    submit(f, 0, false);
    fd = accept_session(f, 0);
    take_call(f, fd);
    for (unsigned i = 0; i < 6; i++) {
        close(raw_accept(&f->loop, f->listeners[0]));
    }
    assert_int_equal(f->answers[0].count, 0);
    assert_false(is_down(f, ""));
    reply(f, fd, 0, "slow", 4);
    assert_answer(f, 0, "slow");
    close(fd);
}

static void what_no_proxy_takes_ends_at_once_and_is_in_nobodys_way(void **state)
{
    enum { TOO_LARGE = PROXY_CLIENT_REQUEST_BYTES_MAX + 1 };
    struct fixture *f = *state;
    void *data =
        mmap(NULL, TOO_LARGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int fd;

    start(f, 1, 600000); /* longer than this test may take */
    gather_borrow(&f->answers[0].request, slice_of(data, TOO_LARGE));
    f->answers[0].call.request = &f->answers[0].request;
    proxy_route_submit(f->route, &f->answers[0].call, on_call);
    assert_int_equal(f->answers[0].count, 0);
    submit(f, 1, true); /* goes before the other has ended */
    assert_non_null(f->answers[1].call.peer);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_TOO_LARGE);
    assert_false(f->answers[0].call.proxy.maybe_executed);
    assert_null(strstr(f->answers[0].call.proxy.err.msg, "no success"));
    fd = accept_session(f, 0);
    take_call(f, fd);
    reply(f, fd, 0, "!", 1);
    assert_answer(f, 1, "!");
    close(fd);
    munmap(data, TOO_LARGE);
}

/* One waits for a proxy, one for an answer. */
static void a_canceled_call_ends_wherever_it_is(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f, 1, 10000);
    f->answers[0].call.timeout_ms = 60000;
    submit(f, 0, true);
    fd = accept_session(f, 0);
    take_call(f, fd);
    proxy_route_cancel(&f->answers[0].call);
    assert_int_equal(f->answers[0].count, 0);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
    assert_true(f->answers[0].call.proxy.maybe_executed);
    stop_listening(f, 0);
    close(fd);
    submit(f, 1, true);
    RAW_UNTIL(&f->loop, is_down(f, "refused"));
    proxy_route_cancel(&f->answers[1].call);
    wait_for(f, 1);
    assert_int_equal(f->answers[1].rc, ERR_CANCELED);
    assert_false(f->answers[1].call.proxy.maybe_executed);
}

static void a_call_may_have_a_time_of_its_own(void **state)
{
    struct fixture *f = *state;

    stop_listening(f, 0);
    start(f, 1, 600000);
    f->answers[0].call.timeout_ms = 150;
    submit(f, 0, true);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ECONNREFUSED);
    assert_non_null(strstr(f->answers[0].call.proxy.err.msg, "within 150 ms"));
}

struct crowd {
    struct proxy_route_call call;
    struct gather request;
    unsigned place;   /* in the order of submitting */
    unsigned *served; /* so far */
};

static void on_crowd(struct proxy_route_call *call, int rc)
{
    struct crowd *c = container_of(call, struct crowd, call);

    assert_int_equal(rc, 0);
    assert_in_range(c->place + PROXY_CLIENT_CONNECTIONS_DEFAULT, *c->served,
                    *c->served + 2 * PROXY_CLIENT_CONNECTIONS_DEFAULT);
    (*c->served)++;
    gather_release(&c->request);
}

static void serve_if_asked(struct fixture *f, int fd)
{
    char byte;

    if (recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1) {
        take_call(f, fd);
        reply(f, fd, 0, "x", 1);
    }
}

/* More than a proxy's client takes: nobody fails, and nobody is passed by those that came later. */
static void a_crowd_is_served_in_order(void **state)
{
    enum { CROWD = PROXY_CLIENT_CALLS_MAX + 200 };
    struct fixture *f = *state;
    struct crowd *crowd = mem_array(CROWD, sizeof(*crowd));
    unsigned served = 0;
    int fds[PROXY_CLIENT_CONNECTIONS_DEFAULT];

    start(f, 1, 60000);
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = (struct crowd){.place = i, .served = &served};
        crowd[i].call.request = &crowd[i].request;
        proxy_request_encode(&(struct proxy_request){.code = PROXY_GET_ALBA_ID}, &crowd[i].request);
        proxy_route_submit(f->route, &crowd[i].call, on_crowd);
    }
    for (unsigned i = 0; i < PROXY_CLIENT_CONNECTIONS_DEFAULT; i++) {
        fds[i] = accept_session(f, 0);
    }
    while (served != CROWD) {
        for (unsigned i = 0; i < PROXY_CLIENT_CONNECTIONS_DEFAULT; i++) {
            serve_if_asked(f, fds[i]);
        }
        raw_turn(&f->loop);
    }
    for (unsigned i = 0; i < PROXY_CLIENT_CONNECTIONS_DEFAULT; i++) {
        close(fds[i]);
    }
    free(crowd);
}

static void nonsense_is_asked_of_another_proxy(void **state)
{
    struct fixture *f = *state;
    int bad, good;

    start(f, 2, 10000);
    f->answers[0].agains = 1;
    submit(f, 0, true);
    bad = accept_session(f, 0);
    take_call(f, bad);
    reply(f, bad, 0, "?", 1);
    good = accept_session(f, 1);
    take_call(f, good);
    reply(f, good, 0, "!", 1);
    assert_answer(f, 0, "!");
    close(bad);
    close(good);
}

static void garbage_instead_of_frames_is_survived(void **state)
{
    static const uint8_t garbage[FRAME_BYTES] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct fixture *f = *state;
    int bad, good;

    start(f, 2, 10000);
    submit(f, 0, false);
    bad = raw_accept(&f->loop, f->listeners[0]);
    raw_send(&f->loop, bad, garbage, sizeof(garbage));
    good = accept_session(f, 1);
    take_call(f, good);
    reply(f, good, 0, "!", 1);
    assert_answer(f, 0, "!");
    close(bad);
    close(good);
}

static void finishing_ends_what_flies_and_what_waits(void **state)
{
    struct fixture *f = *state;
    int fd;

    stop_listening(f, 1);
    start(f, 2, 60000);
    submit(f, 0, true);
    fd = accept_session(f, 0);
    take_call(f, fd);
    f->answers[1].call.attempt_ms = 60000;
    submit(f, 1, false);
    proxy_route_finish(f->route, 50);
    wait_for(f, 0);
    wait_for(f, 1);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
    assert_int_not_equal(f->answers[1].rc, 0);
    submit(f, 2, true);
    wait_for(f, 2);
    assert_int_equal(f->answers[2].rc, ERR_CANCELED);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_canceled_call_ends_wherever_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_may_have_a_time_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_are_spread_and_stay_with_their_proxy, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_refused_call_goes_to_the_next_proxy, setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_waits_for_the_only_proxy_to_come_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_call_ends_at_its_deadline_with_the_cause, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_read_whose_proxy_dies_is_tried_again_and_a_write_is_in_doubt, setup, teardown),
        cmocka_unit_test_setup_teardown(a_proxy_that_falls_silent_loses_its_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(a_proxy_that_hangs_up_on_pings_keeps_its_calls, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_no_proxy_takes_ends_at_once_and_is_in_nobodys_way,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_call_is_left_alone_while_pings_are_answered, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_crowd_is_served_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_asked_of_another_proxy, setup, teardown),
        cmocka_unit_test_setup_teardown(garbage_instead_of_frames_is_survived, setup, teardown),
        cmocka_unit_test_setup_teardown(finishing_ends_what_flies_and_what_waits, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
