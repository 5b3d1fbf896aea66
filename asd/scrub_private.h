/* The inside of the scrub, shared by scrub*.c. */
#ifndef ASD_SCRUB_PRIVATE_H
#define ASD_SCRUB_PRIVATE_H

#include <stdatomic.h>

#include <uv.h>

#include "asd/scrub.h"
#include "asd/scrub_record.h"
#include "asd/store_private.h"
#include "base/log.h"

/* One piece of a pass. The loop fills it, a thread of the read pool does it. */
struct asd_scrub_bite {
    struct asd_store_op op;
    struct asd_store *store;
    atomic_bool stop; /* what runs in the thread is to end soon */
    bool check;       /* else only `note` is written */
    struct buf note;  /* the scrub record to write; empty: none */
    struct buf next;  /* in and out: client key to go on with */

    bool insist; /* an index that fails to read is damage by now */

    bool done; /* these: out. The pass is at its end */
    bool cut;  /* and nothing behind could be listed */
    uint64_t keys, bytes, cost_bytes;
    struct asd_scrub_bad *bad;
    unsigned bad_count, bad_cap;
    int note_rc; /* the record could not be written */
};

struct asd_scrub {
    struct asd_store *store;
    struct asd_scrub_settings settings;
    uv_timer_t timer;
    struct asd_scrub_bite bite;
    bool busy;

    struct asd_scrub_record now; /* without `next` */
    struct buf next;
    uint64_t begun_ms;  /* of the bite */
    uint64_t due_ms;    /* no bite before that */
    uint64_t noted_ms;  /* when it was last written down */
    unsigned tries;     /* that the next key, or the index there, could not be looked at */
    uint64_t paused_ms; /* monotonic; up to here paused_s has been counted */

    uint64_t total_keys, total_bytes;
    uint64_t bad_by_kind[ASD_BADS];
    struct asd_scrub_bad list[ASD_SCRUB_LIST_MAX];
    unsigned list_count;
    struct log_limit bad_log;

    bool closing;
    asd_scrub_close_cb close_cb;
    void *close_ctx;
};

/* Do `bite` in a thread. The callback's rc: ERR_CANCELED, or what kept it from going on (nothing of
 * what it found is lost). scrub_bite.c */
int asd_scrub_bite_submit(struct asd_scrub_bite *bite, asd_store_cb cb);

#endif
