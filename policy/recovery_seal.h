/* Recovery info of encrypted objects, sealed under their master key: it holds the object's name.
 *
 * Bytes: client/wire/PROTOCOL.md, "Recovery info". Any thread. */
#ifndef POLICY_RECOVERY_SEAL_H
#define POLICY_RECOVERY_SEAL_H

#include "base/buf.h"
#include "policy/key_ring.h"

/* Append `record` sealed, for this chunk of this object, under a salt that is new each time. */
void recovery_seal_put(struct buf *b, const struct master_key *key, struct slice object_id,
                       uint32_t chunk, struct slice record);

/* Under which key? ERR_CORRUPT: this is no sealed record; ERR_VERSION: sealed by newer software. */
int recovery_seal_key_id(struct slice sealed, uint8_t ret_id[KEY_ID_BYTES], struct err *e);
/* Append the record. `key` is the one of that id; ERR_CORRUPT: changed, or of another chunk. */
int recovery_seal_open(struct slice sealed, const struct master_key *key, struct slice object_id,
                       uint32_t chunk, struct buf *ret_record, struct err *e);

#endif
