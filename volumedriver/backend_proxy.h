/* The backend of volumes over proxies: a namespace, command 64 for transactions, verified
 * slices for reads. Loop thread only.
 *
 * Reads end with an error only when no proxy could serve them until the route's deadline. A
 * transaction waits as long for a proxy that takes it; one that was sent and not answered is in
 * doubt, and ends. */
#ifndef VOLUMEDRIVER_BACKEND_PROXY_H
#define VOLUMEDRIVER_BACKEND_PROXY_H

#include "base/err.h"
#include "volumedriver/backend.h"

enum {
    BACKEND_PROXY_APPLY_MS = 60000, /* the proxy's own deadline for a transaction */
    BACKEND_PROXY_SLACK_MS = 30000, /* how much later its answer may come */
};

struct proxy_route;
struct backend_proxy;

/* `route` is borrowed and may serve many backends. Close with backend_proxy_free() when every
 * request was answered. */
struct backend *backend_proxy_new(struct proxy_route *route, const char *namespace);
void backend_proxy_free(struct backend *backend);

struct backend_trouble {
    struct err err;    /* code 0: it is well */
    uint64_t since_us; /* since 1970 */
};
/* What ails it, for people. */
void backend_proxy_trouble(const struct backend *backend, struct backend_trouble *ret_trouble);

/* ---- the namespace itself ---- */

typedef void (*backend_namespace_cb)(void *ctx, int rc, const struct err *e);

/* ERR_EXISTS; `preset` NULL: the default one. */
void backend_namespace_create(struct proxy_route *route, const char *namespace, const char *preset,
                              backend_namespace_cb cb, void *ctx);
/* ERR_NOT_FOUND. */
void backend_namespace_delete(struct proxy_route *route, const char *namespace,
                              backend_namespace_cb cb, void *ctx);

#endif
