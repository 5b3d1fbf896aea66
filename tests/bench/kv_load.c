/* One load generator for an ASD and for redis, so that both are asked the same way.
 *
 * Usage: kv_load asd|redis PORT fill|get|put|slice CLIENTS SECONDS VALUE_BYTES KEYS PID [low]
 * fill puts every key once; the others take random keys for SECONDS (get and slice need a
 * fill before). Each client is a connection with one request in flight. Prints one JSON line:
 * operations, seconds, latency, and the CPU time that process PID (the server) and this one
 * used, per operation. One thread. */
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "wire/asd_msg.h"
#include "wire/asd_request.h"
#include "wire/gather.h"

enum {
    CLIENTS_MAX = 512,
    SLICE_BYTES = 4096,
    VALUE_BYTES_MAX = 8 << 20,
    REPLY_BYTES = 16 << 20,
    LATENCIES_MAX = 1 << 22
};
enum op { OP_FILL, OP_GET, OP_PUT, OP_SLICE, OP_COUNT };

static const char *const op_names[OP_COUNT] = {"fill", "get", "put", "slice"};

struct client {
    int fd;
    struct buf out;
    size_t sent;
    uint8_t *in;
    size_t in_bytes;
    uint64_t start_ns; /* 0: nothing in flight */
};

struct load {
    bool redis;
    uint8_t prio; /* of an ASD */
    enum op op;
    unsigned clients;
    double seconds;
    uint32_t value_bytes;
    uint32_t keys;
    uint32_t filled;
    uint64_t end_ns;
    int pid;
    uint8_t *value;
    uint32_t value_crc;
    struct rnd rnd;
    int epoll;
    struct client client[CLIENTS_MAX];
    uint64_t done;
    uint64_t errors;
    uint32_t *latency_us;
};

