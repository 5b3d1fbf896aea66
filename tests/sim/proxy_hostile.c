/* Reads that a client or a metadata store makes as hard as it can. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "meta/ns_keys.h"
#include "proxy/object_read.h"
#include "sim/proxy_world.h"

struct raw_read {
    struct object_read read;
    bool done;
    int rc;
};

static void on_raw_read(struct object_read *read, int rc)
{
    struct raw_read *raw = container_of(read, struct raw_read, read);

    raw->rc = rc;
    raw->done = true;
}

/* As a reader with this manifest would. */
static int read_by(struct world *w, const struct manifest *m, struct object_read_range range)
{
    struct raw_read raw = {.done = false};
    struct readable readable;
    struct object *object;
    struct manifest copy;
    struct err e;

    manifest_copy(&copy, m);
    object = object_new(w->ns_id, &copy);
    assert_int_equal(readable_init(&readable, w->engine, object, &e), 0);
    object_read_start(&raw.read, w->engine, &readable, &range, 1,
                      object_read_share_bytes(w->engine), on_raw_read);
    loop_fixture_run_until(&w->base, &raw.done);
    object_drop(object);
    return raw.rc;
}

/* The trailer that was kept is of a smaller fragment than the second manifest has. */
static void manifests_that_contradict_each_other_are_an_error(void **state)
{
    enum { BYTES = 4 * 131072 };
    static uint8_t data[BYTES], got[4096];
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,2]]", 131072, "lz4"));
    struct manifest m;

    (void)state;
    world_fill(w, data, BYTES);
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(read_by(w, &m, (struct object_read_range){.bytes = sizeof(got), .dest = got}),
                     0);
    assert_memory_equal(got, data, sizeof(got));
    m.chunk_bytes[0] += BYTES / 4;
    m.size_bytes += BYTES / 4;
    assert_int_equal(read_by(w, &m,
                             (struct object_read_range){
                                 .offset = BYTES / 4 + 100, .bytes = sizeof(got), .dest = got}),
                     ERR_NOT_ENOUGH);
    manifest_release(&m);
    world_free(w);
}

struct answer {
    bool done;
    int rc;
    int32_t proxy_rc;
    struct get *get;
};

static void on_answer(void *ctx, struct get *get, int rc)
{
    struct answer *answer = ctx;

    answer->rc = rc;
    answer->proxy_rc = get_proxy_rc(get);
    answer->get = get;
    answer->done = true;
}

static struct get_spec spec_of(const struct get_item *items, size_t count)
{
    return (struct get_spec){
        .ns = slice_str("ns"), .items = items, .count = count, .missing_ok = true};
}

/* As many as one request may have: no work for each that grows with their number (this took 28
 * seconds of the loop), and no memory of a read but for those under way. */
static void the_same_byte_of_ever_so_many_objects_is_read(void **state)
{
    static uint8_t data[65536];
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,2]]", 65536, "none"));
    struct get_item *items = mem_array(GET_OBJECTS_MAX, sizeof(*items));
    struct proxy_slice slice = {.offset = 4097, .bytes = 1};
    struct get_spec spec = spec_of(items, GET_OBJECTS_MAX);
    struct answer answer = {.done = false};

    (void)state;
    block_cache_init(&w->engine->blocks, 1 << 20);
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    for (size_t i = 0; i < GET_OBJECTS_MAX; i++) {
        items[i] = (struct get_item){
            .name = slice_str(i % 5 == 4 ? "absent" : "o"), .slices = &slice, .slice_count = 1};
    }
    spec.is_partial = true;
    get_start(w->engine, &spec, on_answer, &answer);
    loop_fixture_run_until(&w->base, &answer.done);
    assert_int_equal(answer.rc, 0);
    for (size_t i = 0; i < GET_OBJECTS_MAX; i++) {
        struct slice got = get_data(answer.get, i);

        assert_int_equal(got.len, i % 5 == 4 ? 0 : 1);
        assert_true(got.len == 0 || got.data[0] == data[4097]);
    }
    get_free(answer.get);
    free(items);
    world_free(w);
}

/* A name that no object can have is absent, whatever else is asked with it, and costs nobody else
 * his answer. */
