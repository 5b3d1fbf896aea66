/* Memory of results: how much of it is held, who waits for it, and who passes by. */
#include "asd/results.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"

enum { MIB = 1 << 20, LARGE = 400 * 1024, SMALL = 20000, GETS = 6 };

static uint8_t *bytes;

struct read {
    struct asd_store_get get;
    struct slice key;
    bool done, released;
    int rc;
    unsigned turn; /* the how manieth to end */
};

static unsigned ended;

static int setup(void **state)
{
    struct asd_fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(f, false, 7);
    f->options.slab_bytes = 8 << 20;
    f->options.result_bytes_max = MIB;
    assert_int_equal(asd_fixture_open(f, &e), 0);
    assert_int_equal(asd_fixture_set(f, "large", bytes, LARGE), 0);
    assert_int_equal(asd_fixture_set(f, "small", bytes, SMALL), 0);
    assert_int_equal(asd_fixture_set(f, "giant", bytes, 2 * MIB), 0);
    ended = 0;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    asd_fixture_release(*state);
    free(*state);
    return 0;
}

static void on_read(struct asd_store_op *op, int rc)
{
    struct read *r = container_of(op, struct read, get.op);

    r->done = true;
    r->rc = rc;
    r->turn = ++ended;
}

static void start_for(struct asd_fixture *f, struct read *r, const char *key,
                      struct asd_results_owner *owner)
{
    const struct asd_reader reader = {.owner = owner};

    *r = (struct read){.key = slice_str(key)};
    assert_int_equal(asd_store_get(f->front, &r->get, &r->key, 1, &reader, on_read), 0);
}

static void start(struct asd_fixture *f, struct read *r, const char *key)
{
    start_for(f, r, key, NULL);
}

static void finish(struct asd_fixture *f, struct read *r, uint32_t size)
{
    loop_fixture_run_until(&f->base, &r->done);
    assert_int_equal(r->rc, 0);
    assert_int_equal(r->get.values[0].bytes, size);
    assert_memory_equal(r->get.values[0].data, bytes, size);
    asd_store_get_release(&r->get);
    r->released = true;
}

/* Returns how many are left. */
static unsigned finish_all_done(struct asd_fixture *f, struct read *reads, unsigned count)
{
    unsigned left = 0;

    for (unsigned i = 0; i < count; i++) {
        if (reads[i].done && !reads[i].released) {
            finish(f, &reads[i], LARGE);
        }
        left += !reads[i].released;
    }
    return left;
}

/* In the order in which threads got to them. */
static void finish_all(struct asd_fixture *f, struct read *reads, unsigned count)
{
    unsigned left = count;

    while (left > 0) {
        left = finish_all_done(f, reads, count);
        loop_fixture_run_ms(&f->base, 1);
    }
}

static uint64_t held(struct asd_fixture *f)
{
    return asd_store_stats(f->store).result_bytes;
}

static void await_waiting(struct asd_fixture *f, uint64_t count)
{
    while (asd_store_stats(f->store).reads_waiting != count) {
        loop_fixture_run_ms(&f->base, 1);
    }
}

/* Who has memory may not have read yet. */
static void await_ended(struct asd_fixture *f, unsigned count)
{
    while (ended < count) {
        loop_fixture_run_ms(&f->base, 1);
    }
}

/* Two of 400 KiB fit in a MiB. */
static void reads_wait_until_results_are_released_first_come_first_served(void **state)
{
    struct asd_fixture *f = *state;
    struct read reads[GETS];

    start(f, &reads[0], "large");
    loop_fixture_run_until(&f->base, &reads[0].done);
    for (unsigned i = 1; i < GETS; i++) {
        start(f, &reads[i], "large");
        if (i == 1) {
            loop_fixture_run_until(&f->base, &reads[1].done);
        } else {
            await_waiting(f, i - 1);
        }
    }
    assert_true(held(f) >= 2 * LARGE && held(f) <= MIB);
    assert_int_equal(ended, 2);
    for (unsigned i = 0; i < GETS; i++) {
        finish(f, &reads[i], LARGE);
        assert_int_equal(reads[i].turn, i + 1);
        assert_true(held(f) <= MIB);
        if (i + 2 < GETS) { /* one at a time: threads may overtake one another */
            loop_fixture_run_until(&f->base, &reads[i + 2].done);
        }
    }
    assert_int_equal(held(f), 0);
}

static struct read *first_done(struct read *reads)
{
    while (!reads->done) {
        reads++;
    }
    return reads;
}

static void whose_owner_holds_least_goes_first(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_results_owner greedy = {0}, modest = {0};
    struct read reads[4], other;

    for (unsigned i = 0; i < 4; i++) {
        start_for(f, &reads[i], "large", &greedy);
    }
    await_waiting(f, 2);
    start_for(f, &other, "large", &modest);
    await_waiting(f, 3);
    assert_true(atomic_load(&greedy.bytes) >= 2 * LARGE);
    await_ended(f, 2);
    finish(f, first_done(reads), LARGE);
    loop_fixture_run_until(&f->base, &other.done);
    assert_int_equal(other.turn, 3);
    finish(f, &other, LARGE);
    assert_int_equal(atomic_load(&modest.bytes), 0);
    finish_all(f, reads, 4);
    assert_int_equal(atomic_load(&greedy.bytes), 0);
    assert_int_equal(held(f), 0);
}

