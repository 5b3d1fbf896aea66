/* The map of a volume that is being opened; see volume_opening.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/volume_opening.h"

enum { RUNS_AT_ONCE = 8192, MAP_ERRORS_MAX = 3 };

static void next_trailer(struct volume_opening *o);
static void next_runs(struct volume_opening *o);
static void on_part(struct backend_req *req, int rc);
static void on_reset(struct map_task *task, int rc);

/* It is only a cache: it is made anew, from the start. */
static void map_error(struct volume_opening *o, int rc)
{
    struct volume *v = o->v;

    if (rc == ERR_CANCELED || ++o->map_errors > MAP_ERRORS_MAX) {
        volume_opening_fail(o, rc, &o->task.err, "map");
        return;
    }
    log_warn("volume", "the local map has failed, building it anew", "volume=%s why=%s", v->name,
             o->task.err.msg);
    map_volume_reset(&v->map, &o->task, on_reset);
}

/* ---- TRAILERS ---- */

static const struct chain_link *next_to_apply(struct volume_opening *o)
{
    while (o->next < o->chain.count) {
        const struct chain_link *link = &o->chain.links[o->next];

        if (link->in_chain && link->footer.number > o->v->map.applied.number &&
            link->footer.number <= o->upto) {
            return link;
        }
        o->next++;
    }
    return NULL;
}

static void on_trailer_applied(struct map_task *task, int rc)
{
    struct volume_opening *o = container_of(task, struct volume_opening, task);

    if (rc != 0) {
        map_error(o, rc);
        return;
    }
    o->next++;
    next_trailer(o);
}

static void on_trailer(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);
    const struct sco_footer *f = &o->chain.links[o->next].footer;
    struct sco_extent *extents;

    if (rc == 0) {
        rc = sco_trailer_decode(f, o->data.data, o->data.len, &extents, &req->err);
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &req->err, "reading a trailer");
        return;
    }
    map_apply_sco(&o->v->map, &o->task, f, extents, on_trailer_applied);
    free(extents);
}

static void sum_trailers(struct volume_opening *o)
{
    for (uint32_t i = 0; i < o->chain.count; i++) {
        const struct chain_link *link = &o->chain.links[i];

        o->v->trailer_bytes += link->in_chain ? link->bytes - link->footer.data_bytes : 0;
    }
}

/* Only what was committed, and all of it: else the backend has lost something. */
static void remapped(struct volume_opening *o)
{
    struct volume *v = o->v;
    struct err e;

    if (v->map.applied.number != v->committed.number) {
        err_set(&e, ERR_CORRUPT, "the chain of SCOs ends at %010" PRIx64 ", not at %010" PRIx64,
                v->map.applied.number, v->committed.number);
        volume_opening_fail(o, ERR_CORRUPT, &e, "building the map anew");
        return;
    }
    volume_opening_end(o, 0);
    volume_remap_end(v, NULL);
}

/* Nobody waits for a new map any more: the volume closes, or has lost its owner. */
static bool is_vain(struct volume_opening *o)
{
    struct err e;

    if (!o->remap || volume_map_heals(o->v)) {
        return false;
    }
    err_set(&e, ERR_CANCELED, "the volume goes down");
    volume_opening_fail(o, ERR_CANCELED, &e, "building the map anew");
    return true;
}

static void next_trailer(struct volume_opening *o)
{
    const struct chain_link *link = next_to_apply(o);
    struct volume *v = o->v;
    char name[SCO_NAME_BYTES];

    if (is_vain(o)) {
        return;
    }
    if (link == NULL && o->remap) {
        remapped(o);
        return;
    }
    if (link == NULL) {
        v->committed = o->chain.end;
        sum_trailers(o);
        volume_merge_journal(o);
        return;
    }
    o->data.len = 0;
    o->slice.offset = link->footer.data_bytes;
    o->slice.bytes = (uint32_t)(link->bytes - link->footer.data_bytes - SCO_FOOTER_BYTES);
    o->slice.data = buf_extend(&o->data, o->slice.bytes);
    sco_name(link->footer.number, name);
    backend_read_slice(v->backend, &o->req, name, &o->slice, on_trailer);
}

/* ---- PARTS ---- */

