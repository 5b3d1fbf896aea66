/* Names of what lies in slabs, and moving values. */
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

/* ---- names ---- */

static void a_value_in_a_slab_has_a_name_as_long_as_it_lies_there(void **state)
{
    struct asd_fixture *f = *state;

    set_seeded(f, "inline", 1, 100);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 0);
    set_seeded(f, "a", 1, LARGE);
    set_seeded(f, "b", 2, LARGE);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 2);
    assert_true(place_of(f, "a").named);
    assert_true(place_of(f, "b").named);
    set_seeded(f, "a", 3, LARGE); /* elsewhere */
    assert_int_equal(count_of(f, ASD_KEY_NAME), 2);
    assert_true(place_of(f, "a").named);
    set_seeded(f, "a", 4, 100); /* no longer in a slab */
    assert_int_equal(count_of(f, ASD_KEY_NAME), 1);
    assert_int_equal(asd_fixture_delete(f, "b"), 0);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 0);
}

static void a_store_of_software_without_names_is_read_changed_and_dropped_from(void **state)
{
    struct asd_fixture *f = *state;
    char key[KEY_NAME_BYTES];

    for (unsigned i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        set_seeded(f, key, i, LARGE);
    }
    forget_names(f);
    reopen(f);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_true(has_seeded(f, key, i, LARGE));
    }
    assert_int_equal(asd_fixture_delete(f, "k0"), 0);
    set_seeded(f, "k1", 100, LARGE);
    assert_true(place_of(f, "k1").named);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 1);
    for (unsigned i = 2; i < 12; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        set_seeded(f, key, 100 + i, LARGE);
    }
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slabs_unlinked, 1);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 11);
    assert_int_equal(count_of(f, ASD_KEY_FREE), 0);
}

/* Older software deletes a value and knows nothing of its name. */
static void names_without_a_value_go_with_their_slab(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_internal_key stale = asd_key_name(0, 4096 * 60);
    struct asd_name_record record = {.client_key = slice_str("gone")};
    struct asd_index_batch batch = {0};
    struct asd_index *index = f->options.index;
    struct buf bytes = {0};
    struct err e;

    set_seeded(f, "a", 1, LARGE);
    assert_int_equal(place_of(f, "a").record.slab, 0);
    asd_name_record_put(&bytes, asd_internal_slice(&stale), &record);
    asd_index_batch_put(&batch, asd_internal_slice(&stale), slice_buf(&bytes), slice_of(NULL, 0));
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
    buf_release(&bytes);
    set_seeded(f, "wide", 2, SLAB_BYTES - 8192); /* the next slab */
    assert_int_equal(count_of(f, ASD_KEY_NAME), 3);
    assert_int_equal(asd_fixture_delete(f, "a"), 0);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slabs_unlinked, 1);
    assert_int_equal(count_of(f, ASD_KEY_NAME), 1);
}

/* ---- moves ---- */

static void a_moved_value_is_the_same_elsewhere(void **state)
{
    struct asd_fixture *f = *state;
    uint8_t *data = asd_fixture_bytes(1, LARGE);
    struct asd_update update = {.key = slice_str("a"),
                                .value = slice_of(data, LARGE),
                                .checksum = checksum_crc32c(0x12345678),
                                .assertable = true};
    struct asd_apply what = {.updates = &update, .update_count = 1};
    struct value_place from;
    struct value_place to;
    struct sent move;

    assert_int_equal(asd_fixture_apply(f, &what, NULL), 0);
    from = place_of(f, "a");
    send_move(f, &move, "a", 1, from.record);
    assert_int_equal(answer(f, &move), 0);
    to = place_of(f, "a");
    assert_true(to.named);
    assert_int_not_equal(to.record.offset, from.record.offset);
    assert_true(to.record.assertable);
    assert_int_equal(to.record.crc, from.record.crc);
    assert_true(checksum_eq(&to.record.checksum, &from.record.checksum));
    assert_true(has_seeded(f, "a", 1, LARGE));
    assert_int_equal(asd_store_stats(f->store).moves, 1);
    assert_int_equal(asd_store_stats(f->store).moved_bytes, LARGE);
    assert_int_equal(asd_store_stats(f->store).updates, 1);
    check_space(f, LARGE_ALIGNED);
    reopen(f);
    assert_true(has_seeded(f, "a", 1, LARGE));
    free(data);
}

enum other { DELETE, OVERWRITE, MOVE, ASSERT };

/* In one batch: what the client does, at High before the move, at Low behind it. */
static void move_beside(struct asd_fixture *f, enum other other, bool before)
{
    uint8_t prio = before ? ASD_PRIO_HIGH : ASD_PRIO_LOW;
    bool wins = !before || other == ASSERT;
    uint64_t batches;
    struct value_place from;
    struct sent sent[2];
    struct sent *move = &sent[before ? 1 : 0];
    struct sent *change = &sent[before ? 0 : 1];

    set_seeded(f, "a", 1, LARGE);
    from = place_of(f, "a");
    batches = asd_store_stats(f->store).batches;
    for (unsigned i = 0; i < 2; i++) {
        if (&sent[i] == move || other == MOVE) {
            send_move(f, &sent[i], "a", 1, from.record);
        } else if (other == ASSERT) {
            send_assert(f, change, "a", 1, LARGE, prio);
        } else {
            send_change(f, change, "a", 2, other == DELETE ? 0 : LARGE, prio);
        }
    }
    if (other == MOVE) {
        wins = move == &sent[0];
    }
    assert_int_equal(answer(f, move), wins ? 0 : ERR_ASSERT_FAILED);
    assert_int_equal(answer(f, change), other == MOVE && wins ? ERR_ASSERT_FAILED : 0);
    assert_int_equal(asd_store_stats(f->store).batches, batches + 1);
    if (other == DELETE) {
        assert_false(has_seeded(f, "a", 1, LARGE));
        check_space(f, 0);
    } else {
        assert_true(has_seeded(f, "a", other == OVERWRITE ? 2 : 1, LARGE));
        check_space(f, LARGE_ALIGNED);
    }
    reopen(f);
    assert_int_equal(has_seeded(f, "a", other == OVERWRITE ? 2 : 1, LARGE), other != DELETE);
    check_space(f, other == DELETE ? 0 : LARGE_ALIGNED);
}

