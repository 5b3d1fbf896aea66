/* The server byte by byte: both protocol versions, every command, every error; with one loop and
 * with several. */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "loop/run.h"
#include "unit/asd/server_fixture.h"
#include "unit/asd/session.h"

enum { LARGE = 70000 };

static uint8_t *large;

static struct session connect_to(struct server_fixture *f)
{
    return (struct session){.loop = f->loop, .fd = raw_connect(f->port)};
}

static struct session open_session(struct server_fixture *f, unsigned version)
{
    return session_open(f->loop, f->port, version);
}

/* ---- preamble ---- */

static void the_preamble_is_answered_with_the_own_id(void **state)
{
    struct server_fixture *f = *state;
    struct session s = connect_to(f);

    send_hex(&s, "614c624101000000010500000061");
    assert_true(raw_is_quiet(s.loop, s.fd, 20)); /* not whole yet */
    send_hex(&s, "73645f31");
    expect_hex(&s, "00000000050000006173645f31");
    assert_true(raw_is_quiet(s.loop, s.fd, 20));
    close(s.fd);
}

static void another_id_gets_the_own_one_and_an_end(void **state)
{
    struct server_fixture *f = *state;
    struct session s = connect_to(f);

    send_hex(&s, "614c6241010000000103000000787878");
    expect_hex(&s, "00000000050000006173645f31");
    assert_true(raw_is_closed_by_peer(s.loop, s.fd));
    close(s.fd);
}

static void a_client_that_takes_any_asd_is_welcome(void **state)
{
    struct server_fixture *f = *state;
    struct session s = connect_to(f);

    send_hex(&s, "614c62410100000000");
    expect_hex(&s, "00000000050000006173645f31");
    assert_true(raw_is_quiet(s.loop, s.fd, 20));
    close(s.fd);
}

static void wrong_magic_is_closed_without_an_answer(void **state)
{
    struct server_fixture *f = *state;
    struct session s = connect_to(f);

    send_hex(&s, "474554202f20485454502f312e310d0a");
    assert_true(raw_is_closed_by_peer(s.loop, s.fd));
    close(s.fd);
}

static void an_unknown_version_is_refused_with_code_7(void **state)
{
    struct server_fixture *f = *state;
    struct session s = connect_to(f);
    uint8_t head[8];

    send_hex(&s, "614c62410900000000");
    assert_int_equal(raw_recv(s.loop, s.fd, head, 8), 8);
    assert_int_equal(get_u32le(head), ASD_RC_VERSION);
    assert_true(get_u32le(head + 4) > 0);
    close(s.fd);
}

/* ---- every command, in both versions ---- */

static void check_values(struct session *s)
{
    struct slice keys[] = {slice_str("s"), slice_str("none"), slice_str("l")};
    struct asd_request r = {.code = ASD_MULTI_GET, .keys = {.items = keys, .count = 3}};

    for (unsigned i = 0; i < 2; i++) {
        r.code = i == 0 ? ASD_MULTI_GET : ASD_MULTI_GET2;
        struct answer a = ask(s, r);
        struct asd_reply reply = decode(&a, r.code);

        assert_int_equal(reply.values.count, 3);
        assert_true(reply.values.items[0].found);
        assert_true(slice_eq(reply.values.items[0].value, slice_str("small")));
        assert_int_equal(reply.values.items[0].checksum.algo, CHECKSUM_CRC32C);
        assert_false(reply.values.items[1].found);
        assert_true(slice_eq(reply.values.items[2].value, slice_of(large, LARGE)));
        asd_reply_release(&reply);
        buf_release(&a.bytes);
    }
    r.code = ASD_MULTI_EXISTS;
    struct answer a = ask(s, r);
    struct asd_reply reply = decode(&a, r.code);
    assert_true(reply.exists.items[0] && !reply.exists.items[1] && reply.exists.items[2]);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
}

