/* What every metadata engine must do. */
#include "unit/meta/kv_suite.h"

#include "unit/meta/fixture.h"

struct fixture {
    uv_loop_t loop;
    struct kv *a, *b; /* two clients of one store */
};

static struct kv *(*open_client)(uv_loop_t *loop);

static int setup(void **state)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    assert_int_equal(uv_loop_init(&f->loop), 0);
    f->a = open_client(&f->loop);
    f->b = open_client(&f->loop);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->a != NULL) {
        close_kv(f->a);
    }
    close_kv(f->b);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    free(f);
    return 0;
}

static void apply(struct kv *kv, struct kv_txn *txn, struct kv_wait *w)
{
    *w = (struct kv_wait){0};
    kv_apply(kv, txn, 0, kv_wait_cb, w);
    assert_false(w->done);
    loop_run_until(kv_loop(kv), &w->done);
    kv_txn_release(txn);
}

static int put(struct kv *kv, const char *key, const char *value)
{
    struct kv_txn txn = {0};
    struct kv_wait w;
    int rc;

    kv_txn_put(&txn, text(key), text(value));
    apply(kv, &txn, &w);
    rc = w.rc;
    kv_wait_release(&w);
    return rc;
}

static void delete (struct kv *kv, const char *key)
{
    struct kv_txn txn = {0};
    struct kv_wait w;

    kv_txn_delete(&txn, text(key));
    apply(kv, &txn, &w);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
}

static void expect(struct kv *kv, const char *key, const char *value)
{
    struct kv_wait w = {0};
    struct slice k = text(key);

    kv_get(kv, &k, 1, 0, kv_wait_cb, &w);
    loop_run_until(kv_loop(kv), &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, 1);
    assert_int_equal(w.items[0].found, value != NULL);
    if (value != NULL) {
        assert_true(slice_eq(w.items[0].value, text(value)));
    }
    kv_wait_release(&w);
}

static void a_transaction_is_whole_or_absent(void **state)
{
    struct fixture *f = *state;
    struct kv_txn txn = {0};
    struct kv_wait w;

    assert_int_equal(put(f->a, "/t/x", "1"), 0);
    kv_txn_assert_equal(&txn, text("/t/x"), text("1"));
    kv_txn_assert_absent(&txn, text("/t/y"));
    kv_txn_put(&txn, text("/t/y"), text("2"));
    kv_txn_delete(&txn, text("/t/x"));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    expect(f->b, "/t/x", NULL);
    expect(f->b, "/t/y", "2");

    kv_txn_put(&txn, text("/t/x"), text("3"));
    kv_txn_put(&txn, text("/t/z"), text("3"));
    kv_txn_assert_equal(&txn, text("/t/y"), text("other"));
    apply(f->b, &txn, &w);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED);
    kv_wait_release(&w);
    expect(f->a, "/t/x", NULL);
    expect(f->a, "/t/z", NULL);
    delete (f->a, "/t/y");
}

static void a_failed_assert_names_its_key(void **state)
{
    struct fixture *f = *state;
    struct kv_txn txn = {0};
    struct kv_wait w;

    assert_int_equal(put(f->a, "/t/there", "1"), 0);
    kv_txn_assert_equal(&txn, text("/t/there"), text("1"));
    kv_txn_assert_equal(&txn, text("/t/not there"), text(""));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED);
    assert_true(slice_eq(w.failed_key, text("/t/not there")));
    kv_wait_release(&w);

    kv_txn_assert_absent(&txn, text("/t/there"));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED);
    assert_true(slice_eq(w.failed_key, text("/t/there")));
    kv_wait_release(&w);

    kv_txn_assert_equal(&txn, text("/t/there"), text("1"));
    apply(f->a, &txn, &w); /* asserts alone */
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    delete (f->a, "/t/there");
}

static void an_empty_value_is_not_an_absent_key(void **state)
{
    struct fixture *f = *state;
    struct kv_txn txn = {0};
    struct kv_wait w;

    assert_int_equal(put(f->a, "/t/empty", ""), 0);
    expect(f->a, "/t/empty", "");
    kv_txn_assert_absent(&txn, text("/t/empty"));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, ERR_ASSERT_FAILED);
    kv_wait_release(&w);
    kv_txn_assert_equal(&txn, text("/t/empty"), text(""));
    kv_txn_delete(&txn, text("/t/empty"));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    expect(f->a, "/t/empty", NULL);
}

