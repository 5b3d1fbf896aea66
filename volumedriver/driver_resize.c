/* Making a volume larger: its root first, then the registry's copy of the size, for lists.
 *
 * A stop does not wait for it: who asked gets ERR_CANCELED, and the volume goes on to its close
 * alone. So what a resize needs lies apart from the volume, which may be gone before it ends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/driver.h"

struct driver_resize {
    struct volume_resize volume;
    struct driver *d;
    struct driver_volume *v; /* NULL: given up */
    char name[REGISTRY_VOLUME_NAME_BYTES];
    uint64_t size_bytes;
};

/* Answers, unless that was done. */
static void end(struct driver_resize *r, int rc, const struct err *e)
{
    if (r->v != NULL) {
        r->v->resize = NULL;
        driver_volume_finish(r->v, rc, e);
    }
    free(r);
}

static void on_size_stored(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct driver_resize *r = ctx;
    struct err none = {0};

    (void)record;
    if (rc != 0) { /* the root has it; the registry's copy is for lists */
        log_warn("driver", "size not noted in the registry", "name=%s error=\"%s\"", r->name,
                 e->msg);
    }
    end(r, 0, &none);
}

static void on_record(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct driver_resize *r = ctx;
    struct err none = {0};

    if (rc != 0) {
        on_size_stored(r, rc, e, record);
    } else if (r->v == NULL) {
        end(r, 0, &none);
    } else {
        record->size_bytes = r->size_bytes;
        registry_volume_put(r->d->connect.registry, record, on_size_stored, r);
    }
}

static void on_resized(struct volume_resize *resize, int rc)
{
    struct driver_resize *r = container_of(resize, struct driver_resize, volume);
    struct driver_volume *v = r->v;

    if (rc != 0 || v == NULL) {
        end(r, rc, &resize->err);
        return;
    }
    r->size_bytes = v->size_bytes = volume_size_bytes(v->volume);
    v->export.size_bytes = v->size_bytes;
    registry_volume_get(r->d->connect.registry, v->name, on_record, r);
}

void driver_volume_resize_give_up(struct driver_volume *v)
{
    struct err e;

    if (v->resize != NULL) {
        v->resize->v = NULL;
        v->resize = NULL;
        err_say(&e, ERR_CANCELED,
                "volume '%s': the driver is stopping; look later which size it has", v->name);
        driver_volume_finish(v, e.code, &e);
    }
}

int driver_volume_resize(struct driver_volume *v, uint64_t size_bytes, driver_cb done, void *ctx,
                         struct err *e)
{
    struct driver_resize *r;
    int rc;

    if (v->state != DRIVER_VOLUME_OPEN || v->done != NULL) {
        return err_say(e, ERR_BUSY, "volume '%s' is not open, or busy with another request",
                       v->name);
    }
    if (size_bytes % VOLUME_CLUSTER_BYTES != 0 || size_bytes > REGISTRY_VOLUME_BYTES_MAX) {
        return err_say(e, -EINVAL,
                       "volume '%s': size %llu: want a multiple of 4096, at most 64 TiB", v->name,
                       (unsigned long long)size_bytes);
    }
    if (size_bytes < volume_size_bytes(v->volume)) {
        return err_say(e, -EINVAL, "volume '%s' has %llu bytes and cannot be made smaller (%llu)",
                       v->name, (unsigned long long)volume_size_bytes(v->volume),
                       (unsigned long long)size_bytes);
    }
    r = mem_zalloc(sizeof(*r));
    r->d = v->driver;
    r->v = v;
    snprintf(r->name, sizeof(r->name), "%s", v->name);
    rc = volume_resize(v->volume, &r->volume, size_bytes, on_resized);
    if (rc != 0) {
        err_copy(e, &r->volume.err);
        free(r);
        return rc;
    }
    v->resize = r;
    v->done = done;
    v->done_ctx = ctx;
    return 0;
}
