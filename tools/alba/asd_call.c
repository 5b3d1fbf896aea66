#include "alba/asd_call.h"

#include <stdlib.h>

#include "base/mem.h"
#include "wire/gather.h"

int asd_call_with(uv_loop_t *loop, struct asd_client *client, const struct asd_request *request,
                  unsigned timeout_ms, struct asd_answer *ret_answer, struct err *e)
{
    struct asd_answer answer = {0};
    struct gather g = {0};
    int rc;

    asd_request_encode(request, &g);
    rc = blocking_asd_call(loop, client, &g, timeout_ms, &answer.raw, e);
    if (rc == 0) {
        rc = asd_reply_decode(answer.raw.payload, request->code, &answer.reply, e);
    }
    if (rc == 0) {
        answer.long_id = mem_strdup(asd_client_long_id(client));
        *ret_answer = answer;
    } else {
        blocking_reply_release(&answer.raw);
    }
    gather_release(&g);
    return rc;
}

int asd_call(uv_loop_t *loop, const struct asd_client_options *options,
             const struct asd_request *request, unsigned timeout_ms, struct asd_answer *ret_answer,
             struct err *e)
{
    struct asd_client *client = asd_client_new(loop, options);
    int rc = asd_call_with(loop, client, request, timeout_ms, ret_answer, e);

    blocking_asd_close(loop, client);
    return rc;
}

void asd_answer_release(struct asd_answer *answer)
{
    asd_reply_release(&answer->reply);
    blocking_reply_release(&answer->raw);
    free(answer->long_id);
}
