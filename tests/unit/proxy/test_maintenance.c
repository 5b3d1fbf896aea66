/* What each step of the maintenance agent leaves, and what it leaves alone. */
#include "loop/run.h"
#include "unit/proxy/maintenance_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/ns_keys.h"
#include "meta/nsm_gc.h"
#include "meta/registry_record.h"
#include "proxy/maintenance/agent_private.h"

static int setup(void **state)
{
    *state = fixture_new(6);
    return 0;
}

static int teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

/* ---- obsolete objects ---- */

static void deleted_and_overwritten_objects_leave_nothing(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = fixture_put(f, "a", 90000); /* three chunks */
    uint8_t *b = fixture_put(f, "b", 20000);
    uint8_t *c = fixture_put(f, "c", 1000);

    free(b);
    b = fixture_put(f, "b", 5000);
    assert_int_equal(world_delete(f->w, "c"), 0);
    assert_int_equal(fixture_count_meta(f, 'x'), 2);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(fixture_count_meta(f, 'x'), 0);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 24);
    assert_int_equal(f->agent.status.counts.objects_cleaned, 2);
    assert_int_equal(f->agent.status.counts.fragments_deleted, 12);
    assert_true(f->agent.status.counts.bytes_deleted > 20000);
    assert_int_equal(f->agent.status.counts.failures, 0);
    fixture_collect_all(f);
    fixture_expect_clean(f);
    world_expect(f->w, "a", a, 90000);
    world_expect(f->w, "b", b, 5000);
    free(a);
    free(b);
    free(c);
}

static void more_objects_than_one_list_holds_are_all_cleaned(void **state)
{
    struct fixture *f = *state;
    char name[16];

    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "o%u", i);
        free(fixture_put(f, name, 100));
        assert_int_equal(world_delete(f->w, name), 0);
    }
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(fixture_count_meta(f, 'x'), 0);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    assert_int_equal(f->agent.status.counts.objects_cleaned, 100);
}

/* Flips a byte of the first value of this kind; *ret_key is where. */
static void damage(struct fixture *f, char kind, struct buf *ret_key)
{
    struct key prefix;
    struct slice value;
    uint8_t *copy;

    kv_mem_first_key(f->w->store, ns_key_root(&prefix, f->w->ns_id, kind), ret_key);
    assert_true(kv_mem_peek(f->w->store, slice_buf(ret_key), &value));
    copy = mem_dup(value.data, value.len);
    copy[value.len / 2] ^= 4;
    kv_mem_poke(f->w->store, slice_buf(ret_key), slice_of(copy, value.len));
    free(copy);
}

static void a_damaged_record_stays_and_those_behind_it_are_cleaned(void **state)
{
    for (unsigned fails_whole = 0; fails_whole < 2; fails_whole++) {
        struct fixture *f = *state;
        struct buf bad = {0};
        char name[16];

        for (unsigned i = 0; i < 50; i++) {
            snprintf(name, sizeof(name), "o%u", i);
            free(fixture_put(f, name, 100));
            assert_int_equal(world_delete(f->w, name), 0);
        }
        damage(f, 'x', &bad);
        kv_mem_set_unreadable(f->w->store, fails_whole ? slice_buf(&bad) : slice_of(NULL, 0));
        fixture_agent(f, FIXTURE_GRACE_LONG_MS);
        fixture_rounds(f, 1);
        assert_int_equal(fixture_count_meta(f, 'x'), 1);
        assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 6);
        assert_int_equal(f->agent.status.counts.objects_cleaned, 49);
        assert_int_equal(f->agent.status.records_damaged, 1);
        assert_non_null(strstr(f->agent.status.trouble, "x/"));
        fixture_end_agent(f);
        kv_mem_set_unreadable(f->w->store, slice_of(NULL, 0));
        buf_release(&bad);
        teardown(state);
        setup(state);
    }
}

