/* Encryption of the blocks of one fragment: subkey, nonces, associated data. For fragment.c
 * and fragment_block.c only. Bytes: policy/FORMAT.md, "Encryption". One thread per struct. */
#ifndef POLICY_FRAGMENT_CIPHER_H
#define POLICY_FRAGMENT_CIPHER_H

#include "policy/key_ring.h"

enum { FRAGMENT_SALT_BYTES = 16, FRAGMENT_AD_BYTES = 56 };

struct fragment_id;
struct fragment_shape;

struct fragment_cipher {
    enum cipher cipher; /* private */
    uint8_t ad[FRAGMENT_AD_BYTES];
    union {
        struct cipher_aead aead;
        struct cipher_ctr ctr;
    };
};

/* Where a block stands. */
struct fragment_place {
    uint32_t block;
    uint32_t offset; /* in the payload */
    bool is_raw;     /* not compressed */
};

/* `crypto` may be NULL without a cipher; `seals`: to encrypt, else to decrypt. */
void fragment_cipher_init(struct fragment_cipher *c, const struct fragment_id *id,
                          const struct fragment_shape *shape, const struct fragment_crypto *crypto,
                          const uint8_t salt[FRAGMENT_SALT_BYTES], bool seals);
void fragment_cipher_release(struct fragment_cipher *c);

/* In place, or from elsewhere. `ret_tag` is written by ciphers that have one. */
void fragment_cipher_seal(struct fragment_cipher *c, const struct fragment_place *place,
                          struct slice plain, uint8_t *ret_text, uint8_t *ret_tag);
/* ERR_CORRUPT: not what was sealed at this place of this fragment. */
int fragment_cipher_open(struct fragment_cipher *c, const struct fragment_place *place,
                         struct slice text, const uint8_t *tag, uint8_t *ret_plain, struct err *e);

/* The key of one encoding of a fragment. */
void fragment_subkey(uint8_t ret_key[CIPHER_KEY_BYTES], const struct master_key *key,
                     const struct fragment_id *id, const uint8_t salt[FRAGMENT_SALT_BYTES]);

#endif
