/* Asking at once the OSDs that are set aside (osds.h). Loop thread only. */
#ifndef PROXY_OSD_PROBE_H
#define PROXY_OSD_PROBE_H

#include "proxy/osds.h"

/* Probe all that are set aside or full now, not those that are only slow; `cb` when each has
 * answered (or timed out), whatever probes have begun or ended meanwhile. */
struct osds_probe_wait {
    void (*cb)(struct osds_probe_wait *wait); /* private from here on */
    uint64_t serial;                          /* of the last probe it waits for */
    bool is_later;                            /* there was nothing to probe */
    struct list link;
    struct later_item none;
};
void osds_probe_all(struct osds *osds, struct osds_probe_wait *wait,
                    void (*cb)(struct osds_probe_wait *wait));
/* Wait no longer: `cb` will not run. */
void osds_probe_forget(struct osds_probe_wait *wait);

#endif
