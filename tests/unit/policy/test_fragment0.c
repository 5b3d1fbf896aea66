/* Fragments of format 0: other implementations' bytes, and nothing unchecked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/hex.h"
#include "policy/cipher_cbc.h"
#include "policy/fragment0.h"
#include "stored.h"

static const enum compress_codec codecs[] = {COMPRESS_NONE, COMPRESS_SNAPPY, COMPRESS_BZIP2};
static const enum cipher ciphers[] = {CIPHER_NONE, CIPHER_AES_CBC_256, CIPHER_AES_CTR_256};
static const enum preset_checksum sums[] = {PRESET_CHECKSUM_CRC32C, PRESET_CHECKSUM_SHA1};

enum { CODECS = 3, CIPHERS = 3, SUMS = 2 };

struct piece {
    struct fragment0_ref ref;
    struct fragment_crypto crypto;
    struct key_ring ring;
    uint8_t *raw;
    uint8_t *value; /* ref.stored_bytes, exactly */
};

static void seal(struct piece *p)
{
    p->ref.sum = fragment0_sum_of(p->ref.sum.algo, p->value, p->ref.stored_bytes);
}

static void pack(struct piece *p, enum cipher cipher, const uint8_t key[CIPHER_KEY_BYTES])
{
    uint8_t *image;

    key_ring_init(&p->ring);
    if (cipher != CIPHER_NONE) {
        p->crypto.cipher = cipher;
        p->crypto.key = key_ring_add(&p->ring, key);
        p->ref.crypto = &p->crypto;
    }
    image = mem_alloc(fragment0_stored_max(p->ref.raw_bytes, p->ref.codec, cipher) + 1);
    p->ref.stored_bytes =
        fragment0_pack(&p->ref.id, p->ref.codec, p->ref.crypto, p->raw, p->ref.raw_bytes, image);
    p->value = mem_dup(image, p->ref.stored_bytes + 1u);
    p->value = mem_realloc(p->value, p->ref.stored_bytes != 0 ? p->ref.stored_bytes : 1);
    free(image);
    seal(p);
}

/* *p stays where it is: ref.crypto points into it. */
static void make(struct piece *p, struct rnd *rnd, uint32_t raw_bytes, enum compress_codec codec,
                 enum cipher cipher, enum preset_checksum algo)
{
    uint8_t key[CIPHER_KEY_BYTES];

    *p = (struct piece){
        .ref = {.raw_bytes = raw_bytes, .codec = codec, .sum = {.algo = algo}, .id.chunk = 7}};
    seed_fill(rnd, p->ref.id.object_id, sizeof(p->ref.id.object_id));
    seed_fill(rnd, p->crypto.ctr, sizeof(p->crypto.ctr));
    seed_fill(rnd, key, sizeof(key));
    p->raw = mem_alloc((size_t)raw_bytes + 1);
    stored_fill(rnd, p->raw, raw_bytes);
    pack(p, cipher, key);
}

static void release(struct piece *p)
{
    key_ring_release(&p->ring);
    free(p->raw);
    free(p->value);
}

/* Unpacking changes what it is given. */
static int read_back(const struct piece *p, const uint8_t *value, uint32_t bytes, struct err *e)
{
    uint8_t *copy = mem_alloc((size_t)bytes + 1);
    uint8_t *raw = mem_alloc((size_t)p->ref.raw_bytes + 1);
    int rc;

    memcpy(copy, value, bytes);
    rc = fragment0_unpack(&p->ref, copy, bytes, raw, e);
    if (rc == 0) {
        assert_memory_equal(raw, p->raw, p->ref.raw_bytes); /* never wrong bytes */
    }
    free(copy);
    free(raw);
    return rc;
}

