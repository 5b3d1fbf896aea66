/* The crash disk's power switch, faults, counters and hooks. */
#include <errno.h>
#include <pthread.h>

#include "base/err.h"
#include "base/rnd.h"
#include "unit/loop/crash_disk_steps.h"

static void power_fails_in_the_nth_io_and_stays_off(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 512, &fd);
    struct io *io = io_of(d);
    uint64_t bytes;
    char byte = 'n';

    (void)state;
    assert_int_equal(crash_disk_io_count(d), 4); /* create, write, fdatasync, sync_dir */
    crash_disk_power_off_at(d, 6);
    put(d, fd, 'n', 1, 0);
    assert_int_equal(io_write_full(io, fd, &byte, 1, 1), -EIO);
    assert_true(crash_disk_is_off(d));
    assert_int_equal(io_read_full(io, fd, &byte, 1, 0), -EIO);
    assert_int_equal(io->ops->fdatasync(io, fd), -EIO);
    assert_int_equal(io->ops->size(io, fd, &bytes), -EIO);
    assert_int_equal(io->ops->open(io, "/g", IO_OPEN_WRITE | IO_OPEN_CREATE), -EIO);
    assert_int_equal(io->ops->sync_dir(io, "/"), -EIO);
    assert_int_equal(crash_disk_step(d, NULL), -EIO);
    assert_int_equal(crash_disk_io_count(d), 6);
    assert_int_equal(crash_disk_open_count(d), 1);
    assert_int_equal(io->ops->close(io, fd), -EIO);
    assert_int_equal(crash_disk_open_count(d), 0);

    crash_disk_reboot(d, CRASH_KEEP_ALL, 0);
    assert_false(crash_disk_is_off(d));
    fd = open_file(d, "/f", IO_OPEN_READ);
    assert_int_equal(io_read_full(io, fd, &byte, 1, 1), 0);
    assert_int_equal(byte, 'n'); /* the interrupted write, kept */
    crash_disk_reboot(d, CRASH_KEEP_ALL, 0);
    assert_int_equal(io_read_full(io, fd, &byte, 1, 1), -EBADF);
    crash_disk_free(d);
}

static void an_interrupted_sync_has_happened_or_not(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 512 * 64, &fd);
        struct content c;
        int news = 0;

        for (uint64_t i = 0; i < 64; i++) {
            put(d, fd, 'n', 512, i * 512);
        }
        crash_disk_power_off_at(d, crash_disk_io_count(d) + 1);
        assert_int_equal(io_of(d)->ops->fdatasync(io_of(d), fd), -EIO);
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/f");
        for (size_t i = 0; i < 64; i++) {
            news += sector(&c, i) == 'n';
        }
        seen |= news == 64 ? 1 : 2;
        free(c.data);
        crash_disk_free(d);
    }
    assert_int_equal(seen, 3);
}

static bool on_name(void *ctx, const char *name)
{
    (void)name;
    ++*(int *)ctx;
    return true;
}

/* So many names that chance alone does not keep them all. */
static void an_interrupted_sync_dir_has_happened_or_not(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct crash_disk *d = crash_disk_new(seed);
        char path[] = "/aa";
        int names = 0;

        for (int i = 0; i < 26 * 8; i++) {
            path[1] = (char)('a' + i % 26);
            path[2] = (char)('a' + i / 26);
            create(d, path);
        }
        crash_disk_power_off_at(d, crash_disk_io_count(d) + 1);
        assert_int_equal(io_of(d)->ops->sync_dir(io_of(d), "/"), -EIO);
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        assert_int_equal(io_of(d)->ops->list_dir(io_of(d), "/", on_name, &names), 0);
        seen |= names == 26 * 8 ? 1 : 2;
        crash_disk_free(d);
    }
    assert_int_equal(seen, 3);
}

