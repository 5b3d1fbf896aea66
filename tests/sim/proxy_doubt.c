/* Clients that were told "outcome unknown", or left: what they had asked for does not happen any
 * more once something else was acknowledged. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/ns_keys.h"
#include "proxy/session.h"
#include "sim/proxy_fixture.h"

enum { PATIENCE_MS = 300 };

static const char OLD[] = "what is in doubt";
static const char NEW[] = "what was acknowledged later";

/* A transaction of one update by way of the server, whose client does not wait for long. */
struct hasty {
    struct call call;
    struct proxy_update update;
};

static void hasty_start(struct fixture *f, struct hasty *h, bool is_delete)
{
    struct proxy_request request = {.code = PROXY_APPLY,
                                    .ns = fixture_ns(),
                                    .apply = {.updates = &h->update, .update_count = 1}};

    *h = (struct hasty){.update = {.kind = is_delete ? PROXY_UPDATE_DELETE : PROXY_UPDATE_UPLOAD,
                                   .name = slice_str("o")}};
    h->update.data = is_delete ? slice_of(NULL, 0) : slice_of(OLD, sizeof(OLD));
    h->call.code = request.code;
    proxy_request_encode(&request, &h->call.request);
    assert_int_equal(
        proxy_client_call(f->client, &h->call.call, &h->call.request, PATIENCE_MS, fixture_on_call),
        0);
}

static void hasty_gives_up(struct fixture *f, struct hasty *h)
{
    loop_fixture_run_until(&f->w->base, &h->call.done);
    assert_int_equal(h->call.rc, UV_ETIMEDOUT);
    assert_true(h->call.call.maybe_executed);
    gather_release(&h->call.request);
}

static bool is_held(void *ctx)
{
    struct fixture *f = ctx;

    return kv_mem_has_held_answer(f->w->kv) || kv_mem_held_count(f->w->store) != 0;
}

/* The server itself is part of what the engine counts. */
static bool is_idle(void *ctx)
{
    struct fixture *f = ctx;

    return f->server->running == 0 && f->w->engine->busy <= 1;
}

static void expect_new(struct fixture *f)
{
    loop_run_until_true(&f->w->base.loop, is_idle, f);
    world_expect(f->w, "o", NEW, sizeof(NEW));
    fixture_free(f);
}

static void a_put_whose_client_gave_up_is_not_committed_over_a_later_one(void **state)
{
    struct fixture *f = fixture_new(0);
    struct hasty h;
    struct key key;

    (void)state;
    kv_mem_hold_answer(f->w->kv, ns_key_name(&key, f->w->ns_id, slice_str("o")));
    hasty_start(f, &h, false);
    loop_run_until_true(&f->w->base.loop, is_held, f);
    hasty_gives_up(f, &h);
    assert_int_equal(world_put(f->w, "o", NEW, sizeof(NEW)), 0);
    kv_mem_answer_held(f->w->kv);
    expect_new(f);
}

static enum kv_mem_fate held_once(void *ctx, const struct kv_txn *txn)
{
    bool *was_held = ctx;
    bool is_first = !*was_held;

    (void)txn;
    *was_held = true;
    return is_first ? KV_MEM_HELD : KV_MEM_NORMAL;
}

/* Its commit comes too late in the store, and fails. */
static void loses_and_stays_lost(bool is_delete)
{
    struct fixture *f = fixture_new(0);
    bool was_held = false;
    struct hasty h;

    assert_int_equal(fixture_put(f, "o", "before", 6), 0);
    loop_run_until_true(&f->w->base.loop, is_idle, f);
    kv_mem_set_fate(f->w->kv, held_once, &was_held);
    hasty_start(f, &h, is_delete);
    loop_run_until_true(&f->w->base.loop, is_held, f);
    hasty_gives_up(f, &h);
    assert_int_equal(world_put(f->w, "o", NEW, sizeof(NEW)), 0);
    assert_int_equal(kv_mem_run_held(f->w->store), 0);
    expect_new(f);
}

static void a_put_that_lost_its_race_when_its_client_had_left_is_not_begun_anew(void **state)
{
    (void)state;
    loses_and_stays_lost(false);
}

static void a_delete_that_lost_its_race_when_its_client_had_left_is_not_begun_anew(void **state)
{
    (void)state;
    loses_and_stays_lost(true);
}

