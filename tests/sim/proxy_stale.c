/* What a proxy knows of names and namespaces, and what happened meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/run.h"
#include "meta/ns_keys.h"
#include "proxy/lookup.h"
#include "sim/proxy_world.h"

#define P42 "[[4,2,6,2]]"

/* A get of "o" whose answers from the namespace manager are on their way. */
struct reader {
    bool done;
    int rc;
    uint64_t size_bytes;
};

static void on_read(void *ctx, struct get *get, int rc)
{
    struct reader *r = ctx;

    r->rc = rc;
    r->size_bytes = rc == 0 ? get_object(get, 0)->manifest.size_bytes : 0;
    r->done = true;
    get_free(get);
}

/* Which manifest does a reader get who is content with the cache? 0: none. */
static uint64_t size_read(struct world *w)
{
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("ns"), .items = &item, .count = 1};
    struct reader r = {0};

    get_start(w->engine, &spec, on_read, &r);
    loop_fixture_run_until(&w->base, &r.done);
    assert_true(r.rc == 0 || r.rc == ERR_NOT_FOUND);
    return r.size_bytes;
}

static bool has_held_answer(void *kv)
{
    return kv_mem_has_held_answer(kv);
}

/* An object of 9000 bytes is overwritten by one of 5000, or deleted, while somebody reads
 * its manifest. */
static void change_during_a_read(bool is_delete)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("ns"), .items = &item, .count = 1};
    struct reader early = {0};
    struct key prefix;
    uint8_t data[9000];

    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    ns_key_root(&prefix, w->ns_id, 'o');
    kv_mem_hold_answer(w->kv, slice_key(&prefix));
    get_start(w->engine, &spec, on_read, &early);
    loop_run_until_true(&w->base.loop, has_held_answer, w->kv);
    assert_int_equal(is_delete ? world_delete(w, "o") : world_put(w, "o", data, 5000), 0);
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &early.done); /* it asked before: the old one is right */
    assert_int_equal(size_read(w), is_delete ? 0 : 5000);
    world_free(w);
}

static void a_read_under_way_does_not_bring_back_what_was_overwritten(void **state)
{
    (void)state;
    change_during_a_read(false);
}

static void a_read_under_way_does_not_bring_back_what_was_deleted(void **state)
{
    (void)state;
    change_during_a_read(true);
}

/* A repair has entered what it made: an answer that is on its way says less. */
static void a_read_under_way_does_not_bring_back_what_was_repaired(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("ns"), .items = &item, .count = 1};
    struct reader early = {0};
    struct manifest repaired;
    struct key prefix;

    (void)state;
    assert_int_equal(world_put(w, "o", "data", 4), 0);
    assert_true(world_manifest(w, "o", &repaired));
    repaired.version_id++;
    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    ns_key_root(&prefix, w->ns_id, 'o');
    kv_mem_hold_answer(w->kv, slice_key(&prefix));
    get_start(w->engine, &spec, on_read, &early);
    loop_run_until_true(&w->base.loop, has_held_answer, w->kv);
    lookup_renew(w->engine, w->ns_id, &repaired);
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &early.done);
    assert_int_equal(early.rc, 0);
    assert_null(manifest_cache_get(&w->engine->manifests, w->ns_id, slice_str("o")));
    world_free(w);
}

/* This proxy still has the manifest of the object of `had` bytes, whose fragments are gone. */
static void read_what_was_overwritten(size_t had, size_t has)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 8192, "lz4"));
    struct manifest old;
    uint8_t data[50000];

    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data + 1, had), 0);
    assert_true(world_manifest(w, "o", &old));
    assert_int_equal(world_put(w, "o", data, has), 0);
    world_make_stale(w, &old);
    world_expect(w, "o", data, has);
    assert_true(w->engine->stats.totals.stale_manifests >= 1);
    assert_int_equal(w->engine->budget.used_bytes + w->engine->replies.used_bytes, 0);
    world_free(w);
}

static void an_object_that_was_overwritten_is_read_whole_whatever_its_size_now(void **state)
{
    (void)state;
    read_what_was_overwritten(40000, 9000);
    read_what_was_overwritten(40000, 40000);
    read_what_was_overwritten(9000, 50000);
    read_what_was_overwritten(40000, 0);
}

/* Of one byte of an object; its fragments were smaller. */
static void what_takes_more_memory_now_is_read_with_more(void **state)
{
    enum { FRAGMENT = 28672, NOW_BYTES = 4 * FRAGMENT };
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 28672, "none"));
    struct proxy_slice first = {.bytes = 1};
    uint8_t *data = mem_zalloc(NOW_BYTES), *got = NULL;
    struct world_watch watch;
    struct manifest old;
    size_t got_bytes;

    (void)state;
    engine_set_hedging(w->engine, false); /* what is overtaken is nobody's */
    assert_int_equal(world_put(w, "o", data, 5000), 0);
    assert_true(world_manifest(w, "o", &old));
    assert_int_equal(world_put(w, "o", data, NOW_BYTES), 0);
    world_make_stale(w, &old);
    world_watch_start(w, &watch, 0);
    assert_int_equal(world_get_slices(w, "o", &first, 1, NULL, &got, &got_bytes), 0);
    world_watch_end(w, &watch);
    assert_int_equal(w->engine->stats.totals.stale_manifests, 1);
    assert_true(watch.most_bytes > FRAGMENT); /* it was fetched whole */
    assert_false(watch.is_beyond);
    free(got);
    free(data);
    world_free(w);
}

