/* Puts over ASDs that fail, hang, answer late or garbage; commits whose outcome is in doubt;
 * writers that race for one name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "sim/proxy_world.h"
#include "wire/osd_keys.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

static unsigned fragments_named(const struct manifest *m)
{
    unsigned count = 0;

    for (uint32_t c = 0; c < m->chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            count += manifest_fragment_at(m, c, i)->has_osd;
        }
    }
    return count;
}

/* No two fragments of a chunk share an OSD, and a node has no more than the policy allows. */
static void expect_spread(struct world *w, const struct manifest *m, uint32_t chunk)
{
    for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
        const struct manifest_fragment *a = manifest_fragment_at(m, chunk, i);
        unsigned on_node = 0;

        for (uint32_t j = 0; j < manifest_fragments_per_chunk(m) && a->has_osd; j++) {
            const struct manifest_fragment *b = manifest_fragment_at(m, chunk, j);

            if (b->has_osd) {
                assert_true(i == j || a->osd_id != b->osd_id);
                on_node += strcmp(osds_find(w->engine->osds, a->osd_id)->node_id,
                                  osds_find(w->engine->osds, b->osd_id)->node_id) == 0;
            }
        }
        assert_true(on_node <= m->scheme.max_disks_per_node);
    }
}

/* Every fragment that a manifest names is on its ASD. */
static void expect_named_fragments_exist(struct world *w, const struct manifest *m)
{
    for (uint32_t c = 0; c < m->chunk_count; c++) {
        expect_spread(w, m, c);
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(m); i++) {
            struct buf key = world_fragment_key(w, m, c, i);

            if (manifest_fragment_at(m, c, i)->has_osd) {
                assert_true(fake_asd_has(world_asd_of(w, manifest_fragment_at(m, c, i)->osd_id),
                                         slice_buf(&key)));
            }
            buf_release(&key);
        }
    }
}

static size_t count_kind(struct world *w, enum osd_key_kind kind)
{
    struct buf prefix = {0};
    size_t count = 0;

    osd_key_put_kind_prefix(&prefix, w->ns_id, kind);
    for (unsigned i = 0; i < w->asd_count; i++) {
        count += fake_asd_count_prefix(w->asds[i], slice_buf(&prefix));
    }
    buf_release(&prefix);
    return count;
}

static bool is_fragment_apply(const struct asd_request *request)
{
    return request->code == ASD_APPLY && request->apply.update_count == 3 &&
           request->apply.assert_count == 2;
}

/* ---- what one put leaves behind ---- */

static void a_put_leaves_fragments_recovery_infos_and_in_time_no_tags(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    uint8_t data[100000]; /* two chunks */
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(m.chunk_count, 2);
    assert_int_equal(fragments_named(&m), 12);
    expect_named_fragments_exist(w, &m);
    assert_int_equal(count_kind(w, OSD_KEY_FRAGMENT), 12);
    assert_int_equal(count_kind(w, OSD_KEY_RECOVERY), 12);
    loop_fixture_run_ms(&w->base, 1200);
    world_settle(w);
    assert_int_equal(count_kind(w, OSD_KEY_GC_TAG), 0);
    assert_int_equal(count_kind(w, OSD_KEY_FRAGMENT), 12);
    manifest_release(&m);
    world_free(w);
}

static void a_put_that_fails_its_assert_leaves_nothing(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    uint8_t data[30000];
    struct proxy_assert absent = {.kind = PROXY_ASSERT_ABSENT, .name = slice_str("o")};
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {
        .asserts = &absent, .assert_count = 1, .updates = &update, .update_count = 1};
    int32_t rc;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_apply(w, &apply, &rc), 0);
    assert_int_equal(world_apply(w, &apply, &rc), ERR_ASSERT_FAILED);
    assert_int_equal(rc, PROXY_RC_ASSERT_FAILED);
    loop_fixture_run_ms(&w->base, 1200);
    world_settle(w);
    assert_int_equal(count_kind(w, OSD_KEY_FRAGMENT), 6);
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

