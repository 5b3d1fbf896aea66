/* Making a volume:
 *
 *   registry fresh -> record CREATING -> namespace -> root and owner_tag -> record READY -> open
 *
 * A crash leaves the record CREATING; a create of the same name, size and preset goes on from
 * there, a delete takes it away. When a step is refused for good, what this create made is removed:
 * it becomes DELETING, which driver_finish.c ends when something comes between. What was there
 * before stays: a registry that was recovered may hold a record older than its disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "policy/preset.h"
#include "volumedriver/backend_proxy.h"
#include "volumedriver/driver.h"
#include "volumedriver/driver_finish.h"

struct create {
    struct driver *d;
    struct registry_volume record;
    struct backend *backend;
    struct volume_create objects;
    uint8_t uuid[UUID_BYTES];
    bool made_record;
    bool made_namespace;
    struct err err;
    driver_cb done;
    void *ctx;
};

static void end(struct create *c, int rc, const struct err *e)
{
    struct driver *d = c->d;
    driver_cb done = c->done;
    void *ctx = c->ctx;
    struct err copy = *e;

    if (c->backend != NULL) {
        backend_proxy_free(c->backend);
    }
    registry_volume_release(&c->record);
    free(c);
    d->operations--;
    done(ctx, rc, &copy);
}

/* ---- undo ---- */

static void on_record_gone(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct create *c = ctx;

    (void)e;
    (void)record;
    if (rc != 0 && rc != ERR_NOT_FOUND) {
        driver_finish_add(c->d, &c->record);
    }
    end(c, c->err.code, &c->err);
}

static void on_namespace_gone(void *ctx, int rc, const struct err *e)
{
    struct create *c = ctx;

    if (rc != 0 && rc != ERR_NOT_FOUND) { /* the record says that it is to go */
        on_record_gone(c, rc, e, NULL);
        return;
    }
    registry_volume_delete(c->d->connect.registry, &c->record, on_record_gone, c);
}

static void on_deleting(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct create *c = ctx;

    if (rc != 0) { /* perhaps another create went on with it: then it is not ours to take away */
        log_warn("driver", "what a failed create left stays", "volume=%s why=\"%s\"",
                 c->record.name, e->msg);
        end(c, c->err.code, &c->err);
        return;
    }
    registry_volume_move(&c->record, record);
    backend_namespace_delete(c->d->route, c->record.uuid, on_namespace_gone, c);
}

static void undo(struct create *c, const struct err *why)
{
    err_copy(&c->err, why);
    c->record.state = REGISTRY_VOLUME_DELETING;
    registry_volume_put(c->d->connect.registry, &c->record, on_deleting, c);
}

/* ---- steps ---- */

static void on_open(void *ctx, int rc, const struct err *e)
{
    end(ctx, rc, e);
}

static void on_ready(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct create *c = ctx;
    struct err why;

    if (rc != 0) {
        end(c, rc, e);
        return;
    }
    registry_volume_move(&c->record, record);
    rc = driver_volume_add(c->d, &c->record, on_open, c, &why);
    if (rc != 0) {
        end(c, rc, &why);
    }
}

static void on_objects(struct volume_create *objects, int rc)
{
    struct create *c = container_of(objects, struct create, objects);

    if ((rc == ERR_NO_POLICY || rc == ERR_FULL) && c->made_record && c->made_namespace) {
        undo(c, &objects->err);
        return;
    }
    if (rc != 0 && rc != ERR_EXISTS) {
        end(c, rc, &objects->err);
        return;
    }
    c->record.state = REGISTRY_VOLUME_READY;
    registry_volume_put(c->d->connect.registry, &c->record, on_ready, c);
}

static void on_namespace(void *ctx, int rc, const struct err *e)
{
    struct create *c = ctx;

    if (rc != 0 && rc != ERR_EXISTS) {
        end(c, rc, e);
        return;
    }
    c->made_namespace = rc == 0;
    c->backend = backend_proxy_new(c->d->route, c->record.uuid);
    volume_create(c->backend, &c->objects, c->uuid, c->record.size_bytes, DRIVER_SCO_BYTES,
                  on_objects);
}

