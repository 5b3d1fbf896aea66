/* Connections that one server accepts and others, on loops of their own, serve. */
#include "net/server.h"

#include <sys/un.h>

#include "base/buf.h"
#include "base/mem.h"
#include "lib/tempdir.h"
#include "unit/net/raw.h"

enum { SERVERS = 3, CONNECTIONS_MAX = 12, WAIT_MS = 10000 };

/* Each greets with its own digit and sends frames back. */
struct one {
    uv_loop_t loop;
    struct net_server *server;
    char digit;
    unsigned closes;
    bool closed;
};

struct fixture {
    struct one ones[SERVERS]; /* the first one listens */
    struct net_server *peers[SERVERS - 1];
    uint16_t port;
    char *dir;
    char *path;
};

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct one *one = net_conn_server_ctx(conn);

    (void)data;
    if (bytes < 5) {
        return 0;
    }
    net_conn_write(conn, &one->digit, 1);
    return 5;
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    net_conn_write(conn, frame, bytes);
    free(frame);
}

static void on_close(struct net_conn *conn)
{
    struct one *one = net_conn_server_ctx(conn);

    one->closes++;
}

static const struct net_server_ops ops = {
    .on_preamble = on_preamble, .on_frame = on_frame, .on_close = on_close};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct net_addr addrs[2];
    struct err e;

    signal(SIGPIPE, SIG_IGN);
    f->dir = tempdir_make();
    f->path = mem_printf("unix://%s/s", f->dir);
    addrs[0] = raw_addr(0);
    assert_int_equal(net_addr_parse(&addrs[1], f->path, &e), 0);
    for (unsigned i = 0; i < SERVERS; i++) {
        struct one *one = &f->ones[i];
        struct net_server_options options = {.addrs = addrs,
                                             .addr_count = i == 0 ? 2 : 0,
                                             .ops = &ops,
                                             .ctx = one,
                                             .connections_max = CONNECTIONS_MAX,
                                             .frame_bytes_max = 1 << 20};

        one->digit = (char)('0' + i);
        uv_loop_init(&one->loop);
        assert_int_equal(net_server_new(&one->loop, &options, &one->server, &e), 0);
        if (i != 0) {
            f->peers[i - 1] = one->server;
        }
    }
    net_server_share(f->ones[0].server, f->peers, SERVERS - 1);
    f->port = net_server_port(f->ones[0].server, 0);
    *state = f;
    return 0;
}

static void turn(struct fixture *f)
{
    for (unsigned i = 0; i < SERVERS; i++) {
        uv_run(&f->ones[i].loop, UV_RUN_NOWAIT);
    }
}

#define UNTIL(f, condition)                                                                        \
    do {                                                                                           \
        uint64_t end_ms = clock_mono_ms() + WAIT_MS;                                               \
        while (!(condition)) {                                                                     \
            assert_true(clock_mono_ms() < end_ms);                                                 \
            turn(f);                                                                               \
        }                                                                                          \
    } while (0)

static void on_server_closed(void *ctx)
{
    *(bool *)ctx = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < SERVERS; i++) {
        net_server_close(f->ones[i].server, 0, on_server_closed, &f->ones[i].closed);
    }
    UNTIL(f, f->ones[0].closed && f->ones[1].closed && f->ones[2].closed);
    for (unsigned i = 0; i < SERVERS; i++) {
        assert_int_equal(uv_loop_close(&f->ones[i].loop), 0);
    }
    free(f->path);
    tempdir_remove(f->dir);
    free(f);
    return 0;
}

/* The digit of who serves it; 0: closed at once. */
static char greet(struct fixture *f, int fd)
{
    char digit = 0;
    ssize_t n = -1;

    assert_int_equal(send(fd, "hello", 5, MSG_NOSIGNAL), 5);
    UNTIL(f, (n = recv(fd, &digit, 1, MSG_DONTWAIT)) >= 0 || errno == ECONNRESET);
    return n == 1 ? digit : 0;
}

static void expect_echo(struct fixture *f, int fd)
{
    char got[4];

    assert_int_equal(send(fd, "\4\0\0\0echo", 8, MSG_NOSIGNAL), 8);
    UNTIL(f, recv(fd, got, 4, MSG_DONTWAIT) == 4);
    assert_memory_equal(got, "echo", 4);
}

