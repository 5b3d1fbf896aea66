/* A call goes: waiting -> busy (on a connection) -> done -> callback, or back to waiting
 * when its connection is lost before the whole request was sent.
 *
 * client_pump() gives waiting calls to idle connections and makes new ones, at most one
 * being made per waiting call. Each failure to connect is noted in every waiting call; one
 * that has seen all endpoints fail gives up, unless some connection is alive.
 *
 * Replies call back straight from the read; all else goes through `done`, so that no
 * callback runs inside a call of the user or in the middle of a walk over calls. */

#include "net/proxy_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/proxy_conn.h"
#include "wire/proxy_msg.h"

enum call_state { CALL_WAITING = 1, CALL_BUSY, CALL_DONE };

static void client_pump(struct proxy_client *client);
static void client_settle(struct proxy_client *client);
static void conn_gone(struct proxy_client *client, struct proxy_conn *conn);

/* ---- calls ---- */

static void call_wait(struct proxy_client *client, struct proxy_call *call, bool first)
{
    call->state = CALL_WAITING;
    call->conn = NULL;
    client->waiting_count++;
    if (first) {
        list_push_front(&client->waiting, &call->link);
    } else {
        list_push(&client->waiting, &call->link);
    }
}

static void call_unwait(struct proxy_client *client, struct proxy_call *call)
{
    client->waiting_count--;
    list_remove(&call->link);
}

/* call->err is set; it is on no list; the callback runs later. */
static void call_fail_later(struct proxy_client *client, struct proxy_call *call, int rc)
{
    call->state = CALL_DONE;
    call->conn = NULL;
    call->rc = rc;
    list_push(&client->done, &call->link);
    net_hub_schedule(&client->hub, &client->done_task);
}

static void on_done_task(struct net_task *task)
{
    struct proxy_client *client = container_of(task, struct proxy_client, done_task);
    struct list *link;

    while ((link = list_pop(&client->done)) != NULL) {
        struct proxy_call *call = container_of(link, struct proxy_call, link);

        client->call_count--;
        call->cb(call, call->rc); /* may free call */
    }
    client_settle(client);
}

/* Says the reply that nothing was done? */
static bool is_refusal(int32_t code, int rc)
{
    return code != PROXY_RC_UNKNOWN && code <= PROXY_RC_ASSERT_FAILED && rc != ERR_IN_DOUBT;
}

void proxy_client_replied(struct proxy_client *client, struct proxy_conn *conn, int32_t code,
                          struct rd payload, uint8_t *frame)
{
    struct proxy_call *call = conn->call;
    const char *addr = proxy_endpoints_text(&client->endpoints, conn->endpoint);

    conn->call = NULL;
    if (net_out_is_sent(&call->out)) {
        conn->state = PROXY_CONN_IDLE;
        list_remove(&conn->link);
        list_push_front(&client->idle, &conn->link);
    } else { /* answered before it had read the request: the rest would confuse it */
        net_stream_abandon(&conn->stream, &call->out);
        conn_gone(client, conn);
    }
    call->state = CALL_DONE;
    call->conn = NULL;
    call->rc = 0;
    call->maybe_executed = true;
    call->reply = payload;
    client->call_count--;
    if (code != PROXY_RC_OK) {
        call->proxy_code = code;
        call->rc = proxy_error_get(code, payload, &call->err);
        call->maybe_executed = !is_refusal(code, call->rc);
        err_wrap(&call->err, "proxy %s", addr);
    }
    client->delivered = frame;
    call->cb(call, call->rc); /* may free call */
    bigmem_free(client->delivered);
    client->delivered = NULL;
    client_pump(client);
}

uint8_t *proxy_call_detach_reply(struct proxy_call *call)
{
    uint8_t *frame = call->client->delivered;

    CHECK(call->state == CALL_DONE && frame != NULL);
    call->client->delivered = NULL;
    return frame;
}

/* ---- connections ---- */

void proxy_client_conn_ready(struct proxy_client *client, struct proxy_conn *conn,
                             unsigned manifest_version)
{
    proxy_endpoints_worked(&client->endpoints, conn->endpoint);
    client->manifest_version = manifest_version;
    client->connecting_count--;
    conn->state = PROXY_CONN_IDLE;
    list_remove(&conn->link);
    list_push_front(&client->idle, &conn->link);
    client_pump(client);
}

/* An endpoint could not be reached: waiting calls that have seen them all fail give up. */
static void note_unreachable(struct proxy_client *client, unsigned endpoint, const struct err *e)
{
    proxy_endpoints_failed(&client->endpoints, endpoint);
    LIST_FOR_EACH_SAFE (it, &client->waiting) {
        struct proxy_call *call = container_of(it, struct proxy_call, link);

        call->tried |= UINT32_C(1) << endpoint;
        err_copy(&call->err, e);
        if (proxy_endpoints_all_tried(&client->endpoints, call->tried) && client->conn_count == 0) {
            call_unwait(client, call);
            call_fail_later(client, call, e->code);
        }
    }
}

