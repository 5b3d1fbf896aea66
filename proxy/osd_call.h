/* One request to an OSD, through the view of it that all transfers share (osds.h). Loop
 * thread only. */
#ifndef PROXY_OSD_CALL_H
#define PROXY_OSD_CALL_H

#include "proxy/osds.h"

struct gather;
struct osd_call;
typedef void (*osd_call_cb)(struct osd_call *call, int rc);

enum osd_call_kind { OSD_READ, OSD_WRITE };

/* One request. Owned by the caller until the callback. */
struct osd_call {
    struct asd_call asd; /* out: err, reply, failed_key, maybe_executed */
    uint64_t sent_ns;    /* out: when, by the monotonic clock; 0: it waits behind other calls */

    struct osd *osd; /* private from here on */
    struct gather *request;
    enum osd_call_kind kind;
    unsigned retries_left;
    bool canceled;
    bool submitted; /* to the client */
    int rc;
    uint64_t deadline_ms;
    osd_call_cb cb;
    struct list link;
    struct later_item failing;
};

/* As asd_client_call(). A call whose connection broke is sent once more, so it must be one
 * that may be executed twice: everything sent to OSDs here is. */
int osd_call_start(struct osd *osd, struct osd_call *call, struct gather *request,
                   enum osd_call_kind kind, unsigned timeout_ms, osd_call_cb cb);
void osd_call_cancel(struct osd_call *call); /* a wish; the callback still comes, later */

#endif
