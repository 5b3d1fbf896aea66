#include "volumedriver/nbd_req.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/nbd_private.h"

size_t nbd_req_first_bytes(const struct nbd_request *cmd, size_t bytes)
{
    return cmd->type == NBD_CMD_WRITE && bytes > NBD_ROOM_WINDOW_BYTES ? NBD_ROOM_WINDOW_BYTES
                                                                       : bytes;
}

/* Payload in one buffer, or windows; of these only the first has one yet. */
static void get_buffers(struct nbd_req *req, struct nbd_pool *pool)
{
    req->iovs = &req->iov;
    req->iov_count = req->data_bytes != 0;
    req->data = NULL;
    req->iov = (struct iovec){.iov_len = req->data_bytes};
    if (req->held_bytes < req->data_bytes) {
        size_t windows = (req->data_bytes + NBD_ROOM_WINDOW_BYTES - 1) / NBD_ROOM_WINDOW_BYTES;

        req->iov_count = (int)windows;
        req->iovs = mem_array(windows, sizeof(*req->iovs));
        for (size_t i = 0, left = req->data_bytes; i < windows; i++) {
            size_t bytes = left < NBD_ROOM_WINDOW_BYTES ? left : NBD_ROOM_WINDOW_BYTES;

            req->iovs[i] = (struct iovec){.iov_len = bytes};
            left -= bytes;
        }
    }
    if (req->held_bytes != 0) {
        req->iovs[0].iov_base = nbd_pool_get(pool, req->iovs[0].iov_len);
    }
    if (req->iovs == &req->iov) {
        req->data = req->iov.iov_base;
    }
}

void nbd_req_widen(struct nbd_req *req)
{
    struct iovec *window = &req->iovs[req->held_bytes / NBD_ROOM_WINDOW_BYTES];

    window->iov_base = nbd_pool_get(&req->conn->worker->pool, window->iov_len);
    req->held_bytes += window->iov_len;
}

static void put_buffers(struct nbd_req *req, struct nbd_pool *pool)
{
    for (int i = 0; i < req->iov_count; i++) {
        if (req->iovs[i].iov_base != NULL) {
            nbd_pool_put(pool, req->iovs[i].iov_base, req->iovs[i].iov_len);
        }
    }
    if (req->iovs != &req->iov) {
        free(req->iovs);
    }
}

struct nbd_req *nbd_req_new(struct nbd_conn *conn, const struct nbd_request *cmd, size_t bytes)
{
    struct nbd_worker *w = conn->worker;
    struct list *link = list_pop(&w->reqs_idle);
    struct nbd_req *req;

    if (link != NULL) {
        req = container_of(link, struct nbd_req, link);
        w->reqs_idle_count--;
    } else {
        req = mem_zalloc(sizeof(*req));
        list_init(&req->link);
    }
    req->conn = conn;
    req->cmd = *cmd;
    req->error = NBD_SUCCESS;
    req->message = NULL;
    req->data_bytes = bytes;
    req->held_bytes = nbd_req_first_bytes(cmd, bytes);
    get_buffers(req, &w->pool);
    req->seg_next = 0;
    req->seg_count = 0;
    req->io.err.msg[0] = '\0';
    conn->reqs++;
    conn->bytes += bytes;
    return req;
}

void nbd_req_free(struct nbd_req *req)
{
    struct nbd_conn *conn = req->conn;
    struct nbd_worker *w = conn->worker;

    conn->reqs--;
    conn->bytes -= req->data_bytes;
    put_buffers(req, &w->pool);
    nbd_room_give(conn, req->cmd.type == NBD_CMD_WRITE, req->held_bytes);
    if (w->reqs_idle_count < NBD_REQS_IDLE_MAX) {
        list_push_front(&w->reqs_idle, &req->link);
        w->reqs_idle_count++;
    } else {
        free(req);
    }
}