static void names_that_are_too_long_are_absent(void **state)
{
    static uint8_t data[65536], long_name[2000];
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,2]]", 65536, "none"));
    struct get_item items[] = {{.name = slice_str("o")},
                               {.name = slice_of(long_name, sizeof(long_name))},
                               {.name = slice_str("")}};
    struct get_spec many = spec_of(items, 3), one = spec_of(items, 1);
    struct answer a = {.done = false}, b = {.done = false};

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    manifest_cache_remove_namespace(&w->engine->manifests, w->ns_id);
    get_start(w->engine, &many, on_answer, &a);
    get_start(w->engine, &one, on_answer, &b); /* joins */
    loop_fixture_run_until(&w->base, &a.done);
    loop_fixture_run_until(&w->base, &b.done);
    assert_int_equal(a.rc, 0);
    assert_int_equal(b.rc, 0);
    assert_int_equal(get_data(a.get, 0).len, sizeof(data));
    assert_null(get_object(a.get, 1));
    assert_null(get_object(a.get, 2));
    get_free(a.get);
    get_free(b.get);
    world_free(w);
}

static void an_object_takes_memory_once_however_often_it_is_named(void **state)
{
    enum { COUNT = 100 };
    static uint8_t data[65536];
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,2]]", 65536, "none"));
    struct get_item items[COUNT];
    struct get_spec spec = spec_of(items, COUNT);
    struct answer answer = {.done = false};
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_true(world_manifest(w, "o", &m));
    w->engine->lookup_bytes_max = manifest_memory_bytes(&m);
    manifest_cache_remove_namespace(&w->engine->manifests, w->ns_id);
    for (int i = 0; i < COUNT; i++) {
        items[i] = (struct get_item){.name = slice_str("o")};
    }
    get_start(w->engine, &spec, on_answer, &answer);
    loop_fixture_run_until(&w->base, &answer.done);
    assert_int_equal(answer.rc, 0);
    assert_memory_equal(get_data(answer.get, COUNT - 1).data, data, sizeof(data));
    get_free(answer.get);
    manifest_release(&m);
    world_free(w);
}

/* What is only going to be asked keeps nobody waiting. */
static void a_read_does_not_wait_for_a_giant_lookup(void **state)
{
    enum { COUNT = 2000 };
    static uint8_t data[65536];
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,2]]", 65536, "none"));
    struct get_item *items = mem_array(COUNT, sizeof(*items));
    struct get_spec giant = spec_of(items, COUNT), small = spec_of(&items[COUNT - 1], 1);
    struct answer a = {.done = false}, b = {.done = false};
    char names[COUNT][16];
    struct key prefix;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    manifest_cache_remove_namespace(&w->engine->manifests, w->ns_id);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "absent-%d", i);
        items[i].name = slice_str(i == COUNT - 1 ? "o" : names[i]);
    }
    ns_key_root(&prefix, w->ns_id, 'n');
    kv_mem_hold_answer(w->kv, slice_key(&prefix));
    get_start(w->engine, &giant, on_answer, &a);
    while (!kv_mem_has_held_answer(w->kv)) {
        loop_fixture_run_ms(&w->base, 1);
    }
    get_start(w->engine, &small, on_answer, &b);
    loop_fixture_run_until(&w->base, &b.done);
    assert_false(a.done);
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &a.done);
    assert_int_equal(a.rc, 0);
    assert_int_equal(b.rc, 0);
    assert_int_equal(get_data(a.get, COUNT - 1).len, sizeof(data));
    get_free(a.get);
    get_free(b.get);
    free(items);
    world_free(w);
}

