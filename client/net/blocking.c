#include "net/blocking.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "loop/run.h"
#include "net/asd_client.h"
#include "net/proxy_client.h"

struct asd_wait {
    struct asd_call call;
    struct blocking_reply *reply;
    int rc;
    bool done;
};

struct proxy_wait {
    struct proxy_call call;
    struct blocking_reply *reply;
    int rc;
    bool done;
};

static void on_asd(struct asd_call *call, int rc)
{
    struct asd_wait *wait = container_of(call, struct asd_wait, call);

    wait->rc = rc;
    wait->done = true;
    if (rc == 0) {
        wait->reply->payload = call->reply;
        wait->reply->frame = asd_call_detach_reply(call);
    }
}

int blocking_asd_call(uv_loop_t *loop, struct asd_client *client, struct gather *request,
                      unsigned timeout_ms, struct blocking_reply *ret_reply, struct err *e)
{
    struct asd_wait wait = {.reply = ret_reply};
    int rc;

    *ret_reply = (struct blocking_reply){0};
    rc = asd_client_call(client, &wait.call, request, timeout_ms, on_asd);
    if (rc != 0) {
        return err_copy(e, &wait.call.err);
    }
    loop_run_until(loop, &wait.done);
    ret_reply->failed_key = wait.call.failed_key;
    ret_reply->maybe_executed = wait.call.maybe_executed;
    return wait.rc == 0 ? 0 : err_copy(e, &wait.call.err);
}

static void on_proxy(struct proxy_call *call, int rc)
{
    struct proxy_wait *wait = container_of(call, struct proxy_wait, call);

    wait->rc = rc;
    wait->done = true;
    if (rc == 0) {
        wait->reply->payload = call->reply;
        wait->reply->frame = proxy_call_detach_reply(call);
    }
}

int blocking_proxy_call(uv_loop_t *loop, struct proxy_client *client, struct gather *request,
                        unsigned timeout_ms, struct blocking_reply *ret_reply, struct err *e)
{
    struct proxy_wait wait = {.reply = ret_reply};
    int rc;

    *ret_reply = (struct blocking_reply){0};
    rc = proxy_client_call(client, &wait.call, request, timeout_ms, on_proxy);
    if (rc != 0) {
        return err_copy(e, &wait.call.err);
    }
    loop_run_until(loop, &wait.done);
    ret_reply->proxy_code = wait.call.proxy_code;
    ret_reply->maybe_executed = wait.call.maybe_executed;
    return wait.rc == 0 ? 0 : err_copy(e, &wait.call.err);
}

void blocking_reply_release(struct blocking_reply *reply)
{
    bigmem_free(reply->frame);
    buf_release(&reply->failed_key);
    *reply = (struct blocking_reply){0};
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

void blocking_asd_close(uv_loop_t *loop, struct asd_client *client)
{
    bool closed = false;

    asd_client_close(client, on_closed, &closed);
    loop_run_until(loop, &closed);
}

void blocking_proxy_close(uv_loop_t *loop, struct proxy_client *client)
{
    bool closed = false;

    proxy_client_close(client, on_closed, &closed);
    loop_run_until(loop, &closed);
}
