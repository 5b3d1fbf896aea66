/* The log of the index after damage and after power loss: what was acknowledged is there, or the
 * store refuses to open and says so. RocksDB and real files. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/mark.h"
#include "base/check.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"

enum { COMMITS = 60, VALUE_BYTES = 4000 };

static uint8_t *value; /* VALUE_BYTES */

static void commit(struct asd_fixture *f, unsigned from, unsigned to)
{
    char key[16];

    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(asd_fixture_set(f, key, value, VALUE_BYTES), 0);
    }
}

static void expect(struct asd_fixture *f, unsigned count)
{
    char key[16];

    for (unsigned i = 0; i <= COMMITS; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(asd_fixture_has(f, key, value, VALUE_BYTES), i < count);
    }
}

/* COMMITS commits in the log, the store closed. */
static int setup(void **state)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, true, 1);
    assert_int_equal(asd_fixture_open(f, &e), 0);
    commit(f, 0, COMMITS);
    asd_fixture_close(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

/* ---- files ---- */

static off_t size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void flip(const char *path, off_t at, unsigned bytes)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    assert_true(fd >= 0);
    for (off_t end = at + bytes; at < end; at++) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= 0x5a;
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

static void cut(const char *path, off_t bytes)
{
    assert_int_equal(truncate(path, bytes), 0);
}

static void append(const char *path, const void *data, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    assert_int_equal(write(fd, data, bytes), bytes);
    close(fd);
}

/* What a power loss may do to the mark: it is that of an earlier commit. */
static void mark_set(struct asd_fixture *f, uint64_t marked)
{
    struct asd_home home;
    struct asd_mark mark;
    struct err e;
    char *path = mem_printf("%s/commits", f->dir);

    unlink(path);
    free(path);
    assert_int_equal(asd_home_open(io_real(), f->dir, NULL, "node-1", &home, &e), 0);
    assert_int_equal(asd_mark_open(&mark, &home, &e), 0);
    assert_int_equal(asd_mark_write(&mark, marked, &e), 0);
    asd_mark_close(&mark);
    asd_home_release(&home);
}

static void expect_refused(struct asd_fixture *f)
{
    struct err e = {0};

    assert_int_equal(asd_fixture_open(f, &e), ERR_CORRUPT);
    print_message("%s\n", e.msg);
    assert_non_null(strstr(e.msg, "/db"));
    assert_non_null(strstr(e.msg, "acknowledged"));
    assert_non_null(strstr(e.msg, "repair"));
    asd_fixture_close(f);
}

static void expect_opens(struct asd_fixture *f, unsigned count)
{
    struct err e = {0};
    int rc = asd_fixture_open(f, &e);

    if (rc != 0) {
        print_message("%s\n", e.msg);
    }
    assert_int_equal(rc, 0);
    expect(f, count);
}

/* ---- damage ---- */

static void flipped_bytes_with_acknowledged_commits_behind_are_refused_everywhere(void **state)
{
    struct asd_fixture *f = *state;
    char *log = asd_fixture_log_path(f);
    off_t size = size_of(log);

    for (off_t at = size / 20; at < size; at += size / 10) {
        flip(log, at, 3);
        expect_refused(f);
        flip(log, at, 3); /* nothing was changed: put right, all is there */
    }
    expect_opens(f, COMMITS);
    free(log);
}

static void damage_is_refused_without_a_mark_by_the_commits_behind_it(void **state)
{
    struct asd_fixture *f = *state;
    char *log = asd_fixture_log_path(f);

    mark_set(f, 0);
    flip(log, size_of(log) / 2, 3);
    expect_refused(f);
    free(log);
}

static void damage_to_the_last_acknowledged_commit_is_refused(void **state)
{
    struct asd_fixture *f = *state;
    char *log = asd_fixture_log_path(f);

    flip(log, size_of(log) - 10, 3);
    expect_refused(f);
    free(log);
}

static void a_log_cut_anywhere_before_its_acknowledged_end_is_refused(void **state)
{
    struct asd_fixture *f = *state;
    char *log = asd_fixture_log_path(f);
    off_t size = size_of(log);

    cut(log, size - 1);
    expect_refused(f);
    cut(log, size / 3);
    expect_refused(f);
    free(log);
}

static void a_log_that_is_gone_is_refused(void **state)
{
    struct asd_fixture *f = *state;
    char *log;

    assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0); /* the old log becomes a table */
    commit(f, 0, 1);
    asd_fixture_close(f);
    log = asd_fixture_log_path(f);
    assert_int_equal(unlink(log), 0);
    expect_refused(f);
    free(log);
}

