/* A device that misbehaves: what can be read is right, what cannot is an error, and it shows. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/health.h"
#include "asd/scrub.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "lib/fault_io.h"
#include "lib/flip.h"
#include "loop/run.h"
#include "unit/asd/key_set.h"

#define SLAB_0 "/asd/slabs/0000000000000000"

enum { LARGE = KEY_SET_BYTES, KEYS = KEY_SET_COUNT };

static uint8_t *large;

struct fixture {
    struct asd_fixture base;
    struct fault_io io;
};

static struct io *io_of(struct fixture *f)
{
    return f->base.disk != NULL ? crash_disk_io(f->base.disk) : io_real();
}

static int setup_on(void **state, bool real)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(&f->base, real, 11);
    f->base.options.slab_bytes = 16 << 20;
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    fault_io_init(&f->io, io_of(f));
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_on(state, false);
}

static int setup_real(void **state)
{
    return setup_on(state, true);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    asd_fixture_close(&f->base);
    fault_io_release(&f->io);
    asd_fixture_release(&f->base);
    free(f);
    return 0;
}

static void reopen(struct fixture *f)
{
    struct err e;

    asd_fixture_close(&f->base);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
}

static int health(struct fixture *f)
{
    struct err e;

    return asd_health(f->base.store, &e);
}

static struct {
    bool done;
    int rc;
} read_end;

static void on_read(struct asd_store_op *op, int rc)
{
    (void)op;
    read_end.rc = rc;
    read_end.done = true;
}

/* ---- reads that fail ---- */

/* A look-up on the loop that finds damage leaves it to the one in a thread. */
static void a_damaged_record_counts_once_for_each_read(void **state)
{
    struct fixture *f = *state;
    struct slice keys[] = {slice_str("k000"), slice_str("k001")};
    struct asd_part part = {.offset = 0, .bytes = 100};
    struct asd_store_partial partial;
    struct asd_store_get both;

    key_set_put(&f->base, large);
    index_double_corrupt(f->base.index, slice_str("\x10k000"), 13);
    read_end.done = false;
    assert_int_equal(asd_store_get(asd_store_front(f->base.store), &both, keys, 2, 0, on_read), 0);
    loop_fixture_run_until(&f->base.base, &read_end.done);
    assert_int_equal(both.values[0].rc, ERR_CORRUPT);
    assert_int_equal(both.values[1].rc, 0);
    asd_store_get_release(&both);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 1);
    assert_int_equal(key_set_get(&f->base, large, 0), ERR_CORRUPT);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 2);
    read_end.done = false;
    assert_int_equal(
        asd_store_partial(asd_store_front(f->base.store), &partial, keys[0], &part, 1, 0, on_read),
        0);
    loop_fixture_run_until(&f->base.base, &read_end.done);
    assert_int_equal(read_end.rc, ERR_CORRUPT);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 3);
}

static void a_few_bad_places_are_their_keys_trouble_however_often_they_are_read(void **state)
{
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    f->io.read_rc = -EIO;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(key_set_get(&f->base, large, i % 2 == 0 ? 4 : 5), ERR_CORRUPT);
    }
    f->io.read_rc = 0;
    assert_int_equal(health(f), 0);
    crash_disk_fail_reads(f->base.disk, SLAB_0, ASD_SLAB_HEADER_BYTES + 50000, -EIO);
    for (unsigned round = 0; round < 2 * ASD_HEALTH_SCORE_BAD / ASD_HEALTH_ERROR_COST; round++) {
        assert_int_equal(key_set_get(&f->base, large, 1), ERR_CORRUPT);
    }
    assert_int_equal(key_set_get(&f->base, large, 2), 0);
    assert_int_equal(health(f), 0);
    assert_int_equal(asd_store_stats(f->base.store).read_errors, 132);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 132);
    assert_false(asd_store_failed(f->base.store, NULL));
}