/* ---- failing OSDs ---- */

static enum fake_fate always(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)asd;
    (void)request;
    return *(const enum fake_fate *)ctx;
}

/* With two of six gone in this way a put succeeds under the policy that asks for four. */
static void put_with_two_bad(enum fake_fate fate)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    uint8_t data[100000];
    struct manifest m;

    if (fake_fate_is_silent(fate)) {
        world_make_hasty(w);
    }
    world_fill(w, data, sizeof(data));
    fake_asd_set_fate(w->asds[1], always, &fate);
    fake_asd_set_fate(w->asds[4], always, &fate);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
        world_expect(w, "o", data, sizeof(data));
    }
    world_settle(w);
    assert_true(world_manifest(w, "o", &m));
    assert_true(fragments_named(&m) >= 8);
    if (fate != FAKE_DELAY) {
        assert_int_equal(m.scheme.c, 4);
    }
    expect_named_fragments_exist(w, &m);
    manifest_release(&m);
    world_free(w);
}

static void puts_succeed_with_two_of_six_osds_bad_in_any_way(void **state)
{
    (void)state;
    put_with_two_bad(FAKE_ERROR);
    put_with_two_bad(FAKE_DROP);
    put_with_two_bad(FAKE_HANG);
    put_with_two_bad(FAKE_HANG_LATE);
    put_with_two_bad(FAKE_FULL);
    put_with_two_bad(FAKE_GARBAGE);
}

static void a_put_without_enough_osds_is_refused_by_code_and_works_when_they_are_back(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    enum fake_fate fate = FAKE_ERROR;
    uint8_t data[20000];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};
    int32_t rc;

    (void)state;
    world_fill(w, data, sizeof(data));
    for (unsigned i = 0; i < 3; i++) {
        fake_asd_set_fate(w->asds[i], always, &fate);
    }
    assert_int_not_equal(world_apply(w, &apply, &rc), 0);
    assert_int_equal(rc, PROXY_RC_NO_POLICY);
    for (unsigned i = 0; i < 3; i++) {
        fake_asd_set_fate(w->asds[i], NULL, NULL);
    }
    /* at once: those set aside are asked before a put is refused */
    assert_int_equal(world_apply(w, &apply, &rc), 0);
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

static void a_failed_osd_is_replaced_by_a_spare_one(void **state)
{
    struct world *w = world_new(8, 8, WORLD_PRESET("[[4,2,6,1]]", 16384, "lz4"));
    enum fake_fate fate = FAKE_ERROR;
    uint8_t data[200000];
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    fake_asd_set_fate(w->asds[2], always, &fate);
    fake_asd_set_fate(w->asds[5], always, &fate);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
        assert_true(world_manifest(w, "o", &m));
        assert_int_equal(fragments_named(&m), 6 * m.chunk_count);
        expect_named_fragments_exist(w, &m);
        manifest_release(&m);
    }
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

/* ---- stragglers ---- */

static void late_fragments_are_entered_by_the_epilogue(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,4,2]]", 16384, "lz4"));
    enum fake_fate fate = FAKE_DELAY;
    uint8_t data[60000];
    uint64_t start_ms, ms;
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "warm", data, sizeof(data)),
                     0); /* connections, namespace status */
    for (unsigned i = 0; i < 2; i++) {
        w->asds[i]->delay_ms = 300;
        fake_asd_set_fate(w->asds[i], always, &fate);
    }
    start_ms = clock_mono_ms();
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    ms = clock_mono_ms() - start_ms;
    assert_true(ms < 290); /* it did not wait for them */
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(fragments_named(&m), 4);
    manifest_release(&m);
    world_settle(w);
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(fragments_named(&m), 6);
    expect_named_fragments_exist(w, &m);
    assert_true(w->engine->stats.totals.epilogues >= 1);
    manifest_release(&m);
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

