/* What the crash disk leaves behind: a test bed that forgives too much proves nothing. */
#include <errno.h>

#include "base/err.h"
#include "base/rnd.h"
#include "unit/loop/crash_disk_steps.h"

static void reads_see_writes_at_once(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 6000, &fd);
    struct content c;

    (void)state;
    put(d, fd, 'n', 3, 4095);
    put(d, fd, 'x', 1, 10000);
    c = load(d, "f");
    assert_int_equal(c.bytes, 10001);
    assert_memory_equal(c.data + 4094, "onnno", 5);
    assert_int_equal(c.data[5999], 'o');
    assert_int_equal(c.data[6000], 0);
    assert_int_equal(c.data[9999], 0);
    assert_int_equal(c.data[10000], 'x');
    free(c.data);
    crash_disk_free(d);
}

static void unsynced_bytes_are_lost_or_kept_as_the_mode_says(void **state)
{
    struct content c;

    (void)state;
    for (int mode = CRASH_KEEP_ALL; mode <= CRASH_DROP_ALL; mode++) {
        int fd;
        struct crash_disk *d = disk_with_file(1, 1024, &fd);

        put(d, fd, 'n', 4096, 512);
        crash_disk_reboot(d, (enum crash_mode)mode, 0);
        c = load(d, "/f");
        assert_int_equal(c.bytes, mode == CRASH_KEEP_ALL ? 4608 : 1024);
        assert_int_equal(sector(&c, 0), 'o');
        assert_int_equal(sector(&c, 1), mode == CRASH_KEEP_ALL ? 'n' : 'o');
        free(c.data);
        crash_disk_free(d);
    }
}

static void synced_bytes_and_size_survive_every_reboot(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 1024, &fd);
        struct content c;

        put(d, fd, 'n', 8192, 1024);
        sync_file(d, fd);
        crash_disk_reboot(d, seed % 2 ? CRASH_RANDOM : CRASH_REVERSED, seed);
        c = load(d, "/f");
        assert_int_equal(c.bytes, 9216);
        assert_int_equal(sector(&c, 1), 'o');
        assert_int_equal(sector(&c, 17), 'n');
        free(c.data);
        crash_disk_free(d);
    }
}

/* Each sector is old, first write or second write; all of these, torn writes, and the
 * newer write without the older one turn up within a few hundred seeds. */
static void random_reboots_tear_and_reorder_writes(void **state)
{
    bool old_seen = false, first_seen = false, torn_seen = false, reversed_seen = false;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd, news = 0;
        struct crash_disk *d = disk_with_file(seed, 8192, &fd);
        struct content c;

        put(d, fd, '1', 4096, 0);
        put(d, fd, '2', 4096, 2048);
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/f");
        assert_int_equal(c.bytes, 8192);
        for (size_t i = 0; i < 16; i++) {
            char s = sector(&c, i);

            assert_true(s == 'o' || (s == '1' && i < 8) || (s == '2' && i >= 4 && i < 12));
            news += s == '1' && i < 4;
        }
        old_seen |= sector(&c, 5) == 'o';
        first_seen |= sector(&c, 5) == '1';
        torn_seen |= news != 0 && news != 4;
        reversed_seen |= sector(&c, 11) == '2' && news == 0;
        free(c.data);
        crash_disk_free(d);
    }
    assert_true(old_seen && first_seen && torn_seen && reversed_seen);
}

/* Two appends to one sector: the page cache writes whole sectors, so the second brings
 * the first along, and no byte of the first can be replaced alone. */
static void a_sector_written_in_parts_holds_a_state_of_the_page_cache(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 512, &fd);
        struct content c;

        put(d, fd, '1', 100, 0);
        put(d, fd, '2', 100, 100);
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/f");
        if (c.data[0] == 'o') {
            assert_int_equal(c.data[100], 'o');
            seen |= 1;
        } else {
            assert_int_equal(c.data[0], '1');
            seen |= c.data[100] == 'o' ? 2 : 4;
        }
        assert_int_equal(c.data[200], 'o');
        free(c.data);
        crash_disk_free(d);
    }
    assert_int_equal(seen, 7);
}

/* Whatever the lost append has left behind the end of "/f". */
static void expect_zeroes_when_grown(struct crash_disk *d, size_t size_bytes)
{
    int fd = open_file(d, "/f", IO_OPEN_WRITE);
    struct content c;

    assert_int_equal(io_of(d)->ops->truncate(io_of(d), fd, size_bytes + 512), 0);
    c = load(d, "/f");
    for (size_t i = size_bytes; i < size_bytes + 512; i++) {
        assert_int_equal(c.data[i], 0);
    }
    free(c.data);
}

