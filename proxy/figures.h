/* What an object engine tells its operators: metrics and status. Loop thread only. */
#ifndef PROXY_FIGURES_H
#define PROXY_FIGURES_H

#include <jansson.h>

#include "base/buf.h"
#include "proxy/engine.h"

/* Prometheus text. */
void figures_print(const struct engine *engine, struct buf *out);
/* Adds puts, gets, transfers and, for each OSD, id, state ("ok", "full", "aside",
 * "decommissioned"), address, usage and failures. */
void figures_status(const struct engine *engine, json_t *object);

#endif
