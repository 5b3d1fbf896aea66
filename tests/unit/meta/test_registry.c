/* The registry: what it keeps, races between two processes, lost replies at every step. */
#include "unit/meta/registry_fixture.h"

#include "meta/ns_keys.h"
#include "meta/nsm_gc.h"
#include "meta/registry_store.h"

/* ---- init, refresh ---- */

static void a_store_without_a_registry_says_so(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    registry_refresh(f->a, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_NOT_FOUND);
    assert_non_null(strstr(w.err.msg, "no registry in mem://"));
    assert_int_equal(create_namespace(f, f->a, "x", NULL), ERR_NOT_FOUND);
    assert_null(registry_view(f->a));
}

static void init_makes_one_registry_whoever_calls_it_how_often(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REPLY, KV_MEM_LATE};
    struct fixture *f = *state;
    struct script script = {.fates = fates, .count = 2};
    struct reg_wait wa = {0};
    struct reg_wait wb = {0};
    char id[REGISTRY_ALBA_ID_BYTES];

    kv_mem_set_fate(f->kv_a, scripted, &script);
    registry_init(f->a, reg_wait_cb, &wa);
    registry_init(f->b, reg_wait_cb, &wb);
    assert_int_equal(reg_await(f, &wa), 0);
    assert_int_equal(reg_await(f, &wb), 0);
    snprintf(id, sizeof(id), "%s", registry_view_alba_id(registry_view(f->a)));
    assert_int_equal(strlen(id), 36);
    assert_string_equal(registry_view_alba_id(registry_view(f->b)), id);
    assert_int_equal(kv_mem_run_late(f->store), 0);
    registry_init(f->b, reg_wait_cb, &wb);
    assert_int_equal(reg_await(f, &wb), 0);
    assert_string_equal(registry_view_alba_id(refreshed(f, f->a)), id);
    assert_int_equal(registry_view_version(registry_view(f->a)), 1);
    assert_string_equal(registry_view_preset_find(registry_view(f->a), NULL)->name, "default");
    assert_int_equal(registry_view_nsm_host_count(registry_view(f->a)), 1);
}

static void a_refresh_without_change_is_one_get(void **state)
{
    struct fixture *f = *state;
    const struct registry_view *view = refreshed(f, f->b);
    struct kv_mem_counts before = kv_mem_counts(f->store);
    struct kv_mem_counts after;

    assert_ptr_equal(refreshed(f, f->b), view);
    after = kv_mem_counts(f->store);
    assert_int_equal(after.gets - before.gets, 1);
    assert_int_equal(after.ranges - before.ranges, 0);
}

static void a_refresh_after_a_change_reads_what_changed(void **state)
{
    struct fixture *f = *state;
    const struct registry_view *old = registry_view_hold(refreshed(f, f->b));
    struct kv_mem_counts before;
    struct kv_mem_counts after;

    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    assert_int_equal(create_namespace(f, f->a, "two", NULL), 0);
    before = kv_mem_counts(f->store);
    assert_non_null(ns_find(refreshed(f, f->b), "one"));
    after = kv_mem_counts(f->store);
    assert_int_equal(after.gets - before.gets, 2);
    assert_int_equal(after.ranges - before.ranges, 1);
    assert_non_null(ns_find(registry_view(f->b), "two"));
    /* The old snapshot is as it was. */
    assert_int_equal(registry_view_namespace_count(old), 0);
    registry_view_drop(old);
}

static void a_reader_far_behind_reads_everything(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    refreshed(f, f->b);
    for (int i = 0; i < 600; i++) {
        registry_preset_set_default(f->a, "default", reg_wait_cb, &w);
        assert_int_equal(reg_await(f, &w), 0);
    }
    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    assert_non_null(ns_find(refreshed(f, f->b), "one"));
    assert_int_equal(registry_view_version(registry_view(f->b)), 603);
    for (int i = 0; i < 600; i++) {
        registry_preset_set_default(f->a, "default", reg_wait_cb, &w);
        assert_int_equal(reg_await(f, &w), 0);
    }
    assert_int_equal(kv_mem_count_prefix(f->store, text("/alba/v1/reg/change/")), 1024);
}

