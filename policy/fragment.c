#include "policy/fragment.h"

#include <inttypes.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "policy/fragment_footer.h"
#include "policy/fragment_read.h"

enum {
    FLAT_BLOCK_BYTES = 4096,
    COMPRESSED_BLOCK_BYTES = 32768,
    ENTRY_CRC_BYTES = 4 + 4,
    ENTRY_TAG_BYTES = 4 + CIPHER_TAG_BYTES
};

struct fragment_id fragment_id_of(const uint8_t object_id[FRAGMENT_OBJECT_ID_BYTES], uint32_t chunk,
                                  uint32_t fragment, uint32_t k)
{
    struct fragment_id id = {.chunk = chunk, .fragment = k == 1 ? 0 : fragment};

    memcpy(id.object_id, object_id, FRAGMENT_OBJECT_ID_BYTES);
    return id;
}

struct fragment_shape fragment_shape_of(uint32_t raw_bytes, enum compress_codec codec,
                                        enum cipher cipher)
{
    return (struct fragment_shape){.raw_bytes = raw_bytes,
                                   .block_bytes = codec == COMPRESS_NONE ? FLAT_BLOCK_BYTES
                                                                         : COMPRESSED_BLOCK_BYTES,
                                   .codec = codec,
                                   .cipher = cipher};
}

uint32_t fragment_block_count(const struct fragment_shape *shape)
{
    return shape->raw_bytes / shape->block_bytes + (shape->raw_bytes % shape->block_bytes != 0);
}

uint32_t fragment_entry_bytes(const struct fragment_shape *shape)
{
    return cipher_is_aead(shape->cipher) ? ENTRY_TAG_BYTES : ENTRY_CRC_BYTES;
}

uint32_t fragment_trailer_bytes(const struct fragment_shape *shape)
{
    return fragment_block_count(shape) * fragment_entry_bytes(shape) + FRAGMENT_FOOTER_BYTES;
}

uint32_t fragment_stored_max(const struct fragment_shape *shape)
{
    return shape->raw_bytes + fragment_trailer_bytes(shape);
}

bool fragment_is_flat(const struct fragment_shape *shape)
{
    return shape->codec == COMPRESS_NONE;
}

bool fragment_is_plain(const struct fragment_shape *shape)
{
    return fragment_is_flat(shape) && shape->cipher == CIPHER_NONE;
}

int fragment_ref_check(const struct fragment_ref *ref, struct err *e)
{
    uint32_t least;
    int rc = fragment_shape_check(&ref->shape, e);

    if (rc != 0) {
        return err_wrap(e, "manifest: fragment");
    }
    least =
        fragment_trailer_bytes(&ref->shape) +
        (fragment_is_flat(&ref->shape) ? ref->shape.raw_bytes : fragment_block_count(&ref->shape));
    if (ref->stored_bytes < least || ref->stored_bytes > fragment_stored_max(&ref->shape)) {
        return err_set(e, ERR_CORRUPT,
                       "manifest: fragment of %" PRIu32 " raw bytes stored as %" PRIu32,
                       ref->shape.raw_bytes, ref->stored_bytes);
    }
    if (ref->shape.cipher != CIPHER_NONE && (ref->crypto == NULL || ref->crypto->key == NULL)) {
        return err_set(e, ERR_KEY, "fragment is encrypted by %s", cipher_name(ref->shape.cipher));
    }
    return 0;
}

void fragment_pack_start(struct fragment_packer *p, const struct fragment_id *id,
                         const struct fragment_shape *shape, const struct fragment_crypto *crypto,
                         const uint8_t salt[FRAGMENT_SALT_BYTES], uint8_t *payload,
                         uint8_t *trailer)
{
    struct err e;

    CHECK(fragment_shape_check(shape, &e) == 0);
    CHECK(payload != NULL || fragment_is_plain(shape));

    *p = (struct fragment_packer){.id = *id,
                                  .shape = *shape,
                                  .payload = payload,
                                  .trailer = trailer,
                                  .salt_crc = crc32c(0, salt, FRAGMENT_SALT_BYTES)};
    memcpy(p->salt, salt, FRAGMENT_SALT_BYTES);
    fragment_cipher_init(&p->cipher, id, shape, crypto, salt, true);
    if (shape->cipher != CIPHER_NONE) {
        memcpy(p->key_id, crypto->key->id, KEY_ID_BYTES);
    }
}

