/* connecting -> (preamble and UpdateSession sent, its reply read) -> idle <-> busy -> dropped
 *
 * Whatever goes wrong ends in proxy_client_conn_failed(), once, and the client drops the
 * connection. After that the stream calls nothing but on_closed. */

#include "net/proxy_conn.h"

#include <stdlib.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "wire/manifest.h"
#include "wire/proxy_msg.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

enum { CONNECT_TIMEOUT_MS = 1000, CONNECT_TLS_TIMEOUT_MS = 5000 };

static struct proxy_conn *conn_of(void *ctx)
{
    return container_of((struct net_stream *)ctx, struct proxy_conn, stream);
}

static void conn_fail(struct proxy_conn *conn, int rc, const char *what)
{
    struct err e;

    if (conn->state != PROXY_CONN_DROPPED) {
        err_set(&e, rc, "%s", what);
        proxy_client_conn_failed(conn->client, conn, &e);
    }
}

/* ---- handshake ---- */

static void hello_done(struct net_out *out, int rc)
{
    struct proxy_conn *conn = container_of(out, struct proxy_conn, hello);

    (void)rc;
    buf_release(&conn->hello_bytes);
}

static void on_connect(struct net_stream *s)
{
    struct proxy_conn *conn = conn_of(s);
    uint8_t wanted = MANIFEST_V3;
    struct proxy_session_entry entry = {.key = slice_str(PROXY_SESSION_MANIFEST_SER),
                                        .value = slice_of(&wanted, 1),
                                        .has_value = true};
    struct proxy_request request = {.code = PROXY_UPDATE_SESSION,
                                    .session = {.items = &entry, .count = 1}};
    uint8_t head[PROXY_HEAD_BYTES];
    struct gather g = {0};

    proxy_request_encode(&request, &g);
    proxy_request_head(head, gather_bytes(&g));
    proxy_preamble_put(&conn->hello_bytes);
    buf_put(&conn->hello_bytes, head, sizeof head);
    gather_flatten(&g, &conn->hello_bytes);
    gather_release(&g);
    conn->hello_iov =
        (struct iovec){.iov_base = conn->hello_bytes.data, .iov_len = conn->hello_bytes.len};
    conn->hello = (struct net_out){.iov = &conn->hello_iov, .iov_count = 1, .done = hello_done};
    net_stream_start(s);
    net_stream_write(s, &conn->hello);
}

/* The version the session got; 0 when the reply makes no sense. */
static unsigned session_version(struct rd payload)
{
    struct proxy_reply reply;
    unsigned version = MANIFEST_V1;
    struct err e;

    if (proxy_reply_decode(payload, PROXY_UPDATE_SESSION, &reply, &e) != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < reply.session.count; i++) {
        const struct proxy_setting *setting = &reply.session.items[i];

        if (slice_eq(setting->key, slice_str(PROXY_SESSION_MANIFEST_SER))) {
            version = setting->value.len == 1 ? setting->value.data[0] : 0;
        }
    }
    proxy_reply_release(&reply);
    return version <= MANIFEST_V3 ? version : 0;
}

static void hello_replied(struct proxy_conn *conn, int32_t code, struct rd payload)
{
    unsigned version = MANIFEST_V1; /* of proxies that do not know UpdateSession */
    struct err e;

    if (code != PROXY_RC_OK && code != PROXY_RC_UNKNOWN_OPERATION) {
        proxy_error_get(code, payload, &e);
        err_wrap(&e, "handshake");
        proxy_client_conn_failed(conn->client, conn, &e);
        return;
    }
    if (code == PROXY_RC_OK) {
        version = session_version(payload);
    }
    if (version == 0) {
        conn_fail(conn, ERR_PROTOCOL, "handshake");
        return;
    }
    proxy_client_conn_ready(conn->client, conn, version);
}

/* ---- replies ---- */

static void on_frame(void *ctx, uint8_t *frame, uint32_t bytes)
{
    struct proxy_conn *conn = conn_of(ctx);
    struct rd r = rd_of(frame, bytes);
    int32_t code;

    if (proxy_reply_head(&r, &code) != 0) {
        bigmem_free(frame);
        conn_fail(conn, ERR_PROTOCOL, "reply too short");
        return;
    }
    switch (conn->state) {
    case PROXY_CONN_CONNECTING:
        hello_replied(conn, code, r);
        bigmem_free(frame);
        break;
    case PROXY_CONN_BUSY:
        proxy_client_replied(conn->client, conn, code, r, frame);
        break;
    case PROXY_CONN_IDLE:
    case PROXY_CONN_DROPPED:
        bigmem_free(frame);
        conn_fail(conn, ERR_PROTOCOL, "reply that nobody asked for");
        break;
    }
}

