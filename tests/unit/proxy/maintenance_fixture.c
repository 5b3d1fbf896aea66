#include "unit/proxy/maintenance_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "loop/run.h"
#include "meta/ns_keys.h"
#include "meta/nsm_gc.h"
#include "meta/registry_record.h"
#include "proxy/osd_probe.h"

struct fixture *fixture_new(unsigned asds)
{
    struct fixture *f = mem_zalloc(sizeof(*f));

    f->w = world_new(asds, 3, FIXTURE_PRESET);
    return f;
}

void fixture_end_agent(struct fixture *f)
{
    if (f->has_agent) {
        agent_release(&f->agent);
        f->has_agent = false;
    }
}

void fixture_free(struct fixture *f)
{
    fixture_end_agent(f);
    world_settle(f->w);
    world_free(f->w);
    free(f);
}

struct agent *fixture_agent(struct fixture *f, unsigned grace_ms)
{
    struct agent_options options = {.grace_ms = grace_ms};

    fixture_end_agent(f);
    agent_init(&f->agent, f->w->registry, f->w->engine, &options);
    f->has_agent = true;
    return &f->agent;
}

void fixture_rounds(struct fixture *f, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        loop_fixture_run_ms(&f->w->base, 3);
        agent_run_round(&f->agent);
    }
}

void fixture_collect_all(struct fixture *f)
{
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    fixture_rounds(f, 3); /* begin the next; end this one; end the next too */
}

uint8_t *fixture_put(struct fixture *f, const char *name, size_t bytes)
{
    uint8_t *data = mem_alloc(bytes + 1);

    world_fill(f->w, data, bytes);
    assert_int_equal(world_put(f->w, name, data, bytes), 0);
    return data;
}

static void put_key(struct fixture *f, unsigned asd, const struct buf *key, const char *value)
{
    fake_asd_put(f->w->asds[asd], slice_buf(key), slice_str(value));
}

void fixture_orphan(struct fixture *f, unsigned asd, uint8_t id_seed, uint64_t epoch)
{
    uint8_t id[MANIFEST_OBJECT_ID_BYTES] = {0};
    struct osd_fragment name = {.object_id = slice_of(id, sizeof(id)), .chunk = 1, .fragment = 2};
    struct buf key = {0};

    memset(id, id_seed, sizeof(id));
    osd_key_put_fragment(&key, f->w->ns_id, &name);
    put_key(f, asd, &key, "data");
    key.len = 0;
    osd_key_put_recovery(&key, f->w->ns_id, &name);
    put_key(f, asd, &key, "recovery");
    key.len = 0;
    osd_key_put_gc_tag(&key, f->w->ns_id, epoch, &name);
    put_key(f, asd, &key, "");
    buf_release(&key);
}

/* ---- metadata ---- */

struct wait {
    bool done;
    struct nsm_reply *reply;
};

static void on_reply(void *ctx, int rc, struct nsm_reply *reply)
{
    struct wait *wait = ctx;

    assert_int_equal(rc, 0);
    nsm_reply_take(reply);
    wait->reply = reply;
    wait->done = true;
}

static struct nsm *nsm_of(struct fixture *f)
{
    struct nsm *nsm;
    struct err e;

    assert_int_equal(registry_nsm(f->w->registry, "registry", &nsm, &e), 0);
    return nsm;
}

uint64_t fixture_current_epoch(struct fixture *f)
{
    struct wait wait = {0};
    uint64_t epoch;

    nsm_gc_epochs(nsm_of(f), f->w->ns_id, on_reply, &wait);
    loop_fixture_run_until(&f->w->base, &wait.done);
    assert_true(wait.reply->count > 0);
    epoch = wait.reply->epochs[wait.reply->count - 1];
    nsm_reply_free(wait.reply);
    return epoch;
}

static struct nsm_reply *all_objects(struct fixture *f)
{
    struct wait wait = {0};

    nsm_list_objects(nsm_of(f), f->w->ns_id, slice_of(NULL, 0), 4096, on_reply, &wait);
    loop_fixture_run_until(&f->w->base, &wait.done);
    assert_false(wait.reply->has_more);
    return wait.reply;
}

