#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/check.h"
#include "base/err.h"
#include "base/mem.h"
#include "lib/loop_fixture.h"
#include "loop/pool.h"

enum { ITEMS_MAX = 64 };

struct fixture {
    struct loop_fixture base;
    struct pool *pool;
    pthread_t loop_thread;
    bool closed;
    unsigned done_count;
    bool all_done; /* done_count has reached done_expected */
    unsigned done_expected;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    bool gate_open; /* run_at_gate waits for it */
    unsigned at_gate;
    int order[ITEMS_MAX]; /* ids of the items as they ran */
    unsigned order_count;
};

struct item {
    struct pool_work work;
    struct fixture *f;
    int id;
    bool ran;
    int rc;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    loop_fixture_init(&f->base);
    f->loop_thread = pthread_self();
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    *state = f;
    return 0;
}

static void on_close(void *ctx)
{
    struct fixture *f = ctx;

    assert_false(f->closed);
    f->closed = true;
    f->pool = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->pool != NULL && !f->closed) {
        pool_close(f->pool, on_close, f);
        loop_fixture_run_until(&f->base, &f->closed);
    }
    loop_fixture_release(&f->base);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
    free(f);
    return 0;
}

static void open_pool(struct fixture *f, unsigned threads, unsigned queue_max)
{
    assert_int_equal(pool_new(&f->base.loop, "test", threads, queue_max, &f->pool), 0);
}

static void run_record(struct pool_work *work)
{
    struct item *item = container_of(work, struct item, work);

    pthread_mutex_lock(&item->f->lock);
    item->ran = true;
    item->f->order[item->f->order_count++] = item->id;
    pthread_mutex_unlock(&item->f->lock);
}

static void run_at_gate(struct pool_work *work)
{
    struct item *item = container_of(work, struct item, work);
    struct fixture *f = item->f;

    pthread_mutex_lock(&f->lock);
    item->ran = true;
    f->at_gate++;
    pthread_cond_broadcast(&f->changed);
    while (!f->gate_open) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

static void on_done(struct pool_work *work, int rc)
{
    struct item *item = container_of(work, struct item, work);

    assert_true(pthread_equal(pthread_self(), item->f->loop_thread));
    assert_false(item->f->closed);
    item->rc = rc;
    item->f->all_done = ++item->f->done_count == item->f->done_expected;
}

static int submit(struct fixture *f, struct item *item, int id, enum pool_priority priority,
                  pool_run_cb run)
{
    *item = (struct item){.f = f, .id = id, .rc = 1};
    return pool_submit(f->pool, &item->work, priority, run, on_done);
}

static void wait_at_gate(struct fixture *f, unsigned count)
{
    pthread_mutex_lock(&f->lock);
    while (f->at_gate != count) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
}

static void open_gate(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->gate_open = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void wait_done(struct fixture *f, unsigned count)
{
    f->done_expected = count;
    f->all_done = f->done_count == count;
    loop_fixture_run_until(&f->base, &f->all_done);
}

static void work_runs_in_order_and_ends_on_the_loop(void **state)
{
    struct fixture *f = *state;
    struct item items[20];

    open_pool(f, 1, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(submit(f, &items[i], i, POOL_HIGH, run_record), 0);
    }
    assert_int_equal(pool_load(f->pool), 20);
    assert_int_equal(f->done_count, 0); /* never from inside the submit */
    wait_done(f, 20);
    assert_int_equal(pool_load(f->pool), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(items[i].rc, 0);
        assert_int_equal(f->order[i], i);
    }
}

/* With 40 High and 3 Low waiting: one Low after each 16 High, the rest behind them. */
static void one_low_item_is_taken_after_a_burst_of_high_ones(void **state)
{
    struct fixture *f = *state;
    struct item gate, items[43];

    open_pool(f, 1, 64);
    assert_int_equal(submit(f, &gate, -1, POOL_HIGH, run_at_gate), 0);
    wait_at_gate(f, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(submit(f, &items[i], 100 + i, POOL_LOW, run_record), 0);
    }
    for (int i = 0; i < 40; i++) {
        assert_int_equal(submit(f, &items[3 + i], i, POOL_HIGH, run_record), 0);
    }
    open_gate(f);
    wait_done(f, 44);
    for (int i = 0, high = 0; i < 43; i++) {
        int expected = i == 16 ? 100 : i == 33 ? 101 : i == 42 ? 102 : high++;

        assert_int_equal(f->order[i], expected);
    }
}

static void low_items_leave_a_thread_to_high_ones(void **state)
{
    struct fixture *f = *state;
    struct item low[5], high;

    open_pool(f, 3, 64);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(submit(f, &low[i], i, POOL_LOW, run_at_gate), 0);
    }
    wait_at_gate(f, 2);
    assert_int_equal(submit(f, &high, 9, POOL_HIGH, run_record), 0);
    wait_done(f, 1); /* while two Low ones stand at the gate and three wait */
    assert_true(high.ran);
    pthread_mutex_lock(&f->lock);
    assert_int_equal(f->at_gate, 2);
    pthread_mutex_unlock(&f->lock);
    open_gate(f);
    wait_done(f, 6);
}

static void low_items_hold_no_more_threads_than_they_may(void **state)
{
    struct fixture *f = *state;
    struct item low[5], high[3], more[POOL_HIGH_BURST + 1];

    open_pool(f, 6, 64);
    pool_limit_low(f->pool, 2);
    pool_limit_low(f->pool, 100); /* never more */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(submit(f, &low[i], i, POOL_LOW, run_at_gate), 0);
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(submit(f, &high[i], 10 + i, POOL_HIGH, run_at_gate), 0);
    }
    wait_at_gate(f, 5);
    for (int i = 0; i <= POOL_HIGH_BURST; i++) { /* a Low one would come between, and stay */
        assert_int_equal(submit(f, &more[i], 20 + i, POOL_HIGH, run_record), 0);
        wait_done(f, (unsigned)i + 1);
    }
    wait_at_gate(f, 5);
    open_gate(f);
    wait_done(f, 8 + POOL_HIGH_BURST + 1);
}

