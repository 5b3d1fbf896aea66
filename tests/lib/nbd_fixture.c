#include "lib/nbd_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rnd.h"

static uint8_t scratch[65536];

/* ---- the server ---- */

static void list_exports(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx)
{
    struct nbd_fixture *f = container_of(exports, struct nbd_fixture, exports);

    for (int i = 0; i < NBD_FIXTURE_EXPORTS; i++) {
        if (!f->hidden[i]) {
            each(ctx, f->table[i].name, f->table[i].description);
        }
    }
}

static struct nbd_export *find_export(struct nbd_exports *exports, const char *name)
{
    struct nbd_fixture *f = container_of(exports, struct nbd_fixture, exports);

    for (int i = 0; i < NBD_FIXTURE_EXPORTS; i++) {
        if (!f->hidden[i] && strcmp(*name != '\0' ? name : "disk", f->table[i].name) == 0) {
            return &f->table[i];
        }
    }
    return NULL;
}

static int missing_export(struct nbd_exports *exports, const char *name, struct err *e)
{
    struct nbd_fixture *f = container_of(exports, struct nbd_fixture, exports);

    for (int i = 0; i < NBD_FIXTURE_EXPORTS && f->opening; i++) {
        if (f->hidden[i] && (name == NULL || strcmp(name, f->table[i].name) == 0)) {
            return err_say(e, ERR_BUSY, "'%s' is still being opened", f->table[i].name);
        }
    }
    return name == NULL ? 0 : err_say(e, ERR_NOT_FOUND, "no export '%s'", name);
}

void nbd_fixture_init(struct nbd_fixture *f, const struct nbd_server_options *options)
{
    static const struct nbd_exports_ops ops = {
        .list = list_exports, .find = find_export, .missing = missing_export};
    struct nbd_server_options o = options != NULL ? *options : (struct nbd_server_options){0};
    struct net_addr addr;
    struct err e;

    *f = (struct nbd_fixture){.exports.ops = &ops};
    log_set_level(LOG_ERROR);
    loop_fixture_init(&f->base);
    f->disk = volume_double_new(&f->base.loop, "disk", NBD_FIXTURE_DISK_BYTES, false);
    f->other = volume_double_new(&f->base.loop, "other", NBD_FIXTURE_OTHER_BYTES, false);
    f->worker = nbd_worker_new(&f->base.loop);
    f->table[0] = (struct nbd_export){.name = "disk",
                                      .description = "a disk for tests",
                                      .volume = f->disk,
                                      .worker = f->worker,
                                      .size_bytes = NBD_FIXTURE_DISK_BYTES};
    f->table[1] = f->table[0];
    f->table[1].name = "ro";
    f->table[1].description = NULL;
    f->table[1].read_only = true;
    f->table[2] = f->table[0];
    f->table[2].name = "other";
    f->table[2].volume = f->other;
    f->table[2].size_bytes = NBD_FIXTURE_OTHER_BYTES;
    assert_int_equal(net_addr_tcp(&addr, "127.0.0.1", 0, &e), 0);
    o.addrs = &addr;
    o.addr_count = 1;
    o.exports = &f->exports;
    assert_int_equal(nbd_server_new(&f->base.loop, &o, &f->server, &e), 0);
}

static void on_server_closed(void *ctx)
{
    struct nbd_fixture *f = ctx;

    f->server_closed = true;
}

static void on_worker_closed(void *ctx)
{
    struct nbd_fixture *f = ctx;

    f->worker_closed = true;
}

void nbd_fixture_close_server(struct nbd_fixture *f, unsigned drain_ms)
{
    nbd_server_close(f->server, drain_ms, on_server_closed, f);
    f->server = NULL;
    assert_false(f->server_closed); /* never from inside the call */
}

void nbd_fixture_release(struct nbd_fixture *f)
{
    volume_double_hold(f->disk, false);
    volume_double_hold(f->other, false);
    if (f->server != NULL) {
        nbd_fixture_close_server(f, 0);
    }
    loop_fixture_run_until(&f->base, &f->server_closed);
    for (int i = 0; i < NBD_FIXTURE_EXPORTS; i++) {
        assert_int_equal(f->table[i].attached, 0);
    }
    nbd_worker_close(f->worker, on_worker_closed, f);
    loop_fixture_run_until(&f->base, &f->worker_closed);
    volume_double_free(f->disk);
    volume_double_free(f->other);
    loop_fixture_release(&f->base);
}

struct nbd_server_stats nbd_fixture_stats(const struct nbd_fixture *f)
{
    struct nbd_server_stats stats;

