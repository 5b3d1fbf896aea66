/* Reads with an OSD that does not answer, or late. The time-out of OSDs is longer than a test
 * waits, so whoever comes back at all did not wait for it; the rest is counted. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "sim/proxy_hedge_fixture.h"

/* ---- an OSD that hangs ---- */

static void a_slice_of_an_osd_that_hangs_is_computed_from_others(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);

    (void)state;
    fate_of(p, osd->id)->reads = FAKE_HANG;
    read_at(p, place(0, 1));
    assert_true(totals(p)->hedges >= 1);
    assert_int_equal(totals(p)->hedges_won, 1);
    assert_int_equal(totals(p)->reconstructed, 1);
    assert_false(osd->aside);
    assert_true(osd->suspect.is);
    assert_int_equal(osd->failed_calls, 0);
    play_free(p); /* what hangs is given up, or this would not end */
}

static void an_object_on_an_osd_that_hangs_is_read_with_a_fragment_more(void **state)
{
    static const char *const presets[] = {FLAT, WORLD_PRESET(P42, 65536, "lz4"),
                                          WORLD_PRESET("[[1,2,3,1]]", 262144, "none"),
                                          WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4")};

    (void)state;
    for (size_t i = 0; i < sizeof(presets) / sizeof(*presets); i++) {
        struct play *p = play_new_of(6, presets[i], BYTES);

        fate_of(p, osd_of(p, 0, 0)->id)->reads = FAKE_HANG;
        /* Of replicas chance decides which one is asked; others, too, may be late now and then. */
        for (unsigned n = 0; n < 5 || (totals(p)->hedges_won == 0 && n < 1000); n++) {
            world_expect(p->w, "o", p->data, BYTES);
            read_at(p, place(0, 0));
        }
        assert_true(totals(p)->hedges_won >= 1);
        assert_int_equal(osds_aside_count(p->w->engine->osds), 0);
        play_free(p);
    }
}

static void two_osds_that_hang_are_gone_round_one_after_the_other(void **state)
{
    struct play *p = play_new();

    (void)state;
    fate_of(p, osd_of(p, 0, 0)->id)->reads = FAKE_HANG;
    fate_of(p, osd_of(p, 0, 2)->id)->reads = FAKE_HANG;
    read_at(p, place(0, 0));
    read_at(p, place(0, 2));
    world_expect(p->w, "o", p->data, BYTES);
    assert_int_equal(osds_aside_count(p->w->engine->osds), 0);
    play_free(p);
}

/* The tokens alone would not do: each read after the first prefers others, and asks the OSD only
 * when it is to be tried. */
static void reads_after_the_first_go_round_it_without_tokens(void **state)
{
    enum { READS = 40 };
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);

    (void)state;
    fate_of(p, osd->id)->reads = FAKE_HANG;
    read_at(p, place(0, 1));
    osd->suspect.try_ns = UINT64_MAX;
    for (unsigned i = 0; i < READS; i++) {
        p->w->engine->hedge.bucket.reads = 0;
        read_at(p, place(0, 1) + i % 8 * 4096);
    }
    assert_int_equal(reads_of(p, osd->id), 0);
    assert_int_equal(totals(p)->hedges_away, 0);
    p->w->engine->hedge.bucket.reads = 0;
    osd->suspect.try_ns = 0; /* the next one is the one that tries, and is let go without a token */
    read_at(p, place(0, 1));
    assert_int_equal(totals(p)->hedges_away, 1);
    play_free(p);
}

static void it_is_asked_again_when_it_answers_again(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct fate *fate = fate_of(p, osd->id);
    unsigned reads;

    (void)state;
    fate->reads = FAKE_HANG;
    for (unsigned i = 0; i < 5; i++) {
        osd->suspect.try_ns = 0;
        read_at(p, place(0, 1));
    }
    assert_true(osd->suspect.is);
    fate->reads = FAKE_NORMAL;
    for (unsigned i = 0; i < 10000 && osd->suspect.is; i++) {
        read_at(p, place(0, 1));
        loop_fixture_run_ms(&p->w->base, 1);
    }
    assert_false(osd->suspect.is);
    reads = reads_of(p, osd->id);
    read_at(p, place(0, 1));
    assert_int_equal(reads_of(p, osd->id), reads + 1);
    play_free(p);
}

