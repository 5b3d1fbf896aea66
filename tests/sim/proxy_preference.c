/* Read preference: near nodes and datacenters are asked, far ones only when there is no other way.
 * What crosses is counted at the ASDs. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/proxy_world.h"

enum { BYTES = 200000, READS = 60 };

static void prefer(struct world *w, const char *const *near, unsigned count)
{
    w->near_places = near;
    w->near_place_count = count;
    world_new_engine(w);
    engine_set_hedging(w->engine, false); /* what is asked is counted */
}

/* A world whose engine prefers node n0. */
static struct world *near_world(unsigned asds, unsigned nodes, const char *preset)
{
    static const char *const near[] = {"n0"};
    struct world *w = world_new(asds, nodes, preset);

    prefer(w, near, 1);
    return w;
}

/* ASD i is at place i % places, a node or a datacenter; place 0 is near. */
static unsigned far_reads(const struct world *w, unsigned places)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->asd_count; i++) {
        count += i % places != 0 ? w->asds[i]->reads : 0;
    }
    return count;
}

static uint8_t *put(struct world *w)
{
    uint8_t *data = mem_alloc(BYTES);

    world_fill(w, data, BYTES);
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    return data;
}

static void read_slice(struct world *w, const uint8_t *data)
{
    struct proxy_slice slice = {.bytes = 300};
    uint8_t *got = NULL;
    size_t bytes = 0;

    slice.offset = (int64_t)rnd_below(&w->rnd, BYTES - 300);
    assert_int_equal(world_get_slices(w, "o", &slice, 1, NULL, &got, &bytes), 0);
    assert_int_equal(bytes, 300);
    assert_memory_equal(got, data + slice.offset, 300);
    free(got);
}

static void expect_no_crossing(struct world *w, unsigned places, const uint8_t *data, bool slices)
{
    unsigned before = far_reads(w, places);
    uint64_t counted = w->engine->stats.totals.far_reads;

    for (unsigned i = 0; i < READS; i++) {
        if (slices) {
            read_slice(w, data);
        } else {
            world_expect(w, "o", data, BYTES);
        }
    }
    assert_int_equal(far_reads(w, places), before);
    assert_int_equal(w->engine->stats.totals.far_reads, counted);
    assert_true(w->engine->stats.totals.near_reads > 0);
}

/* With the near OSDs away it is read from the far ones; when they are back, from them again. */
static void fall_back_and_return(struct world *w, unsigned places, const uint8_t *data, bool slices)
{
    uint64_t counted = w->engine->stats.totals.far_reads;

    for (unsigned i = 0; i < w->asd_count; i += places) {
        fake_asd_down(w->asds[i]);
    }
    for (unsigned i = 0; i < 5; i++) {
        read_slice(w, data);
        world_expect(w, "o", data, BYTES);
    }
    assert_true(w->engine->stats.totals.far_reads > counted);
    for (unsigned i = 0; i < w->asd_count; i += places) {
        fake_asd_up(w->asds[i]);
    }
    for (unsigned ms = 0; ms < 20000 && osds_aside_count(w->engine->osds) > 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
    }
    expect_no_crossing(w, places, data, slices);
}

static void a_replica_on_a_near_node_is_read(void **state)
{
    struct world *w = near_world(4, 2, WORLD_PRESET("[[1,1,2,1]]", 65536, "lz4"));
    uint8_t *data = put(w);

    (void)state;
    expect_no_crossing(w, 2, data, false);
    fall_back_and_return(w, 2, data, false);
    free(data);
    world_free(w);
}

static void a_slice_is_read_from_a_replica_on_a_near_node(void **state)
{
    const char *presets[] = {WORLD_PRESET("[[1,1,2,1]]", 65536, "lz4"),
                             WORLD_PRESET("[[1,1,2,1]]", 65536, "none")};

    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct world *w = near_world(4, 2, presets[p]);
        uint8_t *data = put(w);

        expect_no_crossing(w, 2, data, true);
        fall_back_and_return(w, 2, data, true);
        free(data);
        world_free(w);
    }
}

