/* Namespace manager: names, manifests and their transactions, over one engine. Keys: KEYS.md.
 *
 * Loop thread only. Every call is answered once, later, from the loop. Names, ids and arrays are
 * copied; manifests of a sequence are borrowed until the callback. Engine errors as in kv.h. */
#ifndef META_NSM_H
#define META_NSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "meta/kv.h"
#include "wire/manifest.h"

enum {
    NSM_OBJECT_ID_BYTES = MANIFEST_OBJECT_ID_BYTES,
    NSM_MANIFEST_BYTES_MAX = 327680, /* as stored: an overwrite names three in a transaction */
    NSM_UPDATES_PER_UPLOAD = 4,      /* and one for each OSD that has fragments */
    NSM_UPDATES_PER_DELETE = 3,
    NSM_ASSERTS_PER_UPLOAD = 2, /* beside its name's */
    NSM_GET_MAX = 256,          /* names or ids of one nsm_get, nsm_get_ids */
    NSM_EXISTS_MAX = KV_GET_KEYS_MAX
};

struct nsm;

/* One object as it is now. The manifest may be moved out (copy the struct, zero it). */
struct nsm_object {
    bool found;
    int damage; /* ERR_CORRUPT, ERR_VERSION: there, but cannot be read; then not `found` */
    struct manifest manifest; /* owned by the reply */
};

/* Valid during the callback; nsm_reply_take() keeps it until nsm_reply_free(). */
struct nsm_reply {
    struct err err;
    struct slice failed_name; /* sequence: object whose assert failed */
    bool gc_epoch_ended;      /* sequence, update: upload again under a live epoch */
    unsigned attempts;        /* sequence: transactions sent */
    struct nsm_object *objects;
    struct slice *names; /* list: names; list_osd: object ids */
    bool *exists;
    uint64_t *epochs; /* gc epochs that live, ascending; the last is the current one */
    size_t count;     /* of whichever the call fills */
    bool has_more;
};

typedef void (*nsm_cb)(void *ctx, int rc, struct nsm_reply *reply);

/* `kv` is borrowed and outlives the nsm. */
struct nsm *nsm_new(struct kv *kv);
/* Only when no call is open: close the engine first. */
void nsm_free(struct nsm *nsm);
struct kv *nsm_kv(const struct nsm *nsm);
void nsm_reply_take(struct nsm_reply *reply);
void nsm_reply_free(struct nsm_reply *reply);

/* ---- reading ---- */

/* objects[i] belongs to names[i]; one that is damaged does not fail the others. More than
 * NSM_GET_MAX: ERR_TOO_LARGE. */
void nsm_get(struct nsm *nsm, uint64_t ns_id, const struct slice *names, size_t count, nsm_cb cb,
             void *ctx);
/* The same by object id. */
void nsm_get_ids(struct nsm *nsm, uint64_t ns_id, const struct slice *ids, size_t count, nsm_cb cb,
                 void *ctx);
void nsm_exists(struct nsm *nsm, uint64_t ns_id, const struct slice *names, size_t count, nsm_cb cb,
                void *ctx);

/* Names between two ends. Not proxy_range or asd_range: there a limit may be missing. */
struct nsm_range {
    struct slice first; /* the upper end when `reverse` */
    bool first_included, last_included;
    bool has_last;
    struct slice last;
    bool reverse;
    size_t limit; /* > 0 */
};
void nsm_list(struct nsm *nsm, uint64_t ns_id, const struct nsm_range *range, nsm_cb cb, void *ctx);
/* Objects (in `objects`) in order of id, behind id `after` (empty: the start). For maintenance. */
void nsm_list_objects(struct nsm *nsm, uint64_t ns_id, struct slice after, size_t limit, nsm_cb cb,
                      void *ctx);
/* Ids (in `names`) of objects that may have fragments on this OSD; some may be gone meanwhile. */
void nsm_list_osd(struct nsm *nsm, uint64_t ns_id, uint64_t osd_id, struct slice after,
                  size_t limit, nsm_cb cb, void *ctx);

/* ---- writing ---- */

enum nsm_assert_kind {
    NSM_ASSERT_EXISTS = 1, /* as on the wire */
    NSM_ASSERT_ABSENT = 2,
    NSM_ASSERT_HAS_ID = 3,
    NSM_ASSERT_HAS_CHECKSUM = 4
};

struct nsm_assert {
    enum nsm_assert_kind kind;
    struct slice name;
    struct slice object_id;
    struct checksum checksum;
};

/* One transaction: all or nothing. A name may stand once among uploads and deletes. */
struct nsm_sequence {
    const struct nsm_assert *asserts;
    size_t assert_count;
    /* Complete but for timestamp_us, which is set here before the commit. name, a fresh
     * object_id and gc_epoch (> 0, the same in all) are set. */
    struct manifest *const *uploads;
    size_t upload_count;
    const struct slice *deletes; /* a name that does not exist is fine: assert EXISTS if not */
    size_t delete_count;
    /* One that is alive, asserted with the rest: a namespace that was deleted has none, so nothing
     * is acknowledged there. 0: that of the uploads, and without uploads nothing is asserted. */
    uint64_t gc_epoch;
    bool reserve, low_priority;
    unsigned timeout_ms;          /* of the whole; 0: default */
    bool (*is_wanted)(void *ctx); /* NULL, or asked with the callback's ctx before each commit */
};

struct nsm_sequence_size {
    size_t upload_count, delete_count;
    size_t name_count;             /* different ones, of those and of asserts */
    unsigned fragments_per_upload; /* of a chunk */
};
/* Before anything is uploaded: does it fit a transaction? ERR_TOO_LARGE with the count. It does if
 * the fragments of each upload, over all its chunks, lie on *ret_osds_max OSDs at most. */
int nsm_sequence_check(const struct nsm_sequence_size *size, unsigned *ret_osds_max, struct err *e);
/* Could the manifest be stored? manifest_v3_bytes_bound(). ERR_TOO_LARGE. */
int nsm_manifest_check(size_t name_bytes, size_t preset_bytes, uint64_t chunk_count,
                       unsigned fragments_per_chunk, const struct manifest_fragment *largest,
                       struct err *e);

/* ERR_ASSERT_FAILED: failed_name. ERR_STALE: gc_epoch_ended. UV_ECANCELED: not wanted any more.
 * ERR_IN_DOUBT: outcome unknown, delete no fragment. Else nothing was changed, nor will be. */
void nsm_apply(struct nsm *nsm, uint64_t ns_id, const struct nsm_sequence *sequence, nsm_cb cb,
               void *ctx);

/* Edit *manifest: 0 to store it, 1 when nothing is to be changed, negative to give up. Called
 * again with a fresh manifest when another update came first. */
typedef int (*nsm_modify_cb)(void *ctx, struct manifest *manifest);

/* Update a manifest (epilogue, repair); fragments it adds were written under `gc_epoch`. On 0
 * objects[0] is what is stored now. ERR_NOT_FOUND: the object is gone, its fragments are listed as
 * obsolete, new ones of this update left to garbage collection. ERR_STALE, ERR_IN_DOUBT. */
void nsm_update(struct nsm *nsm, uint64_t ns_id, struct slice object_id, uint64_t gc_epoch,
                nsm_modify_cb modify, nsm_cb cb, void *ctx);

#endif
