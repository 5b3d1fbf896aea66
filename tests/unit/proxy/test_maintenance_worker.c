/* The thread of alba-maintenance against a real metadata ASD: it connects, works, hands over
 * and stops, whatever state it is in. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "lib/loop_fixture.h"
#include "loop/run.h"
#include "meta/registry.h"
#include "proxy/maintenance/worker.h"
#include "unit/meta/asd_process.h"

struct fixture {
    struct loop_fixture base;
    struct asd_process meta;
};

struct subject {
    struct worker worker;
    bool works;
    bool ended;
    int rc;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    log_set_level(LOG_NONE);
    loop_fixture_init(&f->base);
    asd_process_start(&f->meta, "meta");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_fixture_release(&f->base);
    asd_process_remove(&f->meta);
    free(f);
    return 0;
}

static void on_registry(void *ctx, int rc, const struct err *e)
{
    (void)e;
    assert_int_equal(rc, 0);
    *(bool *)ctx = true;
}

static void make_registry(struct fixture *f)
{
    bool made = false, closed = false;
    struct registry *registry;
    struct kv *kv;
    struct err e;

    assert_int_equal(kv_open(&f->base.loop, f->meta.url, NULL, &kv, &e), 0);
    registry = registry_new(kv);
    registry_init(registry, on_registry, &made);
    loop_fixture_run_until(&f->base, &made);
    registry_close(registry, loop_set_true, &closed);
    loop_fixture_run_until(&f->base, &closed);
}

static void on_work(void *ctx)
{
    ((struct subject *)ctx)->works = true;
}

static void on_end(void *ctx, int rc, const struct err *e)
{
    struct subject *s = ctx;

    s->rc = rc;
    s->err = *e;
    s->ended = true;
}

static void start(struct fixture *f, struct subject *s, const char *url)
{
    struct worker_options options = {.agent = {.grace_ms = 1000, .pause_ms = 20},
                                     .url = url,
                                     .osd_timeout_ms = 1000,
                                     .on_work = on_work,
                                     .on_end = on_end,
                                     .ctx = s};
    struct err e;

    memset(s, 0, sizeof(*s));
    assert_int_equal(worker_start(&s->worker, &f->base.loop, &options, &e), 0);
}

static void stop(struct fixture *f, struct subject *s)
{
    worker_stop(&s->worker);
    loop_fixture_run_until(&f->base, &s->ended);
    assert_int_equal(s->rc, 0);
}

static bool is_leader(struct subject *s, uint64_t *ret_rounds)
{
    struct agent_status status;

    assert_true(worker_status(&s->worker, &status));
    *ret_rounds = status.counts.rounds;
    return status.is_leader;
}

static void one_of_two_works_and_hands_over_when_it_stops(void **state)
{
    struct fixture *f = *state;
    struct subject *a = mem_zalloc(sizeof(*a)), *b = mem_zalloc(sizeof(*b));
    uint64_t rounds = 0;

    make_registry(f);
    start(f, a, f->meta.url);
    loop_fixture_run_until(&f->base, &a->works);
    while (!is_leader(a, &rounds) || rounds < 3) {
        loop_fixture_run_ms(&f->base, 10);
    }
    start(f, b, f->meta.url);
    loop_fixture_run_until(&f->base, &b->works);
    loop_fixture_run_ms(&f->base, 300);
    assert_false(is_leader(b, &rounds));
    assert_int_equal(rounds, 0);
    stop(f, a);
    while (!is_leader(b, &rounds) || rounds < 3) {
        loop_fixture_run_ms(&f->base, 10);
    }
    stop(f, b);
    free(a);
    free(b);
}

static void a_registry_that_does_not_answer_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct subject *s = mem_zalloc(sizeof(*s));
    struct agent_status status;

    make_registry(f);
    asd_process_kill(&f->meta);
    start(f, s, f->meta.url);
    loop_fixture_run_ms(&f->base, 200);
    assert_false(s->works);
    assert_false(worker_status(&s->worker, &status));
    asd_process_start(&f->meta, "meta");
    loop_fixture_run_until(&f->base, &s->works);
    stop(f, s);
    asd_process_kill(&f->meta); /* and it stops while it waits */
    start(f, s, f->meta.url);
    loop_fixture_run_ms(&f->base, 100);
    stop(f, s);
    assert_false(s->works);
    free(s);
}

static void metadata_that_dies_is_no_reason_to_end(void **state)
{
    struct fixture *f = *state;
    struct subject *s = mem_zalloc(sizeof(*s));
    uint64_t rounds, before;

    make_registry(f);
    start(f, s, f->meta.url);
    loop_fixture_run_until(&f->base, &s->works);
    while (!is_leader(s, &before)) {
        loop_fixture_run_ms(&f->base, 10);
    }
    asd_process_kill(&f->meta);
    loop_fixture_run_ms(&f->base, 200);
    asd_process_start(&f->meta, "meta");
    assert_false(s->ended);
    do {
        loop_fixture_run_ms(&f->base, 10);
        is_leader(s, &rounds);
    } while (rounds < before + 3);
    stop(f, s);
    free(s);
}

static void what_will_never_work_is_said(void **state)
{
    struct fixture *f = *state;
    struct subject *s = mem_zalloc(sizeof(*s));

    start(f, s, "arakoon://somewhere");
    loop_fixture_run_until(&f->base, &s->ended);
    assert_int_equal(s->rc, ERR_CONFIG);
    assert_non_null(strstr(s->err.msg, "albamgr_cfg_url"));
    start(f, s, f->meta.url); /* a store that nobody made metadata of */
    loop_fixture_run_until(&f->base, &s->ended);
    assert_int_equal(s->rc, ERR_IDENTITY);
    assert_non_null(strstr(s->err.msg, "is its disk mounted?"));
    assert_false(s->works);
    free(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(one_of_two_works_and_hands_over_when_it_stops),
        T(a_registry_that_does_not_answer_is_waited_for),
        T(metadata_that_dies_is_no_reason_to_end),
        T(what_will_never_work_is_said),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
