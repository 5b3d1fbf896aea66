#include "policy/key_ring.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

static_assert(KEY_ID_BYTES == crypto_hash_sha256_BYTES, "key id");
static_assert(CIPHER_KEY_BYTES <= crypto_generichash_blake2b_KEYBYTES_MAX, "key");

void key_ring_init(struct key_ring *ring)
{
    CHECK(sodium_init() >= 0);
    *ring = (struct key_ring){0};
}

void key_ring_release(struct key_ring *ring)
{
    for (size_t i = 0; i < ring->count; i++) {
        sodium_free(ring->keys[i]->bytes);
        free(ring->keys[i]);
    }
    free(ring->keys);
    *ring = (struct key_ring){0};
}

void key_id_of(uint8_t ret_id[KEY_ID_BYTES], const uint8_t bytes[CIPHER_KEY_BYTES])
{
    CHECK(crypto_hash_sha256(ret_id, bytes, CIPHER_KEY_BYTES) == 0);
}

void master_key_derive(uint8_t ret_key[CIPHER_KEY_BYTES], const struct master_key *key,
                       struct slice message)
{
    CHECK(crypto_generichash_blake2b(ret_key, CIPHER_KEY_BYTES, message.data, message.len,
                                     key->bytes, CIPHER_KEY_BYTES) == 0);
}

void key_wipe(void *secret, size_t bytes)
{
    sodium_memzero(secret, bytes);
}

const struct master_key *key_ring_find(const struct key_ring *ring, const uint8_t id[KEY_ID_BYTES])
{
    for (size_t i = 0; i < ring->count; i++) {
        if (memcmp(ring->keys[i]->id, id, KEY_ID_BYTES) == 0) {
            return ring->keys[i];
        }
    }
    return NULL;
}

/* sodium_malloc() puts guard pages around, and takes the page out of core dumps. */
const struct master_key *key_ring_add(struct key_ring *ring, const uint8_t bytes[CIPHER_KEY_BYTES])
{
    const struct master_key *known;
    struct master_key *key;
    uint8_t id[KEY_ID_BYTES];

    key_id_of(id, bytes);
    known = key_ring_find(ring, id);
    if (known != NULL) {
        return known;
    }
    key = mem_zalloc(sizeof(*key));
    memcpy(key->id, id, sizeof(id));
    key->bytes = sodium_malloc(CIPHER_KEY_BYTES);
    CHECK(key->bytes != NULL);
    memcpy(key->bytes, bytes, CIPHER_KEY_BYTES);
    CHECK(sodium_mprotect_readonly(key->bytes) == 0);

    ring->keys = mem_realloc(ring->keys, (ring->count + 1) * sizeof(struct master_key *));
    ring->keys[ring->count++] = key;
    return key;
}