static void fragments_of_every_size_codec_and_cipher_come_back(void **state)
{
    const uint32_t sizes[] = {0, 1, 15, 16, 17, 4095, 4096, 65536, 300000};
    struct rnd rnd = seed_start("sizes");
    unsigned shrunk = 0;

    (void)state;
    for (unsigned c = 0; c < CODECS * CIPHERS * SUMS; c++) {
        for (unsigned s = 0; s < 3 + sizeof(sizes) / sizeof(sizes[0]); s++) {
            uint32_t bytes =
                s < sizeof(sizes) / sizeof(sizes[0]) ? sizes[s] : (uint32_t)rnd_below(&rnd, 100000);
            struct piece p;
            struct err e;

            make(&p, &rnd, bytes, codecs[c % CODECS], ciphers[c / CODECS % CIPHERS],
                 sums[c / CODECS / CIPHERS]);
            assert_int_equal(read_back(&p, p.value, p.ref.stored_bytes, &e), 0);
            shrunk += p.ref.stored_bytes < bytes;
            release(&p);
        }
    }
    assert_true(shrunk > 30);
}

static void every_flipped_bit_and_every_cut_is_detected(void **state)
{
    struct rnd rnd = seed_start("flips");

    (void)state;
    for (unsigned c = 0; c < CODECS * CIPHERS * SUMS; c++) {
        struct piece p;
        struct err e;

        make(&p, &rnd, 300, codecs[c % CODECS], ciphers[c / CODECS % CIPHERS],
             sums[c / CODECS / CIPHERS]);
        for (uint32_t bit = 0; bit < 8 * p.ref.stored_bytes; bit++) {
            p.value[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(read_back(&p, p.value, p.ref.stored_bytes, &e), ERR_CORRUPT);
            p.value[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (uint32_t bytes = 0; bytes < p.ref.stored_bytes; bytes++) {
            assert_int_equal(read_back(&p, p.value, bytes, &e), ERR_CORRUPT);
        }
        assert_int_equal(read_back(&p, p.value, p.ref.stored_bytes, &e), 0);
        release(&p);
    }
}

/* A writer that lies in a way that its checksum agrees with. */
static void sealed_rubbish_gives_the_right_length_or_an_error(void **state)
{
    struct rnd rnd = seed_start("rubbish");
    unsigned refused = 0;

    (void)state;
    for (int round = 0; round < 4000; round++) {
        uint32_t raw_bytes = (uint32_t)rnd_below(&rnd, 2000);
        uint8_t *raw = mem_alloc((size_t)raw_bytes + 1);
        struct piece p;
        struct err e;

        make(&p, &rnd, raw_bytes, codecs[1 + rnd_below(&rnd, 2)], ciphers[rnd_below(&rnd, CIPHERS)],
             PRESET_CHECKSUM_CRC32C);
        for (uint64_t n = rnd_below(&rnd, 4); n > 0 && p.ref.stored_bytes > 0; n--) {
            p.value[rnd_below(&rnd, p.ref.stored_bytes)] ^= (uint8_t)(1 + rnd_below(&rnd, 255));
        }
        p.ref.stored_bytes -= (uint32_t)rnd_below(&rnd, 2) * (p.ref.stored_bytes / 3);
        seal(&p);
        refused += fragment0_unpack(&p.ref, p.value, p.ref.stored_bytes, raw, &e) != 0;
        free(raw);
        release(&p);
    }
    assert_in_range(refused, 1000, 3999);
}

static void what_cannot_be_checked_or_read_is_refused_by_name(void **state)
{
    struct rnd rnd = seed_start("refused");
    struct piece p;
    struct err e;

    (void)state;
    make(&p, &rnd, 500, COMPRESS_SNAPPY, CIPHER_AES_CTR_256, PRESET_CHECKSUM_CRC32C);
    p.ref.sum.algo = PRESET_CHECKSUM_NONE;
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.msg, "no checksum"));
    p.ref.sum.algo = PRESET_CHECKSUM_CRC32C;
    p.ref.codec = 4; /* "test" of the older software */
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_VERSION);
    assert_non_null(strstr(e.msg, "codec 4"));
    p.ref.codec = COMPRESS_LZ4;
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_VERSION);
    p.ref.codec = COMPRESS_SNAPPY;
    p.crypto.cipher = CIPHER_AES_256_GCM;
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_VERSION);
    p.crypto = (struct fragment_crypto){.cipher = CIPHER_AES_CTR_256};
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_KEY);
    p.ref.crypto = NULL;
    p.ref.raw_bytes = FRAGMENT_RAW_BYTES_MAX + 1;
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_CORRUPT);
    p.ref.raw_bytes = 500;
    p.ref.stored_bytes = UINT32_MAX;
    assert_int_equal(fragment0_ref_check(&p.ref, &e), ERR_CORRUPT);
    release(&p);
}

