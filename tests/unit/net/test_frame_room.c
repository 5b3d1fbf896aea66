#include "net/frame_room.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/rnd.h"

enum { LIMIT = 1000, FRAME_MAX = 3000, WINDOW = 10 };

struct frame {
    struct frame_share share;
    uint32_t bytes, have; /* `have` of them are read, or are to be */
    bool waits;
};

static void on_room(struct frame_share *share)
{
    struct frame *frame = container_of(share, struct frame, share);

    assert_true(frame->waits);
    frame->waits = false;
    frame->have += WINDOW;
}

/* False: it waits. */
static bool take(struct frame_room *room, struct frame *frame)
{
    if (frame_room_take(room, &frame->share, frame->bytes, WINDOW, on_room)) {
        frame->have += WINDOW;
        return true;
    }
    frame->waits = true;
    return false;
}

/* A whole one goes to a request first, which ends. */
static void give(struct frame_room *room, struct frame *frame)
{
    struct frame_share share = {0};

    if (frame->waits) {
        frame_room_give(room, &frame->share);
    } else {
        frame_share_move(room, &share, &frame->share);
        frame_room_give(room, &share);
    }
    *frame = (struct frame){0};
}

static void announcing_takes_no_room(void **state)
{
    struct frame_room room;
    struct frame silent[40], honest = {.bytes = 500};

    (void)state;
    frame_room_init(&room, LIMIT, FRAME_MAX);
    for (unsigned i = 0; i < 40; i++) {
        silent[i] = (struct frame){.bytes = FRAME_MAX};
        assert_true(take(&room, &silent[i]));
    }
    while (honest.have < honest.bytes) {
        assert_true(take(&room, &honest));
    }
    assert_int_equal(room.used_bytes, 40 * WINDOW + 500);
    give(&room, &honest);
    for (unsigned i = 0; i < 40; i++) {
        give(&room, &silent[i]);
    }
    assert_int_equal(room.used_bytes, 0);
}

static void a_giant_keeps_nobody_else_out(void **state)
{
    struct frame_room room;
    struct frame first = {.bytes = 2000}, second = {.bytes = 2000}, small = {.bytes = 400};

    (void)state;
    frame_room_init(&room, LIMIT, FRAME_MAX);
    assert_true(take(&room, &first) && take(&room, &first)); /* the rest is promised to it */
    assert_true(take(&room, &second));
    assert_false(take(&room, &second)); /* one at a time */
    while (small.have < small.bytes) {
        assert_true(take(&room, &small));
    }
    give(&room, &first);
    assert_false(second.waits);
    give(&room, &second);
    give(&room, &small);
    assert_int_equal(room.used_bytes, 0);
}

static void who_stops_waiting_lets_the_next_one_in(void **state)
{
    struct frame_room room;
    struct frame a = {.bytes = 500}, b = {.bytes = 400}, c = {.bytes = 300}, d = {.bytes = 100};

    (void)state;
    frame_room_init(&room, LIMIT, FRAME_MAX);
    while (a.have < a.bytes) {
        assert_true(take(&room, &a));
    }
    assert_true(take(&room, &b));
    assert_false(take(&room, &c));
    assert_false(take(&room, &d)); /* it would fit, and waits for its turn */
    assert_true(frame_room_is_wanted(&room));
    give(&room, &c);
    assert_false(d.waits || frame_room_is_wanted(&room));
    give(&room, &a);
    give(&room, &b);
    give(&room, &d);
    assert_int_equal(room.used_bytes, 0);
}

/* All begin at once and read a window in turn: nobody is stuck, and the bounds hold. */
static void frames_that_are_all_half_there_become_whole(void **state)
{
    enum { FRAMES = 50 };
    uint64_t seed = clock_mono_ns();
    struct rnd rnd = rnd_seed(seed);
    struct frame frames[FRAMES];
    struct frame_room room;
    unsigned left = FRAMES;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    frame_room_init(&room, LIMIT, FRAME_MAX);
    for (unsigned i = 0; i < FRAMES; i++) {
        uint32_t max = i % 5 == 0 ? FRAME_MAX : LIMIT / 2;

        frames[i] = (struct frame){.bytes = WINDOW * (1 + (uint32_t)rnd_below(&rnd, max / WINDOW))};
    }
    for (unsigned idle = 0; left > 0; idle++) {
        struct frame *frame = &frames[rnd_below(&rnd, FRAMES)];

        assert_true(idle < 100000);
        if (frame->bytes == 0 || frame->waits) {
            continue;
        }
        idle = 0;
        if (frame->have == frame->bytes) {
            give(&room, frame);
            left--;
        } else {
            (void)take(&room, frame);
        }
        assert_true(room.used_bytes <= LIMIT + FRAME_MAX);
        assert_true(room.giant != NULL || room.used_bytes <= LIMIT);
    }
    assert_int_equal(room.used_bytes + room.promised_bytes, 0);
    assert_false(frame_room_is_wanted(&room));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(announcing_takes_no_room),
        cmocka_unit_test(a_giant_keeps_nobody_else_out),
        cmocka_unit_test(who_stops_waiting_lets_the_next_one_in),
        cmocka_unit_test(frames_that_are_all_half_there_become_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
