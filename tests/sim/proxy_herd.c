/* Many who want the same at once: the OSDs and the namespace manager are asked once. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meta/ns_keys.h"
#include "proxy/shared_get.h"
#include "sim/proxy_world.h"

#define P42 "[[4,2,6,2],[4,2,5,2],[4,2,4,2]]"

enum { BYTES = 400000, READERS = 12 };

struct reader {
    struct world *w;
    struct get *get;
    struct proxy_slice cut;
    struct get_item item;
    bool done;
    int rc;
    const uint8_t *want; /* of the object */
};

static void on_read(void *ctx, struct get *get, int rc)
{
    struct reader *r = ctx;

    r->rc = rc;
    if (rc == 0) {
        struct slice got = get_data(get, 0);
        bool whole = r->item.slices == NULL;
        size_t bytes = whole ? BYTES : (size_t)r->cut.bytes;

        assert_int_equal(got.len, bytes);
        assert_int_equal(memcmp(got.data, r->want + (whole ? 0 : r->cut.offset), bytes), 0);
    }
    get_free(get);
    r->done = true;
}

static void start_with(struct reader *r, struct world *w, const uint8_t *data, int64_t offset,
                       int32_t bytes, bool consistent)
{
    struct get_spec spec = {.ns = slice_str("ns"),
                            .items = &r->item,
                            .count = 1,
                            .consistent = consistent,
                            .is_partial = bytes != 0};

    *r = (struct reader){.w = w, .want = data, .cut = {.offset = offset, .bytes = bytes}};
    r->item = (struct get_item){
        .name = slice_str("o"), .slices = bytes == 0 ? NULL : &r->cut, .slice_count = bytes != 0};
    r->get = get_start(w->engine, &spec, on_read, r);
}

/* bytes 0: the whole object */
static void start(struct reader *r, struct world *w, const uint8_t *data, int64_t offset,
                  int32_t bytes)
{
    start_with(r, w, data, offset, bytes, false);
}

static void wait_for_all(struct reader *readers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        loop_fixture_run_until(&readers[i].w->base, &readers[i].done);
    }
}

static enum fake_fate slow(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_PARTIAL_GET ? FAKE_DELAY : FAKE_NORMAL;
}

static struct world *world_of_slow_asds(const char *preset, size_t cache_bytes, uint8_t *ret_data)
{
    struct world *w = world_new(6, 6, preset);

    engine_set_hedging(w->engine, false); /* what is asked is counted */
    block_cache_init(&w->engine->blocks, cache_bytes);
    world_fill(w, ret_data, BYTES);
    assert_int_equal(world_put(w, "o", ret_data, BYTES), 0);
    for (unsigned i = 0; i < w->asd_count; i++) {
        w->asds[i]->delay_ms = 30;
        fake_asd_set_fate(w->asds[i], slow, NULL);
    }
    return w;
}

/* The OSD calls of that many readers at once, each of which gets the right bytes. */
static unsigned calls_of(struct world *w, const uint8_t *data, unsigned count, int64_t offset,
                         int32_t bytes)
{
    struct reader readers[READERS];
    unsigned before = world_osd_reads(w);

    for (unsigned i = 0; i < count; i++) {
        start(&readers[i], w, data, offset, bytes);
    }
    wait_for_all(readers, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(readers[i].rc, 0);
    }
    return world_osd_reads(w) - before;
}

static const char *const presets[] = {
    WORLD_PRESET(P42, 65536, "lz4"), WORLD_PRESET(P42, 65536, "none"),
    WORLD_PRESET("[[1,0,1,1]]", 262144, "lz4"), WORLD_PRESET("[[1,0,1,1]]", 262144, "none")};

/* Whatever one of them needs: with and without a block cache, parts of fragments and objects. */
static void a_herd_asks_the_osds_as_often_as_one_does(void **state)
{
    static uint8_t data[BYTES];

    (void)state;
    for (size_t p = 0; p < 2 * sizeof(presets) / sizeof(*presets); p++) {
        size_t cache_bytes = p % 2 == 0 ? 0 : 1 << 20;
        struct world *w = world_of_slow_asds(presets[p / 2], cache_bytes, data);
        unsigned one = calls_of(w, data, 1, 5000, 3000);

        assert_true(one >= 1 && one <= 2);
        index_cache_release(&w->engine->indexes);
        index_cache_init(&w->engine->indexes, 1 << 20);
        block_cache_release(&w->engine->blocks);
        block_cache_init(&w->engine->blocks, cache_bytes);
        assert_int_equal(calls_of(w, data, READERS, 5000, 3000), one);
        assert_true(w->engine->stats.totals.fragment_reads_shared >= READERS - 1);
        one = calls_of(w, data, 1, 0, 0);
        assert_int_equal(calls_of(w, data, READERS, 0, 0), one);
        assert_null(w->engine->shared_gets);
        world_free(w);
    }
}

