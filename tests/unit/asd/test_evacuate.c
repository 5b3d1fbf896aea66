/* Emptying slabs of which little is left. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "unit/asd/slab_fixture.h"

static void slabs_of_which_little_is_left_are_emptied_and_unlinked(void **state)
{
    struct asd_fixture *f = *state;

    three_sparse_slabs(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0); /* a rate of 0: not */
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 3);
    assert_int_equal(asd_store_stats(f->store).slabs_evacuated, 3);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 0);
    check_three_emptied(f);
    reopen(f);
    check_three_emptied(f);
}

static void a_value_keeps_what_its_client_said_of_it(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data = asd_fixture_bytes(1, LARGE);
    struct asd_update update = {.key = slice_str("k011"),
                                .value = slice_of(data, LARGE),
                                .checksum = checksum_crc32c(0x12345678),
                                .assertable = true};
    struct asd_apply what = {.updates = &update, .update_count = 1};
    struct asd_value_record moved;

    fill(f, 0, PER_SLAB - 1);
    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    fill(f, PER_SLAB, 1);
    thin(f, 0, 1);
    assert_int_equal(place_of(f, "k011").record.slab, 0);
    evacuate(f);
    moved = place_of(f, "k011").record;
    assert_int_equal(moved.slab, 1);
    assert_true(moved.assertable);
    assert_true(checksum_eq(&moved.checksum, &update.checksum));
    assert_true(has_seeded(f, "k011", 1, LARGE));
    free(data);
}

static void a_slab_of_which_more_is_left_stays(void **state)
{
    struct asd_fixture *f = *state;

    fill(f, 0, PER_SLAB + 1);
    thin(f, 0, 2);
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
}

static void without_names_all_values_are_looked_at(void **state)
{
    struct asd_fixture *f = *state;

    three_sparse_slabs(f);
    forget_names(f);
    evacuate(f);
    fill(f, 3 * PER_SLAB, 1); /* what was not moved has no name yet */
    check_three_emptied(f);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 0);
}

static void what_becomes_sparse_is_emptied_at_the_next_start(void **state)
{
    struct asd_fixture *f = *state;

    three_sparse_slabs(f);
    f->options.evacuation_rate = UINT64_C(1) << 40;
    reopen(f);
    asd_fixture_settle(f);
    check_three_emptied(f);
}

/* Slab 1 is the active one and full: a move would need a new slab for the one that it frees. */
static void no_slab_is_emptied_when_that_would_free_none(void **state)
{
    struct asd_fixture *f = *state;

    fill(f, 0, 2 * PER_SLAB);
    thin(f, 0, 1);
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
    fill(f, 2 * PER_SLAB, 1); /* there is a new slab now */
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).moves, 1);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
    check_value(f, PER_SLAB - 1);
}

static void two_sparse_slabs_are_worth_a_new_one(void **state)
{
    struct asd_fixture *f = *state;

    fill(f, 0, 3 * PER_SLAB);
    thin(f, 0, 1);
    thin(f, 1, 1);
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 2);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
    check_space(f, (PER_SLAB + 2) * LARGE_ALIGNED);
}

/* By a value that did not fit: nothing was deleted from it. */
static void a_slab_that_was_sealed_early_stays(void **state)
{
    struct asd_fixture *f = *state;

    set_seeded(f, "first", 1, LARGE);
    set_seeded(f, "wide", 2, SLAB_BYTES - 8192);
    set_seeded(f, "last", 3, LARGE); /* there is room */
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0);
    assert_int_equal(asd_store_stats(f->store).slab_count, 3);
}

static void corrupt_slab(struct asd_fixture *f, const char *key)
{
    struct asd_value_record r = place_of(f, key).record;
    char *path = mem_printf("%s/slabs/%016llx", f->dir, (unsigned long long)r.slab);

    assert_int_equal(crash_disk_corrupt(f->disk, path, r.offset + 100), 0);
    free(path);
}

static void a_bad_value_stays_where_it_is_and_its_slab_is_left_alone(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data = NULL;
    uint32_t bytes;

    three_sparse_slabs(f);
    corrupt_slab(f, "k011");
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 2);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 1);
    assert_int_equal(asd_store_stats(f->store).bad_values, 1);
    assert_int_equal(place_of(f, "k011").record.slab, 0);
    assert_int_equal(asd_fixture_get(f, slice_str("k011"), &data, &bytes), ERR_CORRUPT);
    assert_int_equal(asd_fixture_delete(f, "k011"), 0);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 0);
}

