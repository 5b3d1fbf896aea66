/* Power is lost at I/O n = 1, 2, 3, … of a scripted workload; after each the store is opened
 * again and compared with a model: what was acknowledged is there bit by bit, a transaction
 * is there wholly or not at all, and no space is lost. The same with the n-th I/O failing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/log.h"
#include "fault/asd_model.h"

enum {
    GROUPS = 20,
    SLAB_BYTES = 192 * 1024,
    FULL_BYTES = 160 * 1024, /* a disk on which about one set in three finds no space */
};

static uint64_t test_seed = 20261121;

static void start(struct asd_fixture *f, uint64_t seed)
{
    asd_fixture_init(f, false, seed);
    f->options.slab_bytes = SLAB_BYTES;
    f->options.sparse_part = 2; /* so that many are emptied */
    f->options.evacuation_rate = UINT64_C(1) << 40;
}

static void open_ok(struct asd_fixture *f)
{
    struct err e = {0};
    int rc = asd_fixture_open(f, &e);

    if (rc != 0) {
        fprintf(stderr, "open: %s\n", e.msg);
    }
    assert_int_equal(rc, 0);
}

/* I/Os of the whole workload when nothing goes wrong, from the end of creation on. */
static void measure_on(uint64_t seed, uint64_t disk_bytes, uint64_t *ret_first, uint64_t *ret_last)
{
    struct asd_fixture f;
    struct workload w;

    start(&f, seed);
    workload_init(&w, seed);
    open_ok(&f);
    crash_disk_set_capacity(f.disk, disk_bytes);
    w.full_allowed = disk_bytes != 0;
    *ret_first = crash_disk_io_count(f.disk) + 1;
    assert_true(workload_run(&w, &f, GROUPS));
    workload_verify(&w, &f);
    workload_verify_space(&w, &f);
    assert_true(w.refused > 0);
    assert_true(w.moved > 0);
    assert_true(disk_bytes != 0 ? w.full > 0 : w.moves_lost > 0 && w.evacuated > 0);
    *ret_last = crash_disk_io_count(f.disk);
    printf("seed %llu: %u acknowledged, %u refused (%u for want of space), %u moved, %u moves "
           "lost, %llu I/Os, "
           "%u slabs dropped, %u of them emptied\n",
           (unsigned long long)seed, w.acked, w.refused, w.full, w.moved, w.moves_lost,
           (unsigned long long)(*ret_last - *ret_first + 1), w.dropped, w.evacuated);
    asd_fixture_release(&f);
}

static void measure(uint64_t seed, uint64_t *ret_first, uint64_t *ret_last)
{
    measure_on(seed, 0, ret_first, ret_last);
}

/* Reopen; now and then lose power again while that goes on. */
static void recover(struct asd_fixture *f, enum crash_mode mode, uint64_t n)
{
    struct err e;

    crash_disk_reboot(f->disk, mode, n);
    if (n % 3 == 0) {
        crash_disk_power_off_at(f->disk, crash_disk_io_count(f->disk) + 1 + n / 3 % 4);
        if (asd_fixture_open(f, &e) == 0) {
            loop_fixture_run_ms(&f->base, 1);
            asd_fixture_close(f);
        }
        crash_disk_reboot(f->disk, CRASH_RANDOM, n);
    }
    open_ok(f);
}

static void crash_once(uint64_t seed, uint64_t n, enum crash_mode mode)
{
    struct asd_fixture f;
    struct workload w;

    start(&f, seed);
    workload_init(&w, seed);
    open_ok(&f);
    crash_disk_power_off_at(f.disk, n);
    workload_run(&w, &f, GROUPS);
    if (!crash_disk_is_off(f.disk)) {
        crash_disk_power_off(f.disk);
    }
    asd_fixture_close(&f);
    f.is_torn = n % 2 == 0; /* then space is kept until the next start */
    recover(&f, mode, n);
    workload_verify(&w, &f);
    if (!f.is_torn) {
        workload_verify_space(&w, &f);
    }
    /* It goes on as if nothing had been, and what it does now is as durable. */
    assert_true(workload_run(&w, &f, 2));
    crash_disk_power_off(f.disk);
    asd_fixture_close(&f);
    f.is_torn = false;
    recover(&f, CRASH_DROP_ALL, 1);
    workload_verify(&w, &f);
    workload_verify_space(&w, &f);
    asd_fixture_release(&f);
}

