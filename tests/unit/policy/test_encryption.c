/* Fragments of format 1 with a cipher. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/hex.h"
#include "policy/fragment_read.h"
#include "stored.h"

static const enum cipher ciphers[] = {CIPHER_AES_CTR_256, CIPHER_XCHACHA20_POLY1305,
                                      CIPHER_AES_256_GCM};
static const enum compress_codec codecs[] = {COMPRESS_NONE, COMPRESS_LZ4};

enum { CIPHERS = 3, CODECS = 2 };

static uint8_t *fetch(const struct stored *s, struct fragment_range range)
{
    assert_true(range.offset <= s->ref.stored_bytes);
    assert_true(range.bytes <= s->ref.stored_bytes - range.offset);
    return mem_dup(s->value + range.offset, range.bytes + 1u);
}

static int read_all(const struct stored *s, struct err *e)
{
    uint8_t *raw = mem_alloc((size_t)s->ref.shape.raw_bytes + 1);
    int rc = fragment_unpack(&s->ref, s->value, s->ref.stored_bytes, raw, e);

    if (rc == 0) {
        assert_memory_equal(raw, s->raw, s->ref.shape.raw_bytes); /* never wrong bytes */
    }
    free(raw);
    return rc;
}

/* Trailer first, then the blocks of the range. */
static int read_indexed(const struct stored *s, uint32_t offset, uint32_t bytes, struct err *e)
{
    struct fragment_range range = fragment_trailer_range(&s->ref);
    uint8_t *raw = mem_alloc((size_t)bytes + 1), *stored;
    struct fragment_index index = {0};
    int rc;

    rc = fragment_index_init(&index, &s->ref, s->value + range.offset, range.bytes, e);
    if (rc == 0) {
        range = fragment_index_range(&index, offset, bytes);
        stored = fetch(s, range);
        rc = fragment_index_unpack(&index, &s->ref, offset, bytes, slice_of(stored, range.bytes),
                                   raw, e);
        free(stored);
    }
    if (rc == 0) {
        assert_memory_equal(raw, s->raw + offset, bytes);
    }
    fragment_index_release(&index);
    free(raw);
    return rc;
}

/* Blocks, entries and footer at once. */
static int read_flat(const struct stored *s, uint32_t offset, uint32_t bytes, struct err *e)
{
    struct fragment_flat ranges = fragment_flat_ranges(&s->ref, offset, bytes);
    const struct fragment_range parts[] = {ranges.blocks, ranges.entries, ranges.footer};
    uint8_t *raw = mem_alloc((size_t)bytes + 1);
    struct buf stored = {0};
    int rc;

    for (int i = 0; i < 3; i++) {
        buf_put(&stored, s->value + parts[i].offset, parts[i].bytes);
    }
    rc = fragment_flat_unpack(&s->ref, offset, bytes, slice_buf(&stored), raw, e);
    if (rc == 0) {
        assert_memory_equal(raw, s->raw + offset, bytes);
    }
    buf_release(&stored);
    free(raw);
    return rc;
}

static void fragments_of_every_codec_cipher_size_and_block_come_back(void **state)
{
    static const uint32_t sizes[] = {0, 1, 15, 16, 17, 4095, 4096, 4097, 32769, 150001};
    struct rnd rnd = seed_start("round trip");
    struct err e;

    (void)state;
    for (int n = 0; n < CIPHERS * CODECS; n++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (uint32_t block = 4096; block <= 65536; block *= 4) {
                struct stored s = stored_make_sealed(&rnd, sizes[i], codecs[n % CODECS],
                                                     ciphers[n / CODECS], block);

                assert_int_equal(fragment_ref_check(&s.ref, &e), 0);
                assert_int_equal(s.crc, crc32c(0, s.value, s.ref.stored_bytes));
                assert_int_equal(read_all(&s, &e), 0);
                stored_release(&s);
            }
        }
    }
}

