/* One stored block of a fragment made raw again, verified first; for fragment_read.c only.
 * One thread per struct. */
#ifndef POLICY_FRAGMENT_BLOCK_H
#define POLICY_FRAGMENT_BLOCK_H

#include "policy/fragment.h"

/* A block and what its entry says of it. */
struct fragment_block {
    struct fragment_place place;
    struct slice stored;
    uint32_t crc;       /* of the stored bytes; without an authenticated cipher */
    const uint8_t *tag; /* with one */
};

/* For the blocks of one fragment, one after another. */
struct fragment_unblock {
    const struct fragment_shape *shape; /* private */
    struct fragment_cipher cipher;
    uint8_t *text;  /* owned, on first need: a block decrypted */
    uint8_t *whole; /* ... and one decompressed of which only a part is wanted */
};

/* `ref` has passed fragment_ref_check(). */
void fragment_unblock_init(struct fragment_unblock *u, const struct fragment_ref *ref,
                           const uint8_t salt[FRAGMENT_SALT_BYTES]);
void fragment_unblock_release(struct fragment_unblock *u);

/* Raw [from, from + bytes) of the block, bytes > 0. ERR_CORRUPT names the block. */
int fragment_unblock(struct fragment_unblock *u, const struct fragment_block *block, uint32_t from,
                     uint32_t bytes, uint8_t *ret_raw, struct err *e);

#endif
