#include "sim/object_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/mem.h"
#include "loop/run.h"

enum { KNOWN_BYTES = 1 << 20 };

void object_world_new_client(struct object_world *o, size_t known_bytes)
{
    struct net_addr addrs[OBJECT_WORLD_PROXIES];
    bool closed = false;
    struct err e;

    for (unsigned i = 0; i < OBJECT_WORLD_PROXIES; i++) {
        assert_int_equal(
            net_addr_tcp(&addrs[i], "127.0.0.1", proxy_server_port(o->servers[i], 0), &e), 0);
    }
    if (o->client != NULL) {
        object_client_close(o->client, loop_set_true, &closed);
        loop_fixture_run_until(&o->w->base, &closed);
    }
    o->client = object_client_new(
        &o->w->base.loop, &(struct object_client_options){.proxies = addrs,
                                                          .proxy_count = OBJECT_WORLD_PROXIES,
                                                          .known_bytes = known_bytes,
                                                          .timeout_ms = 20000,
                                                          .near_nodes = o->near_nodes,
                                                          .near_node_count = o->near_node_count,
                                                          .direct_ms = OBJECT_WORLD_DIRECT_MS});
}

static void start(struct object_world *o)
{
    struct net_addr any;
    struct err e;

    assert_int_equal(net_addr_tcp(&any, "127.0.0.1", 0, &e), 0);
    for (unsigned i = 0; i < OBJECT_WORLD_PROXIES; i++) {
        struct proxy_server_options options = {.addrs = &any, .addr_count = 1};

        assert_int_equal(proxy_server_new(o->w->engine, &options, &o->servers[i], &e), 0);
    }
    object_world_new_client(o, KNOWN_BYTES);
}

struct object_world *object_world_new(unsigned asds, const char *preset_json)
{
    struct object_world *o = mem_zalloc(sizeof(*o));

    o->w = world_new(asds, asds, preset_json);
    start(o);
    return o;
}

struct object_world *object_world_new_hasty(unsigned asds, const char *preset_json)
{
    struct object_world *o = mem_zalloc(sizeof(*o));

    o->w = world_new(asds, asds, preset_json);
    world_make_hasty(o->w);
    start(o);
    return o;
}

struct object_world *object_world_new_near(unsigned asds, const char *preset_json,
                                           const char *const *near_nodes, unsigned count)
{
    struct object_world *o = mem_zalloc(sizeof(*o));

    o->w = world_new(asds, asds, preset_json);
    o->near_nodes = o->w->near_places = near_nodes;
    o->near_node_count = o->w->near_place_count = count;
    world_new_engine(o->w);
    engine_set_hedging(o->w->engine, false);
    start(o);
    return o;
}

void object_world_free(struct object_world *o)
{
    bool closed = false;

    object_client_close(o->client, loop_set_true, &closed);
    loop_fixture_run_until(&o->w->base, &closed);
    for (unsigned i = 0; i < OBJECT_WORLD_PROXIES; i++) {
        bool server_closed = false;

        proxy_server_close(o->servers[i], loop_set_true, &server_closed);
        loop_fixture_run_until(&o->w->base, &server_closed);
    }
    world_free(o->w);
    free(o);
}

struct object_counters object_world_counters(const struct object_world *o)
{
    struct object_counters counters;

    object_client_counters(o->client, &counters);
    return counters;
}

/* ---- waiting calls ---- */

struct waiting {
    struct object_call call;
    struct client_read read;
    struct client_get get;
    bool done;
    int rc;
};

static void on_call(struct object_call *call, int rc)
{
    struct waiting *w = container_of(call, struct waiting, call);

    w->rc = rc;
    w->done = true;
}

static int wait_for(struct object_world *o, struct waiting *w)
{
    loop_fixture_run_until(&o->w->base, &w->done);
    return w->rc;
}

