/* Peers of the proxy's server that misbehave, go away, or are too many; by raw sockets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/ns_keys.h"
#include "sim/proxy_fixture.h"

/* ---- raw sockets ---- */

struct raw {
    struct fixture *f;
    int fd;
};

static struct raw raw_connect(struct fixture *f)
{
    struct raw raw = {.f = f, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

    assert_int_equal(
        connect(raw.fd, (struct sockaddr *)&f->addr.sockaddr, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(fcntl(raw.fd, F_SETFL, O_NONBLOCK), 0);
    return raw;
}

static void raw_send(struct raw *raw, const void *data, size_t bytes)
{
    assert_int_equal(send(raw->fd, data, bytes, MSG_NOSIGNAL), bytes);
}

/* Bytes that come within a while; 0: closed. */
static ssize_t raw_read(struct raw *raw, void *data, size_t bytes)
{
    for (unsigned i = 0; i < 300; i++) {
        ssize_t n = recv(raw->fd, data, bytes, 0);

        if (n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
            return n < 0 ? 0 : n;
        }
        loop_fixture_run_ms(&raw->f->w->base, 5);
    }
    return -1;
}

static void raw_hello(struct raw *raw)
{
    struct buf b = {0};

    proxy_preamble_put(&b);
    raw_send(raw, b.data, b.len);
    buf_release(&b);
}

static void raw_request(struct raw *raw, const struct proxy_request *request)
{
    struct gather g = {0};
    struct buf b = {0};
    uint8_t head[PROXY_HEAD_BYTES];

    proxy_request_encode(request, &g);
    proxy_request_head(head, gather_bytes(&g));
    buf_put(&b, head, sizeof(head));
    gather_flatten(&g, &b);
    raw_send(raw, b.data, b.len);
    buf_release(&b);
    gather_release(&g);
}

/* A whole reply: its code. `ret_payload` may be NULL. */
static int32_t raw_reply(struct raw *raw, struct buf *ret_payload)
{
    uint8_t head[8];
    size_t have = 0;
    uint32_t left;
    int32_t code;

    while (have < sizeof(head)) {
        ssize_t n = raw_read(raw, head + have, sizeof(head) - have);

        assert_true(n > 0);
        have += (size_t)n;
    }
    left = get_u32le(head) - 4;
    code = (int32_t)get_u32le(head + 4);
    while (left > 0) {
        uint8_t bytes[4096];
        ssize_t n = raw_read(raw, bytes, left < sizeof(bytes) ? left : sizeof(bytes));

        assert_true(n > 0);
        left -= (uint32_t)n;
        if (ret_payload != NULL) {
            buf_put(ret_payload, bytes, (size_t)n);
        }
    }
    return code;
}

static void a_session_speaks_the_manifest_version_it_agreed_on(void **state)
{
    struct fixture *f = fixture_new(1);
    struct raw raw = raw_connect(f);
    uint8_t wanted = 2;
    struct proxy_session_entry entries[] = {
        {.key = slice_str("nonsense"), .value = slice_str("x"), .has_value = true},
        {.key = slice_str("manifest_ser"), .value = slice_of(&wanted, 1), .has_value = true}};
    struct proxy_request update = {.code = PROXY_UPDATE_SESSION,
                                   .session = {.items = entries, .count = 2}};
    struct proxy_object_slices object = {.name = slice_str("o")};
    struct proxy_request read = {
        .code = PROXY_READ_SLICES2, .ns = fixture_ns(), .reads = {.items = &object, .count = 1}};
    struct buf payload = {0};
    struct proxy_reply reply;
    struct err e;

    (void)state;
    assert_int_equal(fixture_put(f, "o", "data", 4), 0);
    raw_hello(&raw);
    raw_request(&raw, &read);
    assert_int_equal(raw_reply(&raw, &payload), 0);
    assert_int_equal(
        proxy_reply_decode(rd_of(payload.data, payload.len), PROXY_READ_SLICES2, &reply, &e), 0);
    assert_true(
        reply.objects.items[0].manifest->opaque); /* version 1: foreign clients pass by us */
    proxy_reply_release(&reply);
    payload.len = 0;
    raw_request(&raw, &update);
    assert_int_equal(raw_reply(&raw, &payload), 0);
    assert_int_equal(
        proxy_reply_decode(rd_of(payload.data, payload.len), PROXY_UPDATE_SESSION, &reply, &e), 0);
    assert_int_equal(reply.session.count, 1);
    assert_int_equal(reply.session.items[0].value.data[0], 2);
    proxy_reply_release(&reply);
    buf_release(&payload);
    close(raw.fd);
    fixture_free(f);
}

static void garbage_on_the_port_harms_nobody(void **state)
{
    struct fixture *f = fixture_new(1);
    uint8_t version2[8], bytes[64], huge[] = {0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0};
    uint8_t unknown[] = {4, 0, 0, 0, 99, 0, 0, 0};
    uint8_t cut_off[] = {6, 0, 0, 0, 1, 0, 0, 0, 9, 9};
    struct raw raw;

    (void)state;
    rnd_bytes(bytes, sizeof(bytes));
    bytes[0] = 0;
    raw = raw_connect(f);
    raw_send(&raw, bytes, sizeof(bytes));
    assert_int_equal(raw_read(&raw, bytes, sizeof(bytes)), 0); /* closed */
    close(raw.fd);

    raw = raw_connect(f);
    put_u32le(version2, PROXY_MAGIC);
    put_u32le(version2 + 4, 2);
    raw_send(&raw, version2, sizeof(version2));
    assert_int_equal(raw_reply(&raw, NULL), PROXY_RC_VERSION);
    assert_int_equal(raw_read(&raw, bytes, sizeof(bytes)), 0);
    close(raw.fd);

    raw = raw_connect(f);
    raw_hello(&raw);
    raw_send(&raw, huge, sizeof(huge));
    assert_int_equal(raw_read(&raw, bytes, sizeof(bytes)), 0);
    close(raw.fd);

    raw = raw_connect(f);
    raw_hello(&raw);
    raw_send(&raw, unknown, sizeof(unknown));
    assert_int_equal(raw_reply(&raw, NULL), PROXY_RC_UNKNOWN_OPERATION);
    raw_send(&raw, cut_off, sizeof(cut_off));
    assert_int_equal(raw_reply(&raw, NULL), PROXY_RC_UNKNOWN); /* ours become 1 here */
    raw_send(&raw, unknown, sizeof(unknown));                  /* and the session goes on */
    assert_int_equal(raw_reply(&raw, NULL), PROXY_RC_UNKNOWN_OPERATION);
    close(raw.fd);
    assert_int_equal(fixture_put(f, "o", "x", 1), 0);
    fixture_free(f);
}

static void requests_sent_ahead_are_answered_in_order(void **state)
{
    struct fixture *f = fixture_new(1);
    struct raw raw = raw_connect(f);
    struct proxy_request ping = {.code = PROXY_PING, .delay_s = 0.05};
    struct proxy_request id = {.code = PROXY_GET_ALBA_ID};
    struct buf payload = {0};

    (void)state;
    raw_hello(&raw);
    raw_request(&raw, &ping);
    for (unsigned i = 0; i < 20; i++) {
        raw_request(&raw, &id);
    }
    assert_int_equal(raw_reply(&raw, &payload), 0);
    assert_int_equal(payload.len, 8);
    for (unsigned i = 0; i < 20; i++) {
        payload.len = 0;
        assert_int_equal(raw_reply(&raw, &payload), 0);
        assert_int_equal(payload.len, 40);
    }
    buf_release(&payload);
    close(raw.fd);
    fixture_free(f);
}

static enum fake_fate hang(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    (void)request;
    return FAKE_HANG;
}

static void a_client_that_goes_away_takes_its_request_along(void **state)
{
    struct fixture *f = fixture_new(1);
    struct raw raw = raw_connect(f);
    uint8_t data[50000];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_request request = {
        .code = PROXY_APPLY, .ns = fixture_ns(), .apply = {.updates = &update, .update_count = 1}};
    struct manifest m;

    (void)state;
    world_fill(f->w, data, sizeof(data));
    for (unsigned i = 0; i < 6; i++) {
        fake_asd_set_fate(f->w->asds[i], hang, NULL);
    }
    raw_hello(&raw);
    raw_request(&raw, &request);
    loop_fixture_run_ms(&f->w->base, 100);
    assert_int_equal(f->server->running, 1);
    close(raw.fd);
    loop_fixture_run_ms(&f->w->base, 650); /* it looks twice a second */
    assert_int_equal(f->server->running, 0);
    for (unsigned i = 0; i < 6; i++) {
        fake_asd_set_fate(f->w->asds[i], NULL, NULL);
    }
    assert_false(world_manifest(f->w, "o", &m));
    fixture_free(f);
}

static bool has_server_seen_it(void *ctx)
{
    const struct fixture *f = ctx;

    return f->w->engine->stats.totals.requests > 0 && f->server->running == 0;
}

/* As a proxy finds it that was stopped meanwhile: sent, and its client is long gone. */
static void a_put_whose_client_left_before_it_was_read_is_not_executed(void **state)
{
    struct fixture *f = fixture_new(0);
    struct raw raw = raw_connect(f);
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_str("late")};
    uint8_t *data;
    size_t bytes;

    (void)state;
    raw_hello(&raw);
    raw_request(&raw, &(struct proxy_request){.code = PROXY_APPLY,
                                              .ns = fixture_ns(),
                                              .apply = {.updates = &update, .update_count = 1}});
    close(raw.fd);
    loop_run_until_true(&f->w->base.loop, has_server_seen_it, f);
    assert_int_equal(world_get(f->w, "o", &data, &bytes), ERR_NOT_FOUND);
    fixture_free(f);
}

static bool is_idle(void *ctx)
{
    const struct fixture *f = ctx;

    return f->server->running == 0;
}

static void a_request_past_its_deadline_is_told_so(void **state)
{
    struct fixture *f = fixture_new(1);
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_str("data")};
    struct proxy_request request = {
        .code = PROXY_APPLY,
        .ns = fixture_ns(),
        .apply = {.updates = &update, .update_count = 1, .deadline_ms = 250}};

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        fake_asd_set_fate(f->w->asds[i], hang, NULL);
    }
    assert_int_equal(fixture_simple(f, &request), PROXY_RC_TIMED_OUT);
    fixture_free(f);
}

