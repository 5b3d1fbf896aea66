/* The stream of a backup: version 1 is read for ever; what is damaged, cut, or put together from
 * pieces is refused with its place. */
#include "unit/meta/fixture.h"

#include "meta/backup_file.h"
#include "meta/registry_record.h"

enum { GOLDEN_BYTES_MAX = 65536 };

/* The same bytes for ever. */
static void write_stream(struct backup_file *b, FILE *file)
{
    struct backup_head head = {.version = 0x0102030405, .time_us = 1700000000000000};
    struct err e;

    memset(head.commit, 'a', COPY_COMMIT_TEXT_BYTES - 1);
    snprintf(head.alba_id, sizeof(head.alba_id), "0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0");
    assert_int_equal(backup_begin(b, file, &head, &e), 0);
    assert_int_equal(backup_put(b, BACKUP_VALUE, slice_str("/alba/v1/reg/alba"),
                                slice_str("not an envelope"), &e),
                     0);
    assert_int_equal(backup_put_place(b, 7, "registry", &e), 0);
    assert_int_equal(backup_put(b, BACKUP_VALUE, slice_str("k1"), slice_of(NULL, 0), &e), 0);
    assert_int_equal(backup_put(b, BACKUP_DAMAGED, slice_str("k2"), slice_of(NULL, 0), &e), 0);
    assert_int_equal(backup_put(b, BACKUP_LATE, slice_str("k3"), slice_str("v3"), &e), 0);
    assert_int_equal(backup_end(b, &e), 0);
    assert_int_equal(fflush(file), 0);
}

/* Into *ret_bytes. */
static size_t stream_bytes(uint8_t ret_bytes[GOLDEN_BYTES_MAX])
{
    struct backup_file b;
    FILE *file = tmpfile();
    size_t bytes;

    assert_non_null(file);
    write_stream(&b, file);
    assert_int_equal(b.records, 5);
    assert_int_equal(b.values, 3);
    rewind(file);
    bytes = fread(ret_bytes, 1, GOLDEN_BYTES_MAX, file);
    assert_int_equal(bytes, b.bytes);
    backup_release(&b);
    fclose(file);
    return bytes;
}

/* 0, or what reading all of it answers; *ret_records are read before. */
static int read_stream(const uint8_t *bytes, size_t count, unsigned *ret_records, struct err *e)
{
    FILE *file = fmemopen((void *)(uintptr_t)bytes, count > 0 ? count : 1, "r");
    struct backup_record record;
    struct backup_file b = {0};
    int rc;

    assert_non_null(file);
    if (count == 0) {
        fgetc(file); /* fmemopen() makes no empty file */
    }
    *ret_records = 0;
    rc = backup_open(&b, file, e);
    while (rc == 0 && (rc = backup_read(&b, &record, e)) == 1) {
        ++*ret_records;
        rc = 0;
    }
    backup_release(&b);
    fclose(file);
    return rc;
}

static void what_is_written_is_read(void **state)
{
    static const enum backup_type types[] = {BACKUP_VALUE, BACKUP_PLACE, BACKUP_VALUE,
                                             BACKUP_DAMAGED, BACKUP_LATE};
    FILE *file = tmpfile();
    struct backup_record r;
    struct backup_file b;
    struct err e;

    (void)state;
    write_stream(&b, file);
    backup_release(&b);
    rewind(file);
    assert_int_equal(backup_open(&b, file, &e), 0);
    assert_int_equal(b.head.version, 0x0102030405);
    assert_int_equal(b.head.time_us, 1700000000000000);
    assert_string_equal(b.head.alba_id, "0b1c2d3e-4f50-4162-8374-95a6b7c8d9e0");
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(backup_read(&b, &r, &e), 1);
        assert_int_equal(r.type, types[i]);
        if (i == 1) {
            assert_int_equal(r.ns_id, 7);
            assert_string_equal(r.host, "registry");
        }
    }
    assert_true(slice_eq(r.key, slice_str("k3")) && slice_eq(r.value, slice_str("v3")));
    assert_int_equal(backup_read(&b, &r, &e), 0);
    backup_release(&b);
    fclose(file);
}

static void version_1_is_written_and_read_as_ever(void **state)
{
    static uint8_t bytes[GOLDEN_BYTES_MAX];
    static uint8_t golden[GOLDEN_BYTES_MAX];
    FILE *file = fopen(GOLDEN_DIR "/meta/backup_v1.bin", "rb");
    size_t count = stream_bytes(bytes);
    unsigned records;
    struct err e;

    (void)state;
    assert_non_null(file);
    assert_int_equal(fread(golden, 1, sizeof(golden), file), count);
    fclose(file);
    assert_memory_equal(bytes, golden, count);
    assert_int_equal(read_stream(golden, count, &records, &e), 0);
    assert_int_equal(records, 5);
}

static void every_flipped_bit_is_found(void **state)
{
    static uint8_t bytes[GOLDEN_BYTES_MAX];
    size_t count = stream_bytes(bytes);
    unsigned records;
    struct err e;

    (void)state;
    for (size_t bit = 0; bit < 8 * count; bit++) {
        int rc;

        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        rc = read_stream(bytes, count, &records, &e);
        assert_true(rc == ERR_CORRUPT || rc == ERR_VERSION);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(read_stream(bytes, count, &records, &e), 0);
}

static void a_stream_that_was_cut_anywhere_is_refused_as_such(void **state)
{
    static uint8_t bytes[GOLDEN_BYTES_MAX];
    size_t count = stream_bytes(bytes);
    unsigned records;
    struct err e;

    (void)state;
    for (size_t n = 0; n < count; n++) {
        assert_int_equal(read_stream(bytes, n, &records, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.msg, "it was cut"));
    }
    bytes[count] = 0;
    assert_int_equal(read_stream(bytes, count + 1, &records, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "behind its end"));
}

/* Where record `wanted` begins. */
static size_t record_at(const uint8_t *bytes, unsigned wanted)
{
    size_t at = 20 + get_u32le(bytes + 16) + 4;

    for (unsigned i = 0; i < wanted; i++) {
        at += 5 + get_u32le(bytes + at + 1) + 4;
    }
    return at;
}

static void records_left_out_or_twice_are_refused(void **state)
{
    static uint8_t bytes[GOLDEN_BYTES_MAX];
    static uint8_t other[2 * GOLDEN_BYTES_MAX];
    size_t count = stream_bytes(bytes);
    unsigned records;
    struct err e;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        size_t from = record_at(bytes, i);
        size_t to = record_at(bytes, i + 1);

        memcpy(other, bytes, from);
        memcpy(other + from, bytes + to, count - to);
        assert_int_equal(read_stream(other, count - (to - from), &records, &e), ERR_CORRUPT);
        memcpy(other, bytes, to);
        memcpy(other + to, bytes + from, count - from);
        assert_int_equal(read_stream(other, count + to - from, &records, &e), ERR_CORRUPT);
    }
}

static void newer_forms_and_other_files_are_refused_by_name(void **state)
{
    static uint8_t bytes[GOLDEN_BYTES_MAX];
    size_t count = stream_bytes(bytes);
    unsigned records;
    struct err e;

    (void)state;
    bytes[8] = 2;
    assert_int_equal(read_stream(bytes, count, &records, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "format 2"));
    bytes[0] = 'X';
    assert_int_equal(read_stream(bytes, count, &records, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "no backup"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(version_1_is_written_and_read_as_ever),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(a_stream_that_was_cut_anywhere_is_refused_as_such),
        cmocka_unit_test(records_left_out_or_twice_are_refused),
        cmocka_unit_test(newer_forms_and_other_files_are_refused_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
