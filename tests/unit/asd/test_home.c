/* Who lives in a home directory, and that only one process does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "asd/home.h"
#include "base/log.h"
#include "fault/asd_fixture.h"
#include "lib/tempdir.h"

static void the_identity_is_made_once_and_kept(void **state)
{
    char *dir = tempdir_make();
    struct asd_home a;
    struct asd_home b;
    struct err e = {0};

    (void)state;
    assert_int_equal(asd_home_open(io_real(), dir, NULL, "node-1", &a, &e), 0);
    assert_true(a.fresh);
    assert_int_equal(strlen(a.asd_id), 36);
    assert_int_equal(asd_home_commit(&a, &e), 0);
    assert_false(a.fresh);
    assert_int_equal(asd_home_open(io_real(), dir, NULL, "node-1", &b, &e), 0);
    assert_false(b.fresh);
    assert_string_equal(a.asd_id, b.asd_id);
    assert_memory_equal(a.store_id, b.store_id, ASD_STORE_ID_BYTES);
    asd_home_release(&b);
    assert_int_equal(asd_home_open(io_real(), dir, a.asd_id, "node-1", &b, &e), 0);
    asd_home_release(&b);

    assert_int_equal(asd_home_open(io_real(), dir, "other", "node-1", &b, &e), ERR_IDENTITY);
    assert_non_null(strstr(e.msg, "\"other\""));
    assert_int_equal(asd_home_open(io_real(), dir, NULL, "node-2", &b, &e), ERR_IDENTITY);
    assert_non_null(strstr(e.msg, "\"node-2\""));
    asd_home_release(&a);
    tempdir_remove(dir);
}

static void a_second_process_is_refused(void **state)
{
    char *dir = tempdir_make();
    struct err e = {0};
    int first = -1;
    int second = -1;

    (void)state;
    assert_int_equal(asd_home_lock(dir, &first, &e), 0);
    assert_int_equal(asd_home_lock(dir, &second, &e), ERR_BUSY);
    assert_non_null(strstr(e.msg, dir));
    close(first);
    assert_int_equal(asd_home_lock(dir, &second, &e), 0);
    close(second);
    tempdir_remove(dir);
}

static void a_home_that_does_not_exist_is_named(void **state)
{
    struct err e = {0};
    int fd = -1;

    (void)state;
    assert_true(asd_home_lock("/nowhere/at all", &fd, &e) != 0);
    assert_non_null(strstr(e.msg, "/nowhere/at all"));
}

static bool is_empty(const char *dir)
{
    return rmdir(dir) == 0 && mkdir(dir, 0700) == 0;
}

/* What an unmounted disk looks like. */
static void a_store_is_made_only_where_it_is_asked_for(void **state)
{
    char *dir = tempdir_make();
    char *home_path = tempdir_path(dir, "disk");
    struct asd_home home;
    struct err e = {0};

    (void)state;
    assert_int_equal(asd_home_admit(io_real(), home_path, false, &e), ERR_NOT_FOUND);
    assert_int_equal(access(home_path, F_OK), -1);
    assert_int_equal(mkdir(home_path, 0700), 0);
    assert_int_equal(asd_home_admit(io_real(), home_path, false, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.msg, home_path));
    assert_non_null(strstr(e.msg, "--create"));
    assert_true(is_empty(home_path));
    assert_int_equal(rmdir(home_path), 0);

    assert_int_equal(asd_home_admit(io_real(), home_path, true, &e), 0);
    assert_int_equal(asd_home_admit(io_real(), home_path, true, &e), 0); /* it ended too early */
    assert_int_equal(asd_home_open(io_real(), home_path, NULL, "node-1", &home, &e), 0);
    assert_int_equal(asd_home_admit(io_real(), home_path, false, &e), ERR_NOT_FOUND);
    assert_int_equal(asd_home_commit(&home, &e), 0);
    assert_int_equal(asd_home_admit(io_real(), home_path, false, &e), 0);
    asd_home_release(&home);
    free(home_path);
    tempdir_remove(dir);
}

static void the_mark_of_a_new_home_goes_with_the_first_identity(void **state)
{
    char *dir = tempdir_make();
    char *mark = tempdir_path(dir, ASD_HOME_NEW);
    struct asd_home home;
    struct err e = {0};

    (void)state;
    assert_int_equal(io_store_file(io_real(), dir, ASD_HOME_NEW, "", 0), 0);
    assert_int_equal(asd_home_admit(io_real(), dir, false, &e), 0);
    assert_int_equal(asd_home_open(io_real(), dir, NULL, "node-1", &home, &e), 0);
    assert_int_equal(asd_home_admit(io_real(), dir, false, &e), 0); /* killed before the identity */
    assert_int_equal(asd_home_commit(&home, &e), 0);
    assert_int_equal(access(mark, F_OK), -1);
    assert_int_equal(asd_home_admit(io_real(), dir, false, &e), 0);
    asd_home_release(&home);
    free(mark);
    tempdir_remove(dir);
}

static void expect_refused(struct asd_fixture *f, int rc, const char *text)
{
    struct err e = {0};

    assert_int_equal(asd_fixture_open(f, &e), rc);
    assert_non_null(strstr(e.msg, text));
    assert_null(f->store);
}

