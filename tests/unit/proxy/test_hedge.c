#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log_scale.h"
#include "lib/loop_fixture.h"
#include "proxy/engine.h"

static const uint64_t ms = 1000000;

/* ---- how long reads take ---- */

static void add(struct read_times *times, unsigned count, uint64_t took_us)
{
    for (unsigned i = 0; i < count; i++) {
        read_times_add(times, took_us);
    }
}

/* Within the 25 % of a bucket, and never less. */
static void expect_about(uint32_t is, uint64_t should_be)
{
    assert_true(is >= should_be && is <= should_be + should_be / 4);
}

static void a_few_reads_say_nothing(void **state)
{
    struct read_times t = {0};

    (void)state;
    add(&t, READ_TIMES_ENOUGH - 1, 700);
    assert_int_equal(t.p50_us, 0);
    assert_int_equal(t.p99_us, 0);
    add(&t, 1, 700);
    expect_about(t.p50_us, 700);
    expect_about(t.p99_us, 700);
}

static void quantiles_are_right_within_a_bucket(void **state)
{
    struct read_times t = {0};

    (void)state;
    for (unsigned i = 1; i <= 1000; i++) { /* in an order that is none */
        read_times_add(&t, i * 7919 % 1000 + 1);
    }
    expect_about(t.p50_us, 500);
    expect_about(t.p99_us, 990);
}

static void one_slow_read_in_two_hundred_does_not_move_them(void **state)
{
    struct read_times t = {0};

    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        add(&t, 199, 300);
        add(&t, 1, 9000000);
    }
    expect_about(t.p50_us, 300);
    expect_about(t.p99_us, 300);
}

static void what_was_long_ago_is_forgotten(void **state)
{
    struct read_times t = {0};

    (void)state;
    add(&t, 5000, 200000);
    add(&t, 10 * READ_TIMES_WINDOW, 400);
    expect_about(t.p99_us, 400);
    add(&t, 10 * READ_TIMES_WINDOW, 200000);
    expect_about(t.p50_us, 200000);
}

static void a_time_beyond_all_buckets_counts_as_the_longest(void **state)
{
    struct read_times t = {0};

    (void)state;
    add(&t, READ_TIMES_ENOUGH, UINT64_MAX);
    assert_int_equal(t.p50_us, log_scale_upper(READ_TIMES_BUCKETS - 1));
    assert_true(t.p50_us >= 134000000);
    add(&t, 3 * READ_TIMES_WINDOW, 0);
    assert_int_equal(t.p99_us, 0);
}

static void kinds_are_told_apart_by_distance_and_length(void **state)
{
    (void)state;
    assert_int_equal(hedge_kind(false, 1), hedge_kind(false, 64 << 10));
    assert_int_not_equal(hedge_kind(false, 64 << 10), hedge_kind(false, (64 << 10) + 1));
    assert_int_not_equal(hedge_kind(false, 1 << 20), hedge_kind(false, UINT32_MAX));
    assert_int_not_equal(hedge_kind(false, 1), hedge_kind(true, 1));
    assert_true(hedge_kind(true, UINT32_MAX) < HEDGE_KINDS);
}

/* ---- tokens ---- */

static unsigned take_all(struct hedge_bucket *bucket)
{
    unsigned count = 0;

    while (hedge_bucket_take(bucket)) {
        count++;
    }
    return count;
}

static void fifty_reads_bring_one_token(void **state)
{
    struct hedge_bucket bucket = {0};
    unsigned taken = 0;

    (void)state;
    assert_false(hedge_bucket_take(&bucket));
    for (unsigned i = 0; i < 5000; i++) {
        hedge_bucket_begin(&bucket);
        taken += hedge_bucket_take(&bucket);
    }
    assert_int_equal(taken, 100);
}

