/* Codec of the journal: superblock, frame header, extents. Bytes: FORMAT.md, section 1.
 *
 * Pure functions, any thread. Decoders treat their input as hostile. */
#ifndef VOLUMEDRIVER_FRAME_H
#define VOLUMEDRIVER_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "volumedriver/uuid.h"

enum {
    FRAME_BLOCK_BYTES = 4096,
    FRAME_BYTES_MAX = 4 * 1048576,
    FRAME_HEADER_BLOCKS_MAX = 1024,
    FRAME_HEAD_BYTES = 128,  /* fixed part of a header */
    FRAME_EXTENT_BYTES = 52, /* fixed part of an extent */
    FRAME_RECORD_CLUSTERS_MAX = 256,
    FRAME_ZERO_CLUSTERS_MAX = 1048576,
    FRAME_SCO_BYTES = 12, /* payload of FRAME_OP_SCO */
    JOURNAL_SUPER_BYTES = 4096,
    JOURNAL_SEGMENT_BYTES_MIN = 131072,
};

#define JOURNAL_SEGMENT_BYTES_MAX (UINT64_C(1) << 32)

enum frame_op {
    FRAME_OP_WRITE = 1,
    FRAME_OP_TRIM = 2,
    FRAME_OP_ZEROES = 3,
    FRAME_OP_OPEN = 4,
    FRAME_OP_SCO = 5,
    FRAME_OP_SNAPSHOT = 6,
    FRAME_OP_ROLLBACK = 7,
    FRAME_OP_RESIZE = 8,
    FRAME_OP_INCARNATION = 9,
    FRAME_OP_GROUP = 10,
};

enum frame_open_kind {
    FRAME_OPEN = 0,
    FRAME_OPEN_LOSS_ACCEPTED = 1, /* the operator accepts what was lost before it */
};

struct frame_super {
    uint8_t journal_id[UUID_BYTES];
    uint64_t segment_bytes;
};

struct frame_header {
    uint8_t journal_id[UUID_BYTES];
    uint8_t salt[UUID_BYTES];
    uint64_t offset; /* of the frame in the file */
    uint64_t lsn;
    uint64_t incarnation;
    uint64_t first_lsn;
    uint64_t durable_lsn;
    uint64_t release_lsn;
    uint64_t segment_bytes;
    uint32_t header_blocks;
    uint32_t data_blocks;
    uint32_t extent_count;
};

/* A record; what `a`, `b` and `seq` mean depends on `op`. */
struct frame_extent {
    uint8_t volume[UUID_BYTES];
    uint32_t epoch;
    uint8_t op;
    uint8_t kind;
    uint16_t crc_count; /* 4-byte words at `crcs` */
    uint64_t seq;
    uint64_t a;
    uint64_t b;
    uint32_t count;
    const uint8_t *crcs; /* borrowed: a CRC for each data cluster, little endian, or a payload */
};

/* Payload of FRAME_OP_SCO. */
struct frame_sco {
    uint64_t predecessor;
    uint32_t generation;
};

void frame_super_encode(const struct frame_super *super, uint8_t ret_block[JOURNAL_SUPER_BYTES]);
/* ERR_CORRUPT or ERR_VERSION. */
int frame_super_decode(const uint8_t block[JOURNAL_SUPER_BYTES], struct frame_super *ret_super,
                       struct err *e);

static inline size_t frame_extent_bytes(uint32_t crc_count)
{
    return FRAME_EXTENT_BYTES + 4 * (size_t)crc_count;
}

/* Header blocks for extents of `extent_bytes` in all. */
static inline uint32_t frame_header_blocks(size_t extent_bytes)
{
    return (uint32_t)((FRAME_HEAD_BYTES + extent_bytes + FRAME_BLOCK_BYTES - 1) /
                      FRAME_BLOCK_BYTES);
}

static inline uint64_t frame_bytes(const struct frame_header *h)
{
    return ((uint64_t)h->header_blocks + h->data_blocks) * FRAME_BLOCK_BYTES;
}

static inline bool frame_op_is_data(uint8_t op)
{
    return op == FRAME_OP_WRITE || op == FRAME_OP_TRIM || op == FRAME_OP_ZEROES;
}

static inline uint32_t frame_extent_data_blocks(const struct frame_extent *x)
{
    return x->op == FRAME_OP_WRITE ? x->crc_count : 0;
}

/* Append an extent at `at`; returns where the next one goes. With x->crcs NULL the caller fills
 * in the words. */
uint8_t *frame_extent_encode(const struct frame_extent *x, uint8_t *at);
/* Fill in the fixed part of `header` (h->header_blocks blocks, extents already at
 * FRAME_HEAD_BYTES, zeroes behind them) and its CRC. */
void frame_header_seal(const struct frame_header *h, uint8_t *header);

/* The fixed part alone: sizes bounded and sane, the CRC not looked at. ERR_CORRUPT when this
 * is no header; ERR_VERSION, with *ret_h filled in, when a newer program wrote it. */
int frame_header_peek(const uint8_t head[FRAME_HEAD_BYTES], struct frame_header *ret_h);
/* `header` holds the h->header_blocks blocks that were peeked at: CRC, extents inside the
 * header, their data inside the frame. 0, ERR_CORRUPT or ERR_VERSION (unknown op). */
int frame_header_check(const uint8_t *header, const struct frame_header *h);
/* A record as it may be written: 0, ERR_CORRUPT, or ERR_VERSION when it uses what this
 * version does not know. */
int frame_extent_check(const struct frame_extent *x);

/* Extents of a checked header, one at a time. */
static inline struct rd frame_extents(const uint8_t *header, const struct frame_header *h)
{
    return rd_of(header + FRAME_HEAD_BYTES,
                 (size_t)h->header_blocks * FRAME_BLOCK_BYTES - FRAME_HEAD_BYTES);
}
void frame_extent_decode(struct rd *r, struct frame_extent *ret_x);
void frame_sco_encode(const struct frame_sco *sco, uint8_t ret_payload[FRAME_SCO_BYTES]);
/* `x` is a checked FRAME_OP_SCO. */
void frame_sco_decode(const struct frame_extent *x, struct frame_sco *ret_sco);

#endif
