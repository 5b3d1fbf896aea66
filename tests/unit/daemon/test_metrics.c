#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rnd.h"
#include "daemon/metrics.h"
#include "daemon/process.h"

static char *print(struct metrics *m)
{
    struct buf out = {0};

    metrics_print(m, &out);
    buf_put_u8(&out, 0);
    return (char *)buf_detach(&out, &(size_t){0});
}

static void samples_of_one_name_stand_together_under_one_help(void **state)
{
    struct metrics m;
    struct metric_counter get, put, other;
    struct metric_gauge gauge;
    char *text;

    (void)state;
    metrics_init(&m);
    metrics_counter(&m, &get, "x_requests_total", "op=\"get\"", 1, "Requests.");
    metrics_counter(&m, &other, "x_other_seconds_total", NULL, 1e-9, "Back\\slash\nline.");
    metrics_counter(&m, &put, "x_requests_total", "op=\"put\"", 1, "Requests.");
    metrics_gauge(&m, &gauge, "x_bytes", NULL, 1, "Bytes.");
    metric_inc(&get);
    metric_add(&put, UINT64_C(9007199254740991) - 1);
    metric_add(&other, 1500000000);
    metric_set(&gauge, 5);
    metric_change(&gauge, -12);
    text = print(&m);
    assert_ptr_equal(strstr(text, "# HELP x_requests_total Requests.\n"
                                  "# TYPE x_requests_total counter\n"
                                  "x_requests_total{op=\"get\"} 1\n"
                                  "x_requests_total{op=\"put\"} 9007199254740990\n"
                                  "# HELP x_other_seconds_total Back\\\\slash\\nline.\n"
                                  "# TYPE x_other_seconds_total counter\n"
                                  "x_other_seconds_total 1.5\n"
                                  "# HELP x_bytes Bytes.\n"
                                  "# TYPE x_bytes gauge\n"
                                  "x_bytes -7\n"
                                  "# HELP process_cpu_seconds_total "),
                     text);
    free(text);
    metrics_remove(&get.metric);
    metrics_remove(&put.metric);
    text = print(&m);
    assert_null(strstr(text, "x_requests_total"));
    free(text);
}

/* Each thread adds to its own; readers see one metric. */
static void joined_metrics_are_read_as_one(void **state)
{
    struct metrics m;
    struct metric_counter whole, parts[2] = {0};
    struct metric_histogram time, part = {0};
    char *text;

    (void)state;
    metrics_init(&m);
    metrics_counter(&m, &whole, "x_total", NULL, 1, "X.");
    metrics_histogram(&m, &time, "x_seconds", NULL, 1, 1, 4, "X.");
    metric_counter_join(&whole, &parts[0]);
    metric_counter_join(&whole, &parts[1]);
    metric_histogram_join(&time, &part);
    metric_add(&whole, 1);
    metric_add(&parts[0], 20);
    metric_add(&parts[1], 300);
    metric_observe(&time, 1);
    metric_observe(&part, 2);
    metric_observe(&part, 3);
    assert_int_equal(metric_value(&whole), 321);
    assert_int_equal(metric_count(&time), 3);
    text = print(&m);
    assert_non_null(strstr(text, "\nx_total 321\n"));
    assert_non_null(strstr(text, "\nx_seconds_sum 6\n"));
    assert_non_null(strstr(text, "\nx_seconds_count 3\n"));
    free(text);
}

static void a_histogram_prints_cumulative_buckets(void **state)
{
    struct metrics m;
    struct metric_histogram h;
    char *text;

    (void)state;
    metrics_init(&m);
    metrics_histogram(&m, &h, "x_commit_seconds", "disk=\"d\"", 1e-9, 1024, 4096, "Commits.");
    metric_observe(&h, 0);
    metric_observe(&h, 1000);
    metric_observe(&h, 1500);
    metric_observe(&h, 3000);
    metric_observe(&h, 1000000000);
    text = print(&m);
    assert_non_null(strstr(text, "# TYPE x_commit_seconds histogram\n"
                                 "x_commit_seconds_bucket{disk=\"d\",le=\"1.024e-06\"} 2\n"
                                 "x_commit_seconds_bucket{disk=\"d\",le=\"2.048e-06\"} 3\n"
                                 "x_commit_seconds_bucket{disk=\"d\",le=\"4.096e-06\"} 4\n"
                                 "x_commit_seconds_bucket{disk=\"d\",le=\"+Inf\"} 5\n"
                                 "x_commit_seconds_sum{disk=\"d\"} 1.0000055\n"
                                 "x_commit_seconds_count{disk=\"d\"} 5\n"));
    free(text);
    assert_int_equal(metric_count(&h), 5);
}