static void check_ranges(struct session *s)
{
    struct asd_request r = {.code = ASD_RANGE, .range = {.max = 1, .first_included = true}};
    struct answer a = ask(s, r);
    struct asd_reply reply = decode(&a, ASD_RANGE);

    assert_int_equal(reply.keys.count, 1);
    assert_true(slice_eq(reply.keys.items[0], slice_str("l")));
    assert_true(reply.keys.more);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    r.code = ASD_RANGE_ENTRIES;
    r.range.max = -1;
    r.range.reverse = true;
    r.range.first = slice_str("z");
    a = ask(s, r);
    reply = decode(&a, ASD_RANGE_ENTRIES);
    assert_int_equal(reply.entries.count, 2);
    assert_true(slice_eq(reply.entries.items[0].value, slice_str("small")));
    assert_true(slice_eq(reply.entries.items[1].value, slice_of(large, LARGE)));
    assert_false(reply.entries.more);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    r = (struct asd_request){.code = ASD_RANGE_VALIDATE,
                             .prio = ASD_PRIO_LOW,
                             .range = {.max = -1, .first_included = true},
                             .verify_checksum = true,
                             .show_all = true};
    a = ask(s, r);
    reply = decode(&a, ASD_RANGE_VALIDATE);
    assert_int_equal(reply.validations.count, 2);
    assert_int_equal(reply.validations.items[0].check_count, 2);
    assert_true(slice_eq(reply.validations.items[0].checks[0].name, slice_str("file_exists")));
    assert_true(slice_eq(reply.validations.items[0].checks[1].name, slice_str("CRC32c")));
    assert_true(reply.validations.items[0].checks[1].ok);
    assert_int_equal(reply.validations.items[1].check_count, 1);
    assert_false(reply.validations.has_next);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    r.show_all = false;
    a = ask(s, r);
    reply = decode(&a, ASD_RANGE_VALIDATE);
    assert_int_equal(reply.validations.count, 0); /* nothing is wrong */
    asd_reply_release(&reply);
    buf_release(&a.bytes);
}

static void check_parts(struct session *s)
{
    struct asd_part parts[] = {{LARGE - 10, 10}, {0, 5000}};
    struct asd_request r = {.code = ASD_PARTIAL_GET,
                            .partial = {.key = slice_str("l"), .parts = parts, .part_count = 2}};
    struct answer a = ask(s, r);
    struct asd_reply reply = decode(&a, ASD_PARTIAL_GET);

    assert_true(reply.partial.found);
    assert_int_equal(reply.partial.data.len, 5010);
    assert_memory_equal(reply.partial.data.data, large + LARGE - 10, 10);
    assert_memory_equal(reply.partial.data.data + 10, large, 5000);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    r.partial.key = slice_str("none");
    a = ask(s, r);
    assert_int_equal(a.rc, 0);
    assert_int_equal(rd_u8(&a.payload), 0); /* not found, nothing follows */
    assert_int_equal(rd_left(&a.payload), 0);
    buf_release(&a.bytes);
}

