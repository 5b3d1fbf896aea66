/* Reads by io_uring: all of them answered once, in the order of the rules. Reads of empty pipes
 * are those that hang. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "lib/loop_fixture.h"
#include "loop/ring.h"
#include "loop/run.h"

enum { FILE_BYTES = 100000, READS_MAX = 100 };

struct fixture {
    struct loop_fixture base;
    struct ring *ring;
    int fd;
    bool ring_closed;
    struct read_seen {
        struct ring_read read;
        struct fixture *f;
        uint8_t data[5000];
        unsigned answered;
        ssize_t rc;
    } reads[READS_MAX];
    unsigned answered, wanted;
    unsigned order[READS_MAX]; /* of answers */
};

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + offset / 256);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    uint8_t *data = mem_alloc(FILE_BYTES);
    FILE *file = tmpfile();

    assert_non_null(file);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        data[i] = byte_at(i);
    }
    f->fd = dup(fileno(file));
    assert_int_equal(write(f->fd, data, FILE_BYTES), FILE_BYTES);
    fclose(file);
    free(data);
    loop_fixture_init(&f->base);
    *state = f;
    return 0;
}

static void on_closed(void *ctx)
{
    struct fixture *f = ctx;

    f->ring_closed = true;
    f->ring = NULL;
}

static void close_ring(struct fixture *f)
{
    if (f->ring != NULL) {
        ring_close(f->ring, on_closed, f);
        loop_fixture_run_until(&f->base, &f->ring_closed);
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_ring(f);
    close(f->fd);
    loop_fixture_release(&f->base);
    free(f);
    return 0;
}

static void open_ring(struct fixture *f, unsigned depth, unsigned queue_max)
{
    int rc = ring_new(&f->base.loop, depth, queue_max, &f->ring);

    if (rc != 0) {
        print_message("skipped: no io_uring here: %s\n", err_text(rc));
        skip();
    }
}

static void on_done(struct ring_read *read, ssize_t rc)
{
    struct read_seen *seen = container_of(read, struct read_seen, read);
    struct fixture *f = seen->f;

    seen->answered++;
    seen->rc = rc;
    f->order[f->answered++] = (unsigned)(seen - f->reads);
}

static int begin(struct fixture *f, unsigned i, int fd, uint32_t bytes, uint64_t offset,
                 enum pool_priority priority)
{
    f->reads[i].f = f;
    return ring_read(f->ring, &f->reads[i].read, fd, f->reads[i].data, bytes, offset, priority,
                     on_done);
}

static bool has_answers(void *ctx)
{
    const struct fixture *f = ctx;

    return f->answered >= f->wanted;
}

static void wait_answers(struct fixture *f, unsigned count)
{
    f->wanted = count;
    loop_run_until_true(&f->base.loop, has_answers, f);
    assert_int_equal(f->answered, count);
}

static void every_read_is_answered_once_with_its_bytes(void **state)
{
    struct fixture *f = *state;

    open_ring(f, 4, READS_MAX);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(begin(f, i, f->fd, 100 + i * 80, i * 1500, i % 3 == 0), 0);
    }
    assert_int_equal(f->answered, 0); /* not from inside */
    wait_answers(f, 60);
    for (unsigned i = 0; i < 60; i++) {
        assert_int_equal(f->reads[i].answered, 1);
        assert_int_equal(f->reads[i].rc, 100 + i * 80);
        for (unsigned j = 0; j < 100 + i * 80; j++) {
            assert_int_equal(f->reads[i].data[j], byte_at(i * 1500 + j));
        }
    }
}

static void a_read_beyond_the_end_comes_short_and_one_of_no_file_fails(void **state)
{
    struct fixture *f = *state;
    int closed;

    open_ring(f, 4, READS_MAX);
    closed = dup(f->fd);
    close(closed);
    assert_int_equal(begin(f, 0, f->fd, 4096, FILE_BYTES - 1000, POOL_HIGH), 0);
    assert_int_equal(begin(f, 1, f->fd, 4096, FILE_BYTES, POOL_HIGH), 0);
    assert_int_equal(begin(f, 2, closed, 4096, 0, POOL_HIGH), 0);
    wait_answers(f, 3);
    assert_int_equal(f->reads[0].rc, 1000);
    assert_int_equal(f->reads[1].rc, 0);
    assert_int_equal(f->reads[2].rc, -EBADF);
}