static void next_part(struct volume_opening *o)
{
    struct volume *v = o->v;
    const struct root_part *part;
    char name[SCO_NAME_BYTES];

    if (is_vain(o)) {
        return;
    }
    if (o->next == v->root.part_count) {
        map_volume_begin(&v->map, v->root.id, v->root.checkpoint_ordinal,
                         (struct map_place){v->root.prefix_number, v->root.prefix_seq});
        o->next = 0;
        next_trailer(o);
        return;
    }
    part = &v->root.parts[o->next];
    o->data.len = 0;
    o->slice.offset = 0;
    o->slice.bytes = (uint32_t)part->bytes;
    o->slice.data = buf_extend(&o->data, (size_t)part->bytes);
    checkpoint_name(part->number, name);
    backend_read_slice(v->backend, &o->req, name, &o->slice, on_part);
}

static void on_runs_applied(struct map_task *task, int rc)
{
    struct volume_opening *o = container_of(task, struct volume_opening, task);

    if (rc != 0) {
        map_error(o, rc);
    } else if (!is_vain(o)) {
        next_runs(o);
    }
}

static void next_runs(struct volume_opening *o)
{
    struct map_run *runs = mem_array(RUNS_AT_ONCE, sizeof(*runs));
    struct sco_entry sco;
    uint32_t count = 0;
    struct err e;
    int rc = 1;

    while (count < RUNS_AT_ONCE) {
        uint64_t n;

        if (o->run.count == 0 && (rc = checkpoint_reader_run(&o->reader, &o->run)) != 1) {
            break;
        }
        n = o->run.count < FRAME_ZERO_CLUSTERS_MAX ? o->run.count : FRAME_ZERO_CLUSTERS_MAX;
        runs[count++] = (struct map_run){
            .cluster = o->run.cluster, .count = (uint32_t)n, .location = o->run.location};
        o->run.cluster += n; /* longer ones are of zeroes, or of nothing */
        o->run.count -= n;
    }
    if (rc == 1 || (rc == 0 && count != 0)) {
        map_apply_runs(&o->v->map, &o->task, runs, count, on_runs_applied);
        return;
    }
    free(runs);
    while (rc == 0 && (rc = checkpoint_reader_sco(&o->reader, &sco)) == 1) {
        map_put_sco(&o->v->map, &sco);
        rc = 0;
    }
    if (rc != 0) {
        err_set(&e, rc, "checkpoint %010" PRIx64, o->reader.header.number);
        volume_opening_fail(o, rc, &e, "reading the map");
        return;
    }
    o->next++;
    next_part(o);
}

static void on_part(struct backend_req *req, int rc)
{
    struct volume_opening *o = container_of(req, struct volume_opening, req);
    struct volume *v = o->v;

    if (rc == 0) {
        rc = checkpoint_reader_init(&o->reader, o->data.data, o->data.len, v->uuid,
                                    v->root.parts[o->next].number, &req->err);
    }
    if (rc != 0) {
        volume_opening_fail(o, rc, &req->err, "reading a checkpoint");
        return;
    }
    next_runs(o);
}

/* ---- MAP ---- */

static void on_reset(struct map_task *task, int rc)
{
    struct volume_opening *o = container_of(task, struct volume_opening, task);

    if (rc != 0) {
        map_error(o, rc);
        return;
    }
    o->next = 0;
    o->run = (struct checkpoint_run){0};
    next_part(o);
}

/* The stored map is that of a place on the chain as it is now. */
static bool map_fits(const struct volume_opening *o)
{
    const struct volume *v = o->v;
    const struct map_volume *mv = &v->map;
    const struct chain_link *link;

    if (memcmp(mv->root_id, v->root.id, UUID_BYTES) != 0 &&
        memcmp(mv->next_root_id, v->root.id, UUID_BYTES) != 0) {
        return false;
    }
    if (mv->applied.number == v->root.prefix_number) {
        return true;
    }
    link = chain_find(&o->chain, mv->applied.number);
    return link != NULL && link->in_chain;
}

static void on_map(struct map_task *task, int rc)
{
    struct volume_opening *o = container_of(task, struct volume_opening, task);
    struct volume *v = o->v;

    if (rc != 0) {
        map_error(o, rc);
    } else if (task->found && map_fits(o)) {
        map_volume_begin(&v->map, v->root.id, v->root.checkpoint_ordinal, v->map.applied);
        o->next = 0;
        next_trailer(o);
    } else {
        map_volume_reset(&v->map, &o->task, on_reset);
    }
}

void volume_load_map(struct volume_opening *o)
{
    if (o->remap) {
        map_volume_reset(&o->v->map, &o->task, on_reset);
        return;
    }
    map_volume_load(&o->v->map, &o->task, on_map);
}
