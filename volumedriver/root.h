/* The root object of a volume, `volume`: what it is, and the checkpoint its map starts from.
 * Bytes: FORMAT.md, section 2.
 *
 * Pure, any thread. Sections that this version does not know but may ignore are kept and
 * written back. Decoders treat their input as hostile. */
#ifndef VOLUMEDRIVER_ROOT_H
#define VOLUMEDRIVER_ROOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "volumedriver/uuid.h"

enum {
    ROOT_BYTES_MAX = 16 * 1048576,
    ROOT_ANCESTORS_MAX = 255,
    ROOT_PARTS_MAX = 65536,
    ROOT_METADATA_BYTES_MAX = 4096,
    ROOT_ITEMS_MAX = 65536,
};

#define ROOT_VOLUME_BYTES_MAX (UINT64_C(1) << 46) /* 64 TiB */

enum root_generation_state { ROOT_GENERATION_LIVE = 1, ROOT_GENERATION_DEAD = 2 };

struct root_ancestor {
    uint8_t volume[UUID_BYTES];
    uint32_t generation;
    uint64_t snapshot;
};

struct root_generation {
    uint32_t generation;
    uint32_t parent;
    uint8_t state;
};

struct root_snapshot {
    uint64_t id;
    uint32_t generation;
    uint64_t number; /* its place in the chain */
    uint64_t seq;
    struct buf metadata;
};

struct root_part { /* of the checkpoint chain */
    uint64_t number;
    uint64_t bytes;
    uint8_t kind; /* enum checkpoint_kind */
};

struct root_limit {
    uint32_t id;
    uint64_t value;
};

struct root_pin {
    uint8_t volume[UUID_BYTES];
};

struct root {
    uint8_t id[UUID_BYTES];        /* random, new at each replace */
    uint8_t id_before[UUID_BYTES]; /* of the root this one replaced */
    uint8_t volume[UUID_BYTES];
    uint64_t epoch;
    uint64_t size_bytes;
    uint32_t sco_bytes; /* a SCO is closed before it grows beyond this */
    uint32_t head_generation;
    uint32_t checkpoint_ordinal;
    uint64_t prefix_number;
    uint64_t prefix_seq;
    bool is_template;
    bool read_only; /* it holds a section that this version may not write */

    struct root_ancestor *ancestors; /* owned, like all below */
    struct root_generation *generations;
    struct root_snapshot *snapshots;
    struct root_part *parts;
    struct root_limit *limits;
    struct root_pin *pins;
    uint32_t ancestor_count;
    uint32_t generation_count;
    uint32_t snapshot_count;
    uint32_t part_count;
    uint32_t limit_count;
    uint32_t pin_count;
    struct buf unknown; /* sections kept as they came */
    uint32_t unknown_count;
};

/* A new volume's root: fresh id, generation 1, no checkpoint. */
void root_init(struct root *r, const uint8_t volume[UUID_BYTES], uint64_t epoch,
               uint64_t size_bytes, uint32_t sco_bytes);
void root_release(struct root *r); /* accepts {0} */
void root_encode(const struct root *r, struct buf *b);
/* On success *ret_root is to be released. ERR_CORRUPT, or ERR_VERSION for a section that may
 * not be ignored. */
int root_decode(const uint8_t *data, size_t bytes, const uint8_t volume[UUID_BYTES],
                struct root *ret_root, struct err *e);

#endif
