/* What one connection, and all of them, may make a server hold. */
#include "asd/server.h"
#include "base/log.h"
#include "base/mem.h"
#include "unit/asd/server_fixture.h"
#include "unit/asd/session.h"

/* ---- replies that nobody takes ---- */

enum { VERSION_FRAME_BYTES = 12 };

/* As many GetVersions as go now. Of the last one a part may be left: `sent` bytes went before. */
static size_t send_versions(struct session *s, size_t sent)
{
    uint8_t frames[1000 * VERSION_FRAME_BYTES];
    size_t from = sent % VERSION_FRAME_BYTES;
    ssize_t n;

    for (size_t at = 0; at < sizeof frames; at += VERSION_FRAME_BYTES) {
        put_u32le(frames + at, VERSION_FRAME_BYTES - 4);
        put_u32le(frames + at + 4, 1);
        put_u32le(frames + at + 8, ASD_GET_VERSION);
    }
    n = send(s->fd, frames + from, sizeof frames - from, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n > 0 ? (size_t)n : 0;
}

/* All are the same. */
static void expect_versions(struct session *s, size_t count)
{
    struct answer first = recv_answer(s);
    size_t bytes = (count - 1) * (4 + first.bytes.len);
    uint8_t *rest = mem_alloc(bytes);

    assert_int_equal(first.rc, 0);
    assert_int_equal(raw_recv(s->loop, s->fd, rest, bytes), bytes);
    for (size_t at = 4; at < bytes; at += 4 + first.bytes.len) {
        assert_memory_equal(rest + at, first.bytes.data, first.bytes.len);
    }
    buf_release(&first.bytes);
    free(rest);
}

/* Each keeps its request until it was sent, however short it is. */
static void replies_that_nobody_takes_keep_a_bounded_number_of_requests(void **state)
{
    enum { IDLE_TURNS = 100 };
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    size_t sent = 0;
    unsigned most = 0;

    for (unsigned idle = 0; idle < IDLE_TURNS; idle++) { /* until nothing goes any more */
        size_t more = send_versions(&s, sent);
        unsigned now;

        raw_turn(s.loop);
        now = asd_server_requests(f->server);
        most = now > most ? now : most;
        assert_true(most <= ASD_SERVER_REQUESTS_MAX);
        sent += more;
        idle = more != 0 ? 0 : idle;
    }
    assert_int_equal(most, ASD_SERVER_REQUESTS_MAX);
    expect_versions(&s, sent / VERSION_FRAME_BYTES); /* most were only put off */
    RAW_UNTIL(s.loop, asd_server_requests(f->server) == 0);
    close(s.fd);
}

/* Behind a long reply that nobody takes waits that of an Apply. */
static void a_reply_that_nobody_takes_does_not_keep_its_frame(void **state)
{
    enum { LONG = 7 << 20, LARGE = 1 << 20 };
    struct server_fixture *f = *state;
    struct session s = session_open(f->loop, f->port, ASD_VERSION_2);
    uint8_t *data = mem_zalloc(LONG);
    struct slice key = slice_str("long");
    struct asd_request get = {.code = ASD_MULTI_GET2, .keys = {&key, 1}};
    struct asd_update u = set("large", data, LARGE);
    struct asd_request apply = apply_of(NULL, &u);
    int window = 65536;
    uint8_t first;

    assert_int_equal(setsockopt(s.fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window), 0);
    put(&s, "long", data, LONG);
    RAW_UNTIL(s.loop, asd_server_requests(f->server) == 0);
    send_request(&s, &get);
    RAW_UNTIL(s.loop, recv(s.fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) == 1);
    send_request(&s, &apply);
    RAW_UNTIL(s.loop, asd_store_stats(f->base.store).updates == 2);
    RAW_UNTIL(s.loop, asd_server_request_bytes(f->server) == 0);
    assert_int_equal(asd_server_requests(f->server), 2);
    for (unsigned i = 0; i < 2; i++) {
        struct answer a = recv_answer(&s);

        assert_int_equal(a.rc, 0);
        buf_release(&a.bytes);
    }
    free(data);
    close(s.fd);
}

/* ---- what requests become ---- */

static unsigned answered;

static void on_apply(struct asd_store_op *op, int rc)
{
    (void)op;
    assert_int_equal(rc, 0);
    answered++;
}

/* 8 bytes of a frame become hundreds: the keys alone are 2 MiB here. */
static void many_short_updates_count_as_the_memory_that_they_become(void **state)
{
    enum { APPLIES = 32 };
    struct server_fixture *f = *state;
    struct asd_update *updates = mem_array(ASD_STORE_ITEMS_MAX, sizeof *updates);
    struct asd_apply what = {.updates = updates, .update_count = ASD_STORE_ITEMS_MAX};
    struct asd_store_apply *applies = mem_array(APPLIES, sizeof *applies);
    uint64_t before = asd_store_stats(f->base.store).applies;
    unsigned admitted = 0;
    int rc;

    answered = 0;
    for (unsigned i = 0; i < ASD_STORE_ITEMS_MAX; i++) {
        updates[i] = (struct asd_update){.key = slice_str("k"), .is_delete = true};
    }
    do {
        rc = asd_store_apply(f->base.front, &applies[admitted], &what, 0, on_apply);
        admitted += rc == 0;
    } while (rc == 0 && admitted < APPLIES);
    assert_int_equal(rc, ERR_BUSY);
    assert_int_equal(admitted, ASD_STORE_APPLY_BYTES_MAX / ASD_STORE_ITEMS_MAX /
                                   (ASD_STORE_APPLY_ITEM_BYTES + 1));
    assert_int_equal(asd_store_stats(f->base.store).applies, before + admitted);
    RAW_UNTIL(f->loop, answered == admitted);
    free(applies);
    free(updates);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(replies_that_nobody_takes_keep_a_bounded_number_of_requests),
        TEST(a_reply_that_nobody_takes_does_not_keep_its_frame),
        TEST(many_short_updates_count_as_the_memory_that_they_become),
    };

    log_set_level(LOG_NONE);
    return server_run_tests(tests, sizeof tests / sizeof tests[0]);
}