static void check_service(struct session *s)
{
    struct answer a = ask(s, (struct asd_request){.code = ASD_GET_VERSION});
    struct asd_reply reply = decode(&a, ASD_GET_VERSION);

    assert_true(reply.version.text.len > 0);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    a = ask(s, (struct asd_request){.code = ASD_GET_DISK_USAGE});
    reply = decode(&a, ASD_GET_DISK_USAGE);
    assert_true(reply.usage.used_bytes > LARGE);
    assert_int_equal(reply.usage.capacity_bytes, INT64_C(1) << 40);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    a = ask(s, (struct asd_request){.code = ASD_CAPABILITIES});
    assert_int_equal(rd_left(&a.payload), 8); /* count 2; 01 02, 01 01 (the last one first) */
    assert_memory_equal(a.payload.pos, "\2\0\0\0\1\2\1\1", 8);
    buf_release(&a.bytes);
    expect_rc(s, (struct asd_request){.code = ASD_SET_FULL, .full = false}, 0);
    expect_rc(s, (struct asd_request){.code = ASD_SLOWNESS}, 0);
    a = ask(s, (struct asd_request){.code = ASD_STATISTICS, .clear = true});
    reply = decode(&a, ASD_STATISTICS);
    assert_true(reply.statistics.entry_count >= 10);
    for (uint32_t i = 0; i < reply.statistics.entry_count; i++) {
        assert_true(reply.statistics.entries[i].stat.n > 0);
    }
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    a = ask(s, (struct asd_request){.code = ASD_STATISTICS});
    reply = decode(&a, ASD_STATISTICS);
    assert_int_equal(reply.statistics.entry_count, 1); /* the one that cleared */
    asd_reply_release(&reply);
    buf_release(&a.bytes);
}

static void check_commands(struct server_fixture *f, unsigned version)
{
    struct session s = open_session(f, version);

    put(&s, "s", "small", 5);
    put(&s, "l", large, LARGE);
    check_values(&s);
    check_ranges(&s);
    check_parts(&s);
    check_service(&s);
    close(s.fd);
}

static void every_command_works_in_version_1(void **state)
{
    check_commands(*state, ASD_VERSION_1);
}

static void every_command_works_in_version_2(void **state)
{
    check_commands(*state, ASD_VERSION_2);
}

static struct io_ops below, seen;
static unsigned in_place;

static ssize_t seen_pwritev(struct io *io, int fd, const struct iovec *iov, int n, uint64_t offset)
{
    in_place += n == 2 && iov[0].iov_len == LARGE / IO_DIRECT_BYTES * IO_DIRECT_BYTES;
    return below.pwritev(io, fd, iov, n, offset);
}

static void a_large_value_is_received_where_it_can_be_written_from(void **state)
{
    struct server_fixture *f = *state;

    in_place = 0;
    below = seen = *crash_disk_io(f->base.disk)->ops;
    seen.pwritev = seen_pwritev;
    crash_disk_io(f->base.disk)->ops = &seen;
    check_commands(f, ASD_VERSION_1);
    check_commands(f, ASD_VERSION_2);
    assert_int_equal(in_place, 2);
}

/* The example of the protocol description, as the existing C++ client sends it: its list is
 * not reversed and its priority has four bytes. */
static void the_existing_client_reads_a_slice(void **state)
{
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_1);
    uint8_t key[59];
    struct asd_update u = {.key = slice_of(key, sizeof key), .value = slice_of(large, LARGE)};

    assert_int_equal(hex_decode(key, sizeof key,
                                "70000000006e000000056f20000000"
                                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                                "010000000200000000000000"),
                     0);
    expect_rc(&s, apply_of(NULL, &u), 0);
    send_hex(&s, "530000000b0000003b00000070000000006e000000056f20000000"
                 "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
                 "010000000200000000000000"
                 "01000000001000000002000001000000");
    expect_hex(&s, "05000000"
                   "00000000"
                   "01");
    expect_bytes(&s, large + 4096, 512);
    send_hex(&s, "0400000007000000"); /* GetVersion, on the same connection */
    struct answer a = recv_answer(&s);
    assert_int_equal(a.rc, 0);
    buf_release(&a.bytes);
    close(s.fd);
}

/* ---- errors ---- */

