/* Writing: net_stream_write() queues; at the end of the turn flush() hands all it can to
 * the kernel with one sendmsg. When the socket is full, a copied piece goes through
 * uv_write() and its callback tells when there is room again.
 *
 * Reading goes on while nobody objects: not paused by the owner, not choked by unsent
 * replies, not closing. What was read but not looked at stays in the framer. */

#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "net/stream_private.h"
#include "net/tls.h"

enum {
    IOV_MAX_PER_WRITE = 128,
    PROBE_BYTES_MAX = 16384,
    KEEPALIVE_S = 20,
    UNACKED_MS_MAX = 30000, /* a peer that vanished is noticed after this */
    /* Of a unix socket, whose buffer does not grow by itself: with less the two ends wake each
     * other for every few pages of a large frame. The kernel may grant less. */
    UNIX_SEND_BYTES = 2 << 20
};

static_assert((int)NET_FRAMER_RAW_BYTES_MAX <= (int)NET_HUB_HEADROOM_BYTES,
              "stash fits before a read");
static_assert(sizeof(struct iovec) == sizeof(uv_buf_t), "iovecs are uv buffers");

static void stream_run(struct net_task *task);

/* Fresh numbers for owners that compare with uv_now(); never 0. */
static uint64_t stream_now_ms(const struct net_stream *s)
{
    uint64_t now = uv_now(s->hub->loop);

    return now != 0 ? now : 1;
}

void net_stream_down(struct net_stream *s, int rc)
{
    if (s->down || s->closing) {
        return;
    }
    s->down = true;
    s->framer.blocked = true;
    if (s->reading) {
        s->reading = false;
        s->receiving = false;
        uv_read_stop(&s->uv.stream);
    }
    s->ops->on_down(s, rc);
}

int net_stream_init(struct net_stream *s, struct net_hub *hub,
                    const struct net_stream_options *options)
{
    int rc;

    *s = (struct net_stream){.hub = hub,
                             .ops = options->ops,
                             .write_bytes_max = options->write_bytes_max,
                             .answers = options->answers,
                             .tls_ctx = options->tls};
    rc = options->is_unix ? uv_pipe_init(hub->loop, &s->uv.pipe, 0)
                          : uv_tcp_init(hub->loop, &s->uv.tcp);
    if (rc != 0) {
        return rc;
    }
    net_framer_init(&s->framer, &options->ops->framer, s, options->frame_bytes_max,
                    options->expect_raw);
    net_outq_init(&s->outq);
    net_task_init(&s->task, stream_run);
    s->uv.handle.data = s;
    s->connect.data = s;
    s->probe.data = s;
    return 0;
}

/* ---- connecting ---- */

static void tune_socket(struct net_stream *s)
{
    unsigned unacked_ms = UNACKED_MS_MAX;
    int send_bytes = UNIX_SEND_BYTES;
    uv_os_fd_t fd;

    if (s->uv.handle.type != UV_TCP) {
        uv_send_buffer_size(&s->uv.handle, &send_bytes);
        return;
    }
    uv_tcp_nodelay(&s->uv.tcp, 1);
    uv_tcp_keepalive(&s->uv.tcp, 1, KEEPALIVE_S);
    if (uv_fileno(&s->uv.handle, &fd) == 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
    }
}

static void on_uv_connect(uv_connect_t *req, int status)
{
    struct net_stream *s = req->data;

    if (s->closing) {
        return;
    }
    if (status != 0) {
        net_stream_down(s, status);
        return;
    }
    s->ops->on_connect(s);
}

int net_stream_connect(struct net_stream *s, const struct net_addr *addr)
{
    char ip[NET_ADDR_IP_MAX];

    if (addr->is_tls != (s->tls_ctx != NULL)) {
        return ERR_CONFIG;
    }
    if (addr->is_tls) {
        net_addr_ip(addr, ip);
        net_stream_tls_init(s, ip);
    }
    if (addr->is_unix) {
        uv_pipe_connect(&s->connect, &s->uv.pipe, addr->path, on_uv_connect);
        return 0;
    }
    return uv_tcp_connect(&s->connect, &s->uv.tcp, (const struct sockaddr *)&addr->sockaddr,
                          on_uv_connect);
}

int net_stream_accept(struct net_stream *s, uv_stream_t *listener)
{
    return uv_accept(listener, &s->uv.stream);
}

int net_stream_open(struct net_stream *s, int fd)
{
    return s->uv.handle.type == UV_TCP ? uv_tcp_open(&s->uv.tcp, fd)
                                       : uv_pipe_open(&s->uv.pipe, fd);
}

/* ---- reading ---- */

/* Who waits for the answer to each request is paused and taken up again with each. That costs no
 * system call, as libuv is told to stop only when something has come that may not be read. */
