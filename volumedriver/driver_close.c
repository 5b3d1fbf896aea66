/* Closing a volume: its clients are cut off; when the last one is gone, or when they have had their
 * time, the volume closes, which ends what they still wait for (a write may wait for room in the
 * journal for hours); when clients and volume are gone, so is the rest. */
#include "base/check.h"
#include "base/log.h"
#include "volumedriver/backend_proxy.h"
#include "volumedriver/driver.h"

enum { MERCY_MS = 500 /* behind the end of the drain: connections are killed by then */ };

/* The volume is closed, or its clients are gone. */
static void part_done(struct driver_volume *v)
{
    struct err none = {0};

    if (--v->closing.parts != 0) {
        return;
    }
    backend_proxy_free(v->backend);
    log_info("driver", "volume closed", "name=%s", v->name);
    driver_volume_forget(v, 0, &none);
}

static void on_closed(void *ctx, int rc)
{
    struct driver_volume *v = ctx;

    if (rc != 0) {
        log_warn("driver", "volume not closed cleanly", "name=%s error=\"%s\"", v->name,
                 err_text(rc));
    }
    part_done(v);
}

static void close_once(struct driver_volume *v)
{
    if (!v->closing.started) {
        v->closing.started = true;
        volume_close(v->volume, v->closing.drain_ms, on_closed, v);
    }
}

static void on_time(uv_timer_t *timer)
{
    close_once(container_of(timer, struct driver_volume, closing.timer));
}

static void on_timer_closed(uv_handle_t *handle)
{
    part_done(container_of((uv_timer_t *)handle, struct driver_volume, closing.timer));
}

static void on_dropped(void *ctx)
{
    struct driver_volume *v = ctx;

    uv_close((uv_handle_t *)&v->closing.timer, on_timer_closed);
    close_once(v);
}

/* It never opened. Whoever waits for that waits in vain. */
static void forget_waiting(struct driver_volume *v, driver_cb done, void *ctx)
{
    struct err e;

    err_say(&e, ERR_CANCELED, "volume '%s' is being closed", v->name);
    driver_volume_forget(v, e.code, &e);
    e = (struct err){0};
    done(ctx, 0, &e);
}

int driver_volume_close(struct driver_volume *v, uint64_t drain_ms, driver_cb done, void *ctx,
                        struct err *e)
{
    struct driver *d = v->driver;
    bool waits = v->state == DRIVER_VOLUME_WAITING;

    if (d->stopping) {
        driver_volume_resize_give_up(v);
    }
    if ((v->done != NULL && !(waits && d->stopping)) || v->state == DRIVER_VOLUME_OPENING ||
        v->state == DRIVER_VOLUME_CLOSING) {
        return err_say(e, ERR_BUSY, "volume '%s' is busy with another request", v->name);
    }
    if (waits) {
        forget_waiting(v, done, ctx);
        return 0;
    }
    v->done = done;
    v->done_ctx = ctx;
    v->state = DRIVER_VOLUME_CLOSING;
    v->closing.drain_ms = drain_ms;
    v->closing.parts = 2;
    CHECK(uv_timer_init(d->loop, &v->closing.timer) == 0);
    uv_timer_start(&v->closing.timer, on_time, DRIVER_NBD_DRAIN_MS + MERCY_MS, 0);
    nbd_server_drop_export(d->nbd, &v->export, DRIVER_NBD_DRAIN_MS, on_dropped, v);
    return 0;
}