static void delete_key(struct fixture *f, const char *key)
{
    struct kv_txn txn = {0};
    struct kv_wait w = {0};

    kv_txn_delete(&txn, text(key));
    kv_apply(f->kv_b, &txn, 0, kv_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    kv_wait_release(&w);
    kv_txn_release(&txn);
}

/* Copy the whole store aside, or back: what backup and restore of the metadata do. */
static void a_reader_of_a_store_that_was_restored_reads_everything(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct slice version, change;
    struct slice version_copy, change_copy;

    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0); /* versions 2, 3 */
    assert_true(kv_mem_peek(f->store, text("/alba/v1/reg/version"), &version));
    version_copy = slice_dup(version);
    assert_true(kv_mem_peek(f->store, text("/alba/v1/reg/change/0000000000000003"), &change));
    change_copy = slice_dup(change);
    registry_preset_set_default(f->a, "default", reg_wait_cb, &w); /* 4 */
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(create_namespace(f, f->a, "lost", NULL), 0); /* 5, 6 */
    assert_non_null(ns_find(refreshed(f, f->b), "lost"));

    /* Back to version 3; then another history up to 8. */
    kv_mem_poke(f->store, text("/alba/v1/reg/version"), version_copy);
    kv_mem_poke(f->store, text("/alba/v1/reg/change/0000000000000003"), change_copy);
    delete_key(f, "/alba/v1/reg/namespace/lost");
    delete_key(f, "/alba/v1/reg/change/0000000000000004");
    delete_key(f, "/alba/v1/reg/change/0000000000000005");
    delete_key(f, "/alba/v1/reg/change/0000000000000006");
    refreshed(f, f->a);
    for (int i = 0; i < 5; i++) {
        registry_preset_set_default(f->a, "default", reg_wait_cb, &w);
        assert_int_equal(reg_await(f, &w), 0);
    }
    assert_int_equal(registry_view_version(refreshed(f, f->b)), 8);
    assert_null(ns_find(registry_view(f->b), "lost"));
    assert_non_null(ns_find(registry_view(f->b), "one"));
    slice_release(&version_copy);
    slice_release(&change_copy);
}

static void a_gap_in_the_change_log_makes_a_reader_read_everything(void **state)
{
    struct fixture *f = *state;

    refreshed(f, f->b);
    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    delete_key(f, "/alba/v1/reg/change/0000000000000002");
    delete_key(f, "/alba/v1/reg/change/0000000000000003");
    assert_non_null(ns_find(refreshed(f, f->b), "one"));
}

static unsigned changes_told;

static void on_change(void *ctx)
{
    (void)ctx;
    changes_told++;
}

static bool b_has_one(void *ctx)
{
    const struct registry_view *view = registry_view(((struct fixture *)ctx)->b);

    return view != NULL && ns_find(view, "one") != NULL;
}

static void polling_tells_of_changes(void **state)
{
    struct fixture *f = *state;

    changes_told = 0;
    registry_poll(f->b, 5, on_change, NULL);
    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    loop_run_until_true(&f->loop, b_has_one, f);
    assert_true(changes_told >= 1);
}

/* ---- OSDs ---- */

static struct registry_osd osd_of(const char *long_id)
{
    return (struct registry_osd){.long_id = long_id,
                                 .ips = {"127.0.0.1", "::1"},
                                 .ip_count = 2,
                                 .port = 8000,
                                 .node_id = "node1",
                                 .datacenter = "dc",
                                 .capacity_bytes = 1000};
}

