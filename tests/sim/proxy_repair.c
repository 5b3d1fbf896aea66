/* Fragments that are lost or damaged behind an OSD's back, reads that meet them, and the repair
 * that follows: in the end every object has all its fragments, and nothing else is left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/proxy_repair_fixture.h"

/* ---- what reads find is repaired ---- */

static void every_kind_of_harm(unsigned asds)
{
    struct fixture *f = fixture_new(asds);
    uint8_t *data = fixture_put(f, "o", BYTES);

    for (uint32_t i = 0; i < 4; i++) {
        for (int kind = LOSE; kind <= OTHERS; kind++) {
            uint64_t repaired = f->w->engine->stats.totals.fragments_repaired;

            repair_harm_everywhere(f->w, "o", i, (enum harm)kind);
            repair_read_whole(f->w, data);
            repair_wait_strong(f->w, "o", data);
            assert_true(f->w->engine->stats.totals.fragments_repaired > repaired);
            repair_read_whole(f->w, data);
        }
    }
    repair_wait_idle(f->w);
    assert_int_equal(f->w->engine->stats.totals.repairs_failed, 0);
    repair_expect_clean_in_the_end(f);
    repair_read_whole(f->w, data);
    free(data);
    fixture_free(f);
}

static void what_a_read_finds_lost_or_damaged_is_made_anew_on_another_osd(void **state)
{
    (void)state;
    every_kind_of_harm(8);
}

static void with_no_other_osd_it_goes_to_the_same_one_under_a_new_version(void **state)
{
    (void)state;
    every_kind_of_harm(6);
}

static void a_slice_finds_it_too_and_only_once(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct manifest m;

    (void)state;
    assert_true(world_manifest(f->w, "o", &m));
    repair_harm(f->w, &m, 1, 0, FLIP);
    repair_harm(f->w, &m, 1, 1, LOSE);
    for (unsigned i = 0; i < 40; i++) {
        repair_read_slice(f->w, data, m.chunk_bytes[0] + rnd_below(&f->w->rnd, 8000));
    }
    repair_read_whole(f->w, data);
    repair_wait_strong(f->w, "o", data);
    repair_wait_idle(f->w);
    assert_int_equal(f->w->engine->stats.totals.fragments_repaired, 2);
    assert_int_equal(repair_version_of(f->w, "o"), 1); /* one update for all that was found */
    manifest_release(&m);
    repair_expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

/* Most likely it comes back, with all it has. */
static void an_osd_that_is_down_is_no_reason_to_repair(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fake_asd_down(f->w->asds[i]);
    }
    for (unsigned i = 0; i < 5; i++) {
        repair_read_whole(f->w, data);
    }
    assert_int_equal(f->w->engine->repairs.count, 0);
    assert_int_equal(repair_version_of(f->w, "o"), 0);
    for (unsigned i = 0; i < 2; i++) {
        fake_asd_up(f->w->asds[i]);
    }
    free(data);
    fixture_free(f);
}

/* ---- faults during the repair ---- */

static void an_osd_that_fails_under_the_repair_is_replaced_by_another(void **state)
{
    const enum fake_fate fates[] = {FAKE_ERROR, FAKE_FULL,    FAKE_BUSY,       FAKE_HANG,
                                    FAKE_DROP,  FAKE_GARBAGE, FAKE_DROP_AFTER, FAKE_HANG_LATE};

    (void)state;
    for (size_t i = 0; i < sizeof(fates) / sizeof(*fates); i++) {
        struct fixture *f = fixture_new(9);
        uint8_t *data = fixture_put(f, "o", BYTES);
        struct trouble t = {.w = f->w, .left = 1, .fate = fates[i]};

        if (fake_fate_is_silent(fates[i])) {
            world_make_hasty(f->w);
        }
        repair_harm_everywhere(f->w, "o", 0, LOSE);
        repair_trouble_all(&t);
        repair_read_whole(f->w, data);
        repair_wait_strong(f->w, "o", data);
        assert_int_equal(t.left, 0);
        assert_int_equal(f->w->engine->stats.totals.repairs_failed, 0);
        repair_expect_clean_in_the_end(f);
        repair_read_whole(f->w, data);
        free(data);
        fixture_free(f);
    }
}

/* ---- others are at the same object ---- */

