/* A store with several fronts: what they share, and what each has for itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/front.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "fault/asd_fixture.h"
#include "lib/block_io.h"
#include "loop/run.h"

enum { LARGE = 100000, READ_THREADS = 2 };

static uint8_t *large;

/* The fixture's front, and one on a loop of its own. */
struct fixture {
    struct asd_fixture base;
    struct block_io block;
    uv_loop_t loop;
    struct asd_front *front; /* NULL: closed */
    bool closed;
    unsigned failed_told;
};

static void on_failed(void *ctx, const struct err *e)
{
    struct fixture *f = ctx;

    (void)e;
    f->failed_told++;
}

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));
    struct err e;

    asd_fixture_init(&f->base, false, 7);
    f->base.options.on_failed = on_failed;
    f->base.options.failed_ctx = f;
    block_io_init(&f->block, crash_disk_io(f->base.disk));
    assert_int_equal(asd_fixture_open(&f->base, &e), 0);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(asd_front_open(f->base.store, &f->loop, READ_THREADS, &f->front, &e), 0);
    *state = f;
    return 0;
}

static void close_front(struct fixture *f)
{
    asd_front_close(f->front, loop_set_true, &f->closed);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    f->front = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    block_io_open(&f->block);
    if (f->front != NULL) {
        close_front(f);
    }
    assert_int_equal(uv_loop_close(&f->loop), 0);
    asd_fixture_close(&f->base);
    block_io_release(&f->block);
    asd_fixture_release(&f->base);
    free(f);
    return 0;
}

/* ---- requests of either front ---- */

struct put {
    struct asd_store_apply apply;
    struct asd_apply what;
    struct asd_update update;
    uv_thread_t thread;
    bool done;
    int rc;
};

static void on_put(struct asd_store_op *op, int rc)
{
    struct put *p = container_of(op, struct put, apply.op);

    assert_false(p->done);
    p->thread = uv_thread_self();
    p->rc = rc;
    p->done = true;
}

static int submit(struct asd_front *front, struct put *p, const char *key, size_t bytes)
{
    *p = (struct put){.update = {.key = slice_str(key), .value = slice_of(large, bytes)}};
    p->what = (struct asd_apply){.updates = &p->update, .update_count = 1};
    return asd_store_apply(front, &p->apply, &p->what, ASD_PRIO_HIGH, on_put);
}

