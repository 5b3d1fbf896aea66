/* Puts that come in parts: of clients that keep to it, that do not, that stop, and that go. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/ns_keys.h"
#include "meta/nsm.h"
#include "meta/nsm_gc.h"
#include "net/stream.h"
#include "proxy/session.h"
#include "sim/proxy_fixture.h"
#include "wire/osd_keys.h"

enum { CHUNK_BYTES = 4 * 16384, DATA_BYTES = 10 * CHUNK_BYTES + 4711 };

struct scene {
    struct fixture *f;
    uint8_t *data;
    struct call c; /* the last one */
    bool wants;    /* it asks for this: */
    uint64_t offset;
    uint32_t bytes_max;
};

static int setup(void **state)
{
    struct scene *s = mem_zalloc(sizeof(*s));

    s->f = fixture_new(0);
    s->data = mem_alloc(DATA_BYTES);
    world_fill(s->f->w, s->data, DATA_BYTES);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct scene *s = *state;

    fixture_free(s->f);
    free(s->data);
    free(s);
    return 0;
}

/* ---- words of a client ---- */

static int32_t say(struct scene *s, const struct proxy_request *request)
{
    int32_t rc = fixture_call(s->f, request, &s->c);

    s->wants = rc == 0 && s->c.rc == 0 && s->c.reply.wants_part;
    if (s->wants) {
        s->offset = s->c.reply.want.offset;
        s->bytes_max = s->c.reply.want.bytes_max;
    }
    fixture_call_release(&s->c);
    return rc;
}

struct begin {
    uint64_t bytes;
    struct proxy_assert *assert; /* NULL: none */
    const struct checksum *checksum;
    uint32_t deadline_ms;
};

static int32_t begin(struct scene *s, const char *name, const struct begin *b)
{
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD_STREAM,
                                  .name = slice_str(name),
                                  .bytes = b->bytes,
                                  .has_checksum = b->checksum != NULL,
                                  .checksum = b->checksum != NULL ? *b->checksum : checksum_none()};
    struct proxy_request request = {.code = PROXY_APPLY_STREAM,
                                    .ns = fixture_ns(),
                                    .apply = {.asserts = b->assert,
                                              .assert_count = b->assert != NULL,
                                              .updates = &update,
                                              .update_count = 1,
                                              .deadline_ms = b->deadline_ms}};

    return say(s, &request);
}

static int32_t send_part(struct scene *s, uint64_t offset, const void *data, size_t bytes)
{
    struct proxy_request request = {.code = PROXY_STREAM_PART};

    request.part.offset = offset;
    request.part.data = slice_of(data, bytes);
    request.part.crc32c = crc32c(0, data, bytes);
    return say(s, &request);
}

/* What it asks for, or a part of that. */
static int32_t obey(struct scene *s)
{
    size_t bytes = 1 + rnd_below(&s->f->w->rnd, s->bytes_max);

    assert_true(s->offset + s->bytes_max <= DATA_BYTES);
    return send_part(s, s->offset, s->data + s->offset,
                     rnd_below(&s->f->w->rnd, 2) == 0 ? s->bytes_max : bytes);
}

static int32_t obey_to_the_end(struct scene *s)
{
    int32_t rc = 0;

    while (rc == 0 && s->wants) {
        rc = obey(s);
    }
    return rc;
}

static int32_t put(struct scene *s, const char *name, uint64_t bytes)
{
    int32_t rc = begin(s, name, &(struct begin){.bytes = bytes});

    return rc != 0 ? rc : obey_to_the_end(s);
}

