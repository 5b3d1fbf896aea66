#include "policy/fragment_footer.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/hex.h"

#define MAGIC 0x31464241u /* "ABF1" */

enum { VERSION = 1 };

/* Offsets in the footer. */
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_FLAGS = 6,
    AT_OBJECT_ID = 8,
    AT_CHUNK = 40,
    AT_FRAGMENT = 44,
    AT_RAW_BYTES = 48,
    AT_PAYLOAD_BYTES = 52,
    AT_BLOCK_BYTES = 56,
    AT_BLOCK_COUNT = 60,
    AT_CODEC = 64,
    AT_CIPHER = 65,
    AT_RESERVED_A = 66,
    AT_KEY_ID = 68,
    AT_SALT = 100,
    AT_RESERVED_B = 116,
    AT_ENTRIES_CRC = 120,
    AT_CRC = 124
};

static_assert(AT_KEY_ID + KEY_ID_BYTES == AT_SALT, "key id");
static_assert(AT_SALT + FRAGMENT_SALT_BYTES == AT_RESERVED_B, "salt");
static_assert(AT_CRC + 4 == FRAGMENT_FOOTER_BYTES, "footer");

int fragment_shape_check(const struct fragment_shape *shape, struct err *e)
{
    if (!compress_is_known(shape->codec)) {
        return err_set(e, ERR_VERSION, "codec %" PRIu32, shape->codec);
    }
    if (shape->cipher != CIPHER_NONE && shape->cipher != CIPHER_AES_CTR_256 &&
        !cipher_is_aead(shape->cipher)) {
        return err_set(e, ERR_VERSION, "cipher %" PRIu32 " (%s)", shape->cipher,
                       cipher_name(shape->cipher));
    }
    if (shape->raw_bytes > FRAGMENT_RAW_BYTES_MAX) {
        return err_set(e, ERR_CORRUPT, "raw length %" PRIu32, shape->raw_bytes);
    }
    if (shape->block_bytes < FRAGMENT_BLOCK_BYTES_MIN ||
        shape->block_bytes > FRAGMENT_BLOCK_BYTES_MAX ||
        (shape->block_bytes & (shape->block_bytes - 1)) != 0) {
        return err_set(e, ERR_CORRUPT, "block size %" PRIu32, shape->block_bytes);
    }
    return 0;
}

uint32_t fragment_block_bytes(const struct fragment_shape *shape, uint32_t index)
{
    uint32_t left = shape->raw_bytes - index * shape->block_bytes;

    return left < shape->block_bytes ? left : shape->block_bytes;
}

uint32_t fragment_check_mask(uint32_t salt_crc, uint32_t block_index)
{
    uint8_t index[4];

    put_u32le(index, block_index);
    return crc32c(salt_crc, index, sizeof(index));
}

void fragment_footer_put(uint8_t ret_bytes[FRAGMENT_FOOTER_BYTES],
                         const struct fragment_footer *footer)
{
    uint8_t *p = ret_bytes;

    memset(p, 0, FRAGMENT_FOOTER_BYTES);
    put_u32le(p + AT_MAGIC, MAGIC);
    put_u16le(p + AT_VERSION, VERSION);
    memcpy(p + AT_OBJECT_ID, footer->id.object_id, FRAGMENT_OBJECT_ID_BYTES);
    put_u32le(p + AT_CHUNK, footer->id.chunk);
    put_u32le(p + AT_FRAGMENT, footer->id.fragment);
    put_u32le(p + AT_RAW_BYTES, footer->shape.raw_bytes);
    put_u32le(p + AT_PAYLOAD_BYTES, footer->payload_bytes);
    put_u32le(p + AT_BLOCK_BYTES, footer->shape.block_bytes);
    put_u32le(p + AT_BLOCK_COUNT, footer->block_count);
    p[AT_CODEC] = (uint8_t)footer->shape.codec;
    p[AT_CIPHER] = (uint8_t)footer->shape.cipher;
    memcpy(p + AT_KEY_ID, footer->key_id, KEY_ID_BYTES);
    memcpy(p + AT_SALT, footer->salt, FRAGMENT_SALT_BYTES);
    put_u32le(p + AT_ENTRIES_CRC, footer->entries_crc);
    put_u32le(p + AT_CRC, crc32c(0, p, AT_CRC));
}

static int all_zero(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (p[i] != 0) {
            return 0;
        }
    }
    return 1;
}