    nbd_server_stats(f->server, &stats);
    return stats;
}

void nbd_fixture_turn(struct nbd_fixture *f, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;

    do {
        uv_run(&f->base.loop, UV_RUN_NOWAIT);
    } while (clock_mono_ms() < end);
}

void nbd_fixture_wait_connections(struct nbd_fixture *f, unsigned count)
{
    uint64_t end = clock_mono_ms() + NBD_FIXTURE_WAIT_MS;

    while (nbd_fixture_stats(f).connections != count) {
        assert_true(clock_mono_ms() < end);
        uv_run(&f->base.loop, UV_RUN_NOWAIT);
    }
}

/* ---- the client ---- */

int nbd_play_connect(struct nbd_fixture *f)
{
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(nbd_server_port(f->server, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

void nbd_play_send(struct nbd_fixture *f, int fd, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint64_t end = clock_mono_ms() + NBD_FIXTURE_WAIT_MS;

    while (bytes != 0) {
        ssize_t n = send(fd, p, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n >= 0) {
            p += n;
            bytes -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN || clock_mono_ms() > end) {
            fail_msg("send: %s", strerror(errno));
        }
        uv_run(&f->base.loop, UV_RUN_NOWAIT);
    }
}

void nbd_play_receive(struct nbd_fixture *f, int fd, void *ret_data, size_t bytes)
{
    uint8_t *p = ret_data;
    uint64_t end = clock_mono_ms() + NBD_FIXTURE_WAIT_MS;

    while (bytes != 0) {
        ssize_t n = recv(fd, p, bytes, MSG_DONTWAIT);

        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
            continue;
        }
        if (n == 0 || errno != EAGAIN || clock_mono_ms() > end) {
            fail_msg("%zu bytes missing: %s", bytes, n == 0 ? "closed" : strerror(errno));
        }
        uv_run(&f->base.loop, UV_RUN_NOWAIT);
    }
}

void nbd_play_expect_end(struct nbd_fixture *f, int fd)
{
    uint64_t end = clock_mono_ms() + NBD_FIXTURE_WAIT_MS;
    uint8_t byte;
    ssize_t n;

    while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
        assert_true(clock_mono_ms() < end);
        uv_run(&f->base.loop, UV_RUN_NOWAIT);
    }
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
}

void nbd_play_expect_silence(struct nbd_fixture *f, int fd, unsigned ms)
{
    uint8_t byte;

    nbd_fixture_turn(f, ms);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    assert_int_equal(errno, EAGAIN);
}

int nbd_play_greet(struct nbd_fixture *f)
{
    static const uint8_t flags[4] = {0, 0, 0, 3};
    uint8_t greeting[NBD_GREETING_BYTES];
    int fd = nbd_play_connect(f);

    nbd_play_receive(f, fd, greeting, sizeof(greeting));
    assert_memory_equal(greeting, "NBDMAGICIHAVEOPT\0\3", sizeof(greeting));
    nbd_play_send(f, fd, flags, sizeof(flags));
    return fd;
}

void nbd_play_option(struct nbd_fixture *f, int fd, uint32_t option, const void *data, size_t bytes)
{
    uint8_t head[16] = "IHAVEOPT";

    put_u32be(head + 8, option);
    put_u32be(head + 12, (uint32_t)bytes);
    nbd_play_send(f, fd, head, sizeof(head));
    nbd_play_send(f, fd, data, bytes);
}

struct slice nbd_play_reply(struct nbd_fixture *f, int fd, uint32_t option, uint32_t type)
{
    uint8_t head[20];
    uint32_t bytes;

    nbd_play_receive(f, fd, head, sizeof(head));
    assert_true(get_u64be(head) == UINT64_C(0x3e889045565a9));
    assert_int_equal(get_u32be(head + 8), option);
    assert_int_equal(get_u32be(head + 12), type);
    bytes = get_u32be(head + 16);
    assert_true(bytes <= sizeof(scratch));
    nbd_play_receive(f, fd, scratch, bytes);
    return slice_of(scratch, bytes);
}

static void put_name(struct buf *b, const char *name)
{
    buf_put_u32be(b, (uint32_t)strlen(name));
    buf_put(b, name, strlen(name));
}

int nbd_play_go(struct nbd_fixture *f, const char *name, bool structured, bool allocation)
{
    struct buf b = {0};
    int fd = nbd_play_greet(f);

    if (structured) {
        nbd_play_option(f, fd, NBD_OPT_STRUCTURED_REPLY, NULL, 0);
        nbd_play_reply(f, fd, NBD_OPT_STRUCTURED_REPLY, NBD_REP_ACK);
    }
    if (allocation) {
        put_name(&b, name);
        buf_put_u32be(&b, 1);
        put_name(&b, "base:allocation");
        nbd_play_option(f, fd, NBD_OPT_SET_META_CONTEXT, b.data, b.len);
        nbd_play_reply(f, fd, NBD_OPT_SET_META_CONTEXT, NBD_REP_META_CONTEXT);
        nbd_play_reply(f, fd, NBD_OPT_SET_META_CONTEXT, NBD_REP_ACK);
        b.len = 0;
    }
    put_name(&b, name);
    buf_put(&b, "\0\0", 2);
    nbd_play_option(f, fd, NBD_OPT_GO, b.data, b.len);
    nbd_play_reply(f, fd, NBD_OPT_GO, NBD_REP_INFO);
    nbd_play_reply(f, fd, NBD_OPT_GO, NBD_REP_ACK);
    buf_release(&b);
    return fd;
}

void nbd_play_request(struct nbd_fixture *f, int fd, uint16_t type, uint16_t flags, uint64_t cookie,
                      uint64_t offset, uint32_t length)
{
    uint8_t p[28];

    put_u32be(p, 0x25609513);
    put_u32be(p + 4, (uint32_t)flags << 16 | type);
    put_u64be(p + 8, cookie);
    put_u64be(p + 16, offset);
    put_u32be(p + 24, length);
    nbd_play_send(f, fd, p, sizeof(p));
}

void nbd_play_write(struct nbd_fixture *f, int fd, uint16_t flags, uint64_t cookie, uint64_t offset,
                    const void *data, uint32_t length)
{
    nbd_play_request(f, fd, NBD_CMD_WRITE, flags, cookie, offset, length);
    nbd_play_send(f, fd, data, length);
}

void nbd_play_expect_simple(struct nbd_fixture *f, int fd, uint64_t cookie, uint32_t error)
{
    uint8_t p[16];

    nbd_play_receive(f, fd, p, sizeof(p));
    assert_int_equal(get_u32be(p), 0x67446698);
    assert_int_equal(get_u32be(p + 4), error);
    assert_int_equal(get_u64be(p + 8), cookie);
}

uint32_t nbd_play_expect_chunk(struct nbd_fixture *f, int fd, uint64_t cookie, uint16_t flags,
                               uint16_t type)
{
    uint8_t p[20];

    nbd_play_receive(f, fd, p, sizeof(p));
    assert_int_equal(get_u32be(p), 0x668e33ef);
    assert_int_equal(get_u32be(p + 4), (uint32_t)flags << 16 | type);
    assert_int_equal(get_u64be(p + 8), cookie);
    return get_u32be(p + 16);
}

struct slice nbd_play_expect_error(struct nbd_fixture *f, int fd, uint64_t cookie, uint32_t error)
{
    uint32_t bytes = nbd_play_expect_chunk(f, fd, cookie, 1, 0x8001);

    assert_in_range(bytes, 6, sizeof(scratch));
    nbd_play_receive(f, fd, scratch, bytes);
    assert_int_equal(get_u32be(scratch), error);
    assert_int_equal(scratch[4] << 8 | scratch[5], bytes - 6);
    return slice_of(scratch + 6, bytes - 6);
}

void nbd_play_pattern(uint8_t *ret_data, size_t bytes, uint64_t seed)
{
    struct rnd r = rnd_seed(seed);

    for (size_t i = 0; i < bytes; i++) {
        ret_data[i] = (uint8_t)(rnd_next(&r) | 1); /* never zero */
    }
}

void nbd_fixture_wait_in_flight_of(struct nbd_fixture *f, const struct volume *v, unsigned count)
{
    uint64_t end = clock_mono_ms() + NBD_FIXTURE_WAIT_MS;

    while (volume_double_in_flight(v) != count) {
        assert_true(clock_mono_ms() < end);
        nbd_fixture_turn(f, 1);
    }
}

void nbd_fixture_wait_in_flight(struct nbd_fixture *f, unsigned count)
{
    nbd_fixture_wait_in_flight_of(f, f->disk, count);
}

int nbd_fixture_setup(void **state)
{
    struct nbd_fixture *f = mem_zalloc(sizeof(*f));

    nbd_fixture_init(f, NULL);
    *state = f;
    return 0;
}

int nbd_fixture_teardown(void **state)
{
    nbd_fixture_release(*state);
    free(*state);
    return 0;
}
