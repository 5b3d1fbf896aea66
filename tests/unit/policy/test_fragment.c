#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "policy/fragment.h"
#include "stored.h"

static const enum compress_codec codecs[] = {COMPRESS_NONE, COMPRESS_LZ4};
static const uint32_t sizes[] = {0,    1,     2,     127,   4095,  4096,  4097,
                                 8192, 10000, 32767, 32768, 32769, 65536, 200001};

static void assert_unpacks(const struct stored *s)
{
    uint8_t *back = mem_alloc((size_t)s->ref.shape.raw_bytes + 1);
    struct err e;

    assert_int_equal(fragment_unpack(&s->ref, s->value, s->ref.stored_bytes, back, &e), 0);
    assert_memory_equal(back, s->raw, s->ref.shape.raw_bytes);
    free(back);
}

/* Returns the error; raw bytes may only come out when they are right. */
static int unpack_rc(const struct stored *s)
{
    uint8_t *back = mem_alloc((size_t)s->ref.shape.raw_bytes + 1);
    struct err e;
    int rc = fragment_unpack(&s->ref, s->value, s->ref.stored_bytes, back, &e);

    free(back);
    return rc;
}

static void fragments_of_every_size_come_back(void **state)
{
    struct rnd rnd = seed_start("round trip");

    (void)state;
    for (int c = 0; c < 2; c++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (uint32_t block = 4096; block <= 65536; block *= 2) {
                struct stored s = stored_make(&rnd, sizes[i], codecs[c], block);
                struct err e;

                assert_int_equal(fragment_ref_check(&s.ref, &e), 0);
                assert_true(s.ref.stored_bytes <= fragment_stored_max(&s.ref.shape));
                assert_int_equal(s.crc, crc32c(0, s.value, s.ref.stored_bytes));
                assert_unpacks(&s);
                stored_release(&s);
            }
        }
    }
}

static void plain_payload_bytes_are_the_raw_bytes(void **state)
{
    struct rnd rnd = seed_start("plain");
    struct stored s = stored_make(&rnd, 70000, COMPRESS_NONE, 4096);

    (void)state;
    assert_memory_equal(s.value, s.raw, 70000);
    assert_int_equal(s.ref.stored_bytes, 70000 + 18 * 8 + 128);
    stored_release(&s);
}

static void blocks_that_do_not_shrink_are_stored_raw_and_others_compressed(void **state)
{
    struct rnd rnd = seed_start("raw blocks");
    uint8_t raw[3 * 32768] = {0}, image[sizeof(raw) + 1000], salt[FRAGMENT_SALT_BYTES] = {0};
    struct fragment_shape shape = fragment_shape_of(sizeof(raw), COMPRESS_LZ4, CIPHER_NONE);
    struct fragment_id id = {.chunk = 1};
    uint32_t stored, crc;

    (void)state;
    seed_fill(&rnd, raw + 32768, 32768);
    stored = fragment_pack(&id, &shape, NULL, salt, raw, image, &crc);
    assert_true(stored > 32768 && stored < 32768 + 2000);
    assert_memory_equal(image + get_u32le(image + stored - 128 - 24), raw + 32768, 32768);
}

