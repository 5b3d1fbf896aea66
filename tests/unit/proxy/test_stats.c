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
    stats_release(&stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(namespaces_are_counted_apart),
        cmocka_unit_test(the_number_of_namespaces_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
