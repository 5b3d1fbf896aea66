/* A delete of a namespace whose name has become another's. */
#include "unit/meta/registry_fixture.h"

static void delete_and_await(struct fixture *f, struct registry *registry, const char *name)
{
    struct reg_wait w = {0};

    registry_namespace_delete(registry, name, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
}

struct late_delete {
    struct reg_wait wait; /* first: is_wanted has the callback's context */
    bool is_unwanted;
};

static bool is_wanted(void *ctx)
{
    return !((struct late_delete *)ctx)->is_unwanted;
}

static void start_held(struct fixture *f, struct script *script, struct late_delete *d)
{
    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    kv_mem_set_fate(f->kv_a, scripted, script);
    registry_namespace_delete_while(f->a, "one", is_wanted, reg_wait_cb, &d->wait);
    loop_run_until_true(&f->loop, kv_mem_has_held, f->store);
}

static void a_delete_that_lost_its_race_leaves_a_new_namespace_of_that_name_alone(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_HELD};
    struct script script = {.fates = fates, .count = 1};
    struct late_delete d = {.is_unwanted = false};
    struct fixture *f = *state;
    uint64_t id;

    start_held(f, &script, &d);
    delete_and_await(f, f->b, "one");
    assert_int_equal(create_namespace(f, f->b, "one", NULL), 0);
    id = ns_find(registry_view(f->b), "one")->id;
    assert_int_equal(kv_mem_run_held(f->store), 0);
    assert_int_equal(reg_await(f, &d.wait), ERR_NOT_FOUND);
    assert_int_equal(ns_find(refreshed(f, f->b), "one")->id, id);
}

static void a_delete_that_nobody_waits_for_any_more_is_not_begun_anew(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_HELD};
    struct script script = {.fates = fates, .count = 1};
    struct late_delete d = {.is_unwanted = false};
    struct fixture *f = *state;

    start_held(f, &script, &d);
    assert_int_equal(create_namespace(f, f->b, "other", NULL), 0);
    d.is_unwanted = true;
    assert_int_equal(kv_mem_run_held(f->store), 0);
    assert_int_equal(reg_await(f, &d.wait), UV_ECANCELED);
    assert_non_null(ns_find(refreshed(f, f->b), "one"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_delete_that_lost_its_race_leaves_a_new_namespace_of_that_name_alone),
        TEST(a_delete_that_nobody_waits_for_any_more_is_not_begun_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
