/* Volumes of the driver: opened, served, opened again after a failure; driver_close.c closes them.
 *
 *   WAITING -> OPENING -> OPEN -> CLOSING -> gone
 *      ^----------'  (the backend or the registry does not answer; anything else stays WAITING
 *                     with its error and is tried again, too, but rarely)
 *
 * Volumes that were never tried come first: those that fail go to the end of the list, and trying
 * again takes half of the places at most. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/backend_proxy.h"
#include "volumedriver/driver.h"

enum { REOPEN_LONG_MS = 60000 }; /* for what does not seem to heal by itself */

void driver_volume_finish(struct driver_volume *v, int rc, const struct err *e)
{
    driver_cb done = v->done;

    v->done = NULL;
    if (done != NULL) {
        done(v->done_ctx, rc, e);
    }
}

/* ---- open ---- */

struct driver_volume *driver_volume_find(const struct driver *d, const char *name)
{
    struct driver_volume *v;

    HASH_FIND_STR(d->by_name, name, v);
    return v;
}

struct driver_volume *driver_volume_find_uuid(const struct driver *d,
                                              const uint8_t uuid[UUID_BYTES])
{
    struct driver_volume *v;

    HASH_FIND(by_key, d->by_uuid, uuid, UUID_BYTES, v);
    return v;
}

void driver_volume_forget(struct driver_volume *v, int rc, const struct err *e)
{
    HASH_DEL(v->driver->by_name, v);
    if (v->has_key) {
        HASH_DELETE(by_key, v->driver->by_uuid, v);
    }
    list_remove(&v->link);
    driver_volume_finish(v, rc, e);
    free(v);
}

/* What cannot be opened at all fails before anybody waits for it. */
static int check_uuid(const char *name, const char *uuid, uint8_t ret_bytes[UUID_BYTES],
                      struct err *e)
{
    return hex_decode_uuid(ret_bytes, uuid) == 0
               ? 0
               : err_set(e, ERR_CORRUPT, "volume '%s': uuid '%s' in the registry", name, uuid);
}

static int add(struct driver *d, const struct registry_volume *record, bool take, driver_cb done,
               void *ctx, struct err *e)
{
    struct driver_volume *v;
    uint8_t uuid[UUID_BYTES];
    int rc = done != NULL ? check_uuid(record->name, record->uuid, uuid, e) : 0;

    if (rc != 0) {
        return rc;
    }
    if (d->stopping) { /* nothing is opened any more */
        return err_say(e, ERR_CANCELED, "volume '%s': the driver is stopping", record->name);
    }
    v = mem_zalloc(sizeof(*v));
    v->driver = d;
    v->take = v->is_foreign = take;
    v->done = done;
    v->done_ctx = ctx;
    v->size_bytes = record->size_bytes;
    snprintf(v->name, sizeof(v->name), "%s", record->name);
    snprintf(v->uuid, sizeof(v->uuid), "%s", record->uuid);
    snprintf(v->preset, sizeof(v->preset), "%s", record->preset);
    list_push(&d->volumes, &v->link);
    HASH_ADD_STR(d->by_name, name, v);
    v->has_key =
        hex_decode_uuid(v->key, v->uuid) == 0 && driver_volume_find_uuid(d, v->key) == NULL;
    if (v->has_key) {
        HASH_ADD(by_key, d->by_uuid, key, UUID_BYTES, v);
    }
    driver_open_waiting(d);
    return 0;
}

int driver_volume_add(struct driver *d, const struct registry_volume *record, driver_cb done,
                      void *ctx, struct err *e)
{
    return add(d, record, false, done, ctx, e);
}

int driver_volume_add_foreign(struct driver *d, const struct registry_volume *record,
                              driver_cb done, void *ctx, struct err *e)
{
    return add(d, record, true, done, ctx, e);
}

/* Backend and registry come back; the rest is tried less and less often, but first soon: an owner
 * may give up, and an operator may mend what was damaged. */
static uint64_t reopen_ms(struct driver_volume *v, int rc)
{
    bool heals = rc != ERR_FENCED && rc != ERR_CORRUPT && rc != ERR_VERSION && rc != ERR_IDENTITY &&
                 rc != ERR_STALE;
    uint64_t wait_ms = (uint64_t)DRIVER_REOPEN_MS << v->hopeless;

    if (heals) {
        v->hopeless = 0;
        return DRIVER_REOPEN_MS;
    }
    if (wait_ms >= REOPEN_LONG_MS) {
        return REOPEN_LONG_MS;
    }
    v->hopeless++;
    return wait_ms;
}

/* The operator's word to take it and accept a loss is for one try: hours later the owner may be
 * back and have acknowledged what another try would void. */
