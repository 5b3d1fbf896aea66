/* Manifest: where the fragments of one object are and how they were made.
 *
 * A struct manifest owns all its memory. Versions 1 and 2 are the foreign wire forms, version 3
 * is ours, on the wire and stored; it alone carries everything. Any thread, one at a
 * time. Bytes: PROTOCOL.md, "Manifest". */
#ifndef WIRE_MANIFEST_H
#define WIRE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "wire/checksum.h"

enum {
    MANIFEST_NAME_BYTES_MAX = 1024,
    MANIFEST_OBJECT_ID_BYTES = 32, /* of ours */
    MANIFEST_OBJECT_ID_BYTES_MAX = 255,
    MANIFEST_PRESET_BYTES_MAX = 255,
    MANIFEST_K_MAX = 20,
    MANIFEST_M_MAX = 8,
    MANIFEST_KM_MAX = MANIFEST_K_MAX + MANIFEST_M_MAX,
    MANIFEST_CTR_BYTES = 16,
    MANIFEST_KEY_ID_BYTES = 32,
    MANIFEST_FNR_BYTES_MAX = 16,
    MANIFEST_FRAGMENTS_MAX = 1 << 18, /* over all chunks */
    MANIFEST_TAIL_BYTES_MAX = 65536,
    MANIFEST_RECORD_BYTES_MAX = 1000000, /* encoded; fits a metadata transaction */
    MANIFEST_RAW_BYTES_MAX = 4 * 1048576 /* before compression */
};

enum manifest_version { MANIFEST_V1 = 1, MANIFEST_V2 = 2, MANIFEST_V3 = 3 };

/* Compression tags. 64 and up: foreign clients go through a proxy. */
enum manifest_codec {
    MANIFEST_CODEC_NONE = 1,
    MANIFEST_CODEC_SNAPPY = 2,
    MANIFEST_CODEC_BZIP2 = 3,
    MANIFEST_CODEC_TEST = 4,
    MANIFEST_CODEC_LZ4 = 64,
    MANIFEST_CODEC_OPAQUE = 127 /* in versions 1 and 2 only: what those cannot express */
};

enum manifest_cipher {
    MANIFEST_CIPHER_NONE = 1,
    MANIFEST_CIPHER_AES_CBC_256 = 2,
    MANIFEST_CIPHER_AES_CTR_256 = 3,
    MANIFEST_CIPHER_XCHACHA20_POLY1305 = 64,
    MANIFEST_CIPHER_AES_GCM_256 = 65
};

/* How fragments were made: shared with the recovery info. */
struct manifest_scheme {
    uint32_t k;
    uint32_t m;
    uint32_t c;                  /* fragments a put needed; 0: not known (versions 1, 2) */
    uint32_t max_disks_per_node; /* x of the policy used */
    uint8_t fragment_format;     /* 0 foreign, 1 ours (blocks and trailer) */
    uint8_t codec;               /* enum manifest_codec */
    uint8_t cipher;              /* enum manifest_cipher */
    uint32_t block_bytes;        /* of format 1, else 0 */
    uint8_t key_id[MANIFEST_KEY_ID_BYTES]; /* SHA-256 of the key, unless CIPHER_NONE */
};

struct manifest_fragment {
    bool has_osd; /* false: not stored anywhere */
    bool has_ctr;
    uint8_t fnr_bytes; /* 0: none */
    uint64_t osd_id;
    uint32_t version;      /* of the object when it was written: part of its key */
    uint32_t packed_bytes; /* the whole stored value, as is the checksum */
    struct checksum checksum;
    uint8_t ctr[MANIFEST_CTR_BYTES];
    uint8_t fnr[MANIFEST_FNR_BYTES_MAX];
};

struct manifest {
    struct slice name; /* owned, as are all pointers in here */
    struct slice object_id;
    struct slice preset;    /* name; "": not known */
    int64_t preset_version; /* -1: not known */
    uint64_t size_bytes;    /* of the object */
    struct checksum checksum;
    struct manifest_scheme scheme;
    bool opaque; /* from version 1 or 2 with a tag >= 64: only a proxy can read the object */
    uint32_t version_id;  /* highest version of its fragments */
    int64_t timestamp_us; /* Unix time of creation */
    uint64_t gc_epoch;    /* under which it was written; 0: not known (versions 1, 2) */
    uint32_t chunk_count;
    uint32_t *chunk_bytes; /* padded sizes */
    /* chunk by chunk, k + m each: manifest_fragment_at() */
    struct manifest_fragment *fragments;
    struct slice tail; /* tagged fields we do not know, kept when the manifest is rewritten */
};

static inline uint32_t manifest_fragments_per_chunk(const struct manifest *m)
{
    return m->scheme.k + m->scheme.m;
}

static inline struct manifest_fragment *manifest_fragment_at(const struct manifest *m,
                                                             uint32_t chunk, uint32_t fragment)
{
    return &m->fragments[(size_t)chunk * manifest_fragments_per_chunk(m) + fragment];
}

/* Zeroed fragments for k, m and chunk_count set before; k + m <= MANIFEST_KM_MAX. */
void manifest_alloc_chunks(struct manifest *m, uint32_t chunk_count);
/* Set an owned slice: frees the old bytes, copies the new. */
void manifest_set(struct slice *owned, struct slice value);
void manifest_copy(struct manifest *ret_copy, const struct manifest *m);
void manifest_release(struct manifest *m); /* leaves {0} */
/* Heap bytes it holds, for caches bounded in bytes. */
size_t manifest_memory_bytes(const struct manifest *m);

/* Bytes a version 3 record cannot exceed, in any version of its fragments, when none has a field
 * larger than `largest`: to refuse an object before it is uploaded. */
uint64_t manifest_v3_bytes_bound(size_t name_bytes, size_t preset_bytes, uint64_t chunk_count,
                                 uint32_t fragments_per_chunk,
                                 const struct manifest_fragment *largest);

/* Append the record: one byte of version, a length, and the rest. On failure nothing was
 * appended. ERR_TOO_LARGE over MANIFEST_RECORD_BYTES_MAX; -EINVAL when a field breaks
 * a limit above. Bytes may differ from those decoded: an assert on a stored manifest
 * uses the bytes that were read. */
int manifest_encode(const struct manifest *m, unsigned version, struct buf *b, struct err *e);
/* Any version; *r stands behind the record. On failure (ERR_PROTOCOL for 1 and 2; ERR_CORRUPT,
 * ERR_VERSION for 3) nothing is to be released, and r->bad is set. */
int manifest_decode(struct rd *r, struct manifest *ret_manifest, struct err *e);

#endif
