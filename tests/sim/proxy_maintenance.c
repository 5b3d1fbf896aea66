/* The maintenance agent over the same world: what goes, what stays, and what happens when OSDs
 * are away or agents meet. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "proxy/maintenance/agent.h"
#include "proxy/maintenance/agent_private.h"
#include "sim/proxy_world.h"
#include "wire/osd_keys.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

enum { GRACE_MS = 40 };

static size_t count_kind(struct world *w, uint64_t ns_id, enum osd_key_kind kind)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_kind_prefix(&prefix, ns_id, kind);
    for (unsigned i = 0; i < w->asd_count; i++) {
        count += fake_asd_count_prefix(w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

/* Everything that lies under the namespace, on all OSDs. */
static size_t count_all(struct world *w, uint64_t ns_id)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_ns_status(&prefix, ns_id);
    for (unsigned i = 0; i < w->asd_count; i++) {
        count += fake_asd_count_prefix(w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

static struct agent *agent_new(struct world *w)
{
    struct agent *agent = mem_zalloc(sizeof(*agent));
    struct agent_options options = {.grace_ms = GRACE_MS};

    agent_init(agent, w->registry, w->engine, &options);
    return agent;
}

static void agent_end(struct agent *agent)
{
    agent_release(agent);
    free(agent);
}

static struct agent_status status_of(struct agent *agent)
{
    struct agent_status status;

    agent_status(agent, &status);
    return status;
}

static void put(struct world *w, const char *name, size_t bytes)
{
    uint8_t *data = mem_alloc(bytes + 1);

    world_fill(w, data, bytes);
    assert_int_equal(world_put(w, name, data, bytes), 0);
    free(data);
}

/* ---- obsolete objects ---- */

static void space_of_deleted_and_overwritten_objects_comes_back(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct agent *agent = agent_new(w);
    uint8_t kept[70000];

    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        char name[16];

        snprintf(name, sizeof(name), "o%u", i);
        put(w, name, 30000);
        assert_int_equal(world_delete(w, name), 0);
    }
    put(w, "o", 50000);
    world_fill(w, kept, sizeof(kept));
    assert_int_equal(world_put(w, "o", kept, sizeof(kept)), 0);
    world_settle(w);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 40 * 6 + 6 + 12);
    agent_run_round(agent);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 12);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_RECOVERY), 12);
    assert_int_equal(status_of(agent).counts.objects_cleaned, 41);
    world_expect(w, "o", kept, sizeof(kept));
    agent_end(agent);
    world_free(w);
}

static void an_osd_that_is_away_keeps_its_objects_on_the_list(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct agent *agent = agent_new(w);
    struct buf prefix = {0};
    unsigned applies;

    (void)state;
    osd_key_put_kind_prefix(&prefix, w->ns_id, OSD_KEY_FRAGMENT);
    put(w, "o", 30000);
    assert_int_equal(world_delete(w, "o"), 0);
    world_settle(w);
    fake_asd_down(w->asds[2]);
    agent_run_round(agent);
    agent_run_round(agent);
    assert_int_equal(status_of(agent).counts.objects_cleaned, 0);
    assert_true(status_of(agent).counts.failures > 0);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 1);
    assert_int_equal(fake_asd_count_prefix(w->asds[2], slice_buf(&prefix)), 1);
    fake_asd_up(w->asds[2]);
    applies = w->asds[0]->applies;
    for (unsigned i = 0; i < 300 && status_of(agent).counts.objects_cleaned == 0; i++) {
        loop_fixture_run_ms(&w->base, 20); /* until it is taken back */
        agent_run_round(agent);
    }
    assert_int_equal(status_of(agent).counts.objects_cleaned, 1);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 0);
    assert_true(w->asds[0]->applies - applies <= 1); /* what was done was not done again */
    buf_release(&prefix);
    agent_end(agent);
    world_free(w);
}

/* ---- gc epochs ---- */

/* A put whose proxy dies before the commit: fragments that nothing names. */
static enum kv_mem_fate refuse_commits(void *ctx, const struct kv_txn *txn)
{
    (void)ctx;
    return txn->update_count >= 4 ? KV_MEM_LOST_REQUEST : KV_MEM_NORMAL;
}

static void leave_orphans(struct world *w)
{
    uint8_t data[30000];
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD,
                                  .name = slice_str("orphan"),
                                  .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1, .deadline_ms = 300};
    int32_t rc;

    world_fill(w, data, sizeof(data));
    kv_mem_set_fate(w->kv, refuse_commits, NULL);
    assert_int_not_equal(world_apply(w, &apply, &rc), 0);
    kv_mem_set_fate(w->kv, NULL, NULL);
    world_settle(w);
}

static void rounds(struct world *w, struct agent *agent, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        agent_run_round(agent);
        loop_fixture_run_ms(&w->base, GRACE_MS + 5);
    }
}