static void quantiles_are_right_within_a_quarter(void **state)
{
    uint64_t seed = clock_mono_ns();
    struct rnd rnd = rnd_seed(seed);
    struct metrics m;
    struct metric_histogram h;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    metrics_init(&m);
    metrics_histogram(&m, &h, "x", NULL, 1, 1, 1, "x");
    assert_int_equal(metric_quantile(&h, 0.5), 0);
    for (unsigned i = 0; i < 64; i++) {
        uint64_t value = rnd_next(&rnd) >> i;
        uint64_t upper;

        metrics_remove(&h.metric);
        metrics_histogram(&m, &h, "x", NULL, 1, 1, 1, "x");
        metric_observe(&h, value);
        upper = metric_quantile(&h, 0.99);
        assert_true(upper >= value && upper - value <= value / 4);
    }
    metrics_remove(&h.metric);
    metrics_histogram(&m, &h, "x", NULL, 1, 1, 1, "x");
    for (unsigned i = 1; i <= 1000; i++) {
        metric_observe(&h, i);
    }
    metric_observe(&h, UINT64_MAX);
    assert_in_range(metric_quantile(&h, 0.5), 500, 625);
    assert_in_range(metric_quantile(&h, 0.99), 990, 1280);
    assert_true(metric_quantile(&h, 1) == UINT64_MAX);
}

static void collect(struct metric_collector *c, struct buf *out)
{
    static const struct metric_single singles[] = {
        {"x_puts_total", METRIC_COUNTER, 7, "Puts."},
        {"x_waiting", METRIC_GAUGE, UINT64_C(1) << 53, "Waiting."},
    };
    struct buf label = {0};

    (void)c;
    metrics_put_label(&label, "volume", "a\"b\\c\nd");
    buf_put_u8(&label, 0);
    metrics_put_family(out, "x_volume_bytes", METRIC_GAUGE, "Size.");
    metrics_put_sample(out, "x_volume_bytes", (const char *)label.data, 42);
    metrics_put_singles(out, singles, 2);
    buf_release(&label);
}

static void collectors_add_lines_and_labels_are_escaped(void **state)
{
    struct metric_collector c = {.collect = collect};
    struct metrics m;
    char *text;

    (void)state;
    metrics_init(&m);
    metrics_collector(&m, &c);
    text = print(&m);
    assert_non_null(strstr(text, "x_volume_bytes{volume=\"a\\\"b\\\\c\\nd\"} 42\n"));
    assert_non_null(strstr(text, "\n# HELP x_puts_total Puts.\n# TYPE x_puts_total counter\n"
                                 "x_puts_total 7\n# HELP x_waiting Waiting.\n"
                                 "# TYPE x_waiting gauge\nx_waiting 9007199254740992\n"));
    free(text);
}

static void the_process_reports_on_itself(void **state)
{
    struct process_usage u = process_usage();
    double now_s = (double)clock_wall_us() * 1e-6;

    (void)state;
    assert_true(u.cpu_s >= 0 && u.cpu_s < 1000);
    assert_true(u.resident_bytes > 100000 && u.resident_bytes < UINT64_C(1) << 33);
    assert_true(u.open_fds >= 3 && u.open_fds < u.max_fds);
    assert_true(u.threads >= 1);
    assert_true(u.start_time_s < now_s + 1 && u.start_time_s > now_s - 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_of_one_name_stand_together_under_one_help),
        cmocka_unit_test(joined_metrics_are_read_as_one),
        cmocka_unit_test(a_histogram_prints_cumulative_buckets),
        cmocka_unit_test(quantiles_are_right_within_a_quarter),
        cmocka_unit_test(collectors_add_lines_and_labels_are_escaped),
        cmocka_unit_test(the_process_reports_on_itself),
    };

    return cmocka_run_group_tests_name("daemon/metrics", tests, NULL, NULL);
}