static enum fake_fate busy_at_first(void *ctx, struct fake_asd *asd,
                                    const struct asd_request *request)
{
    unsigned *left = ctx;

    (void)asd;
    if (is_fragment_apply(request) && *left > 0) {
        (*left)--;
        return FAKE_BUSY;
    }
    return FAKE_NORMAL;
}

/* Data that does not shrink is sent from where it lies, the second time, too, though the put was
 * answered by then: the world keeps it until it is released, and not longer. */
static void a_straggler_that_is_sent_again_has_the_bytes_that_were_put(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,4,2]]", 16384, "lz4"));
    enum fake_fate fail = FAKE_ERROR;
    unsigned busy[2] = {5, 5};
    uint8_t data[4 * 16384];
    struct manifest m;

    (void)state;
    rnd_bytes(data, sizeof(data));
    assert_int_equal(world_put(w, "warm", data, sizeof(data)), 0);
    rnd_bytes(data, sizeof(data));
    for (unsigned i = 0; i < 2; i++) {
        fake_asd_set_fate(w->asds[i], busy_at_first, &busy[i]);
    }
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    world_settle(w);
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(fragments_named(&m), 6);
    manifest_release(&m);
    for (unsigned i = 2; i < 4; i++) {
        fake_asd_set_fate(w->asds[i], always, &fail);
    }
    world_expect(w, "o", data, sizeof(data)); /* from the stragglers, among others */
    world_free(w);
}

/* ---- a lost reply to a fragment's Apply ---- */

static enum fake_fate drop_after_first(void *ctx, struct fake_asd *asd,
                                       const struct asd_request *request)
{
    unsigned *left = ctx;

    (void)asd;
    if (is_fragment_apply(request) && *left > 0) {
        (*left)--;
        return FAKE_DROP_AFTER;
    }
    return FAKE_NORMAL;
}

static void a_fragment_whose_reply_was_lost_is_recognised(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    uint8_t data[50000];
    unsigned left = 3;
    struct manifest m;

    (void)state;
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "warm", data, sizeof(data)), 0);
    for (unsigned i = 0; i < 6; i++) {
        fake_asd_set_fate(w->asds[i], drop_after_first, &left);
    }
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_int_equal(left, 0);
    assert_int_equal(w->engine->stats.totals.fragments_failed, 0); /* it was not sent elsewhere */
    assert_true(world_manifest(w, "o", &m));
    assert_int_equal(fragments_named(&m), 6);
    manifest_release(&m);
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

/* ---- as much as a transaction holds ---- */

enum { UPLOADS = 12, UPLOAD_BYTES = 100000 };

static enum fake_fate fail_after_some(void *ctx, struct fake_asd *asd,
                                      const struct asd_request *request)
{
    unsigned *left = ctx;

    (void)asd;
    if (!is_fragment_apply(request)) {
        return FAKE_NORMAL;
    }
    *left -= *left > 0;
    return *left == 0 ? FAKE_ERROR : FAKE_NORMAL;
}

/* 12 overwrites on 6 OSDs each are 120 updates: a seventh for one of them would not fit. */
static void as_many_overwrites_as_fit_are_stored_though_an_osd_fails_in_the_middle(void **state)
{
    struct world *w = world_new(9, 9, WORLD_PRESET("[[4,2,6,2]]", 4096, "none"));
    struct proxy_update updates[UPLOADS] = {0};
    struct proxy_apply apply = {.updates = updates, .update_count = UPLOADS};
    uint8_t *data = mem_alloc(UPLOAD_BYTES);
    char names[UPLOADS][16];
    unsigned left = 20;

    (void)state;
    world_fill(w, data, UPLOAD_BYTES);
    for (unsigned i = 0; i < UPLOADS; i++) {
        snprintf(names[i], sizeof(names[i]), "o%u", i);
        updates[i] = (struct proxy_update){.kind = PROXY_UPDATE_UPLOAD,
                                           .name = slice_str(names[i]),
                                           .data = slice_of(data, UPLOAD_BYTES)};
    }
    assert_int_equal(world_apply(w, &apply, NULL), 0);
    fake_asd_set_fate(w->asds[3], fail_after_some, &left);
    assert_int_equal(world_apply(w, &apply, NULL), 0);
    assert_int_equal(left, 0);
    for (unsigned i = 0; i < UPLOADS; i++) {
        struct manifest m;

        world_expect(w, names[i], data, UPLOAD_BYTES);
        assert_true(world_manifest(w, names[i], &m));
        assert_int_equal(fragments_named(&m), 6 * m.chunk_count);
        manifest_release(&m);
    }
    free(data);
    world_free(w);
}

