/* Properties of all codecs on random content: what is encoded is decoded; cut or changed bytes
 * never crash or leak (sanitizer builds see it), and what still decodes encodes again. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "unit/wire/gen.h"
#include "unit/wire/remake.h"
#include "wire/llio.h"
#include "wire/manifest_codec.h"
#include "wire/snappy_block.h"

enum { ROUNDS = 40, FLIPS = 60, CUTS_MAX = 400 };

static uint64_t seed;

/* A copy of exactly these bytes, so that a sanitizer sees the first byte read behind them. */
static int remake_exact(remake_fn remake, uint32_t code, const uint8_t *data, size_t bytes,
                        struct buf *again)
{
    uint8_t *copy = mem_dup(data, bytes);
    int rc = remake(code, rd_of(copy, bytes), again);

    free(copy);
    return rc;
}

static void check_bytes(remake_fn remake, uint32_t code, const struct buf *b, struct rnd *rnd)
{
    struct buf again = {0};
    struct buf third = {0};
    size_t step = b->len / CUTS_MAX + 1;

    assert_int_equal(remake_exact(remake, code, b->data, b->len, &again), 0);
    if (!slice_eq(slice_buf(&again), slice_buf(b))) {
        fail_msg("code %" PRIu32 ", seed %" PRIu64 ": not the same bytes again", code, seed);
    }
    for (size_t bytes = 0; bytes < b->len; bytes += bytes < 200 ? 1 : step) {
        again.len = 0;
        (void)remake_exact(remake, code, b->data, bytes, &again);
    }
    for (int i = 0; i < FLIPS && b->len > 0; i++) {
        size_t at = rnd_below(rnd, b->len < 300 || i % 2 == 0 ? b->len : 300);
        uint8_t old = b->data[at];

        b->data[at] = (uint8_t)(i % 3 == 0 ? rnd_next(rnd) : old ^ (1U << rnd_below(rnd, 8)));
        again.len = 0;
        if (remake_exact(remake, code, b->data, b->len, &again) == 0) {
            third.len = 0;
            assert_int_equal(remake_exact(remake, code, again.data, again.len, &third), 0);
            assert_true(slice_eq(slice_buf(&again), slice_buf(&third)));
        }
        b->data[at] = old;
    }
    buf_release(&again);
    buf_release(&third);
}

static void asd_requests_survive_anything(void **state)
{
    struct gen g;
    struct asd_request req;

    (void)state;
    gen_init(&g, seed);
    for (size_t i = 0; i < ROUNDS * gen_asd_code_count; i++) {
        struct gather m = {0};
        struct buf flat = {0};

        gen_asd_request(&g, gen_asd_codes[i % gen_asd_code_count], &req);
        buf_put_u32le(&m.own, (uint32_t)i);
        asd_request_encode(&req, &m);
        gather_flatten(&m, &flat);
        check_bytes(remake_asd_request, req.code, &flat, &g.rnd);
        buf_release(&flat);
        gather_release(&m);
        gen_release(&g);
    }
}

static void asd_replies_survive_anything(void **state)
{
    struct gen g;
    struct asd_reply reply;

    (void)state;
    gen_init(&g, seed + 1);
    for (size_t i = 0; i < ROUNDS * gen_asd_code_count; i++) {
        struct gather m = {0};
        struct buf flat = {0};
        struct buf payload = {0};
        int32_t rc;
        uint32_t id;
        struct rd r;

        gen_asd_reply(&g, gen_asd_codes[i % gen_asd_code_count], &reply);
        asd_reply_encode(&reply, ASD_VERSION_2, 99, &m);
        gather_flatten(&m, &flat);
        assert_int_equal(get_u32le(flat.data), flat.len - 4);
        r = rd_of(flat.data + 4, flat.len - 4);
        assert_int_equal(asd_reply_head(&r, ASD_VERSION_2, &id, &rc), 0);
        assert_true(id == 99 && rc == 0);
        buf_put(&payload, r.pos, rd_left(&r));
        check_bytes(remake_asd_reply, reply.code, &payload, &g.rnd);
        buf_release(&flat);
        buf_release(&payload);
        gather_release(&m);
        gen_release(&g);
    }
}

static void proxy_requests_survive_anything(void **state)
{
    struct gen g;
    struct proxy_request req;

    (void)state;
    gen_init(&g, seed + 2);
    for (size_t i = 0; i < ROUNDS * gen_proxy_code_count; i++) {
        struct gather m = {0};
        struct buf flat = {0};

        gen_proxy_request(&g, gen_proxy_codes[i % gen_proxy_code_count], &req);
        proxy_request_encode(&req, &m);
        gather_flatten(&m, &flat);
        check_bytes(remake_proxy_request, req.code, &flat, &g.rnd);
        buf_release(&flat);
        gather_release(&m);
        gen_release(&g);
    }
}