static void fragments_that_nothing_names_are_collected_after_the_grace_time(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct agent *agent = agent_new(w);
    uint8_t kept[30000];

    (void)state;
    world_fill(w, kept, sizeof(kept));
    assert_int_equal(world_put(w, "kept", kept, sizeof(kept)), 0);
    leave_orphans(w);
    assert_true(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT) >= 12);
    assert_true(count_kind(w, w->ns_id, OSD_KEY_GC_TAG) >= 6);
    rounds(w, agent, 4);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 6);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_RECOVERY), 6);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_GC_TAG), 0);
    assert_true(status_of(agent).counts.orphans_deleted >= 6);
    world_expect(w, "kept", kept, sizeof(kept));
    agent_end(agent);
    world_free(w);
}

/* The proxy dies right after the commit: tags stay. They go, the fragments do not. */
static void tags_of_named_fragments_go_and_the_fragments_stay(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct agent *agent = agent_new(w);
    uint8_t data[30000];
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_true(world_manifest(w, "o", &m));
    loop_fixture_run_ms(&w->base, 1200);
    world_settle(w);
    for (uint32_t i = 0; i < 6; i++) {
        struct osd_fragment name = {.object_id = m.object_id, .fragment = i};
        struct buf key = {0};

        osd_key_put_gc_tag(&key, w->ns_id, m.gc_epoch, &name);
        fake_asd_put(world_asd_of(w, manifest_fragment_at(&m, 0, i)->osd_id), slice_buf(&key),
                     slice_of(NULL, 0));
        buf_release(&key);
    }
    rounds(w, agent, 4);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_GC_TAG), 0);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 6);
    assert_int_equal(status_of(agent).counts.tags_deleted, 6);
    assert_int_equal(status_of(agent).counts.orphans_deleted, 0);
    manifest_release(&m);
    world_expect(w, "o", data, sizeof(data));
    agent_end(agent);
    world_free(w);
}

/* An upload that began before its epoch ended is told so by the commit and starts again. */
static enum fake_fate slow_applies(void *ctx, struct fake_asd *asd,
                                   const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_APPLY && request->apply.update_count == 3 ? FAKE_DELAY
                                                                          : FAKE_NORMAL;
}

static void on_put(void *ctx, struct sequence *sequence, int rc)
{
    int *ret = ctx;

    (void)sequence;
    *ret = rc;
}

static void a_put_that_outlives_its_epoch_is_uploaded_again(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    struct agent *agent = agent_new(w);
    uint8_t data[30000];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &apply};
    int rc = 1;

    (void)state;
    world_fill(w, data, sizeof(data));
    put(w, "warm", 1000);
    for (unsigned i = 0; i < 6; i++) {
        w->asds[i]->delay_ms = 2000;
        fake_asd_set_fate(w->asds[i], slow_applies, NULL);
    }
    sequence_start(w->engine, &spec, on_put, &rc);
    loop_fixture_run_ms(&w->base, 30); /* the fragments are under way */
    for (unsigned i = 0; i < 4 && rc == 1; i++) {
        agent_run_round(agent);
        loop_fixture_run_ms(&w->base, GRACE_MS + 5);
    }
    assert_int_equal(rc, 1);
    for (unsigned i = 0; i < 6; i++) {
        fake_asd_set_fate(w->asds[i], NULL, NULL);
    }
    for (unsigned i = 0; i < 400 && rc == 1; i++) {
        loop_fixture_run_ms(&w->base, 20);
    }
    assert_int_equal(rc, 0);
    world_expect(w, "o", data, sizeof(data));
    world_settle(w);
    loop_fixture_run_ms(&w->base, 1200);
    rounds(w, agent, 3);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), 12);
    world_expect(w, "o", data, sizeof(data));
    agent_end(agent);
    world_free(w);
}

/* ---- namespaces ---- */

static void a_deleted_namespace_is_wiped_when_all_osds_are_there(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct agent *agent = agent_new(w);
    const struct registry_view *view;

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        char name[16];

        snprintf(name, sizeof(name), "o%u", i);
        put(w, name, 5000);
    }
    world_delete_namespace(w, "ns");
    fake_asd_down(w->asds[1]);
    loop_fixture_run_ms(&w->base, 20);
    agent_run_round(agent);
    view = registry_view(w->registry);
    assert_int_equal(registry_view_removed_count(view), 1); /* one OSD is still to be wiped */
    fake_asd_up(w->asds[1]);
    for (unsigned i = 0; i < 300 && status_of(agent).counts.namespaces_removed == 0; i++) {
        loop_fixture_run_ms(&w->base, 20);
        agent_run_round(agent);
    }
    assert_int_equal(count_all(w, w->ns_id), 0);
    view = registry_view(w->registry);
    assert_int_equal(registry_view_removed_count(view), 0);
    agent_end(agent);
    world_free(w);
}

