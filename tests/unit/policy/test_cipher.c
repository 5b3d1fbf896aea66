#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/mem.h"
#include "lib/seed.h"
#include "policy/key_ring.h"

static const enum cipher aeads[] = {CIPHER_XCHACHA20_POLY1305, CIPHER_AES_256_GCM};

static void assert_hex(const uint8_t *data, size_t bytes, const char *hex)
{
    char *text = mem_alloc(2 * bytes + 1);

    hex_encode(text, data, bytes);
    assert_string_equal(text, hex);
    free(text);
}

/* Of the original's implementation, checked with openssl. */
static void counter_mode_gives_the_bytes_that_other_clients_expect(void **state)
{
    static const uint8_t counter[] = {0xc0, 0x9d, 0x56, 0x19, 0xd7, 0x2c, 0x28, 0xec,
                                      0x11, 0xe2, 0xd1, 0x45, 0xcd, 0x76, 0x9f, 0x5c};
    uint8_t key[CIPHER_KEY_BYTES], id[KEY_ID_BYTES], text[11];
    struct cipher_ctr ctr;

    (void)state;
    memset(key, 0x11, sizeof(key));
    cipher_ctr_init(&ctr, key, counter);
    cipher_ctr_xor(&ctr, 0, slice_str("hello world"), text);
    cipher_ctr_release(&ctr);
    assert_hex(text, sizeof(text), "51934c8ff392a1e46de5e8");
    key_id_of(id, key);
    assert_hex(id, sizeof(id), "02d449a31fbb267c8f352e9968a79e3e5fc95c1bbeaa502fd6454ebde5a4bedc");
}

static void any_part_of_a_counter_stream_is_that_part(void **state)
{
    struct rnd rnd = seed_start("counter");
    uint8_t key[CIPHER_KEY_BYTES], counter[CIPHER_CTR_BYTES], data[5000], text[5000], part[5000];
    struct cipher_ctr ctr;

    (void)state;
    for (int round = 0; round < 200; round++) {
        seed_fill(&rnd, key, sizeof(key));
        seed_fill(&rnd, counter, sizeof(counter));
        memset(counter, 0xff, (size_t)rnd_below(&rnd, 17)); /* carries into every byte, and wraps */
        memset(counter + 8, 0xff, (size_t)rnd_below(&rnd, 9));
        seed_fill(&rnd, data, sizeof(data));
        cipher_ctr_init(&ctr, key, counter);
        cipher_ctr_xor(&ctr, 0, slice_of(data, sizeof(data)), text);
        for (int i = 0; i < 20; i++) {
            size_t from = rnd_below(&rnd, sizeof(data));
            size_t bytes = rnd_below(&rnd, sizeof(data) - from + 1);

            memcpy(part, text + from, bytes);
            cipher_ctr_xor(&ctr, from, slice_of(part, bytes), part); /* in place */
            assert_memory_equal(part, data + from, bytes);
        }
        cipher_ctr_release(&ctr);
    }
}

static void a_counter_wraps_as_one_number_of_128_bits(void **state)
{
    const uint8_t key[CIPHER_KEY_BYTES] = {7}, zeroes[32] = {0};
    uint8_t ones[CIPHER_CTR_BYTES], a[32], b[16];
    struct cipher_ctr ctr;

    (void)state;
    memset(ones, 0xff, sizeof(ones));
    cipher_ctr_init(&ctr, key, ones);
    cipher_ctr_xor(&ctr, 0, slice_of(zeroes, 32), a);
    cipher_ctr_release(&ctr);
    cipher_ctr_init(&ctr, key, zeroes);
    cipher_ctr_xor(&ctr, 0, slice_of(zeroes, 16), b);
    cipher_ctr_release(&ctr);
    assert_memory_equal(a + 16, b, 16);
}

