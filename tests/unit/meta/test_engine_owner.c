/* An engine is one registry's or one NSM host's: two albas on one engine would delete each
 * other's objects, because their namespaces have the same ids. */
#include "unit/meta/registry_fixture.h"

#include "meta/engine_owner.h"
#include "meta/ns_keys.h"
#include "meta/registry_record.h"

#define FAR "asd://127.0.0.1:1"   /* f->host_store */
#define NEAR "asd://127.0.0.1:2"  /* `near` */
#define OURS "asd://127.0.0.1:8"  /* f->store: the registry of `a` and `b` */
#define OTHER "asd://127.0.0.1:9" /* the registry of another alba */

static struct kv_mem_store *near, *other_store;
static struct registry *other;
static struct script marking; /* fates of what is sent to hosts */

static int open_by_url(uv_loop_t *loop, const char *url, struct net_tls *tls, struct kv **ret_kv,
                       struct err *e)
{
    struct kv_mem_store *stores[] = {current->host_store, near, current->store, other_store};
    const char *urls[] = {FAR, NEAR, OURS, OTHER};

    (void)tls;
    (void)e;
    for (unsigned i = 0; i < 4; i++) {
        if (strcmp(urls[i], url) == 0) {
            *ret_kv = kv_mem_open(loop, stores[i]);
            kv_mem_set_fate(*ret_kv, scripted, &marking);
            return 0;
        }
    }
    fail_msg("%s was not to be opened", url);
    return ERR_CONFIG;
}

