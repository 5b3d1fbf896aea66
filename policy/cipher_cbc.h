/* AES-256 in cipher block chaining with PKCS#7 padding: of fragment format 0 only, for
 * interchange. It hides and does not protect. Any thread. */
#ifndef POLICY_CIPHER_CBC_H
#define POLICY_CIPHER_CBC_H

#include "policy/cipher.h"

enum { CIPHER_CBC_BLOCK_BYTES = 16 };

/* Length with the padding: 1 to 16 bytes more. */
uint32_t cipher_cbc_bytes(uint32_t bytes);
/* `ret_text` takes cipher_cbc_bytes(); may be the same memory. */
void cipher_cbc_encrypt(const uint8_t key[CIPHER_KEY_BYTES],
                        const uint8_t iv[CIPHER_CBC_BLOCK_BYTES], const uint8_t *plain,
                        uint32_t bytes, uint8_t *ret_text);
/* Inverse, in place; ERR_CORRUPT when the padding is wrong. */
int cipher_cbc_decrypt(const uint8_t key[CIPHER_KEY_BYTES],
                       const uint8_t iv[CIPHER_CBC_BLOCK_BYTES], uint8_t *data, uint32_t bytes,
                       uint32_t *ret_bytes, struct err *e);

/* The vector of a fragment (recovery infos have chunk and fragment UINT32_MAX): known to who has
 * the key, and the same for each encoding of it. */
void cipher_cbc_iv(const uint8_t key[CIPHER_KEY_BYTES], struct slice object_id, uint32_t chunk,
                   uint32_t fragment, uint8_t ret_iv[CIPHER_CBC_BLOCK_BYTES]);

#endif