static void threads_work_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct item items[4];

    open_pool(f, 4, 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(submit(f, &items[i], i, POOL_HIGH, run_at_gate), 0);
    }
    wait_at_gate(f, 4);
    open_gate(f);
    wait_done(f, 4);
}

static void a_full_queue_is_busy_until_something_is_done(void **state)
{
    struct fixture *f = *state;
    struct item items[3];

    open_pool(f, 1, 2);
    assert_int_equal(submit(f, &items[0], 0, POOL_HIGH, run_at_gate), 0);
    assert_int_equal(submit(f, &items[1], 1, POOL_LOW, run_at_gate), 0);
    assert_int_equal(submit(f, &items[2], 2, POOL_HIGH, run_record), ERR_BUSY);
    open_gate(f);
    wait_done(f, 2);
    assert_int_equal(submit(f, &items[2], 2, POOL_HIGH, run_record), 0);
    wait_done(f, 3);
    assert_int_equal(f->order_count, 1);
}

static void close_cancels_what_waits_and_finishes_what_runs(void **state)
{
    struct fixture *f = *state;
    struct item running, waiting[3];

    open_pool(f, 1, 8);
    assert_int_equal(submit(f, &running, 0, POOL_HIGH, run_at_gate), 0);
    wait_at_gate(f, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(submit(f, &waiting[i], i, i == 1 ? POOL_LOW : POOL_HIGH, run_record), 0);
    }
    pool_close(f->pool, on_close, f);
    assert_int_equal(f->done_count, 0);
    wait_done(f, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(waiting[i].rc, ERR_CANCELED);
        assert_false(waiting[i].ran);
    }
    assert_false(f->closed);
    open_gate(f);
    loop_fixture_run_until(&f->base, &f->closed);
    assert_int_equal(f->done_count, 4);
    assert_int_equal(running.rc, 0);
}

static void one_that_waits_can_be_canceled_and_one_that_runs_cannot(void **state)
{
    struct fixture *f = *state;
    struct item items[3];

    open_pool(f, 1, 10);
    for (int i = 0; i < 3; i++) {
        items[i] = (struct item){.f = f, .id = i};
        assert_int_equal(pool_submit(f->pool, &items[i].work, i == 1 ? POOL_LOW : POOL_HIGH,
                                     i == 0 ? run_at_gate : run_record, on_done),
                         0);
    }
    wait_at_gate(f, 1);
    assert_false(pool_cancel(f->pool, &items[0].work));
    assert_true(pool_cancel(f->pool, &items[1].work));
    assert_false(pool_cancel(f->pool, &items[1].work)); /* its done is on the way */
    assert_int_equal(f->done_count, 0);
    wait_done(f, 1);
    assert_int_equal(items[1].rc, ERR_CANCELED);
    open_gate(f);
    wait_done(f, 3);
    assert_false(items[1].ran);
    assert_true(items[0].rc == 0 && items[2].rc == 0 && items[2].ran);
}

