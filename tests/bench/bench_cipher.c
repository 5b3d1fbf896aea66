/* GB/s per core of encrypted fragments, beside the ciphers alone.
 *
 * Usage: bench_cipher [seconds per row]   (default 0.5)
 * Rates count raw fragment bytes by CPU time of this thread. A reference row calls libsodium or
 * OpenSSL itself, one message after another under one key, as `openssl speed -evp` does. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "policy/fragment_read.h"
#include "repeat.h"

enum { FRAGMENT_BYTES = 4 << 20, FLAT_BYTES = 4096, PACKED_BYTES = 32768, READ_BYTES = 4096 };

struct bench {
    uint8_t *hard; /* a fragment that does not compress */
    uint8_t *soft; /* one that lz4 halves, about */
    uint8_t *image;
    uint8_t *back;
    EVP_CIPHER *evp; /* of a reference row */
    uint32_t message_bytes;
    enum compress_codec codec;
    struct fragment_crypto crypto;
    struct fragment_ref ref;
    struct fragment_index index;
    uint32_t at; /* of the next read */
};

static const uint8_t key_bytes[CIPHER_KEY_BYTES] = {1, 2, 3};
static const uint8_t salt[FRAGMENT_SALT_BYTES] = {4};
static double seconds_per_row = 0.5;

/* Repeat `run`, which handles `bytes`, and print a row. */
static void measure(struct bench *b, const char *name, uint64_t bytes, void (*run)(struct bench *))
{
    struct repeat_took took = repeat_for(seconds_per_row, run, b);
    double gb = (double)(bytes * took.rounds) / 1e9;

    printf("%-48s %7.2f GB/s %7.3f CPU-s/GB %8.2f us each\n", name, gb / took.cpu_s,
           took.cpu_s / gb, took.cpu_s / (double)took.rounds * 1e6);
}

/* ---- references ---- */

static void run_sodium(struct bench *b)
{
    uint8_t nonce[24] = {0}, tag[16];

    for (uint32_t at = 0; at < FRAGMENT_BYTES; at += b->message_bytes) {
        memcpy(nonce, &at, sizeof(at));
        crypto_aead_xchacha20poly1305_ietf_encrypt_detached(b->image + at, tag, NULL, b->hard + at,
                                                            b->message_bytes, NULL, 0, NULL, nonce,
                                                            key_bytes);
    }
}

static void run_evp(struct bench *b)
{
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();
    uint8_t iv[16] = {0};
    int n;

    CHECK(EVP_EncryptInit_ex2(evp, b->evp, key_bytes, NULL, NULL) == 1);
    for (uint32_t at = 0; at < FRAGMENT_BYTES; at += b->message_bytes) {
        memcpy(iv, &at, sizeof(at));
        CHECK(EVP_EncryptInit_ex2(evp, NULL, NULL, iv, NULL) == 1);
        CHECK(EVP_EncryptUpdate(evp, b->image + at, &n, b->hard + at, (int)b->message_bytes) == 1);
        CHECK(EVP_EncryptFinal_ex(evp, b->image + at + n, &n) == 1);
    }
    EVP_CIPHER_CTX_free(evp);
}

static void references(struct bench *b)
{
    static const uint32_t sizes[] = {FLAT_BYTES, PACKED_BYTES};
    static const char *const evps[] = {"AES-256-GCM", "AES-256-CTR"};
    char name[64];

    for (int i = 0; i < 2; i++) {
        b->message_bytes = sizes[i];
        snprintf(name, sizeof(name), "reference: libsodium xchacha20-poly1305, %u", sizes[i]);
        measure(b, name, FRAGMENT_BYTES, run_sodium);
        for (int e = 0; e < 2; e++) {
            b->evp = EVP_CIPHER_fetch(NULL, evps[e], NULL);
            snprintf(name, sizeof(name), "reference: OpenSSL %s, %u", evps[e], sizes[i]);
            measure(b, name, FRAGMENT_BYTES, run_evp);
            EVP_CIPHER_free(b->evp);
        }
    }
}

