/* connecting -> (preamble sent, hello read) -> (claim asked and read) -> ready -> dropped
 *
 * Whatever goes wrong ends in asd_client_session_failed(), once, and the client drops the
 * session. After that the stream calls nothing but on_closed. */

#include "net/asd_session.h"

#include <stdlib.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "wire/asd_msg.h"
#include "wire/asd_reply.h"
#include "wire/gather.h"
#include "wire/osd_keys.h"

static struct asd_session *session_of(void *ctx)
{
    return container_of((struct net_stream *)ctx, struct asd_session, stream);
}

static int session_fail(struct asd_session *session, int rc, const char *what)
{
    struct err e;

    if (session->state != ASD_SESSION_DROPPED) {
        err_set(&e, rc, "%s", what);
        asd_client_session_failed(session->client, &e);
    }
    return rc;
}

/* ---- handshake ---- */

enum { TLS_ALERT = 0x15, TLS_MAJOR = 3 }; /* how its answer to anything else begins */

static void preamble_done(struct net_out *out, int rc)
{
    struct asd_session *session = container_of(out, struct asd_session, preamble);

    (void)rc;
    buf_release(&session->preamble_bytes);
}

static void on_connect(struct net_stream *s)
{
    struct asd_session *session = session_of(s);
    struct buf *bytes = &session->preamble_bytes;

    asd_preamble_put(bytes, session->version, session->client->long_id);
    session->preamble_iov = (struct iovec){.iov_base = bytes->data, .iov_len = bytes->len};
    session->preamble =
        (struct net_out){.iov = &session->preamble_iov, .iov_count = 1, .done = preamble_done};
    net_stream_start(s);
    net_stream_write(s, &session->preamble);
}

/* ---- claim ---- */

enum { CLAIM_OURS, CLAIM_ANY, CLAIM_KEYS };

static void claim_done(struct net_out *out, int rc)
{
    (void)out; /* the question is released with the session */
    (void)rc;
}

/* Whether the keys are there, not what they hold: a damaged value would cost the whole OSD. */
static void ask_claim(struct asd_session *session)
{
    struct net_out *out = &session->claim_out;
    struct buf ours = {0}, any = {0};
    struct slice keys[CLAIM_KEYS];
    struct asd_request request = {.code = ASD_MULTI_EXISTS,
                                  .keys = {.items = keys, .count = CLAIM_KEYS}};
    size_t bytes;

    osd_key_put_instance_index(&ours, slice_str(session->client->owner));
    osd_key_put_instance_log(&any);
    keys[CLAIM_OURS] = slice_buf(&ours);
    keys[CLAIM_ANY] = slice_buf(&any);
    asd_request_encode(&request, &session->claim);
    buf_release(&ours);
    buf_release(&any);
    if (session->version == ASD_VERSION_1) {
        asd_v1_request(&session->claim, &session->tail);
    }
    *out = (struct net_out){.done = claim_done};
    gather_finish(&session->claim, &out->iov, &out->iov_count, &bytes);
    out->head_bytes = (uint8_t)asd_request_head(out->head, session->version, 0, bytes);
    session->state = ASD_SESSION_CLAIM;
    session->deadline_ms = clock_mono_ms() + session->client->claim_timeout_ms;
    net_stream_write(&session->stream, out);
}

static int judge_claim(const struct asd_reply *reply, const char *owner, struct err *e)
{
    if (reply->exists.count != CLAIM_KEYS) {
        return err_set(e, ERR_PROTOCOL, "another number of answers than keys");
    }
    if (reply->exists.items[CLAIM_OURS]) {
        return 0;
    }
    if (reply->exists.items[CLAIM_ANY]) {
        return err_say(e, ERR_IDENTITY, "its store is claimed by another than %s", owner);
    }
    return err_say(e, ERR_IDENTITY, "its store carries no claim: is its disk mounted?");
}

static int read_claim(const struct asd_session *session, int32_t rc, struct rd payload,
                      struct err *e)
{
    struct asd_reply reply;
    struct slice key;
    int result;

    if (rc != ASD_RC_OK) {
        return asd_error_get(rc, payload, &key, e);
    }
    result = asd_reply_decode(payload, ASD_MULTI_EXISTS, &reply, e);
    if (result == 0) {
        result = judge_claim(&reply, session->client->owner, e);
        asd_reply_release(&reply);
    }
    return result;
}

/* The only reply there can be: nothing else was asked on this connection. */
static void take_claim(struct asd_session *session, int32_t rc, struct rd payload)
{
    struct asd_client *client = session->client;
    struct err e;

    if (read_claim(session, rc, payload, &e) != 0) {
        asd_client_session_failed(client, &e);
        return;
    }
    session->state = ASD_SESSION_READY;
    asd_client_session_ready(client);
}

static int on_raw(void *ctx, const uint8_t *data, size_t bytes)
{
    struct asd_session *session = session_of(ctx);
    struct asd_client *client = session->client;
    struct slice id;
    struct err e;
    int taken = asd_hello_parse(data, bytes, &id, &e);

    if (taken == 0) {
        return 0;
    }
    if (taken < 0 && data[0] == TLS_ALERT && data[1] == TLS_MAJOR && !client->addr.is_tls) {
        err_say(&e, ERR_TLS, "speaks TLS, but was asked without");
    }
    if (taken == ERR_VERSION && session->version == ASD_VERSION_2) {
        asd_client_session_refused(client);
        return taken;
    }
    if (taken > 0 && client->long_id != NULL && !slice_eq(id, slice_str(client->long_id))) {
        taken = err_set(&e, ERR_IDENTITY, "is \"%.*s\", not \"%s\"", (int)id.len,
                        (const char *)id.data, client->long_id);
    }
    if (taken < 0) {
        asd_client_session_failed(client, &e);
        return taken;
    }
    asd_client_session_greeted(client, id);
    if (client->owner != NULL) {
        ask_claim(session);
    } else {
        session->state = ASD_SESSION_READY;
        asd_client_session_ready(client);
    }
    return taken;
}