/* One at a time: so the order of the answers is that of the beginnings. */
static void high_ones_go_first_and_low_ones_do_not_starve(void **state)
{
    enum { LOW = 5, HIGH = 40 };
    struct fixture *f = *state;
    unsigned low = 0;
    unsigned high = LOW;

    open_ring(f, 1, READS_MAX);
    for (unsigned i = 0; i < LOW + HIGH; i++) {
        assert_int_equal(begin(f, i, f->fd, 100, i, i < LOW ? POOL_LOW : POOL_HIGH), 0);
    }
    wait_answers(f, LOW + HIGH);
    for (unsigned i = 0; i < LOW + HIGH; i++) {
        bool is_low = (i + 1) % (POOL_HIGH_BURST + 1) == 0 || high == LOW + HIGH;

        assert_int_equal(f->order[i], is_low ? low : high);
        low += is_low;
        high += !is_low;
    }
}

static void low_ones_that_hang_hold_a_quarter_of_the_places(void **state)
{
    enum { DEPTH = 8, LOW = 20, HIGH = 30 };
    struct fixture *f = *state;
    int pipes[2];
    char bytes[LOW] = {0};

    open_ring(f, DEPTH, READS_MAX);
    assert_int_equal(pipe(pipes), 0);
    for (unsigned i = 0; i < LOW; i++) {
        assert_int_equal(begin(f, i, pipes[0], 1, 0, POOL_LOW), 0);
    }
    for (unsigned i = LOW; i < LOW + HIGH; i++) {
        assert_int_equal(begin(f, i, f->fd, 10, i, POOL_HIGH), 0);
    }
    wait_answers(f, HIGH);
    /* Those that began took what came later, those that wait did not. */
    assert_int_equal(write(pipes[1], bytes, DEPTH / RING_LOW_SHARE), DEPTH / RING_LOW_SHARE);
    wait_answers(f, HIGH + DEPTH / RING_LOW_SHARE);
    for (unsigned i = 0; i < LOW; i++) {
        assert_int_equal(f->reads[i].answered, i < DEPTH / RING_LOW_SHARE);
    }
    assert_int_equal(write(pipes[1], bytes, LOW), LOW);
    wait_answers(f, HIGH + LOW);
    close(pipes[0]);
    close(pipes[1]);
}

/* How many of those that wait for a pipe begin in the next turn. The ring is closed. */
static unsigned low_begun(struct fixture *f, unsigned first, unsigned low)
{
    char bytes[READS_MAX] = {0};
    unsigned begun = 0;
    int pipes[2];

    assert_int_equal(pipe(pipes), 0);
    for (unsigned i = 0; i < low; i++) {
        assert_int_equal(begin(f, first + i, pipes[0], 1, 0, POOL_LOW), 0);
    }
    uv_run(&f->base.loop, UV_RUN_NOWAIT);
    ring_close(f->ring, on_closed, f);
    assert_int_equal(write(pipes[1], bytes, low), low);
    loop_fixture_run_until(&f->base, &f->ring_closed);
    for (unsigned i = 0; i < low; i++) {
        begun += f->reads[first + i].rc == 1;
    }
    close(pipes[0]);
    close(pipes[1]);
    return begun;
}

static void low_ones_hold_back_while_a_high_one_runs(void **state)
{
    struct fixture *f = *state;
    int pipes[2];

    open_ring(f, 32, READS_MAX);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(begin(f, 0, pipes[0], 1, 0, POOL_HIGH), 0);
    uv_run(&f->base.loop, UV_RUN_NOWAIT);
    assert_int_equal(write(pipes[1], "a", 1), 1); /* it ends behind that turn's beginnings */
    assert_int_equal(low_begun(f, 1, 20), RING_LOW_BESIDE_HIGH);
    close(pipes[0]);
    close(pipes[1]);
}

