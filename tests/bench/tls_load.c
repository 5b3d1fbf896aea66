/* What TLS costs: CPU of both ends for each MiB of large values, against plain TCP, and for each
 * new connection. One process, one loop, loopback. Usage: tls_load [MiB] */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/bigmem.h"
#include "base/buf.h"
#include "base/check.h"
#include "loop/run.h"
#include "net/asd_client.h"
#include "net/server.h"
#include "unit/net/certs_fixture.h"
#include "wire/asd_msg.h"
#include "wire/asd_request.h"
#include "wire/gather.h"

enum { VALUE_BYTES = 4 << 20, CONNECTIONS = 200, ROUNDS = 5, TIMEOUT_MS = 60000 };

static uint8_t value[VALUE_BYTES];
static bool done;

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct asd_preamble p;
    int taken = asd_preamble_parse(data, bytes, &p);
    struct buf answer = {0};

    if (taken > 0) {
        asd_hello_put(&answer, slice_str("load"));
        net_conn_write(conn, answer.data, answer.len);
        buf_release(&answer);
    }
    return taken;
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    bool is_get = bytes >= 8 && get_u32le(frame + 4) == ASD_MULTI_GET;
    struct gather g = {0};

    buf_put_u32le(&g.own, 8 + (is_get ? VALUE_BYTES : 0));
    buf_put_u32le(&g.own, get_u32le(frame));
    buf_put_u32le(&g.own, 0);
    if (is_get) {
        gather_borrow(&g, slice_of(value, sizeof value));
    }
    net_conn_write_gather(conn, &g, NULL, NULL);
    bigmem_free(frame);
}

static void on_close(struct net_conn *conn)
{
    (void)conn;
}

static const struct net_server_ops ops = {
    .on_preamble = on_preamble, .on_frame = on_frame, .on_close = on_close};

static double cpu_ms(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static void on_call(struct asd_call *call, int rc)
{
    if (rc != 0) {
        fprintf(stderr, "tls_load: %s\n", call->err.msg);
        exit(1);
    }
    done = true;
}

static void on_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static void one_call(uv_loop_t *loop, struct asd_client *client, uint32_t code)
{
    struct slice key = slice_str("k");
    struct asd_update update = {.key = key, .value = slice_of(value, sizeof value)};
    struct asd_request request = {.code = code};
    struct gather g = {0};
    struct asd_call call;

    if (code == ASD_APPLY) {
        request.apply.updates = &update;
        request.apply.update_count = 1;
    } else if (code == ASD_MULTI_GET) {
        request.keys.items = &key;
        request.keys.count = 1;
    }
    asd_request_encode(&request, &g);
    done = false;
    CHECK(asd_client_call(client, &call, &g, TIMEOUT_MS, on_call) == 0);
    loop_run_until(loop, &done);
    gather_release(&g);
}

static void close_client(uv_loop_t *loop, struct asd_client *client)
{
    bool closed = false;

    asd_client_close(client, on_closed, &closed);
    loop_run_until(loop, &closed);
}

static void measure(uv_loop_t *loop, const struct asd_client_options *options, unsigned mib)
{
    struct asd_client *client = asd_client_new(loop, options);
    double start, put, get, connect;

    one_call(loop, client, ASD_APPLY);
    one_call(loop, client, ASD_MULTI_GET);
    start = cpu_ms();
    for (unsigned i = 0; i < mib; i += VALUE_BYTES >> 20) {
        one_call(loop, client, ASD_APPLY);
    }
    put = (cpu_ms() - start) / mib;
    start = cpu_ms();
    for (unsigned i = 0; i < mib; i += VALUE_BYTES >> 20) {
        one_call(loop, client, ASD_MULTI_GET);
    }
    get = (cpu_ms() - start) / mib;
    close_client(loop, client);
    start = cpu_ms();
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        client = asd_client_new(loop, options);
        one_call(loop, client, ASD_GET_VERSION);
        close_client(loop, client);
    }
    connect = (cpu_ms() - start) / CONNECTIONS;
    printf("%-5s  put %.3f  get %.3f CPU-ms per MiB, both ends;  connect %.2f CPU-ms\n",
           options->addr.is_tls ? "TLS" : "plain", put, get, connect);
}

int main(int argc, char **argv)
{
    unsigned mib = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1024;
    struct asd_client_options client = {0};
    struct net_server_options options = {.ops = &ops,
                                         .addr_count = 2,
                                         .connections_max = 10,
                                         .frame_bytes_max = ASD_FRAME_BYTES_MAX};
    struct net_tls_files files;
    struct net_addr addrs[2];
    struct net_server *server;
    struct certs certs;
    struct err e = {0};
    bool closed = false;
    uv_loop_t loop;

    CHECK(mib != 0 && uv_loop_init(&loop) == 0);
    certs_make(&certs);
    files = certs_files(&certs, PAIR_SERVER);
    CHECK(net_tls_new(NET_TLS_SERVER, &files, &options.tls, &e) == 0);
    files = certs_files(&certs, PAIR_CLIENT);
    CHECK(net_tls_new(NET_TLS_CLIENT, &files, &client.tls, &e) == 0);
    CHECK(net_addr_tcp(&addrs[0], "127.0.0.1", 0, &e) == 0);
    addrs[1] = addrs[0];
    net_addr_set_tls(&addrs[1]);
    options.addrs = addrs;
    CHECK(net_server_new(&loop, &options, &server, &e) == 0);
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        CHECK(net_addr_tcp(&client.addr, "127.0.0.1", net_server_port(server, i % 2), &e) == 0);
        if (i % 2 == 1) {
            net_addr_set_tls(&client.addr);
        }
        measure(&loop, &client, mib);
    }
    net_server_close(server, 0, on_closed, &closed);
    loop_run_until(&loop, &closed);
    CHECK(uv_loop_close(&loop) == 0);
    net_tls_free(options.tls);
    net_tls_free(client.tls);
    certs_remove(&certs);
    return 0;
}
