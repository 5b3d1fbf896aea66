#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proxy/osd_slow.h"

enum { SLOW = 4000, USUAL = 50 };

/* One after another; whether it is slow then. */
static bool write_some(struct osd_slow *s, unsigned count, uint64_t ms, uint64_t usual_ms)
{
    static uint64_t now_ms = 1000000;
    bool became = false;

    for (unsigned i = 0; i < count; i++) {
        became = osd_slow_wrote(s, now_ms, now_ms + ms, usual_ms) || became;
        now_ms += ms;
    }
    assert_int_equal(became, s->is);
    return s->is;
}

static void three_in_a_row_make_it_slow(void **state)
{
    struct osd_slow s = {0};

    (void)state;
    assert_false(write_some(&s, OSD_SLOW_WRITES - 1, SLOW, USUAL));
    assert_true(write_some(&s, 1, SLOW, USUAL));
    assert_int_equal(s.delay_ms, OSD_SLOW_PROBE_FIRST_MS);
}

static void a_fast_one_in_between_clears_it(void **state)
{
    struct osd_slow s = {0};

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        assert_false(write_some(&s, OSD_SLOW_WRITES - 1, SLOW, USUAL));
        assert_false(write_some(&s, 1, OSD_SLOW_MS, USUAL));
    }
}

static void where_all_are_slow_nobody_is(void **state)
{
    struct osd_slow s = {0};

    (void)state;
    assert_false(write_some(&s, 10, SLOW, SLOW));
    assert_false(write_some(&s, 10, SLOW, SLOW / OSD_SLOW_TIMES));
    assert_false(write_some(&s, 10, OSD_SLOW_MS, 0));
}

static void one_pause_with_many_under_way_counts_once(void **state)
{
    struct osd_slow s = {0};

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        assert_false(osd_slow_wrote(&s, 1000 + i, 1000 + i + SLOW, USUAL));
    }
}

static void a_probe_that_is_fast_ends_it_and_slow_again_is_probed_later(void **state)
{
    struct osd_slow s = {0};
    unsigned delay_ms = 0;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        assert_true(write_some(&s, OSD_SLOW_WRITES, SLOW, USUAL));
        assert_true(s.delay_ms == OSD_SLOW_PROBE_MAX_MS || s.delay_ms > delay_ms);
        delay_ms = s.delay_ms;
        assert_false(osd_slow_probed(&s, s.ended_ms, s.ended_ms + OSD_SLOW_MS + 1));
        assert_true(s.is);
        assert_true(osd_slow_probed(&s, s.ended_ms, s.ended_ms + 10));
        assert_false(s.is);
    }
    s.fast_ms -= OSD_SLOW_FORGET_MS;
    assert_true(write_some(&s, OSD_SLOW_WRITES, SLOW, USUAL));
    assert_int_equal(s.delay_ms, OSD_SLOW_PROBE_FIRST_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_in_a_row_make_it_slow),
        cmocka_unit_test(a_fast_one_in_between_clears_it),
        cmocka_unit_test(where_all_are_slow_nobody_is),
        cmocka_unit_test(one_pause_with_many_under_way_counts_once),
        cmocka_unit_test(a_probe_that_is_fast_ends_it_and_slow_again_is_probed_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
