/* Namespace and gc epoch -> manifest, fresh -> chunk by chunk (repair_chunk.c) -> update -> end.
 *
 * The update names what was stored only if the manifest still has the version that the repair
 * began with, and each fragment the place that it had: else another repairer was faster. */
#include "proxy/repair.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/mem.h"
#include "meta/ns_keys.h"
#include "meta/nsm_gc.h"
#include "proxy/lookup.h"
#include "proxy/repair_private.h"

/* ---- end ---- */

void repair_note_error(struct repair *r, int rc, const struct err *e)
{
    if (r->rc == 0) {
        r->rc = rc;
        err_copy(&r->result.err, e);
    }
}

static void repair_free(struct repair *r)
{
    struct engine *engine = r->engine;

    object_drop(r->object);
    manifest_release(&r->edited);
    registry_view_drop(r->view);
    free(r->spots);
    free(r->osd_ids);
    free(r->placed);
    free(r);
    engine_drop(engine);
}

static void finish(struct repair *r)
{
    char id[2 * MANIFEST_OBJECT_ID_BYTES + 1];

    hex_encode(id, r->object_id, sizeof(r->object_id));
    if (r->rc != 0) {
        err_wrap(&r->result.err, "repair of object %s in namespace %" PRIu64, id, r->ns_id);
    }
    r->engine->stats.totals.fragments_repaired += r->result.fragments;
    r->engine->stats.totals.repaired_bytes += r->result.bytes;
    log_debug("repair", "ended", "object=%s fragments=%u rc=%d", id, r->result.fragments, r->rc);
    r->cb(r->ctx, r->rc, &r->result);
    repair_free(r);
}

static void fail(struct repair *r, int rc, const struct err *e)
{
    repair_note_error(r, rc, e);
    finish(r);
}

/* ---- update ---- */

static bool same_fragment(const struct manifest_fragment *a, const struct manifest_fragment *b)
{
    return a->has_osd == b->has_osd && (!a->has_osd || a->osd_id == b->osd_id) &&
           a->version == b->version;
}

/* Of placed fragments that the manifest does not have as they were (an epilogue was faster) the
 * rest is entered all the same. */
static int enter(void *ctx, struct manifest *m)
{
    struct repair *r = ctx;
    uint32_t version = m->version_id;
    int rc = 1;

    if (m->version_id != r->object->manifest.version_id) {
        return ERR_BUSY;
    }
    for (size_t i = 0; i < r->placed_count; i++) {
        struct repair_placed *p = &r->placed[i];
        struct manifest_fragment *f = manifest_fragment_at(m, p->chunk, p->fragment);

        p->is_entered = same_fragment(f, &p->before);
        if (p->is_entered) {
            *f = p->after;
            version = p->after.version > version ? p->after.version : version;
            rc = 0;
        }
    }
    m->version_id = version;
    return rc;
}

static void delete_tags(struct repair *r)
{
    struct tags_item item = {.ns_id = r->ns_id, .gc_epoch = r->gc_epoch};

    memcpy(item.object_id, r->object_id, sizeof(item.object_id));
    for (size_t i = 0; i < r->placed_count; i++) {
        const struct repair_placed *p = &r->placed[i];

        if (p->is_entered) { /* else garbage collection needs the tag */
            item.chunk = p->chunk;
            item.fragment = p->fragment;
            item.version = p->after.version;
            tags_delete(&r->engine->tags, p->osd, &item);
        }
    }
}

static void entered(struct repair *r, struct manifest *take_manifest)
{
    struct nsm_usage was = nsm_usage_of(&r->object->manifest);
    struct nsm_usage is = nsm_usage_of(take_manifest);
    struct nsm_usage added = {.stored_bytes = is.stored_bytes - was.stored_bytes};

    for (size_t i = 0; i < r->placed_count; i++) {
        if (r->placed[i].is_entered) {
            r->result.fragments++;
            r->result.bytes += r->placed[i].after.packed_bytes;
        }
    }
    usage_add(r->engine->usage, r->ns_id, &added);
    delete_tags(r);
    lookup_renew(r->engine, r->ns_id, take_manifest);
}

static void on_updated(void *ctx, int rc, struct nsm_reply *reply)
{
    struct repair *r = ctx;

    if (rc == 0) {
        entered(r, &reply->objects[0].manifest);
    } else if (rc != ERR_NOT_FOUND) { /* that: deleted or overwritten meanwhile */
        if (reply->gc_epoch_ended) {
            epochs_forget(&r->engine->epochs, r->ns_id);
        }
        repair_note_error(r, rc, &reply->err);
    }
    finish(r);
}

/* ---- chunks ---- */

static bool is_lost(const struct repair *r, const struct repair_spot *spot)
{
    const struct manifest *m = &r->object->manifest;
    const struct manifest_fragment *f;

    if (spot->chunk >= m->chunk_count || spot->fragment >= manifest_fragments_per_chunk(m)) {
        return false;
    }
    f = manifest_fragment_at(m, spot->chunk, spot->fragment);
    return f->version == spot->version &&
           (f->has_osd ? f->osd_id == spot->osd_id : spot->osd_id == 0);
}

/* Those that were found lost, and those that no OSD took, if they are what this is about. If not,
 * they are made anew with others of their chunk, as the data is at hand, unless the object is just
 * being put. */
uint32_t repair_wanted(const struct repair *r, uint32_t chunk)
{
    const struct manifest *m = &r->object->manifest;
    bool is_young = (int64_t)clock_wall_us() - m->timestamp_us <= REPAIR_YOUNG_US;
    uint32_t wanted = 0;

    for (unsigned i = 0; i < r->spot_count; i++) {
        if (r->spots[i].chunk == chunk && is_lost(r, &r->spots[i])) {
            wanted |= UINT32_C(1) << r->spots[i].fragment;
        }
    }
    if (!r->fills_holes && (wanted == 0 || is_young)) {
        return wanted;
    }
    for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
        if (!manifest_fragment_at(m, chunk, i)->has_osd) {
            wanted |= UINT32_C(1) << i;
        }
    }
    return wanted;
}