/* k of the fragments are near, whichever they are: data that is far is computed from them. */
static void a_healthy_read_of_coded_objects_crosses_the_far_link_zero_times(void **state)
{
    const char *presets[] = {WORLD_PRESET("[[2,2,4,2]]", 16384, "lz4"),
                             WORLD_PRESET("[[2,2,4,2]]", 16384, "none")};

    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct world *w = near_world(4, 2, presets[p]);
        uint8_t *data = put(w);

        expect_no_crossing(w, 2, data, false);
        expect_no_crossing(w, 2, data, true);
        fall_back_and_return(w, 2, data, true);
        free(data);
        world_free(w);
    }
}

static void move(struct world *w, unsigned asd, const char *datacenter)
{
    const struct registry_osd *known =
        registry_view_osd_find(registry_view(w->registry), w->asds[asd]->long_id);
    struct registry_osd osd = *known;
    bool done = false;

    osd.datacenter = datacenter;
    registry_osd_update(w->registry, &osd, world_registry_done, &done);
    loop_fixture_run_until(&w->base, &done);
}

/* Every ASD is on a node of its own; their datacenter, or one of them and the node of the other, is
 * named. An OSD of the unnamed datacenter is far, and so is every one while nothing that is named
 * exists. */
static void an_osd_is_near_by_its_node_or_its_datacenter(void **state)
{
    static const char *const east[] = {"west-1", "east"}, *const mixed[] = {"n2", "centre", ""};
    static const char *const nowhere[] = {"", "n9"};
    struct world *w = world_new(4, 4, WORLD_PRESET("[[2,2,4,2]]", 16384, "none"));
    uint8_t *data = put(w);

    (void)state;
    move(w, 0, "east");
    move(w, 2, "east");
    prefer(w, east, 2);
    expect_no_crossing(w, 2, data, false);
    expect_no_crossing(w, 2, data, true);
    fall_back_and_return(w, 2, data, true);

    move(w, 0, "centre");
    move(w, 2, "");
    prefer(w, mixed, 3);
    expect_no_crossing(w, 2, data, true);

    prefer(w, nowhere, 2);
    read_slice(w, data);
    assert_int_equal(w->engine->stats.totals.near_reads, 0);
    assert_true(w->engine->stats.totals.far_reads > 0);
    free(data);
    world_free(w);
}

/* What the registry says of an OSD counts from when it is seen. */
static void an_osd_that_moves_to_a_near_datacenter_is_near(void **state)
{
    static const char *const east[] = {"east"};
    struct world *w = world_new(4, 4, WORLD_PRESET("[[1,1,2,1]]", 65536, "none"));
    uint8_t *data = put(w);

    (void)state;
    prefer(w, east, 1);
    read_slice(w, data);
    assert_int_equal(w->engine->stats.totals.near_reads, 0);
    for (unsigned i = 0; i < 4; i++) {
        move(w, i, "east");
    }
    while (!osds_at(w->engine->osds, 0)->near || !osds_at(w->engine->osds, 3)->near) {
        loop_fixture_run_ms(&w->base, 10);
    }
    expect_no_crossing(w, 1, data, true);
    free(data);
    world_free(w);
}

/* Fewer than k near: a slice of a fragment that is far costs one request there, not several. */
static void with_too_few_near_ones_a_slice_crosses_once(void **state)
{
    struct world *w = near_world(6, 3, WORLD_PRESET("[[4,2,6,2]]", 65536, "none"));
    uint8_t *data = put(w);

    (void)state;
    for (unsigned i = 0; i < READS; i++) {
        uint64_t counted = w->engine->stats.totals.far_reads;
        struct proxy_slice slice = {.offset = (int64_t)rnd_below(&w->rnd, 48) * 4096, .bytes = 100};
        uint8_t *got = NULL;
        size_t bytes = 0;

        assert_int_equal(world_get_slices(w, "o", &slice, 1, NULL, &got, &bytes), 0);
        assert_memory_equal(got, data + slice.offset, 100);
        assert_true(w->engine->stats.totals.far_reads <= counted + 1);
        free(got);
    }
    free(data);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_on_a_near_node_is_read),
        cmocka_unit_test(a_slice_is_read_from_a_replica_on_a_near_node),
        cmocka_unit_test(a_healthy_read_of_coded_objects_crosses_the_far_link_zero_times),
        cmocka_unit_test(an_osd_is_near_by_its_node_or_its_datacenter),
        cmocka_unit_test(an_osd_that_moves_to_a_near_datacenter_is_near),
        cmocka_unit_test(with_too_few_near_ones_a_slice_crosses_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