static void any_range_reads_the_same_bytes(void **state)
{
    struct rnd rnd = seed_start("ranges");
    struct err e;

    (void)state;
    for (int round = 0; round < 240; round++) {
        uint32_t raw_bytes = 1 + (uint32_t)rnd_below(&rnd, round % 10 == 0 ? 50 : 150000);
        struct stored s =
            stored_make_sealed(&rnd, raw_bytes, codecs[round % CODECS],
                               ciphers[round / 2 % CIPHERS], 4096u << rnd_below(&rnd, 4));

        for (int i = 0; i < 20; i++) {
            uint32_t offset = (uint32_t)rnd_below(&rnd, raw_bytes + 1);
            uint32_t bytes = (uint32_t)rnd_below(&rnd, raw_bytes - offset + 1);

            assert_int_equal(read_indexed(&s, offset, bytes, &e), 0);
            if (fragment_is_flat(&s.ref.shape)) {
                assert_int_equal(read_flat(&s, offset, bytes, &e), 0);
            }
        }
        stored_release(&s);
    }
}

static void streaming_in_slices_gives_the_same_value_and_sums(void **state)
{
    struct rnd rnd = seed_start("streaming");

    (void)state;
    for (int round = 0; round < 120; round++) {
        uint32_t bytes = (uint32_t)rnd_below(&rnd, 100000), done = 0, payload_bytes, crc;
        struct stored s = stored_make_sealed(&rnd, bytes, codecs[round % CODECS],
                                             ciphers[round % CIPHERS], 4096u);
        uint32_t trailer_bytes = fragment_trailer_bytes(&s.ref.shape);
        uint8_t *payload = mem_alloc((size_t)bytes + 1), *trailer = mem_alloc(trailer_bytes);
        bool in_place = round % CODECS == 0 && rnd_below(&rnd, 2) == 0;
        struct fragment_packer p;

        memcpy(payload, s.raw, in_place ? bytes : 0);
        fragment_pack_start(&p, &s.ref.id, &s.ref.shape, s.crypto,
                            s.value + s.ref.stored_bytes - 28, payload, trailer);
        while (done < bytes) {
            uint32_t n = 4096 * (1 + (uint32_t)rnd_below(&rnd, 3));

            n = n < bytes - done ? n : bytes - done;
            fragment_pack_add(&p, (in_place ? payload : s.raw) + done, n);
            done += n;
        }
        fragment_pack_end(&p, &payload_bytes, &crc);
        assert_int_equal(payload_bytes + trailer_bytes, s.ref.stored_bytes);
        assert_memory_equal(payload, s.value, payload_bytes);
        assert_memory_equal(trailer, s.value + payload_bytes, trailer_bytes);
        assert_int_equal(crc, s.crc);
        assert_int_equal(p.raw_crc, crc32c(0, s.raw, bytes));
        free(payload);
        free(trailer);
        stored_release(&s);
    }
}

/* ---- what is changed is noticed ---- */

static void every_flipped_stored_bit_is_detected(void **state)
{
    static const uint32_t small[] = {0, 1, 300, 4200};
    struct rnd rnd = seed_start("flips");
    struct err e;

    (void)state;
    for (int n = 0; n < CIPHERS * CODECS * 4; n++) {
        struct stored s =
            stored_make_sealed(&rnd, small[n % 4], codecs[n / 4 % CODECS], ciphers[n / 8], 4096);

        for (uint32_t at = 0; at < s.ref.stored_bytes; at++) {
            for (int bit = 0; bit < 8; bit++) {
                s.value[at] ^= (uint8_t)(1 << bit);
                assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
                s.value[at] ^= (uint8_t)(1 << bit);
            }
        }
        assert_int_equal(read_all(&s, &e), 0);
        stored_release(&s);
    }
}

