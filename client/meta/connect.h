/* A daemon's way to its registry: open the engine that the configuration names and read
 * the registry, again and again until it answers. Loop thread only. */
#ifndef META_CONNECT_H
#define META_CONNECT_H

#include <stdbool.h>

#include <uv.h>

#include "base/err.h"
#include "meta/registry.h"

enum { CONNECT_RETRY_MS = 1000, CONNECT_POLL_MS = 2000 };

struct connect;
/* rc 0: the registry was read. Otherwise trying again would not help (*e says why). */
typedef void (*connect_cb)(void *ctx, int rc, const struct err *e);

struct connect {
    struct registry *registry; /* out; the connect's own until connect_close() */

    uv_timer_t retry; /* private */
    bool is_closing;
    bool is_done;
    connect_cb cb;
    void (*close_cb)(void *ctx);
    void *ctx;
    void *close_ctx;
};

/* `where` and `tls` as in kv_open(). Non-zero: nothing was opened, `cb` will not run. */
int connect_start(struct connect *connect, uv_loop_t *loop, const char *where, struct net_tls *tls,
                  connect_cb cb, void *ctx, struct err *e);
/* Closes the registry too; before `cb` has run or after. */
void connect_close(struct connect *connect, void (*cb)(void *ctx), void *ctx);

#endif
