/* An object of 4 + 2 whose OSDs answer reads late, or not; for the tests of hedging. The time-out
 * of OSDs is longer than a test waits. */
#ifndef TESTS_SIM_PROXY_HEDGE_FIXTURE_H
#define TESTS_SIM_PROXY_HEDGE_FIXTURE_H

#include "sim/proxy_world.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"
#define FLAT WORLD_PRESET(P42, 65536, "none")

enum { FRAGMENT_BYTES = 65536, CHUNK_BYTES = 4 * FRAGMENT_BYTES, BYTES = 2 * CHUNK_BYTES };

/* What an OSD does to reads of clients. */
struct fate {
    enum fake_fate reads;
    bool only_one; /* then it is well again */
};

struct play {
    struct world *w;
    uint8_t *data; /* of object "o" */
    struct manifest manifest;
    struct fate fates[WORLD_ASDS_MAX];
};

struct play *play_new(void);
struct play *play_new_of(unsigned asds, const char *preset, uint32_t bytes);
void play_free(struct play *p);

const struct stats_totals *totals(const struct play *p);
struct osd *osd_of(struct play *p, uint32_t chunk, uint32_t fragment);
struct fate *fate_of(struct play *p, uint64_t osd_id);
unsigned reads_of(struct play *p, uint64_t osd_id);
uint64_t place(uint32_t chunk, uint32_t fragment);
void read_at(struct play *p, uint64_t offset); /* 4 KiB at this place of the object */

/* A slice that is read while the test goes on. */
struct reader {
    struct play *p;
    struct get *get;
    struct proxy_slice cut;
    struct get_item item;
    bool done;
    int rc;
};

void start(struct reader *r, struct play *p, uint64_t offset, int32_t bytes);
void await(struct reader *r);

#endif
