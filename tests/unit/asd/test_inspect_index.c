/* The offline check: damage to the index and its log is found. RocksDB and real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "unit/asd/inspect_fixture.h"

/* ---- damage to the index ---- */

static void a_wrong_usage_record_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_usage_record usage = read_usage(f);

    usage.used_bytes += 4096;
    write_usage(f, usage);
    expect_damage(f, NULL, "the usage record counts");
    usage.used_bytes -= 4096;
    usage.next_slab = 1;
    write_usage(f, usage);
    expect_damage(f, NULL, "slab 1 is named, but the next new one would be 1");
    usage.next_slab = 2;
    usage.commit--;
    write_usage(f, usage);
    expect_damage(f, NULL, "its log lost its end");
}

static void a_wrong_slab_record_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_slab_record r = {
        .size_bytes = SLAB, .tail = ASD_SLAB_HEADER_BYTES + 3 * LARGE_ALIGNED, .sealed = true};

    r.live_bytes = 2 * LARGE_ALIGNED;
    write_slab_record(f, 0, r);
    expect_damage(f, NULL, "slab 0: its record counts 606208 live bytes, its values have 909312");
    r.live_bytes = 3 * LARGE_ALIGNED;
    r.sealed = false;
    write_slab_record(f, 0, r);
    expect_damage(f, NULL, "2 slabs are not sealed");
    r.sealed = true;
    r.tail = ASD_SLAB_HEADER_BYTES + 3 * LARGE_ALIGNED - 4096;
    r.live_bytes = r.tail - ASD_SLAB_HEADER_BYTES;
    write_slab_record(f, 0, r);
    expect_damage(f, "c", "are not below its tail");
}

static void beyond_the_tail(struct asd_value_record *r)
{
    r->offset = UINT64_C(1) << 40;
}

static void no_such_slab(struct asd_value_record *r)
{
    r->slab = 77;
}

static void where_a_is(struct asd_value_record *r)
{
    r->slab = 0;
    r->offset = ASD_SLAB_HEADER_BYTES;
}

static void another_client_checksum(struct asd_value_record *r)
{
    r->checksum = checksum_crc32c(r->crc ^ 1);
}

static void another_sha1(struct asd_value_record *r)
{
    r->checksum = (struct checksum){.algo = CHECKSUM_SHA1, .sha1 = {1}};
}

static void another_crc(struct asd_value_record *r)
{
    r->crc ^= 1;
}

static void values_that_point_to_the_wrong_place_are_found(void **state)
{
    struct asd_fixture *f = *state;

    change_value(f, "b", where_a_is);
    expect_damage(f, "b", "it shares bytes of slab 0 at 4096 with another value");
    change_value(f, "b", beyond_the_tail);
    expect_damage(f, "b", "are not below its tail");
    change_value(f, "b", no_such_slab);
    expect_damage(f, "b", "slab 77, which has no sound record");
}

static void values_with_another_checksum_are_found(void **state)
{
    struct asd_fixture *f = *state;

    change_value(f, "b", another_client_checksum);
    expect_clean(f, false);
    expect(f, true, ASD_FINDING_NOTE, "b", "that the client gave");
    change_value(f, "b", another_sha1);
    expect(f, true, ASD_FINDING_NOTE, "b", "that the client gave");
    change_value(f, "s", another_crc);
    expect_damage(f, "s", "3 bytes in the index: its bytes do not have their checksum");
}

static void damaged_records_are_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key free_key = asd_key_free(0, ASD_SLAB_HEADER_BYTES);
    struct asd_internal_key slab_key = asd_key_slab(0);
    struct buf k = {0};
    struct buf b = {0};

    value_key("b", &k);
    read_record(f, slice_buf(&k), &b);
    b.data[8] ^= 1;
    write_record(f, slice_buf(&k), slice_buf(&b));
    expect_damage(f, "b", "value record: checksum");
    write_record(f, asd_internal_slice(&free_key), slice_of("\1junk", 5));
    expect_damage(f, NULL, "free record of 5 bytes");
    write_record(f, asd_internal_slice(&slab_key), slice_of("\1junk", 5));
    expect_damage(f, NULL, "slab 0: slab record of 5 bytes");
    buf_release(&k);
    buf_release(&b);
}

