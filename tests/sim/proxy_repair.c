/* Fragments that are lost or damaged behind an OSD's back, reads that meet them, and the repair
 * that follows: in the end every object has all its fragments, and nothing else is left. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/erasure.h"
#include "policy/fragment.h"
#include "proxy/repair.h"
#include "unit/proxy/maintenance_fixture.h"

enum { BYTES = 150000, WAIT_MS = 20000 };

/* ---- looking ---- */

static struct fake_asd *asd_of(struct world *w, const struct manifest *m, uint32_t chunk,
                               uint32_t fragment)
{
    return world_asd_of(w, manifest_fragment_at(m, chunk, fragment)->osd_id);
}

/* What fragment i of a chunk must hold. */
static void expected_raw(const struct layout *l, uint32_t m, uint32_t chunk, uint32_t i,
                         const uint8_t *data, uint8_t *ret_raw)
{
    uint32_t bytes = layout_fragment_bytes(l, chunk);
    uint8_t *padded = mem_zalloc((size_t)l->k * bytes + 1);
    const uint8_t *parts[PRESET_K_MAX];
    uint8_t *parity[PRESET_M_MAX];

    memcpy(padded, data + layout_chunk_offset(l, chunk), layout_chunk_data_bytes(l, chunk));
    for (uint32_t k = 0; k < l->k; k++) {
        parts[k] = padded + (size_t)k * bytes;
    }
    for (uint32_t j = 0; j < m; j++) {
        parity[j] = mem_alloc(bytes + 1);
    }
    if (l->k > 1) {
        erasure_encode(erasure_get(l->k, m), bytes, parts, parity);
    }
    memcpy(ret_raw, l->k == 1 ? parts[0] : i < l->k ? parts[i] : parity[i - l->k], bytes);
    for (uint32_t j = 0; j < m; j++) {
        free(parity[j]);
    }
    free(padded);
}

/* Is it where the manifest says, with the bytes that it must have? */
static bool is_well(struct world *w, const struct manifest *m, uint32_t chunk, uint32_t i,
                    const uint8_t *data)
{
    const struct manifest_fragment *f = manifest_fragment_at(m, chunk, i);
    struct buf key = world_fragment_key(w, m, chunk, i);
    struct slice stored =
        f->has_osd ? fake_asd_value(asd_of(w, m, chunk, i), slice_buf(&key)) : slice_of(NULL, 0);
    struct fragment_ref ref;
    struct layout layout;
    uint8_t *raw, *expected;
    struct err e;
    bool well = false;

    assert_int_equal(
        layout_from_chunks(&layout, m->scheme.k, m->size_bytes, m->chunk_bytes, m->chunk_count, &e),
        0);
    ref = (struct fragment_ref){.id = fragment_id_of(m->object_id.data, chunk, i, m->scheme.k),
                                .shape = {.raw_bytes = layout_fragment_bytes(&layout, chunk),
                                          .block_bytes = m->scheme.block_bytes,
                                          .codec = m->scheme.codec,
                                          .cipher = CIPHER_NONE},
                                .stored_bytes = f->packed_bytes};
    raw = mem_alloc(ref.shape.raw_bytes + 1);
    expected = mem_alloc(ref.shape.raw_bytes + 1);
    if (stored.data != NULL &&
        fragment_unpack(&ref, stored.data, (uint32_t)stored.len, raw, &e) == 0) {
        expected_raw(&layout, m->scheme.m, chunk, i, data, expected);
        well = memcmp(raw, expected, ref.shape.raw_bytes) == 0;
        assert_true(well); /* it passed its checks */
    }
    buf_release(&key);
    free(raw);
    free(expected);
    return well;
}

static unsigned count_well(struct world *w, const char *name, const uint8_t *data,
                           unsigned *ret_all)
{
    struct manifest m;
    unsigned well = 0;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(&m); i++) {
            well += is_well(w, &m, c, i, data);
        }
    }
    *ret_all = m.chunk_count * manifest_fragments_per_chunk(&m);
    manifest_release(&m);
    return well;
}

static bool is_strong(struct world *w, const char *name, const uint8_t *data)
{
    unsigned all;

    return count_well(w, name, data, &all) == all;
}