/* Commits of updates of manifests: they assert the old one. */
struct held_update {
    enum kv_mem_fate fate;
    unsigned left;
    unsigned seen;
};

static bool is_update(const struct kv_txn *txn)
{
    static const char object[] = "/o/";

    for (size_t i = 0; i < txn->update_count; i++) {
        struct slice key = txn->updates[i].key;

        if (!txn->updates[i].is_delete && key.len > 35 && txn->reserve &&
            memcmp(key.data + key.len - 32 - 3, object, 3) == 0) {
            return true;
        }
    }
    return false;
}

static enum kv_mem_fate hold_update(void *ctx, const struct kv_txn *txn)
{
    struct held_update *h = ctx;

    if (!is_update(txn)) {
        return KV_MEM_NORMAL;
    }
    h->seen++;
    if (h->left == 0) {
        return KV_MEM_NORMAL;
    }
    h->left--;
    return h->fate;
}

static void wait_seen(struct world *w, const struct held_update *h)
{
    for (unsigned ms = 0; ms < WAIT_MS && h->seen == 0; ms += 20) {
        loop_fixture_run_ms(&w->base, 20);
        repair_queue_tick(&w->engine->repairs);
    }
    assert_true(h->seen > 0);
}

static void an_object_overwritten_under_the_repair_stays_as_it_was_written(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES), *newer;
    struct held_update h = {.fate = KV_MEM_HELD, .left = 1};

    (void)state;
    kv_mem_set_fate(f->w->kv, hold_update, &h);
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_read_whole(f->w, data);
    wait_seen(f->w, &h);
    newer = fixture_put(f, "o", BYTES);
    kv_mem_run_held(f->w->store);
    repair_wait_idle(f->w);
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    assert_true(repair_is_strong(f->w, "o", newer));
    assert_int_equal(f->w->engine->stats.totals.fragments_repaired, 0);
    repair_read_whole(f->w, newer);
    repair_expect_clean_in_the_end(f);
    free(data);
    free(newer);
    fixture_free(f);
}

static void an_object_deleted_under_the_repair_stays_deleted(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct held_update h = {.fate = KV_MEM_HELD, .left = 1};
    struct manifest m;

    (void)state;
    kv_mem_set_fate(f->w->kv, hold_update, &h);
    repair_harm_everywhere(f->w, "o", 1, FLIP);
    repair_read_whole(f->w, data);
    wait_seen(f->w, &h);
    assert_int_equal(world_delete(f->w, "o"), 0);
    kv_mem_run_held(f->w->store);
    repair_wait_idle(f->w);
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    assert_false(world_manifest(f->w, "o", &m));
    repair_expect_clean_in_the_end(f);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    free(data);
    fixture_free(f);
}

static void the_outcome_of_an_update_in_doubt_is_found_out(void **state)
{
    const enum kv_mem_fate fates[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(8);
        uint8_t *data = fixture_put(f, "o", BYTES);
        struct held_update h = {.fate = fates[i], .left = 1};

        kv_mem_set_fate(f->w->kv, hold_update, &h);
        repair_harm_everywhere(f->w, "o", 2, LOSE);
        repair_read_whole(f->w, data);
        repair_wait_strong(f->w, "o", data);
        repair_wait_idle(f->w);
        kv_mem_set_fate(f->w->kv, NULL, NULL);
        assert_int_equal(repair_version_of(f->w, "o"), 1);
        repair_expect_clean_in_the_end(f);
        repair_read_whole(f->w, data);
        free(data);
        fixture_free(f);
    }
}

/* ---- two repairers ---- */

static void replicas_are_made_anew(void **state)
{
    struct world *w = world_new(4, 4, WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4"));
    uint8_t *data = mem_alloc(BYTES);

    (void)state;
    world_fill(w, data, BYTES);
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct ended ended = {0}; /* a read asks whichever replica is cheapest */

        repair_harm_everywhere(w, "o", i, i == 1 ? FLIP : LOSE);
        repair_start_repair(w, "o", i, &ended);
        loop_fixture_run_until(&w->base, &ended.done);
        assert_int_equal(ended.rc, 0);
        repair_wait_strong(w, "o", data);
    }
    free(data);
    world_free(w);
}

