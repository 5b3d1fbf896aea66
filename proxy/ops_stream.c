/* ApplyStream, StreamPart: a put whose data the client sends when it is asked for it.
 *
 * begin -> (ask -> part)* -> committed. The upload asks (put_stream.h) when it has memory for more,
 * so the client is never ahead of it; it asks for parts once more when it has to begin again.
 *
 * - the client sends what it was not asked for, too much of it, or not what its CRC says: the put
 *   is canceled and the request answered with the reason;
 * - it sends nothing: the sequence's deadline, which every step moves, passes; while others wait
 *   for the memory it holds, it has less time;
 * - the put fails between two parts: told with the next one, or never;
 * - the connection ends: canceled. The op lives until the sequence has reported. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "net/stream.h"
#include "proxy/ops.h"
#include "proxy/put_stream.h"
#include "proxy/sequence.h"

enum { HEAD_BYTES_MAX = 65536, HURRY_PARTS = 4 };

struct stream_op {
    struct session *session;      /* NULL: it has gone */
    struct proxy_request request; /* the first one; owned, with its frame */
    uint8_t *frame;
    struct put_stream data;
    struct sequence *sequence; /* NULL: it has reported */
    bool is_asked;             /* a request waits for our word */
    uint64_t offset;           /* what the client was asked for last ... */
    uint32_t bytes;            /* ... at most; 0: nothing */
    unsigned step_ms;          /* time for each part, and for what it starts */
    uint64_t asked_ms;         /* or when the last NET_HURRY_BYTES had come since */
    uint32_t came;             /* since asked_ms */
    int32_t rc;                /* why it ended, or is to end; 0: it does not */
    struct err err;
};

static void op_free(struct stream_op *op)
{
    proxy_request_release(&op->request);
    bigmem_free(op->frame);
    free(op);
}

static void give_up(struct stream_op *op, int32_t rc, const char *text)
{
    if (op->rc == 0) {
        op->rc = rc;
        err_say(&op->err, ERR_CANCELED, "%s", text);
    }
    if (op->sequence != NULL) {
        sequence_cancel(op->sequence);
    }
}

static void on_cancel(struct session *s)
{
    give_up(s->stream, PROXY_RC_UNKNOWN, "canceled");
}

static bool is_in_doubt(struct session *s)
{
    const struct stream_op *op = s->stream;

    return op != NULL && op->sequence != NULL && sequence_is_in_doubt(op->sequence);
}

/* ---- words to the client ---- */

static void ask(struct stream_op *op)
{
    struct session *s = op->session;
    bool others_wait = s->server->engine->streams.waiting_count != 0;
    uint64_t now_ms = clock_mono_ms();
    uint32_t most = others_wait ? (uint32_t)NET_HURRY_BYTES : (uint32_t)PROXY_STREAM_PART_BYTES_MAX;
    struct proxy_reply reply = {.code = s->request.code, .wants_part = true};

    op->offset = op->data.offset;
    op->bytes = op->data.left < most ? op->data.left : most;
    if (op->came == 0 || op->came >= (uint32_t)NET_HURRY_BYTES) {
        op->asked_ms = now_ms;
        op->came = 0;
    }
    sequence_extend(op->sequence, now_ms + op->step_ms);
    reply.want.offset = op->offset;
    reply.want.bytes_max = op->bytes;
    op->is_asked = false;
    s->cancel = NULL;
    session_reply(s, &reply, NULL, NULL);
}

static void on_ask(void *ctx)
{
    struct stream_op *op = ctx;

    op->came = 0; /* the time that we took ourselves does not count */
    if (op->is_asked && op->rc == 0 && op->sequence != NULL) {
        ask(op);
    }
}

static void tell_end(struct stream_op *op)
{
    struct session *s = op->session;

    s->stream = NULL;
    session_fail(s, op->rc, op->err.msg);
    op_free(op);
}

static void note_end(struct stream_op *op, const struct sequence *sequence)
{
    if (op->rc == 0 || sequence_proxy_rc(sequence) == PROXY_RC_IN_DOUBT) { /* no wish of ours */
        op->rc = sequence_proxy_rc(sequence);
        err_copy(&op->err, sequence_err(sequence));
    }
    if (op->is_asked) {
        tell_end(op);
    }
}

static void on_done(void *ctx, struct sequence *sequence, int rc)
{
    struct stream_op *op = ctx;
    struct session *s = op->session;

    op->sequence = NULL;
    if (s == NULL) {
        op_free(op);
    } else if (rc == 0) {
        CHECK(op->is_asked); /* by the last part */
        s->stream = NULL;
        op_reply_manifests(s, sequence);
        op_free(op);
    } else if (rc == ERR_ASSERT_FAILED && op->is_asked && op->rc == 0) {
        s->stream = NULL;
        session_fail_name(s, PROXY_RC_ASSERT_FAILED, sequence_failed_name(sequence));
        op_free(op);
    } else {
        note_end(op, sequence);
    }
}

