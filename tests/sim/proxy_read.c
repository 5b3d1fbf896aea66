/* Reads of objects that lost fragments, in every way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/proxy_world.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

static void sizes_round_trip(const char *preset, unsigned asds, const size_t *sizes, size_t count)
{
    struct world *w = world_new(asds, asds, preset);

    for (size_t i = 0; i < count; i++) {
        uint8_t *data = mem_alloc(sizes[i] + 1);
        char name[32];

        world_fill(w, data, sizes[i]);
        snprintf(name, sizeof(name), "o%zu", sizes[i]);
        assert_int_equal(world_put(w, name, data, sizes[i]), 0);
        world_expect(w, name, data, sizes[i]);
        free(data);
    }
    world_free(w);
}

static void objects_of_all_sizes_come_back(void **state)
{
    const size_t sizes[] = {0,      1,      511,    4095,   4096,   4097,   16383,
                            16384,  16385,  65535,  65536,  65537,  131072, 196609,
                            262143, 262144, 262145, 524288, 1000003};

    (void)state;
    sizes_round_trip(WORLD_PRESET(P42, 16384, "lz4"), 6, sizes, sizeof(sizes) / sizeof(*sizes));
    sizes_round_trip(WORLD_PRESET(P42, 16384, "none"), 6, sizes, sizeof(sizes) / sizeof(*sizes));
    sizes_round_trip(WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4"), 4, sizes,
                     sizeof(sizes) / sizeof(*sizes));
    sizes_round_trip(WORLD_PRESET("[[1,2,3,1]]", 65536, "none"), 4, sizes,
                     sizeof(sizes) / sizeof(*sizes));
    sizes_round_trip(WORLD_PRESET("[[3,0,3,1]]", 16384, "lz4"), 4, sizes,
                     sizeof(sizes) / sizeof(*sizes));
}

static struct fake_asd *asd_of(struct world *w, const struct manifest *m, uint32_t chunk,
                               uint32_t fragment)
{
    return world_asd_of(w, manifest_fragment_at(m, chunk, fragment)->osd_id);
}

static void flip_everywhere(struct world *w, const struct manifest *m, uint32_t fragment)
{
    for (uint32_t c = 0; c < m->chunk_count; c++) {
        struct buf key = world_fragment_key(w, m, c, fragment);
        struct fake_asd *asd = asd_of(w, m, c, fragment);
        size_t bytes = fake_asd_value(asd, slice_buf(&key)).len;

        assert_true(bytes > 0);
        assert_true(fake_asd_flip(asd, slice_buf(&key), rnd_below(&w->rnd, bytes)));
        buf_release(&key);
    }
}

/* Take the fragments `lost` of every chunk off their ASDs. */
static void lose(struct world *w, const struct manifest *m, const uint32_t *lost, uint32_t count)
{
    for (uint32_t c = 0; c < m->chunk_count; c++) {
        for (uint32_t i = 0; i < count; i++) {
            struct buf key = world_fragment_key(w, m, c, lost[i]);

            assert_true(fake_asd_remove(asd_of(w, m, c, lost[i]), slice_buf(&key)));
            buf_release(&key);
        }
    }
}

/* Some slices, of which each must equal that part of the object. */
static void expect_slices(struct world *w, const char *name, const uint8_t *data, size_t bytes)
{
    struct proxy_slice slices[8];
    uint8_t *got = NULL;
    size_t got_bytes = 0, at = 0;
    uint32_t count = 1 + (uint32_t)rnd_below(&w->rnd, 8);
    uint64_t from = 0;
    uint32_t used = 0;

    for (uint32_t i = 0; i < count && from < bytes; i++) {
        uint64_t offset = from + rnd_below(&w->rnd, bytes - from);
        uint64_t most = bytes - offset < bytes / 6 + 70000 ? bytes - offset : bytes / 6 + 70000;
        uint64_t length = rnd_below(&w->rnd, most + 1);

        slices[used++] = (struct proxy_slice){.offset = (int64_t)offset, .bytes = (int32_t)length};
        from = offset + length;
    }
    assert_int_equal(world_get_slices(w, name, slices, used, NULL, &got, &got_bytes), 0);
    for (uint32_t i = 0; i < used; i++) {
        assert_int_equal(memcmp(got + at, data + slices[i].offset, (size_t)slices[i].bytes), 0);
        at += (size_t)slices[i].bytes;
    }
    assert_int_equal(at, got_bytes);
    free(got);
}