static void behind_a_damaged_manifest_the_others_are_collected(void **state)
{
    struct fixture *f = *state;
    uint64_t epoch = fixture_current_epoch(f);
    uint8_t *data = fixture_put(f, "o", 5000);
    struct osd_fragment name = {.fragment = 0};
    struct buf bad = {0}, tag = {0};

    loop_fixture_run_ms(&f->w->base, 1200); /* its own tags are gone */
    fixture_orphan(f, 0, 0x00, epoch);      /* ids before and behind that of the object */
    fixture_orphan(f, 0, 0xff, epoch);
    damage(f, 'o', &bad);
    name.object_id = slice_of(bad.data + bad.len - NSM_OBJECT_ID_BYTES, NSM_OBJECT_ID_BYTES);
    osd_key_put_gc_tag(&tag, f->w->ns_id, epoch, &name);
    fake_asd_put(f->w->asds[0], slice_buf(&tag), slice_str(""));
    kv_mem_set_unreadable(f->w->store, slice_buf(&bad));
    fixture_collect_all(f);
    assert_int_equal(f->agent.status.counts.orphans_deleted, 2);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 6); /* of the object: untouched */
    assert_int_equal(fixture_count(f, OSD_KEY_GC_TAG), 1);
    kv_mem_set_unreadable(f->w->store, slice_of(NULL, 0));
    buf_release(&bad);
    buf_release(&tag);
    free(data);
}

static void an_osd_that_is_down_keeps_its_objects_on_the_list(void **state)
{
    struct fixture *f = *state;
    unsigned applies = 0;

    free(fixture_put(f, "a", 20000));
    free(fixture_put(f, "b", 20000));
    assert_int_equal(world_delete(f->w, "a"), 0);
    loop_fixture_run_ms(&f->w->base, 1200); /* no tags are left to be deleted */
    fake_asd_down(f->w->asds[2]);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(fixture_count_meta(f, 'x'), 1);
    assert_int_equal(fixture_count_meta(f, 'd'), 12);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 7); /* one of "a" */
    assert_int_equal(f->agent.status.objects_left, 1);
    assert_int_equal(f->agent.status.osds_aside, 1);
    for (unsigned i = 0; i < 6; i++) {
        applies += f->w->asds[i]->applies;
    }
    fixture_rounds(f, 5); /* what was deleted is not deleted again and again */
    for (unsigned i = 0; i < 6; i++) {
        applies -= f->w->asds[i]->applies;
    }
    assert_int_equal(applies, 0);
    fake_asd_up(f->w->asds[2]);
    fixture_osds_back(f);
    loop_fixture_run_ms(&f->w->base, 50);
    fixture_rounds(f, 2);
    assert_int_equal(fixture_count_meta(f, 'x'), 0);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 6);
    assert_int_equal(f->agent.status.objects_left, 0);
    fixture_collect_all(f);
    fixture_expect_clean(f);
}

static enum fake_fate busy(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_APPLY ? FAKE_BUSY : FAKE_NORMAL;
}

static void an_osd_that_is_too_busy_keeps_its_objects_on_the_list(void **state)
{
    struct fixture *f = *state;

    free(fixture_put(f, "a", 20000));
    assert_int_equal(world_delete(f->w, "a"), 0);
    fake_asd_set_fate(f->w->asds[1], busy, NULL);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 1);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 1);
    assert_int_equal(fixture_count_meta(f, 'x'), 1);
    assert_int_equal(f->agent.status.counts.failures, 1);
    assert_true(f->agent.status.trouble[0] != 0);
    fake_asd_set_fate(f->w->asds[1], NULL, NULL);
    for (int i = 0; i < 100 && fixture_count_meta(f, 'x') != 0; i++) {
        loop_fixture_run_ms(&f->w->base, 50); /* it is asked again after a pause */
        fixture_rounds(f, 1);
    }
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    assert_int_equal(fixture_count_meta(f, 'x'), 0);
    assert_true(f->agent.status.trouble[0] == 0);
}

/* ---- gc ---- */