static void an_idle_pool_closes_and_does_not_keep_the_loop(void **state)
{
    struct fixture *f = *state;
    struct item item;

    open_pool(f, 2, 8);
    assert_int_equal(submit(f, &item, 0, POOL_HIGH, run_record), 0);
    loop_fixture_drain(&f->base); /* ends when the item is done, though the pool is open */
    assert_int_equal(f->done_count, 1);
    pool_close(f->pool, on_close, f);
    assert_false(f->closed);
    loop_fixture_run_until(&f->base, &f->closed);
}

struct chain {
    struct pool_work work;
    struct fixture *f;
    int left;
    bool ended;
};

static void run_nothing(struct pool_work *work)
{
    (void)work;
}

static void on_link_done(struct pool_work *work, int rc)
{
    struct chain *chain = container_of(work, struct chain, work);

    assert_int_equal(rc, 0);
    if (--chain->left != 0) {
        assert_int_equal(pool_submit(chain->f->pool, work, POOL_HIGH, run_nothing, on_link_done),
                         0);
    } else {
        chain->ended = true;
        pool_close(chain->f->pool, on_close, chain->f);
    }
}

static void done_may_submit_again_and_close(void **state)
{
    struct fixture *f = *state;
    struct chain chain = {.f = f, .left = 1000};

    open_pool(f, 2, 1);
    assert_int_equal(pool_submit(f->pool, &chain.work, POOL_LOW, run_nothing, on_link_done), 0);
    loop_fixture_run_until(&f->base, &f->closed);
    assert_true(chain.ended);
}

static void run_read_name(struct pool_work *work)
{
    struct item *item = container_of(work, struct item, work);
    sigset_t blocked;
    char name[16];

    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    item->ran = strcmp(name, "a-rather-long-n") == 0 && sigismember(&blocked, SIGTERM) == 1;
}

static void workers_bear_the_name_and_leave_signals_to_the_loop(void **state)
{
    struct fixture *f = *state;
    struct item item;

    assert_int_equal(pool_new(&f->base.loop, "a-rather-long-name", 1, 1, &f->pool), 0);
    assert_int_equal(submit(f, &item, 0, POOL_HIGH, run_read_name), 0);
    wait_done(f, 1);
    assert_true(item.ran);
}

/* Many small items over many threads, for the sanitizers. */
static void nothing_is_lost_under_load(void **state)
{
    struct fixture *f = *state;
    static struct item items[20000];
    unsigned submitted = 0;

    open_pool(f, 4, 1000);
    while (submitted < 20000) {
        struct item *item = &items[submitted];
        enum pool_priority priority = submitted % 3 == 0 ? POOL_LOW : POOL_HIGH;

        if (submit(f, item, 0, priority, run_nothing) == 0) {
            submitted++;
        } else {
            uv_run(&f->base.loop, UV_RUN_ONCE);
        }
    }
    wait_done(f, 20000);
    for (unsigned i = 0; i < 20000; i++) {
        assert_int_equal(items[i].rc, 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(work_runs_in_order_and_ends_on_the_loop),
        TEST(one_low_item_is_taken_after_a_burst_of_high_ones),
        TEST(low_items_leave_a_thread_to_high_ones),
        TEST(low_items_hold_no_more_threads_than_they_may),
        TEST(threads_work_side_by_side),
        TEST(a_full_queue_is_busy_until_something_is_done),
        TEST(close_cancels_what_waits_and_finishes_what_runs),
        TEST(one_that_waits_can_be_canceled_and_one_that_runs_cannot),
        TEST(an_idle_pool_closes_and_does_not_keep_the_loop),
        TEST(done_may_submit_again_and_close),
        TEST(workers_bear_the_name_and_leave_signals_to_the_loop),
        TEST(nothing_is_lost_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
