/* Rebuild fragments of one object that are lost, from any k others of their chunk.
 *
 * Loop thread only. All at Low priority, a chunk at a time, its memory from the engine's budget.
 * What each step leaves when it is the last one: README.md, "A repair". Any number of repairers
 * may work on an object: one of them is entered into the manifest, what the others stored
 * carries gc tags. Nothing is deleted here. */
#ifndef PROXY_REPAIR_H
#define PROXY_REPAIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "proxy/engine.h"

enum {
    REPAIR_SPOTS_MAX = 256,         /* of one repair */
    REPAIR_TRIES_MAX = 6,           /* of one fragment: other OSDs, other versions */
    REPAIR_YOUNG_US = 60 * 1000000, /* what such an object lacks may be on its way */
    REPAIR_OBJECT_OSDS_MAX = 112    /* beyond it only OSDs that the object has already: a
                                      * transaction that deletes it names them all */
};

/* A fragment that was found lost, and where its manifest said that it was. */
struct repair_spot {
    uint32_t chunk;
    uint32_t fragment;
    uint64_t osd_id; /* 0: nowhere, no OSD took it; one such stands for all of the object */
    uint32_t version;
};

struct repair_spec {
    uint64_t ns_id;
    uint8_t object_id[MANIFEST_OBJECT_ID_BYTES];
    const struct repair_spot *spots; /* copied; up to REPAIR_SPOTS_MAX */
    unsigned spot_count;
};

struct repair_result {
    struct err err;       /* why, if rc != 0 */
    unsigned fragments;   /* entered into the manifest, whatever rc is */
    uint64_t bytes;       /* of those */
    uint64_t moved_bytes; /* read and written */
};

struct repair;
typedef void (*repair_cb)(void *ctx, int rc, const struct repair_result *result);

/* `cb` runs once, later. 0: every spot is well, or not the object's any more (it was overwritten,
 * deleted, repaired by another). ERR_NOT_FOUND: the namespace is gone. Else some or all are not
 * repaired: ERR_NOT_ENOUGH (no k fragments can be had), ERR_NO_POLICY (no OSD may take it),
 * ERR_STALE, ERR_BUSY (others changed the manifest), ERR_IN_DOUBT, ERR_CANCELED … */
struct repair *repair_start(struct engine *engine, const struct repair_spec *spec, repair_cb cb,
                            void *ctx);
void repair_cancel(struct repair *repair); /* a wish */

/* Under which an object was stored, as its manifest tells. */
struct preset_policy repair_policy_of(const struct manifest *manifest);

#endif
