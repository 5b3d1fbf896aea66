/* Where the scrub goes on when a block of the index cannot be read. A pure search; any thread. */
#ifndef ASD_SCRUB_SKIP_H
#define ASD_SCRUB_SKIP_H

#include "base/buf.h"
#include "base/slice.h"

/* Can the first index key not below `from` be read? 0, ERR_CORRUPT or -EIO: no; anything else ends
 * the search. */
typedef int (*asd_scrub_can_cb)(void *ctx, struct slice from);

/* `at` holds an index key from which on nothing can be listed; raised to the first one behind from
 * which it can, as far as a few bytes tell keys apart. No key that gave -EIO is tried twice, and
 * the fourth ends the search. Some good keys may be passed over then, or if there is more than one
 * such block nearby. ERR_NOT_FOUND: nothing was found behind that can be listed; or what ended the
 * search. `at` is undefined then. */
int asd_scrub_skip(struct buf *at, asd_scrub_can_cb can, void *ctx);

#endif