static void a_slab_is_emptied_after_all_when_its_bad_value_is_repaired(void **state)
{
    struct asd_fixture *f = *state;

    f->options.sparse_part = 4;
    reopen(f);
    fill(f, 0, PER_SLAB + 1);
    thin(f, 0, 2);
    corrupt_slab(f, "k011");
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 1);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
    fill(f, PER_SLAB - 1, 1);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 0);
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    check_value(f, PER_SLAB - 2);
    check_value(f, PER_SLAB - 1);
}

/* Live bytes that no value record accounts for, as a damaged record that was replaced leaves. */
static void a_slab_with_bytes_that_nobody_names_is_left_alone(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_index *index = f->options.index;
    struct asd_index_batch batch = {0};
    struct buf key = {0};
    struct err e;

    three_sparse_slabs(f);
    asd_key_value_put(&key, slice_str("k011"));
    asd_index_batch_delete(&batch, slice_buf(&key));
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
    buf_release(&key);
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 1);
    assert_int_equal(asd_store_stats(f->store).moves, 2);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
}

static void a_slab_kept_after_a_torn_log_is_emptied_only_after_the_next_start(void **state)
{
    struct asd_fixture *f = *state;

    f->options.evacuation_rate = UINT64_C(1) << 40;
    fill(f, 0, PER_SLAB);
    thin(f, 0, 1);
    f->is_torn = true;
    reopen(f);
    fill(f, PER_SLAB, 1);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0);
    f->is_torn = false;
    reopen(f);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).moves, 1);
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    check_value(f, PER_SLAB - 1);
}

static void with_little_room_in_the_file_system_nothing_is_moved(void **state)
{
    struct asd_fixture *f = *state;

    asd_fixture_close(f);
    f->in_room = true;
    reopen(f);
    three_sparse_slabs(f);
    atomic_store(&f->room.keep_bytes, UINT64_MAX);
    asd_store_set_evacuation_rate(f->store, UINT64_C(1) << 40);
    while (!(f->store->evacuation.state == ASD_EVACUATE_WAITING && f->store->evacuation.again)) {
        assert_int_equal(asd_store_stats(f->store).moves, 0);
        loop_fixture_run_ms(&f->base, 1);
    }
    assert_int_equal(f->store->evacuation.step_bytes, 0); /* nothing was read for it */
    atomic_store(&f->room.keep_bytes, 0);
    while (asd_store_stats(f->store).moves < 3) {
        loop_fixture_run_ms(&f->base, 1);
    }
    asd_fixture_settle(f);
    check_three_emptied(f);
}

/* At a byte a second the first step alone would be waited for for hours. */
static void a_rate_counts_from_when_it_is_set(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_evacuation *v = &f->store->evacuation;

    three_sparse_slabs(f);
    asd_store_set_evacuation_rate(f->store, 1);
    while (asd_store_stats(f->store).moves < 1 || v->state != ASD_EVACUATE_WAITING) {
        loop_fixture_run_ms(&f->base, 1);
    }
    assert_true(asd_store_stats(f->store).evacuating);
    asd_store_set_evacuation_rate(f->store, 0);
    while (v->state != ASD_EVACUATE_IDLE) {
        loop_fixture_run_ms(&f->base, 1);
    }
    assert_false(asd_store_stats(f->store).evacuating);
    assert_int_equal(asd_store_stats(f->store).moves, 1);
    asd_store_set_evacuation_rate(f->store, 1);
    while (asd_store_stats(f->store).moves < 2 || v->state != ASD_EVACUATE_WAITING) {
        loop_fixture_run_ms(&f->base, 1);
    }
    evacuate(f);
    check_three_emptied(f);
}

/* ---- what must not end the service ---- */

static struct {
    struct io_ops ops; /* the disk's, but for open */
    const struct io_ops *real;
    atomic_int refused;
} no_descriptors;

static int open_refused(struct io *io, const char *path, int flags)
{
    if (strstr(path, "/slabs/") == NULL) {
        return no_descriptors.real->open(io, path, flags);
    }
    atomic_fetch_add(&no_descriptors.refused, 1);
    return -EMFILE;
}

