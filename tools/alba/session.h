/* What most verbs need: a loop, the registry behind --config, and a proxy, used one call
 * at a time. One thread; calls block until the answer is there. */
#ifndef ALBA_SESSION_H
#define ALBA_SESSION_H

#include <stdbool.h>

#include <uv.h>

#include "base/err.h"
#include "meta/registry.h"
#include "net/blocking.h"
#include "net/proxy_client.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

struct cli;

/* Error codes that programs look at, of older software. */
enum session_mgr_code {
    MGR_UNKNOWN = 1,
    MGR_NSM_HOST_EXISTS = 3,
    MGR_NSM_HOST_UNKNOWN = 4,
    MGR_NAMESPACE_EXISTS = 5,
    MGR_NAMESPACE_NOT_FOUND = 6,
    MGR_OSD_EXISTS = 7,
    MGR_OSD_DECOMMISSIONED = 8,
    MGR_OSD_UNKNOWN = 10,
    MGR_OSD_CLAIMED = 11,
    MGR_PRESET_NOT_FOUND = 13,
    MGR_PRESET_EXISTS = 14,
    MGR_PRESET_IS_DEFAULT = 15,
    MGR_PRESET_IN_USE = 16,
    MGR_PRESET_INVALID = 17
};

struct session {
    uv_loop_t loop;
    struct net_tls *tls; /* --tls; NULL: none */
    struct kv *kv;
    struct registry *registry;
    struct proxy_client *proxy;
    struct err err;             /* of the last call that failed */
    unsigned attempts;          /* to reach the metadata; 0: one */
    unsigned proxy_connections; /* 0: one */

    bool done; /* private from here on */
    int rc;
    struct blocking_reply raw; /* what the last reply points into */
    int32_t proxy_code;
};

/* A loop and nothing else. */
void session_init(struct session *s);
/* --attempts, and the files that --tls names, if it is there: before all that connects. */
int session_take_options(struct session *s, struct cli *cli);
/* Opens `config` (NULL: refused with a hint) and loads the registry. */
int session_open_registry(struct session *s, const char *config);
/* The same for a verb; a failure is in cli->err. */
int session_open(struct session *s, struct cli *cli);
void session_close(struct session *s); /* also after a failed open */

/* Registry calls: registry_x(s->registry, …, session_done, s); rc = session_wait(s); */
void session_done(void *ctx, int rc, const struct err *e);
int session_wait(struct session *s);
/* NULL: none of this id is registered, which cli->err says. */
const struct registry_osd *session_find_osd(struct session *s, struct cli *cli,
                                            const char *long_id);

/* Where proxies are: "tcp://…" or "unix://…". Call before session_proxy(). */
int session_use_proxy(struct session *s, const char *uri);
/* The first one that connects, then whichever does. At most PROXY_CLIENT_ENDPOINTS_MAX. */
int session_use_proxies(struct session *s, const char *const *uris, unsigned count);
void session_drop_proxy(struct session *s); /* others may be used from here on */
/* One request to the proxy. *ret_reply borrows from the session until the next call; the caller
 * releases it. Fails with s->err and s->proxy_code. */
int session_proxy(struct session *s, const struct proxy_request *request, unsigned timeout_ms,
                  struct proxy_reply *ret_reply);

/* Copy the session's error into the verb's, as an albamgr or a proxy exception. */
int session_fail_mgr(const struct session *s, struct cli *cli, int exception_code);
int session_fail_proxy(const struct session *s, struct cli *cli);

#endif