static void every_pair_of_lost_fragments(const char *preset)
{
    struct world *w = world_new(6, 3, preset);
    size_t bytes = 150000;
    uint8_t *data = mem_alloc(bytes);

    for (uint32_t a = 0; a < 6; a++) {
        for (uint32_t b = a + 1; b < 6; b++) {
            struct manifest m;
            uint32_t lost[] = {a, b};

            world_fill(w, data, bytes);
            assert_int_equal(world_put(w, "o", data, bytes), 0);
            assert_true(world_manifest(w, "o", &m));
            lose(w, &m, lost, 2);
            world_expect(w, "o", data, bytes);
            expect_slices(w, "o", data, bytes);
            expect_slices(w, "o", data, bytes);
            manifest_release(&m);
        }
    }
    assert_true(w->engine->stats.totals.reconstructed > 0);
    free(data);
    world_free(w);
}

static void any_two_lost_fragments_of_4_2_give_the_object_back(void **state)
{
    (void)state;
    every_pair_of_lost_fragments(WORLD_PRESET(P42, 16384, "lz4"));
    every_pair_of_lost_fragments(WORLD_PRESET(P42, 16384, "none"));
}

static void three_lost_fragments_of_4_2_are_an_error_and_not_bytes(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    uint32_t lost[] = {0, 1, 2};
    uint8_t data[40000], *got;
    struct manifest m;
    size_t bytes;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_true(world_manifest(w, "o", &m));
    lose(w, &m, lost, 3);
    assert_int_equal(world_get(w, "o", &got, &bytes), ERR_NOT_ENOUGH);
    manifest_release(&m);
    world_free(w);
}

static void random_fours_of_16_4_give_the_object_back(void **state)
{
    struct world *w = world_new(20, 20, WORLD_PRESET("[[16,4,20,1]]", 8192, "lz4"));
    size_t bytes = 300000;
    uint8_t *data = mem_alloc(bytes);

    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        uint32_t lost[4], used = 0;
        struct manifest m;

        while (used < 4) {
            uint32_t f = (uint32_t)rnd_below(&w->rnd, 20);
            bool again = false;

            for (uint32_t j = 0; j < used; j++) {
                again = again || lost[j] == f;
            }
            if (!again) {
                lost[used++] = f;
            }
        }
        world_fill(w, data, bytes);
        assert_int_equal(world_put(w, "o", data, bytes), 0);
        assert_true(world_manifest(w, "o", &m));
        lose(w, &m, lost, 4);
        world_expect(w, "o", data, bytes);
        expect_slices(w, "o", data, bytes);
        manifest_release(&m);
    }
    free(data);
    world_free(w);
}

static void slices_equal_slices_of_the_object(void **state)
{
    const char *presets[] = {WORLD_PRESET(P42, 65536, "lz4"), WORLD_PRESET(P42, 65536, "none"),
                             WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4"),
                             WORLD_PRESET("[[1,2,3,1]]", 65536, "none")};

    (void)state;
    for (size_t p = 0; p < sizeof(presets) / sizeof(*presets); p++) {
        struct world *w = world_new(6, 6, presets[p]);
        size_t bytes = 700001;
        uint8_t *data = mem_alloc(bytes);

        world_fill(w, data, bytes);
        assert_int_equal(world_put(w, "o", data, bytes), 0);
        for (unsigned i = 0; i < 60; i++) {
            expect_slices(w, "o", data, bytes);
        }
        free(data);
        world_free(w);
    }
}

