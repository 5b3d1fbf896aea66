/* Repairs that fail are left to maintenance as work items of the registry. */
#include <stdlib.h>
#include <string.h>

#include "meta/registry_record.h"
#include "proxy/repair_work.h"
#include "sim/proxy_repair_fixture.h"

enum { STAYING = 150 }; /* items that stay */

struct items {
    bool done;
    size_t count;
    uint64_t failed; /* times, of the first */
    bool too_few;    /* … for that reason */
};

static void on_items(void *ctx, int rc, const struct err *e, json_t *list)
{
    struct items *items = ctx;
    const json_t *failed = json_object_get(json_array_get(list, 0), "failed");

    (void)e;
    assert_int_equal(rc, 0);
    items->count = json_array_size(list);
    items->failed = json_u64(failed, "times", 0);
    items->too_few = strstr(json_text(failed, "why", ""), "fragment") != NULL;
    items->done = true;
}

static size_t count_items(struct world *w)
{
    struct items items = {0};

    registry_work_list(w->registry, 0, 1000, on_items, &items);
    loop_fixture_run_until(&w->base, &items.done);
    return items.count;
}

static void wait_item(struct world *w)
{
    for (unsigned ms = 0; ms < WAIT_MS && count_items(w) == 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs);
    }
    assert_int_equal(count_items(w), 1);
}

static enum kv_mem_fate refuse_all(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_REFUSED;
}

static void a_repair_that_fails_is_left_to_maintenance_once(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_FULL};

    (void)state;
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_harm_everywhere(f->w, "o", 1, FLIP);
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    wait_item(f->w);
    assert_int_equal(f->w->engine->stats.totals.repairs_left, 1);
    world_new_engine(f->w); /* another proxy finds it, too */
    repair_read_whole(f->w, data);
    for (unsigned ms = 0; ms < WAIT_MS && f->w->engine->stats.totals.repairs_failed == 0;
         ms += 50) {
        loop_fixture_run_ms(&f->w->base, 50);
        repair_queue_tick(&f->w->engine->repairs);
    }
    loop_fixture_run_ms(&f->w->base, 50);
    assert_int_equal(count_items(f->w), 1);
    assert_int_equal(f->w->engine->stats.totals.repairs_left, 0);
    t.left = 0;
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(count_items(f->w), 0);
    assert_true(repair_is_strong(f->w, "o", data));
    assert_int_equal(f->agent.status.counts.work_done, 1);
    assert_int_equal(f->agent.status.work_left, 0);
    repair_expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

/* What cannot be repaired stays on the list, is tried less and less often, and goes with the
 * object. Items of other kinds are left alone. */
static void an_item_that_fails_stays_and_goes_with_its_object(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", 20000), *got;
    json_t *other = json_pack("{s:s}", "kind", "of-a-newer-program");
    struct items items = {0};
    bool added = false;
    size_t bytes;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        repair_harm_everywhere(f->w, "o", i, LOSE);
    }
    assert_int_equal(world_get(f->w, "o", &got, &bytes), ERR_NOT_ENOUGH);
    wait_item(f->w);
    registry_work_add(f->w->registry, other, world_registry_done, &added);
    loop_fixture_run_until(&f->w->base, &added);
    json_decref(other);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 20);
    assert_int_equal(f->agent.status.counts.repairs_failed, 1); /* the next is 2 s later */
    registry_work_list(f->w->registry, 0, 1, on_items, &items);
    loop_fixture_run_until(&f->w->base, &items.done);
    assert_int_equal(items.failed, 1);
    assert_true(items.too_few);
    assert_int_equal(f->agent.status.work_left, 2);
    assert_int_equal(world_delete(f->w, "o"), 0);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS); /* a fresh one tries at once */
    fixture_rounds(f, 1);
    assert_int_equal(f->agent.status.work_left, 1);
    assert_int_equal(count_items(f->w), 1);
    free(data);
    fixture_free(f);
}

/* More of them than one look lists, and the time of a round is over with that: the round after
 * goes on behind them. */
