#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>

#include "base/err.h"
#include "base/mem.h"
#include "lib/crash_disk.h"
#include "lib/tempdir.h"
#include "loop/io.h"

/* ---- the operating system's ---- */

static int setup(void **state)
{
    *state = tempdir_make();
    return 0;
}

static int teardown(void **state)
{
    tempdir_remove(*state);
    return 0;
}

static int open_in(const char *dir, const char *name, int flags)
{
    struct io *io = io_real();
    char *path = tempdir_path(dir, name);
    int fd = io->ops->open(io, path, flags);

    free(path);
    return fd;
}

static void what_is_written_is_read_back(void **state)
{
    struct io *io = io_real();
    int fd = open_in(*state, "f", IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE);
    struct iovec iov[3] = {{.iov_base = (char[]){"abc"}, .iov_len = 3},
                           {.iov_base = NULL, .iov_len = 0},
                           {.iov_base = (char[]){"defg"}, .iov_len = 4}};
    uint64_t bytes;
    char got[7];

    assert_true(fd >= 0);
    assert_int_equal(io_writev_full(io, fd, iov, 3, 100), 0);
    assert_int_equal(io->ops->fdatasync(io, fd), 0);
    assert_int_equal(io->ops->size(io, fd, &bytes), 0);
    assert_int_equal(bytes, 107);
    assert_int_equal(io_read_full(io, fd, got, 7, 100), 0);
    assert_memory_equal(got, "abcdefg", 7);
    assert_int_equal(io_read_full(io, fd, got, 7, 101), ERR_CORRUPT);
    assert_int_equal(io->ops->close(io, fd), 0);
    assert_int_equal(io->ops->close(io, fd), -EBADF);
    assert_int_equal(open_in(*state, "f", IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE),
                     -EEXIST);
    assert_int_equal(open_in(*state, "g", IO_OPEN_READ), -ENOENT);
}

static void a_read_only_descriptor_does_not_write(void **state)
{
    struct io *io = io_real();
    int fd;

    io->ops->close(io, open_in(*state, "f", IO_OPEN_WRITE | IO_OPEN_CREATE));
    fd = open_in(*state, "f", IO_OPEN_READ);
    assert_int_equal(io_write_full(io, fd, "x", 1, 0), -EBADF);
    io->ops->close(io, fd);
}

/* More pieces than the kernel takes at once (1024). */
static void any_number_of_pieces_is_written(void **state)
{
    enum { PIECES = 3000 };
    struct io *io = io_real();
    int fd = open_in(*state, "f", IO_OPEN_WRITE | IO_OPEN_CREATE);
    struct iovec *iov = mem_array(PIECES, sizeof *iov);
    char digits[] = "0123456789", got[2 * PIECES];

    for (int i = 0; i < PIECES; i++) {
        iov[i] = (struct iovec){.iov_base = digits + i % 9, .iov_len = 2};
    }
    assert_int_equal(io_writev_full(io, fd, iov, PIECES, 0), 0);
    assert_int_equal(io_read_full(io, fd, got, sizeof got, 0), 0);
    for (int i = 0; i < PIECES; i++) {
        assert_memory_equal(got + (size_t)2 * (size_t)i, digits + i % 9, 2);
    }
    free(iov);
    io->ops->close(io, fd);
}

static void allocate_zero_and_punch_do_what_they_say(void **state)
{
    struct io *io = io_real();
    int fd = open_in(*state, "f", IO_OPEN_WRITE | IO_OPEN_CREATE);
    char got[12288], ones[12288];
    uint64_t bytes;

    memset(ones, 1, sizeof ones);
    assert_int_equal(io_write_full(io, fd, ones, sizeof ones, 0), 0);
    assert_int_equal(io->ops->allocate(io, fd, IO_PUNCH_HOLE, 0, 4096), 0);
    assert_int_equal(io->ops->allocate(io, fd, IO_ZERO, 5000, 10), 0);
    assert_int_equal(io->ops->allocate(io, fd, IO_ZERO, 12000, 100000), 0);
    assert_int_equal(io->ops->size(io, fd, &bytes), 0);
    assert_int_equal(bytes, 12288);
    assert_int_equal(io_read_full(io, fd, got, sizeof got, 0), 0);
    for (int i = 0; i < 12288; i++) {
        assert_int_equal(got[i], i < 4096 || (i >= 5000 && i < 5010) || i >= 12000 ? 0 : 1);
    }
    assert_int_equal(io->ops->allocate(io, fd, IO_ALLOCATE, 12288, 4096), 0);
    assert_int_equal(io->ops->size(io, fd, &bytes), 0);
    assert_int_equal(bytes, 16384);
    assert_int_equal(io->ops->truncate(io, fd, 5), 0);
    assert_int_equal(io->ops->size(io, fd, &bytes), 0);
    assert_int_equal(bytes, 5);
    io->ops->close(io, fd);
}