/* What waits for the metadata cannot be called off: it is left behind, its client told, and another
 * request of the same connection answered. The late answer comes to a request that is nobody's. */
static void what_the_metadata_does_not_answer_is_left_behind_at_its_deadline(void **state)
{
    struct fixture *f = fixture_new(1);
    struct slice names[] = {slice_str("o")};
    struct proxy_object_slices slices = {.name = slice_str("o")};
    struct proxy_range all = {.max = -1};
    struct proxy_request requests[] = {
        {.code = PROXY_GET_OBJECT_INFO,
         .object = {.name = slice_str("o")},
         .consistent_read = true},
        {.code = PROXY_MULTI_EXISTS, .names = {.items = names, .count = 1}},
        {.code = PROXY_READ_OBJECTS,
         .names = {.items = names, .count = 1},
         .consistent_read = true},
        {.code = PROXY_READ_SLICES,
         .reads = {.items = &slices, .count = 1},
         .consistent_read = true},
        {.code = PROXY_DELETE_OBJECT, .object = {.name = slice_str("none")}},
    };
    struct proxy_request list = {.code = PROXY_LIST_OBJECTS, .ns = fixture_ns(), .range = all};
    struct key prefix;

    (void)state;
    assert_int_equal(fixture_put(f, "o", "data", 4), 0);
    proxy_server_set_timeout_ms(f->server, 300);
    ns_key_root(&prefix, f->w->ns_id, 'n');
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        bool is_change = requests[i].code == PROXY_DELETE_OBJECT;

        requests[i].ns = fixture_ns();
        kv_mem_hold_answer(f->w->kv, slice_key(&prefix));
        assert_int_equal(fixture_simple(f, &requests[i]),
                         is_change ? PROXY_RC_IN_DOUBT : PROXY_RC_TIMED_OUT);
        assert_true(kv_mem_has_held_answer(f->w->kv));
        assert_int_equal(f->server->running, 1);
        assert_int_equal(fixture_simple(f, &list), 0);
        kv_mem_answer_held(f->w->kv);
        loop_run_until_true(&f->w->base.loop, is_idle, f);
        assert_int_equal(fixture_simple(f, &list), 0);
    }
    world_expect(f->w, "o", "data", 4);
    fixture_free(f);
}

