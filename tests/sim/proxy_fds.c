/* Uploads from files that clients hand over, and what else is sent to where they do that. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "lib/tempdir.h"
#include "loop/run.h"
#include "net/fd_pass.h"
#include "proxy/upload.h"
#include "sim/proxy_fixture.h"
#include "wire/osd_keys.h"

enum { FILE_BYTES = 3000000 };

struct scene {
    struct fixture f; /* over the unix socket; its server takes files */
    struct proxy_client *tcp;
    struct net_addr side;
    char *path;
    uint8_t *data; /* of the file */
};

static unsigned count_fds(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");

    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static int setup(void **state)
{
    struct scene *s = mem_zalloc(sizeof(*s));
    struct net_addr addrs[2];
    struct proxy_server_options options = {.addrs = addrs, .addr_count = 2};
    char *uri, *socket;
    struct err e;
    FILE *file;

    s->f.w = world_new(6, 3, WORLD_PRESET("[[4,2,6,2],[4,2,5,2],[4,2,4,2]]", 16384, "lz4"));
    s->f.dir = tempdir_make();
    uri = mem_printf("unix://%s/p", s->f.dir);
    options.fd_socket = socket = mem_printf("%s/p", s->f.dir);
    assert_int_equal(net_addr_parse(&addrs[0], uri, &e), 0);
    assert_int_equal(net_addr_tcp(&addrs[1], "127.0.0.1", 0, &e), 0);
    assert_int_equal(fd_pass_addr(&s->side, socket, &e), 0);
    assert_int_equal(proxy_server_new(s->f.w->engine, &options, &s->f.server, &e), 0);
    s->f.addr = addrs[0];
    s->f.client =
        proxy_client_new(&s->f.w->base.loop,
                         &(struct proxy_client_options){.endpoints = addrs, .endpoint_count = 1});
    assert_int_equal(net_addr_tcp(&addrs[1], "127.0.0.1", proxy_server_port(s->f.server, 1), &e),
                     0);
    s->tcp = proxy_client_new(&s->f.w->base.loop, &(struct proxy_client_options){
                                                      .endpoints = &addrs[1], .endpoint_count = 1});
    s->data = mem_alloc(FILE_BYTES);
    world_fill(s->f.w, s->data, FILE_BYTES);
    s->path = mem_printf("%s/file", s->f.dir);
    file = fopen(s->path, "wb");
    assert_int_equal(fwrite(s->data, 1, FILE_BYTES, file), FILE_BYTES);
    fclose(file);
    free(uri);
    free(socket);
    *state = s;
    return 0;
}

static void close_client(struct scene *s, struct proxy_client *client)
{
    bool closed = false;

    proxy_client_close(client, loop_set_true, &closed);
    loop_fixture_run_until(&s->f.w->base, &closed);
}

static int teardown(void **state)
{
    struct scene *s = *state;
    bool closed = false;

    close_client(s, s->tcp);
    close_client(s, s->f.client);
    proxy_server_close(s->f.server, loop_set_true, &closed);
    loop_fixture_run_until(&s->f.w->base, &closed);
    assert_int_not_equal(access(s->side.path, F_OK), 0);
    world_free(s->f.w);
    tempdir_remove(s->f.dir);
    free(s->path);
    free(s->data);
    free(s);
    return 0;
}

/* ---- handing over: it blocks, so in a thread ---- */

struct giving {
    const struct net_addr *side;
    int fd;
    uint8_t token[FD_PASS_TOKEN_BYTES];
    int conn;
    int rc;
    bool done; /* set on the loop */
    uv_async_t wake;
};

static void *give_run(void *arg)
{
    struct giving *g = arg;
    struct err e;

    g->rc = fd_pass_give(g->side, g->fd, 5000, g->token, &g->conn, &e);
    uv_async_send(&g->wake);
    return NULL;
}

static void on_given(uv_async_t *wake)
{
    container_of(wake, struct giving, wake)->done = true;
    uv_close((uv_handle_t *)wake, NULL);
}

static struct giving give(struct scene *s, int fd)
{
    struct giving *g = mem_zalloc(sizeof(*g)), result;
    pthread_t thread;

    g->side = &s->side;
    g->fd = fd;
    g->conn = -1;
    uv_async_init(&s->f.w->base.loop, &g->wake, on_given);
    assert_int_equal(pthread_create(&thread, NULL, give_run, g), 0);
    loop_fixture_run_until(&s->f.w->base, &g->done);
    pthread_join(thread, NULL);
    loop_fixture_run_ms(&s->f.w->base, 1); /* the handle closes */
    result = *g;
    free(g);
    return result;
}

static struct giving give_file(struct scene *s, int flags)
{
    int fd = open(s->path, flags | O_CLOEXEC);
    struct giving g;

    assert_true(fd >= 0);
    g = give(s, fd);
    close(fd); /* the proxy has its own */
    assert_int_equal(g.rc, 0);
    return g;
}

/* ---- putting ---- */

static struct proxy_update update_of(const struct giving *g, struct proxy_extent *extents,
                                     uint32_t count)
{
    return (struct proxy_update){.kind = PROXY_UPDATE_UPLOAD_FD,
                                 .name = slice_str("o"),
                                 .token = slice_of(g->token, sizeof(g->token)),
                                 .extents = extents,
                                 .extent_count = count};
}

static int32_t put_extents(struct scene *s, const struct giving *g, struct proxy_extent *extents,
                           uint32_t count)
{
    struct proxy_update update = update_of(g, extents, count);
    struct proxy_request request = {.code = PROXY_APPLY_FDS,
                                    .ns = fixture_ns(),
                                    .apply = {.updates = &update, .update_count = 1}};

    return fixture_simple(&s->f, &request);
}

static int32_t put_whole(struct scene *s, const struct giving *g)
{
    struct proxy_extent all = {.bytes = FILE_BYTES};

    return put_extents(s, g, &all, 1);
}

static void an_object_is_the_extents_one_behind_the_other(void **state)
{
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDWR);
    uint8_t *expected = mem_alloc(FILE_BYTES);

    for (unsigned round = 0; round < 10; round++) {
        struct proxy_extent extents[40];
        uint32_t count = 1 + (uint32_t)rnd_below(&s->f.w->rnd, 40);
        size_t sum = 0;

        for (uint32_t i = 0; i < count; i++) { /* they may overlap, and go backwards */
            uint64_t bytes = 1 + rnd_below(&s->f.w->rnd, FILE_BYTES / 40);
            uint64_t offset = rnd_below(&s->f.w->rnd, FILE_BYTES - bytes + 1);

            extents[i] = (struct proxy_extent){.offset = offset, .bytes = bytes};
            memcpy(expected + sum, s->data + offset, bytes);
            sum += bytes;
        }
        assert_int_equal(put_extents(s, &g, extents, count), 0);
        world_expect(s->f.w, "o", expected, sum);
    }
    assert_int_equal(put_extents(s, &g, NULL, 0), 0);
    world_expect(s->f.w, "o", "", 0);
    free(expected);
    close(g.conn);
}

