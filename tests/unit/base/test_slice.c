#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"

static void slices_are_equal_by_length_and_bytes(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_str("abc"), slice_of("abcd", 3)));
    assert_false(slice_eq(slice_str("abc"), slice_str("abd")));
    assert_false(slice_eq(slice_str("abc"), slice_str("ab")));
    assert_true(slice_eq(slice_of(NULL, 0), slice_str("")));
    assert_true(slice_eq(slice_of("a\0b", 3), slice_of("a\0b", 3)));
    assert_false(slice_eq(slice_of("a\0b", 3), slice_of("a\0c", 3)));
}

static void slices_are_ordered_as_bytes_a_prefix_first(void **state)
{
    static const struct slice rising[] = {
        {NULL, 0},
        {(const uint8_t *)"\0", 1},
        {(const uint8_t *)"\0\0", 2},
        {(const uint8_t *)"a", 1},
        {(const uint8_t *)"ab", 2},
        {(const uint8_t *)"b", 1},
        {(const uint8_t *)"\x7f", 1},
        {(const uint8_t *)"\x80", 1},
        {(const uint8_t *)"\xff\xff", 2},
    };
    const size_t count = sizeof rising / sizeof *rising;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            int order = slice_cmp(rising[i], rising[j]);

            assert_true(i < j ? order < 0 : i > j ? order > 0 : order == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_equal_by_length_and_bytes),
        cmocka_unit_test(slices_are_ordered_as_bytes_a_prefix_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