/* The request and its connection end, or the proxy does, before the answer comes. */
static void what_was_left_behind_outlives_its_connection(void **state)
{
    struct fixture *f = fixture_new(1);
    struct slice names[] = {slice_str("o")};
    struct proxy_request request = {
        .code = PROXY_MULTI_EXISTS, .ns = fixture_ns(), .names = {.items = names, .count = 1}};
    struct raw raw = raw_connect(f);
    struct key prefix;
    bool closed = false;

    (void)state;
    proxy_server_set_timeout_ms(f->server, 300);
    ns_key_root(&prefix, f->w->ns_id, 'n');
    kv_mem_hold_answer(f->w->kv, slice_key(&prefix));
    raw_hello(&raw);
    raw_request(&raw, &request);
    assert_int_equal(raw_reply(&raw, NULL), PROXY_RC_UNKNOWN); /* 67 for clients that know it */
    close(raw.fd);
    loop_fixture_run_ms(&f->w->base, 20);
    assert_int_equal(f->server->running, 1);
    proxy_server_close(f->server, fixture_on_closed, &closed);
    f->server = NULL;
    loop_fixture_run_ms(&f->w->base, 20);
    assert_false(closed);
    kv_mem_answer_held(f->w->kv);
    loop_run_until(&f->w->base.loop, &closed);
    fixture_free(f);
}

