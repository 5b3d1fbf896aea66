/* The driver's volumes as NBD exports. Clients may come before the volumes are open, and even
 * before the registry has said which ones there are: they are held for a while. */
#include "base/check.h"
#include "volumedriver/driver.h"

static void list_exports(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx)
{
    struct driver *d = container_of(exports, struct driver, exports);

    LIST_FOR_EACH (it, &d->volumes) {
        struct driver_volume *v = container_of(it, struct driver_volume, link);

        if (v->state == DRIVER_VOLUME_OPEN) {
            each(ctx, v->name, "");
        }
    }
}

/* "" is the only volume there is, when there is only one. */
static struct nbd_export *find_only(struct driver *d)
{
    struct driver_volume *found = NULL;
    unsigned matches = 0;

    LIST_FOR_EACH (it, &d->volumes) {
        struct driver_volume *v = container_of(it, struct driver_volume, link);

        if (v->state == DRIVER_VOLUME_OPEN) {
            found = v;
            matches++;
        }
    }
    return matches == 1 ? &found->export : NULL;
}

static struct nbd_export *find_export(struct nbd_exports *exports, const char *name)
{
    struct driver *d = container_of(exports, struct driver, exports);
    struct driver_volume *v;

    if (name[0] == '\0') {
        return d->ready ? find_only(d) : NULL; /* before that there may be others */
    }
    v = driver_volume_find(d, name);
    return v != NULL && v->state == DRIVER_VOLUME_OPEN ? &v->export : NULL;
}

static int missing_volume(const struct driver_volume *v, struct err *e)
{
    switch (v->state) {
    case DRIVER_VOLUME_WAITING:
        if (v->err.code != 0) { /* its next try may be far away */
            err_copy(e, &v->err);
            return e->code = ERR_FAILED; /* not ERR_BUSY, whatever it was */
        }
        return err_say(e, ERR_BUSY, "volume '%s' is still waiting to be opened", v->name);
    case DRIVER_VOLUME_OPENING:
        return err_say(e, ERR_BUSY, "volume '%s' is still being opened", v->name);
    default:
        return err_say(e, ERR_NOT_FOUND, "volume '%s' is being closed", v->name);
    }
}

static int missing_export(struct nbd_exports *exports, const char *name, struct err *e)
{
    struct driver *d = container_of(exports, struct driver, exports);
    const struct driver_volume *v = name != NULL ? driver_volume_find(d, name) : NULL;

    if (d->stopping) {
        return err_say(e, ERR_NOT_FOUND, "the driver is stopping");
    }
    if (v != NULL) {
        return missing_volume(v, e);
    }
    if (!d->listed) {
        return err_say(e, ERR_BUSY, "the driver is starting: the registry has not answered yet");
    }
    if (name != NULL && name[0] != '\0') {
        return err_say(e, ERR_NOT_FOUND, "no volume '%.128s' here", name);
    }
    if (!d->ready) {
        return err_say(e, ERR_BUSY, "the driver is starting: volumes are still being opened");
    }
    return name == NULL ? 0 : err_say(e, ERR_NOT_FOUND, "there is not one volume: name yours");
}

const struct nbd_exports_ops driver_exports_ops = {
    .list = list_exports, .find = find_export, .missing = missing_export};
