/* A copy of the registry put into an empty store: what comes back, what does not, and every step
 * lost. KEYS.md, "Recovery". */
#include "unit/meta/registry_fixture.h"

#include "meta/registry_copy.h"
#include "meta/registry_ids.h"
#include "meta/registry_restore.h"
#include "meta/registry_store.h"
#include "meta/registry_volume.h"

enum { NAMESPACES = 130 }; /* with volumes and the rest: several transactions */

struct copy { /* of the registry in f->store */
    struct copy_head head;
    struct buf snapshot;
    bool done;
};

static void on_snapshot(void *ctx, int rc, const struct err *e, struct registry_snapshot *snapshot)
{
    struct copy *copy = ctx;

    (void)e;
    assert_int_equal(rc, 0);
    copy->head = snapshot->head;
    copy->snapshot = snapshot->bytes;
    snapshot->bytes = (struct buf){0};
    copy_seal(&copy->head, slice_buf(&copy->snapshot));
    copy->done = true;
}

static struct copy take_copy(struct fixture *f)
{
    struct copy copy = {0};
    struct err e;

    registry_snapshot_read(f->kv_a, on_snapshot, &copy);
    loop_run_until(&f->loop, &copy.done);
    assert_int_equal(copy_verify(&copy.head, slice_buf(&copy.snapshot), &e), 0);
    return copy;
}

static struct restore_options options_of(const struct copy *copy)
{
    return (struct restore_options){.head = &copy->head,
                                    .snapshot = slice_buf(&copy->snapshot),
                                    .version_seen = copy->head.version};
}

static void on_volume(void *ctx, int rc, const struct err *e, struct registry_volume *volume)
{
    struct registry_volume *to = ctx;

    (void)e;
    assert_int_equal(rc, 0);
    registry_volume_move(to, volume);
}

static bool has_raw(void *ctx)
{
    return ((const struct registry_volume *)ctx)->raw.len != 0;
}

static void turns(struct fixture *f, struct registry_volume *until_raw)
{
    loop_run_until_true(&f->loop, has_raw, until_raw);
}

static void make_volume(struct fixture *f, const char *name, enum registry_dtl_state dtl)
{
    struct registry_volume v = {.size_bytes = 1 << 20, .state = REGISTRY_VOLUME_READY};
    struct registry_volume stored = {0};

    snprintf(v.name, sizeof(v.name), "%s", name);
    snprintf(v.preset, sizeof(v.preset), "default");
    rnd_uuid_text(v.uuid);
    registry_volume_create(f->a, &v, on_volume, &stored);
    turns(f, &stored);
    stored.epoch = 7;
    snprintf(stored.owner, sizeof(stored.owner), "driver");
    stored.dtl = dtl;
    v = (struct registry_volume){0};
    registry_volume_put(f->a, &stored, on_volume, &v);
    turns(f, &v);
    registry_volume_release(&v);
    registry_volume_release(&stored);
}