/* As `count` clients at once. Returns the most that was held. */
static size_t read_within_memory(struct world *w, const struct get_spec *spec, unsigned count,
                                 size_t memory_bytes)
{
    struct answer answers[8] = {{.done = false}};
    struct world_watch watch;

    assert_true(count <= 8);
    w->engine->budget.limit_bytes = memory_bytes;
    engine_set_hedging(w->engine, false); /* what is overtaken is not theirs any more */
    world_watch_start(w, &watch, 0);
    for (unsigned i = 0; i < count; i++) {
        get_start(w->engine, spec, on_answer, &answers[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        loop_fixture_run_until(&w->base, &answers[i].done);
        assert_int_equal(answers[i].rc, 0);
        for (size_t at = 0; at < spec->count; at++) {
            struct slice first = get_data(answers[0].get, at);
            struct slice got = get_data(answers[i].get, at);

            assert_int_equal(got.len, first.len);
            assert_memory_equal(got.data, first.data, got.len);
        }
        if (i > 0) {
            get_free(answers[i].get);
        }
    }
    get_free(answers[0].get);
    world_watch_end(w, &watch);
    assert_false(watch.is_beyond);
    assert_int_equal(w->engine->scratch_bytes, 0);
    assert_int_equal(w->engine->budget.used_bytes, 0);
    return watch.most_bytes;
}

/* Each of them takes k ranges of other fragments, and k answers. */
static void slices_that_are_computed_hold_what_they_have_taken(void **state)
{
    enum { FRAGMENT = 524288, CHUNKS = 16, BYTES = CHUNKS * 4 * FRAGMENT };
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,1]]", 524288, "none"));
    struct proxy_slice slices[CHUNKS * 4];
    struct get_item item = {.name = slice_str("o"), .slices = slices};
    struct get_spec spec = spec_of(&item, 1);
    uint8_t *data = mem_alloc(BYTES), *got;
    size_t most, got_bytes;
    struct manifest m;
    uint64_t down;

    (void)state;
    world_fill(w, data, BYTES);
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    assert_true(world_manifest(w, "o", &m));
    down = manifest_fragment_at(&m, 0, 0)->osd_id;
    for (uint32_t i = 0; i < CHUNKS * 4; i++) {
        if (manifest_fragment_at(&m, i / 4, i % 4)->osd_id == down) {
            slices[item.slice_count++] =
                (struct proxy_slice){.offset = (int64_t)i * FRAGMENT, .bytes = FRAGMENT - 1};
        }
    }
    fake_asd_down(world_asd_of(w, down));
    assert_int_equal(world_get_slices(w, "o", slices, item.slice_count, NULL, &got, &got_bytes), 0);
    assert_memory_equal(got, data + slices[0].offset, FRAGMENT - 1);
    free(got);
    spec.is_partial = true;
    most = read_within_memory(w, &spec, 1, (size_t)384 << 20);
    assert_true(most > 3 * 4 * FRAGMENT); /* many at once */
    most = read_within_memory(w, &spec, 4, 32 << 20);
    assert_true(most <= 32 << 20);
    most = read_within_memory(w, &spec, 4, 1); /* one after another */
    assert_true(most > 4 * (FRAGMENT - 1) && most < 10 * FRAGMENT);
    manifest_release(&m);
    free(data);
    world_free(w);
}

static void whole_objects_that_are_computed_hold_what_they_have_taken(void **state)
{
    enum { FRAGMENT = 262144, BYTES = 2 * 16 * FRAGMENT + 100001, OBJECTS = 3 };
    struct world *w = world_new(20, 20, WORLD_PRESET("[[16,4,20,1]]", 262144, "lz4"));
    struct get_item items[OBJECTS] = {
        {.name = slice_str("o0")}, {.name = slice_str("o1")}, {.name = slice_str("o2")}};
    struct get_spec spec = spec_of(items, OBJECTS);
    uint8_t *data = mem_alloc(BYTES);
    size_t most;

    (void)state;
    world_fill(w, data, BYTES);
    for (unsigned i = 0; i < OBJECTS; i++) {
        assert_int_equal(world_put(w, (const char *)items[i].name.data, data, BYTES), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        fake_asd_down(w->asds[5 * i]);
    }
    world_expect(w, "o0", data, BYTES);
    most = read_within_memory(w, &spec, 1, (size_t)384 << 20);
    assert_true(most > 20 * FRAGMENT);
    most = read_within_memory(w, &spec, 4, 64 << 20);
    assert_true(most <= 64 << 20);
    most = read_within_memory(w, &spec, 4, 1); /* one after another */
    assert_true(most < 21 * FRAGMENT);
    free(data);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests_that_contradict_each_other_are_an_error),
        cmocka_unit_test(the_same_byte_of_ever_so_many_objects_is_read),
        cmocka_unit_test(names_that_are_too_long_are_absent),
        cmocka_unit_test(an_object_takes_memory_once_however_often_it_is_named),
        cmocka_unit_test(a_read_does_not_wait_for_a_giant_lookup),
        cmocka_unit_test(slices_that_are_computed_hold_what_they_have_taken),
        cmocka_unit_test(whole_objects_that_are_computed_hold_what_they_have_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
