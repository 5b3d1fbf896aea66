/* Fragments that no OSD took when their object was put. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/run.h"
#include "meta/registry_store.h"
#include "proxy/holes.h"
#include "sim/proxy_repair_fixture.h"

enum { FAILURES = 5 }; /* after which an item waits for half a minute */

static unsigned holes(struct world *w, const char *name)
{
    struct manifest m;
    unsigned count;

    assert_true(world_manifest(w, name, &m));
    count = holes_count(&m);
    manifest_release(&m);
    return count;
}

static enum fake_fate errors(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    (void)request;
    return FAKE_ERROR;
}

static enum fake_fate hangs(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    (void)request;
    return FAKE_HANG;
}

static void trouble_two(struct world *w, fake_fate_cb fate)
{
    fake_asd_set_fate(w->asds[1], fate, NULL);
    fake_asd_set_fate(w->asds[4], fate, NULL);
}

/* Two of them, or all is well. */
static void fail_two(struct world *w, bool are_bad)
{
    trouble_two(w, are_bad ? errors : NULL);
}

static void on_items(void *ctx, int rc, const struct err *e, json_t *list)
{
    (void)e;
    assert_int_equal(rc, 0);
    *(json_t **)ctx = json_incref(list);
}

static bool has_items(void *ctx)
{
    return *(json_t **)ctx != NULL;
}

static size_t count_items(struct world *w)
{
    json_t *list = NULL;
    size_t count;

    registry_work_list(w->registry, 0, 1000, on_items, &list);
    loop_run_until_true(&w->base.loop, has_items, &list);
    count = json_array_size(list);
    json_decref(list);
    return count;
}

static void wait_items(struct world *w, size_t count)
{
    for (unsigned ms = 0; ms < WAIT_MS && count_items(w) != count; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs);
    }
    assert_int_equal(count_items(w), count);
}

/* Repairs wait until this is given back. */
static void hold_repairs(struct world *w, bool hold)
{
    w->engine->repairs.paid_ms = hold ? UINT64_MAX / 2 : 0;
}

static enum kv_mem_fate refuse_all(void *ctx, const struct kv_txn *txn)
{
    (void)txn;
    ++*(unsigned *)ctx;
    return KV_MEM_REFUSED;
}

/* The engine ends, and metadata takes nothing. Returns how often it was asked to. */
static unsigned end_in_vain(struct world *w)
{
    unsigned asked = 0;

    kv_mem_set_fate(w->kv, refuse_all, &asked);
    world_new_engine(w);
    kv_mem_set_fate(w->kv, NULL, NULL);
    return asked;
}

/* As if it had been put so long ago. */
static void age(struct world *w, const char *name)
{
    struct object *object = manifest_cache_get(&w->engine->manifests, w->ns_id, slice_str(name));

    assert_non_null(object);
    object->manifest.timestamp_us -= REPAIR_YOUNG_US + 1000000;
    object_drop(object);
}

static void what_no_osd_took_is_counted_and_left_until_osds_are_back(void **state)
{
    struct fixture *f = fixture_new(6);
    struct world *w = f->w;
    uint8_t *data, *more;

    (void)state;
    fail_two(w, true);
    data = fixture_put(f, "o", BYTES);    /* whose put found out */
    more = fixture_put(f, "more", BYTES); /* they are set aside by now */
    world_settle(w);
    assert_true(holes(w, "o") > 0);
    assert_int_equal(holes(w, "more"), holes(w, "o"));
    assert_int_equal(w->engine->stats.totals.incomplete_objects, 2);
    wait_items(w, 2); /* which the proxy's end would not take away */
    assert_int_equal(w->engine->stats.totals.repairs_left, 2);
    assert_int_equal(w->engine->stats.totals.repaired_bytes, 0);
    fail_two(w, false);
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(count_items(w), 0);
    assert_true(repair_is_strong(w, "o", data));
    assert_true(repair_is_strong(w, "more", more));
    assert_int_equal(holes(w, "o"), 0);
    assert_int_equal(w->engine->stats.totals.incomplete_objects, 2);
    repair_expect_clean_in_the_end(f);
    free(data);
    free(more);
    fixture_free(f);
}