static void die(const char *what)
{
    fprintf(stderr, "kv_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- requests ---- */

static void put_asd(struct load *l, struct buf *out, enum op op, const char *key)
{
    struct slice k = slice_str(key);
    struct asd_part part = {.offset = (uint32_t)rnd_below(&l->rnd, l->value_bytes / SLICE_BYTES) *
                                      SLICE_BYTES,
                            .bytes = SLICE_BYTES};
    struct asd_update update = {.key = k,
                                .value = slice_of(l->value, l->value_bytes),
                                .checksum = checksum_crc32c(l->value_crc)};
    struct asd_request request = {.code = ASD_MULTI_GET2, .keys = {.items = &k, .count = 1}};
    uint8_t head[ASD_HEAD_BYTES_MAX];
    struct gather g = {0};

    if (op == OP_PUT || op == OP_FILL) {
        request = (struct asd_request){.code = ASD_APPLY,
                                       .apply = {.updates = &update, .update_count = 1}};
    } else if (op == OP_SLICE) {
        request = (struct asd_request){.code = ASD_PARTIAL_GET,
                                       .partial = {.key = k, .parts = &part, .part_count = 1}};
    }
    request.prio = l->prio;
    asd_request_encode(&request, &g);
    buf_put(out, head, asd_request_head(head, ASD_VERSION_2, 1, gather_bytes(&g)));
    gather_flatten(&g, out);
    gather_release(&g);
}

static void put_redis(struct load *l, struct buf *out, enum op op, const char *key)
{
    if (op == OP_PUT || op == OP_FILL) {
        buf_printf(out, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%u\r\n", strlen(key), key,
                   l->value_bytes);
        buf_put(out, l->value, l->value_bytes);
        buf_put(out, "\r\n", 2);
    } else {
        buf_printf(out, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
    }
}

static void put_request(struct load *l, struct buf *out, enum op op, uint32_t key)
{
    char text[32];

    snprintf(text, sizeof text, "key:%010" PRIu32, key);
    if (l->redis) {
        put_redis(l, out, op, text);
    } else {
        put_asd(l, out, op, text);
    }
}

/* ---- replies: bytes of a whole one, or 0; not ok unless it holds what was asked for ---- */

static size_t wanted_bytes(const struct load *l)
{
    return l->op == OP_GET ? l->value_bytes : l->op == OP_SLICE ? SLICE_BYTES : 0;
}

static size_t reply_bytes(const struct load *l, const struct client *c, bool *ret_ok)
{
    const uint8_t *end;
    long value;

    if (!l->redis) {
        size_t whole = c->in_bytes >= 4 ? 4 + (size_t)get_u32le(c->in) : 0;

        if (whole == 0 || c->in_bytes < whole) {
            return 0;
        }
        *ret_ok = get_u32le(c->in + 8) == 0 && whole >= wanted_bytes(l);
        return whole;
    }
    end = memchr(c->in, '\n', c->in_bytes);
    if (end == NULL) {
        return 0;
    }
    *ret_ok = c->in[0] == '+' || c->in[0] == '$';
    if (c->in[0] != '$') {
        return (size_t)(end + 1 - c->in);
    }
    value = strtol((const char *)c->in + 1, NULL, 10);
    if (value < 0) {
        *ret_ok = false;
        return (size_t)(end + 1 - c->in);
    }
    return c->in_bytes >= (size_t)(end + 1 - c->in) + (size_t)value + 2
               ? (size_t)(end + 1 - c->in) + (size_t)value + 2
               : 0;
}

/* ---- connections ---- */

static void write_some(struct client *c)
{
    while (c->sent < c->out.len) {
        ssize_t n =
            send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0) {
            die("send");
        }
        c->sent += (size_t)n;
    }
}

static void next_request(struct load *l, struct client *c)
{
    c->out.len = 0;
    c->sent = 0;
    c->in_bytes = 0;
    put_request(l, &c->out, l->op,
                l->op == OP_FILL ? l->filled++ : (uint32_t)rnd_below(&l->rnd, l->keys));
    c->start_ns = clock_mono_ns();
    write_some(c);
}

/* True when the reply is whole. */
static bool read_some(struct load *l, struct client *c)
{
    bool ok = true;
    ssize_t n;

    write_some(c);
    n = recv(c->fd, c->in + c->in_bytes, REPLY_BYTES - c->in_bytes, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("the server closed the connection");
    }
    c->in_bytes += n > 0 ? (size_t)n : 0;
    if (reply_bytes(l, c, &ok) == 0) {
        return false;
    }
    if (!ok && l->errors++ == 0) {
        size_t from = c->in_bytes < 16 ? c->in_bytes : 16; /* behind the codes of an ASD */
        size_t bytes = c->in_bytes - from < 200 ? c->in_bytes - from : 200;

        fprintf(stderr, "kv_load: first error: a reply of %zu bytes, with \"%.*s\"\n", c->in_bytes,
                (int)bytes, (const char *)c->in + from);
    }
    return true;
}

static void open_client(struct load *l, struct client *c, uint16_t port)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    struct buf hello = {0};
    uint8_t answer[512];
    int one = 1;

    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->in = mem_alloc(REPLY_BYTES);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&at, sizeof at) != 0) {
        die("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!l->redis) {
        asd_preamble_put(&hello, ASD_VERSION_2, NULL);
        if (send(c->fd, hello.data, hello.len, 0) < 0 ||
            recv(c->fd, answer, sizeof answer, 0) < 8) {
            die("preamble");
        }
        buf_release(&hello);
    }
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) {
        die("epoll");
    }
}

static bool has_more(const struct load *l)
{
    return l->op == OP_FILL ? l->filled < l->keys : clock_mono_ns() < l->end_ns;
}

/* Each finished request is followed by the next. */
static void run(struct load *l)
{
    struct epoll_event events[64];
    unsigned busy = 0;

    for (; busy < l->clients && has_more(l); busy++) {
        next_request(l, &l->client[busy]);
    }
    while (busy != 0) {
        int n = epoll_wait(l->epoll, events, 64, 1000);

        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;

            if (c->start_ns == 0 || !read_some(l, c)) {
                continue;
            }
            if (l->done < LATENCIES_MAX) {
                l->latency_us[l->done] = (uint32_t)((clock_mono_ns() - c->start_ns) / 1000);
            }
            l->done++;
            c->start_ns = 0;
            if (has_more(l)) {
                next_request(l, c);
            } else {
                busy--;
            }
        }
    }
}