/* ---- power loss ---- */

static void a_tail_of_garbage_is_left_behind(void **state)
{
    static const uint8_t zeros[5000];
    struct asd_fixture *f = *state;
    char *log = asd_fixture_log_path(f);

    append(log, value, 1000);
    expect_opens(f, COMMITS);
    asd_fixture_close(f);
    free(log);

    assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0);
    commit(f, 0, 1);
    asd_fixture_close(f);
    log = asd_fixture_log_path(f);
    append(log, zeros, sizeof(zeros));
    expect_opens(f, COMMITS);
    free(log);
}

/* The last commit was being written: its record is there in part, in any state. */
static void a_torn_commit_that_was_not_acknowledged_is_left_out(void **state)
{
    struct asd_fixture *f = *state;
    off_t before;
    char *log;

    assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0);
    commit(f, 0, 1);
    asd_fixture_close(f);
    log = asd_fixture_log_path(f);
    before = size_of(log);
    free(log);
    assert_int_equal(asd_fixture_open(f, &(struct err){0}), 0);
    commit(f, 0, 1);
    commit(f, COMMITS, COMMITS + 1);
    asd_fixture_close(f);
    log = asd_fixture_log_path(f);

    mark_set(f, COMMITS + 2);
    flip(log, size_of(log) - 100, 50); /* its bytes never arrived */
    expect_opens(f, COMMITS);
    commit(f, COMMITS, COMMITS + 1);
    asd_fixture_close(f);
    free(log);

    log = asd_fixture_log_path(f);
    assert_true(size_of(log) < 2 * before);
    mark_set(f, COMMITS + 2);
    cut(log, size_of(log) - 100);
    expect_opens(f, COMMITS);
    free(log);
}

/* ---- what a torn log named ---- */

enum { LARGE = 100000, PAGE = 4096 };

static bool is_there(const struct asd_fixture *f, const char *name)
{
    char *path = mem_printf("%s/%s", f->dir, name);
    bool is = access(path, F_OK) == 0;

    free(path);
    return is;
}

static unsigned torn_count(const struct asd_fixture *f)
{
    char *path = mem_printf("%s/torn", f->dir);
    DIR *dir = opendir(path);
    unsigned count = 0;

    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    if (dir != NULL) {
        closedir(dir);
    }
    free(path);
    return count;
}

/* Does the file hold these bytes anywhere on a page boundary? */
static bool holds(const struct asd_fixture *f, const char *name, const uint8_t *data)
{
    char *path = mem_printf("%s/%s", f->dir, name);
    uint8_t *page = mem_alloc(PAGE);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool found = false;

    for (off_t at = 0; fd >= 0 && !found && pread(fd, page, PAGE, at) == PAGE; at += PAGE) {
        found = memcmp(page, data, PAGE) == 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    free(page);
    free(path);
    return found;
}

static void tear_last_record(struct asd_fixture *f)
{
    char *log = asd_fixture_log_path(f);

    asd_fixture_close(f);
    cut(log, size_of(log) - 20);
    free(log);
}

/* The last commit put one value behind the tail of a slab and one into a slab of its own: as far
 * as the index knows nobody names them, but if rot tore its record they are all there is. */
static void what_a_torn_commit_wrote_is_kept_until_a_start_with_a_whole_log(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *kept = asd_fixture_bytes(21, LARGE);
    uint8_t *tail = asd_fixture_bytes(22, LARGE);
    uint8_t *alone = asd_fixture_bytes(23, 3 * LARGE);
    struct asd_update updates[2] = {
        {.key = slice_str("tail"), .value = slice_of(tail, LARGE)},
        {.key = slice_str("alone"), .value = slice_of(alone, (size_t)3 * LARGE)}};
    const struct asd_apply apply = {.updates = updates, .update_count = 2};
    struct err e;

    f->options.slab_bytes = 3 * LARGE;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_set(f, "kept", kept, LARGE), 0);
    assert_int_equal(asd_fixture_apply(f, &apply, &e), 0);
    tear_last_record(f);
    mark_set(f, COMMITS + 1);

    expect_opens(f, COMMITS);
    assert_false(asd_fixture_has(f, "tail", tail, LARGE));
    assert_int_equal(torn_count(f), 3); /* the log, a slab, and a note of the tail */
    assert_true(is_there(f, "torn/0000000000000000.tail"));
    assert_true(holds(f, "slabs/0000000000000000", tail));
    assert_true(holds(f, "torn/0000000000000001", alone));
    assert_int_equal(asd_fixture_set(f, "new", alone, LARGE), 0); /* elsewhere */
    assert_true(holds(f, "slabs/0000000000000000", tail));
    assert_int_equal(asd_fixture_delete(f, "kept"), 0);
    asd_fixture_settle(f);
    assert_true(holds(f, "slabs/0000000000000000", tail)); /* no value is left in it */
    assert_int_equal(asd_fixture_set(f, "kept", kept, LARGE), 0);
    asd_fixture_close(f);

    expect_opens(f, COMMITS);
    asd_fixture_settle(f);
    assert_int_equal(torn_count(f), 0);
    assert_false(is_there(f, "slabs/0000000000000000"));
    assert_true(asd_fixture_has(f, "new", alone, LARGE));
    assert_true(asd_fixture_has(f, "kept", kept, LARGE));
    free(kept);
    free(tail);
    free(alone);
}

