/* Fragment format 0, for interchange: a fragment is compressed, then encrypted, as one piece, and
 * says nothing about itself. What makes it sure is the checksum in the manifest, over all that
 * is stored: without it nothing is given out. Bytes: policy/FORMAT.md, "Format 0".
 *
 * No I/O; stored bytes may be hostile: ERR_CORRUPT, never wrong bytes. Any thread. */
#ifndef POLICY_FRAGMENT0_H
#define POLICY_FRAGMENT0_H

#include "policy/compress_whole.h"
#include "policy/fragment.h"

enum { FRAGMENT0_SHA1_BYTES = 20, FRAGMENT0_SLICE_BYTES = 4096 };

/* Are fragments of this codec and cipher in format 0? (Both tags as in manifests.) */
bool fragment0_is_for(uint32_t codec, uint32_t cipher);

struct fragment0_sum {
    enum preset_checksum algo; /* not NONE */
    uint32_t crc32c;
    uint8_t sha1[FRAGMENT0_SHA1_BYTES];
};

struct fragment0_sum fragment0_sum_of(enum preset_checksum algo, const uint8_t *stored,
                                      uint32_t bytes);

/* All that a manifest says about a stored fragment. */
struct fragment0_ref {
    struct fragment_id id;
    uint32_t raw_bytes;
    uint32_t codec;
    uint32_t stored_bytes;
    struct fragment0_sum sum;
    const struct fragment_crypto *crypto; /* borrowed; NULL without a cipher */
};

/* Limits, a codec and a cipher of this format, the key (ERR_KEY), a checksum that can be checked.
 * fragment0_unpack() does it itself. */
int fragment0_ref_check(const struct fragment0_ref *ref, struct err *e);
uint32_t fragment0_stored_max(uint32_t raw_bytes, enum compress_codec codec, enum cipher cipher);
/* Returns the stored length; `image` has room for fragment0_stored_max(). */
uint32_t fragment0_pack(const struct fragment_id *id, enum compress_codec codec,
                        const struct fragment_crypto *crypto, const uint8_t *raw,
                        uint32_t raw_bytes, uint8_t *image);
/* `ret_raw` gets ref->raw_bytes bytes. */
int fragment0_unpack(const struct fragment0_ref *ref, const uint8_t *stored, uint32_t stored_bytes,
                     uint8_t *ret_raw, struct err *e);

#endif
