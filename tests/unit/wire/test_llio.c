/* Primitives, checksums, statistics, message assembly and OSD keys. */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "unit/wire/bytes.h"
#include "wire/asd_msg.h"
#include "wire/asd_stats.h"
#include "wire/checksum.h"
#include "wire/gather.h"
#include "wire/llio.h"
#include "wire/osd_keys.h"

static void strings_floats_and_options_have_their_bytes(void **state)
{
    struct slice list[] = {slice_str("a"), slice_str("bc")};
    struct buf b = {0};

    (void)state;
    llio_put_string(&b, slice_str("asd_1"));
    bytes_expect(&b, "05000000 61 73 64 5f 31");
    llio_put_opt_string(&b, true, slice_str("x"));
    llio_put_opt_string(&b, false, slice_str("x"));
    bytes_expect(&b, "01 01000000 78 00");
    llio_put_float(&b, 1.0);
    llio_put_i32(&b, -2);
    llio_put_i64(&b, -2);
    bytes_expect(&b, "000000000000f03f feffffff feffffffffffffff");
    llio_put_strings(&b, list, 2);
    bytes_expect(&b, "02000000 02000000 6263 01000000 61");
}

static void a_list_is_read_back_in_its_order(void **state)
{
    struct slice list[] = {slice_str("a"), slice_str("bc"), slice_str("")};
    struct buf b = {0};
    struct slice *items;
    struct rd r;

    (void)state;
    llio_put_strings(&b, list, 3);
    r = rd_of(b.data, b.len);
    assert_int_equal(llio_strings(&r, &items), 3);
    for (int i = 0; i < 3; i++) {
        assert_true(slice_eq(items[i], list[i]));
    }
    assert_false(r.bad);
    free(items);
    buf_release(&b);
}

static void ids_take_4_bytes_or_12(void **state)
{
    static const uint64_t ids[] = {0, 5, 0x7ffffffe, 0x7fffffff, 0x80000000, INT64_MAX};
    struct buf b = {0};
    struct rd r;

    (void)state;
    llio_put_xint(&b, 5);
    llio_put_xint(&b, 0x7fffffff);
    bytes_expect(&b, "05000000 ffffff7f ffffff7f00000000");
    llio_put_xint_be(&b, 5);
    llio_put_xint_be(&b, 0x123456789a);
    bytes_expect(&b, "00000005 7fffffff 000000123456789a");
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        llio_put_xint(&b, ids[i]);
        llio_put_xint_be(&b, ids[i]);
        r = rd_of(b.data, b.len);
        assert_true(llio_xint(&r) == ids[i] && llio_xint_be(&r) == ids[i]);
        assert_false(r.bad);
        assert_int_equal(rd_left(&r), 0);
        b.len = 0;
    }
    buf_release(&b);
}

static void expect_bad(const char *hex, void (*read)(struct rd *r))
{
    struct buf b = {0};
    struct rd r;

    bytes_put(&b, hex);
    r = rd_of(b.data, b.len);
    read(&r);
    assert_true(r.bad);
    buf_release(&b);
}

static void read_bool(struct rd *r)
{
    llio_bool(r);
}

static void read_xint(struct rd *r)
{
    llio_xint(r);
}

static void read_varint(struct rd *r)
{
    llio_varint(r);
}

static void read_string(struct rd *r)
{
    assert_int_equal(llio_string(r).len, 0);
}

static void read_count(struct rd *r)
{
    assert_int_equal(llio_count(r, 4), 0);
}

static void read_checksum(struct rd *r)
{
    checksum_get(r);
}

static void what_no_peer_would_send_is_refused(void **state)
{
    (void)state;
    expect_bad("02", read_bool);
    expect_bad("", read_bool);
    expect_bad("ffffff7f 0500000000000000", read_xint); /* long form of a small id */
    expect_bad("ffffffff", read_xint);
    expect_bad("ffffff7f ffffffffffffffff", read_xint);
    expect_bad("ffffffffffffffffffff01", read_varint);
    expect_bad("ffffffffffffffffff02", read_varint);
    expect_bad("80", read_varint);
    expect_bad("05000000 61626364", read_string);
    expect_bad("ffffffff 61626364", read_string);
    expect_bad("02000000 61626364", read_count); /* two of 4 bytes in 4 bytes */
    expect_bad("ffffffff", read_count);
    expect_bad("00", read_checksum);
    expect_bad("04", read_checksum);
    expect_bad("02 13000000 00000000000000000000000000000000000000", read_checksum);
}