static void check_errors(struct server_fixture *f, unsigned version)
{
    bool v2 = version == ASD_VERSION_2;
    struct session s = open_session(f, version);
    struct asd_assert a = {.key = slice_str("s"), .value = slice_str("x"), .has_value = true};
    struct asd_update u = set("new", "n", 1);
    struct asd_part beyond = {LARGE, 1};
    struct asd_request partial = {
        .code = ASD_PARTIAL_GET,
        .partial = {.key = slice_str("l"), .parts = &beyond, .part_count = 1}};
    struct slice key = slice_str("l");
    struct asd_request get = {.code = ASD_MULTI_GET, .keys = {.items = &key, .count = 1}};
    struct asd_request full = {.code = ASD_SET_FULL, .full = true};
    struct answer answer;
    struct err e;

    put(&s, "s", "small", 5);
    put(&s, "l", large, LARGE);
    answer = ask(&s, apply_of(&a, &u));
    assert_int_equal(answer.rc, ASD_RC_ASSERT_FAILED);
    assert_int_equal(asd_error_get(answer.rc, answer.payload, &key, &e), ERR_ASSERT_FAILED);
    assert_true(slice_eq(key, slice_str("s")));
    buf_release(&answer.bytes);

    expect_rc(&s, partial, v2 ? ASD_RC_BAD_SLICE : ASD_RC_UNKNOWN);
    expect_rc(&s, full, 0);
    answer = ask(&s, apply_of(NULL, &u));
    assert_int_equal(answer.rc, ASD_RC_FULL);
    assert_int_equal(rd_left(&answer.payload), 0);
    buf_release(&answer.bytes);
    full.full = false;
    expect_rc(&s, full, 0);

    send_hex(&s, v2 ? "080000000700000063000000" : "0400000063000000");
    answer = recv_answer(&s);
    assert_int_equal(answer.rc, ASD_RC_UNKNOWN_OPERATION);
    assert_int_equal(rd_left(&answer.payload), 0);
    assert_int_equal(answer.id, v2 ? 7 : 0);
    buf_release(&answer.bytes);

    assert_int_equal(
        crash_disk_corrupt(f->base.disk, "/asd/slabs/0000000000000000", ASD_SLAB_HEADER_BYTES + 9),
        0);
    key = slice_str("l");
    answer = ask(&s, get);
    assert_int_equal(answer.rc, v2 ? ASD_RC_CORRUPT : ASD_RC_UNKNOWN);
    assert_true(asd_error_get(answer.rc, answer.payload, &key, &e) != 0);
    if (v2) {
        assert_true(slice_eq(key, slice_str("l")));
    } else {
        assert_non_null(strstr(e.msg, "value"));
    }
    buf_release(&answer.bytes);

    crash_disk_fail_at(f->base.disk, crash_disk_io_count(f->base.disk) + 1, -EIO);
    expect_rc(&s, apply_of(NULL, &u), v2 ? ASD_RC_FAILED : ASD_RC_UNKNOWN);
    expect_rc(&s, apply_of(NULL, &u), v2 ? ASD_RC_FAILED : ASD_RC_UNKNOWN);
    expect_rc(&s, (struct asd_request){.code = ASD_GET_VERSION}, 0);
    close(s.fd);
}

static void errors_have_the_codes_of_version_1(void **state)
{
    check_errors(*state, ASD_VERSION_1);
}

static void errors_have_the_codes_of_version_2(void **state)
{
    check_errors(*state, ASD_VERSION_2);
}

static void the_reserve_flag_goes_beyond_full(void **state)
{
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_2);
    struct asd_update u = set("k", "v", 1);
    struct asd_request apply = apply_of(NULL, &u);

    expect_rc(&s, (struct asd_request){.code = ASD_SET_FULL, .full = true}, 0);
    expect_rc(&s, apply, ASD_RC_FULL);
    apply.apply.flags = ASD_APPLY_RESERVE;
    expect_rc(&s, apply, 0);
    close(s.fd);
}

