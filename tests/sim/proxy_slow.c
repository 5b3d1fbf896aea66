/* An OSD that stores what it is given, but takes seconds for it. */
#include <stdlib.h>
#include <string.h>

#include "proxy/holes.h"
#include "proxy/osds_private.h"
#include "sim/proxy_world.h"
#include "wire/osd_keys.h"

enum { DELAY_MS = OSD_SLOW_MS + 300, WAIT_MS = 60000, BYTES = 50000 };

#define P42 "[[4,2,6,2],[4,2,5,2]]"
#define P42_WEAK "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

/* Repairs wait until this is given back. */
static void hold_repairs(struct world *w, bool hold)
{
    w->engine->repairs.paid_ms = hold ? UINT64_MAX / 2 : 0;
}

static struct world *slow_world(const char *preset)
{
    struct world *w = world_new(6, 3, preset);

    hold_repairs(w, true); /* holes are counted */
    return w;
}

static enum fake_fate writes_late(void *ctx, struct fake_asd *asd,
                                  const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_APPLY ? FAKE_DELAY : FAKE_NORMAL;
}

static void make_slow(struct world *w, unsigned i, bool is_slow)
{
    w->asds[i]->delay_ms = DELAY_MS;
    fake_asd_set_fate(w->asds[i], is_slow ? writes_late : NULL, NULL);
}

static unsigned count_slow(struct world *w)
{
    unsigned count = 0;

    for (unsigned i = 0; i < osds_count(w->engine->osds); i++) {
        count += osds_at(w->engine->osds, i)->slow.is;
    }
    return count;
}

static unsigned count_holes(struct world *w)
{
    struct manifest m;
    unsigned missing;

    assert_true(world_manifest(w, "o", &m));
    missing = holes_count(&m);
    manifest_release(&m);
    return missing;
}

static unsigned put_and_count(struct world *w, const void *data)
{
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    world_expect(w, "o", data, BYTES);
    return count_holes(w);
}

static void puts_go_on_without_a_slow_osd_until_it_is_fast_again(void **state)
{
    struct world *w = slow_world(WORLD_PRESET(P42, 16384, "lz4"));
    uint8_t data[BYTES];
    unsigned applies;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(put_and_count(w, data), 0);
    make_slow(w, 2, true);
    for (unsigned i = 0; count_slow(w) == 0; i++) { /* more where the others are slow, too */
        assert_int_equal(put_and_count(w, data), 0);
        assert_true(count_slow(w) == 0 || i + 1 >= OSD_SLOW_WRITES);
    }
    applies = w->asds[2]->applies;
    assert_int_equal(put_and_count(w, data), 1);
    assert_int_equal(w->asds[2]->applies, applies);
    while (w->asds[2]->applies == applies) { /* a probe, which takes too long */
        loop_fixture_run_ms(&w->base, 50);
    }
    world_settle(w);
    loop_fixture_run_ms(&w->base, DELAY_MS);
    assert_int_equal(count_slow(w), 1);
    assert_int_equal(osds_aside_count(w->engine->osds), 0); /* reads do not mind */
    assert_true(osds_at(w->engine->osds, 2)->latency_ms > 0);
    make_slow(w, 2, false);
    for (unsigned ms = 0; ms < WAIT_MS && count_slow(w) > 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
    }
    assert_int_equal(count_slow(w), 0);
    assert_int_equal(put_and_count(w, data), 0);
    world_free(w);
}

