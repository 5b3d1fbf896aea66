/* The framer: whatever the bytes and wherever they are split, blocked and resumed, it calls back
 * as one that gets all of them at once would have to, told by a second reading of the stream.
 *
 * Input: flags, seed of the splits, number of program bytes, those, and then plain bytes. The
 * program makes frames that are longer than an input may be. */
#include <string.h>

#include "base/bigmem.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/rnd.h"
#include "net/framer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

enum {
    FRAME_MAX = 100000,
    STREAM_MAX = 400000,
    BUFFER = 65536,

    FLAG_RAW = 1,
    FLAG_TAIL = 2,
    FLAG_WINDOW = 4,
    FLAG_BLOCK = 8,
    FLAG_SKIP = 16, /* not with FLAG_TAIL: a frame thrown away is not asked for its tail */
};

struct taker {
    struct net_framer framer;
    struct rnd rnd;
    uint8_t flags;
    struct buf got; /* length and CRC of each frame */
    uint64_t skipped[STREAM_MAX / 4096];
    unsigned skipped_count;
};

/* ---- what the owner answers, and the model asks, too ---- */

/* The preamble: its first byte says how long it is; 0xff is refused. */
static int raw_rule(const uint8_t *data, size_t bytes)
{
    size_t want = 1 + (size_t)data[0] * 2;

    if (data[0] == 0xff) {
        return ERR_PROTOCOL;
    }
    return bytes >= want ? (int)want : 0;
}

static int tail_rule(const uint8_t *frame, uint32_t bytes, uint32_t *ret_more)
{
    *ret_more = bytes == 0 || frame[0] % 4 != 0 ? 0 : frame[0] * 100u;
    return bytes != 0 && frame[0] == 0xfd ? ERR_PROTOCOL : 0;
}

static int on_raw(void *ctx, const uint8_t *data, size_t bytes)
{
    (void)ctx;
    return raw_rule(data, bytes);
}

static int frame_tail(void *ctx, const uint8_t *frame, uint32_t bytes, uint32_t *ret_more)
{
    (void)ctx;
    return tail_rule(frame, bytes, ret_more);
}

static void note(struct buf *got, const uint8_t *frame, uint32_t bytes)
{
    buf_put_u32le(got, bytes);
    buf_put_u32le(got, crc32c(0, frame, bytes));
}

static void maybe_block(struct taker *t)
{
    if ((t->flags & FLAG_BLOCK) != 0 && rnd_below(&t->rnd, 3) == 0) {
        t->framer.blocked = true;
    }
}

static void on_window(void *ctx, uint32_t frame_bytes, uint32_t window)
{
    CHECK(window != 0 && window <= frame_bytes && frame_bytes >= NET_FRAMER_DIRECT_BYTES_MIN);
    maybe_block(ctx);
}

static void on_frame(void *ctx, uint8_t *frame, uint32_t bytes)
{
    struct taker *t = ctx;

    CHECK(!t->framer.blocked);
    note(&t->got, frame, bytes);
    bigmem_free(frame);
    maybe_block(t);
}

/* ---- the model ---- */

static int model_frames(const struct buf *in, size_t at, const struct taker *t, struct buf *ret_got)
{
    unsigned skips = 0;

    for (uint64_t index = (t->flags & FLAG_RAW) != 0; in->len - at >= 4; index++) {
        uint32_t bytes = get_u32le(in->data + at);
        uint32_t more = 0;
        int rc = 0;

        at += 4;
        if (bytes > FRAME_MAX) {
            return ERR_TOO_LARGE;
        }
        if (skips < t->skipped_count && t->skipped[skips] == index - skips) {
            skips++;
            at += bytes < in->len - at ? bytes : in->len - at;
            continue;
        }
        if (in->len - at < bytes) {
            break;
        }
        if ((t->flags & FLAG_TAIL) != 0) {
            rc = tail_rule(in->data + at, bytes, &more);
        }
        if (rc != 0) {
            return rc;
        }
        if (more > FRAME_MAX - bytes) {
            return ERR_TOO_LARGE;
        }
        if (in->len - at - bytes < more) {
            break;
        }
        note(ret_got, in->data + at, bytes + more);
        at += bytes + more;
    }
    return 0;
}

static int model(const struct buf *in, const struct taker *t, struct buf *ret_got)
{
    size_t at = 0;
    int taken;

    if ((t->flags & FLAG_RAW) != 0) {
        taken = in->len == 0 ? 0 : raw_rule(in->data, in->len);
        if (taken <= 0) {
            return taken;
        }
        at = (size_t)taken;
    }
    return model_frames(in, at, t, ret_got);
}

/* ---- the run ---- */

