/* A connection is a visitor while it shakes hands, here; then a struct nbd_conn on the loop
 * of its volume, which posts a mail here when it ended.
 *
 * Closing: no new connections; visitors are dropped; connections drain, and are killed when
 * the time is up; the last one to end (or the last visitor to go) closes what is left. */
#include "volumedriver/nbd_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/listen.h"
#include "volumedriver/nbd_conn.h"
#include "volumedriver/nbd_handshake.h"
#include "volumedriver/nbd_mail.h"
#include "volumedriver/nbd_server_private.h"

enum {
    SWEEP_MS = 100,
    ACCEPTS_MAX = 64, /* in one turn of the loop */
    LOG_EVERY_MS = 1000,
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    KEEPALIVE_PROBES = 3,
};

/* ---- the end of connections, exports and the server ---- */

static void free_when_closed(struct nbd_server *s)
{
    if (--s->handles_open == 0) {
        nbd_server_close_cb cb = s->close_cb;
        void *ctx = s->close_ctx;

        free(s);
        cb(ctx);
    }
}

static void on_handle_closed(uv_handle_t *handle)
{
    free_when_closed(handle->data);
}

static void on_mailbox_closed(struct nbd_mailbox *box)
{
    free_when_closed(container_of(box, struct nbd_server, mailbox));
}

static void close_handle(struct nbd_server *s, uv_handle_t *handle)
{
    handle->data = s;
    s->handles_open++;
    uv_close(handle, on_handle_closed);
}

static void close_when_idle(struct nbd_server *s)
{
    if (!s->may_close || s->stats.connections != 0 || s->closed) {
        return;
    }
    s->closed = true;
    nbd_mailbox_close(&s->mailbox, on_mailbox_closed);
    close_handle(s, (uv_handle_t *)&s->sweep);
}

static void on_dropped(struct nbd_mail *mail)
{
    struct nbd_drop *drop = container_of(mail, struct nbd_drop, mail);
    nbd_server_drop_cb cb = drop->cb;
    void *ctx = drop->ctx;

    free(drop);
    cb(ctx);
}

/* By mail, so that the callback never runs inside nbd_server_drop_export(). */
static void tell_when_idle(struct nbd_server *s, struct nbd_export *export)
{
    if (export->attached != 0 || !export->dropped) {
        return;
    }
    LIST_FOR_EACH_SAFE (it, &s->drops) {
        struct nbd_drop *drop = container_of(it, struct nbd_drop, link);

        if (drop->export == export) {
            list_remove(it);
            nbd_mailbox_post(&s->mailbox, &drop->mail, on_dropped);
        }
    }
}

static void log_export(struct nbd_export *export, const char *event)
{
    unsigned long skipped;

    if (log_limit_pass(&export->log, LOG_EVERY_MS, &skipped)) {
        log_info("nbd", event, "export='%s' host=%s connections=%u skipped=%lu", export->name,
                 export->host.text, export->attached, skipped);
    }
}

void nbd_server_forget(struct nbd_server *s, struct nbd_export *export)
{
    if (export != NULL) {
        nbd_export_detach(export);
        if (export->attached == 0) {
            log_export(export, "host detached");
        }
        tell_when_idle(s, export);
    }
    s->stats.connections--;
    close_when_idle(s);
}

static void on_conn_end(void *ctx, struct nbd_conn *conn)
{
    struct nbd_server *s = ctx;
    struct nbd_export *export = nbd_conn_export(conn);

    nbd_conn_free(conn);
    s->stats.attached--;
    nbd_server_forget(s, export);
}

void nbd_server_hand_over(struct nbd_server *s, int fd, struct nbd_handshake *hs,
                          struct slice unread)
{
    struct nbd_conn_options options = {
        .fd = fd,
        .structured = hs->structured,
        .allocation = hs->allocation,
        .unread = unread.data,
        .unread_bytes = unread.len,
        .conns = &s->conns,
        .stall_timeout_ms = s->stall_timeout_ms,
        .peer = hs->host.text,
        .home = &s->mailbox,
        .end_cb = on_conn_end,
        .ctx = s,
    };

    options.export = nbd_handshake_detach(hs);
    if (options.export->attached == 1) {
        log_export(options.export, "host attached");
    }
    s->stats.attached++;
    nbd_conn_start(&options);
}