static void a_slow_osd_is_used_when_no_policy_holds_without_it(void **state)
{
    struct world *w = slow_world(WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    uint8_t data[BYTES];

    (void)state;
    world_fill(w, data, sizeof(data));
    osds_at(w->engine->osds, 2)->slow.is = true;
    assert_int_equal(put_and_count(w, data), 0);
    world_free(w);
}

/* On two nodes, or all of one. */
static void without_two_slow_osds_nothing_is_acknowledged_with_none_to_spare(void **state)
{
    struct world *w = slow_world(WORLD_PRESET(P42_WEAK, 16384, "lz4"));
    uint8_t data[BYTES];
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    for (unsigned other = 1; other < 6; other++) {
        osds_at(w->engine->osds, 0)->slow.is = true;
        osds_at(w->engine->osds, other)->slow.is = true;
        assert_int_equal(put_and_count(w, data), 0);
        assert_true(world_manifest(w, "o", &m));
        assert_int_equal(m.scheme.c, 6);
        manifest_release(&m);
        osds_at(w->engine->osds, other)->slow.is = false;
        assert_int_equal(put_and_count(w, data), 1); /* one slow: five will do */
    }
    world_free(w);
}

static void puts_of_low_priority_say_nothing_about_an_osd(void **state)
{
    struct world *w = slow_world(WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    uint8_t data[BYTES];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {
        .updates = &update, .update_count = 1, .flags = PROXY_APPLY_LOW_PRIORITY};
    struct osd *osd = osds_at(w->engine->osds, 2);

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(put_and_count(w, data), 0);
    osd->slow.writes = OSD_SLOW_WRITES - 1;
    assert_int_equal(world_apply(w, &apply, NULL), 0);
    assert_int_equal(osd->slow.writes, OSD_SLOW_WRITES - 1);
    assert_false(osd->slow.is);
    world_free(w);
}

static void what_only_a_slow_osd_can_take_is_repaired_there(void **state)
{
    struct world *w = slow_world(WORLD_PRESET(P42, 16384, "lz4"));
    uint8_t data[BYTES];

    (void)state;
    world_fill(w, data, sizeof(data));
    osds_at(w->engine->osds, 2)->slow.is = true;
    assert_int_equal(put_and_count(w, data), 1);
    world_settle(w);
    assert_int_equal(w->engine->repairs.count, 1);
    hold_repairs(w, false);
    for (unsigned ms = 0; ms < WAIT_MS && w->engine->repairs.count > 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
    }
    assert_int_equal(w->engine->repairs.count, 0);
    assert_int_equal(count_holes(w), 0);
    assert_int_equal(w->engine->stats.totals.repairs_failed, 0);
    assert_int_equal(w->engine->stats.totals.repairs_left, 0);
    world_expect(w, "o", data, BYTES);
    world_free(w);
}

static void where_all_are_slow_all_are_used(void **state)
{
    struct world *w = slow_world(WORLD_PRESET(P42, 16384, "lz4"));
    uint8_t data[BYTES];

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(put_and_count(w, data), 0);
    for (unsigned i = 0; i < 6; i++) {
        make_slow(w, i, true);
    }
    for (unsigned i = 0; i < OSD_SLOW_WRITES; i++) {
        assert_int_equal(put_and_count(w, data), 0);
    }
    assert_int_equal(count_slow(w), 0);
    for (unsigned i = 0; i < 6; i++) {
        make_slow(w, i, false);
    }
    world_free(w);
}

static enum fake_fate probes_late(void *ctx, struct fake_asd *asd,
                                  const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_APPLY && request->apply.update_count == 1 &&
                   slice_eq(request->apply.updates[0].key, slice_str(OSD_KEY_TEST))
               ? FAKE_DELAY
               : FAKE_NORMAL;
}

/* Its answers to probes alone take longer than two of an OSD that is dead are apart. */
static struct osd *make_probes_late(struct world *w, unsigned i)
{
    w->asds[i]->delay_ms = 3000;
    fake_asd_set_fate(w->asds[i], probes_late, NULL);
    return osds_at(w->engine->osds, i);
}

static void a_put_waits_for_a_late_probe_while_others_are_probed_again(void **state)
{
    struct world *w = slow_world(WORLD_PRESET("[[4,2,5,2]]", 16384, "lz4"));
    uint8_t data[BYTES];

    (void)state;
    world_fill(w, data, sizeof(data));
    fake_asd_down(w->asds[0]);
    osd_set_aside(osds_at(w->engine->osds, 0), -1, "test");
    osd_set_aside(make_probes_late(w, 1), -1, "test");
    assert_int_equal(put_and_count(w, data), 1); /* five are enough */
    fake_asd_up(w->asds[0]);
    world_free(w);
}

static void a_put_waits_for_a_probe_that_began_when_its_osd_was_slow(void **state)
{
    struct world *w = slow_world(WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    struct osd *osd = make_probes_late(w, 1);
    uint8_t data[BYTES];

    (void)state;
    world_fill(w, data, sizeof(data));
    osd->slow.is = true;
    osd_probe_schedule(osd);
    while (osd->probe == NULL) {
        loop_fixture_run_ms(&w->base, 20);
    }
    osd_set_aside(osd, -1, "test");
    assert_int_equal(put_and_count(w, data), 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_go_on_without_a_slow_osd_until_it_is_fast_again),
        cmocka_unit_test(a_slow_osd_is_used_when_no_policy_holds_without_it),
        cmocka_unit_test(without_two_slow_osds_nothing_is_acknowledged_with_none_to_spare),
        cmocka_unit_test(puts_of_low_priority_say_nothing_about_an_osd),
        cmocka_unit_test(what_only_a_slow_osd_can_take_is_repaired_there),
        cmocka_unit_test(where_all_are_slow_all_are_used),
        cmocka_unit_test(a_put_waits_for_a_late_probe_while_others_are_probed_again),
        cmocka_unit_test(a_put_waits_for_a_probe_that_began_when_its_osd_was_slow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
