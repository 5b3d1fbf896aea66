/* What fragments of new objects that take too long say about an OSD.
 *
 * An OSD is slow when three of them in a row took longer than 2 s and than ten times the median of
 * the others of their chunk, each begun after the one before had ended: one pause of the OSD counts
 * once, and where all are slow nobody is. It gets no new fragments while a policy that asks for
 * more than k holds without it, until a probe takes no more than 2 s: after 1 s at first, twice as
 * long whenever it is slow again within ten minutes, up to 60 s; a probe that is slow, too, puts
 * off the next (osds.h). Puts of Low priority are not judged, and reads do not know of it. Pure:
 * times are of the monotonic clock. */
#ifndef PROXY_OSD_SLOW_H
#define PROXY_OSD_SLOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    OSD_SLOW_MS = 2000,
    OSD_SLOW_TIMES = 10, /* the others */
    OSD_SLOW_WRITES = 3,
    OSD_SLOW_PROBE_FIRST_MS = 1000,
    OSD_SLOW_PROBE_MAX_MS = 60000,
    OSD_SLOW_FORGET_MS = 600000
};

/* {0}: nothing is held against it. */
struct osd_slow {
    bool is;
    unsigned delay_ms; /* from being slow to the first probe */

    unsigned writes;   /* private: that took too long, and none that did not since */
    uint64_t ended_ms; /* the last of them */
    uint64_t fast_ms;  /* when it was found fast again */
};

/* A fragment was stored, and `usual_ms` is what the others took. True: it is slow from now on. */
bool osd_slow_wrote(struct osd_slow *slow, uint64_t begun_ms, uint64_t ended_ms, uint64_t usual_ms);
/* A probe of a slow one succeeded. True: it is not slow any more. */
bool osd_slow_probed(struct osd_slow *slow, uint64_t begun_ms, uint64_t ended_ms);

#endif