static void varints_and_small_strings_have_their_bytes(void **state)
{
    static const uint64_t values[] = {0, 127, 128, 300, UINT32_MAX, UINT64_MAX};
    struct buf b = {0};
    struct rd r;

    (void)state;
    llio_put_varint(&b, 300);
    llio_put_small(&b, slice_str("ab"));
    bytes_expect(&b, "ac02 02 6162");
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        llio_put_varint(&b, values[i]);
        r = rd_of(b.data, b.len);
        assert_true(llio_varint(&r) == values[i] && !r.bad && rd_left(&r) == 0);
        b.len = 0;
    }
    buf_release(&b);
}

static void a_sub_record_may_be_longer_than_its_reader_knows(void **state)
{
    struct buf b = {0};
    size_t mark = llio_sub_begin(&b);
    struct rd r;
    struct rd sub;

    (void)state;
    buf_put_u32le(&b, 7);
    buf_put_u32le(&b, 8);
    llio_sub_end(&b, mark);
    buf_put_u8(&b, 9);
    r = rd_of(b.data, b.len);
    sub = llio_sub(&r);
    assert_int_equal(rd_u32le(&sub), 7);
    assert_int_equal(rd_left(&sub), 4);
    assert_int_equal(rd_u8(&r), 9);
    buf_release(&b);
}

static void checksums_have_their_bytes_and_names(void **state)
{
    struct checksum crc = checksum_crc32c(0xe3069283);
    struct checksum none = checksum_none();
    struct checksum sha1 = {.algo = CHECKSUM_SHA1, .sha1 = {0xab}};
    char text[CHECKSUM_TEXT_BYTES];
    struct buf b = {0};
    uint8_t algo;

    (void)state;
    checksum_put(&b, &crc);
    checksum_put(&b, &none);
    checksum_put(&b, &sha1);
    bytes_expect(&b, "03 839206e3 01 02 14000000 ab00000000000000000000000000000000000000");
    checksum_put_opt(&b, true, &crc);
    checksum_put_opt(&b, false, &crc);
    bytes_expect(&b, "01 03 839206e3 00");
    assert_true(checksum_eq(&crc, &crc));
    assert_false(checksum_eq(&crc, &none));
    assert_false(checksum_eq(&crc, &sha1));
    assert_true(checksum_eq(&none, &(struct checksum){0}));
    checksum_text(&crc, text);
    assert_string_equal(text, "0xe3069283");
    assert_int_equal(checksum_algo_parse("crc-32c", &algo), 0);
    assert_int_equal(algo, CHECKSUM_CRC32C);
    assert_int_equal(checksum_algo_parse("md5", &algo), -EINVAL);
    assert_string_equal(checksum_algo_name(CHECKSUM_SHA1), "sha-1");
    assert_null(checksum_algo_name(0));
    assert_null(checksum_algo_name(4));
}

static void a_long_value_is_borrowed_and_a_short_one_copied(void **state)
{
    static uint8_t big[GATHER_BORROW_BYTES_MIN];
    struct gather g = {0};
    const struct iovec *iov;
    struct buf flat = {0};
    size_t count;
    size_t bytes;

    (void)state;
    buf_put(&g.own, "ab", 2);
    gather_put_string(&g, slice_of(big, sizeof(big)));
    gather_put_string(&g, slice_of(big, sizeof(big) - 1));
    gather_borrow(&g, slice_str("end"));
    gather_finish(&g, &iov, &count, &bytes);
    assert_int_equal(count, 4);
    assert_int_equal(iov[0].iov_len, 6);
    assert_ptr_equal(iov[1].iov_base, big);
    assert_int_equal(iov[2].iov_len, 4 + sizeof(big) - 1);
    assert_int_equal(iov[3].iov_len, 3);
    assert_int_equal(bytes, 6 + sizeof(big) + 4 + sizeof(big) - 1 + 3);
    gather_flatten(&g, &flat);
    assert_int_equal(flat.len, bytes);
    assert_memory_equal(flat.data + flat.len - 3, "end", 3);
    buf_release(&flat);
    gather_release(&g);
    gather_finish(&g, &iov, &count, &bytes);
    assert_true(count == 0 && bytes == 0);
    gather_release(&g);
}

#define OBJECT_ID "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static struct osd_fragment fragment_of(uint8_t id[32])
{
    for (uint8_t i = 0; i < 32; i++) {
        id[i] = i;
    }
    return (struct osd_fragment){.object_id = slice_of(id, 32), .chunk = 1, .fragment = 2};
}

