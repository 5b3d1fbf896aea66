/* Puts a copy of the registry into an empty store (KEYS.md, "Recovery").
 *
 * There is no registry for anybody until all of it is there. Stopped anywhere, it is started again
 * on the same store, with this copy or another. Loop thread only; answered once, later. */
#ifndef META_REGISTRY_RESTORE_H
#define META_REGISTRY_RESTORE_H

#include "meta/copy_record.h"
#include "meta/kv.h"
#include "meta/registry.h"

enum { RESTORE_VERSIONS_APART = 1 << 20 }; /* beyond what was ever seen */

/* A namespace that lies on OSDs or on an NSM host, and that the copy does not know. */
struct restore_namespace {
    uint64_t id;
    char name[REGISTRY_NAME_BYTES_MAX + 1];
    const char *nsm_host; /* that has its manifests; borrowed; NULL: they are lost */
    bool is_whole;        /* … and gc epochs: it is active; else it was being made, or deleted */
};

struct restore_options { /* borrowed until the callback */
    const struct copy_head *head;
    struct slice snapshot;      /* copy_verify() found it whole */
    uint64_t version_seen;      /* the highest of any head; at most COPY_VERSION_MAX / 2 */
    uint64_t namespace_id_seen; /* the highest on any OSD, at most IDS_MAX; 0: none */
    const struct restore_namespace *found; /* each gets a record; names are free */
    size_t found_count;
};

/* Takes the store for metadata (kv_prepare), too. ERR_EXISTS: it is not empty; ERR_BUSY: another
 * recovery has taken over; ERR_CORRUPT: numbers in the copy cannot be. */
void registry_restore(struct kv *kv, const struct restore_options *options, registry_cb cb,
                      void *ctx);

#endif