/* A fragment of format 0 is unpacked whole; of those that read it at once one does so. */
static void a_herd_unpacks_a_whole_fragment_once(void **state)
{
    static const char *const of_format_0[] = {
        WORLD_PRESET("[[2,1,3,1]]", 262144, "snappy"),
        "{\"policies\":[[2,1,3,1]],\"fragment_size\":262144,\"compression\":\"bz2\","
        " \"fragment_checksum\":[\"sha-1\"]}"};
    static uint8_t data[BYTES];

    (void)state;
    for (size_t p = 0; p < 2; p++) {
        struct world *w = world_of_slow_asds(of_format_0[p], 0, data);
        struct reader readers[READERS];
        unsigned before = world_osd_reads(w);

        for (unsigned i = 0; i < READERS; i++) { /* of the first fragment */
            start(&readers[i], w, data, 1000 * i, 3000 + (int32_t)i);
        }
        wait_for_all(readers, READERS);
        for (unsigned i = 0; i < READERS; i++) {
            assert_int_equal(readers[i].rc, 0);
        }
        assert_int_equal(world_osd_reads(w), before + 1);
        assert_int_equal(w->engine->stats.totals.unpacks_shared, READERS - 1);
        calls_of(w, data, READERS, 0, 0); /* whole objects */
        calls_of(w, data, READERS, 100, BYTES - 200);
        assert_null(w->engine->shared_gets);
        world_free(w);
    }
}

/* The bytes are bad: one finds it out for all, and each gets the object from the other fragments,
 * of which again one unpacks each. */
static void a_herd_at_a_bad_fragment_of_format_0_gets_the_object(void **state)
{
    struct world *w;
    static uint8_t data[BYTES];
    struct manifest m;
    struct buf key;

    (void)state;
    w = world_of_slow_asds(WORLD_PRESET("[[2,1,3,1]]", 262144, "snappy"), 0, data);
    assert_true(world_manifest(w, "o", &m));
    key = world_fragment_key(w, &m, 0, 0);
    assert_true(fake_asd_flip(world_asd_of(w, manifest_fragment_at(&m, 0, 0)->osd_id),
                              slice_buf(&key), 99));
    w->engine->repairs.paid_ms = UINT64_MAX / 2; /* no repair meanwhile */
    calls_of(w, data, READERS, 5000, 3000);
    assert_int_equal(w->engine->stats.totals.corrupt_fragments, READERS);
    assert_int_equal(w->engine->stats.totals.unpacks_shared, 3 * (READERS - 1));
    world_settle(w);
    buf_release(&key);
    manifest_release(&m);
    world_free(w);
}

static void a_range_inside_another_waits_for_that_one(void **state)
{
    static uint8_t data[BYTES];

    (void)state;
    for (size_t p = 0; p < sizeof(presets) / sizeof(*presets); p++) {
        struct world *w = world_of_slow_asds(presets[p], 0, data);
        struct reader readers[4];
        unsigned before;

        assert_int_equal(calls_of(w, data, 1, 0, 1) > 0, true); /* the trailer is known */
        before = world_osd_reads(w);
        start(&readers[0], w, data, 4000, 20000);
        loop_fixture_run_ms(&w->base, 5);
        start(&readers[1], w, data, 8192, 4096);
        start(&readers[2], w, data, 4000, 10);
        start(&readers[3], w, data, 20000, 4000);
        wait_for_all(readers, 4);
        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(readers[i].rc, 0);
        }
        assert_int_equal(world_osd_reads(w), before + 1);
        start(&readers[0], w, data, 4000, 3000); /* not inside: each its own */
        start(&readers[1], w, data, 40000, 4000);
        wait_for_all(readers, 2);
        assert_int_equal(world_osd_reads(w), before + 3);
        world_free(w);
    }
}