static int setup_albas(void **state)
{
    struct reg_wait w = {0};
    struct fixture *f;

    assert_int_equal(setup(state), 0);
    f = *state;
    near = kv_mem_store_new(3);
    other_store = kv_mem_store_new(4);
    marking = (struct script){0};
    other = registry_new(kv_mem_open(&f->loop, other_store));
    f->a->open_kv = f->b->open_kv = other->open_kv = open_by_url;
    registry_init(other, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    return 0;
}

static int teardown_albas(void **state)
{
    close_registry(other);
    assert_int_equal(teardown(state), 0);
    kv_mem_store_free(near);
    kv_mem_store_free(other_store);
    return 0;
}

#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_albas, teardown_albas)

static const char *alba_of(const struct registry *registry)
{
    return registry_view_alba_id(registry_view(registry));
}

static int add(struct fixture *f, struct registry *registry, const char *id, const char *url,
               struct reg_wait *w)
{
    registry_nsm_host_add(registry, id, url, false, reg_wait_cb, w);
    return reg_await(f, w);
}

static int update(struct fixture *f, const char *id, const char *url, bool is_lost, bool adopts,
                  struct reg_wait *w)
{
    registry_nsm_host_update(f->a, id, url, is_lost, adopts, reg_wait_cb, w);
    return reg_await(f, w);
}

static const char *url_of(struct fixture *f, const char *id)
{
    return registry_view_nsm_host_find(refreshed(f, f->a), id)->url;
}

/* As the mark in `store` says. */
static bool is_marked(struct kv_mem_store *store, const char *alba_id, const char *host_id)
{
    struct slice value;
    struct key key;
    json_t *json;
    struct err e;
    bool is_so;

    if (!kv_mem_peek(store, engine_mark_key(&key), &value)) {
        return false;
    }
    assert_int_equal(value_open_json(slice_key(&key), value, &json, &e), 0);
    is_so = strcmp(json_text(json, "alba_id", ""), alba_id) == 0 &&
            strcmp(json_text(json, "host_id", ""), host_id) == 0;
    json_decref(json);
    return is_so;
}

static void change_store(struct fixture *f, struct kv_mem_store *store, struct kv_txn *txn)
{
    struct kv *kv = kv_mem_open(&f->loop, store);
    struct kv_wait w = {0};
    bool closed = false;

    kv_apply(kv, txn, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    kv_txn_release(txn);
    kv_close(kv, loop_set_true, &closed);
    loop_run_until(&f->loop, &closed);
}

static void remove_mark(struct fixture *f, struct kv_mem_store *store)
{
    struct kv_txn txn = {0};
    struct key key;

    kv_txn_delete(&txn, engine_mark_key(&key));
    change_store(f, store, &txn);
}

static void mark_as(struct fixture *f, struct kv_mem_store *store, const char *alba_id,
                    const char *host_id)
{
    json_t *json = json_pack("{s:s, s:s}", "alba_id", alba_id, "host_id", host_id);
    struct kv_txn txn = {0};
    struct buf value = {0};
    struct key key;

    value_make_json(&value, engine_mark_key(&key), json);
    kv_txn_put(&txn, slice_key(&key), slice_buf(&value));
    change_store(f, store, &txn);
    buf_release(&value);
    json_decref(json);
}

/* ---- add ---- */

static void of_two_albas_that_add_one_engine_at_once_one_has_it(void **state)
{
    struct fixture *f = *state;

    kv_mem_store_jitter(f->host_store, 5);
    for (unsigned i = 0; i < 40; i++) {
        struct reg_wait wa = {0}, wo = {0};
        char id[16];
        bool is_ours;

        snprintf(id, sizeof(id), "h%u", i);
        registry_nsm_host_add(f->a, id, FAR, false, reg_wait_cb, &wa);
        registry_nsm_host_add(other, id, FAR, false, reg_wait_cb, &wo);
        reg_await(f, &wa);
        reg_await(f, &wo);
        is_ours = wa.rc == 0;
        assert_int_equal(is_ours ? wo.rc : wo.rc == 0 ? wa.rc : 0, ERR_EXISTS);
        assert_true(is_marked(f->host_store, alba_of(is_ours ? f->a : other), id));
        assert_non_null(strstr(is_ours ? wo.err.msg : wa.err.msg, alba_of(is_ours ? f->a : other)));
        remove_mark(f, f->host_store);
    }
}

static void an_add_that_stopped_behind_the_mark_is_done_by_the_next(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    mark_as(f, f->host_store, alba_of(f->a), "far");
    assert_int_equal(add(f, f->a, "another", FAR, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "--id=far"));
    assert_int_equal(add(f, other, "far", FAR, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, alba_of(f->a)));
    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    assert_string_equal(url_of(f, "far"), FAR);
    assert_int_equal(add(f, f->a, "far", NEAR, &w), ERR_EXISTS);
    assert_int_equal(kv_mem_count_prefix(near, text("/alba/v1/")), 0);
}

static void an_add_survives_lost_replies_of_its_mark(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REPLY, KV_MEM_LOST_REQUEST, KV_MEM_LATE};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        struct reg_wait w = {0};
        char id[8];

        marking = (struct script){.fates = &fates[i], .count = 1};
        snprintf(id, sizeof(id), "h%u", i);
        assert_int_equal(add(f, f->a, id, FAR, &w), 0);
        assert_int_equal(marking.used, 1);
        assert_int_equal(kv_mem_run_late(f->host_store), 0);
        assert_true(is_marked(f->host_store, alba_of(f->a), id));
        remove_mark(f, f->host_store);
    }
}

static void the_engine_of_a_registry_is_no_further_host(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    assert_int_equal(add(f, f->a, "own", OURS, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "NSM host 'registry'"));
    assert_int_equal(add(f, f->a, "theirs", OTHER, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, alba_of(other)));
    assert_int_equal(registry_view_nsm_host_count(refreshed(f, f->a)), 1);
    assert_int_equal(kv_mem_count_prefix(other_store, text("/alba/v1/host")), 0);
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/host")), 0);
}

static void no_registry_is_made_where_a_host_is(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct registry *third = registry_new(kv_mem_open(&f->loop, f->host_store));

    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    registry_init(third, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, alba_of(f->a)));
    close_registry(third);
    assert_int_equal(kv_mem_count_prefix(f->host_store, text("/alba/v1/")), 1);
}

