/* When reads that take too long may go another way as well, and how many of them.
 *
 * Too long is max(p99, 3 x p50) of the last reads of that kind (near or far OSD, by length), at
 * least HEDGE_DELAY_MIN_MS and at most half of an OSD's time-out; HEDGE_DELAY_FIRST_MS while too
 * few were seen, and where only far OSDs (read preference) are left to ask. Each hedge takes a
 * token; there are HEDGE_BURST of them, and each HEDGE_READS_PER_TOKEN reads begun bring one
 * (2 %). None while we are saturated: the pool has much to do, or the loop itself is late, so that
 * the answer may be here already. Memory is no reason: what a hedge takes is in the reader's
 * share, and what waits for an OSD that hangs is what holds it. Loop thread only. */
#ifndef PROXY_HEDGE_H
#define PROXY_HEDGE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include "proxy/read_times.h"

enum {
    HEDGE_READS_PER_TOKEN = 50,
    HEDGE_BURST = 10,
    HEDGE_DELAY_MIN_MS = 5,
    HEDGE_DELAY_FIRST_MS = 100,
    HEDGE_LOOP_LATE_MS = 20,
    HEDGE_POOL_LOAD_MAX = 64,
    HEDGE_AGAIN_MIN_MS = 5, /* before it is looked at again, then twice as long each time */
    HEDGE_AGAIN_MAX_MS = 100,
    HEDGE_AGAIN_STEPS = 6, /* from the one to the other */
    HEDGE_SIZES = 3,       /* up to 64 KiB, up to 1 MiB, more */
    HEDGE_KINDS = 2 * HEDGE_SIZES,
    HEDGE_LISTS = HEDGE_KINDS + HEDGE_AGAIN_STEPS
};

struct engine;
struct hedge_wait;
/* `is_late`: the loop was held up, what came meanwhile has not been looked at. */
typedef void (*hedge_cb)(struct hedge_wait *wait, bool is_late);

/* Tokens in reads: counts, so that they add up. */
struct hedge_bucket {
    uint32_t reads; /* at most HEDGE_BURST * HEDGE_READS_PER_TOKEN */
};

struct hedge {
    struct hedge_bucket bucket; /* private */
    struct read_times times[HEDGE_KINDS];
    struct engine *engine; /* borrowed */
    uv_timer_t timer;
    uint64_t timer_ns;              /* when it is due; 0: it is not running */
    struct list waits[HEDGE_LISTS]; /* each: the first due first */
    void (*close_cb)(void *engine);
};

/* A read under way. Embedded; {0} waits for nothing. */
struct hedge_wait {
    uint64_t delay_ns; /* out: what is too long for it */

    struct hedge *hedge; /* private from here on; NULL: none */
    unsigned kind;
    unsigned refused; /* how often */
    uint64_t due_ns;
    hedge_cb cb;
    struct list link;
};

void hedge_init(struct hedge *hedge, struct engine *engine);
void hedge_close(struct hedge *hedge, void (*cb)(void *engine));

unsigned hedge_kind(bool is_far, uint32_t bytes);
/* A read of this kind took so long. */
void hedge_note(struct hedge *hedge, unsigned kind, uint64_t took_ns);
uint64_t hedge_delay_ns(const struct hedge *hedge, unsigned kind);

/* A read has begun: `cb` when it takes too long, again and again until hedge_end(). */
void hedge_begin(struct hedge *hedge, struct hedge_wait *wait, unsigned kind, uint64_t now_ns,
                 hedge_cb cb);
/* In `cb`: it may do nothing yet, so it comes again soon, then ever more seldom. */
void hedge_again(struct hedge_wait *wait, uint64_t now_ns);
void hedge_end(struct hedge_wait *wait); /* accepts {0}, and once more */
bool hedge_is_saturated(const struct engine *engine);
/* False: there is no token. */
bool hedge_take(struct hedge *hedge);

void hedge_bucket_begin(struct hedge_bucket *bucket); /* a read */
bool hedge_bucket_take(struct hedge_bucket *bucket);

#endif
