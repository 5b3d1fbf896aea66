/* Which way a client's reads go, and that their bytes are right whichever it is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"
#include "sim/object_world.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"
#define PLAIN WORLD_PRESET(P42, 262144, "none")
#define PACKED WORLD_PRESET(P42, 262144, "lz4")

enum { BYTES = 3 << 20 };

/* "o" is there, put by the client, and read once. */
static uint8_t *put_object(struct object_world *o, const char *name, size_t bytes)
{
    uint8_t *data = mem_alloc(bytes + 1);

    world_fill(o->w, data, bytes);
    assert_int_equal(object_world_put(o, name, data, bytes), 0);
    object_world_wait_osds(o);
    object_world_settle(o);
    return data;
}

/* Every way a fragment is read by: whole, its trailer and blocks, blocks alone, in one request. */
static void slices_are_right_and_direct(const char *preset, unsigned asds)
{
    struct object_world *o = object_world_new(asds, preset);
    const size_t sizes[] = {0, 1, 4097, 100000, 1 << 20, BYTES, BYTES + 777};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint8_t *data = put_object(o, "o", sizes[i]);
        struct object_counters before = object_world_counters(o), after;

        assert_true(object_world_expect_all(o, "o", data, sizes[i]));
        for (unsigned j = 0; j < 20; j++) {
            uint64_t offset = rnd_below(&o->w->rnd, sizes[i] + 1);
            uint64_t most = j % 2 == 0 ? 5000 : BYTES;
            uint64_t left = sizes[i] - offset;

            assert_true(object_world_expect(
                o, "o", data, offset, rnd_below(&o->w->rnd, (left < most ? left : most) + 1)));
        }
        after = object_world_counters(o);
        assert_int_equal(after.direct_reads, before.direct_reads + 21);
        assert_int_equal(after.proxy_reads, before.proxy_reads);
        free(data);
    }
    object_world_free(o);
}

static void slices_of_own_puts_come_straight_from_the_asds(void **state)
{
    (void)state;
    slices_are_right_and_direct(PLAIN, 6);
    slices_are_right_and_direct(PACKED, 6);
    slices_are_right_and_direct(WORLD_PRESET("[[1,2,3,1]]", 1048576, "lz4"), 4);
    slices_are_right_and_direct(WORLD_PRESET("[[1,2,3,1]]", 1048576, "none"), 4);
}

static void a_small_read_takes_one_round_trip_once_the_trailer_is_known(void **state)
{
    struct object_world *o = object_world_new(6, PACKED);
    uint8_t *data = put_object(o, "o", BYTES);
    const uint64_t trips[] = {2, 1, 1};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t before = object_world_counters(o).direct_round_trips;

        assert_true(object_world_expect(o, "o", data, 8192 + i * 4096, 4096));
        assert_int_equal(object_world_counters(o).direct_round_trips, before + trips[i]);
    }
    free(data);
    object_world_free(o);
    o = object_world_new(6, PLAIN);
    data = put_object(o, "o", BYTES);
    assert_true(object_world_expect(o, "o", data, 8192, 4096));
    assert_int_equal(object_world_counters(o).direct_round_trips, 1);
    free(data);
    object_world_free(o);
}

static void an_object_of_another_client_is_read_by_a_proxy_once(void **state)
{
    struct object_world *o = object_world_new(6, PLAIN);
    uint8_t *data = put_object(o, "mine", 1), *other = mem_alloc(BYTES);

    (void)state;
    world_fill(o->w, other, BYTES);
    assert_int_equal(world_put(o->w, "o", other, BYTES), 0);
    assert_false(object_world_expect(o, "o", other, 5000, 70000));
    assert_true(object_world_expect(o, "o", other, 5000, 70000));
    assert_true(object_world_expect_all(o, "o", other, BYTES));
    assert_int_equal(object_world_counters(o).not_known, 1);
    object_client_forget(o->client, slice_str("ns"));
    assert_false(object_world_expect_all(o, "o", other, BYTES));
    assert_true(object_world_expect_all(o, "o", other, BYTES));
    free(data);
    free(other);
    object_world_free(o);
}

