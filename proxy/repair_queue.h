/* What reads have found lost, and what no OSD took at a put, on its way to being repaired: bounded,
 * an entry for an object's holes and one for what it lost, few repairs at once, at a bounded rate,
 * after the reader has its answer.
 *
 * Loop thread only. What fails is left to maintenance as a work item, and rests, so that a damaged
 * object that is read all the time is not rebuilt in vain all the time. So is, when the engine
 * closes, what still waits or runs then. */
#ifndef PROXY_REPAIR_QUEUE_H
#define PROXY_REPAIR_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/log.h"
#include "proxy/manifest_cache.h"

enum {
    REPAIR_QUEUE_MAX = 1024,                       /* entries; what is found beyond is dropped */
    REPAIR_QUEUE_HOLES_MAX = REPAIR_QUEUE_MAX / 2, /* no more holes: damage goes first */
    REPAIR_QUEUE_AT_ONCE = 2,                      /* repairs */
    REPAIR_QUEUE_BYTES_PER_S = 64 << 20,           /* read and written by repairs */
    REPAIR_QUEUE_DELAY_MS = 200,      /* since an object's last read that found something */
    REPAIR_QUEUE_DELAY_MAX_MS = 5000, /* since the first */
    REPAIR_QUEUE_REST_MS = 60000,     /* after a failure, unless room is wanted */
    REPAIR_QUEUE_LEAVE_MS = 50,       /* each work item: it is a change of the registry */
    REPAIR_QUEUE_LAST_MS = 5000       /* all of them, once it closes */
};

struct engine;
struct repair_spot;

struct repair_queue {
    struct engine *engine; /* private */
    struct list entries;   /* oldest first */
    unsigned count;
    unsigned running;
    uint64_t paid_ms; /* until when the bytes moved so far use up the rate */
    bool is_closing;
    uint64_t last_ms; /* spent on work items since */
    uint64_t leave_began_ms;
    bool has_given_up; /* once it closes: none can be left any more */
    unsigned lost;     /* that were not left */
    struct err why;
    struct log_limit log, log_no_place, log_left;
};

void repair_queue_init(struct repair_queue *queue, struct engine *engine);
/* A read met fragments of this chunk, bits in `bad`, that are missing on their OSDs or damaged. */
void repair_queue_note(struct repair_queue *queue, const struct object *object, uint32_t chunk,
                       uint32_t bad);
/* A fragment that no OSD took, which stands for all of its object; the put has ended. */
void repair_queue_add(struct repair_queue *queue, uint64_t ns_id, struct slice object_id,
                      const struct repair_spot *spot);
/* Now and then: starts what is due. */
void repair_queue_tick(struct repair_queue *queue);
/* No repair starts any more; those that run are canceled. They, those that wait, and what is noted
 * from now on are left to maintenance, and hold the engine until then, or until that fails
 * (registry_cancel() is for those who cannot wait). */
void repair_queue_close(struct repair_queue *queue);
void repair_queue_release(struct repair_queue *queue); /* the engine was held no more */

#endif
