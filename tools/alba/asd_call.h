/* Requests to one ASD, each waited for. One thread. */
#ifndef ALBA_ASD_CALL_H
#define ALBA_ASD_CALL_H

#include <uv.h>

#include "base/err.h"
#include "net/asd_client.h"
#include "net/blocking.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"

struct asd_answer {
    struct asd_reply reply;
    char *long_id; /* of the ASD that answered */

    struct blocking_reply raw; /* private: what `reply` borrows from */
};

/* On 0 *ret_answer is to be released. */
int asd_call(uv_loop_t *loop, const struct asd_client_options *options,
             const struct asd_request *request, unsigned timeout_ms, struct asd_answer *ret_answer,
             struct err *e);
/* The same over a client that stays. */
int asd_call_with(uv_loop_t *loop, struct asd_client *client, const struct asd_request *request,
                  unsigned timeout_ms, struct asd_answer *ret_answer, struct err *e);
void asd_answer_release(struct asd_answer *answer);

#endif
