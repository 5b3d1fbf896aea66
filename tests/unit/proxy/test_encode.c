#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "lib/seed.h"
#include "policy/erasure.h"
#include "policy/fragment0.h"
#include "proxy/encode.h"

static void fill(struct rnd *rnd, uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (i / 700) % 2 == 0 ? (uint8_t)rnd_next(rnd) : 7;
    }
}

static bool make_sha1s;

static struct encode make(uint32_t k, uint32_t m, enum compress_codec codec,
                          uint32_t fragment_bytes, const uint8_t *data, uint32_t data_bytes)
{
    struct encode x = {.chunk = 3,
                       .cipher = CIPHER_NONE,
                       .k = k,
                       .m = m,
                       .codec = codec,
                       .with_sha1 = make_sha1s,
                       .fragment_bytes = fragment_bytes,
                       .data = data,
                       .data_bytes = data_bytes};

    rnd_bytes(x.object_id, sizeof(x.object_id));
    encode_run(&x);
    return x;
}

static uint8_t *unpack0(const struct encode *x, uint32_t i)
{
    struct manifest_fragment told = {0};
    struct fragment0_ref ref = {.id = fragment_id_of(x->object_id, x->chunk, i, x->k),
                                .raw_bytes = x->fragment_bytes,
                                .codec = x->codec};
    uint8_t *raw = mem_zalloc(x->fragment_bytes + 1);
    struct err e;

    encode_note(x, i, &told);
    ref.stored_bytes = told.packed_bytes;
    ref.sum = (struct fragment0_sum){.algo = (enum preset_checksum)told.checksum.algo,
                                     .crc32c = told.checksum.crc32c};
    memcpy(ref.sum.sha1, told.checksum.sha1, sizeof(ref.sum.sha1));
    assert_int_equal(fragment0_unpack(&ref, x->images[i], x->stored_bytes[i], raw, &e), 0);
    assert_int_equal(crc32c(0, x->images[i], x->stored_bytes[i]), x->crcs[i]);
    return raw;
}

/* What the image of fragment i unpacks to. */
static uint8_t *unpack(const struct encode *x, uint32_t i)
{
    if (fragment0_is_for(x->codec, CIPHER_NONE)) {
        return unpack0(x, i);
    }

    struct fragment_ref ref = {.id = fragment_id_of(x->object_id, x->chunk, i, x->k),
                               .shape = fragment_shape_of(x->fragment_bytes, x->codec, CIPHER_NONE),
                               .stored_bytes = x->stored_bytes[i]};
    uint8_t *raw = mem_zalloc(x->fragment_bytes + 1);
    struct err e;

    assert_int_equal(fragment_unpack(&ref, x->images[i], x->stored_bytes[i], raw, &e), 0);
    assert_int_equal(crc32c(0, x->images[i], x->stored_bytes[i]), x->crcs[i]);
    return raw;
}

static void check(struct rnd *rnd, uint32_t k, uint32_t m, enum compress_codec codec,
                  uint32_t fragment_bytes, uint32_t data_bytes)
{
    uint32_t chunk_bytes = k * fragment_bytes;
    uint8_t *padded = mem_zalloc(chunk_bytes + 1);
    uint8_t *data = mem_alloc(data_bytes + 1);
    uint8_t *raws[PRESET_FRAGMENTS_MAX];
    uint8_t *parity[PRESET_M_MAX];
    struct encode x;

    fill(rnd, data, data_bytes);
    memcpy(padded, data, data_bytes);
    x = make(k, m, codec, fragment_bytes, data, data_bytes);
    assert_int_equal(x.data_crc, crc32c(0, data, data_bytes));
    for (uint32_t i = 0; i < k + m; i++) {
        raws[i] = unpack(&x, i);
    }
    for (uint32_t i = 0; i < k; i++) {
        assert_memory_equal(raws[i], padded + (size_t)i * fragment_bytes, fragment_bytes);
    }
    for (uint32_t j = 0; j < m; j++) {
        parity[j] = mem_alloc(fragment_bytes + 1);
    }
    erasure_encode(erasure_get(k, m), fragment_bytes, (const uint8_t *const *)raws, parity);
    for (uint32_t j = 0; j < m; j++) {
        assert_memory_equal(raws[k + j], parity[j], fragment_bytes);
        free(parity[j]);
    }
    for (uint32_t i = 0; i < k + m; i++) {
        free(raws[i]);
    }
    encode_release(&x);
    free(padded);
    free(data);
}