/* Wherever the flipped bit is, it is found, and what it spoiled is computed from the others. */
static void flipped_bits_are_found_and_repaired_from_the_others(void **state)
{
    const char *presets[] = {WORLD_PRESET(P42, 65536, "lz4"), WORLD_PRESET(P42, 65536, "none"),
                             WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4")};

    (void)state;
    for (size_t p = 0; p < sizeof(presets) / sizeof(*presets); p++) {
        struct world *w = world_new(6, 6, presets[p]);
        uint32_t fragments = p == 2 ? 3 : 6;
        size_t bytes = 400000;
        uint8_t *data = mem_alloc(bytes);

        for (uint32_t i = 0; i < 24; i++) {
            struct manifest m;

            world_fill(w, data, bytes);
            assert_int_equal(world_put(w, "o", data, bytes), 0);
            assert_true(world_manifest(w, "o", &m));
            flip_everywhere(w, &m, i % fragments);
            flip_everywhere(w, &m, (i + 1) % fragments);
            expect_slices(w, "o", data, bytes);
            world_expect(w, "o", data, bytes);
            manifest_release(&m);
        }
        assert_true(w->engine->stats.totals.corrupt_fragments > 0);
        free(data);
        world_free(w);
    }
}

/* Fragments so large that they are unpacked and decoded in the pool. */
static void large_fragments_are_checked_and_computed_too(void **state)
{
    const char *presets[] = {WORLD_PRESET(P42, 1048576, "lz4"), WORLD_PRESET(P42, 1048576, "none")};

    (void)state;
    for (size_t p = 0; p < sizeof(presets) / sizeof(*presets); p++) {
        struct world *w = world_new(6, 6, presets[p]);
        size_t bytes = 9000000; /* two whole chunks and a part of one */
        uint8_t *data = mem_alloc(bytes);

        for (uint32_t i = 0; i < 6; i++) {
            struct manifest m;
            uint32_t lost[] = {(i + 3) % 6};

            world_fill(w, data, bytes);
            assert_int_equal(world_put(w, "o", data, bytes), 0);
            assert_true(world_manifest(w, "o", &m));
            flip_everywhere(w, &m, i);
            world_expect(w, "o", data, bytes);
            lose(w, &m, lost, 1);
            world_expect(w, "o", data, bytes);
            for (unsigned n = 0; n < 10; n++) {
                expect_slices(w, "o", data, bytes);
            }
            manifest_release(&m);
        }
        assert_true(w->engine->stats.totals.corrupt_fragments > 0);
        free(data);
        world_free(w);
    }
}

static void bad_slices_get_the_codes_of_the_protocol(void **state)
{
    struct world *w = world_new(6, 6, WORLD_PRESET(P42, 16384, "lz4"));
    struct proxy_slice negative = {.offset = 0, .bytes = -1};
    struct proxy_slice outside = {.offset = 90000, .bytes = 20000};
    struct proxy_slice overlap[] = {{.offset = 0, .bytes = 10}, {.offset = 9, .bytes = 10}};
    struct proxy_slice empty[] = {{.offset = 5, .bytes = 0}, {.offset = 5, .bytes = 0}};
    uint8_t data[100000], *got = NULL;
    size_t bytes = 1;
    int32_t rc;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_int_not_equal(world_get_slices(w, "o", &negative, 1, &rc, &got, &bytes), 0);
    assert_int_equal(rc, PROXY_RC_BAD_SLICE_LENGTH);
    assert_int_not_equal(world_get_slices(w, "o", &outside, 1, &rc, &got, &bytes), 0);
    assert_int_equal(rc, PROXY_RC_SLICE_OUTSIDE_OBJECT);
    assert_int_not_equal(world_get_slices(w, "o", overlap, 2, &rc, &got, &bytes), 0);
    assert_int_equal(rc, PROXY_RC_OVERLAPPING_SLICES);
    assert_int_not_equal(world_get_slices(w, "x", empty, 2, &rc, &got, &bytes), 0);
    assert_int_equal(rc, PROXY_RC_OBJECT_NOT_FOUND);
    assert_int_equal(world_get_slices(w, "o", empty, 2, &rc, &got, &bytes), 0);
    assert_int_equal(bytes, 0);
    free(got);
    world_free(w);
}

/* ASDs that fail while the object is read: each read either gives the bytes or an error. */
static enum fake_fate bad_reads(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct world *w = ctx;
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP, FAKE_HANG, FAKE_GARBAGE,
                                           FAKE_DELAY};

    (void)asd;
    if (request->code != ASD_PARTIAL_GET || rnd_below(&w->rnd, 8) != 0) {
        return FAKE_NORMAL;
    }
    return fates[rnd_below(&w->rnd, sizeof(fates) / sizeof(*fates))];
}

static void reads_survive_asds_that_fail_hang_and_answer_garbage(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    size_t bytes = 200000;
    uint8_t *data = mem_alloc(bytes);
    unsigned good = 0;

    (void)state;
    world_make_hasty(w);
    world_fill(w, data, bytes);
    assert_int_equal(world_put(w, "o", data, bytes), 0);
    for (unsigned i = 0; i < 2; i++) { /* as many as may be lost */
        w->asds[i]->delay_ms = 50;
        fake_asd_set_fate(w->asds[i], bad_reads, w);
    }
    for (unsigned i = 0; i < 30; i++) {
        world_expect(w, "o", data, bytes);
        expect_slices(w, "o", data, bytes);
        good++;
    }
    assert_int_equal(good, 30);
    free(data);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_of_all_sizes_come_back),
        cmocka_unit_test(any_two_lost_fragments_of_4_2_give_the_object_back),
        cmocka_unit_test(three_lost_fragments_of_4_2_are_an_error_and_not_bytes),
        cmocka_unit_test(random_fours_of_16_4_give_the_object_back),
        cmocka_unit_test(slices_equal_slices_of_the_object),
        cmocka_unit_test(flipped_bits_are_found_and_repaired_from_the_others),
        cmocka_unit_test(large_fragments_are_checked_and_computed_too),
        cmocka_unit_test(bad_slices_get_the_codes_of_the_protocol),
        cmocka_unit_test(reads_survive_asds_that_fail_hang_and_answer_garbage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