/* Bytes that do not compress (encrypted, compressed, video) come in long runs, and trying each
 * block of one costs more than anything else that is done with it. */
static uint32_t compress(struct fragment_packer *p, uint8_t *to, const uint8_t *raw, uint32_t bytes)
{
    uint32_t length;

    if (p->raw_misses >= FRAGMENT_MISSES_MIN && p->raw_misses % FRAGMENT_TRY_EVERY != 0) {
        p->raw_misses++;
        return 0;
    }
    length = compress_block(p->shape.codec, to, raw, bytes);
    p->raw_misses = length != 0 ? 0 : p->raw_misses + 1;
    return length;
}

/* Checksums of runs are put together from those of their blocks, so that every byte is summed
 * once; twice, when what is stored is not what came. A block may be encrypted over its raw bytes:
 * those are summed before. */
static void pack_block(struct fragment_packer *p, const uint8_t *raw, uint32_t bytes,
                       bool may_shrink)
{
    uint8_t *to = p->payload != NULL ? p->payload + p->payload_bytes : NULL;
    uint8_t *entry = p->trailer + (size_t)p->block_index * fragment_entry_bytes(&p->shape);
    uint32_t compressed = may_shrink ? compress(p, to, raw, bytes) : 0;
    uint32_t length = compressed != 0 ? compressed : bytes, crc, raw_crc;
    struct fragment_place place = {
        .block = p->block_index, .offset = p->payload_bytes, .is_raw = compressed == 0};
    const uint8_t *stored = compressed != 0 ? to : raw;
    bool is_plain = p->shape.cipher == CIPHER_NONE;

    if (compressed != 0 && p->whole != NULL) { /* so much for borrowing */
        memcpy(p->payload, p->whole, p->payload_bytes);
        p->whole = NULL;
    }
    raw_crc = is_plain && place.is_raw ? 0 : crc32c(0, raw, bytes);
    if (!is_plain) {
        fragment_cipher_seal(&p->cipher, &place, slice_of(stored, length), to, entry + 4);
        stored = to;
    } else if (place.is_raw && to != NULL && to != raw && p->whole == NULL) {
        memcpy(to, raw, bytes);
        stored = to;
    }
    crc = crc32c(0, stored, length);
    raw_crc = is_plain && place.is_raw ? crc : raw_crc;
    put_u32le(entry, length | (place.is_raw ? FRAGMENT_RAW_BIT : 0));
    if (!cipher_is_aead(p->shape.cipher)) {
        put_u32le(entry + 4, crc ^ fragment_check_mask(p->salt_crc, p->block_index));
    }

    p->payload_crc = crc32c_combine(p->payload_crc, crc, length);
    p->raw_crc = crc32c_combine(p->raw_crc, raw_crc, bytes);
    p->payload_bytes += length;
    p->raw_done += bytes;
    p->block_index++;
}

static void pack_add(struct fragment_packer *p, const uint8_t *raw, uint32_t bytes, bool may_shrink)
{
    CHECK(bytes <= p->shape.raw_bytes - p->raw_done);

    while (bytes != 0) {
        uint32_t n = fragment_block_bytes(&p->shape, p->block_index);

        CHECK(bytes >= n);
        pack_block(p, raw, n, may_shrink);
        raw += n;
        bytes -= n;
    }
}

void fragment_pack_add(struct fragment_packer *p, const uint8_t *raw, uint32_t bytes)
{
    pack_add(p, raw, bytes, true);
}