static void a_device_that_fails_all_reads_is_told_until_it_is_back(void **state)
{
    struct fixture *f = *state;
    struct err e;

    key_set_put(&f->base, large);
    f->io.read_rc = -EIO;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            assert_int_equal(key_set_get(&f->base, large, i),
                             i % 3 == 0 ? 0 : ERR_CORRUPT); /* small: in memory */
        }
    }
    assert_int_equal(asd_health(f->base.store, &e), ERR_FAILED);
    assert_non_null(strstr(e.msg, "device is going"));
    assert_false(asd_store_failed(f->base.store, NULL));
    f->io.read_rc = 0;
    key_set_expect(&f->base, large);
    assert_int_equal(health(f), ERR_FAILED); /* not yet: it must keep on working */
    for (unsigned round = 0; round < ASD_HEALTH_SCORE_MAX / 10; round++) {
        key_set_expect(&f->base, large);
    }
    assert_int_equal(health(f), 0);
}

static void a_device_that_fails_one_read_of_ten_is_told_too(void **state)
{
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    for (unsigned round = 0; round < 60; round++) {
        f->io.read_rc = -EIO;
        assert_int_equal(key_set_get(&f->base, large, 1 + round / 2 * 3 % KEYS + round % 2),
                         ERR_CORRUPT);
        f->io.read_rc = 0;
        for (unsigned i = 0; i < 9; i++) {
            assert_int_equal(key_set_get(&f->base, large, 4), 0);
        }
    }
    assert_int_equal(health(f), ERR_FAILED);
}

static void on_look_up(void *ctx)
{
    (void)ctx;
}

/* All that a store of metadata may hold. */
static void a_store_of_small_values_gets_healthy_again(void **state)
{
    struct asd_range all = {.first_included = true, .max = -1};
    struct fixture *f = *state;
    struct asd_store_range got;

    index_double_set_hook(f->base.index, on_look_up, NULL); /* a thread has to look */
    for (unsigned i = 0; i < KEYS; i += 3) {
        assert_int_equal(asd_fixture_set(&f->base, key_set_key(i), large + i, key_set_bytes(i)), 0);
    }
    for (unsigned i = 0; i < ASD_HEALTH_SCORE_BAD / ASD_HEALTH_ERROR_COST; i++) {
        asd_health_index_error(f->base.store, i);
    }
    assert_int_equal(health(f), ERR_FAILED);
    for (unsigned i = 0; i < ASD_HEALTH_SCORE_BAD / 2; i++) {
        assert_int_equal(key_set_get(&f->base, large, i * 3 % KEYS), 0);
    }
    assert_int_equal(health(f), ERR_FAILED);
    for (unsigned i = 0; i < ASD_HEALTH_SCORE_BAD / 20 + 1; i++) { /* 10 values each */
        assert_int_equal(asd_fixture_range(&f->base, &got, &all, ASD_STORE_VERIFY), 0);
        asd_store_range_release(&got);
    }
    assert_int_equal(health(f), 0);
}

static void short_reads_are_continued(void **state)
{
    struct fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = -1};
    struct asd_store_range got;

    key_set_put(&f->base, large);
    f->io.short_reads = true;
    key_set_expect(&f->base, large);
    assert_int_equal(asd_fixture_range(&f->base, &got, &all, ASD_STORE_VERIFY), 0);
    for (uint32_t i = 0; i < got.entry_count; i++) {
        assert_true(got.entries[i].verified);
    }
    asd_store_range_release(&got);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
}

/* What is missing is never given out as zeros. */
static void a_file_that_ends_too_early_is_an_error(void **state)
{
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    f->io.end_reads = true;
    for (unsigned i = 0; i < KEYS; i++) {
        assert_int_equal(key_set_get(&f->base, large, i), i % 3 == 0 ? 0 : ERR_CORRUPT);
    }
    f->io.end_reads = false;
    key_set_expect(&f->base, large);
}