/* ---- a commit in doubt, and a later one of the same name ---- */

/* The first commit happens and its reply is lost; its repetition waits. */
static enum kv_mem_fate first_in_doubt(void *ctx, const struct kv_txn *txn)
{
    unsigned *commits = ctx;

    if (txn->update_count < 4) {
        return KV_MEM_NORMAL;
    }
    (*commits)++;
    return *commits == 1 ? KV_MEM_LOST_REPLY : *commits == 2 ? KV_MEM_HELD : KV_MEM_NORMAL;
}

struct writer {
    bool done;
    int rc;
};

static void on_written(void *ctx, struct sequence *sequence, int rc)
{
    struct writer *w = ctx;

    (void)sequence;
    w->rc = rc;
    w->done = true;
}

static void a_commit_resolved_late_does_not_hide_the_one_that_overwrote_it(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    uint8_t data[9000];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &apply};
    struct writer early = {0};
    unsigned commits = 0;

    (void)state;
    world_fill(w, data, sizeof(data));
    kv_mem_set_fate(w->kv, first_in_doubt, &commits);
    sequence_start(w->engine, &spec, on_written, &early);
    loop_run_until_true(&w->base.loop, kv_mem_has_held, w->store);
    assert_int_equal(world_put(w, "o", data, 5000), 0);
    assert_false(early.done);
    kv_mem_run_held(w->store);
    loop_fixture_run_until(&w->base, &early.done);
    assert_int_equal(early.rc, 0); /* it had happened */
    assert_int_equal(size_read(w), 5000);
    world_free(w);
}

/* ---- another proxy deletes the namespace and makes one of the same name ---- */

/* This proxy has an old view of the registry, an old gc epoch, and old manifests. */
struct other {
    struct registry *registry;
    struct engine *engine;
};

static struct other make_anew(struct world *w)
{
    struct other other = {.registry = registry_new(kv_mem_open(&w->base.loop, w->store))};
    struct engine_options options = {.osd_timeout_ms = WORLD_PATIENT_MS, .threads = 1};
    bool refreshed = false, deleted = false, created = false;

    registry_refresh(other.registry, world_registry_done, &refreshed);
    loop_fixture_run_until(&w->base, &refreshed);
    registry_namespace_delete(other.registry, "ns", world_registry_done, &deleted);
    loop_fixture_run_until(&w->base, &deleted);
    registry_namespace_create(other.registry, "ns", "p", world_registry_done, &created);
    loop_fixture_run_until(&w->base, &created);
    other.engine = engine_new(&w->base.loop, other.registry, &options);
    assert_non_null(other.engine);
    return other;
}

static void close_other(struct world *w, struct other *other)
{
    bool engine = false, registry = false;

    engine_close(other->engine, loop_set_true, &engine);
    loop_fixture_run_until(&w->base, &engine);
    registry_close(other->registry, loop_set_true, &registry);
    loop_fixture_run_until(&w->base, &registry);
}

/* Through the other proxy. */
static int put_there(struct world *w, struct other *other, const char *name, const char *text)
{
    struct engine *own = w->engine;
    int rc;

    w->engine = other->engine;
    rc = world_put(w, name, text, strlen(text));
    world_settle(w);
    w->engine = own;
    return rc;
}

static bool is_there(struct world *w, const char *name)
{
    struct manifest m;
    bool found;

    w->ns_id = registry_view_namespace_find(registry_view(w->registry), "ns", 2)->id;
    found = world_manifest(w, name, &m);
    if (found) {
        manifest_release(&m);
    }
    return found;
}

static void a_put_goes_to_the_namespace_that_has_the_name_now(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    uint64_t old_id = w->ns_id;
    struct other other;

    (void)state;
    assert_int_equal(world_put(w, "o", "old", 3), 0);
    other = make_anew(w);
    assert_int_equal(world_put(w, "o", "new", 3), 0);
    assert_true(is_there(w, "o"));
    assert_int_not_equal(w->ns_id, old_id);
    world_expect(w, "o", "new", 3);
    close_other(w, &other);
    world_free(w);
}

static void a_delete_goes_to_the_namespace_that_has_the_name_now(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct other other;

    (void)state;
    assert_int_equal(world_put(w, "o", "old", 3), 0);
    other = make_anew(w);
    assert_int_equal(put_there(w, &other, "o", "new"), 0);
    assert_int_equal(world_delete(w, "o"), 0);
    assert_false(is_there(w, "o"));
    close_other(w, &other);
    world_free(w);
}

