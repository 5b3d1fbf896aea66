/* The scrub: finds every kind of damage once, bothers nobody, and goes on after a restart. */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/scrub.h"
#include "asd/scrub_record.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "loop/run.h"

enum { LARGE = 70000, LARGE_PLACE = 73728, FAST = 1 << 30 };

static const char slab_path[] = "/asd/slabs/0000000000000000";
static uint8_t *large;

struct fixture {
    struct asd_fixture base;
    struct asd_scrub *scrub;
    struct asd_scrub_settings settings;
};

static int setup_on(void **state, bool real)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    f->settings = (struct asd_scrub_settings){.rate = FAST, .interval_s = 1000000};
    asd_fixture_init(&f->base, real, 7);
    f->base.options.slab_bytes = 4 << 20;
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
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

static void start(struct fixture *f)
{
    struct err e;

    assert_int_equal(asd_scrub_new(f->base.store, &f->settings, &f->scrub, &e), 0);
}

static void stop(struct fixture *f)
{
    bool closed = false;

    if (f->scrub != NULL) {
        asd_scrub_close(f->scrub, loop_set_true, &closed);
        loop_fixture_run_until(&f->base.base, &closed);
        f->scrub = NULL;
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop(f);
    asd_fixture_release(&f->base);
    free(f);
    return 0;
}

/* Until pass number `pass` is done. */
static struct asd_scrub_stats pass_done(struct fixture *f, uint64_t pass)
{
    struct asd_scrub_stats stats = asd_scrub_stats(f->scrub);

    for (unsigned i = 0; i < 20000 && (stats.pass < pass || stats.running); i++) {
        loop_fixture_run_ms(&f->base.base, 1);
        stats = asd_scrub_stats(f->scrub);
    }
    assert_int_equal(stats.pass, pass);
    assert_false(stats.running);
    return stats;
}

static struct asd_scrub_stats one_pass(struct fixture *f)
{
    uint64_t before;
    struct err e;

    if (f->scrub == NULL) {
        start(f);
        return pass_done(f, 1);
    }
    before = asd_scrub_stats(f->scrub).pass;
    assert_int_equal(asd_scrub_now(f->scrub, &e), 0);
    return pass_done(f, before + 1);
}

static void put_some(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%04u", i);
        assert_int_equal(asd_fixture_set(&f->base, key, large, i % 2 == 0 ? LARGE : 100), 0);
    }
}

/* ---- passes ---- */

static void a_pass_reads_every_value_once(void **state)
{
    struct fixture *f = *state;
    struct asd_scrub_stats stats;

    put_some(f, 20);
    stats = one_pass(f);
    assert_int_equal(stats.keys, 20);
    assert_int_equal(stats.bytes, 10 * (LARGE + 100) + 20 * 6);
    assert_int_equal(stats.cost_bytes, asd_store_stats(f->base.store).used_bytes);
    assert_int_equal(stats.bad, 0);
    assert_true(stats.started_s != 0 && stats.ended_s >= stats.started_s);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
}

static void a_pass_over_nothing_ends_and_the_next_one_waits(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_int_equal(pass_done(f, 1).keys, 0);
    loop_fixture_run_ms(&f->base.base, 20);
    assert_int_equal(asd_scrub_stats(f->scrub).pass, 1);
}

static void more_values_than_a_bite_are_all_read(void **state)
{
    enum { N = 1000 };
    struct fixture *f = *state;
    struct asd_update *updates = mem_array(N, sizeof(*updates));
    char(*names)[8] = mem_array(N, sizeof(*names));
    struct asd_apply what = {.updates = updates, .update_count = N};

    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "%04u", i);
        updates[i] = (struct asd_update){.key = slice_str(names[i]), .value = slice_of(large, 10)};
    }
    assert_int_equal(asd_fixture_apply(&f->base, &what, NULL), 0);
    assert_int_equal(one_pass(f).keys, N);
    free(updates);
    free(names);
}

static void a_rate_of_nothing_stops_it_and_another_one_lets_it_go_on(void **state)
{
    struct fixture *f = *state;
    struct err e;

    put_some(f, 4);
    f->settings.rate = 0;
    start(f);
    loop_fixture_run_ms(&f->base.base, 20);
    assert_int_equal(asd_scrub_stats(f->scrub).pass, 0);
    assert_int_equal(asd_scrub_now(f->scrub, &e), ERR_BUSY);
    f->settings.rate = FAST;
    asd_scrub_set(f->scrub, &f->settings);
    assert_int_equal(pass_done(f, 1).keys, 4);
}

