#include "net/server.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/conn.h"
#include "unit/net/raw.h"
#include "wire/gather.h"

/* An echo server: preamble "hello", answered "hi"; a frame is sent back with its length.
 * Frames that start with 'P' pause the connection, 'X' close it, 'B' are answered with
 * borrowed bytes, 'O' too, one at a time: the connection is paused until these were taken; 'S' so,
 * with one byte; 'H' hold the connection and are not answered. */
struct fixture {
    uv_loop_t loop;
    struct net_server *server;
    uint16_t port;
    struct net_server_options options;
    struct net_addr addrs[2];
    struct net_conn *last;
    struct net_conn *held;
    unsigned hurry; /* enum net_hurry */
    unsigned frames;
    unsigned closes;
    unsigned sents;
    bool closed;
};

static uint8_t big[4 << 20];

static int on_preamble(struct net_conn *conn, const uint8_t *data, size_t bytes)
{
    struct fixture *f = net_conn_server_ctx(conn);

    if (memcmp(data, "hello", bytes < 5 ? bytes : 5) != 0) {
        net_conn_write(conn, "go away", 7);
        return -EINVAL;
    }
    if (bytes < 5) {
        return 0;
    }
    f->last = conn;
    net_conn_set_user(conn, f);
    net_conn_write(conn, "hi", 2);
    return 5;
}

static void on_sent(void *ctx)
{
    ((struct fixture *)ctx)->sents++;
}

static void on_sent_one(void *ctx)
{
    struct fixture *f = ctx;

    f->sents++;
    net_conn_pause(f->last, false);
}

static void on_frame(struct net_conn *conn, uint8_t *frame, uint32_t bytes)
{
    struct fixture *f = net_conn_user(conn);
    struct gather g = {0};

    f->frames++;
    switch (bytes != 0 ? frame[0] : 0) {
    case 'P':
        net_conn_pause(conn, true);
        break;
    case 'X':
        net_conn_close(conn);
        net_conn_write(conn, "ignored", 7);
        break;
    case 'H':
        net_conn_hold(conn);
        f->held = conn;
        break;
    case 'S':
        net_conn_pause(conn, true);
        buf_put_u8(&g.own, 'S');
        net_conn_write_gather(conn, &g, on_sent_one, f);
        break;
    case 'B':
        gather_borrow(&g, slice_of(big, sizeof big));
        net_conn_write_gather(conn, &g, on_sent, f);
        break;
    case 'O':
        net_conn_pause(conn, true);
        gather_borrow(&g, slice_of(big, sizeof big));
        net_conn_write_gather(conn, &g, on_sent_one, f);
        break;
    default:
        buf_put_u32le(&g.own, bytes);
        buf_put(&g.own, frame, bytes);
        net_conn_write_gather(conn, &g, NULL, NULL);
    }
    free(frame);
}

static void on_close(struct net_conn *conn)
{
    struct fixture *f = net_conn_server_ctx(conn);

    assert_true(net_conn_is_closed(conn));
    f->closes++;
}

static unsigned hurry(void *ctx)
{
    return ((struct fixture *)ctx)->hurry;
}

static const struct net_server_ops ops = {
    .on_preamble = on_preamble, .on_frame = on_frame, .on_close = on_close, .hurry = hurry};

static void start(struct fixture *f)
{
    struct err e;

    assert_int_equal(net_server_new(&f->loop, &f->options, &f->server, &e), 0);
    f->port = net_server_port(f->server, 0);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    f->addrs[0] = raw_addr(0);
    f->options = (struct net_server_options){.addrs = f->addrs,
                                             .addr_count = 1,
                                             .ops = &ops,
                                             .ctx = f,
                                             .connections_max = 10,
                                             .frame_bytes_max = 5 << 20,
                                             .frame_timeout_ms = 60000,
                                             .preamble_timeout_ms = 60000};
    *state = f;
    return 0;
}

static void on_server_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->server != NULL) {
        net_server_close(f->server, 0, on_server_closed, f);
    }
    raw_loop_close(&f->loop);
    assert_true(f->server == NULL || f->closed);
    free(f);
    return 0;
}

