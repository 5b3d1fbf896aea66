/* Keys and binary values under /alba/v1/ns/<id>/ (KEYS.md, "Namespaces"). Any thread. */
#ifndef META_NS_KEYS_H
#define META_NS_KEYS_H

#include <stdint.h>

#include "meta/nsm.h"
#include "meta/value.h"

enum { NS_COMMIT_ID_BYTES = 16 };

/* Each fills a fresh key and returns it as a slice, which lasts as long as *key. */
struct slice ns_key_root(struct key *key, uint64_t ns_id, char kind); /* prefix of one kind */
struct slice ns_key_info(struct key *key, uint64_t ns_id);
struct slice ns_key_epoch(struct key *key, uint64_t ns_id, uint64_t epoch);
struct slice ns_key_epoch_began(struct key *key, uint64_t ns_id, uint64_t epoch);
struct slice ns_key_name(struct key *key, uint64_t ns_id, struct slice name);
struct slice ns_key_object(struct key *key, uint64_t ns_id, struct slice id);
struct slice ns_key_osd(struct key *key, uint64_t ns_id, uint64_t osd_id, struct slice id);
struct slice ns_key_obsolete(struct key *key, uint64_t ns_id, struct slice id);
struct slice ns_key_dropped(struct key *key, uint64_t ns_id, struct slice id, uint32_t version);
struct slice ns_key_tombstone(struct key *key, uint64_t ns_id, uint64_t epoch, struct slice id);
struct slice ns_key_usage(struct key *key, uint64_t ns_id, const char *writer);
struct slice ns_key_restore(struct key *key, uint64_t ns_id);
/* Bytes in front of what follows a kind's slash, as in "…/n/" + name. */
size_t ns_key_prefix_bytes(void);
/* Namespace id out of any key of a namespace; ERR_CORRUPT. */
int ns_key_parse_id(struct slice key, uint64_t *ret_ns_id, struct err *e);

/* Values. The makers want an empty *b. */
void ns_value_epoch(struct buf *b, struct slice key); /* always the same: it is asserted */
int ns_value_manifest(struct buf *b, struct slice key, const struct manifest *m, struct err *e);
/* Checks that the manifest is of this object. */
int ns_value_manifest_open(struct slice key, struct slice value, struct slice id,
                           struct manifest *ret_manifest, struct err *e);
/* `object` is the payload of the o/ value. */
void ns_value_obsolete(struct buf *b, struct slice key, const uint8_t commit[NS_COMMIT_ID_BYTES],
                       struct slice object);
int ns_value_obsolete_open(struct slice key, struct slice value,
                           uint8_t ret_commit[NS_COMMIT_ID_BYTES], int64_t *ret_time_us,
                           struct manifest *ret_manifest, struct err *e);

/* Distinct OSDs that hold fragments, ascending; free() them. At most one for each fragment. */
size_t ns_manifest_osds(const struct manifest *m, uint64_t **ret_osd_ids);

#endif