static void a_wrong_key_gives_no_bytes(void **state)
{
    struct rnd rnd = seed_start("wrong key");
    struct piece a, b;
    struct err e;

    (void)state;
    /* CTR without a codec protects nothing: there the key's id in the manifest has to. */
    for (unsigned i = 0; i < 200; i++) {
        make(&a, &rnd, 400, COMPRESS_SNAPPY, CIPHER_AES_CBC_256, PRESET_CHECKSUM_CRC32C);
        make(&b, &rnd, 400, COMPRESS_SNAPPY, CIPHER_AES_CBC_256, PRESET_CHECKSUM_CRC32C);
        a.crypto.key = b.crypto.key;
        assert_int_equal(read_back(&a, a.value, a.ref.stored_bytes, &e), ERR_CORRUPT);
        release(&a);
        release(&b);
    }
}

/* ---- published figures ---- */

static void assert_hex(const uint8_t *bytes, size_t count, const char *expected)
{
    char text[129];

    hex_encode(text, bytes, count);
    assert_string_equal(text, expected);
}

/* Key of 0x11, object id 0 … 31, as others compute it. */
static void vectors_and_ciphertexts_are_those_of_others(void **state)
{
    static const uint8_t counter[] = {0xc0, 0x9d, 0x56, 0x19, 0xd7, 0x2c, 0x28, 0xec,
                                      0x11, 0xe2, 0xd1, 0x45, 0xcd, 0x76, 0x9f, 0x5c};
    uint8_t key[CIPHER_KEY_BYTES], iv[CIPHER_CBC_BLOCK_BYTES], image[32];
    struct fragment_id id = {.chunk = 1, .fragment = 2};
    struct fragment_crypto crypto = {.cipher = CIPHER_AES_CBC_256};
    const uint8_t *hello = (const uint8_t *)"hello world";
    struct slice object_id = slice_of(id.object_id, sizeof(id.object_id));
    struct key_ring ring;

    (void)state;
    memset(key, 0x11, sizeof(key));
    for (uint8_t i = 0; i < sizeof(id.object_id); i++) {
        id.object_id[i] = i;
    }
    cipher_cbc_iv(key, object_id, 1, 2, iv);
    assert_hex(iv, sizeof(iv), "f9b9bb651f97eb0c8e17405aeec50561");
    cipher_cbc_iv(key, object_id, UINT32_MAX, UINT32_MAX, iv);
    assert_hex(iv, sizeof(iv), "7d6348732bf86164b71705cd222ce1c9");

    key_ring_init(&ring);
    crypto.key = key_ring_add(&ring, key);
    assert_hex(crypto.key->id, sizeof(crypto.key->id),
               "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc");
    assert_int_equal(fragment0_pack(&id, COMPRESS_NONE, &crypto, hello, 11, image), 16);
    assert_hex(image, 16, "934b95d7e732342ba8b56f7a65f9b3a0");
    crypto.cipher = CIPHER_AES_CTR_256;
    memcpy(crypto.ctr, counter, sizeof(counter));
    assert_int_equal(fragment0_pack(&id, COMPRESS_NONE, &crypto, hello, 11, image), 11);
    assert_hex(image, 11, "51934c8ff392a1e46de5e8");
    key_ring_release(&ring);
}

static void bzip2_has_its_length_in_front_and_snappy_nothing(void **state)
{
    uint8_t raw[1000] = {0}, image[2000];
    struct fragment_id id = {0};
    uint32_t n;

    (void)state;
    n = fragment0_pack(&id, COMPRESS_BZIP2, NULL, raw, 1000, image);
    assert_int_equal(get_u32le(image), 1000);
    assert_memory_equal(image + 4, "BZh9", 4);
    assert_true(n < 100);
    n = fragment0_pack(&id, COMPRESS_SNAPPY, NULL, raw, 1000, image);
    assert_true(image[0] == 0xe8 && image[1] == 0x07 && n < 100); /* 1000 as a varint */
    assert_int_equal(fragment0_pack(&id, COMPRESS_NONE, NULL, raw, 1000, image), 1000);
}