/* A byte is bad in the one, outside of the other. */
static void who_waits_for_a_longer_range_looks_at_its_own_part_only(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[1], 0, data);
    struct reader longer, inside[3];
    struct manifest m;
    struct buf key;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    key = world_fragment_key(w, &m, 0, 0);
    assert_true(fake_asd_flip(world_asd_of(w, manifest_fragment_at(&m, 0, 0)->osd_id),
                              slice_buf(&key), 5000));
    w->engine->repairs.paid_ms = UINT64_MAX / 2; /* no repair meanwhile */
    start(&longer, w, data, 4000, 28000);
    start(&inside[0], w, data, 8192, 4096);
    start(&inside[1], w, data, 12289, 10000);
    start(&inside[2], w, data, 31990, 10);
    wait_for_all(&longer, 1);
    wait_for_all(inside, 3);
    assert_int_equal(longer.rc, 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(inside[i].rc, 0);
    }
    assert_int_equal(w->engine->stats.totals.fragment_reads_shared, 3);
    assert_int_equal(w->engine->stats.totals.corrupt_fragments, 1);
    assert_int_equal(w->engine->stats.totals.reconstructed, 1);
    buf_release(&key);
    manifest_release(&m);
    world_free(w);
}

static void who_gives_up_leaves_the_others_their_answer(void **state)
{
    static uint8_t data[BYTES];

    (void)state;
    for (unsigned last = 0; last < 3; last++) {
        struct world *w = world_of_slow_asds(presets[last % 2], 1 << 20, data);
        struct reader readers[3];

        for (unsigned i = 0; i < 3; i++) {
            start(&readers[i], w, data, last == 2 ? 0 : 5000, last == 2 ? 0 : 3000);
        }
        loop_fixture_run_ms(&w->base, 5);
        get_cancel(readers[0].get); /* who asked first */
        get_cancel(readers[2].get);
        wait_for_all(readers, 3);
        assert_int_equal(readers[0].rc, ERR_CANCELED);
        assert_int_equal(readers[1].rc, 0);
        assert_int_equal(readers[2].rc, ERR_CANCELED);
        world_free(w);
    }
}

static void when_all_give_up_the_question_ends(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 1 << 20, data);
    struct reader readers[3];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        start(&readers[i], w, data, 5000, 3000);
    }
    loop_fixture_run_ms(&w->base, 5);
    assert_non_null(w->engine->shared_gets);
    for (unsigned i = 0; i < 3; i++) {
        get_cancel(readers[i].get);
    }
    wait_for_all(readers, 3);
    assert_null(w->engine->shared_gets);
    assert_int_equal(calls_of(w, data, 1, 5000, 3000) > 0, true); /* nobody joins what is over */
    world_free(w);
}

static void a_failure_is_everybodys(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(WORLD_PRESET("[[1,0,1,1]]", 262144, "none"), 0, data);
    struct reader readers[READERS];
    struct manifest m;
    struct buf key;
    struct fake_asd *asd;
    unsigned before;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    asd = world_asd_of(w, manifest_fragment_at(&m, 0, 0)->osd_id);
    key = world_fragment_key(w, &m, 0, 0);
    assert_true(fake_asd_flip(asd, slice_buf(&key), 5100));
    before = world_osd_reads(w);
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], w, data, 5000, 3000);
    }
    wait_for_all(readers, READERS);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].rc, ERR_NOT_ENOUGH);
    }
    assert_int_equal(world_osd_reads(w) - before, 2); /* and once more with a fresh manifest */
    assert_int_equal(
        osds_find(w->engine->osds, manifest_fragment_at(&m, 0, 0)->osd_id)->checksum_errors, 2);
    assert_true(fake_asd_remove(asd, slice_buf(&key)));
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], w, data, 0, 0);
    }
    wait_for_all(readers, READERS);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].rc, ERR_NOT_ENOUGH);
    }
    buf_release(&key);
    manifest_release(&m);
    world_free(w);
}

static void on_nothing(struct shared_wait *wait, int rc)
{
    (void)wait;
    (void)rc;
    fail();
}

/* Two manifests that contradict each other: what is good for one of them may not be for the other.
 */
