#include "albacore/job.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "net/proxy_upload.h"
#include "wire/llio.h"
#include "wire/proxy_msg.h"

/* ---- errors ---- */

static int code_of(int rc, int32_t proxy_code)
{
    switch (rc) {
    case 0:
        return ALBACORE_OK;
    case ERR_NOT_FOUND:
        return ALBACORE_NOT_FOUND;
    case ERR_EXISTS:
        return ALBACORE_EXISTS;
    case ERR_ASSERT_FAILED:
        return ALBACORE_ASSERT_FAILED;
    case ERR_IN_DOUBT:
        return ALBACORE_IN_DOUBT;
    case UV_ETIMEDOUT:
        return ALBACORE_TIMED_OUT;
    case ERR_CANCELED:
        return ALBACORE_CANCELED;
    case -EINVAL:
        return ALBACORE_INVALID;
    case ERR_TOO_LARGE:
        return ALBACORE_TOO_LARGE;
    case -ERANGE:
        return ALBACORE_OUT_OF_RANGE;
    case ERR_CHECKSUM:
        return ALBACORE_CHECKSUM;
    case ERR_NO_POLICY:
        return ALBACORE_NO_POLICY;
    case ERR_FULL:
        return ALBACORE_FULL;
    case ERR_BUSY:
        return ALBACORE_BUSY;
    case ERR_NOT_ENOUGH:
        return ALBACORE_NOT_READABLE;
    case ERR_UNKNOWN_OPERATION:
    case ERR_VERSION:
        return ALBACORE_NOT_SUPPORTED;
    case ERR_TLS:
    case ERR_IDENTITY:
        return ALBACORE_TLS;
    default: /* ours start below -5000: what is left came from connecting, reading or writing */
        return rc > -5000 && proxy_code == 0 ? ALBACORE_UNREACHABLE : ALBACORE_FAILED;
    }
}

int error_set(struct albacore_error *e, int rc, const struct err *why, int32_t proxy_code)
{
    int code = code_of(rc, proxy_code);

    if (e != NULL) {
        e->code = code;
        e->proxy_code = proxy_code;
        snprintf(e->text, sizeof(e->text), "%s", rc != 0 ? why->msg : "");
    }
    return code;
}

int error_say(struct albacore_error *e, int code, const char *fmt, ...)
{
    va_list args;

    if (e != NULL) {
        e->code = code;
        e->proxy_code = 0;
        va_start(args, fmt);
        vsnprintf(e->text, sizeof(e->text), fmt, args);
        va_end(args);
    }
    return code;
}

/* ---- jobs ---- */

/* What a program that was compiled with fewer members did not say is zero. */
struct albacore_call call_of(const struct albacore_call *call)
{
    struct albacore_call own = {0};

    if (call != NULL) {
        memcpy(&own, call, call->size < sizeof(own) ? call->size : sizeof(own));
    }
    return own;
}

uint32_t call_flags(const struct albacore_call *call)
{
    return call_of(call).flags;
}

bool call_is_canceled(const struct albacore_call *own)
{
    bool fired = false;

    if (own->cancel != NULL) {
        pthread_mutex_lock(&own->cancel->lock);
        fired = own->cancel->fired;
        pthread_mutex_unlock(&own->cancel->lock);
    }
    return fired;
}

/* False: it was fired before. */
static bool attach(struct albacore_cancel *cancel, struct job *job)
{
    bool fired;

    pthread_mutex_lock(&cancel->lock);
    fired = cancel->fired;
    if (!fired) {
        list_push(&cancel->jobs, &job->cancel_link);
    }
    pthread_mutex_unlock(&cancel->lock);
    return !fired;
}

static void detach(struct albacore_cancel *cancel, struct job *job)
{
    pthread_mutex_lock(&cancel->lock);
    list_remove(&job->cancel_link);
    pthread_mutex_unlock(&cancel->lock);
}

int job_run(struct albacore *client, struct job *job, const struct albacore_call *call,
            struct albacore_error *e)
{
    struct albacore_call own = call_of(call);

    job->client = client;
    job->e = e;
    job->flags = own.flags;
    job->timeout_ms = own.timeout_ms;
    job->canceled = false;
    atomic_init(&job->cancel_wanted, false);
    list_init(&job->link);
    list_init(&job->cancel_link);
    if (own.cancel != NULL && !attach(own.cancel, job)) {
        return error_say(e, ALBACORE_CANCELED, "canceled before it began");
    }
    CHECK(sem_init(&job->done, 0, 0) == 0);
    pthread_mutex_lock(&client->lock);
    CHECK(!client->closing); /* a call while, or after, the client is closed */
    list_push(&client->mailbox, &job->link);
    pthread_mutex_unlock(&client->lock);
    uv_async_send(&client->wake);
    while (sem_wait(&job->done) != 0) {
        CHECK(errno == EINTR);
    }
    if (own.cancel != NULL) {
        detach(own.cancel, job);
    }
    sem_destroy(&job->done);
    return job->code;
}