static void aligned_direct_io_works(void **state)
{
    struct io *io = io_real();
    int fd =
        open_in(*state, "f", IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE | IO_OPEN_DIRECT);
    char *data = mem_aligned(4096, 8192);

    assert_true(fd >= 0);
    memset(data, 'x', 8192);
    assert_int_equal(io_write_full(io, fd, data, 8192, 4096), 0);
    memset(data, 0, 8192);
    assert_int_equal(io_read_full(io, fd, data, 4096, 8192), 0);
    assert_int_equal(data[4095], 'x');
    free(data);
    io->ops->close(io, fd);
}

static bool count_name(void *ctx, const char *name)
{
    assert_string_equal(name, "b");
    ++*(int *)ctx;
    return true;
}

static bool count_all(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return true;
}

static bool count_one(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return false;
}

static void names_are_made_moved_listed_and_removed(void **state)
{
    struct io *io = io_real();
    char *dir = tempdir_path(*state, "d"), *a = tempdir_path(*state, "d/a");
    char *b = tempdir_path(*state, "d/b");
    int names = 0;

    assert_int_equal(io->ops->mkdir(io, dir), 0);
    assert_int_equal(io->ops->mkdir(io, dir), -EEXIST);
    assert_int_equal(io_make_dir(io, dir), 0);
    io->ops->close(io, open_in(*state, "d/a", IO_OPEN_WRITE | IO_OPEN_CREATE));
    assert_int_equal(io->ops->rename(io, a, b), 0);
    assert_int_equal(io->ops->rename(io, a, b), -ENOENT);
    assert_int_equal(io->ops->sync_dir(io, dir), 0);
    assert_int_equal(io->ops->sync_dir(io, a), -ENOENT);
    assert_int_equal(io->ops->list_dir(io, dir, count_name, &names), 0);
    assert_int_equal(names, 1);
    io->ops->close(io, open_in(*state, "d/a", IO_OPEN_WRITE | IO_OPEN_CREATE));
    names = 0;
    assert_int_equal(io->ops->list_dir(io, dir, count_one, &names), 0);
    assert_int_equal(names, 1);
    assert_int_equal(io->ops->unlink(io, a), 0);
    assert_int_equal(io->ops->unlink(io, a), -ENOENT);
    assert_int_equal(io->ops->list_dir(io, a, count_name, &names), -ENOENT);
    free(dir);
    free(a);
    free(b);
}

static void a_small_file_is_stored_and_loaded_whole(void **state)
{
    struct io *io = io_real();
    char *path = tempdir_path(*state, "f");
    uint8_t *data = NULL;
    size_t bytes = 0;

    assert_int_equal(io_load_file(io, path, 100, &data, &bytes), -ENOENT);
    assert_int_equal(io_store_file(io, *state, "f", "a longer text", 13), 0);
    assert_int_equal(io_store_file(io, *state, "f", "short", 5), 0);
    assert_int_equal(io_load_file(io, path, 4, &data, &bytes), ERR_TOO_LARGE);
    assert_null(data);
    assert_int_equal(io_load_file(io, path, 5, &data, &bytes), 0);
    assert_int_equal(bytes, 5);
    assert_memory_equal(data, "short", 5);
    free(data);
    assert_int_equal(io_store_file(io, *state, "f", NULL, 0), 0);
    assert_int_equal(io_load_file(io, path, 0, &data, &bytes), 0);
    assert_int_equal(bytes, 0);
    free(data);
    assert_int_equal(io_store_file(io, path, "g", "x", 1), -ENOTDIR);
    free(path);
}

/* ---- on the crash disk ---- */

static void short_writes_are_continued(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    struct io *io = crash_disk_io(d);
    int fd = io->ops->open(io, "/f", IO_OPEN_WRITE | IO_OPEN_CREATE);
    struct iovec iov[3] = {{.iov_base = (char[]){"abc"}, .iov_len = 3},
                           {.iov_base = (char[]){"def"}, .iov_len = 3},
                           {.iov_base = (char[]){"ghi"}, .iov_len = 3}};
    char got[9];

    (void)state;
    crash_disk_short_write_at(d, 2, 3);
    crash_disk_short_write_at(d, 3, 1);
    crash_disk_short_write_at(d, 4, 4);
    assert_int_equal(io_writev_full(io, fd, iov, 3, 0), 0);
    assert_int_equal(crash_disk_stats(d).writes, 4);
    assert_int_equal(io_read_full(io, fd, got, 9, 0), 0);
    assert_memory_equal(got, "abcdefghi", 9);
    crash_disk_short_write_at(d, 7, 0);
    assert_int_equal(io_write_full(io, fd, "x", 1, 0), 0);
    assert_int_equal(io_write_full(io, fd, "x", 1, 0), ERR_SHORT_WRITE);
    crash_disk_free(d);
}

