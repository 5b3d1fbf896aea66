/* Leases: one holder at a time, by a clock that the test turns. */
#include "unit/meta/fixture.h"

#include "meta/lease.h"
#include "meta/value.h"

enum { TTL_MS = 1000, RENEW_MS = 5 };

static uint64_t fake_ms; /* of both processes */

static uint64_t fake_now(void)
{
    return fake_ms;
}

struct owner {
    struct kv *kv;
    struct lease *lease;
    bool told;
    unsigned changes;
};

struct fixture {
    uv_loop_t loop;
    struct kv_mem_store *store;
    struct owner a, b;
};

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    fake_ms = 1000000;
    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->store = kv_mem_store_new(1);
    f->a.kv = kv_mem_open(&f->loop, f->store);
    f->b.kv = kv_mem_open(&f->loop, f->store);
    *state = f;
    return 0;
}

static void close_lease(struct fixture *f, struct owner *owner)
{
    bool closed = false;

    if (owner->lease != NULL) {
        lease_close(owner->lease, loop_set_true, &closed);
        loop_run_until(&f->loop, &closed);
        owner->lease = NULL;
        owner->told = false;
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close_lease(f, &f->a);
    close_lease(f, &f->b);
    close_kv(f->a.kv);
    close_kv(f->b.kv);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    kv_mem_store_free(f->store);
    free(f);
    return 0;
}

static void on_change(void *ctx, bool is_held)
{
    struct owner *owner = ctx;

    assert_int_not_equal(owner->told, is_held);
    owner->told = is_held;
    owner->changes++;
}

static void open_lease(struct owner *owner, const char *name)
{
    owner->lease = lease_new(owner->kv, &(struct lease_options){.name = "master",
                                                                .owner = name,
                                                                .ttl_ms = TTL_MS,
                                                                .renew_ms = RENEW_MS,
                                                                .now_ms = fake_now,
                                                                .on_change = on_change,
                                                                .ctx = owner});
}

/* Let everybody have some turns at the present time. */
static void live(struct fixture *f)
{
    for (int i = 0; i < 4; i++) {
        uv_sleep(RENEW_MS);
        for (int j = 0; j < 20; j++) {
            uv_run(&f->loop, UV_RUN_NOWAIT);
            assert_false(f->a.lease != NULL && lease_is_held(f->a.lease) && f->b.lease != NULL &&
                         lease_is_held(f->b.lease));
        }
    }
}

static void the_first_holds_it_while_it_renews(void **state)
{
    struct fixture *f = *state;

    open_lease(&f->a, "a");
    live(f);
    assert_true(lease_is_held(f->a.lease) && f->a.told);
    open_lease(&f->b, "b");
    for (int i = 0; i < 10; i++) {
        fake_ms += TTL_MS / 3;
        live(f);
        assert_true(lease_is_held(f->a.lease));
        assert_false(lease_is_held(f->b.lease));
    }
    assert_in_range(lease_left_ms(f->a.lease), 1, TTL_MS);
    assert_int_equal(f->a.changes, 1);
}

static enum kv_mem_fate lost(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_LOST_REQUEST;
}

static void a_holder_that_cannot_renew_stops_before_another_begins(void **state)
{
    struct fixture *f = *state;

    open_lease(&f->a, "a");
    live(f);
    open_lease(&f->b, "b");
    live(f);
    kv_mem_set_fate(f->a.kv, lost, NULL);
    fake_ms += TTL_MS - 1;
    assert_true(lease_is_held(f->a.lease));
    fake_ms += 1;
    assert_false(lease_is_held(f->a.lease)); /* by the clock, before anybody told it */
    for (int i = 0; i < 6 && !lease_is_held(f->b.lease); i++) {
        live(f);
        fake_ms += TTL_MS / 4;
    }
    assert_true(lease_is_held(f->b.lease) && f->b.told);
    assert_false(f->a.told);
    kv_mem_set_fate(f->a.kv, NULL, NULL);
    live(f);
    assert_false(lease_is_held(f->a.lease));
}

static enum kv_mem_fate late(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_LATE;
}

static void a_renewal_that_lands_late_takes_nothing_from_the_new_holder(void **state)
{
    struct fixture *f = *state;

    open_lease(&f->a, "a");
    live(f);
    kv_mem_set_fate(f->a.kv, late, NULL);
    open_lease(&f->b, "b");
    live(f);
    fake_ms += TTL_MS;
    live(f);
    fake_ms += TTL_MS;
    live(f);
    assert_true(lease_is_held(f->b.lease));
    assert_int_equal(kv_mem_run_late(f->store), 0);
    live(f);
    assert_true(lease_is_held(f->b.lease));
}

static void a_lease_given_back_is_free_at_once(void **state)
{
    struct fixture *f = *state;

    open_lease(&f->b, "b");
    uv_sleep(1);
    for (int i = 0; i < 20; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_true(lease_is_held(f->b.lease));
    open_lease(&f->a, "a");
    live(f);
    assert_false(lease_is_held(f->a.lease));
    close_lease(f, &f->b);
    live(f);
    assert_true(lease_is_held(f->a.lease));
}

static void a_holder_that_slept_asks_the_clock(void **state)
{
    struct fixture *f = *state;

    open_lease(&f->a, "a");
    live(f);
    fake_ms += 10 * TTL_MS; /* suspended; nothing of the loop ran */
    assert_false(lease_is_held(f->a.lease));
    assert_int_equal(lease_left_ms(f->a.lease), 0);
    live(f);
    assert_true(lease_is_held(f->a.lease)); /* nobody else wanted it */
}

static void until_b_holds_it(struct fixture *f)
{
    for (int i = 0; i < 16 && !lease_is_held(f->b.lease); i++) {
        live(f); /* never both */
        fake_ms += TTL_MS / 4;
    }
    live(f);
    assert_true(lease_is_held(f->b.lease));
}

static void a_damaged_record_stops_nobody_for_ever(void **state)
{
    struct fixture *f = *state;
    struct slice value;
    struct key key;
    uint8_t *bad;

    key.len = 0;
    key_put_text(&key, "/alba/v1/reg/lease/master");
    open_lease(&f->b, "b");
    until_b_holds_it(f);
    kv_mem_damage(f->store, slice_key(&key)); /* the store cannot read it */
    close_lease(f, &f->b);
    open_lease(&f->a, "a");
    open_lease(&f->b, "b");
    for (int i = 0; i < 7; i++) { /* a holder may still believe in it */
        live(f);
        assert_false(lease_is_held(f->a.lease) || lease_is_held(f->b.lease));
        fake_ms += TTL_MS / 8;
    }
    for (int i = 0; i < 16 && !lease_is_held(f->a.lease) && !lease_is_held(f->b.lease); i++) {
        live(f);
        fake_ms += TTL_MS / 4;
    }
    assert_true(lease_is_held(f->a.lease) || lease_is_held(f->b.lease));
    close_lease(f, &f->a);
    until_b_holds_it(f);
    assert_true(kv_mem_peek(f->store, slice_key(&key), &value));
    bad = mem_dup(value.data, value.len);
    bad[value.len - 2] ^= 1; /* the store reads it well, and it is wrong */
    kv_mem_poke(f->store, slice_key(&key), slice_of(bad, value.len));
    fake_ms += TTL_MS;
    live(f);
    assert_false(lease_is_held(f->b.lease));
    until_b_holds_it(f);
    free(bad);
}

/* Its author decided on what it saw, and was held up meanwhile. */
static void a_late_replacement_of_a_damaged_record_makes_no_second_holder(void **state)
{
    struct fixture *f = *state;
    struct key key;

    key.len = 0;
    key_put_text(&key, "/alba/v1/reg/lease/master");
    kv_mem_poke(f->store, slice_key(&key), text("rubbish"));
    kv_mem_set_fate(f->a.kv, late, NULL);
    open_lease(&f->a, "a");
    live(f);
    fake_ms += TTL_MS;
    live(f); /* a replaces it, later */
    open_lease(&f->b, "b");
    until_b_holds_it(f);
    kv_mem_run_late(f->store);
    kv_mem_set_fate(f->a.kv, NULL, NULL);
    for (int i = 0; i < 12; i++) {
        live(f); /* never both */
        fake_ms += TTL_MS / 4;
    }
    assert_true(lease_is_held(f->a.lease) || lease_is_held(f->b.lease));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_holds_it_while_it_renews),
        TEST(a_holder_that_cannot_renew_stops_before_another_begins),
        TEST(a_renewal_that_lands_late_takes_nothing_from_the_new_holder),
        TEST(a_lease_given_back_is_free_at_once),
        TEST(a_holder_that_slept_asks_the_clock),
        TEST(a_damaged_record_stops_nobody_for_ever),
        TEST(a_late_replacement_of_a_damaged_record_makes_no_second_holder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