/* Presets, OSDs, namespaces on two hosts, volumes. */
static void fill(struct fixture *f)
{
    struct registry_osd osd = {.long_id = "d0",
                               .ips = {"127.0.0.1"},
                               .ip_count = 1,
                               .port = 8000,
                               .node_id = "n0",
                               .datacenter = "",
                               .capacity_bytes = 1 << 30};
    struct reg_wait w = {0};
    char name[32];

    registry_osd_add(f->a, &osd, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    for (unsigned i = 0; i < NAMESPACES; i++) {
        snprintf(name, sizeof(name), "ns%u", i);
        assert_int_equal(create_namespace(f, f->a, name, NULL), 0);
    }
    registry_nsm_host_add(f->a, "far", "asd://127.0.0.1:1", false, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(create_namespace(f, f->a, "elsewhere", NULL), 0);
    registry_namespace_delete(f->a, "ns5", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    make_volume(f, "plain", REGISTRY_DTL_NONE);
    make_volume(f, "mirrored", REGISTRY_DTL_SYNC);
}

/* ---- the empty store, and what is in it afterwards ---- */

struct target {
    struct kv_mem_store *store;
    struct kv *kv;
    struct registry *registry;
};

static void target_open(struct fixture *f, struct target *t)
{
    t->kv = kv_mem_open(&f->loop, t->store);
    t->registry = registry_new(t->kv);
    t->registry->open_kv = open_host;
}

static void target_new(struct fixture *f, struct target *t)
{
    t->store = kv_mem_store_new(3);
    target_open(f, t);
}

static void target_free(struct target *t)
{
    close_registry(t->registry);
    kv_mem_store_free(t->store);
}

static int restore(struct fixture *f, struct target *t, const struct restore_options *options)
{
    struct reg_wait w = {0};

    registry_restore(t->kv, options, reg_wait_cb, &w);
    return reg_await(f, &w);
}

static int refresh(struct fixture *f, struct target *t)
{
    struct reg_wait w = {0};

    registry_refresh(t->registry, reg_wait_cb, &w);
    return reg_await(f, &w);
}

static void assert_whole(struct fixture *f, struct target *t, const struct copy *copy)
{
    const struct registry_view *before = refreshed(f, f->a);
    const struct registry_view *view = refreshed(f, t->registry);

    assert_string_equal(registry_view_alba_id(view), registry_view_alba_id(before));
    assert_true(registry_view_version(view) >= copy->head.version + RESTORE_VERSIONS_APART);
    assert_int_equal(registry_view_osd_count(view), registry_view_osd_count(before));
    assert_int_equal(registry_view_preset_count(view), registry_view_preset_count(before));
    assert_int_equal(registry_view_removed_count(view), 1);
    for (size_t i = 0; i < registry_view_namespace_count(before); i++) {
        const struct registry_namespace *was = registry_view_namespace(before, i);
        const struct registry_namespace *is = ns_find(view, was->name);

        assert_non_null(is);
        assert_int_equal(is->id, was->id);
        assert_int_equal(is->state,
                         strcmp(was->nsm_host, "far") == 0 ? REGISTRY_NS_ACTIVE : REGISTRY_NS_LOST);
    }
    assert_false(kv_mem_peek(t->store, text("/alba/v1/reg/recovering"), NULL));
}

static void everything_but_manifests_comes_back(void **state)
{
    struct fixture *f = *state;
    struct registry_volume v = {0};
    struct target t;
    struct copy copy;
    struct restore_options options;

    fill(f);
    copy = take_copy(f);
    options = options_of(&copy);
    target_new(f, &t);
    assert_int_equal(restore(f, &t, &options), 0);
    assert_whole(f, &t, &copy);
    registry_volume_get(t.registry, "plain", on_volume, &v);
    turns(f, &v);
    assert_string_equal(v.owner, "driver");
    assert_int_equal(v.epoch, 7);
    assert_int_equal(v.dtl, REGISTRY_DTL_NONE);
    registry_volume_release(&v);
    registry_volume_get(t.registry, "mirrored", on_volume, &v);
    turns(f, &v);
    assert_int_equal(v.dtl, REGISTRY_DTL_DEGRADED);
    registry_volume_release(&v);
    target_free(&t);
    buf_release(&copy.snapshot);
}

static void no_id_comes_back(void **state)
{
    struct fixture *f = *state;
    const struct registry_view *view;
    struct target t, again;
    struct copy copy = take_copy(f);
    struct restore_options options = options_of(&copy);
    uint64_t next = registry_view_next_namespace_id(refreshed(f, f->a));

    options.version_seen = 5000; /* of a copy that could not be read */
    options.namespace_id_seen = 77;
    target_new(f, &t);
    assert_int_equal(restore(f, &t, &options), 0);
    view = refreshed(f, t.registry);
    assert_true(registry_view_version(view) >= 5000 + RESTORE_VERSIONS_APART);
    assert_true(registry_view_next_namespace_id(view) > 77 + IDS_NAMESPACES_APART);
    assert_false(registry_view_namespace_is_unsure(view, next - 1));
    assert_true(registry_view_namespace_is_unsure(view, next));
    assert_true(registry_view_namespace_is_unsure(view, 77));
    assert_int_equal(create_namespace(f, t.registry, "new", NULL), 0);
    view = refreshed(f, t.registry);
    assert_false(registry_view_namespace_is_unsure(view, ns_find(view, "new")->id));

    again = t; /* a copy of the recovered registry is recovered: the unsure ids stay unsure */
    f->kv_a = t.kv;
    buf_release(&copy.snapshot);
    copy = take_copy(f);
    options = options_of(&copy);
    target_new(f, &again);
    assert_int_equal(restore(f, &again, &options), 0);
    view = refreshed(f, again.registry);
    assert_true(registry_view_namespace_is_unsure(view, next));
    target_free(&again);
    target_free(&t);
    buf_release(&copy.snapshot);
}

static void a_store_that_is_not_empty_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct copy copy = take_copy(f);
    struct restore_options options = options_of(&copy);
    struct reg_wait w = {0};
    struct target t;

    target_new(f, &t);
    kv_mem_poke(t.store, text("/alba/v1/ns/x"), text("y"));
    assert_int_equal(restore(f, &t, &options), ERR_EXISTS);
    assert_int_equal(kv_mem_count_prefix(t.store, text("/alba/v1/")), 1);
    target_free(&t);
    target_new(f, &t);
    registry_init(t.registry, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(restore(f, &t, &options), ERR_EXISTS);
    target_free(&t);
    buf_release(&copy.snapshot);
}

/* From an OSD that lies: beyond them ids would begin at 1 again. */
static void numbers_that_no_registry_reaches_are_refused(void **state)
{
    static const char *const texts[] = {"{\"namespace\": 9223372036854775807, \"osd\": 3}",
                                        "{\"namespace\": 3, \"osd\": 4611686018427387905}",
                                        "{\"namespace\": -1, \"osd\": 3}"};
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        json_t *json = json_loads(texts[i], 0, NULL);
        struct restore_options options;
        struct buf value = {0};
        struct target t;
        struct copy copy;
        struct key key;

        reg_key(&key, REG_NEXT_ID, "");
        value_make_json(&value, slice_key(&key), json);
        kv_mem_poke(f->store, slice_key(&key), slice_buf(&value));
        copy = take_copy(f);
        options = options_of(&copy);
        target_new(f, &t);
        assert_int_equal(restore(f, &t, &options), ERR_CORRUPT);
        assert_int_equal(kv_mem_count_prefix(t.store, text("/alba/v1/")), 0);
        target_free(&t);
        buf_release(&copy.snapshot);
        buf_release(&value);
        json_decref(json);
    }
}

static void a_head_of_a_version_that_no_registry_reaches_is_none(void **state)
{
    struct copy_head head = {.version = COPY_VERSION_MAX,
                             .commit = "00112233445566778899aabbccddeeff"};
    uint8_t bytes[COPY_HEAD_BYTES];
    struct err e;

    (void)state;
    copy_head_encode(&head, bytes);
    assert_int_equal(copy_head_decode(slice_of(bytes, sizeof(bytes)), &head, &e), 0);
    head.version++;
    copy_head_encode(&head, bytes);
    assert_int_equal(copy_head_decode(slice_of(bytes, sizeof(bytes)), &head, &e), ERR_CORRUPT);
}

/* ---- every step lost ---- */

struct nth {
    unsigned count, at;
    enum kv_mem_fate fate;
};

static enum kv_mem_fate on_txn(void *ctx, const struct kv_txn *txn)
{
    struct nth *nth = ctx;

    (void)txn;
    return nth->count++ == nth->at ? nth->fate : KV_MEM_NORMAL;
}

static void stopped_anywhere_there_is_no_registry_and_the_next_one_ends_it(void **state)
{
    struct fixture *f = *state;
    struct copy old, copy;
    struct restore_options options, older;
    unsigned at;

    old = take_copy(f);
    fill(f);
    copy = take_copy(f);
    options = options_of(&copy);
    older = options_of(&old);
    older.found = &(struct restore_namespace){.id = 99, .name = "of the older one only"};
    older.found_count = 1;
    for (at = 0;; at++) {
        struct nth nth = {.at = at, .fate = KV_MEM_REFUSED}; /* as if it had died there */
        struct reg_wait w = {0};
        struct target t;
        bool was_reached;

        target_new(f, &t);
        kv_mem_set_fate(t.kv, on_txn, &nth);
        was_reached = restore(f, &t, at % 2 == 0 ? &options : &older) != 0;
        kv_mem_set_fate(t.kv, NULL, NULL);
        if (!was_reached) {
            target_free(&t);
            if (at % 2 == 0) {
                break;
            }
            continue;
        }
        assert_int_equal(refresh(f, &t), ERR_NOT_FOUND);
        if (kv_mem_peek(t.store, text("/alba/v1/reg/recovering"), NULL)) {
            registry_init(t.registry, reg_wait_cb, &w); /* nobody makes a new alba of it */
            assert_int_equal(reg_await(f, &w), ERR_BUSY);
        }
        assert_int_equal(restore(f, &t, &options), 0);
        assert_whole(f, &t, &copy);
        assert_null(ns_find(registry_view(t.registry), "of the older one only"));
        target_free(&t);
    }
    assert_true(at >= 4);
    buf_release(&copy.snapshot);
    buf_release(&old.snapshot);
}

static void lost_requests_and_replies_change_nothing(void **state)
{
    static const enum kv_mem_fate fates[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY};
    struct fixture *f = *state;
    struct restore_options options;
    struct copy copy;

    fill(f);
    copy = take_copy(f);
    options = options_of(&copy);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned at = 0; at < 8; at++) {
            struct nth nth = {.at = at, .fate = fates[i]};
            struct target t;

            target_new(f, &t);
            kv_mem_set_fate(t.kv, on_txn, &nth);
            assert_int_equal(restore(f, &t, &options), 0);
            assert_whole(f, &t, &copy);
            target_free(&t);
        }
    }
    buf_release(&copy.snapshot);
}

