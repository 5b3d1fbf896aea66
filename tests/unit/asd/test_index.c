/* What the store asks of an index, of RocksDB and of the double that the crash tests use. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "asd/index.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "fault/asd_index_double.h"
#include "lib/tempdir.h"

struct fixture {
    bool rocks;
    char *dir;
    struct index_double *twin;
    struct asd_index *index;
};

static void fixture_open(struct fixture *f, bool create)
{
    struct asd_index_rocksdb_options options = {.create = create};
    struct err e = {0};

    if (f->rocks) {
        char *path = tempdir_path(f->dir, "db");
        int rc = asd_index_rocksdb_open(path, &options, &f->index, &e);

        free(path);
        assert_int_equal(rc, 0);
    } else {
        f->index = index_double_open(f->twin);
    }
}

static int setup(void **state, bool rocks)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    f->rocks = rocks;
    f->dir = tempdir_make();
    f->twin = index_double_new(NULL);
    fixture_open(f, true);
    *state = f;
    return 0;
}

static int setup_rocks(void **state)
{
    return setup(state, true);
}

static int setup_double(void **state)
{
    return setup(state, false);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->index != NULL) {
        f->index->ops->close(f->index);
    }
    index_double_free(f->twin);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

static void put(struct fixture *f, const char *key, const char *value, bool sync)
{
    struct asd_index_batch batch = {0};
    struct err e;
    size_t half = strlen(value) / 2;

    asd_index_batch_put(&batch, slice_str(key), slice_of(value, half), slice_str(value + half));
    assert_int_equal(f->index->ops->write(f->index, &batch, sync, &e), 0);
    asd_index_batch_release(&batch);
}

static void expect(struct fixture *f, const char *key, const char *value)
{
    struct asd_index_value found = {0};
    struct err e;
    int rc = f->index->ops->get(f->index, slice_str(key), &found, &e);

    assert_int_equal(rc, value == NULL ? ERR_NOT_FOUND : 0);
    if (value != NULL) {
        assert_true(slice_eq(found.bytes, slice_str(value)));
    }
    f->index->ops->release(f->index, &found);
}

static void a_batch_sets_and_deletes_and_its_last_change_of_a_key_wins(void **state)
{
    struct fixture *f = *state;
    struct asd_index_batch batch = {0};
    struct err e;

    put(f, "gone", "old", true);
    asd_index_batch_delete(&batch, slice_str("gone"));
    asd_index_batch_put(&batch, slice_str("twice"), slice_str("1"), slice_of(NULL, 0));
    asd_index_batch_put(&batch, slice_str("twice"), slice_str("2"), slice_str("3"));
    asd_index_batch_put(&batch, slice_str("empty"), slice_of(NULL, 0), slice_of(NULL, 0));
    assert_int_equal(f->index->ops->write(f->index, &batch, false, &e), 0);
    asd_index_batch_release(&batch);
    expect(f, "gone", NULL);
    expect(f, "twice", "23");
    expect(f, "empty", "");
    expect(f, "never", NULL);
}

static void a_value_looked_up_stays_after_the_key_is_overwritten(void **state)
{
    struct fixture *f = *state;
    struct asd_index_value found = {0};
    struct err e;

    put(f, "key", "first value", true);
    assert_int_equal(f->index->ops->get(f->index, slice_str("key"), &found, &e), 0);
    put(f, "key", "second value", true);
    assert_true(slice_eq(found.bytes, slice_str("first value")));
    f->index->ops->release(f->index, &found);
    expect(f, "key", "second value");
}

static void many_keys_are_looked_up_at_once(void **state)
{
    enum { N = 200 };
    struct fixture *f = *state;
    struct slice keys[N];
    struct asd_index_value values[N] = {0};
    int rcs[N];
    char names[N][16];
    struct err e;

    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "k%u", i * 7919 % N); /* not sorted */
        keys[i] = slice_str(names[i]);
        if (i % 3 != 0) {
            put(f, names[i], names[i], false);
        }
    }
    f->index->ops->multi_get(f->index, N, keys, values, rcs, &e);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(rcs[i], i % 3 != 0 ? 0 : ERR_NOT_FOUND);
        if (rcs[i] == 0) {
            assert_true(slice_eq(values[i].bytes, keys[i]));
        }
        f->index->ops->release(f->index, &values[i]);
    }
}

struct seen {
    char keys[256];
    unsigned left;
};

static bool see(void *ctx, struct slice key, struct slice value)
{
    struct seen *seen = ctx;
    size_t len = strlen(seen->keys);

    (void)value;
    memcpy(seen->keys + len, key.data, key.len);
    return --seen->left > 0;
}

static void expect_range(struct fixture *f, const char *from, const char *to, bool reverse,
                         unsigned max, const char *keys)
{
    struct seen seen = {.left = max};
    struct err e;

    assert_int_equal(
        f->index->ops->iterate(f->index, slice_str(from), slice_str(to), reverse, see, &seen, &e),
        0);
    assert_string_equal(seen.keys, keys);
}