static void no_more_are_kept_than_the_burst(void **state)
{
    struct hedge_bucket bucket = {0};

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        hedge_bucket_begin(&bucket);
    }
    assert_int_equal(take_all(&bucket), HEDGE_BURST);
    assert_int_equal(take_all(&bucket), 0);
}

/* ---- waiting ---- */

enum { LOOKS_MAX = 10 };

/* A read that never may, until it has been looked at often enough. */
struct reader {
    struct hedge_wait wait;
    unsigned looks, looks_max;
    uint64_t at_ns[LOOKS_MAX];
    bool done;
};

static void on_look(struct hedge_wait *wait, bool is_late)
{
    struct reader *r = container_of(wait, struct reader, wait);
    uint64_t now_ns = clock_mono_ns();

    (void)is_late;
    r->at_ns[r->looks++] = now_ns;
    if (r->looks == r->looks_max) {
        hedge_end(wait);
        r->done = true;
    } else {
        hedge_again(wait, now_ns);
    }
}

struct fixture {
    struct loop_fixture base;
    struct engine engine; /* of it only what hedge.c uses */
    bool closed;
};

static void on_closed(void *engine)
{
    container_of((struct engine *)engine, struct fixture, engine)->closed = true;
}

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.engine = {.loop = &f->base.loop, .options = {.osd_timeout_ms = 10000}}};
    loop_fixture_init(&f->base);
    hedge_init(&f->engine.hedge, &f->engine);
}

static void fixture_release(struct fixture *f)
{
    hedge_close(&f->engine.hedge, on_closed);
    loop_fixture_run_until(&f->base, &f->closed);
    loop_fixture_release(&f->base);
}

static void a_read_that_may_not_hedge_is_looked_at_ever_more_seldom(void **state)
{
    static const uint64_t pauses_ms[LOOKS_MAX] = {0, 5, 10, 20, 40, 80, 100, 100, 100, 100};
    struct reader r = {.looks_max = LOOKS_MAX};
    static struct fixture f;

    (void)state;
    fixture_init(&f);
    hedge_begin(&f.engine.hedge, &r.wait, 0, clock_mono_ns(), on_look);
    loop_fixture_run_until(&f.base, &r.done);
    for (unsigned i = 1; i < LOOKS_MAX; i++) {
        assert_true(r.at_ns[i] - r.at_ns[i - 1] >= pauses_ms[i] * ms);
    }
    fixture_release(&f);
}

static void a_read_of_a_fast_kind_does_not_wait_behind_slow_ones(void **state)
{
    enum { SLOW = 100 };
    static struct reader slow[SLOW];
    struct reader fast = {.looks_max = 1};
    static struct fixture f;

    (void)state;
    fixture_init(&f);
    for (unsigned i = 0; i < READ_TIMES_ENOUGH; i++) {
        hedge_note(&f.engine.hedge, 0, 1 * ms);
    }
    assert_true(hedge_delay_ns(&f.engine.hedge, 0) < hedge_delay_ns(&f.engine.hedge, 1));
    for (unsigned i = 0; i < SLOW; i++) {
        slow[i] = (struct reader){.looks_max = 2};
        hedge_begin(&f.engine.hedge, &slow[i].wait, 1, clock_mono_ns(), on_look);
    }
    hedge_begin(&f.engine.hedge, &fast.wait, 0, clock_mono_ns(), on_look);
    loop_fixture_run_until(&f.base, &fast.done);
    assert_true(fast.at_ns[0] <= slow[0].at_ns[0] || slow[0].looks == 0);
    for (unsigned i = 0; i < SLOW; i++) {
        loop_fixture_run_until(&f.base, &slow[i].done);
    }
    fixture_release(&f);
}

/* ---- suspicion ---- */

static void silence_makes_suspect_and_an_answer_clears(void **state)
{
    struct osd_suspect s = {0};

    (void)state;
    osd_suspect_lost(&s, 10 * ms, 20 * ms);
    assert_true(s.is);
    osd_suspect_answered(&s, false, 30 * ms);
    assert_false(s.is);
}