/* A working connection is dropped: its endpoint is worth another try. */
static void conn_gone(struct proxy_client *client, struct proxy_conn *conn)
{
    client->conn_count--;
    LIST_FOR_EACH (it, &client->waiting) {
        container_of(it, struct proxy_call, link)->tried &= ~(UINT32_C(1) << conn->endpoint);
    }
    proxy_conn_drop(conn);
}

/* Half a frame is never executed, so what was not wholly sent may go elsewhere. */
static void call_lost(struct proxy_client *client, struct proxy_conn *conn, const struct err *e)
{
    struct proxy_call *call = conn->call;

    conn->call = NULL;
    call->maybe_executed = net_out_is_sent(&call->out);
    if (!call->maybe_executed) {
        net_stream_abandon(&conn->stream, &call->out);
        if (++call->attempts <= client->endpoints.count) {
            call_wait(client, call, true);
            return;
        }
    }
    err_copy(&call->err, e);
    call_fail_later(client, call, e->code);
}

void proxy_client_conn_failed(struct proxy_client *client, struct proxy_conn *conn,
                              const struct err *e)
{
    unsigned endpoint = conn->endpoint;
    struct err named = *e;

    err_wrap(&named, "proxy %s", proxy_endpoints_text(&client->endpoints, endpoint));
    log_debug("net", "proxy connection lost", "why=\"%s\"", named.msg);
    if (conn->state == PROXY_CONN_CONNECTING) {
        client->conn_count--;
        client->connecting_count--;
        proxy_conn_drop(conn);
        note_unreachable(client, endpoint, &named);
    } else {
        if (conn->call != NULL) {
            call_lost(client, conn, &named);
        }
        conn_gone(client, conn);
    }
    client_pump(client);
}

void proxy_client_conn_closed(struct proxy_client *client)
{
    client->conns_open--;
    client_settle(client);
}

/* ---- deadlines ---- */

/* Take back a call. When it was out, its connection cannot be used again. */
static void call_withdraw(struct proxy_client *client, struct proxy_call *call, int rc)
{
    struct proxy_conn *conn = call->conn;

    if (call->state == CALL_WAITING) {
        call_unwait(client, call);
        err_set(&call->err, rc, "proxy %s",
                proxy_endpoints_text(&client->endpoints, client->endpoints.preferred));
        call_fail_later(client, call, rc);
        return;
    }
    call->maybe_executed = net_out_is_sent(&call->out);
    if (!call->maybe_executed) {
        net_stream_abandon(&conn->stream, &call->out);
    }
    err_set(&call->err, rc, "proxy %s", proxy_endpoints_text(&client->endpoints, conn->endpoint));
    call_fail_later(client, call, rc);
    conn->call = NULL;
    conn_gone(client, conn);
}

static void timer_arm(struct proxy_client *client, uint64_t at_ms);