static int enter(struct fixture *f)
{
    int fd = raw_connect(f->port);
    char hi[2];

    raw_send(&f->loop, fd, "hello", 5);
    assert_int_equal(raw_recv(&f->loop, fd, hi, 2), 2);
    return fd;
}

static void send_frame(struct fixture *f, int fd, const void *data, uint32_t bytes)
{
    uint8_t head[4];

    put_u32le(head, bytes);
    raw_send(&f->loop, fd, head, 4);
    raw_send(&f->loop, fd, data, bytes);
}

static void expect_echo(struct fixture *f, int fd, const void *data, uint32_t bytes)
{
    uint8_t *got = mem_alloc(bytes + 4);

    assert_int_equal(raw_recv(&f->loop, fd, got, bytes + 4), bytes + 4);
    assert_int_equal(get_u32le(got), bytes);
    assert_memory_equal(got + 4, data, bytes);
    free(got);
}

static void frames_of_all_sizes_are_answered(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = enter(f);
    for (uint32_t bytes = 1; bytes <= sizeof big; bytes *= 4) {
        memset(big, (int)('a' + bytes % 7), bytes);
        send_frame(f, fd, big, bytes);
        expect_echo(f, fd, big, bytes);
    }
    send_frame(f, fd, "", 0);
    expect_echo(f, fd, "", 0);
    assert_true(net_addr_is_local(net_conn_peer(f->last)));
    close(fd);
    RAW_UNTIL(&f->loop, f->closes == 1);
    assert_int_equal(net_server_connections(f->server), 0);
}

static void preamble_and_frames_may_come_byte_by_byte(void **state)
{
    struct fixture *f = *state;
    static const char bytes[] = "hello\x03\0\0\0abc\x01\0\0\0d";
    char got[14];
    int fd;

    start(f);
    fd = raw_connect(f->port);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        raw_send(&f->loop, fd, bytes + i, 1);
        raw_turn(&f->loop);
    }
    assert_int_equal(raw_recv(&f->loop, fd, got, 14), 14);
    assert_memory_equal(got, "hi\x03\0\0\0abc\x01\0\0\0d", 14);
    close(fd);
}

static void garbage_gets_the_answer_of_the_owner_and_is_closed(void **state)
{
    struct fixture *f = *state;
    char got[7];
    int fd;

    start(f);
    fd = raw_connect(f->port);
    raw_send(&f->loop, fd, "GET / HTTP/1.0\r\n", 16);
    assert_int_equal(raw_recv(&f->loop, fd, got, 7), 7);
    assert_memory_equal(got, "go away", 7);
    assert_true(raw_is_closed_by_peer(&f->loop, fd));
    assert_int_equal(f->closes, 1);
    close(fd);
}

static void an_oversized_length_closes_only_that_connection(void **state)
{
    struct fixture *f = *state;
    int good, bad;

    start(f);
    good = enter(f);
    bad = enter(f);
    raw_send(&f->loop, bad, "\xff\xff\xff\x7f", 4);
    assert_true(raw_is_closed_by_peer(&f->loop, bad));
    send_frame(f, good, "abc", 3);
    expect_echo(f, good, "abc", 3);
    close(good);
    close(bad);
}

static void a_slow_preamble_is_cut_off(void **state)
{
    struct fixture *f = *state;
    int fd;

    f->options.frame_timeout_ms = f->options.preamble_timeout_ms = 200;
    start(f);
    fd = raw_connect(f->port);
    raw_send(&f->loop, fd, "hel", 3);
    assert_true(raw_is_closed_by_peer(&f->loop, fd));
    assert_int_equal(f->closes, 1);
    close(fd);
}

/* One byte now and then must not buy more time. */
static void a_frame_that_drips_in_is_cut_off(void **state)
{
    struct fixture *f = *state;
    uint64_t begin_ms;
    int fd;

    f->options.frame_timeout_ms = f->options.preamble_timeout_ms = 200;
    start(f);
    fd = enter(f);
    begin_ms = clock_mono_ms();
    raw_send(&f->loop, fd, "\x40\0\0\0", 4);
    while (f->closes == 0) {
        assert_true(clock_mono_ms() - begin_ms < 2000);
        if (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            break;
        }
        raw_turn_for(&f->loop, 40);
    }
    RAW_UNTIL(&f->loop, f->closes == 1);
    assert_int_equal(f->frames, 0);
    close(fd);
}