static void ranges_include_their_beginning_and_exclude_their_end(void **state)
{
    struct fixture *f = *state;

    for (const char *k = "bdfa"; *k != '\0'; k++) {
        char key[2] = {*k, '\0'};

        put(f, key, "x", false);
    }
    put(f, "ff", "x", true);
    expect_range(f, "a", "f", false, 99, "abd");
    expect_range(f, "b", "g", false, 99, "bdfff");
    expect_range(f, "b", "g", false, 2, "bd");
    expect_range(f, "a", "f", true, 99, "dba");
    expect_range(f, "c", "z", true, 99, "fffd");
    expect_range(f, "c", "z", true, 1, "ff");
    expect_range(f, "c", "d", true, 99, "");
    expect_range(f, "g", "z", false, 99, "");
}

static void everything_is_there_after_closing_and_opening(void **state)
{
    struct fixture *f = *state;

    put(f, "synced", "1", true);
    put(f, "not synced", "2", false);
    f->index->ops->close(f->index);
    fixture_open(f, false);
    expect(f, "synced", "1");
    expect(f, "not synced", "2");
}

/* After a restart the tables are on the disk and nothing of them is in the cache. */
static void a_look_up_in_the_cache_does_not_read_the_disk(void **state)
{
    struct fixture *f = *state;
    struct asd_index_value value = {0};
    struct err e;

    put(f, "key", "value", true);
    assert_int_equal(f->index->ops->get_cached(f->index, slice_str("key"), &value, &e), 0);
    f->index->ops->release(f->index, &value);
    f->index->ops->close(f->index);
    fixture_open(f, false);
    assert_int_equal(f->index->ops->get_cached(f->index, slice_str("key"), &value, &e), ERR_BUSY);
    expect(f, "key", "value");
    assert_int_equal(f->index->ops->get_cached(f->index, slice_str("key"), &value, &e), 0);
    assert_true(slice_eq(value.bytes, slice_str("value")));
    f->index->ops->release(f->index, &value);
    assert_int_equal(f->index->ops->get_cached(f->index, slice_str("none"), &value, &e),
                     ERR_NOT_FOUND);
}

/* A file may not grow beyond `bytes`; what would gets EFBIG, as it would get ENOSPC on a full disk.
 */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* RocksDB asserts that a file which failed is not written again, and does so when it is closed. */
static void an_index_whose_write_failed_closes_and_has_what_was_acknowledged(void **state)
{
    struct fixture *f = *state;
    struct asd_index_batch batch = {0};
    uint8_t *body = mem_zalloc(1 << 20);
    unsigned acknowledged = 0;
    char key[16];
    struct err e;

    limit_files((3 << 20) + 1000);
    for (int rc = 0; rc == 0; acknowledged += rc == 0) {
        snprintf(key, sizeof(key), "k%u", acknowledged);
        asd_index_batch_put(&batch, slice_str(key), slice_str("head"), slice_of(body, 1 << 20));
        rc = f->index->ops->write(f->index, &batch, true, &e);
        asd_index_batch_release(&batch);
    }
    f->index->ops->close(f->index);
    limit_files(RLIM_INFINITY);
    fixture_open(f, false);
    assert_true(acknowledged >= 2);
    for (unsigned i = 0; i < acknowledged; i++) {
        struct asd_index_value value = {0};

        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(f->index->ops->get(f->index, slice_str(key), &value, &e), 0);
        assert_int_equal(value.bytes.len, 4 + (1 << 20));
        f->index->ops->release(f->index, &value);
    }
    free(body);
}

static void a_missing_index_is_an_error_unless_it_is_to_be_made(void **state)
{
    struct fixture *f = *state;
    struct asd_index_rocksdb_options options = {.create = false};
    struct asd_index *index;
    struct err e = {0};
    char *path = tempdir_path(f->dir, "nothing here");

    assert_true(asd_index_rocksdb_open(path, &options, &index, &e) != 0);
    assert_null(index);
    assert_non_null(strstr(e.msg, "index open"));
    free(path);
}

#define BOTH(test)                                                                                 \
    cmocka_unit_test_setup_teardown(test, setup_rocks, teardown),                                  \
        cmocka_unit_test_setup_teardown(test, setup_double, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_batch_sets_and_deletes_and_its_last_change_of_a_key_wins),
        BOTH(a_value_looked_up_stays_after_the_key_is_overwritten),
        BOTH(many_keys_are_looked_up_at_once),
        BOTH(ranges_include_their_beginning_and_exclude_their_end),
        BOTH(everything_is_there_after_closing_and_opening),
        cmocka_unit_test_setup_teardown(a_look_up_in_the_cache_does_not_read_the_disk, setup_rocks,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_missing_index_is_an_error_unless_it_is_to_be_made,
                                        setup_rocks, teardown),
        cmocka_unit_test_setup_teardown(
            an_index_whose_write_failed_closes_and_has_what_was_acknowledged, setup_rocks,
            teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