void fragment_pack_add_raw(struct fragment_packer *p, const uint8_t *raw, uint32_t bytes)
{
    pack_add(p, raw, bytes, false);
}

void fragment_pack_borrow(struct fragment_packer *p, const uint8_t *whole)
{
    CHECK(p->shape.cipher == CIPHER_NONE && p->payload != NULL && p->raw_done == 0);
    p->whole = whole;
}

bool fragment_pack_is_borrowed(const struct fragment_packer *p)
{
    return p->whole != NULL;
}

void fragment_pack_end(struct fragment_packer *p, uint32_t *ret_payload_bytes, uint32_t *ret_crc)
{
    uint32_t entries_bytes = p->block_index * fragment_entry_bytes(&p->shape);
    struct fragment_footer footer = {.id = p->id,
                                     .shape = p->shape,
                                     .payload_bytes = p->payload_bytes,
                                     .block_count = p->block_index,
                                     .entries_crc = crc32c(0, p->trailer, entries_bytes)};

    CHECK(p->raw_done == p->shape.raw_bytes);

    fragment_cipher_release(&p->cipher);
    memcpy(footer.salt, p->salt, FRAGMENT_SALT_BYTES);
    memcpy(footer.key_id, p->key_id, KEY_ID_BYTES);
    fragment_footer_put(p->trailer + entries_bytes, &footer);
    *ret_payload_bytes = p->payload_bytes;
    *ret_crc = crc32c(p->payload_crc, p->trailer, entries_bytes + FRAGMENT_FOOTER_BYTES);
}

uint32_t fragment_pack(const struct fragment_id *id, const struct fragment_shape *shape,
                       const struct fragment_crypto *crypto,
                       const uint8_t salt[FRAGMENT_SALT_BYTES], const uint8_t *raw, uint8_t *image,
                       uint32_t *ret_crc)
{
    uint8_t *trailer = image + shape->raw_bytes; /* moved when the payload is shorter */
    uint32_t trailer_bytes = fragment_trailer_bytes(shape);
    struct fragment_packer p;
    uint32_t payload_bytes;

    fragment_pack_start(&p, id, shape, crypto, salt, image, trailer);
    fragment_pack_add(&p, raw, shape->raw_bytes);
    fragment_pack_end(&p, &payload_bytes, ret_crc);
    memmove(image + payload_bytes, trailer, trailer_bytes);
    return payload_bytes + trailer_bytes;
}

int fragment_unpack(const struct fragment_ref *ref, const uint8_t *stored, uint32_t stored_bytes,
                    uint8_t *ret_raw, struct err *e)
{
    struct fragment_index index = {0};
    struct fragment_range trailer;
    int rc;

    rc = fragment_ref_check(ref, e);
    if (rc != 0) {
        return rc;
    }
    if (stored_bytes != ref->stored_bytes) {
        return err_set(e, ERR_CORRUPT, "fragment: %" PRIu32 " bytes, manifest says %" PRIu32,
                       stored_bytes, ref->stored_bytes);
    }
    trailer = fragment_trailer_range(ref);
    rc = fragment_index_init(&index, ref, stored + trailer.offset, trailer.bytes, e);
    if (rc == 0) {
        rc = fragment_index_unpack(&index, ref, 0, ref->shape.raw_bytes,
                                   slice_of(stored, index.payload_bytes), ret_raw, e);
    }
    fragment_index_release(&index);
    return rc;
}

int fragment_describe(struct fragment_ref *ref, const uint8_t *footer, struct err *e)
{
    struct fragment_footer f;
    struct fragment_ref found = {.stored_bytes = ref->stored_bytes};
    int rc = fragment_footer_parse(&f, footer, e);

    if (rc == 0) {
        found.id = f.id;
        found.shape = f.shape;
        rc = fragment_footer_match(&f, &found, e);
    }
    if (rc != 0) {
        return err_wrap(e, "fragment");
    }
    *ref = found;
    return 0;
}
