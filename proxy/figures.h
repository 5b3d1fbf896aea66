/* What an object engine tells its operators: metrics and status. Loop thread only. */
#ifndef PROXY_FIGURES_H
#define PROXY_FIGURES_H

#include <jansson.h>

#include "base/buf.h"
#include "proxy/engine.h"

/* Prometheus text; every name begins with `prefix` ("proxy"). */
void figures_print(const struct engine *engine, const char *prefix, struct buf *out);
/* Adds puts, gets, transfers and, for each OSD, id, state ("ok", "full", "aside",
 * "decommissioned"), address, usage and failures. */
void figures_status(const struct engine *engine, json_t *object);

#endif
