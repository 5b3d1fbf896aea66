/* Entry points, states, and the pump that everything asynchronous leads back to.
 *
 * Closing: no new requests; when those under way have ended, drain for as long as allowed (close
 * the range, upload, commit, checkpoint), then wait for what still has a callback to come,
 * store the map, free. What was not uploaded stays in the journal. */
#include "volumedriver/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/mem.h"
#include "volumedriver/location.h"
#include "volumedriver/volume_impl.h"

struct volume_flush {
    struct journal_flush flush;
    struct volume_req *req;
};

struct volume_closing {
    struct volume *v;
    struct map_task task;
    struct backend_req req;
    uint8_t owner[OWNER_BYTES];
};

static void closing_pump(struct volume *v);

/* ---- state ---- */

uint64_t volume_now_ms(const struct volume *v)
{
    return uv_now(v->host->loop);
}

bool volume_may_upload(const struct volume *v)
{
    return v->state == VOLUME_RUNNING ||
           (v->state == VOLUME_CLOSING && volume_now_ms(v) < v->drain_until_ms);
}

struct backend_assert volume_tag_assert(const struct volume *v)
{
    uint8_t tag[8];

    put_u64le(tag, v->epoch);
    return (struct backend_assert){
        .name = "owner_tag", .kind = BACKEND_CHECKSUM, .crc = crc32c(0, tag, sizeof(tag))};
}

void volume_stop(struct volume *v, enum volume_state state, const struct err *why)
{
    if (v->state != VOLUME_RUNNING && v->state != VOLUME_CLOSING) {
        return;
    }
    err_copy(&v->err, why);
    v->err.code = state == VOLUME_FENCED ? ERR_FENCED : ERR_FAILED;
    log_error("volume", state == VOLUME_FENCED ? "another owner took over" : "out of service",
              "volume=%s epoch=%" PRIu32 " why=%s", v->name, v->epoch, why->msg);
    if (v->state == VOLUME_CLOSING) {
        v->drain_until_ms = 0;
    } else {
        v->state = state;
    }
    volume_uploads_stop(v);
    volume_kick(v);
}

bool volume_is_fenced(struct volume *v, const struct backend_req *req, int rc)
{
    struct err e;

    if (rc != ERR_ASSERT_FAILED || req->failed != 0) {
        return false;
    }
    err_set(&e, ERR_FENCED, "owner_tag is not %" PRIu32 " any more", v->epoch);
    volume_stop(v, VOLUME_FENCED, &e);
    return true;
}

/* ---- pump ---- */

