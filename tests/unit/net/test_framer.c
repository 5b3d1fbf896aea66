#include "net/framer.h"

#include <inttypes.h>

#include "base/bigmem.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/rnd.h"
#include "unit/net/raw.h"

enum { FRAME_MAX = 300000, BUFFER = 65536 };

struct taker {
    struct net_framer framer;
    struct rnd rnd;
    struct buf got; /* frames as they came, each with its length before it */
    unsigned frames;
    bool random_blocks;
    uint32_t tail;
    unsigned placed; /* frames that align_at told a place of */
};

static int on_raw(void *ctx, const uint8_t *data, size_t bytes)
{
    (void)ctx;
    if (memcmp(data, "hello", bytes < 5 ? bytes : 5) != 0) {
        return ERR_PROTOCOL;
    }
    return bytes >= 5 ? 5 : 0;
}

static int frame_tail(void *ctx, const uint8_t *frame, uint32_t bytes, uint32_t *ret_more)
{
    struct taker *t = ctx;

    (void)frame;
    *ret_more = bytes % 3 == 0 ? t->tail : 0;
    return 0;
}

/* Told by two of the frame's bytes, of which the first tells where the second is. */
static uint32_t place_of(const uint8_t *frame)
{
    return frame[0] == 0 ? 0 : 1 + frame[0] + (uint32_t)frame[1 + frame[0]];
}

static uint32_t align_at(void *ctx, const uint8_t *head, size_t bytes)
{
    (void)ctx;
    if (bytes == 0 || (head[0] != 0 && bytes < 2 + (size_t)head[0])) {
        return NET_FRAMER_UNTOLD;
    }
    return place_of(head);
}

static void on_frame(void *ctx, uint8_t *frame, uint32_t bytes)
{
    struct taker *t = ctx;

    assert_false(t->framer.blocked);
    t->frames++;
    buf_put_u32le(&t->got, bytes);
    buf_put(&t->got, frame, bytes);
    if (t->framer.frame_lead != 0) {
        assert_int_equal(((uintptr_t)frame + place_of(frame)) % NET_FRAMER_ALIGN_BYTES, 0);
        t->placed++;
    }
    bigmem_free(frame - t->framer.frame_lead);
    if (t->random_blocks && rnd_below(&t->rnd, 3) == 0) {
        t->framer.blocked = true;
    }
}

static const struct net_framer_ops ops = {
    .on_raw = on_raw, .frame_tail = frame_tail, .on_frame = on_frame};
static const struct net_framer_ops placing_ops = {
    .on_raw = on_raw, .align_at = align_at, .on_frame = on_frame};

/* Feed it in pieces of random size, through whatever buffer it asks for. */
static int feed(struct taker *t, const struct buf *in)
{
    uint8_t buffer[NET_FRAMER_RAW_BYTES_MAX + BUFFER];
    size_t at = 0;
    int rc = 0;

    while (at < in->len && rc == 0) {
        size_t room = BUFFER, part;
        uint8_t *to;

        if (t->framer.blocked) {
            t->framer.blocked = false;
            if (rnd_below(&t->rnd, 2)) { /* else more comes before it is resumed */
                rc = net_framer_resume(&t->framer);
                continue;
            }
        }
        to = net_framer_buffer(&t->framer, &room);
        part = 1 + rnd_below(&t->rnd, rnd_below(&t->rnd, 2) ? room : room < 9 ? room : 9);
        part = part < in->len - at ? part : in->len - at;
        memcpy(to != NULL ? to : buffer + NET_FRAMER_RAW_BYTES_MAX, in->data + at, part);
        rc = to != NULL ? net_framer_filled(&t->framer, part)
                        : net_framer_feed(&t->framer, buffer + NET_FRAMER_RAW_BYTES_MAX, part);
        at += part;
    }
    while (rc == 0 && t->framer.blocked) {
        t->framer.blocked = false;
        rc = net_framer_resume(&t->framer);
    }
    return rc;
}

static uint32_t frame_size(struct rnd *rnd)
{
    switch (rnd_below(rnd, 4)) {
    case 0:
        return (uint32_t)rnd_below(rnd, 3);
    case 1:
        return (uint32_t)rnd_below(rnd, FRAME_MAX - 2000);
    default:
        return (uint32_t)rnd_below(rnd, 5000);
    }
}

