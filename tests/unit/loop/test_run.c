#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "loop/run.h"

static bool done;

static void on_timer(uv_timer_t *timer)
{
    done = true;
    uv_close((uv_handle_t *)timer, NULL);
}

static void on_async(uv_async_t *async)
{
    (void)async;
}

/* A due timer sets the flag before the loop would wait for an event that never comes: an
 * open handle (here an async nobody wakes) must not make it wait. */
static void a_due_timer_ends_the_wait_though_other_handles_stay_silent(void **state)
{
    uv_loop_t loop;
    uv_timer_t timer;
    uv_async_t silent;

    (void)state;
    done = false;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_async_init(&loop, &silent, on_async), 0);
    assert_int_equal(uv_timer_init(&loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_timer, 0, 0), 0);
    loop_run_until(&loop, &done);
    assert_true(done);
    uv_close((uv_handle_t *)&silent, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void what_is_done_already_waits_for_nothing(void **state)
{
    uv_loop_t loop;

    (void)state;
    done = true;
    assert_int_equal(uv_loop_init(&loop), 0);
    loop_run_until(&loop, &done);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_due_timer_ends_the_wait_though_other_handles_stay_silent),
        cmocka_unit_test(what_is_done_already_waits_for_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