static void osd_keys_have_their_bytes(void **state)
{
    uint8_t id[32];
    struct osd_fragment f = fragment_of(id);
    struct buf b = {0};

    (void)state;
    osd_key_put_fragment(&b, 5, &f);
    assert_int_equal(b.len, 59);
    bytes_expect(&b, "70 00000000 6e 00000005 6f 20000000 " OBJECT_ID "01000000 02000000 00000000");
    osd_key_put_recovery(&b, 5, &f);
    bytes_expect(&b, "70 00000000 6e 00000005 72 20000000 " OBJECT_ID "01000000 02000000 00000000");
    osd_key_put_gc_tag(&b, 5, 0x0102, &f);
    bytes_expect(&b, "70 00000000 6e 00000005 67 0000000000000102 20000000 " OBJECT_ID
                     "01000000 02000000 00000000");
    osd_key_put_ns_status(&b, 0x7fffffff);
    bytes_expect(&b, "70 00000000 6e 7fffffff 000000007fffffff");
    osd_key_put_ns_name(&b, 5);
    bytes_expect(&b, "70 00000000 6e 00000005 6e");
    osd_key_put_next_msg_id(&b);
    bytes_expect(&b, "70 00000000 6d");
    osd_key_put_instance_log(&b);
    bytes_expect(&b, "6c 00000000");
    osd_key_put_instance_index(&b, slice_str("me"));
    bytes_expect(&b, "6a 02000000 6d65");
}

static void osd_keys_are_read_back(void **state)
{
    uint8_t id[32];
    struct osd_fragment f = fragment_of(id);
    struct buf b = {0};
    struct osd_key key;

    (void)state;
    f.version = 9;
    osd_key_put_gc_tag(&b, 1ULL << 40, 77, &f);
    assert_int_equal(osd_key_parse(slice_buf(&b), &key), 0);
    assert_int_equal(key.kind, OSD_KEY_GC_TAG);
    assert_true(key.namespace_id == 1ULL << 40 && key.gc_epoch == 77);
    assert_true(slice_eq(key.fragment.object_id, f.object_id));
    assert_true(key.fragment.chunk == 1 && key.fragment.fragment == 2 && key.fragment.version == 9);
    for (size_t bytes = 0; bytes < b.len; bytes++) {
        int rc = osd_key_parse(slice_of(b.data, bytes), &key);

        assert_true(rc == ERR_NOT_FOUND || key.kind == OSD_KEY_NS_STATUS);
    }
    b.len = 0;
    osd_key_put_ns_status(&b, 5);
    assert_int_equal(osd_key_parse(slice_buf(&b), &key), 0);
    assert_true(key.kind == OSD_KEY_NS_STATUS && key.namespace_id == 5);
    buf_put_u8(&b, 'n');
    assert_int_equal(osd_key_parse(slice_buf(&b), &key), 0);
    assert_int_equal(key.kind, OSD_KEY_NS_NAME);
    buf_put_u8(&b, 'x');
    assert_int_equal(osd_key_parse(slice_buf(&b), &key), ERR_NOT_FOUND);
    assert_int_equal(osd_key_parse(slice_str("test"), &key), ERR_NOT_FOUND);
    buf_release(&b);
}

static void scan_bounds_hold_exactly_the_keys_with_the_prefix(void **state)
{
    uint8_t id[32];
    struct osd_fragment f = fragment_of(id);
    struct buf first = {0};
    struct buf end = {0};
    struct buf key = {0};

    (void)state;
    osd_key_put_gc_epoch_prefix(&first, 5, 0xff);
    osd_key_put_gc_epoch_prefix(&end, 5, 0xff);
    osd_key_prefix_end(&end);
    bytes_put(&key, "70 00000000 6e 00000005 67 0000000000000100");
    assert_true(slice_eq(slice_buf(&end), slice_of(key.data, key.len - 1)));
    for (uint64_t epoch = 0xfe; epoch <= 0x100; epoch++) {
        bool inside;

        key.len = 0;
        osd_key_put_gc_tag(&key, 5, epoch, &f);
        inside = slice_cmp(slice_buf(&first), slice_buf(&key)) <= 0 &&
                 slice_cmp(slice_buf(&key), slice_buf(&end)) < 0;
        assert_int_equal(inside, epoch == 0xff);
    }
    buf_release(&first);
    buf_release(&end);
    buf_release(&key);
}

