#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/seed.h"
#include "policy/layout.h"
#include "policy/preset.h"

/* Where one object byte lies, found by walking the cutting rule byte by byte. */
struct place {
    uint32_t chunk;
    uint32_t fragment;
    uint32_t offset;
};

static struct place *walk(const struct layout *l)
{
    struct place *places = mem_array(l->object_bytes + 1, sizeof(*places));
    struct place at = {0};

    for (uint64_t i = 0; i < l->object_bytes; i++) {
        places[i] = at;
        at.offset++;
        if (at.offset == layout_fragment_bytes(l, at.chunk)) {
            at.offset = 0;
            at.fragment++;
        }
        if (at.fragment == l->k) {
            at.fragment = 0;
            at.chunk++;
        }
    }
    return places;
}

static void assert_range_equals_walk(const struct layout *l, const struct place *places,
                                     uint64_t offset, uint64_t bytes)
{
    struct layout_iter it = layout_range(l, offset, bytes);
    struct layout_piece piece;
    uint64_t at = 0;

    while (layout_next(&it, &piece)) {
        assert_true(piece.at == at);
        assert_true(piece.bytes > 0);
        assert_true(piece.offset + piece.bytes <= layout_fragment_bytes(l, piece.chunk));
        for (uint32_t i = 0; i < piece.bytes; i++, at++) {
            assert_int_equal(places[offset + at].chunk, piece.chunk);
            assert_int_equal(places[offset + at].fragment, piece.fragment);
            assert_int_equal(places[offset + at].offset, piece.offset + i);
        }
    }
    assert_true(at == bytes);
}

/* Sizes, sums and padding as policy/FORMAT.md says. */
static void assert_well_cut(const struct layout *l, uint32_t fragment_bytes)
{
    uint64_t data = 0;

    for (uint32_t c = 0; c < l->chunk_count; c++) {
        uint32_t bytes = layout_chunk_bytes(l, c);

        assert_true(layout_chunk_offset(l, c) == data);
        data += layout_chunk_data_bytes(l, c);
        assert_int_equal(bytes % l->k, 0);
        assert_true(layout_fragment_bytes(l, c) <= fragment_bytes);
        assert_true(c + 1 == l->chunk_count || bytes == fragment_bytes * l->k);
        if (l->k > 1) {
            assert_int_equal(bytes % (4096 * l->k), 0);
            assert_true(bytes - layout_chunk_data_bytes(l, c) < 4096 * l->k);
        } else {
            assert_int_equal(bytes, layout_chunk_data_bytes(l, c));
        }
    }
    assert_true(data == l->object_bytes);
}

static void slices_equal_a_walk_over_every_byte(void **state)
{
    struct rnd rnd = seed_start("slices");

    (void)state;
    for (int round = 0; round < 60; round++) {
        uint32_t k = 1 + (uint32_t)rnd_below(&rnd, PRESET_K_MAX);
        uint32_t fragment_bytes = 4096 * (1 + (uint32_t)rnd_below(&rnd, 3));
        uint64_t object_bytes = rnd_below(&rnd, 5 * (uint64_t)fragment_bytes * k);
        struct layout l, again;
        struct place *places;
        uint32_t *chunks;
        struct err e;

        if (round % 4 == 0) { /* exact ends */
            object_bytes -= object_bytes % 4096;
        }
        assert_int_equal(layout_init(&l, 1, k, fragment_bytes, object_bytes, &e), 0);
        assert_well_cut(&l, fragment_bytes);

        places = walk(&l);
        assert_range_equals_walk(&l, places, 0, object_bytes);
        for (int i = 0; i < 20; i++) {
            uint64_t offset = rnd_below(&rnd, object_bytes + 1);

            assert_range_equals_walk(&l, places, offset,
                                     rnd_below(&rnd, object_bytes - offset + 1));
        }
        free(places);

        chunks = mem_array(l.chunk_count, sizeof(*chunks));
        for (uint32_t c = 0; c < l.chunk_count; c++) {
            chunks[c] = layout_chunk_bytes(&l, c);
        }
        assert_int_equal(layout_from_chunks(&again, k, object_bytes, chunks, l.chunk_count, &e), 0);
        assert_memory_equal(&again, &l, sizeof(l));
        free(chunks);
    }
}