static void that_it_does_not_have_the_fragment_is_an_answer(void **state)
{
    (void)state;
    for (unsigned is_cut = 0; is_cut < 2; is_cut++) {
        struct play *p = play_new();
        struct osd *osd = osd_of(p, 0, 1);
        struct fake_asd *asd = world_asd_of(p->w, osd->id);
        struct buf key = world_fragment_key(p->w, &p->manifest, 0, 1);

        if (is_cut) { /* that there is no such range of it */
            fake_asd_put(asd, slice_buf(&key), slice_str("cut"));
        } else {
            assert_true(fake_asd_remove(asd, slice_buf(&key)));
        }
        osd->suspect.is = true;
        read_at(p, place(0, 1)); /* it is the one that tries */
        assert_false(osd->suspect.is);
        buf_release(&key);
        play_free(p);
    }
}

/* ---- late answers ---- */

/* Of a read that has ended: nothing is touched (ASan), and the OSD is suspect no more. */
static void a_late_answer_is_harmless_and_clears_the_osd(void **state)
{
    const int32_t lengths[] = {4096, 40000}; /* parts, whole fragments */

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct play *p = play_new();
        struct osd *osd = osd_of(p, 0, 1);
        struct fate *fate = fate_of(p, osd->id);
        struct reader r;

        world_asd_of(p->w, osd->id)->delay_ms = 2500;
        *fate = (struct fate){.reads = FAKE_DELAY, .only_one = true};
        start(&r, p, place(0, 1), lengths[i]);
        await(&r);
        assert_int_equal(r.rc, 0);
        assert_int_equal(totals(p)->hedges_won, 1);
        assert_true(osd->suspect.is);
        assert_false(list_empty(&p->w->engine->overtaken_gets));
        world_settle(p->w);
        assert_true(list_empty(&p->w->engine->overtaken_gets));
        assert_false(osd->suspect.is);
        assert_int_equal(totals(p)->repairs_dropped + p->w->engine->repairs.count, 0);
        read_at(p, place(0, 1));
        play_free(p);
    }
}

/* Both ways are under way when the first one answers after all. */
static void a_hedge_that_is_too_slow_is_let_go(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader r;

    (void)state;
    for (uint64_t id = 0; id < 6; id++) {
        bool own = manifest_fragment_at(&p->manifest, 0, (uint32_t)id)->osd_id == osd->id;
        uint64_t osd_id = manifest_fragment_at(&p->manifest, 0, (uint32_t)id)->osd_id;

        world_asd_of(p->w, osd_id)->delay_ms = 2000;
        fate_of(p, osd_id)->reads = own ? FAKE_DELAY : FAKE_HANG;
    }
    start(&r, p, place(0, 1), 4096);
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_true(totals(p)->hedges >= 1);
    assert_int_equal(totals(p)->hedges_won, 0);
    assert_int_equal(totals(p)->reconstructed, 0);
    assert_false(osd->suspect.is);
    play_free(p);
}

static void a_hedge_that_fails_is_no_error_while_the_first_may_come(void **state)
{
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP, FAKE_GARBAGE};

    (void)state;
    for (size_t f = 0; f < sizeof(fates) / sizeof(*fates); f++) {
        struct play *p = play_new();
        struct osd *osd = osd_of(p, 0, 1);

        for (uint32_t i = 0; i < 6; i++) {
            uint64_t osd_id = manifest_fragment_at(&p->manifest, 0, i)->osd_id;

            world_asd_of(p->w, osd_id)->delay_ms = 2000;
            fate_of(p, osd_id)->reads = osd_id == osd->id ? FAKE_DELAY : fates[f];
        }
        read_at(p, place(0, 1));
        assert_true(totals(p)->hedges >= 1);
        assert_int_equal(totals(p)->hedges_won, 0);
        play_free(p);
    }
}

static void slow_fragments_are_not_repaired(void **state)
{
    struct play *p = play_new();

    (void)state;
    fate_of(p, osd_of(p, 0, 0)->id)->reads = FAKE_HANG;
    for (unsigned i = 0; i < 3; i++) {
        world_expect(p->w, "o", p->data, BYTES);
        read_at(p, place(0, 0));
    }
    assert_int_equal(p->w->engine->repairs.count, 0);
    assert_int_equal(totals(p)->fragments_repaired + totals(p)->repairs_failed, 0);
    play_free(p);
}

/* ---- what is held against an OSD ---- */

/* All of them wait for one request, and each is overtaken; the OSD answers others meanwhile. */
static void a_herd_that_is_overtaken_counts_as_one_request(void **state)
{
    enum { READERS = HEDGE_BURST - 2 }; /* each has a token */
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader readers[READERS];

    (void)state;
    *fate_of(p, osd->id) = (struct fate){.reads = FAKE_HANG, .only_one = true};
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], p, place(0, 1), 4096);
    }
    read_at(p, place(0, 1) + 16384);
    for (unsigned i = 0; i < READERS; i++) {
        await(&readers[i]);
        assert_int_equal(readers[i].rc, 0);
    }
    assert_true(totals(p)->hedges_won >= OSD_SUSPECT_LOST);
    assert_int_equal(osd->suspect.lost, 1);
    assert_false(osd->suspect.is);
    play_free(p);
}

