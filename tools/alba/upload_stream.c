#include "alba/upload_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "alba/progress.h"
#include "alba/verb.h"
#include "loop/io.h"
#include "net/proxy_upload.h"

struct upload_stream {
    struct target *t;
    struct cli *cli;
    const struct upload *upload;
    int fd;
    struct progress progress;
};

static void call(void *ctx, const struct proxy_request *request,
                 struct proxy_upload_answer *ret_answer)
{
    struct upload_stream *s = ctx;
    struct proxy_reply reply;

    *ret_answer = (struct proxy_upload_answer){0};
    ret_answer->rc = target_call(s->t, s->cli, request, TARGET_TRANSFER_TIMEOUT_MS, &reply);
    ret_answer->maybe_executed = s->t->s.raw.maybe_executed;
    if (ret_answer->rc != 0) {
        ret_answer->proxy_code = s->cli->exception_code;
        err_copy(&ret_answer->err, &s->cli->err);
        return;
    }
    ret_answer->wants_part = reply.wants_part;
    if (reply.wants_part) {
        ret_answer->offset = reply.want.offset;
        ret_answer->bytes_max = reply.want.bytes_max;
    }
    proxy_reply_release(&reply);
}

static int read_part(void *ctx, uint64_t offset, uint8_t *ret_data, size_t bytes, struct err *e)
{
    struct upload_stream *s = ctx;
    int rc;

    progress_show(&s->progress, offset);
    rc = io_read_full(io_real(), s->fd, ret_data, bytes, offset);
    if (rc == ERR_CORRUPT) {
        return err_say(e, rc, "%.200s became shorter meanwhile", s->upload->path);
    }
    return rc == 0 ? 0 : err_set(e, rc, "read %.200s", s->upload->path);
}

static bool pause_between(void *ctx, unsigned ms)
{
    (void)ctx;
    uv_sleep(ms);
    return true;
}

static int run(struct upload_stream *s)
{
    const struct upload *u = s->upload;
    struct proxy_assert absent = {.kind = PROXY_ASSERT_ABSENT, .name = u->name};
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD_STREAM, .name = u->name, .bytes = u->bytes};
    struct proxy_upload upload = {.ns = slice_str(u->ns),
                                  .apply = {.asserts = &absent,
                                            .assert_count = u->allow_overwrite ? 0 : 1,
                                            .updates = &update,
                                            .update_count = 1},
                                  .call = call,
                                  .read = read_part,
                                  .pause = pause_between,
                                  .ctx = s};
    int rc = proxy_upload_run(&upload);

    if (rc != 0) {
        err_copy(&s->cli->err, &upload.err);
    }
    return rc == ERR_IN_DOUBT ? target_say_doubt(s->cli, "stored", "show-object") : rc;
}

int upload_stream(struct target *t, struct cli *cli, const struct upload *upload)
{
    struct upload_stream s = {.t = t, .cli = cli, .upload = upload};
    int rc;

    s.fd = open(upload->path, O_RDONLY | O_CLOEXEC);
    if (s.fd < 0) {
        return err_set(&cli->err, -errno, "file %.200s", upload->path);
    }
    progress_begin(&s.progress, "uploading", upload->bytes, true);
    rc = run(&s);
    progress_end(&s.progress);
    close(s.fd);
    return rc;
}