static void size_and_bytes_of_an_append_survive_apart(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 512, &fd);
        struct content c;

        put(d, fd, 'n', 512, 512);
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/f");
        if (c.bytes == 512) {
            seen |= 1;
            expect_zeroes_when_grown(d, 512);
        } else {
            assert_int_equal(c.bytes, 1024);
            assert_true(sector(&c, 1) == 'n' || sector(&c, 1) == 0);
            seen |= sector(&c, 1) == 'n' ? 2 : 4;
        }
        free(c.data);
        crash_disk_free(d);
    }
    assert_int_equal(seen, 7);
}

static void a_cut_file_that_grows_again_reads_as_zero(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 10000, &fd);
        struct io *io = io_of(d);
        struct content c;

        assert_int_equal(io->ops->truncate(io, fd, 700), 0);
        assert_int_equal(io->ops->truncate(io, fd, 5000), 0);
        c = load(d, "/f");
        assert_int_equal(c.bytes, 5000);
        assert_int_equal(c.data[699], 'o');
        assert_int_equal(c.data[700], 0);
        assert_int_equal(c.data[4999], 0);
        free(c.data);

        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/f");
        assert_true(c.bytes == 10000 || c.bytes == 700 || c.bytes == 5000);
        for (size_t i = 0; i < c.bytes; i++) {
            assert_int_equal(c.data[i], c.bytes == 10000 || i < 700 ? 'o' : 0);
        }
        free(c.data);
        crash_disk_free(d);
    }
}

static void holes_and_zeroed_ranges_read_as_zero_and_give_back_space(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 16384, &fd);
    struct io *io = io_of(d);
    struct content c;

    (void)state;
    assert_int_equal(crash_disk_used_bytes(d), 16384);
    assert_int_equal(io->ops->allocate(io, fd, IO_PUNCH_HOLE, 4096, 4096), 0);
    assert_int_equal(io->ops->allocate(io, fd, IO_ZERO, 8192, 100), 0);
    assert_int_equal(io->ops->allocate(io, fd, IO_ALLOCATE, 16384, 4096), 0);
    assert_int_equal(crash_disk_used_bytes(d), 16384);
    sync_file(d, fd);
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    assert_int_equal(crash_disk_used_bytes(d), 16384);
    c = load(d, "/f");
    assert_int_equal(c.bytes, 20480);
    assert_int_equal(c.data[4095], 'o');
    assert_int_equal(c.data[4096], 0);
    assert_int_equal(c.data[8191], 0);
    assert_int_equal(c.data[8291], 0);
    assert_int_equal(c.data[8292], 'o');
    assert_int_equal(c.data[16384], 0);
    free(c.data);
    crash_disk_free(d);
}

static void an_unsynced_hole_may_be_lost_by_sectors(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd, zeroes = 0;
        struct crash_disk *d = disk_with_file(seed, 8192, &fd);
        struct content c;

        assert_int_equal(io_of(d)->ops->allocate(io_of(d), fd, IO_PUNCH_HOLE, 256, 4096), 0);
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/f");
        for (size_t i = 0; i < 4096; i++) {
            zeroes += c.data[256 + i] == 0;
        }
        assert_int_equal(c.data[255], 'o');
        assert_int_equal(c.data[4352], 'o');
        seen |= zeroes == 0 ? 1 : zeroes == 4096 ? 2 : 4;
        free(c.data);
        crash_disk_free(d);
    }
    assert_int_equal(seen, 7);
}

static void a_synced_file_loses_its_name_without_sync_dir(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    int fd = create(d, "/f");

    (void)state;
    put(d, fd, 'n', 100, 0);
    sync_file(d, fd);
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    assert_false(exists(d, "/f"));
    crash_disk_free(d);
}

static void a_synced_name_does_not_bring_bytes_along(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    struct content c;
    int fd = create(d, "/f");

    (void)state;
    put(d, fd, 'n', 100, 0);
    sync_dir(d, "/");
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    c = load(d, "/f");
    assert_int_equal(c.bytes, 0);
    free(c.data);
    crash_disk_free(d);
}

static void a_file_in_an_unsynced_directory_is_lost_with_it(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    struct io *io = io_of(d);

    (void)state;
    assert_int_equal(io->ops->mkdir(io, "/d"), 0);
    assert_int_equal(io->ops->mkdir(io, "/d"), -EEXIST);
    create(d, "/d/f");
    sync_dir(d, "/d");
    assert_true(exists(d, "/d/f"));
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    assert_false(exists(d, "/d/f"));
    assert_int_equal(io->ops->mkdir(io, "/d"), 0);
    crash_disk_free(d);
}

/* "a" replaces "b": after any crash "b" is there, old or new, and "a" is there only with
 * the old "b". */