/* The first one is frozen before each of its transactions; the second one does all of it. */
static void of_two_recoveries_the_later_one_wins(void **state)
{
    struct fixture *f = *state;
    struct restore_options options;
    struct copy copy;

    fill(f);
    copy = take_copy(f);
    options = options_of(&copy);
    for (unsigned at = 0; at < 4; at++) {
        struct nth nth = {.at = at, .fate = KV_MEM_HELD};
        struct reg_wait first = {0};
        struct target t, second;

        target_new(f, &t);
        second.store = t.store;
        target_open(f, &second);
        kv_mem_set_fate(t.kv, on_txn, &nth);
        registry_restore(t.kv, &options, reg_wait_cb, &first);
        loop_run_until_true(&f->loop, kv_mem_has_held, t.store);
        assert_int_equal(restore(f, &second, &options), 0);
        assert_int_equal(kv_mem_run_held(t.store), 0); /* its asserts fail */
        assert_int_not_equal(reg_await(f, &first), 0);
        assert_whole(f, &second, &copy);
        close_registry(second.registry);
        target_free(&t);
    }
    buf_release(&copy.snapshot);
}

struct late_wipe {
    struct kv_mem_store *store;
    unsigned wipes, batches, came_to_pass;
};

/* The first deletion is delayed until something was written. */
static enum kv_mem_fate delay_wipe(void *ctx, const struct kv_txn *txn)
{
    struct late_wipe *late = ctx;

