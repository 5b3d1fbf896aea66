#include "loop/run.h"

#include "base/check.h"

struct wait {
    uv_prepare_t prepare; /* runs between timers and the wait for events */
    loop_condition condition;
    void *ctx;
    bool closed;
};

static void on_prepare(uv_prepare_t *prepare)
{
    struct wait *w = container_of(prepare, struct wait, prepare);

    if (w->condition(w->ctx)) {
        uv_stop(prepare->loop); /* this turn does not wait */
    }
}

static void on_closed(uv_handle_t *handle)
{
    container_of((uv_prepare_t *)handle, struct wait, prepare)->closed = true;
}

void loop_run_until_true(uv_loop_t *loop, loop_condition condition, void *ctx)
{
    struct wait w = {.condition = condition, .ctx = ctx};

    CHECK(uv_prepare_init(loop, &w.prepare) == 0);
    CHECK(uv_prepare_start(&w.prepare, on_prepare) == 0);
    while (!condition(ctx)) {
        uv_run(loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&w.prepare, on_closed);
    while (!w.closed) {
        uv_run(loop, UV_RUN_NOWAIT);
    }
}

static bool is_set(void *ctx)
{
    return *(const bool *)ctx;
}

void loop_run_until(uv_loop_t *loop, const bool *done)
{
    loop_run_until_true(loop, is_set, (void *)(uintptr_t)done);
}

void loop_set_true(void *done)
{
    *(bool *)done = true;
}
