/* The recovery info: its golden file, its limits, and what it must not be taken for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "unit/wire/bytes.h"
#include "wire/recovery_info.h"

struct fixture {
    struct recovery_info info;
    struct recovery_fragment fragments[3];
    uint32_t chunk_bytes[2];
};

static void make_info(struct fixture *f)
{
    *f = (struct fixture){.chunk_bytes = {8192, 8192}};
    for (uint32_t i = 0; i < 3; i++) {
        f->fragments[i].packed_bytes = 4000 + i;
        f->fragments[i].checksum = checksum_crc32c(i);
    }
    f->fragments[2].has_ctr = true;
    f->fragments[2].ctr[15] = 0x5c;
    f->info = (struct recovery_info){
        .name = slice_str("name"),
        .object_id = slice_str("0123456789abcdef0123456789abcdef"),
        .preset = slice_str("default"),
        .preset_version = 4,
        .scheme = {.k = 2,
                   .m = 1,
                   .c = 3,
                   .max_disks_per_node = 1,
                   .fragment_format = 1,
                   .codec = MANIFEST_CODEC_LZ4,
                   .cipher = MANIFEST_CIPHER_NONE,
                   .block_bytes = 32768},
        .timestamp_us = 1500000000500000,
        .gc_epoch = 6,
        .chunk = 1,
        .chunk_bytes = 8192,
        .fragments = f->fragments,
        .has_object = true,
        .size_bytes = 12000,
        .chunk_count = 2,
        .all_chunk_bytes = f->chunk_bytes,
        .has_checksum = true,
        .checksum = checksum_crc32c(0xe3069283),
    };
}

static void everything_is_read_back(void **state)
{
    struct fixture f;
    struct recovery_info got;
    struct buf value = {0};
    struct err e;

    (void)state;
    make_info(&f);
    assert_int_equal(recovery_info_encode(&f.info, &value, &e), 0);
    bytes_expect_golden(&value, "recovery_info_64");
    value.len = 0;
    bytes_golden(&value, "recovery_info_64");
    assert_int_equal(recovery_info_decode(slice_buf(&value), &got, &e), 0);
    buf_release(&value);
    assert_true(slice_eq(got.name, f.info.name) && slice_eq(got.object_id, f.info.object_id));
    assert_true(slice_eq(got.preset, f.info.preset) && got.preset_version == 4);
    assert_memory_equal(&got.scheme, &f.info.scheme, sizeof(got.scheme));
    assert_true(got.timestamp_us == f.info.timestamp_us && got.gc_epoch == 6);
    assert_true(got.chunk == 1 && got.chunk_bytes == 8192 && got.chunk_count == 2);
    assert_true(got.has_object && got.size_bytes == 12000 && got.all_chunk_bytes[0] == 8192);
    assert_true(got.has_checksum && checksum_eq(&got.checksum, &f.info.checksum));
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(got.fragments[i].packed_bytes, 4000 + i);
        assert_int_equal(got.fragments[i].checksum.crc32c, i);
        assert_int_equal(got.fragments[i].has_ctr, i == 2);
    }
    assert_int_equal(got.fragments[2].ctr[15], 0x5c);
    recovery_info_release(&got);
}

static void every_changed_byte_is_seen(void **state)
{
    struct recovery_info got;
    struct buf value = {0};
    struct err e;

    (void)state;
    bytes_golden(&value, "recovery_info_64");
    for (size_t i = 0; i < value.len; i++) {
        value.data[i] ^= 0x10;
        assert_int_not_equal(recovery_info_decode(slice_buf(&value), &got, &e), 0);
        value.data[i] ^= 0x10;
        assert_int_not_equal(recovery_info_decode(slice_of(value.data, i), &got, &e), 0);
    }
    buf_release(&value);
}

static void a_foreign_one_is_refused_by_name(void **state)
{
    struct recovery_info got;
    struct err e;

    (void)state;
    assert_int_equal(recovery_info_decode(slice_str("\1\1"), &got, &e), ERR_VERSION);
    assert_int_equal(recovery_info_decode(slice_of(NULL, 0), &got, &e), ERR_CORRUPT);
}

static void an_early_chunk_need_not_know_the_object(void **state)
{
    struct fixture f;
    struct recovery_info got;
    struct buf value = {0};
    struct err e;

    (void)state;
    make_info(&f);
    f.info.chunk = 0;
    f.info.has_object = false;
    f.info.has_checksum = false;
    assert_int_equal(recovery_info_encode(&f.info, &value, &e), 0);
    assert_int_equal(recovery_info_decode(slice_buf(&value), &got, &e), 0);
    assert_false(got.has_object || got.has_checksum);
    assert_int_equal(got.checksum.algo, CHECKSUM_NONE);
    recovery_info_release(&got);
    buf_release(&value);
}

static void fields_that_contradict_each_other_are_refused(void **state)
{
    struct fixture f;
    struct buf value = {0};
    struct err e;

    (void)state;
    make_info(&f);
    f.info.chunk = 2; /* of 2 */
    assert_int_equal(recovery_info_encode(&f.info, &value, &e), -EINVAL);
    f.info.chunk = 1;
    f.chunk_bytes[1] = 4096;
    assert_int_equal(recovery_info_encode(&f.info, &value, &e), -EINVAL);
    f.chunk_bytes[1] = 8192;
    f.info.scheme.k = 0;
    assert_int_equal(recovery_info_encode(&f.info, &value, &e), -EINVAL);
    assert_int_equal(value.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_read_back),
        cmocka_unit_test(every_changed_byte_is_seen),
        cmocka_unit_test(a_foreign_one_is_refused_by_name),
        cmocka_unit_test(an_early_chunk_need_not_know_the_object),
        cmocka_unit_test(fields_that_contradict_each_other_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