static void after_a_run_that_does_not_shrink_compression_soon_starts_again(void **state)
{
    enum { BLOCK = 32768, RANDOM = 41, BLOCKS = 60 };
    struct rnd rnd = seed_start("runs");
    uint8_t *raw = mem_zalloc(BLOCKS * BLOCK), *back = mem_alloc(BLOCKS * BLOCK);
    struct fragment_shape shape = fragment_shape_of(BLOCKS * BLOCK, COMPRESS_LZ4, CIPHER_NONE);
    uint8_t *image = mem_alloc(fragment_stored_max(&shape)), salt[FRAGMENT_SALT_BYTES] = {0};
    struct fragment_ref ref = {.id = {.chunk = 1}, .shape = shape};
    struct fragment_packer p;
    uint32_t payload, crc;
    struct err e;

    (void)state;
    seed_fill(&rnd, raw, RANDOM * BLOCK);
    fragment_pack_start(&p, &ref.id, &shape, NULL, salt, image, image + shape.raw_bytes);
    fragment_pack_add(&p, raw, shape.raw_bytes);
    fragment_pack_end(&p, &payload, &crc);
    assert_in_range(payload, RANDOM * BLOCK, (RANDOM + FRAGMENT_TRY_EVERY) * BLOCK);
    assert_int_equal(p.raw_crc, crc32c(0, raw, shape.raw_bytes));
    ref.stored_bytes = payload + fragment_trailer_bytes(&shape);
    memmove(image + payload, image + shape.raw_bytes, fragment_trailer_bytes(&shape));
    assert_int_equal(crc, crc32c(0, image, ref.stored_bytes));
    assert_int_equal(fragment_unpack(&ref, image, ref.stored_bytes, back, &e), 0);
    assert_memory_equal(raw, back, BLOCKS * BLOCK);
    free(raw);
    free(back);
    free(image);
}

/* All blocks raw, or the last few not: the value is the same as that of a copy. */
static void borrowed_bytes_are_copied_when_one_block_shrinks(void **state)
{
    enum { BLOCK = 32768, BLOCKS = 12, BYTES = BLOCKS * BLOCK };
    struct rnd rnd = seed_start("borrowed");
    struct fragment_shape shape = fragment_shape_of(BYTES, COMPRESS_LZ4, CIPHER_NONE);
    uint32_t trailer_bytes = fragment_trailer_bytes(&shape);
    uint8_t *raw = mem_zalloc(BYTES), *trailer = mem_alloc(trailer_bytes);
    uint8_t *value = mem_alloc(fragment_stored_max(&shape)), *payload = mem_alloc(BYTES);
    uint8_t salt[FRAGMENT_SALT_BYTES] = {1};
    struct fragment_id id = {.chunk = 1};

    (void)state;
    for (uint32_t random = 0; random <= BLOCKS; random += 3) {
        uint32_t value_crc, crc, payload_bytes;
        struct fragment_packer p;
        uint32_t bytes;

        seed_fill(&rnd, raw, (size_t)random * BLOCK);
        bytes = fragment_pack(&id, &shape, NULL, salt, raw, value, &value_crc);
        fragment_pack_start(&p, &id, &shape, NULL, salt, payload, trailer);
        fragment_pack_borrow(&p, raw);
        fragment_pack_add(&p, raw, BYTES);
        fragment_pack_end(&p, &payload_bytes, &crc);
        assert_int_equal(fragment_pack_is_borrowed(&p), payload_bytes == BYTES);
        assert_true((payload_bytes == BYTES) == (random + FRAGMENT_TRY_EVERY > BLOCKS));
        assert_int_equal(payload_bytes + trailer_bytes, bytes);
        assert_int_equal(crc, value_crc);
        assert_memory_equal(payload_bytes == BYTES ? raw : payload, value, payload_bytes);
        assert_memory_equal(trailer, value + payload_bytes, trailer_bytes);
    }
    free(raw);
    free(trailer);
    free(value);
    free(payload);
}

/* They would shrink, but are not tried; in place, they are not moved, either. */
static void blocks_that_are_added_raw_are_stored_raw(void **state)
{
    enum { BYTES = 5 * 32768 + 77 };
    struct fragment_shape shape = fragment_shape_of(BYTES, COMPRESS_LZ4, CIPHER_NONE);
    struct fragment_ref ref = {.id = {.chunk = 1}, .shape = shape};
    uint8_t *image = mem_zalloc(fragment_stored_max(&shape)), *back = mem_alloc(BYTES);
    uint8_t salt[FRAGMENT_SALT_BYTES] = {2};
    struct fragment_packer p;
    uint32_t payload_bytes, crc;
    struct err e;

    (void)state;
    fragment_pack_start(&p, &ref.id, &shape, NULL, salt, image, image + BYTES);
    fragment_pack_add_raw(&p, image, BYTES);
    fragment_pack_end(&p, &payload_bytes, &crc);
    assert_int_equal(payload_bytes, BYTES);
    ref.stored_bytes = fragment_stored_max(&shape);
    assert_int_equal(crc, crc32c(0, image, ref.stored_bytes));
    assert_int_equal(fragment_unpack(&ref, image, ref.stored_bytes, back, &e), 0);
    assert_memory_equal(image, back, BYTES);
    free(image);
    free(back);
}

