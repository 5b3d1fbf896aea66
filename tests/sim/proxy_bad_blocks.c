/* Damaged bytes here and there in the fragments of a chunk: what is good in k of them at each
 * place is read, and made whole again. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "sim/proxy_repair_fixture.h"

enum { BLOCK = 4096, BLOCKS = 24, FRAGMENT = BLOCKS * BLOCK };

/* k 4, m 2, blocks of 4 KiB; three chunks, the last of them short. */
static const char plain[] = WORLD_PRESET("[[4,2,6,2]]", 98304, "none");
enum { PLAIN_BYTES = 2 * 4 * FRAGMENT + 100000 };

/* One byte of the payload, which is not compressed: raw byte i is stored byte i. */
static void flip(struct world *w, const struct manifest *m, uint32_t chunk, uint32_t i,
                 uint32_t offset)
{
    struct buf key = world_fragment_key(w, m, chunk, i);

    assert_true(fake_asd_flip(repair_asd_of(w, m, chunk, i), slice_buf(&key), offset));
    buf_release(&key);
}

static uint8_t *put(struct world *w, size_t bytes)
{
    uint8_t *data = mem_alloc(bytes);

    world_fill(w, data, bytes);
    assert_int_equal(world_put(w, "o", data, bytes), 0);
    return data;
}

static int read_slice(struct world *w, const uint8_t *data, uint64_t offset, uint32_t bytes)
{
    struct proxy_slice slice = {.offset = (int64_t)offset, .bytes = (int32_t)bytes};
    uint8_t *got = NULL;
    size_t length = 0;
    int rc = world_get_slices(w, "o", &slice, 1, NULL, &got, &length);

    if (rc == 0) {
        assert_int_equal(length, bytes);
        assert_memory_equal(got, data + offset, bytes);
        free(got);
    }
    return rc;
}

static struct world *make(const char *preset, unsigned asds)
{
    return world_new(asds, asds, preset);
}

static void end(struct world *w, uint8_t *data)
{
    free(data);
    world_settle(w);
    world_free(w);
}

/* ---- one bad block in each fragment ---- */

static void harm_each_elsewhere(struct world *w, uint32_t block_bytes)
{
    struct manifest m;

    assert_true(world_manifest(w, "o", &m));
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        for (uint32_t i = 0; i < manifest_fragments_per_chunk(&m); i++) {
            flip(w, &m, c, i, i * block_bytes + (uint32_t)rnd_below(&w->rnd, block_bytes / 4));
        }
    }
    manifest_release(&m);
}

static void each_has_a_bad_block(const char *preset, size_t bytes, uint32_t block_bytes)
{
    struct world *w = make(preset, 8);
    uint8_t *data = put(w, bytes);

    for (unsigned round = 0; round < 2; round++) {
        harm_each_elsewhere(w, block_bytes);
        world_expect(w, "o", data, bytes);
        repair_wait_strong(w, "o", data);
        assert_int_equal(w->engine->stats.totals.repairs_failed, 0);
    }
    end(w, data);
}

static void one_bad_block_in_each_fragment_loses_nothing(void **state)
{
    (void)state;
    each_has_a_bad_block(plain, PLAIN_BYTES, BLOCK);
}

/* 64 KiB blocks, their places in the trailer. What the seed makes shrinks by half. */
static void nor_does_it_in_compressed_fragments(void **state)
{
    (void)state;
    each_has_a_bad_block(WORLD_PRESET("[[4,2,6,2]]", 524288, "lz4"), 4 * 524288 + 1800000, 32768);
}

static void nor_does_it_in_every_replica(void **state)
{
    (void)state;
    each_has_a_bad_block(WORLD_PRESET("[[1,2,3,1]]", 98304, "none"), 2 * FRAGMENT + 50000, BLOCK);
}

/* ---- slices ---- */

