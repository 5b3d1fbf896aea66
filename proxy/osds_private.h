/* What osds.c, osd_call.c and osd_probe.c share; nobody else includes this. */
#ifndef PROXY_OSDS_PRIVATE_H
#define PROXY_OSDS_PRIVATE_H

#include "proxy/osd_call.h"

enum { OSDS_TICK_MS = 200, OSDS_USAGE_EVERY_MS = 60000 };

struct osds {
    uv_loop_t *loop;
    struct net_tls *tls; /* borrowed */
    char *socket_dir;    /* or NULL */
    struct later later;
    uv_timer_t tick; /* probes that are due */
    bool tick_on;
    uv_timer_t usage;
    unsigned probe_timeout_ms;
    char **near_places;
    unsigned near_place_count;

    struct osd **all; /* ever seen, in order of id */
    unsigned all_count;
    struct osd **live; /* those not gone; parallel to `choose` */
    unsigned live_count;
    struct choose_osd *choose;
    unsigned returns;
    uint8_t *probe_data;
    uint64_t probe_serial; /* of the last one started */
    struct list probe_waits;

    bool closing;
    unsigned open; /* clients, handles and small calls still to end */
    struct later_item close_item;
    osds_close_cb close_cb;
    void *close_ctx;
};

/* osd_call.c */
void osd_calls_fail_waiting(struct osd *osd, int rc, const char *why);

/* osd_probe.c */
void osds_probes_init(struct osds *osds);
void osd_probe_schedule(struct osd *osd);
void osd_probe_returned(struct osd *osd); /* it is in the registry's view, perhaps again */
void osd_set_aside(struct osd *osd, int rc, const char *why);
void osd_event_push(double events[OSD_EVENTS_MAX]);

/* osds.c */
void osds_release_one(struct osds *osds);

#endif
