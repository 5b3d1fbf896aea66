/* What came from outside, made fit for a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "alba/output.h"
#include "alba/verb.h"

static void expect_plain(const char *text, const char *plain)
{
    char *made = output_plain(text);

    assert_string_equal(made, plain);
    free(made);
}

static void what_people_write_stays_as_it_is(void **state)
{
    (void)state;
    expect_plain("", "");
    expect_plain("a b~\\x", "a b~\\x");
    expect_plain("\u00a0\u00e9\u20ac\U0001f41f", "\u00a0\u00e9\u20ac\U0001f41f");
}

static void control_characters_of_both_kinds_are_escaped(void **state)
{
    (void)state;
    expect_plain("\x1b[2J\r\n\t\x7f.", "\\x1b[2J\\x0d\\x0a\\x09\\x7f.");
    expect_plain("\xc2\x80\xc2\x9b"
                 "2J\xc2\x9f",
                 "\\xc2\\x80\\xc2\\x9b2J\\xc2\\x9f");
}

static void bytes_that_are_not_utf8_are_escaped(void **state)
{
    (void)state;
    expect_plain("\x9b"
                 "2J",
                 "\\x9b2J");
    expect_plain("\xc3", "\\xc3");
    expect_plain("\xe2\x82", "\\xe2\\x82");
    expect_plain("\xf0\x9f\x90", "\\xf0\\x9f\\x90");
    expect_plain("\xc1\x9b", "\\xc1\\x9b");          /* a longer form of 5b */
    expect_plain("\xe0\x82\x9b", "\\xe0\\x82\\x9b"); /* of 9b */
    expect_plain("\xf0\x80\x82\x9b", "\\xf0\\x80\\x82\\x9b");
    expect_plain("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");
    expect_plain("\xff\xfe", "\\xff\\xfe");
}

/* What fails, as the verb ends; the text is of ret_said[size]. */
static void finish(struct cli *cli, char *ret_said, size_t size)
{
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);

    assert_non_null(file);
    fflush(stderr);
    assert_true(dup2(fileno(file), STDERR_FILENO) >= 0);
    assert_int_equal(output_finish(cli, cli->err.code), 2);
    fflush(stderr);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    close(kept);
    rewind(file);
    memset(ret_said, 0, size);
    fread(ret_said, 1, size - 1, file);
    fclose(file);
}

static void an_error_is_one_line_whatever_name_is_in_it(void **state)
{
    const struct verb verb = {.name = "show-object"};
    struct cli cli = {.verb = &verb};
    char said[512];

    (void)state;
    err_say(&cli.err, ERR_FAILED, "object 'a\x1b]0;x\a\nb\xc2\x9bm': gone");
    finish(&cli, said, sizeof said);
    assert_string_equal(said,
                        "alba show-object: object 'a\\x1b]0;x\\x07\\x0ab\\xc2\\x9bm': gone\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_people_write_stays_as_it_is),
        cmocka_unit_test(control_characters_of_both_kinds_are_escaped),
        cmocka_unit_test(bytes_that_are_not_utf8_are_escaped),
        cmocka_unit_test(an_error_is_one_line_whatever_name_is_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
