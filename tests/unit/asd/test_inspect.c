/* The offline check: a sound store is clean, damage to slabs is found, and nothing in the home
 * changes by looking. RocksDB and real files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/scrub_record.h"
#include "base/check.h"
#include "base/log.h"
#include "unit/asd/inspect_fixture.h"

/* ---- sound stores ---- */

static void a_sound_store_is_clean(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspection in;

    expect_clean(f, false);
    in = inspect(f, true);
    expect_counts(&in, 0, 0, 0);
    assert_string_equal(in.asd_id, "asd-1");
    assert_string_equal(in.node_id, "node-1");
    assert_int_equal(in.values, 5);
    assert_int_equal(in.slab_values, 4);
    assert_int_equal(in.names, 4);
    assert_int_equal(in.read_values, 5);
    assert_int_equal(in.read_bytes, 4 * LARGE);
    assert_int_equal(in.used_bytes, 4 * LARGE_ALIGNED + 1 + 3 + ASD_INLINE_OVERHEAD_BYTES);
    assert_int_equal(in.used_bytes, in.usage.used_bytes);
    assert_int_equal(in.marked_commit, in.usage.commit);
    assert_int_equal(in.slab_count, 2);
    assert_true(in.slabs[0].record.sealed && !in.slabs[1].record.sealed);
    assert_int_equal(in.slabs[0].values, 3);
    assert_int_equal(in.slabs[0].live_bytes, 3 * LARGE_ALIGNED);
    asd_inspection_release(&in);
}

static void a_store_after_overwrites_and_deletes_is_clean(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_set(f, "a", large + 1, LARGE - 1), 0);
    assert_int_equal(asd_fixture_set(f, "b", "small now", 9), 0);
    assert_int_equal(asd_fixture_delete(f, "s"), 0);
    assert_int_equal(asd_fixture_delete(f, "d"), 0);
    asd_fixture_settle(f);
    asd_fixture_close(f);
    expect_clean(f, true);
}

static void a_store_without_values_is_clean(void **state)
{
    struct asd_fixture *f;
    struct err e;

    teardown(state);
    f = mem_zalloc(sizeof(*f));
    asd_fixture_init(f, true, 7);
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    *state = f;
    expect_clean(f, true);
}

/* What a kill leaves at any moment: settled by the next start, and clean then. */
static void freed_ranges_wait_for_the_start_to_punch_them(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    f->options.punch_delay_ms = 3600000;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_delete(f, "a"), 0);
    assert_int_equal(asd_fixture_delete(f, "d"), 0);
    asd_fixture_close(f);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "2 freed ranges are punched");
    f->options.punch_delay_ms = 0;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_settle(f);
    asd_fixture_close(f);
    expect_clean(f, true);
}

static void bytes_behind_the_tail_are_settled_by_the_start(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;

    flip(f, 1, SLAB - 5000);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "behind its tail");
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    expect_clean(f, true);
}

