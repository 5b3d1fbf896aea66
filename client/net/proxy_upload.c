/* begin -> (what it asks for -> part)* -> done. */
#include "net/proxy_upload.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/mem.h"

enum { TRIES_MAX = 4 };

static int take_answer(struct proxy_upload *u, const struct proxy_upload_answer *answer)
{
    u->proxy_code = answer->proxy_code;
    return answer->rc == 0 ? 0 : err_copy(&u->err, &answer->err);
}

static int begin(struct proxy_upload *u, struct proxy_upload_answer *ret_answer)
{
    const struct proxy_request request = {
        .code = PROXY_APPLY_STREAM, .ns = u->ns, .apply = u->apply};

    u->has_begun = false;
    u->call(u->ctx, &request, ret_answer);
    u->has_begun = ret_answer->rc == 0;
    return take_answer(u, ret_answer);
}

/* What the proxy asks for. */
static int load_part(struct proxy_upload *u, const struct proxy_upload_answer *wanted,
                     struct proxy_request *ret_request)
{
    uint64_t whole = u->apply.updates[0].bytes, offset = wanted->offset;
    uint64_t left = offset < whole ? whole - offset : 0;
    uint64_t bytes = wanted->bytes_max < left ? wanted->bytes_max : left;
    int rc;

    bytes = bytes < PROXY_STREAM_PART_BYTES_MAX ? bytes : PROXY_STREAM_PART_BYTES_MAX;
    if (bytes == 0) {
        return err_say(&u->err, ERR_PROTOCOL,
                       "the proxy asks for what is beyond the end, at %" PRIu64, offset);
    }
    rc = u->read(u->ctx, offset, u->part, bytes, &u->err);
    if (rc == 0) {
        *ret_request = (struct proxy_request){.code = PROXY_STREAM_PART};
        ret_request->part.offset = offset;
        ret_request->part.crc32c = crc32c(0, u->part, bytes);
        ret_request->part.data = slice_of(u->part, bytes);
    }
    return rc;
}

static int send_part(struct proxy_upload *u, const struct proxy_request *request,
                     struct proxy_upload_answer *ret_answer)
{
    bool is_last = request->part.offset + request->part.data.len == u->apply.updates[0].bytes;
    int rc;

    u->call(u->ctx, request, ret_answer);
    rc = take_answer(u, ret_answer);
    if (rc != 0 && is_last && u->proxy_code == PROXY_RC_OK && ret_answer->maybe_executed) {
        u->is_over = true;
        err_wrap(&u->err, "outcome unknown, it is there whole or not at all");
        rc = u->err.code = ERR_IN_DOUBT;
    }
    return rc;
}

static int try(struct proxy_upload *u)
{
    struct proxy_upload_answer answer;
    struct proxy_request request;
    int rc = begin(u, &answer);

    while (rc == 0 && answer.wants_part) {
        u->farthest = answer.offset > u->farthest ? answer.offset : u->farthest;
        rc = load_part(u, &answer, &request);
        if (rc != 0) {
            u->is_over = true; /* the stream ends with its connection */
            return rc;
        }
        rc = send_part(u, &request, &answer);
    }
    return rc;
}

/* The connection was lost, the next one knows nothing of the stream, or there was no memory. */
static bool may_begin_again(const struct proxy_upload *u)
{
    return !u->is_over && (u->proxy_code == PROXY_RC_OK || u->proxy_code == PROXY_RC_BUSY ||
                           (u->proxy_code == PROXY_RC_BAD_ARGUMENT && u->has_begun));
}

int proxy_upload_run(struct proxy_upload *u)
{
    int rc;

    u->part = mem_alloc(PROXY_STREAM_PART_BYTES_MAX);
    u->farthest = 0;
    u->is_over = false;
    rc = try(u);
    for (unsigned i = 1; rc != 0 && may_begin_again(u) && i < TRIES_MAX; i++) {
        uint64_t before = u->farthest;

        if (!u->pause(u->ctx, PROXY_UPLOAD_PAUSE_MS)) {
            break;
        }
        rc = try(u);
        i = u->farthest > before ? 0 : i; /* it gets on */
    }
    free(u->part);
    return rc;
}