/* ---- namespace status ---- */

static void an_osd_that_forgot_the_namespace_is_told_again(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET("[[4,2,6,2]]", 16384, "lz4"));
    struct buf key = {0};
    uint8_t data[50000];

    (void)state;
    osd_key_put_ns_status(&key, w->ns_id);
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "a", data, sizeof(data)), 0);
    for (unsigned i = 0; i < 6; i++) {
        assert_true(fake_asd_remove(w->asds[i], slice_buf(&key)));
    }
    assert_int_equal(world_put(w, "b", data, sizeof(data)), 0);
    for (unsigned i = 0; i < 6; i++) {
        assert_true(fake_asd_has(w->asds[i], slice_buf(&key)));
    }
    buf_release(&key);
    world_free(w);
}

/* ---- checksums ---- */

static void a_wrong_checksum_is_refused_and_a_right_one_kept(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct proxy_update update = {.kind = PROXY_UPDATE_UPLOAD,
                                  .name = slice_str("o"),
                                  .data = slice_str("123456789"),
                                  .has_checksum = true,
                                  .checksum = checksum_crc32c(1)};
    struct proxy_apply apply = {.updates = &update, .update_count = 1};
    struct manifest m;
    int32_t rc;

    (void)state;
    assert_int_equal(world_apply(w, &apply, &rc), ERR_CHECKSUM);
    assert_int_equal(rc, PROXY_RC_CHECKSUM_MISMATCH);
    assert_false(world_manifest(w, "o", &m));
    update.checksum = checksum_crc32c(0xe3069283);
    assert_int_equal(world_apply(w, &apply, &rc), 0);
    assert_true(world_manifest(w, "o", &m));
    assert_true(checksum_eq(&m.checksum, &update.checksum));
    manifest_release(&m);
    update.checksum = (struct checksum){.algo = CHECKSUM_SHA1};
    assert_int_not_equal(world_apply(w, &apply, &rc), 0);
    assert_int_equal(rc, PROXY_RC_CHECKSUM_MISMATCH);
    world_free(w);
}

/* ---- random faults ---- */

static enum fake_fate random_fate(void *ctx, struct fake_asd *asd,
                                  const struct asd_request *request)
{
    struct world *w = ctx;
    static const enum fake_fate fates[] = {FAKE_ERROR,     FAKE_DROP, FAKE_DROP_AFTER,
                                           FAKE_HANG_LATE, FAKE_BUSY, FAKE_DELAY,
                                           FAKE_DELAY,     FAKE_FULL, FAKE_GARBAGE};

    (void)asd;
    (void)request;
    if (rnd_below(&w->rnd, 12) != 0) {
        return FAKE_NORMAL;
    }
    return fates[rnd_below(&w->rnd, sizeof(fates) / sizeof(*fates))];
}

enum { NAMES = 6, ROUNDS = 60 };

/* A put that reports success is there, whole, from then on; one that does not changes nothing
 * (with a metadata store that answers). */