static void presets_of_these_codecs_and_ciphers_are_of_this_format(void **state)
{
    (void)state;
    assert_true(fragment0_is_for(COMPRESS_SNAPPY, CIPHER_NONE));
    assert_true(fragment0_is_for(COMPRESS_BZIP2, CIPHER_AES_CTR_256));
    assert_true(fragment0_is_for(COMPRESS_NONE, CIPHER_AES_CBC_256));
    assert_false(fragment0_is_for(COMPRESS_NONE, CIPHER_NONE));
    assert_false(fragment0_is_for(COMPRESS_NONE, CIPHER_AES_CTR_256));
    assert_false(fragment0_is_for(COMPRESS_LZ4, CIPHER_XCHACHA20_POLY1305));
}

/* ---- golden files: stored once, readable for ever ---- */

static void golden_file_is_read(const char *name, enum compress_codec codec, enum cipher cipher)
{
    char *path = mem_printf("%s/policy/%s", GOLDEN_DIR, name);
    struct rnd rnd = rnd_seed(1);
    uint8_t key[CIPHER_KEY_BYTES], file_bytes[16384];
    struct piece p = {.ref = {.raw_bytes = 10000,
                              .codec = codec,
                              .sum = {.algo = PRESET_CHECKSUM_CRC32C},
                              .id = {.chunk = 0x01020304, .fragment = 5}}};
    struct err e;
    size_t n;
    FILE *file;

    p.raw = mem_alloc(10000);
    for (uint32_t i = 0; i < 10000; i++) {
        p.raw[i] = i / 4096 == 1 ? (uint8_t)rnd_next(&rnd) : (uint8_t)(i / 100);
    }
    memset(key, 0x11, sizeof(key));
    for (uint8_t i = 0; i < 32; i++) {
        p.ref.id.object_id[i] = i;
        p.crypto.ctr[i % 16] = (uint8_t)(0xf0 + i);
    }
    pack(&p, cipher, key);
    if (getenv("GOLDEN_WRITE") != NULL) { /* only for a new version's file */
        file = fopen(path, "wbx");
        assert_non_null(file);
        assert_int_equal(fwrite(p.value, 1, p.ref.stored_bytes, file), p.ref.stored_bytes);
        assert_int_equal(fclose(file), 0);
    }
    file = fopen(path, "rb");
    assert_non_null(file);
    n = fread(file_bytes, 1, sizeof(file_bytes), file);
    fclose(file);
    p.ref.stored_bytes = (uint32_t)n;
    p.ref.sum = fragment0_sum_of(PRESET_CHECKSUM_CRC32C, file_bytes, (uint32_t)n);
    assert_int_equal(read_back(&p, file_bytes, (uint32_t)n, &e), 0);
    release(&p);
    free(path);
}

static void golden_fragments_are_read(void **state)
{
    (void)state;
    golden_file_is_read("fragment-v0-snappy.bin", COMPRESS_SNAPPY, CIPHER_NONE);
    golden_file_is_read("fragment-v0-bz2.bin", COMPRESS_BZIP2, CIPHER_NONE);
    golden_file_is_read("fragment-v0-snappy-ctr.bin", COMPRESS_SNAPPY, CIPHER_AES_CTR_256);
    golden_file_is_read("fragment-v0-bz2-cbc.bin", COMPRESS_BZIP2, CIPHER_AES_CBC_256);
    golden_file_is_read("fragment-v0-none-cbc.bin", COMPRESS_NONE, CIPHER_AES_CBC_256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fragments_of_every_size_codec_and_cipher_come_back),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_detected),
        cmocka_unit_test(sealed_rubbish_gives_the_right_length_or_an_error),
        cmocka_unit_test(what_cannot_be_checked_or_read_is_refused_by_name),
        cmocka_unit_test(a_wrong_key_gives_no_bytes),
        cmocka_unit_test(vectors_and_ciphertexts_are_those_of_others),
        cmocka_unit_test(bzip2_has_its_length_in_front_and_snappy_nothing),
        cmocka_unit_test(presets_of_these_codecs_and_ciphers_are_of_this_format),
        cmocka_unit_test(golden_fragments_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