static void low_ones_that_hang_do_not_count_beside_high_ones(void **state)
{
    struct fixture *f = *state;
    int pipes[2], high[2];

    open_ring(f, 32, READS_MAX);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(pipe(high), 0);
    assert_int_equal(begin(f, 0, high[0], 1, 0, POOL_HIGH), 0);
    for (unsigned i = 1; i < 1 + RING_LOW_BESIDE_HIGH; i++) {
        assert_int_equal(begin(f, i, pipes[0], 1, 0, POOL_LOW), 0);
    }
    for (unsigned i = 1 + RING_LOW_BESIDE_HIGH; i < 40; i++) {
        assert_int_equal(begin(f, i, f->fd, 10, i, POOL_LOW), 0);
    }
    wait_answers(f, 39 - RING_LOW_BESIDE_HIGH); /* the loop turns of itself */
    assert_int_equal(write(high[1], "a", 1), 1);
    assert_int_equal(write(pipes[1], "abc", RING_LOW_BESIDE_HIGH), RING_LOW_BESIDE_HIGH);
    wait_answers(f, 40);
    close(high[0]);
    close(high[1]);
    close(pipes[0]);
    close(pipes[1]);
}

static void low_ones_have_their_share_when_no_high_one_was_there_of_late(void **state)
{
    struct fixture *f = *state;

    open_ring(f, 32, READS_MAX);
    assert_int_equal(begin(f, 0, f->fd, 1, 0, POOL_HIGH), 0);
    wait_answers(f, 1);
    uv_sleep(RING_HIGH_RECENT_MS + 1);
    assert_int_equal(low_begun(f, 1, 20), 32 / RING_LOW_SHARE);
}

static void too_many_are_refused(void **state)
{
    struct fixture *f = *state;

    open_ring(f, 1, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ring_room(f->ring), 3 - i);
        assert_int_equal(begin(f, i, f->fd, 10, 0, POOL_HIGH), 0);
    }
    assert_int_equal(begin(f, 3, f->fd, 10, 0, POOL_HIGH), ERR_BUSY);
    wait_answers(f, 3);
    assert_int_equal(begin(f, 3, f->fd, 10, 0, POOL_HIGH), 0);
    wait_answers(f, 4);
}

static void closing_waits_for_what_began_and_cancels_the_rest(void **state)
{
    struct fixture *f = *state;
    int pipes[2];

    open_ring(f, 2, READS_MAX);
    assert_int_equal(pipe(pipes), 0);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(begin(f, i, pipes[0], 1, 0, POOL_HIGH), 0);
    }
    uv_run(&f->base.loop, UV_RUN_NOWAIT);
    assert_int_equal(f->answered, 0);
    ring_close(f->ring, on_closed, f);
    wait_answers(f, 3);
    assert_false(f->ring_closed);
    assert_int_equal(write(pipes[1], "ab", 2), 2);
    loop_fixture_run_until(&f->base, &f->ring_closed);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(f->reads[i].answered, 1);
        assert_int_equal(f->reads[i].rc, i < 2 ? 1 : ERR_CANCELED);
    }
    close(pipes[0]);
    close(pipes[1]);
}

static void an_idle_ring_does_not_keep_the_loop_running(void **state)
{
    struct fixture *f = *state;

    open_ring(f, 2, READS_MAX);
    assert_int_equal(uv_run(&f->base.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(begin(f, 0, f->fd, 10, 0, POOL_HIGH), 0);
    assert_int_equal(uv_run(&f->base.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(f->answered, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_read_is_answered_once_with_its_bytes),
        TEST(a_read_beyond_the_end_comes_short_and_one_of_no_file_fails),
        TEST(high_ones_go_first_and_low_ones_do_not_starve),
        TEST(low_ones_that_hang_hold_a_quarter_of_the_places),
        TEST(low_ones_hold_back_while_a_high_one_runs),
        TEST(low_ones_that_hang_do_not_count_beside_high_ones),
        TEST(low_ones_have_their_share_when_no_high_one_was_there_of_late),
        TEST(too_many_are_refused),
        TEST(closing_waits_for_what_began_and_cancels_the_rest),
        TEST(an_idle_ring_does_not_keep_the_loop_running),
    };

    return cmocka_run_group_tests_name("loop/ring", tests, NULL, NULL);
}