static uint32_t version_of(struct world *w, const char *name)
{
    struct manifest m;
    uint32_t version;

    assert_true(world_manifest(w, name, &m));
    version = m.version_id;
    manifest_release(&m);
    return version;
}

static void wait_strong(struct world *w, const char *name, const uint8_t *data)
{
    for (unsigned ms = 0; ms < WAIT_MS && !is_strong(w, name, data); ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs); /* sooner than by itself */
    }
    assert_true(is_strong(w, name, data));
    world_settle(w);
}

/* No repair waits or runs. */
static void wait_idle(struct world *w)
{
    for (unsigned ms = 0; ms < WAIT_MS && w->engine->repairs.count > 0; ms += 50) {
        loop_fixture_run_ms(&w->base, 50);
        repair_queue_tick(&w->engine->repairs);
    }
    assert_int_equal(w->engine->repairs.count, 0);
    world_settle(w);
}

/* ---- spoiling ---- */

enum harm { LOSE, FLIP, CUT, OTHERS };

/* OTHERS: the bytes of the next fragment, as a write that went astray leaves them. */
static void harm(struct world *w, const struct manifest *m, uint32_t chunk, uint32_t i,
                 enum harm harm)
{
    uint32_t next = (i + 1) % manifest_fragments_per_chunk(m);
    struct buf key = world_fragment_key(w, m, chunk, i);
    struct buf other = world_fragment_key(w, m, chunk, next);
    struct fake_asd *asd = asd_of(w, m, chunk, i);
    struct slice value = fake_asd_value(asd, slice_buf(&key));
    struct slice copy;

    assert_true(value.data != NULL);
    switch (harm) {
    case LOSE:
        assert_true(fake_asd_remove(asd, slice_buf(&key)));
        break;
    case FLIP:
        assert_true(fake_asd_flip(asd, slice_buf(&key), rnd_below(&w->rnd, value.len)));
        break;
    case CUT:
        copy = slice_of(mem_dup(value.data, value.len / 2), value.len / 2);
        fake_asd_put(asd, slice_buf(&key), copy);
        free((void *)(uintptr_t)copy.data);
        break;
    case OTHERS:
        fake_asd_put(asd, slice_buf(&key),
                     fake_asd_value(asd_of(w, m, chunk, next), slice_buf(&other)));
        break;
    }
    buf_release(&key);
    buf_release(&other);
}

static void harm_everywhere(struct world *w, const char *name, uint32_t i, enum harm kind)
{
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        harm(w, &m, c, i, kind);
    }
    manifest_release(&m);
}

/* Whole, so that every data fragment is asked for. */
static void read_whole(struct world *w, const uint8_t *data)
{
    world_expect(w, "o", data, BYTES);
}

static void read_slice(struct world *w, const uint8_t *data, uint64_t offset)
{
    struct proxy_slice slice = {.offset = (int64_t)offset, .bytes = 100};
    uint8_t *got = NULL;
    size_t bytes = 0;

    assert_int_equal(world_get_slices(w, "o", &slice, 1, NULL, &got, &bytes), 0);
    assert_int_equal(bytes, 100);
    assert_memory_equal(got, data + offset, 100);
    free(got);
}

static void expect_clean_in_the_end(struct fixture *f)
{
    world_settle(f->w);
    loop_fixture_run_ms(&f->w->base, 1100); /* tags are deleted once a second */
    world_settle(f->w);
    fixture_osds_back(f);
    fixture_collect_all(f);
    fixture_rounds(f, 2);
    fixture_expect_clean(f);
    fixture_expect_whole(f);
}

/* ---- what reads find is repaired ---- */

static void every_kind_of_harm(unsigned asds)
{
    struct fixture *f = fixture_new(asds);
    uint8_t *data = fixture_put(f, "o", BYTES);

    for (uint32_t i = 0; i < 4; i++) {
        for (int kind = LOSE; kind <= OTHERS; kind++) {
            uint64_t repaired = f->w->engine->stats.totals.fragments_repaired;

            harm_everywhere(f->w, "o", i, (enum harm)kind);
            read_whole(f->w, data);
            wait_strong(f->w, "o", data);
            assert_true(f->w->engine->stats.totals.fragments_repaired > repaired);
            read_whole(f->w, data);
        }
    }
    wait_idle(f->w);
    assert_int_equal(f->w->engine->stats.totals.repairs_failed, 0);
    expect_clean_in_the_end(f);
    read_whole(f->w, data);
    free(data);
    fixture_free(f);
}