static void frames_survive_any_cutting_and_pausing(void **state)
{
    uint64_t seed = clock_mono_ns();
    unsigned placed = 0;

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    for (unsigned round = 0; round < 60; round++) {
        struct taker t = {.rnd = rnd_seed(seed + round), .random_blocks = round % 2 != 0};
        struct buf in = {0}, want = {0};
        unsigned frames = (unsigned)rnd_below(&t.rnd, 60);

        t.tail = round % 6 == 0 ? (uint32_t)rnd_below(&t.rnd, 2000) : 0;
        buf_put(&in, "hello", 5);
        for (unsigned i = 0; i < frames; i++) {
            uint32_t bytes = frame_size(&t.rnd);
            uint32_t tail = bytes % 3 == 0 ? t.tail : 0;

            buf_put_u32le(&in, bytes);
            buf_put_u32le(&want, bytes + tail);
            for (uint32_t j = 0; j < bytes + tail; j++) {
                uint8_t byte = (uint8_t)rnd_next(&t.rnd);

                buf_put_u8(&in, byte);
                buf_put_u8(&want, byte);
            }
        }
        net_framer_init(&t.framer, round % 3 != 0 ? &placing_ops : &ops, &t, FRAME_MAX, true);
        assert_true(net_framer_is_partial(&t.framer));
        assert_int_equal(feed(&t, &in), 0);
        assert_int_equal(t.frames, frames);
        assert_false(net_framer_is_partial(&t.framer));
        assert_int_equal(t.got.len, want.len);
        if (want.len != 0) {
            assert_memory_equal(t.got.data, want.data, want.len);
        }
        placed += t.placed;
        net_framer_release(&t.framer);
        buf_release(&in);
        buf_release(&want);
        buf_release(&t.got);
    }
    assert_true(placed > 0);
}

static int feed_bytes(struct taker *t, const void *data, size_t bytes)
{
    uint8_t buffer[NET_FRAMER_RAW_BYTES_MAX + BUFFER];

    memcpy(buffer + NET_FRAMER_RAW_BYTES_MAX, data, bytes);
    return net_framer_feed(&t->framer, buffer + NET_FRAMER_RAW_BYTES_MAX, bytes);
}

static uint32_t never_told(void *ctx, const uint8_t *head, size_t bytes)
{
    (void)ctx;
    (void)head;
    (void)bytes;
    return NET_FRAMER_UNTOLD;
}

static void a_frame_whose_place_is_never_told_is_read_all_the_same(void **state)
{
    const struct net_framer_ops untold_ops = {.align_at = never_told, .on_frame = on_frame};
    struct taker t = {.rnd = rnd_seed(1)};
    struct buf in = {0};

    (void)state;
    net_framer_init(&t.framer, &untold_ops, &t, FRAME_MAX, false);
    buf_put_u32le(&in, NET_FRAMER_DIRECT_BYTES_MIN);
    for (unsigned i = 0; i < NET_FRAMER_DIRECT_BYTES_MIN; i++) {
        buf_put_u8(&in, (uint8_t)i);
    }
    for (unsigned i = 0; i < NET_FRAMER_RAW_BYTES_MAX - 1; i++) {
        assert_int_equal(feed_bytes(&t, in.data + i, 1), 0);
        assert_null(t.framer.frame);
        assert_true(net_framer_is_partial(&t.framer));
    }
    assert_int_equal(feed_bytes(&t, in.data + NET_FRAMER_RAW_BYTES_MAX - 1, 1), 0);
    assert_non_null(t.framer.frame);
    assert_int_equal(
        feed_bytes(&t, in.data + NET_FRAMER_RAW_BYTES_MAX, in.len - NET_FRAMER_RAW_BYTES_MAX), 0);
    assert_int_equal(t.frames, 1);
    assert_memory_equal(t.got.data, in.data, in.len);
    net_framer_release(&t.framer);
    buf_release(&t.got);
    buf_release(&in);
}

static void a_length_over_the_limit_is_refused_before_memory_is_taken(void **state)
{
    struct taker t = {0};

    (void)state;
    net_framer_init(&t.framer, &ops, &t, 1000, false);
    assert_int_equal(feed_bytes(&t, "\xe9\x03\x00\x00", 4), ERR_TOO_LARGE);
    assert_null(t.framer.frame);
    net_framer_release(&t.framer);

    net_framer_init(&t.framer, &ops, &t, 1000, false);
    assert_int_equal(feed_bytes(&t, "\xff\xff\xff\xff", 4), ERR_TOO_LARGE);
    assert_null(t.framer.frame);
    net_framer_release(&t.framer);
}

static void a_tail_over_the_limit_is_refused(void **state)
{
    struct taker t = {.tail = 998};

    (void)state;
    net_framer_init(&t.framer, &ops, &t, 1000, false);
    assert_int_equal(feed_bytes(&t,
                                "\x03\x00\x00\x00"
                                "abc",
                                7),
                     ERR_TOO_LARGE);
    assert_int_equal(t.frames, 0);
    net_framer_release(&t.framer);
}

