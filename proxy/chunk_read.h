/* A range of raw bytes of one chunk, whatever k of its fragments are left.
 *
 * Two kinds: the whole chunk (all k data fragments), or a range of one data fragment. What
 * cannot be had directly is computed from the same range of k other fragments: byte i of a
 * fragment depends only on byte i of those. When no k are whole, but k or more good in parts
 * (bad blocks), each part is read from those that are good there. Loop thread only; decoding of
 * more than FETCH_INLINE_BYTES runs in the pool. */
#ifndef PROXY_CHUNK_READ_H
#define PROXY_CHUNK_READ_H

#include "policy/erasure.h"
#include "proxy/fetch.h"

struct chunk_read;
struct chunk_stripes;
typedef void (*chunk_read_cb)(struct chunk_read *read, int rc);

enum chunk_part_state { CHUNK_PART_IDLE, CHUNK_PART_READING, CHUNK_PART_GOOD, CHUNK_PART_BAD };

/* One fragment's share in the read. */
struct chunk_part {
    struct chunk_read *read;
    enum chunk_part_state state;
    bool late;       /* another is asked for besides */
    bool is_hedge;   /* this is such another */
    struct osd *osd; /* borrowed; not NULL */
    uint64_t start_ns;
    uint8_t *bytes; /* where it goes: in dest, or scratch */
    struct fetch fetch;
};

/* Embedded or on the heap, left alone until the callback. */
struct chunk_read {
    struct err err; /* out: why, if rc != 0: which fragments failed, and why the last did */
    void *user;     /* the caller's */
    uint32_t bad;   /* out: bit i: fragment i is missing on its OSD, or damaged */
    uint32_t came;  /* out: bit i: fragment i was read, and is good */
    bool computed;  /* out: some of it, from other fragments */

    struct engine *engine; /* private from here on */
    const struct readable *readable;
    uint32_t chunk;
    uint32_t offset; /* in every raw fragment */
    uint32_t bytes;
    uint32_t stride; /* from one data fragment to the next, in dest */
    bool exact;      /* as of fetch_range */
    uint32_t avoid;  /* bit i: fragment i last */
    uint32_t never;  /* bit i: not fragment i */
    uint32_t wanted; /* the one fragment; or all data fragments: ALL */
    uint8_t *dest;   /* borrowed, or: */
    uint8_t *blocks; /* owned; NULL: not for the cache */
    struct fetch_range asked;
    chunk_read_cb cb;
    bool canceled;
    bool is_over;   /* enough is there; what is under way is awaited */
    bool is_hedged; /* some part was late */
    bool was_refused;
    bool was_saturated;
    uint32_t reading;
    uint32_t good;
    uint32_t damaged;              /* bit i: some of fragment i fails its checks */
    struct chunk_stripes *stripes; /* under way, or NULL */
    struct hedge_wait hedge;
    void (*late_cb)(struct chunk_read *read);
    const struct osd *tried; /* the suspect one that is asked all the same; NULL: none */
    struct chunk_part *parts[PRESET_FRAGMENTS_MAX]; /* NULL until used */
    uint8_t *scratch[PRESET_FRAGMENTS_MAX];         /* owned */
    struct erasure_decoder decoder;
    struct pool_work work;
    struct later_item later;
};

/* The whole chunk into `dest`: k * fragment bytes, padding included; > 0. */
void chunk_read_all(struct chunk_read *read, struct engine *engine, const struct readable *readable,
                    uint32_t chunk, uint8_t *dest, chunk_read_cb cb);
/* The same, but fragments in `avoid` (bit i: fragment i), which were found bad before, are asked
 * for only when the others do not suffice. */
void chunk_read_rest(struct chunk_read *read, struct engine *engine,
                     const struct readable *readable, uint32_t chunk, uint32_t avoid, uint8_t *dest,
                     chunk_read_cb cb);
/* A range of a data fragment. With readable_is_cached(): the whole blocks around it are read, at
 * no more cost to the OSDs, and kept in the block cache. */
void chunk_read_range(struct chunk_read *read, struct engine *engine,
                      const struct readable *readable, const struct fetch_range *range,
                      chunk_read_cb cb);
/* Callbacks: 0, ERR_NOT_ENOUGH (fewer than k fragments can be had), ERR_CANCELED. */
void chunk_read_cancel(struct chunk_read *read); /* a wish */

/* Memory that reading takes beside its destination, at most: of a whole chunk, and of a range of a
 * data fragment of it. */
size_t chunk_read_all_memory(const struct readable *readable, uint32_t chunk);
size_t chunk_read_range_memory(const struct readable *readable, const struct engine *engine,
                               uint32_t chunk, struct block_range range);

#endif
