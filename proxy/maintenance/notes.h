/* What an agent remembers of namespaces between rounds. Only to save work: a fresh agent
 * without notes does the same things, some of them once more than needed. One thread. */
#ifndef PROXY_MAINTENANCE_NOTES_H
#define PROXY_MAINTENANCE_NOTES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/table.h"

enum { NOTES_STUCK_MAX = 65536 }; /* of one namespace; more are done again each time */

/* An obsolete object whose fragments are gone but for those on these OSDs. */
struct ns_stuck {
    UT_hash_handle hh; /* private */
    bool is_seen;
    size_t osd_count;
    uint64_t *osd_ids;
    uint8_t key[];
};

struct ns_notes {
    uint64_t ns_id;
    bool is_there; /* in this round */

    /* obsolete objects */
    struct buf after;      /* where the pass under way stopped; empty: at the start */
    uint64_t pass_ms;      /* what it has taken so far */
    uint64_t pass_left;    /* how many could not be finished in it */
    uint64_t left;         /* in the last whole pass */
    uint64_t pass_damaged; /* records that cannot be read, met in this pass */
    uint64_t damaged;      /* in the last whole pass */
    uint64_t next_pass_ms; /* monotonic time */
    struct ns_stuck *stuck;

    /* gc */
    uint64_t next_collect_ms;
    uint64_t collected_epoch; /* no tag of an older one was left */
    uint64_t swept_epoch;     /* nor a tombstone */

    UT_hash_handle hh; /* private */
};

/* Made when it is not there. */
struct ns_notes *notes_of(struct ns_notes **notes, uint64_t ns_id);
/* Forget the namespaces that were not asked for since the last call. */
void notes_tidy(struct ns_notes **notes);
void notes_release(struct ns_notes **notes);

/* `key` is that of the obsolete record. NULL: nothing is known. Finding marks it as seen. */
struct ns_stuck *notes_stuck_find(struct ns_notes *notes, struct slice key);
bool notes_stuck_on(const struct ns_stuck *stuck, uint64_t osd_id);
/* Takes over `osd_ids`; count 0: forget it. */
void notes_stuck_set(struct ns_notes *notes, struct slice key, uint64_t *take_osd_ids,
                     size_t osd_count);
/* A pass has met all: forget those that were not seen in it. */
void notes_stuck_tidy(struct ns_notes *notes);

#endif
