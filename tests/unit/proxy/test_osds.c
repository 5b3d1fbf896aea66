/* The view of the OSDs against fake ASDs behind sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "lib/loop_fixture.h"
#include "loop/run.h"
#include "proxy/osd_call.h"
#include "proxy/osd_probe.h"
#include "sim/proxy_fake_asd.h"
#include "wire/asd_request.h"

enum { ASDS = 3, TIMEOUT_MS = 200 };

struct fixture {
    struct loop_fixture base;
    struct fake_asd *asds[ASDS];
    struct osds *osds;
    enum fake_fate fate;
    unsigned left; /* of that fate; then normal */
};

static void set(struct fixture *f, unsigned count)
{
    struct osds_entry entries[ASDS] = {0};
    struct net_addr addrs[ASDS];
    static const char *const ids[] = {"d0", "d1", "d2"};
    static const char *const nodes[] = {"n0", "n1", "n2"};
    struct err e;

    for (unsigned i = 0; i < count; i++) {
        entries[i] = (struct osds_entry){.id = i + 1,
                                         .long_id = ids[i],
                                         .node_id = nodes[i],
                                         .addrs = &addrs[i],
                                         .addr_count = 1,
                                         .total_bytes = 100};
        CHECK(net_addr_tcp(&addrs[i], "127.0.0.1", f->asds[i]->port, &e) == 0);
    }
    osds_set(f->osds, entries, count);
}

static int setup(void **state)
{
    static const char *const near[] = {"n1"};
    struct fixture *f = mem_zalloc(sizeof(*f));

    log_set_level(LOG_NONE);
    loop_fixture_init(&f->base);
    for (unsigned i = 0; i < ASDS; i++) {
        char id[8];

        snprintf(id, sizeof(id), "d%u", i);
        f->asds[i] = fake_asd_new(&f->base.loop, id);
    }
    f->osds = osds_new(&f->base.loop, &(struct osds_options){.timeout_ms = TIMEOUT_MS,
                                                             .near_places = near,
                                                             .near_place_count = 1});
    set(f, ASDS);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    bool closed = false;

    osds_close(f->osds, loop_set_true, &closed);
    loop_fixture_run_until(&f->base, &closed);
    for (unsigned i = 0; i < ASDS; i++) {
        fake_asd_free(f->asds[i]);
    }
    loop_fixture_release(&f->base);
    free(f);
    return 0;
}

static enum fake_fate fate_of(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct fixture *f = ctx;

    (void)asd;
    (void)request;
    if (f->left == 0) {
        return FAKE_NORMAL;
    }
    f->left--;
    return f->fate;
}

static void set_fate(struct fixture *f, unsigned asd, enum fake_fate fate)
{
    f->fate = fate;
    f->left = UINT32_MAX;
    fake_asd_set_fate(f->asds[asd], fate_of, f);
}

struct call {
    struct osd_call call;
    struct gather request;
    bool done;
    int rc;
};

static void on_call(struct osd_call *call, int rc)
{
    struct call *c = container_of(call, struct call, call);

    c->rc = rc;
    c->done = true;
    buf_release(&call->asd.failed_key);
}

static void start(struct fixture *f, struct call *c, uint64_t osd_id)
{
    struct slice key = slice_str("k");
    struct asd_request request = {.code = ASD_MULTI_EXISTS, .keys = {.items = &key, .count = 1}};

    *c = (struct call){0};
    asd_request_encode(&request, &c->request);
    assert_int_equal(osd_call_start(osds_find(f->osds, osd_id), &c->call, &c->request, OSD_READ,
                                    TIMEOUT_MS, on_call),
                     0);
    assert_false(c->done);
}

static int wait_for(struct fixture *f, struct call *c)
{
    loop_fixture_run_until(&f->base, &c->done);
    gather_release(&c->request);
    return c->rc;
}

static int ask(struct fixture *f, uint64_t osd_id)
{
    struct call c;

    start(f, &c, osd_id);
    return wait_for(f, &c);
}

static bool is_usable(struct fixture *f, uint64_t osd_id)
{
    return osd_is_usable(osds_find(f->osds, osd_id), false);
}

