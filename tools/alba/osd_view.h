/* What a proxy met in its dealings with OSDs: only it knows, so without one it is unknown. One
 * thread; calls block. */
#ifndef ALBA_OSD_VIEW_H
#define ALBA_OSD_VIEW_H

#include <stdbool.h>

#include <jansson.h>

#include "alba/session.h"

struct osd_view {
    bool is_there;
    struct proxy_reply reply; /* borrows from the session */
};

/* Asks the session's proxy; without one it asks nobody. Use it for nothing else until
 * osd_view_release(). */
int osd_view_load(struct osd_view *v, struct session *s);
/* Sets "seen", "read", "write", "errors", all lists, and "checksum_errors"; where they are not
 * known, empty lists, as programs expect, and null. */
void osd_view_add(const struct osd_view *v, const char *long_id, json_t *o);
void osd_view_release(struct osd_view *v); /* accepts {0} */

#endif
