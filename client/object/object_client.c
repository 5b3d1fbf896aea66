#include "object/object_client.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "object/object_private.h"

/* ---- where the OSDs are ---- */

static void on_refreshed(struct object_call *call, int rc)
{
    struct object_client *client = call->client;
    const struct proxy_reply *reply = &call->reply;

    client->refreshing = false;
    client->refresh_ms = clock_mono_ms() + OBJECT_REFRESH_MS;
    if (rc != 0) {
        log_debug("object", "osds not listed", "why=\"%s\"", call->err.msg);
    } else if (reply->albas.count > 0 && !client->closing) { /* fragments lie in the last one */
        osd_book_set(client->book, &reply->albas.items[reply->albas.count - 1]);
    }
}

void object_client_refresh(struct object_client *client)
{
    if (client->refreshing || client->closing || clock_mono_ms() < client->refresh_ms) {
        return;
    }
    client->refreshing = true;
    client->counters.refreshes++;
    object_client_call(client, &client->refresh, &(struct proxy_request){.code = PROXY_OSD_INFO2},
                       0, on_refreshed);
}

/* ---- figures ---- */

void object_client_counters(const struct object_client *client,
                            struct object_counters *ret_counters)
{
    *ret_counters = client->counters;
    ret_counters->known_objects = client->known.cache.count;
    ret_counters->known_bytes = client->known.cache.used_bytes;
    ret_counters->osds_aside = osd_book_aside_count(client->book);
}

bool object_client_lists_osds(const struct object_client *client)
{
    return client->refreshing || osd_book_is_empty(client->book);
}

void object_client_forget(struct object_client *client, struct slice ns)
{
    known_forget_namespace(&client->known, ns);
}

/* ---- life ---- */

struct proxy_route *object_client_new_route(const struct object_client *client)
{
    const struct object_client_options *o = &client->options;

    return proxy_route_new(client->loop,
                           &(struct proxy_route_options){.proxies = o->proxies,
                                                         .proxy_count = o->proxy_count,
                                                         .tls = o->tls,
                                                         .timeout_ms = o->timeout_ms});
}

struct object_client *object_client_new(uv_loop_t *loop,
                                        const struct object_client_options *options)
{
    struct object_client *client = mem_zalloc(sizeof(*client));
    struct object_client_options *o = &client->options;

    *o = *options;
    o->proxies = mem_dup(options->proxies, options->proxy_count * sizeof(*options->proxies));
    o->near_nodes = NULL; /* the book has them */
    o->timeout_ms = o->timeout_ms != 0 ? o->timeout_ms : OBJECT_TIMEOUT_MS;
    o->direct_ms = o->direct_ms != 0 ? o->direct_ms : OBJECT_DIRECT_MS;
    client->loop = loop;
    client->route = object_client_new_route(client);
    client->book =
        osd_book_new(loop, &(struct osd_book_options){.tls = o->tls,
                                                      .connect_timeout_ms = o->direct_ms,
                                                      .near_nodes = options->near_nodes,
                                                      .near_node_count = options->near_node_count});
    known_init(&client->known, o->known_bytes);
    later_init(&client->later, loop);
    client->env = (struct direct_env){.book = client->book,
                                      .later = &client->later,
                                      .round_trips = &client->counters.direct_round_trips,
                                      .far_trips = &client->counters.direct_far_trips,
                                      .call_ms = o->direct_ms};
    list_init(&client->calls);
    list_init(&client->reads);
    return client;
}

static void closed_one(void *ctx)
{
    struct object_client *client = ctx;

    if (--client->busy == 0) {
        client->close_cb(client->close_ctx);
        free((void *)(uintptr_t)client->options.proxies);
        free(client);
    }
}

void object_client_idle(struct object_client *client)
{
    client->busy--;
    if (!client->closing || client->busy != 0 || client->parts_closing) {
        return;
    }
    client->parts_closing = true;
    client->busy = 3;
    known_release(&client->known);
    osd_book_close(client->book, closed_one, client);
    proxy_route_close(client->route, closed_one, client);
    later_close(&client->later, closed_one, client);
}

void object_client_close(struct object_client *client, void (*cb)(void *ctx), void *ctx)
{
    CHECK(!client->closing);
    client->closing = true;
    client->close_cb = cb;
    client->close_ctx = ctx;
    client->busy++; /* so that it ends only when all of them were told */
    LIST_FOR_EACH (it, &client->reads) {
        object_client_read_cancel(container_of(it, struct client_read, link));
    }
    LIST_FOR_EACH (it, &client->calls) {
        object_call_cancel(container_of(it, struct object_call, link));
    }
    object_client_idle(client);
}