/* Both loops in turn, in this thread. */
static void turn(struct fixture *f)
{
    uv_run(&f->base.base.loop, UV_RUN_NOWAIT);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void wait_for(struct fixture *f, const bool *done)
{
    uint64_t end_ns = uv_hrtime() + UINT64_C(1000000) * LOOP_FIXTURE_WAIT_MS;

    while (!*done && uv_hrtime() < end_ns) {
        turn(f);
    }
    assert_true(*done);
}

static void what_one_writes_the_other_reads(void **state)
{
    struct fixture *f = *state;
    struct put p;

    assert_int_equal(submit(f->front, &p, "k", LARGE), 0);
    assert_false(p.done); /* never from inside the call */
    wait_for(f, &p.done);
    assert_int_equal(p.rc, 0);
    assert_true(asd_fixture_has(&f->base, "k", large, LARGE));
}

static void callbacks_run_on_the_loop_of_their_own_front(void **state)
{
    struct fixture *f = *state;
    struct put p;

    assert_int_equal(submit(f->front, &p, "k", 10), 0);
    uv_run(&f->loop, UV_RUN_NOWAIT); /* it is on its way */
    loop_fixture_run_ms(&f->base.base, 20);
    assert_false(p.done);
    wait_for(f, &p.done);
    assert_int_equal(p.rc, 0);
}

/* While a commit is held up, applies of both loops come; then they go as one batch. */
static void applies_of_several_loops_share_a_batch(void **state)
{
    enum { N = 40 };
    struct fixture *f = *state;
    struct put *puts = mem_array(N, sizeof(*puts));
    struct put first;
    char keys[N][16];
    uint64_t batches;

    block_io_shut(&f->block);
    assert_int_equal(submit(f->base.front, &first, "first", LARGE), 0);
    turn(f);
    block_io_wait(&f->block);
    for (unsigned i = 0; i < N; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%u", i);
        assert_int_equal(submit(i % 2 == 0 ? f->front : f->base.front, &puts[i], keys[i],
                                i % 4 == 0 ? LARGE : 9),
                         0);
        turn(f);
    }
    batches = asd_store_stats(f->base.store).batches;
    block_io_open(&f->block);
    for (unsigned i = 0; i < N; i++) {
        wait_for(f, &puts[i].done);
        assert_int_equal(puts[i].rc, 0);
        assert_true(asd_fixture_has(&f->base, keys[i], large, i % 4 == 0 ? LARGE : 9));
    }
    assert_int_equal(asd_store_stats(f->base.store).batches, batches + 2);
    free(puts);
}

static void the_bound_of_applies_is_one_for_all(void **state)
{
    struct fixture *f = *state;
    struct put *puts = mem_array(ASD_STORE_APPLIES_MAX, sizeof(*puts));
    struct put more;

    for (unsigned i = 0; i < ASD_STORE_APPLIES_MAX; i++) {
        assert_int_equal(submit(i % 2 == 0 ? f->front : f->base.front, &puts[i], "k", 1), 0);
    }
    assert_int_equal(submit(f->front, &more, "k", 1), ERR_BUSY);
    assert_int_equal(submit(f->base.front, &more, "k", 1), ERR_BUSY);
    for (unsigned i = 0; i < ASD_STORE_APPLIES_MAX; i++) {
        wait_for(f, &puts[i].done);
        assert_int_equal(puts[i].rc, 0);
    }
    assert_int_equal(submit(f->front, &more, "k", 1), 0);
    wait_for(f, &more.done);
    free(puts);
}

static void a_full_store_is_full_for_all(void **state)
{
    struct fixture *f = *state;
    struct put p;

    asd_store_set_full(f->base.store, true);
    assert_int_equal(submit(f->front, &p, "k", 1), 0);
    wait_for(f, &p.done);
    assert_int_equal(p.rc, ERR_FULL);
    asd_store_set_full(f->base.store, false);
    asd_store_set_limits(f->base.store, LARGE, 100);
    assert_int_equal(submit(f->front, &p, "k", LARGE), 0);
    wait_for(f, &p.done);
    assert_int_equal(p.rc, ERR_FULL);
}

static void a_failure_is_one_of_all(void **state)
{
    struct fixture *f = *state;
    struct put first, waits, late, own;

    assert_int_equal(asd_fixture_set(&f->base, "before", large, LARGE), 0);
    block_io_shut(&f->block);
    assert_int_equal(submit(f->base.front, &first, "first", LARGE), 0);
    turn(f);
    block_io_wait(&f->block);
    assert_int_equal(submit(f->front, &waits, "waits", 1), 0);
    turn(f); /* in the queue */
    assert_int_equal(submit(f->front, &late, "late", 1), 0);
    crash_disk_fail_at(f->base.disk, crash_disk_io_count(f->base.disk) + 1, -EIO);
    block_io_open(&f->block);
    loop_fixture_run_until(&f->base.base, &first.done);
    assert_int_equal(first.rc, ERR_FAILED);
    assert_true(asd_store_failed(f->base.store, NULL));
    assert_int_equal(submit(f->front, &own, "own", 1), ERR_FAILED);
    wait_for(f, &waits.done);
    wait_for(f, &late.done);
    assert_int_equal(waits.rc, ERR_FAILED);
    assert_int_equal(late.rc, ERR_FAILED);
    turn(f);
    assert_int_equal(f->failed_told, 1);
    assert_true(asd_fixture_has(&f->base, "before", large, LARGE));
}

static void a_front_that_closes_cancels_its_own_applies_only(void **state)
{
    struct fixture *f = *state;
    struct put first, queued, fresh, other;

    block_io_shut(&f->block);
    assert_int_equal(submit(f->base.front, &first, "first", LARGE), 0);
    turn(f);
    block_io_wait(&f->block);
    assert_int_equal(submit(f->front, &queued, "queued", 1), 0);
    assert_int_equal(submit(f->base.front, &other, "other", 1), 0);
    turn(f);
    assert_int_equal(submit(f->front, &fresh, "fresh", 1), 0);
    close_front(f); /* does not wait for a commit that is not its own */
    assert_int_equal(queued.rc, ERR_CANCELED);
    assert_int_equal(fresh.rc, ERR_CANCELED);
    block_io_open(&f->block);
    loop_fixture_run_until(&f->base.base, &other.done);
    assert_int_equal(first.rc, 0);
    assert_int_equal(other.rc, 0);
    assert_false(asd_fixture_has(&f->base, "queued", large, 1));
}

static void a_front_that_closes_waits_for_its_running_apply(void **state)
{
    struct fixture *f = *state;
    struct put p;

    block_io_shut(&f->block);
    assert_int_equal(submit(f->front, &p, "k", LARGE), 0);
    turn(f);
    block_io_wait(&f->block);
    asd_front_close(f->front, loop_set_true, &f->closed);
    for (unsigned i = 0; i < 100; i++) {
        turn(f);
    }
    assert_false(f->closed);
    block_io_open(&f->block);
    wait_for(f, &f->closed);
    f->front = NULL;
    assert_int_equal(p.rc, 0);
    assert_true(asd_fixture_has(&f->base, "k", large, LARGE));
}

/* ---- many threads ---- */

enum { THREADS = 4, ROUNDS = 200, AT_ONCE = 8 };

struct writer {
    struct asd_store *store;
    uv_loop_t loop;
    struct asd_front *front;
    uv_thread_t thread;
    unsigned number;
    bool ok;
};

static void writer_get(struct writer *w, const char *key, size_t bytes);

static void writer_main(void *arg)
{
    struct writer *w = arg;
    struct put puts[AT_ONCE];
    char keys[AT_ONCE][32];
    bool closed = false;

    w->ok = true;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t bytes = round % 16 == 0 ? 20000 : 100;

        for (unsigned i = 0; i < AT_ONCE; i++) {
            snprintf(keys[i], sizeof(keys[i]), "%u/%u", w->number, i);
            w->ok = w->ok && submit(w->front, &puts[i], keys[i], bytes + round) == 0;
        }
        for (unsigned i = 0; i < AT_ONCE; i++) {
            uv_thread_t self = uv_thread_self();

            loop_run_until(&w->loop, &puts[i].done);
            w->ok = w->ok && puts[i].rc == 0 && uv_thread_equal(&puts[i].thread, &self);
            writer_get(w, keys[i], bytes + round);
        }
    }
    asd_front_close(w->front, loop_set_true, &closed);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    w->ok = w->ok && closed && uv_loop_close(&w->loop) == 0;
}

