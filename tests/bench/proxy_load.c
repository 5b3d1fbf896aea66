/* Load generator that speaks the proxy protocol.
 *
 * Usage: proxy_load URI NAMESPACE OPERATION CLIENTS SECONDS OBJECT_BYTES OBJECTS
 * OPERATION = fill or delete: every object once (OBJECTS = A-B: number A up to B - 1); list: all
 * names, page by page (an operation is a page); put, get, slice: for SECONDS, random objects, whole
 * puts over what is there, whole reads, or reads of 4 KiB (get and slice need a fill with the same
 * OBJECT_BYTES before). CLIENTS requests are in flight. Every object holds the same bytes, that do
 * not compress; what is read is compared with them. Prints one JSON line: operations, seconds,
 * latency, and this process's CPU time per operation. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <uv.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "loop/run.h"
#include "net/addr.h"
#include "net/proxy_client.h"
#include "wire/gather.h"
#include "wire/proxy_reply.h"
#include "wire/proxy_request.h"

enum {
    CLIENTS_MAX = 256,
    SLICE_BYTES = 4096,
    OBJECT_BYTES_MAX = 1 << 30,
    LATENCIES_MAX = 1 << 20,
    KEPT_BYTES_MAX = 512 << 20,
    TIMEOUT_MS = 300000
};
enum op { OP_FILL, OP_PUT, OP_GET, OP_SLICE, OP_DELETE, OP_LIST, OP_COUNT };

static const char *const op_names[OP_COUNT] = {"fill", "put", "get", "slice", "delete", "list"};

struct client {
    struct proxy_call call;
    struct load *load;
    struct gather request;
    uint64_t start_ns;
    uint64_t offset; /* of the slice in flight */
};

struct load {
    uv_loop_t loop;
    struct proxy_client *proxy;
    const char *ns;
    enum op op;
    unsigned clients;
    double seconds;
    uint32_t object_bytes;
    uint32_t objects;
    uint32_t next; /* that fill or delete takes */
    uint32_t listed;
    struct buf last; /* name of the page before */
    bool is_listed;
    uint8_t *object;
    struct checksum checksum;
    struct rnd rnd;
    unsigned busy; /* requests in flight */
    uint64_t end_ns;
    uint64_t done;
    uint64_t errors;
    uint32_t *latency_us;
    struct client client[CLIENTS_MAX];
};

/* ---- one request ---- */

static bool takes_each_once(const struct load *l)
{
    return l->op == OP_FILL || l->op == OP_DELETE;
}

static void encode(struct load *l, struct client *c)
{
    char name[32];
    struct slice key;
    struct proxy_slice part = {.bytes = SLICE_BYTES};
    struct proxy_object_slices parts = {.slices = &part, .slice_count = 1};
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD,
                                  .data = slice_of(l->object, l->object_bytes),
                                  .has_checksum = true,
                                  .checksum = l->checksum};
    struct proxy_request request = {.ns = slice_str(l->ns)};

    snprintf(name, sizeof name, "object-%07" PRIu32,
             takes_each_once(l) ? l->next++ : (uint32_t)rnd_below(&l->rnd, l->objects));
    key = slice_str(name);
    switch (l->op) {
    case OP_LIST:
        request.code = PROXY_LIST_OBJECTS;
        request.range = (struct proxy_range){.first = slice_buf(&l->last), .max = -1};
        break;
    case OP_DELETE:
        request.code = PROXY_DELETE_OBJECT;
        request.object.name = key;
        break;
    case OP_GET:
        request.code = PROXY_READ_OBJECTS;
        request.names.items = &key;
        request.names.count = 1;
        break;
    case OP_SLICE:
        c->offset = rnd_below(&l->rnd, l->object_bytes / SLICE_BYTES) * SLICE_BYTES;
        part.offset = (int64_t)c->offset;
        parts.name = key;
        request.code = PROXY_READ_SLICES;
        request.reads.items = &parts;
        request.reads.count = 1;
        break;
    default:
        update.name = key;
        request.code = PROXY_APPLY_SEQUENCE;
        request.apply.updates = &update;
        request.apply.update_count = 1;
        break;
    }
    proxy_request_encode(&request, &c->request);
}