/* 3 MiB, each sent in less than the time-out, all together in more. */
static void a_large_frame_has_its_time_for_each_mebibyte(void **state)
{
    struct fixture *f = *state;
    uint8_t *data = mem_zalloc(3 << 20), head[4];
    int fd;

    f->options.frame_timeout_ms = 2000;
    start(f);
    fd = enter(f);
    put_u32le(head, 3 << 20);
    data[0] = 'x';
    raw_send(&f->loop, fd, head, 4);
    for (unsigned i = 0; i < 3; i++) {
        raw_send(&f->loop, fd, data + ((size_t)i << 20), 1 << 20);
        raw_turn_for(&f->loop, 900);
    }
    RAW_UNTIL(&f->loop, f->frames == 1);
    assert_int_equal(f->closes, 0);
    close(fd);
    free(data);
}

static void an_idle_connection_is_left_alone(void **state)
{
    struct fixture *f = *state;
    int fd;

    f->options.frame_timeout_ms = f->options.preamble_timeout_ms = 200;
    start(f);
    fd = enter(f);
    assert_true(raw_is_quiet(&f->loop, fd, 600));
    send_frame(f, fd, "abc", 3);
    expect_echo(f, fd, "abc", 3);
    close(fd);
}

/* It asks for 4 MiB forty times and reads nothing: the server stops reading, holds a bounded
 * amount, and gives up after the time-out. */
