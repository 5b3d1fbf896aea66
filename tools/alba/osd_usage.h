/* What an OSD says about its disk. One thread; the call blocks. */
#ifndef ALBA_OSD_USAGE_H
#define ALBA_OSD_USAGE_H

#include <stdint.h>

#include "alba/session.h"

/* Asks it at any of its addresses; 5 s at most. */
int osd_usage(struct session *s, const struct registry_osd *osd, uint64_t *ret_used,
              uint64_t *ret_total, struct err *e);

#endif