/* A slab with values in it stays, and its tail is given back. Tears do not add up. */
static void what_one_torn_log_left_ends_with_the_next(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data[4];
    struct err e;

    for (unsigned i = 0; i < 4; i++) {
        data[i] = asd_fixture_bytes(31 + i, LARGE);
    }
    f->options.slab_bytes = 10 * LARGE;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_set(f, "a", data[0], LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "b", data[1], LARGE), 0);
    tear_last_record(f);
    mark_set(f, COMMITS + 1);
    expect_opens(f, COMMITS);
    assert_true(holds(f, "slabs/0000000000000000", data[1]));

    assert_int_equal(asd_fixture_set(f, "c", data[2], LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "d", data[3], LARGE), 0);
    tear_last_record(f);
    mark_set(f, COMMITS + 2);
    expect_opens(f, COMMITS);
    assert_true(asd_fixture_has(f, "a", data[0], LARGE));
    assert_true(asd_fixture_has(f, "c", data[2], LARGE));
    assert_false(holds(f, "slabs/0000000000000000", data[1]));
    assert_true(holds(f, "slabs/0000000000000001", data[3]));
    assert_int_equal(torn_count(f), 2);
    asd_fixture_close(f);

    expect_opens(f, COMMITS);
    assert_int_equal(torn_count(f), 0);
    assert_false(holds(f, "slabs/0000000000000001", data[3]));
    assert_true(asd_fixture_has(f, "c", data[2], LARGE));
    for (unsigned i = 0; i < 4; i++) {
        free(data[i]);
    }
}

static void a_home_of_older_software_without_a_mark_opens(void **state)
{
    struct asd_fixture *f = *state;
    char *path = mem_printf("%s/commits", f->dir);

    assert_int_equal(unlink(path), 0);
    expect_opens(f, COMMITS);
    asd_fixture_close(f);
    assert_int_equal(size_of(path), ASD_MARK_SLOTS * ASD_MARK_SLOT_BYTES);
    free(path);
}

/* ---- the mark itself ---- */

static void a_torn_mark_leaves_the_one_before(void **state)
{
    struct asd_fixture *f = *state;
    char *path = mem_printf("%s/commits", f->dir);
    struct asd_home home;
    uint64_t marked = 0;
    struct err e;

    assert_int_equal(asd_home_open(io_real(), f->dir, NULL, "node-1", &home, &e), 0);
    assert_int_equal(asd_mark_read(&home, &marked, &e), 0);
    assert_int_equal(marked, COMMITS);
    flip(path, COMMITS % ASD_MARK_SLOTS * ASD_MARK_SLOT_BYTES + 33, 1);
    assert_int_equal(asd_mark_read(&home, &marked, &e), 0);
    assert_int_equal(marked, COMMITS - 1);
    flip(path, (COMMITS + 1) % ASD_MARK_SLOTS * ASD_MARK_SLOT_BYTES + 33, 1);
    assert_int_equal(asd_mark_read(&home, &marked, &e), 0);
    assert_int_equal(marked, 0);
    cut(path, 100);
    assert_int_equal(asd_mark_read(&home, &marked, &e), 0);
    asd_home_release(&home);
    free(path);
    expect_opens(f, COMMITS);
}