static void small_results_pass_by_those_that_wait(void **state)
{
    struct asd_fixture *f = *state;
    struct read reads[3], small;

    for (unsigned i = 0; i < 3; i++) {
        start(f, &reads[i], "large");
    }
    await_waiting(f, 1);
    start(f, &small, "small");
    finish(f, &small, SMALL);
    assert_int_equal(small.get.op.lacking_since_ms, 0); /* not even for a moment */
    assert_int_equal(asd_store_stats(f->store).reads_waiting, 1);
    finish_all(f, reads, 3);
    assert_int_equal(held(f), 0);
}

static void a_giant_waits_for_other_giants_only_and_nobody_waits_for_it(void **state)
{
    struct asd_fixture *f = *state;
    struct read one, giant, second, late;

    start(f, &one, "large");
    loop_fixture_run_until(&f->base, &one.done);
    start(f, &giant, "giant");
    loop_fixture_run_until(&f->base, &giant.done);
    assert_int_equal(held(f),
                     2 * (MIB + ASD_STORE_ITEM_BYTES_MAX / 2) + LARGE + ASD_STORE_ITEM_BYTES_MAX);
    start(f, &second, "giant");
    await_waiting(f, 1);
    start(f, &late, "large");
    loop_fixture_run_until(&f->base, &late.done);
    assert_false(second.done);
    finish(f, &giant, 2 * MIB);
    finish(f, &second, 2 * MIB);
    finish(f, &one, LARGE);
    finish(f, &late, LARGE);
    assert_int_equal(held(f), 0);
}

/* As fast as they come: those before get theirs, or are told that they waited too long. */
static void who_comes_puts_off_nobody_who_waits(void **state)
{
    enum { MORE = 60 };
    struct asd_fixture *f = *state;
    struct read reads[3], more[MORE];

    for (unsigned i = 0; i < 3; i++) {
        start(f, &reads[i], "large");
    }
    await_waiting(f, 1);
    await_ended(f, 2);
    for (unsigned i = 0; i < MORE; i++) {
        if (i == MORE / 3) { /* while they come */
            finish_all_done(f, reads, 3);
        }
        start(f, &more[i], "large");
        loop_fixture_run_ms(&f->base, 1);
    }
    assert_int_not_equal(asd_store_stats(f->store).reads_waiting, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(reads[i].done);
    }
    finish_all(f, reads, 3);
    finish_all(f, more, MORE);
    assert_int_equal(held(f), 0);
}

static void who_waited_too_long_is_told_so(void **state)
{
    struct asd_fixture *f = *state;
    struct read one, second;

    start(f, &one, "giant");
    loop_fixture_run_until(&f->base, &one.done);
    start(f, &second, "giant");
    await_waiting(f, 1);
    second.get.op.lacking_since_ms -= ASD_RESULTS_WAIT_MS + 1;
    loop_fixture_run_until(&f->base, &second.done);
    assert_int_equal(second.rc, ERR_BUSY);
    assert_int_equal(asd_store_stats(f->store).reads_waiting, 0);
    asd_store_get_release(&second.get);
    finish(f, &one, 2 * MIB);
}

static bool part_done;

static void on_part(struct asd_store_op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
    part_done = true;
}

static void parts_and_ranges_hold_memory_too(void **state)
{
    struct asd_fixture *f = *state;
    struct asd_part part = {.bytes = LARGE};
    struct asd_store_partial partial;
    struct asd_store_range range;

    part_done = false;
    assert_int_equal(
        asd_store_partial(f->front, &partial, slice_str("giant"), &part, 1, 0, on_part), 0);
    loop_fixture_run_until(&f->base, &part_done);
    assert_int_equal(held(f), LARGE);
    asd_store_partial_release(&partial);
    assert_int_equal(
        asd_fixture_range(f, &range, &(struct asd_range){.max = -1}, ASD_STORE_ENTRIES), 0);
    assert_int_equal(range.entry_count, 3);
    assert_true(held(f) >= 2 * MIB + LARGE + SMALL); /* the bound of ENTRIES is larger than all */
    asd_store_range_release(&range);
    assert_int_equal(held(f), 0);
    assert_int_equal(asd_fixture_range(f, &range, &(struct asd_range){.max = -1}, ASD_STORE_KEYS),
                     0);
    assert_int_equal(held(f), 3 * strlen("large")); /* each key is as long */
    asd_store_range_release(&range);
    assert_int_equal(held(f), 0);
}

static void closing_answers_those_that_wait(void **state)
{
    struct asd_fixture *f = *state;
    struct read one, giant;

    start(f, &one, "giant");
    loop_fixture_run_until(&f->base, &one.done);
    start(f, &giant, "giant");
    await_waiting(f, 1);
    asd_fixture_close(f);
    assert_true(giant.done);
    assert_int_equal(giant.rc, ERR_CANCELED);
    bigmem_free(one.get.values[0].data); /* of a store that is gone */
    free(one.get.values);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(reads_wait_until_results_are_released_first_come_first_served),
        T(whose_owner_holds_least_goes_first),
        T(small_results_pass_by_those_that_wait),
        T(a_giant_waits_for_other_giants_only_and_nobody_waits_for_it),
        T(who_comes_puts_off_nobody_who_waits),
        T(who_waited_too_long_is_told_so),
        T(parts_and_ranges_hold_memory_too),
        T(closing_answers_those_that_wait),
    };
    int failed;

    bytes = asd_fixture_bytes(5, 2 * MIB);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(bytes);
    return failed;
}
