/* Memory of the NBD server: who has room for payload, who waits, who is dropped for whom. */
#include "volumedriver/nbd_room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lib/nbd_fixture.h"

enum { KIB = 1024, MIB = 1048576 };

static uint8_t data[32 * MIB];

static void one_connection_cannot_take_the_memory_of_all(void **state)
{
    struct nbd_fixture *f = *state;
    enum { GREEDY = NBD_TARGET_BYTES_MAX / NBD_CONN_BYTES_MAX };
    int greedy[GREEDY];
    int hungry, small;

    volume_double_hold(f->disk, true);
    for (int i = 0; i < GREEDY; i++) {
        greedy[i] = nbd_play_go(f, "disk", false, false);
        nbd_play_request(f, greedy[i], NBD_CMD_READ, 0, 1, 0, 32 * MIB);
        nbd_play_request(f, greedy[i], NBD_CMD_READ, 0, 2, 0, 32 * MIB);
    }
    nbd_fixture_wait_in_flight(f, 2 * GREEDY);
    hungry = nbd_play_go(f, "disk", false, false);
    nbd_play_request(f, hungry, NBD_CMD_READ, 0, 3, 0, MIB);
    small = nbd_play_go(f, "disk", false, false);
    nbd_play_request(f, small, NBD_CMD_READ, 0, 4, 0, 4096);
    nbd_fixture_wait_in_flight(f, 2 * GREEDY + 1); /* the small one */
    nbd_fixture_turn(f, 20);
    assert_int_equal(volume_double_in_flight(f->disk), 2 * GREEDY + 1);
    volume_double_hold(f->disk, false);
    nbd_play_expect_simple(f, small, 4, NBD_SUCCESS);
    for (int i = 0; i < GREEDY; i++) {
        nbd_play_expect_simple(f, greedy[i], 1, NBD_SUCCESS);
        nbd_play_receive(f, greedy[i], data, 32 * MIB);
        nbd_play_expect_simple(f, greedy[i], 2, NBD_SUCCESS);
        nbd_play_receive(f, greedy[i], data, 32 * MIB);
        close(greedy[i]);
    }
    nbd_play_expect_simple(f, hungry, 3, NBD_SUCCESS);
    close(hungry);
    close(small);
}

/* As much of a write of 32 MiB as is taken. */
static void push_write(struct nbd_fixture *f, int fd, size_t bytes)
{
    uint64_t end = clock_mono_ms() + NBD_FIXTURE_WAIT_MS;
    size_t sent = 0;

    nbd_play_request(f, fd, NBD_CMD_WRITE, 0, 1, 0, 32 * MIB);
    for (unsigned idle = 0; sent < bytes && idle < 20;) {
        ssize_t n = send(fd, data + sent, bytes - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        assert_true(clock_mono_ms() < end);
        sent += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        nbd_fixture_turn(f, 1);
    }
}

/* As when the journal has no room: a volume's writes wait, and those who read do not. */
static void writes_that_wait_leave_room_for_reads(void **state)
{
    struct nbd_fixture *f = *state;
    enum { WRITERS = NBD_WORKER_BYTES_MAX / (32 * MIB) };
    int writers[WRITERS];
    int reader = nbd_play_go(f, "other", false, false);

    volume_double_hold(f->disk, true);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = nbd_play_go(f, "disk", false, false);
        push_write(f, writers[i], 32 * MIB);
    }
    nbd_play_request(f, reader, NBD_CMD_READ, 0, 2, 0, MIB);
    nbd_play_expect_simple(f, reader, 2, NBD_SUCCESS);
    nbd_play_receive(f, reader, data, MIB);
    for (int i = 0; i < WRITERS; i++) {
        close(writers[i]);
    }
    close(reader);
    volume_double_hold(f->disk, false);
}

