#include "volumedriver/turn.h"

#include "base/check.h"

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* keeps the loop from blocking before the check */
}

static void on_check(uv_check_t *check)
{
    struct turn *turn = container_of(check, struct turn, check);
    struct list calls, *link;

    uv_idle_stop(&turn->idle);
    uv_check_stop(&turn->check);
    list_init(&calls);
    list_splice(&calls, &turn->calls);
    while ((link = list_pop(&calls)) != NULL) {
        struct turn_call *call = container_of(link, struct turn_call, link);

        call->cb(call);
    }
}

void turn_init(struct turn *turn, uv_loop_t *loop)
{
    list_init(&turn->calls);
    CHECK(uv_check_init(loop, &turn->check) == 0);
    CHECK(uv_idle_init(loop, &turn->idle) == 0);
}

void turn_add(struct turn *turn, struct turn_call *call, turn_cb cb)
{
    call->cb = cb;
    if (list_empty(&turn->calls)) {
        uv_idle_start(&turn->idle, on_idle);
        uv_check_start(&turn->check, on_check);
    }
    list_push(&turn->calls, &call->link);
}

static void on_closed(uv_handle_t *handle)
{
    struct turn *turn = handle->data;

    if (--turn->open == 0) {
        turn->close_cb(turn->close_ctx);
    }
}

void turn_close(struct turn *turn, void (*cb)(void *ctx), void *ctx)
{
    CHECK(list_empty(&turn->calls));
    turn->close_cb = cb;
    turn->close_ctx = ctx;
    turn->open = 2;
    turn->check.data = turn->idle.data = turn;
    uv_close((uv_handle_t *)&turn->check, on_closed);
    uv_close((uv_handle_t *)&turn->idle, on_closed);
}