/* ---- the header of a slab ---- */

static void fail_header(struct fixture *f)
{
    crash_disk_fail_reads(f->base.disk, SLAB_0, 0, -EIO);
}

static void count_opened(void *ctx, const char *what, const char *path)
{
    if (strcmp(what, "find") == 0 && strcmp(path, SLAB_0) == 0) {
        atomic_fetch_add((atomic_uint *)ctx, 1);
    }
}

static void a_header_that_cannot_be_read_is_asked_for_once_and_costs_no_value(void **state)
{
    struct fixture *f = *state;
    atomic_uint opened = 0;

    f->base.options.slab_bytes = 1 << 20;
    reopen(f);
    key_set_put(&f->base, large);
    fail_header(f);
    reopen(f);
    assert_true(asd_store_stats(f->base.store).slab_count > 2);
    crash_disk_set_hook(f->base.disk, count_opened, &opened);
    key_set_expect(&f->base, large);
    key_set_expect(&f->base, large);
    assert_int_equal(opened, 1);
    crash_disk_set_hook(f->base.disk, NULL, NULL);
    assert_int_equal(asd_store_stats(f->base.store).read_errors, 1);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
    assert_int_equal(health(f), 0);
}

static void a_slab_whose_header_cannot_be_read_is_not_punched_but_unlinked(void **state)
{
    struct fixture *f = *state;

    f->base.options.slab_bytes = 1 << 20;
    reopen(f);
    key_set_put(&f->base, large);
    fail_header(f);
    reopen(f);
    assert_int_equal(asd_fixture_delete(&f->base, key_set_key(1)), 0);
    assert_int_equal(asd_fixture_set(&f->base, key_set_key(2), large + 2, key_set_bytes(2)), 0);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punches, 0);
    assert_int_equal(index_double_count(f->base.index, ASD_KEY_FREE), 0);
    assert_int_equal(key_set_get(&f->base, large, 1), ERR_NOT_FOUND);
    reopen(f);
    for (unsigned i = 2; i < KEYS; i++) {
        assert_int_equal(key_set_get(&f->base, large, i), 0);
        assert_int_equal(asd_fixture_delete(&f->base, key_set_key(i)), 0);
    }
    asd_fixture_settle(&f->base);
    assert_false(asd_store_failed(f->base.store, NULL));
    assert_int_equal(crash_disk_io(f->base.disk)->ops->open(crash_disk_io(f->base.disk), SLAB_0, 0),
                     -ENOENT);
}

static void a_slab_that_cannot_be_opened_is_not_punched(void **state)
{
    struct fixture *f = *state;

    f->base.options.slab_bytes = 1 << 20;
    reopen(f);
    key_set_put(&f->base, large);
    reopen(f);
    f->io.open_rc = -EIO;
    assert_int_equal(asd_fixture_delete(&f->base, key_set_key(1)), 0);
    asd_fixture_settle(&f->base);
    assert_int_equal(key_set_get(&f->base, large, 2), ERR_CORRUPT);
    f->io.open_rc = 0;
    assert_int_equal(key_set_get(&f->base, large, 2), 0);
    assert_int_equal(asd_store_stats(f->base.store).read_errors, 1);
    assert_int_equal(asd_store_stats(f->base.store).punches, 0);
    assert_false(asd_store_failed(f->base.store, NULL));
}

static void an_open_slab_whose_header_cannot_be_read_is_sealed_at_start(void **state)
{
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    fail_header(f);
    reopen(f);
    key_set_expect(&f->base, large);
    assert_int_equal(asd_store_stats(f->base.store).slab_count, 1);
    assert_int_equal(asd_fixture_set(&f->base, "new", large, LARGE), 0);
    assert_int_equal(asd_store_stats(f->base.store).slab_count, 2);
    reopen(f);
    key_set_expect(&f->base, large);
    assert_true(asd_fixture_has(&f->base, "new", large, LARGE));
}