void job_done(struct job *job, int rc, const struct err *why, int32_t proxy_code)
{
    list_remove(&job->link);
    job->code = error_set(job->e, rc, why, proxy_code);
    CHECK(sem_post(&job->done) == 0);
}

/* ---- requests ---- */

struct request_job {
    struct job job;
    const struct proxy_request *request;
    request_take take;
    void *ctx;
    char **ret_failed_name;             /* or NULL */
    struct object_stream *stream;       /* NULL: it goes by the client's own way */
    struct proxy_upload_answer *answer; /* of a request of a stream */
    struct object_call call;
};

static void tell_stream(const struct object_call *call, int rc, struct proxy_upload_answer *answer)
{
    const struct proxy_reply *reply = &call->reply;

    *answer = (struct proxy_upload_answer){
        .rc = rc, .proxy_code = call->proxy_code, .maybe_executed = call->way.proxy.maybe_executed};
    if (rc != 0) {
        err_copy(&answer->err, &call->err);
    } else if (reply->wants_part) {
        answer->wants_part = true;
        answer->offset = reply->want.offset;
        answer->bytes_max = reply->want.bytes_max;
    }
}

static void on_request(struct object_call *call, int rc)
{
    struct request_job *r = container_of(call, struct request_job, call);

    if (rc == 0 && r->take != NULL) {
        rc = r->take(r->ctx, &call->reply, &call->err);
    }
    if (call->proxy_code == PROXY_RC_ASSERT_FAILED && r->ret_failed_name != NULL) {
        struct rd text = call->way.proxy.reply; /* the name, and nothing else */
        struct slice name = llio_string(&text);

        *r->ret_failed_name = mem_printf("%.*s", (int)name.len, (const char *)name.data);
    }
    if (r->stream != NULL) {
        tell_stream(call, rc, r->answer);
    }
    job_done(&r->job, rc, &call->err, call->proxy_code);
}

static void request_start(struct job *job)
{
    struct request_job *r = container_of(job, struct request_job, job);

    if (r->stream != NULL) {
        r->stream->client = job->client->objects;
        object_stream_call(r->stream, &r->call, r->request, job->timeout_ms, on_request);
        return;
    }
    object_client_call(job->client->objects, &r->call, r->request, job->timeout_ms, on_request);
}

static void request_cancel(struct job *job)
{
    object_call_cancel(&container_of(job, struct request_job, job)->call);
}

int request_run(struct albacore *client, const struct proxy_request *request, request_take take,
                void *ctx, const struct albacore_call *call, struct albacore_error *e)
{
    struct request_job r = {.job = {.start = request_start, .cancel = request_cancel},
                            .request = request,
                            .take = take,
                            .ctx = ctx};

    return job_run(client, &r.job, call, e);
}

int apply_run(struct albacore *client, const struct proxy_request *request, char **ret_failed_name,
              const struct albacore_call *call, struct albacore_error *e)
{
    struct request_job r = {.job = {.start = request_start, .cancel = request_cancel},
                            .request = request,
                            .ret_failed_name = ret_failed_name};

    return job_run(client, &r.job, call, e);
}

void stream_run(struct object_stream *stream, struct albacore *client,
                const struct proxy_request *request, char **ret_failed_name,
                const struct albacore_call *call, struct proxy_upload_answer *ret_answer)
{
    struct request_job r = {.job = {.start = request_start, .cancel = request_cancel},
                            .request = request,
                            .ret_failed_name = ret_failed_name,
                            .stream = stream,
                            .answer = ret_answer};

    *ret_answer = (struct proxy_upload_answer){.rc = ERR_CANCELED}; /* when it does not begin */
    err_say(&ret_answer->err, ERR_CANCELED, "canceled");
    job_run(client, &r.job, call, NULL);
}

struct stream_job {
    struct job job;
    struct object_stream *stream;
};

static void stream_end_start(struct job *job)
{
    object_stream_close(container_of(job, struct stream_job, job)->stream);
    job_done(job, 0, NULL, 0);
}

void stream_end(struct object_stream *stream, struct albacore *client)
{
    struct stream_job s = {.job = {.start = stream_end_start}, .stream = stream};

    job_run(client, &s.job, NULL, NULL);
}
