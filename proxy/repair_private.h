/* What repair.c and repair_chunk.c share; nobody else includes this. */
#ifndef PROXY_REPAIR_PRIVATE_H
#define PROXY_REPAIR_PRIVATE_H

#include "meta/nsm.h"
#include "policy/choose.h"
#include "proxy/chunk_read.h"
#include "proxy/encode.h"
#include "proxy/fragment_put.h"
#include "proxy/repair.h"

/* A fragment that was stored anew. */
struct repair_placed {
    uint32_t chunk;
    uint32_t fragment;
    struct osd *osd;
    struct manifest_fragment before, after;
    bool is_entered; /* into the manifest */
};

struct repair_chunk;

/* One fragment of the chunk at hand that is made anew. */
struct repair_part {
    struct repair_chunk *chunk;
    uint32_t index;
    uint32_t version;
    struct osd *osd;                   /* that takes it; NULL: none does */
    uint64_t failed[REPAIR_TRIES_MAX]; /* OSDs that did not */
    unsigned tries;
    struct fragment_put put;
};

struct repair_chunk {
    struct repair *repair;
    uint32_t index;
    uint32_t wanted; /* bit i: fragment i is made anew */
    uint8_t *data;   /* owned */
    struct budget_share share;
    struct chunk_read read;
    struct encode encode;
    struct pool_work work;
    struct buf recovery;
    bool is_reading;
    unsigned sending; /* parts under way */
    struct repair_part parts[PRESET_FRAGMENTS_MAX];
};

struct repair {
    struct engine *engine;
    uint64_t ns_id;
    uint8_t object_id[MANIFEST_OBJECT_ID_BYTES];
    struct repair_spot *spots; /* owned */
    unsigned spot_count;
    bool fills_holes; /* fragments that no OSD took are wanted */
    repair_cb cb;
    void *ctx;
    struct repair_result result;
    int rc; /* the first that went wrong */
    bool canceled;

    const struct registry_view *view; /* held */
    const struct registry_namespace *ns;
    const struct preset *preset; /* NULL: the namespace's is gone */
    struct nsm *nsm;
    uint64_t gc_epoch;
    struct object *object;  /* as the namespace manager has it: constant */
    struct manifest edited; /* the same with the sums of what was made anew: for recovery info */
    struct readable readable;
    uint64_t *osd_ids; /* owned: of all that hold some of it, or will */
    size_t osd_count;
    uint32_t next_chunk;
    struct repair_chunk *chunk;   /* at hand, or NULL */
    struct repair_placed *placed; /* owned */
    size_t placed_count;
    struct later_item later;
};

/* repair.c */
/* Fragments of a chunk that are to be made anew: bits. */
uint32_t repair_wanted(const struct repair *r, uint32_t chunk);
void repair_note_error(struct repair *r, int rc, const struct err *e);
void repair_chunk_done(struct repair *r); /* r->chunk was freed */

/* repair_chunk.c */
/* false: no OSD may take any of them; nothing was started. */
bool repair_chunk_start(struct repair *r, uint32_t chunk, uint32_t wanted);
void repair_chunk_cancel(struct repair_chunk *chunk);

#endif