static void asserts_alone_are_of_the_namespace_that_has_the_name_now(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct proxy_assert exists = {.kind = PROXY_ASSERT_EXISTS, .name = slice_str("o")};
    struct proxy_apply apply = {.asserts = &exists, .assert_count = 1};
    struct other other;
    int32_t rc;

    (void)state;
    assert_int_equal(world_put(w, "o", "old", 3), 0);
    assert_int_equal(world_apply(w, &apply, &rc), 0);
    other = make_anew(w);
    assert_int_equal(world_apply(w, &apply, &rc), ERR_ASSERT_FAILED);
    assert_int_equal(rc, PROXY_RC_ASSERT_FAILED);
    close_other(w, &other);
    world_free(w);
}

/* ---- ends and limits ---- */

static enum kv_mem_fate held(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    (void)txn;
    return KV_MEM_HELD;
}

static void a_registry_that_changes_while_an_engine_ends_is_ignored(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    struct engine_options options = {.osd_timeout_ms = WORLD_PATIENT_MS, .threads = 1};
    struct engine *own = w->engine;
    bool ended = false;

    (void)state;
    w->engine = engine_new(&w->base.loop, w->registry, &options);
    assert_int_equal(world_put(w, "o", "data", 4), 0);
    world_settle(w);
    kv_mem_set_fate(w->kv, held, NULL); /* the usage figures wait, the OSDs do not */
    engine_close(w->engine, loop_set_true, &ended);
    loop_fixture_run_ms(&w->base, 100);
    assert_false(ended);
    engine_registry_changed(w->engine);
    w->engine = own;
    kv_mem_set_fate(w->kv, NULL, NULL);
    kv_mem_run_held(w->store);
    loop_fixture_run_until(&w->base, &ended);
    world_free(w);
}

static void names_that_do_not_exist_are_not_counted(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("nobody's"), .items = &item, .count = 1};
    struct reader r = {0};
    uint32_t before = w->engine->stats.count;

    (void)state;
    get_start(w->engine, &spec, on_read, &r);
    loop_fixture_run_until(&w->base, &r.done);
    assert_int_equal(r.rc, ERR_NOT_FOUND);
    assert_int_equal(w->engine->stats.count, before);
    world_free(w);
}

static void many_large_manifests_in_one_request_are_refused(void **state)
{
    enum { BYTES = 100000, NAMES = 5000 };
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    static const struct proxy_slice first = {.bytes = 1};
    struct get_item *items = mem_array(NAMES, sizeof(*items));
    struct get_spec spec = {
        .ns = slice_str("ns"), .items = items, .count = NAMES, .consistent = true};
    uint8_t *data = mem_zalloc(BYTES);
    struct reader r = {0};

    (void)state;
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    for (unsigned i = 0; i < NAMES; i++) {
        items[i] = (struct get_item){.name = slice_str("o"), .slices = &first, .slice_count = 1};
    }
    w->engine->lookup_bytes_max = 1 << 20;
    get_start(w->engine, &spec, on_read, &r);
    loop_fixture_run_until(&w->base, &r.done);
    assert_int_equal(r.rc, ERR_TOO_LARGE);
    world_expect(w, "o", data, BYTES);
    free(items);
    free(data);
    world_free(w);
}

static void a_commit_that_would_come_too_late_is_not_sent(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 4096, "none"));
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_str("data")};
    struct proxy_apply apply = {.updates = &update, .update_count = 1, .deadline_ms = 1};
    int32_t rc;

    (void)state;
    assert_int_equal(world_put(w, "other", "data", 4), 0);
    for (unsigned ms = 1; ms < 16; ms++) {
        apply.deadline_ms = ms;
        assert_int_equal(world_apply(w, &apply, &rc), UV_ETIMEDOUT);
        assert_int_equal(rc, PROXY_RC_TIMED_OUT);
    }
    assert_false(is_there(w, "o"));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_read_under_way_does_not_bring_back_what_was_overwritten),
        cmocka_unit_test(a_read_under_way_does_not_bring_back_what_was_deleted),
        cmocka_unit_test(an_object_that_was_overwritten_is_read_whole_whatever_its_size_now),
        cmocka_unit_test(a_read_under_way_does_not_bring_back_what_was_repaired),
        cmocka_unit_test(what_takes_more_memory_now_is_read_with_more),
        cmocka_unit_test(a_commit_resolved_late_does_not_hide_the_one_that_overwrote_it),
        cmocka_unit_test(a_put_goes_to_the_namespace_that_has_the_name_now),
        cmocka_unit_test(a_delete_goes_to_the_namespace_that_has_the_name_now),
        cmocka_unit_test(a_registry_that_changes_while_an_engine_ends_is_ignored),
        cmocka_unit_test(names_that_do_not_exist_are_not_counted),
        cmocka_unit_test(many_large_manifests_in_one_request_are_refused),
        cmocka_unit_test(a_commit_that_would_come_too_late_is_not_sent),
        cmocka_unit_test(asserts_alone_are_of_the_namespace_that_has_the_name_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