static void without_room_for_manifests_all_reads_go_by_a_proxy(void **state)
{
    struct object_world *o = object_world_new(6, PLAIN);
    uint8_t *data = mem_alloc(BYTES);

    (void)state;
    object_world_new_client(o, 0);
    world_fill(o->w, data, BYTES);
    assert_int_equal(object_world_put(o, "o", data, BYTES), 0);
    assert_false(object_world_expect(o, "o", data, 0, 4096));
    assert_false(object_world_expect_all(o, "o", data, BYTES));
    assert_int_equal(object_world_counters(o).refreshes, 0);
    free(data);
    object_world_free(o);
}

/* ---- what others did to the object ---- */

/* All that was stored under a manifest that is no longer true. */
static void sweep(struct object_world *o, const struct manifest *m)
{
    for (uint32_t c = 0; c < m->chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            const struct manifest_fragment *f = manifest_fragment_at(m, c, i);
            struct buf key = world_fragment_key(o->w, m, c, i);

            if (f->has_osd) {
                fake_asd_remove(world_asd_of(o->w, f->osd_id), slice_buf(&key));
            }
            buf_release(&key);
        }
    }
}

static void a_stale_manifest_gives_old_bytes_whole_or_new_ones_but_never_a_mixture(void **state)
{
    struct object_world *o = object_world_new(6, PLAIN);
    uint8_t *old = put_object(o, "o", BYTES), *new = mem_alloc(BYTES / 2);
    struct manifest m;

    (void)state;
    assert_true(world_manifest(o->w, "o", &m));
    world_fill(o->w, new, BYTES / 2);
    assert_int_equal(world_put(o->w, "o", new, BYTES / 2), 0);
    object_world_expect(o, "o", old, 1 << 20, 300000); /* not collected yet: as of before */
    sweep(o, &m);
    assert_false(object_world_expect(o, "o", new, 1 << 20, 300000));
    assert_int_equal(object_world_counters(o).missing, 1);
    assert_true(object_world_expect(o, "o", new, 1 << 20, 300000));
    assert_true(object_world_expect_all(o, "o", new, BYTES / 2));
    manifest_release(&m);
    free(old);
    free(new);
    object_world_free(o);
}

static void a_consistent_read_never_uses_what_is_known(void **state)
{
    struct object_world *o = object_world_new(6, PLAIN);
    uint8_t *old = put_object(o, "o", BYTES), *got = NULL;
    size_t bytes = 0;
    bool direct;

    (void)state;
    assert_int_equal(world_put(o->w, "o", "new", 3), 0);
    assert_int_equal(object_world_get(o, "o", true, &got, &bytes, &direct), 0);
    assert_false(direct);
    assert_int_equal(bytes, 3);
    assert_memory_equal(got, "new", 3);
    bigmem_free(got);
    free(old);
    object_world_free(o);
}

static void an_object_that_another_client_deleted_is_not_found_once_it_is_gone(void **state)
{
    struct object_world *o = object_world_new(6, PACKED);
    uint8_t *data = put_object(o, "o", BYTES), *got;
    struct manifest m;
    size_t bytes;
    bool direct;

    (void)state;
    assert_true(world_manifest(o->w, "o", &m));
    assert_int_equal(world_delete(o->w, "o"), 0);
    sweep(o, &m);
    assert_int_equal(object_world_slice(o, "o", 0, 100, data, &direct), ERR_NOT_FOUND);
    assert_int_equal(object_world_get(o, "o", false, &got, &bytes, &direct), ERR_NOT_FOUND);
    manifest_release(&m);
    free(data);
    object_world_free(o);
}