static void who_takes_a_fragment_for_something_else_asks_for_himself(void **state)
{
    enum { ALIKE = 2, SPECS = ALIKE + 5 };
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 0, data);
    struct shared_get_spec specs[SPECS];
    struct shared_wait waits[SPECS];
    struct manifest m;
    uint32_t packed_bytes;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    packed_bytes = manifest_fragment_at(&m, 0, 0)->packed_bytes;
    for (unsigned i = 0; i < SPECS; i++) {
        specs[i] = (struct shared_get_spec){
            .osd = osds_find(w->engine->osds, manifest_fragment_at(&m, 0, 0)->osd_id),
            .ns_id = w->ns_id,
            .name = {.object_id = m.object_id},
            .stored_bytes = packed_bytes,
            .shape = fragment_shape_of(65536, COMPRESS_LZ4, CIPHER_NONE),
            .state = FETCH_ALL,
            .raw_bytes = 65536,
            .parts = {{.bytes = packed_bytes}},
            .part_count = 1};
    }
    specs[ALIKE].shape.codec = COMPRESS_NONE;
    specs[ALIKE + 1].shape.cipher = CIPHER_AES_256_GCM;
    specs[ALIKE + 2].shape.raw_bytes--;
    specs[ALIKE + 3].shape.block_bytes *= 2;
    specs[ALIKE + 4].stored_bytes++;
    for (unsigned i = 0; i < SPECS; i++) {
        assert_int_equal(shared_get_join(w->engine, &specs[i], &waits[i], on_nothing), 0);
        assert_int_equal(waits[i].has_joined, i > 0 && i < ALIKE);
    }
    for (unsigned i = 0; i < SPECS; i++) {
        shared_get_leave(&waits[i]);
    }
    assert_null(w->engine->shared_gets);
    manifest_release(&m);
    world_free(w);
}

/* Readers come and go by chance, over a few ranges, while OSDs lose connections. */
static enum fake_fate flaky(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    struct world *w = ctx;

    (void)asd;
    if (request->code != ASD_PARTIAL_GET) {
        return FAKE_NORMAL;
    }
    switch (rnd_below(&w->rnd, 12)) {
    case 0:
        return FAKE_DROP;
    case 1:
        return FAKE_ERROR;
    default:
        return FAKE_DELAY;
    }
}

static void herds_by_chance_get_the_right_bytes_or_an_error(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 100000, data);
    struct reader readers[READERS];
    unsigned good = 0;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fake_asd_set_fate(w->asds[i], flaky, w);
    }
    for (unsigned round = 0; round < 40; round++) {
        for (unsigned i = 0; i < READERS; i++) {
            int64_t offset = (int64_t)rnd_below(&w->rnd, 40) * 10000;
            int32_t bytes = (int32_t)rnd_below(&w->rnd, 3) * 5000; /* or the whole */

            start(&readers[i], w, data, offset, bytes);
            if (rnd_below(&w->rnd, 4) == 0) {
                loop_fixture_run_ms(&w->base, 2);
            }
            if (rnd_below(&w->rnd, 6) == 0 && !readers[i].done) {
                get_cancel(readers[i].get);
            }
        }
        wait_for_all(readers, READERS);
        for (unsigned i = 0; i < READERS; i++) {
            good += readers[i].rc == 0;
        }
    }
    assert_true(good > 200);
    world_free(w);
}

/* ---- manifests ---- */

/* What so many readers at once ask the metadata engine for. */
static unsigned questions_of(struct world *w, const uint8_t *data, unsigned count, bool consistent)
{
    struct reader readers[READERS];
    unsigned before = kv_mem_counts(w->store).ns_gets;

    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    for (unsigned i = 0; i < count; i++) {
        start_with(&readers[i], w, data, 5000, 3000, consistent);
    }
    wait_for_all(readers, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(readers[i].rc, 0);
    }
    return kv_mem_counts(w->store).ns_gets - before;
}

static void a_herd_asks_for_a_manifest_as_often_as_one_does(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 1 << 20, data);
    unsigned one = questions_of(w, data, 1, false);
    unsigned before;

    (void)state;
    assert_true(one > 0);
    assert_int_equal(questions_of(w, data, READERS, false), one);
    before = kv_mem_counts(w->store).ns_gets;
    assert_int_equal(calls_of(w, data, 1, 5000, 3000), 0); /* and it was kept */
    assert_int_equal(kv_mem_counts(w->store).ns_gets, before);
    /* As it is now: each for himself. */
    assert_true(questions_of(w, data, READERS, true) >= READERS);
    assert_null(w->engine->asked_names);
    world_free(w);
}

static void world_closed(void *done)
{
    *(bool *)done = true;
}