static void every_image_unpacks_to_its_part_or_to_the_parity(void **state)
{
    const struct {
        uint32_t k, m;
    } shapes[] = {{1, 0}, {1, 2}, {2, 1}, {4, 2}, {3, 0}, {5, 4}, {16, 4}, {20, 8}};
    struct rnd rnd = seed_start("every_image_unpacks_to_its_part_or_to_the_parity");

    (void)state;
    for (size_t s = 0; s < sizeof(shapes) / sizeof(*shapes); s++) {
        uint32_t k = shapes[s].k, m = shapes[s].m;

        for (unsigned i = 0; i < 6; i++) {
            uint32_t fragment = k == 1 ? 1 + (uint32_t)rnd_below(&rnd, 100000)
                                       : 4096 * (1 + (uint32_t)rnd_below(&rnd, 20));
            uint32_t data =
                k == 1 ? fragment : (k - 1) * fragment + 1 + (uint32_t)rnd_below(&rnd, fragment);

            check(&rnd, k, m, i % 2 == 0 ? COMPRESS_LZ4 : COMPRESS_NONE, fragment, data);
        }
        check(&rnd, k, m, COMPRESS_LZ4, k == 1 ? 5 : 4096, k == 1 ? 5 : 1); /* mostly padding */
        check(&rnd, k, m, COMPRESS_LZ4, 0, 0);                              /* an empty object */
    }
}

/* The object may end in any fragment: those behind it are zeroes. */
static void every_image_of_format_0_unpacks_to_its_part_or_to_the_parity(void **state)
{
    struct rnd rnd = seed_start("every_image_of_format_0_unpacks_to_its_part_or_to_the_parity");

    (void)state;
    for (unsigned round = 0; round < 120; round++) {
        uint32_t k = 1 + (uint32_t)rnd_below(&rnd, PRESET_K_MAX);
        uint32_t m = (uint32_t)rnd_below(&rnd, PRESET_M_MAX + 1);
        uint32_t fragment = k == 1 ? 1 + (uint32_t)rnd_below(&rnd, 100000)
                                   : 16 * (1 + (uint32_t)rnd_below(&rnd, 3000));
        uint32_t data = k == 1 ? fragment : 1 + (uint32_t)rnd_below(&rnd, k * fragment);

        make_sha1s = round % 3 == 0;
        check(&rnd, k, m, round % 4 == 0 ? COMPRESS_BZIP2 : COMPRESS_SNAPPY, fragment, data);
        check(&rnd, k, m, COMPRESS_SNAPPY, 0, 0);
    }
    make_sha1s = false;
}

/* For a repair: any choice of fragments, the same raw bytes, and nothing made besides. */
static void make_wanted(enum compress_codec codec)
{
    struct rnd rnd = rnd_seed(11);
    uint8_t data[4 * 8192 - 700];
    struct encode all;

    fill(&rnd, data, sizeof(data));
    all = make(4, 2, codec, 8192, data, sizeof(data));
    for (uint32_t wanted = 1; wanted < 64; wanted++) {
        struct encode some = {.k = 4,
                              .m = 2,
                              .chunk = all.chunk,
                              .cipher = CIPHER_NONE,
                              .codec = codec,
                              .fragment_bytes = 8192,
                              .data = data,
                              .data_bytes = sizeof(data),
                              .wanted = wanted};

        memcpy(some.object_id, all.object_id, sizeof(some.object_id));
        encode_run(&some);
        for (uint32_t i = 0; i < 6; i++) {
            uint8_t *is, *was;

            if ((wanted >> i & 1) == 0) {
                assert_null(some.images[i]);
                continue;
            }
            is = unpack(&some, i);
            was = unpack(&all, i);
            assert_memory_equal(is, was, 8192);
            assert_true((codec == COMPRESS_SNAPPY) == (some.crcs[i] == all.crcs[i])); /* by salt */
            free(is);
            free(was);
        }
        encode_release(&some);
    }
    encode_release(&all);
}

static void only_the_wanted_fragments_are_made(void **state)
{
    (void)state;
    make_wanted(COMPRESS_LZ4);
    make_wanted(COMPRESS_SNAPPY);
}