static void a_fault_hits_exactly_the_io_it_names(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 512, &fd);
    struct io *io = io_of(d);
    struct iovec iov = {.iov_base = (char[]){"abcdef"}, .iov_len = 6};
    struct content c;

    (void)state;
    crash_disk_fail_at(d, 6, -ENOSPC);
    crash_disk_short_write_at(d, 7, 2);
    assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 0), 6);
    assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 6), -ENOSPC);
    assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 6), 2);
    assert_int_equal(io->ops->pwritev(io, fd, &iov, 1, 8), 6);
    c = load(d, "/f");
    assert_memory_equal(c.data, "abcdefababcdefoo", 16);
    free(c.data);
    crash_disk_free(d);
}

static void bytes_of_a_failed_fdatasync_stay_lost_though_the_next_one_succeeds(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 1024, &fd);
    struct io *io = io_of(d);
    struct content c;

    (void)state;
    put(d, fd, '1', 1024, 0);
    crash_disk_fail_at(d, crash_disk_io_count(d) + 1, -EIO);
    assert_int_equal(io->ops->fdatasync(io, fd), -EIO);
    put(d, fd, '2', 512, 512);
    sync_file(d, fd);
    c = load(d, "/f");
    assert_int_equal(sector(&c, 0), '1');
    free(c.data);
    crash_disk_reboot(d, CRASH_KEEP_ALL, 0);
    c = load(d, "/f");
    assert_int_equal(sector(&c, 0), 'o');
    assert_int_equal(sector(&c, 1), '2');
    free(c.data);
    crash_disk_free(d);
}

static void a_full_disk_refuses_and_a_hole_makes_room(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 8192, &fd);
    struct io *io = io_of(d);
    char byte = 'n';

    (void)state;
    crash_disk_set_capacity(d, 12288);
    put(d, fd, 'n', 8192, 0); /* in place */
    put(d, fd, 'n', 4096, 8192);
    assert_int_equal(io_write_full(io, fd, &byte, 1, 12288), -ENOSPC);
    assert_int_equal(io->ops->allocate(io, fd, IO_ALLOCATE, 12288, 1), -ENOSPC);
    assert_int_equal(io->ops->allocate(io, fd, IO_PUNCH_HOLE, 0, 4096), 0);
    assert_int_equal(io_write_full(io, fd, &byte, 1, 12288), 0);
    io->ops->close(io, fd);
    assert_int_equal(io->ops->unlink(io, "/f"), 0);
    assert_int_equal(crash_disk_used_bytes(d), 0);
    crash_disk_free(d);
}

static void direct_io_has_to_be_aligned(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    struct io *io = io_of(d);
    int fd = open_file(d, "/f", IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_DIRECT);
    char *data = mem_aligned(4096, 8192);

    (void)state;
    memset(data, 'x', 8192);
    assert_int_equal(io_write_full(io, fd, data, 8192, 4096), 0);
    assert_int_equal(io_write_full(io, fd, data, 8192, 512), -EINVAL);
    assert_int_equal(io_write_full(io, fd, data, 512, 0), -EINVAL);
    assert_int_equal(io_write_full(io, fd, data + 512, 4096, 0), -EINVAL);
    assert_int_equal(io_read_full(io, fd, data, 4096, 512), -EINVAL);
    assert_int_equal(io_read_full(io, fd, data, 4096, 4096), 0);
    free(data);
    crash_disk_free(d);
}

static void corruption_and_bad_sectors_hit_the_place_they_name(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 8192, &fd);
    struct io *io = io_of(d);
    struct content c;
    char byte;

    (void)state;
    assert_int_equal(crash_disk_corrupt(d, "/f", 5000), 0);
    assert_int_equal(crash_disk_corrupt(d, "/f", 8192), -EINVAL);
    assert_int_equal(crash_disk_corrupt(d, "/g", 0), -ENOENT);
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    c = load(d, "/f");
    for (size_t i = 0; i < c.bytes; i++) {
        assert_true((c.data[i] == 'o') == (i != 5000));
    }
    free(c.data);

    fd = open_file(d, "/f", IO_OPEN_READ);
    crash_disk_fail_reads(d, "/f", 4100, -EIO);
    assert_int_equal(io_read_full(io, fd, &byte, 1, 4099), 0);
    assert_int_equal(io_read_full(io, fd, &byte, 1, 4100), -EIO);
    crash_disk_fail_reads(d, "/f", 4100, 0);
    assert_int_equal(io_read_full(io, fd, &byte, 1, 4100), 0);
    crash_disk_free(d);
}