static bool near(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

/* Two halves, added apart and then merged, are what all of it is. */
static void merged_statistics_are_those_of_both(void **state)
{
    static const double values[] = {0.5, 2, 0.25, 8, 1, 1, 3};
    struct stat_sum all, halves[2], none;

    (void)state;
    stat_sum_init(&all);
    stat_sum_init(&halves[0]);
    stat_sum_init(&halves[1]);
    stat_sum_init(&none);
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        stat_sum_add(&all, values[i]);
        stat_sum_add(&halves[i % 2], values[i]);
    }
    stat_sum_merge(&none, &(struct stat_sum){.alpha = 0.9});
    assert_int_equal(none.n, 0);
    stat_sum_merge(&none, &halves[0]);
    stat_sum_merge(&none, &halves[1]);
    assert_int_equal(none.n, all.n);
    assert_float_equal(none.avg, all.avg, 1e-9);
    assert_float_equal(none.m2, all.m2, 1e-9);
    assert_float_equal(none.var, all.var, 1e-9);
    assert_float_equal(none.min, all.min, 0);
    assert_float_equal(none.max, all.max, 0);
    assert_true(none.exp_avg >= all.min && none.exp_avg <= all.max);
}

/* JSON has no such numbers, and no time is one. */
static void statistics_that_are_no_numbers_are_refused(void **state)
{
    const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    const struct asd_statistics sound = {
        .creation_s = 1,
        .period_s = 2,
        .entry_count = 1,
        .entries = &(struct asd_stat_entry){.code = ASD_APPLY, .stat = {.n = 1}}};
    struct asd_statistics got;
    struct buf b = {0};
    struct rd r;

    (void)state;
    asd_statistics_put(&b, &sound);
    for (size_t at = 1; at + sizeof(double) <= b.len; at++) {
        bool is_float = at == 1 || at == 9 || (at >= 33 && (at - 33) % 8 == 0);

        for (unsigned i = 0; is_float && i < sizeof(bad) / sizeof(bad[0]); i++) {
            struct buf copy = {0};

            buf_put(&copy, b.data, b.len);
            memcpy(copy.data + at, &bad[i], sizeof(bad[i]));
            r = rd_of(copy.data, copy.len);
            asd_statistics_get(&r, &got);
            assert_true(r.bad);
            asd_statistics_release(&got);
            buf_release(&copy);
        }
    }
    r = rd_of(b.data, b.len);
    asd_statistics_get(&r, &got);
    assert_true(!r.bad && got.entries[0].stat.n == 1);
    asd_statistics_release(&got);
    buf_release(&b);
}

static void statistics_follow_their_definitions(void **state)
{
    struct stat_sum s;
    struct stat_sum copy;
    struct buf b = {0};
    struct rd r;

    (void)state;
    stat_sum_init(&s);
    stat_sum_add(&s, 2);
    stat_sum_add(&s, 4);
    stat_sum_add(&s, 9);
    assert_true(s.n == 3 && s.avg == 5 && s.min == 2 && s.max == 9);
    assert_true(near(s.m2, 26));
    assert_true(near(s.var, 13));
    assert_true(near(s.exp_avg, 0.9 * (0.9 * 2 + 0.1 * 4) + 0.1 * 9));
    stat_sum_put(&b, &s);
    assert_int_equal(b.len, 64);
    r = rd_of(b.data, b.len);
    copy = stat_sum_get(&r);
    assert_memory_equal(&copy, &s, sizeof(s));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_floats_and_options_have_their_bytes),
        cmocka_unit_test(a_list_is_read_back_in_its_order),
        cmocka_unit_test(ids_take_4_bytes_or_12),
        cmocka_unit_test(what_no_peer_would_send_is_refused),
        cmocka_unit_test(varints_and_small_strings_have_their_bytes),
        cmocka_unit_test(a_sub_record_may_be_longer_than_its_reader_knows),
        cmocka_unit_test(checksums_have_their_bytes_and_names),
        cmocka_unit_test(a_long_value_is_borrowed_and_a_short_one_copied),
        cmocka_unit_test(osd_keys_have_their_bytes),
        cmocka_unit_test(osd_keys_are_read_back),
        cmocka_unit_test(scan_bounds_hold_exactly_the_keys_with_the_prefix),
        cmocka_unit_test(statistics_that_are_no_numbers_are_refused),
        cmocka_unit_test(statistics_follow_their_definitions),
        cmocka_unit_test(merged_statistics_are_those_of_both),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