static int take_page(struct load *l, const struct proxy_reply *page, struct err *e)
{
    l->is_listed = !page->names.more;
    for (uint32_t i = 0; i < page->names.count; i++) {
        struct slice name = page->names.items[i];

        if (slice_cmp(slice_buf(&l->last), name) >= 0) {
            return err_say(e, ERR_CORRUPT, "names out of order");
        }
        l->last.len = 0;
        buf_put(&l->last, name.data, name.len);
    }
    l->listed += page->names.count;
    return 0;
}

/* The reply holds what was put, or the next names. */
static int check_reply(struct load *l, struct client *c, struct err *e)
{
    uint32_t code = l->op == OP_GET    ? PROXY_READ_OBJECTS
                    : l->op == OP_LIST ? PROXY_LIST_OBJECTS
                                       : PROXY_READ_SLICES;
    struct proxy_reply reply;
    struct slice data;
    bool same;
    int rc;

    if (l->op != OP_GET && l->op != OP_SLICE && l->op != OP_LIST) {
        return 0;
    }
    rc = proxy_reply_decode(c->call.reply, code, &reply, e);
    if (rc != 0) {
        return rc;
    }
    if (l->op == OP_LIST) {
        rc = take_page(l, &reply, e);
        proxy_reply_release(&reply);
        return rc;
    }
    data = l->op == OP_SLICE                                    ? reply.objects.data
           : reply.read.count == 1 && reply.read.items[0].found ? reply.read.items[0].data
                                                                : slice_of(NULL, 0);
    same =
        l->op == OP_SLICE
            ? data.len == SLICE_BYTES && memcmp(data.data, l->object + c->offset, SLICE_BYTES) == 0
            : data.len == l->object_bytes && crc32c(0, data.data, data.len) == l->checksum.crc32c;
    proxy_reply_release(&reply);
    return same ? 0 : err_say(e, ERR_CORRUPT, "not the bytes that were put");
}

/* ---- the load ---- */

static bool has_more(const struct load *l)
{
    return takes_each_once(l) ? l->next < l->objects
           : l->op == OP_LIST ? !l->is_listed
                              : clock_mono_ns() < l->end_ns;
}

static void on_answer(struct proxy_call *call, int rc);

static void next_request(struct load *l, struct client *c)
{
    encode(l, c);
    c->start_ns = clock_mono_ns();
    l->busy++;
    CHECK(proxy_client_call(l->proxy, &c->call, &c->request, TIMEOUT_MS, on_answer) == 0);
}

static void on_answer(struct proxy_call *call, int rc)
{
    struct client *c = container_of(call, struct client, call);
    struct load *l = c->load;
    struct err e = call->err;

    rc = rc != 0 ? rc : check_reply(l, c, &e);
    if (rc != 0 && l->errors++ == 0) {
        fprintf(stderr, "proxy_load: first error: %s\n", e.msg);
    }
    if (l->done < LATENCIES_MAX) {
        l->latency_us[l->done] = (uint32_t)((clock_mono_ns() - c->start_ns) / 1000);
    }
    l->done++;
    l->busy--;
    gather_release(&c->request);
    if (has_more(l)) {
        next_request(l, c);
    }
}

