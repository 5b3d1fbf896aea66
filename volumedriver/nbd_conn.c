/* OPEN: requests are read and started; replies leave at the end of each turn of the loop.
 * ENDING (the client said NBD_CMD_DISC or closed its side): nothing more is read, what is in
 * flight gets its reply. DEAD (all that is done, or the socket failed, broke the protocol,
 * stalled or was killed): the socket is closed; when the volume has given every request back,
 * the server is told, takes the connection off its export and has it freed here. */
#include "volumedriver/nbd_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "volumedriver/nbd_private.h"

enum {
    RECEIVE_TURNS = 4, /* reads of one connection before others have their turn */
    LOG_EVERY_MS = 1000,
};

/* ---- the end ---- */

static void on_end(struct nbd_mail *mail)
{
    struct nbd_conn *conn = container_of(mail, struct nbd_conn, end_mail);

    conn->end_cb(conn->ctx, conn);
}

static void end_when_idle(struct nbd_conn *conn)
{
    if (conn->poll_open || conn->reqs != 0) {
        return;
    }
    list_remove(&conn->all);
    list_remove(&conn->due);
    nbd_target_put(conn->target);
    nbd_mailbox_post(conn->home, &conn->end_mail, on_end);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct nbd_conn *conn = container_of((uv_poll_t *)handle, struct nbd_conn, poll);

    conn->poll_open = false;
    end_when_idle(conn);
}

static void drop_list(struct nbd_conn *conn, struct list *l)
{
    LIST_FOR_EACH_SAFE (it, l) {
        struct nbd_req *req = container_of(it, struct nbd_req, link);

        if (req->conn == conn) {
            list_remove(it);
            nbd_req_free(req);
        }
    }
}

static void log_close(struct nbd_conn *conn, const char *why)
{
    unsigned long skipped;

    if (log_limit_pass(&conn->worker->log, LOG_EVERY_MS, &skipped)) {
        log_warn("nbd", "connection dropped", "volume=%s peer=%s requests=%u why='%s' skipped=%lu",
                 volume_name(conn->volume), conn->peer, conn->reqs, why, skipped);
    }
}

void nbd_conn_close(struct nbd_conn *conn, const char *why)
{
    if (conn->phase == NBD_CONN_DEAD) {
        return;
    }
    if (why != NULL) {
        log_close(conn, why);
    }
    conn->phase = NBD_CONN_DEAD;
    nbd_room_leave(conn);
    drop_list(conn, &conn->out);
    drop_list(conn, &conn->target->starved);
    if (conn->fill != NULL) {
        nbd_req_free(conn->fill);
        conn->fill = NULL;
    }
    free(conn->stash);
    conn->stash = NULL;
    if (conn->poll_open) {
        uv_close((uv_handle_t *)&conn->poll, on_poll_closed);
    }
    close(conn->fd);
    nbd_worker_schedule(conn->worker, conn);
}

/* ---- receiving ---- */

/* Takes the room that another request with so much payload needs first, if there is some. */
static bool admits(struct nbd_conn *conn, const struct nbd_request *cmd, size_t bytes)
{
    if (conn->reqs >= NBD_CONN_REQS_MAX) {
        return false;
    }
    if (conn->bytes != 0 && conn->bytes + bytes > NBD_CONN_BYTES_MAX) {
        return false;
    }
    return nbd_room_take(conn, cmd->type == NBD_CMD_WRITE, nbd_req_first_bytes(cmd, bytes));
}

/* Take the request in conn->head. A refused write still sends its payload, which is thrown
 * away as it comes; the reply waits for its end, as clients expect. */