struct get {
    struct asd_store_get get;
    bool done;
    int rc;
};

static void on_get(struct asd_store_op *op, int rc)
{
    struct get *g = container_of(op, struct get, get.op);

    g->rc = rc;
    g->done = true;
}

static void writer_get(struct writer *w, const char *key, size_t bytes)
{
    struct slice k = slice_str(key);
    struct get g = {0};

    w->ok = w->ok && asd_store_get(w->front, &g.get, &k, 1, NULL, on_get) == 0;
    if (w->ok) {
        loop_run_until(&w->loop, &g.done);
    }
    w->ok = w->ok && g.rc == 0 && g.get.values[0].rc == 0 &&
            slice_eq(slice_of(g.get.values[0].data, g.get.values[0].bytes), slice_of(large, bytes));
    asd_store_get_release(&g.get);
}

static void threads_write_and_read_and_commit_together(void **state)
{
    struct fixture *f = *state;
    struct writer writers[THREADS] = {0};
    struct asd_store_stats stats;
    struct err e;

    for (unsigned i = 0; i < THREADS; i++) {
        struct writer *w = &writers[i];

        w->store = f->base.store;
        w->number = i;
        assert_int_equal(uv_loop_init(&w->loop), 0);
        assert_int_equal(asd_front_open(w->store, &w->loop, READ_THREADS, &w->front, &e), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(uv_thread_create(&writers[i].thread, writer_main, &writers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        uv_thread_join(&writers[i].thread);
        assert_true(writers[i].ok);
    }
    stats = asd_store_stats(f->base.store);
    assert_int_equal(stats.applies, THREADS * ROUNDS * AT_ONCE);
    assert_true(stats.batches <= THREADS * ROUNDS); /* those of one turn go together */
    printf("%llu applies in %llu batches\n", (unsigned long long)stats.applies,
           (unsigned long long)stats.batches);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_one_writes_the_other_reads),
        TEST(callbacks_run_on_the_loop_of_their_own_front),
        TEST(applies_of_several_loops_share_a_batch),
        TEST(the_bound_of_applies_is_one_for_all),
        TEST(a_full_store_is_full_for_all),
        TEST(a_failure_is_one_of_all),
        TEST(a_front_that_closes_cancels_its_own_applies_only),
        TEST(a_front_that_closes_waits_for_its_running_apply),
        TEST(threads_write_and_read_and_commit_together),
    };
    int rc;

    log_set_level(LOG_NONE);
    large = asd_fixture_bytes(1, LARGE);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(large);
    return rc;
}