static void on_down(struct net_stream *s, int rc)
{
    struct proxy_conn *conn = conn_of(s);
    const char *why = net_stream_why(s, rc);
    struct err e;

    if (rc == ERR_TOO_LARGE) {
        conn_fail(conn, ERR_PROTOCOL, "reply longer than a frame may be");
        return;
    }
    if (why == NULL && rc == UV_EOF && conn->state == PROXY_CONN_CONNECTING &&
        net_addr_port(&conn->client->endpoints.items[conn->endpoint].addr) != 0) {
        why = "closed without an answer: too many connections, or does this port speak TLS?";
    }
    if (why != NULL && conn->state != PROXY_CONN_DROPPED) {
        err_say(&e, rc, "%s", why);
        proxy_client_conn_failed(conn->client, conn, &e);
        return;
    }
    conn_fail(conn, rc, conn->state == PROXY_CONN_CONNECTING ? "connect" : "connection lost");
}

static void on_closed(struct net_stream *s)
{
    struct proxy_conn *conn = conn_of(s);
    struct proxy_client *client = conn->client;

    CHECK(conn->call == NULL);
    buf_release(&conn->hello_bytes);
    free(conn);
    proxy_client_conn_closed(client);
}

static const struct net_stream_ops stream_ops = {.framer = {.on_frame = on_frame},
                                                 .on_connect = on_connect,
                                                 .on_down = on_down,
                                                 .on_closed = on_closed};

/* ---- for the client ---- */

int proxy_conn_start(struct proxy_client *client, unsigned endpoint, struct proxy_conn **ret_conn,
                     struct err *e)
{
    const struct net_addr *addr = &client->endpoints.items[endpoint].addr;
    struct net_stream_options options = {.ops = &stream_ops,
                                         .frame_bytes_max = PROXY_CLIENT_REPLY_BYTES_MAX,
                                         .is_unix = addr->is_unix,
                                         .tls = addr->is_tls ? client->tls : NULL};
    unsigned timeout_ms = addr->is_tls ? CONNECT_TLS_TIMEOUT_MS : CONNECT_TIMEOUT_MS;
    struct proxy_conn *conn;
    int rc;

    if (addr->is_tls && client->tls == NULL) {
        return err_say(e, ERR_CONFIG, "speaks TLS, for which no certificates are configured here");
    }
    timeout_ms = client->connect_timeout_ms != 0 ? client->connect_timeout_ms : timeout_ms;
    conn = mem_zalloc(sizeof *conn);
    conn->client = client;
    conn->endpoint = endpoint;
    conn->deadline_ms = clock_mono_ms() + timeout_ms;
    list_init(&conn->link);
    rc = net_stream_init(&conn->stream, &client->hub, &options);
    if (rc != 0) {
        free(conn);
        return err_set(e, rc, "connect");
    }
    client->conns_open++;
    rc = net_stream_connect(&conn->stream, addr);
    if (rc != 0) {
        proxy_conn_drop(conn);
        return err_set(e, rc, "connect");
    }
    *ret_conn = conn;
    return 0;
}

static void request_done(struct net_out *out, int rc)
{
    (void)out; /* net_out_is_sent() tells */
    (void)rc;
}

void proxy_conn_send(struct proxy_conn *conn, struct proxy_call *call)
{
    struct net_out *out = &call->out;
    size_t bytes;

    CHECK(conn->state == PROXY_CONN_IDLE && conn->call == NULL);
    conn->state = PROXY_CONN_BUSY;
    conn->call = call;
    *out = (struct net_out){.head_bytes = PROXY_HEAD_BYTES, .done = request_done};
    gather_finish(call->request, &out->iov, &out->iov_count, &bytes);
    proxy_request_head(out->head, bytes);
    net_stream_write(&conn->stream, out);
}

void proxy_conn_drop(struct proxy_conn *conn)
{
    CHECK(conn->call == NULL);
    conn->state = PROXY_CONN_DROPPED;
    list_remove(&conn->link);
    net_stream_close(&conn->stream);
}
