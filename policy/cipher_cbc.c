#include "policy/cipher_cbc.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

uint32_t cipher_cbc_bytes(uint32_t bytes)
{
    return (bytes / CIPHER_CBC_BLOCK_BYTES + 1) * CIPHER_CBC_BLOCK_BYTES;
}

void cipher_cbc_encrypt(const uint8_t key[CIPHER_KEY_BYTES],
                        const uint8_t iv[CIPHER_CBC_BLOCK_BYTES], const uint8_t *plain,
                        uint32_t bytes, uint8_t *ret_text)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int done = 0, last = 0;

    CHECK(ctx != NULL && EVP_EncryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, iv) == 1);
    CHECK(bytes == 0 || EVP_EncryptUpdate(ctx, ret_text, &done, plain, (int)bytes) == 1);
    CHECK(EVP_EncryptFinal_ex(ctx, ret_text + done, &last) == 1);
    CHECK((uint32_t)(done + last) == cipher_cbc_bytes(bytes));
    EVP_CIPHER_CTX_free(ctx);
}

int cipher_cbc_decrypt(const uint8_t key[CIPHER_KEY_BYTES],
                       const uint8_t iv[CIPHER_CBC_BLOCK_BYTES], uint8_t *data, uint32_t bytes,
                       uint32_t *ret_bytes, struct err *e)
{
    EVP_CIPHER_CTX *ctx;
    int done = 0, last = 0;
    bool good;

    if (bytes == 0 || bytes % CIPHER_CBC_BLOCK_BYTES != 0) {
        return err_set(e, ERR_CORRUPT, "%u bytes of aes-cbc-256", bytes);
    }
    ctx = EVP_CIPHER_CTX_new();
    CHECK(ctx != NULL && EVP_DecryptInit_ex(ctx, EVP_aes_256_cbc(), NULL, key, iv) == 1);
    CHECK(EVP_DecryptUpdate(ctx, data, &done, data, (int)bytes) == 1);
    good = EVP_DecryptFinal_ex(ctx, data + done, &last) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!good) {
        return err_set(e, ERR_CORRUPT, "padding of aes-cbc-256");
    }
    *ret_bytes = (uint32_t)(done + last);
    return 0;
}

void cipher_cbc_iv(const uint8_t key[CIPHER_KEY_BYTES], struct slice object_id, uint32_t chunk,
                   uint32_t fragment, uint8_t ret_iv[CIPHER_CBC_BLOCK_BYTES])
{
    static const uint8_t zero[CIPHER_CBC_BLOCK_BYTES];
    struct buf seed = {0};
    struct buf text = {0};

    buf_put_u32le(&seed, (uint32_t)object_id.len);
    buf_put(&seed, object_id.data, object_id.len);
    buf_put_u32le(&seed, chunk);
    buf_put_u32le(&seed, fragment);
    buf_extend(&text, cipher_cbc_bytes((uint32_t)seed.len));
    cipher_cbc_encrypt(key, zero, seed.data, (uint32_t)seed.len, text.data);
    memcpy(ret_iv, text.data + text.len - CIPHER_CBC_BLOCK_BYTES, CIPHER_CBC_BLOCK_BYTES);
    buf_release(&seed);
    buf_release(&text);
}
