#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rnd.h"

/* The definition, a bit at a time. */
static uint32_t slow_crc32c(const uint8_t *p, size_t bytes)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < bytes; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0);
        }
    }
    return ~crc;
}

static void known_vectors_match(void **state)
{
    uint8_t bytes[32];

    (void)state;
    assert_true(crc32c(0, "", 0) == 0);
    assert_true(crc32c(0, "123456789", 9) == 0xe3069283u);
    memset(bytes, 0, sizeof bytes); /* RFC 3720 B.4 */
    assert_true(crc32c(0, bytes, 32) == 0x8a9136aau);
    memset(bytes, 0xff, sizeof bytes);
    assert_true(crc32c(0, bytes, 32) == 0x62a8ab43u);
    for (uint8_t i = 0; i < 32; i++) {
        bytes[i] = i;
    }
    assert_true(crc32c(0, bytes, 32) == 0x46dd794eu);
}

static void every_length_and_alignment_agrees_with_the_definition(void **state)
{
    uint8_t bytes[600];
    struct rnd rnd = rnd_seed(1);

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)rnd_next(&rnd);
    }
    for (size_t len = 0; len < 520; len++) {
        size_t at = len % 17;

        assert_true(crc32c(0, bytes + at, len) == slow_crc32c(bytes + at, len));
    }
}

static void a_crc_goes_on_where_the_last_one_ended(void **state)
{
    uint8_t bytes[300];
    uint32_t whole;

    (void)state;
    memset(bytes, 0x5a, sizeof bytes);
    whole = crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        assert_true(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof bytes - cut) == whole);
    }
}

static void combining_two_crcs_equals_the_crc_of_both(void **state)
{
    enum { BYTES = 200000 };
    uint8_t *bytes = malloc(BYTES);
    struct rnd rnd = rnd_seed(2);

    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < BYTES; i++) {
        bytes[i] = (uint8_t)rnd_next(&rnd);
    }
    for (int i = 0; i < 2000; i++) {
        size_t a = (size_t)rnd_below(&rnd, i % 2 ? 64 : BYTES / 2);
        size_t b = (size_t)rnd_below(&rnd, i % 3 ? 64 : BYTES / 2);

        assert_true(crc32c_combine(crc32c(0, bytes, a), crc32c(0, bytes + a, b), b) ==
                    crc32c(0, bytes, a + b));
    }
    free(bytes);
}

/* 2^32 + 5 zeroes, a block at a time: the length does not fit 32 bits. */
static void combining_works_for_lengths_beyond_32_bits(void **state)
{
    static uint8_t zeroes[1 << 20];
    uint32_t head = crc32c(0, "head", 4);
    uint32_t whole = head, tail = 0;

    (void)state;
    for (int i = 0; i < 4096; i++) {
        whole = crc32c(whole, zeroes, sizeof zeroes);
        tail = crc32c(tail, zeroes, sizeof zeroes);
    }
    whole = crc32c(whole, "tail.", 5);
    tail = crc32c(tail, "tail.", 5);
    assert_true(crc32c_combine(head, tail, (UINT64_C(1) << 32) + 5) == whole);
}

static void combining_goes_for_any_length(void **state)
{
    uint32_t half = crc32c(0, "abc", 3);

    (void)state;
    for (uint64_t bytes = 1; bytes < (uint64_t)1 << 62; bytes = 3 * bytes + 1) {
        uint64_t part = bytes / 3 + 1;

        /* so many bytes in one step, or in two */
        assert_true(crc32c_combine(half, 0, bytes) ==
                    crc32c_combine(crc32c_combine(half, 0, part), 0, bytes - part));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors_match),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
        cmocka_unit_test(a_crc_goes_on_where_the_last_one_ended),
        cmocka_unit_test(combining_two_crcs_equals_the_crc_of_both),
        cmocka_unit_test(combining_goes_for_any_length),
        cmocka_unit_test(combining_works_for_lengths_beyond_32_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