static void a_namespace_that_no_registry_knows_is_wiped_but_never_one_beyond_its_ids(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct agent *agent = agent_new(w);
    uint64_t low_id = w->ns_id;
    struct buf low = {0}, high = {0};
    uint8_t data[3000];

    (void)state;
    /* its record and its metadata go, the last put lands after the wipe */
    world_delete_namespace(w, "ns");
    agent_run_round(agent);
    world_create_namespace(w, "other");
    osd_key_put_ns_status(&low, low_id);
    osd_key_put_ns_status(&high, low_id + 1000);
    fake_asd_put(w->asds[3], slice_buf(&low), slice_str("\001"));
    fake_asd_put(w->asds[3], slice_buf(&high), slice_str("\001"));
    agent->unknown_scan_at_ms = 0;
    agent_run_round(agent);
    assert_true(fake_asd_has(w->asds[3], slice_buf(&low))); /* seen once */
    loop_fixture_run_ms(&w->base, GRACE_MS + 10);
    agent_run_round(agent);
    assert_false(fake_asd_has(w->asds[3], slice_buf(&low)));
    assert_true(fake_asd_has(w->asds[3], slice_buf(&high)));
    assert_int_equal(status_of(agent).counts.unknown_removed, 1);
    world_fill(w, data, sizeof(data));
    buf_release(&low);
    buf_release(&high);
    agent_end(agent);
    world_free(w);
}

/* ---- everything at once ---- */

enum { NAMES = 5, STEPS = 120 };

/* Puts, overwrites and deletes under random OSD faults with an agent at work all the time: what
 * was acknowledged stays whole, and in the end nothing else is left. */
static enum fake_fate sometimes(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct world *w = ctx;
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP, FAKE_DROP_AFTER, FAKE_DELAY,
                                           FAKE_BUSY};

    (void)asd;
    (void)request;
    return rnd_below(&w->rnd, 20) == 0 ? fates[rnd_below(&w->rnd, 5)] : FAKE_NORMAL;
}

static void set_fates(struct world *w, fake_fate_cb fate)
{
    for (unsigned i = 0; i < w->asd_count; i++) {
        w->asds[i]->delay_ms = 20;
        fake_asd_set_fate(w->asds[i], fate, w);
    }
}

static void an_agent_at_work_never_harms_what_was_acknowledged(void **state)
{
    struct world *w = world_new(8, 4, WORLD_PRESET("[[4,2,6,2],[4,2,5,2],[4,2,4,2]]", 8192, "lz4"));
    struct agent *agent = agent_new(w);
    uint8_t *model[NAMES] = {NULL};
    size_t bytes[NAMES] = {0}, expected = 0;

    (void)state;
    set_fates(w, sometimes);
    for (unsigned s = 0; s < STEPS; s++) {
        unsigned n = (unsigned)rnd_below(&w->rnd, NAMES);
        char name[8];

        snprintf(name, sizeof(name), "o%u", n);
        if (rnd_below(&w->rnd, 4) == 0) {
            assert_int_equal(world_delete(w, name), 0);
            free(model[n]);
            model[n] = NULL;
        } else {
            size_t size = 1 + rnd_below(&w->rnd, 60000);
            uint8_t *data = mem_alloc(size);

            world_fill(w, data, size);
            if (world_put(w, name, data, size) == 0) {
                free(model[n]);
                model[n] = data;
                bytes[n] = size;
            } else {
                free(data);
            }
        }
        if (s % 7 == 0) {
            agent_run_round(agent);
        }
        n = (unsigned)rnd_below(&w->rnd, NAMES);
        snprintf(name, sizeof(name), "o%u", n);
        if (model[n] != NULL) {
            set_fates(w, NULL); /* it may have as few fragments as a read needs */
            world_expect(w, name, model[n], bytes[n]);
            set_fates(w, sometimes);
        }
    }
    set_fates(w, NULL);
    world_settle(w);
    loop_fixture_run_ms(&w->base, 2500); /* OSDs set aside come back */
    rounds(w, agent, 4);
    world_new_engine(w);
    agent->engine = w->engine;
    rounds(w, agent, 2);
    for (unsigned n = 0; n < NAMES; n++) {
        char name[8];
        struct manifest m;

        snprintf(name, sizeof(name), "o%u", n);
        if (model[n] == NULL) {
            continue;
        }
        world_expect(w, name, model[n], bytes[n]);
        assert_true(world_manifest(w, name, &m));
        for (uint32_t i = 0; i < m.chunk_count * 6; i++) {
            expected += m.fragments[i].has_osd;
        }
        manifest_release(&m);
        free(model[n]);
    }
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_FRAGMENT), expected);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_RECOVERY), expected);
    assert_int_equal(count_kind(w, w->ns_id, OSD_KEY_GC_TAG), 0);
    agent_end(agent);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(space_of_deleted_and_overwritten_objects_comes_back),
        cmocka_unit_test(an_osd_that_is_away_keeps_its_objects_on_the_list),
        cmocka_unit_test(fragments_that_nothing_names_are_collected_after_the_grace_time),
        cmocka_unit_test(tags_of_named_fragments_go_and_the_fragments_stay),
        cmocka_unit_test(a_put_that_outlives_its_epoch_is_uploaded_again),
        cmocka_unit_test(a_deleted_namespace_is_wiped_when_all_osds_are_there),
        cmocka_unit_test(a_namespace_that_no_registry_knows_is_wiped_but_never_one_beyond_its_ids),
        cmocka_unit_test(an_agent_at_work_never_harms_what_was_acknowledged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
