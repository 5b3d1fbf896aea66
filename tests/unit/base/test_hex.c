#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/hex.h"

static void bytes_become_lower_case_digits_and_come_back(void **state)
{
    uint8_t all[256], back[256];
    char text[513];

    (void)state;
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    hex_encode(text, all, sizeof all);
    assert_int_equal(strlen(text), 512);
    assert_memory_equal(text, "000102030405060708090a0b0c0d0e0f10", 34);
    assert_string_equal(text + 508, "feff");
    assert_int_equal(hex_decode(back, sizeof back, text), 0);
    assert_memory_equal(back, all, sizeof all);
}

static void no_bytes_are_an_empty_string(void **state)
{
    char text[1] = {'x'};

    (void)state;
    hex_encode(text, NULL, 0);
    assert_int_equal(text[0], '\0');
    assert_int_equal(hex_decode(text, 0, ""), 0);
}

static void only_exactly_enough_digits_are_taken(void **state)
{
    static const char *const bad[] = {"", "0", "000", "00000", "0g00", "00 0", "0x00", "-000"};
    uint8_t back[2];

    (void)state;
    assert_int_equal(hex_decode(back, 2, "aBCd"), 0);
    assert_int_equal(back[0], 0xab);
    assert_int_equal(back[1], 0xcd);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(hex_decode(back, 2, bad[i]), -EINVAL);
    }
}

static void a_uuid_comes_back(void **state)
{
    static const char text[] = "00112233-4455-6677-8899-aabbccddeeff";
    uint8_t uuid[16];
    char back[37];

    (void)state;
    assert_int_equal(hex_decode_uuid(uuid, text), 0);
    hex_encode_uuid(back, uuid);
    assert_string_equal(back, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_become_lower_case_digits_and_come_back),
        cmocka_unit_test(no_bytes_are_an_empty_string),
        cmocka_unit_test(a_uuid_comes_back),
        cmocka_unit_test(only_exactly_enough_digits_are_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