/* The index is whole: a mark that cannot be read or made is no reason to stay away. */
static void a_mark_that_cannot_be_read_or_made_keeps_nobody_from_starting(void **state)
{
    struct asd_fixture f;
    struct err e;

    (void)state;
    asd_fixture_init(&f, false, 1);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    assert_int_equal(asd_fixture_set(&f, "k", value, 100), 0);
    asd_fixture_close(&f);
    crash_disk_fail_reads(f.disk, "/asd/commits", ASD_MARK_SLOT_BYTES, -EIO);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    asd_fixture_close(&f);
    crash_disk_fail_reads(f.disk, "/asd/commits", 0, 0);

    assert_int_equal(crash_disk_io(f.disk)->ops->unlink(crash_disk_io(f.disk), "/asd/commits"), 0);
    crash_disk_set_capacity(f.disk, crash_disk_used_bytes(f.disk));
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    assert_true(asd_fixture_has(&f, "k", value, 100));
    assert_int_equal(asd_fixture_delete(&f, "k"), 0);
    asd_fixture_release(&f);
}

static void the_mark_has_the_bytes_of_the_golden_file(void **state)
{
    uint8_t id[ASD_STORE_ID_BYTES];
    uint8_t data[ASD_MARK_BYTES];
    char line[2 * ASD_MARK_BYTES + 2];
    char text[2 * ASD_MARK_BYTES + 1];
    FILE *file = fopen(GOLDEN_DIR "/asd/mark_v1.txt", "r");

    (void)state;
    assert_non_null(file);
    for (unsigned i = 0; i < ASD_STORE_ID_BYTES; i++) {
        id[i] = (uint8_t)(i + 1);
    }
    asd_mark_encode(data, id, 0x1122334455667788);
    hex_encode(text, data, ASD_MARK_BYTES);
    assert_non_null(fgets(line, sizeof(line), file));
    assert_memory_equal(line, text, sizeof(text) - 1);
    fclose(file);
}

static void the_mark_of_another_store_and_a_newer_one_do_not_pass(void **state)
{
    uint8_t data[ASD_MARK_BYTES];
    uint8_t id[ASD_STORE_ID_BYTES] = {1};
    uint8_t other[ASD_STORE_ID_BYTES] = {2};
    uint64_t commits;
    struct err e;

    (void)state;
    asd_mark_encode(data, id, 77);
    assert_int_equal(asd_mark_decode(data, id, &commits, &e), 0);
    assert_int_equal(commits, 77);
    assert_int_equal(asd_mark_decode(data, other, &commits, &e), ERR_CORRUPT);
    for (unsigned i = 0; i < ASD_MARK_BYTES; i++) {
        data[i] ^= 1;
        assert_int_equal(asd_mark_decode(data, id, &commits, &e), ERR_CORRUPT);
        data[i] ^= 1;
    }
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LOG(flipped_bytes_with_acknowledged_commits_behind_are_refused_everywhere),
        WITH_LOG(damage_is_refused_without_a_mark_by_the_commits_behind_it),
        WITH_LOG(damage_to_the_last_acknowledged_commit_is_refused),
        WITH_LOG(a_log_cut_anywhere_before_its_acknowledged_end_is_refused),
        WITH_LOG(a_log_that_is_gone_is_refused),
        WITH_LOG(a_tail_of_garbage_is_left_behind),
        WITH_LOG(a_torn_commit_that_was_not_acknowledged_is_left_out),
        WITH_LOG(what_a_torn_commit_wrote_is_kept_until_a_start_with_a_whole_log),
        WITH_LOG(what_one_torn_log_left_ends_with_the_next),
        WITH_LOG(a_home_of_older_software_without_a_mark_opens),
        WITH_LOG(a_torn_mark_leaves_the_one_before),
        cmocka_unit_test(a_mark_that_cannot_be_read_or_made_keeps_nobody_from_starting),
        cmocka_unit_test(the_mark_has_the_bytes_of_the_golden_file),
        cmocka_unit_test(the_mark_of_another_store_and_a_newer_one_do_not_pass),
    };

    value = asd_fixture_bytes(5, VALUE_BYTES);
    log_set_level(LOG_NONE);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(value);
    return failed;
}
