/* Raw bytes of one stored fragment, verified: the unit that every read is made of.
 *
 * Loop thread only; unpacking of more than FETCH_INLINE_BYTES runs in the pool. One round
 * trip when the fragment is uncompressed, its trailer is cached, or most of it is wanted
 * anyway; else two. Bytes that fail a check are never given out. */
#ifndef PROXY_FETCH_H
#define PROXY_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "policy/fragment_read.h"
#include "policy/layout.h"
#include "proxy/engine.h"
#include "proxy/shared_get.h"

enum {
    FETCH_INLINE_BYTES = 65536,
    FETCH_WHOLE_BYTES = 32768 /* a fragment up to this is always fetched whole */
};

/* An object that is read: its manifest, checked once. */
struct readable {
    struct object *object; /* borrowed */
    bool low_priority;     /* the reader gives way; set by it */
    bool use_cache;        /* blocks of short pieces are looked for and kept; set by it */
    struct layout layout;
    uint32_t k;
    uint32_t m;
    const struct master_key *key; /* borrowed of the engine; NULL: not encrypted */
};

/* Does the manifest make sense, and can this program read what it describes? ERR_CORRUPT,
 * ERR_VERSION; ERR_KEY when the engine does not have its key. */
int readable_init(struct readable *ret_readable, struct engine *engine, struct object *object,
                  struct err *e);
const struct manifest_fragment *readable_fragment(const struct readable *readable, uint32_t chunk,
                                                  uint32_t fragment);

/* Whose blocks those of a fragment are in the block cache. */
struct block_source readable_source(const struct readable *readable, uint32_t chunk,
                                    uint32_t fragment);
/* Does a piece of this length go through the block cache? */
bool readable_is_cached(const struct readable *readable, const struct engine *engine,
                        uint32_t bytes);

/* Raw [offset, offset + bytes) of one fragment, and where it goes. */
struct fetch_range {
    uint32_t chunk;
    uint32_t fragment;
    uint32_t offset; /* in the raw fragment */
    uint32_t bytes;  /* > 0, within it */
    bool exact;      /* no other block is read with it, which may be a bad one */
    uint8_t *dest;   /* borrowed until the callback */
};

struct fetch;
typedef void (*fetch_cb)(struct fetch *fetch, int rc);

/* Embedded by the caller, left alone until the callback. */
struct fetch {
    struct err err; /* out: why, if rc != 0 */

    struct engine *engine; /* private from here on */
    const struct readable *readable;
    struct fetch_range range;
    fetch_cb cb;

    enum fetch_state state;
    bool is_waiting;
    bool has_joined; /* of what it waited for, another had asked some before */
    bool canceled;
    int rc;
    struct osd *osd;
    struct fragment_crypto crypto;
    struct fragment_ref ref;
    struct shared_index *index;
    uint8_t *raw;     /* owned; all of a fragment of format 0, of which a part was wanted */
    struct list link; /* in shared_get.unpack_waits */
    struct shared_wait wait;
    struct pool_work work;
    struct later_item later;
};

/* The callback comes once, later: 0, ERR_CORRUPT, ERR_NOT_FOUND (the OSD does not have it), or
 * why the OSD could not be asked. */
void fetch_start(struct fetch *fetch, struct engine *engine, const struct readable *readable,
                 const struct fetch_range *range, fetch_cb cb);
void fetch_cancel(struct fetch *fetch); /* a wish */
/* The same when the bytes came another way: shared_get_overtake(). */
void fetch_overtake(struct fetch *fetch, uint64_t too_long_ns);
/* Is it the OSD that is waited for? Not: its answer is being looked at. */
bool fetch_is_asking(const struct fetch *fetch);

#endif