static void acknowledged_puts_are_never_lost_under_random_faults(void **state)
{
    struct world *w = world_new(9, 3, WORLD_PRESET("[[4,2,5,3],[4,2,4,3]]", 8192, "lz4"));
    uint8_t *model[NAMES] = {NULL};
    size_t bytes[NAMES] = {0};
    unsigned good = 0, bad = 0;

    (void)state;
    world_make_hasty(w);
    for (unsigned i = 0; i < w->asd_count; i++) {
        w->asds[i]->delay_ms = 30;
    }
    for (unsigned r = 0; r < ROUNDS; r++) {
        unsigned n = (unsigned)rnd_below(&w->rnd, NAMES);
        size_t size = rnd_below(&w->rnd, 120000);
        uint8_t *data = mem_alloc(size + 1);
        char name[8];

        snprintf(name, sizeof(name), "o%u", n);
        world_fill(w, data, size);
        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], random_fate, w);
        }
        if (world_put(w, name, data, size) == 0) {
            free(model[n]);
            model[n] = data;
            bytes[n] = size;
            good++;
        } else {
            free(data);
            bad++;
        }
        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], NULL, NULL);
        }
        n = (unsigned)rnd_below(&w->rnd, NAMES);
        snprintf(name, sizeof(name), "o%u", n);
        if (model[n] != NULL) {
            world_expect(w, name, model[n], bytes[n]);
        }
    }
    world_settle(w);
    world_new_engine(w); /* no cache */
    for (unsigned n = 0; n < NAMES; n++) {
        char name[8];
        struct manifest m;

        snprintf(name, sizeof(name), "o%u", n);
        if (model[n] != NULL) {
            world_expect(w, name, model[n], bytes[n]);
            assert_true(world_manifest(w, name, &m));
            expect_named_fragments_exist(w, &m);
            manifest_release(&m);
        }
        free(model[n]);
    }
    print_message("%u puts succeeded, %u did not\n", good, bad);
    assert_true(good > ROUNDS / 2);
    world_free(w);
}

/* OSDs that fail between the chunks of one object: later chunks are placed on what is left, each
 * OSD once. */
static enum fake_fate one_in_three(void *ctx, struct fake_asd *asd,
                                   const struct asd_request *request)
{
    struct world *w = ctx;

    (void)asd;
    if (!is_fragment_apply(request) || rnd_below(&w->rnd, 3) != 0) {
        return FAKE_NORMAL;
    }
    return rnd_below(&w->rnd, 2) == 0 ? FAKE_ERROR : FAKE_BUSY;
}

static void fragments_stay_spread_while_osds_come_and_go(void **state)
{
    struct world *w =
        world_new(12, 6, WORLD_PRESET("[[4,2,6,2],[4,2,5,2],[4,2,4,2]]", 4096, "lz4"));
    uint8_t *data = mem_alloc(300000);
    unsigned good = 0;

    (void)state;
    world_fill(w, data, 300000);
    assert_int_equal(world_put(w, "warm", data, 1000), 0);
    for (unsigned round = 0; round < 25; round++) {
        struct manifest m;

        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], rnd_below(&w->rnd, 3) == 0 ? one_in_three : NULL, w);
        }
        if (world_put(w, "o", data, 300000) == 0) {
            world_settle(w);
            assert_true(world_manifest(w, "o", &m));
            expect_named_fragments_exist(w, &m);
            manifest_release(&m);
            good++;
        }
        for (unsigned i = 0; i < w->asd_count; i++) {
            fake_asd_set_fate(w->asds[i], NULL, NULL);
        }
        loop_fixture_run_ms(&w->base, rnd_below(&w->rnd, 2) == 0 ? 5 : 250);
    }
    assert_true(good > 10);
    free(data);
    world_free(w);
}

/* ---- in doubt ---- */

struct doubt {
    struct world *w;
    enum kv_mem_fate fate;
    unsigned skip, left;
};

/* Only commits: they are the transactions that write a name. */
static enum kv_mem_fate doubtful(void *ctx, const struct kv_txn *txn)
{
    struct doubt *d = ctx;

