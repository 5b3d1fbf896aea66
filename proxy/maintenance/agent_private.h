/* What the files of the maintenance agent share; nobody else includes this. */
#ifndef PROXY_MAINTENANCE_AGENT_PRIVATE_H
#define PROXY_MAINTENANCE_AGENT_PRIVATE_H

#include "meta/nsm_gc.h"
#include "proxy/maintenance/agent.h"
#include "proxy/maintenance/notes.h"
#include "wire/asd_request.h"

/* ---- wait.c ---- */

/* Turn the loop until *done. */
void agent_until(struct agent *agent, const bool *done);
/* Sleep, or until stopped. */
void agent_sleep(struct agent *agent, uint64_t ms);
/* Keep to the rate. */
void agent_pace(struct agent *agent);
/* Not stopped, and the lease is held. Ask before each act. */
bool agent_may_act(struct agent *agent);
/* A namespace gets so much time in a round, then the others get theirs. */
uint64_t agent_slice_end_ms(struct agent *agent);
/* Over? Then the next round comes at once. */
bool agent_slice_is_over(struct agent *agent, uint64_t end_ms);
void agent_where(struct agent *agent, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A step failed; it will be tried in a later round. Being stopped is no failure. */
void agent_trouble(struct agent *agent, const struct err *e);
/* `counter` is one in agent->status. */
void agent_count(struct agent *agent, uint64_t *counter, uint64_t by);

/* A call to the namespace manager that waits: pass agent_nsm_done and the wait. The reply is kept
 * until agent_nsm_release(). */
struct agent_nsm_wait {
    bool done;
    int rc;
    struct nsm_reply *reply;
};
void agent_nsm_done(void *ctx, int rc, struct nsm_reply *reply);
int agent_nsm_wait(struct agent *agent, struct agent_nsm_wait *wait, struct err *e);
void agent_nsm_release(struct agent_nsm_wait *wait);

/* The same for the registry. */
struct agent_registry_wait {
    bool done;
    int rc;
    struct err err;
};
void agent_registry_done(void *ctx, int rc, const struct err *e);
int agent_registry_wait(struct agent *agent, struct agent_registry_wait *wait, struct err *e);
int agent_registry_refresh(struct agent *agent, struct err *e);
/* Of a host whose engine is this alba's: in another's, namespaces of the same ids are not ours. */
int agent_nsm(struct agent *agent, const char *host_id, struct nsm **ret_nsm, struct err *e);

/* ---- osd.c: calls to OSDs, at Low priority, paced, with a deadline ---- */

struct agent_keys {
    struct buf bytes;    /* private */
    struct slice *items; /* into `bytes` */
    size_t count;
    bool more;
};

/* Stays where it is until agent_osd_wait(), which every started call needs. */
struct agent_osd_call {
    struct osd_call call; /* private */
    struct gather request;
    bool done;
    int rc;
    struct err err;
    struct agent_keys *keys;
};

/* The Apply is copied. An OSD that is set aside gets nothing (ERR_FAILED). */
void agent_osd_start(struct agent *agent, struct osd *osd, const struct asd_apply *apply,
                     struct agent_osd_call *call);
/* On ERR_ASSERT_FAILED *ret_failed_key (may be NULL) is the caller's to release. */
int agent_osd_wait(struct agent *agent, struct agent_osd_call *call, struct buf *ret_failed_key,
                   struct err *e);
int agent_osd_apply(struct agent *agent, struct osd *osd, const struct asd_apply *apply,
                    struct buf *ret_failed_key, struct err *e);
/* Up to `max` (<= ASD_RANGE_MAX) keys in [first, last), owned. */
int agent_osd_range(struct agent *agent, struct osd *osd, struct slice first, struct slice last,
                    unsigned max, struct agent_keys *ret_keys, struct err *e);
void agent_keys_release(struct agent_keys *keys);
/* Every claimed OSD of the registry is one that this process has an address of. */
int agent_osds_check(struct agent *agent, const struct registry_view *view, struct err *e);

/* ---- steps ---- */

/* What a namespace's steps need; pointers live while `view` is held. */
struct agent_ns {
    const struct registry_view *view;
    const struct registry_namespace *record;
    struct nsm *nsm;
    struct ns_notes *notes;
};

void agent_clean_obsolete(struct agent *agent, const struct agent_ns *ns);   /* obsolete.c */
void agent_collect(struct agent *agent, const struct agent_ns *ns);          /* collect.c */
void agent_remove_namespace(struct agent *agent, const struct agent_ns *ns); /* remove.c */
void agent_remove_unknown(struct agent *agent);                              /* unknown.c */
void agent_do_work(struct agent *agent);                                     /* work.c */
/* The live gc epochs; ERR_NOT_FOUND: there are none. (epochs.c) */
int agent_epochs_get(struct agent *agent, const struct agent_ns *ns, uint64_t *ret_oldest,
                     uint64_t *ret_current, struct err *e);
/* Ends and begins those whose time has come; *ret_oldest is the oldest that is left. (epochs.c) */
int agent_epochs_turn(struct agent *agent, const struct agent_ns *ns, uint64_t *ret_oldest,
                      struct err *e);
/* Delete every key of a namespace on an OSD. 0 and *ret_clean: nothing is left; not clean: the
 * time was up. (remove.c) */
int agent_wipe(struct agent *agent, struct osd *osd, uint64_t ns_id, bool *ret_clean,
               struct err *e);

#endif
