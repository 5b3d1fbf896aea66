/* A stream as its client sees it: what becomes of it when proxies ask for things again, are lost,
 * or ask for what is not there. The test plays the proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "net/proxy_upload.h"

enum { BYTES = 1000 };

struct step {
    int rc;             /* of this request; 0: */
    uint32_t bytes_max; /* it wants this next; 0: nothing more */
    uint64_t offset;
    int32_t proxy_code;
    bool maybe_executed;
};

struct scene {
    const struct step *steps;
    unsigned count, at, begun, pauses, pauses_max;
    int read_rc;
    uint8_t data[BYTES], got[BYTES];
    struct proxy_update update;
    struct proxy_upload upload;
};

static void call(void *ctx, const struct proxy_request *request, struct proxy_upload_answer *ret)
{
    struct scene *s = ctx;
    const struct step *step = &s->steps[s->at++];

    assert_true(s->at <= s->count);
    if (request->code == PROXY_APPLY_STREAM) {
        assert_int_equal(request->apply.updates[0].bytes, BYTES);
        s->begun++;
    } else {
        const struct step *before = step - 1;
        struct slice data = request->part.data;

        assert_int_equal(request->code, PROXY_STREAM_PART);
        assert_int_equal(request->part.offset, before->offset);
        assert_true(data.len != 0 && data.len <= before->bytes_max);
        assert_int_equal(request->part.crc32c, crc32c(0, data.data, data.len));
        memcpy(s->got + request->part.offset, data.data, data.len);
    }
    *ret = (struct proxy_upload_answer){.rc = step->rc,
                                        .proxy_code = step->proxy_code,
                                        .maybe_executed = step->maybe_executed || step->rc == 0,
                                        .wants_part = step->bytes_max != 0,
                                        .offset = step->offset,
                                        .bytes_max = step->bytes_max};
    if (step->rc != 0) {
        err_set(&ret->err, step->rc, "step %u", s->at - 1);
    }
}

static int read_data(void *ctx, uint64_t offset, uint8_t *ret_data, size_t bytes, struct err *e)
{
    const struct scene *s = ctx;

    assert_true(offset + bytes <= BYTES);
    memcpy(ret_data, s->data + offset, bytes);
    return s->read_rc == 0 ? 0 : err_set(e, s->read_rc, "the file");
}

static bool pause_between(void *ctx, unsigned ms)
{
    struct scene *s = ctx;

    assert_int_equal(ms, PROXY_UPLOAD_PAUSE_MS);
    return s->pauses++ < s->pauses_max;
}

