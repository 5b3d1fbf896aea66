/* A request of an NBD connection: its command, the buffers of its payload, its reply.
 * Worker thread only. */
#ifndef VOLUMEDRIVER_NBD_REQ_H
#define VOLUMEDRIVER_NBD_REQ_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "volumedriver/nbd_proto.h"
#include "volumedriver/volume.h"

enum {
    NBD_REPLY_HOLES_MAX = 14,
    NBD_REPLY_SEGS_MAX = NBD_REPLY_HOLES_MAX + 2,
};

struct nbd_conn;

struct nbd_req {
    struct nbd_conn *conn;
    struct list link; /* nbd_conn.out, nbd_target.starved, nbd_worker.reqs_idle */
    struct nbd_request cmd;
    enum nbd_error error;          /* refused before it was started, … */
    const char *message;           /* … and why */
    uint8_t *data;                 /* payload, or room for it; NULL: none, or a write in windows */
    size_t data_bytes, held_bytes; /* held: what there is room for so far */
    struct iovec *iovs;            /* for the volume: &iov, of data; or the windows */
    int iov_count;
    struct iovec iov;
    unsigned seg_next, seg_count;
    struct iovec segs[NBD_REPLY_SEGS_MAX]; /* the reply */
    uint8_t head[NBD_OFFSET_HOLE_BYTES];   /* the reply's first bytes */
    struct volume_req io;
};

/* There is room for nbd_req_first_bytes() of it. */
struct nbd_req *nbd_req_new(struct nbd_conn *conn, const struct nbd_request *cmd, size_t bytes);
/* Of so much payload, what needs room from the start: one window of a write. */
size_t nbd_req_first_bytes(const struct nbd_request *cmd, size_t bytes);
/* A buffer for the next window, which there is room for. */
void nbd_req_widen(struct nbd_req *req);
/* Makes room: the caller sees to it that the connection has its turn. */
void nbd_req_free(struct nbd_req *req);

#endif
