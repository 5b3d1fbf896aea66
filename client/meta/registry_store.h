/* Further things the registry keeps: configuration, work items. Rules of calls as in registry.h. */
#ifndef META_REGISTRY_STORE_H
#define META_REGISTRY_STORE_H

#include <jansson.h>

#include "meta/registry.h"

/* `json` is borrowed; json_incref() to keep it. NULL with rc != 0. */
typedef void (*registry_json_cb)(void *ctx, int rc, const struct err *e, json_t *json);

/* Configuration: any JSON under a key of at most REGISTRY_ID_BYTES_MAX bytes. ERR_NOT_FOUND. */
void registry_config_get(struct registry *registry, const char *key, registry_json_cb cb,
                         void *ctx);
void registry_config_set(struct registry *registry, const char *key, json_t *json, registry_cb cb,
                         void *ctx);

/* Work items: a JSON object each; the store adds "id", ascending. */
void registry_work_add(struct registry *registry, json_t *item, registry_cb cb, void *ctx);
/* The same unless there is one of this key (REGISTRY_ID_BYTES_MAX): ERR_EXISTS. ERR_BUSY: there are
 * so many. */
void registry_work_add_once(struct registry *registry, const char *key, json_t *item,
                            uint64_t items_max, registry_cb cb, void *ctx);
/* Array of at most `limit` items with id > `after`. One whose value is damaged has its id and the
 * kind REGISTRY_WORK_DAMAGED; one of a form that this program does not know only its id. */
#define REGISTRY_WORK_DAMAGED "damaged-item"
void registry_work_list(struct registry *registry, uint64_t after, size_t limit,
                        registry_json_cb cb, void *ctx);
/* Done: 0 also when it was gone. */
void registry_work_remove(struct registry *registry, uint64_t id, registry_cb cb, void *ctx);
/* It was tried in vain: "failed" {times, at_us, why} of the item; 0 also when it is gone. */
void registry_work_note(struct registry *registry, uint64_t id, const char *why, registry_cb cb,
                        void *ctx);

#endif