static void a_tail_kept_behind_a_header_that_cannot_be_read_stops_no_start(void **state)
{
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    f->base.is_torn = true;
    reopen(f);
    f->base.is_torn = false;
    assert_int_equal(asd_fixture_set(&f->base, "new", large, LARGE), 0); /* the slab is sealed */
    fail_header(f);
    reopen(f);
    key_set_expect(&f->base, large);
    assert_int_equal(asd_fixture_set(&f->base, "new", large, LARGE), 0);
}

/* ---- writes that fail ---- */

static void short_writes_are_continued(void **state)
{
    struct fixture *f = *state;

    f->io.short_writes = true;
    key_set_put(&f->base, large);
    f->io.short_writes = false;
    key_set_expect(&f->base, large);
    reopen(f);
    key_set_expect(&f->base, large);
}

static void expect_out_of_service(struct fixture *f, const char *why)
{
    struct err e;

    assert_true(asd_store_failed(f->base.store, &e));
    if (strstr(e.msg, why) == NULL) {
        fail_msg("not of \"%s\": %s", why, e.msg);
    }
    assert_int_equal(asd_health(f->base.store, &e), e.code);
    assert_int_equal(asd_fixture_set(&f->base, "later", "x", 1), ERR_FAILED);
    assert_int_equal(asd_fixture_delete(&f->base, key_set_key(1)), ERR_FAILED);
    key_set_expect(&f->base, large); /* reads go on */
}

/* On a copying file system a full disk, or a quota, may refuse to overwrite. */
static void a_mark_that_finds_no_space_stays_behind(void **state)
{
    static const int rcs[] = {-ENOSPC, -EDQUOT};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 2; i++) {
        f->io.write_rc = rcs[i];
        assert_int_equal(asd_fixture_set(&f->base, key_set_key(i), "x", 1), 0);
        f->io.write_rc = 0;
        assert_false(asd_store_failed(f->base.store, NULL));
    }
    reopen(f);
    assert_true(asd_fixture_has(&f->base, key_set_key(1), "x", 1));
}

/* Flushed again it would be believed, though the kernel has given up what was to be written. */
static void a_mark_whose_flush_fails_is_not_flushed_again(void **state)
{
    struct fixture *f = *state;
    unsigned before;

    f->base.options.slab_bytes = 1 << 20;
    reopen(f);
    key_set_put(&f->base, large);
    reopen(f); /* the first to give back flushes the mark */
    before = f->io.calls;
    f->io.sync_rc = -ENOSPC;
    assert_int_equal(asd_fixture_delete(&f->base, key_set_key(1)), 0);
    while (f->io.calls < before + 2) { /* the mark's write, its flush */
        loop_fixture_run_ms(&f->base.base, 1);
    }
    f->io.sync_rc = 0;
    while (!asd_store_failed(f->base.store, NULL) && asd_store_stats(f->base.store).punches == 0) {
        loop_fixture_run_ms(&f->base.base, 1);
    }
    assert_int_equal(asd_store_stats(f->base.store).punches, 0);
    reopen(f);
    asd_fixture_settle(&f->base);
    assert_int_equal(asd_store_stats(f->base.store).punches, 1);
}

/* As after a remount that makes everything read-only, or a device that takes no more. */
static void a_write_that_fails_ends_the_service_but_not_the_reads(void **state)
{
    static const int rcs[] = {-EIO, -EROFS};
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    for (unsigned i = 0; i < 4; i++) {
        if (i < 2) {
            f->io.write_rc = rcs[i];
        } else {
            f->io.sync_rc = rcs[i - 2];
        }
        assert_int_equal(asd_fixture_set(&f->base, "new", large, LARGE), ERR_FAILED);
        expect_out_of_service(f, "");
        f->io.write_rc = f->io.sync_rc = 0;
        expect_out_of_service(f, ""); /* for good; a commit or the punches of before met it */
        reopen(f);
        assert_int_equal(health(f), 0);
        key_set_expect(&f->base, large);
        assert_int_equal(asd_fixture_set(&f->base, "later", large, LARGE), 0);
    }
}