enum { OLD_BYTES = 3000, NEW_BYTES = 5000 };
static uint8_t old_text[OLD_BYTES], new_text[NEW_BYTES];

static void expect_text(struct crash_disk *d, const uint8_t *text, size_t text_bytes)
{
    uint8_t *data;
    size_t bytes;

    assert_int_equal(io_load_file(crash_disk_io(d), "/d/f", NEW_BYTES, &data, &bytes), 0);
    assert_int_equal(bytes, text_bytes);
    assert_memory_equal(data, text, text_bytes);
    free(data);
}

/* Old or new content, never a mix, never none; new when the store had returned 0. */
static void expect_old_or_new(struct crash_disk *d, bool stored)
{
    uint8_t *data;
    size_t bytes;

    assert_int_equal(io_load_file(crash_disk_io(d), "/d/f", NEW_BYTES, &data, &bytes), 0);
    if (stored || bytes != OLD_BYTES) {
        assert_int_equal(bytes, NEW_BYTES);
        assert_memory_equal(data, new_text, NEW_BYTES);
    } else {
        assert_memory_equal(data, old_text, OLD_BYTES);
    }
    free(data);
}

static struct crash_disk *disk_with_old_file(uint64_t seed)
{
    struct crash_disk *d = crash_disk_new(seed);
    struct io *io = crash_disk_io(d);

    memset(old_text, 'o', sizeof old_text);
    memset(new_text, 'n', sizeof new_text);
    assert_int_equal(io->ops->mkdir(io, "/d"), 0);
    assert_int_equal(io->ops->sync_dir(io, "/"), 0);
    assert_int_equal(io_store_file(io, "/d", "f", old_text, OLD_BYTES), 0);
    return d;
}

static void a_stored_file_is_old_or_new_wherever_power_fails(void **state)
{
    static const enum crash_mode modes[] = {CRASH_KEEP_ALL, CRASH_DROP_ALL, CRASH_REVERSED};
    bool stored = false;

    (void)state;
    for (uint64_t n = 1; !stored; n++) {
        for (uint64_t run = 0; run < 50; run++) {
            struct crash_disk *d = disk_with_old_file(run);
            struct io *io = crash_disk_io(d);
            enum crash_mode mode = run < 3 ? modes[run] : CRASH_RANDOM;

            crash_disk_power_off_at(d, crash_disk_io_count(d) + n);
            stored = io_store_file(io, "/d", "f", new_text, NEW_BYTES) == 0;
            assert_int_equal(crash_disk_open_count(d), 0);
            crash_disk_reboot(d, mode, run);
            expect_old_or_new(d, stored);
            /* A longer temporary file that the crash has left does not shine through. */
            assert_int_equal(io_store_file(io, "/d", "f", old_text, OLD_BYTES), 0);
            crash_disk_reboot(d, CRASH_DROP_ALL, run);
            expect_text(d, old_text, OLD_BYTES);
            crash_disk_free(d);
        }
        assert_true(n < 100);
    }
}

static void a_store_that_fails_leaves_the_old_file_and_no_other(void **state)
{
    bool stored = false;

    (void)state;
    for (uint64_t n = 1; !stored; n++) {
        struct crash_disk *d = disk_with_old_file(n);
        int names = 0;

        crash_disk_fail_at(d, crash_disk_io_count(d) + n, n % 2 ? -EIO : -ENOSPC);
        stored = io_store_file(crash_disk_io(d), "/d", "f", new_text, NEW_BYTES) == 0;
        assert_int_equal(crash_disk_open_count(d), 0);
        expect_old_or_new(d, stored);
        assert_int_equal(crash_disk_io(d)->ops->list_dir(crash_disk_io(d), "/d", count_all, &names),
                         0);
        assert_int_equal(names, 1);
        crash_disk_free(d);
        assert_true(n < 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_only_descriptor_does_not_write, setup, teardown),
        cmocka_unit_test_setup_teardown(any_number_of_pieces_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(allocate_zero_and_punch_do_what_they_say, setup, teardown),
        cmocka_unit_test_setup_teardown(aligned_direct_io_works, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_made_moved_listed_and_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_file_is_stored_and_loaded_whole, setup, teardown),
        cmocka_unit_test(short_writes_are_continued),
        cmocka_unit_test(a_stored_file_is_old_or_new_wherever_power_fails),
        cmocka_unit_test(a_store_that_fails_leaves_the_old_file_and_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
