#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void integers_are_laid_out_as_the_names_say(void **state)
{
    static const uint8_t expected[] = {
        0x01,                                           /* u8 */
        0x03, 0x02,                                     /* u16le */
        0x07, 0x06, 0x05, 0x04,                         /* u32le */
        0x0f, 0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08, /* u64le */
        0x04, 0x05, 0x06, 0x07,                         /* u32be */
        0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, /* u64be */
        'x',  'y',                                      /* bytes */
    };
    struct buf b = {0};
    struct rd r;

    (void)state;
    buf_put_u8(&b, 1);
    buf_put_u16le(&b, 0x0203);
    buf_put_u32le(&b, 0x04050607);
    buf_put_u64le(&b, 0x08090a0b0c0d0e0f);
    buf_put_u32be(&b, 0x04050607);
    buf_put_u64be(&b, 0x08090a0b0c0d0e0f);
    buf_put(&b, "xy", 2);
    assert_int_equal(b.len, sizeof expected);
    assert_memory_equal(b.data, expected, sizeof expected);

    r = rd_of(b.data, b.len);
    assert_int_equal(rd_u8(&r), 1);
    assert_int_equal(rd_u16le(&r), 0x0203);
    assert_int_equal(rd_u32le(&r), 0x04050607);
    assert_true(rd_u64le(&r) == 0x08090a0b0c0d0e0f);
    assert_int_equal(rd_u32be(&r), 0x04050607);
    assert_true(rd_u64be(&r) == 0x08090a0b0c0d0e0f);
    assert_memory_equal(rd_bytes(&r, 2), "xy", 2);
    assert_int_equal(rd_left(&r), 0);
    assert_false(r.bad);
    buf_release(&b);
}

static void the_highest_bits_survive(void **state)
{
    uint8_t at[8];

    (void)state;
    put_u16le(at, UINT16_MAX);
    assert_int_equal(get_u16le(at), UINT16_MAX);
    put_u32le(at, 0x80000000u);
    assert_true(get_u32le(at) == 0x80000000u);
    put_u32be(at, 0x80000001u);
    assert_true(get_u32be(at) == 0x80000001u && at[0] == 0x80);
    put_u64le(at, UINT64_MAX - 1);
    assert_true(get_u64le(at) == UINT64_MAX - 1);
    put_u64be(at, UINT64_C(1) << 63);
    assert_true(get_u64be(at) == UINT64_C(1) << 63 && at[0] == 0x80);
}

static void a_buffer_grows_and_keeps_what_it_has(void **state)
{
    struct buf b = {0};

    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        buf_put_u32le(&b, i);
    }
    assert_int_equal(b.len, 400000);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(get_u32le(b.data + (size_t)4 * i), i);
    }
    buf_release(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
    buf_release(&b);
}

static void an_empty_put_changes_nothing(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_put(&b, NULL, 0);
    assert_int_equal(b.len, 0);
    buf_release(&b);
}

static void extended_bytes_are_the_callers_to_fill(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_put(&b, "ab", 2);
    memset(buf_extend(&b, 1000), 'c', 1000);
    assert_int_equal(b.len, 1002);
    assert_memory_equal(b.data, "abcc", 4);
    assert_int_equal(b.data[1001], 'c');
    buf_release(&b);
}

static void detached_bytes_belong_to_the_caller(void **state)
{
    struct buf b = {0};
    uint8_t *data;
    size_t len;

    (void)state;
    buf_put(&b, "abc", 3);
    data = buf_detach(&b, &len);
    assert_int_equal(len, 3);
    assert_memory_equal(data, "abc", 3);
    assert_null(b.data);
    buf_put(&b, "d", 1);
    assert_memory_equal(data, "abc", 3);
    buf_release(&b);
    free(data);
}

static void printed_text_is_appended_without_its_nul(void **state)
{
    struct buf b = {0};

    (void)state;
    buf_printf(&b, "%s-%d", "volume", 7);
    buf_printf(&b, "%s", "");
    buf_printf(&b, "/%0100d", 3);
    assert_int_equal(b.len, 8 + 101);
    assert_memory_equal(b.data, "volume-7/000", 12);
    assert_int_equal(b.data[108], '3');
    buf_release(&b);
}

/* One byte short at every place: bad, zero from there on, and nothing is read past the
 * end (the sanitizer sees that: the bytes are at the end of an allocation). */
static void a_reader_stays_bad_after_the_first_read_past_the_end(void **state)
{
    (void)state;
    for (size_t len = 0; len < 15; len++) {
        uint8_t *data = malloc(len != 0 ? len : 1);
        struct rd r;

        assert_non_null(data);
        memset(data, 0xff, len);
        r = rd_of(data, len);
        rd_u8(&r);
        rd_u16le(&r);
        rd_u32be(&r);
        rd_u64le(&r);
        assert_true(r.bad);
        assert_int_equal(rd_left(&r), 0);
        assert_int_equal(rd_u8(&r), 0);
        assert_null(rd_bytes(&r, 0));
        free(data);
    }
}

static void an_absurd_length_is_bad_not_a_wrap(void **state)
{
    struct rd r = rd_of("abc", 3);

    (void)state;
    rd_u8(&r);
    assert_null(rd_bytes(&r, SIZE_MAX));
    assert_true(r.bad);
    r = rd_of(NULL, 0);
    assert_int_equal(rd_left(&r), 0);
    rd_bytes(&r, 0);
    assert_false(r.bad);
    assert_int_equal(rd_u32le(&r), 0);
    assert_true(r.bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_laid_out_as_the_names_say),
        cmocka_unit_test(the_highest_bits_survive),
        cmocka_unit_test(a_buffer_grows_and_keeps_what_it_has),
        cmocka_unit_test(an_empty_put_changes_nothing),
        cmocka_unit_test(extended_bytes_are_the_callers_to_fill),
        cmocka_unit_test(detached_bytes_belong_to_the_caller),
        cmocka_unit_test(printed_text_is_appended_without_its_nul),
        cmocka_unit_test(a_reader_stays_bad_after_the_first_read_past_the_end),
        cmocka_unit_test(an_absurd_length_is_bad_not_a_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