static void sooner(uint64_t *next_ms, uint64_t at_ms)
{
    if (at_ms < *next_ms) {
        *next_ms = at_ms;
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct proxy_client *client = timer->data;
    uint64_t now_ms = clock_mono_ms();
    uint64_t next_ms = UINT64_MAX;
    struct err e;

    client->timer_at_ms = 0;
    LIST_FOR_EACH_SAFE (it, &client->waiting) {
        struct proxy_call *call = container_of(it, struct proxy_call, link);

        if (call->deadline_ms <= now_ms) {
            call_withdraw(client, call, UV_ETIMEDOUT);
        } else {
            sooner(&next_ms, call->deadline_ms);
        }
    }
    err_set(&e, UV_ETIMEDOUT, "connect");
    LIST_FOR_EACH_SAFE (it, &client->active) {
        struct proxy_conn *conn = container_of(it, struct proxy_conn, link);
        uint64_t at_ms = conn->call != NULL ? conn->call->deadline_ms : conn->deadline_ms;

        if (at_ms > now_ms) {
            sooner(&next_ms, at_ms);
        } else if (conn->call != NULL) {
            call_withdraw(client, conn->call, UV_ETIMEDOUT);
        } else {
            proxy_client_conn_failed(client, conn, &e);
        }
    }
    if (next_ms != UINT64_MAX) {
        timer_arm(client, next_ms);
    }
    client_pump(client);
}

static void timer_arm(struct proxy_client *client, uint64_t at_ms)
{
    uint64_t now_ms = clock_mono_ms();

    if (client->closing || (client->timer_at_ms != 0 && client->timer_at_ms <= at_ms)) {
        return;
    }
    client->timer_at_ms = at_ms;
    uv_timer_start(&client->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 1, 0);
}

/* ---- giving calls to connections ---- */

/* False when nothing more can be started now. */
static bool start_connection(struct proxy_client *client)
{
    struct proxy_call *first = container_of(client->waiting.next, struct proxy_call, link);
    struct proxy_conn *conn;
    int endpoint;
    struct err e;
    int rc;

    if (client->connecting_count >= client->waiting_count ||
        client->conn_count >= client->connections_max) {
        return false;
    }
    endpoint = proxy_endpoints_pick(&client->endpoints, first->tried);
    if (endpoint < 0) {
        return false; /* an alive connection may take it later */
    }
    rc = proxy_conn_start(client, (unsigned)endpoint, &conn, &e);
    if (rc != 0) {
        err_wrap(&e, "proxy %s", proxy_endpoints_text(&client->endpoints, (unsigned)endpoint));
        note_unreachable(client, (unsigned)endpoint, &e);
        return !list_empty(&client->waiting);
    }
    client->conn_count++;
    client->connecting_count++;
    list_push(&client->active, &conn->link);
    timer_arm(client, conn->deadline_ms);
    return true;
}

static void client_pump(struct proxy_client *client)
{
    while (!client->closing && !list_empty(&client->waiting)) {
        struct list *link = list_pop(&client->idle);

        if (link != NULL) {
            struct proxy_conn *conn = container_of(link, struct proxy_conn, link);
            struct proxy_call *call = container_of(client->waiting.next, struct proxy_call, link);

            call_unwait(client, call);
            call->state = CALL_BUSY;
            call->conn = conn;
            list_push(&client->active, &conn->link);
            proxy_conn_send(conn, call);
        } else if (!start_connection(client)) {
            break;
        }
    }
}

/* ---- for the user ---- */

struct proxy_client *proxy_client_new(uv_loop_t *loop, const struct proxy_client_options *options)
{
    struct proxy_client *client = mem_zalloc(sizeof *client);

    net_hub_init(&client->hub, loop);
    net_task_init(&client->done_task, on_done_task);
    proxy_endpoints_init(&client->endpoints, options->endpoints, options->endpoint_count);
    client->connections_max =
        options->connections_max != 0 ? options->connections_max : PROXY_CLIENT_CONNECTIONS_DEFAULT;
    client->connect_timeout_ms = options->connect_timeout_ms;
    client->tls = options->tls;
    list_init(&client->idle);
    list_init(&client->active);
    list_init(&client->waiting);
    list_init(&client->done);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    return client;
}

int proxy_client_call(struct proxy_client *client, struct proxy_call *call, struct gather *request,
                      unsigned timeout_ms, proxy_call_cb cb)
{
    memset(call, 0, sizeof *call);
    if (client->closing) {
        return err_set(&call->err, ERR_CANCELED, "proxy client");
    }
    if (client->call_count == PROXY_CLIENT_CALLS_MAX) {
        return err_set(&call->err, ERR_BUSY, "proxy client");
    }
    if (gather_bytes(request) > PROXY_CLIENT_REQUEST_BYTES_MAX) {
        return err_set(&call->err, ERR_TOO_LARGE, "proxy request of %zu bytes",
                       gather_bytes(request));
    }
    client->call_count++;
    call->client = client;
    call->request = request;
    call->cb = cb;
    call->deadline_ms = clock_mono_ms() + timeout_ms;
    call_wait(client, call, false);
    timer_arm(client, call->deadline_ms);
    client_pump(client);
    return 0;
}

void proxy_call_cancel(struct proxy_call *call)
{
    struct proxy_client *client = call->client;

    if (call->state == CALL_DONE) {
        return;
    }
    call_withdraw(client, call, ERR_CANCELED);
    client_pump(client);
}

unsigned proxy_client_manifest_version(const struct proxy_client *client)
{
    return client->manifest_version;
}

/* ---- closing: calls, connections, then timer and hub ---- */

static void on_hub_closed(struct net_hub *hub)
{
    struct proxy_client *client = container_of(hub, struct proxy_client, hub);

    client->close_cb(client->close_ctx);
    free(client);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct proxy_client *client = handle->data;

    net_hub_close(&client->hub, on_hub_closed);
}

static void client_settle(struct proxy_client *client)
{
    if (!client->closing || client->handles_closing || client->conns_open != 0 ||
        !list_empty(&client->done)) {
        return;
    }
    client->handles_closing = true;
    net_task_cancel(&client->done_task);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

static void drop_all(struct list *conns)
{
    LIST_FOR_EACH_SAFE (it, conns) {
        struct proxy_conn *conn = container_of(it, struct proxy_conn, link);

        if (conn->call != NULL) {
            call_withdraw(conn->client, conn->call, ERR_CANCELED);
        } else {
            proxy_conn_drop(conn);
        }
    }
}

void proxy_client_close(struct proxy_client *client, proxy_client_close_cb cb, void *ctx)
{
    CHECK(!client->closing);
    client->closing = true;
    client->close_cb = cb;
    client->close_ctx = ctx;
    LIST_FOR_EACH_SAFE (it, &client->waiting) {
        call_withdraw(client, container_of(it, struct proxy_call, link), ERR_CANCELED);
    }
    drop_all(&client->active);
    drop_all(&client->idle);
    net_hub_schedule(&client->hub, &client->done_task);
}