static void enumerate(enum crash_mode mode, uint64_t seed)
{
    uint64_t first;
    uint64_t last;

    measure(seed, &first, &last);
    for (uint64_t n = first; n <= last; n++) {
        printf("power off at %llu, mode %d\r", (unsigned long long)n, (int)mode);
        crash_once(seed, n, mode);
    }
}

static void power_loss_that_keeps_all_unsynced_writes(void **state)
{
    (void)state;
    enumerate(CRASH_KEEP_ALL, test_seed);
}

static void power_loss_that_drops_all_unsynced_writes(void **state)
{
    (void)state;
    enumerate(CRASH_DROP_ALL, test_seed);
}

static void power_loss_that_keeps_only_the_newest_unsynced_writes(void **state)
{
    (void)state;
    enumerate(CRASH_REVERSED, test_seed);
}

static void power_loss_that_keeps_and_tears_unsynced_writes_at_random(void **state)
{
    (void)state;
    enumerate(CRASH_RANDOM, test_seed);
    enumerate(CRASH_RANDOM, test_seed + 1);
}

static void power_loss_while_a_home_is_created(void **state)
{
    struct err e;

    (void)state;
    for (uint64_t n = 1;; n++) {
        for (int mode = CRASH_KEEP_ALL; mode <= CRASH_REVERSED; mode++) {
            struct asd_fixture f;
            struct workload w;
            bool off;

            start(&f, n);
            workload_init(&w, n);
            crash_disk_power_off_at(f.disk, crash_disk_io_count(f.disk) + n);
            asd_fixture_open(&f, &e);
            off = crash_disk_is_off(f.disk);
            asd_fixture_close(&f);
            crash_disk_reboot(f.disk, (enum crash_mode)mode, n);
            open_ok(&f);
            assert_true(workload_run(&w, &f, 4));
            workload_verify(&w, &f);
            asd_fixture_release(&f);
            if (!off) {
                return;
            }
        }
    }
}

/* ---- failing I/O ---- */

static void fail_once(uint64_t seed, uint64_t n, int rc)
{
    struct asd_fixture f;
    struct workload w;
    bool failed;

    start(&f, seed);
    workload_init(&w, seed);
    w.full_allowed = rc == -ENOSPC;
    open_ok(&f);
    crash_disk_fail_at(f.disk, n, rc);
    failed = !workload_run(&w, &f, GROUPS);
    if (failed && f.store != NULL) {
        /* Out of service: nothing more is acknowledged, what there is can be read. */
        assert_true(asd_store_failed(f.store, NULL));
        assert_int_equal(asd_fixture_set(&f, "late", "x", 1), ERR_FAILED);
    }
    asd_fixture_close(&f);
    if (crash_disk_io_count(f.disk) < n) {
        crash_disk_reboot(f.disk, CRASH_KEEP_ALL, n); /* fewer I/Os than last time: disarm */
    }
    open_ok(&f);
    workload_verify(&w, &f);
    workload_verify_space(&w, &f);
    crash_disk_power_off(f.disk);
    asd_fixture_close(&f);
    /* No look at the pages here: the disk gives holes back as pages of zeroes after a failed
     * flush. */
    recover(&f, CRASH_DROP_ALL, n);
    workload_verify(&w, &f);
    asd_fixture_release(&f);
}

static void enumerate_failures(int rc)
{
    uint64_t first;
    uint64_t last;

    measure(test_seed + 2, &first, &last);
    for (uint64_t n = first; n <= last; n++) {
        printf("I/O %llu fails with %d\r", (unsigned long long)n, rc);
        fail_once(test_seed + 2, n, rc);
    }
}

static void an_io_error_at_any_io_never_leads_to_a_false_acknowledgement(void **state)
{
    (void)state;
    enumerate_failures(-EIO);
}

static void no_space_at_any_io_never_leads_to_a_false_acknowledgement(void **state)
{
    (void)state;
    enumerate_failures(-ENOSPC);
}

