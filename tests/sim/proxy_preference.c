/* Read preference: near nodes are asked, far ones only when there is no other way. What crosses is
 * counted at the ASDs. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/proxy_world.h"

enum { BYTES = 200000, READS = 60 };

static const char *const near_nodes[] = {"n0"};

/* A world whose engine prefers node n0. */
static struct world *near_world(unsigned asds, unsigned nodes, const char *preset)
{
    struct world *w = world_new(asds, nodes, preset);

    w->near_nodes = near_nodes;
    w->near_node_count = 1;
    world_new_engine(w);
    engine_set_hedging(w->engine, false); /* what is asked is counted */
    return w;
}

/* ASD i is on node n<i % nodes>. */
static unsigned far_reads(const struct world *w, unsigned nodes)
{
    unsigned count = 0;

    for (unsigned i = 0; i < w->asd_count; i++) {
        count += i % nodes != 0 ? w->asds[i]->reads : 0;
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

static void expect_no_crossing(struct world *w, unsigned nodes, const uint8_t *data, bool slices)
{
    unsigned before = far_reads(w, nodes);
    uint64_t counted = w->engine->stats.totals.far_reads;

    for (unsigned i = 0; i < READS; i++) {
        if (slices) {
            read_slice(w, data);
        } else {
            world_expect(w, "o", data, BYTES);
        }
    }
    assert_int_equal(far_reads(w, nodes), before);
    assert_int_equal(w->engine->stats.totals.far_reads, counted);
    assert_true(w->engine->stats.totals.near_reads > 0);
}

/* With the near OSDs away it is read from the far ones; when they are back, from them again. */
static void fall_back_and_return(struct world *w, unsigned nodes, const uint8_t *data, bool slices)
{
    uint64_t counted = w->engine->stats.totals.far_reads;

    for (unsigned i = 0; i < w->asd_count; i += nodes) {
        fake_asd_down(w->asds[i]);
    }
    for (unsigned i = 0; i < 5; i++) {
        read_slice(w, data);
        world_expect(w, "o", data, BYTES);
    }
    assert_true(w->engine->stats.totals.far_reads > counted);
    for (unsigned i = 0; i < w->asd_count; i += nodes) {
        fake_asd_up(w->asds[i]);
    }
    for (unsigned ms = 0; ms < 20000 && osds_aside_count(w->engine->osds) > 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
    }
    expect_no_crossing(w, nodes, data, slices);
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
        cmocka_unit_test(with_too_few_near_ones_a_slice_crosses_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
