/* Fragment format 1: pack a raw fragment into the value an OSD stores, and read all
 * or parts of it back, verified. Bytes: policy/FORMAT.md.
 *
 * No I/O here. Stored bytes and what a manifest says about them may be hostile; every
 * reader checks them against each other and answers ERR_CORRUPT (ERR_VERSION for a
 * newer format). Any thread; one thread per struct. For ranges: fragment_read.h. */
#ifndef POLICY_FRAGMENT_H
#define POLICY_FRAGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/compress.h"
#include "policy/fragment_cipher.h"
#include "policy/key_ring.h"
#include "policy/preset.h"

enum {
    FRAGMENT_OBJECT_ID_BYTES = 32,
    FRAGMENT_FOOTER_BYTES = 128,
    FRAGMENT_RAW_BYTES_MAX = PRESET_FRAGMENT_BYTES_MAX,
    FRAGMENT_BLOCK_BYTES_MIN = 4096,
    FRAGMENT_BLOCK_BYTES_MAX = COMPRESS_BLOCK_BYTES_MAX,
    FRAGMENT_MISSES_MIN = 4,
    FRAGMENT_TRY_EVERY = 4
};

/* Whose bytes these are. */
struct fragment_id {
    uint8_t object_id[FRAGMENT_OBJECT_ID_BYTES];
    uint32_t chunk;
    uint32_t fragment; /* 0 when k = 1 */
};

struct fragment_shape {
    uint32_t raw_bytes;   /* <= FRAGMENT_RAW_BYTES_MAX */
    uint32_t block_bytes; /* power of two within the limits */
    uint32_t codec;       /* enum compress_codec */
    uint32_t cipher;      /* enum cipher; not AES_CBC_256 */
};

/* All that a manifest says about one stored fragment. */
struct fragment_ref {
    struct fragment_id id;
    struct fragment_shape shape;
    uint32_t stored_bytes;                /* packed_len */
    const struct fragment_crypto *crypto; /* borrowed; NULL without a cipher */
};

/* Sets fragment to 0 when k = 1. */
struct fragment_id fragment_id_of(const uint8_t object_id[FRAGMENT_OBJECT_ID_BYTES], uint32_t chunk,
                                  uint32_t fragment, uint32_t k);
/* Default block size for the codec. */
struct fragment_shape fragment_shape_of(uint32_t raw_bytes, enum compress_codec codec,
                                        enum cipher cipher);

/* No codec: raw byte i is stored byte i, encrypted or not. */
bool fragment_is_flat(const struct fragment_shape *shape);
/* ... and no cipher: the stored bytes are the raw bytes. */
bool fragment_is_plain(const struct fragment_shape *shape);
uint32_t fragment_block_count(const struct fragment_shape *shape);
uint32_t fragment_entry_bytes(const struct fragment_shape *shape);
uint32_t fragment_trailer_bytes(const struct fragment_shape *shape);
/* The most that a fragment of this shape can take when stored. */
uint32_t fragment_stored_max(const struct fragment_shape *shape);

/* For references out of a manifest: limits, known codec and cipher, possible
 * stored_bytes. ERR_KEY: `crypto` lacks the key. The readers below do it themselves. */
int fragment_ref_check(const struct fragment_ref *ref, struct err *e);

/* ---- writing ---- */

/* Streams raw bytes in, payload and trailer out; stored value = payload, trailer. */
struct fragment_packer {
    struct fragment_id id; /* private from here */
    struct fragment_shape shape;
    uint8_t salt[FRAGMENT_SALT_BYTES];
    uint8_t *payload;     /* borrowed, or NULL */
    const uint8_t *whole; /* borrowed: is the payload so far; NULL: `payload` is */
    uint8_t *trailer;     /* borrowed */
    uint32_t raw_done;
    uint32_t payload_bytes;
    uint32_t block_index;
    uint32_t payload_crc;
    uint32_t salt_crc;
    uint32_t raw_misses; /* blocks in a row that did not shrink */
    uint8_t key_id[KEY_ID_BYTES];
    struct fragment_cipher cipher;

    uint32_t raw_crc; /* out, after fragment_pack_end(): CRC32C of the raw bytes */
};

/* `shape` is valid (our own). `payload` has room for shape->raw_bytes, `trailer` for
 * fragment_trailer_bytes(). payload = NULL is allowed for plain fragments: the raw
 * bytes are the payload and are sent from where they are. `crypto` is NULL without a cipher.
 * A packer that was started must be ended. `salt` and crypto->ctr are fresh: no two encodings,
 * of whatever, may have the same. */
void fragment_pack_start(struct fragment_packer *p, const struct fragment_id *id,
                         const struct fragment_shape *shape, const struct fragment_crypto *crypto,
                         const uint8_t salt[FRAGMENT_SALT_BYTES], uint8_t *payload,
                         uint8_t *trailer);
/* The next raw bytes, borrowed during the call: whole blocks, except at the end of the
 * fragment. Give it slices that are still in the CPU cache. After FRAGMENT_MISSES_MIN blocks in a
 * row that do not shrink, only one in FRAGMENT_TRY_EVERY is tried until one does. For COMPRESS_NONE
 * they may stand in `payload` already, and with a cipher are then no longer raw. */
void fragment_pack_add(struct fragment_packer *p, const uint8_t *raw, uint32_t bytes);
/* The same, of blocks that are known not to shrink, as parity of such: they are not tried, and may
 * stand where they belong in `payload` already. */
void fragment_pack_add_raw(struct fragment_packer *p, const uint8_t *raw, uint32_t bytes);
/* After the start, without a cipher: all raw bytes stand at `whole`, and stay. As long as no block
 * shrinks none is copied. */
void fragment_pack_borrow(struct fragment_packer *p, const uint8_t *whole);
/* After the end: was none copied? Then the payload is what was borrowed, not `payload`. */
bool fragment_pack_is_borrowed(const struct fragment_packer *p);
/* All raw bytes were added. *ret_crc = CRC32C of payload and trailer. */
void fragment_pack_end(struct fragment_packer *p, uint32_t *ret_payload_bytes, uint32_t *ret_crc);

/* In one call, into `image` with room for fragment_stored_max(). Returns the stored
 * length; *ret_crc = CRC32C of all of it. */
uint32_t fragment_pack(const struct fragment_id *id, const struct fragment_shape *shape,
                       const struct fragment_crypto *crypto,
                       const uint8_t salt[FRAGMENT_SALT_BYTES], const uint8_t *raw, uint8_t *image,
                       uint32_t *ret_crc);

/* ---- reading everything ---- */

/* `ret_raw` gets ref->shape.raw_bytes bytes. */
int fragment_unpack(const struct fragment_ref *ref, const uint8_t *stored, uint32_t stored_bytes,
                    uint8_t *ret_raw, struct err *e);

/* What a value says about itself, when there is no manifest (recovery, dump tools).
 * `footer` is its last FRAGMENT_FOOTER_BYTES; ref->stored_bytes must be set. */
int fragment_describe(struct fragment_ref *ref, const uint8_t *footer, struct err *e);

#endif