static void what_is_sent_is_a_few_bytes(void **state)
{
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDONLY);
    struct proxy_extent all = {.bytes = FILE_BYTES};
    struct proxy_update update = update_of(&g, &all, 1);
    struct proxy_request request = {.code = PROXY_APPLY_FDS,
                                    .ns = fixture_ns(),
                                    .apply = {.updates = &update, .update_count = 1}};
    struct gather message = {0};

    proxy_request_encode(&request, &message);
    assert_in_range(gather_bytes(&message), 1, 100);
    gather_release(&message);
    assert_int_equal(put_whole(s, &g), 0);
    world_expect(s->f.w, "o", s->data, FILE_BYTES);
    close(g.conn);
}

static void a_file_opened_for_direct_io_needs_no_alignment(void **state)
{
    struct scene *s = *state;
    struct proxy_extent odd[] = {{.offset = 777, .bytes = 100001}, {.offset = 5, .bytes = 3}};
    struct giving g = give_file(s, O_RDONLY | O_DIRECT);
    uint8_t *expected = mem_alloc(100004);

    memcpy(expected, s->data + 777, 100001);
    memcpy(expected + 100001, s->data + 5, 3);
    assert_int_equal(put_extents(s, &g, odd, 2), 0);
    world_expect(s->f.w, "o", expected, 100004);
    free(expected);
    close(g.conn);
}

