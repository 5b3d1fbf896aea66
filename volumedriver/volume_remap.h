/* A volume whose local map has failed builds it anew while it is open; part of volume_private.h. */
#ifndef VOLUMEDRIVER_VOLUME_REMAP_H
#define VOLUMEDRIVER_VOLUME_REMAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct map_volume;
struct volume;

struct volume_remap {
    bool going;        /* the map is not whole */
    unsigned tries;    /* that did not last */
    uint64_t due_ms;   /* the next one is not before */
    struct list waits; /* struct cluster_read */
};

bool volume_map_ready(const struct volume *v);
bool volume_map_heals(const struct volume *v); /* if not ready: it is worth waiting */
void volume_remap_pump(struct volume *v);
void volume_remap_end(struct volume *v, const struct err *why); /* NULL: it is whole */
uint64_t volume_remap_due(const struct volume *v);              /* when to look again, 0: no need */
void volume_map_failed(struct map_volume *mv);                  /* its on_fail */

/* volume_open.c: from root and chain, up to what is committed. */
void volume_rebuild_map(struct volume *v);
/* volume_read.c: those that wait ask again, or (`why`) fail. */
void volume_reads_resume(struct volume *v, const struct err *why);

#endif
