#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/check.h"
#include "loop/later.h"

struct fixture {
    uv_loop_t loop;
    struct later later;
    char ran[16]; /* names of the calls that ran, in that order */
    bool closed;
};

struct call {
    struct later_item item;
    struct fixture *f;
    char name;
    unsigned again; /* times that it queues itself anew */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    later_init(&f->later, &f->loop);
    *state = f;
    return 0;
}

static void on_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    later_close(&f->later, on_closed, f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void note(struct fixture *f, char name)
{
    size_t count = strlen(f->ran);

    assert_true(count + 1 < sizeof(f->ran));
    f->ran[count] = name;
}

static void on_call(struct later_item *item)
{
    struct call *call = container_of(item, struct call, item);

    note(call->f, call->name);
    if (call->again != 0) {
        call->again--;
        later_run(&call->f->later, item, on_call);
    }
}

static void calls_run_from_the_loop_in_the_order_they_were_asked_for(void **state)
{
    struct fixture *f = *state;
    struct call a = {.f = f, .name = 'a'}, b = {.f = f, .name = 'b'};

    later_run(&f->later, &a.item, on_call);
    later_run(&f->later, &b.item, on_call);
    assert_string_equal(f->ran, "");
    uv_run(&f->loop, UV_RUN_DEFAULT); /* ends, as nothing is queued any more */
    assert_string_equal(f->ran, "ab");
}

static void on_timer(uv_timer_t *timer)
{
    note(timer->data, 't');
    uv_close((uv_handle_t *)timer, NULL);
}

/* A chain of calls is not stretched over as many turns as it has links. */
static void what_a_call_queues_runs_in_the_same_turn(void **state)
{
    struct fixture *f = *state;
    struct call a = {.f = f, .name = 'a', .again = 3}, b = {.f = f, .name = 'b'};

    later_run(&f->later, &a.item, on_call);
    later_run(&f->later, &b.item, on_call);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_string_equal(f->ran, "abaaa");
}

/* Who always queues anew keeps neither timers nor sockets from their turn. */
static void an_endless_chain_of_calls_lets_others_have_their_turn(void **state)
{
    struct fixture *f = *state;
    struct call a = {.f = f, .name = 'a', .again = 10};
    uv_timer_t timer = {.data = f};

    assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
    later_run(&f->later, &a.item, on_call);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    assert_int_equal(uv_timer_start(&timer, on_timer, 0, 0), 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(strlen(f->ran), 12);
    assert_non_null(strchr(f->ran, 't'));
    assert_int_equal(f->ran[11], 'a'); /* the timer came before the last of them */
}

static void on_free(struct later_item *item)
{
    struct call *call = container_of(item, struct call, item);

    note(call->f, call->name);
    free(call);
}

static void a_call_may_free_its_item(void **state)
{
    struct fixture *f = *state;
    struct call *a = calloc(1, sizeof(*a));

    assert_non_null(a);
    *a = (struct call){.f = f, .name = 'a'};
    later_run(&f->later, &a->item, on_free);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_string_equal(f->ran, "a");
}

static void on_cancel_other(struct later_item *item)
{
    struct call *call = container_of(item, struct call, item);

    note(call->f, call->name);
    later_cancel(&(call + 1)->item);
}

static void a_canceled_call_does_not_run_even_when_its_turn_has_begun(void **state)
{
    struct fixture *f = *state;
    struct call calls[3] = {{.f = f, .name = 'a'}, {.f = f, .name = 'b'}, {.f = f, .name = 'c'}};

    later_run(&f->later, &calls[0].item, on_cancel_other);
    later_run(&f->later, &calls[1].item, on_call);
    later_run(&f->later, &calls[2].item, on_call);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_string_equal(f->ran, "ac");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_run_from_the_loop_in_the_order_they_were_asked_for,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_call_queues_runs_in_the_same_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(an_endless_chain_of_calls_lets_others_have_their_turn,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_call_may_free_its_item, setup, teardown),
        cmocka_unit_test_setup_teardown(a_canceled_call_does_not_run_even_when_its_turn_has_begun,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