/* ---- fragments ---- */

static void run_pack(struct bench *b)
{
    const uint8_t *raw = b->codec == COMPRESS_NONE ? b->hard : b->soft;
    uint32_t crc;

    b->ref.stored_bytes =
        fragment_pack(&b->ref.id, &b->ref.shape, &b->crypto, salt, raw, b->image, &crc);
}

static void run_unpack(struct bench *b)
{
    struct err e;

    CHECK(fragment_unpack(&b->ref, b->image, b->ref.stored_bytes, b->back, &e) == 0);
}

/* 4 KiB out of the fragment, the trailer being known. */
static void run_read(struct bench *b)
{
    struct fragment_range range;
    struct err e;

    b->at = (b->at + 37 * READ_BYTES) % FRAGMENT_BYTES;
    range = fragment_index_range(&b->index, b->at, READ_BYTES);
    CHECK(fragment_index_unpack(&b->index, &b->ref, b->at, READ_BYTES,
                                slice_of(b->image + range.offset, range.bytes), b->back, &e) == 0);
}

static void fragments(struct bench *b, enum compress_codec codec, enum cipher cipher)
{
    struct fragment_range trailer;
    char name[64];
    struct err e;

    b->codec = codec;
    b->crypto.cipher = cipher;
    b->ref.shape = fragment_shape_of(FRAGMENT_BYTES, codec, cipher);
    b->ref.crypto = &b->crypto;
    snprintf(name, sizeof(name), "pack %s %s", compress_name(codec), cipher_name(cipher));
    measure(b, name, FRAGMENT_BYTES, run_pack);
    measure(b, "  unpack that", FRAGMENT_BYTES, run_unpack);
    trailer = fragment_trailer_range(&b->ref);
    CHECK(fragment_index_init(&b->index, &b->ref, b->image + trailer.offset, trailer.bytes, &e) ==
          0);
    measure(b, "  read 4 KiB of it", READ_BYTES, run_read);
    fragment_index_release(&b->index);
}

int main(int argc, char **argv)
{
    static const enum cipher ciphers[] = {CIPHER_NONE, CIPHER_XCHACHA20_POLY1305,
                                          CIPHER_AES_256_GCM, CIPHER_AES_CTR_256};
    struct rnd rnd = rnd_seed(1);
    struct bench b = {.hard = mem_aligned(4096, FRAGMENT_BYTES),
                      .soft = mem_aligned(4096, FRAGMENT_BYTES),
                      .image = mem_aligned(4096, FRAGMENT_BYTES + (1 << 20)),
                      .back = mem_aligned(4096, FRAGMENT_BYTES)};
    struct key_ring ring;
    struct utsname host;

    if (argc > 1) {
        seconds_per_row = strtod(argv[1], NULL);
    }
    uname(&host);
    printf("host %s %s %s, one thread, fragments of %d bytes, %.2f s per row\n", host.nodename,
           host.release, host.machine, FRAGMENT_BYTES, seconds_per_row);
    for (size_t at = 0; at < FRAGMENT_BYTES; at += 8) {
        uint64_t word = rnd_next(&rnd);

        memcpy(b.hard + at, &word, 8);
        memcpy(b.soft + at, &word, 8);
    }
    for (size_t at = 0; at < FRAGMENT_BYTES; at += 64) {
        memset(b.soft + at, 0, 32);
    }
    key_ring_init(&ring);
    b.crypto.key = key_ring_add(&ring, key_bytes);

    references(&b);
    for (int c = 0; c < 4; c++) {
        fragments(&b, COMPRESS_NONE, ciphers[c]);
    }
    for (int c = 0; c < 4; c++) {
        fragments(&b, COMPRESS_LZ4, ciphers[c]);
    }
    key_ring_release(&ring);
    free(b.hard);
    free(b.soft);
    free(b.image);
    free(b.back);
    return 0;
}
