/* From a decoded request to the volume and back.
 *
 * nbd_command_start -> volume_…() -> on_done -> nbd_reply_…(). A volume that is too busy
 * leaves the request on its target's list; whenever a request of that volume ends, the oldest
 * ones are tried again (and a timer tries, should the volume be busy with others' requests). */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "base/check.h"
#include "volumedriver/nbd_handshake.h"
#include "volumedriver/nbd_private.h"

enum {
    RETRY_MS = 10,
    EXTENTS_MAX = 128,
    LOG_EVERY_MS = 1000,
};

static_assert((int)NBD_BLOCK_MIN_BYTES == (int)VOLUME_SECTOR_BYTES, "what we promise");
static_assert((int)NBD_BLOCK_MAX_BYTES == (int)VOLUME_REQ_BYTES_MAX, "what we promise");

static bool is_write(uint16_t type)
{
    return type == NBD_CMD_WRITE || type == NBD_CMD_WRITE_ZEROES || type == NBD_CMD_TRIM;
}

/* Which flags a command may have. FUA is accepted with every command, as the protocol asks. */
static unsigned flags_of(const struct nbd_conn *conn, uint16_t type)
{
    switch (type) {
    case NBD_CMD_READ:
        return NBD_CMD_FLAG_FUA | (conn->structured ? NBD_CMD_FLAG_DF : 0);
    case NBD_CMD_WRITE_ZEROES:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO;
    case NBD_CMD_BLOCK_STATUS:
        return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE;
    default:
        return NBD_CMD_FLAG_FUA;
    }
}

static enum nbd_error refuse(enum nbd_error error, const char *message, const char **ret_message)
{
    *ret_message = message;
    return error;
}

static enum nbd_error check_range(const struct nbd_conn *conn, const struct nbd_request *cmd,
                                  const char **ret_message)
{
    uint64_t size_bytes = volume_size_bytes(conn->volume);
    bool grows = cmd->type == NBD_CMD_WRITE || cmd->type == NBD_CMD_WRITE_ZEROES;

    if (cmd->length == 0) {
        return refuse(NBD_EINVAL, "length is 0", ret_message);
    }
    if (cmd->offset % NBD_BLOCK_MIN_BYTES != 0 || cmd->length % NBD_BLOCK_MIN_BYTES != 0) {
        return refuse(NBD_EINVAL, "offset or length is not a multiple of 512", ret_message);
    }
    if (cmd->length > NBD_BLOCK_MAX_BYTES &&
        (cmd->type == NBD_CMD_READ || cmd->type == NBD_CMD_WRITE)) {
        return refuse(NBD_EINVAL, "longer than 32 MiB", ret_message);
    }
    if (cmd->offset > size_bytes || cmd->length > size_bytes - cmd->offset) {
        return refuse(grows ? NBD_ENOSPC : NBD_EINVAL, "beyond the end of the export", ret_message);
    }
    return NBD_SUCCESS;
}

enum nbd_error nbd_command_check(const struct nbd_conn *conn, const struct nbd_request *cmd,
                                 const char **ret_message)
{
    if (conn->draining) {
        return refuse(NBD_ESHUTDOWN, "the server is shutting down", ret_message);
    }
    if (cmd->type > NBD_CMD_BLOCK_STATUS || cmd->type == NBD_CMD_CACHE) {
        return refuse(NBD_EINVAL, "unknown command", ret_message);
    }
    if ((cmd->flags & ~flags_of(conn, cmd->type)) != 0) {
        return refuse(NBD_EINVAL, "flag not known for this command", ret_message);
    }
    if (conn->read_only && is_write(cmd->type)) {
        return refuse(NBD_EPERM, "the export is read only", ret_message);
    }
    if (cmd->type == NBD_CMD_FLUSH) {
        if (cmd->offset != 0 || cmd->length != 0) {
            return refuse(NBD_EINVAL, "flush with an offset or a length", ret_message);
        }
        return NBD_SUCCESS;
    }
    if (cmd->type == NBD_CMD_BLOCK_STATUS && !conn->allocation) {
        return refuse(NBD_EINVAL, "no metadata context was selected", ret_message);
    }
    return check_range(conn, cmd, ret_message);
}

size_t nbd_command_bytes(const struct nbd_request *cmd)
{
    switch (cmd->type) {
    case NBD_CMD_READ:
    case NBD_CMD_WRITE:
        return cmd->length;
    case NBD_CMD_BLOCK_STATUS:
        return NBD_STATUS_BYTES;
    default:
        return 0;
    }
}