size_t fixture_count_meta(struct fixture *f, char kind)
{
    struct key key;

    return kv_mem_count_prefix(f->w->store, ns_key_root(&key, f->w->ns_id, kind));
}

static void on_probed(struct osds_probe_wait *wait)
{
    wait->cb = NULL;
}

static bool are_probed(void *ctx)
{
    return ((const struct osds_probe_wait *)ctx)->cb == NULL;
}

void fixture_osds_back(struct fixture *f)
{
    struct osds_probe_wait wait;

    for (unsigned i = 0; i < 50 && osds_aside_count(f->w->engine->osds) > 0; i++) {
        osds_probe_all(f->w->engine->osds, &wait, on_probed);
        loop_run_until_true(&f->w->base.loop, are_probed, &wait);
    }
    assert_int_equal(osds_aside_count(f->w->engine->osds), 0);
}

/* ---- what is on the ASDs ---- */

size_t fixture_count(struct fixture *f, enum osd_key_kind kind)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_kind_prefix(&prefix, f->w->ns_id, kind);
    for (unsigned i = 0; i < f->w->asd_count; i++) {
        count += fake_asd_count_prefix(f->w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

size_t fixture_count_ns(struct fixture *f, uint64_t ns_id)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_ns_status(&prefix, ns_id);
    for (unsigned i = 0; i < f->w->asd_count; i++) {
        count += fake_asd_count_prefix(f->w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

/* Returns how many fragments the manifest names. */
static size_t expect_fragments(struct fixture *f, const struct manifest *m)
{
    size_t count = 0;

    for (uint32_t c = 0; c < m->chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            const struct manifest_fragment *mf = manifest_fragment_at(m, c, i);
            struct osd_fragment name = {
                .object_id = m->object_id, .chunk = c, .fragment = i, .version = mf->version};
            struct buf key = {0};

            if (mf->has_osd) {
                count++;
                osd_key_put_fragment(&key, f->w->ns_id, &name);
                assert_true(fake_asd_has(world_asd_of(f->w, mf->osd_id), slice_buf(&key)));
                key.len = 0;
                osd_key_put_recovery(&key, f->w->ns_id, &name);
                assert_true(fake_asd_has(world_asd_of(f->w, mf->osd_id), slice_buf(&key)));
            }
            buf_release(&key);
        }
    }
    return count;
}

static void expect(struct fixture *f, size_t *ret_fragments, size_t *ret_places)
{
    struct nsm_reply *all = all_objects(f);

    *ret_fragments = *ret_places = 0;
    for (size_t i = 0; i < all->count; i++) {
        uint64_t *osd_ids;

        *ret_fragments += expect_fragments(f, &all->objects[i].manifest);
        *ret_places += ns_manifest_osds(&all->objects[i].manifest, &osd_ids);
        free(osd_ids);
    }
    nsm_reply_free(all);
}

void fixture_expect_whole(struct fixture *f)
{
    size_t fragments, places;

    expect(f, &fragments, &places);
}

void fixture_expect_clean(struct fixture *f)
{
    size_t fragments, places;

    expect(f, &fragments, &places);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), fragments);
    assert_int_equal(fixture_count(f, OSD_KEY_RECOVERY), fragments);
    assert_int_equal(fixture_count(f, OSD_KEY_GC_TAG), 0);
    assert_int_equal(fixture_count_meta(f, 'd'), places);
    assert_int_equal(fixture_count_meta(f, 'x'), 0);
    assert_int_equal(fixture_count_meta(f, 't'), 0);
    assert_int_equal(fixture_count_meta(f, 'n'), fixture_count_meta(f, 'o'));
}

void fixture_poke_record(struct fixture *f, const char *prefix, const char *id, json_t *take_json)
{
    struct buf value = {0};
    struct key key;

    reg_key(&key, prefix, id);
    value_make_json(&value, slice_key(&key), take_json);
    kv_mem_poke(f->w->store, slice_key(&key), slice_buf(&value));
    buf_release(&value);
    json_decref(take_json);
}