    if (txn->updates[0].is_delete) {
        return late->wipes++ == 0 ? KV_MEM_LATE : KV_MEM_NORMAL;
    }
    if (txn->update_count > 1 && late->batches++ == 1) {
        late->came_to_pass = kv_mem_run_late(late->store);
    }
    return KV_MEM_NORMAL;
}

static void a_late_deletion_of_leftovers_deletes_nothing_that_was_restored(void **state)
{
    struct fixture *f = *state;
    struct nth nth = {.at = 3, .fate = KV_MEM_REFUSED};
    struct restore_options options;
    struct late_wipe late = {0};
    struct copy copy;
    struct target t;

    fill(f);
    copy = take_copy(f);
    options = options_of(&copy);
    target_new(f, &t);
    kv_mem_set_fate(t.kv, on_txn, &nth);
    assert_int_not_equal(restore(f, &t, &options), 0); /* dies, with some of it written */
    late.store = t.store;
    kv_mem_set_fate(t.kv, delay_wipe, &late);
    assert_int_equal(restore(f, &t, &options), 0);
    assert_true(late.wipes >= 2 && late.batches >= 2);
    assert_int_equal(late.came_to_pass, 0);
    assert_whole(f, &t, &copy);
    target_free(&t);
    buf_release(&copy.snapshot);
}

