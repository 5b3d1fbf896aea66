/* A volume's record as JSON. Inside of meta/. Any thread. */
#ifndef META_VOLUME_RECORD_H
#define META_VOLUME_RECORD_H

#include <jansson.h>

#include "meta/registry_volume.h"

/* *ret_volume is written on success, `raw` too. ERR_CORRUPT, ERR_VERSION; the message names the
 * key. */
int volume_parse(struct slice key, struct slice value, struct registry_volume *ret_volume,
                 struct err *e);
/* A new reference, with a fresh stamp: no two are equal. NULL when a text is not UTF-8. */
json_t *volume_json(const struct registry_volume *v);
/* Sizes, UUID, epoch: ERR_CONFIG. */
int volume_check(const struct registry_volume *v, struct err *e);
/* The name in a volume-id record, or ERR_CORRUPT. */
int volume_take_name(struct registry_volume *v, const json_t *json);

#endif