static void of_two_repairers_of_a_fragment_one_is_entered(void **state)
{
    struct fixture *f = fixture_new(6); /* both have but the one OSD to go to */
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct ended a = {0}, b = {0};

    (void)state;
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_start_repair(f->w, "o", 0, &a);
    repair_start_repair(f->w, "o", 0, &b);
    loop_fixture_run_until(&f->w->base, &a.done);
    loop_fixture_run_until(&f->w->base, &b.done);
    assert_true(a.rc == 0 || b.rc == 0);
    assert_true((a.fragments == 0) != (b.fragments == 0));
    assert_true(repair_is_strong(f->w, "o", data));
    repair_expect_clean_in_the_end(f);
    repair_read_whole(f->w, data);
    free(data);
    fixture_free(f);
}

/* It has stored its fragments and is frozen before it enters them; another repairs, the epoch of
 * its tags ends, its fragments are collected. Then it wakes. */
static void a_repairer_that_wakes_late_is_refused(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct held_update h = {.fate = KV_MEM_HELD, .left = 1};
    struct ended late = {0}, other = {0};

    (void)state;
    for (unsigned with_other = 0; with_other < 2; with_other++) {
        late = other = (struct ended){0};
        h.left = 1;
        h.seen = 0;
        kv_mem_set_fate(f->w->kv, hold_update, &h);
        repair_harm_everywhere(f->w, "o", 0, LOSE);
        repair_start_repair(f->w, "o", 0, &late);
        wait_seen(f->w, &h);
        if (with_other != 0) {
            repair_start_repair(f->w, "o", 0, &other);
            loop_fixture_run_until(&f->w->base, &other.done);
            assert_int_equal(other.rc, 0);
        }
        loop_fixture_run_ms(&f->w->base, 1100);
        fixture_collect_all(f);
        kv_mem_run_held(f->w->store);
        loop_fixture_run_until(&f->w->base, &late.done);
        assert_int_not_equal(late.rc, 0);
        kv_mem_set_fate(f->w->kv, NULL, NULL);
        if (with_other == 0) { /* what it stored is gone, and it was not named */
            other = (struct ended){0};
            repair_start_repair(f->w, "o", 0, &other);
            loop_fixture_run_until(&f->w->base, &other.done);
            assert_int_equal(other.rc, 0);
        }
        assert_true(repair_is_strong(f->w, "o", data));
    }
    repair_expect_clean_in_the_end(f);
    repair_read_whole(f->w, data);
    free(data);
    fixture_free(f);
}

/* Two are lost, and a third was said to be, by a reply that was bad once. */
static void what_was_only_said_to_be_lost_is_read_when_it_must_and_stays_where_it_is(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct ended ended = {0};
    struct manifest before, after;

    (void)state;
    assert_true(world_manifest(f->w, "o", &before));
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_harm_everywhere(f->w, "o", 4, LOSE);
    repair_start_repairs(f->w, "o", 1 << 0 | 1 << 2 | 1 << 4, &ended);
    loop_fixture_run_until(&f->w->base, &ended.done);
    assert_int_equal(ended.rc, 0);
    assert_int_equal(ended.fragments, 2 * before.chunk_count);
    assert_true(repair_is_strong(f->w, "o", data));
    assert_true(world_manifest(f->w, "o", &after));
    for (uint32_t c = 0; c < before.chunk_count; c++) {
        assert_int_equal(manifest_fragment_at(&before, c, 2)->version,
                         manifest_fragment_at(&after, c, 2)->version);
    }
    manifest_release(&before);
    manifest_release(&after);
    repair_expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

/* What no k fragments are left of stays as it is, for somebody to look at. */
static void with_too_few_left_nothing_is_changed(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", 20000);
    struct ended ended = {0};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        repair_harm_everywhere(f->w, "o", i, LOSE);
    }
    repair_start_repair(f->w, "o", 0, &ended);
    loop_fixture_run_until(&f->w->base, &ended.done);
    assert_int_equal(ended.rc, ERR_NOT_ENOUGH);
    assert_int_equal(ended.fragments, 0);
    assert_non_null(strstr(
        ended.err.msg, ": chunk 0: not enough fragments: 3 of 4; failed: 0 1 2, the last: osd "));
    assert_int_equal(repair_version_of(f->w, "o"), 0);
    free(data);
    fixture_free(f);
}

/* Fragment 0 of chunk 0 is lost, or its OSD is down; another proxy makes it anew, and this one
 * still has the manifest from before. */