/* The slab's file was not opened since the start. */
static void without_descriptors_a_range_is_punched_later(void **state)
{
    struct asd_fixture *f = *state;
    struct io *io = crash_disk_io(f->disk);

    fill(f, 0, PER_SLAB + 1);
    reopen(f);
    no_descriptors.real = io->ops;
    no_descriptors.ops = *io->ops;
    no_descriptors.ops.open = open_refused;
    atomic_store(&no_descriptors.refused, 0);
    io->ops = &no_descriptors.ops;
    assert_int_equal(asd_fixture_delete(f, "k003"), 0);
    while (atomic_load(&no_descriptors.refused) < 3 && !asd_store_failed(f->store, NULL)) {
        loop_fixture_run_ms(&f->base, 1);
    }
    assert_false(asd_store_failed(f->store, NULL));
    assert_int_equal(count_of(f, ASD_KEY_FREE), 1);
    asd_fixture_close(f);
    io->ops = no_descriptors.real;
    reopen(f);
    check_space(f, PER_SLAB * LARGE_ALIGNED);
}

static void an_index_that_fails_once_makes_no_slab_stuck(void **state)
{
    struct asd_fixture *f = *state;

    three_sparse_slabs(f);
    index_double_fail_next_list(f->index, -EIO);
    asd_store_set_evacuation_rate(f->store, UINT64_C(1) << 40);
    while (asd_store_stats(f->store).moves < 3 && asd_store_stats(f->store).slabs_stuck == 0) {
        loop_fixture_run_ms(&f->base, 1);
    }
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).read_errors, 1);
    check_three_emptied(f);
}

static struct {
    struct asd_index_ops ops; /* the index's, but for iterate */
    const struct asd_index_ops *real;
    atomic_uint lists; /* of values */
} counting;

static int iterate_counting(struct asd_index *index, struct slice from, struct slice to,
                            bool reverse, asd_index_visit_cb visit, void *ctx, struct err *e)
{
    atomic_fetch_add(&counting.lists, from.data[0] == ASD_KEY_VALUE);
    return counting.real->iterate(index, from, to, reverse, visit, ctx, e);
}

static struct {
    struct asd_index_ops ops; /* the index's, but for get */
    const struct asd_index_ops *real;
    atomic_uint gets;
} failing_gets;

/* The thread looks a value up, then the commit thread does. */
static int get_failing(struct asd_index *index, struct slice key, struct asd_index_value *ret_value,
                       struct err *e)
{
    switch (atomic_fetch_add(&failing_gets.gets, 1)) {
    case 1:
        return err_set(e, -EIO, "as the test wants");
    case 3:
        return err_set(e, -EMFILE, "as the test wants");
    case 5:
        return err_set(e, -ENOMEM, "as the test wants");
    default:
        return failing_gets.real->get(index, key, ret_value, e);
    }
}

static void an_index_that_fails_a_commit_for_a_moment_makes_no_slab_stuck(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_index *index = f->options.index;

    three_sparse_slabs(f);
    failing_gets.real = index->ops;
    failing_gets.ops = *index->ops;
    failing_gets.ops.get = get_failing;
    atomic_store(&failing_gets.gets, 0);
    index->ops = &failing_gets.ops;
    asd_store_set_evacuation_rate(f->store, UINT64_C(1) << 40);
    while (asd_store_stats(f->store).moves < 3 && asd_store_stats(f->store).slabs_stuck == 0) {
        loop_fixture_run_ms(&f->base, 1);
    }
    asd_fixture_settle(f);
    index->ops = failing_gets.real;
    check_three_emptied(f);
}

/* Without names each try looks at all values of the store: not for each value that is deleted. */
static void what_is_dear_to_empty_is_tried_again_when_half_of_it_is_gone(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_index *index = f->options.index;

    f->options.sparse_part = 2;
    reopen(f);
    fill(f, 0, PER_SLAB + 1);
    thin(f, 0, 4);
    forget_names(f);
    corrupt_slab(f, "k008");
    counting.real = index->ops;
    counting.ops = *index->ops;
    counting.ops.iterate = iterate_counting;
    index->ops = &counting.ops;
    atomic_store(&counting.lists, 0);
    evacuate(f);
    assert_int_equal(atomic_load(&counting.lists), 1);
    assert_int_equal(asd_fixture_delete(f, "k011"), 0);
    asd_fixture_settle(f);
    assert_int_equal(atomic_load(&counting.lists), 1);
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 1);
    assert_int_equal(asd_fixture_delete(f, "k008"), 0);
    asd_fixture_settle(f);
    index->ops = counting.real;
    assert_int_equal(atomic_load(&counting.lists), 2);
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    check_value(f, 9);
    check_value(f, 10);
}

