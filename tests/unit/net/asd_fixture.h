/* The ASD client under test, its user, and its ASD: the test plays both ends. */
#ifndef TESTS_NET_ASD_FIXTURE_H
#define TESTS_NET_ASD_FIXTURE_H

#include "net/asd_client.h"

#include <stdio.h>

#include "base/check.h"
#include "base/mem.h"
#include "unit/net/raw.h"
#include "wire/asd_msg.h"
#include "wire/asd_reply.h"
#include "wire/asd_request.h"

enum { CALLS = 8, BIG = 16 << 20 };

struct answer {
    struct asd_call call;
    struct gather request;
    struct buf payload; /* copied from the reply */
    int rc;
    unsigned count;
};

/* The test plays the ASD: `listener` and, once accepted, `peer`. */
struct fixture {
    uv_loop_t loop;
    struct asd_client *client;
    struct asd_client_options options;
    int listener;
    int peer;
    uint16_t port;
    struct answer answers[CALLS];
    uint8_t *big;
    bool closed;
};

static inline int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);

    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&f->loop);
    f->listener = raw_listen(&f->port);
    f->peer = -1;
    f->options = (struct asd_client_options){.addr = raw_addr(f->port), .connect_timeout_ms = 300};
    f->client = asd_client_new(&f->loop, &f->options);
    f->big = mem_alloc(BIG);
    memset(f->big, 'z', BIG);
    *state = f;
    return 0;
}

static inline void on_client_closed(void *ctx)
{
    ((struct fixture *)ctx)->closed = true;
}

static inline void close_client(struct fixture *f)
{
    asd_client_close(f->client, on_client_closed, f);
    f->client = NULL;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->client != NULL) {
        close_client(f);
    }
    raw_loop_close(&f->loop);
    assert_true(f->closed);
    for (unsigned i = 0; i < CALLS; i++) {
        assert_true(f->answers[i].count <= 1);
        gather_release(&f->answers[i].request);
        buf_release(&f->answers[i].payload);
        buf_release(&f->answers[i].call.failed_key);
    }
    close(f->listener);
    if (f->peer >= 0) {
        close(f->peer);
    }
    free(f->big);
    free(f);
    return 0;
}

/* ---- the test as a user ---- */

static inline void on_call(struct asd_call *call, int rc)
{
    struct answer *a = container_of(call, struct answer, call);

    a->rc = rc;
    a->count++;
    if (rc == 0) {
        buf_put(&a->payload, call->reply.pos, rd_left(&call->reply));
    }
}

static inline void submit(struct fixture *f, unsigned i, unsigned timeout_ms)
{
    struct answer *a = &f->answers[i];

    assert_int_equal(asd_client_call(f->client, &a->call, &a->request, timeout_ms, on_call), 0);
    assert_int_equal(a->count, 0);
}

static inline void call_version(struct fixture *f, unsigned i, unsigned timeout_ms)
{
    struct asd_request request = {.code = ASD_GET_VERSION};

    asd_request_encode(&request, &f->answers[i].request);
    submit(f, i, timeout_ms);
}

/* More than the socket buffers hold, so that it stays partly sent. */
static inline void call_big(struct fixture *f, unsigned i, unsigned timeout_ms)
{
    struct asd_update update = {.key = slice_str("k"), .value = slice_of(f->big, BIG)};
    struct asd_request request = {.code = ASD_APPLY,
                                  .apply = {.updates = &update, .update_count = 1}};

    asd_request_encode(&request, &f->answers[i].request);
    submit(f, i, timeout_ms);
}

static inline void wait_for(struct fixture *f, unsigned i)
{
    RAW_UNTIL(&f->loop, f->answers[i].count == 1);
}

/* ---- the test as an ASD ---- */

static inline unsigned accept_preamble(struct fixture *f)
{
    uint8_t bytes[9];

    f->peer = raw_accept(&f->loop, f->listener);
    assert_int_equal(raw_recv(&f->loop, f->peer, bytes, 9), 9);
    assert_memory_equal(bytes, "aLbA", 4);
    if (bytes[8] == 1) {
        uint8_t id[260];

        assert_int_equal(raw_recv(&f->loop, f->peer, id, 4), 4);
        raw_recv(&f->loop, f->peer, id + 4, get_u32le(id));
    }
    return get_u32le(bytes + 4);
}

static inline void hello(struct fixture *f, const char *id)
{
    struct buf b = {0};

    asd_hello_put(&b, slice_str(id));
    raw_send(&f->loop, f->peer, b.data, b.len);
    buf_release(&b);
}

static inline void accept_v2(struct fixture *f)
{
    assert_int_equal(accept_preamble(f), 2);
    hello(f, "asd_1");
}

/* Refuse version 2 as an old server does, then take version 1. */
static inline void accept_v1(struct fixture *f)
{
    struct buf b = {0};

    assert_int_equal(accept_preamble(f), 2);
    asd_hello_put_refusal(&b, "protocol version 2 not supported");
    raw_send(&f->loop, f->peer, b.data, b.len);
    close(f->peer);
    buf_release(&b);
    assert_int_equal(accept_preamble(f), 1);
    hello(f, "asd_1");
}

static inline uint32_t read_frame(struct fixture *f, uint8_t *ret_data, size_t bytes_max)
{
    uint8_t head[4];

    assert_int_equal(raw_recv(&f->loop, f->peer, head, 4), 4);
    assert_true(get_u32le(head) <= bytes_max);
    assert_int_equal(raw_recv(&f->loop, f->peer, ret_data, get_u32le(head)), get_u32le(head));
    return get_u32le(head);
}

/* Returns the request id of a GetVersion. */
static inline uint32_t read_version_request(struct fixture *f)
{
    uint8_t frame[64];

    assert_int_equal(read_frame(f, frame, sizeof frame), 8);
    assert_int_equal(get_u32le(frame + 4), ASD_GET_VERSION);
    return get_u32le(frame);
}

static inline void answer(struct fixture *f, uint32_t id, const char *payload)
{
    uint8_t head[12];

    put_u32le(head, (uint32_t)strlen(payload) + 8);
    put_u32le(head + 4, id);
    put_u32le(head + 8, 0);
    raw_send(&f->loop, f->peer, head, 12);
    raw_send(&f->loop, f->peer, payload, strlen(payload));
}

static inline void answer_v1(struct fixture *f, const void *payload, uint32_t bytes)
{
    uint8_t head[8];

    put_u32le(head, bytes + 4);
    put_u32le(head + 4, 0);
    raw_send(&f->loop, f->peer, head, 8);
    raw_send(&f->loop, f->peer, payload, bytes);
}

static inline void assert_payload(const struct fixture *f, unsigned i, const char *text)
{
    assert_int_equal(f->answers[i].rc, 0);
    assert_int_equal(f->answers[i].payload.len, strlen(text));
    assert_memory_equal(f->answers[i].payload.data, text, strlen(text));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