static void files_that_no_record_names_are_settled_by_the_start(void **state)
{
    struct asd_fixture *f = *state;
    struct err e;
    char *orphan = slab_path(f, 9);
    char *junk = mem_printf("%s/slabs/junk", f->dir);
    int fd = open(orphan, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    close(fd);
    expect(f, true, ASD_FINDING_SETTLED, NULL, "slab 9 is a file that no record names");
    assert_int_equal(asd_fixture_open(f, &e), 0);
    asd_fixture_close(f);
    assert_int_equal(access(orphan, F_OK), -1);
    fd = open(junk, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    expect(f, true, ASD_FINDING_NOTE, NULL, "slabs/junk");
    free(orphan);
    free(junk);
}

/* They are hints. */
static void a_name_without_value_and_a_value_without_name_are_no_damage(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key a = asd_key_name(0, ASD_SLAB_HEADER_BYTES);
    struct asd_internal_key stray = asd_key_name(0, ASD_SLAB_HEADER_BYTES + 4096);
    struct asd_internal_key b = asd_key_name(0, ASD_SLAB_HEADER_BYTES + LARGE_ALIGNED);
    struct asd_name_record name = {.client_key = slice_str("other")};
    struct buf record = {0};

    write_record(f, asd_internal_slice(&a), slice_of(NULL, 0));
    expect(f, true, ASD_FINDING_NOTE, NULL, "1 values in slabs have no name record");
    asd_name_record_put(&record, asd_internal_slice(&stray), &name);
    write_record(f, asd_internal_slice(&stray), slice_buf(&record));
    expect(f, true, ASD_FINDING_NOTE, NULL, "1 name records of places where no value begins");
    buf_release(&record);
    asd_name_record_put(&record, asd_internal_slice(&b), &name);
    write_record(f, asd_internal_slice(&b), slice_buf(&record));
    expect(f, true, ASD_FINDING_NOTE, "b", "names another key");
    buf_release(&record);
}

static void what_scrubbing_left_and_unknown_records_are_noted(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key key = asd_key_of(ASD_KEY_SCRUB);
    struct asd_internal_key unknown = asd_key_of(ASD_KEY_VALUE - 1);
    struct buf b = {0};

    asd_scrub_record_put(&b, asd_internal_slice(&key),
                         &(struct asd_scrub_record){.pass = 3, .last_bad = 2});
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect(f, true, ASD_FINDING_NOTE, NULL, "bad values: 2 in its last whole pass");
    b.data[4] ^= 1;
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect(f, true, ASD_FINDING_NOTE, NULL, "scrubbing begins anew");
    b.data[0] = 99;
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    expect(f, true, ASD_FINDING_NOTE, NULL, "version 99");
    write_record(f, asd_internal_slice(&unknown), slice_of("x", 1));
    expect(f, true, ASD_FINDING_NOTE, NULL, "does not know, the first one 0x0f");
    buf_release(&b);
}

/* ---- damage to slabs ---- */

static void a_flipped_bit_is_found_when_values_are_read(void **state)
{
    struct asd_fixture *f = *state;

    flip(f, 0, ASD_SLAB_HEADER_BYTES + LARGE_ALIGNED + 1234);
    expect_clean(f, false);
    expect(f, true, ASD_FINDING_DAMAGE, "b", "do not have their checksum");
}

static void a_value_in_a_hole_is_found_without_reading_all(void **state)
{
    struct asd_fixture *f = *state;
    char *path = slab_path(f, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_true(fd >= 0);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, ASD_SLAB_HEADER_BYTES + 8192,
                  4096) != 0) {
        print_message("SKIP: no holes here: %s\n", strerror(errno));
    } else {
        expect_damage(f, "a", "it lies in a hole");
    }
    close(fd);
    free(path);
}

static void a_missing_slab_is_found(void **state)
{
    struct asd_fixture *f = *state;
    char *path = slab_path(f, 0);

    assert_int_equal(unlink(path), 0);
    expect_damage(f, NULL, "slab 0 has no file");
    free(path);
}

static void a_cut_slab_is_found(void **state)
{
    struct asd_fixture *f = *state;
    char *path = slab_path(f, 0);

    assert_int_equal(truncate(path, SLAB - 4096), 0);
    expect_damage(f, NULL, "slab 0: the file has 1044480 bytes");
    assert_int_equal(truncate(path, 100), 0);
    expect_damage(f, NULL, "slab 0: its header cannot be read");
    free(path);
}

static void swapped_slabs_are_found(void **state)
{
    struct asd_fixture *f = *state;
    char *a = slab_path(f, 0);
    char *b = slab_path(f, 1);
    char *c = slab_path(f, 2);

    assert_int_equal(rename(a, c) | rename(b, a) | rename(c, b), 0);
    expect_damage(f, NULL, "slab 0: it is slab 1, by its header");
    expect_damage(f, NULL, "slab 1: it is slab 0, by its header");
    free(a);
    free(b);
    free(c);
}

static void a_slab_of_another_asd_and_a_damaged_header_are_found(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_slab_header h = {.store_id = {1, 2, 3}, .number = 0, .size_bytes = SLAB};
    uint8_t data[ASD_SLAB_HEADER_BYTES];
    char *path = slab_path(f, 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);

    asd_slab_header_encode(data, &h);
    assert_int_equal(pwrite(fd, data, sizeof(data), 0), sizeof(data));
    expect_damage(f, NULL, "slab 0: it is the slab of another ASD");
    close(fd);
    flip(f, 0, 50);
    expect_damage(f, NULL, "slab 0: ");
    free(path);
}

/* ---- what cannot be looked at ---- */

static void an_asd_that_runs_is_left_alone_and_named(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspection in;
    char pid[32];
    struct err e = {0};

    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(look(f, false, &in, &e), ERR_BUSY);
    snprintf(pid, sizeof(pid), "(pid %ld)", (long)getpid());
    assert_non_null(strstr(e.msg, "\"asd-1\""));
    assert_non_null(strstr(e.msg, f->dir));
    if (strstr(e.msg, "pid") != NULL) { /* not every kernel tells */
        assert_non_null(strstr(e.msg, pid));
    }
    asd_fixture_close(f);
    expect_clean(f, false); /* and the lock is given back */
}

/* The operating system, but for slabs. */
struct slab_faults {
    struct io io;
    struct io_ops ops;
    int open_rc;
    int read_rc;
};

static int faulty_open(struct io *io, const char *path, int flags)
{
    struct slab_faults *faults = container_of(io, struct slab_faults, io);

    return faults->open_rc != 0 && strstr(path, "/slabs/") != NULL
               ? faults->open_rc
               : io_real()->ops->open(io_real(), path, flags);
}

/* Values lie behind the header; the identity is at 0, too. */
static ssize_t faulty_preadv(struct io *io, int fd, const struct iovec *iov, int iov_count,
                             uint64_t offset)
{
    struct slab_faults *faults = container_of(io, struct slab_faults, io);

    return faults->read_rc != 0 && offset >= ASD_SLAB_HEADER_BYTES
               ? faults->read_rc
               : io_real()->ops->preadv(io_real(), fd, iov, iov_count, offset);
}

static struct slab_faults *faults_new(void)
{
    struct slab_faults *faults = mem_zalloc(sizeof(*faults));

    faults->ops = *io_real()->ops;
    faults->ops.open = faulty_open;
    faults->ops.preadv = faulty_preadv;
    faults->io.ops = &faults->ops;
    return faults;
}

/* To advise to delete it would be wrong. */
static void a_slab_that_may_not_be_read_is_not_called_damaged(void **state)
{
    static const int others[] = {-EACCES, -EMFILE, -ENOMEM, -ENODEV, -ETIMEDOUT};
    struct asd_fixture *f = *state;
    struct slab_faults *faults = faults_new();
    struct asd_inspection in;
    struct err e = {0};

    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        faults->open_rc = others[i];
        assert_int_equal(look_by(f, &faults->io, false, &in, &e), others[i]);
        assert_non_null(strstr(e.msg, "slab "));
        assert_non_null(strstr(e.msg, f->dir));
        faults->open_rc = 0;
        faults->read_rc = others[i];
        assert_int_equal(look_by(f, &faults->io, true, &in, &e), others[i]);
        assert_non_null(strstr(e.msg, "slab "));
        faults->read_rc = 0;
    }
    free(faults);
}