static void uploads_that_nothing_named_go_when_their_epoch_has_ended(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = fixture_put(f, "a", 50000);
    uint64_t epoch = fixture_current_epoch(f);
    struct manifest m;

    assert_true(world_manifest(f->w, "a", &m));
    fixture_orphan(f, 0, 7, epoch);
    fixture_orphan(f, 5, 7, epoch);
    fixture_orphan(f, 1, 9, epoch);
    fixture_orphan(f, 2, 11, epoch + 40); /* an epoch that is not there yet: not judged */
    assert_true(fixture_count(f, OSD_KEY_GC_TAG) >= 4); /* and those of "a" */
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 3);
    assert_int_equal(f->agent.status.counts.orphans_deleted, 3);
    assert_true(f->agent.status.counts.tags_deleted > 0);
    assert_int_equal(fixture_count(f, OSD_KEY_GC_TAG), 1);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 13);
    assert_int_equal(fixture_count(f, OSD_KEY_RECOVERY), 13);
    world_expect(f->w, "a", a, 50000);
    fixture_expect_whole(f);
    manifest_release(&m);
    free(a);
}

/* Copies of a live object's fragment that are not the one its manifest names. */
static void a_fragment_elsewhere_or_of_another_version_is_not_the_named_one(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = fixture_put(f, "a", 10000);
    uint64_t epoch = fixture_current_epoch(f);
    struct osd_fragment name = {.fragment = 0};
    struct buf key = {0};
    struct manifest m;
    struct fake_asd *home;

    loop_fixture_run_ms(&f->w->base, 1200);
    assert_true(world_manifest(f->w, "a", &m));
    name.object_id = m.object_id;
    home = world_asd_of(f->w, manifest_fragment_at(&m, 0, 0)->osd_id);
    for (unsigned i = 0; i < 6; i++) { /* the same fragment on other OSDs */
        if (f->w->asds[i] != home) {
            key.len = 0;
            osd_key_put_fragment(&key, f->w->ns_id, &name);
            fake_asd_put(f->w->asds[i], slice_buf(&key), slice_str("x"));
            key.len = 0;
            osd_key_put_gc_tag(&key, f->w->ns_id, epoch, &name);
            fake_asd_put(f->w->asds[i], slice_buf(&key), slice_str(""));
        }
    }
    name.version = 3; /* another version where the named one is */
    key.len = 0;
    osd_key_put_fragment(&key, f->w->ns_id, &name);
    fake_asd_put(home, slice_buf(&key), slice_str("x"));
    key.len = 0;
    osd_key_put_gc_tag(&key, f->w->ns_id, epoch, &name);
    fake_asd_put(home, slice_buf(&key), slice_str(""));
    fixture_collect_all(f);
    fixture_expect_clean(f);
    assert_int_equal(f->agent.status.counts.orphans_deleted, 6);
    world_expect(f->w, "a", a, 10000);
    buf_release(&key);
    manifest_release(&m);
    free(a);
}

/* Its record was lost, and the same OSD was registered anew: manifests have its old id. */
static void fragments_of_an_osd_that_got_another_id_stay(void **state)
{
    struct fixture *f = *state;
    const struct registry_view *view = registry_view(f->w->registry);
    uint64_t version = registry_view_version(view);
    struct registry_osd osd = *registry_view_osd(view, 0);
    uint64_t epoch = fixture_current_epoch(f);
    uint8_t *a = fixture_put(f, "a", 5000);
    struct osd_fragment name = {.fragment = 0};
    struct buf key = {0};
    bool raised = false;
    struct manifest m;

    loop_fixture_run_ms(&f->w->base, 1200); /* its own tags are gone */
    assert_true(world_manifest(f->w, "a", &m));
    name.object_id = m.object_id;
    for (uint32_t i = 0; i < 6; i++) { /* as uploaded by a proxy that died then */
        name.fragment = i;
        key.len = 0;
        osd_key_put_gc_tag(&key, f->w->ns_id, epoch, &name);
        fake_asd_put(world_asd_of(f->w, manifest_fragment_at(&m, 0, i)->osd_id), slice_buf(&key),
                     slice_str(""));
    }
    fixture_orphan(f, 0, 7, epoch);
    osd.osd_id = 4097;
    fixture_poke_record(f, REG_OSD, osd.long_id, record_osd_json(&osd));
    registry_raise_version(f->w->registry, version + 10, world_registry_done, &raised);
    loop_fixture_run_until(&f->w->base, &raised);
    assert_non_null(registry_view_osd_by_id(registry_view(f->w->registry), 4097));
    loop_fixture_run_ms(&f->w->base, 300); /* the engine knows */
    fixture_collect_all(f);
    assert_int_equal(f->agent.status.counts.tags_deleted, 5);
    assert_int_equal(f->agent.status.counts.orphans_deleted, 1);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 6);
    assert_int_equal(fixture_count(f, OSD_KEY_GC_TAG), 1);
    buf_release(&key);
    manifest_release(&m);
    free(a);
}