    if (txn->update_count < 4 || d->left == 0) {
        return KV_MEM_NORMAL;
    }
    d->left--;
    return d->fate;
}

static void a_commit_whose_reply_is_lost_is_found_to_have_happened(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct doubt doubt = {.w = w, .fate = KV_MEM_LOST_REPLY, .left = 1};
    uint8_t data[30000];

    (void)state;
    world_fill(w, data, sizeof(data));
    kv_mem_set_fate(w->kv, doubtful, &doubt);
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_int_equal(doubt.left, 0);
    kv_mem_set_fate(w->kv, NULL, NULL);
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

static void a_commit_whose_request_is_lost_is_sent_again(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct doubt doubt = {.w = w, .fate = KV_MEM_LOST_REQUEST, .left = 1};
    uint8_t data[30000];

    (void)state;
    world_fill(w, data, sizeof(data));
    kv_mem_set_fate(w->kv, doubtful, &doubt);
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    kv_mem_set_fate(w->kv, NULL, NULL);
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

/* The outcome stays unknown; the commit lands later. No fragment may be gone by then. */
static void fragments_of_a_commit_in_doubt_are_not_touched(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 16384, "lz4"));
    struct doubt doubt = {.w = w, .fate = KV_MEM_LATE, .left = UINT32_MAX};
    uint8_t data[30000];
    struct proxy_update update = {
        .kind = PROXY_UPDATE_UPLOAD, .name = slice_str("o"), .data = slice_of(data, sizeof(data))};
    struct proxy_apply apply = {.updates = &update, .update_count = 1, .deadline_ms = 2000};
    int32_t rc;

    (void)state;
    world_fill(w, data, sizeof(data));
    kv_mem_set_fate(w->kv, doubtful, &doubt);
    assert_int_equal(world_apply(w, &apply, &rc), ERR_IN_DOUBT);
    assert_int_equal(rc, PROXY_RC_IN_DOUBT);
    kv_mem_set_fate(w->kv, NULL, NULL);
    loop_fixture_run_ms(&w->base, 1500);
    world_settle(w);
    assert_int_equal(count_kind(w, OSD_KEY_FRAGMENT), 6);
    assert_int_equal(count_kind(w, OSD_KEY_GC_TAG), 6);
    assert_int_equal(kv_mem_run_late(w->store), 1); /* exactly one of those that were sent */
    world_expect(w, "o", data, sizeof(data));
    world_free(w);
}

/* ---- races ---- */

struct racer {
    struct world *w;
    uint8_t data[9000];
    struct proxy_update update;
    struct proxy_apply apply;
    bool done;
    int rc;
};

static void on_raced(void *ctx, struct sequence *sequence, int rc)
{
    struct racer *r = ctx;

    (void)sequence;
    r->rc = rc;
    r->done = true;
}

static void race(struct racer *r, struct world *w, bool is_delete)
{
    struct sequence_spec spec = {.ns = slice_str("ns"), .apply = &r->apply};

    r->w = w;
    world_fill(w, r->data, sizeof(r->data));
    r->update = (struct proxy_update){.kind = is_delete ? PROXY_UPDATE_DELETE : PROXY_UPDATE_UPLOAD,
                                      .name = slice_str("o"),
                                      .data = slice_of(r->data, is_delete ? 0 : sizeof(r->data))};
    r->apply = (struct proxy_apply){.updates = &r->update, .update_count = 1};
    r->done = false;
    sequence_start(w->engine, &spec, on_raced, r);
}

enum { RACERS = 6 };

/* All succeed, in some order: the name then holds one of them, whole, or nothing if a delete
 * was there; and old fragments are not the new object's. */
