/* A write whose data goes to a proxy part by part (net/proxy_upload.h): its requests, which go over
 * a connection of their own, one after the other. Loop thread only. */
#ifndef OBJECT_OBJECT_STREAM_H
#define OBJECT_OBJECT_STREAM_H

#include "object/object_client.h"

struct object_stream {
    struct object_client *client;
    struct slice ns, name; /* borrowed: what is written */

    struct proxy_route *route; /* private from here on; NULL: not yet */
    uint32_t spread;           /* which proxy is preferred */
};

/* Fill in the first part; {0} the rest. ApplyStream or StreamPart, as object_client_call(); but
 * call->way.proxy.maybe_executed is for the caller to judge. Each call that fails makes the next
 * one prefer another proxy. */
void object_stream_call(struct object_stream *stream, struct object_call *call,
                        const struct proxy_request *request, unsigned timeout_ms,
                        object_call_cb cb);
/* No call is under way. Its connection ends by itself; the client waits for that. */
void object_stream_close(struct object_stream *stream);

#endif