static void what_a_read_finds_lost_or_damaged_is_made_anew_on_another_osd(void **state)
{
    (void)state;
    every_kind_of_harm(8);
}

static void with_no_other_osd_it_goes_to_the_same_one_under_a_new_version(void **state)
{
    (void)state;
    every_kind_of_harm(6);
}

static void a_slice_finds_it_too_and_only_once(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct manifest m;

    (void)state;
    assert_true(world_manifest(f->w, "o", &m));
    harm(f->w, &m, 1, 0, FLIP);
    harm(f->w, &m, 1, 1, LOSE);
    for (unsigned i = 0; i < 40; i++) {
        read_slice(f->w, data, m.chunk_bytes[0] + rnd_below(&f->w->rnd, 8000));
    }
    read_whole(f->w, data);
    wait_strong(f->w, "o", data);
    wait_idle(f->w);
    assert_int_equal(f->w->engine->stats.totals.fragments_repaired, 2);
    assert_int_equal(version_of(f->w, "o"), 1); /* one update for all that was found */
    manifest_release(&m);
    expect_clean_in_the_end(f);
    free(data);
    fixture_free(f);
}

/* Most likely it comes back, with all it has. */
static void an_osd_that_is_down_is_no_reason_to_repair(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fake_asd_down(f->w->asds[i]);
    }
    for (unsigned i = 0; i < 5; i++) {
        read_whole(f->w, data);
    }
    assert_int_equal(f->w->engine->repairs.count, 0);
    assert_int_equal(version_of(f->w, "o"), 0);
    for (unsigned i = 0; i < 2; i++) {
        fake_asd_up(f->w->asds[i]);
    }
    free(data);
    fixture_free(f);
}

/* ---- faults during the repair ---- */

struct trouble {
    struct world *w;
    unsigned left; /* Applies of repairs still to be harmed; reads of repairs too */
    enum fake_fate fate;
};

static enum fake_fate trouble_repairs(void *ctx, struct fake_asd *asd,
                                      const struct asd_request *request)
{
    struct trouble *t = ctx;

    (void)asd;
    if (request->prio != ASD_PRIO_LOW || t->left == 0 || request->code != ASD_APPLY ||
        request->apply.update_count != 3 || request->apply.updates[0].is_delete) {
        return FAKE_NORMAL;
    }
    t->left--;
    return t->fate;
}

static void trouble_all(struct trouble *t)
{
    for (unsigned i = 0; i < t->w->asd_count; i++) {
        fake_asd_set_fate(t->w->asds[i], trouble_repairs, t);
    }
}

static void an_osd_that_fails_under_the_repair_is_replaced_by_another(void **state)
{
    const enum fake_fate fates[] = {FAKE_ERROR, FAKE_FULL,    FAKE_BUSY,       FAKE_HANG,
                                    FAKE_DROP,  FAKE_GARBAGE, FAKE_DROP_AFTER, FAKE_HANG_LATE};

    (void)state;
    for (size_t i = 0; i < sizeof(fates) / sizeof(*fates); i++) {
        struct fixture *f = fixture_new(9);
        uint8_t *data = fixture_put(f, "o", BYTES);
        struct trouble t = {.w = f->w, .left = 1, .fate = fates[i]};

        harm_everywhere(f->w, "o", 0, LOSE);
        trouble_all(&t);
        read_whole(f->w, data);
        wait_strong(f->w, "o", data);
        assert_int_equal(t.left, 0);
        assert_int_equal(f->w->engine->stats.totals.repairs_failed, 0);
        expect_clean_in_the_end(f);
        read_whole(f->w, data);
        free(data);
        fixture_free(f);
    }
}

/* ---- others are at the same object ---- */

/* Commits of updates of manifests: they assert the old one. */
struct held_update {
    enum kv_mem_fate fate;
    unsigned left;
    unsigned seen;
};

static bool is_update(const struct kv_txn *txn)
{
    static const char object[] = "/o/";

    for (size_t i = 0; i < txn->update_count; i++) {
        struct slice key = txn->updates[i].key;

        if (!txn->updates[i].is_delete && key.len > 35 && txn->reserve &&
            memcmp(key.data + key.len - 32 - 3, object, 3) == 0) {
            return true;
        }
    }
    return false;
}

