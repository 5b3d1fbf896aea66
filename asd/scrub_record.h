/* How far the scrub has come, as bytes: FORMAT.md, "scrub". Pure functions, any thread. */
#ifndef ASD_SCRUB_RECORD_H
#define ASD_SCRUB_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct asd_scrub_record {
    uint64_t pass;       /* this one's number, or the last one's; 0: none yet */
    bool running;        /* a pass is under way */
    uint64_t keys;       /* these: of that pass, so far */
    uint64_t bytes;      /* read */
    uint64_t cost_bytes; /* as asd_value_cost() */
    uint64_t bad;
    uint64_t started_s; /* these: seconds since 1970, for people */
    uint64_t ended_s;   /* of the last whole pass; 0: none */
    uint64_t last_bad;  /* of the last whole pass */
    uint64_t paused_s;  /* how long ago that ended, as far as an ASD was running since */
    struct slice next;  /* it goes on with the first client key not below; borrowed */
};

/* `key` is the index key it will be stored under. */
void asd_scrub_record_put(struct buf *b, struct slice key, const struct asd_scrub_record *r);
/* ERR_CORRUPT, or ERR_VERSION for what newer software wrote. */
int asd_scrub_record_get(struct slice key, struct slice record, struct asd_scrub_record *ret_r,
                         struct err *e);

#endif
