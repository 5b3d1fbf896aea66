/* The local map is only a cache. When its store fails (a block is rotten, the disk is full) it is
 * dropped and built anew from root, checkpoint and trailers, up to the committed prefix. Meanwhile
 * writes go on, uploads land but do not commit, and what has to ask the map waits; what waited
 * fails with a try that fails, and the next try comes later. */
#include "base/check.h"
#include "base/log.h"
#include "volumedriver/volume_private.h"

enum {
    REMAP_MS_MIN = 1000,
    REMAP_MS_MAX = 60000,
    REMAP_CALM_MS = 600000,
    REMAPS_MAX = 8, /* at once: each holds a part of a checkpoint in memory */
    REMAP_TURN_MS = 250,
};

bool volume_map_ready(const struct volume *v)
{
    return v->map.failed == 0 && !v->remap.going;
}

bool volume_map_heals(const struct volume *v)
{
    return v->state == VOLUME_RUNNING || v->state == VOLUME_DAMAGED || v->state == VOLUME_FAILED ||
           (v->state == VOLUME_CLOSING && volume_may_upload(v));
}

void volume_map_failed(struct map_volume *mv)
{
    volume_kick(container_of(mv, struct volume, map));
}

static void start(struct volume *v)
{
    uint64_t now = volume_now_ms(v);
    uint64_t wait = v->remap.tries < 6 ? (uint64_t)REMAP_MS_MIN << v->remap.tries : REMAP_MS_MAX;

    if (v->remap.tries != 0 && now > v->remap.due_ms + REMAP_CALM_MS) {
        v->remap.tries = 0;
        wait = REMAP_MS_MIN;
    }
    v->remap.tries++;
    v->remap.due_ms = now + wait; /* of the next one */
    log_warn("volume", "the local map has failed, building it anew", "volume=%s why=%s", v->name,
             v->map.err.msg);
    v->remap.going = true;
    v->host->remaps++;
    volume_rebuild_map(v);
}

void volume_remap_end(struct volume *v, const struct err *why)
{
    v->host->remaps--;
    if (why == NULL) {
        v->remap.going = v->map.failed != 0;
    }
    if (!volume_map_heals(v) && v->err.code != 0) {
        why = &v->err;
    } else if (why != NULL) {
        log_warn("volume", "no new map, trying on", "volume=%s why=%s", v->name, why->msg);
    } else if (!v->remap.going) {
        log_info("volume", "the local map is whole again", "volume=%s", v->name);
    }
    volume_reads_resume(v, why);
}

static bool is_due(const struct volume *v)
{
    return volume_now_ms(v) >= v->remap.due_ms && v->host->remaps < REMAPS_MAX;
}

void volume_remap_pump(struct volume *v)
{
    if (volume_map_ready(v)) {
        return;
    }
    if (!volume_map_heals(v)) {
        if (v->opening == NULL) {
            volume_reads_resume(v, v->err.code != 0 ? &v->err : &v->map.err);
        }
        return;
    }
    if (v->opening == NULL && !v->applying && v->change == NULL && v->closing == NULL &&
        is_due(v)) {
        start(v);
    }
}

uint64_t volume_remap_due(const struct volume *v)
{
    bool waits = !volume_map_ready(v) && volume_map_heals(v) && v->opening == NULL;
    uint64_t now = volume_now_ms(v);

    if (!waits || is_due(v)) {
        return 0;
    }
    return v->remap.due_ms > now ? v->remap.due_ms : now + REMAP_TURN_MS;
}