/* The disk is as good as full from the start; then the power goes. */
static void full_once(uint64_t seed, uint64_t n)
{
    struct asd_fixture f;
    struct workload w;

    start(&f, seed);
    workload_init(&w, seed);
    w.full_allowed = true;
    open_ok(&f);
    crash_disk_set_capacity(f.disk, FULL_BYTES);
    crash_disk_power_off_at(f.disk, n);
    workload_run(&w, &f, GROUPS);
    if (!crash_disk_is_off(f.disk)) {
        crash_disk_power_off(f.disk);
    }
    asd_fixture_close(&f);
    recover(&f, (enum crash_mode)(n % (CRASH_REVERSED + 1)), n);
    workload_verify(&w, &f);
    workload_verify_space(&w, &f);
    assert_true(workload_run(&w, &f, 2));
    workload_verify(&w, &f);
    workload_verify_space(&w, &f);
    asd_fixture_release(&f);
}

static void power_loss_on_a_full_disk(void **state)
{
    uint64_t first;
    uint64_t last;

    (void)state;
    measure_on(test_seed + 4, FULL_BYTES, &first, &last);
    for (uint64_t n = first; n <= last; n++) {
        printf("power off at %llu, full disk\r", (unsigned long long)n);
        full_once(test_seed + 4, n);
    }
}

/* Any one I/O finds no space, a new slab, a write, a punch or a move; a little later the power
 * goes. */
static void power_loss_soon_after_an_io_found_no_space(void **state)
{
    uint64_t first;
    uint64_t last;

    (void)state;
    measure(test_seed + 5, &first, &last);
    for (uint64_t n = first; n <= last; n++) {
        struct asd_fixture f;
        struct workload w;

        printf("no space at %llu, then power off\r", (unsigned long long)n);
        start(&f, test_seed + 5);
        workload_init(&w, test_seed + 5);
        w.full_allowed = true;
        open_ok(&f);
        crash_disk_fail_at(f.disk, n, -ENOSPC);
        crash_disk_power_off_at(f.disk, n + 1 + n % 5);
        workload_run(&w, &f, GROUPS);
        crash_disk_power_off(f.disk);
        asd_fixture_close(&f);
        recover(&f, (enum crash_mode)(n % (CRASH_REVERSED + 1)), n);
        workload_verify(&w, &f);
        assert_true(workload_run(&w, &f, 2));
        workload_verify(&w, &f);
        asd_fixture_release(&f);
    }
}

static void a_short_write_at_any_io_is_finished(void **state)
{
    uint64_t first;
    uint64_t last;

    (void)state;
    measure(test_seed + 3, &first, &last);
    for (uint64_t n = first; n <= last; n++) {
        struct asd_fixture f;
        struct workload w;

        start(&f, test_seed + 3);
        workload_init(&w, test_seed + 3);
        open_ok(&f);
        crash_disk_short_write_at(f.disk, n, 100);
        assert_true(workload_run(&w, &f, GROUPS));
        workload_verify(&w, &f);
        asd_fixture_release(&f);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_loss_that_keeps_all_unsynced_writes),
        cmocka_unit_test(power_loss_that_drops_all_unsynced_writes),
        cmocka_unit_test(power_loss_that_keeps_only_the_newest_unsynced_writes),
        cmocka_unit_test(power_loss_that_keeps_and_tears_unsynced_writes_at_random),
        cmocka_unit_test(power_loss_while_a_home_is_created),
        cmocka_unit_test(an_io_error_at_any_io_never_leads_to_a_false_acknowledgement),
        cmocka_unit_test(no_space_at_any_io_never_leads_to_a_false_acknowledgement),
        cmocka_unit_test(power_loss_on_a_full_disk),
        cmocka_unit_test(power_loss_soon_after_an_io_found_no_space),
        cmocka_unit_test(a_short_write_at_any_io_is_finished),
    };

    if (argc > 1) {
        test_seed = strtoull(argv[1], NULL, 10);
    }
    cmocka_set_test_filter(getenv("ASD_TEST")); /* one of them */
    printf("seed %llu\n", (unsigned long long)test_seed);
    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