static void nothing_is_judged_before_the_grace_is_over(void **state)
{
    struct fixture *f = *state;

    fixture_orphan(f, 0, 7, fixture_current_epoch(f));
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 5);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 1);
    assert_int_equal(fixture_current_epoch(f), 1);
    assert_int_equal(fixture_count_meta(f, 'e'), 1);
}

static void many_tags_are_judged_page_by_page(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = fixture_put(f, "a", 10000);

    for (unsigned i = 0; i < 250; i++) {
        fixture_orphan(f, 3, (uint8_t)i, 1);
        fixture_orphan(f, 3, (uint8_t)i, 2);
    }
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 2); /* epoch 1 has ended */
    assert_int_equal(f->agent.status.counts.orphans_deleted, 250);
    fixture_rounds(f, 3);
    fixture_expect_clean(f);
    world_expect(f->w, "a", a, 10000);
    free(a);
}

static void a_put_that_outlives_its_epoch_is_uploaded_again(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = fixture_put(f, "a", 10000); /* the proxy remembers epoch 1 */

    fixture_collect_all(f);
    free(a);
    a = fixture_put(f, "a", 12000);
    fixture_collect_all(f);
    fixture_expect_clean(f);
    world_expect(f->w, "a", a, 12000);
    free(a);
}

/* A commit that is delayed: either it lands before its epoch ends, and its fragments stay; or it
 * does not, and then never will. */
static enum kv_mem_fate late_puts(void *ctx, const struct kv_txn *txn)
{
    struct fixture *f = ctx;
    struct key key;
    struct slice names = ns_key_root(&key, f->w->ns_id, 'n');

    for (unsigned i = 0; i < txn->update_count; i++) {
        if (txn->updates[i].key.len > names.len &&
            memcmp(txn->updates[i].key.data, names.data, names.len) == 0) {
            return KV_MEM_LATE;
        }
    }
    return KV_MEM_NORMAL;
}

static void put_late(struct fixture *f, const void *data, size_t bytes)
{
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("late"), .data = slice_of(data, bytes)};
    struct proxy_apply apply = {.updates = &update, .update_count = 1, .deadline_ms = 300};

    kv_mem_set_fate(f->w->kv, late_puts, f);
    assert_int_equal(world_apply(f->w, &apply, NULL), ERR_IN_DOUBT);
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    world_settle(f->w);
}

static void a_commit_that_lands_before_its_epoch_ends_keeps_its_fragments(void **state)
{
    struct fixture *f = *state;
    uint8_t data[30000];

    world_fill(f->w, data, sizeof(data));
    put_late(f, data, sizeof(data));
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 3);
    assert_int_equal(kv_mem_run_late(f->w->store), 1);
    fixture_collect_all(f);
    fixture_expect_clean(f);
    world_expect(f->w, "late", data, sizeof(data));
}

