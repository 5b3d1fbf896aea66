/* A volume was taken from us: what our journal holds of it can never count again. FORMAT.md,
 * section 3: its `owner` names another journal and a higher epoch, so whoever opens it, we too,
 * gets a `since` above all that we wrote. Until somebody says so, those records pin the ring for
 * all other volumes; here nobody opens it, and nobody may delete it here.
 *
 * The one proof that is taken is `owner` itself, in the volume's namespace. What the registry says
 * proves nothing, nor does a namespace that is not found; a record of that epoch or a higher one
 * says that the backend was restored to an older state. */
#include "volumedriver/driver_moved.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/backend_proxy.h"
#include "volumedriver/driver.h"
#include "volumedriver/owner.h"
#include "volumedriver/volume_host.h"
#include "volumedriver/volume_past.h"

enum { AGAIN_MS = 10000 };

struct moved {
    struct driver *d;
    uint8_t uuid[UUID_BYTES];
    char text[RND_UUID_TEXT_BYTES];
    struct backend *backend;
    struct backend_req req;
    struct backend_slice slice;
    uint8_t owner[OWNER_BYTES];
};

static bool is_fenced(const struct driver_volume *v)
{
    return v->state == DRIVER_VOLUME_OPEN && volume_state(v->volume) == VOLUME_FENCED;
}

static void on_closed(void *ctx, int rc, const struct err *e)
{
    struct driver *d = ctx;

    (void)rc;
    (void)e;
    d->moved_ms = 0; /* its records are looked at again */
}

static void let_go(struct moved *m, const struct owner *owner)
{
    struct driver *d = m->d;
    struct driver_volume *v = driver_volume_find_uuid(d, m->uuid);
    struct err e;

    if (v == NULL) {
        log_info("driver", "journal records of a volume that another journal has, dropped",
                 "uuid=%s epoch=%" PRIu32, m->text, owner->epoch);
        volume_past_forget(&d->host, m->uuid);
    } else if (is_fenced(v) && owner->epoch > v->epoch &&
               driver_volume_close(v, 0, on_closed, d, &e) == 0) {
        log_info("driver", "fenced volume closed: another journal has it", "name=%s", v->name);
    }
}

static void on_owner(struct backend_req *req, int rc)
{
    struct moved *m = container_of(req, struct moved, req);
    struct driver *d = m->d;
    struct owner owner;

    if (rc == 0) {
        rc = owner_decode(m->owner, OWNER_BYTES, m->uuid, &owner, &req->err);
    }
    if (rc == 0 && !d->stopping && memcmp(owner.journal, journal_id(d->journal), UUID_BYTES) != 0 &&
        owner.epoch > volume_past_epoch(&d->host, m->uuid)) {
        let_go(m, &owner);
    }
    backend_proxy_free(m->backend);
    free(m);
    d->moving = false;
    d->operations--;
}

static void look(struct driver *d, const uint8_t uuid[UUID_BYTES])
{
    struct moved *m = mem_zalloc(sizeof(*m));

    m->d = d;
    memcpy(m->uuid, uuid, UUID_BYTES);
    hex_encode_uuid(m->text, uuid);
    m->backend = backend_proxy_new(d->route, m->text);
    m->slice = (struct backend_slice){.bytes = OWNER_BYTES, .data = m->owner};
    d->moving = true;
    d->operations++;
    backend_read_fresh(m->backend, &m->req, OWNER_NAME, &m->slice, on_owner);
}

struct candidate { /* the first one behind that of the last time, or the first of all */
    const struct driver *d;
    uint8_t next[UUID_BYTES], lowest[UUID_BYTES];
    bool has_next, has_lowest;
};

static void take_lower(uint8_t lowest[UUID_BYTES], bool *has, const uint8_t uuid[UUID_BYTES])
{
    if (!*has || memcmp(uuid, lowest, UUID_BYTES) < 0) {
        memcpy(lowest, uuid, UUID_BYTES);
        *has = true;
    }
}

static void on_pin(void *ctx, const uint8_t uuid[UUID_BYTES])
{
    struct candidate *c = ctx;
    const struct driver_volume *v = driver_volume_find_uuid(c->d, uuid);

    if (v != NULL && !is_fenced(v)) {
        return;
    }
    take_lower(c->lowest, &c->has_lowest, uuid);
    if (memcmp(uuid, c->d->moved_uuid, UUID_BYTES) > 0) {
        take_lower(c->next, &c->has_next, uuid);
    }
}

void driver_moved_watch(struct driver *d)
{
    struct candidate c = {.d = d};
    uint64_t now = uv_now(d->loop);

    if (d->moving || !d->listed || !d->full_told || now < d->moved_ms) {
        return;
    }
    volume_host_pins(&d->host, on_pin, &c);
    if (c.has_lowest) {
        d->moved_ms = now + AGAIN_MS;
        memcpy(d->moved_uuid, c.has_next ? c.next : c.lowest, UUID_BYTES);
        look(d, d->moved_uuid);
    }
}