static void items_that_nobody_can_do_do_not_keep_the_agent_from_the_others(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_FULL};
    json_t *other = json_pack("{s:s}", "kind", "of-a-newer-program");

    (void)state;
    for (unsigned i = 0; i < STAYING; i++) {
        bool added = false;

        registry_work_add(f->w->registry, other, world_registry_done, &added);
        loop_fixture_run_until(&f->w->base, &added);
    }
    json_decref(other);
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    for (unsigned ms = 0; ms < WAIT_MS && count_items(f->w) == STAYING; ms += 50) {
        loop_fixture_run_ms(&f->w->base, 50);
        repair_queue_tick(&f->w->engine->repairs);
    }
    assert_int_equal(count_items(f->w), STAYING + 1);
    t.left = 0;
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    f->agent.options.slice_ms = 1;
    f->agent.options.rate_per_s = 100; /* a look takes longer than that */
    fixture_rounds(f, 4);
    assert_int_equal(f->agent.status.counts.work_done, 1);
    assert_int_equal(count_items(f->w), STAYING);
    assert_true(repair_is_strong(f->w, "o", data));
    free(data);
    fixture_free(f);
}

static void a_damaged_item_is_taken_away_and_the_others_are_done(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_FULL};
    json_t *other = json_pack("{s:s}", "kind", "to-be-damaged");
    bool added = false;
    struct slice value;
    uint8_t copy[256];
    struct key key;

    (void)state;
    registry_work_add(f->w->registry, other, world_registry_done, &added);
    loop_fixture_run_until(&f->w->base, &added);
    json_decref(other);
    reg_key(&key, REG_WORK, "0000000000000001");
    assert_true(kv_mem_peek(f->w->store, slice_key(&key), &value));
    memcpy(copy, value.data, value.len);
    copy[value.len / 2] ^= 4;
    kv_mem_poke(f->w->store, slice_key(&key), slice_of(copy, value.len));
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    for (unsigned ms = 0; ms < WAIT_MS && count_items(f->w) < 2; ms += 50) {
        loop_fixture_run_ms(&f->w->base, 50);
        repair_queue_tick(&f->w->engine->repairs);
    }
    assert_int_equal(count_items(f->w), 2);
    t.left = 0;
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(count_items(f->w), 0);
    assert_int_equal(f->agent.status.counts.work_done, 1);
    assert_int_equal(f->agent.status.work_left, 0);
    assert_true(repair_is_strong(f->w, "o", data));
    free(data);
    fixture_free(f);
}

static void tick_for(struct world *w, unsigned ms)
{
    for (unsigned i = 0; i < ms; i += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs);
    }
}

/* For what could not be repaired; not for what is found after it. */
static void an_object_that_rests_is_repaired_when_more_is_found_lost(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_FULL};
    struct stats_totals *totals = &f->w->engine->stats.totals;
    struct manifest m;

    (void)state;
    assert_true(world_manifest(f->w, "o", &m));
    repair_harm(f->w, &m, 0, 0, LOSE);
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    wait_item(f->w);
    t.left = 0;
    fixture_osds_back(f);
    repair_read_whole(f->w, data);
    tick_for(f->w, 1000);
    assert_int_equal(totals->fragments_repaired, 0); /* that is known: it rests */
    repair_harm(f->w, &m, 1, 0, LOSE);
    manifest_release(&m);
    repair_read_whole(f->w, data);
    repair_wait_strong(f->w, "o", data);
    assert_int_equal(totals->fragments_repaired, 2);
    assert_int_equal(totals->repairs_dropped, 0);
    free(data);
    fixture_free(f);
}

static void what_is_found_while_a_repair_runs_is_counted_as_dropped(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_HANG};
    struct repair_queue *queue;
    struct stats_totals *totals;
    struct object *object;

    (void)state;
    world_make_hasty(f->w);
    queue = &f->w->engine->repairs;
    totals = &f->w->engine->stats.totals;
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_trouble_all(&t);
    repair_read_slice(f->w, data, 5);
    for (unsigned ms = 0; ms < WAIT_MS && t.left == 100000; ms += 5) { /* it is storing */
        loop_fixture_run_ms(&f->w->base, 5);
        repair_queue_tick(queue);
    }
    assert_int_equal(queue->running, 1);
    object = manifest_cache_get(&f->w->engine->manifests, f->w->ns_id, slice_str("o"));
    assert_non_null(object);
    repair_queue_note(queue, object, 0, 1);
    assert_int_equal(totals->repairs_dropped, 0);
    repair_queue_note(queue, object, 1, 1);
    assert_int_equal(totals->repairs_dropped, 1);
    assert_int_equal(queue->count, 1);
    object_drop(object);
    t.left = 0;
    free(data);
    fixture_free(f);
}