static void every_encoding_has_a_salt_of_its_own(void **state)
{
    uint8_t data[8192] = {0};
    struct encode a = make(2, 1, COMPRESS_LZ4, 4096, data, sizeof(data));
    struct encode b = make(2, 1, COMPRESS_LZ4, 4096, data, sizeof(data));

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < 3; j++) {
            const uint8_t *x = a.images[i] + a.stored_bytes[i] - 28; /* the footer's salt */
            const uint8_t *y = b.images[j] + b.stored_bytes[j] - 28;

            assert_memory_not_equal(x, y, FRAGMENT_SALT_BYTES);
        }
    }
    encode_release(&a);
    encode_release(&b);
}

/* Of each fragment: all random, or compressible at its end. */
static void fill_mixed(struct rnd *rnd, uint8_t *data, uint32_t fragment_bytes, unsigned shrinking)
{
    for (uint32_t i = 0; i < 4 * fragment_bytes; i++) {
        bool is_even = i % fragment_bytes > fragment_bytes / 2;

        data[i] =
            is_even && (shrinking >> i / fragment_bytes & 1) != 0 ? 7 : (uint8_t)rnd_next(rnd);
    }
}

static void check_borrowed(struct rnd *rnd, enum compress_codec codec, unsigned shrinking,
                           uint32_t lacking)
{
    enum { FRAGMENT = 65536 * 3 };
    uint8_t *data = mem_alloc(4 * FRAGMENT);
    struct encode x = {.chunk = 3,
                       .cipher = CIPHER_NONE,
                       .k = 4,
                       .m = 2,
                       .codec = codec,
                       .fragment_bytes = FRAGMENT,
                       .data = data,
                       .data_stays = true,
                       .data_bytes = 4 * FRAGMENT - lacking};

    fill_mixed(rnd, data, FRAGMENT, shrinking);
    encode_run(&x);
    assert_int_equal(x.data_crc, crc32c(0, data, x.data_bytes));
    for (uint32_t i = 0; i < 6; i++) {
        bool is_raw = codec == COMPRESS_NONE || (shrinking >> i & 1) == 0;
        bool is_borrowed = i < 4 && is_raw && (i < 3 || lacking == 0);
        struct slice payload, image;
        struct buf value = {0};
        uint8_t *own = x.images[i];
        uint8_t *raw;

        encode_value(&x, i, &payload, &image);
        assert_true(x.payloads[i] == (is_borrowed ? data + (size_t)i * FRAGMENT : NULL));
        assert_int_equal(payload.len, is_borrowed ? FRAGMENT : 0);
        buf_put(&value, payload.data, payload.len);
        buf_put(&value, image.data, image.len);
        assert_int_equal(value.len, x.stored_bytes[i]);
        x.images[i] = value.data;
        raw = unpack(&x, i);
        x.images[i] = own;
        if (i < 4) {
            memset(data + x.data_bytes, 0, lacking);
            assert_memory_equal(raw, data + (size_t)i * FRAGMENT, FRAGMENT);
        }
        free(raw);
        buf_release(&value);
    }
    encode_release(&x);
    free(data);
}

static void whole_fragments_that_do_not_shrink_stay_where_the_data_is(void **state)
{
    struct rnd rnd = rnd_seed(12);

    (void)state;
    for (unsigned shrinking = 0; shrinking < 16; shrinking += 5) {
        check_borrowed(&rnd, COMPRESS_LZ4, shrinking, 0);
        check_borrowed(&rnd, COMPRESS_LZ4, shrinking, 1000);
        check_borrowed(&rnd, COMPRESS_NONE, shrinking, shrinking == 5 ? 0 : 1000);
    }
}

static void replicas_are_encoded_once(void **state)
{
    uint8_t data[10000] = {1};
    struct encode x = make(1, 3, COMPRESS_LZ4, sizeof(data), data, sizeof(data));

    (void)state;
    for (uint32_t i = 1; i < 4; i++) {
        assert_ptr_equal(x.images[i], x.images[0]);
        assert_int_equal(x.stored_bytes[i], x.stored_bytes[0]);
        assert_int_equal(x.crcs[i], x.crcs[0]);
    }
    encode_release(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_image_unpacks_to_its_part_or_to_the_parity),
        cmocka_unit_test(every_image_of_format_0_unpacks_to_its_part_or_to_the_parity),
        cmocka_unit_test(only_the_wanted_fragments_are_made),
        cmocka_unit_test(every_encoding_has_a_salt_of_its_own),
        cmocka_unit_test(whole_fragments_that_do_not_shrink_stay_where_the_data_is),
        cmocka_unit_test(replicas_are_encoded_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
