/* Asking an OSD who it is and whose it is, and claiming it. Claim keys: wire/PROTOCOL.md.
 *
 * Connects for the one question. Loop thread only; answered once, later. */
#ifndef META_OSD_IDENTITY_H
#define META_OSD_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/err.h"
#include "net/addr.h"

/* Owner of an ASD that holds metadata: nobody's storage. */
#define OSD_OWNER_METADATA "alba-metadata"

struct net_tls; /* net/tls.h */

struct osd_identity {
    const char *long_id;
    const char *owner; /* alba id, OSD_OWNER_METADATA, or "" when it is free */
    uint64_t used_bytes;
    uint64_t capacity_bytes;
};

/* *identity is valid during the callback; after a failed claim with ERR_EXISTS it has the owner. */
typedef void (*osd_identity_cb)(void *ctx, int rc, const struct err *e,
                                const struct osd_identity *identity);

struct osd_question { /* copied */
    struct net_addr addr;
    struct net_tls *tls; /* who we are, for an address that speaks TLS; may be NULL */
    const char *long_id; /* ERR_IDENTITY: another answers. NULL: whatever does */
    const char *claimer; /* NULL: only ask */
    unsigned timeout_ms;
};

/* With a `claimer`, its claim is written, in one Apply that asserts that there is none. 0 also when
 * it is the claimer's already; ERR_EXISTS: another's. */
void osd_ask(uv_loop_t *loop, const struct osd_question *question, osd_identity_cb cb, void *ctx);

#endif