static void a_commit_that_comes_after_its_epoch_fails_and_its_fragments_are_gone(void **state)
{
    struct fixture *f = *state;
    uint8_t data[30000];
    struct manifest m;

    world_fill(f->w, data, sizeof(data));
    put_late(f, data, sizeof(data));
    fixture_collect_all(f);
    assert_int_equal(kv_mem_run_late(f->w->store), 0);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    fixture_expect_clean(f);
    assert_false(world_manifest(f->w, "late", &m));
}

/* ---- namespaces ---- */

static size_t count_metadata(struct fixture *f, uint64_t ns_id)
{
    struct key key;
    struct slice prefix = ns_key_root(&key, ns_id, 'i');

    prefix.len -= 2;
    return kv_mem_count_prefix(f->w->store, prefix);
}

static void a_deleted_namespace_is_wiped_and_forgotten(void **state)
{
    struct fixture *f = *state;
    uint64_t ns_id = f->w->ns_id;

    for (unsigned i = 0; i < 40; i++) {
        char name[8];

        snprintf(name, sizeof(name), "o%u", i);
        free(fixture_put(f, name, 3000));
    }
    world_delete_namespace(f->w, "ns");
    fake_asd_down(f->w->asds[4]);
    fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    fixture_rounds(f, 2);
    assert_int_equal(f->agent.status.namespaces_left, 1); /* its OSD is down */
    assert_true(fixture_count_ns(f, ns_id) > 0);
    assert_true(count_metadata(f, ns_id) > 0);
    fake_asd_up(f->w->asds[4]);
    fixture_osds_back(f);
    fixture_rounds(f, 1);
    assert_int_equal(fixture_count_ns(f, ns_id), 0);
    assert_int_equal(count_metadata(f, ns_id), 0);
    assert_int_equal(f->agent.status.namespaces_left, 0);
    assert_int_equal(f->agent.status.counts.namespaces_removed, 1);
    assert_null(registry_view_namespace_by_id(registry_view(f->w->registry), ns_id));
}

static void set_status(struct fixture *f, unsigned asd, uint64_t ns_id)
{
    struct buf key = {0};

    osd_key_put_ns_status(&key, ns_id);
    fake_asd_put(f->w->asds[asd], slice_buf(&key), slice_str("\1"));
    buf_release(&key);
}

static void on_setup(void *ctx, int rc, struct nsm_reply *reply)
{
    (void)reply;
    assert_int_equal(rc, 0);
    *(bool *)ctx = true;
}

/* What a frozen writer and a frozen creator leave of a namespace that is gone. */
static void namespaces_that_no_registry_knows_go_after_the_grace(void **state)
{
    struct fixture *f = *state;
    uint8_t *a = fixture_put(f, "a", 10000);
    uint64_t gone, next;
    bool done = false;
    struct nsm *nsm;
    struct err e;

    world_create_namespace(f->w, "other");
    gone = registry_view_namespace_find(registry_view(f->w->registry), "other", 5)->id;
    world_delete_namespace(f->w, "other");
    fixture_agent(f, 1500);
    fixture_rounds(f, 1);
    assert_null(registry_view_namespace_by_id(registry_view(f->w->registry), gone));
    next = registry_view_next_namespace_id(registry_view(f->w->registry));
    set_status(f, 1, gone);
    set_status(f, 2, gone);
    set_status(f, 2, next); /* not given out: perhaps the registry is an old copy */
    assert_int_equal(registry_nsm(f->w->registry, "registry", &nsm, &e), 0);
    nsm_namespace_setup(nsm, gone, on_setup, &done);
    loop_fixture_run_until(&f->w->base, &done);
    fixture_rounds(f, 2);
    assert_int_equal(fixture_count_ns(f, gone), 2); /* seen, but not for long enough */
    loop_fixture_run_ms(&f->w->base, 1600);
    fixture_rounds(f, 1);
    assert_int_equal(fixture_count_ns(f, gone), 0);
    assert_int_equal(count_metadata(f, gone), 0);
    assert_int_equal(fixture_count_ns(f, next), 1);
    assert_int_equal(f->agent.status.counts.unknown_removed, 3);
    world_expect(f->w, "a", a, 10000);
    fixture_expect_whole(f);
    free(a);
}

