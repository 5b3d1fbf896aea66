/* A namespace while a request works on it: its record, preset and namespace manager.
 *
 * Loop thread only. */
#ifndef PROXY_NAMESPACE_H
#define PROXY_NAMESPACE_H

#include <stdbool.h>

#include "base/slice.h"
#include "meta/nsm.h"
#include "meta/registry_view.h"
#include "proxy/engine.h"

/* Pointers live until ns_drop(). */
struct ns_use {
    const struct registry_view *view; /* held */
    const struct registry_namespace *ns;
    const struct preset *preset;
    struct nsm *nsm;
};

typedef void (*ns_cb)(void *ctx, int rc, const struct err *e);

struct ns_open { /* the caller fills in all but the last */
    struct engine *engine;
    struct slice name;      /* borrowed until the callback */
    bool fresh;             /* as the registry is now */
    struct ns_use *ret_use; /* set on success */
    ns_cb cb;
    void *ctx;
    struct later_item later; /* private */
};

/* Look it up in the present view of the registry, and when it is not there (or `fresh`) in a
 * fresh one. `cb` runs once, later: 0, ERR_NOT_FOUND, or why the registry cannot be read. */
void ns_open(struct ns_open *open);
void ns_drop(struct ns_use *use); /* accepts {0} */

#endif
