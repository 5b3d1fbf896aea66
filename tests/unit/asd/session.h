/* One connection to an ASD's server as a client sees it, byte by byte. The server runs on the
 * loop of the test, which every call turns. */
#ifndef TESTS_UNIT_ASD_SESSION_H
#define TESTS_UNIT_ASD_SESSION_H

#include "base/crc32c.h"
#include "base/hex.h"
#include "base/mem.h"
#include "unit/net/raw.h"
#include "wire/asd_reply.h"
#include "wire/gather.h"

struct session {
    uv_loop_t *loop;
    int fd;
    unsigned version;
    uint32_t next_id;
};

static inline void expect_bytes(struct session *s, const void *data, size_t bytes)
{
    uint8_t *got = mem_alloc(bytes);

    assert_int_equal(raw_recv(s->loop, s->fd, got, bytes), bytes);
    assert_memory_equal(got, data, bytes);
    free(got);
}

static inline void send_hex(struct session *s, const char *hex)
{
    size_t bytes = strlen(hex) / 2;
    uint8_t *data = mem_alloc(bytes);

    assert_int_equal(hex_decode(data, bytes, hex), 0);
    raw_send(s->loop, s->fd, data, bytes);
    free(data);
}

static inline void expect_hex(struct session *s, const char *hex)
{
    size_t bytes = strlen(hex) / 2;
    uint8_t *data = mem_alloc(bytes);

    assert_int_equal(hex_decode(data, bytes, hex), 0);
    expect_bytes(s, data, bytes);
    free(data);
}

static inline struct session session_open(uv_loop_t *loop, uint16_t port, unsigned version)
{
    struct session s = {.loop = loop, .fd = raw_connect(port)};
    struct buf b = {0};

    s.version = version;
    asd_preamble_put(&b, version, "asd_1");
    raw_send(s.loop, s.fd, b.data, b.len);
    buf_release(&b);
    expect_hex(&s, "00000000"
                   "05000000"
                   "6173645f31");
    return s;
}

/* The command and its arguments. */
static inline struct buf body_of(const struct session *s, const struct asd_request *request)
{
    struct gather g = {0};
    struct buf body = {0};
    struct asd_v1_tail tail;

    asd_request_encode(request, &g);
    if (s->version == ASD_VERSION_1) {
        asd_v1_request(&g, &tail);
    }
    gather_flatten(&g, &body);
    gather_release(&g);
    return body;
}

static inline uint32_t send_body(struct session *s, struct slice body)
{
    struct buf b = {0};
    uint8_t head[ASD_HEAD_BYTES_MAX];
    uint32_t id = ++s->next_id;

    buf_put(&b, head, asd_request_head(head, s->version, id, body.len));
    buf_put(&b, body.data, body.len);
    raw_send(s->loop, s->fd, b.data, b.len);
    buf_release(&b);
    return id;
}

static inline uint32_t send_request(struct session *s, const struct asd_request *request)
{
    struct buf body = body_of(s, request);
    uint32_t id = send_body(s, slice_buf(&body));

    buf_release(&body);
    return id;
}

struct answer {
    uint32_t id;
    int32_t rc;
    struct rd payload;
    struct buf bytes;
};

static inline struct answer recv_answer(struct session *s)
{
    struct answer a = {0};
    uint8_t head[4];
    uint32_t bytes;

    assert_int_equal(raw_recv(s->loop, s->fd, head, 4), 4);
    bytes = get_u32le(head);
    assert_true(bytes <= ASD_FRAME_BYTES_MAX);
    assert_int_equal(raw_recv(s->loop, s->fd, buf_extend(&a.bytes, bytes), bytes), bytes);
    a.payload = rd_of(a.bytes.data, bytes);
    assert_int_equal(asd_reply_head(&a.payload, s->version, &a.id, &a.rc), 0);
    return a;
}

/* The answer to the only request there is, sent with `id`; the payload with what version 1 sends
 * behind the frame. */
static inline struct answer recv_whole_answer(struct session *s, uint32_t id,
                                              struct asd_request request)
{
    struct answer a = recv_answer(s);

    if (s->version == ASD_VERSION_2) {
        assert_int_equal(a.id, id);
    } else if (a.rc == 0) {
        struct asd_v1_tail tail = {.code = request.code};
        size_t at = (size_t)(a.payload.pos - a.bytes.data);
        uint32_t more = 0;

        for (uint32_t i = 0; request.code == ASD_PARTIAL_GET && i < request.partial.part_count;
             i++) {
            tail.part_bytes += request.partial.parts[i].bytes;
        }
        assert_int_equal(asd_v1_tail_bytes(&tail, a.payload, &more), 0);
        assert_int_equal(raw_recv(s->loop, s->fd, buf_extend(&a.bytes, more), more), more);
        a.payload = rd_of(a.bytes.data + at, a.bytes.len - at);
    }
    return a;
}

static inline struct answer ask(struct session *s, struct asd_request request)
{
    uint32_t id = send_request(s, &request);

    return recv_whole_answer(s, id, request);
}

static inline struct asd_reply decode(const struct answer *a, uint32_t code)
{
    struct asd_reply reply;
    struct err e = {0};

    assert_int_equal(a->rc, 0);
    assert_int_equal(asd_reply_decode(a->payload, code, &reply, &e), 0);
    return reply;
}

static inline void expect_rc(struct session *s, struct asd_request request, int32_t rc)
{
    struct answer a = ask(s, request);

    assert_int_equal(a.rc, rc);
    buf_release(&a.bytes);
}

static inline struct asd_request apply_of(struct asd_assert *a, struct asd_update *u)
{
    return (struct asd_request){
        .code = ASD_APPLY,
        .apply = {
            .asserts = a, .assert_count = a != NULL, .updates = u, .update_count = u != NULL}};
}

static inline struct asd_update set(const char *key, const void *data, size_t bytes)
{
    return (struct asd_update){.key = slice_str(key),
                               .value = slice_of(data, bytes),
                               .checksum = checksum_crc32c(crc32c(0, data, bytes))};
}

static inline void put(struct session *s, const char *key, const void *data, size_t bytes)
{
    struct asd_update u = set(key, data, bytes);

    expect_rc(s, apply_of(NULL, &u), 0);
}

#endif