static void one_that_answers_others_meanwhile_has_to_lose_three_times(void **state)
{
    struct osd_suspect s = {0};

    (void)state;
    osd_suspect_answered(&s, true, 15 * ms);
    osd_suspect_lost(&s, 10 * ms, 20 * ms);
    osd_suspect_lost(&s, 11 * ms, 20 * ms);
    assert_false(s.is);
    osd_suspect_answered(&s, true, 25 * ms); /* and not in between */
    osd_suspect_lost(&s, 21 * ms, 30 * ms);
    osd_suspect_lost(&s, 22 * ms, 30 * ms);
    osd_suspect_answered(&s, false, 31 * ms);
    assert_false(s.is);
    osd_suspect_lost(&s, 23 * ms, 40 * ms);
    assert_true(s.is);
}

static void one_that_is_always_late_stays_suspect_until_it_is_in_time(void **state)
{
    struct osd_suspect s = {0};

    (void)state;
    for (unsigned i = 0; i < OSD_SUSPECT_LOST; i++) {
        osd_suspect_lost(&s, 10 * ms, 20 * ms);
    }
    osd_suspect_answered(&s, false, 400 * ms);
    assert_true(s.is);
    osd_suspect_answered(&s, true, 401 * ms);
    assert_false(s.is);
}

static void a_suspect_one_is_tried_ever_more_seldom(void **state)
{
    struct osd_suspect s = {0};
    unsigned tries = 0;

    (void)state;
    assert_false(osd_suspect_try(&s, 1 * ms));
    osd_suspect_lost(&s, 0, 0);
    for (uint64_t at = 0; at < 60000; at++) {
        tries += osd_suspect_try(&s, at * ms);
    }
    assert_in_range(tries, 60000 / OSD_TRY_MAX_MS, 60000 / OSD_TRY_MAX_MS + 7);
}

static void a_late_answer_lets_it_be_tried_soon(void **state)
{
    struct osd_suspect s = {0};
    uint64_t now = 100000 * ms;

    (void)state;
    for (unsigned i = 0; i < OSD_SUSPECT_LOST; i++) {
        osd_suspect_lost(&s, 0, 0);
    }
    while (s.try_delay_ns < OSD_TRY_MAX_MS * ms) {
        osd_suspect_try(&s, now);
        now += OSD_TRY_MAX_MS * ms;
    }
    assert_true(osd_suspect_try(&s, now));
    osd_suspect_answered(&s, false, now + ms);
    assert_false(osd_suspect_try(&s, now + OSD_TRY_FIRST_MS * ms));
    assert_true(osd_suspect_try(&s, now + (1 + OSD_TRY_FIRST_MS) * ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_reads_say_nothing),
        cmocka_unit_test(quantiles_are_right_within_a_bucket),
        cmocka_unit_test(one_slow_read_in_two_hundred_does_not_move_them),
        cmocka_unit_test(what_was_long_ago_is_forgotten),
        cmocka_unit_test(a_time_beyond_all_buckets_counts_as_the_longest),
        cmocka_unit_test(kinds_are_told_apart_by_distance_and_length),
        cmocka_unit_test(fifty_reads_bring_one_token),
        cmocka_unit_test(no_more_are_kept_than_the_burst),
        cmocka_unit_test(a_read_that_may_not_hedge_is_looked_at_ever_more_seldom),
        cmocka_unit_test(a_read_of_a_fast_kind_does_not_wait_behind_slow_ones),
        cmocka_unit_test(silence_makes_suspect_and_an_answer_clears),
        cmocka_unit_test(one_that_answers_others_meanwhile_has_to_lose_three_times),
        cmocka_unit_test(one_that_is_always_late_stays_suspect_until_it_is_in_time),
        cmocka_unit_test(a_suspect_one_is_tried_ever_more_seldom),
        cmocka_unit_test(a_late_answer_lets_it_be_tried_soon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