static void a_failed_osd_is_set_aside_and_taken_back_when_it_answers(void **state)
{
    struct fixture *f = *state;
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_HANG, FAKE_GARBAGE};

    for (size_t i = 0; i < sizeof(fates) / sizeof(*fates); i++) {
        assert_int_equal(ask(f, 1), 0);
        set_fate(f, 0, fates[i]);
        assert_int_not_equal(ask(f, 1), 0);
        assert_false(is_usable(f, 1));
        assert_true(is_usable(f, 2));
        assert_int_equal(osds_aside_count(f->osds), 1);
        set_fate(f, 0, FAKE_NORMAL);
        for (unsigned n = 0; n < 150 && !is_usable(f, 1); n++) {
            loop_fixture_run_ms(&f->base, 20);
        }
        assert_true(is_usable(f, 1)); /* the probe found it */
    }
    assert_true(osds_find(f->osds, 1)->failures[0].time_s > 0);
}

static void one_lost_connection_is_made_good_by_sending_again(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, 1), 0);
    set_fate(f, 0, FAKE_DROP);
    f->left = 1;
    assert_int_equal(ask(f, 1), 0);
    assert_true(is_usable(f, 1));
    set_fate(f, 0, FAKE_DROP); /* again and again */
    assert_int_not_equal(ask(f, 1), 0);
    assert_false(is_usable(f, 1));
}

static void a_full_osd_is_read_but_gets_nothing_new(void **state)
{
    struct fixture *f = *state;

    set_fate(f, 0, FAKE_FULL);
    assert_int_equal(ask(f, 1), ERR_FULL);
    assert_false(is_usable(f, 1));
    assert_true(osd_is_usable(osds_find(f->osds, 1), true)); /* for who may use the reserve */
    assert_false(osds_find(f->osds, 1)->aside);
}

static void busy_and_canceled_calls_say_nothing_about_an_osd(void **state)
{
    struct fixture *f = *state;
    struct call c;

    set_fate(f, 0, FAKE_BUSY);
    assert_int_equal(ask(f, 1), ERR_BUSY);
    set_fate(f, 0, FAKE_HANG);
    start(f, &c, 1);
    osd_call_cancel(&c.call);
    osd_call_cancel(&c.call);
    assert_false(c.done);
    assert_int_equal(wait_for(f, &c), ERR_CANCELED);
    assert_true(is_usable(f, 1));
}

static void calls_beyond_the_limit_wait_and_fail_together_with_a_hanging_osd(void **state)
{
    struct fixture *f = *state;
    unsigned count = OSD_CALLS_MAX + 50;
    struct call *calls = mem_array(count, sizeof(*calls));

    set_fate(f, 0, FAKE_HANG);
    for (unsigned i = 0; i < count; i++) {
        start(f, &calls[i], 1);
    }
    assert_int_equal(osds_find(f->osds, 1)->in_flight, OSD_CALLS_MAX);
    osd_call_cancel(&calls[count - 1].call); /* one that waits */
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(wait_for(f, &calls[i]), i == count - 1 ? ERR_CANCELED : UV_ETIMEDOUT);
    }
    free(calls);
}

static void reads_prefer_what_is_well_then_near_then_idle(void **state)
{
    struct fixture *f = *state;
    struct osd *a = osds_find(f->osds, 1), *near = osds_find(f->osds, 2),
               *c = osds_find(f->osds, 3);

    assert_true(osd_read_cost(near) < osd_read_cost(a));
    a->latency_ms = 50;
    assert_true(osd_read_cost(c) < osd_read_cost(a));
    near->latency_ms = 1000;
    assert_true(osd_read_cost(near) < osd_read_cost(c));
    near->aside = true;
    assert_true(osd_read_cost(c) < osd_read_cost(near));
}

static void the_list_follows_the_registry(void **state)
{
    struct fixture *f = *state;
    unsigned count;
    const struct choose_osd *list;

    set(f, 2);
    assert_int_equal(osds_count(f->osds), 2);
    assert_true(osds_find(f->osds, 3)->gone);
    assert_false(is_usable(f, 3));
    set(f, 3);
    assert_true(is_usable(f, 3));
    list = osds_choose_list(f->osds, false, osds_find(f->osds, 2), &count);
    assert_int_equal(count, 3);
    assert_true(list[0].usable && !list[1].usable && list[2].usable);
    assert_int_equal(list[2].osd_id, osds_at(f->osds, 2)->id);
    assert_null(osds_find(f->osds, 99));
}

