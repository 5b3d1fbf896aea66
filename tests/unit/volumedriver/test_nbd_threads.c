/* Volumes that live on other loops than the server's: connections are handed over, flushes of
 * one connection cover writes of another, and the end is told back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/mem.h"
#include "lib/nbd_fixture.h"

enum { THREADS = 3, CLIENTS = 40 };

/* A loop of its own with one volume. */
struct home {
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t stop;
    uv_sem_t ready;
    struct volume *volume;
    struct nbd_worker *worker;
    struct nbd_export export;
    char name[16];
};

struct threads {
    struct nbd_fixture f; /* its own exports are not used */
    struct nbd_exports exports;
    struct home homes[THREADS];
};

static void on_worker_closed(void *ctx)
{
    struct home *h = ctx;

    volume_double_free(h->volume);
    uv_close((uv_handle_t *)&h->stop, NULL);
}

static void on_stop(uv_async_t *async)
{
    struct home *h = async->data;

    nbd_worker_close(h->worker, on_worker_closed, h);
}

static void run_home(void *arg)
{
    struct home *h = arg;

    CHECK(uv_loop_init(&h->loop) == 0);
    CHECK(uv_async_init(&h->loop, &h->stop, on_stop) == 0);
    h->stop.data = h;
    h->volume = volume_double_new(&h->loop, h->name, 1048576, false);
    h->worker = nbd_worker_new(&h->loop);
    uv_sem_post(&h->ready);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&h->loop) == 0);
}

static void list_exports(struct nbd_exports *exports, nbd_export_each_cb each, void *ctx)
{
    struct threads *t = container_of(exports, struct threads, exports);

    for (int i = 0; i < THREADS; i++) {
        each(ctx, t->homes[i].name, NULL);
    }
}

static struct nbd_export *find_export(struct nbd_exports *exports, const char *name)
{
    struct threads *t = container_of(exports, struct threads, exports);

    for (int i = 0; i < THREADS; i++) {
        if (strcmp(name, t->homes[i].name) == 0) {
            return &t->homes[i].export;
        }
    }
    return NULL;
}

static int setup(void **state)
{
    static const struct nbd_exports_ops ops = {.list = list_exports, .find = find_export};
    struct threads *t = mem_zalloc(sizeof(*t));
    struct nbd_server_options options = {.addr_count = 1, .exports = &t->exports};
    struct net_addr addr;
    struct err e;

    nbd_fixture_init(&t->f, NULL);
    t->exports.ops = &ops;
    for (int i = 0; i < THREADS; i++) {
        struct home *h = &t->homes[i];

        h->name[0] = 'v';
        h->name[1] = (char)('0' + i);
        assert_int_equal(uv_sem_init(&h->ready, 0), 0);
        assert_int_equal(uv_thread_create(&h->thread, run_home, h), 0);
        uv_sem_wait(&h->ready);
        h->export = (struct nbd_export){
            .name = h->name, .volume = h->volume, .worker = h->worker, .size_bytes = 1048576};
    }
    assert_int_equal(net_addr_tcp(&addr, "127.0.0.1", 0, &e), 0);
    options.addrs = &addr;
    nbd_fixture_close_server(&t->f, 0); /* ours takes its place */
    loop_fixture_run_until(&t->f.base, &t->f.server_closed);
    t->f.server_closed = false;
    assert_int_equal(nbd_server_new(&t->f.base.loop, &options, &t->f.server, &e), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct threads *t = *state;

    if (t->f.server != NULL) {
        nbd_fixture_close_server(&t->f, 0);
    }
    loop_fixture_run_until(&t->f.base, &t->f.server_closed);
    for (int i = 0; i < THREADS; i++) {
        uv_async_send(&t->homes[i].stop);
        assert_int_equal(uv_thread_join(&t->homes[i].thread), 0);
        uv_sem_destroy(&t->homes[i].ready);
    }
    nbd_fixture_release(&t->f);
    free(t);
    return 0;
}

static void connections_are_served_by_the_loops_of_their_volumes(void **state)
{
    struct threads *t = *state;
    uint8_t data[CLIENTS][4096], back[4096];
    int fds[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = nbd_play_go(&t->f, t->homes[i % THREADS].name, i % 2 == 0, false);
        nbd_play_pattern(data[i], sizeof(data[i]), (uint64_t)i);
        nbd_play_write(&t->f, fds[i], 0, 1, (uint64_t)i * 4096, data[i], 4096);
    }
    for (int i = 0; i < CLIENTS; i++) {
        nbd_play_expect_simple(&t->f, fds[i], 1, NBD_SUCCESS);
        nbd_play_request(&t->f, fds[i], NBD_CMD_FLUSH, 0, 2, 0, 0);
        nbd_play_expect_simple(&t->f, fds[i], 2, NBD_SUCCESS);
        nbd_play_request(&t->f, fds[i], NBD_CMD_READ, 0, 3, (uint64_t)i * 4096, 4096);
        if (i % 2 == 0) {
            nbd_play_expect_chunk(&t->f, fds[i], 3, 1, NBD_REPLY_TYPE_OFFSET_DATA);
            nbd_play_receive(&t->f, fds[i], back, 8);
        } else {
            nbd_play_expect_simple(&t->f, fds[i], 3, NBD_SUCCESS);
        }
        nbd_play_receive(&t->f, fds[i], back, 4096);
        assert_memory_equal(back, data[i], 4096);
        close(fds[i]);
    }
    nbd_fixture_wait_connections(&t->f, 0);
}

static void requests_sent_before_the_hand_over_are_served(void **state)
{
    struct threads *t = *state;
    uint8_t talk[16 + 2 + 28 + 28], answer[8 + 2 + 124 + 16];
    int fd;

    for (int i = 0; i < 50; i++) {
        fd = nbd_play_greet(&t->f); /* it asked for no zeroes */
        memcpy(talk, "IHAVEOPT\0\0\0\1\0\0\0\2v", 17);
        talk[17] = (uint8_t)('0' + i % THREADS);
        nbd_request_encode(talk + 18, &(struct nbd_request){.type = NBD_CMD_FLUSH, .cookie = 9});
        nbd_request_encode(talk + 46, &(struct nbd_request){.type = NBD_CMD_DISC});
        nbd_play_send(&t->f, fd, talk, sizeof(talk));
        nbd_play_receive(&t->f, fd, answer, 10);
        nbd_play_expect_simple(&t->f, fd, 9, NBD_SUCCESS);
        nbd_play_expect_end(&t->f, fd);
        close(fd);
    }
}

static void closing_meets_connections_that_end_by_themselves(void **state)
{
    struct threads *t = *state;
    int fds[CLIENTS];

    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = nbd_play_go(&t->f, t->homes[i % THREADS].name, false, false);
    }
    for (int i = 0; i < CLIENTS; i += 2) {
        close(fds[i]);
    }
    nbd_fixture_close_server(&t->f, 0);
    loop_fixture_run_until(&t->f.base, &t->f.server_closed);
    for (int i = 1; i < CLIENTS; i += 2) {
        nbd_play_expect_end(&t->f, fds[i]);
        close(fds[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(connections_are_served_by_the_loops_of_their_volumes),
        TEST(requests_sent_before_the_hand_over_are_served),
        TEST(closing_meets_connections_that_end_by_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
