/* Before its first request a connection asks whether the store carries its owner's claim. */
#include "unit/net/asd_fixture.h"
#include "wire/osd_keys.h"

static int setup_owned(void **state)
{
    struct fixture *f;

    setup(state);
    f = *state;
    close_client(f);
    RAW_UNTIL(&f->loop, f->closed);
    f->closed = false;
    f->options.owner = "alba-1";
    f->client = asd_client_new(&f->loop, &f->options);
    return 0;
}

/* The claim is asked for; returns the request's id. */
static uint32_t read_question(struct fixture *f, unsigned version)
{
    uint8_t frame[128];
    uint32_t bytes = read_frame(f, frame, sizeof frame);
    struct asd_request request;
    struct buf index = {0};
    struct err e;
    uint32_t id;

    assert_int_equal(asd_request_decode(rd_of(frame, bytes), version, &id, &request, &e), 0);
    assert_int_equal(request.code, ASD_MULTI_EXISTS);
    assert_int_equal(request.keys.count, 2);
    osd_key_put_instance_index(&index, slice_str("alba-1"));
    assert_true(slice_eq(request.keys.items[0], slice_buf(&index)));
    buf_release(&index);
    asd_request_release(&request);
    return id;
}

static void answer_question(struct fixture *f, unsigned version, uint32_t id, bool ours, bool any)
{
    bool items[2] = {ours, any};
    struct asd_reply reply = {.code = ASD_MULTI_EXISTS, .exists = {.items = items, .count = 2}};
    struct gather g = {0};
    struct buf bytes = {0};

    asd_reply_encode(&reply, version, id, &g);
    gather_flatten(&g, &bytes);
    raw_send(&f->loop, f->peer, bytes.data, bytes.len);
    gather_release(&g);
    buf_release(&bytes);
}

static void the_claim_is_asked_for_once_on_each_connection(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 5000);
    call_version(f, 1, 5000);
    accept_v2(f);
    answer_question(f, 2, read_question(f, 2), true, true);
    answer(f, read_version_request(f), "zero");
    answer(f, read_version_request(f), "one");
    wait_for(f, 1);
    assert_payload(f, 0, "zero");
    assert_payload(f, 1, "one");
    call_version(f, 2, 5000);
    answer(f, read_version_request(f), "two"); /* no further question */
    wait_for(f, 2);
    close(f->peer);
    raw_turn_for(&f->loop, 20);
    call_version(f, 3, 5000);
    accept_v2(f);
    answer_question(f, 2, read_question(f, 2), true, true);
    answer(f, read_version_request(f), "three");
    wait_for(f, 3);
    assert_payload(f, 3, "three");
}

static void an_old_server_is_asked_too(void **state)
{
    struct fixture *f = *state;
    uint8_t frame[16];

    call_version(f, 0, 5000);
    accept_v1(f);
    read_question(f, 1);
    answer_question(f, 1, 0, true, true);
    assert_int_equal(read_frame(f, frame, sizeof frame), 4);
    answer_v1(f, "ok", 2);
    wait_for(f, 0);
    assert_payload(f, 0, "ok");
}

/* Nothing but the question is ever sent to it. */
static void expect_refused(struct fixture *f, bool any, const char *why)
{
    call_version(f, 0, 5000);
    call_big(f, 1, 5000);
    accept_v2(f);
    answer_question(f, 2, read_question(f, 2), false, any);
    wait_for(f, 0);
    wait_for(f, 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(f->answers[i].rc, ERR_IDENTITY);
        assert_false(f->answers[i].call.maybe_executed);
        assert_non_null(strstr(f->answers[i].call.err.msg, why));
    }
    assert_true(raw_is_closed_by_peer(&f->loop, f->peer));
}

static void a_store_without_a_claim_gets_no_request(void **state)
{
    struct fixture *f = *state;

    expect_refused(f, false, "no claim");
    close(f->peer);
    call_version(f, 2, 5000); /* claimed meanwhile */
    accept_v2(f);
    answer_question(f, 2, read_question(f, 2), true, true);
    answer(f, read_version_request(f), "two");
    wait_for(f, 2);
    assert_payload(f, 2, "two");
}

static void a_store_of_another_gets_no_request(void **state)
{
    expect_refused(*state, true, "claimed by another");
}

static void a_server_that_cannot_tell_gets_no_request(void **state)
{
    struct fixture *f = *state;
    struct buf refusal = {0};

    call_version(f, 0, 5000);
    accept_v2(f);
    asd_error_put(&refusal, 2, read_question(f, 2), ASD_RC_BUSY, slice_str("much to do"));
    raw_send(&f->loop, f->peer, refusal.data, refusal.len);
    buf_release(&refusal);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_BUSY);
    assert_false(f->answers[0].call.maybe_executed);
    close(f->peer);

    call_version(f, 1, 5000);
    accept_v2(f);
    answer(f, read_question(f, 2), "nonsense");
    wait_for(f, 1);
    assert_int_equal(f->answers[1].rc, ERR_PROTOCOL);
    close(f->peer);

    call_version(f, 2, 5000);
    accept_v2(f);
    read_question(f, 2);
    close(f->peer);
    f->peer = -1;
    wait_for(f, 2);
    assert_int_equal(f->answers[2].rc, UV_EOF);
    assert_false(f->answers[2].call.maybe_executed);
}

static void calls_keep_their_deadlines_while_the_claim_is_asked_for(void **state)
{
    struct fixture *f = *state;
    uint32_t id;

    call_version(f, 0, 100);
    call_version(f, 1, 5000);
    call_version(f, 2, 5000);
    accept_v2(f);
    id = read_question(f, 2);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, UV_ETIMEDOUT);
    assert_false(f->answers[0].call.maybe_executed);
    asd_call_cancel(&f->answers[1].call);
    wait_for(f, 1);
    assert_int_equal(f->answers[1].rc, ERR_CANCELED);
    answer_question(f, 2, id, true, true);
    answer(f, read_version_request(f), "two");
    wait_for(f, 2);
    assert_payload(f, 2, "two");
}

static void closing_while_the_claim_is_asked_for_cancels_everything(void **state)
{
    struct fixture *f = *state;

    call_version(f, 0, 5000);
    accept_v2(f);
    read_question(f, 2);
    close_client(f);
    wait_for(f, 0);
    assert_int_equal(f->answers[0].rc, ERR_CANCELED);
}

#define OWNED(name) cmocka_unit_test_setup_teardown(name, setup_owned, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OWNED(the_claim_is_asked_for_once_on_each_connection),
        OWNED(an_old_server_is_asked_too),
        OWNED(a_store_without_a_claim_gets_no_request),
        OWNED(a_store_of_another_gets_no_request),
        OWNED(a_server_that_cannot_tell_gets_no_request),
        OWNED(calls_keep_their_deadlines_while_the_claim_is_asked_for),
        OWNED(closing_while_the_claim_is_asked_for_cancels_everything),
    };

    return cmocka_run_group_tests_name("net/asd_claim", tests, NULL, NULL);
}
