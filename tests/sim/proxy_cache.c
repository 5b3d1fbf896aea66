/* What a proxy gives from memory, and what it may not. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/proxy_fixture.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

enum { BYTES = 400000 };

static struct world *world_with_cache(const char *preset, size_t cache_bytes, uint8_t *ret_data)
{
    struct world *w = world_new(6, 6, preset);

    engine_set_hedging(w->engine, false); /* what is asked is counted */
    block_cache_init(&w->engine->blocks, cache_bytes);
    world_fill(w, ret_data, BYTES);
    assert_int_equal(world_put(w, "o", ret_data, BYTES), 0);
    return w;
}

/* Returns the OSD calls that it took. */
static unsigned expect_slice(struct world *w, const char *name, const uint8_t *data,
                             uint64_t offset, uint32_t bytes)
{
    struct proxy_slice slice = {.offset = (int64_t)offset, .bytes = (int32_t)bytes};
    unsigned before = world_osd_reads(w);
    uint8_t *got = NULL;
    size_t got_bytes = 0;

    assert_int_equal(world_get_slices(w, name, &slice, 1, NULL, &got, &got_bytes), 0);
    assert_int_equal(got_bytes, bytes);
    assert_int_equal(memcmp(got, data + offset, bytes), 0);
    free(got);
    return world_osd_reads(w) - before;
}

static void a_slice_read_again_asks_no_osd(void **state)
{
    const char *presets[] = {WORLD_PRESET(P42, 65536, "lz4"), WORLD_PRESET(P42, 65536, "none"),
                             WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4")};
    static uint8_t data[BYTES];

    (void)state;
    for (size_t p = 0; p < sizeof(presets) / sizeof(*presets); p++) {
        struct world *w = world_with_cache(presets[p], 1 << 20, data);

        assert_true(expect_slice(w, "o", data, 4096, 4096) > 0);
        assert_int_equal(expect_slice(w, "o", data, 4096, 4096), 0);
        assert_int_equal(expect_slice(w, "o", data, 5000, 100), 0);
        assert_true(expect_slice(w, "o", data, 300000, 10) > 0);
        assert_int_equal(expect_slice(w, "o", data, 300000, 10), 0);
        world_free(w);
    }
}

/* 4096 bytes a block when there is no codec. */
static void of_a_longer_slice_only_what_is_missing_is_asked_for(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_with_cache(WORLD_PRESET(P42, 65536, "none"), 1 << 20, data);

    (void)state;
    assert_int_equal(expect_slice(w, "o", data, 0, 8192), 1);
    assert_int_equal(expect_slice(w, "o", data, 16384, 4096), 1);
    assert_int_equal(expect_slice(w, "o", data, 100, 20000), 1); /* the blocks 2 and 3 */
    assert_int_equal(expect_slice(w, "o", data, 0, 20480), 0);
    assert_int_equal(w->engine->blocks.items.count, 5);
    world_free(w);
}

/* Sizes and places by chance, a cache that is too small, OSDs that lose and spoil fragments. */
static void slices_are_right_whatever_is_in_memory(void **state)
{
    const char *presets[] = {WORLD_PRESET(P42, 65536, "lz4"), WORLD_PRESET(P42, 65536, "none"),
                             WORLD_PRESET("[[1,2,3,1]]", 131072, "none"),
                             WORLD_PRESET("[[1,2,3,1]]", 4096, "lz4")};
    static uint8_t data[BYTES];

    (void)state;
    for (size_t p = 0; p < sizeof(presets) / sizeof(*presets); p++) {
        struct world *w = world_with_cache(presets[p], 200000, data);

        for (unsigned i = 0; i < 300; i++) {
            uint64_t offset = rnd_below(&w->rnd, BYTES);
            uint64_t most = rnd_below(&w->rnd, 4) == 0 ? BYTES : 6000;
            uint64_t bytes = 1 + rnd_below(&w->rnd, BYTES - offset);

            expect_slice(w, "o", data, offset, (uint32_t)(bytes < most ? bytes : most));
            assert_true(w->engine->blocks.items.used_bytes <= 200000);
            if (i == 100) {
                fake_asd_down(w->asds[0]);
            }
        }
        assert_true(w->engine->blocks.hits > 50);
        fake_asd_up(w->asds[0]);
        world_free(w);
    }
}

/* What was computed from other fragments is kept as what it is: k reads are saved, not one. */
static void a_reconstructed_slice_is_kept_too(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_with_cache(WORLD_PRESET(P42, 65536, "lz4"), 1 << 20, data);
    struct manifest m;
    struct buf key;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    key = world_fragment_key(w, &m, 0, 0);
    assert_true(
        fake_asd_remove(world_asd_of(w, manifest_fragment_at(&m, 0, 0)->osd_id), slice_buf(&key)));
    assert_true(expect_slice(w, "o", data, 4096, 4096) > 4);
    assert_int_equal(w->engine->stats.totals.reconstructed, 1);
    assert_int_equal(expect_slice(w, "o", data, 4096, 4096), 0);
    assert_int_equal(w->engine->blocks.items.count, 1);
    buf_release(&key);
    manifest_release(&m);
    world_free(w);
}

static void what_was_written_again_or_deleted_is_not_given(void **state)
{
    static uint8_t data[BYTES], other[BYTES];
    struct world *w = world_with_cache(WORLD_PRESET(P42, 65536, "lz4"), 1 << 20, data);
    struct proxy_slice slice = {.offset = 4096, .bytes = 4096};
    uint8_t *got = NULL;
    size_t bytes = 0;
    int32_t rc = 0;

    (void)state;
    world_fill(w, other, BYTES);
    for (unsigned i = 0; i < 4; i++) {
        const uint8_t *now = i % 2 == 0 ? other : data;

        expect_slice(w, "o", i % 2 == 0 ? data : other, 4096, 4096);
        assert_int_equal(world_put(w, "o", now, BYTES), 0);
        assert_true(expect_slice(w, "o", now, 4096, 4096) > 0);
        assert_int_equal(expect_slice(w, "o", now, 4096, 4096), 0);
    }
    assert_int_equal(world_delete(w, "o"), 0);
    assert_int_not_equal(world_get_slices(w, "o", &slice, 1, &rc, &got, &bytes), 0);
    assert_int_equal(rc, PROXY_RC_OBJECT_NOT_FOUND);
    world_free(w);
}

/* A backup of everything, whole or in small steps, must not cost the others their memory. */
static void reading_whole_objects_leaves_the_blocks_of_slices_alone(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_with_cache(WORLD_PRESET(P42, 65536, "none"), 150000, data);
    char name[8] = "o0";

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        expect_slice(w, "o", data, 4096, 4096);
        expect_slice(w, "o", data, 65536 + 4096, 4096);
    }
    for (unsigned i = 0; i < 5; i++) {
        name[1] = (char)('0' + i);
        assert_int_equal(world_put(w, name, data, BYTES), 0);
        world_expect(w, name, data, BYTES);
        assert_int_equal(w->engine->blocks.items.count, 2);
    }
    for (unsigned i = 0; i < 2; i++) {
        name[1] = (char)('0' + i);
        for (uint64_t at = 0; at < BYTES / 1024 * 1024; at += 1024) {
            expect_slice(w, name, data, at, 1024);
        }
    }
    assert_int_equal(expect_slice(w, "o", data, 4096, 4096), 0);
    assert_int_equal(expect_slice(w, "o", data, 65536 + 4096, 4096), 0);
    world_free(w);
}

