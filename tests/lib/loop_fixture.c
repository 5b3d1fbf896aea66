#include "lib/loop_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void on_timer(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
    uv_stop(timer->loop); /* it may have run before the poll, which must not block then */
}

/* Nor where a timer has brought what is waited for. */
static void on_prepare(uv_prepare_t *prepare)
{
    if (*(const bool *)prepare->data) {
        uv_stop(prepare->loop);
    }
}

static void start_timer(struct loop_fixture *f, uint64_t ms, bool *late)
{
    *late = false;
    f->timer.data = late;
    uv_update_time(&f->loop); /* a test may have blocked since the last turn: opened a store, say */
    assert_int_equal(uv_timer_start(&f->timer, on_timer, ms, 0), 0);
}

void loop_fixture_init(struct loop_fixture *f)
{
    signal(SIGPIPE, SIG_IGN); /* as every daemon does; peers close when they like */
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(uv_timer_init(&f->loop, &f->timer), 0);
    assert_int_equal(uv_prepare_init(&f->loop, &f->prepare), 0);
}

void loop_fixture_run_until(struct loop_fixture *f, const bool *flag)
{
    bool late;

    start_timer(f, LOOP_FIXTURE_WAIT_MS, &late);
    f->prepare.data = (void *)(uintptr_t)flag;
    assert_int_equal(uv_prepare_start(&f->prepare, on_prepare), 0);
    while (!*flag && !late) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_prepare_stop(&f->prepare);
    uv_timer_stop(&f->timer);
    if (!*flag) {
        fail_msg("nothing happened for %d ms", LOOP_FIXTURE_WAIT_MS);
    }
}

void loop_fixture_run_ms(struct loop_fixture *f, uint64_t ms)
{
    bool late;

    start_timer(f, ms, &late);
    while (!late) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

void loop_fixture_drain(struct loop_fixture *f)
{
    bool late;

    start_timer(f, LOOP_FIXTURE_WAIT_MS, &late);
    uv_unref((uv_handle_t *)&f->timer);
    while (uv_loop_alive(&f->loop) && !late) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    uv_ref((uv_handle_t *)&f->timer);
    uv_timer_stop(&f->timer);
    if (late) {
        uv_print_all_handles(&f->loop, stderr);
        fail_msg("the loop is still busy after %d ms", LOOP_FIXTURE_WAIT_MS);
    }
}

void loop_fixture_release(struct loop_fixture *f)
{
    int rc;

    loop_fixture_drain(f);
    uv_close((uv_handle_t *)&f->timer, NULL);
    uv_close((uv_handle_t *)&f->prepare, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&f->loop);
    if (rc != 0) {
        uv_print_all_handles(&f->loop, stderr);
    }
    assert_int_equal(rc, 0);
}
