/* The recovery info that is stored beside every fragment of a chunk: what a manifest says of it. */
#ifndef PROXY_RECOVERY_H
#define PROXY_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "policy/key_ring.h"
#include "wire/manifest.h"

/* Appends it, sealed under `key` unless that is NULL. `has_checksum`: that of the object is
 * known. Any thread. */
int recovery_of(const struct manifest *m, uint32_t chunk, bool has_checksum,
                const struct master_key *key, struct buf *b, struct err *e);

#endif