/* ---- the end of a proxy that still has something to repair ---- */

/* The engine is another one now; maintenance makes "o" whole. */
static void expect_left_and_done(struct fixture *f, const uint8_t *data)
{
    assert_int_equal(count_items(f->w), 1);
    assert_false(repair_is_strong(f->w, "o", data));
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(count_items(f->w), 0);
    assert_true(repair_is_strong(f->w, "o", data));
    repair_expect_clean_in_the_end(f);
}

static void what_a_read_found_is_left_when_its_proxy_ends_at_once(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);

    (void)state;
    repair_harm_everywhere(f->w, "o", 1, FLIP);
    for (unsigned i = 0; i < 2; i++) { /* two proxies, one item */
        repair_read_whole(f->w, data);
        assert_int_equal(f->w->engine->repairs.count, 1);
        world_new_engine(f->w);
    }
    expect_left_and_done(f, data);
    free(data);
    fixture_free(f);
}

static void a_repair_under_way_is_left_when_its_proxy_ends(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_HANG};
    unsigned all = t.left;

    (void)state;
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    for (unsigned ms = 0; ms < WAIT_MS && t.left == all; ms += 10) {
        loop_fixture_run_ms(&f->w->base, 10);
        repair_queue_tick(&f->w->engine->repairs);
    }
    assert_int_equal(f->w->engine->repairs.running, 1);
    world_new_engine(f->w);
    t.left = 0;
    expect_left_and_done(f, data);
    free(data);
    fixture_free(f);
}

/* It wanted to leave it before, and could not. */
static void what_could_not_be_left_is_left_at_the_end(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_FULL};

    (void)state;
    repair_harm_everywhere(f->w, "o", 0, LOSE);
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    kv_mem_set_fate(f->w->kv, refuse_all, NULL);
    for (unsigned ms = 0; ms < WAIT_MS && f->w->engine->repairs.log_left.next_ms == 0; ms += 50) {
        loop_fixture_run_ms(&f->w->base, 50);
        repair_queue_tick(&f->w->engine->repairs);
    }
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    assert_int_equal(count_items(f->w), 0);
    assert_int_equal(f->w->engine->repairs.count, 1);
    world_new_engine(f->w);
    t.left = 0;
    expect_left_and_done(f, data);
    free(data);
    fixture_free(f);
}

static void a_proxy_that_found_nothing_asks_nothing_at_its_end(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct kv_mem_counts before;

    (void)state;
    world_settle(f->w);
    world_new_engine(f->w); /* the sums of the put are written */
    repair_read_whole(f->w, data);
    before = kv_mem_counts(f->w->store);
    world_new_engine(f->w);
    assert_int_equal(kv_mem_counts(f->w->store).applies, before.applies);
    assert_int_equal(kv_mem_counts(f->w->store).ranges, before.ranges);
    free(data);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repair_that_fails_is_left_to_maintenance_once),
        cmocka_unit_test(an_item_that_fails_stays_and_goes_with_its_object),
        cmocka_unit_test(items_that_nobody_can_do_do_not_keep_the_agent_from_the_others),
        cmocka_unit_test(an_object_that_rests_is_repaired_when_more_is_found_lost),
        cmocka_unit_test(what_is_found_while_a_repair_runs_is_counted_as_dropped),
        cmocka_unit_test(a_damaged_item_is_taken_away_and_the_others_are_done),
        cmocka_unit_test(what_a_read_found_is_left_when_its_proxy_ends_at_once),
        cmocka_unit_test(a_repair_under_way_is_left_when_its_proxy_ends),
        cmocka_unit_test(what_could_not_be_left_is_left_at_the_end),
        cmocka_unit_test(a_proxy_that_found_nothing_asks_nothing_at_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