static void a_cluster_is_never_split_when_k_exceeds_one(void **state)
{
    struct rnd rnd = seed_start("clusters");

    (void)state;
    for (int round = 0; round < 300; round++) {
        uint64_t object_bytes = 1 + rnd_below(&rnd, 1 << 20);
        struct layout l;
        struct err e;

        assert_int_equal(
            layout_init(&l, 1, 2 + (uint32_t)rnd_below(&rnd, 19), 8192, object_bytes, &e), 0);
        for (uint64_t at = 0; at < object_bytes; at += 4096) {
            uint64_t bytes = object_bytes - at < 4096 ? object_bytes - at : 4096;
            struct layout_iter it = layout_range(&l, at, bytes);
            struct layout_piece piece;

            assert_true(layout_next(&it, &piece));
            assert_true(piece.bytes == bytes);
        }
    }
}

static void an_empty_object_is_one_empty_chunk(void **state)
{
    uint32_t zero = 0;
    struct layout_piece piece;
    struct layout_iter it;
    struct layout l;
    struct err e;

    (void)state;
    for (uint32_t k = 1; k <= 4; k += 3) {
        assert_int_equal(layout_init(&l, 1, k, 4096, 0, &e), 0);
        assert_int_equal(l.chunk_count, 1);
        assert_int_equal(layout_chunk_bytes(&l, 0), 0);
        assert_int_equal(layout_fragment_bytes(&l, 0), 0);
        it = layout_range(&l, 0, 0);
        assert_false(layout_next(&it, &piece));
        assert_int_equal(layout_from_chunks(&l, k, 0, &zero, 1, &e), 0);
        assert_false(layout_holds(&l, 0, 1));
        assert_true(layout_holds(&l, 0, 0));
    }
}

static void known_sizes_are_cut_as_expected(void **state)
{
    struct layout l;
    struct err e;

    (void)state;
    /* 64 MiB in 4+2 with 4 MiB fragments: four chunks, no padding. */
    assert_int_equal(layout_init(&l, 1, 4, 4 << 20, 64 << 20, &e), 0);
    assert_int_equal(l.chunk_count, 4);
    assert_int_equal(l.chunk_bytes, 16 << 20);
    assert_int_equal(l.last_chunk_bytes, 16 << 20);
    /* One byte more: a fifth chunk of one padded stripe of clusters. */
    assert_int_equal(layout_init(&l, 1, 4, 4 << 20, (64 << 20) + 1, &e), 0);
    assert_int_equal(l.chunk_count, 5);
    assert_int_equal(l.last_chunk_bytes, 16384);
    /* Replicas keep their length. */
    assert_int_equal(layout_init(&l, 1, 1, 1 << 20, (1 << 20) + 5, &e), 0);
    assert_int_equal(l.chunk_count, 2);
    assert_int_equal(l.last_chunk_bytes, 5);
}

/* As other implementations cut. */
static void format_0_is_cut_in_steps_of_16(void **state)
{
    static const struct {
        uint32_t k, fragment_bytes;
        uint64_t object_bytes;
        uint32_t chunks, chunk_bytes, last_bytes;
    } cases[] = {
        {1, 100, 0, 1, 0, 0},
        {1, 100, 99, 1, 99, 99},
        {1, 100, 250, 3, 100, 50},
        {2, 1 << 20, 0, 1, 0, 0},
        {2, 1 << 20, 1, 1, 32, 32},
        {2, 1 << 20, 32, 1, 32, 32},
        {2, 1 << 20, 33, 1, 64, 64},
        {5, 100, 480, 1, 480, 480}, /* 100 -> 96; 5 * 96 */
        {5, 100, 481, 2, 480, 80},
        {3, 16, 1000, 21, 48, 48},
        {4, 4 << 20, (64 << 20) + 1, 5, 16 << 20, 64},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct layout l;
        struct err e;

        assert_int_equal(
            layout_init(&l, 0, cases[i].k, cases[i].fragment_bytes, cases[i].object_bytes, &e), 0);
        assert_int_equal(l.chunk_count, cases[i].chunks);
        assert_int_equal(l.chunk_bytes, cases[i].chunk_bytes);
        assert_int_equal(l.last_chunk_bytes, cases[i].last_bytes);
    }
}