static void osds_are_added_updated_and_removed(void **state)
{
    struct fixture *f = *state;
    struct registry_osd osd = osd_of("osd_1");
    const struct registry_osd *seen;
    struct reg_wait w = {0};

    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_osd_add(f->b, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    assert_non_null(strstr(w.err.msg, "osd_1"));
    seen = registry_view_osd_find(refreshed(f, f->b), "osd_1");
    assert_non_null(seen);
    assert_string_equal(seen->ips[1], "::1");
    assert_int_equal(seen->port, 8000);
    assert_string_equal(seen->datacenter, "dc");
    assert_int_equal(seen->capacity_bytes, 1000);
    assert_false(seen->is_claimed);
    osd.port = 9000;
    registry_osd_update(f->b, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(registry_view_osd_find(refreshed(f, f->a), "osd_1")->port, 9000);
    registry_osd_remove(f->a, "osd_1", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(registry_view_osd_count(refreshed(f, f->b)), 0);
    registry_osd_update(f->b, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_NOT_FOUND);
}

static void osds_with_bad_fields_are_refused(void **state)
{
    struct fixture *f = *state;
    struct registry_osd osd = osd_of("osd_1");
    struct reg_wait w = {0};

    osd.ips[0] = "no address";
    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_CONFIG);
    assert_non_null(strstr(w.err.msg, "no address"));
    osd = osd_of("");
    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_CONFIG);
    osd = osd_of("\xff\xfe");
    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_CONFIG);
    osd = osd_of("osd_1");
    osd.port = 0;
    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_CONFIG);
}