/* ---- listening ---- */

static void set_options(int fd, bool is_unix)
{
    const struct {
        int level, name, value;
    } tcp[] = {{IPPROTO_TCP, TCP_NODELAY, 1},
               {SOL_SOCKET, SO_KEEPALIVE, 1},
               {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
               {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
               {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES}};

    for (size_t i = 0; !is_unix && i < sizeof(tcp) / sizeof(*tcp); i++) {
        /* without them it still works, only slower or with a later end */
        (void)setsockopt(fd, tcp[i].level, tcp[i].name, &tcp[i].value, sizeof(tcp[i].value));
    }
}

static void welcome(struct nbd_listener *l, int fd, const struct sockaddr_storage *sa)
{
    struct nbd_server *s = l->server;
    struct net_addr peer = l->listen.addr;
    unsigned long skipped;

    s->stats.accepted++;
    if (!peer.is_unix && net_addr_of_sockaddr(&peer, (const struct sockaddr *)sa) != 0) {
        close(fd);
        return;
    }
    if (s->stats.connections >= s->connections_max) {
        s->stats.refused_limit++;
        if (log_limit_pass(&s->log, LOG_EVERY_MS, &skipped)) {
            log_warn("nbd", "too many connections", "limit=%u peer=%s skipped=%lu",
                     s->connections_max, peer.text, skipped);
        }
        close(fd);
        return;
    }
    set_options(fd, peer.is_unix);
    nbd_visitor_start(s, fd, &peer);
}

/* The next sweep listens again; until then callers wait in the backlog. */
static void pause_listener(struct nbd_listener *l, const char *why)
{
    unsigned long skipped;

    l->paused = true;
    uv_poll_stop(&l->poll);
    nbd_server_watch(l->server);
    if (log_limit_pass(&l->server->log, LOG_EVERY_MS, &skipped)) {
        log_warn("nbd", "cannot accept", "address=%s error='%s' skipped=%lu", l->listen.addr.text,
                 why, skipped);
    }
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct nbd_listener *l = poll->data;

    (void)events;
    if (status < 0) {
        pause_listener(l, uv_strerror(status));
        return;
    }
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage sa = {0};
        socklen_t bytes = sizeof(sa);
        int fd =
            accept4(l->listen.fd, (struct sockaddr *)&sa, &bytes, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            welcome(l, fd, &sa);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_listener(l, strerror(errno));
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* ---- deadlines ---- */

static void kill_conns(struct nbd_server *s, const struct nbd_export *export)
{
    LIST_FOR_EACH (it, &s->conns) {
        struct nbd_conn *conn = nbd_conn_of_link(it);

        if (export == NULL || nbd_conn_export(conn) == export) {
            nbd_conn_kill(conn);
        }
    }
}

static bool sweep_drops(struct nbd_server *s)
{
    bool waiting = false;

    LIST_FOR_EACH (it, &s->drops) {
        struct nbd_drop *drop = container_of(it, struct nbd_drop, link);

        if (!drop->killed && uv_now(s->loop) >= drop->kill_at_ms) {
            drop->killed = true;
            kill_conns(s, drop->export);
        }
        waiting = waiting || !drop->killed;
    }
    return waiting;
}

static void on_sweep(uv_timer_t *timer)
{
    struct nbd_server *s = timer->data;
    bool visitors = nbd_visitor_sweep(s);

    for (unsigned i = 0; i < s->listener_count && !s->closing; i++) {
        if (s->listeners[i].paused) {
            s->listeners[i].paused = false;
            uv_poll_start(&s->listeners[i].poll, UV_READABLE, on_listen);
        }
    }
    if (!sweep_drops(s) && !visitors) {
        uv_timer_stop(&s->sweep);
    }
}

void nbd_server_watch(struct nbd_server *s)
{
    if (!uv_is_active((uv_handle_t *)&s->sweep)) {
        uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    }
}

static void start_drop(struct nbd_server *s, struct nbd_drop *drop, unsigned drain_ms)
{
    drop->kill_at_ms = uv_now(s->loop) + drain_ms;
    list_push(&s->drops, &drop->link);
    nbd_visitor_drop(s, drop->export);
    LIST_FOR_EACH (it, &s->conns) {
        struct nbd_conn *conn = nbd_conn_of_link(it);

        if (drop->export == NULL || nbd_conn_export(conn) == drop->export) {
            nbd_conn_drain(conn);
        }
    }
    nbd_server_watch(s);
}

void nbd_server_drop_export(struct nbd_server *s, struct nbd_export *export, unsigned drain_ms,
                            nbd_server_drop_cb cb, void *ctx)
{
    struct nbd_drop *drop = mem_zalloc(sizeof(*drop));

    CHECK(!export->dropped && !s->closing);
    export->dropped = true;
    drop->export = export;
    drop->cb = cb;
    drop->ctx = ctx;
    start_drop(s, drop, drain_ms);
    tell_when_idle(s, export);
}

/* ---- life ---- */

static int open_listeners(struct nbd_server *s, const struct nbd_server_options *options,
                          struct err *e)
{
    for (unsigned i = 0; i < options->addr_count; i++) {
        int rc = net_listen_open(&s->listeners[i].listen, &options->addrs[i], e);

        if (rc != 0) {
            return rc;
        }
        s->listener_count++;
    }
    return 0;
}

static void close_listeners(struct nbd_server *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        net_listen_unlink(&s->listeners[i].listen);
        close(s->listeners[i].listen.fd);
    }
}

static void start_listeners(struct nbd_server *s)
{
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct nbd_listener *l = &s->listeners[i];

        l->server = s;
        CHECK(uv_poll_init(s->loop, &l->poll, l->listen.fd) == 0);
        l->poll.data = l;
        CHECK(uv_poll_start(&l->poll, UV_READABLE, on_listen) == 0);
    }
}

int nbd_server_new(uv_loop_t *loop, const struct nbd_server_options *options,
                   struct nbd_server **ret_server, struct err *e)
{
    struct nbd_server *s = mem_zalloc(sizeof(*s));
    int rc;

    CHECK(options->addr_count > 0 && options->addr_count <= NBD_ADDRS_MAX);
    rc = open_listeners(s, options, e);
    if (rc != 0) {
        close_listeners(s);
        free(s);
        *ret_server = NULL;
        return err_wrap(e, "nbd");
    }
    s->loop = loop;
    s->exports = options->exports;
    s->connections_max =
        options->connections_max != 0 ? options->connections_max : NBD_CONNECTIONS_MAX;
    s->handshake_timeout_ms = options->handshake_timeout_ms != 0 ? options->handshake_timeout_ms
                                                                 : NBD_HANDSHAKE_TIMEOUT_MS;
    s->hold_ms = options->hold_ms != 0 ? options->hold_ms : NBD_HOLD_MS;
    s->stall_timeout_ms =
        options->stall_timeout_ms != 0 ? options->stall_timeout_ms : NBD_STALL_TIMEOUT_MS;
    list_init(&s->visitors);
    list_init(&s->conns);
    list_init(&s->drops);
    nbd_mailbox_init(&s->mailbox, loop);
    uv_timer_init(loop, &s->sweep);
    s->sweep.data = s;
    start_listeners(s);
    *ret_server = s;
    return 0;
}

uint16_t nbd_server_port(const struct nbd_server *s, unsigned index)
{
    CHECK(index < s->listener_count);
    return net_addr_port(&s->listeners[index].listen.addr);
}

void nbd_server_stats(const struct nbd_server *s, struct nbd_server_stats *ret_stats)
{
    *ret_stats = s->stats;
}

static void on_close_mail(struct nbd_mail *mail)
{
    struct nbd_server *s = container_of(mail, struct nbd_server, close_drop.mail);

    s->may_close = true;
    close_when_idle(s);
}

void nbd_server_close(struct nbd_server *s, unsigned drain_ms, nbd_server_close_cb cb, void *ctx)
{
    CHECK(!s->closing);
    s->closing = true;
    s->close_cb = cb;
    s->close_ctx = ctx;
    s->handles_open = 1; /* the mailbox, closed last */
    for (unsigned i = 0; i < s->listener_count; i++) {
        close_handle(s, (uv_handle_t *)&s->listeners[i].poll);
    }
    close_listeners(s);
    start_drop(s, &s->close_drop, drain_ms);
    nbd_mailbox_post(&s->mailbox, &s->close_drop.mail, on_close_mail);
}