static bool is_wanted(void *ctx)
{
    const struct stream_op *op = ctx;

    return op->session != NULL && session_is_wanted(op->session);
}

/* ---- requests ---- */

void op_apply_stream(struct session *s)
{
    struct stream_op *op;
    struct sequence_spec spec = {.deadline_ms = s->deadline_ms};

    if (s->stream != NULL && s->stream->sequence == NULL) {
        op_free(s->stream); /* nobody asked how it ended */
        s->stream = NULL;
    }
    if (s->stream != NULL) {
        session_fail(s, PROXY_RC_BAD_ARGUMENT, "a stream is under way on this connection");
        return;
    }
    if (s->frame_bytes > HEAD_BYTES_MAX) { /* it stays in memory all the time */
        session_fail(s, PROXY_RC_TOO_LARGE, "the first request of a stream is over 64 KiB");
        return;
    }
    op = mem_zalloc(sizeof(*op));
    op->session = s;
    op->data.on_ask = on_ask;
    op->data.on_ask_ctx = op;
    op->is_asked = true;
    op->step_ms = s->deadline_ms > s->start_ms ? (unsigned)(s->deadline_ms - s->start_ms) : 1;
    op->frame = session_take_frame(s, &op->request);
    s->stream = op;
    s->cancel = on_cancel;
    s->is_in_doubt = is_in_doubt;
    spec.ns = op->request.ns;
    spec.apply = &op->request.apply;
    spec.stream = &op->data;
    spec.is_wanted = is_wanted;
    op->sequence = sequence_start(s->server->engine, &spec, on_done, op);
}

/* Is it what was asked for? Else why not. */
static const char *part_fault(const struct stream_op *op, const struct proxy_request *r)
{
    if (op->bytes == 0 || r->part.offset != op->offset) {
        return "this part of the stream was not asked for";
    }
    return r->part.data.len > op->bytes ? "more of the stream than was asked for" : NULL;
}

/* True: the range that the upload asked for is whole. */
static bool take(struct stream_op *op, struct slice data)
{
    bool is_wanted = op->data.left != 0 && op->data.offset == op->offset;
    size_t most = op->data.left;

    op->bytes = 0;
    return is_wanted &&
           put_stream_take(&op->data, slice_of(data.data, data.len < most ? data.len : most));
}

static void take_part(struct stream_op *op, struct session *s)
{
    const struct proxy_request *r = &s->request;
    struct slice data = r->part.data;
    const char *fault = part_fault(op, r);
    bool is_whole = false;

    if (data.len == 0) {
        give_up(op, PROXY_RC_UNKNOWN, "the client gave the stream up");
    } else if (fault != NULL) {
        give_up(op, PROXY_RC_BAD_ARGUMENT, fault);
    } else if (crc32c(0, data.data, data.len) != r->part.crc32c) {
        give_up(op, PROXY_RC_CHECKSUM_MISMATCH, "a part of the stream is not what its CRC says");
    } else {
        op->came += (uint32_t)data.len;
        is_whole = take(op, data);
        sequence_extend(op->sequence, s->deadline_ms);
    }
    session_drop_frame(s); /* what comes next may take long */
    if (is_whole) {
        put_stream_filled(&op->data);
    } else if (op->rc == 0 && op->data.left != 0) {
        ask(op);
    }
}

void op_stream_part(struct session *s)
{
    struct stream_op *op = s->stream;

    if (op == NULL) {
        session_fail(s, PROXY_RC_BAD_ARGUMENT, "no stream is under way on this connection");
        return;
    }
    op->is_asked = true;
    if (op->sequence == NULL) {
        tell_end(op);
        return;
    }
    s->deadline_ms = s->start_ms + op->step_ms;
    s->cancel = on_cancel;
    s->is_in_doubt = is_in_doubt;
    if (op->rc == 0) { /* else its end is on the way */
        take_part(op, s);
    }
}

/* ---- for the session ---- */

void op_stream_check(struct session *s, uint64_t now_ms)
{
    struct stream_op *op = s->stream;
    uint64_t allowed_ms = NET_HURRY_TIMEOUT_MS;

    if (op == NULL || op->is_asked || op->rc != 0 ||
        s->server->engine->streams.waiting_count == 0) {
        return;
    }
    allowed_ms *= op->bytes > (uint32_t)NET_HURRY_BYTES ? HURRY_PARTS : 1;
    if (now_ms - op->asked_ms >= allowed_ms) {
        give_up(op, PROXY_RC_BUSY, "the stream is too slow while others wait for its memory");
    }
}

void op_stream_move(struct session *from, struct session *to)
{
    struct stream_op *op = from->stream;

    if (op != NULL && !op->is_asked) {
        from->stream = NULL;
        to->stream = op;
        op->session = to;
    }
}

void op_stream_leave(struct session *s)
{
    struct stream_op *op = s->stream;

    if (op == NULL) {
        return;
    }
    s->stream = NULL;
    op->session = NULL;
    if (op->sequence != NULL) {
        sequence_cancel(op->sequence);
    } else {
        op_free(op);
    }
}