/* ---- replies ---- */

static int frame_tail(void *ctx, const uint8_t *frame, uint32_t bytes, uint32_t *ret_more)
{
    struct asd_session *session = session_of(ctx);
    struct rd r = rd_of(frame, bytes);
    uint32_t id;
    int32_t rc;
    int result;

    if (session->version != ASD_VERSION_1) {
        return 0;
    }
    result = asd_reply_head(&r, ASD_VERSION_1, &id, &rc);
    if (result != 0 || rc != ASD_RC_OK) {
        return result;
    }
    return asd_v1_tail_bytes(&session->tail, r, ret_more);
}

static void on_frame(void *ctx, uint8_t *frame, uint32_t bytes)
{
    struct asd_session *session = session_of(ctx);
    struct rd r = rd_of(frame, bytes);
    struct asd_call *call;
    uint32_t id;
    int32_t rc;

    if (asd_reply_head(&r, session->version, &id, &rc) != 0) {
        bigmem_free(frame);
        session_fail(session, ERR_PROTOCOL, "reply too short");
        return;
    }
    if (session->state == ASD_SESSION_CLAIM) {
        take_claim(session, rc, r);
        bigmem_free(frame);
        return;
    }
    if (session->version == ASD_VERSION_1) {
        if (list_empty(&session->calls)) {
            bigmem_free(frame);
            session_fail(session, ERR_PROTOCOL, "reply that nobody asked for");
            return;
        }
        call = container_of(session->calls.next, struct asd_call, link);
    } else {
        call = asd_client_call_by_id(session->client, id);
        if (call == NULL) {
            bigmem_free(frame); /* late: its call timed out or was canceled */
            return;
        }
    }
    asd_client_replied(session->client, call, rc, r, frame);
}

static void on_down(struct net_stream *s, int rc)
{
    struct asd_session *session = session_of(s);

    const char *why = net_stream_why(s, rc);
    struct err e;

    if (rc == ERR_TOO_LARGE) {
        session_fail(session, ERR_PROTOCOL, "reply longer than a frame may be");
        return;
    }
    if (why != NULL) {
        err_say(&e, rc, "%s", why);
        asd_client_session_failed(session->client, &e);
        return;
    }
    session_fail(session, rc,
                 session->state == ASD_SESSION_CONNECTING ? "connect" : "connection lost");
}

static void on_closed(struct net_stream *s)
{
    struct asd_session *session = session_of(s);
    struct asd_client *client = session->client;

    CHECK(list_empty(&session->calls));
    buf_release(&session->preamble_bytes);
    gather_release(&session->claim);
    free(session);
    asd_client_session_closed(client);
}

static const struct net_stream_ops stream_ops = {
    .framer = {.on_raw = on_raw, .frame_tail = frame_tail, .on_frame = on_frame},
    .on_connect = on_connect,
    .on_down = on_down,
    .on_closed = on_closed};

/* ---- for the client ---- */

int asd_session_start(struct asd_client *client, unsigned version, bool is_local,
                      struct asd_session **ret_session)
{
    const struct net_addr *addr = is_local ? &client->local : &client->addr;
    struct net_stream_options options = {.ops = &stream_ops,
                                         .frame_bytes_max = ASD_FRAME_BYTES_MAX,
                                         .expect_raw = true,
                                         .is_unix = addr->is_unix,
                                         .tls = addr->is_tls ? client->tls : NULL};
    struct asd_session *session = mem_zalloc(sizeof *session);
    int rc;

    session->client = client;
    session->version = version;
    session->is_local = is_local;
    session->deadline_ms = clock_mono_ms() + client->connect_timeout_ms;
    list_init(&session->calls);
    rc = net_stream_init(&session->stream, &client->hub, &options);
    if (rc != 0) {
        free(session);
        return rc;
    }
    client->sessions_open++;
    rc = net_stream_connect(&session->stream, addr);
    if (rc != 0) {
        asd_session_drop(session);
        return rc;
    }
    *ret_session = session;
    return 0;
}

static void request_done(struct net_out *out, int rc)
{
    (void)out; /* net_out_is_sent() tells */
    (void)rc;
}

void asd_session_send(struct asd_session *session, struct asd_call *call)
{
    struct net_out *out = &call->out;
    size_t bytes;

    CHECK(session->state == ASD_SESSION_READY);
    if (session->version == ASD_VERSION_1) {
        CHECK(list_empty(&session->calls));
        asd_v1_request(call->request, &session->tail);
        call->is_v1 = true;
    }
    *out = (struct net_out){.done = request_done};
    gather_finish(call->request, &out->iov, &out->iov_count, &bytes);
    out->head_bytes = (uint8_t)asd_request_head(out->head, session->version, call->id, bytes);
    list_push(&session->calls, &call->link);
    net_stream_write(&session->stream, out);
}

void asd_session_drop(struct asd_session *session)
{
    CHECK(list_empty(&session->calls));
    session->state = ASD_SESSION_DROPPED;
    net_stream_close(&session->stream);
}