/* At one byte per second the second bite is days away; what was read so far tells. */
static void the_rate_holds_it_back(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = asd_fixture_bytes(3, 2 << 20);

    for (unsigned i = 0; i < 3; i++) {
        char key[2] = {(char)('a' + i), 0};

        assert_int_equal(asd_fixture_set(&f->base, key, data, 1 << 20), 0);
    }
    f->settings.rate = 1;
    start(f);
    for (unsigned i = 0; i < 10000 && asd_scrub_stats(f->scrub).keys == 0; i++) {
        loop_fixture_run_ms(&f->base.base, 1);
    }
    loop_fixture_run_ms(&f->base.base, 20);
    assert_int_equal(asd_scrub_stats(f->scrub).keys, 1);
    assert_true(asd_scrub_stats(f->scrub).running);
    f->settings.rate = FAST;
    asd_scrub_set(f->scrub, &f->settings);
    assert_int_equal(pass_done(f, 1).keys, 3);
    free(data);
}

/* ---- damage ---- */

static unsigned kinds_of(struct fixture *f, enum asd_bad kind)
{
    return (unsigned)asd_scrub_stats(f->scrub).bad_by_kind[kind];
}

static void every_kind_of_damage_is_found_once_a_pass(void **state)
{
    struct fixture *f = *state;
    struct asd_update wrong = {
        .key = slice_str("wrong"), .value = slice_of(large, 50), .checksum = checksum_crc32c(1)};
    struct asd_apply what = {.updates = &wrong, .update_count = 1};
    const struct asd_scrub_bad *list;
    unsigned count;

    put_some(f, 6);
    assert_int_equal(asd_fixture_apply(&f->base, &what, NULL), 0);
    asd_store_verify_checksums(f->base.store, true);
    assert_int_equal(crash_disk_corrupt(f->base.disk, slab_path, ASD_SLAB_HEADER_BYTES + 9), 0);
    crash_disk_fail_reads(f->base.disk, slab_path, ASD_SLAB_HEADER_BYTES + LARGE_PLACE + 5, -EIO);
    index_double_corrupt(f->base.index, slice_str("\x10k0001"), 13);
    for (unsigned pass = 1; pass <= 2; pass++) {
        struct asd_scrub_stats stats = one_pass(f);

        assert_int_equal(stats.pass, pass);
        assert_int_equal(stats.keys, 7);
        assert_int_equal(stats.bad, 4);
        assert_int_equal(stats.last_bad, 4);
        assert_int_equal(kinds_of(f, ASD_BAD_VALUE), 1);
        assert_int_equal(kinds_of(f, ASD_BAD_READ), 1);
        assert_int_equal(kinds_of(f, ASD_BAD_RECORD), 1);
        assert_int_equal(kinds_of(f, ASD_BAD_CHECKSUM), 1);
        assert_int_equal(asd_store_stats(f->base.store).bad_values, 4 * pass);
    }
    list = asd_scrub_list(f->scrub, &count);
    assert_int_equal(count, 4);
    assert_string_equal(list[0].key, "k0000");
    assert_int_equal(list[0].kind, ASD_BAD_VALUE);
    assert_string_equal(list[1].key, "k0001");
    assert_int_equal(list[1].kind, ASD_BAD_RECORD);
    assert_string_equal(list[2].key, "k0002");
    assert_int_equal(list[2].kind, ASD_BAD_READ);
    assert_string_equal(list[3].key, "wrong");
    assert_false(asd_store_failed(f->base.store, NULL));
    asd_store_verify_checksums(f->base.store, false);
    assert_int_equal(one_pass(f).bad, 3);
}

static void a_missing_slab_is_found_and_the_list_is_bounded(void **state)
{
    enum { N = ASD_SCRUB_LIST_MAX + 20 };
    struct fixture *f = *state;
    struct io *io = crash_disk_io(f->base.disk);
    struct err e;
    unsigned count;

    f->base.options.slab_bytes = 64 << 20;
    asd_fixture_close(&f->base);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    put_some(f, 2 * N);
    asd_fixture_close(&f->base);
    f->base.options.slab_bytes = 1 << 20; /* the next value seals the slab */
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    for (unsigned i = 0; i < 800 && asd_store_stats(f->base.store).slab_count == 1; i++) {
        assert_int_equal(asd_fixture_set(&f->base, "last", large, LARGE), 0);
        asd_fixture_settle(&f->base);
    }
    assert_int_equal(asd_store_stats(f->base.store).slab_count, 2);
    asd_fixture_close(&f->base);
    assert_int_equal(io->ops->unlink(io, slab_path), 0);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    assert_int_equal(one_pass(f).bad, N);
    assert_int_equal(kinds_of(f, ASD_BAD_SLAB), N);
    asd_scrub_list(f->scrub, &count);
    assert_int_equal(count, ASD_SCRUB_LIST_MAX);
}