static void a_full_store_still_takes_changes_of_the_registry(void **state)
{
    struct fixture *f = *state;
    struct registry_osd osd = {.long_id = "disk-1",
                               .ips = {"127.0.0.1"},
                               .ip_count = 1,
                               .port = 8000,
                               .node_id = "n1",
                               .datacenter = "",
                               .capacity_bytes = 1 << 30};
    struct reg_wait w = {0};

    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    kv_mem_set_fate(f->kv_a, kv_mem_full, NULL);
    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_namespace_delete(f->a, "one", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_null(ns_find(refreshed(f, f->a), "one"));
}

/* ---- namespaces ---- */

static bool has_epoch(struct kv_mem_store *store, uint64_t ns_id, uint64_t epoch)
{
    struct key key;

    return kv_mem_peek(store, ns_key_epoch(&key, ns_id, epoch), NULL);
}

static void a_namespace_is_active_with_a_gc_epoch_once_created(void **state)
{
    struct fixture *f = *state;
    const struct registry_namespace *ns;

    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    assert_int_equal(create_namespace(f, f->b, "one", NULL), ERR_EXISTS);
    ns = ns_find(registry_view(f->b), "one");
    assert_int_equal(ns->state, REGISTRY_NS_ACTIVE);
    assert_string_equal(ns->preset, "default");
    assert_true(has_epoch(f->store, ns->id, 1));
    assert_ptr_equal(registry_view_namespace_by_id(registry_view(f->b), ns->id), ns);
    assert_int_equal(create_namespace(f, f->b, "", NULL), ERR_CONFIG);
    assert_int_equal(create_namespace(f, f->b, "\xc3\x28", NULL), ERR_CONFIG);
}

static void a_deleted_name_is_free_at_once_and_gets_another_id(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    uint64_t id;

    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    id = ns_find(registry_view(f->a), "one")->id;
    registry_namespace_delete(f->b, "one", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_false(has_epoch(f->store, id, 1)); /* no put commits any more */
    registry_namespace_delete(f->b, "one", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_NOT_FOUND);
    assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
    assert_int_not_equal(ns_find(registry_view(f->a), "one")->id, id);
    assert_int_equal(registry_view_removed_count(registry_view(f->a)), 1);
    assert_int_equal(registry_view_removed(registry_view(f->a), 0)->id, id);
    assert_int_equal(registry_view_namespace_by_id(registry_view(f->a), id)->state,
                     REGISTRY_NS_REMOVING);
    registry_namespace_forget(f->a, id, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_namespace_forget(f->b, id, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(registry_view_removed_count(refreshed(f, f->b)), 0);
    registry_namespace_forget(f->b, ns_find(registry_view(f->b), "one")->id, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_BUSY);
}

static void new_namespaces_go_to_the_least_loaded_host_that_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    size_t on_second;

    registry_nsm_host_add(f->a, "second", "asd://127.0.0.1:1", false, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_nsm_host_add(f->a, "second", "asd://127.0.0.1:1", false, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    registry_nsm_host_add(f->a, "third", "arakoon://x", false, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_CONFIG);
    for (int i = 0; i < 6; i++) {
        char name[8];

        snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(create_namespace(f, f->b, name, NULL), 0);
    }
    on_second = registry_view_nsm_host_load(registry_view(f->b), "second");
    assert_int_equal(on_second, 3);
    assert_int_equal(kv_mem_count_prefix(f->host_store, text("/alba/v1/ns/")), 3 * 3);
    registry_nsm_host_update(f->a, "second", "asd://127.0.0.1:1", true, false, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(create_namespace(f, f->b, "last", NULL), 0);
    assert_string_equal(ns_find(registry_view(f->b), "last")->nsm_host, "registry");
}

/* A creator that died between the steps leaves `creating`; the next one ends it. */
static void a_namespace_left_creating_is_finished_by_the_next(void **state)
{
    struct fixture *f = *state;
    enum kv_mem_fate fates[] = {KV_MEM_NORMAL, KV_MEM_HELD};
    struct script script = {.fates = fates, .count = 2};
    struct reg_wait w = {0};
    const struct registry_namespace *ns;

    kv_mem_set_fate(f->kv_a, scripted, &script);
    registry_namespace_create(f->a, "one", NULL, reg_wait_cb, &w);
    loop_run_until_true(&f->loop, kv_mem_has_held, f->store);
    close_registry(f->a); /* dies before the first gc epoch */
    f->a = NULL;
    assert_int_equal(reg_await(f, &w), ERR_CANCELED);
    ns = ns_find(refreshed(f, f->b), "one");
    assert_int_equal(ns->state, REGISTRY_NS_CREATING);
    assert_false(has_epoch(f->store, ns->id, 1));
    assert_int_equal(create_namespace(f, f->b, "one", NULL), ERR_EXISTS);
    ns = ns_find(registry_view(f->b), "one");
    assert_int_equal(ns->state, REGISTRY_NS_ACTIVE);
    assert_true(has_epoch(f->store, ns->id, 1));
}

/* A creator that was frozen wakes up long after the namespace lived on without it. */
static void a_late_creator_does_not_bring_back_a_gc_epoch(void **state)
{
    struct fixture *f = *state;
    enum kv_mem_fate fates[] = {KV_MEM_NORMAL, KV_MEM_HELD};
    struct script script = {.fates = fates, .count = 2};
    struct reg_wait w = {0};
    struct key key;
    uint64_t id;

    kv_mem_set_fate(f->kv_a, scripted, &script);
    registry_namespace_create(f->a, "one", NULL, reg_wait_cb, &w);
    loop_run_until_true(&f->loop, kv_mem_has_held, f->store);
    assert_int_equal(create_namespace(f, f->b, "one", NULL), ERR_EXISTS);
    id = ns_find(registry_view(f->b), "one")->id;
    kv_mem_poke(f->store, ns_key_epoch(&key, id, 2), text("alive"));
    {
        struct kv_txn txn = {0};
        struct kv_wait k = {0};

        kv_txn_delete(&txn, ns_key_epoch(&key, id, 1)); /* its time has passed */
        kv_apply(f->kv_b, &txn, 0, kv_wait_cb, &k);
        loop_run_until(&f->loop, &k.done);
        kv_wait_release(&k);
        kv_txn_release(&txn);
    }
    assert_int_equal(kv_mem_run_held(f->store), 0);
    assert_int_equal(reg_await(f, &w), 0);
    assert_false(has_epoch(f->store, id, 1));
}

/* ---- races ---- */

static void concurrent_creators_get_different_ids_and_one_of_each_name(void **state)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        enum { CREATORS = 8 };
        struct reg_wait waits[CREATORS];
        struct fixture *f;
        int won[CREATORS / 2] = {0};
        uint64_t ids = 0;

        setup(state);
        f = *state;
        kv_mem_store_jitter(f->store, 5);
        for (int i = 0; i < CREATORS; i++) {
            char name[8];

            snprintf(name, sizeof(name), "n%d", i / 2);
            waits[i] = (struct reg_wait){0};
            registry_namespace_create(i % 2 == 0 ? f->a : f->b, name, NULL, reg_wait_cb, &waits[i]);
        }
        for (int i = 0; i < CREATORS; i++) {
            int rc = reg_await(f, &waits[i]);

            assert_true(rc == 0 || rc == ERR_EXISTS);
            won[i / 2] += rc == 0;
        }
        refreshed(f, f->a);
        for (int i = 0; i < CREATORS / 2; i++) {
            assert_int_equal(won[i], 1);
            ids |= 1ull << registry_view_namespace(registry_view(f->a), (size_t)i)->id;
        }
        assert_int_equal(__builtin_popcountll(ids), CREATORS / 2);
        teardown(state);
    }
}

/* Each transaction of a create and a delete, each fate, up to two in a row. */
static void a_namespace_is_created_and_deleted_once_whatever_replies_are_lost(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY, KV_MEM_LATE};

    for (int at = 0; at < 5; at++) {
        for (int i = 0; i < 9; i++) {
            enum kv_mem_fate row[8] = {KV_MEM_NORMAL};
            struct script script = {.fates = row, .count = 8};
            struct fixture *f;
            struct reg_wait w = {0};

            setup(state);
            f = *state;
            row[at] = fates[i % 3];
            row[at + 1] = i / 3 == 0 ? KV_MEM_NORMAL : fates[i / 3];
            kv_mem_set_fate(f->kv_a, scripted, &script);
            assert_int_equal(create_namespace(f, f->a, "one", NULL), 0);
            kv_mem_run_late(f->store);
            assert_int_equal(ns_find(refreshed(f, f->b), "one")->state, REGISTRY_NS_ACTIVE);
            registry_namespace_delete(f->a, "one", reg_wait_cb, &w);
            assert_int_equal(reg_await(f, &w), 0);
            kv_mem_run_late(f->store);
            refreshed(f, f->b);
            assert_int_equal(registry_view_namespace_count(registry_view(f->b)), 0);
            assert_int_equal(registry_view_removed_count(registry_view(f->b)), 1);
            assert_false(has_epoch(f->store, registry_view_removed(registry_view(f->b), 0)->id, 1));
            teardown(state);
        }
    }
}

static enum kv_mem_fate always_late(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_LATE;
}

/* A change whose sendings are all delayed, while others change the registry: decided anew. */
static void a_delayed_change_is_either_recognised_or_never_happens(void **state)
{
    struct fixture *f = *state;
    struct registry_osd osd = osd_of("osd_1");
    struct reg_wait w = {0};

    kv_mem_set_fate(f->kv_a, always_late, NULL);
    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    for (int i = 0; i < 20; i++) {
        uv_run(&f->loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(create_namespace(f, f->b, "between", NULL), 0);
    kv_mem_set_fate(f->kv_a, NULL, NULL);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(kv_mem_run_late(f->store), 0);
    refreshed(f, f->b);
    assert_non_null(registry_view_osd_find(registry_view(f->b), "osd_1"));
    assert_non_null(ns_find(registry_view(f->b), "between"));
}

static void a_read_that_fails_is_told_and_the_next_one_works(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    kv_mem_fail_reads(f->kv_b, 1);
    registry_refresh(f->b, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), UV_ECONNRESET);
    assert_int_equal(registry_view_version(refreshed(f, f->b)), 1);
}

/* ---- configuration, work ---- */

struct json_wait {
    bool done;
    int rc;
    json_t *json;
};

static void on_json(void *ctx, int rc, const struct err *e, json_t *json)
{
    (void)e;
    *(struct json_wait *)ctx =
        (struct json_wait){.done = true, .rc = rc, .json = json_incref(json)};
}

static void configuration_and_work_items_are_kept(void **state)
{
    struct fixture *f = *state;
    struct json_wait j = {0};
    struct reg_wait w = {0};
    json_t *item = json_pack("{s:s}", "kind", "repair");

    registry_config_get(f->a, "maintenance", on_json, &j);
    loop_run_until(&f->loop, &j.done);
    assert_int_equal(j.rc, ERR_NOT_FOUND);
    registry_config_set(f->a, "maintenance", item, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    j = (struct json_wait){0};
    registry_config_get(f->b, "maintenance", on_json, &j);
    loop_run_until(&f->loop, &j.done);
    assert_string_equal(json_string_value(json_object_get(j.json, "kind")), "repair");
    json_decref(j.json);

    for (int i = 0; i < 3; i++) {
        registry_work_add(f->a, item, reg_wait_cb, &w);
        assert_int_equal(reg_await(f, &w), 0);
    }
    registry_work_remove(f->b, 2, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    j = (struct json_wait){0};
    registry_work_list(f->b, 0, 10, on_json, &j);
    loop_run_until(&f->loop, &j.done);
    assert_int_equal(json_array_size(j.json), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(j.json, 1), "id")), 3);
    json_decref(j.json);
    json_decref(item);
}

static int add_once(struct fixture *f, struct registry *r, const char *key, uint64_t items_max)
{
    json_t *item = json_pack("{s:s}", "kind", "test");
    struct reg_wait w = {0};

    registry_work_add_once(r, key, item, items_max, reg_wait_cb, &w);
    json_decref(item);
    loop_run_until(&f->loop, &w.done);
    return w.rc;
}

static void of_work_items_with_a_key_there_is_one(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};
    struct json_wait j = {0};

    assert_int_equal(add_once(f, f->a, "x", 10), 0);
    assert_int_equal(add_once(f, f->b, "x", 10), ERR_EXISTS);
    assert_int_equal(add_once(f, f->b, "y", 10), 0);
    assert_int_equal(add_once(f, f->a, "z", 2), ERR_BUSY);
    registry_work_list(f->a, 0, 10, on_json, &j);
    loop_run_until(&f->loop, &j.done);
    assert_int_equal(json_array_size(j.json), 2);
    json_decref(j.json);
    registry_work_remove(f->b, 1, reg_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    w = (struct reg_wait){0};
    registry_work_remove(f->b, 1, reg_wait_cb, &w); /* again: nothing happens */
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
    assert_int_equal(add_once(f, f->a, "x", 10), 0);
    assert_int_equal(add_once(f, f->a, "y", 10), ERR_EXISTS);
}

static void remove_work(struct fixture *f, struct registry *r, uint64_t id)
{
    struct reg_wait w = {0};

    registry_work_remove(r, id, reg_wait_cb, &w);
    loop_run_until(&f->loop, &w.done);
    assert_int_equal(w.rc, 0);
}

static json_t *next_ids(struct fixture *f)
{
    struct slice value;
    struct key key;
    struct err e;
    json_t *json;

    reg_key(&key, REG_NEXT_ID, "");
    assert_true(kv_mem_peek(f->store, slice_key(&key), &value));
    assert_int_equal(value_open_json(slice_key(&key), value, &json, &e), 0);
    return json;
}

static void poke_next_ids(struct fixture *f, json_t *take_json)
{
    struct buf value = {0};
    struct key key;

    reg_key(&key, REG_NEXT_ID, "");
    value_make_json(&value, slice_key(&key), take_json);
    kv_mem_poke(f->store, slice_key(&key), slice_buf(&value));
    buf_release(&value);
    json_decref(take_json);
}

/* One stays for ever, thousands of others come and go. */
static void items_that_wait_are_limited_not_how_many_came(void **state)
{
    struct fixture *f = *state;
    json_t *ids;

    assert_int_equal(add_once(f, f->a, "stays", 3), 0);
    for (uint64_t id = 2; id < 22; id++) {
        assert_int_equal(add_once(f, id % 2 == 0 ? f->a : f->b, "goes", 3), 0);
        remove_work(f, f->b, id);
        remove_work(f, f->a, id); /* by another agent, too: it is counted once */
    }
    ids = next_ids(f);
    assert_int_equal(json_u64(ids, "work_items", 99), 1);
    json_decref(ids);
    assert_int_equal(add_once(f, f->a, "x", 3), 0);
    assert_int_equal(add_once(f, f->b, "y", 3), 0);
    assert_int_equal(add_once(f, f->b, "z", 3), ERR_BUSY);
    remove_work(f, f->a, 1);
    assert_int_equal(add_once(f, f->b, "z", 3), 0);
}

static void reopen_b(struct fixture *f)
{
    close_registry(f->b);
    f->b = registry_new(kv_mem_open(&f->loop, f->store));
}

/* Older programs leave the number out when they take an id, and do not lower it when they take an
 * item away. */
static void a_number_of_work_items_that_is_missing_or_wrong_is_counted(void **state)
{
    struct fixture *f = *state;
    json_t *ids;

    assert_int_equal(add_once(f, f->a, "x", 3), 0);
    assert_int_equal(add_once(f, f->a, "y", 3), 0);
    ids = next_ids(f);
    json_object_del(ids, "work_items");
    poke_next_ids(f, ids);
    reopen_b(f);
    assert_int_equal(add_once(f, f->b, "z", 3), 0);
    ids = next_ids(f);
    assert_int_equal(json_u64(ids, "work_items", 99), 3);
    json_object_set_new(ids, "work_items", json_integer(70));
    poke_next_ids(f, ids);
    reopen_b(f);
    assert_int_equal(add_once(f, f->b, "w", 3), ERR_BUSY);
    remove_work(f, f->b, 1);
    reopen_b(f);
    assert_int_equal(add_once(f, f->b, "w", 3), 0);
    ids = next_ids(f);
    assert_int_equal(json_u64(ids, "work_items", 99), 3);
    json_decref(ids);
}

static void why_a_work_item_failed_is_kept_with_it(void **state)
{
    struct fixture *f = *state;
    const json_t *failed;
    struct json_wait j = {0};

    assert_int_equal(add_once(f, f->a, "x", 3), 0);
    for (unsigned i = 0; i < 4; i++) {
        struct reg_wait w = {0};

        registry_work_note(f->b, i < 3 ? 1 : 77, "too few fragments", reg_wait_cb, &w);
        loop_run_until(&f->loop, &w.done);
        assert_int_equal(w.rc, 0); /* also of one that is gone */
    }
    registry_work_list(f->a, 0, 10, on_json, &j);
    loop_run_until(&f->loop, &j.done);
    failed = json_object_get(json_array_get(j.json, 0), "failed");
    assert_int_equal(json_array_size(j.json), 1);
    assert_int_equal(json_u64(failed, "times", 0), 3);
    assert_string_equal(json_text(failed, "why", ""), "too few fragments");
    json_decref(j.json);
    remove_work(f, f->a, 1);
    assert_int_equal(add_once(f, f->a, "x", 1), 0); /* with its key */
}

static void a_damaged_work_item_hides_no_other_and_goes_with_its_key(void **state)
{
    struct fixture *f = *state;
    struct json_wait j = {0};
    struct reg_wait w = {0};
    struct slice value;
    uint8_t copy[256];
    struct key key;

    assert_int_equal(add_once(f, f->a, "x", 10), 0);
    assert_int_equal(add_once(f, f->a, "y", 10), 0);
    reg_key(&key, REG_WORK, "0000000000000001");
    assert_true(kv_mem_peek(f->store, slice_key(&key), &value));
    memcpy(copy, value.data, value.len);
    copy[value.len - 3] ^= 4;
    kv_mem_poke(f->store, slice_key(&key), slice_of(copy, value.len));
    registry_work_list(f->a, 0, 10, on_json, &j);
    loop_run_until(&f->loop, &j.done);
    assert_int_equal(j.rc, 0);
    assert_int_equal(json_array_size(j.json), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(j.json, 0), "kind")),
                        REGISTRY_WORK_DAMAGED);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(j.json, 0), "id")), 1);
    json_decref(j.json);
    assert_int_equal(add_once(f, f->b, "z", 10), 0); /* and nobody is kept from adding */
    registry_work_remove(f->b, 1, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(add_once(f, f->a, "x", 10), 0);
    assert_int_equal(add_once(f, f->a, "y", 10), ERR_EXISTS);
}