static size_t count_fragments(struct world *w)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_kind_prefix(&prefix, w->ns_id, OSD_KEY_FRAGMENT);
    for (unsigned i = 0; i < w->asd_count; i++) {
        count += fake_asd_count_prefix(w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

/* What nobody will ever name is deleted. */
static void expect_nothing_left(struct scene *s)
{
    struct manifest m;

    /* A server is there all the time. */
    while (count_fragments(s->f->w) != 0 || s->f->w->engine->busy > (s->f->server != NULL)) {
        loop_fixture_run_ms(&s->f->w->base, 10);
    }
    assert_false(world_manifest(s->f->w, "o", &m));
}

/* ---- those that keep to it ---- */

static void what_comes_in_parts_reads_back(void **state)
{
    struct scene *s = *state;
    static const uint64_t sizes[] = {0,         1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1,
                                     DATA_BYTES};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        assert_int_equal(put(s, "o", sizes[i]), 0);
        world_expect(s->f->w, "o", s->data, sizes[i]);
    }
}

static void asserts_and_checksums_hold_as_for_any_put(void **state)
{
    struct scene *s = *state;
    struct proxy_assert absent = {.kind = PROXY_ASSERT_ABSENT, .name = slice_str("o")};
    struct checksum right = checksum_crc32c(crc32c(0, s->data, DATA_BYTES));
    struct checksum wrong = checksum_crc32c(right.crc32c + 1);

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .checksum = &wrong}), 0);
    assert_int_equal(obey_to_the_end(s), PROXY_RC_CHECKSUM_MISMATCH);
    expect_nothing_left(s);
    assert_int_equal(begin(s, "o", &(struct begin){DATA_BYTES, &absent, &right, 0}), 0);
    assert_int_equal(obey_to_the_end(s), 0);
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = 9, .assert = &absent}), 0);
    assert_int_equal(obey_to_the_end(s), PROXY_RC_ASSERT_FAILED);
    world_expect(s->f->w, "o", s->data, DATA_BYTES);
}

static void other_requests_may_come_between_parts(void **state)
{
    struct scene *s = *state;

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    while (s->wants && s->offset < DATA_BYTES / 2) {
        assert_int_equal(obey(s), 0);
        assert_int_equal(fixture_simple(s->f, &(struct proxy_request){.code = PROXY_GET_ALBA_ID}),
                         0);
    }
    assert_int_equal(obey_to_the_end(s), 0);
    world_expect(s->f->w, "o", s->data, DATA_BYTES);
}

static bool is_idle(void *ctx)
{
    const struct fixture *f = ctx;

    return f->server->running == 0;
}

/* What is left behind at its deadline takes no stream along: neither then nor when it ends. */
static void another_request_that_hangs_does_not_end_it(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;
    struct slice name = slice_str("none");
    struct proxy_request exists = {
        .code = PROXY_MULTI_EXISTS, .ns = fixture_ns(), .names = {.items = &name, .count = 1}};
    struct key prefix;

    proxy_server_set_timeout_ms(s->f->server, 300);
    ns_key_root(&prefix, w->ns_id, 'n');
    for (unsigned early = 0; early < 2; early++) {
        struct begin b = {.bytes = DATA_BYTES, .deadline_ms = 100000};

        assert_int_equal(begin(s, "o", &b), 0);
        assert_int_equal(obey(s), 0);
        kv_mem_hold_answer(w->kv, slice_key(&prefix));
        assert_int_equal(fixture_simple(s->f, &exists), PROXY_RC_TIMED_OUT);
        assert_int_equal(s->f->server->running, 1); /* its answer is still to come */
        if (early == 1) {
            kv_mem_answer_held(w->kv);
            loop_run_until_true(&w->base.loop, is_idle, s->f);
        }
        while (s->offset < DATA_BYTES / 2) {
            assert_int_equal(obey(s), 0);
        }
        if (early == 0) {
            kv_mem_answer_held(w->kv);
            loop_run_until_true(&w->base.loop, is_idle, s->f);
        }
        assert_int_equal(obey_to_the_end(s), 0);
        world_expect(w, "o", s->data, DATA_BYTES);
    }
}

static void limits_are_told_before_any_part(void **state)
{
    struct scene *s = *state;

    engine_set_puts(s->f->w->engine, 0.2, DATA_BYTES);
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES + 1}), PROXY_RC_TOO_LARGE);
    assert_int_equal(put(s, "o", DATA_BYTES), 0);
    engine_set_puts(s->f->w->engine, 0.2, 0);
    assert_int_equal(begin(s, "p", &(struct begin){.bytes = INT64_MAX}), PROXY_RC_TOO_LARGE);
}

/* ---- disks ---- */

static enum fake_fate sometimes(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct scene *s = ctx;

    (void)asd;
    if (request->code != ASD_APPLY || rnd_below(&s->f->w->rnd, 30) != 0) {
        return FAKE_NORMAL;
    }
    return (enum fake_fate)(FAKE_DROP + rnd_below(&s->f->w->rnd, 3));
}

static void disks_that_fail_cost_no_byte(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;

    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], sometimes, s);
    }
    for (unsigned round = 0; round < 10; round++) {
        int32_t rc = put(s, "o", DATA_BYTES);

        assert_true(rc == 0 || rc == PROXY_RC_NO_POLICY);
        if (rc == 0) {
            world_expect(w, "o", s->data, DATA_BYTES);
        }
    }
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], NULL, NULL);
    }
}