static void connections_over_the_limit_are_closed_and_the_others_served(void **state)
{
    struct fixture *f = fixture_new(1);
    struct raw raws[8];
    uint8_t byte;
    struct raw extra;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        raws[i] = raw_connect(f);
        raw_hello(&raws[i]);
    }
    loop_fixture_run_ms(&f->w->base, 50);
    extra = raw_connect(f);
    assert_int_equal(raw_read(&extra, &byte, 1), 0);
    close(extra.fd);
    raw_request(&raws[7], &(struct proxy_request){.code = PROXY_GET_ALBA_ID});
    assert_int_equal(raw_reply(&raws[7], NULL), 0);
    for (unsigned i = 0; i < 8; i++) {
        close(raws[i].fd);
    }
    fixture_free(f);
}

/* Six clients send frames of which four fit: the others are read when it is their turn. */
/* A reply larger than all the memory there is, to a peer that does not take it. */
static void a_reader_that_does_not_read_holds_up_no_put(void **state)
{
    enum { BYTES = 24 << 20 };
    struct fixture *f = fixture_new(1);
    uint8_t *data = mem_alloc(BYTES);
    struct slice name = slice_str("large");
    struct proxy_request request = {
        .code = PROXY_READ_OBJECTS, .ns = fixture_ns(), .names = {.items = &name, .count = 1}};
    struct gather g = {0};
    struct buf frame = {0};
    uint8_t head[PROXY_HEAD_BYTES];
    struct raw raw;

    (void)state;
    world_fill(f->w, data, BYTES);
    assert_int_equal(world_put(f->w, "large", data, BYTES), 0);
    f->w->engine->budget.limit_bytes = 4 << 20;
    f->w->engine->replies.limit_bytes = 4 << 20;
    raw = raw_connect(f);
    raw_hello(&raw);
    proxy_request_encode(&request, &g);
    proxy_request_head(head, gather_bytes(&g));
    buf_put(&frame, head, sizeof(head));
    gather_flatten(&g, &frame);
    gather_release(&g);
    assert_int_equal(send(raw.fd, frame.data, frame.len, MSG_NOSIGNAL), (ssize_t)frame.len);
    while (f->w->engine->stats.totals.gets == 0) {
        loop_fixture_run_ms(&f->w->base, 5);
    }
    assert_int_equal(f->w->engine->replies.used_bytes, BYTES);
    assert_int_equal(f->w->engine->budget.used_bytes, 0);
    assert_int_equal(fixture_put(f, "small", "data", 4), 0);
    assert_int_equal(f->w->engine->replies.used_bytes, BYTES); /* it was still waiting */
    close(raw.fd);
    while (f->w->engine->replies.used_bytes != 0) {
        loop_fixture_run_ms(&f->w->base, 5);
    }
    world_expect(f->w, "small", "data", 4);
    buf_release(&frame);
    free(data);
    fixture_free(f);
}