static void a_checksum_that_is_not_that_of_the_extents_stops_the_put(void **state)
{
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDONLY);
    struct proxy_extent all = {.bytes = FILE_BYTES};
    struct proxy_update update = update_of(&g, &all, 1);
    struct proxy_request request = {.code = PROXY_APPLY_FDS,
                                    .ns = fixture_ns(),
                                    .apply = {.updates = &update, .update_count = 1}};
    uint8_t *got;
    size_t bytes;

    update.has_checksum = true;
    update.checksum = checksum_crc32c(1);
    assert_int_equal(fixture_simple(&s->f, &request), PROXY_RC_CHECKSUM_MISMATCH);
    assert_int_equal(world_get(s->f.w, "o", &got, &bytes), ERR_NOT_FOUND);
    close(g.conn);
}

static void extents_beyond_the_file_are_refused(void **state)
{
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDONLY);
    struct proxy_extent bad[] = {{.offset = FILE_BYTES, .bytes = 1},
                                 {.offset = 1, .bytes = FILE_BYTES},
                                 {.offset = UINT64_MAX, .bytes = 2},
                                 {.offset = 5, .bytes = 0}};
    struct proxy_extent huge[] = {{.bytes = UINT64_MAX}, {.bytes = 5}};

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(put_extents(s, &g, &bad[i], 1), PROXY_RC_BAD_ARGUMENT);
    }
    assert_int_equal(put_extents(s, &g, huge, 2), PROXY_RC_TOO_LARGE);
    assert_int_equal(put_extents(s, &g, huge, 1), PROXY_RC_TOO_LARGE);
    close(g.conn);
}

