/* What reads that were overtaken say about an OSD, before its time-out says more.
 *
 * An OSD is suspect when a hedge (hedge.h) overtook a read of it and it has answered no read since
 * that one was sent, or when OSD_SUSPECT_LOST reads were overtaken and none was answered in time in
 * between. Reads then prefer others. It is suspect no more when it answers one in time, or
 * answers at all while fewer were overtaken. So that it can, one read in a while is sent to it:
 * OSD_TRY_FIRST_MS after it became suspect, then after twice the time, up to OSD_TRY_MAX_MS; soon
 * after a late answer. A read is here one request, however many wait for it, from when it was sent
 * until its answer came (shared_get.h). Pure: `now_ns` is of the monotonic clock. */
#ifndef PROXY_OSD_SUSPECT_H
#define PROXY_OSD_SUSPECT_H

#include <stdbool.h>
#include <stdint.h>

enum { OSD_SUSPECT_LOST = 3, OSD_TRY_FIRST_MS = 100, OSD_TRY_MAX_MS = 5000 };

/* {0}: nothing is held against it. */
struct osd_suspect {
    bool is;

    unsigned lost; /* private: overtaken, and none in time since */
    uint64_t answered_ns;
    uint64_t try_ns; /* when a read may be sent to it */
    uint64_t try_delay_ns;
};

/* A read that was sent at `begun_ns` was overtaken. */
void osd_suspect_lost(struct osd_suspect *suspect, uint64_t begun_ns, uint64_t now_ns);
void osd_suspect_answered(struct osd_suspect *suspect, bool in_time, uint64_t now_ns);
/* May a read be sent to a suspect one? True: that was the one, for now. */
bool osd_suspect_try(struct osd_suspect *suspect, uint64_t now_ns);

#endif
