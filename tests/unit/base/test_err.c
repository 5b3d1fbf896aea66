#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/err.h"

static void a_message_reads_from_the_outside_in(void **state)
{
    struct err e;

    (void)state;
    assert_int_equal(err_set(&e, -EIO, "fdatasync"), -EIO);
    assert_string_equal(e.msg, "fdatasync: Input/output error");
    assert_int_equal(err_wrap(&e, "slab slot %d", 7), -EIO);
    assert_int_equal(err_wrap(&e, "put %s", "7f3a"), -EIO);
    assert_int_equal(e.code, -EIO);
    assert_string_equal(e.msg, "put 7f3a: slab slot 7: fdatasync: Input/output error");
}

static void a_copy_is_the_same_and_apart(void **state)
{
    struct err a, b;

    (void)state;
    err_set(&a, ERR_BUSY, "queue");
    assert_int_equal(err_copy(&b, &a), ERR_BUSY);
    err_wrap(&a, "x");
    assert_string_equal(b.msg, "queue: limit reached, try again later");
}

/* However long the pieces are: a string, inside its array, and the code is kept. */
static void long_messages_are_cut_not_overrun(void **state)
{
    struct {
        struct err e;
        char canary[16];
    } s;
    char text[2 * ERR_MSG_BYTES];

    (void)state;
    for (size_t len = 0; len < sizeof text; len += 7) {
        memset(s.canary, 'c', sizeof s.canary);
        memset(text, 'x', len);
        text[len] = '\0';
        assert_int_equal(err_set(&s.e, ERR_CORRUPT, "%s", text), ERR_CORRUPT);
        assert_non_null(strstr(s.e.msg, "stored data fails its checks"));
        for (int i = 0; i < 3; i++) {
            assert_int_equal(err_wrap(&s.e, "%s", text), ERR_CORRUPT);
            assert_non_null(memchr(s.e.msg, '\0', sizeof s.e.msg));
        }
        for (size_t i = 0; i < sizeof s.canary; i++) {
            assert_int_equal(s.canary[i], 'c');
        }
    }
}

static void every_code_has_a_text_of_its_own(void **state)
{
    static const int codes[] = {
#define X(name, value, text) value,
        ERR_MAP(X)
#undef X
    };

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_true(codes[i] <= -5001);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(codes[i], codes[j]);
            assert_string_not_equal(err_text(codes[i]), err_text(codes[j]));
        }
    }
    assert_string_equal(err_text(-ENOENT), "No such file or directory");
    assert_string_equal(err_text(-4095), "end of file");
    assert_string_equal(err_text(0), "no error");
    assert_string_equal(err_text(-2999), "unknown error");
    assert_non_null(err_text(-3008));
    assert_non_null(err_text(-5999));
    assert_non_null(err_text(17));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_reads_from_the_outside_in),
        cmocka_unit_test(a_copy_is_the_same_and_apart),
        cmocka_unit_test(long_messages_are_cut_not_overrun),
        cmocka_unit_test(every_code_has_a_text_of_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
