/* Names of what lies in slabs, moving values, emptying slabs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/record.h"
#include "asd/store_private.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"

enum { LARGE = 20000, LARGE_ALIGNED = 20480, SLAB_BYTES = 256 * 1024 };

static int setup_disk(void **state, bool real)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, real, 7);
    f->options.slab_bytes = SLAB_BYTES;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_disk(state, true);
}

static int setup_crash_disk(void **state)
{
    return setup_disk(state, false);
}

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

static void reopen(struct asd_fixture *f)
{
    struct err e = {0};

    asd_fixture_close(f);
    assert_int_equal(asd_fixture_open(f, &e), 0);
}

/* Value number `seed` under `key`. */
static void set_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes)
{
    uint8_t *data = asd_fixture_bytes(seed, bytes);

    assert_int_equal(asd_fixture_set(f, key, data, bytes), 0);
    free(data);
}

static bool has_seeded(struct asd_fixture *f, const char *key, uint64_t seed, size_t bytes)
{
    uint8_t *data = asd_fixture_bytes(seed, bytes);
    bool same = asd_fixture_has(f, key, data, bytes);

    free(data);
    return same;
}

/* ---- records of the index ---- */

static void each(struct asd_fixture *f, uint8_t kind, asd_index_visit_cb visit, void *ctx)
{
    struct asd_internal_key from = asd_key_of(kind);
    struct asd_internal_key to = asd_key_of((uint8_t)(kind + 1));
    struct asd_index *index = f->options.index;
    struct err e;

    assert_int_equal(index->ops->iterate(index, asd_internal_slice(&from), asd_internal_slice(&to),
                                         false, visit, ctx, &e),
                     0);
}

static bool count_one(void *ctx, struct slice key, struct slice record)
{
    (void)key;
    (void)record;
    (*(unsigned *)ctx)++;
    return true;
}

static unsigned count_of(struct asd_fixture *f, uint8_t kind)
{
    unsigned n = 0;

    each(f, kind, count_one, &n);
    return n;
}

struct value_place {
    const char *key;
    struct asd_value_record record;
    bool named;
};

static bool see_value(void *ctx, struct slice key, struct slice record)
{
    struct value_place *p = ctx;
    struct err e;

    if (slice_eq(slice_of(key.data + 1, key.len - 1), slice_str(p->key))) {
        assert_int_equal(asd_value_record_get(key, record, &p->record, &e), 0);
    }
    return true;
}

static bool see_name(void *ctx, struct slice key, struct slice record)
{
    struct value_place *p = ctx;
    struct asd_name_record r;
    uint64_t slab;
    uint64_t offset;
    struct err e;

    assert_int_equal(asd_key_name_parse(key, &slab, &offset), 0);
    assert_int_equal(asd_name_record_get(key, record, &r, &e), 0);
    if (slab == p->record.slab && offset == p->record.offset) {
        p->named = slice_eq(r.client_key, slice_str(p->key));
    }
    return true;
}

/* The record of a value in a slab, and whether there is a name for it. */
static struct value_place place_of(struct asd_fixture *f, const char *key)
{
    struct value_place p = {.key = key};

    each(f, ASD_KEY_VALUE, see_value, &p);
    assert_true(p.record.in_slab);
    each(f, ASD_KEY_NAME, see_name, &p);
    return p;
}

static bool delete_one(void *ctx, struct slice key, struct slice record)
{
    (void)record;
    asd_index_batch_delete(ctx, key);
    return true;
}

/* What the store would look like, had software made it that knows no names. */
static void forget_names(struct asd_fixture *f)
{
    struct asd_index_batch batch = {0};
    struct asd_index *index = f->options.index;
    struct err e;

    each(f, ASD_KEY_NAME, delete_one, &batch);
    assert_true(batch.change_count > 0);
    assert_int_equal(index->ops->write(index, &batch, true, &e), 0);
    asd_index_batch_release(&batch);
}

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
    char key[8];

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

/* A transaction or a move, of a seeded value. */
struct sent {
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_update update;
    struct asd_assert is;
    struct asd_move move;
    uint8_t *data;
    bool done;
    int rc;
};

static void on_sent(struct asd_store_op *op, int rc)
{
    struct sent *s = container_of(op, struct sent, apply.op);

    assert_false(s->done);
    s->done = true;
    s->rc = rc;
}

static void send_move(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                      struct asd_value_record from)
{
    *s = (struct sent){.data = asd_fixture_bytes(seed, from.bytes)};
    s->update = (struct asd_update){.key = slice_str(key),
                                    .value = slice_of(s->data, from.bytes),
                                    .checksum = from.checksum,
                                    .assertable = from.assertable};
    s->what = (struct asd_apply){.updates = &s->update, .update_count = 1};
    s->move = (struct asd_move){.slab = from.slab, .offset = from.offset, .crc = from.crc};
    assert_int_equal(asd_store_move(f->store, &s->apply, &s->what, &s->move, on_sent), 0);
}

/* `bytes` 0: delete. */
static void send_change(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                        size_t bytes, uint8_t prio)
{
    *s = (struct sent){.data = asd_fixture_bytes(seed, bytes)};
    s->update = (struct asd_update){
        .key = slice_str(key), .value = slice_of(s->data, bytes), .is_delete = bytes == 0};
    s->what = (struct asd_apply){.updates = &s->update, .update_count = 1};
    assert_int_equal(asd_store_apply(f->front, &s->apply, &s->what, prio, on_sent), 0);
}