static void of_a_registry_and_a_host_that_come_at_once_one_has_the_engine(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 40; i++) {
        struct kv_mem_store *was = near;
        struct reg_wait wa = {0}, wt = {0};
        struct registry *third;
        char id[16];

        near = kv_mem_store_new(100 + i);
        kv_mem_store_jitter(near, 5);
        third = registry_new(kv_mem_open(&f->loop, near));
        snprintf(id, sizeof(id), "h%u", i);
        registry_nsm_host_add(f->a, id, NEAR, false, reg_wait_cb, &wa);
        registry_init(third, reg_wait_cb, &wt);
        reg_await(f, &wa);
        reg_await(f, &wt);
        assert_int_equal(wa.rc == 0 ? wt.rc : wt.rc == 0 ? wa.rc : 0, ERR_EXISTS);
        assert_int_equal(kv_mem_count_prefix(near, text("/alba/v1/host")), wa.rc == 0);
        close_registry(third);
        kv_mem_store_free(was);
    }
}

static void namespaces_of_nobody_are_taken_only_when_somebody_says_so(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct kv_txn txn = {0};
    struct key key;

    kv_txn_put(&txn, ns_key_info(&key, 7), text("what of it"));
    change_store(f, f->host_store, &txn);
    assert_int_equal(add(f, f->a, "far", FAR, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "--adopt"));
    assert_int_equal(kv_mem_count_prefix(f->host_store, text("/alba/v1/host")), 0);
    registry_nsm_host_add(f->a, "far", FAR, true, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_nsm_host_add(other, "far", FAR, true, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS); /* it is somebody's now */
    assert_true(is_marked(f->host_store, alba_of(f->a), "far"));
}

/* ---- update ---- */

static void a_host_moves_to_its_own_engine_or_an_empty_one(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    assert_int_equal(add(f, other, "near", NEAR, &w), 0);
    assert_int_equal(update(f, "far", NEAR, false, false, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, alba_of(other)));
    assert_int_equal(update(f, "far", NEAR, true, false, &w), ERR_EXISTS);
    assert_int_equal(update(f, "far", OTHER, false, true, &w), ERR_EXISTS);
    assert_int_equal(update(f, "far", OURS, false, false, &w), ERR_EXISTS);
    assert_string_equal(url_of(f, "far"), FAR);
    remove_mark(f, near); /* another ASD, as it were */
    assert_int_equal(update(f, "far", NEAR, false, false, &w), 0);
    assert_true(is_marked(near, alba_of(f->a), "far"));
    assert_int_equal(update(f, "far", FAR, false, false, &w), 0); /* and back */
    assert_int_equal(update(f, "nobody", NEAR, false, false, &w), ERR_NOT_FOUND);
}

static void a_host_with_namespaces_moves_only_to_where_they_are(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    registry_nsm_host_update(f->a, "registry", OURS, true, false, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0); /* so that the namespace goes to the other */
    registry_namespace_create(f->a, "one", NULL, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(update(f, "far", NEAR, false, false, &w), ERR_NOT_FOUND);
    assert_non_null(strstr(w.err.msg, "restore-metadata --host=far"));
    assert_string_equal(url_of(f, "far"), FAR);
    assert_int_equal(update(f, "far", NEAR, true, false, &w), 0); /* to restore it there */
    assert_int_equal(update(f, "far", NEAR, false, false, &w), 0);
    assert_int_equal(update(f, "far", FAR, false, false, &w), 0); /* it is marked, too */
}

static void a_lost_host_is_not_asked(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    mark_as(f, f->host_store, alba_of(other), "theirs"); /* its address is another's by now */
    assert_int_equal(update(f, "far", FAR, true, false, &w), 0);
    assert_true(registry_view_nsm_host_find(refreshed(f, f->a), "far")->is_lost);
    assert_int_equal(update(f, "far", FAR, false, false, &w), ERR_EXISTS);
}

static void the_registrys_host_stays_the_registrys_by_any_url(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    assert_int_equal(update(f, "registry", OURS, true, false, &w), 0);
    assert_true(registry_view_nsm_host_find(refreshed(f, f->a), "registry")->is_lost);
    assert_string_equal(url_of(f, "registry"), "registry:");
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/host")), 0);
}

static void a_damaged_mark_is_written_anew_only_when_somebody_says_so(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct kv_txn txn = {0};
    struct key key;

    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    kv_txn_put(&txn, engine_mark_key(&key), text("rotten"));
    change_store(f, f->host_store, &txn);
    assert_int_equal(update(f, "far", FAR, false, false, &w), ERR_CORRUPT);
    assert_non_null(strstr(w.err.msg, "--adopt"));
    assert_int_equal(update(f, "far", FAR, false, true, &w), 0);
    assert_true(is_marked(f->host_store, alba_of(f->a), "far"));
}

/* ---- hosts of before there were marks ---- */

/* `far`, not marked, with namespace `id` that goes to it. */
static uint64_t old_host(struct fixture *f)
{
    struct reg_wait w = {0};

    assert_int_equal(create_namespace(f, f->a, "here", NULL), 0);
    assert_int_equal(add(f, f->a, "far", FAR, &w), 0);
    assert_int_equal(create_namespace(f, f->a, "there", NULL), 0);
    remove_mark(f, f->host_store);
    assert_string_equal(ns_find(refreshed(f, f->a), "there")->nsm_host, "far");
    return ns_find(registry_view(f->a), "there")->id;
}

static void a_host_without_a_mark_gets_it_when_it_is_used(void **state)
{
    struct fixture *f = *state;

    old_host(f);
    assert_int_equal(create_namespace(f, f->b, "two", NULL), 0);
    assert_int_equal(create_namespace(f, f->b, "three", NULL), 0);
    assert_int_equal(registry_view_nsm_host_load(refreshed(f, f->b), "far"), 2);
    assert_true(is_marked(f->host_store, alba_of(f->a), "far"));
}

static void nothing_is_made_or_ended_on_an_engine_that_is_another_albas(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    uint64_t id = old_host(f);
    struct key key;

    mark_as(f, f->host_store, alba_of(other), "theirs");
    registry_namespace_create(f->a, "more", NULL, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "alba update-nsm-host"));
    assert_non_null(strstr(w.err.msg, alba_of(other)));
    assert_null(ns_find(refreshed(f, f->a), "more"));
    registry_namespace_delete(f->a, "there", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_true(kv_mem_peek(f->host_store, ns_key_epoch(&key, id, 1), NULL)); /* theirs */
    assert_int_equal(update(f, "far", FAR, true, false, &w), 0);
    assert_int_equal(create_namespace(f, f->a, "more", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_two_albas_that_add_one_engine_at_once_one_has_it),
        TEST(an_add_that_stopped_behind_the_mark_is_done_by_the_next),
        TEST(an_add_survives_lost_replies_of_its_mark),
        TEST(the_engine_of_a_registry_is_no_further_host),
        TEST(no_registry_is_made_where_a_host_is),
        TEST(of_a_registry_and_a_host_that_come_at_once_one_has_the_engine),
        TEST(namespaces_of_nobody_are_taken_only_when_somebody_says_so),
        TEST(a_host_moves_to_its_own_engine_or_an_empty_one),
        TEST(a_host_with_namespaces_moves_only_to_where_they_are),
        TEST(a_lost_host_is_not_asked),
        TEST(the_registrys_host_stays_the_registrys_by_any_url),
        TEST(a_damaged_mark_is_written_anew_only_when_somebody_says_so),
        TEST(a_host_without_a_mark_gets_it_when_it_is_used),
        TEST(nothing_is_made_or_ended_on_an_engine_that_is_another_albas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
