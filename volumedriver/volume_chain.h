/* The chain of SCOs of a volume, as the backend has it: footers of listed objects, and which of
 * them follow each other (FORMAT.md, section 3). Loop thread only. */
#ifndef VOLUMEDRIVER_VOLUME_CHAIN_H
#define VOLUMEDRIVER_VOLUME_CHAIN_H

#include "volumedriver/backend.h"
#include "volumedriver/map.h"
#include "volumedriver/sco.h"
#include "volumedriver/uuid.h"

struct chain_link {
    struct sco_footer footer;
    uint64_t bytes; /* of the object */
    bool in_chain;  /* out of chain_connect() */
};

struct chain;
typedef void (*chain_cb)(struct chain *chain, int rc);

/* SCOs behind a place, rising by number. */
struct chain {
    struct err err;
    struct chain_link *links; /* owned */
    uint32_t count;
    uint32_t cap;
    struct map_place end; /* out of chain_connect() */

    struct backend *backend; /* private from here on */
    uint8_t volume[UUID_BYTES];
    uint32_t next;
    unsigned pending;
    int rc;
    chain_cb cb;
};

/* Pure: mark what follows from `start` on, and where that ends. ERR_CORRUPT when two SCOs claim
 * the same place, or one has the wrong seqs. */
int chain_connect(struct chain *chain, struct map_place start, struct err *e);

void chain_add(struct chain *chain, uint64_t number);
/* Fetch the footers of what was added. */
void chain_fetch(struct chain *chain, struct backend *backend, const uint8_t volume[UUID_BYTES],
                 chain_cb cb);
const struct chain_link *chain_find(const struct chain *chain, uint64_t number);
void chain_release(struct chain *chain);

#endif