static void maybe_skip(struct taker *t)
{
    bool may = (t->flags & FLAG_SKIP) != 0 && (t->flags & FLAG_TAIL) == 0;

    if (may && t->framer.frame != NULL && t->framer.skip_bytes == 0 &&
        t->skipped_count < sizeof(t->skipped) / sizeof(t->skipped[0]) &&
        rnd_below(&t->rnd, 4) == 0) {
        t->skipped[t->skipped_count++] = t->framer.whole_count;
        net_framer_skip(&t->framer);
    }
}

static int feed(struct taker *t, const struct buf *in)
{
    static uint8_t buffer[NET_FRAMER_RAW_BYTES_MAX + BUFFER];
    size_t at = 0;
    int rc = 0;

    while (rc == 0 && (at < in->len || t->framer.blocked)) {
        size_t room = BUFFER;
        size_t part;
        uint8_t *to;

        if (t->framer.blocked) {
            maybe_skip(t);
            t->framer.blocked = false;
            if (at == in->len || rnd_below(&t->rnd, 2) != 0) { /* else more comes before that */
                rc = net_framer_resume(&t->framer);
                continue;
            }
        }
        to = net_framer_buffer(&t->framer, &room);
        part = 1 + rnd_below(&t->rnd, rnd_below(&t->rnd, 3) != 0 ? room : room < 9 ? room : 9);
        part = part < in->len - at ? part : in->len - at;
        memcpy(to != NULL ? to : buffer + NET_FRAMER_RAW_BYTES_MAX, in->data + at, part);
        at += part;
        rc = to != NULL ? net_framer_filled(&t->framer, part)
                        : net_framer_feed(&t->framer, buffer + NET_FRAMER_RAW_BYTES_MAX, part);
        if (rc == 0 && !t->framer.blocked) {
            maybe_skip(t);
        }
    }
    return rc == 0 ? net_framer_resume(&t->framer) : rc;
}

/* No two places of a stream are alike; made once, as byte by byte is slow here. */
static const uint8_t *pattern(void)
{
    static uint8_t bytes[FRAME_MAX + 256];

    for (uint32_t k = 0; bytes[1] == 0 && k < sizeof(bytes); k++) {
        bytes[sizeof(bytes) - 1 - k] = (uint8_t)((k * 2654435761u) >> 13 | 1);
    }
    return bytes;
}

/* Each program byte makes a frame. */
static void make_stream(const uint8_t *program, size_t program_bytes, const uint8_t *plain,
                        size_t plain_bytes, struct buf *ret_in)
{
    for (size_t i = 0; i < program_bytes && ret_in->len < STREAM_MAX / 2; i++) {
        uint32_t bytes = program[i] < 128   ? program[i]
                         : program[i] < 240 ? (program[i] - 127u) * 400u
                                            : (program[i] - 239u) * 6200u;

        buf_put_u32le(ret_in, bytes);
        buf_put(ret_in, pattern() + program[i], bytes);
    }
    buf_put(ret_in, plain, plain_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct net_framer_ops with_all = {
        .on_raw = on_raw, .on_window = on_window, .frame_tail = frame_tail, .on_frame = on_frame};
    struct net_framer_ops ops = with_all;
    struct taker t = {0};
    struct buf in = {0};
    struct buf wanted = {0};
    size_t program_bytes;
    int rc;

    if (bytes < 3 || bytes > STREAM_MAX / 2) {
        return 0;
    }
    t.flags = data[0];
    t.rnd = rnd_seed(data[1]);
    program_bytes = data[2] % 16 < bytes - 3 ? data[2] % 16 : bytes - 3;
    if ((t.flags & FLAG_RAW) != 0) { /* a preamble that may be whole before the program's frames */
        uint8_t length = data[1] % 8 == 0 ? 0xff : data[1] / 8;

        buf_put_u8(&in, length);
        memset(buf_extend(&in, length * 2u), 'p', length * 2u);
    }
    make_stream(data + 3, program_bytes, data + 3 + program_bytes, bytes - 3 - program_bytes, &in);
    ops.on_window = (t.flags & FLAG_WINDOW) != 0 ? on_window : NULL;
    ops.frame_tail = (t.flags & FLAG_TAIL) != 0 ? frame_tail : NULL;
    net_framer_init(&t.framer, &ops, &t, FRAME_MAX, (t.flags & FLAG_RAW) != 0);
    rc = feed(&t, &in);
    CHECK(rc == model(&in, &t, &wanted));
    CHECK(slice_eq(slice_buf(&t.got), slice_buf(&wanted)));
    net_framer_release(&t.framer);
    buf_release(&t.got);
    buf_release(&wanted);
    buf_release(&in);
    return 0;
}