static void streaming_in_slices_gives_the_same_value(void **state)
{
    struct rnd rnd = seed_start("streaming");

    (void)state;
    for (int round = 0; round < 300; round++) {
        uint32_t bytes = (uint32_t)rnd_below(&rnd, 100000);
        enum compress_codec codec = codecs[round % 2];
        struct stored s = stored_make(&rnd, bytes, codec, 4096u << rnd_below(&rnd, 4));
        uint32_t trailer_bytes = fragment_trailer_bytes(&s.ref.shape);
        uint8_t *payload = mem_alloc((size_t)bytes + 1), *trailer = mem_alloc(trailer_bytes);
        bool in_place = codec == COMPRESS_NONE && rnd_below(&rnd, 2) == 0;
        bool no_copy = codec == COMPRESS_NONE && !in_place && rnd_below(&rnd, 2) == 0;
        uint32_t done = 0, payload_bytes, crc;
        struct fragment_packer p;

        if (in_place && bytes != 0) {
            memcpy(payload, s.raw, bytes);
        }
        fragment_pack_start(&p, &s.ref.id, &s.ref.shape, NULL, s.value + s.ref.stored_bytes - 28,
                            no_copy ? NULL : payload, trailer);
        while (done < bytes) {
            uint32_t n = s.ref.shape.block_bytes * (1 + (uint32_t)rnd_below(&rnd, 3));

            n = n < bytes - done ? n : bytes - done;
            fragment_pack_add(&p, (in_place ? payload : s.raw) + done, n);
            done += n;
        }
        fragment_pack_end(&p, &payload_bytes, &crc);
        assert_int_equal(payload_bytes + trailer_bytes, s.ref.stored_bytes);
        assert_memory_equal(no_copy ? s.raw : payload, s.value, payload_bytes);
        assert_memory_equal(trailer, s.value + payload_bytes, trailer_bytes);
        assert_int_equal(crc, s.crc);
        free(payload);
        free(trailer);
        stored_release(&s);
    }
}

static void every_flipped_bit_is_detected(void **state)
{
    struct rnd rnd = seed_start("flips");
    const uint32_t small[] = {0, 1, 300, 4097};

    (void)state;
    for (int c = 0; c < 2; c++) {
        for (int i = 0; i < 4; i++) {
            struct stored s = stored_make(&rnd, small[i], codecs[c], 4096);

            for (uint32_t at = 0; at < s.ref.stored_bytes; at++) {
                for (int bit = 0; bit < 8; bit++) {
                    s.value[at] ^= (uint8_t)(1 << bit);
                    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
                    s.value[at] ^= (uint8_t)(1 << bit);
                }
            }
            assert_unpacks(&s);
            stored_release(&s);
        }
    }
}

static void every_truncation_is_detected(void **state)
{
    struct rnd rnd = seed_start("truncation");
    struct err e;

    (void)state;
    for (int c = 0; c < 2; c++) {
        struct stored s = stored_make(&rnd, 5000, codecs[c], 4096);
        uint32_t full = s.ref.stored_bytes;
        uint8_t *back = mem_alloc(5000);

        for (uint32_t n = 0; n < full; n++) {
            uint8_t *cut = mem_dup(s.value, n + 1); /* one more: n may be 0 */

            assert_int_equal(fragment_unpack(&s.ref, cut, n, back, &e), ERR_CORRUPT);
            s.ref.stored_bytes = n; /* and when the manifest agrees */
            assert_int_equal(fragment_unpack(&s.ref, cut, n, back, &e), ERR_CORRUPT);
            s.ref.stored_bytes = full;
            free(cut);
        }
        free(back);
        stored_release(&s);
    }
}

