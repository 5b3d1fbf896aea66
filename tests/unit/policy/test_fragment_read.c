#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/fragment_read.h"
#include "stored.h"

static const enum compress_codec codecs[] = {COMPRESS_NONE, COMPRESS_LZ4};

/* What an OSD answers for a range: a copy of exactly these bytes. */
static uint8_t *fetch(const struct stored *s, struct fragment_range range)
{
    assert_true(range.offset <= s->ref.stored_bytes);
    assert_true(range.bytes <= s->ref.stored_bytes - range.offset);
    return mem_dup(s->value + range.offset, range.bytes);
}

static int index_fetch(const struct stored *s, struct fragment_index *ret_index)
{
    struct fragment_range range = fragment_trailer_range(&s->ref);
    uint8_t *trailer = fetch(s, range);
    struct err e;
    int rc = fragment_index_init(ret_index, &s->ref, trailer, range.bytes, &e);

    free(trailer);
    return rc;
}

static int read_range(const struct stored *s, const struct fragment_index *index, uint32_t offset,
                      uint32_t bytes)
{
    struct fragment_range range = fragment_index_range(index, offset, bytes);
    uint8_t *stored = fetch(s, range);
    uint8_t *raw = mem_alloc((size_t)bytes + 1);
    struct err e;
    int rc = fragment_index_unpack(index, &s->ref, offset, bytes, slice_of(stored, range.bytes),
                                   raw, &e);

    if (rc == 0) {
        assert_memory_equal(raw, s->raw + offset, bytes); /* never wrong bytes */
    }
    free(stored);
    free(raw);
    return rc;
}

static int read_flat(const struct stored *s, uint32_t offset, uint32_t bytes)
{
    struct fragment_flat ranges = fragment_flat_ranges(&s->ref, offset, bytes);
    const struct fragment_range parts[] = {ranges.blocks, ranges.entries, ranges.footer};
    uint8_t *raw = mem_alloc((size_t)bytes + 1);
    struct buf stored = {0};
    struct err e;
    int rc;

    for (int i = 0; i < 3; i++) {
        uint8_t *part = fetch(s, parts[i]);

        buf_put(&stored, part, parts[i].bytes);
        free(part);
    }
    rc = fragment_flat_unpack(&s->ref, offset, bytes, slice_buf(&stored), raw, &e);
    if (rc == 0) {
        assert_memory_equal(raw, s->raw + offset, bytes);
        stored.len--;
        assert_int_equal(fragment_flat_unpack(&s->ref, offset, bytes, slice_buf(&stored), raw, &e),
                         ERR_CORRUPT);
    }
    buf_release(&stored);
    free(raw);
    return rc;
}

static void any_range_reads_the_same_bytes(void **state)
{
    struct rnd rnd = seed_start("ranges");

    (void)state;
    for (int round = 0; round < 400; round++) {
        uint32_t raw_bytes = (uint32_t)rnd_below(&rnd, round % 10 == 0 ? 5 : 150000);
        struct stored s =
            stored_make(&rnd, raw_bytes, codecs[round % 2], 4096u << rnd_below(&rnd, 4));
        struct fragment_index index;

        assert_int_equal(index_fetch(&s, &index), 0);
        for (int i = 0; i < 20; i++) {
            uint32_t offset = (uint32_t)rnd_below(&rnd, raw_bytes + 1);
            uint32_t bytes = (uint32_t)rnd_below(&rnd, raw_bytes - offset + 1);

            assert_int_equal(read_range(&s, &index, offset, bytes), 0);
            if (fragment_is_flat(&s.ref.shape)) {
                assert_int_equal(read_flat(&s, offset, bytes), 0);
            }
        }
        assert_int_equal(read_range(&s, &index, 0, raw_bytes), 0);
        fragment_index_release(&index);
        stored_release(&s);
    }
}

static void a_cluster_costs_one_block(void **state)
{
    struct rnd rnd = seed_start("cost");
    struct stored plain = stored_make(&rnd, 1 << 20, COMPRESS_NONE, 4096);
    struct stored packed = stored_make(&rnd, 1 << 20, COMPRESS_LZ4, 32768);
    struct fragment_flat ranges = fragment_flat_ranges(&plain.ref, 40960, 4096);
    struct fragment_index index;

    (void)state;
    assert_int_equal(ranges.blocks.offset, 40960);
    assert_int_equal(ranges.blocks.bytes, 4096);
    assert_int_equal(ranges.entries.offset, (1 << 20) + 80);
    assert_int_equal(ranges.entries.bytes, 8);
    assert_int_equal(index_fetch(&packed, &index), 0);
    assert_true(fragment_index_range(&index, 40960, 4096).bytes <= 32768);
    fragment_index_release(&index);
    stored_release(&plain);
    stored_release(&packed);
}

static void every_flipped_byte_of_what_is_read_is_detected(void **state)
{
    struct rnd rnd = seed_start("flips");

    (void)state;
    for (int c = 0; c < 2; c++) {
        struct stored s = stored_make(&rnd, 9000, codecs[c], 4096);
        struct fragment_range trailer = fragment_trailer_range(&s.ref);
        struct fragment_index index, spoilt;
        struct fragment_range range;

        assert_int_equal(index_fetch(&s, &index), 0);
        range = fragment_index_range(&index, 5000, 100);
        for (uint32_t at = 0; at < s.ref.stored_bytes; at++) {
            bool read = at >= range.offset && at < range.offset + range.bytes;
            uint8_t flip = (uint8_t)(1 + rnd_below(&rnd, 255));

            s.value[at] ^= flip;
            assert_int_equal(read_range(&s, &index, 5000, 100), read ? ERR_CORRUPT : 0);
            if (at >= trailer.offset) {
                assert_int_equal(index_fetch(&s, &spoilt), ERR_CORRUPT);
            }
            if (fragment_is_flat(&s.ref.shape)) {
                bool entry = at >= 9000 + 8 && at < 9000 + 16;
                bool footer = at >= s.ref.stored_bytes - FRAGMENT_FOOTER_BYTES;

                assert_int_equal(read_flat(&s, 5000, 100),
                                 read || entry || footer ? ERR_CORRUPT : 0);
            }
            s.value[at] ^= flip;
        }
        fragment_index_release(&index);
        stored_release(&s);
    }
}

