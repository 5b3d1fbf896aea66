/* The backend of volumes over proxies: a namespace, command 64 for transactions, verified
 * slices for reads. Loop thread only. */
#ifndef VOLUMEDRIVER_BACKEND_PROXY_H
#define VOLUMEDRIVER_BACKEND_PROXY_H

#include "base/err.h"
#include "volumedriver/backend.h"
#include "volumedriver/turn.h"

enum {
    BACKEND_PROXY_READ_MS = 30000,
    BACKEND_PROXY_APPLY_MS = 60000,
    BACKEND_PROXY_SETUP_MS = 60000
};

struct proxy_client;
struct backend_proxy;

/* `proxies` and `turn` are borrowed and may serve many backends. Close with backend_proxy_free()
 * when every request was answered. */
struct backend *backend_proxy_new(struct proxy_client *proxies, struct turn *turn,
                                  const char *namespace);
void backend_proxy_free(struct backend *backend);

/* ---- the namespace itself ---- */

typedef void (*backend_namespace_cb)(void *ctx, int rc, const struct err *e);

/* ERR_EXISTS; `preset` NULL: the default one. Returns non-zero when nothing was started. */
int backend_namespace_create(struct proxy_client *proxies, const char *namespace,
                             const char *preset, backend_namespace_cb cb, void *ctx, struct err *e);
/* ERR_NOT_FOUND. */
int backend_namespace_delete(struct proxy_client *proxies, const char *namespace,
                             backend_namespace_cb cb, void *ctx, struct err *e);

#endif
