#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rnd.h"

static void a_seed_repeats_the_known_sequence(void **state)
{
    struct rnd r = rnd_seed(1234567);

    (void)state; /* the reference implementation of SplitMix64 */
    assert_true(rnd_next(&r) == UINT64_C(6457827717110365317));
    assert_true(rnd_next(&r) == UINT64_C(3203168211198807973));
    assert_true(rnd_next(&r) == UINT64_C(9817491932198370423));
}

static void draws_stay_below_the_bound_and_reach_all_of_it(void **state)
{
    struct rnd r = rnd_seed(1);
    unsigned counts[10] = {0};

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t draw = rnd_below(&r, 10);

        assert_true(draw < 10);
        counts[draw]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(counts[i], 800, 1200);
    }
    assert_true(rnd_below(&r, 1) == 0);
}

/* 16 bytes that repeat, or a byte of 64 that never changes, would be a broken source. */
static void kernel_bytes_differ_and_fill_the_whole_buffer(void **state)
{
    uint8_t first[64], next[64], differs[64] = {0};

    (void)state;
    rnd_bytes(first, sizeof first);
    for (int i = 0; i < 16; i++) {
        rnd_bytes(next, sizeof next);
        for (size_t j = 0; j < sizeof next; j++) {
            differs[j] |= first[j] ^ next[j];
        }
    }
    for (size_t j = 0; j < sizeof differs; j++) {
        assert_int_not_equal(differs[j], 0);
    }
    rnd_bytes(NULL, 0);
}

static void a_uuid_has_its_form_version_and_variant(void **state)
{
    char text[RND_UUID_TEXT_BYTES], other[RND_UUID_TEXT_BYTES];

    (void)state;
    for (int n = 0; n < 100; n++) {
        rnd_uuid_text(text);
        assert_int_equal(strlen(text), 36);
        for (size_t i = 0; i < 36; i++) {
            if (i == 8 || i == 13 || i == 18 || i == 23) {
                assert_int_equal(text[i], '-');
            } else {
                assert_non_null(strchr("0123456789abcdef", text[i]));
            }
        }
        assert_int_equal(text[14], '4');
        assert_non_null(strchr("89ab", text[19]));
        rnd_uuid_text(other);
        assert_string_not_equal(text, other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_repeats_the_known_sequence),
        cmocka_unit_test(draws_stay_below_the_bound_and_reach_all_of_it),
        cmocka_unit_test(kernel_bytes_differ_and_fill_the_whole_buffer),
        cmocka_unit_test(a_uuid_has_its_form_version_and_variant),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
