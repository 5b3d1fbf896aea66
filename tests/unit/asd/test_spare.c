/* Buffers that a loop uses again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/spare.h"

static void one_given_back_is_taken_next(void **state)
{
    struct asd_spare spare = {0};
    bool is_spare;
    uint8_t *first = asd_spare_take(&spare, ASD_SPARE_BYTES_MIN, &is_spare);
    uint8_t *again, *other;

    (void)state;
    assert_true(is_spare);
    memset(first, 1, ASD_SPARE_BYTES); /* whatever was asked for */
    asd_spare_give(&spare, first);
    again = asd_spare_take(&spare, ASD_SPARE_BYTES, &is_spare);
    other = asd_spare_take(&spare, ASD_SPARE_BYTES, &is_spare);
    assert_ptr_equal(again, first);
    assert_ptr_not_equal(other, first);
    asd_spare_give(&spare, again);
    asd_spare_give(&spare, other);
    asd_spare_give(&spare, NULL);
    asd_spare_release(&spare);
}

static void other_sizes_are_none_of_its_business(void **state)
{
    struct asd_spare spare = {0};
    bool is_spare = true;

    (void)state;
    free(asd_spare_take(&spare, ASD_SPARE_BYTES_MIN - 1, &is_spare));
    assert_false(is_spare);
    free(asd_spare_take(&spare, ASD_SPARE_BYTES + 1, &is_spare));
    assert_false(is_spare);
    assert_int_equal(spare.count, 0);
}

static void it_keeps_no_more_than_it_may(void **state)
{
    enum { MANY = ASD_SPARE_COUNT_MAX + 10 };
    struct asd_spare spare = {0};
    uint8_t *taken[MANY];
    bool is_spare;

    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        taken[i] = asd_spare_take(&spare, ASD_SPARE_BYTES, &is_spare);
    }
    for (unsigned i = 0; i < MANY; i++) {
        asd_spare_give(&spare, taken[i]);
    }
    assert_int_equal(spare.count, ASD_SPARE_COUNT_MAX);
    asd_spare_release(&spare);
    assert_int_equal(spare.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_given_back_is_taken_next),
        cmocka_unit_test(other_sizes_are_none_of_its_business),
        cmocka_unit_test(it_keeps_no_more_than_it_may),
    };

    return cmocka_run_group_tests_name("asd/spare", tests, NULL, NULL);
}