static void another_identity_or_shape_is_refused(void **state)
{
    struct rnd rnd = seed_start("identity");
    struct stored s = stored_make(&rnd, 50000, COMPRESS_LZ4, 4096);
    const struct fragment_ref ref = s.ref;

    (void)state;
    s.ref.id.object_id[31] ^= 1;
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    s.ref.id.chunk++;
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    s.ref.id.fragment++;
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    s.ref.shape.raw_bytes--;
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    s.ref.shape.raw_bytes = 4096 * 13 + 1; /* another number of blocks */
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    s.ref.shape.block_bytes = 8192;
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    s.ref.shape.codec = COMPRESS_NONE;
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
    s.ref = ref;
    assert_unpacks(&s);
    stored_release(&s);
}

static void manifests_with_impossible_values_are_refused(void **state)
{
    struct rnd rnd = seed_start("manifest");
    struct stored s = stored_make(&rnd, 10000, COMPRESS_NONE, 4096);
    const struct fragment_ref ref = s.ref;
    struct err e;

    (void)state;
    s.ref.stored_bytes--; /* plain: exactly one length is possible */
    assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_CORRUPT);
    s.ref.stored_bytes += 2;
    assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_CORRUPT);
    s.ref = ref;
    s.ref.shape.raw_bytes = UINT32_MAX;
    assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_CORRUPT);
    s.ref = ref;
    for (uint32_t block = 0; block < 3000000; block = block * 2 + 1) {
        s.ref.shape.block_bytes = block;
        assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_CORRUPT);
    }
    s.ref.shape.block_bytes = 2 << 20;
    assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_CORRUPT);
    s.ref = ref;
    s.ref.shape.codec = 2;
    assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_VERSION);
    assert_string_equal(e.msg, "manifest: fragment: codec 2: version not supported");
    s.ref = ref;
    s.ref.shape.cipher = 2;
    assert_int_equal(fragment_ref_check(&s.ref, &e), ERR_VERSION);
    assert_string_equal(e.msg, "manifest: fragment: cipher 2 (aes-cbc-256): version not supported");
    stored_release(&s);
}

/* With right checksums around it, so that the field itself is judged. */
static void assert_footer_byte_refused(struct stored *s, uint32_t at, uint8_t value, int rc)
{
    uint8_t *byte = s->value + s->ref.stored_bytes - FRAGMENT_FOOTER_BYTES + at;
    uint8_t old = *byte;

    *byte = value;
    stored_reseal(s);
    assert_int_equal(unpack_rc(s), rc);
    *byte = old;
    stored_reseal(s);
    assert_int_equal(unpack_rc(s), 0);
}

static void a_newer_format_or_unknown_field_is_refused_although_sealed(void **state)
{
    struct rnd rnd = seed_start("newer");
    struct stored s = stored_make(&rnd, 10000, COMPRESS_LZ4, 4096);

    (void)state;
    assert_footer_byte_refused(&s, 0, 'X', ERR_CORRUPT);
    assert_footer_byte_refused(&s, 4, 2, ERR_VERSION);
    assert_footer_byte_refused(&s, 6, 1, ERR_VERSION);
    assert_footer_byte_refused(&s, 64, 3, ERR_VERSION);
    assert_footer_byte_refused(&s, 65, 66, ERR_VERSION);
    assert_footer_byte_refused(&s, 65, 64, ERR_CORRUPT);
    assert_footer_byte_refused(&s, 66, 1, ERR_CORRUPT);
    assert_footer_byte_refused(&s, 70, 1, ERR_CORRUPT);
    assert_footer_byte_refused(&s, 117, 1, ERR_CORRUPT);
    assert_footer_byte_refused(&s, 100, 0x55, ERR_CORRUPT); /* salt: the blocks' checks */
    stored_release(&s);
}

