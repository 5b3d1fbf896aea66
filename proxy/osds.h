/* The OSDs as this process sees them: a client for each, its health and its load.
 *
 * Loop thread only. An OSD that fails or does not answer in time is set aside: it gets no
 * new fragments and is read last, until a probe (a 512 KiB write, as the protocol's
 * requalification wants it; after 1 s, then 1.5 x longer each time, up to 60 s) succeeds.
 * A store without our claim (an unmounted disk, one of another alba) fails every call alike.
 * A full OSD is only closed to new fragments, a slow one (osd_slow.h) while others suffice. At
 * most OSD_CALLS_MAX calls are in flight to one OSD, so that it cannot hold the memory of all. */
#ifndef PROXY_OSDS_H
#define PROXY_OSDS_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include "loop/later.h"
#include "net/addr.h"
#include "net/asd_client.h"
#include "policy/choose.h"
#include "proxy/osd_slow.h"
#include "proxy/osd_suspect.h"

enum {
    OSD_CALLS_MAX = 128,    /* in flight to one OSD */
    OSD_WAITING_MAX = 4096, /* behind those; more get ERR_BUSY */
    OSD_PROBE_BYTES = 512 * 1024,
    OSD_PROBE_FIRST_MS = 1000,
    OSD_PROBE_MAX_MS = 60000,
    OSD_EVENTS_MAX = 10 /* most recent ones kept, as OsdState reports them */
};

struct osds;
typedef void (*osds_close_cb)(void *ctx);

/* One row of the registry. Strings and addresses are copied. */
struct osds_entry {
    uint64_t id;
    const char *long_id;
    const char *owner; /* whose claim its store must carry, at every connect; NULL: anybody's */
    const char *node_id;
    const char *datacenter;       /* NULL: the unnamed one */
    const struct net_addr *addrs; /* one way to it, or several */
    unsigned addr_count;
    uint64_t total_bytes;
    uint64_t used_bytes;
    bool decommissioned;
};

struct osd_failure {
    double time_s;
    char text[160];
};

struct osd {
    uint64_t id;
    char *long_id;
    char *node_id;
    char *datacenter;
    struct net_addr *addrs;
    unsigned addr_count;
    uint64_t total_bytes;
    uint64_t used_bytes;
    bool decommissioned;
    bool gone;    /* not in the registry any more; kept for the calls that know it */
    bool aside;   /* failed; not used for new fragments, read last */
    int aside_rc; /* why, if so: ERR_IDENTITY is another store than the one that was claimed */
    bool full;    /* no new fragments; reads are fine */
    bool near;    /* where the read preference says */
    struct osd_suspect suspect; /* of not answering: not preferred for reads */
    struct osd_slow slow;       /* to write: osds_choose_list() */

    double read_s[OSD_EVENTS_MAX]; /* Unix times, newest first, 0 = none */
    double write_s[OSD_EVENTS_MAX];
    double seen_s[OSD_EVENTS_MAX];
    struct osd_failure failures[OSD_EVENTS_MAX];
    uint64_t checksum_errors;
    uint64_t calls;
    uint64_t failed_calls;

    struct osds *osds; /* private from here on */
    struct asd_client *client;
    struct list calls_in_flight;
    struct list calls_waiting;
    unsigned in_flight;
    unsigned waiting;
    double latency_ms;       /* exponential average */
    struct osd_probe *probe; /* under way, or NULL */
    uint64_t probe_at_ms;
    unsigned probe_delay_ms;
    bool usage_asked;
};

struct osds_options {
    unsigned timeout_ms;            /* of a probe, or of asking whose claim it carries; 0: 10 s */
    const char *const *near_places; /* read preference: node ids, datacenters; copied */
    unsigned near_place_count;
    struct net_tls *tls; /* borrowed; who we are, for addresses that speak TLS */
    /* Where OSDs of this machine listen besides, each at <long id>.sock; not asked for those that
     * speak TLS. NULL: nowhere. Copied. */
    const char *socket_dir;
};

struct osds *osds_new(uv_loop_t *loop, const struct osds_options *options);
/* The whole list of the registry, again and again. An OSD with other addresses gets a fresh
 * client; one that is missing is marked gone. */
void osds_set(struct osds *osds, const struct osds_entry *entries, unsigned count);

struct osd *osds_find(struct osds *osds, uint64_t id); /* NULL: unknown */
unsigned osds_count(const struct osds *osds);          /* those that are not gone */
struct osd *osds_at(struct osds *osds, unsigned index);
unsigned osds_aside_count(const struct osds *osds);
/* How often one that was set aside was taken back, or one came new: more may be possible. */
unsigned osds_returns(const struct osds *osds);
/* For policy/choose.h: index i is osds_at(i). `usable` is up to date; full ones count as
 * usable for those who may use the reserve, slow ones and `except` (may be NULL) do not. Valid
 * until the next call. */
const struct choose_osd *osds_choose_list(struct osds *osds, bool reserve, const struct osd *except,
                                          unsigned *ret_count);

/* That list with the slow ones: for when without them there is no choice, or too weak a one.
 * False: there are none. */
bool osds_choose_slow_too(struct osds *osds, bool reserve, const struct osd *except);

/* Appends to the message which OSDs take no new fragments, and why. */
void osds_explain(const struct osds *osds, bool reserve, struct err *e);

/* Lower is better: who should be asked first for a read. */
double osd_read_cost(const struct osd *osd);
/* There is a read preference, and it names other places. */
bool osd_is_far(const struct osd *osd);
/* May it be given new fragments? */
static inline bool osd_is_usable(const struct osd *osd, bool reserve)
{
    return !osd->gone && !osd->aside && !osd->decommissioned && (reserve || !osd->full);
}

/* It stored a fragment; the others of the chunk took `usual_ms`. */
void osd_note_write(struct osd *osd, uint64_t begun_ms, uint64_t ended_ms, uint64_t usual_ms);
/* Bytes of this OSD failed their checks. */
void osd_note_corrupt(struct osd *osd);

/* No calls from here on; those in flight get ERR_CANCELED; then `cb`; then it is freed. */
void osds_close(struct osds *osds, osds_close_cb cb, void *ctx);

#endif
