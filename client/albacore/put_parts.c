#include "albacore/put_parts.h"

#include "base/clock.h"
#include "net/proxy_upload.h"

struct put_parts {
    struct albacore *client;
    struct put_source *source;
    char **ret_failed_name;
    struct albacore_call call;
    uint64_t deadline_ms;
    struct object_stream stream;
};

static void run_request(void *ctx, const struct proxy_request *request,
                        struct proxy_upload_answer *ret_answer)
{
    struct put_parts *p = ctx;
    struct albacore_call call = p->call;
    uint64_t now_ms = clock_mono_ms();

    if (now_ms >= p->deadline_ms) {
        *ret_answer = (struct proxy_upload_answer){.rc = UV_ETIMEDOUT};
        err_say(&ret_answer->err, UV_ETIMEDOUT, "no success within %u ms", p->call.timeout_ms);
        return;
    }
    call.timeout_ms = (uint32_t)(p->deadline_ms - now_ms);
    stream_run(&p->stream, p->client, request, p->ret_failed_name, &call, ret_answer);
}

static int read_part(void *ctx, uint64_t offset, uint8_t *ret_data, size_t bytes, struct err *e)
{
    return put_source_read(((struct put_parts *)ctx)->source, offset, ret_data, bytes, e);
}

static bool pause_between(void *ctx, unsigned ms)
{
    const struct put_parts *p = ctx;

    if (clock_mono_ms() + ms >= p->deadline_ms || call_is_canceled(&p->call)) {
        return false;
    }
    uv_sleep(ms);
    return true;
}

int put_parts_run(struct albacore *client, const struct proxy_request *request,
                  struct put_source *source, uint64_t bytes, char **ret_failed_name,
                  const struct albacore_call *call, struct albacore_error *e)
{
    struct proxy_update *update = &request->apply.updates[0];
    struct put_parts p = {.client = client,
                          .source = source,
                          .ret_failed_name = ret_failed_name,
                          .call = call_of(call),
                          .stream = {.ns = request->ns, .name = update->name}};
    struct proxy_upload upload = {.ns = request->ns,
                                  .apply = request->apply,
                                  .call = run_request,
                                  .read = read_part,
                                  .pause = pause_between,
                                  .ctx = &p};
    int rc;

    update->kind = PROXY_UPDATE_UPLOAD_STREAM;
    update->bytes = bytes;
    p.call.size = sizeof(p.call);
    p.call.timeout_ms = p.call.timeout_ms != 0 ? p.call.timeout_ms : client->timeout_ms;
    p.deadline_ms = clock_mono_ms() + p.call.timeout_ms;
    rc = proxy_upload_run(&upload);
    stream_end(&p.stream, client);
    return error_set(e, rc, &upload.err, upload.proxy_code);
}