static void another_has_repaired_it(bool is_down)
{
    struct fixture *f = fixture_new(9); /* one to spare on each node */
    struct world *w = f->w;
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct object *old = manifest_cache_get(&w->engine->manifests, w->ns_id, slice_str("o"));
    const uint64_t *computed = &w->engine->stats.totals.reconstructed;
    struct ended ended = {0};
    unsigned ms = 0;

    assert_non_null(old);
    if (is_down) {
        fake_asd_down(repair_asd_of(w, &old->manifest, 0, 0));
    } else {
        repair_harm(w, &old->manifest, 0, 0, LOSE);
    }
    repair_start_repair(w, "o", 0, &ended);
    loop_fixture_run_until(&w->base, &ended.done);
    assert_int_equal(ended.rc, 0);
    manifest_cache_put(&w->engine->manifests, old);
    object_drop(old);
    for (uint64_t before = UINT64_MAX; ms < WAIT_MS && *computed != before; ms += 50) {
        before = *computed;
        repair_read_slice(w, data, 100);
        assert_int_not_equal(*computed, 0); /* by the first one */
        loop_fixture_run_ms(&w->base, 50);
    }
    assert_true(ms < WAIT_MS);
    free(data);
    fixture_free(f);
}

static void what_another_has_repaired_is_not_computed_for_ever(void **state)
{
    (void)state;
    another_has_repaired_it(false);
    another_has_repaired_it(true);
}

/* ---- everything at once ---- */

static enum fake_fate sometimes(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct world *w = ctx;
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP, FAKE_DROP_AFTER, FAKE_DELAY,
                                           FAKE_BUSY};

    (void)asd;
    return request->prio == ASD_PRIO_LOW && rnd_below(&w->rnd, 8) == 0
               ? fates[rnd_below(&w->rnd, 5)]
               : FAKE_NORMAL;
}

enum { NAMES = 4, STEPS = 40 };

static void harm_some(struct world *w, const char *name)
{
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        uint32_t i = (uint32_t)rnd_below(&w->rnd, 6);
        struct buf key = world_fragment_key(w, &m, c, i);

        if (manifest_fragment_at(&m, c, i)->has_osd &&
            fake_asd_has(repair_asd_of(w, &m, c, i), slice_buf(&key))) {
            repair_harm(w, &m, c, i, rnd_below(&w->rnd, 2) == 0 ? LOSE : FLIP);
        }
        buf_release(&key);
    }
    manifest_release(&m);
}

static bool is_placed(struct world *w, const char *name, uint32_t fragment)
{
    struct manifest m;
    bool placed = true;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        placed = placed && manifest_fragment_at(&m, c, fragment)->has_osd;
    }
    manifest_release(&m);
    return placed;
}

static void repair_whatever_is_lost(struct world *w, const char *name, bool placed)
{
    for (uint32_t i = 0; i < 6; i++) {
        struct ended ended = {.rc = ERR_STALE};

        if (is_placed(w, name, i) != placed) {
            continue;
        }
        /* The epoch that the engine knows may have ended; or what reads have found is being made
         * anew as well, and was entered first. */
        for (unsigned tries = 0; tries < 3 && (ended.rc == ERR_STALE || ended.rc == ERR_BUSY);
             tries++) {
            ended = (struct ended){0};
            repair_start_repair(w, name, i, &ended);
            loop_fixture_run_until(&w->base, &ended.done);
        }
        if (ended.rc != 0) {
            fail_msg("%s", ended.err.msg);
        }
    }
}

