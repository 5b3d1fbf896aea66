/* Whose the OSDs are that are registered here and that this alba has not claimed: that is in their
 * stores, so those are asked, all at once, for OSD_OWNERS_TIMEOUT_MS at most. Loop thread only. */
#ifndef PROXY_OSD_OWNERS_H
#define PROXY_OSD_OWNERS_H

#include <stdbool.h>

#include "meta/registry.h"

enum {
    OSD_OWNERS_ASKS_MAX = 64, /* addresses; more are not asked */
    OSD_OWNERS_TIMEOUT_MS = 1000
};

struct osd_owners;
typedef void (*osd_owners_cb)(struct osd_owners *owners);

struct osd_owner_ask {
    struct osd_owners *owners;
    char *long_id; /* owned, as the next */
    char *owner;   /* alba id of another; NULL: nobody's, ours, or it does not answer */
};

struct osd_owners {
    osd_owners_cb cb; /* private, as all of it */
    unsigned count;
    unsigned pending;
    struct osd_owner_ask asks[OSD_OWNERS_ASKS_MAX];
};

/* True: `cb` comes, once, later. False: there is nobody to ask, and it does not. */
bool osd_owners_ask(struct osd_owners *owners, uv_loop_t *loop, const struct registry *registry,
                    osd_owners_cb cb);
/* The other alba that has claimed it; NULL: none is known. */
const char *osd_owners_of(const struct osd_owners *owners, const char *long_id);
void osd_owners_release(struct osd_owners *owners); /* accepts {0} */

#endif