static enum fake_fate slowly(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_APPLY ? FAKE_HANG : FAKE_NORMAL;
}

/* Two chunks are in memory; for a third there is no word. */
static void nobody_is_asked_for_more_than_there_is_memory_for(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;
    uint64_t taken = 0;
    int32_t rc;

    w->engine->options.osd_timeout_ms = WORLD_HASTY_MS;
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], slowly, s);
    }
    rc = begin(s, "o", &(struct begin){.bytes = DATA_BYTES});
    while (rc == 0 && s->wants && s->offset >= taken) {
        taken = s->offset;
        rc = obey(s);
    }
    assert_in_range(taken, CHUNK_BYTES, 2 * CHUNK_BYTES);
    assert_true(rc != 0 || s->offset == 0); /* failed, or another attempt begins */
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], NULL, NULL);
    }
    rc = rc != 0 ? 0 : send_part(s, 0, NULL, 0);
    assert_true(rc == 0 || rc == PROXY_RC_UNKNOWN);
}

struct waiting {
    bool done;
    int rc;
};

static void on_gc(void *ctx, int rc, struct nsm_reply *reply)
{
    struct waiting *w = ctx;

    (void)reply;
    w->rc = rc;
    w->done = true;
}

static void end_epoch(struct world *w)
{
    struct waiting wait = {0};
    struct nsm *nsm;
    struct err e;

    assert_int_equal(registry_nsm(w->registry, "registry", &nsm, &e), 0);
    nsm_gc_advance(nsm, w->ns_id, 1, on_gc, &wait);
    loop_fixture_run_until(&w->base, &wait.done);
    assert_int_equal(wait.rc, 0);
    wait.done = false;
    nsm_gc_disable(nsm, w->ns_id, 1, on_gc, &wait);
    loop_fixture_run_until(&w->base, &wait.done);
    assert_int_equal(wait.rc, 0);
}

/* The epoch it was begun under ends: how often all of it was asked for. */
static int32_t put_over_an_epoch(struct scene *s, unsigned *ret_starts)
{
    int32_t rc = begin(s, "o", &(struct begin){.bytes = DATA_BYTES});
    bool has_ended = false;

    *ret_starts = 0;
    while (rc == 0 && s->wants) {
        *ret_starts += s->offset == 0;
        if (!has_ended && s->offset > DATA_BYTES / 2) {
            end_epoch(s->f->w);
            has_ended = true;
        }
        rc = send_part(s, s->offset, s->data + s->offset, s->bytes_max);
    }
    return rc;
}

/* The commit is refused, and all is asked for once more. */
static void what_has_to_be_uploaded_again_is_asked_for_again(void **state)
{
    struct scene *s = *state;
    unsigned starts;

    assert_int_equal(put_over_an_epoch(s, &starts), 0);
    assert_int_equal(starts, 2);
    world_expect(s->f->w, "o", s->data, DATA_BYTES);
}

/* It would outlive the next one, too. */
static void what_takes_longer_than_an_epoch_lives_is_told_so_at_once(void **state)
{
    struct scene *s = *state;
    unsigned starts;

    s->f->w->engine->epochs.keep_ms = 0; /* anything takes longer than that */
    assert_int_equal(put_over_an_epoch(s, &starts), PROXY_RC_TIMED_OUT);
    assert_non_null(strstr(s->c.text, "gc_grace_seconds"));
    assert_int_equal(starts, 1);
    expect_nothing_left(s);
    assert_int_equal(put(s, "o", DATA_BYTES), 0);
}

/* ---- those that do not keep to it ---- */

static void a_part_that_was_not_asked_for_ends_it(void **state)
{
    struct scene *s = *state;
    struct proxy_request rotten = {.code = PROXY_STREAM_PART};

    assert_int_equal(send_part(s, 0, s->data, 1), PROXY_RC_BAD_ARGUMENT); /* of no stream */
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    assert_int_equal(send_part(s, 1, s->data, 1), PROXY_RC_BAD_ARGUMENT);
    assert_int_equal(send_part(s, 0, s->data, 1), PROXY_RC_BAD_ARGUMENT); /* it is over */
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = CHUNK_BYTES}), 0);
    assert_int_equal(send_part(s, 0, s->data, CHUNK_BYTES + 1), PROXY_RC_BAD_ARGUMENT);
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    rotten.part.data = slice_of(s->data, 100);
    rotten.part.crc32c = crc32c(0, s->data, 99);
    assert_int_equal(say(s, &rotten), PROXY_RC_CHECKSUM_MISMATCH);
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    assert_int_equal(obey(s), 0);
    assert_int_equal(send_part(s, s->offset, NULL, 0), PROXY_RC_UNKNOWN); /* given up */
    expect_nothing_left(s);
    assert_int_equal(put(s, "o", DATA_BYTES), 0);
    assert_int_equal(send_part(s, DATA_BYTES, s->data, 1), PROXY_RC_BAD_ARGUMENT); /* after all */
    world_expect(s->f->w, "o", s->data, DATA_BYTES);
}

