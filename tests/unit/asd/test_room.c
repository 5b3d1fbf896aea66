/* A store on a small file system that somebody else fills: nothing is set, deletes and reads go
 * on, and it starts again. Mounting needs root; without, these are skipped. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/index.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "lib/fault_io.h"
#include "lib/tempdir.h"
#include "loop/io.h"

enum { MIB = 1 << 20, LARGE = MIB, SMALL = 12000 };

static uint8_t *value; /* LARGE bytes */

struct fixture {
    struct asd_fixture base;
    bool mounted;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    *state = f;
    asd_fixture_init(&f->base, true, 9);
    f->base.in_room = true;
    f->base.options.slab_bytes = 16 * MIB;
    f->mounted = mount("none", f->base.dir, "tmpfs", 0, "size=64m") == 0;
    if (f->mounted) {
        assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    }
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    asd_fixture_close(&f->base);
    if (f->mounted) {
        assert_int_equal(umount(f->base.dir), 0);
    }
    asd_fixture_release(&f->base);
    free(f);
    return 0;
}

static struct fixture *on_mount(void **state)
{
    struct fixture *f = *state;

    if (!f->mounted) {
        print_message("a file system cannot be mounted here\n");
        skip();
    }
    return f;
}

static size_t bytes_left(const struct fixture *f)
{
    struct statvfs fs;

    assert_int_equal(statvfs(f->base.dir, &fs), 0);
    return (size_t)(fs.f_bavail * fs.f_frsize);
}

/* A foreign file that grows until `left` bytes are left. */
static void fill(struct fixture *f, size_t left)
{
    char *path = tempdir_path(f->base.dir, "foreign");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    assert_true(fd >= 0);
    while (bytes_left(f) > left) {
        size_t more = bytes_left(f) - left;

        assert_true(write(fd, value, more < LARGE ? more : LARGE) > 0);
    }
    close(fd);
    free(path);
}

static void unfill(struct fixture *f)
{
    char *path = tempdir_path(f->base.dir, "foreign");

    assert_int_equal(unlink(path), 0);
    free(path);
}

static bool has_ballast(struct fixture *f)
{
    char *path = tempdir_path(f->base.dir, "ballast");
    bool is = access(path, F_OK) == 0;

    free(path);
    return is;
}

static void put_some(struct fixture *f)
{
    char key[16];

    asd_room_look(&f->base.room);
    assert_true(has_ballast(f));
    for (unsigned i = 0; i < 8; i++) {
        snprintf(key, sizeof(key), "large%u", i);
        assert_int_equal(asd_fixture_set(&f->base, key, value, LARGE), 0);
        snprintf(key, sizeof(key), "small%u", i);
        assert_int_equal(asd_fixture_set(&f->base, key, value, SMALL), 0);
    }
}

static int set_reserve(struct fixture *f, const char *key)
{
    struct asd_update update = {.key = slice_str(key), .value = slice_of(value, 100)};
    const struct asd_apply apply = {
        .updates = &update, .update_count = 1, .flags = ASD_APPLY_RESERVE};
    struct err e;

    return asd_fixture_apply(&f->base, &apply, &e);
}

static void capacity_is_what_is_used_and_what_is_left(void **state)
{
    struct fixture *f = on_mount(state);
    uint64_t before;

    put_some(f);
    asd_room_look(&f->base.room);
    before = asd_store_stats(f->base.store).capacity_bytes;
    assert_in_range(before, 20 * MIB, 62 * MIB);
    fill(f, 10 * MIB);
    asd_room_look(&f->base.room);
    assert_in_range(asd_store_stats(f->base.store).capacity_bytes,
                    asd_store_stats(f->base.store).used_bytes, before / 2);
    unfill(f);
    asd_room_look(&f->base.room);
    assert_in_range(asd_store_stats(f->base.store).capacity_bytes, before - MIB, before + MIB);
}

