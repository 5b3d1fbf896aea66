/* Keeps copies of the registry on OSDs up to date (KEYS.md, "Copies of the registry").
 *
 * Looks at the view of its registry, which somebody else polls, and writes what is behind: a
 * little after a change, and now and then for what changes without a version. Nothing waits for
 * it: what fails is tried again and shown. Loop thread only; bounded by
 * REGISTRY_COPIES_WANTED OSDs at once and one snapshot in memory. */
#ifndef META_REGISTRY_COPY_H
#define META_REGISTRY_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/copy_history.h"
#include "meta/copy_record.h"
#include "meta/registry.h"

enum {
    REGISTRY_COPIES_WANTED = 5,
    REGISTRY_COPIES_LEAST = 3 /* fewer are worth a warning */
};

struct registry_copier;

struct registry_copy_status {
    uint64_t version;       /* of the registry, as last copied or compared */
    uint64_t time_us;       /* when that was; 0: not yet */
    unsigned copies;        /* OSDs that hold it */
    unsigned wanted;        /* as many as there can be, at most REGISTRY_COPIES_WANTED */
    unsigned ahead;         /* OSDs whose copy is of a later or another history: not replaced … */
    uint64_t ahead_version; /* … until registry_raise_version() goes beyond this */
    uint64_t lag_ms;        /* since when a change has no copies; 0: it has */
    uint64_t written;       /* copies, since the start */
    uint64_t failures;      /* OSDs and rounds that failed, since the start */
    char trouble[ERR_MSG_BYTES]; /* of the last round; "": none */
};

struct registry_copy_options {
    unsigned settle_ms;         /* from a change to its copy; 0: 1 s */
    unsigned pause_ms;          /* between two copies, and after a failure; 0: 5 s */
    unsigned recheck_ms;        /* 0: 60 s */
    unsigned timeout_ms;        /* of a call to an OSD; 0: 10 s */
    bool is_manual;             /* only registry_copier_run() starts a round */
    bool (*may_act)(void *ctx); /* NULL: always */
    void (*on_status)(void *ctx, const struct registry_copy_status *status); /* may be NULL */
    void *ctx;
};

/* `registry` is borrowed, and must be polled or refreshed by its owner. */
struct registry_copier *registry_copier_new(uv_loop_t *loop, struct registry *registry,
                                            const struct registry_copy_options *options);
/* One round now; `cb` after it. None may run (is_manual). */
typedef void (*registry_copy_cb)(void *ctx, int rc, const struct err *e,
                                 const struct registry_copy_status *status);
void registry_copier_run(struct registry_copier *copier, registry_copy_cb cb, void *ctx);
/* Ends its calls (those to metadata by their deadline, or registry_cancel()), then `cb`. */
void registry_copier_close(struct registry_copier *copier, void (*cb)(void *ctx), void *ctx);

/* In which order claimed OSDs are asked to hold copies: one of each node in turn. Fills at most
 * `max`, returns how many. */
size_t registry_copy_order(const struct registry_view *view, const struct registry_osd **ret_osds,
                           size_t max);

/* ---- the registry as it is now, read as one ---- */

struct registry_snapshot {
    struct copy_head head; /* not sealed yet: version, commit, alba_id, time, count */
    struct buf bytes;
    struct copy_history history;
};
typedef void (*registry_snapshot_cb)(void *ctx, int rc, const struct err *e,
                                     struct registry_snapshot *snapshot);
/* Reads until `version` is the same before and after; ERR_BUSY when it never stands still. The
 * callback may take `bytes` and `history` away. */
void registry_snapshot_read(struct kv *kv, registry_snapshot_cb cb, void *ctx);

#endif