static void a_long_slice_is_read_around_bad_blocks(void **state)
{
    struct world *w = make(plain, 6);
    uint8_t *data = put(w, PLAIN_BYTES);
    struct manifest m;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    for (uint32_t i = 0; i < 3; i++) {
        flip(w, &m, 0, i, (3 * i + 2) * BLOCK + 17);
    }
    for (unsigned cached = 0; cached < 2; cached++) {
        block_cache_init(&w->engine->blocks, cached * 4000000);
        for (unsigned i = 0; i < 20; i++) {
            uint32_t from = (uint32_t)rnd_below(&w->rnd, 2 * BLOCK);
            uint32_t bytes = FRAGMENT - from - (uint32_t)rnd_below(&w->rnd, 10 * BLOCK);

            assert_int_equal(read_slice(w, data, from, bytes), 0);
            assert_int_equal(read_slice(w, data, FRAGMENT + from, bytes), 0);
        }
    }
    manifest_release(&m);
    end(w, data);
}

/* However many stripes it takes to read around them. */
static void a_read_counts_each_bad_fragment_once(void **state)
{
    struct world *w = make(plain, 6);
    uint8_t *data = put(w, PLAIN_BYTES);
    struct manifest m;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    for (uint32_t i = 0; i < 3; i++) {
        flip(w, &m, 0, i, (5 * i + 2) * BLOCK);
    }
    w->engine->repairs.paid_ms = UINT64_MAX / 2; /* no repair meanwhile */
    world_expect(w, "o", data, PLAIN_BYTES);
    assert_int_equal(w->engine->stats.totals.corrupt_fragments, 3);
    manifest_release(&m);
    end(w, data);
}

static void an_osd_may_be_down_as_well(void **state)
{
    struct world *w = make(plain, 6);
    uint8_t *data = put(w, PLAIN_BYTES);
    struct manifest m;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    fake_asd_down(repair_asd_of(w, &m, 0, 1));
    flip(w, &m, 0, 0, 5 * BLOCK);
    flip(w, &m, 0, 4, 9 * BLOCK);
    world_expect(w, "o", data, PLAIN_BYTES);
    assert_int_equal(read_slice(w, data, FRAGMENT + 5, FRAGMENT - 10), 0);
    manifest_release(&m);
    end(w, data);
}

/* ---- what really is lost ---- */

static void a_block_that_is_bad_in_too_many_is_named_and_the_rest_is_read(void **state)
{
    struct world *w = make(plain, 8);
    uint8_t *data = put(w, PLAIN_BYTES), *got;
    struct ended ended = {0};
    struct manifest m;
    size_t bytes;

    (void)state;
    assert_true(world_manifest(w, "o", &m));
    for (uint32_t i = 0; i < 3; i++) {
        flip(w, &m, 0, i, 7 * BLOCK + i);
    }
    assert_int_equal(world_get(w, "o", &got, &bytes), ERR_NOT_ENOUGH);
    for (uint32_t at = 0; at < 4 * FRAGMENT; at += BLOCK) {
        bool is_lost = at % FRAGMENT == 7 * BLOCK && at / FRAGMENT < 3;

        assert_int_equal(read_slice(w, data, at, BLOCK), is_lost ? ERR_NOT_ENOUGH : 0);
    }
    repair_start_repair(w, "o", 0, &ended);
    loop_fixture_run_until(&w->base, &ended.done);
    assert_int_equal(ended.rc, ERR_NOT_ENOUGH);
    assert_non_null(
        strstr(ended.err.msg,
               ": bytes from 28672 on of each fragment: chunk 0: not enough fragments: 3 of "
               "4; failed: 0 1 2, the last: osd "));
    assert_non_null(strstr(ended.err.msg, err_text(ERR_CORRUPT)));
    manifest_release(&m);
    end(w, data);
}

/* ---- by chance ---- */

/* Bad blocks of one chunk's fragments: bit i: that of fragment i. */
struct model {
    uint32_t bad[BLOCKS];
};

