/* The entry points of the block API: a request is checked, counted and handed on. */
#include "volumedriver/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "volumedriver/volume_private.h"

struct volume_flush {
    struct journal_flush flush;
    struct volume_req *req;
};

/* What a request wants, before it is accepted. */
struct wish {
    enum volume_op op;
    uint64_t offset_bytes;
    uint64_t length_bytes;
    unsigned flags;
};

/* ---- requests ---- */

void volume_req_end(struct volume_req *req, int rc)
{
    struct volume *v = req->volume;
    struct volume_stats *s = &v->stats;

    if (rc == 0 && v->err.code == ERR_FENCED) { /* void already, or no longer what is there */
        rc = err_copy(&req->err, &v->err);
    }
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

static bool is_inside(const struct volume *v, const struct wish *wish)
{
    return wish->offset_bytes % VOLUME_SECTOR_BYTES == 0 &&
           wish->length_bytes % VOLUME_SECTOR_BYTES == 0 && wish->length_bytes != 0 &&
           wish->offset_bytes <= v->root.size_bytes &&
           wish->length_bytes <= v->root.size_bytes - wish->offset_bytes;
}

static int accept_req(struct volume *v, struct volume_req *req, const struct wish *wish,
                      volume_cb cb)
{
    bool changes =
        wish->op == VOLUME_OP_WRITE || wish->op == VOLUME_OP_TRIM || wish->op == VOLUME_OP_ZEROES;
    int rc;

    if (wish->op != VOLUME_OP_FLUSH && !is_inside(v, wish)) {
        return err_set(&req->err, -EINVAL, "volume %s: %" PRIu64 " bytes at %" PRIu64, v->name,
                       wish->length_bytes, wish->offset_bytes);
    }
    rc = refuse(v, req, changes);
    if (rc != 0) {
        return rc;
    }
    v->requests++;
    req->volume = v;
    req->cb = cb;
    req->op = wish->op;
    req->flags = wish->flags;
    req->offset_bytes = wish->offset_bytes;
    req->length_bytes = wish->length_bytes;
    req->submitted_ns = clock_mono_ns();
    return 0;
}

/* The length is that of the iovecs. */
static int accept_iov(struct volume *v, struct volume_req *req, struct wish wish,
                      const struct iovec *iov, int iov_count, volume_cb cb)
{
    for (int i = 0; i < iov_count; i++) {
        if (iov[i].iov_len > VOLUME_REQ_BYTES_MAX) {
            return err_set(&req->err, -EINVAL, "volume %s: request too long", v->name);
        }
        wish.length_bytes += iov[i].iov_len;
    }
    if (wish.length_bytes > VOLUME_REQ_BYTES_MAX) {
        return err_set(&req->err, -EINVAL, "volume %s: request too long", v->name);
    }
    req->iov = iov;
    req->iov_count = iov_count;
    return accept_req(v, req, &wish, cb);
}

int volume_read(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                const struct iovec *iov, int iov_count, volume_cb cb)
{
    struct wish wish = {.op = VOLUME_OP_READ, .offset_bytes = offset_bytes};
    int rc = accept_iov(v, req, wish, iov, iov_count, cb);

    if (rc == 0) {
        volume_submit_read(req);
    }
    return rc;
}

int volume_write(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                 const struct iovec *iov, int iov_count, unsigned flags, volume_cb cb)
{
    struct wish wish = {.op = VOLUME_OP_WRITE, .offset_bytes = offset_bytes, .flags = flags};
    int rc = accept_iov(v, req, wish, iov, iov_count, cb);

    if (rc == 0) {
        volume_submit_write(req);
    }
    return rc;
}

static int submit_zero(struct volume *v, struct volume_req *req, const struct wish *wish,
                       volume_cb cb)
{
    int rc = accept_req(v, req, wish, cb);

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
    struct wish wish = {.op = VOLUME_OP_TRIM,
                        .offset_bytes = offset_bytes,
                        .length_bytes = length_bytes,
                        .flags = flags};

    return submit_zero(v, req, &wish, cb);
}

int volume_write_zeroes(struct volume *v, struct volume_req *req, uint64_t offset_bytes,
                        uint64_t length_bytes, unsigned flags, volume_cb cb)
{
    struct wish wish = {.op = VOLUME_OP_ZEROES,
                        .offset_bytes = offset_bytes,
                        .length_bytes = length_bytes,
                        .flags = flags};

    return submit_zero(v, req, &wish, cb);
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
    struct wish wish = {.op = VOLUME_OP_FLUSH};
    int rc = accept_req(v, req, &wish, cb);

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
    struct wish wish = {
        .op = VOLUME_OP_STATUS, .offset_bytes = offset_bytes, .length_bytes = length_bytes};
    int rc = accept_req(v, req, &wish, cb);

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