/* With several loops each of these sessions is on another one. */
static void settings_and_statistics_are_one_for_all_connections(void **state)
{
    struct server_fixture *f = *state;
    struct asd_request full = {.code = ASD_SET_FULL, .full = true};
    struct asd_request slow = {.code = ASD_SLOWNESS, .slowness = {.fixed_s = 1000, .on = true}};
    struct asd_update u = set("k", "v", 1);
    struct asd_request usage = {.code = ASD_GET_DISK_USAGE};
    struct session s[SERVER_THREADS];
    struct answer a;
    struct asd_reply reply;

    for (unsigned i = 0; i < SERVER_THREADS; i++) {
        s[i] = open_session(f, ASD_VERSION_2);
        put(&s[i], "k", "v", 1);
    }
    expect_rc(&s[0], full, 0);
    for (unsigned i = 0; i < SERVER_THREADS; i++) {
        expect_rc(&s[i], apply_of(NULL, &u), ASD_RC_FULL);
    }
    a = ask(&s[1], (struct asd_request){.code = ASD_STATISTICS, .clear = true});
    reply = decode(&a, ASD_STATISTICS);
    assert_int_equal(reply.statistics.entries[0].code, ASD_APPLY);
    assert_int_equal(reply.statistics.entries[0].stat.n, 2 * SERVER_THREADS);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
    expect_rc(&s[2], slow, 0);
    for (unsigned i = 0; i < SERVER_THREADS; i++) {
        send_request(&s[i], &usage);
    }
    RAW_UNTIL(s[0].loop, asd_server_requests(f->server) == SERVER_THREADS);
    server_fixture_end_serving(f); /* what is being delayed does not keep it */
    for (unsigned i = 0; i < SERVER_THREADS; i++) {
        close(s[i].fd);
    }
}

/* ---- many in flight ---- */

static void version_2_answers_many_requests_each_once(void **state)
{
    enum { N = ASD_SERVER_REQUESTS_MAX + 100 };
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_2);
    bool *answered = mem_array(N + 1, sizeof(*answered));
    char name[16];

    for (unsigned i = 0; i < N; i++) {
        struct asd_update u;

        snprintf(name, sizeof name, "key %u", i);
        u = set(name, large, i % 50 == 0 ? LARGE : 10);
        struct asd_request r = apply_of(NULL, &u);
        send_request(&s, &r);
    }
    for (unsigned i = 0; i < N; i++) {
        struct answer a = recv_answer(&s);

        assert_int_equal(a.rc, 0);
        assert_true(a.id >= 1 && a.id <= N && !answered[a.id]);
        answered[a.id] = true;
        buf_release(&a.bytes);
    }
    assert_int_equal(asd_server_requests(f->server), 0);
    free(answered);
    close(s.fd);
}

static void a_slow_request_does_not_hold_up_others_in_version_2(void **state)
{
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_2);
    struct asd_request slow = {.code = ASD_SLOWNESS, .slowness = {.fixed_s = 0.3, .on = true}};
    struct asd_request usage = {.code = ASD_GET_DISK_USAGE};
    struct answer a;
    uint32_t delayed;

    expect_rc(&s, slow, 0);
    delayed = send_request(&s, &usage);
    slow.slowness.on = false;
    uint32_t quick = send_request(&s, &slow); /* Slowness itself is never delayed */
    a = recv_answer(&s);
    assert_int_equal(a.id, quick);
    buf_release(&a.bytes);
    a = recv_answer(&s);
    assert_int_equal(a.id, delayed);
    buf_release(&a.bytes);
    close(s.fd);
}

static void version_1_answers_in_order(void **state)
{
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_1);
    struct asd_request slow = {.code = ASD_SLOWNESS, .slowness = {.fixed_s = 0.1, .on = true}};
    struct asd_request usage = {.code = ASD_GET_DISK_USAGE};
    struct answer a;

    expect_rc(&s, slow, 0);
    send_request(&s, &usage);
    slow.slowness.on = false;
    send_request(&s, &slow);
    a = recv_answer(&s);
    assert_int_equal(rd_left(&a.payload), 16); /* the usage came first */
    buf_release(&a.bytes);
    a = recv_answer(&s);
    assert_int_equal(rd_left(&a.payload), 0);
    buf_release(&a.bytes);
    close(s.fd);
}

