#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/stats.h"

static uint32_t count(const struct stats *stats)
{
    struct proxy_statistics report;

    stats_report(stats, &report);
    free(report.items);
    return report.count;
}

static void namespaces_are_counted_apart(void **state)
{
    struct stats stats;

    (void)state;
    stats_init(&stats);
    stat_sum_add(&stats_of(&stats, slice_str("a"))->upload, 1);
    stat_sum_add(&stats_of(&stats, slice_str("b"))->upload, 1);
    stat_sum_add(&stats_of(&stats, slice_str("a"))->upload, 3);
    assert_int_equal(stats_of(&stats, slice_str("a"))->upload.n, 2);
    assert_true(stats_of(&stats, slice_str("a"))->upload.avg == 2.0);
    assert_int_equal(stats_of(&stats, slice_str("b"))->upload.n, 1);
    assert_int_equal(count(&stats), 2);
    stats_forget(&stats, slice_str("a"));
    stats_forget(&stats, slice_str("nonesuch"));
    assert_int_equal(count(&stats), 1);
    stats_clear(&stats);
    assert_int_equal(count(&stats), 0);
    stats_release(&stats);
}

static void the_number_of_namespaces_is_bounded(void **state)
{
    struct stats stats;
    char name[16];

    (void)state;
    stats_init(&stats);
    for (unsigned i = 0; i < STATS_NAMESPACES_MAX + 100; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        stats_of(&stats, slice_str(name));
    }
    assert_int_equal(count(&stats), STATS_NAMESPACES_MAX);
    stats_of(&stats, slice_str("n0")); /* was forgotten: anew */
    stats_of(&stats, slice_str("n102"));
    stats_add(&stats_of(&stats, slice_str("n102"))->manifest_cached, 5);
    for (unsigned i = 0; i < STATS_NAMESPACES_MAX - 1; i++) {
        snprintf(name, sizeof(name), "m%u", i);
        stats_of(&stats, slice_str(name));
    }
    assert_int_equal(stats_of(&stats, slice_str("n102"))->manifest_cached, 5); /* used last */
    assert_int_equal(count(&stats), STATS_NAMESPACES_MAX);
    stats_release(&stats);
}

static void counts_stop_at_what_the_protocol_can_say(void **state)
{
    int32_t sum = 0;

    (void)state;
    stats_add(&sum, 3);
    assert_int_equal(sum, 3);
    stats_add(&sum, INT32_MAX - 4);
    assert_int_equal(sum, INT32_MAX - 1);
    stats_add(&sum, 1);
    assert_int_equal(sum, INT32_MAX);
    stats_add(&sum, UINT64_MAX);
    assert_int_equal(sum, INT32_MAX);
}

static void clearing_begins_anew(void **state)
{
    struct proxy_statistics report;
    struct stats stats;
    double creation_s;

    (void)state;
    stats_init(&stats);
    stats_of(&stats, slice_str("a"));
    stats.creation_ns -= 7000000000; /* seven seconds ago */
    stats.creation_s -= 7;
    creation_s = stats.creation_s;
    stats_report(&stats, &report);
    assert_true(report.period_s >= 7 && report.creation_s == creation_s);
    free(report.items);
    stats_clear(&stats);
    stats_report(&stats, &report);
    assert_true(report.period_s < 7 && report.creation_s > creation_s);
    free(report.items);
    stats_release(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespaces_are_counted_apart),
        cmocka_unit_test(the_number_of_namespaces_is_bounded),
        cmocka_unit_test(counts_stop_at_what_the_protocol_can_say),
        cmocka_unit_test(clearing_begins_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
