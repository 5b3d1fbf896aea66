/* begin -> (what it asks for -> part)* -> done.
 *
 * Nothing is stored under the name before the last part was sent: so whatever fails before that can
 * be begun again. After that only what certainly was not executed. */
#include "alba/upload_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "alba/progress.h"
#include "alba/verb.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "loop/io.h"

enum { TRIES_MAX = 4, AGAIN_PAUSE_MS = 500 };

struct upload_stream {
    struct target *t;
    struct cli *cli;
    const struct upload *upload;
    int fd;
    uint8_t *part;
    uint64_t farthest; /* that the proxy has asked for */
    bool is_over;      /* it was executed, or may have been: not once more */
    struct progress progress;
};

static int begin(struct upload_stream *s, struct proxy_reply *ret_reply)
{
    const struct upload *u = s->upload;
    struct proxy_assert absent = {.kind = PROXY_ASSERT_ABSENT, .name = slice_str(u->name)};
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD_STREAM, .name = slice_str(u->name), .bytes = u->bytes};
    const struct proxy_request request = {.code = PROXY_APPLY_STREAM,
                                          .ns = slice_str(u->ns),
                                          .apply = {.asserts = &absent,
                                                    .assert_count = u->allow_overwrite ? 0 : 1,
                                                    .updates = &update,
                                                    .update_count = 1}};

    return target_call(s->t, s->cli, &request, TARGET_TRANSFER_TIMEOUT_MS, ret_reply);
}

/* What the proxy asks for, out of the file. */
static int load_part(struct upload_stream *s, const struct proxy_reply *wanted,
                     struct proxy_request *ret_request)
{
    uint64_t offset = wanted->want.offset;
    uint64_t left = offset < s->upload->bytes ? s->upload->bytes - offset : 0;
    uint64_t bytes = wanted->want.bytes_max < left ? wanted->want.bytes_max : left;
    int rc;

    bytes = bytes < PROXY_STREAM_PART_BYTES_MAX ? bytes : PROXY_STREAM_PART_BYTES_MAX;
    if (bytes == 0) {
        return err_say(&s->cli->err, ERR_PROTOCOL,
                       "the proxy asks for what is beyond the end, at %" PRIu64, offset);
    }
    rc = io_read_full(io_real(), s->fd, s->part, bytes, offset);
    if (rc != 0) {
        return rc == ERR_CORRUPT
                   ? err_say(&s->cli->err, rc, "%.200s became shorter meanwhile", s->upload->path)
                   : err_set(&s->cli->err, rc, "read %.200s", s->upload->path);
    }
    *ret_request = (struct proxy_request){.code = PROXY_STREAM_PART};
    ret_request->part.offset = offset;
    ret_request->part.crc32c = crc32c(0, s->part, bytes);
    ret_request->part.data = slice_of(s->part, bytes);
    return 0;
}

static int send_part(struct upload_stream *s, const struct proxy_request *request,
                     struct proxy_reply *ret_reply)
{
    bool is_last = request->part.offset + request->part.data.len == s->upload->bytes;
    int rc = target_call(s->t, s->cli, request, TARGET_TRANSFER_TIMEOUT_MS, ret_reply);

    if (rc != 0 && is_last && s->cli->exception_code == PROXY_RC_OK && s->t->s.raw.maybe_executed) {
        s->is_over = true;
        err_wrap(&s->cli->err, "it is there whole or not at all");
    }
    return rc;
}

static int run(struct upload_stream *s)
{
    struct proxy_request request;
    struct proxy_reply reply;
    int rc = begin(s, &reply);

    while (rc == 0 && reply.wants_part) {
        progress_show(&s->progress, reply.want.offset);
        s->farthest = reply.want.offset > s->farthest ? reply.want.offset : s->farthest;
        rc = load_part(s, &reply, &request);
        if (rc != 0) {
            s->is_over = true; /* the connection ends with the verb, and the stream with that */
            return rc;
        }
        rc = send_part(s, &request, &reply);
    }
    if (rc == 0) {
        proxy_reply_release(&reply);
    }
    return rc;
}

/* The connection was lost, the next one knows nothing of the stream, or there was no memory. */
static bool may_begin_again(const struct upload_stream *s)
{
    return !s->is_over && (s->cli->exception_code == PROXY_RC_OK ||
                           s->cli->exception_code == PROXY_RC_BAD_ARGUMENT ||
                           s->cli->exception_code == PROXY_RC_BUSY);
}

int upload_stream(struct target *t, struct cli *cli, const struct upload *upload)
{
    struct upload_stream s = {.t = t, .cli = cli, .upload = upload};
    int rc;

    s.fd = open(upload->path, O_RDONLY | O_CLOEXEC);
    if (s.fd < 0) {
        return err_set(&cli->err, -errno, "file %.200s", upload->path);
    }
    s.part = mem_alloc(PROXY_STREAM_PART_BYTES_MAX);
    progress_begin(&s.progress, "uploading", upload->bytes, true);
    rc = run(&s);
    for (unsigned i = 1; rc != 0 && may_begin_again(&s) && i < TRIES_MAX; i++) {
        uint64_t before = s.farthest;

        uv_sleep(AGAIN_PAUSE_MS);
        rc = run(&s);
        i = s.farthest > before ? 0 : i; /* it gets on */
    }
    progress_end(&s.progress);
    free(s.part);
    close(s.fd);
    return rc;
}
