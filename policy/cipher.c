#include "policy/cipher.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sodium.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

static_assert(CIPHER_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
static_assert(CIPHER_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

enum { XCHACHA_NONCE_BYTES = 24, GCM_NONCE_BYTES = 12, AES_BLOCK_BYTES = 16 };

static const struct {
    enum cipher cipher;
    const char *name;
} names[] = {{CIPHER_NONE, "none"},
             {CIPHER_AES_CBC_256, "aes-cbc-256"},
             {CIPHER_AES_CTR_256, "aes-ctr-256"},
             {CIPHER_XCHACHA20_POLY1305, "xchacha20-poly1305"},
             {CIPHER_AES_256_GCM, "aes-256-gcm"}};

const char *cipher_name(uint32_t tag)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].cipher == tag) {
            return names[i].name;
        }
    }
    return "unknown";
}

int cipher_parse(const char *name, enum cipher *ret_cipher)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i].name, name) == 0) {
            *ret_cipher = names[i].cipher;
            return 0;
        }
    }
    return -EINVAL;
}

bool cipher_is_aead(uint32_t tag)
{
    return tag == CIPHER_XCHACHA20_POLY1305 || tag == CIPHER_AES_256_GCM;
}

/* Looked up once: a lookup by name takes a lock and costs as much as a block. */
static EVP_CIPHER *gcm, *ctr_256;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void look_up(void)
{
    CHECK(sodium_init() >= 0);
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    ctr_256 = EVP_CIPHER_fetch(NULL, "AES-256-CTR", NULL);
    CHECK(gcm != NULL && ctr_256 != NULL);
}

static EVP_CIPHER_CTX *evp_new(void)
{
    EVP_CIPHER_CTX *evp = EVP_CIPHER_CTX_new();

    CHECK(evp != NULL);
    return evp;
}

/* ---- authenticated ---- */

void cipher_aead_init(struct cipher_aead *aead, enum cipher cipher,
                      const uint8_t key[CIPHER_KEY_BYTES], bool seals)
{
    CHECK(cipher_is_aead(cipher));
    CHECK(pthread_once(&once, look_up) == 0);

    *aead = (struct cipher_aead){.cipher = cipher, .seals = seals};
    if (cipher == CIPHER_XCHACHA20_POLY1305) {
        memcpy(aead->key, key, CIPHER_KEY_BYTES);
        return;
    }
    aead->evp = evp_new();
    CHECK(EVP_CipherInit_ex2(aead->evp, gcm, key, NULL, seals, NULL) == 1);
}

void cipher_aead_release(struct cipher_aead *aead)
{
    EVP_CIPHER_CTX_free(aead->evp); /* wipes the key schedule */
    sodium_memzero(aead, sizeof(*aead));
}

static void gcm_start(struct cipher_aead *aead, uint32_t number, struct slice associated)
{
    uint8_t nonce[GCM_NONCE_BYTES] = {0};
    int n;

    put_u32le(nonce, number);
    CHECK(EVP_CipherInit_ex2(aead->evp, NULL, NULL, nonce, aead->seals, NULL) == 1);
    CHECK(associated.len <= INT_MAX);
    CHECK(EVP_CipherUpdate(aead->evp, NULL, &n, associated.data, (int)associated.len) == 1);
}

static void gcm_update(struct cipher_aead *aead, struct slice in, uint8_t *ret_out)
{
    int n = 0;

    CHECK(in.len <= INT_MAX);
    CHECK(EVP_CipherUpdate(aead->evp, ret_out, &n, in.data, (int)in.len) == 1);
    CHECK((size_t)n == in.len);
}

void cipher_aead_seal(struct cipher_aead *aead, uint32_t number, struct slice associated,
                      struct slice plain, uint8_t *ret_text, uint8_t ret_tag[CIPHER_TAG_BYTES])
{
    uint8_t nonce[XCHACHA_NONCE_BYTES] = {0};
    int n = 0;