/* Slabs are opened when they are first used: those that were not before the remount, after it. */
static void slabs_not_opened_before_a_read_only_remount_can_be_read(void **state)
{
    static const int rcs[] = {-EROFS, -EACCES};
    struct fixture *f = *state;

    f->base.options.slab_bytes = 1 << 20;
    reopen(f);
    key_set_put(&f->base, large);
    assert_true(asd_store_stats(f->base.store).slab_count > 1);
    for (unsigned i = 0; i < 2; i++) {
        reopen(f);
        f->io.open_rc = rcs[i];
        key_set_expect(&f->base, large);
        assert_int_equal(asd_fixture_set(&f->base, "new", large, LARGE), ERR_FAILED);
        expect_out_of_service(f, "");
        f->io.open_rc = 0;
    }
}

static void an_index_write_that_fails_ends_the_service_but_not_the_reads(void **state)
{
    static const int rcs[] = {-EIO, -EROFS};
    struct fixture *f = *state;

    key_set_put(&f->base, large);
    for (unsigned i = 0; i < 2; i++) {
        crash_disk_fail_at(f->base.disk, crash_disk_io_count(f->base.disk) + 1, rcs[i]);
        assert_int_equal(asd_fixture_set(&f->base, "new", "x", 1), ERR_FAILED);
        expect_out_of_service(f, "");
        reopen(f);
        assert_int_equal(health(f), 0);
    }
    key_set_expect(&f->base, large);
}

/* RocksDB's own log takes no more: a limit on the size of files is a device that refuses. */
static void a_log_that_cannot_be_written_ends_the_service_but_not_the_reads(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;
    struct rlimit low;
    unsigned acked = 0;
    char key[16];

    key_set_put(&f->base, large);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    for (; acked < 2000; acked++) {
        snprintf(key, sizeof(key), "log%05u", acked);
        if (asd_fixture_set(&f->base, key, large + acked, 10000) != 0) {
            break;
        }
    }
    assert_true(acked > 0 && acked < 2000);
    expect_out_of_service(f, "index");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    reopen(f);
    key_set_expect(&f->base, large);
    for (unsigned i = 0; i < acked; i++) {
        snprintf(key, sizeof(key), "log%05u", i);
        assert_true(asd_fixture_has(&f->base, key, large + i, 10000));
    }
    assert_int_equal(asd_fixture_set(&f->base, "later", "x", 1), 0);
}

/* What the block layer calls a bad medium, and others; and the scrub goes on slowly. */
static void every_error_of_a_device_tells_that_it_is_going(void **state)
{
    static const int rcs[] = {-ENODATA, -EILSEQ, -EREMOTEIO, -ENOLINK, -ETIMEDOUT};
    struct asd_scrub_settings settings = {.rate = 1 << 30, .interval_s = 1000000};
    struct fixture *f = *state;
    struct asd_scrub *scrub;
    bool closed = false;
    struct err e;

    key_set_put(&f->base, large);
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        f->io.read_rc = rcs[i % 5];
        assert_int_equal(key_set_get(&f->base, large, i % KEYS),
                         i % KEYS % 3 == 0 ? 0 : ERR_CORRUPT);
    }
    assert_int_equal(asd_health(f->base.store, &e), ERR_FAILED);
    assert_int_equal(asd_scrub_new(f->base.store, &settings, &scrub, &e), 0);
    for (unsigned i = 0; i < 10000 && asd_scrub_stats(scrub).bad == 0; i++) {
        loop_fixture_run_ms(&f->base.base, 1);
    }
    loop_fixture_run_ms(&f->base.base, 50);
    assert_true(asd_scrub_stats(scrub).running);
    assert_in_range(asd_scrub_stats(scrub).keys, 1, KEYS - 1);
    asd_scrub_close(scrub, loop_set_true, &closed);
    loop_fixture_run_until(&f->base.base, &closed);
}

