/* A random load on the volume of a node, in step with a model of it. */
#ifndef TESTS_LIB_VOL_LOAD_H
#define TESTS_LIB_VOL_LOAD_H

#include "lib/vol_model.h"
#include "lib/vol_node.h"

struct vol_load {
    struct vol_node *node; /* may change between steps */
    struct vol_model model;
    struct rnd rnd;
    uint64_t bytes;       /* of the volume */
    uint32_t sectors_max; /* of a request */
    unsigned in_flight_max;
    bool never_flush; /* nothing but uploads makes the journal durable */
    unsigned in_flight;
    bool failed; /* a request failed: the node is on its way down */
};

void vol_load_init(struct vol_load *l, struct vol_node *n, uint64_t bytes, uint64_t seed);
void vol_load_release(struct vol_load *l);
enum vol_load_kind { VOL_LOAD_WRITE, VOL_LOAD_TRIM, VOL_LOAD_ZERO, VOL_LOAD_FLUSH };

/* A request of one's choice; nothing else may be in flight on its sectors. */
void vol_load_submit(struct vol_load *l, enum vol_load_kind kind, uint64_t sector, uint32_t count,
                     bool fua);
/* Submit one random request and turn the loop. */
void vol_load_step(struct vol_load *l);
/* Wait for all that is in flight. */
void vol_load_settle(struct vol_load *l);
/* The whole volume as it reads now. */
void vol_load_image(struct vol_load *l, uint8_t *ret_image);
/* Compare the whole volume: with the journal it had, or without. */
void vol_load_check(struct vol_load *l, bool journal);
/* Drain; what completed before is safe from the loss of the node. */
void vol_load_upload(struct vol_load *l);

#endif
