/* A volume of the driver: the registry's record and, when it is open here, its export. Loop thread
 * only. */
#ifndef VOLUMEDRIVER_DRIVER_VOLUME_H
#define VOLUMEDRIVER_DRIVER_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include "base/table.h"
#include "meta/registry_volume.h"
#include "volumedriver/nbd_export.h"
#include "volumedriver/uuid.h"
#include "volumedriver/volume_open.h"

struct driver;
struct driver_volume;
typedef void (*driver_cb)(void *ctx, int rc, const struct err *e);

enum driver_volume_state {
    DRIVER_VOLUME_WAITING, /* to be opened, or opened again */
    DRIVER_VOLUME_OPENING,
    DRIVER_VOLUME_OPEN,
    DRIVER_VOLUME_CLOSING
};

/* A volume of this driver. */
struct driver_volume {
    struct nbd_export export; /* valid while OPEN */
    struct driver *driver;
    struct list link; /* driver.volumes */
    char name[REGISTRY_VOLUME_NAME_BYTES];
    char uuid[RND_UUID_TEXT_BYTES];
    char preset[REGISTRY_VOLUME_NAME_BYTES];
    uint64_t size_bytes;
    uint32_t epoch; /* of the last claim */
    enum driver_volume_state state;
    bool take;       /* this try, although another driver owns it */
    bool is_foreign; /* not ours until that try succeeds */
    struct err err;  /* why it is not open */
    struct backend *backend;
    struct volume *volume; /* while OPENING, OPEN, CLOSING */
    uint64_t retry_ms;     /* when WAITING: not before */
    unsigned hopeless;     /* tries in a row that ended with what does not heal by itself */

    bool judged; /* opened once: it is whole, or its record says what is lost */

    struct volume_claim *claim; /* private from here on */
    struct volume_judgement *judgement;
    driver_cb done; /* one operation at a time: open, resize, close */
    void *done_ctx;
    struct driver_resize *resize; /* under way */
    bool tried;                   /* to open it */
    struct {
        uv_timer_t timer;
        uint64_t drain_ms;
        unsigned parts; /* volume, clients */
        bool started;
    } closing;
    UT_hash_handle hh;     /* driver.by_name */
    UT_hash_handle by_key; /* driver.by_uuid, when its UUID is one */
    uint8_t key[UUID_BYTES];
    bool has_key;
};

struct driver_volume *driver_volume_find(const struct driver *d, const char *name);
struct driver_volume *driver_volume_find_uuid(const struct driver *d,
                                              const uint8_t uuid[UUID_BYTES]);
/* Adds a volume as the registry knows it; it is opened soon. `done` (may be NULL), later, after
 * the first try. ERR_CANCELED: the driver is stopping; ERR_CORRUPT: no UUID, and somebody waits. */
int driver_volume_add(struct driver *d, const struct registry_volume *record, driver_cb done,
                      void *ctx, struct err *e);
/* The same of one that another driver owns, or that does not open without loss: taken over. */
int driver_volume_add_foreign(struct driver *d, const struct registry_volume *record,
                              driver_cb done, void *ctx, struct err *e);
/* Takes it off the list, answers who waits for it, frees it. It has no volume any more. */
void driver_volume_forget(struct driver_volume *v, int rc, const struct err *e);
/* Answers who waits for what was asked of it, if anybody. */
void driver_volume_finish(struct driver_volume *v, int rc, const struct err *e);
/* Opens what waits and may be tried. */
void driver_open_waiting(struct driver *d);
/* Tries now to open one that is WAITING, whatever is lost by that. */
int driver_volume_take(struct driver_volume *v, driver_cb done, void *ctx, struct err *e);
/* Cuts off its clients, closes it, forgets it here. ERR_BUSY: something else is under way. `done`
 * comes from in here when it was not open. */
int driver_volume_close(struct driver_volume *v, uint64_t drain_ms, driver_cb done, void *ctx,
                        struct err *e);

/* ---- driver_resize.c ---- */

int driver_volume_resize(struct driver_volume *v, uint64_t size_bytes, driver_cb done, void *ctx,
                         struct err *e);
/* At a stop: answers who waits for a resize, which may still come to pass. */
void driver_volume_resize_give_up(struct driver_volume *v);

#endif
