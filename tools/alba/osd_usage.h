/* What an OSD says about its disk and whose it is. One thread; the call blocks. */
#ifndef ALBA_OSD_USAGE_H
#define ALBA_OSD_USAGE_H

#include <stdint.h>

#include "alba/session.h"

enum { OSD_USAGE_OWNER_BYTES = 257 };

struct osd_usage {
    uint64_t used_bytes;
    uint64_t total_bytes;
    char owner[OSD_USAGE_OWNER_BYTES]; /* alba id, or OSD_OWNER_METADATA; "": nobody's */
};

/* Asks it at any of its addresses; 5 s at most for each. ERR_IDENTITY when it is claimed, but what
 * answers is another, or has not our claim. */
int osd_usage(struct session *s, const struct registry_osd *osd, struct osd_usage *ret_usage,
              struct err *e);
/* Does one of ours take new values? It decides, by its own limits: ERR_FULL if not. */
int osd_takes_values(struct session *s, const struct registry_osd *osd, struct err *e);

#endif
