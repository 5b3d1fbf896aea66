#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rnd.h"
#include "lib/seed.h"
#include "proxy/get.h"

static int32_t check(const struct proxy_slice *slices, uint32_t count, uint64_t size)
{
    struct get_item item = {.slices = slices, .slice_count = count};
    struct err e;

    return get_check_slices(&item, size, &e);
}

static void slices_that_make_no_sense_have_a_code_each(void **state)
{
    const struct proxy_slice negative[] = {{.offset = 5, .bytes = -1}};
    const struct proxy_slice before[] = {{.offset = -1, .bytes = 1}};
    const struct proxy_slice beyond[] = {{.offset = 95, .bytes = 6}};
    const struct proxy_slice far[] = {{.offset = INT64_MAX, .bytes = INT32_MAX}};
    const struct proxy_slice fine[] = {{.offset = 90, .bytes = 10}, {.offset = 0, .bytes = 90}};
    const struct proxy_slice same[] = {{.offset = 5, .bytes = 1}, {.offset = 5, .bytes = 1}};
    const struct proxy_slice empty[] = {{.offset = 5, .bytes = 0}, {.offset = 5, .bytes = 9}};
    const struct proxy_slice end[] = {{.offset = 100, .bytes = 0}};

    (void)state;
    assert_int_equal(check(negative, 1, 100), PROXY_RC_BAD_SLICE_LENGTH);
    assert_int_equal(check(before, 1, 100), PROXY_RC_SLICE_OUTSIDE_OBJECT);
    assert_int_equal(check(beyond, 1, 100), PROXY_RC_SLICE_OUTSIDE_OBJECT);
    assert_int_equal(check(far, 1, 100), PROXY_RC_SLICE_OUTSIDE_OBJECT);
    assert_int_equal(check(fine, 2, 100), PROXY_RC_OK);
    assert_int_equal(check(same, 2, 100), PROXY_RC_OVERLAPPING_SLICES);
    assert_int_equal(check(empty, 2, 100), PROXY_RC_OK);
    assert_int_equal(check(end, 1, 100), PROXY_RC_OK);
    assert_int_equal(check(end, 1, 99), PROXY_RC_SLICE_OUTSIDE_OBJECT);
    assert_int_equal(check(NULL, 0, 0), PROXY_RC_OK);
}

/* Against marking every byte. */
static void overlaps_are_found_wherever_they_are(void **state)
{
    struct rnd rnd = seed_start("overlaps_are_found_wherever_they_are");

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct proxy_slice slices[6];
        uint8_t marks[64] = {0};
        uint32_t count = (uint32_t)rnd_below(&rnd, 7);
        bool overlap = false;

        for (uint32_t i = 0; i < count; i++) {
            slices[i].offset = (int64_t)rnd_below(&rnd, 64);
            slices[i].bytes = (int32_t)rnd_below(&rnd, 64 - (uint64_t)slices[i].offset + 1) / 6;
            for (int32_t b = 0; b < slices[i].bytes; b++) {
                overlap = overlap || marks[slices[i].offset + b]++ != 0;
            }
        }
        assert_int_equal(check(slices, count, 64),
                         overlap ? PROXY_RC_OVERLAPPING_SLICES : PROXY_RC_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_that_make_no_sense_have_a_code_each),
        cmocka_unit_test(overlaps_are_found_wherever_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