/* ---- through the protocol ---- */

static int32_t read_slice(struct fixture *f, struct slice ns)
{
    struct proxy_slice cut = {.offset = 4096, .bytes = 4096};
    struct proxy_object_slices object = {.name = slice_str("o"), .slices = &cut, .slice_count = 1};
    struct proxy_request request = {
        .code = PROXY_READ_SLICES, .ns = ns, .reads = {.items = &object, .count = 1}};

    return fixture_simple(f, &request);
}

static void put_into(struct fixture *f, struct slice ns, const uint8_t *data, size_t bytes)
{
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, bytes)};
    struct proxy_request request = {
        .code = PROXY_APPLY, .ns = ns, .apply = {.updates = &update, .update_count = 1}};

    assert_int_equal(fixture_simple(f, &request), PROXY_RC_OK);
}

static void a_dropped_cache_holds_nothing_of_its_namespace(void **state)
{
    const uint32_t codes[] = {PROXY_INVALIDATE_CACHE, PROXY_DROP_CACHE};
    struct fixture *f = fixture_new(0);
    struct engine *engine = f->w->engine;
    static uint8_t data[BYTES];

    (void)state;
    block_cache_init(&engine->blocks, 1 << 20);
    world_fill(f->w, data, sizeof(data));
    world_create_namespace(f->w, "other");
    put_into(f, fixture_ns(), data, sizeof(data));
    put_into(f, slice_str("other"), data, sizeof(data));
    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++) {
        struct proxy_request drop = {.code = codes[i], .ns = fixture_ns()};
        unsigned before;

        assert_int_equal(read_slice(f, fixture_ns()), PROXY_RC_OK);
        assert_int_equal(read_slice(f, slice_str("other")), PROXY_RC_OK);
        assert_int_equal(engine->blocks.items.count, 2);
        assert_int_equal(engine->manifests.items.count, 2);
        assert_int_equal(fixture_simple(f, &drop), PROXY_RC_OK);
        assert_int_equal(engine->blocks.items.count, 1);
        assert_int_equal(engine->manifests.items.count, 1);
        before = world_osd_reads(f->w);
        assert_int_equal(read_slice(f, slice_str("other")), PROXY_RC_OK);
        assert_int_equal(world_osd_reads(f->w), before);
        assert_int_equal(read_slice(f, fixture_ns()), PROXY_RC_OK);
        assert_true(world_osd_reads(f->w) > before);
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_read_again_asks_no_osd),
        cmocka_unit_test(of_a_longer_slice_only_what_is_missing_is_asked_for),
        cmocka_unit_test(slices_are_right_whatever_is_in_memory),
        cmocka_unit_test(a_reconstructed_slice_is_kept_too),
        cmocka_unit_test(what_was_written_again_or_deleted_is_not_given),
        cmocka_unit_test(reading_whole_objects_leaves_the_blocks_of_slices_alone),
        cmocka_unit_test(a_dropped_cache_holds_nothing_of_its_namespace),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