/* The last one waits for less than what is too long; the OSD did not answer in that. */
static void who_joins_late_does_not_clear_a_slow_osd(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader first, last;

    (void)state;
    p->w->engine->hedge.bucket.reads = 0; /* they wait for it */
    osd->suspect.lost = OSD_SUSPECT_LOST - 1;
    world_asd_of(p->w, osd->id)->delay_ms = 3 * HEDGE_DELAY_FIRST_MS;
    fate_of(p, osd->id)->reads = FAKE_DELAY;
    start(&first, p, place(0, 1), 4096);
    loop_fixture_run_ms(&p->w->base, 3 * HEDGE_DELAY_FIRST_MS - 50);
    start(&last, p, place(0, 1), 4096);
    await(&first);
    await(&last);
    assert_int_equal(osd->suspect.lost, OSD_SUSPECT_LOST - 1);
    play_free(p);
}

struct held_work {
    struct pool_work work;
    uv_sem_t *go;
    bool done;
};

static void hold_thread(struct pool_work *work)
{
    uv_sem_wait(container_of(work, struct held_work, work)->go);
}

static void on_let_go(struct pool_work *work, int rc)
{
    (void)rc;
    container_of(work, struct held_work, work)->done = true;
}

/* The answer is here, our own threads are busy: nobody else would be faster. */
static void bytes_that_wait_for_our_own_pool_are_not_late(void **state)
{
    enum { THREADS = 2, LONG = 200000 };
    struct play *p = play_new_of(6, WORLD_PRESET(P42, 262144, "none"), BYTES);
    struct engine *engine = p->w->engine;
    struct held_work held[THREADS] = {0};
    struct reader r;
    uv_sem_t go;

    (void)state;
    assert_int_equal(uv_sem_init(&go, 0), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        held[i].go = &go;
        assert_int_equal(
            pool_submit(engine->pool, &held[i].work, POOL_HIGH, hold_thread, on_let_go), 0);
    }
    start(&r, p, 0, LONG);
    loop_fixture_run_ms(&p->w->base, 4 * HEDGE_DELAY_FIRST_MS);
    assert_false(r.done);
    for (unsigned i = 0; i < THREADS; i++) {
        uv_sem_post(&go);
    }
    await(&r);
    assert_int_equal(r.rc, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        loop_fixture_run_until(&p->w->base, &held[i].done);
    }
    assert_int_equal(totals(p)->hedges, 0);
    assert_false(osd_of(p, 0, 0)->suspect.is);
    uv_sem_destroy(&go);
    play_free(p);
}

/* What would be the one that tries it, but prefers others, leaves that to another. */
static void a_read_that_goes_elsewhere_anyway_does_not_count_as_the_try(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    unsigned before = reads_of(p, osd->id);

    (void)state;
    osd->suspect.is = true;
    osd->aside = true;
    read_at(p, place(0, 1));
    assert_int_equal(reads_of(p, osd->id), before);
    assert_int_equal(osd->suspect.try_ns, 0);
    osd->aside = false;
    read_at(p, place(0, 1) + 16384);
    assert_int_equal(reads_of(p, osd->id), before + 1);
    assert_false(osd->suspect.is);
    play_free(p);
}

/* ---- limits ---- */

static void without_tokens_a_read_waits(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader r;

    (void)state;
    fate_of(p, osd->id)->reads = FAKE_HANG;
    p->w->engine->hedge.bucket.reads = 0;
    start(&r, p, place(0, 1), 4096);
    for (unsigned i = 0; i < 1000 && totals(p)->hedges_refused == 0; i++) {
        loop_fixture_run_ms(&p->w->base, 5);
    }
    assert_int_equal(totals(p)->hedges_refused, 1);
    assert_int_equal(totals(p)->hedges, 0);
    assert_false(r.done);
    p->w->engine->hedge.bucket.reads = HEDGE_READS_PER_TOKEN; /* others have read meanwhile */
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_int_equal(totals(p)->hedges, 1);
    assert_int_equal(totals(p)->hedges_refused, 1);
    play_free(p);
}

