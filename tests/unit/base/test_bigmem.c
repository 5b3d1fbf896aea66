#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/bigmem.h"
#include "base/clock.h"

enum { MIB = 1 << 20 };

static int keep_nothing(void **state)
{
    (void)state;
    bigmem_keep(0);
    assert_int_equal(bigmem_kept_bytes(), 0);
    return 0;
}

static void small_and_large_buffers_hold_what_was_asked_for(void **state)
{
    static const size_t sizes[] = {0, 1, 4096, MIB - 1, MIB, 4 * MIB + 100, 64 * MIB};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *data = bigmem_alloc(sizes[i]);

        assert_true(sizes[i] < MIB || (uintptr_t)data % (2 * MIB) == 0);
        memset(data, 0x5a, sizes[i]);
        if (i % 2 == 0) {
            bigmem_free(data);
        } else {
            free(data);
        }
    }
    bigmem_free(NULL);
}

static void nothing_is_kept_unless_asked_for(void **state)
{
    (void)state;
    bigmem_free(bigmem_alloc(8 * MIB));
    assert_int_equal(bigmem_kept_bytes(), 0);
}

static void freed_buffer_comes_back_for_the_same_size_and_nearly_the_same(void **state)
{
    void *a, *b;

    (void)state;
    bigmem_keep(64 * MIB);
    a = bigmem_alloc(4 * MIB + 4000);
    bigmem_free(a);
    b = bigmem_alloc(4 * MIB + 20);
    assert_ptr_equal(a, b);
    assert_int_equal(bigmem_kept_bytes(), 0);
    bigmem_free(b);
    b = bigmem_alloc(2 * MIB); /* half of it would be waste */
    assert_ptr_not_equal(a, b);
    assert_true(bigmem_kept_bytes() >= 4 * MIB);
    bigmem_free(b);
}

static void bound_holds_and_the_coldest_go_first(void **state)
{
    void *blocks[6], *again;

    (void)state;
    bigmem_keep(20 * MIB);
    for (int i = 0; i < 6; i++) {
        blocks[i] = bigmem_alloc(4 * MIB);
    }
    for (int i = 0; i < 6; i++) {
        bigmem_free(blocks[i]);
        assert_in_range(bigmem_kept_bytes(), 1, 20 * MIB);
    }
    again = bigmem_alloc(4 * MIB);
    assert_ptr_equal(again, blocks[5]);
    bigmem_free(again);
    assert_in_range(bigmem_kept_bytes(), 12 * MIB, 20 * MIB);
    bigmem_keep(5 * MIB);
    assert_in_range(bigmem_kept_bytes(), 0, 5 * MIB);
    bigmem_free(bigmem_alloc(32 * MIB)); /* more than the bound: not kept */
    assert_in_range(bigmem_kept_bytes(), 0, 5 * MIB);
}

static void kept_and_used_together_stay_within_the_bound(void **state)
{
    void *small[60], *large[3];

    (void)state;
    bigmem_keep(64 * MIB);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 60; i++) {
            small[i] = bigmem_alloc(MIB);
            assert_true((size_t)(i + 1) * MIB + bigmem_kept_bytes() <= 65 * MIB);
        }
        for (int i = 0; i < 60; i++) {
            bigmem_free(small[i]);
        }
        for (size_t i = 0; i < 3; i++) {
            large[i] = bigmem_alloc(16 * MIB);
            assert_true((i + 1) * 16 * MIB + bigmem_kept_bytes() <= 64 * MIB);
        }
        assert_true(bigmem_kept_bytes() >= 8 * MIB); /* no more than need be */
        for (int i = 0; i < 3; i++) {
            bigmem_free(large[i]);
        }
    }
}

static void small_buffers_are_not_kept(void **state)
{
    (void)state;
    bigmem_keep(64 * MIB);
    bigmem_free(bigmem_alloc(100000));
    assert_int_equal(bigmem_kept_bytes(), 0);
}

static void count_of_kept_buffers_is_bounded(void **state)
{
    void *blocks[BIGMEM_BLOCKS_MAX + 3];

    (void)state;
    bigmem_keep((size_t)1 << 40);
    for (int i = 0; i < BIGMEM_BLOCKS_MAX + 3; i++) {
        blocks[i] = bigmem_alloc(MIB);
    }
    for (int i = 0; i < BIGMEM_BLOCKS_MAX + 3; i++) {
        bigmem_free(blocks[i]);
    }
    assert_in_range(bigmem_kept_bytes(), 1, (size_t)BIGMEM_BLOCKS_MAX * (MIB + MIB / 8));
}

static void idle_buffers_are_given_back(void **state)
{
    uint64_t now = clock_mono_ms();

    (void)state;
    bigmem_keep(64 * MIB);
    bigmem_free(bigmem_alloc(4 * MIB));
    bigmem_trim(now);
    assert_true(bigmem_kept_bytes() > 0);
    bigmem_trim(clock_mono_ms() + BIGMEM_IDLE_MS + 1);
    assert_int_equal(bigmem_kept_bytes(), 0);
}

static void *use(void *seed)
{
    size_t bytes = (size_t)(uintptr_t)seed * MIB;

    for (int i = 0; i < 200; i++) {
        uint8_t *data = bigmem_alloc(bytes);

        data[0] = data[bytes - 1] = (uint8_t)(uintptr_t)seed;
        if (data[0] != (uint8_t)(uintptr_t)seed) {
            return seed;
        }
        bigmem_free(data);
        bigmem_trim(clock_mono_ms());
    }
    return NULL;
}

static void threads_share_the_kept_buffers(void **state)
{
    pthread_t threads[4];

    (void)state;
    bigmem_keep(8 * MIB);
    for (uintptr_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, use, (void *)(i / 2 + 1)), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;

        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    assert_true(bigmem_kept_bytes() <= 8 * MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(small_and_large_buffers_hold_what_was_asked_for, keep_nothing),
        cmocka_unit_test_teardown(nothing_is_kept_unless_asked_for, keep_nothing),
        cmocka_unit_test_teardown(freed_buffer_comes_back_for_the_same_size_and_nearly_the_same,
                                  keep_nothing),
        cmocka_unit_test_teardown(bound_holds_and_the_coldest_go_first, keep_nothing),
        cmocka_unit_test_teardown(kept_and_used_together_stay_within_the_bound, keep_nothing),
        cmocka_unit_test_teardown(small_buffers_are_not_kept, keep_nothing),
        cmocka_unit_test_teardown(count_of_kept_buffers_is_bounded, keep_nothing),
        cmocka_unit_test_teardown(idle_buffers_are_given_back, keep_nothing),
        cmocka_unit_test_teardown(threads_share_the_kept_buffers, keep_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
