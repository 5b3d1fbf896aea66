/* What the volumes of one loop thread share, and what concerns all of them. Loop thread only. */
#ifndef VOLUMEDRIVER_VOLUME_HOST_H
#define VOLUMEDRIVER_VOLUME_HOST_H

#include <stdint.h>

#include <uv.h>

#include "base/list.h"
#include "loop/later.h"
#include "loop/pool.h"
#include "volumedriver/journal.h"
#include "volumedriver/map.h"
#include "volumedriver/uuid.h"

enum {
    VOLUME_SCO_AGE_MS_DEFAULT = 60000, /* a write is uploaded after that long at most */
    VOLUME_PUTS_MAX_DEFAULT = 4,       /* SCO images in memory, of all volumes of a preset */
    VOLUME_INCOMPLETE_MS = 60000,      /* until an object with missing fragments is released */
    VOLUME_FULL_MS_DEFAULT = 60000,    /* then a write that waits for room fails */
};

struct volume_host {
    uv_loop_t *loop;
    struct later *later;
    struct journal *journal;
    struct map *map;
    struct pool *pool;         /* CPU work: checksums of SCOs */
    unsigned puts_max;         /* 0: default */
    uint64_t sco_age_ms;       /* 0: default */
    uint64_t checkpoint_bytes; /* trailers since the last one; 0: 64 MiB */
    uint64_t incomplete_ms;    /* 0: VOLUME_INCOMPLETE_MS */
    uint64_t retry_ms_max;     /* between tries of a put; 0: 10 s */

    struct volume_puts *puts; /* private; uthash by preset */
    unsigned remaps;          /* volumes that build their map anew */
    struct list volumes;
    struct volume_past *pasts; /* uthash by UUID */
};

void volume_host_init(struct volume_host *host); /* the first part is filled in */
/* Before the journal is closed, behind the last volume. */
void volume_host_release(struct volume_host *host);
/* The journal's on_pressure(). */
void volume_host_pressure(struct volume_host *host, uint64_t lsn);
/* When a write has waited for room for `wait_ms`, all that wait of its volume end with -ENOSPC. To
 * be called now and then. */
void volume_host_end_waits(struct volume_host *host, uint64_t wait_ms);
/* The volumes, open or not, that have records in the oldest segment of the ring: until they are
 * uploaded, or given up, nobody gets room. One may be named twice. */
void volume_host_pins(const struct volume_host *host,
                      void (*cb)(void *ctx, const uint8_t uuid[UUID_BYTES]), void *ctx);

#endif
