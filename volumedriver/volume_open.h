/* Creating, opening, resizing and closing volumes: what their owner (the volume driver's
 * main, a test) calls; the block API is volumedriver/volume.h. Loop thread only. */
#ifndef VOLUMEDRIVER_VOLUME_OPEN_H
#define VOLUMEDRIVER_VOLUME_OPEN_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "loop/pool.h"
#include "volumedriver/backend.h"
#include "volumedriver/owner.h"
#include "volumedriver/uuid.h"
#include "volumedriver/volume.h"
#include "volumedriver/volume_claim.h"
#include "volumedriver/volume_host.h"

enum { VOLUME_SCO_BYTES_MIN = 1048576 };

struct volume_options {
    struct volume_host *host;
    const char *name;   /* copied */
    const char *preset; /* copied; NULL: "". Puts that hang hold up those of their preset only */
    uint8_t uuid[UUID_BYTES];
    struct backend *backend; /* of the volume's namespace; closed by the caller afterwards */
    const struct volume_owner_ops *owner;
    void *owner_ctx;
    bool read_only;
    bool accept_loss; /* open although another journal, or a damaged one, holds what is newest */
};

typedef void (*volume_open_cb)(void *ctx, struct volume *v, int rc);

/* First objects of a new volume: root, owner_tag (epoch 1) and owner, in one transaction that
 * asserts that none is there. `req` is the caller's; ERR_EXISTS when there is a volume. */
struct volume_create {
    struct err err;
    struct backend_req req; /* private */
    struct buf root;
    uint8_t tag[8];
    uint8_t owner[OWNER_BYTES];
    void (*cb)(struct volume_create *create, int rc);
};
void volume_create(struct backend *backend, struct volume_create *create,
                   const uint8_t uuid[UUID_BYTES], uint64_t size_bytes, uint32_t sco_bytes,
                   void (*cb)(struct volume_create *create, int rc));

/* `cb` gets 0; or why not (volume_error() says more), and the volume is gone when it returns. Not
 * from inside the call. A volume with damage opens and is read only (volume_state() says so).
 * Close only behind `cb`. */
struct volume *volume_open(const struct volume_options *options, volume_open_cb cb, void *ctx);
const struct err *volume_error(const struct volume *v); /* why it is not VOLUME_RUNNING */
/* How long the oldest write has been on its way into the journal; 0: none is. */
uint64_t volume_wait_ms(const struct volume *v);

/* No new requests; those under way end. Then up to drain_ms to upload everything and write a
 * checkpoint; what is left stays in the journal. Then `cb`; the volume is gone. */
void volume_close(struct volume *v, uint64_t drain_ms, volume_close_cb cb, void *ctx);

/* Upload all that is acknowledged by now; `cb` when it is in the committed prefix, or the
 * volume stops. */
struct volume_drain {
    struct list link;
    uint64_t seq;
    void (*cb)(struct volume_drain *drain, int rc);
};
void volume_drain(struct volume *v, struct volume_drain *drain,
                  void (*cb)(struct volume_drain *drain, int rc));

/* Larger only; a multiple of a cluster. Durable when `cb` gets 0. One at a time. */
struct volume_resize {
    struct err err;
    uint64_t size_bytes; /* private */
    void (*cb)(struct volume_resize *resize, int rc);
};
int volume_resize(struct volume *v, struct volume_resize *resize, uint64_t size_bytes,
                  void (*cb)(struct volume_resize *resize, int rc));

#endif