/* An index that was lost or swapped must not look like an empty disk. */
static void an_index_that_is_lost_is_refused(void **state)
{
    struct asd_fixture f;
    struct err e;

    (void)state;
    asd_fixture_init(&f, false, 1);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    assert_int_equal(asd_fixture_set(&f, "key", "value", 5), 0);
    asd_fixture_close(&f);
    index_double_free(f.index);
    f.index = index_double_new(f.disk);
    expect_refused(&f, ERR_CORRUPT, "lost its store record");
    asd_fixture_release(&f);
}

static void an_index_of_another_home_is_refused(void **state)
{
    struct asd_fixture f;
    struct asd_fixture g;
    struct index_double *own;
    struct err e;

    (void)state;
    asd_fixture_init(&f, false, 1);
    asd_fixture_init(&g, false, 2);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    assert_int_equal(asd_fixture_open(&g, &e), 0);
    asd_fixture_close(&f);
    asd_fixture_close(&g);
    own = f.index;
    f.index = g.index;
    expect_refused(&f, ERR_IDENTITY, "another home");
    f.index = own;
    asd_fixture_release(&f);
    asd_fixture_release(&g);
}

static void values_without_an_identity_are_refused(void **state)
{
    struct asd_fixture f;
    struct err e;

    (void)state;
    asd_fixture_init(&f, false, 1);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    assert_int_equal(asd_fixture_set(&f, "key", "value", 5), 0);
    asd_fixture_close(&f);
    assert_int_equal(crash_disk_io(f.disk)->ops->unlink(crash_disk_io(f.disk), "/asd/identity"), 0);
    expect_refused(&f, ERR_IDENTITY, "index holds values");
    index_double_free(f.index);
    f.index = index_double_new(f.disk);
    assert_int_equal(asd_fixture_open(&f, &e), 0); /* nothing there: a new home */
    asd_fixture_release(&f);
}

static void slabs_without_an_identity_are_refused_and_left_alone(void **state)
{
    struct asd_fixture f;
    uint8_t *large = asd_fixture_bytes(1, 20000);
    uint64_t used;
    struct err e;

    (void)state;
    asd_fixture_init(&f, false, 1);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    assert_int_equal(asd_fixture_set(&f, "key", large, 20000), 0);
    asd_fixture_close(&f);
    assert_int_equal(crash_disk_io(f.disk)->ops->unlink(crash_disk_io(f.disk), "/asd/identity"), 0);
    index_double_free(f.index);
    f.index = index_double_new(f.disk);
    used = crash_disk_used_bytes(f.disk);
    expect_refused(&f, ERR_IDENTITY, "holds slabs");
    assert_int_equal(crash_disk_used_bytes(f.disk), used);
    asd_fixture_release(&f);
    free(large);
}

/* kill -9 at every step of the making; then what the next start serves survives power loss. */
static void a_home_whose_making_was_killed_survives_power_loss(void **state)
{
    bool is_whole = false;

    (void)state;
    for (uint64_t n = 1; !is_whole; n++) {
        struct asd_fixture f;
        struct err e;
        uint8_t id[ASD_STORE_ID_BYTES];

        asd_fixture_init(&f, false, n);
        crash_disk_power_off_at(f.disk, n);
        (void)asd_fixture_open(&f, &e);
        is_whole = !crash_disk_is_off(f.disk);
        asd_fixture_close(&f);
        crash_disk_reboot(f.disk, CRASH_KEEP_ALL, n);
        assert_int_equal(asd_fixture_open(&f, &e), 0);
        assert_int_equal(asd_fixture_set(&f, "key", "value", 5), 0);
        memcpy(id, f.home.store_id, sizeof id);
        crash_disk_power_off(f.disk);
        asd_fixture_close(&f);
        crash_disk_reboot(f.disk, CRASH_DROP_ALL, n);
        assert_int_equal(asd_fixture_open(&f, &e), 0);
        assert_memory_equal(f.home.store_id, id, sizeof id);
        asd_fixture_release(&f);
    }
}

static void a_damaged_identity_is_refused(void **state)
{
    struct asd_fixture f;
    struct err e;

    (void)state;
    asd_fixture_init(&f, false, 1);
    assert_int_equal(asd_fixture_open(&f, &e), 0);
    asd_fixture_close(&f);
    assert_int_equal(crash_disk_corrupt(f.disk, "/asd/identity", 20), 0);
    expect_refused(&f, ERR_CORRUPT, "identity");
    asd_fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_identity_is_made_once_and_kept),
        cmocka_unit_test(a_second_process_is_refused),
        cmocka_unit_test(a_home_that_does_not_exist_is_named),
        cmocka_unit_test(a_store_is_made_only_where_it_is_asked_for),
        cmocka_unit_test(the_mark_of_a_new_home_goes_with_the_first_identity),
        cmocka_unit_test(an_index_that_is_lost_is_refused),
        cmocka_unit_test(an_index_of_another_home_is_refused),
        cmocka_unit_test(values_without_an_identity_are_refused),
        cmocka_unit_test(slabs_without_an_identity_are_refused_and_left_alone),
        cmocka_unit_test(a_home_whose_making_was_killed_survives_power_loss),
        cmocka_unit_test(a_damaged_identity_is_refused),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
