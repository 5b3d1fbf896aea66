/* The maintenance agent: gives back the space of what nobody needs any more.
 *
 * One thread, one loop: a step starts calls (at most AGENT_CALLS_MAX) and turns the loop until
 * they are answered, so the code reads from top to bottom. Calls of an agent are made from the
 * thread that runs its loop, never from inside a callback of it; agent_stop() and agent_status()
 * are for any thread.
 *
 * Everything it does may be stopped at any point and done again, by it or by another agent:
 * each delete asserts what it was decided on, or is of something that can never be named
 * again. A lease keeps agents from doing the same work twice; nothing depends on it. */
#ifndef PROXY_MAINTENANCE_AGENT_H
#define PROXY_MAINTENANCE_AGENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "meta/lease.h"
#include "meta/registry_copy.h"
#include "proxy/engine.h"

enum {
    AGENT_LEASE_MS = LEASE_MAINTENANCE_MS,
    AGENT_CALLS_MAX = 32, /* in flight */
    AGENT_WHERE_BYTES = 160
};

struct agent_options {
    unsigned grace_ms;        /* how long a gc epoch lives on after its successor began */
    unsigned pause_ms;        /* between rounds */
    unsigned rate_per_s;      /* transactions and ranges, at most; 0: no limit */
    unsigned unknown_scan_ms; /* how often unknown namespaces are looked for */
    unsigned slice_ms;        /* of a round, for one namespace; 0: 30 s */
};

/* Since the start. */
struct agent_counts {
    uint64_t rounds;
    uint64_t objects_cleaned;   /* obsolete ones whose fragments were deleted */
    uint64_t fragments_deleted; /* of those, and of updated ones */
    uint64_t bytes_deleted;     /* of those fragments */
    uint64_t orphans_deleted;   /* fragments of dead gc epochs that no manifest names */
    uint64_t tags_deleted;      /* gc tags of live fragments */
    uint64_t epochs_begun;
    uint64_t epochs_ended;
    uint64_t namespaces_removed;
    uint64_t unknown_removed; /* namespaces that no registry knows */
    uint64_t work_done;       /* work items */
    uint64_t fragments_repaired;
    uint64_t repairs_failed; /* tried again later */
    uint64_t failures;       /* steps that will be tried again */
};

struct agent_status {
    bool is_leader;
    char where[AGENT_WHERE_BYTES];      /* what it does now */
    char trouble[ERR_MSG_BYTES];        /* of the last round; "": none */
    uint64_t objects_left;              /* obsolete ones that the last looks could not finish */
    uint64_t records_damaged;           /* obsolete ones that cannot be read and are passed over */
    uint64_t namespaces_left;           /* deleted ones that are not wiped yet */
    uint64_t work_left;                 /* work items, as of the last look */
    unsigned osds_aside;                /* not answering: what is on them has to wait */
    struct registry_copy_status copies; /* of the registry, on OSDs */
    struct agent_counts counts;
};

struct agent {
    uv_loop_t *loop;
    struct registry *registry; /* borrowed */
    struct engine *engine;     /* borrowed */
    struct agent_options options;
    struct lease *lease; /* borrowed; NULL: none is needed (tests) */

    atomic_bool stop; /* private from here on */
    uv_async_t wake;
    uv_timer_t timer;
    bool timer_fired;
    uint64_t next_call_us;
    uint64_t unknown_scan_at_ms;
    struct agent_unknown *unknown; /* seen in the scan before */
    size_t unknown_count;
    struct ns_notes *notes;
    struct agent_work_note *work_notes; /* items that have failed */
    size_t work_note_count;
    uint64_t work_pass_left;
    uint64_t work_after; /* where the pass over work items goes on */
    bool has_more;
    bool had_trouble; /* in this round */
    struct log_limit no_place_log;
    uv_mutex_t lock; /* of what follows */
    struct agent_status status;
};

void agent_init(struct agent *agent, struct registry *registry, struct engine *engine,
                const struct agent_options *options);
/* One round over everything, as far as it comes. */
void agent_run_round(struct agent *agent);
/* Rounds until agent_stop(). */
void agent_run(struct agent *agent);
void agent_stop(struct agent *agent);                                    /* any thread */
void agent_status(struct agent *agent, struct agent_status *ret_status); /* any thread */
/* For agent_status(): what the copier of the registry says. */
void agent_set_copies(struct agent *agent, const struct registry_copy_status *copies);
/* Turns the loop until its handles are closed. */
void agent_release(struct agent *agent);

#endif