/* ---- RocksDB's own reads ---- */

enum { INDEXED = 4000, VALUE_BYTES = 300 };

static void put_indexed(struct fixture *f)
{
    struct asd_update *updates = mem_array(INDEXED, sizeof(*updates));
    char(*names)[16] = mem_array(INDEXED, sizeof(*names));
    struct asd_apply what = {.updates = updates, .update_count = INDEXED};

    for (unsigned i = 0; i < INDEXED; i++) {
        snprintf(names[i], sizeof(names[i]), "name %06u", i);
        updates[i] = (struct asd_update){.key = slice_str(names[i]),
                                         .value = slice_of(large + i, VALUE_BYTES)};
    }
    assert_int_equal(asd_fixture_apply(&f->base, &what, NULL), 0);
    free(updates);
    free(names);
    reopen(f); /* from the log into a table */
    asd_fixture_close(&f->base);
}

/* The largest table; free() it. */
static char *table_path(struct fixture *f)
{
    char *folder = mem_printf("%s/db", f->base.dir);
    DIR *dir = opendir(folder);
    char *largest = NULL;
    off_t bytes = 0;

    assert_non_null(dir);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        char *path = mem_printf("%s/%s", folder, d->d_name);
        struct stat st;

        if (strstr(d->d_name, ".sst") != NULL && stat(path, &st) == 0 && st.st_size > bytes) {
            bytes = st.st_size;
            free(largest);
            largest = mem_strdup(path);
        }
        free(path);
    }
    closedir(dir);
    free(folder);
    assert_non_null(largest);
    return largest;
}

/* How many are refused; none is wrong, none is missing. */
static unsigned count_refused(struct fixture *f)
{
    unsigned refused = 0;

    for (unsigned i = 0; i < INDEXED; i++) {
        char key[16];
        uint8_t *data = NULL;
        uint32_t bytes = 0;
        int rc;

        snprintf(key, sizeof(key), "name %06u", i);
        rc = asd_fixture_get(&f->base, slice_str(key), &data, &bytes);
        if (rc == 0) {
            assert_int_equal(bytes, VALUE_BYTES);
            assert_memory_equal(data, large + i, VALUE_BYTES);
        } else {
            assert_int_equal(rc, ERR_CORRUPT);
        }
        refused += rc != 0;
        free(data);
    }
    return refused;
}

static struct asd_scrub_stats scrub_once(struct fixture *f)
{
    struct asd_scrub_settings settings = {.rate = 1 << 30, .interval_s = 1000000};
    struct asd_scrub_stats stats;
    struct asd_scrub *scrub;
    bool closed = false;
    struct err e;

    assert_int_equal(asd_scrub_new(f->base.store, &settings, &scrub, &e), 0);
    for (unsigned i = 0; i < 20000; i++) {
        loop_fixture_run_ms(&f->base.base, 1);
        stats = asd_scrub_stats(scrub);
        if (stats.pass == 1 && !stats.running) {
            break;
        }
    }
    assert_false(stats.running);
    asd_scrub_close(scrub, loop_set_true, &closed);
    loop_fixture_run_until(&f->base.base, &closed);
    return stats;
}