/* The proxy that put it makes it whole itself when the OSDs are back by then. */
static void what_can_be_placed_is_made_anew_without_a_work_item(void **state)
{
    struct fixture *f = fixture_new(6);
    uint8_t *data;

    (void)state;
    hold_repairs(f->w, true);
    fail_two(f->w, true);
    data = fixture_put(f, "o", BYTES);
    world_settle(f->w);
    assert_int_equal(f->w->engine->repairs.count, 1);
    fail_two(f->w, false);
    fixture_osds_back(f);
    hold_repairs(f->w, false);
    repair_wait_strong(f->w, "o", data);
    repair_wait_idle(f->w);
    assert_int_equal(f->w->engine->stats.totals.repairs_left, 0);
    assert_int_equal(count_items(f->w), 0);
    repair_expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

/* As the proxy of a command that ends with its put: what it lacks is known after that only. */
static void put_and_end(fake_fate_cb fate)
{
    struct fixture *f = fixture_new(6);
    struct world *w = f->w;
    uint8_t *data;

    if (fate == hangs) {
        world_make_hasty(w);
    }
    trouble_two(w, fate);
    data = fixture_put(f, "o", BYTES);
    world_new_engine(w);
    assert_true(holes(w, "o") > 0);
    assert_int_equal(count_items(w), 1);
    trouble_two(w, NULL);
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(count_items(w), 0);
    assert_true(repair_is_strong(w, "o", data)); /* young as it is */
    repair_expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

static void a_put_whose_proxy_ends_at_once_is_left_to_maintenance(void **state)
{
    (void)state;
    put_and_end(errors);
    put_and_end(hangs);
}

/* The proxy could not leave it to anybody. */
static void a_read_finds_an_object_that_is_still_incomplete(void **state)
{
    struct fixture *f = fixture_new(6);
    struct world *w = f->w;
    uint8_t *data;

    (void)state;
    hold_repairs(w, true);
    fail_two(w, true);
    data = fixture_put(f, "o", BYTES);
    world_settle(w);
    fail_two(w, false);
    end_in_vain(w);
    assert_int_equal(count_items(w), 0);
    repair_read_slice(w, data, 5);
    assert_int_equal(w->engine->repairs.count, 0); /* its put may not have ended */
    age(w, "o");
    repair_read_slice(w, data, 5);
    assert_int_equal(w->engine->repairs.count, 1);
    repair_wait_strong(w, "o", data); /* all of it, not that slice */
    repair_wait_idle(w);
    age(w, "o");
    repair_read_whole(w, data);
    assert_int_equal(w->engine->repairs.count, 0);
    repair_expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

/* Another made it whole, and this proxy does not know. */
static void who_reads_with_an_old_manifest_gets_the_present_one(void **state)
{
    struct fixture *f = fixture_new(6);
    struct world *w = f->w;
    struct ended ended = {0};
    struct manifest old;
    struct object *object;
    uint8_t *data;

    (void)state;
    hold_repairs(w, true);
    fail_two(w, true);
    data = fixture_put(f, "o", BYTES);
    world_settle(w);
    fail_two(w, false);
    assert_true(world_manifest(w, "o", &old));
    world_new_engine(w);
    fixture_osds_back(f);
    repair_start_repairs(w, "o", 0x3f, &ended);
    loop_fixture_run_until(&w->base, &ended.done);
    assert_int_equal(ended.rc, 0);
    object = object_new(w->ns_id, &old);
    manifest_cache_put(&w->engine->manifests, object);
    object_drop(object);
    age(w, "o");
    repair_read_slice(w, data, 5);
    assert_int_equal(w->engine->repairs.count, 1);
    repair_wait_idle(w);
    age(w, "o");
    repair_read_slice(w, data, 5);
    assert_int_equal(w->engine->repairs.count, 0);
    free(data);
    fixture_free(f);
}

static void what_fewer_osds_than_fragments_cannot_hold_is_not_tried(void **state)
{
    struct fixture *f = fixture_new(5);
    uint8_t *data = fixture_put(f, "o", BYTES);

    (void)state;
    world_settle(f->w);
    assert_true(holes(f->w, "o") > 0);
    assert_int_equal(f->w->engine->stats.totals.incomplete_objects, 1);
    age(f->w, "o");
    repair_read_whole(f->w, data);
    assert_int_equal(f->w->engine->repairs.count, 0);
    world_add_asd(f->w, "late", "n2");
    world_new_engine(f->w);
    repair_read_slice(f->w, data, 5);
    age(f->w, "o");
    repair_read_slice(f->w, data, 5); /* now there is a place */
    repair_wait_strong(f->w, "o", data);
    free(data);
    fixture_free(f);
}

/* It has failed so often that it would wait for long. */
static void an_item_is_tried_again_sooner_when_an_osd_is_taken_back(void **state)
{
    struct fixture *f = fixture_new(6);
    uint8_t *data;

    (void)state;
    fail_two(f->w, true);
    data = fixture_put(f, "o", BYTES);
    wait_items(f->w, 1);
    for (unsigned i = 0; i < FAILURES; i++) {
        fixture_agent(f, FIXTURE_GRACE_LONG_MS);
        fixture_rounds(f, 1);
        assert_int_equal(f->agent.status.counts.repairs_failed, 1);
    }
    fail_two(f->w, false);
    fixture_osds_back(f);
    for (unsigned ms = 0; ms < WAIT_MS && count_items(f->w) > 0; ms += 100) {
        loop_fixture_run_ms(&f->w->base, 100);
        fixture_rounds(f, 1);
    }
    assert_int_equal(count_items(f->w), 0);
    assert_true(repair_is_strong(f->w, "o", data));
    free(data);
    fixture_free(f);
}

/* Of chunk 0, a fragment that an OSD has, or that none has; from `from` on. */
static uint32_t find_fragment(const struct manifest *m, uint32_t from, bool has_osd)
{
    uint32_t i = from;

    while (i < manifest_fragments_per_chunk(m) &&
           manifest_fragment_at(m, 0, i)->has_osd != has_osd) {
        i++;
    }
    return i;
}

/* Put without the OSD `away`, so that fragments before others have no OSD. */
static struct manifest put_with_hole(struct world *w, unsigned away, const uint8_t *data)
{
    struct manifest m;

    for (;;) {
        fake_asd_set_fate(w->asds[away], errors, NULL);
        assert_int_equal(world_put(w, "o", data, BYTES), 0);
        world_settle(w);
        assert_true(world_manifest(w, "o", &m));
        assert_true(holes_count(&m) > 0);
        if (find_fragment(&m, 0, false) + 1 < manifest_fragments_per_chunk(&m)) {
            return m;
        }
        manifest_release(&m);
        fake_asd_set_fate(w->asds[away], NULL, NULL);
        world_new_engine(w);
        hold_repairs(w, true);
    }
}

static int make_old(void *ctx, struct manifest *m)
{
    (void)ctx;
    m->timestamp_us -= REPAIR_YOUNG_US + 1000000;
    return 0;
}

static void on_made_old(void *ctx, int rc, struct nsm_reply *reply)
{
    (void)reply;
    assert_int_equal(rc, 0);
    *(bool *)ctx = true;
}

/* The same where it is stored. */
static void age_stored(struct world *w, const struct manifest *m)
{
    struct nsm *nsm = nsm_new(w->kv);
    uint64_t epoch;
    bool done = false;

    assert_true(epochs_get(&w->engine->epochs, w->ns_id, &epoch));
    nsm_update(nsm, w->ns_id, m->object_id, epoch, make_old, on_made_old, &done);
    loop_fixture_run_until(&w->base, &done);
    nsm_free(nsm);
}

/* It goes back to the only OSD that may have it. */
static void expect_only_the_lost_one_repaired(bool is_hole_asked)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,5,2]]", 16384, "lz4"));
    uint8_t *data = mem_alloc(BYTES);
    struct ended ended = {0};
    uint32_t hole, lost;
    struct manifest m;

    hold_repairs(w, true);
    world_fill(w, data, BYTES);
    m = put_with_hole(w, 1, data);
    hole = find_fragment(&m, 0, false);
    lost = find_fragment(&m, hole, true);
    repair_harm_everywhere(w, "o", lost, FLIP);
    if (!is_hole_asked) {
        age_stored(w, &m);
    }
    repair_start_repairs(w, "o", is_hole_asked ? 1U << lost | 1U << hole : 1U << lost, &ended);
    loop_fixture_run_until(&w->base, &ended.done);
    assert_int_equal(ended.fragments, m.chunk_count);
    assert_int_equal(ended.rc, is_hole_asked ? ERR_NO_POLICY : 0);
    assert_int_equal(holes(w, "o"), m.chunk_count);
    manifest_release(&m);
    free(data);
    world_free(w);
}

