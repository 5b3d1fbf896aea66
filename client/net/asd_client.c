/* A call goes: waiting -> sent (on the session's list, found by id) -> done -> callback.
 *
 * - no connection can be made, by none of the addresses: every waiting call fails;
 * - the connection is lost: every sent call fails, waiting ones (version 1) get a new one;
 * - deadline or cancel: version 2 forgets the id; version 1 has none, so the connection goes;
 * - close: everything is canceled, callbacks run, then handles close.
 *
 * Replies call back straight from the read; all else goes through `done`, so that no
 * callback runs inside a call of the user or in the middle of a walk over calls. */

#include "net/asd_client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/asd_session.h"
#include "wire/asd_msg.h"
#include "wire/gather.h"

enum { CONNECT_TIMEOUT_MS = 1000, CLAIM_TIMEOUT_MS = 10000, SLOT_BITS = 10 };
enum call_state { CALL_WAITING = 1, CALL_SENT, CALL_DONE };

static_assert(ASD_CLIENT_CALLS_MAX == 1 << SLOT_BITS, "ids hold a slot");

static void client_pump(struct asd_client *client);
static void client_settle(struct asd_client *client);

/* ---- calls ---- */

static uint32_t slot_of(uint32_t id)
{
    return id & (ASD_CLIENT_CALLS_MAX - 1);
}

static void call_forget(struct asd_client *client, struct asd_call *call)
{
    uint32_t slot = slot_of(call->id);

    CHECK(client->slots[slot] == call);
    client->slots[slot] = NULL;
    client->free_slots[client->free_count++] = (uint16_t)slot;
    list_remove(&call->link);
    call->state = CALL_DONE;
    if (call->is_v1) {
        call->is_v1 = false;
        asd_v1_undo(call->request); /* nothing points into it any more */
    }
}

/* call->err is set; the callback runs later. */
static void call_fail_later(struct asd_client *client, struct asd_call *call, int rc)
{
    call_forget(client, call);
    call->rc = rc;
    list_push(&client->done, &call->link);
    net_hub_schedule(&client->hub, &client->done_task);
}

static void on_done_task(struct net_task *task)
{
    struct asd_client *client = container_of(task, struct asd_client, done_task);
    struct list *link;

    while ((link = list_pop(&client->done)) != NULL) {
        struct asd_call *call = container_of(link, struct asd_call, link);

        call->cb(call, call->rc); /* may free call */
    }
    client_settle(client);
}

struct asd_call *asd_client_call_by_id(const struct asd_client *client, uint32_t id)
{
    struct asd_call *call = client->slots[slot_of(id)];

    return call != NULL && call->id == id && call->state == CALL_SENT ? call : NULL;
}

void asd_client_replied(struct asd_client *client, struct asd_call *call, int32_t rc,
                        struct rd payload, uint8_t *frame)
{
    struct slice key;

    if (!net_out_is_sent(&call->out)) {
        net_stream_abandon(&client->session->stream, &call->out);
    }
    call_forget(client, call);
    call->rc = 0;
    call->maybe_executed = true;
    if (rc != ASD_RC_OK) {
        call->rc = asd_error_get(rc, payload, &key, &call->err);
        err_wrap(&call->err, "asd %s", client->addr.text);
        buf_put(&call->failed_key, key.data, key.len);
        call->maybe_executed = call->rc != ERR_ASSERT_FAILED && call->rc != ERR_FULL &&
                               call->rc != ERR_UNKNOWN_OPERATION && call->rc != ERR_BUSY;
    } else {
        call->reply = payload;
    }
    client->delivered = frame;
    call->cb(call, call->rc); /* may free call */
    bigmem_free(client->delivered);
    client->delivered = NULL;
    client_pump(client);
}

uint8_t *asd_call_detach_reply(struct asd_call *call)
{
    uint8_t *frame = call->client->delivered;

    CHECK(call->state == CALL_DONE && frame != NULL);
    call->client->delivered = NULL;
    return frame;
}

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer);

static void timer_arm(struct asd_client *client, uint64_t at_ms)
{
    uint64_t now_ms = clock_mono_ms();

    if (client->closing || (client->timer_at_ms != 0 && client->timer_at_ms <= at_ms)) {
        return;
    }
    client->timer_at_ms = at_ms;
    uv_timer_start(&client->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 1, 0);
}

/* Take back a call that waits or is out. */
static void call_withdraw(struct asd_client *client, struct asd_call *call, int rc)
{
    struct asd_session *session = client->session;
    bool drop = false;

    if (call->state == CALL_SENT) {
        if (session->version == ASD_VERSION_1 && call->out.sent != 0) {
            call->maybe_executed = net_out_is_sent(&call->out);
            drop = true; /* there is no telling which request a later reply is for */
        }
        if (net_stream_abandon(&session->stream, &call->out) && !drop) {
            call->maybe_executed = true;
        }
    }
    err_set(&call->err, rc, "asd %s", client->addr.text);
    call_fail_later(client, call, rc);
    if (drop) {
        client->session = NULL;
        asd_session_drop(session);
    }
}

