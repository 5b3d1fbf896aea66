#include "policy/fragment_block.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "policy/fragment_footer.h"

void fragment_unblock_init(struct fragment_unblock *u, const struct fragment_ref *ref,
                           const uint8_t salt[FRAGMENT_SALT_BYTES])
{
    *u = (struct fragment_unblock){.shape = &ref->shape};
    fragment_cipher_init(&u->cipher, &ref->id, &ref->shape, ref->crypto, salt, false);
}

/* Decrypted bytes of what was encrypted do not stay in freed memory. */
static void scratch_free(uint8_t *scratch, const struct fragment_shape *shape)
{
    if (scratch != NULL && shape->cipher != CIPHER_NONE) {
        key_wipe(scratch, shape->block_bytes);
    }
    free(scratch);
}

void fragment_unblock_release(struct fragment_unblock *u)
{
    scratch_free(u->text, u->shape);
    scratch_free(u->whole, u->shape);
    fragment_cipher_release(&u->cipher);
}

static uint8_t *scratch(struct fragment_unblock *u, uint8_t **one)
{
    if (*one == NULL) {
        *one = mem_alloc(u->shape->block_bytes);
    }
    return *one;
}

/* The block's bytes behind checksum and cipher: where they stand, or in `into`. */
static int plain_text(struct fragment_unblock *u, const struct fragment_block *b, uint8_t *into,
                      struct slice *ret_text, struct err *e)
{
    if (!cipher_is_aead(u->shape->cipher) && crc32c(0, b->stored.data, b->stored.len) != b->crc) {
        return err_set(e, ERR_CORRUPT, "checksum");
    }
    if (u->shape->cipher == CIPHER_NONE) {
        *ret_text = b->stored;
        return 0;
    }
    if (into == NULL) {
        into = scratch(u, &u->text);
    }
    *ret_text = slice_of(into, b->stored.len);
    return fragment_cipher_open(&u->cipher, &b->place, b->stored, b->tag, into, e);
}

static int unblock(struct fragment_unblock *u, const struct fragment_block *b, uint32_t from,
                   uint32_t bytes, uint8_t *ret_raw, struct err *e)
{
    uint32_t raw_bytes = fragment_block_bytes(u->shape, b->place.block);
    bool is_whole = bytes == raw_bytes;
    struct slice text = {0};
    uint8_t *raw;
    int rc = plain_text(u, b, b->place.is_raw && is_whole ? ret_raw : NULL, &text, e);

    if (rc != 0) {
        return rc;
    }
    if (b->place.is_raw) {
        if (text.data != ret_raw) {
            memcpy(ret_raw, text.data + from, bytes);
        }
        return 0;
    }
    raw = is_whole ? ret_raw : scratch(u, &u->whole);
    rc = decompress_block((enum compress_codec)u->shape->codec, raw, raw_bytes, text.data,
                          (uint32_t)text.len, e);
    if (rc == 0 && !is_whole) {
        memcpy(ret_raw, raw + from, bytes);
    }
    return rc;
}

int fragment_unblock(struct fragment_unblock *u, const struct fragment_block *block, uint32_t from,
                     uint32_t bytes, uint8_t *ret_raw, struct err *e)
{
    int rc = unblock(u, block, from, bytes, ret_raw, e);

    return rc == 0 ? 0 : err_wrap(e, "block %" PRIu32, block->place.block);
}
