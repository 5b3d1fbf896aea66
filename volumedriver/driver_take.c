/* Taking a volume over from its owner: record -> closed here, if it is of no use as it is open ->
 * opened anew, with the loss accepted. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "volumedriver/driver.h"

struct take {
    struct driver *d;
    struct registry_volume record;
    driver_cb done;
    void *ctx;
};

static void end(struct take *t, int rc, const struct err *e)
{
    registry_volume_release(&t->record);
    t->d->operations--;
    t->done(t->ctx, rc, e);
    free(t);
}

static void on_opened(void *ctx, int rc, const struct err *e)
{
    end(ctx, rc, e);
}

static void on_useless_closed(void *ctx, int rc, const struct err *e)
{
    struct take *t = ctx;
    struct err why = *e;

    rc = rc != 0 ? rc : driver_volume_add_foreign(t->d, &t->record, on_opened, t, &why);
    if (rc != 0) {
        end(t, rc, &why);
    }
}

/* Also one that is ours, but does not open without its journal, is damaged or was fenced. */
static int take_over(struct take *t, struct err *e)
{
    struct driver_volume *v = driver_volume_find(t->d, t->record.name);

    if (t->record.state != REGISTRY_VOLUME_READY) {
        return err_say(e, ERR_BUSY, "volume '%s' is being created or deleted", t->record.name);
    }
    if (v == NULL) {
        return driver_volume_add_foreign(t->d, &t->record, on_opened, t, e);
    }
    if (v->state == DRIVER_VOLUME_OPEN && volume_state(v->volume) == VOLUME_RUNNING) {
        return err_say(e, ERR_EXISTS, "volume '%s' is open here already", t->record.name);
    }
    return v->state == DRIVER_VOLUME_WAITING ? driver_volume_take(v, on_opened, t, e)
                                             : driver_volume_close(v, 0, on_useless_closed, t, e);
}

static void on_looked_up(void *ctx, int rc, const struct err *e, struct registry_volume *record)
{
    struct take *t = ctx;
    struct err why;

    if (rc == 0) {
        registry_volume_move(&t->record, record);
        rc = take_over(t, &why);
        e = &why;
    }
    if (rc != 0) {
        end(t, rc, e);
    }
}

void driver_take(struct driver *d, const char *name, driver_cb done, void *ctx)
{
    struct take *t = mem_zalloc(sizeof(*t));

    t->d = d;
    t->done = done;
    t->ctx = ctx;
    d->operations++;
    registry_volume_get(d->connect.registry, name, on_looked_up, t);
}