static void without_room_sets_are_refused_and_all_else_goes_on(void **state)
{
    struct fixture *f = on_mount(state);

    put_some(f);
    fill(f, 2 * MIB); /* less than the margin */
    asd_room_look(&f->base.room);
    assert_int_equal(asd_fixture_set(&f->base, "more", value, SMALL), ERR_FULL);
    assert_int_equal(asd_fixture_set(&f->base, "more", value, LARGE), ERR_FULL);
    assert_int_equal(set_reserve(f, "reserve"), 0);
    assert_int_equal(asd_fixture_delete(&f->base, "large0"), 0);
    assert_true(asd_fixture_has(&f->base, "large1", value, LARGE));
    assert_false(asd_store_failed(f->base.store, NULL));
    unfill(f);
    asd_room_look(&f->base.room);
    assert_int_equal(asd_fixture_set(&f->base, "more", value, LARGE), 0);
}

static void what_was_set_since_the_last_look_counts(void **state)
{
    struct fixture *f = on_mount(state);
    unsigned count = 0;
    char key[16];
    int rc = 0;

    put_some(f);
    fill(f, 12 * MIB);
    asd_room_look(&f->base.room);
    for (; rc == 0 && count < 64; count += rc == 0) {
        snprintf(key, sizeof(key), "x%u", count);
        rc = asd_fixture_set(&f->base, key, value, LARGE);
    }
    assert_int_equal(rc, ERR_FULL);
    assert_in_range(count, 5, 10); /* 12 MiB less the margin of a 20th of 64 */
}

static void on_a_full_file_system_it_starts_again_and_can_be_emptied(void **state)
{
    struct fixture *f = on_mount(state);
    struct err e = {0};
    char key[16];

    put_some(f);
    asd_fixture_close(&f->base);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(asd_fixture_open(&f->base, &e), 0);
        if (round == 0) {
            fill(f, 0);
        }
        asd_room_look(&f->base.room);
        assert_false(has_ballast(f));
        assert_int_equal(asd_fixture_set(&f->base, "more", value, SMALL), ERR_FULL);
        snprintf(key, sizeof(key), "small%u", round);
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
        snprintf(key, sizeof(key), "large%u", round);
        assert_true(asd_fixture_has(&f->base, key, value, LARGE));
        asd_fixture_close(&f->base);
    }
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(key, sizeof(key), "large%u", i);
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
    }
    asd_fixture_settle(&f->base);
    fill(f, 0);
    asd_room_look(&f->base.room); /* a delete may have laid it again */
    assert_false(has_ballast(f));
    unfill(f);
    fill(f, 5 * MIB); /* above the margin: what was given up is not for new values */
    asd_room_look(&f->base.room);
    assert_false(has_ballast(f));
    assert_int_equal(asd_fixture_set(&f->base, "more", value, SMALL), ERR_FULL);
    unfill(f);
    asd_room_look(&f->base.room);
    assert_true(has_ballast(f));
    assert_int_equal(asd_fixture_set(&f->base, "more", value, LARGE), 0);
}

/* Nobody has looked since: the commit does, as little was left the last time. */
static void a_commit_that_finds_little_room_left_looks_again_before_it_writes(void **state)
{
    struct fixture *f = on_mount(state);

    put_some(f);
    fill(f, 2 * MIB);
    asd_room_look(&f->base.room);
    assert_true(has_ballast(f));
    fill(f, 0);
    assert_int_equal(asd_fixture_delete(&f->base, "large0"), 0);
    assert_false(has_ballast(f));
    assert_false(asd_store_failed(f->base.store, NULL));
}

/* Filled while it was closed, the ballast included in what is needed to start. */
static void it_starts_on_a_file_system_that_was_filled_meanwhile(void **state)
{
    struct fixture *f = on_mount(state);
    struct err e = {0};

    put_some(f);
    asd_fixture_close(&f->base);
    fill(f, 0);
    assert_true(has_ballast(f));
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    assert_false(has_ballast(f));
    assert_true(asd_fixture_has(&f->base, "small3", value, SMALL));
    assert_int_equal(asd_fixture_delete(&f->base, "small3"), 0);
    assert_int_equal(asd_fixture_set(&f->base, "more", value, SMALL), ERR_FULL);
}

