#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "proxy/budget.h"

struct fixture {
    uv_loop_t loop;
    struct later later;
    struct budget budget;
};

struct share {
    struct budget_share share;
    bool granted;
};

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){0};
    uv_loop_init(&f.loop);
    later_init(&f.later, &f.loop);
    budget_init(&f.budget, 100, &f.later);
    *state = &f;
    return 0;
}

static void on_closed(void *ctx)
{
    (void)ctx;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->budget.used_bytes, 0);
    assert_int_equal(f->budget.waiting_count, 0);
    later_close(&f->later, on_closed, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    return 0;
}

static void on_share(struct budget_share *share)
{
    container_of(share, struct share, share)->granted = true;
}

static void take(struct fixture *f, struct share *s, size_t bytes)
{
    budget_take(&f->budget, &s->share, bytes, on_share);
}

static void run(struct fixture *f)
{
    uv_run(&f->loop, UV_RUN_NOWAIT);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void who_does_not_fit_waits_and_is_not_overtaken(void **state)
{
    struct fixture *f = *state;
    struct share a = {0}, b = {0}, c = {0};

    take(f, &a, 60);
    assert_false(a.granted); /* never from inside the call */
    take(f, &b, 60);
    take(f, &c, 10);
    run(f);
    assert_true(a.granted);
    assert_false(b.granted);
    assert_false(c.granted); /* it would fit, but b was first */
    budget_give(&a.share);
    run(f);
    assert_true(b.granted);
    assert_true(c.granted);
    assert_int_equal(f->budget.used_bytes, 70);
    budget_give(&b.share);
    budget_give(&c.share);
}

static void more_than_everything_runs_alone(void **state)
{
    struct fixture *f = *state;
    struct share a = {0}, b = {0}, c = {0};

    take(f, &a, 10);
    take(f, &b, 1000);
    take(f, &c, 10);
    run(f);
    assert_true(a.granted);
    assert_false(b.granted);
    budget_give(&a.share);
    run(f);
    assert_true(b.granted);
    assert_false(c.granted);
    budget_give(&b.share);
    run(f);
    assert_true(c.granted);
    budget_give(&c.share);
}

static void who_gives_up_waiting_is_not_called_and_makes_room(void **state)
{
    struct fixture *f = *state;
    struct share a = {0}, b = {0}, c = {0}, none = {0};

    take(f, &a, 100);
    take(f, &b, 100);
    take(f, &c, 50);
    run(f);
    budget_give(&b.share); /* while it waits */
    budget_give(&a.share);
    budget_give(&c.share); /* granted, but not told yet */
    run(f);
    assert_false(b.granted);
    assert_false(c.granted);
    budget_give(&none.share);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_does_not_fit_waits_and_is_not_overtaken, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(more_than_everything_runs_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(who_gives_up_waiting_is_not_called_and_makes_room, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