/* Whoever asked for this may have had an older manifest. */
static void renew(struct repair *r)
{
    struct manifest copy;

    manifest_copy(&copy, &r->object->manifest);
    lookup_renew(r->engine, r->ns_id, &copy);
}

static void step(struct repair *r)
{
    const struct manifest *m = &r->object->manifest;

    while (r->next_chunk < m->chunk_count && !r->canceled) {
        uint32_t chunk = r->next_chunk++;
        uint32_t wanted = repair_wanted(r, chunk);

        if (wanted != 0 && repair_chunk_start(r, chunk, wanted)) {
            return;
        }
    }
    if (r->canceled) {
        repair_note_error(r, ERR_CANCELED, &(struct err){.code = ERR_CANCELED, .msg = "canceled"});
    }
    if (r->placed_count == 0 || r->canceled) {
        renew(r);
        finish(r);
        return;
    }
    nsm_update(r->nsm, r->ns_id, slice_of(r->object_id, sizeof(r->object_id)), r->gc_epoch, enter,
               on_updated, r);
}

void repair_chunk_done(struct repair *r)
{
    r->chunk = NULL;
    step(r);
}

/* ---- before ---- */

static void on_manifest(void *ctx, int rc, struct nsm_reply *reply)
{
    struct repair *r = ctx;
    struct err e;

    if (rc != 0) {
        fail(r, rc, &reply->err);
        return;
    }
    if (reply->objects[0].damage != 0) {
        fail(r, err_set(&e, reply->objects[0].damage, "its metadata cannot be read"), &e);
        return;
    }
    if (!reply->objects[0].found) { /* deleted or overwritten: nothing to repair */
        finish(r);
        return;
    }
    r->object = object_new(r->ns_id, &reply->objects[0].manifest);
    manifest_copy(&r->edited, &r->object->manifest);
    r->osd_count = ns_manifest_osds(&r->edited, &r->osd_ids);
    rc = readable_init(&r->readable, r->engine, r->object, &e);
    if (rc != 0) {
        fail(r, rc, &e);
        return;
    }
    r->readable.low_priority = true;
    rc = encode_can(&r->object->manifest.scheme, &e);
    if (rc != 0) {
        fail(r, rc, &e);
        return;
    }
    step(r);
}

static void ask_manifest(struct repair *r)
{
    struct slice id = slice_of(r->object_id, sizeof(r->object_id));

    nsm_get_ids(r->nsm, r->ns_id, &id, 1, on_manifest, r);
}

static void on_epochs(void *ctx, int rc, struct nsm_reply *reply)
{
    struct repair *r = ctx;
    struct err e;

    if (rc == 0 && reply->count == 0) {
        fail(r, err_set(&e, ERR_NOT_FOUND, "namespace %s: live gc epochs", r->ns->name), &e);
    } else if (rc != 0) {
        fail(r, rc, &reply->err);
    } else {
        r->gc_epoch = reply->epochs[reply->count - 1];
        epochs_set(&r->engine->epochs, r->ns_id, r->gc_epoch);
        ask_manifest(r);
    }
}

static void on_start(struct later_item *item)
{
    struct repair *r = container_of(item, struct repair, later);
    struct err e;

    r->view = registry_view_hold(registry_view(r->engine->registry));
    r->ns = registry_view_namespace_by_id(r->view, r->ns_id);
    if (r->ns == NULL || r->ns->state != REGISTRY_NS_ACTIVE) {
        fail(r, err_set(&e, ERR_NOT_FOUND, "namespace %" PRIu64, r->ns_id), &e);
        return;
    }
    r->preset = registry_view_preset_find(r->view, r->ns->preset);
    if (r->preset == NULL) {
        fail(r, err_set(&e, ERR_CORRUPT, "preset %s is missing", r->ns->preset), &e);
    } else if (registry_nsm(r->engine->registry, r->ns->nsm_host, &r->nsm, &e) != 0) {
        fail(r, e.code, &e);
    } else if (epochs_get(&r->engine->epochs, r->ns_id, &r->gc_epoch)) {
        ask_manifest(r);
    } else {
        nsm_gc_epochs(r->nsm, r->ns_id, on_epochs, r);
    }
}

struct repair *repair_start(struct engine *engine, const struct repair_spec *spec, repair_cb cb,
                            void *ctx)
{
    struct repair *r = mem_zalloc(sizeof(*r));

    CHECK(spec->spot_count <= REPAIR_SPOTS_MAX);
    r->engine = engine;
    r->ns_id = spec->ns_id;
    memcpy(r->object_id, spec->object_id, sizeof(r->object_id));
    r->spots = mem_array(spec->spot_count + 1, sizeof(*r->spots));
    memcpy(r->spots, spec->spots, spec->spot_count * sizeof(*r->spots));
    r->spot_count = spec->spot_count;
    for (unsigned i = 0; i < r->spot_count; i++) {
        r->fills_holes = r->fills_holes || r->spots[i].osd_id == 0;
    }
    r->cb = cb;
    r->ctx = ctx;
    engine_hold(engine);
    later_run(&engine->later, &r->later, on_start);
    return r;
}

void repair_cancel(struct repair *r)
{
    if (!r->canceled) {
        r->canceled = true;
        if (r->chunk != NULL) {
            repair_chunk_cancel(r->chunk);
        }
    }
}
