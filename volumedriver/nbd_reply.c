/* Replies: built when a request ends, sent together at the end of the loop's turn.
 *
 * A reply is a list of segments that borrow the request's head, its data and static text,
 * so one system call sends many replies without copying any. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/check.h"
#include "volumedriver/nbd_handshake.h"
#include "volumedriver/nbd_private.h"

enum {
    SEND_SEGS_MAX = 512,
    HOLE_STEP_BYTES = 4096,
    HOLE_BYTES_MIN = 65536, /* shorter runs of zeroes travel as data, unless they are all */
};

static void add_segment(struct nbd_req *req, const void *data, size_t bytes)
{
    CHECK(req->seg_count < NBD_REPLY_SEGS_MAX);
    req->segs[req->seg_count++] =
        (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
}

static void queue(struct nbd_req *req)
{
    struct nbd_conn *conn = req->conn;

    if (list_empty(&conn->out)) {
        nbd_conn_begins(conn);
    }
    list_push(&conn->out, &req->link);
    nbd_worker_schedule(conn->worker, conn);
}

void nbd_reply_error(struct nbd_req *req, enum nbd_error error, const char *message)
{
    size_t bytes = strlen(message);

    if (req->conn->structured) {
        nbd_error_chunk_encode(req->head, req->cmd.cookie, error, (uint16_t)bytes);
        add_segment(req, req->head, NBD_ERROR_CHUNK_BYTES);
        if (bytes != 0) {
            add_segment(req, message, bytes);
        }
    } else {
        nbd_simple_reply_encode(req->head, req->cmd.cookie, error);
        add_segment(req, req->head, NBD_SIMPLE_REPLY_BYTES);
    }
    queue(req);
}

void nbd_reply_success(struct nbd_req *req)
{
    nbd_simple_reply_encode(req->head, req->cmd.cookie, NBD_SUCCESS);
    add_segment(req, req->head, NBD_SIMPLE_REPLY_BYTES);
    queue(req);
}

static bool is_zero(const uint8_t *data, size_t bytes)
{
    uint64_t first;

    memcpy(&first, data, sizeof(first)); /* data ends this at once, mostly */
    return first == 0 && memcmp(data, data + 8, bytes - 8) == 0;
}

/* End of the run of steps that begins at `from` and are all zero, or all not. */
static size_t run_end(const uint8_t *data, size_t bytes, size_t from, bool *ret_zero)
{
    size_t at = from;
    bool zero = false;

    while (at < bytes) {
        size_t step = bytes - at < HOLE_STEP_BYTES ? bytes - at : HOLE_STEP_BYTES;
        bool step_zero = is_zero(data + at, step);

        if (at == from) {
            zero = step_zero;
        } else if (step_zero != zero) {
            break;
        }
        at += step;
    }
    *ret_zero = zero;
    return at;
}

/* The next run of zeroes, from `from` on, that is worth a chunk of its own. False: none. */
static bool find_hole(const struct nbd_req *req, size_t from, size_t *ret_begin, size_t *ret_end)
{
    bool one_chunk = (req->cmd.flags & NBD_CMD_FLAG_DF) != 0;
    size_t bytes = req->data_bytes;

    for (size_t at = from; at < bytes;) {
        bool zero;
        size_t end = run_end(req->data, bytes, at, &zero);
        bool whole = at == 0 && end == bytes;

        if (zero && (whole || (!one_chunk && end - at >= HOLE_BYTES_MIN))) {
            *ret_begin = at;
            *ret_end = end;
            return true;
        }
        if (one_chunk) {
            return false;
        }
        at = end;
    }
    return false;
}

/* The head of the data chunk [begin, end) at `place`. */
static void put_data_head(const struct nbd_req *req, uint8_t *place, size_t begin, size_t end)
{
    nbd_offset_data_encode(place, req->cmd.cookie, end == req->data_bytes ? NBD_REPLY_FLAG_DONE : 0,
                           req->cmd.offset + begin, (uint32_t)(end - begin));
}

static void put_hole(const struct nbd_req *req, uint8_t *place, size_t begin, size_t end)
{
    nbd_offset_hole_encode(place, req->cmd.cookie, end == req->data_bytes ? NBD_REPLY_FLAG_DONE : 0,
                           req->cmd.offset + begin, (uint32_t)(end - begin));
}

/* Data and holes take turns. The zeroes of a hole are not sent, so the heads that stand
 * before the data behind it are written over its last bytes, and leave in one segment with
 * that data; the very first head lies in the request. */
static void cut_reply(struct nbd_req *req)
{
    size_t bytes = req->data_bytes;
    uint8_t *data = req->data;
    size_t at = 0; /* what lies before is in the segments */
    size_t hole = 0, hole_end = 0, next = 0, next_end = 0;
    unsigned holes = 0;
    bool more = find_hole(req, 0, &hole, &hole_end);

    if (!more || hole != 0) {
        at = more ? hole : bytes;
        put_data_head(req, req->head, 0, at);
        add_segment(req, req->head, NBD_OFFSET_DATA_BYTES);
        add_segment(req, data, at);
    }
    while (more) {
        uint8_t *heads = data + hole_end;

        more = ++holes < NBD_REPLY_HOLES_MAX && find_hole(req, hole_end, &next, &next_end);
        at = more ? next : bytes;
        if (at != hole_end) {
            heads -= NBD_OFFSET_DATA_BYTES;
            put_data_head(req, heads, hole_end, at);
        }
        if (hole == 0) {
            put_hole(req, req->head, hole, hole_end);
            add_segment(req, req->head, NBD_OFFSET_HOLE_BYTES);
        } else {
            heads -= NBD_OFFSET_HOLE_BYTES;
            put_hole(req, heads, hole, hole_end);
        }
        if (heads != data + at) {
            add_segment(req, heads, (size_t)(data + at - heads));
        }
        hole = next;
        hole_end = next_end;
    }
}

void nbd_reply_read(struct nbd_req *req)
{
    if (req->conn->structured) {
        cut_reply(req);
    } else {
        nbd_simple_reply_encode(req->head, req->cmd.cookie, NBD_SUCCESS);
        add_segment(req, req->head, NBD_SIMPLE_REPLY_BYTES);
        add_segment(req, req->data, req->data_bytes);
    }
    queue(req);
}

/* The volume's extents lie at the start of the buffer; the descriptors, which are half as
 * long, are written over them from the same end. */
void nbd_reply_status(struct nbd_req *req)
{
    const struct volume_extent *extents = (const struct volume_extent *)(void *)req->data;
    unsigned count = req->io.extent_count;
    uint32_t payload_bytes = 4 + 8 * count;

    CHECK(count > 0 && count <= NBD_STATUS_BYTES / sizeof(*extents));
    for (unsigned i = 0; i < count; i++) {
        struct volume_extent extent = extents[i];
        uint32_t state = ((extent.flags & VOLUME_EXTENT_HOLE) != 0 ? NBD_STATE_HOLE : 0) |
                         ((extent.flags & VOLUME_EXTENT_ZERO) != 0 ? NBD_STATE_ZERO : 0);

        CHECK(extent.bytes > 0 && extent.bytes <= req->cmd.length);
        put_u32be(req->data + (size_t)i * 8, (uint32_t)extent.bytes);
        put_u32be(req->data + (size_t)i * 8 + 4, state);
    }
    nbd_chunk_encode(req->head, req->cmd.cookie, NBD_REPLY_FLAG_DONE, NBD_REPLY_TYPE_BLOCK_STATUS,
                     payload_bytes);
    put_u32be(req->head + NBD_CHUNK_HEAD_BYTES, NBD_CONTEXT_ALLOCATION);
    add_segment(req, req->head, NBD_CHUNK_HEAD_BYTES + 4);
    add_segment(req, req->data, (size_t)count * 8);
    queue(req);
}

static int gather(const struct nbd_conn *conn, struct iovec *iov, size_t *ret_bytes)
{
    int count = 0;
    size_t bytes = 0;

    LIST_FOR_EACH (it, &conn->out) {
        const struct nbd_req *req = container_of(it, struct nbd_req, link);

        for (unsigned i = req->seg_next; i < req->seg_count; i++) {
            if (count == SEND_SEGS_MAX) {
                goto out;
            }
            iov[count++] = req->segs[i];
            bytes += req->segs[i].iov_len;
        }
    }
out:
    *ret_bytes = bytes;
    return count;
}

static void sent(struct nbd_conn *conn, size_t bytes)
{
    while (!list_empty(&conn->out)) {
        struct nbd_req *req = container_of(conn->out.next, struct nbd_req, link);

        while (req->seg_next < req->seg_count) {
            struct iovec *seg = &req->segs[req->seg_next];

            if (bytes < seg->iov_len) {
                seg->iov_base = (uint8_t *)seg->iov_base + bytes;
                seg->iov_len -= bytes;
                return;
            }
            bytes -= seg->iov_len;
            req->seg_next++;
        }
        list_remove(&req->link);
        nbd_req_free(req);
    }
}

void nbd_reply_send(struct nbd_conn *conn)
{
    struct iovec iov[SEND_SEGS_MAX];

    conn->send_blocked = false;
    while (!list_empty(&conn->out)) {
        struct msghdr msg = {.msg_iov = iov};
        size_t bytes;
        ssize_t n;

        msg.msg_iovlen = (size_t)gather(conn, iov, &bytes);
        do {
            n = sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        } while (n < 0 && errno == EINTR);
        if (n < 0 && errno != EAGAIN) {
            nbd_conn_close(conn, strerror(errno));
            return;
        }
        if (n > 0) {
            nbd_conn_moved(conn, (size_t)n);
            sent(conn, (size_t)n);
        }
        if (n < 0 || (size_t)n < bytes) {
            conn->send_blocked = true;
            return;
        }
    }
}