static enum kv_mem_fate hold_update(void *ctx, const struct kv_txn *txn)
{
    struct held_update *h = ctx;

    if (!is_update(txn)) {
        return KV_MEM_NORMAL;
    }
    h->seen++;
    if (h->left == 0) {
        return KV_MEM_NORMAL;
    }
    h->left--;
    return h->fate;
}

static void wait_seen(struct world *w, const struct held_update *h)
{
    for (unsigned ms = 0; ms < WAIT_MS && h->seen == 0; ms += 20) {
        loop_fixture_run_ms(&w->base, 20);
        repair_queue_tick(&w->engine->repairs);
    }
    assert_true(h->seen > 0);
}

static void an_object_overwritten_under_the_repair_stays_as_it_was_written(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES), *newer;
    struct held_update h = {.fate = KV_MEM_HELD, .left = 1};

    (void)state;
    kv_mem_set_fate(f->w->kv, hold_update, &h);
    harm_everywhere(f->w, "o", 0, LOSE);
    read_whole(f->w, data);
    wait_seen(f->w, &h);
    newer = fixture_put(f, "o", BYTES);
    kv_mem_run_held(f->w->store);
    wait_idle(f->w);
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    assert_true(is_strong(f->w, "o", newer));
    assert_int_equal(f->w->engine->stats.totals.fragments_repaired, 0);
    read_whole(f->w, newer);
    expect_clean_in_the_end(f);
    free(data);
    free(newer);
    fixture_free(f);
}

static void an_object_deleted_under_the_repair_stays_deleted(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct held_update h = {.fate = KV_MEM_HELD, .left = 1};
    struct manifest m;

    (void)state;
    kv_mem_set_fate(f->w->kv, hold_update, &h);
    harm_everywhere(f->w, "o", 1, FLIP);
    read_whole(f->w, data);
    wait_seen(f->w, &h);
    assert_int_equal(world_delete(f->w, "o"), 0);
    kv_mem_run_held(f->w->store);
    wait_idle(f->w);
    kv_mem_set_fate(f->w->kv, NULL, NULL);
    assert_false(world_manifest(f->w, "o", &m));
    expect_clean_in_the_end(f);
    assert_int_equal(fixture_count(f, OSD_KEY_FRAGMENT), 0);
    free(data);
    fixture_free(f);
}

static void the_outcome_of_an_update_in_doubt_is_found_out(void **state)
{
    const enum kv_mem_fate fates[] = {KV_MEM_LOST_REQUEST, KV_MEM_LOST_REPLY};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture *f = fixture_new(8);
        uint8_t *data = fixture_put(f, "o", BYTES);
        struct held_update h = {.fate = fates[i], .left = 1};

        kv_mem_set_fate(f->w->kv, hold_update, &h);
        harm_everywhere(f->w, "o", 2, LOSE);
        read_whole(f->w, data);
        wait_strong(f->w, "o", data);
        wait_idle(f->w);
        kv_mem_set_fate(f->w->kv, NULL, NULL);
        assert_int_equal(version_of(f->w, "o"), 1);
        expect_clean_in_the_end(f);
        read_whole(f->w, data);
        free(data);
        fixture_free(f);
    }
}

/* ---- two repairers ---- */

struct ended {
    bool done;
    int rc;
    unsigned fragments;
};

static void on_repaired(void *ctx, int rc, const struct repair_result *result)
{
    struct ended *ended = ctx;

    ended->done = true;
    ended->rc = rc;
    ended->fragments = result->fragments;
}

/* Fragment i of every chunk, as the manifest has it now. */
static struct repair *start_repair(struct world *w, const char *name, uint32_t i,
                                   struct ended *ended)
{
    struct repair_spot spots[REPAIR_SPOTS_MAX];
    struct repair_spec spec = {.ns_id = w->ns_id, .spots = spots};
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    memcpy(spec.object_id, m.object_id.data, sizeof(spec.object_id));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        const struct manifest_fragment *f = manifest_fragment_at(&m, c, i);

        spots[spec.spot_count++] = (struct repair_spot){
            .chunk = c, .fragment = i, .osd_id = f->has_osd ? f->osd_id : 0, .version = f->version};
    }
    manifest_release(&m);
    return repair_start(w->engine, &spec, on_repaired, ended);
}