static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct net_stream *s = handle->data;
    size_t bytes = NET_HUB_SCRATCH_BYTES;
    uint8_t *data;

    (void)suggested;
    if (!s->receiving) {
        *ret_buf = uv_buf_init(NULL, 0); /* on_read() gets UV_ENOBUFS */
        return;
    }
    data = s->tls == NULL ? net_framer_buffer(&s->framer, &bytes) : NULL;
    if (data == NULL) {
        data = s->hub->scratch + NET_HUB_HEADROOM_BYTES;
    }
    *ret_buf = uv_buf_init((char *)data, (unsigned)bytes);
}

static void begin_pace(struct net_stream *s)
{
    s->read_paced_ms = stream_now_ms(s);
    s->paced_bytes = 0;
}

/* What began keeps the time when it began, however the bytes drip in: only much of it is
 * progress. */
void net_stream_note_read(struct net_stream *s, size_t bytes, uint64_t whole_count_before, int rc)
{
    if (rc != 0) {
        net_stream_down(s, rc);
    }
    s->read_bytes += bytes;
    s->paced_bytes += bytes;
    if (s->paced_bytes >= NET_HURRY_BYTES || s->read_since_ms == 0) {
        begin_pace(s);
    }
    if (!net_framer_is_partial(&s->framer) || !s->reading) {
        s->read_since_ms = 0;
        s->read_bytes = 0;
    } else if (s->read_since_ms == 0 || s->framer.whole_count != whole_count_before ||
               s->read_bytes >= NET_PROGRESS_BYTES) {
        s->read_since_ms = stream_now_ms(s);
        s->read_bytes = 0;
    }
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf)
{
    struct net_stream *s = handle->data;
    uint64_t whole_count = s->framer.whole_count;
    uint8_t *data = (uint8_t *)buf->base;
    int rc;

    if (nread == 0) {
        return;
    }
    if (!s->receiving) {
        uv_read_stop(handle);
        return;
    }
    if (nread < 0) {
        if (s->tls != NULL) {
            net_stream_tls_cut(s, (int)nread);
        } else if (nread == UV_EOF && s->answers) {
            net_stream_end_reading(s, UV_EOF);
        } else {
            net_stream_down(s, (int)nread);
        }
        return;
    }
    if (s->tls != NULL) {
        net_stream_tls_take(s, data, (size_t)nread);
        return;
    }
    rc = data == s->hub->scratch + NET_HUB_HEADROOM_BYTES
             ? net_framer_feed(&s->framer, data, (size_t)nread)
             : net_framer_filled(&s->framer, (size_t)nread);
    net_stream_note_read(s, (size_t)nread, whole_count, rc);
}

/* Not while something is kept: what a peer sends ahead of what may be handed over stays in the
 * socket, where it is bounded, and where it is not copied at each turn. */
static void receive(struct net_stream *s)
{
    int rc = uv_read_start(&s->uv.stream, on_alloc, on_read);

    CHECK(rc == 0 || rc == UV_EALREADY);
    s->receiving = true;
}

static void update_reading(struct net_stream *s)
{
    bool want = s->connected && !s->paused && !s->choked && !s->closing && !s->down;

    s->framer.blocked = s->paused || s->choked || s->closing || s->down;
    if (want == s->reading) {
        return;
    }
    s->reading = want;
    if (!want) {
        s->receiving = false;
        s->read_since_ms = 0;
        return;
    }
    if (net_framer_is_partial(&s->framer)) {
        s->read_since_ms = stream_now_ms(s);
        begin_pace(s);
    }
    if (s->framer.stash != NULL || s->end_rc != 0) {
        net_hub_schedule(s->hub, &s->task); /* what was kept comes first */
    } else {
        receive(s);
    }
}

void net_stream_end_reading(struct net_stream *s, int rc)
{
    s->end_rc = rc;
    s->receiving = false;
    uv_read_stop(&s->uv.stream);
    net_hub_schedule(s->hub, &s->task);
}

/* What came before the end was handed over (it is, if no run is due), and its answers have left. */
static void end_if_used_up(struct net_stream *s)
{
    if (s->end_rc != 0 && !s->shaking && s->reading && list_empty(&s->task.link) &&
        (!s->answers || net_stream_unsent_bytes(s) == 0)) {
        net_stream_down(s, s->end_rc);
    }
}

void net_stream_pause(struct net_stream *s, bool paused)
{
    s->paused = paused;
    update_reading(s);
}

void net_stream_start(struct net_stream *s)
{
    s->connected = true;
    tune_socket(s);
    if (s->tls_ctx != NULL && s->tls == NULL) {
        net_stream_tls_init(s, NULL);
    }
    update_reading(s);
    if (s->tls != NULL) {
        net_stream_tls_start(s);
    } else if (!net_outq_empty(&s->outq)) {
        net_hub_schedule(s->hub, &s->task);
    }
}

/* ---- writing ---- */

static void flush(struct net_stream *s);

static void update_choked(struct net_stream *s)
{
    size_t unsent = net_stream_unsent_bytes(s);

    if (unsent == 0) {
        s->write_since_ms = 0;
        s->written_bytes = 0;
    }
    if (s->write_bytes_max == 0) {
        return;
    }
    if (unsent > s->write_bytes_max) {
        s->choked = true;
    } else if (unsent <= s->write_bytes_max / 2) {
        s->choked = false;
    }
    update_reading(s);
}