static void a_device_that_cannot_read_is_damage(void **state)
{
    static const int device[] = {-EIO, -ENODATA, -EILSEQ, -EREMOTEIO, -EBADMSG, -EUCLEAN};
    struct asd_fixture *f = *state;
    struct slab_faults *faults = faults_new();
    struct asd_inspection in;
    struct err e = {0};

    for (unsigned i = 0; i < sizeof(device) / sizeof(device[0]); i++) {
        faults->read_rc = device[i];
        assert_int_equal(look_by(f, &faults->io, true, &in, &e), 0);
        expect_counts(&in, 4, 0, 0); /* each value in a slab */
        asd_inspection_release(&in);
        faults->read_rc = 0;
        faults->open_rc = device[i];
        assert_int_equal(look_by(f, &faults->io, true, &in, &e), 0);
        expect_counts(&in, 2, 0, 0); /* each slab */
        asd_inspection_release(&in);
        faults->open_rc = 0;
    }
    free(faults);
}

static void a_directory_without_a_store_and_newer_software_are_told(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_inspect_options options = {.home = "/nowhere"};
    struct asd_internal_key key = asd_key_slab(0);
    struct asd_inspection in;
    struct buf b = {0};
    struct err e = {0};

    assert_int_equal(asd_inspect(&options, &in, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, "/nowhere"));
    read_record(f, asd_internal_slice(&key), &b);
    b.data[0] = 99;
    write_record(f, asd_internal_slice(&key), slice_buf(&b));
    assert_int_equal(look(f, false, &in, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "version 99"));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_sound_store_is_clean),
        WITH_STORE(a_store_after_overwrites_and_deletes_is_clean),
        WITH_STORE(a_store_without_values_is_clean),
        WITH_STORE(freed_ranges_wait_for_the_start_to_punch_them),
        WITH_STORE(bytes_behind_the_tail_are_settled_by_the_start),
        WITH_STORE(files_that_no_record_names_are_settled_by_the_start),
        WITH_STORE(a_name_without_value_and_a_value_without_name_are_no_damage),
        WITH_STORE(what_scrubbing_left_and_unknown_records_are_noted),
        WITH_STORE(a_flipped_bit_is_found_when_values_are_read),
        WITH_STORE(a_value_in_a_hole_is_found_without_reading_all),
        WITH_STORE(a_missing_slab_is_found),
        WITH_STORE(a_cut_slab_is_found),
        WITH_STORE(swapped_slabs_are_found),
        WITH_STORE(a_slab_of_another_asd_and_a_damaged_header_are_found),
        WITH_STORE(an_asd_that_runs_is_left_alone_and_named),
        WITH_STORE(a_slab_that_may_not_be_read_is_not_called_damaged),
        WITH_STORE(a_device_that_cannot_read_is_damage),
        WITH_STORE(a_directory_without_a_store_and_newer_software_are_told),
    };
    int failed;

    log_set_level(LOG_ERROR);
    large = asd_fixture_bytes(5, LARGE);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return failed;
}
