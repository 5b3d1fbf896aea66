/* Closing: no new requests; when those under way have ended, drain for as long as allowed (close
 * the range, upload, commit, checkpoint), then wait for what still has a callback to come,
 * store the map, free. What was not uploaded stays in the journal. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/journal_full.h"
#include "volumedriver/volume_job.h"
#include "volumedriver/volume_past.h"

struct volume_closing {
    struct volume *v;
    struct map_task task;
    struct backend_req req;
    uint8_t owner[OWNER_BYTES];
};

static void on_timer_closed(uv_handle_t *handle)
{
    struct volume *v = container_of((uv_timer_t *)handle, struct volume, timer);
    volume_close_cb cb = v->close_cb;
    void *ctx = v->close_ctx;
    int rc = list_empty(&v->jobs) && v->open_last < v->open_first ? 0 : v->err.code;

    if (v->kicked) {
        later_cancel(&v->pump);
    }
    list_remove(&v->link);
    volume_return_tail(v);
    volume_jobs_free(v);
    volume_puts_leave(v->host, v->puts);
    extent_tree_release(&v->tree);
    extent_tree_release(&v->open);
    free(v->closing);
    volume_opening_free(v);
    root_release(&v->root);
    free(v->name);
    free(v);
    if (cb != NULL) {
        cb(ctx, rc);
    }
}

static void on_map_closed(void *ctx)
{
    uv_close((uv_handle_t *)&((struct volume *)ctx)->timer, on_timer_closed);
}

void volume_dispose(struct volume *v)
{
    v->state = VOLUME_CLOSING;
    v->closing = mem_zalloc(sizeof(*v->closing)); /* so that no turn starts another end */
    map_volume_close(&v->map, on_map_closed, v);
}

static void on_map_stored(struct map_task *task, int rc)
{
    struct volume *v = container_of(task, struct volume_closing, task)->v;

    (void)rc; /* it is only a cache */
    map_volume_close(&v->map, on_map_closed, v);
}

static void store_map(struct volume_closing *c)
{
    struct volume *v = c->v;

    if (v->err.code != 0 || !volume_map_ready(v) || !map_can_store(v->host->map)) {
        map_volume_close(&v->map, on_map_closed, v);
    } else {
        map_flush(&v->map, &c->task, on_map_stored);
    }
}

static void on_drained(struct backend_req *req, int rc)
{
    struct volume_closing *c = container_of(req, struct volume_closing, req);

    if (rc != 0) { /* the next open asks for this journal, that is all */
        log_info("volume", "not marked as drained", "volume=%s why=%s", c->v->name, req->err.msg);
    }
    store_map(c);
}

/* Everything is in the prefix, in objects that are complete (or old enough): from here on any
 * journal may open the volume, and what this one holds is void. */
static bool is_drained(const struct volume *v)
{
    return v->err.code == 0 && v->owner.epoch == v->epoch && v->next_seq != 0 &&
           v->committed.seq == v->next_seq - 1 && list_empty(&v->jobs) && list_empty(&v->records) &&
           volume_may_upload(v);
}

static void mark_drained(struct volume_closing *c)
{
    struct volume *v = c->v;
    struct backend_assert tag = volume_tag_assert(v);
    struct backend_update update = {.name = OWNER_NAME, .data = c->owner, .bytes = OWNER_BYTES};
    struct owner owner = owner_drained(&v->owner, v->committed.seq);

    owner_encode(&owner, c->owner);
    update.crc = crc32c(0, c->owner, OWNER_BYTES);
    v->backend->ops->apply(v->backend, &c->req,
                           &(struct backend_transaction){.asserts = &tag,
                                                         .assert_count = 1,
                                                         .updates = &update,
                                                         .update_count = 1,
                                                         .flags = BACKEND_RESERVE},
                           on_drained);
}

void volume_closing_pump(struct volume *v)
{
    struct volume_closing *c;
    uint64_t first_seq;
    bool draining = volume_may_upload(v) && (v->committed.seq < v->open_last ||
                                             !list_empty(&v->jobs) || volume_wants_checkpoint(v));

    if (v->requests != 0 && !draining && !v->canceled) {
        /* Writes may wait for space that nobody makes any more. They have a seq, so nothing may
         * follow them: v->err stops those that are still reading. */
        v->canceled = true;
        if (v->err.code == 0) { /* else it is fenced, which they have to be told */
            err_set(&v->err, ERR_CANCELED, "volume %s is closing", v->name);
        }
        first_seq = journal_cancel(v->host->journal, v->uuid, ERR_CANCELED);
        /* The record of an epoch that is being taken tells that all in front of it is there. */
        v->next_seq = first_seq != 0 ? first_seq : v->next_seq;
    }
    if (v->requests != 0 || draining || volume_uploads_busy(v) || v->change != NULL ||
        v->sweep != NULL || v->opening != NULL || v->closing != NULL) {
        return;
    }
    c = v->closing = mem_zalloc(sizeof(*c));
    c->v = v;
    volume_uploads_stop(v);
    if (is_drained(v)) {
        mark_drained(c);
    } else {
        store_map(c);
    }
}

void volume_close(struct volume *v, uint64_t drain_ms, volume_close_cb cb, void *ctx)
{
    bool may_drain = v->state == VOLUME_RUNNING;

    CHECK((v->opening == NULL || v->retaking || v->remap.going) && v->state != VOLUME_CLOSING);
    v->close_cb = cb;
    v->close_ctx = ctx;
    v->state = VOLUME_CLOSING;
    v->drain_until_ms = may_drain ? volume_now_ms(v) + drain_ms : 0;
    volume_kick(v);
}