static void what_was_lost_is_repaired_although_a_hole_finds_no_place(void **state)
{
    (void)state;
    expect_only_the_lost_one_repaired(true);
    expect_only_the_lost_one_repaired(false);
}

/* "o" without fragments on OSD 1, which stays away; that was tried, and left. */
static uint8_t *put_that_rests(struct fixture *f)
{
    uint8_t *data;

    fake_asd_down(f->w->asds[1]);
    data = fixture_put(f, "o", BYTES);
    assert_true(holes(f->w, "o") > 0);
    wait_items(f->w, 1);
    loop_fixture_run_ms(&f->w->base, 50);
    assert_int_equal(f->w->engine->repairs.count, 1);
    return data;
}

/* The first fragment of chunk 0 that an OSD has, in every chunk. Returns how many. */
static unsigned harm_one(struct world *w, enum harm harm)
{
    struct manifest m;
    unsigned chunks;

    assert_true(world_manifest(w, "o", &m));
    chunks = m.chunk_count;
    repair_harm_everywhere(w, "o", find_fragment(&m, 0, true), harm);
    manifest_release(&m);
    return chunks;
}

static void damage_of_an_object_that_rests_for_its_hole_is_repaired(void **state)
{
    struct fixture *f = fixture_new(6);
    struct stats_totals *totals = &f->w->engine->stats.totals;
    uint8_t *data = put_that_rests(f);
    unsigned harmed = harm_one(f->w, FLIP);

    (void)state;
    repair_read_whole(f->w, data);
    for (unsigned ms = 0; ms < WAIT_MS && totals->fragments_repaired < harmed; ms += 50) {
        loop_fixture_run_ms(&f->w->base, 50);
        repair_queue_tick(&f->w->engine->repairs);
    }
    assert_int_equal(totals->fragments_repaired, harmed);
    assert_int_equal(totals->repairs_dropped, 0);
    assert_int_equal(count_items(f->w), 1);
    free(data);
    fixture_free(f);
}

