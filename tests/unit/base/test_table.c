#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/table.h"

/* As another implementation has them: CPython 3.11, PYTHONHASHSEED=0, hash(b"..."). */
static void known_vectors_match(void **state)
{
    const uint64_t key[2] = {0, 0};
    uint8_t bytes[64];

    (void)state;
    for (uint8_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = i;
    }
    assert_true(table_siphash(key, "a", 1) == 0x407448d2b89b1813u);
    assert_true(table_siphash(key, "albacore", 8) == 0xfeb4db9ed2f8fdc1u);
    assert_true(table_siphash(key, bytes, 15) == 0xf30eb725bb91c9eau);
    assert_true(table_siphash(key, bytes, 64) == 0x75e05fd5bbc870c6u);
}

static void each_half_of_the_key_counts(void **state)
{
    const uint64_t keys[3][2] = {{0, 0}, {1, 0}, {0, 1}};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned j = 0; j < i; j++) {
            assert_true(table_siphash(keys[i], "a", 1) != table_siphash(keys[j], "a", 1));
        }
    }
}

static void the_key_of_the_process_is_not_a_known_one_and_stays(void **state)
{
    const uint64_t none[2] = {0, 0};

    (void)state;
    assert_true(table_hash("a", 1) != table_siphash(none, "a", 1));
    assert_true(table_hash("a", 1) == table_hash("a", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors_match),
        cmocka_unit_test(each_half_of_the_key_counts),
        cmocka_unit_test(the_key_of_the_process_is_not_a_known_one_and_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