static void a_damaged_table_is_an_error_for_its_keys_and_the_scrub_goes_on_behind(void **state)
{
    struct fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = -1, .first = slice_str("name 001900")};
    struct asd_scrub_stats stats;
    struct asd_store_range got;
    unsigned refused;
    struct stat st;
    struct err e;
    char *path;

    put_indexed(f);
    path = table_path(f);
    assert_int_equal(stat(path, &st), 0);
    flip_in_file(path, st.st_size / 2);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    refused = count_refused(f);
    assert_true(refused > 0 && refused < 100); /* the keys of one block */
    assert_int_equal(asd_store_stats(f->base.store).bad_values, refused);
    assert_int_equal(asd_fixture_range(&f->base, &got, &all, ASD_STORE_KEYS), ERR_CORRUPT);
    asd_store_range_release(&got);
    stats = scrub_once(f);
    assert_int_equal(stats.bad, 1);
    assert_int_equal(stats.bad_by_kind[ASD_BAD_RECORD], 1);
    assert_int_equal(stats.keys, INDEXED - refused);
    assert_false(asd_store_failed(f->base.store, NULL));
    free(path);
}

/* Data, filter, index, footer: it may refuse to open, but never lies. */
static void damage_anywhere_in_a_table_is_never_a_wrong_or_missing_value(void **state)
{
    enum { PLACES = 24 };
    struct fixture *f = *state;
    unsigned opened = 0;
    struct stat st;
    char *path;

    put_indexed(f);
    path = table_path(f);
    assert_int_equal(stat(path, &st), 0);
    for (unsigned i = 0; i < PLACES; i++) { /* half of them in the last part, behind the data */
        off_t at = i % 2 == 0 ? st.st_size * i / PLACES : st.st_size - 1 - (PLACES - i) * 700;
        struct err e;

        flip_in_file(path, at);
        if (asd_fixture_open(&f->base, &e) == 0) {
            opened++;
            count_refused(f);
        } else {
            assert_int_equal(e.code, ERR_CORRUPT);
        }
        asd_fixture_close(&f->base);
        if (stat(path, &st) != 0) {
            break; /* it was put into another table */
        }
        flip_in_file(path, at);
    }
    assert_true(opened > 0);
    free(path);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define REAL(test) cmocka_unit_test_setup_teardown(test, setup_real, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_damaged_record_counts_once_for_each_read),
        TEST(a_few_bad_places_are_their_keys_trouble_however_often_they_are_read),
        TEST(a_device_that_fails_all_reads_is_told_until_it_is_back),
        REAL(a_device_that_fails_all_reads_is_told_until_it_is_back),
        TEST(a_device_that_fails_one_read_of_ten_is_told_too),
        TEST(every_error_of_a_device_tells_that_it_is_going),
        TEST(a_store_of_small_values_gets_healthy_again),
        TEST(short_reads_are_continued),
        REAL(short_reads_are_continued),
        TEST(a_file_that_ends_too_early_is_an_error),
        TEST(a_header_that_cannot_be_read_is_asked_for_once_and_costs_no_value),
        TEST(a_slab_whose_header_cannot_be_read_is_not_punched_but_unlinked),
        TEST(a_slab_that_cannot_be_opened_is_not_punched),
        TEST(an_open_slab_whose_header_cannot_be_read_is_sealed_at_start),
        TEST(a_tail_kept_behind_a_header_that_cannot_be_read_stops_no_start),
        TEST(short_writes_are_continued),
        REAL(short_writes_are_continued),
        TEST(a_mark_that_finds_no_space_stays_behind),
        TEST(a_mark_whose_flush_fails_is_not_flushed_again),
        TEST(a_write_that_fails_ends_the_service_but_not_the_reads),
        REAL(a_write_that_fails_ends_the_service_but_not_the_reads),
        TEST(slabs_not_opened_before_a_read_only_remount_can_be_read),
        TEST(an_index_write_that_fails_ends_the_service_but_not_the_reads),
        REAL(a_log_that_cannot_be_written_ends_the_service_but_not_the_reads),
        REAL(a_damaged_table_is_an_error_for_its_keys_and_the_scrub_goes_on_behind),
        REAL(damage_anywhere_in_a_table_is_never_a_wrong_or_missing_value),
    };
    int rc;

    log_set_level(LOG_NONE);
    signal(SIGXFSZ, SIG_IGN);
    large = asd_fixture_bytes(1, LARGE + INDEXED);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