static void a_peer_that_never_reads_is_held_back_and_dropped(void **state)
{
    struct fixture *f = *state;
    int fd;

    f->options.frame_timeout_ms = f->options.preamble_timeout_ms = 200;
    start(f);
    fd = enter(f);
    for (unsigned i = 0; i < 40; i++) {
        if (send(fd, "\x01\0\0\0B", 5, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    RAW_UNTIL(&f->loop, f->closes == 1);
    assert_true(f->frames >= 2 && f->frames <= 8);
    assert_int_equal(f->sents, f->frames);
    close(fd);
}

/* Who stalls is left alone until others need the memory. */
static void who_stalls_is_dropped_when_others_wait_for_memory(void **state)
{
    struct fixture *f = *state;
    int sender, reader, idle;

    f->options.hurry_timeout_ms = 200;
    start(f);
    sender = enter(f);
    reader = enter(f);
    idle = enter(f);
    raw_send(&f->loop, sender, "\0\0\x10\0half", 8); /* of 1 MiB */
    for (unsigned i = 0; i < 4; i++) {
        send_frame(f, reader, "B", 1);
    }
    RAW_UNTIL(&f->loop, f->frames >= 2);
    raw_turn_for(&f->loop, 600);
    assert_int_equal(f->closes, 0);
    f->hurry = NET_HURRY_REPLIES;
    RAW_UNTIL(&f->loop, f->closes == 1);
    raw_turn_for(&f->loop, 600);
    assert_int_equal(f->closes, 1);
    f->hurry = NET_HURRY_FRAMES;
    RAW_UNTIL(&f->loop, f->closes == 2);
    send_frame(f, idle, "abc", 3);
    expect_echo(f, idle, "abc", 3);
    close(sender);
    close(reader);
    close(idle);
}

static void borrowed_replies_arrive_and_are_given_back_once(void **state)
{
    struct fixture *f = *state;
    uint8_t *got = mem_alloc(sizeof big);
    int fd;

    start(f);
    memset(big, 'q', sizeof big);
    fd = enter(f);
    for (unsigned i = 1; i <= 5; i++) {
        send_frame(f, fd, "B", 1);
        assert_int_equal(raw_recv(&f->loop, fd, got, sizeof big), sizeof big);
        assert_memory_equal(got, big, sizeof big);
        RAW_UNTIL(&f->loop, f->sents == i);
    }
    free(got);
    close(fd);
}

/* It says all it has to say, more than may be unsent at once, and takes its time to read. */
static void expect_all_replies(struct fixture *f, const char *frame)
{
    uint8_t *got = mem_alloc(sizeof big);
    int fd;

    start(f);
    memset(big, 'h', sizeof big);
    fd = enter(f);
    for (unsigned i = 0; i < 4; i++) {
        send_frame(f, fd, frame, 1);
    }
    send_frame(f, fd, "abc", 3);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    raw_turn_for(&f->loop, 50);
    assert_int_equal(f->closes, 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(raw_recv(&f->loop, fd, got, sizeof big), sizeof big);
        assert_memory_equal(got, big, sizeof big);
    }
    expect_echo(f, fd, "abc", 3);
    assert_true(raw_is_closed_by_peer(&f->loop, fd));
    RAW_UNTIL(&f->loop, f->closes == 1);
    assert_int_equal(f->sents, 4);
    close(fd);
    free(got);
}

static void who_closes_its_side_gets_every_reply(void **state)
{
    expect_all_replies(*state, "B");
}

/* It is read on when its last reply is in our hands, not when it has left them. */
static void who_closes_its_side_gets_every_reply_of_a_server_of_one_request(void **state)
{
    expect_all_replies(*state, "O");
}

static void who_closes_its_side_and_never_reads_is_dropped(void **state)
{
    struct fixture *f = *state;
    int fd;

    f->options.frame_timeout_ms = f->options.preamble_timeout_ms = 200;
    start(f);
    fd = enter(f);
    send_frame(f, fd, "B", 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    RAW_UNTIL(&f->loop, f->closes == 1);
    assert_int_equal(f->sents, 1);
    close(fd);
}

/* Frames that were read together with the one that paused wait too. */
static void no_frame_is_handed_over_while_paused(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = enter(f);
    raw_send(&f->loop, fd, "\x01\0\0\0P\x02\0\0\0ab\x02\0\0\0cd", 17);
    assert_true(raw_is_quiet(&f->loop, fd, 300));
    assert_int_equal(f->frames, 1);
    net_conn_pause(f->last, false);
    expect_echo(f, fd, "ab", 2);
    expect_echo(f, fd, "cd", 2);
    close(fd);
}

/* Each frame is the last one for a while: what came behind it is used up before more is read. */
static void little_is_kept_of_what_is_sent_far_ahead(void **state)
{
    enum { FRAMES = 100000, FRAME_BYTES = 5, LOOK_AT = 1000 };
    struct fixture *f = *state;
    uint8_t *frames = mem_array(FRAMES, FRAME_BYTES);
    size_t bytes = (size_t)FRAMES * FRAME_BYTES;
    size_t sent = 0;
    int fd;

    for (size_t at = 0; at < bytes; at += FRAME_BYTES) {
        memcpy(frames + at, "\x01\0\0\0S", FRAME_BYTES);
    }
    start(f);
    fd = enter(f);
    while (f->frames < LOOK_AT) {
        ssize_t n = send(fd, frames + sent, bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        unsigned before = f->frames;

        sent += n > 0 ? (size_t)n : 0;
        RAW_UNTIL(&f->loop, f->frames > before);
        assert_true(f->last->stream.framer.stash_bytes <= NET_HUB_SCRATCH_BYTES);
    }
    close(fd);
    free(frames);
}

static void the_owner_can_close_from_a_frame(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = enter(f);
    raw_send(&f->loop, fd, "\x02\0\0\0ab\x01\0\0\0X\x02\0\0\0cd", 17);
    expect_echo(f, fd, "ab", 2);
    assert_true(raw_is_closed_by_peer(&f->loop, fd));
    assert_int_equal(f->frames, 2);
    close(fd);
}

static void a_held_connection_outlives_its_peer_and_swallows_replies(void **state)
{
    struct fixture *f = *state;
    struct gather g = {0};
    int fd;

    start(f);
    fd = enter(f);
    send_frame(f, fd, "H", 1);
    RAW_UNTIL(&f->loop, f->held != NULL);
    close(fd);
    RAW_UNTIL(&f->loop, f->closes == 1);
    assert_true(net_conn_is_closed(f->held));
    net_conn_write(f->held, "late", 4);
    gather_borrow(&g, slice_of(big, 100));
    net_conn_write_gather(f->held, &g, on_sent, f);
    assert_int_equal(f->sents, 0); /* later, not from inside */
    RAW_UNTIL(&f->loop, f->sents == 1);
    net_conn_drop(f->held);
}

static void connections_over_the_limit_are_closed_at_once(void **state)
{
    struct fixture *f = *state;
    int fds[10], one_more;

    start(f);
    for (unsigned i = 0; i < 10; i++) {
        fds[i] = enter(f);
    }
    one_more = raw_connect(f->port);
    assert_true(raw_is_closed_by_peer(&f->loop, one_more));
    assert_int_equal(f->closes, 0);
    close(one_more);
    close(fds[0]);
    RAW_UNTIL(&f->loop, f->closes == 1);
    fds[0] = enter(f);
    for (unsigned i = 0; i < 10; i++) {
        close(fds[i]);
    }
}

static void who_has_not_said_hello_gives_way_at_the_limit(void **state)
{
    struct fixture *f = *state;
    int fds[10], good[2];

    start(f);
    for (unsigned i = 0; i < 10; i++) {
        fds[i] = i == 0 || i > 2 ? enter(f) : raw_connect(f->port);
        raw_turn_for(&f->loop, 5);
    }
    good[0] = enter(f); /* in the place of fds[1], then of fds[2] */
    assert_true(raw_is_closed_by_peer(&f->loop, fds[1]));
    good[1] = enter(f);
    assert_true(raw_is_closed_by_peer(&f->loop, fds[2]));
    assert_int_equal(f->closes, 2);
    close(fds[1]);
    fds[1] = raw_connect(f->port); /* all have said hello: no place for one more */
    assert_true(raw_is_closed_by_peer(&f->loop, fds[1]));
    assert_int_equal(f->closes, 2);
    for (unsigned i = 0; i < 10; i++) {
        close(fds[i]);
    }
    close(good[0]);
    close(good[1]);
}

static void a_thousand_drops_leave_no_descriptor_behind(void **state)
{
    struct fixture *f = *state;
    unsigned before;

    start(f);
    close(enter(f));
    RAW_UNTIL(&f->loop, f->closes == 1);
    before = raw_open_fds();
    for (unsigned i = 0; i < 1000; i++) {
        static const char bytes[] = "hello\x08\0\0\0abc";
        int fd = raw_connect(f->port);

        (void)!send(fd, bytes, i % sizeof bytes, MSG_NOSIGNAL);
        if (i % 3 == 0) {
            struct linger reset = {.l_onoff = 1};

            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        close(fd);
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    RAW_UNTIL(&f->loop, net_server_connections(f->server) == 0);
    assert_int_equal(raw_open_fds(), before);
}

static void a_port_in_use_is_an_error_with_the_address(void **state)
{
    struct fixture *f = *state;
    struct net_server *second = f->server;
    unsigned before;
    struct err e;

    start(f);
    before = raw_open_fds();
    f->addrs[1] = raw_addr(f->port);
    f->options.addr_count = 2; /* the first one opens, the second fails */
    assert_int_equal(net_server_new(&f->loop, &f->options, &second, &e), -EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(e.msg, f->addrs[1].text));
    assert_int_equal(raw_open_fds(), before);
}

static int unix_connect(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(sa.sun_path, path, strlen(path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void a_unix_socket_works_replaces_a_dead_one_and_is_removed(void **state)
{
    struct fixture *f = *state;
    const char *tmp = getenv("TMPDIR");
    char dir[80], uri[120];
    struct net_server *second = NULL;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct err e;
    int fd;

    snprintf(dir, sizeof dir, "%s/albacore-net-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(uri, sizeof uri, "unix://%s/s", dir);
    assert_int_equal(net_addr_parse(&f->addrs[0], uri, &e), 0);
    memcpy(sa.sun_path, f->addrs[0].path, strlen(f->addrs[0].path));
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    close(fd); /* its file stays, as after a kill -9 */

    start(f);
    assert_int_equal(f->port, 0);
    assert_int_equal(net_server_new(&f->loop, &f->options, &second, &e), -EADDRINUSE);
    fd = unix_connect(f->addrs[0].path);
    raw_send(&f->loop, fd, "hello\x01\0\0\0z", 10);
    assert_int_equal(raw_recv(&f->loop, fd, dir + 70, 2), 2);
    expect_echo(f, fd, "z", 1);
    assert_true(net_addr_is_local(net_conn_peer(f->last)));
    close(fd);
    net_server_close(f->server, 0, on_server_closed, f);
    RAW_UNTIL(&f->loop, f->closed);
    f->server = NULL;
    assert_int_equal(access(f->addrs[0].path, F_OK), -1);
    *strrchr(f->addrs[0].path, '/') = '\0';
    assert_int_equal(rmdir(f->addrs[0].path), 0);
}

static void closing_waits_for_replies_and_held_connections(void **state)
{
    struct fixture *f = *state;
    uint8_t *got = mem_alloc(sizeof big);
    int reader, holder;

    start(f);
    reader = enter(f);
    holder = enter(f);
    send_frame(f, holder, "H", 1);
    send_frame(f, reader, "B", 1);
    RAW_UNTIL(&f->loop, f->frames == 2);
    net_server_close(f->server, 2000, on_server_closed, f);
    assert_int_equal(raw_recv(&f->loop, reader, got, sizeof big), sizeof big);
    assert_true(raw_is_closed_by_peer(&f->loop, reader));
    net_conn_write(f->held, "answer", 6);
    assert_int_equal(raw_recv(&f->loop, holder, got, 6), 6);
    raw_turn_for(&f->loop, 50);
    assert_false(f->closed);
    net_conn_drop(f->held);
    RAW_UNTIL(&f->loop, f->closed);
    f->server = NULL;
    close(reader);
    close(holder);
    free(got);
}

static void closing_gives_up_on_peers_that_do_not_read(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = enter(f);
    for (unsigned i = 0; i < 3; i++) {
        send_frame(f, fd, "B", 1);
    }
    RAW_UNTIL(&f->loop, f->frames >= 2);
    net_server_close(f->server, 100, on_server_closed, f);
    RAW_UNTIL(&f->loop, f->closed);
    assert_int_equal(f->sents, f->frames);
    f->server = NULL;
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_of_all_sizes_are_answered),
        TEST(preamble_and_frames_may_come_byte_by_byte),
        TEST(garbage_gets_the_answer_of_the_owner_and_is_closed),
        TEST(an_oversized_length_closes_only_that_connection),
        TEST(a_slow_preamble_is_cut_off),
        TEST(a_frame_that_drips_in_is_cut_off),
        TEST(a_large_frame_has_its_time_for_each_mebibyte),
        TEST(an_idle_connection_is_left_alone),
        TEST(a_peer_that_never_reads_is_held_back_and_dropped),
        TEST(who_stalls_is_dropped_when_others_wait_for_memory),
        TEST(borrowed_replies_arrive_and_are_given_back_once),
        TEST(who_closes_its_side_gets_every_reply),
        TEST(who_closes_its_side_gets_every_reply_of_a_server_of_one_request),
        TEST(who_closes_its_side_and_never_reads_is_dropped),
        TEST(no_frame_is_handed_over_while_paused),
        TEST(little_is_kept_of_what_is_sent_far_ahead),
        TEST(the_owner_can_close_from_a_frame),
        TEST(a_held_connection_outlives_its_peer_and_swallows_replies),
        TEST(connections_over_the_limit_are_closed_at_once),
        TEST(who_has_not_said_hello_gives_way_at_the_limit),
        TEST(a_thousand_drops_leave_no_descriptor_behind),
        TEST(a_port_in_use_is_an_error_with_the_address),
        TEST(a_unix_socket_works_replaces_a_dead_one_and_is_removed),
        TEST(closing_waits_for_replies_and_held_connections),
        TEST(closing_gives_up_on_peers_that_do_not_read),
    };

    return cmocka_run_group_tests_name("net/server", tests, NULL, NULL);
}