static void on_reboot(void *ctx, enum crash_mode mode, struct rnd *rnd)
{
    assert_non_null(rnd);
    *(int *)ctx = (int)mode;
}

static void others_take_part_in_the_numbering_and_the_reboot(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    int mode = -1;
    bool maybe = true;

    (void)state;
    crash_disk_attach(d, on_reboot, &mode);
    crash_disk_power_off_at(d, 3);
    assert_int_equal(crash_disk_step(d, &maybe), 0);
    assert_false(maybe);
    create(d, "/f");
    assert_int_equal(crash_disk_step(d, &maybe), -EIO);
    assert_true(maybe); /* power failed in it */
    assert_int_equal(crash_disk_step(d, &maybe), -EIO);
    assert_false(maybe); /* it never began */
    crash_disk_reboot(d, CRASH_REVERSED, 0);
    assert_int_equal(mode, CRASH_REVERSED);
    mode = -1;
    crash_disk_detach(d, &mode);
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    assert_int_equal(mode, -1);
    crash_disk_free(d);
}

static void on_io(void *ctx, const char *what, const char *path)
{
    struct crash_disk **d = ctx;

    crash_disk_io_count(*d); /* outside the lock */
    check_expected_ptr(what);
    check_expected_ptr(path);
}

static void the_hook_and_the_counters_see_every_io(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    struct crash_disk_stats stats;
    static const char *const whats[] = {"open", "pwritev", "preadv", "fdatasync"};
    char byte;
    int fd;

    (void)state;
    crash_disk_set_hook(d, on_io, &d);
    for (size_t i = 0; i < sizeof whats / sizeof *whats; i++) {
        expect_string(on_io, what, whats[i]);
        expect_string(on_io, path, "/f");
    }
    fd = create(d, "/f");
    put(d, fd, 'n', 700, 0);
    assert_int_equal(io_read_full(io_of(d), fd, &byte, 1, 0), 0);
    sync_file(d, fd);
    stats = crash_disk_stats(d);
    assert_int_equal(stats.writes, 1);
    assert_int_equal(stats.write_bytes, 700);
    assert_int_equal(stats.reads, 1);
    assert_int_equal(stats.read_bytes, 1);
    assert_int_equal(stats.fdatasyncs, 1);
    assert_int_equal(stats.fdatasync_bytes, 700);
    assert_int_equal(stats.dir_syncs, 0);
    crash_disk_free(d);
}

static void *write_many(void *arg)
{
    struct crash_disk *d = arg;
    int fd = create(d, "/shared");

    for (uint64_t i = 0; i < 200; i++) {
        put(d, fd, 'n', 4096, i * 4096);
        if (i % 20 == 0) {
            sync_file(d, fd);
        }
    }
    assert_int_equal(io_of(d)->ops->close(io_of(d), fd), 0);
    return NULL;
}

static void threads_may_share_a_disk(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, d), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(crash_disk_stats(d).writes, 800);
    assert_int_equal(crash_disk_open_count(d), 0);
    crash_disk_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_fails_in_the_nth_io_and_stays_off),
        cmocka_unit_test(an_interrupted_sync_has_happened_or_not),
        cmocka_unit_test(an_interrupted_sync_dir_has_happened_or_not),
        cmocka_unit_test(a_fault_hits_exactly_the_io_it_names),
        cmocka_unit_test(bytes_of_a_failed_fdatasync_stay_lost_though_the_next_one_succeeds),
        cmocka_unit_test(a_full_disk_refuses_and_a_hole_makes_room),
        cmocka_unit_test(direct_io_has_to_be_aligned),
        cmocka_unit_test(corruption_and_bad_sectors_hit_the_place_they_name),
        cmocka_unit_test(others_take_part_in_the_numbering_and_the_reboot),
        cmocka_unit_test(the_hook_and_the_counters_see_every_io),
        cmocka_unit_test(threads_may_share_a_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