/* Test case 14 of the GCM specification: key, nonce and text of zeroes. */
static void gcm_gives_the_bytes_of_its_specification(void **state)
{
    const uint8_t key[CIPHER_KEY_BYTES] = {0}, zeroes[16] = {0};
    uint8_t text[16], tag[CIPHER_TAG_BYTES];
    struct cipher_aead aead;

    (void)state;
    cipher_aead_init(&aead, CIPHER_AES_256_GCM, key, true);
    cipher_aead_seal(&aead, 0, slice_of(NULL, 0), slice_of(zeroes, 16), text, tag);
    cipher_aead_release(&aead);
    assert_hex(text, 16, "cea7403d4d606b6e074ec5d3baf39d18");
    assert_hex(tag, 16, "d0d1c8a799996bf0265b98b5d48ab919");
}

static void the_nonce_of_xchacha_is_the_number_and_zeroes(void **state)
{
    struct rnd rnd = seed_start("xchacha");
    uint8_t key[CIPHER_KEY_BYTES], plain[100], ours[100], theirs[100], tag[16], their_tag[16];
    uint8_t nonce[24] = {0xef, 0xbe, 0xad, 0xde};
    struct cipher_aead aead;

    (void)state;
    seed_fill(&rnd, key, sizeof(key));
    seed_fill(&rnd, plain, sizeof(plain));
    cipher_aead_init(&aead, CIPHER_XCHACHA20_POLY1305, key, true);
    cipher_aead_seal(&aead, 0xdeadbeef, slice_str("about"), slice_of(plain, 100), ours, tag);
    cipher_aead_release(&aead);
    crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
        theirs, their_tag, NULL, plain, 100, (const uint8_t *)"about", 5, NULL, nonce, key);
    assert_memory_equal(ours, theirs, 100);
    assert_memory_equal(tag, their_tag, 16);
}

struct message {
    uint8_t key[CIPHER_KEY_BYTES];
    uint8_t plain[300];
    uint8_t text[300];
    uint8_t about[40];
    uint8_t tag[CIPHER_TAG_BYTES];
    uint32_t bytes;
    uint32_t number;
};

static void seal(struct rnd *rnd, enum cipher cipher, struct message *m)
{
    struct cipher_aead aead;

    seed_fill(rnd, (uint8_t *)m, sizeof(*m));
    m->bytes %= sizeof(m->plain) + 1;
    cipher_aead_init(&aead, cipher, m->key, true);
    memcpy(m->text, m->plain, m->bytes);
    cipher_aead_seal(&aead, m->number, slice_of(m->about, sizeof(m->about)),
                     slice_of(m->text, m->bytes), m->text, m->tag);
    cipher_aead_release(&aead);
}

static int open_rc(enum cipher cipher, const struct message *m)
{
    struct cipher_aead aead;
    uint8_t plain[300];
    struct err e;
    int rc;

    cipher_aead_init(&aead, cipher, m->key, false);
    rc = cipher_aead_open(&aead, m->number, slice_of(m->about, sizeof(m->about)),
                          slice_of(m->text, m->bytes), m->tag, plain, &e);
    cipher_aead_release(&aead);
    if (rc == 0) {
        assert_memory_equal(plain, m->plain, m->bytes);
    } else {
        for (uint32_t i = 0; i < m->bytes; i++) {
            assert_int_equal(plain[i], 0); /* nothing half decrypted is left */
        }
    }
    return rc;
}

static void what_was_sealed_opens_and_nothing_else(void **state)
{
    struct rnd rnd = seed_start("seal");

    (void)state;
    for (int round = 0; round < 400; round++) {
        enum cipher cipher = aeads[round % 2];
        struct message m;
        uint8_t *spoil[] = {m.key, m.about, m.tag, (uint8_t *)&m.number, m.text};
        size_t lengths[] = {sizeof(m.key), sizeof(m.about), sizeof(m.tag), sizeof(m.number), 0};

        seal(&rnd, cipher, &m);
        lengths[4] = m.bytes;
        assert_int_equal(open_rc(cipher, &m), 0);
        for (int i = 0; i < 5; i++) {
            uint8_t flip = (uint8_t)(1 << rnd_below(&rnd, 8));
            size_t at;

            if (lengths[i] == 0) {
                continue;
            }
            at = rnd_below(&rnd, lengths[i]);
            spoil[i][at] ^= flip;
            assert_int_equal(open_rc(cipher, &m), ERR_CORRUPT);
            spoil[i][at] ^= flip;
        }
        if (m.bytes > 0) {
            m.bytes--;
            assert_int_equal(open_rc(cipher, &m), ERR_CORRUPT);
        }
    }
}