static void what_is_no_file_to_read_is_refused(void **state)
{
    struct scene *s = *state;
    struct proxy_extent one = {.bytes = 1};
    int pipe_fds[2], fds[5];

    assert_int_equal(pipe(pipe_fds), 0);
    fds[0] = pipe_fds[0];
    fds[1] = open(s->f.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fds[2] = open(s->path, O_WRONLY | O_CLOEXEC);
    fds[3] = open(s->path, O_PATH | O_CLOEXEC);
    fds[4] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    for (unsigned i = 0; i < 5; i++) {
        struct giving g = give(s, fds[i]);

        assert_int_equal(g.rc, 0);
        assert_int_equal(put_extents(s, &g, &one, 1), PROXY_RC_BAD_ARGUMENT);
        close(g.conn);
        close(fds[i]);
    }
    close(pipe_fds[1]);
}

static enum fake_fate slow_applies(void *ctx, struct fake_asd *asd,
                                   const struct asd_request *request)
{
    (void)ctx;
    asd->delay_ms = 50;
    return request->code == ASD_APPLY ? FAKE_DELAY : FAKE_NORMAL;
}

static void put_later(struct scene *s, struct call *c, const struct giving *g,
                      struct proxy_extent *all)
{
    struct proxy_update update = update_of(g, all, 1);
    struct proxy_request request = {.code = PROXY_APPLY_FDS,
                                    .ns = fixture_ns(),
                                    .apply = {.updates = &update, .update_count = 1}};

    memset(c, 0, sizeof(*c));
    c->code = request.code;
    proxy_request_encode(&request, &c->request);
    assert_int_equal(proxy_client_call(s->f.client, &c->call, &c->request, 20000, fixture_on_call),
                     0);
    for (unsigned i = 0; i < s->f.w->asd_count; i++) {
        fake_asd_set_fate(s->f.w->asds[i], slow_applies, NULL);
    }
    loop_fixture_run_ms(&s->f.w->base, 150); /* some chunks are read, most are not */
    assert_false(c->done);
}

static size_t count_keys(const struct scene *s, enum osd_key_kind kind)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_kind_prefix(&prefix, s->f.w->ns_id, kind);
    for (unsigned i = 0; i < s->f.w->asd_count; i++) {
        count += fake_asd_count_prefix(s->f.w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

/* Fragments whose writes were under way when it failed may be left: no more than those of the
 * chunks in memory, each with its tag for the garbage collector. */
static void a_file_that_becomes_shorter_fails_the_put_and_makes_no_object(void **state)
{
    enum { LEFT_MAX = 6 * UPLOAD_CHUNKS_IN_MEMORY };
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDONLY);
    struct proxy_extent all = {.bytes = FILE_BYTES};
    struct call c;
    uint8_t *got;
    size_t bytes;

    put_later(s, &c, &g, &all);
    assert_int_equal(truncate(s->path, FILE_BYTES / 2), 0);
    loop_fixture_run_until(&s->f.w->base, &c.done);
    assert_int_equal(c.proxy_code, PROXY_RC_UNKNOWN);
    assert_non_null(strstr(c.text, "became shorter"));
    gather_release(&c.request);
    assert_int_equal(world_get(s->f.w, "o", &got, &bytes), ERR_NOT_FOUND);
    for (unsigned i = 0; i < 500 && count_keys(s, OSD_KEY_FRAGMENT) > LEFT_MAX; i++) {
        loop_fixture_run_ms(&s->f.w->base, 10);
    }
    assert_in_range(count_keys(s, OSD_KEY_FRAGMENT), 0, LEFT_MAX);
    assert_true(count_keys(s, OSD_KEY_GC_TAG) >= count_keys(s, OSD_KEY_FRAGMENT));
    close(g.conn);
}

static void a_put_that_has_begun_outlives_the_connection_of_its_file(void **state)
{
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDONLY);
    struct proxy_extent all = {.bytes = FILE_BYTES};
    struct call c;

    put_later(s, &c, &g, &all);
    close(g.conn);
    loop_fixture_run_until(&s->f.w->base, &c.done);
    assert_int_equal(c.rc, 0);
    gather_release(&c.request);
    fixture_call_release(&c);
    world_expect(s->f.w, "o", s->data, FILE_BYTES);
    assert_int_equal(put_whole(s, &g), PROXY_RC_FILE_NOT_FOUND); /* it is forgotten */
    assert_int_equal(fds_count(s->f.server->fds), 0);
}

static void tokens_are_worth_nothing_elsewhere(void **state)
{
    struct scene *s = *state;
    struct giving g = give_file(s, O_RDONLY), guess = g;
    struct proxy_client *local = s->f.client;

    guess.token[15] ^= 1;
    assert_int_equal(put_whole(s, &guess), PROXY_RC_FILE_NOT_FOUND);
    s->f.client = s->tcp;
    assert_int_equal(put_whole(s, &g), PROXY_RC_FILE_NOT_FOUND);
    s->f.client = local;
    assert_int_equal(put_whole(s, &g), 0);
    close(g.conn);
}

/* ---- the side socket itself ---- */

static int connect_side(struct scene *s)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(sa.sun_path, s->side.path, strlen(s->side.path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    return fd;
}

static bool is_closed_by_proxy(struct scene *s, int fd)
{
    for (unsigned i = 0; i < 200; i++) {
        char byte;
        ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            return true;
        }
        loop_fixture_run_ms(&s->f.w->base, 5);
    }
    return false;
}

static void send_with_fds(int conn, const void *data, size_t bytes, const int *fds, size_t count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count != 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    assert_int_equal(sendmsg(conn, &msg, 0), bytes);
}

static void garbage_and_crowds_of_descriptors_are_hung_up_on(void **state)
{
    static const char good[] = "aFd1\0\0\0\0";
    struct scene *s = *state;
    unsigned before = count_fds();
    int fds[20];

    for (unsigned i = 0; i < 20; i++) {
        fds[i] = STDIN_FILENO;
    }
    for (unsigned i = 0; i < 7; i++) {
        int conn = connect_side(s);

        switch (i) {
        case 0:
            send_with_fds(conn, good, 8, NULL, 0);
            break;
        case 1:
            send_with_fds(conn, good, 8, fds, 2);
            break;
        case 2:
            send_with_fds(conn, good, 8, fds, 20);
            break;
        case 3:
            send_with_fds(conn, good, 4, fds, 1);
            break;
        case 4:
            send_with_fds(conn, "nonsense", 8, fds, 1);
            break;
        case 5: /* its own end: held by the proxy, it would keep itself open */
            send_with_fds(conn, good, 8, &conn, 1);
            break;
        default:
            shutdown(conn, SHUT_WR);
        }
        assert_true(is_closed_by_proxy(s, conn));
        close(conn);
    }
    assert_int_equal(count_fds(), before);
    assert_int_equal(fds_count(s->f.server->fds), 0);
}

static void files_and_connections_are_bounded(void **state)
{
    struct scene *s = *state;
    unsigned before = count_fds();
    int conns[FDS_CONNECTIONS_MAX], conn = connect_side(s), fd = STDIN_FILENO;
    uint8_t reply[FD_PASS_REPLY_BYTES];

    for (unsigned i = 0; i <= FDS_OF_CONNECTION_MAX; i++) {
        send_with_fds(conn, "aFd1\0\0\0\0", 8, &fd, 1);
        while (recv(conn, reply, sizeof(reply), MSG_DONTWAIT) != (ssize_t)sizeof(reply)) {
            loop_fixture_run_ms(&s->f.w->base, 1);
        }
        assert_int_equal(get_u32le(reply), i < FDS_OF_CONNECTION_MAX ? 0 : PROXY_RC_BUSY);
    }
    assert_int_equal(fds_count(s->f.server->fds), FDS_OF_CONNECTION_MAX);
    for (unsigned i = 0; i < FDS_CONNECTIONS_MAX; i++) {
        conns[i] = connect_side(s);
    }
    assert_true(is_closed_by_proxy(s, conns[FDS_CONNECTIONS_MAX - 1]));
    close(conn);
    for (unsigned i = 0; i < FDS_CONNECTIONS_MAX; i++) {
        close(conns[i]);
    }
    for (unsigned i = 0; i < 200 && count_fds() != before; i++) {
        loop_fixture_run_ms(&s->f.w->base, 5);
    }
    assert_int_equal(count_fds(), before);
    assert_int_equal(fds_count(s->f.server->fds), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_object_is_the_extents_one_behind_the_other),
        TEST(what_is_sent_is_a_few_bytes),
        TEST(a_file_opened_for_direct_io_needs_no_alignment),
        TEST(a_checksum_that_is_not_that_of_the_extents_stops_the_put),
        TEST(extents_beyond_the_file_are_refused),
        TEST(what_is_no_file_to_read_is_refused),
        TEST(a_file_that_becomes_shorter_fails_the_put_and_makes_no_object),
        TEST(a_put_that_has_begun_outlives_the_connection_of_its_file),
        TEST(tokens_are_worth_nothing_elsewhere),
        TEST(garbage_and_crowds_of_descriptors_are_hung_up_on),
        TEST(files_and_connections_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