static void a_connection_has_one_stream(void **state)
{
    struct scene *s = *state;
    uint64_t offset;

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    assert_int_equal(obey(s), 0);
    offset = s->offset;
    assert_int_equal(begin(s, "p", &(struct begin){.bytes = 1}), PROXY_RC_BAD_ARGUMENT);
    s->wants = true; /* the first one goes on */
    s->offset = offset;
    s->bytes_max = 1;
    assert_int_equal(obey_to_the_end(s), 0);
    world_expect(s->f->w, "o", s->data, DATA_BYTES);
}

static void a_first_request_that_would_fill_memory_is_refused(void **state)
{
    struct scene *s = *state;
    uint8_t *id = mem_zalloc(100000);
    struct proxy_assert long_one = {
        .kind = PROXY_ASSERT_HAS_ID, .name = slice_str("o"), .object_id = slice_of(id, 100000)};

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = 1, .assert = &long_one}),
                     PROXY_RC_TOO_LARGE);
    free(id);
}

static void a_client_that_stops_is_not_waited_for(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .deadline_ms = 200}), 0);
    assert_int_equal(obey(s), 0);
    while (w->engine->streams.used_bytes != 0) {
        loop_fixture_run_ms(&w->base, 20);
    }
    assert_int_equal(send_part(s, s->offset, s->data, 1), PROXY_RC_TIMED_OUT);
    expect_nothing_left(s);
    assert_int_equal(put(s, "o", 1), 0);
}

/* Each part has its time: all of them together may take longer. */
static void a_client_that_goes_on_has_time(void **state)
{
    struct scene *s = *state;
    int32_t rc = begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .deadline_ms = 1500});

    for (unsigned i = 0; rc == 0 && i < 4; i++) {
        loop_fixture_run_ms(&s->f->w->base, 700);
        rc = obey(s);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(obey_to_the_end(s), 0);
    world_expect(s->f->w, "o", s->data, DATA_BYTES);
}

static void on_share(struct budget_share *share)
{
    (void)share;
}

static void who_is_slow_while_others_wait_for_memory_has_to_go(void **state)
{
    struct scene *s = *state;
    struct budget *budget = &s->f->w->engine->streams;
    struct budget_share other = {0};

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .deadline_ms = 100000}), 0);
    budget_take(budget, &other, budget->limit_bytes, on_share);
    assert_int_equal(budget->waiting_count, 1);
    while (budget->waiting_count != 0) { /* until the stream has given up its share */
        loop_fixture_run_ms(&s->f->w->base, 100);
    }
    loop_fixture_run_ms(&s->f->w->base, 20);
    budget_give(&other);
    assert_int_equal(send_part(s, s->offset, s->data, 1), PROXY_RC_BUSY);
    expect_nothing_left(s);
}

/* It was not its own time that it took. */
static void who_waited_for_memory_in_vain_may_come_again(void **state)
{
    struct scene *s = *state;
    struct budget *budget = &s->f->w->engine->streams;
    struct budget_share other = {0};

    budget_take(budget, &other, budget->limit_bytes, on_share);
    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .deadline_ms = 300}),
                     PROXY_RC_BUSY);
    budget_give(&other);
    assert_int_equal(budget->used_bytes, 0);
    assert_int_equal(put(s, "o", DATA_BYTES), 0);
}

/* A byte now and then is no progress either; nobody but streams waits meanwhile. */
static void drops_are_too_slow_while_other_streams_wait(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;
    struct budget *budget = &w->engine->streams;
    struct budget_share other = {0};
    struct manifest m;
    uint64_t at = 0;
    int32_t rc = begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .deadline_ms = 100000});

    budget_take(budget, &other, budget->limit_bytes, on_share);
    world_put(w, "not-in-parts", s->data, DATA_BYTES);
    world_expect(w, "not-in-parts", s->data, DATA_BYTES);
    while (rc == 0) {
        assert_true(at < DATA_BYTES);
        rc = send_part(s, s->offset, s->data + at++, 1);
        loop_fixture_run_ms(&w->base, 100);
    }
    assert_int_equal(rc, PROXY_RC_BUSY);
    loop_fixture_run_ms(&w->base, 20);
    budget_give(&other);
    assert_false(world_manifest(w, "o", &m));
}

