#include "policy/fragment_cipher.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "policy/fragment.h"

/* Offsets in the associated data. */
enum {
    AD_OBJECT_ID = 0,
    AD_CHUNK = 32,
    AD_FRAGMENT = 36,
    AD_BLOCK = 40,
    AD_BLOCK_COUNT = 44,
    AD_BLOCK_BYTES = 48,
    AD_IS_RAW = 52,
    AD_CODEC = 53,
    AD_CIPHER = 54,
    AD_ZERO = 55
};

static_assert(AD_ZERO + 1 == FRAGMENT_AD_BYTES, "associated data");

/* Offsets in what the subkey is derived from. */
enum {
    SUBKEY_PURPOSE = 0,
    SUBKEY_OBJECT_ID = 4,
    SUBKEY_CHUNK = 36,
    SUBKEY_FRAGMENT = 40,
    SUBKEY_SALT = 44,
    SUBKEY_BYTES = 60
};

void fragment_subkey(uint8_t ret_key[CIPHER_KEY_BYTES], const struct master_key *key,
                     const struct fragment_id *id, const uint8_t salt[FRAGMENT_SALT_BYTES])
{
    uint8_t message[SUBKEY_BYTES];

    memcpy(message + SUBKEY_PURPOSE, "frag", 4);
    memcpy(message + SUBKEY_OBJECT_ID, id->object_id, FRAGMENT_OBJECT_ID_BYTES);
    put_u32le(message + SUBKEY_CHUNK, id->chunk);
    put_u32le(message + SUBKEY_FRAGMENT, id->fragment);
    memcpy(message + SUBKEY_SALT, salt, FRAGMENT_SALT_BYTES);
    master_key_derive(ret_key, key, slice_of(message, sizeof(message)));
}

void fragment_cipher_init(struct fragment_cipher *c, const struct fragment_id *id,
                          const struct fragment_shape *shape, const struct fragment_crypto *crypto,
                          const uint8_t salt[FRAGMENT_SALT_BYTES], bool seals)
{
    uint8_t subkey[CIPHER_KEY_BYTES];

    *c = (struct fragment_cipher){.cipher = (enum cipher)shape->cipher};
    if (c->cipher == CIPHER_NONE) {
        return;
    }
    CHECK(crypto != NULL && crypto->cipher == c->cipher && crypto->key != NULL);
    if (!cipher_is_aead(c->cipher)) {
        cipher_ctr_init(&c->ctr, crypto->key->bytes, crypto->ctr);
        return;
    }
    memcpy(c->ad + AD_OBJECT_ID, id->object_id, FRAGMENT_OBJECT_ID_BYTES);
    put_u32le(c->ad + AD_CHUNK, id->chunk);
    put_u32le(c->ad + AD_FRAGMENT, id->fragment);
    put_u32le(c->ad + AD_BLOCK_COUNT, fragment_block_count(shape));
    put_u32le(c->ad + AD_BLOCK_BYTES, shape->block_bytes);
    c->ad[AD_CODEC] = (uint8_t)shape->codec;
    c->ad[AD_CIPHER] = (uint8_t)shape->cipher;
    fragment_subkey(subkey, crypto->key, id, salt);
    cipher_aead_init(&c->aead, c->cipher, subkey, seals);
    key_wipe(subkey, sizeof(subkey));
}

void fragment_cipher_release(struct fragment_cipher *c)
{
    if (cipher_is_aead(c->cipher)) {
        cipher_aead_release(&c->aead);
    } else if (c->cipher == CIPHER_AES_CTR_256) {
        cipher_ctr_release(&c->ctr);
    }
    c->cipher = CIPHER_NONE;
}

static struct slice associated(struct fragment_cipher *c, const struct fragment_place *place)
{
    put_u32le(c->ad + AD_BLOCK, place->block);
    c->ad[AD_IS_RAW] = place->is_raw;
    return slice_of(c->ad, sizeof(c->ad));
}

void fragment_cipher_seal(struct fragment_cipher *c, const struct fragment_place *place,
                          struct slice plain, uint8_t *ret_text, uint8_t *ret_tag)
{
    if (cipher_is_aead(c->cipher)) {
        cipher_aead_seal(&c->aead, place->block, associated(c, place), plain, ret_text, ret_tag);
    } else {
        cipher_ctr_xor(&c->ctr, place->offset, plain, ret_text);
    }
}

int fragment_cipher_open(struct fragment_cipher *c, const struct fragment_place *place,
                         struct slice text, const uint8_t *tag, uint8_t *ret_plain, struct err *e)
{
    if (cipher_is_aead(c->cipher)) {
        return cipher_aead_open(&c->aead, place->block, associated(c, place), text, tag, ret_plain,
                                e);
    }
    cipher_ctr_xor(&c->ctr, place->offset, text, ret_plain);
    return 0;
}