static void every_flipped_byte_of_what_a_range_reads_is_detected(void **state)
{
    struct rnd rnd = seed_start("range flips");
    struct err e;

    (void)state;
    for (int c = 0; c < CIPHERS; c++) {
        struct stored s = stored_make_sealed(&rnd, 9000, COMPRESS_NONE, ciphers[c], 4096);
        uint32_t entry = fragment_entry_bytes(&s.ref.shape);

        for (uint32_t at = 0; at < s.ref.stored_bytes; at++) {
            bool in_block = at >= 4096 && at < 8192;
            bool in_entry = at >= 9000 + entry && at < 9000 + 2 * entry;
            bool in_footer = at >= s.ref.stored_bytes - FRAGMENT_FOOTER_BYTES;
            uint8_t flip = (uint8_t)(1 + rnd_below(&rnd, 255));

            s.value[at] ^= flip;
            assert_int_equal(read_flat(&s, 5000, 100, &e),
                             in_block || in_entry || in_footer ? ERR_CORRUPT : 0);
            assert_int_equal(read_indexed(&s, 5000, 100, &e),
                             in_block || at >= 9000 ? ERR_CORRUPT : 0);
            s.value[at] ^= flip;
        }
        stored_release(&s);
    }
}

/* Somebody who can write to the disk, and makes every plain checksum right again. */
static void sealed_changes_of_any_byte_are_detected_by_authenticated_ciphers(void **state)
{
    struct rnd rnd = seed_start("sealed flips");
    struct err e;

    (void)state;
    for (int n = 0; n < 2 * CODECS; n++) {
        struct stored s =
            stored_make_sealed(&rnd, 5000, codecs[n % CODECS], ciphers[1 + n / CODECS], 4096);
        uint32_t footer = s.ref.stored_bytes - FRAGMENT_FOOTER_BYTES;

        for (uint32_t at = 0; at < s.ref.stored_bytes; at++) {
            uint8_t flip = (uint8_t)(1 << rnd_below(&rnd, 8));

            if (at >= footer + 120) { /* the checksums themselves */
                break;
            }
            s.value[at] ^= flip;
            stored_reseal(&s);
            assert_true(read_all(&s, &e) == ERR_CORRUPT || e.code == ERR_VERSION);
            s.value[at] ^= flip;
        }
        stored_reseal(&s);
        assert_int_equal(read_all(&s, &e), 0);
        stored_release(&s);
    }
}

static void swap(uint8_t *a, uint8_t *b, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        uint8_t t = a[i];

        a[i] = b[i];
        b[i] = t;
    }
}

static void blocks_that_changed_places_with_their_entries_are_detected(void **state)
{
    struct rnd rnd = seed_start("places");
    struct err e;

    (void)state;
    for (int c = 0; c < CIPHERS; c++) {
        struct stored s = stored_make_sealed(&rnd, 16384, COMPRESS_NONE, ciphers[c], 4096);
        uint32_t entry = fragment_entry_bytes(&s.ref.shape);

        swap(s.value, s.value + 8192, 4096);
        swap(s.value + 16384, s.value + 16384 + 2 * entry, entry);
        stored_reseal(&s);
        assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
        assert_int_equal(read_flat(&s, 8192, 10, &e), ERR_CORRUPT);
        assert_int_equal(read_indexed(&s, 100, 10, &e), ERR_CORRUPT);
        assert_int_equal(read_flat(&s, 4096, 4096, &e), 0);
        stored_release(&s);
    }
}

