/* Ids of a registry that was put back from something older: beyond whatever changes that are lost
 * may have given out (KEYS.md, "Recovery"). Any thread. */
#ifndef META_REGISTRY_IDS_H
#define META_REGISTRY_IDS_H

#include <jansson.h>
#include <stdint.h>

#include "meta/kv.h"

/* Beyond what any registry reaches: whatever claims more is not counted on from. */
#define IDS_MAX ((uint64_t)1 << 62)

enum { IDS_NAMESPACES_APART = 1 << 20, IDS_OSDS_APART = 1 << 12, IDS_WORK_APART = 1 << 20 };

/* ERR_CORRUPT unless the numbers of a `next-id` (NULL: there is none) can be. */
int registry_ids_check(const json_t *ids, struct err *e);
/* Puts `next-id` and `recovered`. `ids` and `before` are what these records were (NULL: not
 * there), checked; `namespace_id_seen` is the highest that was seen anywhere; `take_more` (NULL:
 * nothing) is what the caller has to say in `recovered`; a restored_from_version that was lower
 * stays. */
void registry_ids_raise(struct kv_txn *txn, const json_t *ids, const json_t *before,
                        uint64_t namespace_id_seen, json_t *take_more);

#endif