static void drains_pump(struct volume *v)
{
    LIST_FOR_EACH_SAFE (it, &v->drains) {
        struct volume_drain *drain = container_of(it, struct volume_drain, link);
        bool done = v->committed.seq >= drain->seq;

        if (done || !volume_may_upload(v)) {
            list_remove(it);
            drain->cb(drain, done ? 0 : v->err.code != 0 ? v->err.code : ERR_CANCELED);
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    volume_kick(container_of(timer, struct volume, timer));
}

static void schedule(struct volume *v)
{
    uint64_t now = volume_now_ms(v), due = volume_uploads_due(v);

    if (v->change != NULL && !volume_root_busy(v) && (due == 0 || v->root_retry_ms < due)) {
        due = v->root_retry_ms;
    }
    if (v->reclaiming && v->opening == NULL && (due == 0 || v->reclaim_ms < due)) {
        due = v->reclaim_ms;
    }
    if (v->state == VOLUME_CLOSING && v->drain_until_ms > now &&
        (due == 0 || v->drain_until_ms < due)) {
        due = v->drain_until_ms;
    }
    if (due == 0) {
        uv_timer_stop(&v->timer);
    } else {
        uv_timer_start(&v->timer, on_timer, due > now ? due - now : 1, 0);
    }
}

/* The numbers of this one are used up; or a try to take the next one failed. */
static bool volume_wants_epoch(const struct volume *v)
{
    return v->opening == NULL && volume_may_upload(v) && volume_now_ms(v) >= v->reclaim_ms &&
           (v->reclaiming || (volume_numbers_used_up(v) && !volume_uploads_busy(v) &&
                              v->change == NULL && v->sweep == NULL));
}

static void volume_pump(struct turn_call *call)
{
    struct volume *v = container_of(call, struct volume, turn);

    v->kicked = false;
    if (v->opening != NULL && !v->reclaiming) {
        return;
    }
    if (v->state == VOLUME_CLOSING && v->requests == 0 && volume_may_upload(v)) {
        volume_range_close(v);
    }
    volume_uploads_pump(v);
    if (volume_wants_epoch(v)) {
        volume_reclaim(v);
    }
    volume_root_pump(v);
    drains_pump(v);
    schedule(v);
    if (v->state == VOLUME_CLOSING) {
        closing_pump(v);
    }
}

void volume_kick(struct volume *v)
{
    if (!v->kicked) {
        v->kicked = true;
        turn_add(v->host->turn, &v->turn, volume_pump);
    }
}

/* ---- requests ---- */

void volume_req_end(struct volume_req *req, int rc)
{
    struct volume *v = req->volume;
    struct volume_stats *s = &v->stats;

    v->requests--;
    s->errors += rc != 0;
    switch (rc == 0 ? req->op : VOLUME_OP_STATUS) {
    case VOLUME_OP_READ:
        s->reads++;
        s->read_bytes += req->length_bytes;
        s->latency_ns[0] += clock_mono_ns() - req->submitted_ns;
        break;
    case VOLUME_OP_WRITE:
        s->writes++;
        s->write_bytes += req->length_bytes;
        s->latency_ns[1] += clock_mono_ns() - req->submitted_ns;
        break;
    case VOLUME_OP_FLUSH:
        s->flushes++;
        break;
    case VOLUME_OP_TRIM:
        s->trims++;
        s->trim_bytes += req->length_bytes;
        break;
    case VOLUME_OP_ZEROES:
        s->zeroes++;
        s->zero_bytes += req->length_bytes;
        break;
    default:
        break;
    }
    if (v->state == VOLUME_CLOSING) {
        volume_kick(v);
    }
    req->cb(req, rc);
}

static int refuse(const struct volume *v, struct volume_req *req, bool changes)
{
    if (v->state == VOLUME_OPENING || v->state == VOLUME_CLOSING) {
        return err_set(&req->err, ERR_CANCELED, "volume %s is %s", v->name,
                       v->state == VOLUME_OPENING ? "opening" : "closing");
    }
    if (v->state == VOLUME_FENCED || (v->state == VOLUME_FAILED && changes)) {
        return err_copy(&req->err, &v->err);
    }
    if (changes && volume_is_readonly(v)) {
        return err_set(&req->err, -EROFS, "volume %s", v->name);
    }
    if (v->requests >= VOLUME_REQS_MAX) {
        return err_set(&req->err, ERR_BUSY, "volume %s", v->name);
    }
    return 0;
}

static int accept_req(struct volume *v, struct volume_req *req, enum volume_op op,
                      uint64_t offset_bytes, uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    bool changes = op == VOLUME_OP_WRITE || op == VOLUME_OP_TRIM || op == VOLUME_OP_ZEROES;
    int rc;

    if (op != VOLUME_OP_FLUSH &&
        (offset_bytes % VOLUME_SECTOR_BYTES != 0 || length_bytes % VOLUME_SECTOR_BYTES != 0 ||
         length_bytes == 0 || offset_bytes > v->root.size_bytes ||
         length_bytes > v->root.size_bytes - offset_bytes)) {
        return err_set(&req->err, -EINVAL, "volume %s: %" PRIu64 " bytes at %" PRIu64, v->name,
                       length_bytes, offset_bytes);
    }
    rc = refuse(v, req, changes);
    if (rc != 0) {
        return rc;
    }
    v->requests++;
    req->volume = v;
    req->cb = cb;
    req->op = (uint8_t)op;
    req->flags = (uint8_t)flags;
    req->offset_bytes = offset_bytes;
    req->length_bytes = length_bytes;
    req->submitted_ns = clock_mono_ns();
    return 0;
}

static int accept_iov(struct volume *v, struct volume_req *req, enum volume_op op,
                      uint64_t offset_bytes, const struct iovec *iov, int iov_count, unsigned flags,
                      volume_cb cb)
{
    uint64_t length = 0;

    for (int i = 0; i < iov_count; i++) {
        if (iov[i].iov_len > VOLUME_REQ_BYTES_MAX) {
            return err_set(&req->err, -EINVAL, "volume %s: request too long", v->name);
        }
        length += iov[i].iov_len;
    }
    if (length > VOLUME_REQ_BYTES_MAX) {
        return err_set(&req->err, -EINVAL, "volume %s: request too long", v->name);
    }
    req->iov = iov;
    req->iov_count = iov_count;
    return accept_req(v, req, op, offset_bytes, length, flags, cb);
}

int volume_read(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                const struct iovec *iov, int iov_count, volume_cb cb)
{
    int rc = accept_iov(v, req, VOLUME_OP_READ, offset_bytes, iov, iov_count, 0, cb);

    if (rc == 0) {
        volume_submit_read(req);
    }
    return rc;
}

int volume_write(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                 const struct iovec *iov, int iov_count, unsigned flags, volume_cb cb)
{
    int rc = accept_iov(v, req, VOLUME_OP_WRITE, offset_bytes, iov, iov_count, flags, cb);

    if (rc == 0) {
        volume_submit_write(req);
    }
    return rc;
}

static int submit_zero(struct volume *v, struct volume_req *req, enum volume_op op,
                       uint64_t offset_bytes, uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    int rc = accept_req(v, req, op, offset_bytes, length_bytes, flags, cb);

    if (rc == 0) {
        req->iov = NULL;
        req->iov_count = 0;
        volume_submit_write(req);
    }
    return rc;
}

int volume_trim(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    return submit_zero(v, req, VOLUME_OP_TRIM, offset_bytes, length_bytes, flags, cb);
}

int volume_write_zeroes(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    return submit_zero(v, req, VOLUME_OP_ZEROES, offset_bytes, length_bytes, flags, cb);
}

static void on_flush(struct journal_flush *flush, int rc)
{
    struct volume_flush *f = container_of(flush, struct volume_flush, flush);
    struct volume_req *req = f->req;

    free(f);
    if (rc != 0) {
        err_set(&req->err, rc, "journal");
        volume_stop(req->volume, VOLUME_FAILED, &req->err);
    }
    volume_req_end(req, rc);
}

int volume_flush(struct volume *v, struct volume_req *req, volume_cb cb)
{
    struct volume_flush *f;
    int rc = accept_req(v, req, VOLUME_OP_FLUSH, 0, 0, 0, cb);

    if (rc == 0 && v->state == VOLUME_FAILED) {
        v->requests--;
        rc = err_copy(&req->err, &v->err); /* what completed may never become durable */
    }
    if (rc == 0) {
        f = mem_zalloc(sizeof(*f));
        f->req = req;
        journal_flush(v->host->journal, &f->flush, v->written_lsn, on_flush);
    }
    return rc;
}

int volume_block_status(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, struct volume_extent *extents, unsigned extents_max,
                        volume_cb cb)
{
    int rc = accept_req(v, req, VOLUME_OP_STATUS, offset_bytes, length_bytes, 0, cb);

    if (rc == 0) {
        CHECK(extents_max != 0);
        req->plan = extents;
        req->iov_count = (int)extents_max;
        volume_submit_status(req);
    }
    return rc;
}

/* ---- looking ---- */

uint64_t volume_size_bytes(const struct volume *v)
{
    return v->root.size_bytes;
}

bool volume_is_readonly(const struct volume *v)
{
    return v->options.read_only || v->state == VOLUME_DAMAGED;
}

enum volume_state volume_state(const struct volume *v)
{
    return v->state;
}

const char *volume_name(const struct volume *v)
{
    return v->name;
}

const uint8_t *volume_uuid(const struct volume *v)
{
    return v->uuid;
}

uv_loop_t *volume_loop(const struct volume *v)
{
    return v->host->loop;
}

const struct err *volume_error(const struct volume *v)
{
    return &v->err;
}

void volume_stats(const struct volume *v, struct volume_stats *ret_stats)
{
    *ret_stats = v->stats;
    ret_stats->tail_extents = v->tree.count;
    ret_stats->last_seq = v->next_seq != 0 ? v->next_seq - 1 : 0;
    ret_stats->committed_seq = v->committed.seq;
    ret_stats->released_seq = v->released_seq;
}

/* ---- life ---- */

void volume_host_init(struct volume_host *host)
{
    host->puts = 0;
    host->pasts = NULL;
    list_init(&host->put_queue);
    list_init(&host->volumes);
}

void volume_host_pressure(struct volume_host *host, uint64_t lsn)
{
    LIST_FOR_EACH (it, &host->volumes) {
        struct volume *v = container_of(it, struct volume, link);

        if (v->open_last >= v->open_first && v->open_lsn <= lsn && volume_may_upload(v)) {
            volume_range_close(v);
        }
    }
}

struct volume *volume_open(const struct volume_options *options, volume_open_cb cb, void *ctx)
{
    struct volume *v = mem_zalloc(sizeof(*v));

    v->options = *options;
    v->host = options->host;
    v->backend = options->backend;
    v->name = mem_strdup(options->name);
    v->options.name = v->name;
    memcpy(v->uuid, options->uuid, 16);
    v->state = VOLUME_OPENING;
    v->open_first = 1;
    list_init(&v->writes);
    list_init(&v->records);
    list_init(&v->stranded);
    list_init(&v->jobs);
    list_init(&v->drains);
    map_volume_init(&v->map, v->host->map, v->uuid);
    CHECK(uv_timer_init(v->host->loop, &v->timer) == 0);
    list_push(&v->host->volumes, &v->link);
    volume_opening_start(v, cb, ctx);
    return v;
}

void volume_drain(struct volume *v, struct volume_drain *drain,
                  void (*cb)(struct volume_drain *drain, int rc))
{
    volume_range_close(v);
    drain->seq = v->open_last;
    drain->cb = cb;
    list_push(&v->drains, &drain->link);
    volume_kick(v);
}

int volume_resize(struct volume *v, struct volume_resize *resize, uint64_t size_bytes,
                  void (*cb)(struct volume_resize *resize, int rc))
{
    if (v->state != VOLUME_RUNNING || volume_is_readonly(v)) {
        return err_set(&resize->err, -EROFS, "volume %s", v->name);
    }
    if (v->resize != NULL) {
        return err_set(&resize->err, ERR_BUSY, "volume %s is being resized", v->name);
    }
    if (size_bytes % VOLUME_CLUSTER_BYTES != 0 || size_bytes < v->root.size_bytes ||
        size_bytes > ROOT_VOLUME_BYTES_MAX) {
        return err_set(&resize->err, -EINVAL, "size %" PRIu64, size_bytes);
    }
    resize->size_bytes = size_bytes;
    resize->cb = cb;
    v->resize = resize;
    volume_kick(v);
    return 0;
}

static void on_created(struct backend_req *req, int rc)
{
    struct volume_create *create = container_of(req, struct volume_create, req);

    buf_release(&create->root);
    if (rc == ERR_ASSERT_FAILED) {
        rc = err_set(&create->err, ERR_EXISTS, "volume");
    } else if (rc != 0) {
        err_copy(&create->err, &req->err);
    }
    create->cb(create, rc);
}

void volume_create(struct backend *backend, struct volume_create *create, const uint8_t uuid[16],
                   uint64_t size_bytes, uint32_t sco_bytes,
                   void (*cb)(struct volume_create *create, int rc))
{
    struct backend_assert asserts[3] = {{.name = "owner_tag", .kind = BACKEND_ABSENT},
                                        {.name = "volume", .kind = BACKEND_ABSENT},
                                        {.name = OWNER_NAME, .kind = BACKEND_ABSENT}};
    struct backend_update updates[3];
    struct owner owner;
    struct root root;

    CHECK(size_bytes % VOLUME_CLUSTER_BYTES == 0 && size_bytes <= ROOT_VOLUME_BYTES_MAX);
    CHECK(sco_bytes >= VOLUME_SCO_BYTES_MIN && sco_bytes <= SCO_BYTES_MAX);
    root_init(&root, uuid, 1, size_bytes, sco_bytes);
    create->root = (struct buf){0};
    root_encode(&root, &create->root);
    root_release(&root);
    put_u64le(create->tag, 1);
    owner_init(&owner, uuid);
    owner_encode(&owner, create->owner);
    create->cb = cb;
    updates[0] = (struct backend_update){.name = "owner_tag",
                                         .data = create->tag,
                                         .bytes = sizeof(create->tag),
                                         .crc = crc32c(0, create->tag, sizeof(create->tag))};
    updates[1] = (struct backend_update){.name = "volume",
                                         .data = create->root.data,
                                         .bytes = create->root.len,
                                         .crc = crc32c(0, create->root.data, create->root.len)};
    updates[2] = (struct backend_update){.name = OWNER_NAME,
                                         .data = create->owner,
                                         .bytes = OWNER_BYTES,
                                         .crc = crc32c(0, create->owner, OWNER_BYTES)};
    backend->ops->apply(backend, &create->req, asserts, 3, updates, 3, BACKEND_RESERVE, on_created);
}

/* ---- closing ---- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct volume *v = container_of((uv_timer_t *)handle, struct volume, timer);
    volume_close_cb cb = v->close_cb;
    void *ctx = v->close_ctx;
    int rc = list_empty(&v->jobs) && v->open_last < v->open_first ? 0 : v->err.code;

    if (v->kicked) {
        list_remove(&v->turn.link);
    }
    list_remove(&v->link);
    volume_return_tail(v);
    volume_jobs_free(v);
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

    if (v->err.code != 0 || v->map.failed != 0) {
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

/* Everything is in the prefix: from here on any journal may open the volume. */
static bool is_drained(const struct volume *v)
{
    return v->err.code == 0 && v->owner.epoch == v->epoch && v->next_seq != 0 &&
           v->committed.seq == v->next_seq - 1 && volume_may_upload(v);
}

static void mark_drained(struct volume_closing *c)
{
    struct volume *v = c->v;
    struct backend_assert tag = volume_tag_assert(v);
    struct backend_update update = {.name = OWNER_NAME, .data = c->owner, .bytes = OWNER_BYTES};
    struct owner owner = owner_drained(&v->owner, v->committed.seq);

    owner_encode(&owner, c->owner);
    update.crc = crc32c(0, c->owner, OWNER_BYTES);
    v->backend->ops->apply(v->backend, &c->req, &tag, 1, &update, 1, BACKEND_RESERVE, on_drained);
}

static void closing_pump(struct volume *v)
{
    struct volume_closing *c;
    bool draining =
        volume_may_upload(v) && (v->committed.seq < v->open_last || volume_wants_checkpoint(v));

    if (v->requests != 0 && !draining && !v->canceled) {
        /* Writes may wait for space that nobody makes any more. They have a seq, so nothing may
         * follow them: v->err stops those that are still reading. */
        v->canceled = true;
        err_set(&v->err, ERR_CANCELED, "volume %s is closing", v->name);
        journal_cancel(v->host->journal, v->uuid);
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

    CHECK(v->opening == NULL && v->state != VOLUME_CLOSING);
    v->close_cb = cb;
    v->close_ctx = ctx;
    v->state = VOLUME_CLOSING;
    v->drain_until_ms = may_drain ? volume_now_ms(v) + drain_ms : 0;
    volume_kick(v);
}