static void large_frames_wait_until_there_is_room_for_them(void **state)
{
    struct fixture *f = fixture_new(1);
    uint8_t *data = mem_alloc(700000);
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD, .data = slice_of(data, 700000)};
    struct proxy_request request = {
        .code = PROXY_APPLY, .ns = fixture_ns(), .apply = {.updates = &update, .update_count = 1}};
    struct buf frames[6] = {0};
    size_t sent[6] = {0};
    struct raw raws[6];
    size_t most = 0;

    (void)state;
    world_fill(f->w, data, 700000);
    for (unsigned i = 0; i < 6; i++) {
        struct gather g = {0};
        uint8_t head[PROXY_HEAD_BYTES];
        char name[8];

        snprintf(name, sizeof(name), "o%u", i);
        update.name = slice_str(name);
        proxy_request_encode(&request, &g);
        proxy_request_head(head, gather_bytes(&g));
        buf_put(&frames[i], head, sizeof(head));
        gather_flatten(&g, &frames[i]);
        gather_release(&g);
        raws[i] = raw_connect(f);
        raw_hello(&raws[i]);
    }
    for (bool more = true; more;) {
        more = false;
        for (unsigned i = 0; i < 6; i++) {
            size_t left = frames[i].len - sent[i];
            ssize_t n = send(raws[i].fd, frames[i].data + sent[i], left < 50000 ? left : 50000,
                             MSG_NOSIGNAL);

            sent[i] += n > 0 ? (size_t)n : 0;
            more = more || sent[i] < frames[i].len;
        }
        loop_fixture_run_ms(&f->w->base, 1);
        most = f->server->room.used_bytes > most ? f->server->room.used_bytes : most;
    }
    for (unsigned i = 0; i < 6; i++) {
        char name[8];

        assert_int_equal(raw_reply(&raws[i], NULL), 0);
        snprintf(name, sizeof(name), "o%u", i);
        world_expect(f->w, name, data, 700000);
        close(raws[i].fd);
        buf_release(&frames[i]);
    }
    assert_true(most > 1400000 && most <= REQUEST_BYTES_MAX);
    assert_int_equal(f->server->room.used_bytes, 0);
    free(data);
    fixture_free(f);
}

/* A head that announces `frame_bytes`, and so many of them. */
static void raw_begin(struct raw *raw, uint32_t frame_bytes, const uint8_t *data, size_t bytes)
{
    struct buf b = {0};
    size_t sent = 0;

    buf_put_u32le(&b, frame_bytes);
    buf_put(&b, data, bytes);
    for (unsigned i = 0; i < 1000 && sent < b.len; i++) {
        ssize_t n = send(raw->fd, b.data + sent, b.len - sent, MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        loop_fixture_run_ms(&raw->f->w->base, 1);
    }
    buf_release(&b);
}

/* Two frames that have room, all of it between them, and stop before their ends. */
static void raw_hold_room(struct fixture *f, const uint8_t *data, struct raw raws[2])
{
    for (unsigned i = 0; i < 2; i++) {
        uint64_t end = clock_mono_ms() + LOOP_FIXTURE_WAIT_MS;

        raws[i] = raw_connect(f);
        raw_hello(&raws[i]);
        raw_begin(&raws[i], 1500000, data, 1400000);
        while (f->server->room.used_bytes < (i + 1) * 1500000) {
            assert_true(clock_mono_ms() < end);
            loop_fixture_run_ms(&f->w->base, 1);
        }
    }
}

static void what_is_only_announced_keeps_nobody_out(void **state)
{
    struct fixture *f = fixture_new(1);
    uint8_t *data = mem_zalloc(1 << 20);
    struct raw raws[6];

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        raws[i] = raw_connect(f);
        raw_hello(&raws[i]);
        raw_begin(&raws[i], 4 << 20, data, 10000); /* alone more than the limit */
    }
    assert_int_equal(fixture_put(f, "large", data, 1 << 20), 0);
    world_expect(f->w, "large", data, 1 << 20);
    for (unsigned i = 0; i < 6; i++) {
        close(raws[i].fd);
    }
    free(data);
    fixture_free(f);
}

