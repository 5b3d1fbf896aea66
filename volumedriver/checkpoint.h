/* Codec of one part of a map checkpoint (object m_…). Bytes: FORMAT.md, section 2.
 *
 * Pure, any thread. Decoders treat their input as hostile. */
#ifndef VOLUMEDRIVER_CHECKPOINT_H
#define VOLUMEDRIVER_CHECKPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "volumedriver/uuid.h"

enum {
    CHECKPOINT_HEADER_BYTES = 160,
    CHECKPOINT_BYTES_MAX = 64 * 1048576,
    CHECKPOINT_PART_BYTES = 32 * 1048576, /* a new part starts beyond this */
    CHECKPOINT_SCO_BYTES = 48,
};

enum checkpoint_kind { CHECKPOINT_BASE = 1, CHECKPOINT_DELTA = 2 };
enum sco_entry_flags { SCO_ENTRY_GONE = 1 };

/* One row of the SCO table. */
struct sco_entry {
    uint64_t number;
    uint32_t flags;
    uint32_t generation; /* of birth */
    uint32_t data_clusters;
    uint32_t live;     /* clusters that the head's map names */
    uint32_t retained; /* clusters of the newest snapshot that keeps it */
    uint64_t snapshot; /* that snapshot, 0: none */
    uint32_t trailer_bytes;
    uint8_t kind;
};

struct checkpoint_header {
    uint8_t volume[UUID_BYTES];
    uint64_t number;
    uint8_t kind;
    uint32_t generation;
    uint64_t epoch;
    uint64_t prefix_number; /* the map is that of this SCO applied */
    uint64_t prefix_seq;
    uint64_t first_page; /* range a base part is all of */
    uint64_t last_page;
    uint32_t ordinal; /* of the checkpoint: parts of one have the same */

    uint64_t run_bytes; /* private from here on */
    uint64_t run_count;
    uint32_t sco_count;
    uint32_t body_crc;
};

struct checkpoint_run {
    uint64_t cluster;
    uint64_t count;
    uint64_t location; /* of the first cluster */
};

/* Collects runs in rising order, then SCO entries. */
struct checkpoint_writer {
    struct buf body; /* private */
    struct checkpoint_run run;
    uint64_t end;
    uint64_t run_count;
    uint64_t run_bytes;
    uint32_t sco_count;
};

/* `count` clusters; neighbours that continue a run join it. */
void checkpoint_writer_add(struct checkpoint_writer *w, uint64_t cluster, uint64_t count,
                           uint64_t location);
void checkpoint_writer_add_sco(struct checkpoint_writer *w, const struct sco_entry *sco);
size_t checkpoint_writer_bytes(const struct checkpoint_writer *w); /* so far */
/* The whole object; *w becomes {0}. The caller releases *ret_object. */
void checkpoint_writer_finish(struct checkpoint_writer *w, const struct checkpoint_header *h,
                              struct buf *ret_object);
void checkpoint_writer_release(struct checkpoint_writer *w);

struct checkpoint_reader {
    struct checkpoint_header header;
    struct rd runs; /* private */
    struct rd scos;
    uint64_t end;
};

/* Borrows the bytes. ERR_CORRUPT or ERR_VERSION unless whole and of this volume and number. */
int checkpoint_reader_init(struct checkpoint_reader *r, const uint8_t *object, size_t bytes,
                           const uint8_t volume[UUID_BYTES], uint64_t number, struct err *e);
/* 1: there is one; 0: no more; ERR_CORRUPT. */
int checkpoint_reader_run(struct checkpoint_reader *r, struct checkpoint_run *ret_run);
int checkpoint_reader_sco(struct checkpoint_reader *r, struct sco_entry *ret_sco);

void sco_entry_encode(const struct sco_entry *sco, uint8_t ret_bytes[CHECKPOINT_SCO_BYTES]);
int sco_entry_decode(const uint8_t bytes[CHECKPOINT_SCO_BYTES], struct sco_entry *ret_sco);

#endif
