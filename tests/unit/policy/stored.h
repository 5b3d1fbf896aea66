/* A packed fragment to read back, cut short or spoil. */
#ifndef TESTS_UNIT_POLICY_STORED_H
#define TESTS_UNIT_POLICY_STORED_H

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "lib/seed.h"
#include "policy/fragment.h"

struct stored {
    struct fragment_ref ref;
    uint8_t *raw;   /* ref.shape.raw_bytes */
    uint8_t *value; /* ref.stored_bytes, exactly: sanitizers see every step outside */
    uint32_t crc;
    struct fragment_crypto *crypto; /* owned; NULL without a cipher */
};

/* The key that every encrypted fragment of a test is under. */
static const uint8_t stored_key_bytes[CIPHER_KEY_BYTES] = {
    0x1f, 0x5c, 0x9a, 0xd7, 0x14, 0x51, 0x8e, 0xcb, 0x08, 0x45, 0x82, 0xbf, 0xfc, 0x39, 0x76, 0xb3,
    0xf0, 0x2d, 0x6a, 0xa7, 0xe4, 0x21, 0x5e, 0x9b, 0xd8, 0x15, 0x52, 0x8f, 0xcc, 0x09, 0x46, 0x83};

static inline const struct master_key *stored_key(void)
{
    static uint8_t bytes[CIPHER_KEY_BYTES];
    static struct master_key key = {.bytes = bytes};

    memcpy(bytes, stored_key_bytes, sizeof(bytes));
    key_id_of(key.id, bytes);
    return &key;
}

/* Stretches that shrink and stretches that do not. */
static inline void stored_fill(struct rnd *rnd, uint8_t *data, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes;) {
        uint32_t run = 1 + (uint32_t)rnd_below(rnd, 12000);
        bool soft = rnd_below(rnd, 2) == 0;

        for (; run != 0 && i < bytes; run--, i++) {
            data[i] = soft ? (uint8_t)(i / 61) : (uint8_t)rnd_next(rnd);
        }
    }
}

static inline struct stored stored_make_sealed(struct rnd *rnd, uint32_t raw_bytes,
                                               enum compress_codec codec, enum cipher cipher,
                                               uint32_t block_bytes)
{
    struct stored s = {.ref.shape = fragment_shape_of(raw_bytes, codec, cipher)};
    uint8_t salt[FRAGMENT_SALT_BYTES];
    uint8_t *image;

    s.ref.shape.block_bytes = block_bytes;
    seed_fill(rnd, s.ref.id.object_id, sizeof(s.ref.id.object_id));
    s.ref.id.chunk = (uint32_t)rnd_below(rnd, 100);
    s.ref.id.fragment = (uint32_t)rnd_below(rnd, 28);
    seed_fill(rnd, salt, sizeof(salt));
    s.raw = mem_alloc((size_t)raw_bytes + 1);
    stored_fill(rnd, s.raw, raw_bytes);

    if (cipher != CIPHER_NONE) {
        s.crypto = mem_zalloc(sizeof(*s.crypto));
        s.crypto->cipher = cipher;
        s.crypto->key = stored_key();
        seed_fill(rnd, s.crypto->ctr, sizeof(s.crypto->ctr));
        s.ref.crypto = s.crypto;
    }
    image = mem_alloc(fragment_stored_max(&s.ref.shape));
    s.ref.stored_bytes =
        fragment_pack(&s.ref.id, &s.ref.shape, s.crypto, salt, s.raw, image, &s.crc);
    s.value = mem_dup(image, s.ref.stored_bytes);
    free(image);
    return s;
}

static inline struct stored stored_make(struct rnd *rnd, uint32_t raw_bytes,
                                        enum compress_codec codec, uint32_t block_bytes)
{
    return stored_make_sealed(rnd, raw_bytes, codec, CIPHER_NONE, block_bytes);
}

static inline void stored_release(struct stored *s)
{
    free(s->crypto);
    free(s->raw);
    free(s->value);
}

/* What an attacker, or a wrong writer, would do: make both checksums of the trailer right. */
static inline void stored_reseal(struct stored *s)
{
    uint32_t entries_bytes = fragment_trailer_bytes(&s->ref.shape) - FRAGMENT_FOOTER_BYTES;
    uint8_t *footer = s->value + s->ref.stored_bytes - FRAGMENT_FOOTER_BYTES;

    put_u32le(footer + 120, crc32c(0, footer - entries_bytes, entries_bytes));
    put_u32le(footer + 124, crc32c(0, footer, 124));
}

#endif
