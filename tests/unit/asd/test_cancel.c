/* What becomes of requests whose connection goes: what has not begun is never executed, what runs
 * ends, and everything is given back. With one loop and with several. */
#include <sched.h>
#include <stdio.h>

#include "asd/front.h"
#include "base/clock.h"
#include "base/log.h"
#include "unit/asd/server_fixture.h"
#include "unit/asd/session.h"

enum { LARGE = 70000 };

static uint8_t *large;

static void send_set(struct session *s, const char *key, size_t bytes)
{
    struct asd_update u = set(key, large, bytes);
    struct asd_request r = apply_of(NULL, &u);

    send_request(s, &r);
}

/* One commit stands before the gate, of another client. */
static struct session hold_up_commits(struct server_fixture *f)
{
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);

    block_io_shut(&f->gate);
    send_set(&s, "first", LARGE);
    RAW_UNTIL(f->loop, block_io_waiting(&f->gate) == 1);
    return s;
}

static void expect_ok(struct session *s)
{
    struct answer a = recv_answer(s);

    assert_int_equal(a.rc, 0);
    buf_release(&a.bytes);
}

/* As many as a connection may have: it is not even read any more. */
static void applies_of_a_client_that_hung_up_are_not_executed(void **state)
{
    struct server_fixture *f = *state;
    struct session other = hold_up_commits(f);
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    char key[16];

    for (unsigned i = 0; i < ASD_SERVER_REQUESTS_MAX; i++) {
        snprintf(key, sizeof(key), "%u", i);
        send_set(&s, key, i % 16 == 0 ? LARGE : 10);
    }
    send_set(&other, "second", 10);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == ASD_SERVER_REQUESTS_MAX + 2);
    close(s.fd);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 2);
    assert_int_equal(asd_server_canceled(f->server), ASD_SERVER_REQUESTS_MAX);
    assert_int_equal(asd_server_connections(f->server), 1);
    block_io_open(&f->gate);
    expect_ok(&other);
    expect_ok(&other);
    assert_true(asd_fixture_has(&f->base, "second", large, 10));
    assert_int_equal(asd_store_stats(f->base.store).updates, 2);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
    close(other.fd);
}

/* The loop of the test stands still, so nobody sees that it hung up: with several loops theirs
 * may. */
static void an_apply_whose_client_left_unseen_is_not_begun(void **state)
{
    struct server_fixture *f = *state;
    struct session other = hold_up_commits(f);
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    uint64_t asked_ms;

    send_set(&s, "left", 10);
    send_set(&other, "stayed", 10);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 3);
    close(s.fd);
    asked_ms = clock_mono_ms() + ASD_FRONT_ASK_MS;
    while (clock_mono_ms() <= asked_ms) {
        sched_yield();
    }
    block_io_open(&f->gate);
    while (asd_store_stats(f->base.store).updates < 2) {
        sched_yield();
    }
    expect_ok(&other);
    expect_ok(&other);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 0);
    assert_int_equal(asd_server_canceled(f->server), 1);
    assert_int_equal(asd_server_connections(f->server), 1);
    assert_true(asd_fixture_has(&f->base, "stayed", large, 10));
    assert_int_equal(asd_store_stats(f->base.store).updates, 2);
    close(other.fd);
}

/* Its frame stays until the commit is over, whoever waits for the answer. */
static void an_apply_that_runs_ends_though_its_client_has_gone(void **state)
{
    struct server_fixture *f = *state;
    struct session s = hold_up_commits(f);

    close(s.fd);
    RAW_UNTIL(f->loop, asd_server_connections(f->server) == 0);
    assert_int_equal(asd_server_requests(f->server), 1);
    block_io_open(&f->gate);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 0);
    assert_int_equal(asd_server_canceled(f->server), 0);
    assert_true(asd_fixture_has(&f->base, "first", large, LARGE));
}

static void reads_of_a_client_that_hung_up_are_not_executed(void **state)
{
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    struct slice key = slice_str("l");
    struct asd_request get = {.code = ASD_MULTI_GET2, .keys = {&key, 1}};
    uint64_t read_bytes;

    put(&s, "l", large, LARGE);
    read_bytes = asd_store_stats(f->base.store).read_bytes;
    block_io_shut(&f->gate);
    for (unsigned i = 0; i < ASD_SERVER_REQUESTS_MAX; i++) {
        send_request(&s, &get);
    }
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == ASD_SERVER_REQUESTS_MAX &&
                           block_io_waiting(&f->gate) == SERVER_READERS);
    close(s.fd);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == SERVER_READERS);
    assert_int_equal(asd_server_canceled(f->server), ASD_SERVER_REQUESTS_MAX - SERVER_READERS);
    block_io_open(&f->gate);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 0);
    assert_int_equal(asd_store_stats(f->base.store).read_bytes,
                     read_bytes + SERVER_READERS * LARGE);
}

static void delays_end_with_their_connection(void **state)
{
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    struct asd_request slow = {.code = ASD_SLOWNESS, .slowness = {.fixed_s = 1000, .on = true}};

    expect_rc(&s, slow, 0);
    for (unsigned i = 0; i < 10; i++) {
        send_set(&s, "k", 10);
    }
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 10);
    close(s.fd);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 0);
    assert_int_equal(asd_server_canceled(f->server), 10);
    assert_int_equal(asd_store_stats(f->base.store).applies, 0);
}

/* In version 1 a client may say all it has to say and close its side. */
static void in_version_1_a_closed_side_gets_its_answer(void **state)
{
    struct server_fixture *f = *state;
    struct session other = hold_up_commits(f);
    struct session s = session_open(f->loop, f->port, ASD_VERSION_1);

    send_set(&s, "k", 10);
    assert_int_equal(shutdown(s.fd, SHUT_WR), 0);
    RAW_UNTIL(f->loop, asd_server_requests(f->server) == 2);
    raw_turn_for(f->loop, 1500); /* longer than it takes to be noticed */
    block_io_open(&f->gate);
    expect_ok(&s);
    assert_true(raw_is_closed_by_peer(f->loop, s.fd));
    expect_ok(&other);
    assert_int_equal(asd_server_canceled(f->server), 0);
    close(s.fd);
    close(other.fd);
}

/* The client's mistake, and its own trouble: ids are not looked at. */
static void an_id_that_is_in_flight_twice_is_answered_twice(void **state)
{
    struct server_fixture *f = *state;
    struct session s = hold_up_commits(f);

    s.next_id = 0;
    send_set(&s, "second", 10);
    block_io_open(&f->gate);
    for (unsigned i = 0; i < 2; i++) {
        struct answer a = recv_answer(&s);

        assert_int_equal(a.id, 1);
        assert_int_equal(a.rc, 0);
        buf_release(&a.bytes);
    }
    assert_true(asd_fixture_has(&f->base, "first", large, LARGE));
    assert_true(asd_fixture_has(&f->base, "second", large, 10));
    close(s.fd);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(applies_of_a_client_that_hung_up_are_not_executed),
        TEST(an_apply_whose_client_left_unseen_is_not_begun),
        TEST(an_apply_that_runs_ends_though_its_client_has_gone),
        TEST(reads_of_a_client_that_hung_up_are_not_executed),
        TEST(delays_end_with_their_connection),
        TEST(in_version_1_a_closed_side_gets_its_answer),
        TEST(an_id_that_is_in_flight_twice_is_answered_twice),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = server_run_tests(tests, sizeof(tests) / sizeof(tests[0]));
    free(large);
    return rc;
}