/* The registry was recovered from a copy that did not know of it. */
static void a_namespace_of_a_change_that_was_lost_stays(void **state)
{
    struct fixture *f = *state;
    const struct registry_view *view = registry_view(f->w->registry);
    uint64_t next = registry_view_next_namespace_id(view);
    bool raised = false;

    fixture_poke_record(f, REG_NEXT_ID, "",
                        json_pack("{s:I, s:I, s:I}", "osd", (json_int_t)100, "namespace",
                                  (json_int_t)(next + 100), "work", (json_int_t)100));
    fixture_poke_record(f, REG_RECOVERED, "",
                        json_pack("{s:I, s:I}", "unsure_from", (json_int_t)next, "unsure_to",
                                  (json_int_t)(next + 50)));
    registry_raise_version(f->w->registry, registry_view_version(view) + 10, world_registry_done,
                           &raised);
    loop_fixture_run_until(&f->w->base, &raised);
    set_status(f, 1, next + 49);
    set_status(f, 1, next + 50);
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 4);
    assert_int_equal(fixture_count_ns(f, next + 49), 1);
    assert_int_equal(fixture_count_ns(f, next + 50), 0);
}

/* ---- what the agent does not know yet ---- */

/* The agent has a registry of its own, which it read before the OSD was claimed. */
static void fragments_on_an_osd_newer_than_the_view_are_not_forgotten(void **state)
{
    struct fixture *f = *state;
    struct world *w = f->w;
    struct registry *registry = registry_new(kv_mem_open(&w->base.loop, w->store));
    struct agent_options options = {.grace_ms = FIXTURE_GRACE_LONG_MS};
    bool read = false;
    struct agent_ns ns = {0};
    struct buf prefix = {0};
    struct engine *engine;
    struct agent agent;
    bool closed = false;
    struct err e;

    registry_refresh(registry, world_registry_done, &read);
    loop_fixture_run_until(&w->base, &read);
    engine = engine_new(&w->base.loop, registry, &(struct engine_options){.threads = 1});
    world_add_asd(f->w, "new", "n9");
    for (unsigned i = 0; i < 10; i++) {
        char name[8];

        snprintf(name, sizeof(name), "o%u", i);
        free(fixture_put(f, name, 3000));
        assert_int_equal(world_delete(w, name), 0);
    }
    world_settle(w);
    osd_key_put_kind_prefix(&prefix, w->ns_id, OSD_KEY_FRAGMENT);
    assert_true(fake_asd_count_prefix(w->asds[6], slice_buf(&prefix)) > 0);
    buf_release(&prefix);
    agent_init(&agent, registry, engine, &options);
    ns.view = registry_view_hold(registry_view(registry));
    ns.record = registry_view_namespace_by_id(ns.view, w->ns_id);
    ns.notes = notes_of(&agent.notes, w->ns_id);
    assert_int_equal(registry_nsm(registry, "registry", &ns.nsm, &e), 0);
    agent_clean_obsolete(&agent, &ns);
    assert_int_equal(fixture_count_meta(f, 'x'), 0);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    registry_view_drop(ns.view);
    agent_release(&agent);
    engine_close(engine, loop_set_true, &closed);
    loop_fixture_run_until(&w->base, &closed);
    closed = false;
    registry_close(registry, loop_set_true, &closed);
    loop_fixture_run_until(&w->base, &closed);
}

/* ---- time ---- */

