/* The volume driver as a whole: what main() starts and stops, and what the management API asks.
 *
 * One loop owns everything here: registry, proxies, journal, map, volumes, NBD. A volume
 * whose owner in the registry is this driver is opened at the start, and again and again while
 * its backend does not answer. Loop thread only. */
#ifndef VOLUMEDRIVER_DRIVER_H
#define VOLUMEDRIVER_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "meta/connect.h"
#include "meta/registry_volume.h"
#include "net/proxy_route.h"
#include "volumedriver/config.h"
#include "volumedriver/driver_volume.h"
#include "volumedriver/nbd_server.h"
#include "volumedriver/nbd_worker.h"
#include "volumedriver/uuid.h"
#include "volumedriver/volume_open.h"

enum {
    DRIVER_OPENING_MAX = 32, /* volumes opened side by side */
    DRIVER_REOPEN_MS = 3000, /* between tries */
    DRIVER_READY_MS = 20000,
    DRIVER_NBD_DRAIN_MS = 3000,
    DRIVER_VOLUME_DRAIN_MS = 10000,
    DRIVER_BACKEND_DRAIN_MS = 14000, /* then no request to a proxy is waited for any more */
    DRIVER_SCO_BYTES = 64 * 1048576,
    DRIVER_POOL_THREADS = 2,
    DRIVER_POOL_QUEUE_MAX = 4096
};

struct driver {
    uv_loop_t *loop;
    const struct driver_config *config;
    struct net_tls *tls; /* borrowed; NULL: none */
    struct connect connect;
    struct proxy_route *route;
    struct later later;
    struct pool *pool;
    struct journal *journal;
    struct map *map;
    struct volume_host host;
    struct nbd_exports exports;
    struct nbd_server *nbd;
    struct nbd_worker *worker;
    struct list volumes, unfinished; /* deletes */
    struct driver_volume *by_name, *by_uuid;
    unsigned opening;
    unsigned reopening;  /* of them, those that failed before */
    unsigned operations; /* creates and deletes under way */
    uv_timer_t timer;    /* opens what waits */
    bool listed;         /* the registry's list was read once */
    uint64_t listed_ms;
    bool ready; /* every volume of ours was tried once, or has had DRIVER_READY_MS */
    bool stopping;
    void (*on_ready)(struct driver *d);
    void (*on_failed)(struct driver *d, const struct err *e); /* it cannot go on */
    void (*stopped)(struct driver *d);

    bool connected; /* private from here on */
    bool reachable; /* the registry has answered */
    bool timer_open, later_open, settling, full_told, moving;
    struct buf full_pins; /* driver_full.c: who was named last */
    uint64_t moved_ms;    /* driver_moved.c: not before */
    uint8_t moved_uuid[UUID_BYTES];
    uint64_t settle_ms; /* not before */
};

/* Listens for NBD clients, opens journal and map (blocks), then goes on until on_ready(). Clients
 * that come earlier are held until their volume is open. */
int driver_start(struct driver *d, uv_loop_t *loop, const struct driver_config *config,
                 struct err *e);
/* Clients are cut off, volumes upload what they can and close; then `stopped`. Also after a start
 * that failed half way. */
void driver_stop(struct driver *d, void (*stopped)(struct driver *d));

extern const struct volume_owner_ops driver_owner_ops;  /* driver_claim.c */
extern const struct nbd_exports_ops driver_exports_ops; /* driver_exports.c */

/* ---- driver_create.c, driver_delete.c, driver_take.c: each ends with `done`, later ---- */

/* Goes on where an earlier create of the same name, size and preset stopped. -EINVAL: bad
 * arguments, `done` will not come. */
int driver_create(struct driver *d, const char *name, uint64_t size_bytes, const char *preset,
                  driver_cb done, void *ctx, struct err *e);
void driver_delete(struct driver *d, const char *name, driver_cb done, void *ctx);
/* Only the volume with this UUID, and only when its record is DELETING; else ERR_NOT_FOUND. */
void driver_delete_unfinished(struct driver *d, const char *name, const char *uuid, driver_cb done,
                              void *ctx);
/* Open a volume whose owner, or whose journal, is gone for good. */
void driver_take(struct driver *d, const char *name, driver_cb done, void *ctx);

/* ---- driver_api.c ---- */

struct http_server;
struct json_t;
void driver_api_routes(struct driver *d, struct http_server *server);
struct json_t *driver_status(const struct driver *d);
struct buf;
void driver_figures(const struct driver *d, struct buf *out);

#endif