static void replicas_are_made_anew(void **state)
{
    struct world *w = world_new(4, 4, WORLD_PRESET("[[1,2,3,1]]", 65536, "lz4"));
    uint8_t *data = mem_alloc(BYTES);

    (void)state;
    world_fill(w, data, BYTES);
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct ended ended = {0}; /* a read asks whichever replica is cheapest */

        harm_everywhere(w, "o", i, i == 1 ? FLIP : LOSE);
        start_repair(w, "o", i, &ended);
        loop_fixture_run_until(&w->base, &ended.done);
        assert_int_equal(ended.rc, 0);
        wait_strong(w, "o", data);
    }
    free(data);
    world_free(w);
}

static void of_two_repairers_of_a_fragment_one_is_entered(void **state)
{
    struct fixture *f = fixture_new(6); /* both have but the one OSD to go to */
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct ended a = {0}, b = {0};

    (void)state;
    harm_everywhere(f->w, "o", 0, LOSE);
    start_repair(f->w, "o", 0, &a);
    start_repair(f->w, "o", 0, &b);
    loop_fixture_run_until(&f->w->base, &a.done);
    loop_fixture_run_until(&f->w->base, &b.done);
    assert_true(a.rc == 0 || b.rc == 0);
    assert_true((a.fragments == 0) != (b.fragments == 0));
    assert_true(is_strong(f->w, "o", data));
    expect_clean_in_the_end(f);
    read_whole(f->w, data);
    free(data);
    fixture_free(f);
}

/* It has stored its fragments and is frozen before it enters them; another repairs, the epoch of
 * its tags ends, its fragments are collected. Then it wakes. */
static void a_repairer_that_wakes_late_is_refused(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", BYTES);
    struct held_update h = {.fate = KV_MEM_HELD, .left = 1};
    struct ended late = {0}, other = {0};

    (void)state;
    for (unsigned with_other = 0; with_other < 2; with_other++) {
        late = other = (struct ended){0};
        h.left = 1;
        h.seen = 0;
        kv_mem_set_fate(f->w->kv, hold_update, &h);
        harm_everywhere(f->w, "o", 0, LOSE);
        start_repair(f->w, "o", 0, &late);
        wait_seen(f->w, &h);
        if (with_other != 0) {
            start_repair(f->w, "o", 0, &other);
            loop_fixture_run_until(&f->w->base, &other.done);
            assert_int_equal(other.rc, 0);
        }
        loop_fixture_run_ms(&f->w->base, 1100);
        fixture_collect_all(f);
        kv_mem_run_held(f->w->store);
        loop_fixture_run_until(&f->w->base, &late.done);
        assert_int_not_equal(late.rc, 0);
        kv_mem_set_fate(f->w->kv, NULL, NULL);
        if (with_other == 0) { /* what it stored is gone, and it was not named */
            other = (struct ended){0};
            start_repair(f->w, "o", 0, &other);
            loop_fixture_run_until(&f->w->base, &other.done);
            assert_int_equal(other.rc, 0);
        }
        assert_true(is_strong(f->w, "o", data));
    }
    expect_clean_in_the_end(f);
    read_whole(f->w, data);
    free(data);
    fixture_free(f);
}

/* What no k fragments are left of stays as it is, for somebody to look at. */
static void with_too_few_left_nothing_is_changed(void **state)
{
    struct fixture *f = fixture_new(8);
    uint8_t *data = fixture_put(f, "o", 20000);
    struct ended ended = {0};

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        harm_everywhere(f->w, "o", i, LOSE);
    }
    start_repair(f->w, "o", 0, &ended);
    loop_fixture_run_until(&f->w->base, &ended.done);
    assert_int_equal(ended.rc, ERR_NOT_ENOUGH);
    assert_int_equal(ended.fragments, 0);
    assert_int_equal(version_of(f->w, "o"), 0);
    free(data);
    fixture_free(f);
}

/* ---- everything at once ---- */

static enum fake_fate sometimes(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct world *w = ctx;
    static const enum fake_fate fates[] = {FAKE_ERROR, FAKE_DROP, FAKE_DROP_AFTER, FAKE_DELAY,
                                           FAKE_BUSY};

    (void)asd;
    return request->prio == ASD_PRIO_LOW && rnd_below(&w->rnd, 8) == 0
               ? fates[rnd_below(&w->rnd, 5)]
               : FAKE_NORMAL;
}