static void a_dead_slab_goes_though_its_records_cannot_be_listed(void **state)
{
    static const int rcs[] = {ERR_CORRUPT, -EIO};
    struct asd_fixture *f = *state;
    struct asd_internal_key from[] = {asd_key_name(0, 0), asd_key_free(0, 0)};

    for (unsigned i = 0; i < 2; i++) {
        fill(f, 0, 2 * PER_SLAB);
        index_double_fail_lists(f->index, asd_internal_slice(&from[i]), rcs[i]);
        thin(f, 0, 0);
        thin(f, 1, 0);
        asd_fixture_settle(f);
        assert_false(asd_store_failed(f->store, NULL));
        index_double_fail_lists(f->index, slice_of(NULL, 0), 0);
        reopen(f); /* past free records that are left */
        assert_int_equal(asd_store_stats(f->store).slab_count, 1);
        assert_int_equal(asd_store_stats(f->store).used_bytes, 0);
        assert_int_equal(count_of(f, ASD_KEY_NAME), 0);
    }
}

static void a_dead_slab_waits_for_what_its_drop_lacks(void **state)
{
    static const int rcs[] = {-EMFILE, -ENFILE, -ENOMEM};
    struct asd_fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        fill(f, 0, 2 * PER_SLAB);
        index_double_fail_next_list(f->index, rcs[i]);
        thin(f, 0, 0);
        thin(f, 1, 0);
        asd_fixture_settle(f);
        assert_false(asd_store_failed(f->store, NULL));
        assert_int_equal(asd_store_stats(f->store).slab_count, 1);
        check_space(f, 0);
    }
}

/* What software with a fault might leave. */
static void lower_live_bytes(struct asd_fixture *f, uint64_t slab, uint64_t live_bytes)
{
    struct asd_internal_key key = asd_key_slab(slab);
    struct asd_index *index = f->options.index;
    struct asd_index_batch batch = {0};
    struct asd_index_value value = {0};
    struct asd_slab_record record;
    struct buf bytes = {0};
    struct err e;

    assert_int_equal(index->ops->get(index, asd_internal_slice(&key), &value, &e), 0);
    assert_int_equal(asd_slab_record_get(asd_internal_slice(&key), value.bytes, &record, &e), 0);
    index->ops->release(index, &value);
    record.live_bytes = live_bytes;
    asd_slab_record_put(&bytes, asd_internal_slice(&key), &record);
    asd_index_batch_put(&batch, asd_internal_slice(&key), slice_buf(&bytes), slice_of(NULL, 0));
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
    buf_release(&bytes);
}

static void a_slab_that_counts_less_than_lives_there_is_left_behind(void **state)
{
    struct asd_fixture *f = *state;

    three_sparse_slabs(f);
    lower_live_bytes(f, 0, 4096);
    reopen(f);
    evacuate(f);
    assert_false(asd_store_failed(f->store, NULL));
    assert_int_equal(asd_store_stats(f->store).slabs_stuck, 1);
    assert_int_equal(asd_store_stats(f->store).moves, 3);
    assert_int_equal(asd_store_stats(f->store).slab_count, 2);
    check_value(f, PER_SLAB - 1);
    set_seeded(f, "still", 1, LARGE);
}

/* Nor does it pass for empty, while a value lives in it, when the count has come down to 0. */
static void what_a_slab_does_not_count_can_be_deleted_and_replaced(void **state)
{
    struct asd_fixture *f = *state;

    set_seeded(f, "wide", 1, 2 * LARGE_ALIGNED);
    set_seeded(f, "narrow", 2, LARGE);
    set_seeded(f, "kept", 3, LARGE);
    set_seeded(f, "next", 4, SLAB_BYTES - 8192); /* slab 0 is sealed */
    lower_live_bytes(f, 0, LARGE_ALIGNED);
    reopen(f);
    set_seeded(f, "wide", 5, LARGE);
    assert_int_equal(asd_fixture_delete(f, "narrow"), 0);
    asd_fixture_settle(f);
    reopen(f);
    assert_false(asd_store_failed(f->store, NULL));
    assert_true(has_seeded(f, "wide", 5, LARGE));
    assert_true(has_seeded(f, "kept", 3, LARGE));
    assert_true(has_seeded(f, "next", 4, SLAB_BYTES - 8192));
}

/* ---- the mark: an index that lost a move must not pass for a sound one ---- */

/* What the mark says when power is lost now, and nothing that was not flushed is kept. */
static uint64_t mark_after_power_loss(struct asd_fixture *f)
{
    struct asd_home home = {.io = f->home.io, .path = f->dir};
    uint64_t commit = 0;
    struct err e;

    memcpy(home.store_id, f->home.store_id, sizeof(home.store_id));
    crash_disk_power_off(f->disk);
    asd_fixture_close(f);
    crash_disk_reboot(f->disk, CRASH_DROP_ALL, 1);
    assert_int_equal(asd_mark_read(&home, &commit, &e), 0);
    return commit;
}

