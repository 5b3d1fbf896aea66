/* Keys under which things lie on an ASD: fragments, their tags, claims, metadata, copies of the
 * registry.
 *
 * osd_key_put_* append a key to a struct buf. osd_key_parse() reads back what lies
 * under a namespace, for clean-up and recovery, which scan. Any thread.
 * Bytes: PROTOCOL.md, "Key space of an OSD". */
#ifndef WIRE_OSD_KEYS_H
#define WIRE_OSD_KEYS_H

#include <stdint.h>

#include "base/buf.h"

/* First byte of every metadata key (registry, manifests) that the asd:// engine
 * keeps on an ASD. No key of the table below starts with it. */
#define OSD_KEY_META_BYTE 0x41 /* 'A' */

#define OSD_KEY_TEST "test"            /* requalification blob */
#define OSD_KEY_INSTANCE_NEXT "i"      /* value int32 LE: 1 once claimed */
enum { OSD_KEY_NS_STATUS_ACTIVE = 1 }; /* the one byte stored as namespace status */

enum osd_key_kind {
    OSD_KEY_NS_STATUS = 1, /* value: OSD_KEY_NS_STATUS_ACTIVE */
    OSD_KEY_NS_NAME = 2,   /* value: the name, raw */
    OSD_KEY_FRAGMENT = 3,
    OSD_KEY_RECOVERY = 4, /* value: wire/recovery_info.h */
    OSD_KEY_GC_TAG = 5    /* value: empty */
};

/* Which fragment. */
struct osd_fragment {
    struct slice object_id; /* borrowed */
    uint32_t chunk;
    uint32_t fragment;
    uint32_t version; /* version of the object when this fragment was written */
};

struct osd_key {
    enum osd_key_kind kind;
    uint64_t namespace_id;
    uint64_t gc_epoch;            /* gc tags only */
    struct osd_fragment fragment; /* fragments, recovery infos, gc tags */
};

/* Namespace ids are at most INT64_MAX. */
void osd_key_put_ns_status(struct buf *b, uint64_t namespace_id);
void osd_key_put_ns_name(struct buf *b, uint64_t namespace_id);
void osd_key_put_fragment(struct buf *b, uint64_t namespace_id, const struct osd_fragment *f);
void osd_key_put_recovery(struct buf *b, uint64_t namespace_id, const struct osd_fragment *f);
void osd_key_put_gc_tag(struct buf *b, uint64_t namespace_id, uint64_t gc_epoch,
                        const struct osd_fragment *f);
void osd_key_put_next_msg_id(struct buf *b);
void osd_key_put_instance_log(struct buf *b);                         /* value: alba id (owner) */
void osd_key_put_instance_index(struct buf *b, struct slice alba_id); /* value: int32 LE 0 */
/* A copy of the registry (meta/copy_record.h). No key of a namespace, a claim or metadata starts
 * with this byte. */
#define OSD_KEY_COPY_BYTE 0x52 /* 'R' */
void osd_key_put_copy_head(struct buf *b);
void osd_key_put_copy_chunk(struct buf *b, uint32_t index);

/* Prefixes to scan: every namespace key; all of a kind (FRAGMENT, RECOVERY, GC_TAG) in
 * a namespace; the gc tags of one epoch. A whole namespace: osd_key_put_ns_status(). */
void osd_key_put_all_namespaces(struct buf *b);
void osd_key_put_kind_prefix(struct buf *b, uint64_t namespace_id, enum osd_key_kind kind);
void osd_key_put_gc_epoch_prefix(struct buf *b, uint64_t namespace_id, uint64_t gc_epoch);
/* Turn a prefix (not all 0xff) into the first key behind everything that starts with it. */
void osd_key_prefix_end(struct buf *b);

/* 0, or ERR_NOT_FOUND for a key that is none of enum osd_key_kind. Borrows from `key`. */
int osd_key_parse(struct slice key, struct osd_key *ret_key);

#endif