enum { NAMES = 4, STEPS = 40 };

static void harm_some(struct world *w, const char *name)
{
    struct manifest m;

    assert_true(world_manifest(w, name, &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        uint32_t i = (uint32_t)rnd_below(&w->rnd, 6);
        struct buf key = world_fragment_key(w, &m, c, i);

        if (manifest_fragment_at(&m, c, i)->has_osd &&
            fake_asd_has(asd_of(w, &m, c, i), slice_buf(&key))) {
            harm(w, &m, c, i, rnd_below(&w->rnd, 2) == 0 ? LOSE : FLIP);
        }
        buf_release(&key);
    }
    manifest_release(&m);
}

static void repairs_overwrites_and_an_agent_under_faults_lose_nothing(void **state)
{
    struct fixture *f = fixture_new(9);
    struct world *w = f->w;
    uint8_t *model[NAMES];
    char name[8];

    (void)state;
    for (unsigned n = 0; n < NAMES; n++) {
        snprintf(name, sizeof(name), "o%u", n);
        model[n] = fixture_put(f, name, BYTES);
    }
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    for (unsigned s = 0; s < STEPS; s++) {
        unsigned n = (unsigned)rnd_below(&w->rnd, NAMES);
        struct ended ended = {0};

        snprintf(name, sizeof(name), "o%u", n);
        harm_some(w, name);
        for (unsigned i = 0; i < w->asd_count; i++) {
            w->asds[i]->delay_ms = 20;
            fake_asd_set_fate(w->asds[i], sometimes, w);
        }
        world_expect(w, name, model[n], BYTES);
        start_repair(w, name, (uint32_t)rnd_below(&w->rnd, 6), &ended);
        if (rnd_below(&w->rnd, 4) == 0) {
            free(model[n]);
            model[n] = fixture_put(f, name, BYTES);
        }
        fixture_rounds(f, (unsigned)rnd_below(&w->rnd, 2));
        loop_fixture_run_until(&w->base, &ended.done);
        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], NULL, NULL);
        }
        fixture_osds_back(f);
        for (uint32_t i = 0; i < 6; i++) { /* whatever is lost yet */
            struct ended rest = {.rc = ERR_STALE};

            for (unsigned tries = 0; tries < 3 && rest.rc == ERR_STALE; tries++) {
                rest = (struct ended){0}; /* the epoch that the engine knows may have ended */
                start_repair(w, name, i, &rest);
                loop_fixture_run_until(&w->base, &rest.done);
            }
            assert_int_equal(rest.rc, 0);
        }
        assert_true(is_strong(w, name, model[n]));
    }
    world_new_engine(w); /* what reads have found is forgotten, and no repair runs */
    fixture_agent(f, FIXTURE_GRACE_NONE_MS);
    expect_clean_in_the_end(f);
    for (unsigned n = 0; n < NAMES; n++) {
        snprintf(name, sizeof(name), "o%u", n);
        assert_true(is_strong(w, name, model[n]));
        free(model[n]);
    }
    fixture_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_read_finds_lost_or_damaged_is_made_anew_on_another_osd),
        cmocka_unit_test(with_no_other_osd_it_goes_to_the_same_one_under_a_new_version),
        cmocka_unit_test(a_slice_finds_it_too_and_only_once),
        cmocka_unit_test(replicas_are_made_anew),
        cmocka_unit_test(an_osd_that_is_down_is_no_reason_to_repair),
        cmocka_unit_test(an_osd_that_fails_under_the_repair_is_replaced_by_another),
        cmocka_unit_test(an_object_overwritten_under_the_repair_stays_as_it_was_written),
        cmocka_unit_test(an_object_deleted_under_the_repair_stays_deleted),
        cmocka_unit_test(the_outcome_of_an_update_in_doubt_is_found_out),
        cmocka_unit_test(of_two_repairers_of_a_fragment_one_is_entered),
        cmocka_unit_test(a_repairer_that_wakes_late_is_refused),
        cmocka_unit_test(with_too_few_left_nothing_is_changed),
        cmocka_unit_test(repairs_overwrites_and_an_agent_under_faults_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
