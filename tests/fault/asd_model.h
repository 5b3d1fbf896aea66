/* What a store must hold: a scripted workload, and a flat model of its outcome.
 *
 * Transactions are sent in groups, so that commits hold several. Those answered 0 are in the
 * model; those of which nobody knows (`doubt`) may have happened in their order up to any one. */
#ifndef TESTS_FAULT_ASD_MODEL_H
#define TESTS_FAULT_ASD_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rnd.h"
#include "fault/asd_fixture.h"

enum {
    MODEL_KEYS = 9,
    MODEL_GROUP_MAX = 4,
    MODEL_UPDATES_MAX = 3,
    MODEL_ASSERTS_MAX = 2,
    /* More than a group: one that cannot be judged without power does not stop the store. */
    MODEL_DOUBT_MAX = 4 * MODEL_GROUP_MAX,
};

struct model_value {
    bool there;
    uint64_t seed;
    uint32_t bytes;
};

struct model {
    struct model_value values[MODEL_KEYS];
};

struct model_change {
    unsigned key;
    struct model_value value; /* there == false: delete, or must be absent */
};

struct model_tx {
    struct model_change asserts[MODEL_ASSERTS_MAX];
    struct model_change updates[MODEL_UPDATES_MAX];
    unsigned assert_count;
    unsigned update_count;
};

struct workload {
    struct rnd rnd;
    struct model model;
    struct model_tx doubt[MODEL_DOUBT_MAX];
    unsigned doubt_count;
    bool full_allowed; /* no space was injected: ERR_FULL may be answered */
    unsigned acked;
    unsigned refused;
    unsigned full; /* of them: no space */
    unsigned moved;
    unsigned moves_lost;
    unsigned dropped; /* slabs; of the stores that were closed or came to the end */
    unsigned evacuated;
};

void workload_init(struct workload *w, uint64_t seed);
/* Send `groups` groups, wait for every answer, check each against the model. Stops early
 * when the store is out of service. Every few groups it lets the space settle or restarts
 * the store. False: it stopped. */
bool workload_run(struct workload *w, struct asd_fixture *f, unsigned groups);
/* The store, just opened, holds what it must and nothing else, bit by bit; what was in doubt is
 * settled thereby. */
void workload_verify(struct workload *w, struct asd_fixture *f);
/* Every byte that no value needs was given back, and usage says what the values cost. */
void workload_verify_space(struct workload *w, struct asd_fixture *f);

#endif