/* The block and its entry of another fragment, or of an earlier encoding of this one, look
 * right to each other; the salt in the footer tells. */
static void a_block_and_entry_of_another_encoding_are_detected(void **state)
{
    struct rnd rnd = seed_start("encodings");
    struct stored s = stored_make(&rnd, 16384, COMPRESS_NONE, 4096);
    struct stored other = stored_make(&rnd, 16384, COMPRESS_NONE, 4096);
    struct fragment_flat ranges = fragment_flat_ranges(&s.ref, 4096, 4096);

    (void)state;
    memcpy(s.value + ranges.blocks.offset, other.value + ranges.blocks.offset, 4096);
    memcpy(s.value + ranges.entries.offset, other.value + ranges.entries.offset, 8);
    assert_int_equal(read_flat(&s, 4096, 4096), ERR_CORRUPT);
    assert_int_equal(read_flat(&s, 8192, 4096), 0);
    stored_release(&s);
    stored_release(&other);
}

static void the_place_of_another_block_in_the_same_fragment_is_detected(void **state)
{
    struct rnd rnd = seed_start("places");
    struct stored s = stored_make(&rnd, 16384, COMPRESS_NONE, 4096);
    struct fragment_flat from = fragment_flat_ranges(&s.ref, 0, 4096);
    struct fragment_flat to = fragment_flat_ranges(&s.ref, 4096, 4096);

    (void)state;
    memcpy(s.value + to.blocks.offset, s.value + from.blocks.offset, 4096);
    memcpy(s.value + to.entries.offset, s.value + from.entries.offset, 8);
    assert_int_equal(read_flat(&s, 4096, 4096), ERR_CORRUPT);
    stored_release(&s);
}

/* Checksums right, lengths not: no range may ever reach outside of the payload. */
static void sealed_lengths_that_do_not_add_up_are_refused(void **state)
{
    const uint8_t raw[16384] = {0};
    uint8_t image[17000], salt[FRAGMENT_SALT_BYTES] = {3};
    struct stored s = {.ref.shape = fragment_shape_of(sizeof(raw), COMPRESS_LZ4, CIPHER_NONE),
                       .value = image};
    const uint32_t lengths[] = {0, 0x80000000u, 4096, 0x80001000u, 0x80000001u, 4095};
    struct fragment_index index;
    uint8_t *entry;
    uint32_t crc, old;

    (void)state;
    s.ref.shape.block_bytes = 4096;
    s.ref.stored_bytes = fragment_pack(&s.ref.id, &s.ref.shape, NULL, salt, raw, image, &crc);
    entry = image + fragment_trailer_range(&s.ref).offset + fragment_entry_bytes(&s.ref.shape);
    old = get_u32le(entry);
    assert_in_range(old, 1, 100);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        put_u32le(entry, lengths[i]);
        stored_reseal(&s);
        assert_int_equal(index_fetch(&s, &index), ERR_CORRUPT);
    }
    put_u32le(entry, old + 1);
    stored_reseal(&s);
    assert_int_equal(index_fetch(&s, &index), ERR_CORRUPT);
    put_u32le(entry, old);
    stored_reseal(&s);
    assert_int_equal(index_fetch(&s, &index), 0);
    fragment_index_release(&index);
}

static void short_answers_are_refused(void **state)
{
    struct rnd rnd = seed_start("short");
    struct stored s = stored_make(&rnd, 50000, COMPRESS_LZ4, 4096);
    struct fragment_range trailer = fragment_trailer_range(&s.ref);
    struct fragment_index index;
    struct fragment_range range;
    uint8_t raw[10];
    struct err e;

    (void)state;
    assert_int_equal(
        fragment_index_init(&index, &s.ref, s.value + trailer.offset + 1, trailer.bytes - 1, &e),
        ERR_CORRUPT);
    assert_int_equal(fragment_index_init(&index, &s.ref, NULL, 0, &e), ERR_CORRUPT);
    assert_int_equal(index_fetch(&s, &index), 0);
    range = fragment_index_range(&index, 0, 10);
    assert_int_equal(
        fragment_index_unpack(&index, &s.ref, 0, 10, slice_of(s.value, range.bytes - 1), raw, &e),
        ERR_CORRUPT);
    fragment_index_release(&index);
    fragment_index_release(&index); /* {0} is fine */
    stored_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_range_reads_the_same_bytes),
        cmocka_unit_test(a_cluster_costs_one_block),
        cmocka_unit_test(every_flipped_byte_of_what_is_read_is_detected),
        cmocka_unit_test(a_block_and_entry_of_another_encoding_are_detected),
        cmocka_unit_test(the_place_of_another_block_in_the_same_fragment_is_detected),
        cmocka_unit_test(sealed_lengths_that_do_not_add_up_are_refused),
        cmocka_unit_test(short_answers_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