void net_stream_note_sent(struct net_stream *s, size_t bytes)
{
    s->written_bytes += bytes;
    s->taken_bytes += bytes;
    if (s->written_bytes >= NET_PROGRESS_BYTES) {
        s->write_since_ms = stream_now_ms(s);
        s->written_bytes = 0;
    }
    if (s->taken_bytes >= NET_HURRY_BYTES &&
        s->taken_bytes >= net_stream_unsent_bytes(s) / NET_HURRY_PART) {
        s->write_paced_ms = stream_now_ms(s);
        s->taken_bytes = 0;
    }
    update_choked(s);
    if (s->ops->on_written != NULL && !s->closing && !s->down) {
        s->ops->on_written(s);
    }
}

static void on_probe(uv_write_t *req, int status)
{
    struct net_stream *s = req->data;
    size_t bytes = s->probe_bytes;

    s->probe_bytes = 0;
    if (s->tls != NULL) { /* its next probe brings its own memory */
        free(s->probe_data);
        s->probe_data = NULL;
    }
    if (s->closing) {
        return;
    }
    if (status != 0) {
        net_stream_down(s, status);
        return;
    }
    net_stream_note_sent(s, bytes);
    flush(s);
    end_if_used_up(s);
}

void net_stream_send_probe(struct net_stream *s, const uint8_t *data, size_t bytes)
{
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)data, (unsigned)bytes);
    int rc = uv_write(&s->probe, &s->uv.stream, &buf, 1, on_probe);

    s->probe_bytes = bytes;
    if (rc != 0) {
        s->probe_bytes = 0;
        net_stream_down(s, rc);
    }
}

/* The socket is full. libuv keeps what it is given until it is sent, so it gets a copy. */
static void send_copy(struct net_stream *s)
{
    size_t bytes;

    if (s->probe_data == NULL) {
        s->probe_data = mem_alloc(PROBE_BYTES_MAX);
    }
    bytes = net_outq_take(&s->outq, s->probe_data, PROBE_BYTES_MAX);
    net_stream_send_probe(s, s->probe_data, bytes);
}

static void flush(struct net_stream *s)
{
    if (s->tls != NULL) {
        net_stream_tls_flush(s);
        return;
    }
    while (s->connected && !s->closing && !s->down && s->probe_bytes == 0 &&
           !net_outq_empty(&s->outq)) {
        struct iovec iov[IOV_MAX_PER_WRITE];
        size_t bytes;
        unsigned n = net_outq_peek(&s->outq, iov, IOV_MAX_PER_WRITE, &bytes);
        int rc = uv_try_write(&s->uv.stream, (const uv_buf_t *)(const void *)iov, n);

        if (rc < 0 && rc != UV_EAGAIN) {
            net_stream_down(s, rc);
            return;
        }
        if (rc > 0) {
            net_outq_consume(&s->outq, (size_t)rc);
            net_stream_note_sent(s, (size_t)rc);
        }
        if ((rc < 0 || (size_t)rc < bytes) && !s->closing && !s->down) {
            send_copy(s);
        }
    }
}

/* Once in a turn of the loop, when something was queued or kept. */
static void stream_run(struct net_task *task)
{
    struct net_stream *s = container_of(task, struct net_stream, task);

    if (s->framer.stash != NULL && s->reading) {
        net_stream_note_read(s, 0, s->framer.whole_count, net_framer_resume(&s->framer));
        if (s->reading && s->end_rc == 0) {
            receive(s);
        }
    }
    flush(s);
    end_if_used_up(s);
}

void net_stream_write(struct net_stream *s, struct net_out *out)
{
    net_outq_push(&s->outq, out);
    if (s->write_since_ms == 0) {
        s->write_since_ms = stream_now_ms(s);
        s->write_paced_ms = s->write_since_ms;
        s->taken_bytes = 0;
    }
    update_choked(s);
    if (!s->closing && !s->down && s->probe_bytes == 0) {
        net_hub_schedule(s->hub, &s->task);
    }
}

bool net_stream_abandon(struct net_stream *s, struct net_out *out)
{
    bool goes_out = net_outq_abandon(&s->outq, out);

    update_choked(s);
    return goes_out;
}

size_t net_stream_unsent_bytes(const struct net_stream *s)
{
    return s->outq.bytes + s->probe_bytes;
}

/* ---- closing ---- */

static void on_uv_close(uv_handle_t *handle)
{
    struct net_stream *s = handle->data;

    net_outq_cancel(&s->outq);
    net_framer_release(&s->framer);
    net_tls_session_free(s->tls);
    free(s->probe_data);
    s->ops->on_closed(s);
}

void net_stream_close(struct net_stream *s)
{
    if (s->closing) {
        return;
    }
    s->closing = true;
    update_reading(s);
    net_task_cancel(&s->task);
    if (s->tls != NULL) {
        net_stream_tls_end(s);
    }
    uv_close(&s->uv.handle, on_uv_close);
}
