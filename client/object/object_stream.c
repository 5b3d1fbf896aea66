#include "object/object_stream.h"

#include "base/check.h"
#include "object/object_private.h"

void object_stream_call(struct object_stream *s, struct object_call *call,
                        const struct proxy_request *request, unsigned timeout_ms, object_call_cb cb)
{
    struct object_client *client = s->client;

    if (s->route == NULL) {
        s->route = object_client_new_route(client);
        s->spread = client->options.spread;
        client->busy++;
    }
    object_call_start(client, call, s, request, timeout_ms, cb);
}

static void on_closed(void *ctx)
{
    object_client_idle(ctx);
}

void object_stream_close(struct object_stream *s)
{
    if (s->route != NULL) {
        proxy_route_close(s->route, on_closed, s->client);
        s->route = NULL;
    }
}