static void an_unsynced_rename_leaves_the_old_name_or_the_new(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct crash_disk *d = crash_disk_new(seed);
        struct io *io = io_of(d);
        int a = create(d, "/a"), b = create(d, "/b");
        struct content c;

        put(d, a, 'a', 10, 0);
        put(d, b, 'b', 10, 0);
        sync_file(d, a);
        sync_file(d, b);
        sync_dir(d, "/");
        assert_int_equal(io->ops->rename(io, "/a", "/b"), 0);
        assert_false(exists(d, "/a"));
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        c = load(d, "/b");
        assert_int_equal(c.data[0], exists(d, "/a") ? 'b' : 'a');
        seen |= exists(d, "/a") ? 1 : 2;
        free(c.data);
        crash_disk_free(d);
    }
    assert_int_equal(seen, 3);
}

/* A chain of renames of one file: exactly one of its names, wherever the crash falls. */
static void a_file_renamed_twice_has_one_name(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 1, &fd);
        struct io *io = io_of(d);

        assert_int_equal(io->ops->rename(io, "/f", "/g"), 0);
        assert_int_equal(io->ops->rename(io, "/g", "/h"), 0);
        crash_disk_reboot(d, seed % 8 ? CRASH_RANDOM : CRASH_REVERSED, seed / 8);
        assert_int_equal(exists(d, "/f") + exists(d, "/g") + exists(d, "/h"), 1);
        seen |= exists(d, "/f") ? 1 : exists(d, "/g") ? 2 : 4;
        crash_disk_free(d);
    }
    assert_int_equal(seen, 7);
}

static void creates_may_survive_out_of_order(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct crash_disk *d = crash_disk_new(seed);

        create(d, "/a");
        create(d, "/b");
        crash_disk_reboot(d, CRASH_RANDOM, seed);
        seen |= 1u << (exists(d, "/a") + 2 * exists(d, "/b"));
        crash_disk_free(d);
    }
    assert_int_equal(seen, 15);
}

static void an_unlink_is_durable_after_sync_dir_only(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 10, &fd);
    struct io *io = io_of(d);
    char byte;

    (void)state;
    assert_int_equal(io->ops->unlink(io, "/f"), 0);
    assert_int_equal(io->ops->unlink(io, "/f"), -ENOENT);
    assert_int_equal(io_read_full(io, fd, &byte, 1, 0), 0); /* open files live on */
    assert_int_equal(byte, 'o');
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    assert_true(exists(d, "/f"));
    assert_int_equal(io->ops->unlink(io, "/f"), 0);
    sync_dir(d, "/");
    crash_disk_reboot(d, CRASH_DROP_ALL, 0);
    assert_false(exists(d, "/f"));
    crash_disk_free(d);
}

static void reversed_keeps_the_newest_things_only(void **state)
{
    int fd;
    struct crash_disk *d = disk_with_file(1, 2048, &fd);
    struct content c;

    (void)state;
    put(d, fd, '1', 512, 0);
    put(d, fd, '2', 512, 512);
    put(d, fd, '3', 512, 1024);
    crash_disk_reboot(d, CRASH_REVERSED, 1);
    c = load(d, "/f");
    assert_int_equal(sector(&c, 0), 'o');
    assert_int_equal(sector(&c, 1), '2');
    assert_int_equal(sector(&c, 2), '3');
    free(c.data);
    crash_disk_free(d);
}

static void the_same_seed_gives_the_same_disk(void **state)
{
    struct content c[2];

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int run = 0; run < 2; run++) {
            int fd;
            struct crash_disk *d = disk_with_file(7, 65536, &fd);

            for (int i = 0; i < 20; i++) {
                put(d, fd, (char)('a' + i), 3000, (uint64_t)i * 2500);
            }
            crash_disk_reboot(d, CRASH_RANDOM, seed);
            c[run] = load(d, "/f");
            crash_disk_free(d);
        }
        assert_int_equal(c[0].bytes, c[1].bytes);
        assert_memory_equal(c[0].data, c[1].data, c[0].bytes);
        free(c[0].data);
        free(c[1].data);
    }
}

static bool on_name(void *ctx, const char *name)
{
    *(unsigned *)ctx |= name[0] == 'a' ? 1 : name[0] == 'b' ? 2 : 4;
    return true;
}