static void an_entry_moved_with_its_block_is_detected(void **state)
{
    uint8_t raw[8192], image[8192 + 16 + 128], swap[4096], salt[FRAGMENT_SALT_BYTES] = {9};
    struct fragment_ref ref = {.shape = fragment_shape_of(sizeof(raw), COMPRESS_NONE, CIPHER_NONE)};
    struct rnd rnd = seed_start("moved");
    struct stored s = {.ref = ref, .value = image};
    uint32_t crc;

    (void)state;
    seed_fill(&rnd, raw, sizeof(raw));
    s.ref.stored_bytes = fragment_pack(&ref.id, &ref.shape, NULL, salt, raw, image, &crc);
    memcpy(swap, image, 4096);
    memcpy(image, image + 4096, 4096);
    memcpy(image + 4096, swap, 4096);
    memcpy(swap, image + 8192, 8);
    memcpy(image + 8192, image + 8200, 8);
    memcpy(image + 8200, swap, 8);
    stored_reseal(&s);
    assert_int_equal(unpack_rc(&s), ERR_CORRUPT);
}

/* Trailer bytes at random, checksums made right: nothing may be touched outside, and what
 * comes out has passed as many checks as there are. */
static void sealed_rubbish_does_no_harm(void **state)
{
    struct rnd rnd = seed_start("rubbish");
    int refused = 0;

    (void)state;
    for (int round = 0; round < 5000; round++) {
        struct stored s =
            stored_make(&rnd, (uint32_t)rnd_below(&rnd, 20000), codecs[round % 2], 4096);
        uint32_t trailer_bytes = fragment_trailer_bytes(&s.ref.shape);
        uint8_t *trailer = s.value + s.ref.stored_bytes - trailer_bytes;

        for (uint64_t n = rnd_below(&rnd, 4); n != 0; n--) {
            trailer[rnd_below(&rnd, trailer_bytes)] = (uint8_t)rnd_next(&rnd);
        }
        if (round % 3 == 0) {
            s.ref.shape.raw_bytes += (uint32_t)rnd_below(&rnd, 3);
        }
        if (s.ref.shape.raw_bytes <= 20002 &&
            fragment_trailer_bytes(&s.ref.shape) == trailer_bytes) {
            stored_reseal(&s);
        }
        refused += unpack_rc(&s) != 0;
        stored_release(&s);
    }
    assert_true(refused > 2000);
}

static void a_value_describes_itself(void **state)
{
    struct rnd rnd = seed_start("describe");
    struct stored s = stored_make(&rnd, 33333, COMPRESS_LZ4, 8192);
    struct fragment_ref found = {.stored_bytes = s.ref.stored_bytes};
    const uint8_t *footer = s.value + s.ref.stored_bytes - FRAGMENT_FOOTER_BYTES;
    struct err e;

    (void)state;
    assert_int_equal(fragment_describe(&found, footer, &e), 0);
    assert_memory_equal(&found, &s.ref, sizeof(found));
    found.stored_bytes++;
    assert_int_equal(fragment_describe(&found, footer, &e), ERR_CORRUPT);
    stored_release(&s);
}

static void copies_of_k_1_share_one_identity(void **state)
{
    uint8_t object_id[FRAGMENT_OBJECT_ID_BYTES] = {7};

    (void)state;
    assert_int_equal(fragment_id_of(object_id, 3, 2, 1).fragment, 0);
    assert_int_equal(fragment_id_of(object_id, 3, 2, 2).fragment, 2);
    assert_int_equal(fragment_id_of(object_id, 3, 2, 1).chunk, 3);
}

/* ---- golden files: stored once, readable for ever ---- */

static struct stored golden_make(enum compress_codec codec)
{
    struct rnd rnd = rnd_seed(1);
    struct stored s = {.ref.shape = fragment_shape_of(10000, codec, CIPHER_NONE),
                       .raw = mem_alloc(10000),
                       .value = mem_alloc(11000)};
    uint8_t salt[FRAGMENT_SALT_BYTES];