/* The same bytes under another name; the footer was changed to fit. */
static void a_fragment_at_the_place_of_another_is_detected(void **state)
{
    struct rnd rnd = seed_start("identity");
    struct err e;

    (void)state;
    for (int c = 0; c < CIPHERS; c++) {
        struct stored s = stored_make_sealed(&rnd, 9000, COMPRESS_NONE, ciphers[c], 4096);
        uint8_t *footer = s.value + s.ref.stored_bytes - FRAGMENT_FOOTER_BYTES;
        const struct fragment_ref ref = s.ref;

        s.ref.id.object_id[3] ^= 1;
        assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
        s.ref = ref;
        s.ref.id.chunk++;
        assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
        s.ref = ref;
        s.ref.id.fragment++;
        assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
        if (cipher_is_aead(ciphers[c])) {
            put_u32le(footer + 44, s.ref.id.fragment);
            stored_reseal(&s);
            assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
            assert_non_null(strstr(e.msg, "authentication"));
            s.ref = ref;
            s.ref.id.chunk++;
            put_u32le(footer + 44, s.ref.id.fragment);
            put_u32le(footer + 40, s.ref.id.chunk);
            stored_reseal(&s);
            assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
            assert_non_null(strstr(e.msg, "authentication"));
        }
        stored_release(&s);
    }
}

/* Same object, chunk and fragment, encoded twice: blocks do not mix. */
static void a_block_of_another_encoding_is_detected(void **state)
{
    struct rnd rnd = seed_start("encodings");
    struct err e;

    (void)state;
    for (int c = 0; c < CIPHERS; c++) {
        struct stored s = stored_make_sealed(&rnd, 16384, COMPRESS_NONE, ciphers[c], 4096);
        uint32_t entry = fragment_entry_bytes(&s.ref.shape), crc;
        uint8_t salt[FRAGMENT_SALT_BYTES] = {1}, *other = mem_alloc(s.ref.stored_bytes);

        fragment_pack(&s.ref.id, &s.ref.shape, s.crypto, salt, s.raw, other, &crc);
        memcpy(s.value + 4096, other + 4096, 4096);
        memcpy(s.value + 16384 + entry, other + 16384 + entry, entry);
        stored_reseal(&s);
        assert_int_equal(read_flat(&s, 4096, 4096, &e), ERR_CORRUPT);
        assert_int_equal(read_indexed(&s, 4096, 4096, &e), ERR_CORRUPT);
        assert_int_equal(read_flat(&s, 0, 4096, &e), 0);
        free(other);
        stored_release(&s);
    }
}

/* ---- keys ---- */

static void the_wrong_key_is_named_and_no_key_is_told(void **state)
{
    struct rnd rnd = seed_start("keys");
    struct err e;

    (void)state;
    for (int n = 0; n < CIPHERS * CODECS; n++) {
        struct stored s =
            stored_make_sealed(&rnd, 9000, codecs[n % CODECS], ciphers[n / CODECS], 4096);
        uint8_t bytes[CIPHER_KEY_BYTES] = {(uint8_t)n};
        char good[KEY_ID_TEXT_BYTES], bad[KEY_ID_TEXT_BYTES];
        struct master_key other = {.bytes = bytes};

        key_id_of(other.id, bytes);
        hex_encode(good, s.crypto->key->id, KEY_ID_BYTES);
        hex_encode(bad, other.id, KEY_ID_BYTES);
        s.crypto->key = &other;
        assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.msg, good));
        assert_non_null(strstr(e.msg, bad));

        s.crypto->key = NULL;
        assert_int_equal(read_all(&s, &e), ERR_KEY);
        s.ref.crypto = NULL;
        assert_int_equal(read_all(&s, &e), ERR_KEY);
        assert_non_null(strstr(e.msg, cipher_name(ciphers[n / CODECS])));
        stored_release(&s);
    }
}

/* Other key bytes under the right id, which only a collision of SHA-256 could bring. */
static void authenticated_blocks_do_not_open_under_other_key_bytes(void **state)
{
    struct rnd rnd = seed_start("bytes");
    struct err e;

    (void)state;
    for (int c = 1; c < CIPHERS; c++) {
        struct stored s = stored_make_sealed(&rnd, 9000, COMPRESS_LZ4, ciphers[c], 4096);
        uint8_t bytes[CIPHER_KEY_BYTES] = {9};
        struct master_key other = {.bytes = bytes};

        memcpy(other.id, s.crypto->key->id, KEY_ID_BYTES);
        s.crypto->key = &other;
        assert_int_equal(read_all(&s, &e), ERR_CORRUPT);
        stored_release(&s);
    }
}

