/* One call at a time, waited for: for command line tools and tests, never in a daemon.
 *
 * Runs the client's loop until the call is answered; other handles of the loop run too.
 * The thread that owns the loop. */
#ifndef NET_BLOCKING_H
#define NET_BLOCKING_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "base/buf.h"
#include "base/err.h"

struct asd_client;
struct gather;
struct proxy_client;

struct blocking_reply {
    struct rd payload;     /* behind return code 0 */
    struct buf failed_key; /* as asd_call.failed_key */
    int32_t proxy_code;    /* as proxy_call.proxy_code */
    bool maybe_executed;

    uint8_t *frame; /* private: what payload points into */
};

/* 0, or what the call's callback got, with *e set. Release *ret_reply in any case. */
int blocking_asd_call(uv_loop_t *loop, struct asd_client *client, struct gather *request,
                      unsigned timeout_ms, struct blocking_reply *ret_reply, struct err *e);
int blocking_proxy_call(uv_loop_t *loop, struct proxy_client *client, struct gather *request,
                        unsigned timeout_ms, struct blocking_reply *ret_reply, struct err *e);
void blocking_reply_release(struct blocking_reply *reply);

void blocking_asd_close(uv_loop_t *loop, struct asd_client *client);
void blocking_proxy_close(uv_loop_t *loop, struct proxy_client *client);

#endif