static void a_preamble_that_never_ends_is_refused(void **state)
{
    struct taker t = {0};
    struct net_framer_ops endless = ops;
    char junk[NET_FRAMER_RAW_BYTES_MAX] = "hell";
    int rc = 0;

    (void)state;
    net_framer_init(&t.framer, &endless, &t, 1000, true);
    assert_int_equal(feed_bytes(&t, "x", 1), ERR_PROTOCOL);
    net_framer_release(&t.framer);

    endless.on_raw = on_raw;
    net_framer_init(&t.framer, &endless, &t, 1000, true);
    for (unsigned i = 0; i < 4 && rc == 0; i++) {
        rc = feed_bytes(&t, junk + i, 1);
    }
    assert_int_equal(rc, 0);
    assert_true(net_framer_is_partial(&t.framer));
    net_framer_release(&t.framer);
}

/* ---- windows ---- */

struct windowed {
    struct taker taker; /* first */
    unsigned windows;
    uint32_t asked; /* of the frame under way */
    bool refuse;
};

static void on_window(void *ctx, uint32_t frame_bytes, uint32_t window)
{
    struct windowed *w = ctx;

    assert_int_equal(w->taker.framer.frame_have, w->asked);
    assert_true(window > 0 && window <= NET_FRAMER_WINDOW_BYTES);
    assert_true(w->asked + window <= frame_bytes);
    w->windows++;
    w->asked += window;
    w->taker.framer.blocked = w->refuse;
}

static const struct net_framer_ops window_ops = {.on_window = on_window, .on_frame = on_frame};

/* Fed in pieces, never beyond what was asked for, and blocked at each window. */
static void a_large_frame_is_read_in_windows(void **state)
{
    struct windowed w = {.refuse = true, .taker.rnd = rnd_seed(clock_mono_ns())};
    uint32_t bytes = 3 * NET_FRAMER_WINDOW_BYTES + 12345;
    struct buf in = {0};

    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        buf_put_u32le(&in, bytes);
        for (uint32_t at = 0; at < bytes; at += 4) {
            buf_put_u32le(&in, at * 7 + i);
        }
        in.len = (size_t)(i + 1) * (4 + bytes);
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct buf one = {.data = in.data + (size_t)i * (4 + bytes), .len = 4 + bytes};

        w.asked = 0;
        if (i == 0) {
            net_framer_init(&w.taker.framer, &window_ops, &w, 4 * NET_FRAMER_WINDOW_BYTES, false);
        }
        assert_int_equal(feed(&w.taker, &one), 0);
        assert_int_equal(w.windows, 4 * (i + 1));
        assert_int_equal(w.asked, bytes);
    }
    assert_int_equal(w.taker.frames, 2);
    assert_int_equal(w.taker.got.len, in.len);
    assert_memory_equal(w.taker.got.data, in.data, in.len);
    net_framer_release(&w.taker.framer);
    buf_release(&w.taker.got);
    buf_release(&in);
}

static void a_skipped_frame_is_thrown_away_and_the_next_one_read(void **state)
{
    struct windowed w = {.taker.rnd = rnd_seed(clock_mono_ns())};
    uint32_t bytes = NET_FRAMER_WINDOW_BYTES + 5000;
    struct buf begin = {0}, rest = {0};

    (void)state;
    net_framer_init(&w.taker.framer, &window_ops, &w, 4 * NET_FRAMER_WINDOW_BYTES, false);
    buf_put_u32le(&begin, bytes);
    while (begin.len < 20004) {
        buf_put(&begin, "1234", 4);
    }
    while (rest.len < bytes - 20000) {
        buf_put(&rest, "5678", 4);
    }
    rest.len = bytes - 20000;
    buf_put(&rest, "\3\0\0\0abc", 7);
    assert_int_equal(feed(&w.taker, &begin), 0);
    net_framer_skip(&w.taker.framer);
    assert_true(net_framer_is_partial(&w.taker.framer));
    assert_int_equal(feed(&w.taker, &rest), 0);
    assert_false(net_framer_is_partial(&w.taker.framer));
    assert_int_equal(w.taker.frames, 1);
    assert_memory_equal(w.taker.got.data, "\3\0\0\0abc", 7);
    net_framer_release(&w.taker.framer);
    buf_release(&w.taker.got);
    buf_release(&begin);
    buf_release(&rest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_survive_any_cutting_and_pausing),
        cmocka_unit_test(a_frame_whose_place_is_never_told_is_read_all_the_same),
        cmocka_unit_test(a_length_over_the_limit_is_refused_before_memory_is_taken),
        cmocka_unit_test(a_tail_over_the_limit_is_refused),
        cmocka_unit_test(a_preamble_that_never_ends_is_refused),
        cmocka_unit_test(a_large_frame_is_read_in_windows),
        cmocka_unit_test(a_skipped_frame_is_thrown_away_and_the_next_one_read),
    };

    return cmocka_run_group_tests_name("net/framer", tests, NULL, NULL);
}