static void send_assert(struct asd_fixture *f, struct sent *s, const char *key, uint64_t seed,
                        size_t bytes, uint8_t prio)
{
    *s = (struct sent){.data = asd_fixture_bytes(seed, bytes)};
    s->is = (struct asd_assert){
        .key = slice_str(key), .value = slice_of(s->data, bytes), .has_value = true};
    s->what = (struct asd_apply){.asserts = &s->is, .assert_count = 1};
    assert_int_equal(asd_store_apply(f->front, &s->apply, &s->what, prio, on_sent), 0);
}

static int answer(struct asd_fixture *f, struct sent *s)
{
    loop_fixture_run_until(&f->base, &s->done);
    free(s->data);
    return s->rc;
}

/* Every range is named by a value or was given back. */
static void check_space(struct asd_fixture *f, uint64_t used_bytes)
{
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).used_bytes, used_bytes);
    assert_int_equal(count_of(f, ASD_KEY_FREE), 0);
    assert_int_equal(count_of(f, ASD_KEY_NAME), used_bytes / LARGE_ALIGNED);
}

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

/* ---- emptying slabs: 12 values to a slab, one of them is less than an eighth of it ---- */

enum { PER_SLAB = 12 };

static void key_name(char ret_key[8], unsigned i)
{
    snprintf(ret_key, 8, "k%03u", i);
}

static void fill(struct asd_fixture *f, unsigned first, unsigned count)
{
    char key[8];

    for (unsigned i = first; i < first + count; i++) {
        key_name(key, i);
        set_seeded(f, key, i, LARGE);
    }
}

/* Deletes all of a slab's but `keep`, the last ones. */
static void thin(struct asd_fixture *f, unsigned slab, unsigned keep)
{
    char key[8];

    for (unsigned i = slab * PER_SLAB; i < (slab + 1) * PER_SLAB - keep; i++) {
        key_name(key, i);
        assert_int_equal(asd_fixture_delete(f, key), 0);
    }
}

static void evacuate(struct asd_fixture *f)
{
    asd_store_set_evacuation_rate(f->store, UINT64_C(1) << 40);
    asd_fixture_settle(f);
}

static void check_value(struct asd_fixture *f, unsigned i)
{
    char key[8];

    key_name(key, i);
    assert_true(has_seeded(f, key, i, LARGE));
}

/* Slabs 0 to 2 hold one value each, the last; slab 3 takes what is set. */
static void three_sparse_slabs(struct asd_fixture *f)
{
    fill(f, 0, 3 * PER_SLAB + 1);
    for (unsigned slab = 0; slab < 3; slab++) {
        thin(f, slab, 1);
    }
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).slab_count, 4);
}

static void check_three_emptied(struct asd_fixture *f)
{
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    check_space(f, 4 * LARGE_ALIGNED);
    for (unsigned i = PER_SLAB - 1; i < 3 * PER_SLAB; i += PER_SLAB) {
        check_value(f, i);
    }
    check_value(f, 3 * PER_SLAB);
}

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
    fill(f, 0, 1);
    f->is_torn = true;
    reopen(f);
    fill(f, 1, 1);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).moves, 0);
    f->is_torn = false;
    reopen(f);
    asd_fixture_settle(f);
    assert_int_equal(asd_store_stats(f->store).moves, 1);
    assert_int_equal(asd_store_stats(f->store).slab_count, 1);
    check_value(f, 0);
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
    atomic_store(&f->room.keep_bytes, 0);
    while (asd_store_stats(f->store).moves < 3) {
        loop_fixture_run_ms(&f->base, 1);
    }
    asd_fixture_settle(f);
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
        REAL(a_value_in_a_slab_has_a_name_as_long_as_it_lies_there),
        REAL(a_store_of_software_without_names_is_read_changed_and_dropped_from),
        REAL(names_without_a_value_go_with_their_slab),
        REAL(a_moved_value_is_the_same_elsewhere),
        REAL(a_move_and_changes_of_its_key_in_one_batch_leave_what_the_client_wanted),
        REAL(a_move_that_comes_too_late_is_lost_and_writes_nothing),
        REAL(bytes_that_are_not_those_of_the_record_are_not_moved),
        REAL(a_full_store_moves_values),
        CRASH(a_move_without_space_on_the_disk_leaves_the_value_where_it_is),
        REAL(slabs_of_which_little_is_left_are_emptied_and_unlinked),
        REAL(a_slab_of_which_more_is_left_stays),
        REAL(without_names_all_values_are_looked_at),
        REAL(what_becomes_sparse_is_emptied_at_the_next_start),
        REAL(no_slab_is_emptied_when_that_would_free_none),
        REAL(two_sparse_slabs_are_worth_a_new_one),
        CRASH(a_bad_value_stays_where_it_is_and_its_slab_is_left_alone),
        CRASH(a_slab_with_bytes_that_nobody_names_is_left_alone),
        CRASH(a_slab_kept_after_a_torn_log_is_emptied_only_after_the_next_start),
        REAL(with_little_room_in_the_file_system_nothing_is_moved),
        CRASH(closing_at_any_moment_leaves_every_value),
    };

    log_set_level(LOG_NONE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
