/* Life and clean-up of a namespace's metadata: gc epochs, obsolete objects, usage. Keys: KEYS.md.
 *
 * For maintenance agents, any number at once: every step is a transaction that a late or
 * second agent cannot repeat to harm. Rules of calls as in nsm.h. */
#ifndef META_NSM_GC_H
#define META_NSM_GC_H

#include "meta/nsm.h"

/* ---- life of a namespace ---- */

/* First gc epoch (1). Again: nothing happens, 0. */
void nsm_namespace_setup(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx);
/* End all gc epochs: no manifest is committed any more. */
void nsm_namespace_fence(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx);
/* Fence, then delete every key of the namespace. Its fragments must be gone before: nothing
 * will name them. Resumable. */
void nsm_namespace_destroy(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx);
/* Ids (in `epochs`) of namespaces that have keys in this engine, > `after`; to find those
 * that the registry does not know. */
void nsm_namespace_list(struct nsm *nsm, uint64_t after, size_t limit, nsm_cb cb, void *ctx);

/* ---- gc epochs ---- */

/* Live ones (in `epochs`), the last is current. None: the namespace does not exist (any more). */
void nsm_gc_epochs(struct nsm *nsm, uint64_t ns_id, nsm_cb cb, void *ctx);
/* Current `from` -> from + 1. 0 also when somebody did it before; ERR_STALE: `from` has ended. */
void nsm_gc_advance(struct nsm *nsm, uint64_t ns_id, uint64_t from, nsm_cb cb, void *ctx);
/* When epoch `epoch` began (in epochs[0], µs of wall-clock time; 0 when not known). */
void nsm_gc_began(struct nsm *nsm, uint64_t ns_id, uint64_t epoch, nsm_cb cb, void *ctx);
/* End the oldest epoch, which must not be the current one (ERR_BUSY). 0 also when it has ended
 * before. Afterwards, and not before, tags of this epoch may be judged by nsm_get_ids(). */
void nsm_gc_disable(struct nsm *nsm, uint64_t ns_id, uint64_t epoch, nsm_cb cb, void *ctx);
/* Delete the tombstones of epochs that have ended, up to `limit` of them; has_more. */
void nsm_gc_sweep(struct nsm *nsm, uint64_t ns_id, size_t limit, nsm_cb cb, void *ctx);

/* ---- obsolete objects ---- */

struct nsm_obsolete {
    struct slice key; /* for `after` */
    struct slice raw; /* the stored record */
    bool is_whole;    /* the object is gone; else only fragments that an update dropped */
    int64_t time_us;
    struct manifest manifest; /* delete every fragment that names an OSD, with its recovery info */
};

struct nsm_obsolete_list {
    struct err err;
    struct nsm_obsolete *items;
    size_t count;
    size_t bad_count;  /* damaged records, not among the items */
    struct err bad;    /* of the last of them: key and reason */
    struct slice last; /* key of the last record that was looked at, for `after`; empty: none */
    bool has_more;
};

/* The list is the callee's: nsm_obsolete_list_free(), after errors too. */
typedef void (*nsm_obsolete_cb)(void *ctx, int rc, struct nsm_obsolete_list *list);

/* A record that cannot be read is counted and passed over: those behind it must not wait. */
void nsm_obsolete_list(struct nsm *nsm, uint64_t ns_id, struct slice after, size_t limit,
                       nsm_obsolete_cb cb, void *ctx);
void nsm_obsolete_list_free(struct nsm_obsolete_list *list); /* accepts NULL */
/* All its fragments are gone from the OSDs: forget them. 0 also when another agent did it before.
 */
void nsm_obsolete_remove(struct nsm *nsm, uint64_t ns_id, const struct nsm_obsolete *obsolete,
                         nsm_cb cb, void *ctx);

/* ---- usage, "about" ---- */

struct nsm_usage {
    int64_t objects;
    int64_t logical_bytes;
    int64_t stored_bytes;
};

typedef void (*nsm_usage_cb)(void *ctx, int rc, const struct err *e, const struct nsm_usage *usage);

/* What an object adds. */
struct nsm_usage nsm_usage_of(const struct manifest *manifest);
/* Sum over all writers. */
void nsm_usage_get(struct nsm *nsm, uint64_t ns_id, nsm_usage_cb cb, void *ctx);
/* Add `delta` to what `writer` (a UUID of the process) has counted. */
void nsm_usage_add(struct nsm *nsm, uint64_t ns_id, const char *writer,
                   const struct nsm_usage *delta, nsm_usage_cb cb, void *ctx);
/* Maintenance has counted: replace all writers' counts by it. */
void nsm_usage_replace(struct nsm *nsm, uint64_t ns_id, const struct nsm_usage *counted,
                       nsm_usage_cb cb, void *ctx);

#endif