static void repairs_overwrites_and_an_agent_under_faults_lose_nothing(void **state)
{
    struct fixture *f = fixture_new(9);
    struct world *w = f->w;
    uint8_t *model[NAMES];
    char name[8];

    (void)state;
    for (unsigned n = 0; n < NAMES; n++) {
        snprintf(name, sizeof(name), "o%u", n);
        model[n] = fixture_put(f, name, BYTES);
    }
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    for (unsigned s = 0; s < STEPS; s++) {
        unsigned n = (unsigned)rnd_below(&w->rnd, NAMES);
        struct ended ended = {0};

        snprintf(name, sizeof(name), "o%u", n);
        harm_some(w, name);
        for (unsigned i = 0; i < w->asd_count; i++) {
            w->asds[i]->delay_ms = 20;
            fake_asd_set_fate(w->asds[i], sometimes, w);
        }
        world_expect(w, name, model[n], BYTES);
        repair_start_repair(w, name, (uint32_t)rnd_below(&w->rnd, 6), &ended);
        if (rnd_below(&w->rnd, 4) == 0) {
            free(model[n]);
            model[n] = fixture_put(f, name, BYTES);
        }
        fixture_rounds(f, (unsigned)rnd_below(&w->rnd, 2));
        loop_fixture_run_until(&w->base, &ended.done);
        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], NULL, NULL);
        }
        fixture_osds_back(f);
        /* An overwrite while OSDs were set aside may have got k fragments only: the missing ones
         * come first, as none of those can be spared. */
        repair_whatever_is_lost(w, name, false);
        repair_whatever_is_lost(w, name, true);
        assert_true(repair_is_strong(w, name, model[n]));
    }
    world_new_engine(w); /* what reads have found is forgotten, and no repair runs */
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    repair_expect_clean_in_the_end(f);
    for (unsigned n = 0; n < NAMES; n++) {
        snprintf(name, sizeof(name), "o%u", n);
        assert_true(repair_is_strong(w, name, model[n]));
        free(model[n]);
    }
    fixture_free(f);
}

/* ---- memory ---- */

static enum fake_fate slow_reads(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_PARTIAL_GET ? FAKE_DELAY : FAKE_NORMAL;
}

/* One fragment is known to be lost, another one is found on the way; the answers come together. */
static void a_repair_holds_no_more_than_it_has_taken(void **state)
{
    enum { FRAGMENT = 1 << 20, CHUNK = 4 * FRAGMENT };
    struct world *w = world_new(8, 8, WORLD_PRESET("[[4,2,6,2]]", 1048576, "none"));
    struct world_watch watch;
    uint8_t *data = mem_alloc(CHUNK);
    struct ended ended = {0};
    struct manifest m;

    (void)state;
    world_fill(w, data, CHUNK);
    assert_int_equal(world_put(w, "o", data, CHUNK), 0);
    world_settle(w);
    assert_true(world_manifest(w, "o", &m));
    repair_harm(w, &m, 0, 0, LOSE);
    repair_harm(w, &m, 0, 1, LOSE);
    for (unsigned i = 0; i < w->asd_count; i++) {
        w->asds[i]->delay_ms = 30;
        fake_asd_set_fate(w->asds[i], slow_reads, NULL);
    }
    world_watch_start(w, &watch, CHUNK);
    repair_start_repair(w, "o", 0, &ended);
    loop_fixture_run_until(&w->base, &ended.done);
    world_watch_end(w, &watch);
    assert_int_equal(ended.rc, 0);
    assert_int_equal(ended.fragments, 2);
    assert_true(watch.most_bytes >= 4 * FRAGMENT);
    assert_false(watch.is_beyond);
    assert_true(repair_is_strong(w, "o", data));
    manifest_release(&m);
    free(data);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_read_finds_lost_or_damaged_is_made_anew_on_another_osd),
        cmocka_unit_test(with_no_other_osd_it_goes_to_the_same_one_under_a_new_version),
        cmocka_unit_test(a_slice_finds_it_too_and_only_once),
        cmocka_unit_test(replicas_are_made_anew),
        cmocka_unit_test(an_osd_that_is_down_is_no_reason_to_repair),
        cmocka_unit_test(an_osd_that_fails_under_the_repair_is_replaced_by_another),
        cmocka_unit_test(an_object_overwritten_under_the_repair_stays_as_it_was_written),
        cmocka_unit_test(an_object_deleted_under_the_repair_stays_deleted),
        cmocka_unit_test(the_outcome_of_an_update_in_doubt_is_found_out),
        cmocka_unit_test(of_two_repairers_of_a_fragment_one_is_entered),
        cmocka_unit_test(a_repairer_that_wakes_late_is_refused),
        cmocka_unit_test(what_was_only_said_to_be_lost_is_read_when_it_must_and_stays_where_it_is),
        cmocka_unit_test(with_too_few_left_nothing_is_changed),
        cmocka_unit_test(what_another_has_repaired_is_not_computed_for_ever),
        cmocka_unit_test(repairs_overwrites_and_an_agent_under_faults_lose_nothing),
        cmocka_unit_test(a_repair_holds_no_more_than_it_has_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