static void closing_answers_everything(void **state)
{
    struct fixture *f = *state;
    struct reg_wait waits[3] = {{0}};
    struct registry_osd osd = osd_of("osd_1");

    registry_refresh(f->a, reg_wait_cb, &waits[0]);
    registry_osd_add(f->a, &osd, reg_wait_cb, &waits[1]);
    registry_namespace_create(f->a, "x", NULL, reg_wait_cb, &waits[2]);
    close_registry(f->a);
    f->a = NULL;
    for (int i = 0; i < 3; i++) {
        assert_true(waits[i].done);
        assert_int_equal(waits[i].rc, ERR_CANCELED);
    }
}

#define BARE(name) cmocka_unit_test_setup_teardown(name, setup_bare, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BARE(a_store_without_a_registry_says_so),
        BARE(init_makes_one_registry_whoever_calls_it_how_often),
        TEST(a_refresh_without_change_is_one_get),
        TEST(a_refresh_after_a_change_reads_what_changed),
        TEST(a_reader_far_behind_reads_everything),
        TEST(a_reader_of_a_store_that_was_restored_reads_everything),
        TEST(a_gap_in_the_change_log_makes_a_reader_read_everything),
        TEST(polling_tells_of_changes),
        TEST(osds_are_added_updated_and_removed),
        TEST(osds_with_bad_fields_are_refused),
        TEST(a_full_store_still_takes_changes_of_the_registry),
        TEST(a_namespace_is_active_with_a_gc_epoch_once_created),
        TEST(a_deleted_name_is_free_at_once_and_gets_another_id),
        TEST(new_namespaces_go_to_the_least_loaded_host_that_is_not_lost),
        TEST(a_namespace_left_creating_is_finished_by_the_next),
        TEST(a_late_creator_does_not_bring_back_a_gc_epoch),
        cmocka_unit_test(concurrent_creators_get_different_ids_and_one_of_each_name),
        cmocka_unit_test(a_namespace_is_created_and_deleted_once_whatever_replies_are_lost),
        TEST(a_delayed_change_is_either_recognised_or_never_happens),
        TEST(a_read_that_fails_is_told_and_the_next_one_works),
        TEST(configuration_and_work_items_are_kept),
        TEST(of_work_items_with_a_key_there_is_one),
        TEST(a_damaged_work_item_hides_no_other_and_goes_with_its_key),
        TEST(items_that_wait_are_limited_not_how_many_came),
        TEST(a_number_of_work_items_that_is_missing_or_wrong_is_counted),
        TEST(why_a_work_item_failed_is_kept_with_it),
        TEST(closing_answers_everything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
