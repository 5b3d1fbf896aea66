/* Reads with an OSD that hangs, and little else to spare: memory, threads, tokens. */
#include "sim/proxy_hedge_fixture.h"

static void on_granted(struct budget_share *share)
{
    (void)share;
}

/* What waits for the OSD that hangs may be what holds it; replies are held by clients. */
static void memory_that_is_short_keeps_none_away(void **state)
{
    struct play *p = play_new();
    struct budget *budget = &p->w->engine->budget;
    struct budget *replies = &p->w->engine->replies;
    struct budget_share most = {0}, more = {0}, most_replies = {0}, more_replies = {0};
    struct reader r;

    (void)state;
    fate_of(p, osd_of(p, 0, 1)->id)->reads = FAKE_HANG;
    budget_take(budget, &most, budget->limit_bytes / 8 * 7, on_granted);
    budget_take(replies, &most_replies, replies->limit_bytes / 8 * 7, on_granted);
    start(&r, p, place(0, 1), 4096);
    while (budget->used_bytes == budget->limit_bytes / 8 * 7) {
        loop_fixture_run_ms(&p->w->base, 1);
    }
    budget_take(budget, &more, budget->limit_bytes / 2, on_granted);
    budget_take(replies, &more_replies, replies->limit_bytes / 2, on_granted);
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_true(totals(p)->hedges >= 1);
    budget_give(&more_replies);
    budget_give(&most_replies);
    budget_give(&more);
    budget_give(&most);
    play_free(p);
}

/* Of low priority, so that a thread stays free for what little the test reads. */
struct load {
    struct pool_work work[HEDGE_POOL_LOAD_MAX + 1];
    uv_sem_t sem;
    unsigned done;
};
static struct load load;

static void load_run(struct pool_work *work)
{
    (void)work;
    uv_sem_wait(&load.sem);
}

static void load_done(struct pool_work *work, int rc)
{
    (void)work;
    assert_int_equal(rc, 0);
    load.done++;
}

static void load_begin(struct play *p)
{
    load.done = 0;
    uv_sem_init(&load.sem, 0);
    for (unsigned i = 0; i <= HEDGE_POOL_LOAD_MAX; i++) {
        assert_int_equal(
            pool_submit(p->w->engine->pool, &load.work[i], POOL_LOW, load_run, load_done), 0);
    }
}

static void load_end(struct play *p)
{
    for (unsigned i = 0; i <= HEDGE_POOL_LOAD_MAX; i++) {
        uv_sem_post(&load.sem);
    }
    while (load.done <= HEDGE_POOL_LOAD_MAX) {
        loop_fixture_run_ms(&p->w->base, 1);
    }
    uv_sem_destroy(&load.sem);
}

static void there_are_none_while_the_pool_has_much_to_do(void **state)
{
    struct play *p = play_new();
    struct reader r;

    (void)state;
    fate_of(p, osd_of(p, 0, 1)->id)->reads = FAKE_HANG;
    load_begin(p);
    start(&r, p, place(0, 1), 4096);
    while (totals(p)->hedges_saturated == 0) {
        loop_fixture_run_ms(&p->w->base, 5);
    }
    loop_fixture_run_ms(&p->w->base, 2 * HEDGE_DELAY_FIRST_MS);
    assert_false(r.done);
    assert_int_equal(totals(p)->hedges_saturated, 1);
    assert_int_equal(totals(p)->hedges, 0);
    load_end(p);
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_true(totals(p)->hedges >= 1);
    play_free(p);
}

/* It is no better than one that is set aside. */
static void an_osd_found_not_to_answer_is_left_even_then(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader r;

    (void)state;
    fate_of(p, osd->id)->reads = FAKE_HANG;
    load_begin(p);
    start(&r, p, place(0, 1), 4096);
    while (totals(p)->hedges_saturated == 0) {
        loop_fixture_run_ms(&p->w->base, 5);
    }
    assert_false(r.done);
    osd->suspect.is = true;
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_int_equal(totals(p)->hedges, 0);
    assert_int_equal(totals(p)->hedges_away, 1);
    load_end(p);
    play_free(p);
}

/* As a volume reads: a cluster, and its checksum elsewhere in the object. What they hold is little,
 * so that none waits for memory, and each goes round. */
static void ever_so_many_small_reads_go_round_it(void **state)
{
    enum { FRAGMENT = 4 << 20, READERS = 200 };
    struct play *p = play_new_of(6, WORLD_PRESET(P42, 4194304, "lz4"), 4 * FRAGMENT);
    struct engine *engine = p->w->engine;
    static struct reader r[READERS];

    (void)state;
    block_cache_init(&engine->blocks, 64 << 20);
    fate_of(p, osd_of(p, 0, 1)->id)->reads = FAKE_HANG;
    for (unsigned i = 0; i < READERS; i++) {
        start(&r[i], p, FRAGMENT + i * 16384, 4096);
    }
    loop_fixture_run_ms(&p->w->base, 2);
    assert_int_equal(engine->budget.waiting_count, 0);
    assert_true(engine->budget.used_bytes < engine->budget.limit_bytes / 2);
    for (unsigned i = 0; i < READERS; i++) {
        await(&r[i]);
        assert_int_equal(r[i].rc, 0);
    }
    assert_int_equal(engine->budget.used_bytes, 0);
    play_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_that_is_short_keeps_none_away),
        cmocka_unit_test(there_are_none_while_the_pool_has_much_to_do),
        cmocka_unit_test(an_osd_found_not_to_answer_is_left_even_then),
        cmocka_unit_test(ever_so_many_small_reads_go_round_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
