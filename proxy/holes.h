/* Holes: fragments of an object that no OSD took when it was put.
 *
 * Loop thread only. They are left to the repair queue, unless there is no OSD at all that the
 * policy would allow for any of them, were all well (a code wider than the deployment): that one is
 * as complete as it can be. A read notes it when there is one. */
#ifndef PROXY_HOLES_H
#define PROXY_HOLES_H

#include "proxy/engine.h"

enum { HOLES_SEEN_EVERY_MS = 60000 }; /* reads look at a cached object so often */

unsigned holes_count(const struct manifest *manifest);
/* The put has ended, and what was late is entered. */
void holes_note(struct engine *engine, uint64_t ns_id, const struct manifest *manifest);
/* Somebody reads it. Nothing happens to one that is younger than REPAIR_YOUNG_US: its put may not
 * have ended. */
void holes_seen(struct engine *engine, struct object *object);

#endif