static void a_frame_that_stalled_is_dropped_for_those_who_wait(void **state)
{
    struct fixture *f = fixture_new(1);
    uint8_t *data = mem_zalloc(1500000);
    struct raw stopped[2];
    struct raw idle = raw_connect(f);
    uint8_t byte;

    (void)state;
    raw_hello(&idle);
    raw_hold_room(f, data, stopped);
    assert_int_equal(fixture_put(f, "large", data, 1 << 20), 0);
    world_expect(f->w, "large", data, 1 << 20);
    assert_int_equal(raw_read(&stopped[0], &byte, 1), 0);
    assert_int_equal(recv(idle.fd, &byte, 1, 0), -1); /* which held nothing */
    for (unsigned i = 0; i < 2; i++) {
        close(stopped[i].fd);
    }
    close(idle.fd);
    free(data);
    fixture_free(f);
}

/* Told while it still sends, and served again by the same connection. */
static void a_frame_that_waits_too_long_is_told_so(void **state)
{
    struct fixture *f = fixture_new(1);
    uint8_t wanted = MANIFEST_V3; /* which knows our codes */
    struct proxy_session_entry entry = {
        .key = slice_str("manifest_ser"), .value = slice_of(&wanted, 1), .has_value = true};
    struct proxy_request session = {.code = PROXY_UPDATE_SESSION,
                                    .session = {.items = &entry, .count = 1}};
    struct proxy_request ping = {.code = PROXY_PING};
    uint8_t *data = mem_zalloc(1500000);
    struct raw holders[2], late = raw_connect(f);

    (void)state;
    f->server->options.room_timeout_ms = 500;
    raw_hold_room(f, data, holders);
    raw_hello(&late);
    raw_request(&late, &session);
    assert_int_equal(raw_reply(&late, NULL), 0);
    raw_begin(&late, 1000000, data, 500000);
    assert_int_equal(raw_reply(&late, NULL), PROXY_RC_BUSY);
    for (size_t left = 500000, turns = 0; left != 0; turns++) {
        ssize_t n = send(late.fd, data, left, MSG_NOSIGNAL);

        assert_true(turns < LOOP_FIXTURE_WAIT_MS);
        left -= n > 0 ? (size_t)n : 0;
        loop_fixture_run_ms(&f->w->base, 1);
    }
    raw_request(&late, &ping);
    assert_int_equal(raw_reply(&late, NULL), 0);
    for (unsigned i = 0; i < 2; i++) {
        close(holders[i].fd);
    }
    close(late.fd);
    free(data);
    fixture_free(f);
}

static void closing_answers_what_runs(void **state)
{
    struct fixture *f = fixture_new(1);
    struct proxy_request ping = {.code = PROXY_PING, .delay_s = 0.2};
    struct call c = {.code = PROXY_PING};
    bool closed = false;

    (void)state;
    proxy_request_encode(&ping, &c.request);
    assert_int_equal(proxy_client_call(f->client, &c.call, &c.request, 5000, fixture_on_call), 0);
    loop_fixture_run_ms(&f->w->base, 50);
    assert_int_equal(f->server->running, 1);
    proxy_server_close(f->server, fixture_on_closed, &closed);
    loop_fixture_run_until(&f->w->base, &c.done);
    assert_int_equal(c.rc, 0);
    fixture_call_release(&c);
    gather_release(&c.request);
    loop_fixture_run_until(&f->w->base, &closed);
    f->server = NULL;
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_speaks_the_manifest_version_it_agreed_on),
        cmocka_unit_test(garbage_on_the_port_harms_nobody),
        cmocka_unit_test(requests_sent_ahead_are_answered_in_order),
        cmocka_unit_test(a_client_that_goes_away_takes_its_request_along),
        cmocka_unit_test(a_put_whose_client_left_before_it_was_read_is_not_executed),
        cmocka_unit_test(a_request_past_its_deadline_is_told_so),
        cmocka_unit_test(what_the_metadata_does_not_answer_is_left_behind_at_its_deadline),
        cmocka_unit_test(what_was_left_behind_outlives_its_connection),
        cmocka_unit_test(connections_over_the_limit_are_closed_and_the_others_served),
        cmocka_unit_test(a_reader_that_does_not_read_holds_up_no_put),
        cmocka_unit_test(large_frames_wait_until_there_is_room_for_them),
        cmocka_unit_test(what_is_only_announced_keeps_nobody_out),
        cmocka_unit_test(a_frame_that_stalled_is_dropped_for_those_who_wait),
        cmocka_unit_test(a_frame_that_waits_too_long_is_told_so),
        cmocka_unit_test(closing_answers_what_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