/* ---- figures ---- */

static double cpu_seconds(int pid)
{
    char path[64];
    char text[1024];
    unsigned long user = 0;
    unsigned long system = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (f == NULL || fgets(text, sizeof text, f) == NULL) {
        die(path);
    }
    fclose(f);
    if (sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
               &user, &system) != 2) {
        die("process times");
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static void print_figures(struct load *l, double seconds, double cpu_s, double client_cpu_s)
{
    size_t n = l->done < LATENCIES_MAX ? l->done : LATENCIES_MAX;

    qsort(l->latency_us, n, sizeof l->latency_us[0], by_value);
    printf("{\"ops\": %" PRIu64 ", \"errors\": %" PRIu64
           ", \"seconds\": %.3f, \"ops_per_s\": %.0f, "
           "\"mb_per_s\": %.1f, \"p50_us\": %u, \"p99_us\": %u, \"server_cpu_us_per_op\": %.2f, "
           "\"client_cpu_us_per_op\": %.2f}\n",
           l->done, l->errors, seconds, (double)l->done / seconds,
           (double)l->done * (l->op == OP_SLICE ? SLICE_BYTES : l->value_bytes) / seconds / 1e6,
           n != 0 ? l->latency_us[n / 2] : 0, n != 0 ? l->latency_us[n * 99 / 100] : 0,
           cpu_s * 1e6 / (double)l->done, client_cpu_s * 1e6 / (double)l->done);
}

static bool parse_args(struct load *l, char **argv)
{
    l->redis = strcmp(argv[1], "redis") == 0;
    while (l->op < OP_COUNT && strcmp(argv[3], op_names[l->op]) != 0) {
        l->op++;
    }
    l->clients = (unsigned)strtoul(argv[4], NULL, 10);
    l->seconds = strtod(argv[5], NULL);
    l->value_bytes = (uint32_t)strtoul(argv[6], NULL, 10);
    l->keys = (uint32_t)strtoul(argv[7], NULL, 10);
    l->pid = (int)strtol(argv[8], NULL, 10);
    return (l->redis || strcmp(argv[1], "asd") == 0) && l->op < OP_COUNT && l->clients >= 1 &&
           l->clients <= CLIENTS_MAX && l->keys >= 1 && l->value_bytes >= 1 &&
           l->value_bytes <= VALUE_BYTES_MAX &&
           (l->op != OP_SLICE || (!l->redis && l->value_bytes >= SLICE_BYTES));
}

int main(int argc, char **argv)
{
    struct load *l = mem_zalloc(sizeof *l);
    double cpu;
    double own;
    uint64_t start_ns;

    if (argc < 9 || argc > 10 || (argc == 10 && strcmp(argv[9], "low") != 0) ||
        !parse_args(l, argv)) {
        fputs("usage: kv_load asd|redis PORT fill|get|put|slice CLIENTS SECONDS VALUE_BYTES KEYS "
              "PID [low]\n",
              stderr);
        return 2;
    }
    l->prio = argc == 10 ? ASD_PRIO_LOW : ASD_PRIO_HIGH;
    l->rnd = rnd_seed(clock_mono_ns());
    l->value = mem_alloc(l->value_bytes);
    rnd_bytes(l->value, l->value_bytes);
    l->value_crc = crc32c(0, l->value, l->value_bytes);
    l->latency_us = mem_array(LATENCIES_MAX, sizeof l->latency_us[0]);
    l->epoll = epoll_create1(0);
    for (unsigned i = 0; i < l->clients; i++) {
        open_client(l, &l->client[i], (uint16_t)strtoul(argv[2], NULL, 10));
    }
    cpu = cpu_seconds(l->pid);
    own = cpu_seconds((int)getpid());
    start_ns = clock_mono_ns();
    l->end_ns = start_ns + (uint64_t)(l->seconds * 1e9);
    run(l);
    print_figures(l, (double)(clock_mono_ns() - start_ns) / 1e9, cpu_seconds(l->pid) - cpu,
                  cpu_seconds((int)getpid()) - own);
    return l->errors != 0;
}