/* It has sent what it was asked for, and waits for us. */
static void the_time_that_we_take_ourselves_is_not_the_clients(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;
    struct budget *budget = &w->engine->streams;
    struct proxy_request request = {.code = PROXY_STREAM_PART};
    struct budget_share other = {0};
    struct world_hold hold;
    uint64_t go_ms;

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES, .deadline_ms = 100000}), 0);
    budget_take(budget, &other, budget->limit_bytes, on_share);
    world_hold_threads(w, &hold);
    request.part.data = slice_of(s->data, s->bytes_max);
    request.part.crc32c = crc32c(0, s->data, s->bytes_max);
    s->c = (struct call){.code = request.code};
    proxy_request_encode(&request, &s->c.request);
    assert_int_equal(
        proxy_client_call(s->f->client, &s->c.call, &s->c.request, 20000, fixture_on_call), 0);
    loop_run_until_true(&w->base.loop, world_has_queued_work, w);
    uv_sleep(2);
    go_ms = clock_mono_ms();
    world_let_go(w, &hold);
    loop_fixture_run_until(&w->base, &s->c.done);
    assert_true(s->c.rc == 0 && s->c.reply.wants_part);
    s->offset = s->c.reply.want.offset;
    s->bytes_max = s->c.reply.want.bytes_max;
    gather_release(&s->c.request);
    fixture_call_release(&s->c);
    LIST_FOR_EACH (it, &s->f->server->sessions) {
        session_check(container_of(it, struct session, link), go_ms + NET_HURRY_TIMEOUT_MS - 1);
    }
    assert_int_equal(obey_to_the_end(s), 0);
    budget_give(&other);
    world_expect(w, "o", s->data, DATA_BYTES);
}

static void a_client_that_goes_leaves_nothing(void **state)
{
    struct scene *s = *state;
    struct world *w = s->f->w;
    bool closed = false;

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    while (s->offset < DATA_BYTES / 2) {
        assert_int_equal(obey(s), 0);
    }
    proxy_client_close(s->f->client, fixture_on_closed, &closed);
    loop_fixture_run_until(&w->base, &closed);
    while (w->engine->streams.used_bytes != 0) {
        loop_fixture_run_ms(&w->base, 20);
    }
    expect_nothing_left(s);
    s->f->client =
        proxy_client_new(&w->base.loop, &(struct proxy_client_options){.endpoints = &s->f->addr,
                                                                       .endpoint_count = 1});
    assert_int_equal(put(s, "o", DATA_BYTES), 0);
}

static void a_server_that_ends_takes_its_streams_along(void **state)
{
    struct scene *s = *state;
    bool closed = false;

    assert_int_equal(begin(s, "o", &(struct begin){.bytes = DATA_BYTES}), 0);
    assert_int_equal(obey(s), 0);
    proxy_server_close(s->f->server, fixture_on_closed, &closed);
    loop_fixture_run_until(&s->f->w->base, &closed);
    s->f->server = NULL;
    expect_nothing_left(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_comes_in_parts_reads_back),
        TEST(asserts_and_checksums_hold_as_for_any_put),
        TEST(other_requests_may_come_between_parts),
        TEST(another_request_that_hangs_does_not_end_it),
        TEST(limits_are_told_before_any_part),
        TEST(disks_that_fail_cost_no_byte),
        TEST(nobody_is_asked_for_more_than_there_is_memory_for),
        TEST(what_has_to_be_uploaded_again_is_asked_for_again),
        TEST(what_takes_longer_than_an_epoch_lives_is_told_so_at_once),
        TEST(a_part_that_was_not_asked_for_ends_it),
        TEST(a_connection_has_one_stream),
        TEST(a_first_request_that_would_fill_memory_is_refused),
        TEST(a_client_that_stops_is_not_waited_for),
        TEST(a_client_that_goes_on_has_time),
        TEST(who_is_slow_while_others_wait_for_memory_has_to_go),
        TEST(who_waited_for_memory_in_vain_may_come_again),
        TEST(drops_are_too_slow_while_other_streams_wait),
        TEST(the_time_that_we_take_ourselves_is_not_the_clients),
        TEST(a_client_that_goes_leaves_nothing),
        TEST(a_server_that_ends_takes_its_streams_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