/* Until so many items are left: the time of a round may be over after one of them. */
static void rounds_until(struct fixture *f, size_t items)
{
    for (unsigned i = 0; i < 100 && count_items(f->w) != items; i++) {
        fixture_rounds(f, 1);
    }
    assert_int_equal(count_items(f->w), items);
}

/* The agent does it while the OSD that the holes wait for is still away. */
static void damage_is_left_to_maintenance_besides_the_holes_of_its_object(void **state)
{
    struct fixture *f = fixture_new(6);
    uint8_t *data = put_that_rests(f);
    struct trouble t = {.w = f->w, .left = 100000, .fate = FAKE_FULL};
    unsigned harmed = harm_one(f->w, LOSE);

    (void)state;
    repair_trouble_all(&t);
    repair_read_whole(f->w, data);
    wait_items(f->w, 2);
    t.left = 0;
    for (unsigned ms = 0; ms < WAIT_MS && osds_aside_count(f->w->engine->osds) > 1; ms += 50) {
        loop_fixture_run_ms(&f->w->base, 50);
    }
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    rounds_until(f, 1);
    assert_int_equal(f->agent.status.counts.fragments_repaired, harmed);
    assert_int_equal(f->agent.status.counts.work_done, 1);
    fake_asd_up(f->w->asds[1]);
    fixture_osds_back(f);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    rounds_until(f, 0);
    assert_true(repair_is_strong(f->w, "o", data));
    free(data);
    fixture_free(f);
}

/* Objects that nobody knows: what matters is how many wait. */
static void note_thousands(struct world *w)
{
    struct repair_queue *queue = &w->engine->repairs;
    struct repair_spot spot = {0};

    for (uint32_t i = 0; i < 2 * REPAIR_QUEUE_MAX; i++) {
        uint8_t id[MANIFEST_OBJECT_ID_BYTES] = {0};

        memcpy(id, &i, sizeof(i));
        repair_queue_add(queue, w->ns_id, slice_of(id, sizeof(id)), &spot);
        repair_queue_add(queue, w->ns_id, slice_of(id, sizeof(id)), &spot);
        assert_true(queue->count <= REPAIR_QUEUE_HOLES_MAX);
    }
    assert_int_equal(queue->count, REPAIR_QUEUE_HOLES_MAX);
}

static void thousands_of_them_are_bounded_and_counted(void **state)
{
    struct fixture *f = fixture_new(6);
    struct repair_queue *queue = &f->w->engine->repairs;
    struct object *object;
    uint8_t *data;

    (void)state;
    hold_repairs(f->w, true);
    data = fixture_put(f, "o", BYTES);
    note_thousands(f->w);
    assert_true(f->w->engine->stats.totals.repairs_dropped >= REPAIR_QUEUE_MAX);
    repair_read_slice(f->w, data, 5);
    object = manifest_cache_get(&f->w->engine->manifests, f->w->ns_id, slice_str("o"));
    assert_non_null(object);
    repair_queue_note(queue, object, 0, 1); /* damage still has room */
    assert_int_equal(queue->count, REPAIR_QUEUE_HOLES_MAX + 1);
    object_drop(object);
    free(data);
    hold_repairs(f->w, false);
    repair_wait_idle(f->w);
    fixture_free(f);
}