/* Every loop has served, and so has opened what it needs. */
static void warm_up(struct server_fixture *f)
{
    struct session s[SERVER_THREADS];

    for (unsigned i = 0; i < f->threads; i++) {
        s[i] = open_session(f, ASD_VERSION_2);
        expect_rc(&s[i], (struct asd_request){.code = ASD_GET_VERSION}, 0);
    }
    for (unsigned i = 0; i < f->threads; i++) {
        close(s[i].fd);
    }
    RAW_UNTIL(f->loop, asd_server_connections(f->server) == 0);
}

static void a_client_that_hangs_up_leaves_nothing_behind(void **state)
{
    struct server_fixture *f = *state;
    unsigned fds;

    warm_up(f);
    fds = raw_open_fds();
    for (unsigned round = 0; round < 30; round++) {
        struct session s = open_session(f, ASD_VERSION_2);
        char name[16];

        for (unsigned i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "%u/%u", round, i);
            struct asd_update u = set(name, large, LARGE);
            struct slice key = slice_str(name);
            struct asd_request r = apply_of(NULL, &u);
            struct asd_request get = {.code = ASD_MULTI_GET2, .keys = {&key, 1}};

            send_request(&s, &r);
            send_request(&s, &get);
        }
        close(s.fd);
    }
    RAW_UNTIL(f->loop,
              asd_server_requests(f->server) == 0 && asd_server_connections(f->server) == 0);
    assert_int_equal(raw_open_fds(), fds);
    struct session s = open_session(f, ASD_VERSION_2);
    put(&s, "after", large, LARGE);
    close(s.fd);
    assert_true(asd_fixture_has(&f->base, "after", large, LARGE));
}

static void requests_in_flight_are_answered_before_the_server_closes(void **state)
{
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_2);
    struct asd_update u = set("k", large, LARGE);
    struct asd_request r = apply_of(NULL, &u);
    struct asd_request slow = {.code = ASD_SLOWNESS, .slowness = {.fixed_s = 1000, .on = true}};
    struct asd_request usage = {.code = ASD_GET_DISK_USAGE};
    struct answer a;

    send_request(&s, &r);
    RAW_UNTIL(s.loop, asd_server_requests(f->server) == 1);
    asd_server_close(f->server, loop_set_true, &f->closed);
    a = recv_answer(&s);
    assert_int_equal(a.rc, 0);
    buf_release(&a.bytes);
    assert_true(raw_is_closed_by_peer(s.loop, s.fd));
    RAW_UNTIL(s.loop, f->closed);
    f->server = NULL;
    assert_true(asd_fixture_has(&f->base, "k", large, LARGE));
    close(s.fd);

    /* One that is being delayed does not keep a server from closing. */
    server_teardown(state);
    server_setup(state);
    f = *state;
    s = open_session(f, ASD_VERSION_2);
    expect_rc(&s, slow, 0);
    send_request(&s, &usage);
    RAW_UNTIL(s.loop, asd_server_requests(f->server) == 1);
    server_fixture_end_serving(f);
    close(s.fd);
}

/* ---- clocks ---- */

static uint64_t wall_s;

static uint64_t fake_wall_us(void)
{
    return wall_s * 1000000;
}

static void expect_statistics(struct session *s, bool clear, double creation_s)
{
    struct asd_request r = {.code = ASD_STATISTICS, .clear = clear};
    struct answer a = ask(s, r);
    struct asd_reply reply = decode(&a, r.code);

    assert_true(reply.statistics.creation_s == creation_s);
    assert_true(reply.statistics.period_s >= 0 && reply.statistics.period_s < 1000);
    asd_reply_release(&reply);
    buf_release(&a.bytes);
}

