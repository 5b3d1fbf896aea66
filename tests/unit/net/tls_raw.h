/* A client that says in TLS what ours never would: OpenSSL without net/tls_session.c around it, and
 * records made by hand. For tests only. */
#ifndef TESTS_NET_TLS_RAW_H
#define TESTS_NET_TLS_RAW_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>

#include "net/tls_private.h"

enum { TLS_RAW_SECRET_BYTES = 32, TLS_RAW_TAG_BYTES = 16, TLS_RAW_HEAD_BYTES = 5 };

struct tls_raw {
    SSL *ssl;
    uint8_t secret[TLS_RAW_SECRET_BYTES]; /* of our first application keys; AES-128-GCM, SHA-256 */
};

/* "CLIENT_TRAFFIC_SECRET_0 RANDOM SECRET", the last two in hex. */
static inline void tls_raw_note_secret(const SSL *ssl, const char *line)
{
    struct tls_raw *raw = SSL_get_app_data(ssl);
    const char *hex = strrchr(line, ' ') + 1;
    size_t bytes;

    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0) {
        assert_int_equal(OPENSSL_hexstr2buf_ex(raw->secret, sizeof raw->secret, &bytes, hex, '\0'),
                         1);
        assert_int_equal(bytes, sizeof raw->secret);
    }
}

static inline void tls_raw_init(struct tls_raw *raw, struct net_tls *tls)
{
    SSL_CTX_set_keylog_callback(tls->ctx, tls_raw_note_secret);
    raw->ssl = SSL_new(tls->ctx);
    assert_non_null(raw->ssl);
    SSL_set_app_data(raw->ssl, raw);
    SSL_set_bio(raw->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(raw->ssl);
}

/* HKDF-Expand-Label of RFC 8446, 7.1, without a context. */
static inline void tls_raw_expand(const uint8_t *secret, const char *label, uint8_t *ret_key,
                                  uint8_t bytes)
{
    uint8_t info[64] = {0, bytes, (uint8_t)strlen(label)};
    size_t n = 3 + strlen(label);
    uint8_t block[TLS_RAW_SECRET_BYTES];

    memcpy(info + 3, label, strlen(label));
    info[n++] = 0;
    info[n++] = 1;
    assert_non_null(HMAC(EVP_sha256(), secret, TLS_RAW_SECRET_BYTES, info, n, block, NULL));
    memcpy(ret_key, block, bytes);
}

/* The first record of the application keys: `bytes` of `type`. Returns its length. */
static inline size_t tls_raw_record(const struct tls_raw *raw, uint8_t type, const void *data,
                                    size_t bytes, uint8_t *ret_record)
{
    size_t sealed = bytes + 1 + TLS_RAW_TAG_BYTES;
    uint8_t head[TLS_RAW_HEAD_BYTES] = {0x17, 3, 3, (uint8_t)(sealed >> 8), (uint8_t)sealed};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *to = ret_record + sizeof head;
    uint8_t key[16], iv[12];
    int n;

    tls_raw_expand(raw->secret, "tls13 key", key, sizeof key);
    tls_raw_expand(raw->secret, "tls13 iv", iv, sizeof iv);
    memcpy(ret_record, head, sizeof head);
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, head, sizeof head), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, to, &n, data, (int)bytes), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, to + bytes, &n, &type, 1), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, to + bytes + 1, &n), 1);
    assert_int_equal(
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TLS_RAW_TAG_BYTES, to + bytes + 1), 1);
    EVP_CIPHER_CTX_free(ctx);
    return sizeof head + sealed;
}

#endif