static void a_round_gives_each_namespace_its_time_and_goes_on_in_the_next(void **state)
{
    struct fixture *f = *state;
    struct agent *agent;
    unsigned rounds = 0;

    for (unsigned i = 0; i < 300; i++) {
        fixture_orphan(f, i % 6, (uint8_t)i, 1);
    }
    for (unsigned i = 0; i < 80; i++) {
        char name[8];

        snprintf(name, sizeof(name), "o%u", i);
        free(fixture_put(f, name, 100));
        assert_int_equal(world_delete(f->w, name), 0);
    }
    agent = fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    agent->options.slice_ms = 20;
    agent->options.rate_per_s = 1000;
    do {
        fixture_rounds(f, 1);
        rounds++;
        assert_in_range(rounds, 1, 200);
    } while (fixture_count(f, OSD_KEY_FRAGMENT) + fixture_count_meta(f, 'x') > 0);
    assert_true(rounds >= 3);
    agent->options.rate_per_s = 0;
    agent->options.slice_ms = 0;
    fixture_rounds(f, 1);
    assert_false(agent->has_more);
    fixture_collect_all(f);
    fixture_expect_clean(f);
}

static void calls_are_not_faster_than_the_rate(void **state)
{
    struct fixture *f = *state;
    struct agent *agent = fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    uint64_t start_ms;

    agent->options.rate_per_s = 50;
    start_ms = uv_hrtime() / 1000000;
    for (unsigned i = 0; i < 11; i++) {
        agent_pace(agent);
    }
    assert_true(uv_hrtime() / 1000000 - start_ms >= 190);
}

static enum fake_fate hang(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->prio == ASD_PRIO_LOW ? FAKE_HANG : FAKE_NORMAL;
}

static void on_time_to_stop(uv_timer_t *timer)
{
    agent_stop(timer->data);
}

static void a_stop_does_not_wait_for_an_osd_that_hangs(void **state)
{
    struct fixture *f = *state;
    uint64_t start_ms;
    uv_timer_t timer;

    free(fixture_put(f, "a", 20000));
    assert_int_equal(world_delete(f->w, "a"), 0);
    fake_asd_set_fate(f->w->asds[1], hang, NULL);
    timer.data = fixture_agent(f, FIXTURE_GRACE_LONG_MS);
    assert_int_equal(uv_timer_init(&f->w->base.loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_time_to_stop, 50, 0), 0);
    start_ms = uv_hrtime() / 1000000;
    agent_run_round(&f->agent);
    assert_true(uv_hrtime() / 1000000 - start_ms < 5000);
    assert_int_equal(fixture_count_meta(f, 'x'), 1);
    assert_int_equal(f->agent.status.counts.failures, 0);
    uv_close((uv_handle_t *)&timer, NULL);
    fake_asd_set_fate(f->w->asds[1], NULL, NULL);
    fixture_collect_all(f);
    fixture_expect_clean(f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deleted_and_overwritten_objects_leave_nothing),
        T(more_objects_than_one_list_holds_are_all_cleaned),
        T(an_osd_that_is_down_keeps_its_objects_on_the_list),
        T(an_osd_that_is_too_busy_keeps_its_objects_on_the_list),
        T(uploads_that_nothing_named_go_when_their_epoch_has_ended),
        T(a_damaged_record_stays_and_those_behind_it_are_cleaned),
        T(behind_a_damaged_manifest_the_others_are_collected),
        T(a_fragment_elsewhere_or_of_another_version_is_not_the_named_one),
        T(fragments_of_an_osd_that_got_another_id_stay),
        T(nothing_is_judged_before_the_grace_is_over),
        T(many_tags_are_judged_page_by_page),
        T(a_put_that_outlives_its_epoch_is_uploaded_again),
        T(a_commit_that_lands_before_its_epoch_ends_keeps_its_fragments),
        T(a_commit_that_comes_after_its_epoch_fails_and_its_fragments_are_gone),
        T(a_deleted_namespace_is_wiped_and_forgotten),
        T(namespaces_that_no_registry_knows_go_after_the_grace),
        T(a_namespace_of_a_change_that_was_lost_stays),
        T(fragments_on_an_osd_newer_than_the_view_are_not_forgotten),
        T(a_round_gives_each_namespace_its_time_and_goes_on_in_the_next),
        T(calls_are_not_faster_than_the_rate),
        T(a_stop_does_not_wait_for_an_osd_that_hangs),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