static void a_namespace_that_only_osds_know_gets_a_record(void **state)
{
    struct fixture *f = *state;
    struct copy copy = take_copy(f);
    struct restore_options options = options_of(&copy);
    struct restore_namespace found = {.id = 9, .name = "made later"};
    const struct registry_view *view;
    struct reg_wait w = {0};
    struct target t;

    options.found = &found;
    options.found_count = 1;
    options.namespace_id_seen = 9;
    target_new(f, &t);
    assert_int_equal(restore(f, &t, &options), 0);
    view = refreshed(f, t.registry);
    assert_int_equal(ns_find(view, "made later")->id, 9);
    assert_int_equal(ns_find(view, "made later")->state, REGISTRY_NS_LOST);
    assert_int_equal(create_namespace(f, t.registry, "made later", NULL), ERR_EXISTS);
    registry_namespace_delete(t.registry, "made later", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(create_namespace(f, t.registry, "made later", NULL), 0);
    view = refreshed(f, t.registry);
    assert_true(ns_find(view, "made later")->id > 9);
    target_free(&t);
    buf_release(&copy.snapshot);
}

/* What is on another host has its manifests there: it is active, unless it was being made or
 * deleted, when it can be deleted there. */
static void a_namespace_that_another_host_has_is_active(void **state)
{
    struct fixture *f = *state;
    struct restore_namespace found[] = {
        {.id = 900, .name = "whole", .nsm_host = "far", .is_whole = true},
        {.id = 901, .name = "half", .nsm_host = "far"}};
    const struct registry_view *view;
    struct restore_options options;
    struct target t;
    struct copy copy;

    fill(f);
    copy = take_copy(f);
    options = options_of(&copy);
    options.found = found;
    options.found_count = 2;
    options.namespace_id_seen = 901;
    target_new(f, &t);
    assert_int_equal(restore(f, &t, &options), 0);
    view = refreshed(f, t.registry);
    assert_int_equal(ns_find(view, "whole")->state, REGISTRY_NS_ACTIVE);
    assert_string_equal(ns_find(view, "whole")->nsm_host, "far");
    assert_int_equal(ns_find(view, "half")->state, REGISTRY_NS_LOST);
    assert_string_equal(ns_find(view, "half")->nsm_host, "far");
    target_free(&t);
    buf_release(&copy.snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_but_manifests_comes_back),
        TEST(no_id_comes_back),
        TEST(a_store_that_is_not_empty_is_left_alone),
        TEST(numbers_that_no_registry_reaches_are_refused),
        cmocka_unit_test(a_head_of_a_version_that_no_registry_reaches_is_none),
        TEST(stopped_anywhere_there_is_no_registry_and_the_next_one_ends_it),
        TEST(lost_requests_and_replies_change_nothing),
        TEST(of_two_recoveries_the_later_one_wins),
        TEST(a_late_deletion_of_leftovers_deletes_nothing_that_was_restored),
        TEST(a_namespace_that_only_osds_know_gets_a_record),
        TEST(a_namespace_that_another_host_has_is_active),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