int fragment_footer_parse(struct fragment_footer *ret_footer,
                          const uint8_t bytes[FRAGMENT_FOOTER_BYTES], struct err *e)
{
    const uint8_t *p = bytes;
    struct fragment_footer f = {
        .id = {.chunk = get_u32le(p + AT_CHUNK), .fragment = get_u32le(p + AT_FRAGMENT)},
        .shape = {.raw_bytes = get_u32le(p + AT_RAW_BYTES),
                  .block_bytes = get_u32le(p + AT_BLOCK_BYTES),
                  .codec = p[AT_CODEC],
                  .cipher = p[AT_CIPHER]},
        .payload_bytes = get_u32le(p + AT_PAYLOAD_BYTES),
        .block_count = get_u32le(p + AT_BLOCK_COUNT),
        .entries_crc = get_u32le(p + AT_ENTRIES_CRC)};
    int rc;

    memcpy(f.id.object_id, p + AT_OBJECT_ID, FRAGMENT_OBJECT_ID_BYTES);
    memcpy(f.key_id, p + AT_KEY_ID, KEY_ID_BYTES);
    memcpy(f.salt, p + AT_SALT, FRAGMENT_SALT_BYTES);

    if (get_u32le(p + AT_MAGIC) != MAGIC) {
        return err_set(e, ERR_CORRUPT, "footer magic %08" PRIx32, get_u32le(p + AT_MAGIC));
    }
    if (get_u32le(p + AT_CRC) != crc32c(0, p, AT_CRC)) {
        return err_set(e, ERR_CORRUPT, "footer checksum");
    }
    if (get_u16le(p + AT_VERSION) != VERSION) {
        return err_set(e, ERR_VERSION, "fragment format %d", get_u16le(p + AT_VERSION));
    }
    if (get_u16le(p + AT_FLAGS) != 0) {
        return err_set(e, ERR_VERSION, "footer flags %04x", get_u16le(p + AT_FLAGS));
    }
    rc = fragment_shape_check(&f.shape, e);
    if (rc != 0) {
        return err_wrap(e, "footer");
    }
    if (f.block_count != fragment_block_count(&f.shape) || f.payload_bytes > f.shape.raw_bytes ||
        f.payload_bytes < f.block_count) {
        return err_set(e, ERR_CORRUPT,
                       "footer: %" PRIu32 " blocks, %" PRIu32 " bytes for %" PRIu32 " raw",
                       f.block_count, f.payload_bytes, f.shape.raw_bytes);
    }
    if (!all_zero(p + AT_RESERVED_A, 2) || !all_zero(p + AT_RESERVED_B, 4) ||
        (f.shape.cipher == CIPHER_NONE && !all_zero(f.key_id, KEY_ID_BYTES))) {
        return err_set(e, ERR_CORRUPT, "footer: reserved bytes in use");
    }
    *ret_footer = f;
    return 0;
}

int fragment_footer_match(const struct fragment_footer *footer, const struct fragment_ref *ref,
                          struct err *e)
{
    const struct fragment_shape *is = &footer->shape, *should = &ref->shape;

    if (memcmp(footer->id.object_id, ref->id.object_id, FRAGMENT_OBJECT_ID_BYTES) != 0) {
        char text[2 * FRAGMENT_OBJECT_ID_BYTES + 1];

        hex_encode(text, footer->id.object_id, FRAGMENT_OBJECT_ID_BYTES);
        return err_set(e, ERR_CORRUPT, "footer is of object %s", text);
    }
    if (footer->id.chunk != ref->id.chunk || footer->id.fragment != ref->id.fragment) {
        return err_set(e, ERR_CORRUPT, "footer is of chunk %" PRIu32 " fragment %" PRIu32,
                       footer->id.chunk, footer->id.fragment);
    }
    if (is->raw_bytes != should->raw_bytes || is->block_bytes != should->block_bytes ||
        is->codec != should->codec || is->cipher != should->cipher) {
        return err_set(e, ERR_CORRUPT,
                       "footer says raw %" PRIu32 " block %" PRIu32 " codec %" PRIu32
                       " cipher %s, manifest says %" PRIu32 " %" PRIu32 " %" PRIu32 " %s",
                       is->raw_bytes, is->block_bytes, is->codec, cipher_name(is->cipher),
                       should->raw_bytes, should->block_bytes, should->codec,
                       cipher_name(should->cipher));
    }
    if (ref->crypto != NULL && is->cipher != CIPHER_NONE &&
        memcmp(footer->key_id, ref->crypto->key->id, KEY_ID_BYTES) != 0) {
        char found[KEY_ID_TEXT_BYTES], given[KEY_ID_TEXT_BYTES];

        hex_encode(found, footer->key_id, KEY_ID_BYTES);
        hex_encode(given, ref->crypto->key->id, KEY_ID_BYTES);
        return err_set(e, ERR_CORRUPT, "encrypted under key %s, not %s", found, given);
    }
    if (footer->payload_bytes + fragment_trailer_bytes(is) != ref->stored_bytes) {
        return err_set(e, ERR_CORRUPT, "footer says payload %" PRIu32 ", %" PRIu32 " are stored",
                       footer->payload_bytes, ref->stored_bytes);
    }
    return 0;
}
