/* Fragments harmed behind an OSD's back, repairs, and what must be there in the end. */
#ifndef TESTS_SIM_PROXY_REPAIR_FIXTURE_H
#define TESTS_SIM_PROXY_REPAIR_FIXTURE_H

#include "proxy/repair.h"
#include "unit/proxy/maintenance_fixture.h"

enum { BYTES = 150000, WAIT_MS = 20000 }; /* of object "o" */

enum harm { LOSE, FLIP, CUT, OTHERS };

/* ---- looking ---- */

struct fake_asd *repair_asd_of(struct world *w, const struct manifest *m, uint32_t chunk,
                               uint32_t fragment);
/* Every fragment is where the manifest says, with the bytes that it must have. */
bool repair_is_strong(struct world *w, const char *name, const uint8_t *data);
uint32_t repair_version_of(struct world *w, const char *name);
void repair_wait_strong(struct world *w, const char *name, const uint8_t *data);
/* No repair waits or runs. */
void repair_wait_idle(struct world *w);
/* After collection nothing is left but what manifests name, and that is whole. */
void repair_expect_clean_in_the_end(struct fixture *f);

/* ---- spoiling ---- */

/* OTHERS: the bytes of the next fragment, as a write that went astray leaves them. */
void repair_harm(struct world *w, const struct manifest *m, uint32_t chunk, uint32_t i,
                 enum harm harm);
void repair_harm_everywhere(struct world *w, const char *name, uint32_t i, enum harm kind);

/* ---- reading object "o" ---- */

/* Whole, so that every data fragment is asked for. */
void repair_read_whole(struct world *w, const uint8_t *data);
void repair_read_slice(struct world *w, const uint8_t *data, uint64_t offset);

/* ---- repairs ---- */

struct trouble {
    struct world *w;
    unsigned left; /* Applies of repairs still to be harmed; reads of repairs too */
    enum fake_fate fate;
};

void repair_trouble_all(struct trouble *t);

struct ended {
    bool done;
    int rc;
    unsigned fragments;
    struct err err;
};

/* Of the fragments in `lost` (bit i: fragment i) of every chunk, as the manifest has them now. */
struct repair *repair_start_repairs(struct world *w, const char *name, uint32_t lost,
                                    struct ended *ended);
/* Of fragment i. */
struct repair *repair_start_repair(struct world *w, const char *name, uint32_t i,
                                   struct ended *ended);

#endif