static void take_request(struct nbd_conn *conn)
{
    struct nbd_request cmd;
    enum nbd_error error;
    const char *message = NULL;
    struct nbd_req *req;
    size_t bytes;

    if (nbd_request_decode(&cmd, conn->head) != 0) {
        nbd_conn_close(conn, "bad magic of a request");
        return;
    }
    if (cmd.type == NBD_CMD_DISC) {
        conn->phase = NBD_CONN_ENDING;
        nbd_worker_schedule(conn->worker, conn);
        return;
    }
    error = nbd_command_check(conn, &cmd, &message);
    bytes = error == NBD_SUCCESS ? nbd_command_bytes(&cmd) : 0;
    if (!admits(conn, &cmd, bytes)) {
        conn->blocked = true;
        return;
    }
    conn->head_bytes = 0;
    req = nbd_req_new(conn, &cmd, bytes);
    req->error = error;
    req->message = message;
    if (cmd.type == NBD_CMD_WRITE && cmd.length != 0) {
        conn->fill = req;
        conn->fill_left = cmd.length;
        nbd_conn_begins(conn);
    } else {
        nbd_command_start(req);
    }
}

/* `bytes` of the payload are in place, or were thrown away. */
static void filled(struct nbd_conn *conn, size_t bytes)
{
    struct nbd_req *req = conn->fill;

    conn->fill_left -= bytes;
    if (conn->fill_left == 0) {
        conn->fill = NULL;
        nbd_room_unfavour(conn);
        nbd_command_start(req);
    }
}

/* Where the next bytes of the payload go; NULL: they are thrown away. */
static uint8_t *fill_place(const struct nbd_conn *conn, size_t *ret_bytes)
{
    const struct nbd_req *req = conn->fill;
    size_t at = req->data_bytes - conn->fill_left;

    if (req->data_bytes == 0) {
        *ret_bytes = conn->fill_left;
        return NULL;
    }
    *ret_bytes = req->held_bytes - at;
    if (req->data != NULL) {
        return req->data + at;
    }
    return (uint8_t *)req->iovs[at / NBD_ROOM_WINDOW_BYTES].iov_base + at % NBD_ROOM_WINDOW_BYTES;
}

/* Room for what comes next, once there is something to put into it. */
static void fill_widen(struct nbd_conn *conn)
{
    struct nbd_req *req = conn->fill;

    if (req == NULL || req->held_bytes == req->data_bytes ||
        req->held_bytes != req->data_bytes - conn->fill_left) {
        return;
    }
    if (!nbd_room_take(conn, true, req->iovs[req->held_bytes / NBD_ROOM_WINDOW_BYTES].iov_len)) {
        conn->blocked = true;
        return;
    }
    nbd_req_widen(req);
}

