#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rnd.h"
#include "lib/seed.h"
#include "proxy/block_cache.h"

enum { RAW = 100000, BLOCK = 4096 };

static struct block_source source_of(uint64_t ns_id, uint8_t object)
{
    return (struct block_source){.ns_id = ns_id,
                                 .id = {.object_id = {object}, .chunk = 1, .fragment = 2},
                                 .raw_bytes = RAW,
                                 .block_bytes = BLOCK};
}

static void fill(uint8_t data[RAW], uint8_t object)
{
    struct rnd rnd = rnd_seed(object);

    for (unsigned i = 0; i < RAW; i++) {
        data[i] = (uint8_t)rnd_next(&rnd);
    }
}

static void put(struct block_cache *cache, uint64_t ns_id, uint8_t object, uint32_t first,
                uint32_t count)
{
    static uint8_t data[RAW];
    struct block_source source = source_of(ns_id, object);
    struct block_range range = {.offset = first * BLOCK, .bytes = count * BLOCK};

    fill(data, object);
    if (range.offset + range.bytes > RAW) {
        range.bytes = RAW - range.offset;
    }
    block_cache_put(cache, &source, range, data + range.offset);
}

/* Returns what is missing. */
static struct block_range read_range(struct block_cache *cache, uint64_t ns_id, uint8_t object,
                                     uint32_t offset, uint32_t bytes)
{
    static uint8_t data[RAW], got[RAW];
    struct block_source source = source_of(ns_id, object);
    struct block_range left = {.offset = offset, .bytes = bytes};
    uint32_t end = offset + bytes;

    fill(data, object);
    memset(got, 0xee, sizeof(got));
    block_cache_read(cache, &source, &left, got);
    if (left.bytes == 0) {
        assert_memory_equal(got, data + offset, bytes);
    } else {
        assert_true(left.offset >= offset && left.offset + left.bytes <= end);
        assert_memory_equal(got, data + offset, left.offset - offset);
        assert_memory_equal(got + (left.offset + left.bytes - offset),
                            data + left.offset + left.bytes, end - (left.offset + left.bytes));
        for (uint32_t i = left.offset; i < left.offset + left.bytes; i++) {
            assert_int_equal(got[i - offset], 0xee);
        }
    }
    return left;
}

static void the_start_and_the_end_of_a_range_may_be_there(void **state)
{
    struct block_cache cache;
    struct block_range left;

    (void)state;
    block_cache_init(&cache, 1 << 20);
    left = read_range(&cache, 1, 7, 5000, 20000);
    assert_int_equal(left.offset, 5000);
    assert_int_equal(left.bytes, 20000);
    put(&cache, 1, 7, 1, 2); /* of the blocks 1 to 6 */
    left = read_range(&cache, 1, 7, 5000, 20000);
    assert_int_equal(left.offset, 3 * BLOCK);
    assert_int_equal(left.bytes, 25000 - 3 * BLOCK);
    put(&cache, 1, 7, 6, 1);
    put(&cache, 1, 7, 4, 1); /* in the middle: of no use */
    left = read_range(&cache, 1, 7, 5000, 20000);
    assert_int_equal(left.offset, 3 * BLOCK);
    assert_int_equal(left.bytes, 3 * BLOCK);
    put(&cache, 1, 7, 3, 3);
    assert_int_equal(read_range(&cache, 1, 7, 5000, 20000).bytes, 0);
    assert_int_equal(read_range(&cache, 1, 8, 5000, 20000).bytes, 20000);
    block_cache_release(&cache);
    assert_int_equal(cache.items.used_bytes, 0);
}