static void make_namespace(struct create *c)
{
    struct err e;

    if (hex_decode_uuid(c->uuid, c->record.uuid) != 0) {
        err_set(&e, ERR_CORRUPT, "uuid '%s' in the registry", c->record.uuid);
        end(c, e.code, &e);
        return;
    }
    backend_namespace_create(c->d->route, c->record.uuid, c->record.preset, on_namespace, c);
}

static void on_recorded(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct create *c = ctx;

    if (rc != 0) {
        end(c, rc, e);
        return;
    }
    registry_volume_move(&c->record, record);
    c->made_record = true;
    make_namespace(c);
}

/* There is a record of that name, or none. */
static void on_looked_up(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct create *c = ctx;
    struct err why;

    if (rc == ERR_NOT_FOUND) {
        registry_volume_create(c->d->connect.registry, &c->record, on_recorded, c);
        return;
    }
    if (rc != 0) {
        end(c, rc, e);
        return;
    }
    if (record->state != REGISTRY_VOLUME_CREATING || record->size_bytes != c->record.size_bytes ||
        strcmp(record->preset, c->record.preset) != 0) {
        err_say(&why, ERR_EXISTS, "volume '%s' exists already", c->record.name);
        end(c, why.code, &why);
        return;
    }
    registry_volume_move(&c->record, record);
    make_namespace(c);
}

static int check_preset(struct create *c, struct err *e)
{
    const struct registry_view *view = registry_view(c->d->connect.registry);
    const struct preset *preset = registry_view_preset_find(view, c->record.preset);

    if (preset == NULL) {
        return err_say(e, ERR_NOT_FOUND, "preset '%s' does not exist; see alba list-presets",
                       c->record.preset);
    }
    if (!preset_allows_checksum(preset, PRESET_CHECKSUM_CRC32C)) {
        return err_say(e, ERR_CONFIG, "preset '%s' does not allow object checksum crc-32c",
                       preset->name);
    }
    snprintf(c->record.preset, sizeof(c->record.preset), "%s", preset->name);
    return 0;
}

static void on_refreshed(void *ctx, int rc, const struct err *e)
{
    struct create *c = ctx;
    struct err why;

    if (rc == 0) {
        rc = check_preset(c, &why);
        e = &why;
    }
    if (rc != 0) {
        end(c, rc, e);
        return;
    }
    registry_volume_get(c->d->connect.registry, c->record.name, on_looked_up, c);
}

/* ---- arguments ---- */

_Static_assert((int)REGISTRY_VOLUME_BYTES_UNIT == (int)VOLUME_CLUSTER_BYTES, "whole clusters");

static int check_arguments(const char *name, uint64_t size_bytes, const char *preset, struct err *e)
{
    if (strlen(preset) >= REGISTRY_VOLUME_NAME_BYTES) {
        return err_say(e, -EINVAL, "preset name '%.40s…' is too long", preset);
    }
    return registry_volume_check_new(name, size_bytes, e);
}

int driver_create(struct driver *d, const char *name, uint64_t size_bytes, const char *preset,
                  driver_cb done, void *ctx, struct err *e)
{
    struct create *c;
    int rc;

    if (preset[0] == '\0' && d->config->default_preset != NULL) {
        preset = d->config->default_preset;
    }
    rc = check_arguments(name, size_bytes, preset, e);
    if (rc != 0) {
        return rc;
    }
    c = mem_zalloc(sizeof(*c));
    c->d = d;
    c->done = done;
    c->ctx = ctx;
    c->record.size_bytes = size_bytes;
    c->record.state = REGISTRY_VOLUME_CREATING;
    snprintf(c->record.name, sizeof(c->record.name), "%s", name);
    snprintf(c->record.preset, sizeof(c->record.preset), "%s", preset);
    rnd_uuid_text(c->record.uuid);
    d->operations++;
    registry_refresh(d->connect.registry, on_refreshed, c);
    return 0;
}