static bool is_readable(const struct model *model)
{
    for (unsigned b = 0; b < BLOCKS; b++) {
        if (__builtin_popcount(model->bad[b]) > 2) {
            return false;
        }
    }
    return true;
}

static void harm_by_chance(struct world *w, struct model *model)
{
    unsigned count = 3 + (unsigned)rnd_below(&w->rnd, 20);
    struct manifest m;

    memset(model, 0, sizeof(*model));
    assert_true(world_manifest(w, "o", &m));
    for (unsigned n = 0; n < count; n++) {
        uint32_t i = (uint32_t)rnd_below(&w->rnd, 6), b = (uint32_t)rnd_below(&w->rnd, BLOCKS);

        if ((model->bad[b] >> i & 1) == 0) {
            model->bad[b] |= UINT32_C(1) << i;
            flip(w, &m, 0, i, b * BLOCK + (uint32_t)rnd_below(&w->rnd, BLOCK));
        }
    }
    manifest_release(&m);
}

struct canceled {
    bool done;
    int rc;
};

static void on_canceled(void *ctx, struct get *get, int rc)
{
    struct canceled *c = ctx;

    c->rc = rc;
    c->done = true;
    get_free(get);
}

/* At any point of it. */
static void cancel_a_read(struct world *w)
{
    struct get_item item = {.name = slice_str("o")};
    struct get_spec spec = {.ns = slice_str("ns"), .items = &item, .count = 1};
    struct canceled c = {0};
    struct get *get = get_start(w->engine, &spec, on_canceled, &c);

    for (unsigned i = (unsigned)rnd_below(&w->rnd, 300); i > 0 && !c.done; i--) {
        uv_run(&w->base.loop, UV_RUN_NOWAIT);
    }
    if (!c.done) {
        get_cancel(get);
    }
    loop_fixture_run_until(&w->base, &c.done);
    assert_true(c.rc == 0 || c.rc == ERR_CANCELED || c.rc == ERR_NOT_ENOUGH);
}

/* Reads have found some of what is bad; all is said to be lost. */
static void repair_all(struct world *w, const uint8_t *data)
{
    struct ended ended = {0};

    repair_wait_idle(w);
    repair_start_repairs(w, "o", 0x3f, &ended);
    loop_fixture_run_until(&w->base, &ended.done);
    assert_int_equal(ended.rc, 0);
    assert_true(repair_is_strong(w, "o", data));
}

static void whatever_is_bad_a_chunk_is_read_as_long_as_each_block_is_good_in_k(void **state)
{
    unsigned readable = 0;

    (void)state;
    for (unsigned round = 0; round < 12; round++) {
        struct world *w = make(plain, 6);
        uint8_t *data = put(w, 4 * FRAGMENT), *got = NULL;
        struct model model;
        size_t bytes = 0;
        int rc;

        harm_by_chance(w, &model);
        for (unsigned i = 0; i < 5; i++) {
            cancel_a_read(w);
        }
        rc = world_get(w, "o", &got, &bytes);
        assert_int_equal(rc, is_readable(&model) ? 0 : ERR_NOT_ENOUGH);
        if (rc == 0) {
            assert_int_equal(bytes, 4 * FRAGMENT);
            assert_memory_equal(got, data, bytes);
            free(got);
            repair_all(w, data);
            readable++;
        }
        end(w, data);
    }
    print_message("%u of 12 could be read\n", readable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_bad_block_in_each_fragment_loses_nothing),
        cmocka_unit_test(nor_does_it_in_compressed_fragments),
        cmocka_unit_test(nor_does_it_in_every_replica),
        cmocka_unit_test(a_long_slice_is_read_around_bad_blocks),
        cmocka_unit_test(a_read_counts_each_bad_fragment_once),
        cmocka_unit_test(an_osd_may_be_down_as_well),
        cmocka_unit_test(a_block_that_is_bad_in_too_many_is_named_and_the_rest_is_read),
        cmocka_unit_test(whatever_is_bad_a_chunk_is_read_as_long_as_each_block_is_good_in_k),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