static void a_foreign_manifest_is_understood(void **state)
{
    const uint32_t chunks[] = {5242880, 5242880, 5242880, 5242880, 581920};
    struct layout_piece piece;
    struct layout_iter it;
    struct layout l;
    struct err e;

    (void)state;
    assert_int_equal(layout_from_chunks(&l, 5, 21553400, chunks, 5, &e), 0);
    it = layout_range(&l, 21553399, 1); /* the last byte */
    assert_true(layout_next(&it, &piece));
    assert_int_equal(piece.chunk, 4);
    assert_int_equal(piece.fragment, 4);
    assert_int_equal(piece.offset, 581880 - 1 - 4 * 116384);
}

static void impossible_chunk_sizes_are_refused(void **state)
{
    const uint32_t uneven[] = {8192, 4096, 8192}, odd[] = {8192, 8191}, zero[] = {0, 0};
    const uint32_t larger_last[] = {4096, 1 << 20};
    const uint32_t huge[] = {UINT32_MAX}, wide[] = {4 * (64u << 20) + 4}, good[] = {8192, 8192};
    struct layout l;
    struct err e;

    (void)state;
    assert_int_equal(layout_from_chunks(&l, 2, 16384, good, 2, &e), 0);
    assert_int_equal(layout_from_chunks(&l, 2, 8193, good, 2, &e), 0);
    assert_int_equal(layout_from_chunks(&l, 2, 8192, good, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, 16385, good, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, 100, good, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, UINT64_MAX, good, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, 20000, uneven, 3, &e), ERR_CORRUPT);
    assert_string_equal(e.msg, "chunk 1 of 3 has 4096 bytes: stored data fails its checks");
    assert_int_equal(layout_from_chunks(&l, 1, 100000, larger_last, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, 16383, odd, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, 0, zero, 2, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 1, 5, huge, 1, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 4, 5, wide, 1, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 0, 8192, good, 1, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 21, 8192, good, 1, &e), ERR_CORRUPT);
    assert_int_equal(layout_from_chunks(&l, 2, 0, good, 0, &e), ERR_CORRUPT);
}

static void an_object_of_too_many_chunks_is_refused(void **state)
{
    struct layout l;
    struct err e;

    (void)state;
    assert_int_equal(layout_init(&l, 1, 1, 4096, 4096ull * LAYOUT_CHUNKS_MAX, &e), 0);
    assert_int_equal(layout_init(&l, 1, 1, 4096, 4096ull * LAYOUT_CHUNKS_MAX + 1, &e),
                     ERR_TOO_LARGE);
    assert_int_equal(layout_init(&l, 1, 20, 64 << 20, UINT64_MAX, &e), ERR_TOO_LARGE);
}

static void ranges_that_do_not_fit_are_told(void **state)
{
    struct layout l;
    struct err e;

    (void)state;
    assert_int_equal(layout_init(&l, 1, 4, 4096, 10000, &e), 0);
    assert_true(layout_holds(&l, 0, 10000));
    assert_true(layout_holds(&l, 10000, 0));
    assert_false(layout_holds(&l, 1, 10000));
    assert_false(layout_holds(&l, 10001, 0));
    assert_false(layout_holds(&l, 5, UINT64_MAX));
    assert_false(layout_holds(&l, UINT64_MAX, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_equal_a_walk_over_every_byte),
        cmocka_unit_test(a_cluster_is_never_split_when_k_exceeds_one),
        cmocka_unit_test(an_empty_object_is_one_empty_chunk),
        cmocka_unit_test(known_sizes_are_cut_as_expected),
        cmocka_unit_test(format_0_is_cut_in_steps_of_16),
        cmocka_unit_test(a_foreign_manifest_is_understood),
        cmocka_unit_test(impossible_chunk_sizes_are_refused),
        cmocka_unit_test(an_object_of_too_many_chunks_is_refused),
        cmocka_unit_test(ranges_that_do_not_fit_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
