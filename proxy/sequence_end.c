/* After the commit: late fragments go into the manifests, gc tags are deleted. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proxy/holes.h"
#include "proxy/lookup.h"
#include "proxy/sequence_private.h"

void sequence_committed(struct sequence *s)
{
    struct engine *engine = s->engine;
    double seconds = (double)(clock_mono_ns() - s->start_ns) / 1e9;
    struct proxy_ns_stats *sums = stats_of(&engine->stats, s->ns_name);

    for (size_t i = 0; i < s->upload_count; i++) {
        struct nsm_usage added = nsm_usage_of(s->manifests[i]);
        struct manifest copy;
        struct object *object;

        usage_add(engine->usage, s->use.ns->id, &added);
        manifest_copy(&copy, s->manifests[i]);
        engine->stats.totals.put_bytes += copy.size_bytes;
        object = object_new(s->use.ns->id, &copy);
        manifest_cache_offer(&engine->manifests, object, s->uploads[i].cache_stamp);
        object_drop(object);
        stat_sum_add(&sums->upload, seconds);
    }
    for (size_t i = 0; i < s->delete_count; i++) {
        manifest_cache_remove(&engine->manifests, s->use.ns->id, s->deletes[i]);
        stat_sum_add(&sums->object_delete, seconds);
    }
    engine->stats.totals.puts += s->upload_count;
    engine->stats.totals.deletes += s->delete_count;
}

static void delete_tags(struct sequence *s, const struct sequence_upload *up, bool with_data)
{
    const struct manifest *m = upload_manifest(up->upload);
    struct tags_item item = {
        .ns_id = s->use.ns->id, .gc_epoch = s->gc_epoch, .with_data = with_data};
    size_t count;
    const struct upload_place *places = upload_places(up->upload, &count);

    if (count == 0) {
        return;
    }
    memcpy(item.object_id, m->object_id.data, sizeof(item.object_id));
    for (size_t i = 0; i < count; i++) {
        if (places[i].late && !with_data && !(up->is_entered && places[i].is_named)) {
            continue; /* not named: garbage collection needs the tag */
        }
        item.chunk = places[i].chunk;
        item.fragment = places[i].fragment;
        tags_delete(&s->engine->tags, places[i].osd, &item);
    }
}

void sequence_drop_fragments(struct sequence *s)
{
    for (size_t i = 0; i < s->upload_count; i++) {
        if (s->uploads[i].upload != NULL) {
            delete_tags(s, &s->uploads[i], true);
        }
    }
}

void sequence_free_uploads(struct sequence *s)
{
    for (size_t i = 0; i < s->upload_count; i++) {
        if (s->uploads[i].upload != NULL) {
            upload_free(s->uploads[i].upload);
            s->uploads[i].upload = NULL;
        }
    }
}

/* ---- epilogue, one object after another ---- */

/* `m`: what its manifest says now. */
static void finish_one(struct sequence *s, const struct manifest *m)
{
    struct sequence_upload *up = &s->uploads[s->epilogue_at++];

    unsigned missing = holes_count(m);
    unsigned long skipped;

    if (missing > 0) {
        s->engine->stats.totals.incomplete_objects++;
        if (log_limit_pass(&s->engine->incomplete_log, 60000, &skipped)) {
            log_warn("sequence", "an object is incomplete", "ns=%s missing=%u skipped=%lu",
                     s->use.ns->name, missing, skipped);
        }
        holes_note(s->engine, s->use.ns->id, m);
    }
    delete_tags(s, up, false);
}

static void on_updated(void *ctx, int rc, struct nsm_reply *reply)
{
    struct sequence *s = ctx;
    struct sequence_upload *up = &s->uploads[s->epilogue_at];
    struct manifest now = {0};

    s->pending--;
    if (rc == 0) {
        up->is_entered = true;
        s->engine->stats.totals.epilogues++;
        if (reply->count > 0 && reply->objects[0].found) {
            manifest_copy(&now, &reply->objects[0].manifest);
            lookup_renew(s->engine, s->use.ns->id, &reply->objects[0].manifest);
        }
    } else {
        log_info("sequence", "late fragments not entered", "ns=%s why=\"%s\"", s->use.ns->name,
                 reply->err.msg);
    }
    finish_one(s, now.chunk_count != 0 ? &now : upload_manifest(up->upload));
    manifest_release(&now);
    sequence_step(s);
}

static int enter_late(void *ctx, struct manifest *manifest)
{
    struct sequence *s = ctx;

    return upload_add_late(s->uploads[s->epilogue_at].upload, manifest);
}

void sequence_step_epilogue(struct sequence *s)
{
    if (s->pending > 0) {
        return;
    }
    while (s->epilogue_at < s->upload_count) {
        struct upload *upload = s->uploads[s->epilogue_at].upload;

        if (upload_has_late(upload)) {
            s->pending++;
            nsm_update(s->use.nsm, s->use.ns->id, upload_manifest(upload)->object_id, s->gc_epoch,
                       enter_late, on_updated, s);
            return;
        }
        finish_one(s, upload_manifest(upload));
    }
    s->state = SEQUENCE_END;
}
