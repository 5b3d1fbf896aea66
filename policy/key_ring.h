/* Master keys in memory, found by their id.
 *
 * Their bytes lie in pages of their own that are kept out of core dumps and, where the limit
 * allows, of swap. A key is never taken out while the ring lives, so that a pointer to one
 * stays good. One thread adds and finds; any thread uses a key that was found. */
#ifndef POLICY_KEY_RING_H
#define POLICY_KEY_RING_H

#include <stddef.h>
#include <stdint.h>

#include "policy/cipher.h"

enum { KEY_ID_BYTES = 32, KEY_ID_TEXT_BYTES = 2 * KEY_ID_BYTES + 1 };

struct master_key {
    uint8_t id[KEY_ID_BYTES]; /* SHA-256 of the bytes: not secret */
    uint8_t *bytes;           /* CIPHER_KEY_BYTES: never print, log or send */
};

struct key_ring {
    struct master_key **keys; /* private */
    size_t count;
};

/* With what one fragment is encrypted. */
struct fragment_crypto {
    enum cipher cipher;
    const struct master_key *key;  /* borrowed */
    uint8_t ctr[CIPHER_CTR_BYTES]; /* of AES_CTR_256: fresh for every encoding */
};

void key_ring_init(struct key_ring *ring);
void key_ring_release(struct key_ring *ring); /* wipes the keys; accepts {0} */

/* Copies the bytes; one that is there already is answered. */
const struct master_key *key_ring_add(struct key_ring *ring, const uint8_t bytes[CIPHER_KEY_BYTES]);
/* NULL: not there. */
const struct master_key *key_ring_find(const struct key_ring *ring, const uint8_t id[KEY_ID_BYTES]);

/* BLAKE2b-256 of `message`, keyed with `key`: a key for one purpose, which begins the message. */
void master_key_derive(uint8_t ret_key[CIPHER_KEY_BYTES], const struct master_key *key,
                       struct slice message);

/* SHA-256 of the bytes. */
void key_id_of(uint8_t ret_id[KEY_ID_BYTES], const uint8_t bytes[CIPHER_KEY_BYTES]);
void key_wipe(void *secret, size_t bytes); /* is not optimised away */

#endif
