/* Private to wire: the parts that make up manifest_encode() and manifest_decode(). */
#ifndef WIRE_MANIFEST_CODEC_H
#define WIRE_MANIFEST_CODEC_H

#include "base/buf.h"
#include "base/err.h"
#include "wire/manifest.h"

/* Limits of wire/manifest.h and fields that contradict one another: 0 or -EINVAL. */
int manifest_check(const struct manifest *m, struct err *e);
/* The same for a scheme alone. */
int manifest_scheme_check(const struct manifest_scheme *scheme, struct err *e);
/* False, and nothing done, when that many fragments are over the limits. */
bool manifest_try_alloc(struct manifest *m, uint32_t chunk_count);

/* The inner record of versions 1 and 2, unpacked. The getter sets r->bad; release in any case. */
void manifest_v12_put(struct buf *b, const struct manifest *m, unsigned version);
void manifest_v12_get(struct rd *r, unsigned version, struct manifest *ret_manifest);

/* Version 3 behind its version byte. */
int manifest_v3_put(struct buf *b, const struct manifest *m, struct err *e);
int manifest_v3_get(struct rd *r, struct manifest *ret_manifest, struct err *e);

/* Parts of version 3 that the recovery info shares. */
void manifest_scheme_put(struct buf *b, const struct manifest_scheme *scheme);
struct manifest_scheme manifest_scheme_get(struct rd *r);

/* What follows the version byte of a version 3 manifest and of a recovery info:
 * u32 length · u32 CRC32C of everything else · u8 packing · u32 raw length · body.
 * `b` ends with the version byte. */
void manifest_seal_put(struct buf *b, struct slice raw);
/* Checks and unpacks; *r stands behind the version byte. Appends the body to `raw`. */
int manifest_seal_get(struct rd *r, uint8_t version, size_t raw_bytes_max, struct buf *raw,
                      struct err *e);

#endif
