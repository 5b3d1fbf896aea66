/* Deleting a volume:
 *
 *   no client has it -> record DELETING -> clients cut off, volume closed
 *   -> namespace deleted -> note -> record gone
 *
 * A crash leaves the record DELETING; a delete goes on from there (driver_finish.c asks for it).
 * The note (home/deleted/UUID) lets the next start drop what the journal still holds of it: only
 * what was deleted for sure is dropped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hex.h"
#include "base/mem.h"
#include "loop/io.h"
#include "volumedriver/backend_proxy.h"
#include "volumedriver/driver.h"
#include "volumedriver/driver_notes.h"
#include "volumedriver/volume_past.h"

enum { UNUSED_TRIES = 40, UNUSED_STEP_MS = 50 }; /* a client that has just left still shows */

struct removal {
    struct driver *d;
    struct registry_volume record;
    char unfinished[RND_UUID_TEXT_BYTES]; /* only this one, and only when it is DELETING */
    uv_timer_t timer;
    unsigned tries;
    int rc;
    struct err err;
    driver_cb done;
    void *ctx;
};

static void on_end(uv_handle_t *handle)
{
    struct removal *r = container_of((uv_timer_t *)handle, struct removal, timer);

    r->d->operations--;
    r->done(r->ctx, r->rc, &r->err);
    free(r);
}

static void end(struct removal *r, int rc, const struct err *e)
{
    r->rc = rc;
    r->err = *e;
    registry_volume_release(&r->record);
    uv_close((uv_handle_t *)&r->timer, on_end);
}

static void on_record_gone(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    (void)record;
    end(ctx, rc == ERR_NOT_FOUND ? 0 : rc, e);
}

static void on_namespace_gone(void *ctx, int rc, const struct err *e)
{
    struct removal *r = ctx;
    uint8_t uuid[UUID_BYTES];
    struct err why;

    if (rc != 0 && rc != ERR_NOT_FOUND) {
        end(r, rc, e);
        return;
    }
    rc = driver_note_deleted(r->d->config->home, r->record.uuid, &why);
    if (rc != 0) {
        end(r, rc, &why);
        return;
    }
    if (hex_decode_uuid(uuid, r->record.uuid) == 0) {
        volume_past_forget(&r->d->host, uuid);
    }
    registry_volume_delete(r->d->connect.registry, &r->record, on_record_gone, r);
}

static void on_closed(void *ctx, int rc, const struct err *e)
{
    struct removal *r = ctx;

    if (rc != 0) {
        end(r, rc, e);
        return;
    }
    backend_namespace_delete(r->d->route, r->record.uuid, on_namespace_gone, r);
}

static void on_deleting(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct removal *r = ctx;
    struct driver_volume *v = driver_volume_find(r->d, r->record.name);
    struct err why;

    if (rc != 0) {
        end(r, rc, e);
        return;
    }
    registry_volume_move(&r->record, record);
    if (v == NULL) {
        on_closed(r, 0, e);
        return;
    }
    rc = driver_volume_close(v, 0, on_closed, r, &why);
    if (rc != 0) {
        end(r, rc, &why);
    }
}

static int check_owner(const struct removal *r, const struct registry_volume *record, struct err *e)
{
    if (record->epoch != 0 && strcmp(record->owner, r->d->config->driver_id) != 0) {
        return err_say(e, ERR_FENCED, "volume '%s' belongs to driver '%s': delete it there",
                       record->name, record->owner);
    }
    return 0;
}

static void on_unused_tick(uv_timer_t *timer);

/* Whoever has it open would lose his disk. */
static void start_deleting(struct removal *r)
{
    const struct driver_volume *v = driver_volume_find(r->d, r->record.name);
    struct err e;

    if (v != NULL && v->state == DRIVER_VOLUME_OPEN && v->export.attached != 0) {
        if (r->tries++ < UNUSED_TRIES) {
            uv_timer_start(&r->timer, on_unused_tick, UNUSED_STEP_MS, 0);
            return;
        }
        err_say(&e, ERR_BUSY, "volume '%s' is in use: %u NBD connections from %s", v->name,
                v->export.attached, v->export.host.text);
        end(r, e.code, &e);
        return;
    }
    r->record.state = REGISTRY_VOLUME_DELETING;
    registry_volume_put(r->d->connect.registry, &r->record, on_deleting, r);
}

static void on_unused_tick(uv_timer_t *timer)
{
    start_deleting(container_of(timer, struct removal, timer));
}

/* The name may be another volume's by now. */
static int check_unfinished(const struct removal *r, const struct registry_volume *record,
                            struct err *e)
{
    if (r->unfinished[0] != '\0' &&
        (record->state != REGISTRY_VOLUME_DELETING || strcmp(record->uuid, r->unfinished) != 0)) {
        return err_say(e, ERR_NOT_FOUND, "volume '%s' was deleted meanwhile", record->name);
    }
    return 0;
}

static void on_looked_up(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct removal *r = ctx;
    struct err why;

    if (rc == 0) {
        rc = check_unfinished(r, record, &why);
        rc = rc != 0 ? rc : check_owner(r, record, &why);
        e = &why;
    }
    if (rc != 0) {
        end(r, rc, e);
        return;
    }
    registry_volume_move(&r->record, record);
    start_deleting(r);
}

void driver_delete_unfinished(struct driver *d, const char *name, const char *uuid, driver_cb done,
                              void *ctx)
{
    struct removal *r = mem_zalloc(sizeof(*r));

    r->d = d;
    r->done = done;
    r->ctx = ctx;
    snprintf(r->record.name, sizeof(r->record.name), "%s", name);
    snprintf(r->unfinished, sizeof(r->unfinished), "%s", uuid);
    CHECK(uv_timer_init(d->loop, &r->timer) == 0);
    d->operations++;
    registry_volume_get(d->connect.registry, name, on_looked_up, r);
}

void driver_delete(struct driver *d, const char *name, driver_cb done, void *ctx)
{
    driver_delete_unfinished(d, name, "", done, ctx);
}
