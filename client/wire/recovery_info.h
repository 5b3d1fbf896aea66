/* Recovery info: stored beside every fragment, so that manifests can be rebuilt from OSDs
 * that lost their metadata.
 *
 * A struct recovery_info borrows everything when encoding and owns everything when decoded. One
 * value serves all fragments of a chunk. Any thread. Bytes: PROTOCOL.md, "Recovery info". */
#ifndef WIRE_RECOVERY_INFO_H
#define WIRE_RECOVERY_INFO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/checksum.h"
#include "wire/manifest.h"

enum { RECOVERY_INFO_BYTES_MAX = 1 << 20 };

struct recovery_fragment {
    uint32_t packed_bytes;
    struct checksum checksum;
    bool has_ctr;
    uint8_t ctr[MANIFEST_CTR_BYTES];
};

struct recovery_info {
    struct slice name;
    struct slice object_id;
    struct slice preset;
    int64_t preset_version;
    struct manifest_scheme scheme;
    int64_t timestamp_us;
    uint64_t gc_epoch;

    uint32_t chunk;                      /* this one */
    uint32_t chunk_bytes;                /* padded size of this one */
    struct recovery_fragment *fragments; /* k + m of this chunk */

    /* The whole object: known on the last chunk at least, on any chunk when the size was known
     * before the upload. The checksum may come with the last chunk only (else CHECKSUM_NONE). */
    bool has_object;
    uint64_t size_bytes;
    uint32_t chunk_count;
    uint32_t *all_chunk_bytes; /* chunk_count of them */
    bool has_checksum;
    struct checksum checksum;

    struct buf body; /* private: what the slices of a decoded one point into */
};

/* -EINVAL when a field breaks a limit of wire/manifest.h; ERR_TOO_LARGE. */
int recovery_info_encode(const struct recovery_info *info, struct buf *b, struct err *e);
/* ERR_CORRUPT, or ERR_VERSION for a format newer than ours or foreign; then nothing to release. */
int recovery_info_decode(struct slice value, struct recovery_info *ret_info, struct err *e);
void recovery_info_release(struct recovery_info *info);

#endif