static void log_failure(struct nbd_req *req, int rc)
{
    unsigned long skipped;

    if (log_limit_pass(&req->conn->worker->log, LOG_EVERY_MS, &skipped)) {
        log_warn("nbd", "request failed",
                 "volume=%s peer=%s command=%u offset=%" PRIu64 " length=%" PRIu32
                 " code=%d error='%s' skipped=%lu",
                 volume_name(req->conn->volume), req->conn->peer, req->cmd.type, req->cmd.offset,
                 req->cmd.length, rc, req->io.err.msg, skipped);
    }
}

static void finish(struct nbd_req *req, int rc)
{
    struct nbd_conn *conn = req->conn;

    if (conn->phase == NBD_CONN_DEAD) {
        nbd_req_free(req);
        nbd_worker_schedule(conn->worker, conn);
        return;
    }
    if (rc == -EROFS && req->cmd.type == NBD_CMD_FLUSH) {
        rc = 0; /* nothing was written, so nothing waits for a flush */
    }
    if (rc != 0) {
        log_failure(req, rc);
        nbd_reply_error(req, nbd_error_of(rc), req->io.err.msg);
    } else if (req->cmd.type == NBD_CMD_READ) {
        nbd_reply_read(req);
    } else if (req->cmd.type == NBD_CMD_BLOCK_STATUS) {
        nbd_reply_status(req);
    } else {
        nbd_reply_success(req);
    }
}

static void retry(struct nbd_target *target);

static void on_done(struct volume_req *io, int rc)
{
    struct nbd_req *req = container_of(io, struct nbd_req, io);
    struct nbd_target *target = req->conn->target; /* outlives this turn of the loop */

    finish(req, rc);
    retry(target);
}

/* The protocol lets NO_HOLE ask for provisioned space. A log-structured volume writes every
 * block to a new place anyway, so zeroes stored as bytes would provision nothing either: both
 * forms are one small record, which also makes every request for zeroes a fast one. */
static int submit(struct nbd_req *req)
{
    const struct nbd_request *cmd = &req->cmd;
    struct volume *v = req->conn->volume;
    unsigned flags = (cmd->flags & NBD_CMD_FLAG_FUA) != 0 ? VOLUME_FUA : 0;
    unsigned extents_max = (cmd->flags & NBD_CMD_FLAG_REQ_ONE) != 0 ? 1 : EXTENTS_MAX;

    switch (cmd->type) {
    case NBD_CMD_READ:
        return volume_read(v, &req->io, cmd->offset, req->iovs, req->iov_count, on_done);
    case NBD_CMD_WRITE:
        return volume_write(v, &req->io, cmd->offset, req->iovs, req->iov_count, flags, on_done);
    case NBD_CMD_FLUSH:
        return volume_flush(v, &req->io, on_done);
    case NBD_CMD_TRIM:
        return volume_trim(v, &req->io, cmd->offset, cmd->length, flags, on_done);
    case NBD_CMD_WRITE_ZEROES:
        return volume_write_zeroes(v, &req->io, cmd->offset, cmd->length, flags, on_done);
    case NBD_CMD_BLOCK_STATUS:
        return volume_block_status(v, &req->io, cmd->offset, cmd->length,
                                   (struct volume_extent *)(void *)req->data, extents_max, on_done);
    default:
        CHECK(false); /* nbd_command_check() */
        return -EINVAL;
    }
}

/* False: the volume is too busy. */
static bool try_submit(struct nbd_req *req)
{
    int rc = submit(req);

    if (rc == ERR_BUSY) {
        return false;
    }
    if (rc != 0) {
        finish(req, rc);
    }
    return true;
}

static void retry(struct nbd_target *target)
{
    struct list *link;

    while ((link = list_pop(&target->starved)) != NULL) {
        if (!try_submit(container_of(link, struct nbd_req, link))) {
            list_push_front(&target->starved, link);
            return;
        }
    }
}

static void on_retry(uv_timer_t *timer)
{
    struct nbd_worker *w = timer->data;
    bool starved = false;

    LIST_FOR_EACH (it, &w->targets) {
        struct nbd_target *target = container_of(it, struct nbd_target, link);

        retry(target);
        starved = starved || !list_empty(&target->starved);
    }
    if (!starved) {
        uv_timer_stop(&w->retry);
    }
}

void nbd_command_start(struct nbd_req *req)
{
    struct nbd_conn *conn = req->conn;

    if (req->error != NBD_SUCCESS) {
        nbd_reply_error(req, req->error, req->message);
        return;
    }
    if (list_empty(&conn->target->starved) && try_submit(req)) {
        return;
    }
    list_push(&conn->target->starved, &req->link);
    if (!uv_is_active((uv_handle_t *)&conn->worker->retry)) {
        uv_timer_start(&conn->worker->retry, on_retry, RETRY_MS, RETRY_MS);
    }
}
