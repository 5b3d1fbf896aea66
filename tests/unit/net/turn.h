/* Turning the loop under test by hand, with a limit on how long. For tests only. */
#ifndef TESTS_NET_TURN_H
#define TESTS_NET_TURN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdint.h>
#include <unistd.h>

#include <uv.h>

#include "base/clock.h"

enum { RAW_WAIT_MS = 5000 };

/* Turn the loop once; sleep a little when it has nothing to do. */
static inline void raw_turn(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_NOWAIT);
    usleep(200);
}

/* Turn the loop until `cond` holds; fails the test after RAW_WAIT_MS. */
#define RAW_UNTIL(loop, cond)                                                                      \
    do {                                                                                           \
        uint64_t raw_end_ms = clock_mono_ms() + RAW_WAIT_MS;                                       \
        while (!(cond)) {                                                                          \
            assert_true(clock_mono_ms() < raw_end_ms);                                             \
            raw_turn(loop);                                                                        \
        }                                                                                          \
    } while (0)

static inline void raw_turn_for(uv_loop_t *loop, unsigned ms)
{
    uint64_t end_ms = clock_mono_ms() + ms;

    while (clock_mono_ms() < end_ms) {
        raw_turn(loop);
    }
}

/* No handle is left. */
static inline void raw_loop_close(uv_loop_t *loop)
{
    uv_run(loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(loop), 0);
}

#endif
