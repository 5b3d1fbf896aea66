/* Between object_client.c, object_call.c, object_read.c and object_stream.c only. */
#ifndef OBJECT_OBJECT_PRIVATE_H
#define OBJECT_OBJECT_PRIVATE_H

#include "object/object_read.h"
#include "object/object_stream.h"

struct object_client {
    struct object_client_options options; /* its proxies are owned */
    uv_loop_t *loop;
    struct proxy_route *route;
    struct osd_book *book;
    struct known_objects known;
    struct later later;
    struct direct_env env;
    struct object_counters counters;

    struct object_call refresh; /* OsdInfo2 */
    bool refreshing;
    uint64_t refresh_ms; /* not before */

    struct list calls, reads; /* under way */
    unsigned busy;            /* of both, and parts being closed */
    bool closing, parts_closing;
    void (*close_cb)(void *ctx);
    void *close_ctx;
};

static inline bool object_goes_direct(const struct object_client *client)
{
    return !client->options.proxy_only && client->known.cache.limit_bytes != 0;
}

/* A proxy's cache is good enough for it: no other proxy than the one that is asked may have served
 * a write of ours. */
static inline bool object_may_be_cached(const struct object_client *client, struct slice ns,
                                        struct slice name)
{
    return client->options.proxy_count == 1 || !known_was_written(&client->known, ns, name);
}

/* Ask a proxy where the OSDs are, unless that was done just now. */
void object_client_refresh(struct object_client *client);
/* As object_client_call(); by the way of `stream`, if that is not NULL. */
void object_call_start(struct object_client *client, struct object_call *call,
                       struct object_stream *stream, const struct proxy_request *request,
                       unsigned timeout_ms, object_call_cb cb);
/* Another way to the same proxies. */
struct proxy_route *object_client_new_route(const struct object_client *client);
/* A request ended. */
void object_client_idle(struct object_client *client);

#endif