static void values_that_change_meanwhile_are_no_errors(void **state)
{
    struct fixture *f = *state;
    struct asd_scrub_stats stats;

    put_some(f, 40);
    start(f);
    for (unsigned i = 0; i < 40; i++) { /* while the first pass goes on */
        char key[16];

        snprintf(key, sizeof(key), "k%04u", 39 - i);
        if (i % 2 == 0) {
            assert_int_equal(asd_fixture_delete(&f->base, key), 0);
        } else {
            assert_int_equal(asd_fixture_set(&f->base, key, large + i, LARGE - 100), 0);
        }
    }
    stats = pass_done(f, 1);
    assert_int_equal(stats.bad, 0);
    assert_int_equal(one_pass(f).keys, 20);
    assert_int_equal(asd_scrub_stats(f->scrub).bad, 0);
}

/* Its first look-up waits. */
struct gate {
    sem_t came, go;
    atomic_uint lookups;
};

static void on_lookup(void *ctx)
{
    struct gate *g = ctx;

    if (atomic_fetch_add(&g->lookups, 1) == 0) {
        sem_post(&g->came);
        sem_wait(&g->go);
    }
}

static void gate_wait(struct fixture *f, struct gate *gate)
{
    assert_true(sem_init(&gate->came, 0, 0) == 0 && sem_init(&gate->go, 0, 0) == 0);
    index_double_set_hook(f->base.index, on_lookup, gate);
    while (sem_trywait(&gate->came) != 0) {
        loop_fixture_run_ms(&f->base.base, 1);
    }
}

static void gate_release(struct fixture *f, struct gate *gate)
{
    index_double_set_hook(f->base.index, NULL, NULL);
    sem_destroy(&gate->came);
    sem_destroy(&gate->go);
}

/* By then it has listed them all. */
static void values_that_are_gone_when_it_gets_to_them_are_no_errors(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {0};

    put_some(f, 6);
    start(f);
    gate_wait(f, &gate);
    for (unsigned i = 1; i < 6; i++) {
        char key[16];

        snprintf(key, sizeof(key), "k%04u", i);
        assert_int_equal(i < 4 ? asd_fixture_delete(&f->base, key)
                               : asd_fixture_set(&f->base, key, large + i, LARGE - 100),
                         0);
    }
    sem_post(&gate.go);
    assert_int_equal(pass_done(f, 1).bad, 0);
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
    gate_release(f, &gate);
    assert_int_equal(one_pass(f).keys, 3);
}

/* ---- the medium ---- */

static struct {
    struct io_ops ops; /* the disk's, but for open */
    const struct io_ops *real;
    atomic_uint direct;
} opens;

static int open_seen(struct io *io, const char *path, int flags)
{
    if ((flags & IO_OPEN_DIRECT) != 0 && (flags & IO_OPEN_WRITE) == 0) {
        atomic_fetch_add(&opens.direct, 1);
    }
    return opens.real->open(io, path, flags);
}

/* What the page cache holds says nothing about the disk. */
static void it_reads_past_the_page_cache(void **state)
{
    struct fixture *f = *state;
    struct io *io = crash_disk_io(f->base.disk);

    put_some(f, 4); /* two of them in a slab */
    opens.real = io->ops;
    opens.ops = *io->ops;
    opens.ops.open = open_seen;
    atomic_store(&opens.direct, 0);
    io->ops = &opens.ops;
    assert_int_equal(one_pass(f).keys, 4);
    io->ops = opens.real;
    assert_int_equal(atomic_load(&opens.direct), 2);
}

static void range_validate_shows_what_the_scrub_found(void **state)
{
    struct fixture *f = *state;
    struct asd_range all = {.first_included = true, .max = -1};
    struct asd_store_range got;
    unsigned bad = 0;

    put_some(f, 6);
    assert_int_equal(
        crash_disk_corrupt(f->base.disk, slab_path, ASD_SLAB_HEADER_BYTES + LARGE_PLACE), 0);
    assert_int_equal(one_pass(f).bad, 1);
    assert_int_equal(asd_fixture_range(&f->base, &got, &all, ASD_STORE_VERIFY), 0);
    for (uint32_t i = 0; i < got.entry_count; i++) {
        bad += !got.entries[i].verified;
        assert_true(got.entries[i].verified || slice_eq(got.entries[i].key, slice_str("k0002")));
    }
    assert_int_equal(bad, 1);
    asd_store_range_release(&got);
}

