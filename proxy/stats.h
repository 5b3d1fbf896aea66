/* What this proxy counts for each namespace, as ProxyStatistics reports it, and totals for
 * its metrics. Loop thread only. */
#ifndef PROXY_STATS_H
#define PROXY_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "wire/proxy_stats.h"

enum { STATS_NAMESPACES_MAX = 4096 }; /* beyond it the one longest unused is forgotten */

struct stats_ns;

/* Since the start; never cleared. */
struct stats_totals {
    uint64_t puts, put_bytes, put_failures;
    uint64_t gets, get_bytes, get_failures;
    uint64_t deletes;
    uint64_t fragments_stored, fragments_failed, fragments_replaced;
    uint64_t incomplete_objects; /* put, and no OSD took some fragment */
    uint64_t epilogues;
    uint64_t fragment_reads;        /* requests to OSDs */
    uint64_t fragment_reads_shared; /* that were not made: the same was under way */
    uint64_t unpacks_shared;        /* of format 0, that were not made: likewise */
    uint64_t near_reads, far_reads; /* requests to OSDs for readers, by read preference */
    uint64_t reconstructed;         /* reads that needed parity */
    uint64_t hedges;                /* reads that went another way as well, by a token */
    uint64_t hedges_away;           /* without one: away from a suspect OSD, or once more */
    uint64_t hedges_won;            /* of both: the other way was faster */
    uint64_t hedges_refused;        /* reads that would have, had there been a token */
    uint64_t hedges_saturated;      /* the same, had we not been saturated */
    uint64_t corrupt_fragments;
    uint64_t stale_manifests;
    uint64_t fragments_repaired, repaired_bytes;
    uint64_t repairs_failed;  /* objects */
    uint64_t repairs_left;    /* of those: work items for maintenance */
    uint64_t repairs_dropped; /* not noted: too many at once */
    uint64_t in_doubt;
    uint64_t requests;
};

struct stats {
    struct stats_totals totals;
    double creation_s; /* Unix time since when the counts below are */
    uint64_t creation_ns;
    struct stats_ns *table; /* private */
    struct list used;       /* the last one last */
    uint32_t count;
};

void stats_init(struct stats *stats);
/* Sums of a namespace, made on first use; valid until the next call. Sets last_updated. */
struct proxy_ns_stats *stats_of(struct stats *stats, struct slice ns);
/* The protocol has 32 bits for these counts: they stop at the most that it can say. */
void stats_add(int32_t *sum, uint64_t more);
/* For the reply: borrowed from `stats` but for ret->items, which the caller frees. */
void stats_report(const struct stats *stats, struct proxy_statistics *ret);
/* Counting begins anew now. */
void stats_clear(struct stats *stats);
void stats_forget(struct stats *stats, struct slice ns);
void stats_release(struct stats *stats);

#endif
