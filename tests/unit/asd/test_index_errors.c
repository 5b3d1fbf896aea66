/* An index whose reads fail: what asks it gets the error, and it shows. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "unit/asd/key_set.h"

enum { LARGE = KEY_SET_BYTES, KEYS = KEY_SET_COUNT };

static uint8_t *large;

static int setup(void **state)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, false, 12);
    assert_int_equal(asd_fixture_open(f, &e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
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

static struct {
    struct asd_index_ops ops; /* the index's, but for reads */
    const struct asd_index_ops *good;
    atomic_int rc;   /* of what is not in memory, which is nothing; 0: as it should be */
    const char *key; /* that alone cannot be looked up; NULL: none can */
} bad_index;

static int bad_get(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                   struct err *e)
{
    bool bad = bad_index.key == NULL || slice_eq(key, slice_str(bad_index.key));

    return bad && bad_index.rc != 0 ? err_set(e, bad_index.rc, "index get")
                                    : bad_index.good->get(index, key, ret_value, e);
}

static int bad_get_cached(struct asd_index *index, struct slice key,
                          struct asd_index_value *ret_value, struct err *e)
{
    (void)index;
    (void)key;
    (void)ret_value;
    (void)e;
    return ERR_BUSY;
}

static void bad_multi_get(struct asd_index *index, size_t count, const struct slice *keys,
                          struct asd_index_value *ret_values, int *ret_rcs, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        ret_rcs[i] = bad_get(index, keys[i], &ret_values[i], e);
    }
}

static int bad_iterate(struct asd_index *index, struct slice from, struct slice to, bool reverse,
                       asd_index_visit_cb visit, void *ctx, struct err *e)
{
    return bad_index.rc != 0 ? err_set(e, bad_index.rc, "index iterate")
                             : bad_index.good->iterate(index, from, to, reverse, visit, ctx, e);
}

static void use_bad_index(struct asd_fixture *f)
{
    struct asd_index *index = f->options.index;

    bad_index.good = index->ops;
    bad_index.ops = *index->ops;
    bad_index.ops.get = bad_get;
    bad_index.ops.get_cached = bad_get_cached;
    bad_index.ops.multi_get = bad_multi_get;
    bad_index.ops.iterate = bad_iterate;
    bad_index.rc = 0;
    bad_index.key = NULL;
    index->ops = &bad_index.ops;
}

/* A get, a range, and an apply, which must know what it replaces. */
static void expect_all_counted(struct asd_fixture *f, int rc, uint64_t bad_values,
                               uint64_t read_errors)
{
    struct asd_range range = {.first_included = true, .max = -1};
    struct asd_store_range r;
    uint64_t bad = rc == ERR_CORRUPT;
    uint64_t failed = rc == -EIO;

    bad_index.rc = rc;
    assert_int_equal(key_set_get(f, large, 1), rc);
    assert_int_equal(asd_store_stats(f->store).bad_values, bad_values + bad);
    assert_int_equal(asd_store_stats(f->store).read_errors, read_errors + failed);
    assert_int_equal(asd_fixture_range(f, &r, &range, ASD_STORE_KEYS), rc);
    asd_store_range_release(&r);
    assert_int_equal(asd_fixture_set(f, key_set_key(2), "new", 3), rc);
    bad_index.rc = 0;
    assert_int_equal(asd_store_stats(f->store).bad_values, bad_values + 3 * bad);
    assert_int_equal(asd_store_stats(f->store).read_errors, read_errors + 3 * failed);
    assert_false(asd_store_failed(f->store, NULL));
    key_set_expect(f, large);
}

static void an_index_that_cannot_be_read_shows_whatever_asks_it(void **state)
{
    struct asd_fixture *f = *state;

    key_set_put(f, large);
    use_bad_index(f);
    expect_all_counted(f, -EIO, 0, 0);
    expect_all_counted(f, ERR_CORRUPT, 0, 3);
}

static void of_several_errors_of_a_look_up_the_first_one_is_told(void **state)
{
    struct asd_fixture *f = *state;
    struct slice keys[] = {slice_str("k001"), slice_str("k003"), slice_str("k000")};
    struct asd_store_get exists;

    key_set_put(f, large);
    index_double_corrupt(f->index, slice_str("\x10k000"), 13);
    use_bad_index(f);
    bad_index.key = "\x10k003";
    bad_index.rc = -EIO;
    read_end.done = false;
    assert_int_equal(asd_store_exists(asd_store_front(f->store), &exists, keys, 3, 0, on_read), 0);
    loop_fixture_run_until(&f->base, &read_end.done);
    assert_int_equal(read_end.rc, -EIO);
    assert_int_equal(exists.op.err.code, -EIO);
    assert_non_null(strstr(exists.op.err.msg, err_text(-EIO)));
    assert_true(slice_eq(exists.failed_key, keys[1]));
    asd_store_get_release(&exists);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_index_that_cannot_be_read_shows_whatever_asks_it),
        TEST(of_several_errors_of_a_look_up_the_first_one_is_told),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE + KEYS);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
