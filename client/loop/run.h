/* Running a loop until something is done, for start-up, shutdown and tools.
 *
 * A plain `while (!done) uv_run(loop, UV_RUN_ONCE)` can hang: UV_RUN_ONCE runs due timers
 * first and then waits for an event, though the timer was what everybody waited for. The
 * thread of the loop. */
#ifndef LOOP_RUN_H
#define LOOP_RUN_H

#include <stdbool.h>

#include <uv.h>

/* Callbacks of the loop run until one of them has set *done. */
void loop_run_until(uv_loop_t *loop, const bool *done);

/* The same with a condition, asked before each wait. */
typedef bool (*loop_condition)(void *ctx);
void loop_run_until_true(uv_loop_t *loop, loop_condition condition, void *ctx);

/* A callback that says no more than that something is done: sets *(bool *)done. */
void loop_set_true(void *done);

#endif