/* All of them slow, none silent: reads that take too long are all there are. */
static void no_more_than_the_tokens_are_spent(void **state)
{
    enum { READERS = 64 };
    struct play *p = play_new();
    struct reader readers[READERS];

    (void)state;
    for (uint32_t i = 0; i < 6; i++) {
        uint64_t osd_id = manifest_fragment_at(&p->manifest, 0, i)->osd_id;

        world_asd_of(p->w, osd_id)->delay_ms = 1500;
        fate_of(p, osd_id)->reads = FAKE_DELAY;
    }
    for (unsigned i = 0; i < READERS; i++) { /* no two of the same */
        start(&readers[i], p, place(i % 2, i / 2 % 4) + i / 8 * 4096, 4096);
    }
    for (unsigned i = 0; i < READERS; i++) {
        await(&readers[i]);
        assert_int_equal(readers[i].rc, 0);
    }
    assert_true(totals(p)->hedges <= HEDGE_BURST + READERS / HEDGE_READS_PER_TOKEN);
    assert_true(totals(p)->hedges + totals(p)->hedges_refused > 0);
    play_free(p);
}

/* k others are needed, and there are not so many that are well. */
static void none_goes_to_osds_that_are_set_aside(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    unsigned before[2];
    struct reader r;

    (void)state;
    fate_of(p, osd->id)->reads = FAKE_HANG;
    osd_of(p, 0, 4)->aside = true;
    osd_of(p, 0, 5)->aside = true;
    before[0] = reads_of(p, osd_of(p, 0, 4)->id);
    before[1] = reads_of(p, osd_of(p, 0, 5)->id);
    start(&r, p, place(0, 1), 4096);
    loop_fixture_run_ms(&p->w->base, 3 * HEDGE_DELAY_FIRST_MS);
    assert_false(r.done);
    assert_int_equal(totals(p)->hedges, 0);
    assert_int_equal(reads_of(p, osd_of(p, 0, 4)->id), before[0]);
    assert_int_equal(reads_of(p, osd_of(p, 0, 5)->id), before[1]);
    osd_of(p, 0, 5)->aside = false;
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_int_equal(reads_of(p, osd_of(p, 0, 4)->id), before[0]);
    osd_of(p, 0, 4)->aside = false;
    play_free(p);
}

/* Reads usually take 1 ms; one from the only near replica takes more. */
static void a_far_osd_is_asked_besides_only_after_long(void **state)
{
    static const char *const near[] = {"n0"};
    struct play *p = play_new_of(3, WORLD_PRESET("[[1,2,3,1]]", 65536, "none"), BYTES);
    uint64_t begun_ms;
    struct reader r;

    (void)state;
    p->w->near_places = near;
    p->w->near_place_count = 1;
    world_new_engine(p->w);
    for (unsigned i = 0; i < READ_TIMES_ENOUGH; i++) {
        hedge_note(&p->w->engine->hedge, hedge_kind(false, 4096), 1000000);
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (osd_of(p, 0, i)->near) {
            fate_of(p, osd_of(p, 0, i)->id)->reads = FAKE_HANG;
        }
    }
    begun_ms = clock_mono_ms();
    start(&r, p, 8192, 4096);
    while (totals(p)->hedges == 0) {
        loop_fixture_run_ms(&p->w->base, 1);
    }
    assert_true(clock_mono_ms() - begun_ms >= HEDGE_DELAY_FIRST_MS);
    await(&r);
    assert_int_equal(r.rc, 0);
    assert_true(totals(p)->far_reads >= 1);
    play_free(p);
}

static void switched_off_there_are_none(void **state)
{
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader r;

    (void)state;
    engine_set_hedging(p->w->engine, false);
    fate_of(p, osd->id)->reads = FAKE_HANG;
    start(&r, p, place(0, 1), 4096);
    loop_fixture_run_ms(&p->w->base, 3 * HEDGE_DELAY_FIRST_MS);
    assert_false(r.done);
    get_cancel(r.get);
    await(&r);
    assert_int_equal(totals(p)->hedges + totals(p)->hedges_refused, 0);
    play_free(p);
}

/* ---- at the same time ---- */

/* Who waits for the same request goes round the OSD as well, and asks the others only once. */
static void a_herd_goes_round_it_together(void **state)
{
    enum { READERS = 12 };
    struct play *p = play_new();
    struct osd *osd = osd_of(p, 0, 1);
    struct reader readers[READERS];
    uint64_t before = totals(p)->fragment_reads;

    (void)state;
    fate_of(p, osd->id)->reads = FAKE_HANG;
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], p, place(0, 1), 4096);
    }
    for (unsigned i = 0; i < READERS; i++) {
        await(&readers[i]);
        assert_int_equal(readers[i].rc, 0);
    }
    assert_true(totals(p)->fragment_reads - before < 1 + 4 * READERS);
    assert_true(totals(p)->hedges <= HEDGE_BURST);
    play_free(p);
}

