/* What was written where: the stamps in the blocks, and the table of what is known of them.
 *
 * Stamp, one per 4096-byte block, little endian:
 *   offset  size  name      meaning
 *        0     8  magic     "NBDSTAMP"
 *        8     8  seed      of the table: a stamp of another run is foreign
 *       16     8  block     number on the disk: a misplaced block is foreign
 *       24     8  sequence  grows with every write
 *       32  4060  fill      from seed, block and sequence
 *     4092     4  crc32c    of all before: a torn block does not match
 *
 * Table: a file mapped into memory, so that it is complete when this process is killed. One
 * header, then for each block of the region the highest sequence that was attempted, that
 * was acknowledged, and that was acknowledged and then flushed (0: none). A block has at most
 * one write in flight, so what it holds must be zeroes (only if nothing was acknowledged), or
 * a stamp from `acked` to `attempted`. */
#ifndef TESTS_E2E_NBD_STAMP_TABLE_H
#define TESTS_E2E_NBD_STAMP_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { STAMP_BLOCK_BYTES = 4096 };

struct stamp_block {
    uint64_t attempted, acked, flushed;
};

struct stamp_header {
    char magic[8]; /* "NBDTABLE" */
    uint32_t version;
    uint32_t prepared; /* the region was zeroed */
    uint64_t seed;
    uint64_t first_block, block_count;
    _Atomic uint64_t sequence; /* last one given out */
};

struct stamp_table {
    struct stamp_header *header;
    struct stamp_block *blocks; /* of the region */
    size_t map_bytes;
};

/* An existing table is taken up again (region and seed are then its own). */
int stamp_table_open(struct stamp_table *t, const char *path, bool create, uint64_t first_block,
                     uint64_t block_count, struct err *e);
void stamp_table_close(struct stamp_table *t);

void stamp_fill(uint8_t *ret_data, uint64_t seed, uint64_t block, uint64_t sequence);

enum stamp_verdict {
    STAMP_GOOD,
    STAMP_LOST,    /* zeroes, though a write was acknowledged */
    STAMP_STALE,   /* an older write than the last one acknowledged */
    STAMP_TORN,    /* half a stamp */
    STAMP_FOREIGN, /* not what was ever written there */
    STAMP_VERDICTS,
};
/* `floor`: the sequence that must have survived. *ret_sequence: what was found, 0 for none. */
enum stamp_verdict stamp_judge(const uint8_t *data, uint64_t seed, uint64_t block, uint64_t floor,
                               uint64_t attempted, uint64_t *ret_sequence);

#endif