/* Another's change of the registry comes first, and then the deadline. */
static void
a_namespace_delete_that_lost_its_race_is_not_begun_anew_behind_the_deadline(void **state)
{
    struct fixture *f = fixture_new(0);
    struct registry *other = registry_new(kv_mem_open(&f->w->base.loop, f->w->store));
    struct proxy_request request = {.code = PROXY_DELETE_NAMESPACE, .ns = fixture_ns()};
    struct call c = {.code = PROXY_DELETE_NAMESPACE};
    bool was_held = false, created = false, refreshed = false, closed = false;

    (void)state;
    uv_timer_stop(&f->server->timer); /* it does not look after deadlines itself */
    kv_mem_set_fate(f->w->kv, held_once, &was_held);
    proxy_request_encode(&request, &c.request);
    assert_int_equal(proxy_client_call(f->client, &c.call, &c.request, 20000, fixture_on_call), 0);
    loop_run_until_true(&f->w->base.loop, is_held, f);
    registry_namespace_create(other, "other", "p", world_registry_done, &created);
    loop_fixture_run_until(&f->w->base, &created);
    LIST_FOR_EACH (it, &f->server->sessions) {
        container_of(it, struct session, link)->deadline_ms = clock_mono_ms();
    }
    assert_int_equal(kv_mem_run_held(f->w->store), 0);
    loop_fixture_run_until(&f->w->base, &c.done);
    assert_int_equal(c.proxy_code, PROXY_RC_TIMED_OUT);
    gather_release(&c.request);
    fixture_call_release(&c);
    registry_refresh(f->w->registry, world_registry_done, &refreshed);
    loop_fixture_run_until(&f->w->base, &refreshed);
    assert_non_null(registry_view_namespace_find(registry_view(f->w->registry), "ns", 2));
    registry_close(other, loop_set_true, &closed);
    loop_fixture_run_until(&f->w->base, &closed);
    fixture_free(f);
}

struct end {
    bool done;
    int rc;
    int32_t proxy_rc;
};

static void on_sequence(void *ctx, struct sequence *sequence, int rc)
{
    *(struct end *)ctx =
        (struct end){.done = true, .rc = rc, .proxy_rc = sequence_proxy_rc(sequence)};
}

static void a_proxy_that_was_stopped_commits_nothing_behind_the_deadline(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,4,2]]", 16384, "lz4"));
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(OLD, sizeof(OLD))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1, .deadline_ms = PATIENCE_MS};
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &apply};
    struct end end = {0};
    struct key key;
    uint8_t *data;
    size_t bytes;

    (void)state;
    kv_mem_hold_answer(w->kv, ns_key_name(&key, w->ns_id, slice_str("o")));
    sequence_start(w->engine, &spec, on_sequence, &end);
    loop_fixture_run_ms(&w->base, PATIENCE_MS + 10);
    assert_true(kv_mem_has_held_answer(w->kv));
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &end.done);
    assert_int_equal(end.rc, UV_ETIMEDOUT);
    assert_int_equal(end.proxy_rc, PROXY_RC_TIMED_OUT);
    world_settle(w);
    assert_int_equal(world_get(w, "o", &data, &bytes), ERR_NOT_FOUND);
    world_free(w);
}

static enum kv_mem_fate always_lost(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_LOST_REQUEST;
}

/* The server's is 3 s, and the client of the fixture waits for 20. */
static void no_client_has_a_longer_deadline_than_the_servers(void **state)
{
    struct fixture *f = fixture_new(0);
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o")};
    struct proxy_request request = {
        .code = PROXY_APPLY,
        .ns = fixture_ns(),
        .apply = {.updates = &update, .update_count = 1, .deadline_ms = UINT32_MAX}};

    (void)state;
    kv_mem_set_fate(f->w->kv, always_lost, NULL);
    assert_int_equal(fixture_simple(f, &request), PROXY_RC_IN_DOUBT);
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    fixture_free(f);
}

/* What the metadata never answers; ctest's limit ends a server that does not. */
static void a_server_ends_while_the_metadata_keeps_a_commit(void **state)
{
    struct fixture *f = fixture_new(0);
    bool was_held = false, closed = false;
    struct hasty h;

    (void)state;
    kv_mem_set_fate(f->w->kv, held_once, &was_held);
    hasty_start(f, &h, false);
    loop_run_until_true(&f->w->base.loop, is_held, f);
    proxy_server_close(f->server, fixture_on_closed, &closed);
    f->server = NULL;
    hasty_gives_up(f, &h);
    loop_run_until(&f->w->base.loop, &closed);
    assert_int_equal(kv_mem_held_count(f->w->store), 0);
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_whose_client_gave_up_is_not_committed_over_a_later_one),
        cmocka_unit_test(a_put_that_lost_its_race_when_its_client_had_left_is_not_begun_anew),
        cmocka_unit_test(a_delete_that_lost_its_race_when_its_client_had_left_is_not_begun_anew),
        cmocka_unit_test(
            a_namespace_delete_that_lost_its_race_is_not_begun_anew_behind_the_deadline),
        cmocka_unit_test(a_proxy_that_was_stopped_commits_nothing_behind_the_deadline),
        cmocka_unit_test(no_client_has_a_longer_deadline_than_the_servers),
        cmocka_unit_test(a_server_ends_while_the_metadata_keeps_a_commit),
    };

    return cmocka_run_group_tests_name("doubt", tests, NULL, NULL);
}