/* ---- restarts ---- */

static void it_goes_on_where_it_was_stopped(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = asd_fixture_bytes(3, 1 << 20);
    struct asd_scrub_stats before;
    struct err e;

    for (unsigned i = 0; i < 3; i++) {
        char key[2] = {(char)('a' + i), 0};

        assert_int_equal(asd_fixture_set(&f->base, key, data, 1 << 20), 0);
    }
    assert_int_equal(crash_disk_corrupt(f->base.disk, slab_path, ASD_SLAB_HEADER_BYTES + 9), 0);
    f->settings.rate = 1;
    start(f);
    for (unsigned i = 0; i < 10000 && asd_scrub_stats(f->scrub).keys == 0; i++) {
        loop_fixture_run_ms(&f->base.base, 1);
    }
    before = asd_scrub_stats(f->scrub);
    stop(f);
    asd_fixture_close(&f->base);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    f->settings.rate = FAST;
    start(f);
    assert_true(asd_scrub_stats(f->scrub).running);
    assert_int_equal(asd_scrub_stats(f->scrub).keys, before.keys);
    assert_int_equal(pass_done(f, 1).keys, 3);
    assert_int_equal(asd_scrub_stats(f->scrub).bad, 1); /* by the process before */
    assert_int_equal(asd_scrub_stats(f->scrub).total_keys, 2);
    stop(f);
    asd_fixture_close(&f->base);
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    start(f);
    loop_fixture_run_ms(&f->base.base, 20);
    assert_int_equal(asd_scrub_stats(f->scrub).pass, 1); /* the pause goes on, too */
    assert_int_equal(asd_scrub_stats(f->scrub).last_bad, 1);
    free(data);
}

/* On a disk that is going each of them may take half a minute. */
static void when_it_is_stopped_it_looks_at_no_further_value(void **state)
{
    struct fixture *f = *state;
    struct gate gate = {0};
    bool closed = false;

    put_some(f, 20);
    start(f);
    gate_wait(f, &gate);
    asd_scrub_close(f->scrub, loop_set_true, &closed);
    sem_post(&gate.go);
    loop_fixture_run_until(&f->base.base, &closed);
    f->scrub = NULL;
    assert_int_equal(atomic_load(&gate.lookups), 1);
    gate_release(f, &gate);
    start(f);
    assert_int_equal(pass_done(f, 1).keys, 20);
}

static void a_damaged_record_of_its_own_makes_it_begin_anew(void **state)
{
    struct fixture *f = *state;

    put_some(f, 4);
    assert_int_equal(one_pass(f).pass, 1);
    stop(f);
    index_double_corrupt(f->base.index, slice_str("\x06"), 20);
    start(f);
    assert_int_equal(pass_done(f, 1).keys, 4);
}

/* ---- what is not damage ---- */

/* No descriptors, or a device that fails for a moment: tried again, nothing left out. */
static void lists_that_fail_for_a_moment_are_no_damage(void **state)
{
    static const int rcs[] = {-EMFILE, -ENOMEM, -EIO};
    struct fixture *f = *state;
    struct err e;

    put_some(f, 6);
    assert_int_equal(one_pass(f).keys, 6);
    for (unsigned i = 0; i < 3; i++) {
        struct asd_scrub_stats stats;

        index_double_fail_lists(f->base.index, slice_str("\x10k0003"), rcs[i]);
        assert_int_equal(asd_scrub_now(f->scrub, &e), 0);
        loop_fixture_run_ms(&f->base.base, 50);
        stats = asd_scrub_stats(f->scrub);
        assert_true(stats.running);
        assert_int_equal(stats.keys, 3);
        assert_int_equal(stats.bad, 0);
        index_double_fail_lists(f->base.index, slice_str(""), 0);
        stats = pass_done(f, 2 + i);
        assert_int_equal(stats.keys, 6);
        assert_int_equal(stats.bad, 0);
    }
    assert_int_equal(asd_store_stats(f->base.store).bad_values, 0);
}

/* Behind it all is well, but nothing is left out before it is sure to be damage. */
static void a_list_that_fails_once_is_no_damage(void **state)
{
    struct fixture *f = *state;
    struct asd_scrub_stats stats;

    put_some(f, 6);
    start(f);
    index_double_fail_next_list(f->base.index, -EIO);
    stats = pass_done(f, 1);
    assert_int_equal(stats.keys, 6);
    assert_int_equal(stats.bad, 0);
}

