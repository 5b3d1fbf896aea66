/* The whole of an object: DIRECT when its size is known here; else, or when that fails, PROXY. A
 * proxy is never asked for "so many bytes": the object may have become another one. */
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "object/object_private.h"

static void finish(struct client_get *g, int rc)
{
    if (rc != 0) {
        bigmem_free(g->data);
        g->data = NULL;
        g->bytes = 0;
    }
    g->cb(g, rc); /* may free g */
}

/* The data becomes the beginning of the frame that brought it, which the caller frees. */
static void take_data(struct client_get *g)
{
    struct slice data = g->call.reply.read.items[0].data;

    g->data = object_call_detach(&g->call);
    g->bytes = data.len;
    if (data.len != 0) {
        memmove(g->data, data.data, data.len);
    }
    g->client->counters.proxy_bytes += data.len;
}

static void on_proxy(struct object_call *call, int rc)
{
    struct client_get *g = container_of(call, struct client_get, call);

    if (rc != 0) {
        err_copy(&g->err, &call->err);
        g->proxy_code = call->proxy_code;
    } else if (call->reply.read.count != 1) {
        rc = err_set(&g->err, ERR_PROTOCOL, "the proxy told of %u objects", call->reply.read.count);
    } else if (!call->reply.read.items[0].found) {
        rc = err_set(&g->err, ERR_NOT_FOUND, "object '%.*s'",
                     g->name.len < 100 ? (int)g->name.len : 100, (const char *)g->name.data);
    } else {
        take_data(g);
    }
    finish(g, rc);
}

static void ask_proxy(struct client_get *g, bool consistent)
{
    uint64_t now_ms = clock_mono_ms();
    struct proxy_request request = {
        .code = PROXY_READ_OBJECTS,
        .ns = g->ns,
        .consistent_read = consistent || !object_may_be_cached(g->client, g->ns, g->name),
        .should_cache = true,
        .names = {.items = &g->name, .count = 1}};

    g->client->counters.proxy_reads++;
    object_client_call(g->client, &g->call, &request,
                       g->deadline_ms > now_ms ? (unsigned)(g->deadline_ms - now_ms) : 1, on_proxy);
}

static void on_direct(struct client_read *read, int rc)
{
    struct client_get *g = container_of(read, struct client_get, read);

    g->is_direct = false;
    g->was_direct = rc == 0;
    if (rc == 0) {
        finish(g, 0);
        return;
    }
    bigmem_free(g->data);
    g->data = NULL;
    g->bytes = 0;
    if (g->canceled || g->client->closing) {
        finish(g, err_set(&g->err, ERR_CANCELED, "read"));
    } else {
        ask_proxy(g, read->doubtful);
    }
}

static bool start_direct(struct client_get *g, unsigned timeout_ms)
{
    struct known_object *object = g->consistent || !object_goes_direct(g->client)
                                      ? NULL
                                      : known_get(&g->client->known, g->ns, g->name);
    uint64_t bytes = object != NULL ? object->manifest.size_bytes : 0;

    known_object_drop(object);
    if (object == NULL || bytes > OBJECT_READ_BYTES_MAX) {
        g->client->counters.not_known += !g->consistent;
        return false;
    }
    g->bytes = (size_t)bytes;
    g->data = bigmem_alloc(g->bytes != 0 ? g->bytes : 1);
    g->slice = (struct object_slice){.bytes = bytes, .dest = g->data};
    g->is_direct = true;
    object_client_read(g->client, &g->read,
                       &(struct client_read_spec){.ns = g->ns,
                                                  .name = g->name,
                                                  .slices = &g->slice,
                                                  .slice_count = 1,
                                                  .direct_only = true},
                       timeout_ms, on_direct);
    return true;
}

void object_client_get(struct object_client *client, struct client_get *g, struct slice ns,
                       struct slice name, bool consistent, unsigned timeout_ms, client_get_cb cb)
{
    memset(g, 0, sizeof(*g));
    g->client = client;
    g->ns = ns;
    g->name = name;
    g->consistent = consistent;
    g->cb = cb;
    timeout_ms = timeout_ms != 0 ? timeout_ms : client->options.timeout_ms;
    g->deadline_ms = clock_mono_ms() + timeout_ms;
    if (!start_direct(g, timeout_ms)) {
        ask_proxy(g, consistent);
    }
}

void object_client_get_cancel(struct client_get *g)
{
    g->canceled = true;
    if (g->is_direct) {
        object_client_read_cancel(&g->read);
    } else {
        object_call_cancel(&g->call);
    }
}
