/* Keys and values as text and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "alba/escape.h"
#include "base/rnd.h"

static void expect_text(struct slice bytes, const char *text)
{
    struct buf b = {0};

    escape_put(&b, bytes);
    buf_put_u8(&b, 0);
    assert_string_equal((const char *)b.data, text);
    buf_release(&b);
}

static void expect_bytes(const char *text, const void *data, size_t bytes)
{
    struct buf b = {0};
    struct err e = {0};

    assert_int_equal(escape_parse(text, &b, &e), 0);
    assert_true(slice_eq(slice_buf(&b), slice_of(data, bytes)));
    buf_release(&b);
}

static void printable_ascii_stays_as_it_is(void **state)
{
    const char *plain = "abc XYZ/:_-.~!\"'";

    (void)state;
    expect_text(slice_str(plain), plain);
    expect_bytes(plain, plain, strlen(plain));
    expect_text(slice_of(NULL, 0), "");
    expect_bytes("", "", 0);
}

static void other_bytes_are_written_as_the_older_cli_does(void **state)
{
    (void)state;
    expect_text(slice_of("\0\1\n\t\r\b\\\x7f\xff", 9), "\\000\\001\\n\\t\\r\\b\\\\\\127\\255");
    expect_text(slice_str("\xc3\xa9"), "\\195\\169");
}

static void hex_and_needless_escapes_are_read(void **state)
{
    (void)state;
    expect_bytes("\\x00\\xfF\\\"\\'\\ ", "\0\xff\"' ", 5);
    expect_bytes("\\0011",
                 "\1"
                 "1",
                 2);
}

static void what_is_no_escape_is_refused_with_its_place(void **state)
{
    static const char *const wrong[] = {"\\",    "a\\q", "\\x",   "\\x4",  "\\xg0",
                                        "\\256", "\\12", "\\12a", "\\999", "\\1"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct buf b = {0};
        struct err e = {0};

        assert_int_equal(escape_parse(wrong[i], &b, &e), -EINVAL);
        assert_non_null(strstr(e.msg, wrong[i]));
        assert_non_null(strstr(e.msg, wrong[i][0] == 'a' ? "character 2" : "character 1"));
        buf_release(&b);
    }
}

static void any_bytes_come_back(void **state)
{
    struct rnd rnd = rnd_seed(3);

    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        uint8_t data[64];
        struct slice bytes = slice_of(data, rnd_below(&rnd, sizeof(data) + 1));
        struct buf text = {0};

        for (size_t i = 0; i < bytes.len; i++) {
            data[i] = (uint8_t)rnd_next(&rnd);
        }
        escape_put(&text, bytes);
        buf_put_u8(&text, 0);
        expect_bytes((const char *)text.data, data, bytes.len);
        buf_release(&text);
    }
}

static void as_json_it_is_the_same_text(void **state)
{
    json_t *text = escape_json(slice_of("k\0\"", 3));

    (void)state;
    assert_string_equal(json_string_value(text), "k\\000\"");
    json_decref(text);
    text = escape_json(slice_of(NULL, 0));
    assert_string_equal(json_string_value(text), "");
    json_decref(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printable_ascii_stays_as_it_is),
        cmocka_unit_test(other_bytes_are_written_as_the_older_cli_does),
        cmocka_unit_test(hex_and_needless_escapes_are_read),
        cmocka_unit_test(what_is_no_escape_is_refused_with_its_place),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(as_json_it_is_the_same_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
