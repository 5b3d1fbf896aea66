/* Limits, deadlines, disconnects and shutdown of the NBD server. */
#include "loop/run.h"
#include "volumedriver/nbd_server.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "lib/nbd_fixture.h"
#include "lib/tempdir.h"

enum { KIB = 1024, MIB = 1048576 };

static uint8_t data[32 * MIB];

static int setup_strict(void **state)
{
    struct nbd_server_options options = {
        .connections_max = 3, .handshake_timeout_ms = 300, .stall_timeout_ms = 300};
    struct nbd_fixture *f = mem_zalloc(sizeof(*f));

    nbd_fixture_init(f, &options);
    *state = f;
    return 0;
}

/* ---- limits ---- */

static void connections_beyond_the_limit_are_closed_at_once(void **state)
{
    struct nbd_fixture *f = *state;
    int fds[3];
    int late;

    for (int i = 0; i < 3; i++) {
        fds[i] = nbd_play_go(f, "disk", false, false);
    }
    late = nbd_play_connect(f);
    nbd_play_expect_end(f, late);
    close(late);
    assert_int_equal(nbd_fixture_stats(f).refused_limit, 1);
    close(fds[0]);
    nbd_fixture_wait_connections(f, 2);
    fds[0] = nbd_play_go(f, "disk", false, false);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void requests_in_flight_are_limited_and_none_is_lost(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    for (uint64_t i = 0; i < 1000; i++) {
        nbd_play_request(f, fd, NBD_CMD_READ, 0, i, 0, 512);
    }
    nbd_fixture_wait_in_flight(f, NBD_CONN_REQS_MAX);
    nbd_fixture_turn(f, 20);
    assert_int_equal(volume_double_in_flight(f->disk), NBD_CONN_REQS_MAX);
    volume_double_hold(f->disk, false);
    for (uint64_t i = 0; i < 1000; i++) {
        nbd_play_expect_simple(f, fd, i, NBD_SUCCESS);
        nbd_play_receive(f, fd, data, 512);
    }
    assert_int_equal(volume_double_peak(f->disk), NBD_CONN_REQS_MAX);
    close(fd);
}

static void bytes_in_flight_are_limited_and_none_is_lost(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    for (uint64_t i = 0; i < 10; i++) {
        nbd_play_request(f, fd, NBD_CMD_READ, 0, i, 0, 20 * MIB);
    }
    nbd_fixture_wait_in_flight(f, NBD_CONN_BYTES_MAX / (20 * MIB));
    nbd_play_expect_silence(f, fd, 20);
    assert_int_equal(volume_double_in_flight(f->disk), NBD_CONN_BYTES_MAX / (20 * MIB));
    volume_double_hold(f->disk, false);
    for (uint64_t i = 0; i < 10; i++) {
        nbd_play_expect_simple(f, fd, i, NBD_SUCCESS);
        nbd_play_receive(f, fd, data, 20 * MIB);
    }
    close(fd);
}

static void a_reply_that_leaves_in_pieces_arrives_whole(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", true, false);
    uint8_t *disk = volume_double_data(f->disk);
    uint8_t *back = mem_alloc(32 * MIB);

    nbd_play_pattern(disk, 32 * MIB, 5);
    for (uint64_t cookie = 0; cookie < 3; cookie++) {
        nbd_play_request(f, fd, NBD_CMD_READ, 0, cookie, 0, 32 * MIB);
    }
    for (uint64_t cookie = 0; cookie < 3; cookie++) {
        nbd_fixture_turn(f, 20); /* the socket is full */
        nbd_play_expect_chunk(f, fd, cookie, 1, NBD_REPLY_TYPE_OFFSET_DATA);
        nbd_play_receive(f, fd, back, 8);
        nbd_play_receive(f, fd, back, 32 * MIB);
        assert_memory_equal(back, disk, 32 * MIB);
    }
    free(back);
    close(fd);
}

static void a_volume_that_is_busy_is_asked_again(void **state)
{
    struct nbd_fixture *f = *state;
    int fds[2] = {nbd_play_go(f, "disk", false, false), nbd_play_go(f, "disk", false, false)};

    volume_double_reqs_max(f->disk, 3);
    for (uint64_t i = 0; i < 200; i++) {
        nbd_play_write(f, fds[i % 2], 0, i, i * 512, data, 512);
    }
    for (uint64_t i = 0; i < 200; i++) {
        nbd_play_expect_simple(f, fds[i % 2], i, NBD_SUCCESS);
    }
    assert_int_equal(volume_double_peak(f->disk), 3);
    close(fds[0]);
    close(fds[1]);
}

static void a_volume_that_is_busy_for_others_is_asked_again(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_reqs_max(f->disk, 0); /* nothing of ours is there whose end could wake us */
    nbd_play_request(f, fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_silence(f, fd, 50);
    volume_double_reqs_max(f->disk, 1);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    close(fd);
}

static void a_thousand_connections_come_and_go(void **state)
{
    struct nbd_fixture *f = *state;

    for (int i = 0; i < 1000; i++) {
        int fd = i % 2 == 0 ? nbd_play_go(f, "disk", true, false) : nbd_play_greet(f);

        close(fd);
    }
    nbd_fixture_wait_connections(f, 0);
    assert_int_equal(nbd_fixture_stats(f).accepted, 1000);
    assert_int_equal(nbd_fixture_stats(f).handshakes_lost, 500);
}

static void many_connections_are_served_at_once(void **state)
{
    struct nbd_fixture *f = *state;
    int fds[200];

    for (int i = 0; i < 200; i++) {
        fds[i] = nbd_play_go(f, "disk", false, false);
        nbd_play_write(f, fds[i], 0, 1, (uint64_t)i * 512, data, 512);
    }
    assert_int_equal(nbd_fixture_stats(f).attached, 200);
    for (int i = 0; i < 200; i++) {
        nbd_play_expect_simple(f, fds[i], 1, NBD_SUCCESS);
        close(fds[i]);
    }
    nbd_fixture_wait_connections(f, 0);
}

static void running_out_of_descriptors_is_survived(void **state)
{
    struct nbd_fixture *f = *state;
    struct rlimit old, low;
    int first = nbd_play_go(f, "disk", false, false);
    int late = nbd_play_connect(f);

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)late + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    nbd_fixture_turn(f, 50);
    nbd_play_request(f, first, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_simple(f, first, 1, NBD_SUCCESS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    nbd_play_receive(f, late, data, NBD_GREETING_BYTES);
    close(first);
    close(late);
}

/* ---- deadlines ---- */

static void a_slow_handshake_is_ended(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_greet(f);

    nbd_play_send(f, fd, "IHAVE", 5);
    nbd_play_expect_end(f, fd);
    close(fd);
    nbd_fixture_wait_connections(f, 0);
}

/* ---- exports that are being opened ---- */

static int setup_opening(void **state)
{
    struct nbd_server_options options = {.handshake_timeout_ms = 300, .hold_ms = 600};
    struct nbd_fixture *f = mem_zalloc(sizeof(*f));

    nbd_fixture_init(f, &options);
    f->opening = f->hidden[0] = true;
    *state = f;
    return 0;
}

static void ask(struct nbd_fixture *f, int fd, const char *name)
{
    struct buf b = {0};

    buf_put_u32be(&b, (uint32_t)strlen(name));
    buf_put(&b, name, strlen(name));
    buf_put(&b, "\0\0", 2);
    nbd_play_option(f, fd, NBD_OPT_GO, b.data, b.len);
    buf_release(&b);
}

static void assert_refused(struct nbd_fixture *f, int fd, const char *why)
{
    struct slice said = nbd_play_reply(f, fd, NBD_OPT_GO, NBD_REP_ERR_UNKNOWN);

    assert_non_null(memmem(said.data, said.len, why, strlen(why)));
}

/* Longer than a handshake may take otherwise. */
static void a_client_waits_for_its_export_to_open(void **state)
{
    struct nbd_fixture *f = *state;
    int early = nbd_play_greet(f);
    int lister = nbd_play_greet(f);
    int fd;

    ask(f, early, "disk");
    nbd_play_option(f, lister, NBD_OPT_LIST, NULL, 0);
    nbd_play_expect_silence(f, early, 400);
    nbd_play_expect_silence(f, lister, 10);
    fd = nbd_play_go(f, "other", false, false); /* which is open */
    f->hidden[0] = false;
    nbd_play_reply(f, early, NBD_OPT_GO, NBD_REP_INFO);
    nbd_play_reply(f, early, NBD_OPT_GO, NBD_REP_ACK);
    nbd_play_request(f, early, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_simple(f, early, 1, NBD_SUCCESS);
    for (int i = 0; i < NBD_FIXTURE_EXPORTS; i++) {
        nbd_play_reply(f, lister, NBD_OPT_LIST, NBD_REP_SERVER);
    }
    nbd_play_reply(f, lister, NBD_OPT_LIST, NBD_REP_ACK);
    close(early);
    close(lister);
    close(fd);
}

static void a_client_does_not_wait_for_ever(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_greet(f);

    ask(f, fd, "nothing"); /* of which nothing is to be expected */
    assert_refused(f, fd, "no export 'nothing'");
    ask(f, fd, "disk");
    nbd_play_expect_silence(f, fd, 400);
    assert_refused(f, fd, "'disk' is still being opened");
    ask(f, fd, "disk"); /* it had its time */
    assert_refused(f, fd, "'disk' is still being opened");
    ask(f, fd, "other");
    nbd_play_reply(f, fd, NBD_OPT_GO, NBD_REP_INFO);
    nbd_play_reply(f, fd, NBD_OPT_GO, NBD_REP_ACK);
    close(fd);
}

static void a_client_that_leaves_while_it_waits_is_forgotten(void **state)
{
    struct nbd_fixture *f = *state;
    int gone = nbd_play_greet(f);
    int chatty = nbd_play_greet(f);

    ask(f, gone, "disk");
    ask(f, chatty, "disk");
    memset(data, 0xff, MIB);
    (void)send(chatty, data, MIB, MSG_NOSIGNAL | MSG_DONTWAIT); /* nobody reads that now */
    nbd_play_expect_silence(f, gone, 50);
    close(gone);
    nbd_fixture_wait_connections(f, 1);
    close(chatty);
    nbd_fixture_wait_connections(f, 0);
}

static void an_idle_connection_may_stay(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_fixture_turn(f, 1800);
    nbd_play_request(f, fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    close(fd);
}

static void a_slow_volume_is_not_the_clients_fault(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    nbd_play_request(f, fd, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_fixture_turn(f, 1800);
    volume_double_hold(f->disk, false);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    close(fd);
}

static void a_peer_that_stops_inside_a_request_is_ended(void **state)
{
    struct nbd_fixture *f = *state;
    int header = nbd_play_go(f, "disk", false, false);
    int payload = nbd_play_go(f, "disk", false, false);

    nbd_play_send(f, header, "\x25\x60\x95", 3);
    nbd_play_request(f, payload, NBD_CMD_WRITE, 0, 1, 0, MIB);
    nbd_play_send(f, payload, data, 1000);
    nbd_play_expect_end(f, header);
    nbd_play_expect_end(f, payload);
    nbd_fixture_wait_connections(f, 0);
    assert_int_equal(volume_double_peak(f->disk), 0);
    close(header);
    close(payload);
}

static void a_peer_that_takes_no_replies_is_ended(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_request(f, fd, NBD_CMD_READ, 0, 1, 0, 32 * MIB);
    nbd_fixture_wait_connections(f, 0);
    close(fd);
}

/* ---- disconnects ---- */

static void disc_lets_requests_in_flight_finish(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    nbd_play_write(f, fd, 0, 1, 0, data, 4096);
    nbd_play_request(f, fd, NBD_CMD_DISC, 0, 2, 0, 0);
    nbd_fixture_wait_in_flight(f, 1);
    nbd_play_expect_silence(f, fd, 20);
    volume_double_hold(f->disk, false);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_expect_end(f, fd);
    close(fd);
}

static void half_a_close_lets_requests_in_flight_finish(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    nbd_play_write(f, fd, 0, 1, 0, data, 4096);
    shutdown(fd, SHUT_WR);
    nbd_fixture_wait_in_flight(f, 1);
    nbd_fixture_turn(f, 10);
    volume_double_hold(f->disk, false);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_expect_end(f, fd);
    close(fd);
}

static void a_vanished_client_is_waited_for_until_the_volume_answered(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);
    struct linger linger = {.l_onoff = 1};

    nbd_play_pattern(data, 4096, 1);
    volume_double_hold(f->disk, true);
    volume_double_reqs_max(f->disk, 5);
    for (uint64_t i = 0; i < 10; i++) { /* five reach the volume, five wait for it */
        nbd_play_write(f, fd, 0, i, i * 4096, data, 4096);
    }
    nbd_fixture_wait_in_flight(f, 5);
    nbd_play_send(f, fd, "\x25", 1); /* and one begins */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd); /* a reset */
    nbd_fixture_turn(f, 50);
    assert_int_equal(nbd_fixture_stats(f).connections, 1);
    assert_int_equal(volume_double_in_flight(f->disk), 5);
    volume_double_hold(f->disk, false);
    nbd_fixture_wait_connections(f, 0);
    assert_memory_equal(volume_double_data(f->disk) + 4 * 4096, data, 4096);
    assert_int_equal(volume_double_data(f->disk)[5 * 4096], 0); /* those that waited never went */
}

/* A connection that sends `bytes` of a valid talk and goes away, for each length. */
static void a_talk_cut_at_any_byte_harms_nobody(void **state)
{
    struct nbd_fixture *f = *state;
    static const char talk[] = "\0\0\0\3"
                               "IHAVEOPT\0\0\0\x08\0\0\0\0"
                               "IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\4disk\0\0"
                               "\x25\x60\x95\x13\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\2\0";
    int other = nbd_play_go(f, "other", false, false);
    uint8_t whole[sizeof(talk) - 1 + 512];

    memcpy(whole, talk, sizeof(talk) - 1);
    memset(whole + sizeof(talk) - 1, 0x5a, 512);
    for (size_t bytes = 0; bytes < sizeof(whole); bytes++) {
        int fd = nbd_play_connect(f);

        nbd_play_send(f, fd, whole, bytes);
        if (bytes % 2 == 0) {
            shutdown(fd, SHUT_WR);
            nbd_fixture_wait_connections(f, 1);
        }
        close(fd);
        nbd_fixture_wait_connections(f, 1);
    }
    assert_int_equal(volume_double_data(f->disk)[0], 0); /* no half write took place */
    nbd_play_request(f, other, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_simple(f, other, 1, NBD_SUCCESS);
    close(other);
}

static void garbage_ends_only_its_own_connection(void **state)
{
    struct nbd_fixture *f = *state;
    uint64_t seed = 0;
    struct rnd r;

    rnd_bytes(&seed, sizeof(seed));
    print_message("seed %llu\n", (unsigned long long)seed);
    r = rnd_seed(seed);
    for (int i = 0; i < 200; i++) {
        int fd = i % 2 == 0 ? nbd_play_connect(f) : nbd_play_go(f, "disk", i % 4 == 1, false);
        size_t bytes = 1 + rnd_below(&r, 3000);

        for (size_t j = 0; j < bytes; j++) {
            data[j] = (uint8_t)rnd_next(&r);
        }
        send(fd, data, bytes, MSG_NOSIGNAL);
        nbd_fixture_turn(f, 1);
        close(fd);
    }
    nbd_fixture_wait_connections(f, 0);
}

static void a_bad_magic_ends_the_connection(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_send(f, fd, "GET / HTTP/1.1\r\nHost: nbd\r\n\r\n", 29);
    nbd_play_expect_end(f, fd);
    close(fd);
}

/* ---- shutdown ---- */

static void closing_answers_what_is_in_flight(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);
    int visitor = nbd_play_greet(f);
    int idle = nbd_play_go(f, "other", false, false);

    nbd_fixture_turn(f, 10);
    volume_double_hold(f->disk, true);
    nbd_play_write(f, fd, 0, 1, 0, data, 4096);
    nbd_fixture_wait_in_flight(f, 1);
    nbd_fixture_close_server(f, 5000);
    nbd_play_expect_end(f, visitor);
    nbd_play_expect_end(f, idle);
    nbd_play_request(f, fd, NBD_CMD_READ, 0, 2, 0, 512);
    nbd_play_write(f, fd, 0, 3, 0, data, 4096);
    nbd_play_expect_simple(f, fd, 2, NBD_ESHUTDOWN);
    nbd_play_expect_simple(f, fd, 3, NBD_ESHUTDOWN);
    assert_false(f->server_closed);
    volume_double_hold(f->disk, false);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_expect_end(f, fd);
    loop_fixture_run_until(&f->base, &f->server_closed);
    close(fd);
    close(visitor);
    close(idle);
}

static void closing_does_not_wait_for_peers_beyond_its_time(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    nbd_play_request(f, fd, NBD_CMD_READ, 0, 1, 0, 32 * MIB); /* nobody takes the reply */
    nbd_fixture_turn(f, 50);
    nbd_fixture_close_server(f, 100);
    loop_fixture_run_until(&f->base, &f->server_closed);
    close(fd);
}

static void closing_waits_for_the_volume_after_its_time(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);

    volume_double_hold(f->disk, true);
    nbd_play_write(f, fd, 0, 1, 0, data, 4096);
    nbd_fixture_wait_in_flight(f, 1);
    nbd_fixture_close_server(f, 50);
    nbd_play_expect_end(f, fd);
    nbd_fixture_turn(f, 50);
    assert_false(f->server_closed);
    volume_double_hold(f->disk, false);
    loop_fixture_run_until(&f->base, &f->server_closed);
    close(fd);
}

static void a_dropped_export_loses_its_clients_and_only_those(void **state)
{
    struct nbd_fixture *f = *state;
    int fd = nbd_play_go(f, "disk", false, false);
    int other = nbd_play_go(f, "other", false, false);
    bool dropped = false;

    volume_double_hold(f->disk, true);
    nbd_play_write(f, fd, 0, 1, 0, data, 4096);
    nbd_fixture_wait_in_flight(f, 1);
    f->hidden[0] = true;
    nbd_server_drop_export(f->server, &f->table[0], 5000, loop_set_true, &dropped);
    nbd_fixture_turn(f, 20);
    assert_false(dropped);
    volume_double_hold(f->disk, false);
    nbd_play_expect_simple(f, fd, 1, NBD_SUCCESS);
    nbd_play_expect_end(f, fd);
    loop_fixture_run_until(&f->base, &dropped);
    nbd_play_request(f, other, NBD_CMD_FLUSH, 0, 1, 0, 0);
    nbd_play_expect_simple(f, other, 1, NBD_SUCCESS);
    dropped = false;
    f->hidden[1] = true;
    nbd_server_drop_export(f->server, &f->table[1], 0, loop_set_true,
                           &dropped); /* nobody is there */
    assert_false(dropped);
    loop_fixture_run_until(&f->base, &dropped);
    close(fd);
    close(other);
}

/* ---- addresses ---- */

static void an_address_in_use_is_named(void **state)
{
    struct nbd_fixture *f = *state;
    struct nbd_server *second;
    struct net_addr addrs[2];
    struct nbd_server_options options = {.addrs = addrs, .addr_count = 2, .exports = &f->exports};
    char *dir = tempdir_make();
    char *uri = mem_printf("unix://%s/nbd.sock", dir);
    char *tcp = mem_printf("tcp://127.0.0.1:%u", nbd_server_port(f->server, 0));
    struct err e;

    assert_int_equal(net_addr_parse(&addrs[0], uri, &e), 0);
    assert_int_equal(net_addr_parse(&addrs[1], tcp, &e), 0);
    assert_int_equal(nbd_server_new(&f->base.loop, &options, &second, &e), -EADDRINUSE);
    assert_non_null(strstr(e.msg, tcp));
    assert_int_equal(access(addrs[0].path, F_OK), -1); /* what was opened is taken away again */
    free(uri);
    free(tcp);
    tempdir_remove(dir);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nbd_fixture_setup, nbd_fixture_teardown)
#define TEST_OPENING(name)                                                                         \
    cmocka_unit_test_setup_teardown(name, setup_opening, nbd_fixture_teardown)
#define TEST_STRICT(name) cmocka_unit_test_setup_teardown(name, setup_strict, nbd_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_STRICT(connections_beyond_the_limit_are_closed_at_once),
        TEST(requests_in_flight_are_limited_and_none_is_lost),
        TEST(bytes_in_flight_are_limited_and_none_is_lost),
        TEST(a_reply_that_leaves_in_pieces_arrives_whole),
        TEST(a_volume_that_is_busy_is_asked_again),
        TEST(a_volume_that_is_busy_for_others_is_asked_again),
        TEST(a_thousand_connections_come_and_go),
        TEST(many_connections_are_served_at_once),
        TEST(running_out_of_descriptors_is_survived),
        TEST_STRICT(a_slow_handshake_is_ended),
        TEST_OPENING(a_client_waits_for_its_export_to_open),
        TEST_OPENING(a_client_does_not_wait_for_ever),
        TEST_OPENING(a_client_that_leaves_while_it_waits_is_forgotten),
        TEST_STRICT(an_idle_connection_may_stay),
        TEST_STRICT(a_slow_volume_is_not_the_clients_fault),
        TEST_STRICT(a_peer_that_stops_inside_a_request_is_ended),
        TEST_STRICT(a_peer_that_takes_no_replies_is_ended),
        TEST(disc_lets_requests_in_flight_finish),
        TEST(half_a_close_lets_requests_in_flight_finish),
        TEST(a_vanished_client_is_waited_for_until_the_volume_answered),
        TEST(a_talk_cut_at_any_byte_harms_nobody),
        TEST(garbage_ends_only_its_own_connection),
        TEST(a_bad_magic_ends_the_connection),
        TEST(closing_answers_what_is_in_flight),
        TEST(closing_does_not_wait_for_peers_beyond_its_time),
        TEST(closing_waits_for_the_volume_after_its_time),
        TEST(a_dropped_export_loses_its_clients_and_only_those),
        TEST(an_address_in_use_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
