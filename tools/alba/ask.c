#include "alba/ask.h"

#include "alba/verb.h"

int ask_proxy(struct cli *cli, const struct proxy_request *request,
              json_t *(*make)(const struct proxy_reply *reply))
{
    struct proxy_reply reply;
    struct target t;
    int rc = target_open(&t, cli);

    if (rc == 0) {
        rc = target_call(&t, cli, request, TARGET_TIMEOUT_MS, &reply);
    }
    if (rc == 0) {
        if (make != NULL) {
            cli->result = make(&reply);
        }
        proxy_reply_release(&reply);
    }
    target_close(&t);
    return rc;
}