static void after_an_own_write_nothing_older_is_read(void **state)
{
    struct object_world *o = object_world_new(6, PLAIN);
    uint8_t byte, *data;
    bool direct;

    (void)state;
    free(put_object(o, "o", 1));
    for (unsigned i = 0; i < 20; i++) {
        size_t bytes = 1 + rnd_below(&o->w->rnd, 400000);

        data = mem_alloc(bytes);
        world_fill(o->w, data, bytes);
        assert_int_equal(object_world_put(o, "o", data, bytes), 0);
        object_world_expect_all(o, "o", data, bytes);
        free(data);
    }
    assert_int_equal(object_world_delete(o, "o"), 0);
    assert_int_equal(object_world_slice(o, "o", 0, 1, &byte, &direct), ERR_NOT_FOUND);
    assert_int_equal(object_world_put(o, "o", "", 0), 0);
    assert_int_equal(object_world_slice(o, "o", 0, 1, &byte, &direct), -ERANGE);
    object_world_free(o);
}

/* ---- requests that are wrong ---- */

static void slices_that_overlap_or_are_too_large_are_refused_on_either_way(void **state)
{
    struct object_world *o = object_world_new(6, PLAIN);
    uint8_t *data = put_object(o, "o", 10000);
    bool direct;

    (void)state;
    assert_int_equal(object_world_slice(o, "o", 9999, 2, data, &direct), -ERANGE);
    assert_int_equal(object_world_slice(o, "o", UINT64_MAX, 2, data, &direct), -ERANGE);
    assert_int_equal(object_world_slice(o, "o", 0, UINT64_MAX, data, &direct), ERR_TOO_LARGE);
    assert_int_equal(object_world_slice(o, "p", 0, 1, data, &direct), ERR_NOT_FOUND);
    free(data);
    object_world_free(o);
}

struct ending {
    struct client_read read;
    struct object_call call;
    struct object_slice slice;
    unsigned *ended;
};

static void on_read_ended(struct client_read *read, int rc)
{
    assert_true(rc == ERR_CANCELED || rc == 0 || rc == ERR_NOT_FOUND); /* "x" */
    ++*container_of(read, struct ending, read)->ended;
}

static void on_call_ended(struct object_call *call, int rc)
{
    assert_true(rc == ERR_CANCELED || rc == 0);
    ++*container_of(call, struct ending, call)->ended;
}

static void closing_ends_what_is_under_way(void **state)
{
    enum { COUNT = 40 };
    struct object_world *o = object_world_new(6, PACKED);
    uint8_t *data = put_object(o, "o", BYTES);
    struct ending *e = mem_array(COUNT, sizeof(*e));
    unsigned ended = 0;

    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        e[i].slice = (struct object_slice){.bytes = 50000, .dest = data};
        e[i].ended = &ended;
        object_client_read(o->client, &e[i].read,
                           &(struct client_read_spec){.ns = slice_str("ns"),
                                                      .name = slice_str(i % 2 == 0 ? "o" : "x"),
                                                      .slices = &e[i].slice,
                                                      .slice_count = i % 4 == 1 ? 0 : 1,
                                                      .consistent = i % 2 == 1},
                           0, on_read_ended);
        object_client_call(o->client, &e[i].call,
                           &(struct proxy_request){.code = PROXY_GET_ALBA_ID}, 0, on_call_ended);
    }
    loop_fixture_run_ms(&o->w->base, rnd_below(&o->w->rnd, 3));
    object_world_new_client(o, 1 << 20);
    assert_int_equal(ended, 2 * COUNT);
    free(e);
    free(data);
    object_world_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_of_own_puts_come_straight_from_the_asds),
        cmocka_unit_test(a_small_read_takes_one_round_trip_once_the_trailer_is_known),
        cmocka_unit_test(an_object_of_another_client_is_read_by_a_proxy_once),
        cmocka_unit_test(without_room_for_manifests_all_reads_go_by_a_proxy),
        cmocka_unit_test(a_stale_manifest_gives_old_bytes_whole_or_new_ones_but_never_a_mixture),
        cmocka_unit_test(a_consistent_read_never_uses_what_is_known),
        cmocka_unit_test(an_object_that_another_client_deleted_is_not_found_once_it_is_gone),
        cmocka_unit_test(after_an_own_write_nothing_older_is_read),
        cmocka_unit_test(slices_that_overlap_or_are_too_large_are_refused_on_either_way),
        cmocka_unit_test(closing_ends_what_is_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
