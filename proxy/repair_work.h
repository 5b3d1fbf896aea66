/* A repair as a work item of the registry (client/meta/KEYS.md, `work/`): what a proxy could not
 * repair is left to maintenance, which does the same. */
#ifndef PROXY_REPAIR_WORK_H
#define PROXY_REPAIR_WORK_H

#include <jansson.h>

#include "meta/registry_store.h"
#include "proxy/repair.h"

#define REPAIR_WORK_KIND "repair-object"

enum { REPAIR_WORK_ITEMS_MAX = 10000 }; /* that may wait */

/* Adds the item: of an object one for what it lost and one for its holes at most. `cb` as
 * registry_work_add_once(). */
void repair_work_add(struct registry *registry, const struct repair_spec *spec, registry_cb cb,
                     void *ctx);
/* Reads an item of this kind; what it holds came from other programs. ERR_CORRUPT. `spots` has room
 * for REPAIR_SPOTS_MAX and lasts as long as *ret_spec. */
int repair_work_parse(json_t *item, struct repair_spec *ret_spec, struct repair_spot *spots,
                      struct err *e);

#endif