static int apply(struct object_world *o, const struct proxy_update *update)
{
    struct waiting w = {0};
    struct proxy_request request = {
        .code = PROXY_APPLY,
        .ns = slice_str("ns"),
        .apply = {.updates = (struct proxy_update *)(uintptr_t)update, .update_count = 1}};

    object_client_call(o->client, &w.call, &request, 0, on_call);
    assert_false(w.done);
    wait_for(o, &w);
    o->proxy_code = w.call.proxy_code;
    return w.rc;
}

int object_world_put(struct object_world *o, const char *name, const void *data, size_t bytes)
{
    return apply(o, &(struct proxy_update){.kind = PROXY_UPDATE_UPLOAD,
                                           .name = slice_str(name),
                                           .data = slice_of(data, bytes)});
}

int object_world_delete(struct object_world *o, const char *name)
{
    return apply(o, &(struct proxy_update){.kind = PROXY_UPDATE_DELETE, .name = slice_str(name)});
}

static void on_read(struct client_read *read, int rc)
{
    struct waiting *w = container_of(read, struct waiting, read);

    w->rc = rc;
    w->done = true;
}

int object_world_slice(struct object_world *o, const char *name, uint64_t offset, uint64_t bytes,
                       uint8_t *ret_data, bool *ret_direct)
{
    struct waiting w = {0};
    struct object_slice slice = {.offset = offset, .bytes = bytes, .dest = ret_data};

    object_client_read(
        o->client, &w.read,
        &(struct client_read_spec){
            .ns = slice_str("ns"), .name = slice_str(name), .slices = &slice, .slice_count = 1},
        0, on_read);
    assert_false(w.done);
    wait_for(o, &w);
    *ret_direct = w.read.was_direct;
    o->proxy_code = w.read.proxy_code;
    if (w.rc != 0) {
        print_message("slice: %s\n", w.read.err.msg);
    }
    return w.rc;
}

static void on_get(struct client_get *get, int rc)
{
    struct waiting *w = container_of(get, struct waiting, get);

    w->rc = rc;
    w->done = true;
}

int object_world_get(struct object_world *o, const char *name, bool consistent, uint8_t **ret_data,
                     size_t *ret_bytes, bool *ret_direct)
{
    struct waiting w = {0};

    object_client_get(o->client, &w.get, slice_str("ns"), slice_str(name), consistent, 0, on_get);
    assert_false(w.done);
    wait_for(o, &w);
    *ret_direct = w.get.was_direct;
    *ret_data = w.get.data;
    *ret_bytes = w.get.bytes;
    return w.rc;
}

bool object_world_expect(struct object_world *o, const char *name, const uint8_t *data,
                         uint64_t offset, uint64_t bytes)
{
    uint8_t *got = mem_alloc((size_t)bytes + 1);
    bool direct;

    assert_int_equal(object_world_slice(o, name, offset, bytes, got, &direct), 0);
    assert_int_equal(memcmp(got, data + offset, (size_t)bytes), 0);
    free(got);
    return direct;
}

bool object_world_expect_all(struct object_world *o, const char *name, const uint8_t *data,
                             size_t bytes)
{
    uint8_t *got = NULL;
    size_t got_bytes = 0;
    bool direct;

    assert_int_equal(object_world_get(o, name, false, &got, &got_bytes, &direct), 0);
    assert_int_equal(got_bytes, bytes);
    assert_int_equal(memcmp(got, data, bytes), 0);
    bigmem_free(got);
    return direct;
}

void object_world_settle(struct object_world *o)
{
    for (unsigned i = 0; i < 600 && o->w->engine->busy > OBJECT_WORLD_PROXIES; i++) {
        loop_fixture_run_ms(&o->w->base, 10);
    }
    assert_int_equal(o->w->engine->busy, OBJECT_WORLD_PROXIES);
}

void object_world_wait_osds(struct object_world *o)
{
    for (unsigned i = 0; i < 500 && object_client_lists_osds(o->client); i++) {
        loop_fixture_run_ms(&o->w->base, 10);
    }
    assert_false(object_client_lists_osds(o->client));
}
