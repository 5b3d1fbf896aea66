#include "net/outq.h"

#include <inttypes.h>

#include "base/err.h"
#include "base/rnd.h"
#include "unit/net/raw.h"

enum { MESSAGES = 40, PARTS_MAX = 5, PART_BYTES_MAX = 300 };

struct message {
    struct net_out out;
    struct iovec iov[PARTS_MAX];
    uint8_t *bytes; /* head and parts, as they must appear */
    size_t len;
    int rc;
    unsigned done;
    bool gone; /* abandoned and not to appear */
};

static void on_done(struct net_out *out, int rc)
{
    struct message *m = (struct message *)(void *)out;

    m->rc = rc;
    m->done++;
}

static void message_make(struct message *m, struct rnd *rnd)
{
    memset(m, 0, sizeof *m);
    m->bytes = malloc(NET_OUT_HEAD_BYTES_MAX + PARTS_MAX * PART_BYTES_MAX);
    m->out.done = on_done;
    m->out.head_bytes = (uint8_t)rnd_below(rnd, NET_OUT_HEAD_BYTES_MAX + 1);
    for (size_t i = 0; i < m->out.head_bytes; i++) {
        m->out.head[i] = m->bytes[m->len++] = (uint8_t)rnd_next(rnd);
    }
    m->out.iov = m->iov;
    m->out.iov_count = rnd_below(rnd, PARTS_MAX + 1);
    if (m->out.head_bytes == 0 && m->out.iov_count == 0) {
        m->out.iov_count = 1;
    }
    for (size_t i = 0; i < m->out.iov_count; i++) {
        m->iov[i].iov_len = 1 + rnd_below(rnd, PART_BYTES_MAX);
        m->iov[i].iov_base = m->bytes + m->len;
        for (size_t j = 0; j < m->iov[i].iov_len; j++) {
            m->bytes[m->len++] = (uint8_t)rnd_next(rnd);
        }
    }
}

static size_t send_some(struct net_outq *q, struct rnd *rnd, uint8_t *to)
{
    struct iovec iov[7];
    size_t bytes, part, have = 0;
    unsigned n;

    if (rnd_below(rnd, 4) == 0) {
        return net_outq_take(q, to, 1 + rnd_below(rnd, 500));
    }
    n = net_outq_peek(q, iov, 1 + (unsigned)rnd_below(rnd, 7), &bytes);
    part = bytes != 0 ? 1 + rnd_below(rnd, bytes) : 0;
    for (unsigned i = 0; i < n && have < part; i++) {
        size_t piece = iov[i].iov_len < part - have ? iov[i].iov_len : part - have;

        memcpy(to + have, iov[i].iov_base, piece);
        have += piece;
    }
    net_outq_consume(q, part);
    return part;
}

/* Whatever the sizes of the writes, and with messages abandoned before and while they are
 * sent, the bytes come out in order, whole messages only, and done runs once for the rest. */
static void random_writes_and_withdrawals_keep_the_stream_whole(void **state)
{
    uint64_t seed = clock_mono_ns();

    (void)state;
    print_message("seed %" PRIu64 "\n", seed);
    for (unsigned round = 0; round < 200; round++) {
        struct rnd rnd = rnd_seed(seed + round);
        struct message messages[MESSAGES];
        uint8_t *got = malloc(MESSAGES * (NET_OUT_HEAD_BYTES_MAX + PARTS_MAX * PART_BYTES_MAX));
        size_t got_bytes = 0, at = 0;
        struct net_outq q;

        net_outq_init(&q);
        for (unsigned i = 0; i < MESSAGES; i++) {
            message_make(&messages[i], &rnd);
            net_outq_push(&q, &messages[i].out);
        }
        while (!net_outq_empty(&q)) {
            struct message *victim = &messages[rnd_below(&rnd, MESSAGES)];

            got_bytes += send_some(&q, &rnd, got + got_bytes);
            if (rnd_below(&rnd, 5) == 0 && !net_out_is_sent(&victim->out) && !victim->gone &&
                victim->done == 0) {
                bool begun = victim->out.sent != 0;

                assert_int_equal(net_outq_abandon(&q, &victim->out), begun);
                victim->done = 100;
                victim->gone = !begun;
                for (size_t i = 0; begun && i < victim->out.iov_count; i++) {
                    victim->iov[i].iov_base = NULL; /* the queue must not need it */
                }
            }
        }
        assert_int_equal(q.bytes, 0);
        for (unsigned i = 0; i < MESSAGES; i++) {
            struct message *m = &messages[i];

            assert_true(m->done == 100 || (m->done == 1 && m->rc == 0));
            if (!m->gone) {
                assert_true(at + m->len <= got_bytes);
                assert_memory_equal(got + at, m->bytes, m->len);
                at += m->len;
            }
            free(m->bytes);
        }
        assert_int_equal(at, got_bytes);
        free(got);
    }
}

static void cancel_answers_what_is_left_once(void **state)
{
    struct rnd rnd = rnd_seed(1);
    struct message m[3];
    uint8_t to[8];
    struct net_outq q;

    (void)state;
    net_outq_init(&q);
    for (unsigned i = 0; i < 3; i++) {
        message_make(&m[i], &rnd);
        net_outq_push(&q, &m[i].out);
    }
    assert_int_equal(net_outq_take(&q, to, 1), 1);
    net_outq_cancel(&q);
    assert_int_equal(q.bytes, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(m[i].done, 1);
        assert_int_equal(m[i].rc, ERR_CANCELED);
        free(m[i].bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_writes_and_withdrawals_keep_the_stream_whole),
        cmocka_unit_test(cancel_answers_what_is_left_once),
    };

    return cmocka_run_group_tests_name("net/outq", tests, NULL, NULL);
}