static bool contains(const uint8_t *data, size_t bytes, const uint8_t *what, size_t what_bytes)
{
    return memmem(data, bytes, what, what_bytes) != NULL;
}

static void stored_bytes_hold_nothing_of_the_raw_ones(void **state)
{
    struct rnd rnd = seed_start("secret");

    (void)state;
    for (int n = 0; n < CIPHERS * CODECS; n++) {
        struct stored s =
            stored_make_sealed(&rnd, 40000, codecs[n % CODECS], ciphers[n / CODECS], 4096);

        for (uint32_t at = 0; at + 16 <= 40000; at += 61) {
            assert_false(contains(s.value, s.ref.stored_bytes, s.raw + at, 16));
        }
        assert_false(contains(s.value, s.ref.stored_bytes, stored_key_bytes, 16));
        stored_release(&s);
    }
}

/* ---- the bytes of FORMAT.md, put together here by hand ---- */

static void a_block_opens_with_libsodium_alone(void **state)
{
    struct rnd rnd = seed_start("by hand");
    struct stored s =
        stored_make_sealed(&rnd, 9000, COMPRESS_NONE, CIPHER_XCHACHA20_POLY1305, 4096);
    const uint8_t *footer = s.value + s.ref.stored_bytes - FRAGMENT_FOOTER_BYTES;
    uint8_t subkey[32], nonce[24] = {2}, plain[808];
    struct buf message = {0}, about = {0};

    (void)state;
    buf_put(&message, "frag", 4);
    buf_put(&message, s.ref.id.object_id, 32);
    buf_put_u32le(&message, s.ref.id.chunk);
    buf_put_u32le(&message, s.ref.id.fragment);
    buf_put(&message, footer + 100, 16); /* salt */
    crypto_generichash(subkey, 32, message.data, message.len, stored_key_bytes, 32);

    buf_put(&about, s.ref.id.object_id, 32);
    buf_put_u32le(&about, s.ref.id.chunk);
    buf_put_u32le(&about, s.ref.id.fragment);
    buf_put_u32le(&about, 2);    /* block */
    buf_put_u32le(&about, 3);    /* of 3 */
    buf_put_u32le(&about, 4096); /* block size */
    buf_put(&about, "\x01\x01\x40\x00", 4);
    assert_int_equal(crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                         plain, NULL, s.value + 8192, 808, s.value + 9000 + 2 * 20 + 4, about.data,
                         about.len, nonce, subkey),
                     0);
    assert_memory_equal(plain, s.raw + 8192, 808);
    assert_memory_equal(footer + 68, stored_key()->id, 32);
    buf_release(&message);
    buf_release(&about);
    stored_release(&s);
}

/* What foreign clients do with a fragment that they read directly. */
static void an_uncompressed_counter_payload_is_one_stream_under_the_master_key(void **state)
{
    struct rnd rnd = seed_start("foreign");
    struct stored s = stored_make_sealed(&rnd, 70000, COMPRESS_NONE, CIPHER_AES_CTR_256, 4096);
    uint8_t *raw = mem_alloc(70000);
    struct cipher_ctr ctr;

    (void)state;
    cipher_ctr_init(&ctr, stored_key_bytes, s.crypto->ctr);
    cipher_ctr_xor(&ctr, 0, slice_of(s.value, 70000), raw);
    assert_memory_equal(raw, s.raw, 70000);
    cipher_ctr_xor(&ctr, 12345, slice_of(s.value + 12345, 678), raw);
    assert_memory_equal(raw, s.raw + 12345, 678);
    cipher_ctr_release(&ctr);
    free(raw);
    stored_release(&s);
}

/* ---- golden files: stored once, readable for ever ---- */