static double own_cpu_seconds(void)
{
    struct rusage u;

    CHECK(getrusage(RUSAGE_SELF, &u) == 0);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void print_figures(struct load *l, double seconds, double cpu_s)
{
    size_t n = l->done < LATENCIES_MAX ? l->done : LATENCIES_MAX;

    qsort(l->latency_us, n, sizeof l->latency_us[0], by_value);
    printf("{\"ops\": %" PRIu64 ", \"errors\": %" PRIu64
           ", \"seconds\": %.3f, \"ops_per_s\": %.1f, \"mb_per_s\": %.1f, \"p50_us\": %u, "
           "\"p99_us\": %u, \"client_cpu_us_per_op\": %.2f, \"listed\": %" PRIu32 "}\n",
           l->done, l->errors, seconds, (double)l->done / seconds,
           (double)l->done * (l->op == OP_SLICE ? SLICE_BYTES : l->object_bytes) / seconds / 1e6,
           n != 0 ? l->latency_us[n / 2] : 0, n != 0 ? l->latency_us[n * 99 / 100] : 0,
           l->done != 0 ? cpu_s * 1e6 / (double)l->done : 0, l->listed);
}

static bool is_idle(void *ctx)
{
    return ((const struct load *)ctx)->busy == 0;
}

static void run(struct load *l)
{
    double cpu_s = own_cpu_seconds();
    uint64_t start_ns = clock_mono_ns();
    bool closed = false;

    l->end_ns = start_ns + (uint64_t)(l->seconds * 1e9);
    for (unsigned i = 0; i < l->clients && has_more(l); i++) {
        l->client[i].load = l;
        next_request(l, &l->client[i]);
    }
    loop_run_until_true(&l->loop, is_idle, l);
    proxy_client_close(l->proxy, loop_set_true, &closed);
    loop_run_until(&l->loop, &closed);
    print_figures(l, (double)(clock_mono_ns() - start_ns) / 1e9, own_cpu_seconds() - cpu_s);
}

static bool parse_args(struct load *l, char **argv)
{
    char *end;

    l->ns = argv[2];
    while (l->op < OP_COUNT && strcmp(argv[3], op_names[l->op]) != 0) {
        l->op++;
    }
    l->clients = (unsigned)strtoul(argv[4], NULL, 10);
    l->seconds = strtod(argv[5], NULL);
    l->object_bytes = (uint32_t)strtoul(argv[6], NULL, 10);
    l->objects = (uint32_t)strtoul(argv[7], &end, 10);
    if (*end == '-') {
        l->next = l->objects;
        l->objects = (uint32_t)strtoul(end + 1, NULL, 10);
    }
    return l->op < OP_COUNT && l->clients >= 1 && l->clients <= CLIENTS_MAX && l->objects >= 1 &&
           l->object_bytes >= (l->op == OP_SLICE ? SLICE_BYTES : 1) &&
           l->object_bytes <= OBJECT_BYTES_MAX && (l->op != OP_LIST || l->clients == 1);
}

/* The same in every process. */
static void make_object(struct load *l)
{
    struct rnd rnd = rnd_seed(1);

    l->object = mem_alloc((size_t)l->object_bytes + 8);
    for (uint32_t at = 0; at < l->object_bytes; at += 8) {
        put_u64le(l->object + at, rnd_next(&rnd));
    }
}

int main(int argc, char **argv)
{
    struct load *l = mem_zalloc(sizeof *l);
    struct net_addr addr;
    struct err e;
    bool clean;

    signal(SIGPIPE, SIG_IGN);
    bigmem_keep(KEPT_BYTES_MAX);
    if (argc != 8 || !parse_args(l, argv)) {
        fputs("usage: proxy_load URI NAMESPACE fill|delete|list|put|get|slice CLIENTS SECONDS "
              "OBJECT_BYTES OBJECTS\n",
              stderr);
        return 2;
    }
    if (net_addr_parse(&addr, argv[1], &e) != 0) {
        fprintf(stderr, "proxy_load: %s\n", e.msg);
        return 2;
    }
    l->rnd = rnd_seed(clock_mono_ns());
    make_object(l);
    l->checksum = checksum_crc32c(crc32c(0, l->object, l->object_bytes));
    l->latency_us = mem_array(LATENCIES_MAX, sizeof l->latency_us[0]);
    CHECK(uv_loop_init(&l->loop) == 0);
    l->proxy = proxy_client_new(
        &l->loop, &(struct proxy_client_options){
                      .endpoints = &addr, .endpoint_count = 1, .connections_max = l->clients});
    run(l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&l->loop) == 0);
    clean = l->errors == 0;
    buf_release(&l->last);
    free(l->latency_us);
    free(l->object);
    free(l);
    return clean ? 0 : 1;
}