static void what_is_only_announced_keeps_nobody_out(void **state)
{
    struct nbd_fixture *f = *state;
    int silent[40];
    int fd;

    for (int i = 0; i < 40; i++) {
        silent[i] = nbd_play_go(f, "disk", false, false);
        push_write(f, silent[i], 100 * KIB);
    }
    for (int i = 0; i < 2; i++) {
        fd = nbd_play_go(f, i == 0 ? "disk" : "other", false, false);
        nbd_play_write(f, fd, 0, 2, 0, data, MIB);
        nbd_play_expect_simple(f, fd, 2, NBD_SUCCESS);
        close(fd);
    }
    nbd_fixture_wait_connections(f, 40); /* and nobody was dropped for it */
    for (int i = 0; i < 40; i++) {
        close(silent[i]);
    }
}

/* They hold all that a volume's writes may have; it is freed long before the time of a stall. */
static void peers_that_stopped_are_dropped_for_those_who_wait(void **state)
{
    struct nbd_fixture *f = *state;
    enum { STOPPED = NBD_TARGET_WRITE_BYTES_MAX / (8 * MIB) };
    int stopped[STOPPED];
    int idle = nbd_play_go(f, "other", false, false);
    int fd = nbd_play_go(f, "disk", false, false);

    for (int i = 0; i < STOPPED; i++) {
        stopped[i] = nbd_play_go(f, "disk", false, false);
        push_write(f, stopped[i], 8 * MIB);
    }
    nbd_play_request(f, idle, NBD_CMD_WRITE, 0, 1, 0, MIB); /* of another volume: it may stay */
    nbd_play_write(f, fd, 0, 2, 0, data, MIB);
    nbd_play_expect_simple(f, fd, 2, NBD_SUCCESS);
    nbd_play_expect_end(f, stopped[0]);
    for (int i = 0; i < STOPPED; i++) {
        close(stopped[i]);
    }
    nbd_play_send(f, idle, data, MIB);
    nbd_play_expect_simple(f, idle, 1, NBD_SUCCESS);
    close(idle);
    close(fd);
}

