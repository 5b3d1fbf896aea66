#include "daemon/http.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/mem.h"
#include "daemon/metrics.h"
#include "unit/net/raw.h"

struct fixture {
    uv_loop_t loop;
    struct http_server *server;
    struct http_options options;
    struct net_addr addrs[2];
    struct metrics metrics;
    struct http_request *later; /* answered by the test */
    char reply[200000];
    unsigned posts;
    bool unhealthy;
    bool closed;
};

static struct json_t *status(void *ctx)
{
    (void)ctx;
    return json_pack("{s:s, s:i}", "state", "fine", "volumes", 3);
}

static int healthy(void *ctx, struct err *why)
{
    return ((struct fixture *)ctx)->unhealthy ? err_set(why, ERR_FAILED, "disk d1") : 0;
}

static int ready(void *ctx, struct err *why)
{
    (void)ctx;
    return err_set(why, ERR_BUSY, "replaying");
}

/* Echoes method, path, the query value "q" and the body. */
static void on_echo(void *ctx, struct http_request *request)
{
    struct slice body = http_request_body(request);
    const char *q = http_request_query(request, "q");
    struct buf out = {0};

    ((struct fixture *)ctx)->posts++;
    buf_printf(&out, "%d %s %s ", (int)http_request_method(request), http_request_path(request),
               q != NULL ? q : "-");
    buf_put(&out, body.data, body.len);
    http_answer(request, 200, "text/plain", out.data, out.len);
    buf_release(&out);
}

static void on_later(void *ctx, struct http_request *request)
{
    ((struct fixture *)ctx)->later = request;
}

static void on_error(void *ctx, struct http_request *request)
{
    struct err e;

    (void)ctx;
    err_set(&e, strcmp(http_request_path(request), "/error/utf8") == 0 ? ERR_FULL : ERR_NOT_FOUND,
            strcmp(http_request_path(request), "/error/utf8") == 0 ? "\xff\xfe" : "volume v1");
    http_answer_err(request, &e);
}

static void start(struct fixture *f)
{
    struct err e;

    assert_int_equal(http_server_new(&f->loop, &f->options, &f->server, &e), 0);
    http_route(f->server, HTTP_GET | HTTP_POST | HTTP_DELETE, "/api/", true, on_echo, f);
    http_route(f->server, HTTP_POST, "/api/later", false, on_later, f);
    http_route(f->server, HTTP_GET, "/error/", true, on_error, f);
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    metrics_init(&f->metrics);
    f->addrs[0] = raw_addr(0);
    f->options = (struct http_options){.addrs = f->addrs,
                                       .addr_count = 1,
                                       .connections_max = 8,
                                       .body_bytes_max = 70000,
                                       .timeout_s = 1,
                                       .metrics = &f->metrics,
                                       .status = status,
                                       .healthy = healthy,
                                       .ctx = f};
    *state = f;
    return 0;
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static void stop(struct fixture *f)
{
    http_server_close(f->server, on_closed, f);
    f->server = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->server != NULL) {
        stop(f);
    }
    raw_loop_close(&f->loop);
    free(f);
    return 0;
}

static int dial(struct fixture *f)
{
    return raw_connect(http_server_port(f->server, 0));
}

static void send_text(struct fixture *f, int fd, const char *text)
{
    raw_send(&f->loop, fd, text, strlen(text));
}

/* Reads head and body (by Content-Length) into f->reply; the status code. */
static int read_reply(struct fixture *f, int fd)
{
    size_t have = 0;
    char *body = NULL;
    char *length;
    size_t want = SIZE_MAX;

    while (have < want) {
        assert_true(have < sizeof f->reply - 1);
        if (raw_recv(&f->loop, fd, f->reply + have, 1) == 0) {
            break;
        }
        f->reply[++have] = '\0';
        if (body == NULL && (body = strstr(f->reply, "\r\n\r\n")) != NULL) {
            length = strstr(f->reply, "Content-Length: ");
            assert_non_null(length);
            want = have + strtoul(length + 16, NULL, 10);
        }
    }
    assert_int_equal(have, want);
    return (int)strtol(f->reply + 9, NULL, 10);
}

static int ask(struct fixture *f, int fd, const char *text)
{
    send_text(f, fd, text);
    return read_reply(f, fd);
}

static const char *body(const struct fixture *f)
{
    return strstr(f->reply, "\r\n\r\n") + 4;
}