static void wait_again(struct driver_volume *v, int rc)
{
    v->volume = NULL;
    v->take = false;
    backend_proxy_free(v->backend);
    v->backend = NULL;
    v->state = DRIVER_VOLUME_WAITING;
    v->retry_ms = uv_now(v->driver->loop) + reopen_ms(v, rc);
    list_remove(&v->link);
    list_push(&v->driver->volumes, &v->link);
}

static void serve(struct driver_volume *v)
{
    v->state = DRIVER_VOLUME_OPEN;
    v->take = v->is_foreign = false; /* it is ours, with what it had */
    v->err = (struct err){0};
    v->size_bytes = volume_size_bytes(v->volume);
    v->export = (struct nbd_export){.name = v->name,
                                    .volume = v->volume,
                                    .worker = v->driver->worker,
                                    .size_bytes = v->size_bytes,
                                    .read_only = volume_is_readonly(v->volume)};
    log_info("driver", "volume open", "name=%s uuid=%s epoch=%u size_bytes=%llu readonly=%d",
             v->name, v->uuid, v->epoch, (unsigned long long)v->size_bytes, v->export.read_only);
}

static void on_open(void *ctx, struct volume *volume, int rc)
{
    struct driver_volume *v = ctx;
    struct driver *d = v->driver;

    d->opening--;
    d->reopening -= v->tried;
    v->tried = true;
    if (rc == 0) {
        v->volume = volume;
        v->judged = true;
        serve(v);
    } else {
        err_copy(&v->err, volume_error(volume));
        log_error("driver", "volume not open", "name=%s error=\"%s\"", v->name, v->err.msg);
        wait_again(v, rc);
    }
    if (v->is_foreign) {
        driver_volume_forget(v, rc, &v->err);
    } else {
        driver_volume_finish(v, rc, &v->err);
    }
    driver_open_waiting(d);
}

static void open_volume(struct driver_volume *v)
{
    struct driver *d = v->driver;
    struct volume_options options = {.host = &d->host,
                                     .name = v->name,
                                     .preset = v->preset,
                                     .owner = &driver_owner_ops,
                                     .owner_ctx = v,
                                     .accept_loss = v->take};

    if (check_uuid(v->name, v->uuid, options.uuid, &v->err) != 0) {
        CHECK(v->done == NULL); /* refused before */
        v->tried = true;
        v->retry_ms = uv_now(d->loop) + REOPEN_LONG_MS;
        return;
    }
    v->backend = backend_proxy_new(d->route, v->uuid);
    options.backend = v->backend;
    v->state = DRIVER_VOLUME_OPENING;
    d->opening++;
    d->reopening += v->tried;
    v->volume = volume_open(&options, on_open, v);
}

/* One that is sick may take minutes to fail: the others do not wait for it for ever. */
static void check_ready(struct driver *d)
{
    bool late = uv_now(d->loop) >= d->listed_ms + DRIVER_READY_MS;

    if (d->ready || !d->listed || d->stopping) {
        return;
    }
    LIST_FOR_EACH (it, &d->volumes) {
        const struct driver_volume *v = container_of(it, struct driver_volume, link);

        if (!v->tried && !late) {
            return;
        }
    }
    d->ready = true;
    d->on_ready(d);
}

static bool may_open(const struct driver *d, const struct driver_volume *v)
{
    return v->state == DRIVER_VOLUME_WAITING && v->retry_ms <= uv_now(d->loop) && !d->stopping &&
           d->opening < DRIVER_OPENING_MAX && (!v->tried || d->reopening < DRIVER_OPENING_MAX / 2);
}

void driver_open_waiting(struct driver *d)
{
    LIST_FOR_EACH (it, &d->volumes) {
        struct driver_volume *v = container_of(it, struct driver_volume, link);

        if (may_open(d, v)) {
            open_volume(v);
        }
    }
    check_ready(d);
}

int driver_volume_take(struct driver_volume *v, driver_cb done, void *ctx, struct err *e)
{
    uint8_t uuid[UUID_BYTES];

    if (v->state != DRIVER_VOLUME_WAITING || v->done != NULL) {
        return err_say(e, ERR_BUSY, "volume '%s' is busy with another request", v->name);
    }
    if (v->driver->stopping) {
        return err_say(e, ERR_CANCELED, "volume '%s': the driver is stopping", v->name);
    }
    if (check_uuid(v->name, v->uuid, uuid, e) != 0) {
        return e->code;
    }
    v->take = true;
    v->retry_ms = 0;
    v->done = done;
    v->done_ctx = ctx;
    driver_open_waiting(v->driver);
    return 0;
}