/* Opening would write the whole log anew, into a table: there is no room for that. */
static void a_log_larger_than_the_room_left_is_read_and_left_as_it_is(void **state)
{
    enum { COUNT = 800 };
    struct fixture *f = on_mount(state);
    struct err e = {0};
    char key[16];

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(asd_fixture_set(&f->base, key, value, SMALL), 0);
    }
    asd_fixture_close(&f->base);
    fill(f, 2 * MIB);
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(asd_fixture_open(&f->base, &e), 0);
        for (unsigned i = round; i < COUNT; i++) {
            snprintf(key, sizeof(key), "k%u", i);
            assert_true(asd_fixture_has(&f->base, key, value, SMALL));
        }
        snprintf(key, sizeof(key), "k%u", round);
        assert_int_equal(asd_fixture_delete(&f->base, key), 0);
        assert_false(asd_fixture_has(&f->base, key, value, SMALL));
        asd_fixture_close(&f->base);
    }
}

/* The log as it is now is all there is of the last commit, if who wrote it was killed before it was
 * flushed: space that the commit freed must not be given back before the log is on the disk. */
static void a_log_that_is_left_as_it_is_and_cannot_be_flushed_is_refused(void **state)
{
    enum { COUNT = 800 };
    struct fixture *f = on_mount(state);
    struct fault_io fault;
    struct err e = {0};
    char key[16];
    int rc;

    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(asd_fixture_set(&f->base, key, value, SMALL), 0);
    }
    asd_fixture_close(&f->base);
    fill(f, 2 * MIB);
    fault_io_init(&fault, io_real());
    atomic_store(&fault.sync_rc, -EIO);
    rc = asd_fixture_open(&f->base, &e);
    fault_io_release(&fault);
    assert_int_equal(rc, -EIO);
    assert_non_null(strstr(e.msg, ".log"));
    asd_fixture_close(&f->base);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    assert_true(asd_fixture_has(&f->base, "k799", value, SMALL));
}

static void without_ballast_and_room_it_says_so_and_aborts_nothing(void **state)
{
    struct fixture *f = on_mount(state);
    struct err e = {0};

    put_some(f);
    fill(f, 0);
    asd_room_look(&f->base.room);
    assert_false(has_ballast(f));
    asd_fixture_close(&f->base);
    fill(f, 0);
    assert_int_equal(asd_fixture_open(&f->base, &e), -ENOSPC);
    assert_non_null(strstr(e.msg, "needed to open"));
    asd_fixture_close(&f->base);
    unfill(f);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    assert_true(asd_fixture_has(&f->base, "large7", value, LARGE));
}

/* RocksDB 7.8 aborts in its own log when the disk is full, unless told to write none. */
static void an_index_without_room_fails_closes_and_has_what_was_acknowledged(void **state)
{
    struct fixture *f = on_mount(state);
    unsigned count = 0;
    struct err e = {0};
    char key[16];

    f->base.options.room = NULL; /* nobody refuses */
    asd_fixture_close(&f->base);
    f->base.in_room = false;
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    while (count < 10000) {
        snprintf(key, sizeof(key), "k%u", count);
        if (asd_fixture_set(&f->base, key, value, SMALL) != 0) {
            break;
        }
        count++;
    }
    assert_true(asd_store_failed(f->base.store, &e));
    assert_int_equal(e.code, -ENOSPC);
    asd_fixture_close(&f->base);
    assert_int_equal(mount("none", f->base.dir, "tmpfs", MS_REMOUNT, "size=256m"), 0);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    for (unsigned i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_true(asd_fixture_has(&f->base, key, value, SMALL));
    }
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(capacity_is_what_is_used_and_what_is_left),
        TEST(without_room_sets_are_refused_and_all_else_goes_on),
        TEST(what_was_set_since_the_last_look_counts),
        TEST(on_a_full_file_system_it_starts_again_and_can_be_emptied),
        TEST(a_commit_that_finds_little_room_left_looks_again_before_it_writes),
        TEST(it_starts_on_a_file_system_that_was_filled_meanwhile),
        TEST(a_log_larger_than_the_room_left_is_read_and_left_as_it_is),
        TEST(a_log_that_is_left_as_it_is_and_cannot_be_flushed_is_refused),
        TEST(without_ballast_and_room_it_says_so_and_aborts_nothing),
        TEST(an_index_without_room_fails_closes_and_has_what_was_acknowledged),
    };
    int failed;

    value = asd_fixture_bytes(5, LARGE);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(value);
    return failed;
}