static void the_last_block_of_a_fragment_is_short(void **state)
{
    struct block_cache cache;
    struct block_source source = source_of(1, 7);
    struct block_range range = {.offset = RAW - 1, .bytes = 1};

    (void)state;
    block_cache_init(&cache, 1 << 20);
    range = block_range_align(&source, range);
    assert_int_equal(range.offset, RAW / BLOCK * BLOCK);
    assert_int_equal(range.offset + range.bytes, RAW);
    put(&cache, 1, 7, RAW / BLOCK, 1);
    assert_int_equal(read_range(&cache, 1, 7, RAW - 1, 1).bytes, 0);
    assert_int_equal(read_range(&cache, 1, 7, RAW - 100, 100).bytes, 0);
    source.raw_bytes = RAW + 1; /* says another manifest of this id: it is not believed */
    range = (struct block_range){.offset = RAW - 1, .bytes = 1};
    block_cache_read(&cache, &source, &range, &(uint8_t){0});
    assert_int_equal(range.bytes, 1);
    block_cache_release(&cache);
}

static void any_sequence_gives_the_bytes_of_the_fragment(void **state)
{
    struct block_cache cache;
    uint64_t full = 0;
    struct rnd rnd = seed_start("any_sequence_gives_the_bytes_of_the_fragment");

    (void)state;
    block_cache_init(&cache, 300000);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t object = (uint8_t)rnd_below(&rnd, 5);
        uint32_t offset = (uint32_t)rnd_below(&rnd, RAW);
        uint32_t bytes = 1 + (uint32_t)rnd_below(&rnd, RAW - offset);
        struct block_source source = source_of(object % 2, object);
        struct block_range left;

        bytes = bytes < 20000 ? bytes : 20000;
        left = read_range(&cache, object % 2, object, offset, bytes);
        full += left.bytes == 0;
        if (left.bytes > 0) {
            left = block_range_align(&source, left);
            put(&cache, object % 2, object, left.offset / BLOCK, (left.bytes + BLOCK - 1) / BLOCK);
        }
        assert_true(cache.items.used_bytes <= 300000);
        if (rnd_below(&rnd, 200) == 0) {
            block_cache_remove_namespace(&cache, object % 2);
            assert_int_equal(read_range(&cache, object % 2, object, offset, 1).bytes, 1);
        }
    }
    assert_true(full > 100);
    block_cache_release(&cache);
}

static void a_namespace_is_dropped_whole(void **state)
{
    struct block_cache cache;

    (void)state;
    block_cache_init(&cache, 1 << 20);
    put(&cache, 1, 7, 0, 5);
    put(&cache, 2, 8, 0, 5);
    block_cache_remove_namespace(&cache, 1);
    block_cache_remove_namespace(&cache, 1);
    block_cache_remove_namespace(&cache, 99);
    assert_int_equal(cache.items.count, 5);
    assert_int_equal(read_range(&cache, 2, 8, 0, 5 * BLOCK).bytes, 0);
    assert_int_equal(read_range(&cache, 1, 7, 0, 1).bytes, 1);
    block_cache_release(&cache);
}

/* As many readers of a whole object do: the same block is asked for eight times in a row. */
static void reading_on_in_small_steps_is_a_scan(void **state)
{
    struct block_cache cache;

    (void)state;
    block_cache_init(&cache, 40 * BLOCK);
    put(&cache, 1, 1, 0, 20);
    for (unsigned round = 0; round < 4; round++) {
        assert_int_equal(read_range(&cache, 1, 1, 100, 20 * BLOCK - 100).bytes, 0);
    }
    for (uint8_t object = 2; object < 20; object++) {
        for (uint32_t at = 0; at < RAW / 512 * 512; at += 512) {
            if (read_range(&cache, 1, object, at, 512).bytes > 0) {
                put(&cache, 1, object, at / BLOCK, 1);
            }
        }
    }
    assert_int_equal(read_range(&cache, 1, 1, 100, 20 * BLOCK - 100).bytes, 0);
    block_cache_release(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_and_the_end_of_a_range_may_be_there),
        cmocka_unit_test(the_last_block_of_a_fragment_is_short),
        cmocka_unit_test(any_sequence_gives_the_bytes_of_the_fragment),
        cmocka_unit_test(a_namespace_is_dropped_whole),
        cmocka_unit_test(reading_on_in_small_steps_is_a_scan),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