static void standard_routes_answer_on_one_connection(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_non_null(strstr(f->reply, "Content-Type: text/plain; version=0.0.4"));
    assert_non_null(strstr(body(f), "process_open_fds "));
    assert_int_equal(ask(f, fd, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_non_null(strstr(f->reply, "Content-Type: application/json"));
    assert_string_equal(body(f), "{\n  \"state\": \"fine\",\n  \"volumes\": 3\n}\n");
    assert_int_equal(ask(f, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    f->unhealthy = true;
    assert_int_equal(ask(f, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 503);
    assert_non_null(strstr(body(f), "disk d1"));
    assert_int_equal(ask(f, fd, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"), 503);
    f->unhealthy = false;
    assert_int_equal(ask(f, fd, "GET /readyz?x=1 HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    close(fd);
}

static void readiness_may_differ_from_health(void **state)
{
    struct fixture *f = *state;
    int fd;

    f->options.ready = ready;
    start(f);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"), 503);
    assert_non_null(strstr(body(f), "replaying"));
    assert_int_equal(ask(f, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    close(fd);
}

static void unknown_paths_and_methods_are_refused(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "GET /nope HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    close(fd);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "GET /metricsx HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    close(fd);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
    close(fd);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "BREW /api/x HTTP/1.1\r\nHost: x\r\n\r\n"), 405);
    close(fd);
}

static void handlers_see_method_path_query_and_body(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = dial(f);
    assert_int_equal(ask(f, fd,
                         "POST /api/volumes/a%20b?q=1%262 HTTP/1.1\r\nHost: x\r\n"
                         "Content-Length: 11\r\n\r\n{\"size\": 1}"),
                     200);
    assert_string_equal(body(f), "2 /api/volumes/a b 1&2 {\"size\": 1}");
    assert_int_equal(ask(f, fd, "DELETE /api/volumes/v HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_string_equal(body(f), "8 /api/volumes/v - ");
    close(fd);
}

static void errors_become_json_with_a_fitting_status(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "GET /error/x HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_non_null(strstr(body(f), "\"error\": \"volume v1: does not exist\""));
    assert_int_equal(ask(f, fd, "GET /error/utf8 HTTP/1.1\r\nHost: x\r\n\r\n"), 507);
    assert_non_null(strstr(body(f), "\"error\": \"no space left"));
    close(fd);
}

static void large_bodies_arrive_and_larger_ones_are_refused(void **state)
{
    struct fixture *f = *state;
    char *chunk = mem_alloc(70001);
    char head[100];
    int fd;

    start(f);
    memset(chunk, 'b', 70001);
    fd = dial(f);
    send_text(f, fd, "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n");
    raw_send(&f->loop, fd, chunk, 70000);
    assert_int_equal(read_reply(f, fd), 200);
    assert_int_equal(strlen(body(f)), strlen("2 /api/x - ") + 70000);
    close(fd);

    fd = dial(f); /* announced: refused before it is sent */
    assert_int_equal(
        ask(f, fd, "POST /api/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"), 413);
    close(fd);

    fd = dial(f); /* not announced */
    send_text(f, fd, "POST /api/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    snprintf(head, sizeof head, "%x\r\n", 70001);
    send_text(f, fd, head);
    raw_send(&f->loop, fd, chunk, 70001);
    send_text(f, fd, "\r\n0\r\n\r\n");
    assert_int_equal(read_reply(f, fd), 413);
    assert_int_equal(f->posts, 1);
    close(fd);
    free(chunk);
}

static void an_answer_may_come_later(void **state)
{
    struct fixture *f = *state;
    int fd, other;

    start(f);
    fd = dial(f);
    send_text(f, fd, "POST /api/later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    RAW_UNTIL(&f->loop, f->later != NULL);
    assert_true(raw_is_quiet(&f->loop, fd, 1300)); /* beyond the time-out: it is our turn */
    other = dial(f);
    assert_int_equal(ask(f, other, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    assert_int_equal(http_request_body(f->later).len, 2);
    http_answer(f->later, 201, "text/plain", "made", 4);
    assert_int_equal(read_reply(f, fd), 201);
    assert_string_equal(body(f), "made");
    assert_int_equal(ask(f, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    close(fd);
    close(other);
}

static void a_client_that_left_does_not_hurt_a_late_answer(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = dial(f);
    send_text(f, fd, "POST /api/later HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    RAW_UNTIL(&f->loop, f->later != NULL);
    close(fd);
    raw_turn_for(&f->loop, 20);
    http_answer(f->later, 200, "text/plain", "x", 1);
    raw_turn_for(&f->loop, 20);
    fd = dial(f);
    assert_int_equal(ask(f, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    close(fd);
}

static void closing_answers_503_and_takes_a_late_answer(void **state)
{
    struct fixture *f = *state;
    int fd;

    start(f);
    fd = dial(f);
    send_text(f, fd, "POST /api/later HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    RAW_UNTIL(&f->loop, f->later != NULL);
    stop(f);
    assert_int_equal(read_reply(f, fd), 503);
    assert_non_null(strstr(f->reply, "\"error\": \"it stops"));
    assert_true(raw_is_closed_by_peer(&f->loop, fd));
    RAW_UNTIL(&f->loop, f->closed);
    http_answer(f->later, 200, "text/plain", "x", 1); /* frees it */
    close(fd);
}

static void garbage_and_silence_are_cut_off(void **state)
{
    struct fixture *f = *state;
    char *junk = mem_alloc(100000);
    int fds[2];
    char sink[4096];

    start(f);
    memset(junk, 'x', 100000);
    fds[0] = dial(f);
    raw_turn_for(&f->loop, 20);
    for (unsigned i = 0; i < 25; i++) {
        if (send(fds[0], junk, 4000, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            break;
        }
        raw_turn(&f->loop);
    }
    while (raw_recv(&f->loop, fds[0], sink, sizeof sink) == sizeof sink) {
    }
    fds[1] = dial(f);
    send_text(f, fds[1], "GET /healthz HT"); /* and nothing more */
    assert_true(raw_is_closed_by_peer(&f->loop, fds[1]));
    close(fds[0]);
    close(fds[1]);
    free(junk);
}

static void connections_are_bounded_and_none_is_leaked(void **state)
{
    struct fixture *f = *state;
    unsigned before;
    int fds[9];

    start(f);
    close(dial(f));
    raw_turn_for(&f->loop, 20);
    before = raw_open_fds();
    for (unsigned i = 0; i < 8; i++) {
        fds[i] = dial(f);
        assert_int_equal(ask(f, fds[i], "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    }
    fds[8] = dial(f);
    assert_true(raw_is_closed_by_peer(&f->loop, fds[8]));
    for (unsigned i = 0; i < 9; i++) {
        close(fds[i]);
    }
    for (unsigned i = 0; i < 300; i++) {
        static const char bytes[] = "GET /healthz HTTP/1.1\r\n";
        int fd = dial(f);

        (void)!send(fd, bytes, i % sizeof bytes, MSG_NOSIGNAL);
        close(fd);
        raw_turn(&f->loop);
    }
    RAW_UNTIL(&f->loop, raw_open_fds() == before);
}

static void a_port_in_use_is_named(void **state)
{
    struct fixture *f = *state;
    struct http_server *second;
    struct err e;

    start(f);
    f->addrs[0] = raw_addr(http_server_port(f->server, 0));
    assert_int_equal(http_server_new(&f->loop, &f->options, &second, &e), -EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(e.msg, f->addrs[0].text));
}

static void unix_sockets_work_too(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char uri[128];
    struct err e;
    int fd;

    snprintf(uri, sizeof uri, "unix:///tmp/albacore-http-%d.sock", (int)getpid());
    assert_int_equal(net_addr_parse(&f->addrs[1], uri, &e), 0);
    f->options.addr_count = 2;
    start(f);
    memcpy(sa.sun_path, f->addrs[1].path, sizeof sa.sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(ask(f, fd, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n"), 200);
    close(fd);
    stop(f);
    RAW_UNTIL(&f->loop, f->closed);
    assert_int_equal(access(f->addrs[1].path, F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(standard_routes_answer_on_one_connection),
        TEST(readiness_may_differ_from_health),
        TEST(unknown_paths_and_methods_are_refused),
        TEST(handlers_see_method_path_query_and_body),
        TEST(errors_become_json_with_a_fitting_status),
        TEST(large_bodies_arrive_and_larger_ones_are_refused),
        TEST(an_answer_may_come_later),
        TEST(a_client_that_left_does_not_hurt_a_late_answer),
        TEST(closing_answers_503_and_takes_a_late_answer),
        TEST(garbage_and_silence_are_cut_off),
        TEST(connections_are_bounded_and_none_is_leaked),
        TEST(a_port_in_use_is_named),
        TEST(unix_sockets_work_too),
    };

    return cmocka_run_group_tests_name("daemon/http", tests, NULL, NULL);
}