static void free_records_that_do_harm_are_found(void **state)
{
    struct asd_fixture *f = *state;
    uint64_t tail = ASD_SLAB_HEADER_BYTES + LARGE_ALIGNED;

    write_free(f, 50, 4096, 4096);
    expect(f, false, ASD_FINDING_NOTE, NULL, "slab 50, which is gone");
    write_free(f, 0, ASD_SLAB_HEADER_BYTES + 4096, 4096);
    expect_damage(f, "a", "where a free record would have it punched");
    write_free(f, 0, ASD_SLAB_HEADER_BYTES, 8192);
    expect_damage(f, NULL, "overlaps another");
    write_free(f, 1, tail, 0); /* no start takes it */
    expect_damage(f, NULL, "0 bytes in slab 1 at 307200: not whole blocks below its tail");
    write_free(f, 1, tail, 4096);
    expect_damage(f, NULL, "4096 bytes in slab 1 at 307200: not whole blocks below its tail");
}

static void a_lost_index_record_of_the_store_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key key = asd_key_of(ASD_KEY_STORE);
    struct asd_store_record other = {.store_id = {9}};
    struct buf b = {0};

    asd_store_record_put(&b, asd_internal_slice(&key), &other);
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect_damage(f, NULL, "the index belongs to another home");
    write_record(f, asd_internal_slice(&key), slice_of(NULL, 0));
    expect_damage(f, NULL, "the index has lost its store record");
    buf_release(&b);
}

static void a_damaged_identity_is_found_and_the_rest_looked_at(void **state)
{
    struct asd_fixture *f = *state;
    char *path = mem_printf("%s/identity", f->dir);
    struct asd_inspection in;

    assert_int_equal(truncate(path, 50), 0);
    in = inspect(f, true);
    expect_counts(&in, 1, 0, 0);
    assert_non_null(strstr(in.findings[0].text, "identity"));
    assert_null(in.asd_id);
    assert_int_equal(in.read_values, 5);
    asd_inspection_release(&in);
    free(path);
}

/* ---- the log of the index ---- */

static void cut_log(const struct asd_fixture *f, off_t bytes)
{
    char *path = asd_fixture_log_path(f);
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - bytes), 0);
    free(path);
}

static void a_log_that_lost_acknowledged_commits_is_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspection in;

    cut_log(f, 10);
    in = inspect(f, true);
    expect_counts(&in, 1, 0, 0);
    assert_false(in.is_whole);
    assert_non_null(strstr(in.findings[0].text, "acknowledged"));
    asd_inspection_release(&in);
}

/* The last commit was not acknowledged: no mark tells of it. */
static void a_log_that_power_loss_cut_is_settled_by_the_start(void **state)
{
    struct asd_fixture *f = *state;
    char *mark = mem_printf("%s/commits", f->dir);
    struct err e;

    assert_int_equal(unlink(mark), 0);
    cut_log(f, 10);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "that power loss cut off");
    expect(f, true, ASD_FINDING_SETTLED, NULL, "slab 1 is a file that no record names: it is put");
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    expect_clean(f, true);
    free(mark);
}

static void an_index_that_is_gone_is_found(void **state)
{
    struct asd_fixture *f = *state;
    char *current = mem_printf("%s/db/CURRENT", f->dir);
    struct asd_inspection in;

    assert_int_equal(unlink(current), 0);
    in = inspect(f, true);
    expect_counts(&in, 1, 0, 0);
    assert_false(in.is_whole);
    asd_inspection_release(&in);
    free(current);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_wrong_usage_record_is_found),
        WITH_STORE(a_wrong_slab_record_is_found),
        WITH_STORE(values_that_point_to_the_wrong_place_are_found),
        WITH_STORE(values_with_another_checksum_are_found),
        WITH_STORE(damaged_records_are_found),
        WITH_STORE(free_records_that_do_harm_are_found),
        WITH_STORE(a_lost_index_record_of_the_store_is_found),
        WITH_STORE(a_damaged_identity_is_found_and_the_rest_looked_at),
        WITH_STORE(a_log_that_lost_acknowledged_commits_is_found),
        WITH_STORE(a_log_that_power_loss_cut_is_settled_by_the_start),
        WITH_STORE(an_index_that_is_gone_is_found),
    };
    int failed;

    log_set_level(LOG_ERROR);
    large = asd_fixture_bytes(5, LARGE);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return failed;
}