    CHECK(aead->seals);
    if (aead->cipher == CIPHER_XCHACHA20_POLY1305) {
        put_u32le(nonce, number);
        CHECK(crypto_aead_xchacha20poly1305_ietf_encrypt_detached(
                  ret_text, ret_tag, NULL, plain.data, plain.len, associated.data, associated.len,
                  NULL, nonce, aead->key) == 0);
        return;
    }
    gcm_start(aead, number, associated);
    gcm_update(aead, plain, ret_text);
    CHECK(EVP_CipherFinal_ex(aead->evp, ret_text + plain.len, &n) == 1 && n == 0);
    CHECK(EVP_CIPHER_CTX_ctrl(aead->evp, EVP_CTRL_AEAD_GET_TAG, CIPHER_TAG_BYTES, ret_tag) == 1);
}

int cipher_aead_open(struct cipher_aead *aead, uint32_t number, struct slice associated,
                     struct slice text, const uint8_t tag[CIPHER_TAG_BYTES], uint8_t *ret_plain,
                     struct err *e)
{
    uint8_t nonce[XCHACHA_NONCE_BYTES] = {0}, expected[CIPHER_TAG_BYTES];
    bool ok;
    int n;

    CHECK(!aead->seals);
    if (aead->cipher == CIPHER_XCHACHA20_POLY1305) {
        put_u32le(nonce, number);
        ok = crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
                 ret_plain, NULL, text.data, text.len, tag, associated.data, associated.len, nonce,
                 aead->key) == 0;
    } else {
        memcpy(expected, tag, sizeof(expected)); /* the call wants it writable */
        gcm_start(aead, number, associated);
        gcm_update(aead, text, ret_plain);
        CHECK(EVP_CIPHER_CTX_ctrl(aead->evp, EVP_CTRL_AEAD_SET_TAG, CIPHER_TAG_BYTES, expected) ==
              1);
        ok = EVP_CipherFinal_ex(aead->evp, ret_plain + text.len, &n) == 1;
    }
    if (!ok) {
        sodium_memzero(ret_plain, text.len);
        return err_set(e, ERR_CORRUPT, "%s: authentication", cipher_name(aead->cipher));
    }
    return 0;
}

/* ---- counter mode ---- */

void cipher_ctr_init(struct cipher_ctr *ctr, const uint8_t key[CIPHER_KEY_BYTES],
                     const uint8_t counter[CIPHER_CTR_BYTES])
{
    CHECK(pthread_once(&once, look_up) == 0);
    memcpy(ctr->counter, counter, CIPHER_CTR_BYTES);
    ctr->evp = evp_new();
    CHECK(EVP_CipherInit_ex2(ctr->evp, ctr_256, key, NULL, 1, NULL) == 1);
}

void cipher_ctr_release(struct cipher_ctr *ctr)
{
    EVP_CIPHER_CTX_free(ctr->evp);
    *ctr = (struct cipher_ctr){0};
}

/* counter + n, as one big-endian number of 128 bits that may wrap. */
static void counter_add(uint8_t ret_sum[CIPHER_CTR_BYTES], const uint8_t counter[CIPHER_CTR_BYTES],
                        uint64_t n)
{
    unsigned carry = 0;

    for (int i = CIPHER_CTR_BYTES - 1; i >= 0; i--) {
        unsigned sum = counter[i] + (unsigned)(n & 0xff) + carry;

        ret_sum[i] = (uint8_t)sum;
        carry = sum >> 8;
        n >>= 8;
    }
}

void cipher_ctr_xor(struct cipher_ctr *ctr, uint64_t offset, struct slice data, uint8_t *ret_data)
{
    uint8_t counter[CIPHER_CTR_BYTES], skipped[AES_BLOCK_BYTES] = {0};
    int skip = (int)(offset % AES_BLOCK_BYTES), n = 0;

    CHECK(data.len <= INT_MAX);
    counter_add(counter, ctr->counter, offset / AES_BLOCK_BYTES);
    CHECK(EVP_CipherInit_ex2(ctr->evp, NULL, NULL, counter, 1, NULL) == 1);
    CHECK(EVP_CipherUpdate(ctr->evp, skipped, &n, skipped, skip) == 1);
    CHECK(EVP_CipherUpdate(ctr->evp, ret_data, &n, data.data, (int)data.len) == 1);
    CHECK((size_t)n == data.len);
    sodium_memzero(skipped, sizeof(skipped));
}