static void many_keys_are_got_in_the_order_asked(void **state)
{
    struct fixture *f = *state;
    struct kv_txn txn = {0};
    struct kv_wait w = {0};
    struct slice keys[150];
    char names[150][16];

    for (int i = 0; i < 150; i++) {
        snprintf(names[i], sizeof(names[i]), "/t/g%03d", (i * 37) % 150);
        keys[i] = text(names[i]);
        if (i % 3 != 0) {
            kv_txn_put(&txn, keys[i], keys[i]);
        }
    }
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    kv_get(f->b, keys, 150, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, 150);
    for (int i = 0; i < 150; i++) {
        assert_true(slice_eq(w.items[i].key, keys[i]));
        assert_int_equal(w.items[i].found, i % 3 != 0);
        assert_true(i % 3 == 0 || slice_eq(w.items[i].value, keys[i]));
    }
    kv_wait_release(&w);
    kv_get(f->b, NULL, 0, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, 0);
    kv_wait_release(&w);
}

/* 450 keys: more than two pages of an ASD. */
static void put_range(struct kv *kv)
{
    for (int i = 0; i < 450; i += 90) {
        struct kv_txn txn = {0};
        struct kv_wait w;

        for (int j = i; j < i + 90; j++) {
            char key[16];

            snprintf(key, sizeof(key), "/r/%04d", j);
            kv_txn_put(&txn, text(key), text(key));
        }
        apply(kv, &txn, &w);
        assert_int_equal(w.rc, 0);
        kv_wait_release(&w);
    }
}

static void expect_range(struct kv *kv, const char *low, const char *high, size_t limit,
                         bool reverse, bool keys_only, int first, size_t count, bool has_more)
{
    struct kv_wait w = {0};

    kv_range(kv,
             &(struct kv_range){.low = text(low),
                                .high = text(high),
                                .limit = limit,
                                .reverse = reverse,
                                .keys_only = keys_only},
             0, kv_wait_cb, &w);
    loop_run_until(kv_loop(kv), &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.count, count);
    assert_int_equal(w.has_more, has_more);
    for (size_t i = 0; i < count; i++) {
        char key[24];

        snprintf(key, sizeof(key), "/r/%04d", first + (reverse ? -(int)i : (int)i));
        assert_true(slice_eq(w.items[i].key, text(key)));
        assert_true(slice_eq(w.items[i].value, text(keys_only ? "" : key)));
        assert_true(w.items[i].found);
    }
    kv_wait_release(&w);
}

static void ranges_have_two_ends_a_limit_and_two_directions(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(put(f->a, "/q", "before"), 0);
    assert_int_equal(put(f->a, "/s", "behind"), 0);
    put_range(f->a);
    expect_range(f->b, "/r/", "/r0", 10000, false, false, 0, 450, false);
    expect_range(f->b, "/r/", "/r0", 10000, true, false, 449, 450, false);
    expect_range(f->b, "/r/", "/r0", 10000, true, true, 449, 450, false);
    expect_range(f->b, "/r/", "/r0", 450, false, true, 0, 450, false);
    expect_range(f->b, "/r/", "/r0", 449, false, true, 0, 449, true);
    expect_range(f->b, "/r/0100", "/r/0110", 100, false, false, 100, 10, false);
    expect_range(f->b, "/r/0100", "/r/0110", 100, true, false, 109, 10, false);
    expect_range(f->b, "/r/0100", "/r/0110", 3, true, false, 109, 3, true);
    expect_range(f->b, "/r/0100", "/r/0110", 3, false, false, 100, 3, true);
    expect_range(f->b, "/r/0100", "/r/0400", 250, false, false, 100, 250, true);
    expect_range(f->b, "/r/0110", "/r/0100", 3, false, false, 0, 0, false);
    expect_range(f->b, "/r/0100", "/r/0100", 3, true, false, 0, 0, false);
    expect_range(f->b, "/r/9", "/r0", 3, false, false, 0, 0, false);
}

static void what_is_over_a_limit_is_refused_with_the_count(void **state)
{
    struct fixture *f = *state;
    struct kv_txn txn = {0};
    struct kv_wait w;
    char key[32];
    char *big = mem_zalloc(KV_TXN_BYTES_MAX);

    for (int i = 0; i < KV_UPDATES_MAX + 1; i++) {
        snprintf(key, sizeof(key), "/t/limit %d", i);
        kv_txn_put(&txn, text(key), text(""));
    }
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, ERR_TOO_LARGE);
    assert_non_null(strstr(w.err.msg, "121 updates (at most 120)"));
    kv_wait_release(&w);
    expect(f->a, "/t/limit 0", NULL);

    kv_txn_assert_equal(&txn, text("/t/a"), slice_of(big, KV_TXN_BYTES_MAX / 2));
    kv_txn_put(&txn, text("/t/b"), slice_of(big, KV_TXN_BYTES_MAX / 2));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, ERR_TOO_LARGE);
    assert_non_null(strstr(w.err.msg, "1048584 bytes"));
    kv_wait_release(&w);

    kv_txn_put(&txn, text("/t/b"), slice_of(big, KV_TXN_BYTES_MAX - 4));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    delete (f->a, "/t/b");

    kv_txn_put(&txn, text("/t/b"), text("1"));
    kv_txn_delete(&txn, text("/t/b"));
    apply(f->a, &txn, &w);
    assert_int_equal(w.rc, -EINVAL);
    kv_wait_release(&w);
    free(big);
}