static void an_emptied_slab_goes_only_when_the_mark_of_its_moves_is_durable(void **state)
{
    struct asd_fixture *f = *state;
    uint64_t commit;

    three_sparse_slabs(f);
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    commit = f->store->commit.number; /* the last move */
    assert_int_equal(mark_after_power_loss(f), commit);
    reopen(f);
    check_three_emptied(f);
}

static void a_moved_range_is_punched_only_when_the_mark_of_its_move_is_durable(void **state)
{
    struct asd_fixture *f = *state;
    struct sent move;
    uint64_t commit;

    set_seeded(f, "a", 1, LARGE);
    send_move(f, &move, "a", 1, place_of(f, "a").record);
    assert_int_equal(answer(f, &move), 0);
    commit = f->store->commit.number;
    asd_fixture_settle(f);
    assert_int_equal(mark_after_power_loss(f), commit);
    reopen(f);
    check_space(f, LARGE_ALIGNED);
}

static void without_a_mark_no_slab_is_emptied(void **state)
{
    struct asd_fixture *f = *state;

    three_sparse_slabs(f);
    asd_mark_close(&f->store->mark); /* as if there had been no room for it */
    evacuate(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0);
    reopen(f);
    evacuate(f);
    check_three_emptied(f);
}

/* After any number of turns of the loop: wherever it is, nothing waits for ever or is lost. */
static void closing_at_any_moment_leaves_every_value(void **state)
{
    struct asd_fixture *f = *state;

    f->options.evacuation_rate = UINT64_C(1) << 40;
    for (unsigned turns = 0; turns < 24; turns++) {
        fill(f, 0, 3 * PER_SLAB + 1);
        for (unsigned slab = 0; slab < 3; slab++) {
            thin(f, slab, 1);
        }
        for (unsigned i = 0; i < turns; i++) {
            uv_run(&f->base.loop, UV_RUN_NOWAIT);
        }
        reopen(f);
        asd_fixture_settle(f);
        for (unsigned i = PER_SLAB - 1; i < 3 * PER_SLAB; i += PER_SLAB) {
            check_value(f, i);
        }
        check_space(f, 4 * LARGE_ALIGNED);
    }
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define CRASH(test) cmocka_unit_test_setup_teardown(test, setup_crash_disk, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(slabs_of_which_little_is_left_are_emptied_and_unlinked),
        REAL(a_value_keeps_what_its_client_said_of_it),
        REAL(a_slab_of_which_more_is_left_stays),
        REAL(without_names_all_values_are_looked_at),
        REAL(what_becomes_sparse_is_emptied_at_the_next_start),
        REAL(no_slab_is_emptied_when_that_would_free_none),
        REAL(two_sparse_slabs_are_worth_a_new_one),
        REAL(a_slab_that_was_sealed_early_stays),
        CRASH(a_bad_value_stays_where_it_is_and_its_slab_is_left_alone),
        CRASH(a_slab_is_emptied_after_all_when_its_bad_value_is_repaired),
        CRASH(a_slab_with_bytes_that_nobody_names_is_left_alone),
        CRASH(a_slab_kept_after_a_torn_log_is_emptied_only_after_the_next_start),
        REAL(with_little_room_in_the_file_system_nothing_is_moved),
        REAL(a_rate_counts_from_when_it_is_set),
        CRASH(without_descriptors_a_range_is_punched_later),
        CRASH(an_index_that_fails_once_makes_no_slab_stuck),
        CRASH(an_index_that_fails_a_commit_for_a_moment_makes_no_slab_stuck),
        CRASH(what_is_dear_to_empty_is_tried_again_when_half_of_it_is_gone),
        CRASH(a_dead_slab_goes_though_its_records_cannot_be_listed),
        CRASH(a_dead_slab_waits_for_what_its_drop_lacks),
        CRASH(a_slab_that_counts_less_than_lives_there_is_left_behind),
        CRASH(what_a_slab_does_not_count_can_be_deleted_and_replaced),
        CRASH(an_emptied_slab_goes_only_when_the_mark_of_its_moves_is_durable),
        CRASH(a_moved_range_is_punched_only_when_the_mark_of_its_move_is_durable),
        CRASH(without_a_mark_no_slab_is_emptied),
        CRASH(closing_at_any_moment_leaves_every_value),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
