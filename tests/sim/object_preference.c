/* Read preference of the client library: what crosses is counted at the ASDs. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/object_world.h"

#define CODED(codec) WORLD_PRESET("[[4,2,6,1]]", 65536, codec)

enum { BYTES = 800000, READS = 60 };

static const char *const near_nodes[] = {"n0", "n1", "n2", "n3"};

/* Requests for data that came to the ASDs behind the first `near`. */
static unsigned far_reads(const struct object_world *o, unsigned near)
{
    unsigned count = 0;

    for (unsigned i = near; i < o->w->asd_count; i++) {
        count += o->w->asds[i]->reads;
    }
    return count;
}

static uint8_t *put(struct object_world *o)
{
    uint8_t *data = mem_alloc(BYTES);

    world_fill(o->w, data, BYTES);
    assert_int_equal(object_world_put(o, "o", data, BYTES), 0);
    object_world_wait_osds(o);
    object_world_settle(o);
    return data;
}

/* How many of the reads were direct. */
static unsigned read_some(struct object_world *o, const uint8_t *data)
{
    unsigned direct = object_world_expect_all(o, "o", data, BYTES);

    for (unsigned i = 1; i < READS; i++) {
        uint64_t bytes = i % 10 == 0 ? 200000 : 300;

        direct += object_world_expect(o, "o", data, rnd_below(&o->w->rnd, BYTES - bytes), bytes);
    }
    return direct;
}

static void of_replicas_a_near_one_is_read(void **state)
{
    const char *const near[] = {"n2"};
    struct object_world *o =
        object_world_new_near(3, WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4"), near, 1);
    uint8_t *data = put(o);
    struct fake_asd *asd = o->w->asds[2];
    unsigned before = asd->reads;

    (void)state;
    assert_int_equal(read_some(o, data), READS);
    assert_int_equal(asd->reads, before + object_world_counters(o).direct_round_trips);
    assert_int_equal(object_world_counters(o).direct_far_trips, 0);

    fake_asd_down(asd);
    read_some(o, data);
    assert_true(object_world_counters(o).direct_far_trips > 0);

    fake_asd_up(asd);
    for (before = asd->reads; asd->reads == before;) {
        loop_fixture_run_ms(&o->w->base, 10);
        object_world_expect(o, "o", data, 0, 100);
    }
    free(data);
    object_world_free(o);
}

static void what_near_fragments_give_is_left_to_a_proxy(const char *preset)
{
    struct object_world *o = object_world_new_near(6, preset, near_nodes, 4);
    uint8_t *data = put(o);
    struct manifest m;
    bool has_far = false;
    unsigned direct;

    assert_true(world_manifest(o->w, "o", &m));
    for (uint32_t i = 0; i < 4 * m.chunk_count; i++) {
        struct fake_asd *asd = world_asd_of(o->w, manifest_fragment_at(&m, i / 4, i % 4)->osd_id);

        has_far = has_far || asd == o->w->asds[4] || asd == o->w->asds[5];
    }
    manifest_release(&m);
    direct = read_some(o, data);
    assert_int_equal(far_reads(o, 4), 0);
    assert_int_equal(object_world_counters(o).direct_far_trips, 0);
    assert_int_equal(object_world_counters(o).far, READS - direct);
    assert_int_equal(has_far, direct < READS);
    assert_true(direct > 0);

    fake_asd_down(o->w->asds[0]); /* three near ones are too few */
    read_some(o, data);
    assert_true(far_reads(o, 4) > 0);
    free(data);
    object_world_free(o);
}

static void of_coded_objects_what_is_far_is_left_to_a_near_proxy(void **state)
{
    (void)state;
    what_near_fragments_give_is_left_to_a_proxy(CODED("none"));
    what_near_fragments_give_is_left_to_a_proxy(CODED("lz4"));
}

static void with_too_few_near_ones_fragments_are_read_where_they_are(void **state)
{
    struct object_world *o = object_world_new_near(6, CODED("none"), near_nodes, 1);
    uint8_t *data = put(o);

    (void)state;
    assert_int_equal(read_some(o, data), READS);
    assert_int_equal(object_world_counters(o).far, 0);
    assert_int_equal(object_world_counters(o).direct_far_trips, far_reads(o, 1));
    free(data);
    object_world_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_replicas_a_near_one_is_read),
        cmocka_unit_test(of_coded_objects_what_is_far_is_left_to_a_near_proxy),
        cmocka_unit_test(with_too_few_near_ones_fragments_are_read_where_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