static struct stored golden_make(enum compress_codec codec, enum cipher cipher)
{
    struct rnd rnd = rnd_seed(1);
    struct stored s = {.ref.shape = fragment_shape_of(10000, codec, cipher),
                       .raw = mem_alloc(10000),
                       .value = mem_alloc(11000),
                       .crypto = mem_zalloc(sizeof(*s.crypto))};
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
        s.crypto->ctr[i] = (uint8_t)(0xff - i);
    }
    s.ref.id.chunk = 0x01020304;
    s.ref.id.fragment = 5;
    s.crypto->cipher = cipher;
    s.crypto->key = stored_key();
    s.ref.crypto = s.crypto;
    s.ref.stored_bytes =
        fragment_pack(&s.ref.id, &s.ref.shape, s.crypto, salt, s.raw, s.value, &s.crc);
    return s;
}

static void golden_file_is_read(const char *name, enum compress_codec codec, enum cipher cipher)
{
    char *path = mem_printf("%s/policy/%s", GOLDEN_DIR, name);
    struct stored s = golden_make(codec, cipher);
    uint8_t file_bytes[16384];
    struct err e;
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
    if (codec == COMPRESS_NONE) { /* another lz4 release may pack otherwise */
        assert_int_equal(n, s.ref.stored_bytes);
        assert_memory_equal(file_bytes, s.value, n);
    }
    s.ref.stored_bytes = (uint32_t)n;
    memcpy(s.value, file_bytes, n);
    assert_int_equal(read_all(&s, &e), 0);
    stored_release(&s);
    free(path);
}

static void golden_encrypted_fragments_are_written_and_read_the_same(void **state)
{
    (void)state;
    golden_file_is_read("fragment-v1-none-ctr.bin", COMPRESS_NONE, CIPHER_AES_CTR_256);
    golden_file_is_read("fragment-v1-none-xchacha.bin", COMPRESS_NONE, CIPHER_XCHACHA20_POLY1305);
    golden_file_is_read("fragment-v1-none-gcm.bin", COMPRESS_NONE, CIPHER_AES_256_GCM);
}

static void golden_compressed_and_encrypted_fragments_are_read(void **state)
{
    (void)state;
    golden_file_is_read("fragment-v1-lz4-ctr.bin", COMPRESS_LZ4, CIPHER_AES_CTR_256);
    golden_file_is_read("fragment-v1-lz4-xchacha.bin", COMPRESS_LZ4, CIPHER_XCHACHA20_POLY1305);
    golden_file_is_read("fragment-v1-lz4-gcm.bin", COMPRESS_LZ4, CIPHER_AES_256_GCM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_of_every_codec_cipher_size_and_block_come_back),
        cmocka_unit_test(any_range_reads_the_same_bytes),
        cmocka_unit_test(streaming_in_slices_gives_the_same_value_and_sums),
        cmocka_unit_test(every_flipped_stored_bit_is_detected),
        cmocka_unit_test(every_flipped_byte_of_what_a_range_reads_is_detected),
        cmocka_unit_test(sealed_changes_of_any_byte_are_detected_by_authenticated_ciphers),
        cmocka_unit_test(blocks_that_changed_places_with_their_entries_are_detected),
        cmocka_unit_test(a_fragment_at_the_place_of_another_is_detected),
        cmocka_unit_test(a_block_of_another_encoding_is_detected),
        cmocka_unit_test(the_wrong_key_is_named_and_no_key_is_told),
        cmocka_unit_test(authenticated_blocks_do_not_open_under_other_key_bytes),
        cmocka_unit_test(stored_bytes_hold_nothing_of_the_raw_ones),
        cmocka_unit_test(a_block_opens_with_libsodium_alone),
        cmocka_unit_test(an_uncompressed_counter_payload_is_one_stream_under_the_master_key),
        cmocka_unit_test(golden_encrypted_fragments_are_written_and_read_the_same),
        cmocka_unit_test(golden_compressed_and_encrypted_fragments_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
