/* A crash in the middle of a delete leaves the record DELETING, and perhaps no note: such a volume
 * is not opened, so nobody would ever take what the journal holds of it, and its records would keep
 * the ring from going round for all others. So the delete is finished without being asked again. */
#include "volumedriver/driver_finish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/driver.h"

enum { AGAIN_FIRST_MS = 1000, AGAIN_MAX_MS = 60000 }; /* each twice the one before */

struct unfinished {
    struct list link; /* driver.unfinished */
    struct driver *d;
    char name[REGISTRY_VOLUME_NAME_BYTES];
    char uuid[RND_UUID_TEXT_BYTES];
    uint64_t due_ms;
    uint64_t again_ms;
    bool under_way;
};

static void end(struct unfinished *u)
{
    list_remove(&u->link);
    free(u);
}

static void on_deleted(void *ctx, int rc, const struct err *e)
{
    struct unfinished *u = ctx;

    u->under_way = false;
    u->due_ms = uv_now(u->d->loop) + u->again_ms;
    u->again_ms = u->again_ms < AGAIN_MAX_MS / 2 ? 2 * u->again_ms : AGAIN_MAX_MS;
    if (rc == 0) {
        log_info("driver", "unfinished delete ended", "name=%s", u->name);
    } else if (rc != ERR_NOT_FOUND) { /* somebody else ended it */
        log_warn("driver", "unfinished delete, trying again", "name=%s error=\"%s\"", u->name,
                 e->msg);
        return;
    }
    end(u);
}

void driver_finish_add(struct driver *d, const struct registry_volume *record)
{
    struct unfinished *u;

    LIST_FOR_EACH (it, &d->unfinished) { /* the list may be read more than once */
        if (strcmp(container_of(it, struct unfinished, link)->uuid, record->uuid) == 0) {
            return;
        }
    }
    u = mem_zalloc(sizeof(*u));
    u->d = d;
    u->again_ms = AGAIN_FIRST_MS;
    snprintf(u->name, sizeof(u->name), "%s", record->name);
    snprintf(u->uuid, sizeof(u->uuid), "%s", record->uuid);
    list_push(&d->unfinished, &u->link);
}

void driver_finish_deletes(struct driver *d)
{
    LIST_FOR_EACH_SAFE (it, &d->unfinished) {
        struct unfinished *u = container_of(it, struct unfinished, link);

        if (!u->under_way && uv_now(d->loop) >= u->due_ms) {
            u->under_way = true;
            driver_delete_unfinished(d, u->name, u->uuid, on_deleted, u);
        }
    }
}

void driver_finish_forget(struct driver *d)
{
    LIST_FOR_EACH_SAFE (it, &d->unfinished) {
        struct unfinished *u = container_of(it, struct unfinished, link);

        CHECK(!u->under_way);
        end(u);
    }
}