static void one_context_seals_and_opens_many_messages(void **state)
{
    const uint8_t key[CIPHER_KEY_BYTES] = {1};
    uint8_t text[64], tag[CIPHER_TAG_BYTES], plain[64], back[64];
    struct cipher_aead to, from;
    struct err e;

    (void)state;
    for (int c = 0; c < 2; c++) {
        cipher_aead_init(&to, aeads[c], key, true);
        cipher_aead_init(&from, aeads[c], key, false);
        for (uint32_t n = 0; n < 100; n++) {
            memset(plain, (int)n, sizeof(plain));
            cipher_aead_seal(&to, n, slice_str("x"), slice_of(plain, n % 65), text, tag);
            assert_int_equal(
                cipher_aead_open(&from, n, slice_str("x"), slice_of(text, n % 65), tag, back, &e),
                0);
            assert_memory_equal(back, plain, n % 65);
            assert_int_equal(cipher_aead_open(&from, n + 1, slice_str("x"), slice_of(text, n % 65),
                                              tag, back, &e),
                             ERR_CORRUPT); /* and the next one opens all the same */
        }
        cipher_aead_release(&to);
        cipher_aead_release(&from);
    }
}

static void names_and_tags_belong_together(void **state)
{
    const uint32_t tags[] = {1, 2, 3, 64, 65};
    enum cipher cipher;

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cipher_parse(cipher_name(tags[i]), &cipher), 0);
        assert_int_equal(cipher, tags[i]);
    }
    assert_string_equal(cipher_name(66), "unknown");
    assert_int_equal(cipher_parse("unknown", &cipher), -EINVAL);
}

static void a_ring_finds_keys_by_their_id(void **state)
{
    struct rnd rnd = seed_start("ring");
    uint8_t bytes[50][CIPHER_KEY_BYTES], id[KEY_ID_BYTES];
    const struct master_key *keys[50];
    struct key_ring ring;

    (void)state;
    key_ring_init(&ring);
    for (int i = 0; i < 50; i++) {
        seed_fill(&rnd, bytes[i], CIPHER_KEY_BYTES);
        key_id_of(id, bytes[i]);
        assert_null(key_ring_find(&ring, id));
        keys[i] = key_ring_add(&ring, bytes[i]);
        assert_ptr_equal(key_ring_add(&ring, bytes[i]), keys[i]);
    }
    for (int i = 0; i < 50; i++) {
        key_id_of(id, bytes[i]);
        assert_ptr_equal(key_ring_find(&ring, id), keys[i]); /* and has not moved */
        assert_memory_equal(keys[i]->bytes, bytes[i], CIPHER_KEY_BYTES);
        assert_memory_equal(keys[i]->id, id, KEY_ID_BYTES);
    }
    key_ring_release(&ring);
    key_ring_release(&ring); /* {0} is fine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counter_mode_gives_the_bytes_that_other_clients_expect),
        cmocka_unit_test(any_part_of_a_counter_stream_is_that_part),
        cmocka_unit_test(a_counter_wraps_as_one_number_of_128_bits),
        cmocka_unit_test(gcm_gives_the_bytes_of_its_specification),
        cmocka_unit_test(the_nonce_of_xchacha_is_the_number_and_zeroes),
        cmocka_unit_test(what_was_sealed_opens_and_nothing_else),
        cmocka_unit_test(one_context_seals_and_opens_many_messages),
        cmocka_unit_test(names_and_tags_belong_together),
        cmocka_unit_test(a_ring_finds_keys_by_their_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