    s.ref.shape.block_bytes = 4096;
    for (uint32_t i = 0; i < 10000; i++) { /* the second block does not shrink */
        s.raw[i] = i / 4096 == 1 ? (uint8_t)rnd_next(&rnd) : (uint8_t)(i / 100);
    }
    for (uint8_t i = 0; i < FRAGMENT_OBJECT_ID_BYTES; i++) {
        s.ref.id.object_id[i] = i;
    }
    for (uint8_t i = 0; i < FRAGMENT_SALT_BYTES; i++) {
        salt[i] = (uint8_t)(0xf0 + i);
    }
    s.ref.id.chunk = 0x01020304;
    s.ref.id.fragment = 5;
    s.ref.stored_bytes = fragment_pack(&s.ref.id, &s.ref.shape, NULL, salt, s.raw, s.value, &s.crc);
    return s;
}

static void golden_file_is_read(const char *name, enum compress_codec codec, bool same_bytes)
{
    char *path = mem_printf("%s/policy/%s", GOLDEN_DIR, name);
    struct stored s = golden_make(codec);
    uint8_t file_bytes[16384];
    size_t n;
    FILE *file;

    if (getenv("GOLDEN_WRITE") != NULL) { /* only for a new version's file */
        file = fopen(path, "wbx");
        assert_non_null(file);
        assert_int_equal(fwrite(s.value, 1, s.ref.stored_bytes, file), s.ref.stored_bytes);
        assert_int_equal(fclose(file), 0);
    }
    file = fopen(path, "rb");
    assert_non_null(file);
    n = fread(file_bytes, 1, sizeof(file_bytes), file);
    fclose(file);
    if (same_bytes) {
        assert_int_equal(n, s.ref.stored_bytes);
        assert_memory_equal(file_bytes, s.value, n);
    }
    s.ref.stored_bytes = (uint32_t)n;
    memcpy(s.value, file_bytes, n);
    assert_unpacks(&s);
    stored_release(&s);
    free(path);
}

static void golden_plain_fragment_is_written_and_read_the_same(void **state)
{
    (void)state;
    golden_file_is_read("fragment-v1-none.bin", COMPRESS_NONE, true);
}

/* Another lz4 release may pack otherwise, but must unpack the same. */
static void golden_lz4_fragment_is_read(void **state)
{
    (void)state;
    golden_file_is_read("fragment-v1-lz4.bin", COMPRESS_LZ4, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_of_every_size_come_back),
        cmocka_unit_test(plain_payload_bytes_are_the_raw_bytes),
        cmocka_unit_test(blocks_that_do_not_shrink_are_stored_raw_and_others_compressed),
        cmocka_unit_test(after_a_run_that_does_not_shrink_compression_soon_starts_again),
        cmocka_unit_test(borrowed_bytes_are_copied_when_one_block_shrinks),
        cmocka_unit_test(blocks_that_are_added_raw_are_stored_raw),
        cmocka_unit_test(streaming_in_slices_gives_the_same_value),
        cmocka_unit_test(every_flipped_bit_is_detected),
        cmocka_unit_test(every_truncation_is_detected),
        cmocka_unit_test(another_identity_or_shape_is_refused),
        cmocka_unit_test(manifests_with_impossible_values_are_refused),
        cmocka_unit_test(a_newer_format_or_unknown_field_is_refused_although_sealed),
        cmocka_unit_test(an_entry_moved_with_its_block_is_detected),
        cmocka_unit_test(sealed_rubbish_does_no_harm),
        cmocka_unit_test(a_value_describes_itself),
        cmocka_unit_test(copies_of_k_1_share_one_identity),
        cmocka_unit_test(golden_plain_fragment_is_written_and_read_the_same),
        cmocka_unit_test(golden_lz4_fragment_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
