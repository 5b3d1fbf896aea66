#include "sim/proxy_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "lib/tempdir.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

void fixture_on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

struct fixture *fixture_new(unsigned dirs)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct net_addr any;
    struct proxy_server_options options = {.addrs = &any,
                                           .addr_count = 1,
                                           .connections_max = 8,
                                           .frame_bytes_max = 4 << 20,
                                           .request_bytes_max = REQUEST_BYTES_MAX,
                                           .request_timeout_ms = 3000};
    struct err e;

    f->w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    f->dir = tempdir_make();
    assert_int_equal(fs_dir_check(f->dir, &f->real_dir, &e), 0);
    f->fs_dirs[0] = f->real_dir;
    options.fs = (struct fs_rules){.dirs = f->fs_dirs, .dir_count = dirs};
    assert_int_equal(net_addr_tcp(&any, "127.0.0.1", 0, &e), 0);
    assert_int_equal(proxy_server_new(f->w->engine, &options, &f->server, &e), 0);
    assert_int_equal(net_addr_tcp(&f->addr, "127.0.0.1", proxy_server_port(f->server, 0), &e), 0);
    f->client = proxy_client_new(&f->w->base.loop, &(struct proxy_client_options){
                                                       .endpoints = &f->addr, .endpoint_count = 1});
    return f;
}

void fixture_free(struct fixture *f)
{
    bool client_closed = false, server_closed = f->server == NULL;

    proxy_client_close(f->client, fixture_on_closed, &client_closed);
    loop_fixture_run_until(&f->w->base, &client_closed);
    if (f->server != NULL) {
        proxy_server_close(f->server, fixture_on_closed, &server_closed);
    }
    loop_fixture_run_until(&f->w->base, &server_closed);
    world_free(f->w);
    tempdir_remove(f->dir);
    free(f->real_dir);
    free(f);
}

/* ---- a call that waits ---- */

void fixture_on_call(struct proxy_call *call, int rc)
{
    struct call *c = container_of(call, struct call, call);
    struct err e;

    c->rc = rc;
    c->proxy_code = call->proxy_code;
    snprintf(c->text, sizeof(c->text), "%s", call->err.msg);
    if (rc == 0) {
        struct rd reply = call->reply;

        c->bytes = proxy_call_detach_reply(call);
        assert_int_equal(proxy_reply_decode(reply, c->code, &c->reply, &e), 0);
    }
    c->done = true;
}

/* Returns the proxy's code; 0 and c->reply on success. */
int32_t fixture_call(struct fixture *f, const struct proxy_request *request, struct call *c)
{
    memset(c, 0, sizeof(*c));
    c->code = request->code;
    proxy_request_encode(request, &c->request);
    assert_int_equal(proxy_client_call(f->client, &c->call, &c->request, 20000, fixture_on_call),
                     0);
    loop_fixture_run_until(&f->w->base, &c->done);
    gather_release(&c->request);
    if (c->rc != 0 && c->proxy_code == 0) {
        fprintf(stderr, "call: %s\n", c->text);
    }
    return c->rc == 0 ? 0 : c->proxy_code;
}

void fixture_call_release(struct call *c)
{
    if (c->rc == 0) {
        proxy_reply_release(&c->reply);
        free(c->bytes);
    }
}

int32_t fixture_simple(struct fixture *f, const struct proxy_request *request)
{
    struct call c;
    int32_t code = fixture_call(f, request, &c);

    fixture_call_release(&c);
    return code;
}

struct slice fixture_ns(void)
{
    return slice_str("ns");
}

int32_t fixture_put(struct fixture *f, const char *name, const void *data, size_t bytes)
{
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str(name), .data = slice_of(data, bytes)};
    struct proxy_request request = {
        .code = PROXY_APPLY, .ns = fixture_ns(), .apply = {.updates = &update, .update_count = 1}};

    return fixture_simple(f, &request);
}