/* Take what was read. What a limit keeps us from taking is put by. */
static void consume(struct nbd_conn *conn, const uint8_t *data, size_t bytes)
{
    while (bytes != 0 && conn->phase == NBD_CONN_OPEN && !conn->blocked) {
        size_t taken;

        fill_widen(conn);
        if (conn->blocked) {
            break;
        }
        if (conn->fill != NULL) {
            uint8_t *place = fill_place(conn, &taken);

            taken = bytes < taken ? bytes : taken;
            if (place != NULL) {
                memcpy(place, data, taken);
            }
            filled(conn, taken);
        } else {
            taken = NBD_REQUEST_BYTES - conn->head_bytes;
            taken = bytes < taken ? bytes : taken;
            memcpy(conn->head + conn->head_bytes, data, taken);
            conn->head_bytes += taken;
            if (conn->head_bytes == NBD_REQUEST_BYTES) {
                take_request(conn);
            }
        }
        data += taken;
        bytes -= taken;
    }
    if (bytes != 0 && conn->blocked) {
        conn->stash = mem_dup(data, bytes);
        conn->stash_bytes = bytes;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void update_poll(struct nbd_conn *conn)
{
    int events = 0;

    if (conn->phase == NBD_CONN_DEAD) {
        return;
    }
    if (conn->phase == NBD_CONN_OPEN && !conn->blocked) {
        events |= UV_READABLE;
    }
    if (conn->send_blocked) {
        events |= UV_WRITABLE;
    }
    if (events == conn->poll_events) {
        return;
    }
    conn->poll_events = events;
    if (events != 0) {
        CHECK(uv_poll_start(&conn->poll, events, on_poll) == 0);
    } else {
        uv_poll_stop(&conn->poll);
    }
}

/* Go on after a limit, once there is some room again (not for each single place, which would
 * cost two system calls each time). */
static void resume(struct nbd_conn *conn)
{
    uint8_t *stash = conn->stash;
    size_t bytes = conn->stash_bytes;

    if (conn->reqs > NBD_CONN_REQS_MAX / 4 * 3) {
        return;
    }
    conn->blocked = false;
    fill_widen(conn);
    if (!conn->blocked && conn->head_bytes == NBD_REQUEST_BYTES) {
        take_request(conn);
    }
    if (conn->blocked) {
        return;
    }
    nbd_conn_begins(conn);
    conn->stash = NULL;
    conn->stash_bytes = 0;
    consume(conn, stash, bytes);
    free(stash);
}

/* One system call: what fits of a payload goes to its place, what follows it to the scratch. */
static ssize_t receive_once(struct nbd_conn *conn, size_t *ret_asked, size_t *ret_direct)
{
    struct iovec iov[2];
    size_t direct = 0;
    int count = 0;
    ssize_t n;

    if (conn->fill != NULL) {
        uint8_t *place = fill_place(conn, &direct);

        direct = place != NULL ? direct : 0;
        iov[0] = (struct iovec){.iov_base = place, .iov_len = direct};
        count = place != NULL;
    }
    *ret_asked = direct;
    if (direct == 0 || direct == conn->fill_left) { /* or another window follows */
        iov[count++] =
            (struct iovec){.iov_base = conn->worker->scratch, .iov_len = NBD_SCRATCH_BYTES};
        *ret_asked += NBD_SCRATCH_BYTES;
    }
    do {
        n = readv(conn->fd, iov, count);
    } while (n < 0 && errno == EINTR);
    *ret_direct = n > 0 && (size_t)n < direct ? (size_t)n : direct;
    return n < 0 ? -errno : n;
}

static void drop_half_read(struct nbd_conn *conn)
{
    if (conn->fill != NULL) {
        nbd_room_unfavour(conn);
        nbd_req_free(conn->fill);
        conn->fill = NULL;
    }
}

static void receive(struct nbd_conn *conn)
{
    for (int turn = 0; turn < RECEIVE_TURNS; turn++) {
        size_t asked, direct;
        ssize_t n;

        fill_widen(conn);
        if (conn->blocked) {
            return;
        }
        n = receive_once(conn, &asked, &direct);
        if (n == -EAGAIN) {
            return;
        }
        if (n < 0) {
            nbd_conn_close(conn, strerror((int)-n));
            return;
        }
        if (n == 0) { /* as NBD_CMD_DISC */
            drop_half_read(conn);
            conn->phase = NBD_CONN_ENDING;
            nbd_worker_schedule(conn->worker, conn);
            return;
        }
        nbd_conn_moved(conn, (size_t)n);
        if (direct != 0) {
            filled(conn, direct);
        }
        consume(conn, conn->worker->scratch, (size_t)n - direct);
        if ((size_t)n < asked || conn->phase != NBD_CONN_OPEN || conn->blocked) {
            return;
        }
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct nbd_conn *conn = container_of(poll, struct nbd_conn, poll);

    if (status < 0) { /* libuv tells of any error as EBADF; the socket knows which */
        int error = 0;
        socklen_t bytes = sizeof(error);

        (void)getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
        nbd_conn_close(conn, error != 0 ? strerror(error) : "the peer is gone");
        return;
    }
    if ((events & UV_READABLE) != 0) {
        receive(conn);
    }
    if ((events & UV_WRITABLE) != 0) {
        conn->send_blocked = false;
        nbd_worker_schedule(conn->worker, conn);
    }
    update_poll(conn);
}

void nbd_conn_turn(struct nbd_conn *conn)
{
    if (conn->phase != NBD_CONN_DEAD && !conn->send_blocked) {
        nbd_reply_send(conn);
    }
    if (conn->phase == NBD_CONN_OPEN && conn->blocked) {
        resume(conn);
    }
    if (conn->phase == NBD_CONN_ENDING || (conn->phase == NBD_CONN_OPEN && conn->draining)) {
        unsigned half_read = conn->fill != NULL;

        if (conn->reqs == half_read) {
            nbd_conn_close(conn, NULL);
        }
    }
    if (conn->phase == NBD_CONN_DEAD) {
        end_when_idle(conn);
        return;
    }
    update_poll(conn);
}

/* ---- between the threads ---- */

static void on_start(struct nbd_mail *mail)
{
    struct nbd_conn *conn = container_of(mail, struct nbd_conn, start_mail);
    struct nbd_worker *w = conn->worker;
    int rc;

    conn->target = nbd_target_get(w, conn->volume);
    nbd_worker_add(w, conn);
    rc = uv_poll_init(w->loop, &conn->poll, conn->fd);
    if (rc != 0) {
        nbd_conn_close(conn, uv_strerror(rc));
        return;
    }
    conn->poll_open = true;
    resume(conn);
    update_poll(conn);
}

static void on_drain(struct nbd_mail *mail)
{
    struct nbd_conn *conn = container_of(mail, struct nbd_conn, drain_mail);

    if (conn->phase != NBD_CONN_DEAD) {
        conn->draining = true;
        nbd_worker_schedule(conn->worker, conn);
    }
}

static void on_kill(struct nbd_mail *mail)
{
    nbd_conn_close(container_of(mail, struct nbd_conn, kill_mail), NULL);
}

/* Behind every other mail to this connection. */
static void on_free(struct nbd_mail *mail)
{
    struct nbd_conn *conn = container_of(mail, struct nbd_conn, start_mail);

    free(conn->peer);
    free(conn);
}

struct nbd_conn *nbd_conn_start(const struct nbd_conn_options *options)
{
    struct nbd_conn *conn = mem_zalloc(sizeof(*conn));

    conn->worker = options->export->worker;
    conn->export = options->export;
    conn->volume = options->export->volume;
    conn->fd = options->fd;
    conn->structured = options->structured;
    conn->allocation = options->allocation;
    conn->read_only = options->export->read_only;
    conn->stall_timeout_ms = options->stall_timeout_ms;
    conn->peer = mem_strdup(options->peer);
    conn->home = options->home;
    conn->end_cb = options->end_cb;
    conn->ctx = options->ctx;
    conn->stash = mem_dup(options->unread, options->unread_bytes);
    conn->stash_bytes = options->unread_bytes;
    conn->blocked = true; /* until on_start() resumes it */
    list_init(&conn->all);
    list_init(&conn->due);
    list_init(&conn->hungry);
    list_init(&conn->out);
    list_push(options->conns, &conn->link);
    nbd_mailbox_post(&conn->worker->mailbox, &conn->start_mail, on_start);
    return conn;
}

void nbd_conn_drain(struct nbd_conn *conn)
{
    nbd_mailbox_post(&conn->worker->mailbox, &conn->drain_mail, on_drain);
}

void nbd_conn_kill(struct nbd_conn *conn)
{
    nbd_mailbox_post(&conn->worker->mailbox, &conn->kill_mail, on_kill);
}

struct nbd_export *nbd_conn_export(const struct nbd_conn *conn)
{
    return conn->export;
}

struct nbd_conn *nbd_conn_of_link(struct list *link)
{
    return container_of(link, struct nbd_conn, link);
}

void nbd_conn_free(struct nbd_conn *conn)
{
    list_remove(&conn->link);
    nbd_mailbox_post(&conn->worker->mailbox, &conn->start_mail, on_free);
}
