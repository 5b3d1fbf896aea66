#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/seed.h"
#include "policy/compress.h"

/* Text-like: runs of random length of few different bytes. */
static void fill_soft(struct rnd *rnd, uint8_t *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes;) {
        uint32_t run = 1 + (uint32_t)rnd_below(rnd, 40);
        uint8_t byte = (uint8_t)('a' + rnd_below(rnd, 8));

        while (run-- != 0 && i < bytes) {
            data[i++] = byte;
        }
    }
}

static void blocks_come_back_or_are_told_not_to_shrink(void **state)
{
    struct rnd rnd = seed_start("round trip");
    int shrunk = 0;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        uint32_t bytes = (uint32_t)rnd_below(&rnd, round % 2 ? 200 : 40000);
        uint8_t *raw = mem_alloc(bytes + 1); /* exact sizes, so that asan sees overruns */
        uint8_t *packed = mem_alloc(bytes + 1);
        uint8_t *back = mem_alloc(bytes + 1);
        struct err e;
        uint32_t n;

        if (round % 3 == 0) {
            seed_fill(&rnd, raw, bytes);
        } else {
            fill_soft(&rnd, raw, bytes);
        }
        n = compress_block(COMPRESS_LZ4, packed, raw, bytes);
        assert_true(n == 0 || n < bytes);
        if (n != 0) {
            assert_int_equal(decompress_block(COMPRESS_LZ4, back, bytes, packed, n, &e), 0);
            assert_memory_equal(back, raw, bytes);
            shrunk++;
        }
        assert_int_equal(compress_block(COMPRESS_NONE, packed, raw, bytes), 0);
        free(raw);
        free(packed);
        free(back);
    }
    assert_true(shrunk > 500);
}

static void random_bytes_do_not_shrink(void **state)
{
    struct rnd rnd = seed_start("random bytes");
    uint8_t raw[4096], packed[4096];

    (void)state;
    seed_fill(&rnd, raw, sizeof(raw));
    assert_int_equal(compress_block(COMPRESS_LZ4, packed, raw, sizeof(raw)), 0);
}

static void hostile_blocks_give_the_right_length_or_an_error(void **state)
{
    struct rnd rnd = seed_start("hostile");
    int refused = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint32_t bytes = 1 + (uint32_t)rnd_below(&rnd, 100);
        uint32_t raw_bytes = (uint32_t)rnd_below(&rnd, 5000);
        uint8_t *packed = mem_alloc(bytes);
        uint8_t *back = mem_alloc(raw_bytes + 1);
        struct err e;

        seed_fill(&rnd, packed, bytes);
        refused += decompress_block(COMPRESS_LZ4, back, raw_bytes, packed, bytes, &e) != 0;
        free(packed);
        free(back);
    }
    assert_true(refused > 19000);
}

static void a_block_of_another_length_is_corrupt(void **state)
{
    uint8_t raw[4096] = {0}, packed[4096], back[5000];
    struct err e;
    uint32_t n;

    (void)state;
    n = compress_block(COMPRESS_LZ4, packed, raw, sizeof(raw));
    assert_true(n > 0);
    assert_int_equal(decompress_block(COMPRESS_LZ4, back, 4096, packed, n, &e), 0);
    assert_int_equal(decompress_block(COMPRESS_LZ4, back, 4097, packed, n, &e), ERR_CORRUPT);
    assert_int_equal(decompress_block(COMPRESS_LZ4, back, 4095, packed, n, &e), ERR_CORRUPT);
    assert_int_equal(decompress_block(COMPRESS_LZ4, back, 4096, packed, n - 1, &e), ERR_CORRUPT);
    assert_int_equal(decompress_block(COMPRESS_LZ4, back, 4096, packed, UINT32_MAX, &e),
                     ERR_CORRUPT);
}

static void names_and_tags_are_known_or_refused(void **state)
{
    enum compress_codec codec;

    (void)state;
    assert_int_equal(compress_parse("lz4", &codec), 0);
    assert_int_equal(codec, 64); /* the manifest tag */
    assert_string_equal(compress_name(codec), "lz4");
    assert_int_equal(compress_parse("none", &codec), 0);
    assert_int_equal(codec, 1);
    assert_string_equal(compress_name(codec), "none");
    assert_int_equal(compress_parse("snappy", &codec), 0);
    assert_int_equal(codec, 2);
    assert_int_equal(compress_parse("bz2", &codec), 0);
    assert_int_equal(codec, 3);
    assert_string_equal(compress_name(codec), "bz2");
    assert_int_equal(compress_parse("test", &codec), -EINVAL);
    assert_false(compress_is_known(0));
    assert_false(compress_is_known(2));
    assert_false(compress_is_known(65));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_back_or_are_told_not_to_shrink),
        cmocka_unit_test(random_bytes_do_not_shrink),
        cmocka_unit_test(hostile_blocks_give_the_right_length_or_an_error),
        cmocka_unit_test(a_block_of_another_length_is_corrupt),
        cmocka_unit_test(names_and_tags_are_known_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