static void expire(struct asd_client *client, struct list *calls, uint64_t now_ms,
                   uint64_t *next_ms)
{
    LIST_FOR_EACH_SAFE (it, calls) {
        struct asd_call *call = container_of(it, struct asd_call, link);

        if (call->deadline_ms <= now_ms) {
            call_withdraw(client, call, UV_ETIMEDOUT);
        } else if (call->deadline_ms < *next_ms) {
            *next_ms = call->deadline_ms;
        }
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct asd_client *client = timer->data;
    struct asd_session *session = client->session;
    uint64_t now_ms = clock_mono_ms();
    uint64_t next_ms = UINT64_MAX;
    struct err e;

    client->timer_at_ms = 0;
    expire(client, &client->waiting, now_ms, &next_ms);
    if (session != NULL && session->state == ASD_SESSION_READY) {
        expire(client, &session->calls, now_ms, &next_ms);
    } else if (session != NULL && session->deadline_ms <= now_ms) {
        err_set(&e, UV_ETIMEDOUT, "connect");
        asd_client_session_failed(client, &e);
    } else if (session != NULL && session->deadline_ms < next_ms) {
        next_ms = session->deadline_ms;
    }
    if (next_ms != UINT64_MAX) {
        timer_arm(client, next_ms);
    }
    client_pump(client);
}

/* ---- sessions ---- */

static void fail_waiting(struct asd_client *client, const struct err *e)
{
    LIST_FOR_EACH_SAFE (it, &client->waiting) {
        struct asd_call *call = container_of(it, struct asd_call, link);

        err_copy(&call->err, e);
        err_wrap(&call->err, "asd %s", client->addr.text);
        call_fail_later(client, call, e->code);
    }
}

/* Fail what is out. The stream is not used again. */
static void fail_sent(struct asd_client *client, struct asd_session *session, const struct err *e)
{
    LIST_FOR_EACH_SAFE (it, &session->calls) {
        struct asd_call *call = container_of(it, struct asd_call, link);

        call->maybe_executed = net_out_is_sent(&call->out);
        net_stream_abandon(&session->stream, &call->out);
        err_copy(&call->err, e);
        err_wrap(&call->err, "asd %s", client->addr.text);
        call_fail_later(client, call, e->code);
    }
}

static void connect_version(struct asd_client *client, unsigned version, bool is_local);

/* It could not be connected: by its next address, until each has been tried. */
static void connect_elsewhere(struct asd_client *client, const struct err *e)
{
    if (++client->addrs_refused < client->addr_count) {
        client->addr_index = (client->addr_index + 1) % client->addr_count;
        client->addr = client->addrs[client->addr_index];
        connect_version(client, ASD_VERSION_2, false);
    } else {
        client->addrs_refused = 0;
        fail_waiting(client, e);
    }
}

static void connect_version(struct asd_client *client, unsigned version, bool is_local)
{
    struct err e;
    int rc;

    if (client->addr.is_tls && client->tls == NULL) {
        err_say(&e, ERR_CONFIG, "speaks TLS, for which no certificates are configured here");
        fail_waiting(client, &e);
        return;
    }
    rc = asd_session_start(client, version, is_local, &client->session);
    if (rc != 0) {
        client->session = NULL;
        err_set(&e, rc, "connect");
        connect_elsewhere(client, &e);
        return;
    }
    timer_arm(client, client->session->deadline_ms);
}

void asd_client_session_greeted(struct asd_client *client, struct slice server_id)
{
    memcpy(client->server_id, server_id.data, server_id.len);
    client->server_id[server_id.len] = '\0';
}

void asd_client_session_ready(struct asd_client *client)
{
    log_debug("net", "asd connected", "asd=%s id=%s version=%u", client->addr.text,
              client->server_id, client->session->version);
    client->addrs_refused = 0;
    client_pump(client);
}

void asd_client_session_refused(struct asd_client *client)
{
    struct asd_session *session = client->session;
    bool is_local = session->is_local;

    client->session = NULL;
    asd_session_drop(session);
    if (!client->closing) {
        connect_version(client, ASD_VERSION_1, is_local);
    }
}

/* Is it on another machine, or does it not listen there? Then it is asked by its address. One that
 * does not answer there would not answer elsewhere. */
static bool is_nobody_there(const struct asd_session *session, const struct err *e)
{
    return session->is_local && session->state == ASD_SESSION_CONNECTING && e->code != UV_ETIMEDOUT;
}

void asd_client_session_failed(struct asd_client *client, const struct err *e)
{
    struct asd_session *session = client->session;
    enum asd_session_state state = session->state;

    log_debug("net", "asd connection lost", "asd=%s why=\"%s\"", client->addr.text, e->msg);
    client->session = NULL;
    fail_sent(client, session, e);
    if (is_nobody_there(session, e)) {
        connect_version(client, ASD_VERSION_2, false);
    } else if (state == ASD_SESSION_CONNECTING && !session->is_local) {
        connect_elsewhere(client, e);
    } else if (state != ASD_SESSION_READY) {
        fail_waiting(client, e);
    }
    asd_session_drop(session);
    client_pump(client);
}

void asd_client_session_closed(struct asd_client *client)
{
    client->sessions_open--;
    client_settle(client);
}

/* Give waiting calls to the session; start one if there is none. */
static void client_pump(struct asd_client *client)
{
    struct asd_session *session = client->session;

    if (client->closing || list_empty(&client->waiting)) {
        return;
    }
    if (session == NULL) {
        connect_version(client, ASD_VERSION_2, client->has_local);
        return;
    }
    while (session->state == ASD_SESSION_READY && !list_empty(&client->waiting)) {
        struct list *link = client->waiting.next;
        struct asd_call *call = container_of(link, struct asd_call, link);

        if (session->version == ASD_VERSION_1 && !list_empty(&session->calls)) {
            break;
        }
        list_remove(link);
        call->state = CALL_SENT;
        asd_session_send(session, call);
    }
}

/* ---- for the user ---- */

struct asd_client *asd_client_new(uv_loop_t *loop, const struct asd_client_options *options)
{
    struct asd_client *client = mem_zalloc(sizeof *client);

    net_hub_init(&client->hub, loop);
    net_task_init(&client->done_task, on_done_task);
    client->addr = options->addr;
    client->addr_count = 1 + options->other_count;
    client->addrs = mem_array(client->addr_count, sizeof *client->addrs);
    client->addrs[0] = options->addr;
    for (unsigned i = 0; i < options->other_count; i++) {
        client->addrs[1 + i] = options->others[i];
    }
    client->has_local = options->local != NULL;
    if (client->has_local) {
        client->local = *options->local;
    }
    client->tls = options->tls;
    client->long_id = options->long_id != NULL ? mem_strdup(options->long_id) : NULL;
    client->owner = options->owner != NULL ? mem_strdup(options->owner) : NULL;
    client->connect_timeout_ms =
        options->connect_timeout_ms != 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    client->claim_timeout_ms =
        options->claim_timeout_ms != 0 ? options->claim_timeout_ms : CLAIM_TIMEOUT_MS;
    list_init(&client->waiting);
    list_init(&client->done);
    for (unsigned i = ASD_CLIENT_CALLS_MAX; i-- > 0;) {
        client->free_slots[client->free_count++] = (uint16_t)i;
    }
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    return client;
}

int asd_client_call(struct asd_client *client, struct asd_call *call, struct gather *request,
                    unsigned timeout_ms, asd_call_cb cb)
{
    uint32_t slot;

    memset(call, 0, sizeof *call);
    if (client->closing) {
        return err_set(&call->err, ERR_CANCELED, "asd %s", client->addr.text);
    }
    if (client->free_count == 0) {
        return err_set(&call->err, ERR_BUSY, "asd %s", client->addr.text);
    }
    if (gather_bytes(request) > ASD_FRAME_BYTES_MAX - ASD_HEAD_BYTES_MAX) {
        return err_set(&call->err, ERR_TOO_LARGE, "asd %s: request of %zu bytes", client->addr.text,
                       gather_bytes(request));
    }
    slot = client->free_slots[--client->free_count];
    client->slots[slot] = call;
    call->client = client;
    call->request = request;
    call->cb = cb;
    call->state = CALL_WAITING;
    call->id = client->id_high++ << SLOT_BITS | slot;
    call->deadline_ms = clock_mono_ms() + timeout_ms;
    list_push(&client->waiting, &call->link);
    timer_arm(client, call->deadline_ms);
    client_pump(client);
    return 0;
}

void asd_call_cancel(struct asd_call *call)
{
    struct asd_client *client = call->client;

    if (call->state == CALL_DONE) {
        return;
    }
    call_withdraw(client, call, ERR_CANCELED);
    client_pump(client);
}

const char *asd_client_long_id(const struct asd_client *client)
{
    return client->server_id;
}

/* ---- closing: calls, sessions, then timer and hub ---- */

static void on_hub_closed(struct net_hub *hub)
{
    struct asd_client *client = container_of(hub, struct asd_client, hub);

    client->close_cb(client->close_ctx);
    free(client->addrs);
    free(client->long_id);
    free(client->owner);
    free(client);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct asd_client *client = handle->data;

    net_hub_close(&client->hub, on_hub_closed);
}

static void client_settle(struct asd_client *client)
{
    if (!client->closing || client->handles_closing || client->sessions_open != 0 ||
        !list_empty(&client->done)) {
        return;
    }
    client->handles_closing = true;
    net_task_cancel(&client->done_task);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

void asd_client_close(struct asd_client *client, asd_client_close_cb cb, void *ctx)
{
    struct asd_session *session = client->session;
    struct err e;

    CHECK(!client->closing);
    client->closing = true;
    client->close_cb = cb;
    client->close_ctx = ctx;
    err_set(&e, ERR_CANCELED, "close");
    fail_waiting(client, &e);
    if (session != NULL) {
        client->session = NULL;
        fail_sent(client, session, &e);
        asd_session_drop(session);
    }
    net_hub_schedule(&client->hub, &client->done_task);
}
