#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <regex.h>
#include <unistd.h>

#include "base/log.h"

/* Puts a pipe in place of stderr, so that the lines can be looked at. */
struct fixture {
    int read_fd;
    int old_stderr;
    char text[65536];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    int fds[2];

    assert_non_null(f);
    assert_int_equal(pipe(fds), 0);
    f->read_fd = fds[0];
    f->old_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
    close(fds[1]);
    log_set_level(LOG_DEBUG);
    *state = f;
    return 0;
}

/* What was written since setup. */
static const char *captured(struct fixture *f)
{
    size_t len = 0;
    ssize_t n;

    if (f->old_stderr >= 0) { /* the only writing end: the pipe gets its end of file */
        assert_true(dup2(f->old_stderr, STDERR_FILENO) >= 0);
        close(f->old_stderr);
        f->old_stderr = -1;
    }
    while ((n = read(f->read_fd, f->text + len, sizeof f->text - 1 - len)) > 0) {
        len += (size_t)n;
    }
    f->text[len] = '\0';
    return f->text;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    captured(f);
    close(f->read_fd);
    free(f);
    log_set_level(LOG_INFO);
    return 0;
}

static void a_line_has_time_level_module_event_and_values(void **state)
{
    regex_t re;
    const char *text;

    log_info("asd", "store opened", "home=%s keys=%d", "/d", 12);
    text = captured(*state);
    assert_int_equal(
        regcomp(&re,
                "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "
                "info asd: store opened home=/d keys=12\n$",
                REG_EXTENDED | REG_NOSUB),
        0);
    assert_int_equal(regexec(&re, text, 0, NULL, 0), 0);
    regfree(&re);
}

static void lines_below_the_level_are_not_written(void **state)
{
    const char *text;

    log_set_level(LOG_WARN);
    assert_int_equal(log_level(), LOG_WARN);
    log_debug("m", "one", "");
    log_info("m", "two", "");
    log_warn("m", "three", "");
    log_error("m", "four", "");
    log_set_level(LOG_NONE);
    log_error("m", "five", "");
    log_line(LOG_NONE, "m", "six", "");
    text = captured(*state);
    assert_null(strstr(text, "one"));
    assert_null(strstr(text, "two"));
    assert_non_null(strstr(text, " warn m: three"));
    assert_non_null(strstr(text, " error m: four"));
    assert_null(strstr(text, "five"));
    assert_null(strstr(text, "six"));
}

/* A peer that chooses a name cannot forge a line or send an escape to a terminal. */
static void control_characters_cannot_forge_a_line(void **state)
{
    const char *text;

    log_info("m", "open", "name=%s",
             "a\nb\r\tc\x1b[31m\x7f d\xc3\xa9 \xc2\x9b"
             "1m");
    text = captured(*state);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    assert_non_null(strstr(text, "name=a?b??c?[31m? d\xc3\xa9 ??1m\n"));
}

static void a_long_line_is_cut_and_still_one_line(void **state)
{
    char value[10000];
    const char *text;

    memset(value, 'x', sizeof value);
    value[sizeof value - 1] = '\0';
    log_info("m", "long value", "v=%s", value);
    log_info("m", value, "v=%d", 1);
    log_info("m", "end", "");
    text = captured(*state);
    assert_true(strchr(text, '\n') - text < 2100);
    text = strchr(text, '\n') + 1;
    assert_true(strchr(text, '\n') - text < 2100);
    text = strchr(text, '\n') + 1;
    assert_non_null(strstr(text, " info m: end"));
}

static void level_names_are_those_of_the_configs(void **state)
{
    static const struct {
        const char *name;
        enum log_level level;
    } good[] = {{"debug", LOG_DEBUG},  {"info", LOG_INFO}, {"notice", LOG_INFO},
                {"warning", LOG_WARN}, {"warn", LOG_WARN}, {"error", LOG_ERROR},
                {"fatal", LOG_ERROR}};
    static const char *const bad[] = {"", "Debug", "info ", "trace", "none", "3"};
    enum log_level level;

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        level = LOG_NONE;
        assert_int_equal(log_level_parse(good[i].name, &level), 0);
        assert_int_equal(level, good[i].level);
    }
    level = LOG_NONE;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(log_level_parse(bad[i], &level), -EINVAL);
        assert_int_equal(level, LOG_NONE);
    }
}

static void a_limit_lets_one_line_through_and_counts_the_rest(void **state)
{
    struct log_limit limit = {0};
    unsigned long skipped = 99;

    (void)state;
    assert_true(log_limit_pass(&limit, 60000, &skipped));
    assert_int_equal(skipped, 0);
    for (int i = 0; i < 5; i++) {
        assert_false(log_limit_pass(&limit, 60000, &skipped));
    }
    limit = (struct log_limit){.skipped = 5}; /* the minute is over */
    assert_true(log_limit_pass(&limit, 60000, &skipped));
    assert_int_equal(skipped, 5);
    assert_false(log_limit_pass(&limit, 60000, &skipped));
    limit.next_ms = 0;
    assert_true(log_limit_pass(&limit, 60000, &skipped));
    assert_int_equal(skipped, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_module_event_and_values),
        TEST(lines_below_the_level_are_not_written),
        TEST(control_characters_cannot_forge_a_line),
        TEST(a_long_line_is_cut_and_still_one_line),
        cmocka_unit_test(level_names_are_those_of_the_configs),
        cmocka_unit_test(a_limit_lets_one_line_through_and_counts_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
