/* The ciphers of stored fragments: two authenticated ones, and AES in counter mode.
 *
 * Contexts are made once per fragment and used for all its blocks; no call on a block
 * allocates. Key bytes are wiped on release. Any thread; one thread per struct. */
#ifndef POLICY_CIPHER_H
#define POLICY_CIPHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Values are the cipher tags of manifests and of fragment footers. */
enum cipher {
    CIPHER_NONE = 1,
    CIPHER_AES_CBC_256 = 2, /* fragment format 0 only */
    CIPHER_AES_CTR_256 = 3,
    CIPHER_XCHACHA20_POLY1305 = 64,
    CIPHER_AES_256_GCM = 65
};

enum { CIPHER_KEY_BYTES = 32, CIPHER_TAG_BYTES = 16, CIPHER_CTR_BYTES = 16 };

/* "unknown" for a tag that is none of them. */
const char *cipher_name(uint32_t tag);
/* -EINVAL for a name that is none of them. */
int cipher_parse(const char *name, enum cipher *ret_cipher);
/* Detects changed bytes by itself. */
bool cipher_is_aead(uint32_t tag);

/* ---- authenticated ciphers ---- */

struct cipher_aead {
    enum cipher cipher; /* private from here */
    bool seals;
    uint8_t key[CIPHER_KEY_BYTES]; /* of XCHACHA20_POLY1305 */
    struct evp_cipher_ctx_st *evp; /* of AES_256_GCM */
};

/* `seals`: for cipher_aead_seal(), else for cipher_aead_open(). */
void cipher_aead_init(struct cipher_aead *aead, enum cipher cipher,
                      const uint8_t key[CIPHER_KEY_BYTES], bool seals);
void cipher_aead_release(struct cipher_aead *aead); /* accepts {0} */

/* A key seals at most one message under a number. `ret_text` takes as many bytes as `plain` has,
 * and may be the same memory. */
void cipher_aead_seal(struct cipher_aead *aead, uint32_t number, struct slice associated,
                      struct slice plain, uint8_t *ret_text, uint8_t ret_tag[CIPHER_TAG_BYTES]);
/* Inverse. ERR_CORRUPT: not what was sealed under this key, number and associated data; then
 * `ret_plain` holds zeroes. */
int cipher_aead_open(struct cipher_aead *aead, uint32_t number, struct slice associated,
                     struct slice text, const uint8_t tag[CIPHER_TAG_BYTES], uint8_t *ret_plain,
                     struct err *e);

/* ---- counter mode, which hides but does not protect ---- */

struct cipher_ctr {
    uint8_t counter[CIPHER_CTR_BYTES]; /* private */
    struct evp_cipher_ctx_st *evp;
};

void cipher_ctr_init(struct cipher_ctr *ctr, const uint8_t key[CIPHER_KEY_BYTES],
                     const uint8_t counter[CIPHER_CTR_BYTES]);
void cipher_ctr_release(struct cipher_ctr *ctr); /* accepts {0} */
/* Encrypt or decrypt bytes that stand at `offset` of the stream. May be done in place. */
void cipher_ctr_xor(struct cipher_ctr *ctr, uint64_t offset, struct slice data, uint8_t *ret_data);

#endif