struct first_look {
    struct world *w;
    unsigned waiting; /* entries, when a repair first asked an OSD for something; 0: none has */
};

static enum fake_fate look(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct first_look *first = ctx;

    (void)asd;
    if (request->prio == ASD_PRIO_LOW && first->waiting == 0) {
        first->waiting = first->w->engine->repairs.count;
    }
    return FAKE_NORMAL;
}

/* Objects that nobody knows: their repairs ask no OSD. */
static void what_was_lost_is_repaired_before_holes_that_came_earlier(void **state)
{
    struct fixture *f = fixture_new(6);
    struct repair_queue *queue = &f->w->engine->repairs;
    struct first_look first = {.w = f->w};
    struct repair_spot spot = {0};
    uint8_t *data = fixture_put(f, "o", BYTES);

    (void)state;
    world_settle(f->w);
    hold_repairs(f->w, true);
    for (uint32_t i = 0; i < REPAIR_QUEUE_HOLES_MAX; i++) {
        uint8_t id[MANIFEST_OBJECT_ID_BYTES] = {0};

        memcpy(id, &i, sizeof(i));
        repair_queue_add(queue, f->w->ns_id, slice_of(id, sizeof(id)), &spot);
    }
    harm_one(f->w, LOSE);
    repair_read_whole(f->w, data);
    assert_int_equal(queue->count, REPAIR_QUEUE_HOLES_MAX + 1);
    loop_fixture_run_ms(&f->w->base, 2 * REPAIR_QUEUE_DELAY_MS); /* all are due */
    for (unsigned i = 0; i < f->w->asd_count; i++) {
        fake_asd_set_fate(f->w->asds[i], look, &first);
    }
    hold_repairs(f->w, false);
    repair_queue_tick(queue);
    repair_wait_strong(f->w, "o", data);
    assert_true(first.waiting > REPAIR_QUEUE_HOLES_MAX / 2);
    repair_wait_idle(f->w);
    free(data);
    fixture_free(f);
}

static void at_the_end_all_of_them_are_left_or_given_up_with_the_first(void **state)
{
    struct fixture *f = fixture_new(6);

    (void)state;
    hold_repairs(f->w, true);
    note_thousands(f->w);
    assert_int_equal(end_in_vain(f->w), 1);
    assert_int_equal(count_items(f->w), 0);
    hold_repairs(f->w, true);
    note_thousands(f->w);
    world_new_engine(f->w);
    assert_int_equal(count_items(f->w), REPAIR_QUEUE_HOLES_MAX);
    fixture_free(f);
}

/* As alba-proxy ends then. */
static void without_metadata_the_end_comes_when_its_calls_are_canceled(void **state)
{
    struct fixture *f = fixture_new(6);
    struct world *w = f->w;
    bool closed = false;

    (void)state;
    hold_repairs(w, true);
    note_thousands(w);
    kv_mem_freeze(w->kv, true);
    engine_close(w->engine, loop_set_true, &closed);
    loop_fixture_run_ms(&w->base, 100);
    assert_false(closed);
    registry_cancel(w->registry);
    loop_fixture_run_until(&w->base, &closed);
    kv_mem_freeze(w->kv, false);
    w->engine = engine_new(&w->base.loop, w->registry, &(struct engine_options){.threads = 1});
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_no_osd_took_is_counted_and_left_until_osds_are_back),
        cmocka_unit_test(what_can_be_placed_is_made_anew_without_a_work_item),
        cmocka_unit_test(a_put_whose_proxy_ends_at_once_is_left_to_maintenance),
        cmocka_unit_test(a_read_finds_an_object_that_is_still_incomplete),
        cmocka_unit_test(who_reads_with_an_old_manifest_gets_the_present_one),
        cmocka_unit_test(what_fewer_osds_than_fragments_cannot_hold_is_not_tried),
        cmocka_unit_test(an_item_is_tried_again_sooner_when_an_osd_is_taken_back),
        cmocka_unit_test(what_was_lost_is_repaired_although_a_hole_finds_no_place),
        cmocka_unit_test(damage_of_an_object_that_rests_for_its_hole_is_repaired),
        cmocka_unit_test(damage_is_left_to_maintenance_besides_the_holes_of_its_object),
        cmocka_unit_test(what_was_lost_is_repaired_before_holes_that_came_earlier),
        cmocka_unit_test(thousands_of_them_are_bounded_and_counted),
        cmocka_unit_test(at_the_end_all_of_them_are_left_or_given_up_with_the_first),
        cmocka_unit_test(without_metadata_the_end_comes_when_its_calls_are_canceled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