static unsigned count(const struct fixture *f, unsigned i)
{
    return net_server_connections(f->ones[i].server);
}

static void each_connection_goes_to_who_has_the_fewest(void **state)
{
    struct fixture *f = *state;
    int fds[9];

    for (unsigned i = 0; i < 9; i++) {
        fds[i] = raw_connect(f->port);
        assert_int_equal(greet(f, fds[i]), '0' + (char)(i % SERVERS));
        expect_echo(f, fds[i]);
    }
    for (unsigned i = 1; i < 9; i += 3) { /* all of the second one */
        close(fds[i]);
    }
    UNTIL(f, count(f, 1) == 0);
    assert_int_equal(f->ones[1].closes, 3);
    for (unsigned i = 1; i < 9; i += 3) {
        fds[i] = raw_connect(f->port);
        assert_int_equal(greet(f, fds[i]), '1');
    }
    for (unsigned i = 0; i < 9; i++) {
        expect_echo(f, fds[i]);
        close(fds[i]);
    }
    UNTIL(f, count(f, 0) + count(f, 1) + count(f, 2) == 0);
}

/* Nobody has begun with any of them yet. */
static void a_burst_is_spread_too(void **state)
{
    struct fixture *f = *state;
    int fds[9];

    for (unsigned i = 0; i < 9; i++) {
        fds[i] = raw_connect(f->port);
    }
    for (uint64_t end_ms = clock_mono_ms() + WAIT_MS; count(f, 2) < 3;) {
        assert_true(clock_mono_ms() < end_ms);
        uv_run(&f->ones[0].loop, UV_RUN_NOWAIT); /* only who listens */
    }
    assert_int_equal(count(f, 0), 3);
    assert_int_equal(count(f, 1), 3);
    for (unsigned i = 0; i < 9; i++) {
        assert_true(greet(f, fds[i]) != 0);
        close(fds[i]);
    }
}

static void the_limit_is_for_all_together(void **state)
{
    struct fixture *f = *state;
    int fds[CONNECTIONS_MAX];
    int more;

    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        fds[i] = raw_connect(f->port);
        assert_true(greet(f, fds[i]) != 0);
    }
    more = raw_connect(f->port);
    assert_int_equal(greet(f, more), 0);
    close(more);
    close(fds[1]);
    UNTIL(f, count(f, 1) == CONNECTIONS_MAX / SERVERS - 1);
    more = raw_connect(f->port);
    assert_int_equal(greet(f, more), '1');
    close(more);
    for (unsigned i = 0; i < CONNECTIONS_MAX; i++) {
        if (i != 1) {
            close(fds[i]);
        }
    }
}

static void unix_sockets_are_handed_over_too(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};

    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", f->path + strlen("unix://"));
    for (unsigned i = 0; i < 4; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
        assert_true(greet(f, fd) != 0);
        expect_echo(f, fd);
        close(fd);
    }
}

/* Handed over, but the peer closes before it has begun with it. */
static void what_was_not_begun_is_closed_with_the_peer(void **state)
{
    struct fixture *f = *state;
    unsigned fds = raw_open_fds();
    int conns[6];

    for (unsigned i = 0; i < 6; i++) {
        conns[i] = raw_connect(f->port);
    }
    for (uint64_t end_ms = clock_mono_ms() + WAIT_MS; count(f, 2) < 2;) {
        assert_true(clock_mono_ms() < end_ms);
        uv_run(&f->ones[0].loop, UV_RUN_NOWAIT);
    }
    teardown(state);
    for (unsigned i = 0; i < 6; i++) {
        char byte;

        assert_true(recv(conns[i], &byte, 1, 0) <= 0);
        close(conns[i]);
    }
    setup(state);
    assert_int_equal(raw_open_fds(), fds);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_connection_goes_to_who_has_the_fewest),
        TEST(a_burst_is_spread_too),
        TEST(the_limit_is_for_all_together),
        TEST(unix_sockets_are_handed_over_too),
        TEST(what_was_not_begun_is_closed_with_the_peer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