static void an_osd_that_left_while_aside_is_probed_when_it_returns(void **state)
{
    struct fixture *f = *state;

    set_fate(f, 2, FAKE_ERROR);
    assert_int_not_equal(ask(f, 3), 0);
    assert_false(is_usable(f, 3));
    set(f, 2);
    loop_fixture_run_ms(&f->base, 500); /* nothing to probe: the timer ends */
    set_fate(f, 2, FAKE_NORMAL);
    set(f, 3);
    assert_false(is_usable(f, 3));
    for (unsigned n = 0; n < 150 && !is_usable(f, 3); n++) {
        loop_fixture_run_ms(&f->base, 20);
    }
    assert_true(is_usable(f, 3));
}

static void on_probed(struct osds_probe_wait *wait)
{
    wait->cb = NULL;
}

static void who_waits_for_those_set_aside_does_not_wait_for_slow_ones(void **state)
{
    struct fixture *f = *state;
    struct osds_probe_wait wait;
    unsigned applies = f->asds[0]->applies;

    set_fate(f, 2, FAKE_ERROR);
    assert_int_not_equal(ask(f, 3), 0);
    set_fate(f, 2, FAKE_NORMAL);
    osds_find(f->osds, 1)->slow.is = true;
    osds_find(f->osds, 1)->probe_at_ms = UINT64_MAX; /* not by itself */
    osds_probe_all(f->osds, &wait, on_probed);
    while (wait.cb != NULL) {
        loop_fixture_run_ms(&f->base, 5);
    }
    assert_true(is_usable(f, 3));
    assert_int_equal(f->asds[0]->applies, applies);
}

static void an_osd_with_another_identity_is_not_used(void **state)
{
    struct fixture *f = *state;
    struct net_addr addr;
    struct osds_entry entries[1] = {
        {.id = 1, .long_id = "d0", .node_id = "n0", .addrs = &addr, .addr_count = 1}};
    struct err e;

    /* the registry says d0 is where d1 listens */
    assert_int_equal(net_addr_tcp(&addr, "127.0.0.1", f->asds[1]->port, &e), 0);
    assert_int_equal(ask(f, 1), 0);
    osds_set(f->osds, entries, 1);
    assert_int_equal(ask(f, 1), ERR_IDENTITY);
    assert_false(is_usable(f, 1));
}

static void an_osd_that_moved_is_asked_where_it_is_now(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ask(f, 1), 0);
    fake_asd_free(f->asds[0]);
    loop_fixture_run_ms(&f->base, 10); /* its connection ends */
    f->asds[0] = fake_asd_new(&f->base.loop, "d0");
    set(f, ASDS);
    assert_int_equal(ask(f, 1), 0);
    assert_true(is_usable(f, 1));
}

/* The first and the second are dead: as of a network that is down. */
static void an_osd_is_asked_at_whichever_of_its_addresses_answers(void **state)
{
    struct fixture *f = *state;
    struct net_addr addrs[3];
    struct osds_entry entries[1] = {
        {.id = 1, .long_id = "d0", .node_id = "n0", .addrs = addrs, .addr_count = 3}};
    struct err e;

    assert_int_equal(net_addr_tcp(&addrs[0], "127.0.0.2", f->asds[0]->port, &e), 0);
    assert_int_equal(net_addr_tcp(&addrs[1], "127.0.0.3", f->asds[0]->port, &e), 0);
    assert_int_equal(net_addr_tcp(&addrs[2], "127.0.0.1", f->asds[0]->port, &e), 0);
    osds_set(f->osds, entries, 1);
    assert_int_equal(ask(f, 1), 0);
    assert_int_equal(ask(f, 1), 0);
    assert_true(is_usable(f, 1));
    entries[0].addr_count = 2;
    osds_set(f->osds, entries, 1);
    assert_int_equal(ask(f, 1), UV_ECONNREFUSED);
    assert_false(is_usable(f, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_failed_osd_is_set_aside_and_taken_back_when_it_answers,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(one_lost_connection_is_made_good_by_sending_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_osd_is_read_but_gets_nothing_new, setup, teardown),
        cmocka_unit_test_setup_teardown(busy_and_canceled_calls_say_nothing_about_an_osd, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            calls_beyond_the_limit_wait_and_fail_together_with_a_hanging_osd, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_prefer_what_is_well_then_near_then_idle, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_list_follows_the_registry, setup, teardown),
        cmocka_unit_test_setup_teardown(an_osd_that_left_while_aside_is_probed_when_it_returns,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_osd_is_asked_at_whichever_of_its_addresses_answers,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_waits_for_those_set_aside_does_not_wait_for_slow_ones,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(an_osd_with_another_identity_is_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(an_osd_that_moved_is_asked_where_it_is_now, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