static int setup(void **state)
{
    struct scene *s = mem_zalloc(sizeof(*s));

    for (unsigned i = 0; i < BYTES; i++) {
        s->data[i] = (uint8_t)(i * 7 + i / 256);
    }
    s->pauses_max = 100;
    s->update = (struct proxy_update){
        .kind = PROXY_UPDATE_UPLOAD_STREAM, .name = slice_str("o"), .bytes = BYTES};
    s->upload = (struct proxy_upload){.ns = slice_str("ns"),
                                      .apply = {.updates = &s->update, .update_count = 1},
                                      .call = call,
                                      .read = read_data,
                                      .pause = pause_between,
                                      .ctx = s};
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* All of the steps are taken. */
static int run(struct scene *s, const struct step *steps, size_t count)
{
    int rc;

    s->steps = steps;
    s->count = (unsigned)count;
    s->at = 0;
    rc = proxy_upload_run(&s->upload);
    assert_int_equal(s->at, count);
    return rc;
}

#define RUN(s, steps) run(s, steps, sizeof(steps) / sizeof((steps)[0]))

static void it_is_sent_as_it_is_asked_for(void **state)
{
    struct scene *s = *state;
    const struct step steps[] = {{.bytes_max = 600},
                                 {.offset = 600, .bytes_max = 4 << 20},
                                 {.bytes_max = 999}, /* from the start, once more */
                                 {.offset = 999, .bytes_max = 1},
                                 {0}};

    assert_int_equal(RUN(s, steps), 0);
    assert_memory_equal(s->got, s->data, BYTES);
    assert_int_equal(s->begun, 1);
}

static void what_is_lost_before_the_last_part_begins_again(void **state)
{
    struct scene *s = *state;
    const struct step steps[] = {
        {.rc = UV_ECONNREFUSED},
        {.bytes_max = 600},
        {.rc = UV_ECONNRESET, .maybe_executed = true},
        {.bytes_max = 600}, /* another proxy, which dies: the next one knows nothing of it */
        {.offset = 600, .bytes_max = 4 << 20},
        {.rc = -EINVAL, .proxy_code = PROXY_RC_BAD_ARGUMENT},
        {.rc = ERR_BUSY, .proxy_code = PROXY_RC_BUSY},
        {.bytes_max = 1000},
        {0}};

    assert_int_equal(RUN(s, steps), 0);
    assert_memory_equal(s->got, s->data, BYTES);
    assert_int_equal(s->begun, 5);
    assert_int_equal(s->pauses, 4);
}

static void the_last_part_is_not_sent_again_when_it_may_have_been_taken(void **state)
{
    struct scene *s = *state;
    const struct step steps[] = {{.bytes_max = 600},
                                 {.offset = 600, .bytes_max = 400},
                                 {.rc = UV_EOF, .maybe_executed = true}};
    const struct step not_sent[] = {
        {.bytes_max = 1000}, {.rc = UV_EPIPE}, {.bytes_max = 1000}, {0}};
    const struct step told[] = {{.bytes_max = 1000},
                                {.rc = ERR_IN_DOUBT, .proxy_code = PROXY_RC_IN_DOUBT}};

    assert_int_equal(RUN(s, steps), ERR_IN_DOUBT);
    assert_int_equal(s->upload.err.code, ERR_IN_DOUBT);
    assert_non_null(strstr(s->upload.err.msg, "whole or not at all: step 2"));
    assert_int_equal(RUN(s, not_sent), 0);
    assert_int_equal(RUN(s, told), ERR_IN_DOUBT);
    assert_int_equal(s->upload.proxy_code, PROXY_RC_IN_DOUBT);
}

static void what_a_proxy_says_is_final_but_that_it_is_busy(void **state)
{
    struct scene *s = *state;
    const struct step refused[] = {{.rc = -EINVAL, .proxy_code = PROXY_RC_BAD_ARGUMENT}};
    const struct step older[] = {
        {.rc = ERR_UNKNOWN_OPERATION, .proxy_code = PROXY_RC_UNKNOWN_OPERATION}};
    const struct step slow[] = {{.bytes_max = 600},
                                {.rc = UV_ETIMEDOUT, .proxy_code = PROXY_RC_TIMED_OUT}};

    assert_int_equal(RUN(s, refused), -EINVAL);
    assert_int_equal(RUN(s, older), ERR_UNKNOWN_OPERATION);
    assert_int_equal(s->upload.proxy_code, PROXY_RC_UNKNOWN_OPERATION);
    assert_int_equal(RUN(s, slow), UV_ETIMEDOUT);
    assert_int_equal(s->pauses, 0);
}

static void it_is_given_up_when_it_does_not_get_on(void **state)
{
    struct scene *s = *state;
    const struct step dead[] = {{.rc = UV_ECONNREFUSED},
                                {.rc = UV_ECONNREFUSED},
                                {.rc = UV_ECONNREFUSED},
                                {.rc = UV_ECONNREFUSED}};
    const struct step gets_on[] = {
        {.rc = UV_ECONNREFUSED}, {.rc = UV_ECONNREFUSED}, {.rc = UV_ECONNREFUSED},
        {.bytes_max = 600},      {.rc = UV_ECONNRESET}, /* no farther than the start */
    };
    const struct step farther[] = {
        {.bytes_max = 600},     {.offset = 600, .bytes_max = 1}, {.rc = UV_ECONNRESET},
        {.bytes_max = 600},     {.offset = 600, .bytes_max = 1}, {.offset = 601, .bytes_max = 1},
        {.rc = UV_ECONNRESET},  {.rc = UV_ECONNREFUSED},         {.rc = UV_ECONNREFUSED},
        {.rc = UV_ECONNREFUSED}};

    assert_int_equal(RUN(s, dead), UV_ECONNREFUSED);
    assert_int_equal(RUN(s, gets_on), UV_ECONNRESET);
    assert_int_equal(RUN(s, farther), UV_ECONNREFUSED);
    s->pauses = s->pauses_max = 0;
    assert_int_equal(run(s, dead, 1), UV_ECONNREFUSED);
}

static void what_cannot_be_read_or_is_not_there_ends_it(void **state)
{
    struct scene *s = *state;
    const struct step beyond[] = {{.offset = BYTES, .bytes_max = 1}};
    const struct step first[] = {{.bytes_max = 1}};

    assert_int_equal(RUN(s, beyond), ERR_PROTOCOL);
    s->read_rc = ERR_FAILED;
    assert_int_equal(RUN(s, first), ERR_FAILED);
    assert_non_null(strstr(s->upload.err.msg, "the file"));
    assert_int_equal(s->pauses, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_sent_as_it_is_asked_for),
        TEST(what_is_lost_before_the_last_part_begins_again),
        TEST(the_last_part_is_not_sent_again_when_it_may_have_been_taken),
        TEST(what_a_proxy_says_is_final_but_that_it_is_busy),
        TEST(it_is_given_up_when_it_does_not_get_on),
        TEST(what_cannot_be_read_or_is_not_there_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