/* To a question for a name ('n') or a manifest ('o'). */
static void hold_answer(struct world *w, struct key *prefix, char kind)
{
    ns_key_root(prefix, w->ns_id, kind);
    kv_mem_hold_answer(w->kv, slice_key(prefix));
}

static void wait_for_held(struct world *w)
{
    while (!kv_mem_has_held_answer(w->kv)) {
        loop_fixture_run_ms(&w->base, 1);
    }
}

static void who_comes_after_a_change_does_not_take_an_older_answer(void **state)
{
    static uint8_t data[BYTES], other[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 1 << 20, data);
    struct reader early, late;
    struct key prefix;

    (void)state;
    world_fill(w, other, BYTES);
    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    hold_answer(w, &prefix, 'o');
    start(&early, w, data, 5000, 3000);
    wait_for_held(w);
    assert_int_equal(world_put(w, "o", other, BYTES), 0);
    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    start(&late, w, other, 5000, 3000);
    loop_fixture_run_until(&w->base, &late.done); /* compares the bytes */
    assert_int_equal(late.rc, 0);
    assert_false(early.done);
    early.want = other; /* its manifest is old, the fragments may be gone: it may read again */
    get_cancel(early.get);
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &early.done);
    world_free(w);
}

/* Somebody has put it through another proxy, and says so to who then asks this one. */
static void that_there_is_no_such_object_is_not_passed_on(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 1 << 20, data);
    struct engine *here = w->engine, *there;
    struct engine_options options = {.osd_timeout_ms = 10000, .threads = 1};
    struct reader early, late;
    struct key prefix;
    bool closed = false;

    (void)state;
    there = engine_new(&w->base.loop, w->registry, &options);
    assert_int_equal(world_delete(w, "o"), 0);
    hold_answer(w, &prefix, 'n');
    start(&early, w, data, 5000, 3000);
    wait_for_held(w);
    w->engine = there;
    assert_int_equal(world_put(w, "o", data, BYTES), 0);
    w->engine = here;
    start(&late, w, data, 5000, 3000);
    loop_fixture_run_ms(&w->base, 20);
    assert_false(late.done); /* it has joined */
    kv_mem_answer_held(w->kv);
    loop_fixture_run_until(&w->base, &late.done);
    loop_fixture_run_until(&w->base, &early.done);
    assert_int_equal(early.rc, ERR_NOT_FOUND);
    assert_int_equal(late.rc, 0);
    engine_close(there, world_closed, &closed);
    loop_fixture_run_until(&w->base, &closed);
    world_free(w);
}

static void a_failure_to_read_a_manifest_is_everybodys(void **state)
{
    static uint8_t data[BYTES];
    struct world *w = world_of_slow_asds(presets[0], 1 << 20, data);
    struct reader readers[READERS];

    (void)state;
    manifest_cache_remove(&w->engine->manifests, w->ns_id, slice_str("o"));
    kv_mem_fail_reads(w->kv, 1000);
    for (unsigned i = 0; i < READERS; i++) {
        start(&readers[i], w, data, 5000, 3000);
    }
    wait_for_all(readers, READERS);
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(readers[i].rc, readers[0].rc);
        assert_int_not_equal(readers[i].rc, 0);
    }
    kv_mem_fail_reads(w->kv, 0);
    assert_int_equal(calls_of(w, data, READERS, 5000, 3000) > 0, true);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_herd_asks_the_osds_as_often_as_one_does),
        cmocka_unit_test(a_herd_unpacks_a_whole_fragment_once),
        cmocka_unit_test(a_herd_at_a_bad_fragment_of_format_0_gets_the_object),
        cmocka_unit_test(a_range_inside_another_waits_for_that_one),
        cmocka_unit_test(who_waits_for_a_longer_range_looks_at_its_own_part_only),
        cmocka_unit_test(who_gives_up_leaves_the_others_their_answer),
        cmocka_unit_test(when_all_give_up_the_question_ends),
        cmocka_unit_test(a_failure_is_everybodys),
        cmocka_unit_test(a_herd_asks_for_a_manifest_as_often_as_one_does),
        cmocka_unit_test(who_comes_after_a_change_does_not_take_an_older_answer),
        cmocka_unit_test(that_there_is_no_such_object_is_not_passed_on),
        cmocka_unit_test(a_failure_to_read_a_manifest_is_everybodys),
        cmocka_unit_test(who_takes_a_fragment_for_something_else_asks_for_himself),
        cmocka_unit_test(herds_by_chance_get_the_right_bytes_or_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