static void racing_overwrites_and_deletes_leave_one_whole_object_or_none(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 8192, "lz4"));
    struct racer *racers = mem_array(RACERS, sizeof(*racers));

    (void)state;
    kv_mem_store_jitter(w->store, 8);
    for (unsigned round = 0; round < 25; round++) {
        uint8_t *got = NULL;
        size_t bytes = 0;
        unsigned deletes = 0, matches = 0;
        int rc;

        for (unsigned i = 0; i < RACERS; i++) {
            bool is_delete = rnd_below(&w->rnd, 4) == 0;

            deletes += is_delete;
            race(&racers[i], w, is_delete);
        }
        for (unsigned i = 0; i < RACERS; i++) {
            loop_fixture_run_until(&w->base, &racers[i].done);
            assert_int_equal(racers[i].rc, 0);
        }
        world_new_engine(w);
        rc = world_get(w, "o", &got, &bytes);
        if (rc != 0) {
            assert_int_equal(rc, ERR_NOT_FOUND);
            assert_true(deletes > 0);
            continue;
        }
        for (unsigned i = 0; i < RACERS; i++) {
            matches += racers[i].update.kind == PROXY_UPDATE_UPLOAD &&
                       bytes == sizeof(racers[i].data) && memcmp(got, racers[i].data, bytes) == 0;
        }
        assert_int_equal(matches, 1);
        free(got);
    }
    free(racers);
    world_free(w);
}

/* Readers with an old manifest, while the object is overwritten and its fragments are gone. */
static void a_stale_manifest_is_read_again_fresh(void **state)
{
    struct world *w = world_new(6, 3, WORLD_PRESET(P42, 8192, "lz4"));
    uint8_t a[50000], b[40000];
    struct manifest old;

    (void)state;
    world_fill(w, a, sizeof(a));
    world_fill(w, b, sizeof(b));
    assert_int_equal(world_put(w, "o", a, sizeof(a)), 0);
    assert_true(world_manifest(w, "o", &old));
    assert_int_equal(world_put(w, "o", b, sizeof(b)), 0);
    world_make_stale(w, &old);
    assert_true(b != NULL);
    {
        struct proxy_slice slice = {.offset = 100, .bytes = 5000};
        uint8_t *got = NULL;
        size_t bytes = 0;

        assert_int_equal(world_get_slices(w, "o", &slice, 1, NULL, &got, &bytes), 0);
        assert_int_equal(memcmp(got, b + 100, 5000), 0);
        free(got);
    }
    assert_true(w->engine->stats.totals.stale_manifests >= 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_leaves_fragments_recovery_infos_and_in_time_no_tags),
        cmocka_unit_test(a_put_that_fails_its_assert_leaves_nothing),
        cmocka_unit_test(puts_succeed_with_two_of_six_osds_bad_in_any_way),
        cmocka_unit_test(a_put_without_enough_osds_is_refused_by_code_and_works_when_they_are_back),
        cmocka_unit_test(a_failed_osd_is_replaced_by_a_spare_one),
        cmocka_unit_test(late_fragments_are_entered_by_the_epilogue),
        cmocka_unit_test(a_straggler_that_is_sent_again_has_the_bytes_that_were_put),
        cmocka_unit_test(a_fragment_whose_reply_was_lost_is_recognised),
        cmocka_unit_test(as_many_overwrites_as_fit_are_stored_though_an_osd_fails_in_the_middle),
        cmocka_unit_test(an_osd_that_forgot_the_namespace_is_told_again),
        cmocka_unit_test(a_wrong_checksum_is_refused_and_a_right_one_kept),
        cmocka_unit_test(acknowledged_puts_are_never_lost_under_random_faults),
        cmocka_unit_test(fragments_stay_spread_while_osds_come_and_go),
        cmocka_unit_test(a_commit_whose_reply_is_lost_is_found_to_have_happened),
        cmocka_unit_test(a_commit_whose_request_is_lost_is_sent_again),
        cmocka_unit_test(fragments_of_a_commit_in_doubt_are_not_touched),
        cmocka_unit_test(racing_overwrites_and_deletes_leave_one_whole_object_or_none),
        cmocka_unit_test(a_stale_manifest_is_read_again_fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