/* With nothing behind that can be listed, it has not seen all. */
static void a_pass_that_ends_in_damage_is_not_taken_for_a_whole_one(void **state)
{
    struct fixture *f = *state;
    struct asd_scrub_stats stats;

    put_some(f, 6);
    index_double_fail_lists(f->base.index, slice_str("\x10k0003"), ERR_CORRUPT);
    stats = one_pass(f);
    assert_int_equal(stats.keys, 3);
    assert_int_equal(stats.bad, 1);
    assert_int_equal(stats.ended_s, 0);
    assert_int_equal(stats.last_bad, 0);
    index_double_fail_lists(f->base.index, slice_str(""), 0);
    stats = one_pass(f);
    assert_int_equal(stats.keys, 6);
    assert_true(stats.ended_s != 0);
}

/* ---- out of service ---- */

/* It cannot note how far it is, and must not try without a pause. */
static void out_of_service_it_rests_after_a_pass(void **state)
{
    struct fixture *f = *state;
    uint64_t reads;

    put_some(f, 4);
    crash_disk_fail_at(f->base.disk, crash_disk_io_count(f->base.disk) + 1, -EIO);
    assert_int_equal(asd_fixture_set(&f->base, "new", "x", 1), ERR_FAILED);
    assert_int_equal(one_pass(f).keys, 4);
    loop_fixture_run_ms(&f->base.base, 20);
    reads = asd_store_stats(f->base.store).reads;
    loop_fixture_run_ms(&f->base.base, 50);
    assert_int_equal(asd_store_stats(f->base.store).reads, reads);
}

/* ---- the record ---- */

static void its_record_has_the_bytes_of_the_golden_file(void **state)
{
    const struct asd_scrub_record r = {.pass = 7,
                                       .running = true,
                                       .keys = 1000,
                                       .bytes = 123456789,
                                       .cost_bytes = 123457000,
                                       .bad = 2,
                                       .started_s = 1800000000,
                                       .ended_s = 1799000000,
                                       .last_bad = 1,
                                       .paused_s = 99,
                                       .next = slice_str("some key")};
    struct asd_scrub_record again;
    struct buf b = {0};
    char line[512];
    char text[512];
    FILE *file = fopen(GOLDEN_DIR "/asd/scrub_v1.txt", "r");
    struct err e;

    (void)state;
    asd_scrub_record_put(&b, slice_str("\x06"), &r);
    assert_int_equal(asd_scrub_record_get(slice_str("\x06"), slice_buf(&b), &again, &e), 0);
    assert_true(again.running && slice_eq(again.next, r.next));
    assert_int_equal(again.paused_s, 99);
    assert_int_equal(asd_scrub_record_get(slice_str("\x05"), slice_buf(&b), &again, &e),
                     ERR_CORRUPT);
    hex_encode(text, b.data, b.len);
    b.data[0] = 2;
    assert_int_equal(asd_scrub_record_get(slice_str("\x06"), slice_buf(&b), &again, &e),
                     ERR_VERSION);
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof(line), file));
    line[strcspn(line, "\n")] = 0;
    assert_string_equal(line, text);
    fclose(file);
    buf_release(&b);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define REAL(test) cmocka_unit_test_setup_teardown(test, setup_real, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pass_reads_every_value_once),
        REAL(a_pass_reads_every_value_once),
        TEST(a_pass_over_nothing_ends_and_the_next_one_waits),
        TEST(more_values_than_a_bite_are_all_read),
        TEST(a_rate_of_nothing_stops_it_and_another_one_lets_it_go_on),
        TEST(the_rate_holds_it_back),
        TEST(every_kind_of_damage_is_found_once_a_pass),
        TEST(a_missing_slab_is_found_and_the_list_is_bounded),
        TEST(values_that_change_meanwhile_are_no_errors),
        REAL(values_that_change_meanwhile_are_no_errors),
        TEST(values_that_are_gone_when_it_gets_to_them_are_no_errors),
        TEST(it_reads_past_the_page_cache),
        TEST(range_validate_shows_what_the_scrub_found),
        TEST(it_goes_on_where_it_was_stopped),
        REAL(a_pass_over_nothing_ends_and_the_next_one_waits),
        TEST(when_it_is_stopped_it_looks_at_no_further_value),
        TEST(a_damaged_record_of_its_own_makes_it_begin_anew),
        TEST(lists_that_fail_for_a_moment_are_no_damage),
        TEST(a_list_that_fails_once_is_no_damage),
        TEST(a_pass_that_ends_in_damage_is_not_taken_for_a_whole_one),
        TEST(out_of_service_it_rests_after_a_pass),
        cmocka_unit_test(its_record_has_the_bytes_of_the_golden_file),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