/* More readers than tokens, and each has to go round two: those that paid once do not pay again. */
static void a_herd_goes_round_two_osds(void **state)
{
    enum { READERS = 2 * HEDGE_BURST };
    struct play *p = play_new();
    struct reader readers[READERS];

    (void)state;
    fate_of(p, osd_of(p, 0, 0)->id)->reads = FAKE_HANG;
    fate_of(p, osd_of(p, 0, 2)->id)->reads = FAKE_HANG;
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], p, 0, CHUNK_BYTES);
    }
    for (unsigned i = 0; i < READERS; i++) {
        await(&readers[i]);
        assert_int_equal(readers[i].rc, 0);
    }
    assert_true(totals(p)->hedges <= HEDGE_BURST);
    play_free(p);
}

static void a_reader_may_give_up_at_any_time_of_a_hedge(void **state)
{
    (void)state;
    for (unsigned at = 0; at < 12; at++) {
        struct play *p = play_new();
        struct reader r;

        for (uint32_t i = 0; i < 6; i++) {
            uint64_t osd_id = manifest_fragment_at(&p->manifest, 0, i)->osd_id;

            world_asd_of(p->w, osd_id)->delay_ms = 20;
            fate_of(p, osd_id)->reads = i == 1 ? FAKE_HANG : FAKE_DELAY;
        }
        start(&r, p, place(0, 1), 4096);
        loop_fixture_run_ms(&p->w->base, HEDGE_DELAY_FIRST_MS - 10 + 4 * at);
        if (!r.done) {
            get_cancel(r.get);
        }
        await(&r);
        assert_true(r.rc == 0 || r.rc == ERR_CANCELED);
        play_free(p);
    }
}

/* What is read is one of the two, whole, or that there is none. */
static void an_object_may_be_replaced_or_deleted_during_a_hedge(void **state)
{
    (void)state;
    for (unsigned deleted = 0; deleted < 2; deleted++) {
        struct play *p = play_new();
        struct osd *osd = osd_of(p, 0, 1);
        uint8_t *second = mem_alloc(BYTES);
        struct reader r;

        world_fill(p->w, second, BYTES);
        fate_of(p, osd->id)->reads = FAKE_HANG;
        start(&r, p, place(0, 1), 4096);
        loop_fixture_run_ms(&p->w->base, 5);
        assert_false(r.done);
        if (deleted != 0) {
            assert_int_equal(world_delete(p->w, "o"), 0);
        } else {
            assert_int_equal(world_put(p->w, "o", second, BYTES), 0);
        }
        await(&r); /* of the first: its fragments are there */
        assert_int_equal(r.rc, 0);
        if (deleted == 0) {
            world_expect(p->w, "o", second, BYTES);
        }
        free(second);
        play_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_of_an_osd_that_hangs_is_computed_from_others),
        cmocka_unit_test(an_object_on_an_osd_that_hangs_is_read_with_a_fragment_more),
        cmocka_unit_test(two_osds_that_hang_are_gone_round_one_after_the_other),
        cmocka_unit_test(reads_after_the_first_go_round_it_without_tokens),
        cmocka_unit_test(it_is_asked_again_when_it_answers_again),
        cmocka_unit_test(that_it_does_not_have_the_fragment_is_an_answer),
        cmocka_unit_test(a_late_answer_is_harmless_and_clears_the_osd),
        cmocka_unit_test(a_hedge_that_is_too_slow_is_let_go),
        cmocka_unit_test(a_hedge_that_fails_is_no_error_while_the_first_may_come),
        cmocka_unit_test(slow_fragments_are_not_repaired),
        cmocka_unit_test(a_herd_that_is_overtaken_counts_as_one_request),
        cmocka_unit_test(who_joins_late_does_not_clear_a_slow_osd),
        cmocka_unit_test(bytes_that_wait_for_our_own_pool_are_not_late),
        cmocka_unit_test(a_read_that_goes_elsewhere_anyway_does_not_count_as_the_try),
        cmocka_unit_test(without_tokens_a_read_waits),
        cmocka_unit_test(no_more_than_the_tokens_are_spent),
        cmocka_unit_test(none_goes_to_osds_that_are_set_aside),
        cmocka_unit_test(a_far_osd_is_asked_besides_only_after_long),
        cmocka_unit_test(switched_off_there_are_none),
        cmocka_unit_test(a_herd_goes_round_it_together),
        cmocka_unit_test(a_herd_goes_round_two_osds),
        cmocka_unit_test(a_reader_may_give_up_at_any_time_of_a_hedge),
        cmocka_unit_test(an_object_may_be_replaced_or_deleted_during_a_hedge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
