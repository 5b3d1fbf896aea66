/* A copy of the registry as it lies on an OSD: its bytes (KEYS.md, "Copies of the registry").
 *
 * Snapshot = the registry's keys and values that a loss of the metadata must not take along. It is
 * cut into chunks; the head names them. Decoders take any bytes. Any thread. */
#ifndef META_COPY_RECORD_H
#define META_COPY_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "meta/registry_view.h"

enum {
    COPY_ID_BYTES = 16,
    COPY_COMMIT_TEXT_BYTES = 33,
    COPY_HEAD_BYTES = 124,
    COPY_CHUNK_HEAD_BYTES = 24,
    COPY_CHUNK_BYTES = 1048576,   /* of the snapshot; the last one is shorter */
    COPY_BYTES_MAX = 64 * 1048576 /* a copy is one Apply */
};

/* Of a head that is taken for one; a registry that is put back goes on above at most half of it. */
#define COPY_VERSION_MAX ((uint64_t)1 << 62)

struct copy_head {
    uint64_t version; /* of the registry, and the id of the change that made it */
    char commit[COPY_COMMIT_TEXT_BYTES];
    uint8_t id[COPY_ID_BYTES]; /* fresh for every copy that is written */
    uint64_t time_us;          /* when the snapshot was read */
    uint32_t bytes;            /* of the snapshot */
    uint32_t crc;              /* CRC32C of it */
    uint32_t chunk_count;
    uint32_t record_count;
    char alba_id[REGISTRY_ALBA_ID_BYTES];
};

/* ---- snapshot ---- */

/* Does a copy hold what lies under /alba/v1/reg/ + `tail`? */
bool copy_keeps(struct slice tail);
/* Append a record; keys in ascending order. Passwords of URLs are left out. ERR_CORRUPT: `value`
 * fails its checks, ERR_TOO_LARGE. */
int copy_put(struct buf *snapshot, struct slice key, struct slice value, struct err *e);
/* The next record of a snapshot that copy_check() found whole; false at its end. */
bool copy_next(struct rd *snapshot, struct slice *ret_key, struct slice *ret_value);
/* Every record is whole, of the registry, in order, with a value that passes its own checks. */
int copy_check(struct slice snapshot, uint32_t record_count, struct err *e);
/* The record /alba/v1/reg/ + `tail` of such a snapshot: a new reference; NULL: it is not there. */
json_t *copy_find(struct slice snapshot, const char *tail);
/* What such a snapshot shows; the caller drops it. ERR_CORRUPT: a record cannot be read. */
int copy_view(struct slice snapshot, uint64_t version, const struct registry_view **ret_view,
              struct err *e);

/* ---- head and chunks ---- */

/* From `head` (version, commit, alba_id, time_us, record_count) and the snapshot: the other fields,
 * a fresh id. */
void copy_seal(struct copy_head *head, struct slice snapshot);
void copy_head_encode(const struct copy_head *head, uint8_t ret_bytes[COPY_HEAD_BYTES]);
/* ERR_CORRUPT, ERR_VERSION. */
int copy_head_decode(struct slice value, struct copy_head *ret_head, struct err *e);
/* The values of all chunks in a row, into an empty *ret_chunks; and where one of them is in it. */
void copy_chunks(const struct copy_head *head, struct slice snapshot, struct buf *ret_chunks);
struct slice copy_chunk_at(struct slice chunks, uint32_t index);
/* Takes the `index`-th chunk apart; *ret_part borrows. ERR_CORRUPT unless it is this head's. */
int copy_chunk_decode(const struct copy_head *head, uint32_t index, struct slice value,
                      struct slice *ret_part, struct err *e);
/* All chunks in a row: is that the snapshot the head was made for? */
int copy_verify(const struct copy_head *head, struct slice snapshot, struct err *e);

#endif