static void of_two_transactions_on_one_key_exactly_one_succeeds(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 30; i++) {
        struct kv_txn ta = {0};
        struct kv_txn tb = {0};
        struct kv_wait wa = {0};
        struct kv_wait wb = {0};

        assert_int_equal(put(f->a, "/t/cas", "0"), 0);
        kv_txn_assert_equal(&ta, text("/t/cas"), text("0"));
        kv_txn_put(&ta, text("/t/cas"), text("a"));
        kv_txn_assert_equal(&tb, text("/t/cas"), text("0"));
        kv_txn_put(&tb, text("/t/cas"), text("b"));
        kv_apply(f->a, &ta, 0, kv_wait_cb, &wa);
        kv_apply(f->b, &tb, 0, kv_wait_cb, &wb);
        loop_run_until(&f->loop, &wa.done);
        loop_run_until(&f->loop, &wb.done);
        assert_int_equal((wa.rc == 0) + (wb.rc == 0), 1);
        assert_int_equal(wa.rc + wb.rc, ERR_ASSERT_FAILED);
        expect(f->a, "/t/cas", wa.rc == 0 ? "a" : "b");
        kv_wait_release(&wa);
        kv_wait_release(&wb);
        kv_txn_release(&ta);
        kv_txn_release(&tb);
    }
}

static void closing_answers_everything_with_canceled(void **state)
{
    struct fixture *f = *state;
    struct kv_wait waits[4] = {{0}};
    struct kv_txn txn = {0};
    struct slice key = text("/t/x");
    struct err e;

    kv_txn_put(&txn, key, text("1"));
    kv_get(f->a, &key, 1, 0, kv_wait_cb, &waits[0]);
    kv_apply(f->a, &txn, 0, kv_wait_cb, &waits[1]);
    kv_sleep(f->a, 100000, kv_wait_cb, &waits[2]);
    err_set(&e, ERR_CONFIG, "asked for");
    kv_fail(f->a, &e, kv_wait_cb, &waits[3]);
    close_kv(f->a);
    f->a = NULL;
    for (int i = 0; i < 4; i++) {
        assert_true(waits[i].done);
        assert_int_equal(waits[i].rc, i == 3 ? ERR_CONFIG : ERR_CANCELED);
        kv_wait_release(&waits[i]);
    }
    kv_txn_release(&txn);
}

static void canceling_answers_everything_and_leaves_it_to_be_closed(void **state)
{
    struct fixture *f = *state;
    struct kv_wait waits[3] = {{0}};
    struct kv_txn txn = {0};
    struct slice key = text("/t/x");

    kv_txn_put(&txn, key, text("1"));
    kv_apply(f->a, &txn, 0, kv_wait_cb, &waits[0]);
    kv_sleep(f->a, 100000, kv_wait_cb, &waits[1]);
    kv_cancel(f->a);
    kv_cancel(f->a);
    kv_get(f->a, &key, 1, 0, kv_wait_cb, &waits[2]);
    for (int i = 0; i < 3; i++) {
        loop_run_until(&f->loop, &waits[i].done);
        assert_int_equal(waits[i].rc, ERR_CANCELED);
        kv_wait_release(&waits[i]);
    }
    kv_txn_release(&txn);
}

int kv_suite_run(struct kv *(*open)(uv_loop_t *loop))
{
    const struct CMUnitTest tests[] = {
        TEST(a_transaction_is_whole_or_absent),
        TEST(a_failed_assert_names_its_key),
        TEST(an_empty_value_is_not_an_absent_key),
        TEST(many_keys_are_got_in_the_order_asked),
        TEST(ranges_have_two_ends_a_limit_and_two_directions),
        TEST(what_is_over_a_limit_is_refused_with_the_count),
        TEST(of_two_transactions_on_one_key_exactly_one_succeeds),
        TEST(closing_answers_everything_with_canceled),
        TEST(canceling_answers_everything_and_leaves_it_to_be_closed),
    };

    open_client = open;
    return cmocka_run_group_tests_name("engine conformance", tests, NULL, NULL);
}