static void paths_behave_as_those_of_a_file_system(void **state)
{
    struct crash_disk *d = crash_disk_new(1);
    struct io *io = io_of(d);
    unsigned names = 0;

    (void)state;
    assert_int_equal(io->ops->open(io, "/x/f", IO_OPEN_WRITE | IO_OPEN_CREATE), -ENOENT);
    assert_int_equal(io->ops->open(io, "/f", IO_OPEN_WRITE), -ENOENT);
    assert_int_equal(io->ops->mkdir(io, "/d"), 0);
    create(d, "/d/a");
    create(d, "d//./b");
    assert_int_equal(io->ops->open(io, "/d/a", IO_OPEN_CREATE | IO_OPEN_EXCLUSIVE), -EEXIST);
    assert_int_equal(io->ops->open(io, "/d", IO_OPEN_READ), -EISDIR);
    assert_int_equal(io->ops->rename(io, "/d/x", "/d/y"), -ENOENT);
    assert_int_equal(io->ops->rename(io, "/d/a", "/d"), -EISDIR);
    assert_int_equal(io->ops->unlink(io, "/d"), -EISDIR);
    assert_int_equal(io->ops->list_dir(io, "/d", on_name, &names), 0);
    assert_int_equal(names, 3);
    assert_int_equal(io->ops->list_dir(io, "/x", on_name, &names), -ENOENT);
    assert_int_equal(io->ops->rename(io, "/d", "/e"), 0);
    assert_true(exists(d, "/e/a"));
    crash_disk_free(d);
}

/* Against a plain array: what reads see, and, with everything kept or everything synced,
 * what a reboot leaves. */
static void random_changes_read_back_as_an_array_would(void **state)
{
    enum { BYTES = 100000 };
    static uint8_t model[BYTES], got[BYTES], data[BYTES];

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        int fd;
        struct crash_disk *d = disk_with_file(seed, 0, &fd);
        struct io *io = io_of(d);
        struct rnd rnd = rnd_seed(seed);
        uint64_t size = 0;

        memset(model, 0, sizeof model);
        for (int i = 0; i < 200; i++) {
            uint64_t at = rnd_below(&rnd, BYTES), n = 1 + rnd_below(&rnd, BYTES - at);
            uint64_t what = rnd_below(&rnd, 10);

            n = n > 9000 && what < 8 ? 9000 : n;
            if (what < 5) {
                memset(data, (int)rnd_below(&rnd, 256), n);
                memcpy(model + at, data, n);
                size = at + n > size ? at + n : size;
                assert_int_equal(io_write_full(io, fd, data, n, at), 0);
            } else if (what < 7) {
                memset(model + at, 0, n);
                assert_int_equal(
                    io->ops->allocate(io, fd, what == 5 ? IO_ZERO : IO_PUNCH_HOLE, at, n), 0);
            } else if (what == 7) {
                memset(model + at, 0, BYTES - at);
                size = at;
                assert_int_equal(io->ops->truncate(io, fd, at), 0);
            } else if (what == 8) {
                sync_file(d, fd);
            } else {
                crash_disk_reboot(d, CRASH_KEEP_ALL, seed);
                fd = open_file(d, "/f", IO_OPEN_WRITE);
            }
            assert_int_equal(io_read_full(io, fd, got, size, 0), 0);
            assert_memory_equal(got, model, size);
        }
        sync_file(d, fd);
        crash_disk_reboot(d, CRASH_DROP_ALL, seed);
        fd = open_file(d, "/f", IO_OPEN_READ);
        assert_int_equal(io_read_full(io, fd, got, size, 0), 0);
        assert_memory_equal(got, model, size);
        assert_int_equal(io_read_full(io, fd, got, size + 1, 0), ERR_CORRUPT);
        crash_disk_free(d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_see_writes_at_once),
        cmocka_unit_test(unsynced_bytes_are_lost_or_kept_as_the_mode_says),
        cmocka_unit_test(synced_bytes_and_size_survive_every_reboot),
        cmocka_unit_test(random_reboots_tear_and_reorder_writes),
        cmocka_unit_test(a_sector_written_in_parts_holds_a_state_of_the_page_cache),
        cmocka_unit_test(size_and_bytes_of_an_append_survive_apart),
        cmocka_unit_test(a_cut_file_that_grows_again_reads_as_zero),
        cmocka_unit_test(holes_and_zeroed_ranges_read_as_zero_and_give_back_space),
        cmocka_unit_test(an_unsynced_hole_may_be_lost_by_sectors),
        cmocka_unit_test(a_synced_file_loses_its_name_without_sync_dir),
        cmocka_unit_test(a_synced_name_does_not_bring_bytes_along),
        cmocka_unit_test(a_file_in_an_unsynced_directory_is_lost_with_it),
        cmocka_unit_test(an_unsynced_rename_leaves_the_old_name_or_the_new),
        cmocka_unit_test(a_file_renamed_twice_has_one_name),
        cmocka_unit_test(creates_may_survive_out_of_order),
        cmocka_unit_test(an_unlink_is_durable_after_sync_dir_only),
        cmocka_unit_test(reversed_keeps_the_newest_things_only),
        cmocka_unit_test(the_same_seed_gives_the_same_disk),
        cmocka_unit_test(paths_behave_as_those_of_a_file_system),
        cmocka_unit_test(random_changes_read_back_as_an_array_would),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