/* Only the time that statistics began at comes from it. */
static void a_wall_clock_that_steps_changes_no_period_and_no_delay(void **state)
{
    struct server_fixture *f = *state;
    struct asd_request slow = {.code = ASD_SLOWNESS, .slowness = {.fixed_s = 0.001, .on = true}};
    struct session s;

    server_fixture_end_serving(f);
    wall_s = 1800000000;
    f->wall_us = fake_wall_us;
    server_fixture_serve(f);
    s = open_session(f, ASD_VERSION_2);
    expect_rc(&s, slow, 0);
    wall_s -= 100 * 86400;
    expect_statistics(&s, false, 1800000000);
    wall_s += 200 * 86400;
    expect_statistics(&s, true, 1800000000);
    expect_statistics(&s, false, (double)wall_s);
    put(&s, "k", large, LARGE);
    close(s.fd);
}

/* ---- garbage ---- */

static void a_frame_longer_than_the_limit_is_closed(void **state)
{
    struct server_fixture *f = *state;
    struct session s = open_session(f, ASD_VERSION_2);

    send_hex(&s, "00000080");
    assert_true(raw_is_closed_by_peer(s.loop, s.fd));
    close(s.fd);
}

static void random_frames_are_answered_or_closed_and_change_nothing(void **state)
{
    struct server_fixture *f = *state;
    uint64_t seed = 4711;
    struct rnd rnd = rnd_seed(seed);
    struct session s = open_session(f, ASD_VERSION_2);

    put(&s, "kept", large, LARGE);
    printf("seed %llu\n", (unsigned long long)seed);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t frame[200];
        size_t bytes = 4 + rnd_below(&rnd, 60);

        for (size_t at = 0; at < sizeof frame; at++) {
            frame[at] = (uint8_t)(rnd_below(&rnd, 3) == 0 ? rnd_next(&rnd) : 0);
        }
        put_u32le(frame, (uint32_t)bytes);
        put_u32le(frame + 4, i);
        frame[8] = (uint8_t)rnd_below(&rnd, 13); /* not Slowness, not RangeValidate */
        memset(frame + 9, 0, 3);
        if (frame[8] == ASD_APPLY || frame[8] == ASD_SET_FULL) {
            bytes = 4 + rnd_below(&rnd, 5); /* cut off: it must not do anything */
            put_u32le(frame, (uint32_t)bytes);
        }
        raw_send(s.loop, s.fd, frame, 4 + bytes);
        struct answer a = recv_answer(&s);
        buf_release(&a.bytes);
    }
    assert_true(asd_fixture_has(&f->base, "kept", large, LARGE));
    close(s.fd);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_preamble_is_answered_with_the_own_id),
        TEST(another_id_gets_the_own_one_and_an_end),
        TEST(a_client_that_takes_any_asd_is_welcome),
        TEST(wrong_magic_is_closed_without_an_answer),
        TEST(an_unknown_version_is_refused_with_code_7),
        TEST(every_command_works_in_version_1),
        TEST(every_command_works_in_version_2),
        TEST(a_large_value_is_received_where_it_can_be_written_from),
        TEST(the_existing_client_reads_a_slice),
        TEST(errors_have_the_codes_of_version_1),
        TEST(errors_have_the_codes_of_version_2),
        TEST(the_reserve_flag_goes_beyond_full),
        TEST(settings_and_statistics_are_one_for_all_connections),
        TEST(version_2_answers_many_requests_each_once),
        TEST(a_slow_request_does_not_hold_up_others_in_version_2),
        TEST(version_1_answers_in_order),
        TEST(a_client_that_hangs_up_leaves_nothing_behind),
        TEST(requests_in_flight_are_answered_before_the_server_closes),
        TEST(a_wall_clock_that_steps_changes_no_period_and_no_delay),
        TEST(a_frame_longer_than_the_limit_is_closed),
        TEST(random_frames_are_answered_or_closed_and_change_nothing),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = server_run_tests(tests, sizeof(tests) / sizeof(tests[0]));
    free(large);
    return rc;
}