static void proxy_replies_survive_anything(void **state)
{
    struct gen g;
    struct proxy_reply reply;
    struct err e;

    (void)state;
    gen_init(&g, seed + 3);
    for (size_t i = 0; i < ROUNDS * gen_proxy_code_count; i++) {
        struct gather m = {0};
        struct buf flat = {0};
        struct buf payload = {0};
        int32_t rc;
        struct rd r;

        gen_proxy_reply(&g, gen_proxy_codes[i % gen_proxy_code_count], &reply);
        assert_int_equal(proxy_reply_encode(&reply, MANIFEST_V3, &m, &e), 0);
        gather_flatten(&m, &flat);
        assert_int_equal(get_u32le(flat.data), flat.len - 4);
        r = rd_of(flat.data + 4, flat.len - 4);
        assert_int_equal(proxy_reply_head(&r, &rc), 0);
        assert_int_equal(rc, 0);
        buf_put(&payload, r.pos, rd_left(&r));
        check_bytes(remake_proxy_reply, reply.code, &payload, &g.rnd);
        buf_release(&flat);
        buf_release(&payload);
        gather_release(&m);
        gen_release(&g);
    }
}

/* Behind a right CRC nothing is trusted either. */
static void hostile_bodies(uint32_t code, const struct buf *record, struct rnd *rnd)
{
    struct buf body = {0};
    struct buf again = {0};
    struct rd r = rd_of(record->data + 1, record->len - 1);
    struct err e;

    assert_int_equal(manifest_seal_get(&r, (uint8_t)code, MANIFEST_RAW_BYTES_MAX, &body, &e), 0);
    assert_int_equal(remake_body(code, rd_of(body.data, body.len), &again), 0);
    assert_true(slice_eq(slice_buf(&again), slice_buf(record)));
    for (size_t bytes = 0; bytes < body.len; bytes++) {
        again.len = 0;
        (void)remake_exact(remake_body, code, body.data, bytes, &again);
    }
    for (int i = 0; i < FLIPS; i++) {
        size_t at = rnd_below(rnd, body.len);
        uint8_t old = body.data[at];

        body.data[at] = (uint8_t)rnd_next(rnd);
        again.len = 0;
        (void)remake_exact(remake_body, code, body.data, body.len, &again);
        body.data[at] = old;
    }
    buf_release(&body);
    buf_release(&again);
}

static struct manifest_fragment largest_fragment(const struct manifest *m)
{
    struct manifest_fragment all = {.has_osd = true, .checksum = {.algo = CHECKSUM_NONE}};

    for (size_t i = 0; i < (size_t)m->chunk_count * manifest_fragments_per_chunk(m); i++) {
        const struct manifest_fragment *f = &m->fragments[i];

        all.has_ctr |= f->has_ctr;
        all.fnr_bytes = f->fnr_bytes > all.fnr_bytes ? f->fnr_bytes : all.fnr_bytes;
        all.osd_id = f->osd_id > all.osd_id ? f->osd_id : all.osd_id;
        all.packed_bytes = f->packed_bytes > all.packed_bytes ? f->packed_bytes : all.packed_bytes;
        if (f->checksum.algo == CHECKSUM_SHA1 || all.checksum.algo == CHECKSUM_NONE) {
            all.checksum = f->checksum;
        }
    }
    return all;
}

static void manifests_survive_anything(void **state)
{
    struct gen g;
    struct err e;

    (void)state;
    gen_init(&g, seed + 4);
    for (unsigned i = 0; i < 6 * ROUNDS; i++) {
        unsigned version = 1 + i % 3;
        struct manifest *m = gen_manifest(&g, version != MANIFEST_V3);
        struct buf b = {0};
        struct buf inner = {0};
        struct manifest_fragment largest;
        struct rd r;

        assert_int_equal(manifest_encode(m, version, &b, &e), 0);
        largest = largest_fragment(m);
        assert_true(b.len <= manifest_v3_bytes_bound(m->name.len, m->preset.len, m->chunk_count,
                                                     manifest_fragments_per_chunk(m), &largest) +
                                 m->tail.len);
        check_bytes(remake_manifest, version, &b, &g.rnd);
        if (version != MANIFEST_V3) {
            r = rd_of(b.data + 1, b.len - 1);
            assert_int_equal(snappy_block_get(llio_string(&r), MANIFEST_RAW_BYTES_MAX, &inner), 0);
            check_bytes(remake_inner, version, &inner, &g.rnd);
        } else {
            hostile_bodies(version, &b, &g.rnd);
        }
        buf_release(&inner);
        buf_release(&b);
        gen_release(&g);
    }
}

static void recovery_infos_survive_anything(void **state)
{
    struct gen g;
    struct recovery_info info;
    struct err e;

    (void)state;
    gen_init(&g, seed + 5);
    for (unsigned i = 0; i < 4 * ROUNDS; i++) {
        struct buf b = {0};

        gen_recovery_info(&g, &info);
        assert_int_equal(recovery_info_encode(&info, &b, &e), 0);
        check_bytes(remake_recovery_info, 0, &b, &g.rnd);
        hostile_bodies(64, &b, &g.rnd);
        buf_release(&b);
        gen_release(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asd_requests_survive_anything),
        cmocka_unit_test(asd_replies_survive_anything),
        cmocka_unit_test(proxy_requests_survive_anything),
        cmocka_unit_test(proxy_replies_survive_anything),
        cmocka_unit_test(manifests_survive_anything),
        cmocka_unit_test(recovery_infos_survive_anything),
    };
    const char *text = getenv("SEED");

    if (text != NULL) {
        seed = strtoull(text, NULL, 0);
    } else {
        rnd_bytes(&seed, sizeof(seed));
    }
    printf("SEED=%" PRIu64 "\n", seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
