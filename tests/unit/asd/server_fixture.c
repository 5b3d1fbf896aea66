#include "unit/asd/server_fixture.h"

#include <stdlib.h>

#include "base/mem.h"
#include "loop/run.h"
#include "unit/net/raw.h"

static unsigned threads_now = 1;

void server_fixture_init(struct server_fixture *f, unsigned threads)
{
    *f = (struct server_fixture){.threads = threads};
    asd_fixture_init(&f->base, false, 5);
    f->base.options.read_threads = SERVER_READERS;
    f->loop = &f->base.base.loop;
    block_io_init(&f->gate, crash_disk_io(f->base.disk));
}

void server_fixture_serve(struct server_fixture *f)
{
    struct net_addr addr = raw_addr(0);
    struct asd_server_options options = {.store = f->base.store,
                                         .asd_id = "asd_1",
                                         .addrs = &addr,
                                         .addr_count = 1,
                                         .threads = f->threads,
                                         .wall_us = f->wall_us};
    struct err e;

    assert_int_equal(asd_server_new(f->loop, &options, &f->server, &e), 0);
    f->port = asd_server_port(f->server, 0);
    f->closed = false;
}

void server_fixture_end_serving(struct server_fixture *f)
{
    asd_server_close(f->server, loop_set_true, &f->closed);
    RAW_UNTIL(f->loop, f->closed);
    f->server = NULL;
}

void server_fixture_open(struct server_fixture *f)
{
    struct err e;

    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    server_fixture_serve(f);
}

void server_fixture_close(struct server_fixture *f)
{
    block_io_open(&f->gate);
    if (f->server != NULL) {
        server_fixture_end_serving(f);
    }
    asd_fixture_close(&f->base);
}

void server_fixture_release(struct server_fixture *f)
{
    server_fixture_close(f);
    block_io_release(&f->gate);
    asd_fixture_release(&f->base);
}

int server_setup(void **state)
{
    struct server_fixture *f = mem_alloc(sizeof(*f));

    server_fixture_init(f, threads_now);
    server_fixture_open(f);
    *state = f;
    return 0;
}

int server_teardown(void **state)
{
    server_fixture_release(*state);
    free(*state);
    return 0;
}

int server_run_tests(const struct CMUnitTest *tests, size_t count)
{
    int failed;

    threads_now = 1;
    failed = _cmocka_run_group_tests("one loop", tests, count, NULL, NULL);
    threads_now = SERVER_THREADS;
    return failed + _cmocka_run_group_tests("three loops", tests, count, NULL, NULL);
}