/* More bytes than there is room for, all under way at once: each becomes whole in its turn. */
static void writes_that_are_all_half_there_become_whole(void **state)
{
    struct nbd_fixture *f = *state;
    enum { WRITERS = 12 };
    int fds[WRITERS];
    size_t sent[WRITERS] = {0};
    uint64_t end = clock_mono_ms() + 3 * NBD_FIXTURE_WAIT_MS;

    nbd_play_pattern(data, 32 * MIB, 7);
    for (int i = 0; i < WRITERS; i++) {
        fds[i] = nbd_play_go(f, "disk", false, false);
        nbd_play_request(f, fds[i], NBD_CMD_WRITE, 0, 1, (uint64_t)(i % 4) * 32 * MIB, 32 * MIB);
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < WRITERS; i++) {
            size_t left = 32 * MIB - sent[i];
            ssize_t n =
                send(fds[i], data + sent[i], left < MIB ? left : MIB, MSG_NOSIGNAL | MSG_DONTWAIT);

            sent[i] += n > 0 ? (size_t)n : 0;
            more = more || sent[i] < 32 * MIB;
        }
        nbd_fixture_turn(f, 1);
        assert_true(clock_mono_ms() < end);
    }
    for (int i = 0; i < WRITERS; i++) {
        nbd_play_expect_simple(f, fds[i], 1, NBD_SUCCESS);
        close(fds[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_memory_equal(volume_double_data(f->disk) + i * 32 * MIB, data, 32 * MIB);
    }
}

/* Those who take each room that comes free at once do not pass by who waits. */
static void who_waits_is_not_overtaken_for_ever(void **state)
{
    struct nbd_fixture *f = *state;
    enum { GREEDY = NBD_TARGET_BYTES_MAX / NBD_CONN_BYTES_MAX, READS = 200 };
    const size_t all = (size_t)GREEDY * READS * (MIB + 16);
    int greedy[GREEDY];
    int patient = nbd_play_go(f, "disk", false, false);
    size_t received = 0;
    uint8_t byte;

    volume_double_hold(f->disk, true);
    for (int i = 0; i < GREEDY; i++) {
        greedy[i] = nbd_play_go(f, "disk", false, false);
        for (unsigned r = 0; r < READS; r++) {
            nbd_play_request(f, greedy[i], NBD_CMD_READ, 0, r, 0, MIB);
        }
    }
    nbd_fixture_wait_in_flight(f, GREEDY * NBD_CONN_BYTES_MAX / MIB);
    nbd_play_request(f, patient, NBD_CMD_READ, 0, 1, 0, 256 * KIB);
    nbd_fixture_turn(f, 20);
    volume_double_hold(f->disk, false);
    while (recv(patient, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
        for (int i = 0; i < GREEDY; i++) {
            ssize_t n = recv(greedy[i], data, sizeof(data), MSG_DONTWAIT);

            received += n > 0 ? (size_t)n : 0;
        }
        assert_true(received < all);
        nbd_fixture_turn(f, 1);
    }
    assert_in_range(received, 0, all / 2);
    nbd_play_expect_simple(f, patient, 1, NBD_SUCCESS);
    close(patient);
    for (int i = 0; i < GREEDY; i++) {
        close(greedy[i]);
    }
}

/* All memory is taken, and what one volume gives back is less than another's request needs. */
static void who_waits_is_not_overtaken_by_another_volume(void **state)
{
    struct nbd_fixture *f = *state;
    enum { GREEDY = NBD_TARGET_BYTES_MAX / NBD_CONN_BYTES_MAX, READS = 400, READ = 512 * KIB };
    enum { HELD = (NBD_WORKER_BYTES_MAX - NBD_TARGET_BYTES_MAX) / MIB };
    const size_t all = (size_t)GREEDY * READS * (READ + 16);
    int greedy[GREEDY];
    int holder = nbd_play_go(f, "other", false, false);
    int patient = nbd_play_go(f, "other", false, false);
    size_t received = 0;

    volume_double_hold(f->disk, true);
    volume_double_hold(f->other, true);
    for (unsigned i = 0; i < HELD; i++) {
        nbd_play_request(f, holder, NBD_CMD_READ, 0, i, 0, MIB);
    }
    nbd_fixture_wait_in_flight_of(f, f->other, HELD);
    for (int i = 0; i < GREEDY; i++) {
        greedy[i] = nbd_play_go(f, "disk", false, false);
        for (unsigned r = 0; r < READS; r++) {
            nbd_play_request(f, greedy[i], NBD_CMD_READ, 0, r, 0, READ);
        }
    }
    nbd_fixture_wait_in_flight(f, NBD_TARGET_BYTES_MAX / READ);
    volume_double_hold(f->disk, false);
    for (int i = 0; i < 200; i++) { /* until the sockets are full */
        nbd_fixture_turn(f, 1);
    }
    nbd_play_request(f, patient, NBD_CMD_READ, 0, 1, 0, MIB);
    nbd_fixture_turn(f, 20);
    assert_int_equal(volume_double_in_flight(f->other), HELD);
    while (volume_double_in_flight(f->other) == HELD) {
        for (int i = 0; i < GREEDY; i++) {
            ssize_t n = recv(greedy[i], data, READ, MSG_DONTWAIT);

            received += n > 0 ? (size_t)n : 0;
        }
        assert_true(received < all);
        nbd_fixture_turn(f, 1);
    }
    assert_in_range(received, 0, all / 4);
    close(holder);
    close(patient);
    for (int i = 0; i < GREEDY; i++) {
        close(greedy[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, nbd_fixture_setup, nbd_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_connection_cannot_take_the_memory_of_all),
        TEST(writes_that_wait_leave_room_for_reads),
        TEST(what_is_only_announced_keeps_nobody_out),
        TEST(peers_that_stopped_are_dropped_for_those_who_wait),
        TEST(writes_that_are_all_half_there_become_whole),
        TEST(who_waits_is_not_overtaken_for_ever),
        TEST(who_waits_is_not_overtaken_by_another_volume),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