static void a_move_and_changes_of_its_key_in_one_batch_leave_what_the_client_wanted(void **state)
{
    for (int other = DELETE; other <= ASSERT; other++) {
        move_beside(*state, (enum other)other, true);
        move_beside(*state, (enum other)other, false);
    }
}

static void a_move_that_comes_too_late_is_lost_and_writes_nothing(void **state)
{
    struct asd_fixture *f = *state;
    struct value_place from;
    struct sent move;
    uint64_t written;

    set_seeded(f, "a", 1, LARGE);
    from = place_of(f, "a");
    set_seeded(f, "a", 1, LARGE); /* the same bytes, another place */
    written = asd_store_stats(f->store).slab_write_bytes;
    send_move(f, &move, "a", 1, from.record);
    assert_int_equal(answer(f, &move), ERR_ASSERT_FAILED);
    assert_int_equal(asd_fixture_delete(f, "a"), 0);
    send_move(f, &move, "a", 1, from.record);
    assert_int_equal(answer(f, &move), ERR_ASSERT_FAILED);
    assert_int_equal(asd_store_stats(f->store).slab_write_bytes, written);
    assert_int_equal(asd_store_stats(f->store).moves_lost, 2);
    assert_int_equal(asd_store_stats(f->store).asserts_failed, 0);
    check_space(f, 0);
}

/* A bit flips in memory between reading and writing. */
static void bytes_that_are_not_those_of_the_record_are_not_moved(void **state)
{
    struct asd_fixture *f = *state;
    struct value_place from;
    struct sent move;

    set_seeded(f, "a", 1, LARGE);
    from = place_of(f, "a");
    send_move(f, &move, "a", 1, from.record);
    move.data[LARGE / 2] ^= 1;
    assert_int_equal(answer(f, &move), ERR_CORRUPT);
    assert_int_equal(place_of(f, "a").record.offset, from.record.offset);
    assert_true(has_seeded(f, "a", 1, LARGE));
    check_space(f, LARGE_ALIGNED);
}

static void a_full_store_moves_values(void **state)
{
    struct asd_fixture *f = *state;
    struct sent move;
    struct sent set;

    set_seeded(f, "a", 1, LARGE);
    asd_store_set_limits(f->store, LARGE_ALIGNED, 100);
    asd_store_set_full(f->store, true);
    send_move(f, &move, "a", 1, place_of(f, "a").record);
    assert_int_equal(answer(f, &move), 0);
    asd_store_set_full(f->store, false);
    asd_store_set_limits(f->store, 3 * LARGE_ALIGNED, 100);
    /* Nor does a move take the room of a set in its batch. */
    send_move(f, &move, "a", 1, place_of(f, "a").record);
    send_change(f, &set, "b", 2, LARGE, ASD_PRIO_LOW);
    assert_int_equal(answer(f, &move), 0);
    assert_int_equal(answer(f, &set), 0);
    assert_true(has_seeded(f, "a", 1, LARGE));
    check_space(f, 2 * LARGE_ALIGNED);
}

static void a_move_without_space_on_the_disk_leaves_the_value_where_it_is(void **state)
{
    struct asd_fixture *f = *state;
    struct value_place from;
    struct sent move;

    set_seeded(f, "a", 1, LARGE);
    from = place_of(f, "a");
    crash_disk_set_capacity(f->disk, crash_disk_used_bytes(f->disk));
    send_move(f, &move, "a", 1, from.record);
    assert_int_equal(answer(f, &move), ERR_FULL);
    crash_disk_set_capacity(f->disk, 0);
    assert_int_equal(place_of(f, "a").record.offset, from.record.offset);
    assert_int_equal(asd_store_stats(f->store).refused_full, 0);
    check_space(f, LARGE_ALIGNED);
    send_move(f, &move, "a", 1, from.record);
    assert_int_equal(answer(f, &move), 0);
    assert_true(has_seeded(f, "a", 1, LARGE));
    check_space(f, LARGE_ALIGNED);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define CRASH(test) cmocka_unit_test_setup_teardown(test, setup_crash_disk, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL(a_value_in_a_slab_has_a_name_as_long_as_it_lies_there),
        REAL(a_store_of_software_without_names_is_read_changed_and_dropped_from),
        REAL(names_without_a_value_go_with_their_slab),
        REAL(a_moved_value_is_the_same_elsewhere),
        REAL(a_move_and_changes_of_its_key_in_one_batch_leave_what_the_client_wanted),
        REAL(a_move_that_comes_too_late_is_lost_and_writes_nothing),
        REAL(bytes_that_are_not_those_of_the_record_are_not_moved),
        REAL(a_full_store_moves_values),
        CRASH(a_move_without_space_on_the_disk_leaves_the_value_where_it_is),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
