/* An event loop of a test's own.
 *
 *   struct fixture { struct loop_fixture base; ... };
 *   setup:    loop_fixture_init(&f->base);
 *   test:     loop_fixture_run_until(&f->base, &f->done);
 *   teardown: close what was opened, then loop_fixture_release(&f->base). */
#ifndef TESTS_LIB_LOOP_FIXTURE_H
#define TESTS_LIB_LOOP_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

struct loop_fixture {
    uv_loop_t loop;
    uv_timer_t timer; /* private from here on */
    uv_prepare_t prepare;
};

enum { LOOP_FIXTURE_WAIT_MS = 10000 };

void loop_fixture_init(struct loop_fixture *f);

/* Run the loop until *flag (set by a callback) is true; false, and a failed test, when it
 * is not within LOOP_FIXTURE_WAIT_MS. */
void loop_fixture_run_until(struct loop_fixture *f, const bool *flag);
/* Run it for so long, whatever happens. */
void loop_fixture_run_ms(struct loop_fixture *f, uint64_t ms);
/* Run it until no handle or request keeps it; fails the test after LOOP_FIXTURE_WAIT_MS. */
void loop_fixture_drain(struct loop_fixture *f);

/* Drain; then uv_loop_close() has to find nothing open, or the test fails and the handles
 * are printed. */
void loop_fixture_release(struct loop_fixture *f);

#endif
