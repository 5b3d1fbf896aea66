#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/rnd.h"
#include "lib/flip.h"
#include "unit/volumedriver/golden.h"
#include "volumedriver/root.h"
#include "volumedriver/seal.h"

static const uint8_t volume[16] = "volume-uuid-0001";

static void sample(struct root *r)
{
    root_init(r, volume, 9, UINT64_C(10) << 30, 64 << 20);
    memset(r->id, 0xaa, 16);
    memset(r->id_before, 0xbb, 16);
    r->checkpoint_ordinal = 4;
    r->prefix_number = 0x90007;
    r->prefix_seq = 12345;
    r->parts = mem_array(2, sizeof(*r->parts));
    r->parts[0] = (struct root_part){.number = 0x80001, .bytes = 4000, .kind = 1};
    r->parts[1] = (struct root_part){.number = 0x90001, .bytes = 500, .kind = 2};
    r->part_count = 2;
    r->ancestors = mem_array(1, sizeof(*r->ancestors));
    r->ancestors[0] = (struct root_ancestor){.generation = 3, .snapshot = 17};
    r->ancestor_count = 1;
    r->snapshots = mem_array(1, sizeof(*r->snapshots));
    r->snapshots[0] = (struct root_snapshot){.id = 1, .generation = 1, .number = 5, .seq = 6};
    buf_put(&r->snapshots[0].metadata, "before the upgrade", 18);
    r->snapshot_count = 1;
    r->limits = mem_array(1, sizeof(*r->limits));
    r->limits[0] = (struct root_limit){.id = 1, .value = 1000};
    r->limit_count = 1;
    r->pins = mem_array(1, sizeof(*r->pins));
    r->pin_count = 1;
}

static void a_root_keeps_its_bytes_and_comes_back(void **state)
{
    struct buf b = {0}, again = {0};
    struct root r, got;
    struct err e;

    (void)state;
    sample(&r);
    root_encode(&r, &b);
    golden_expect("root_v1", b.data, b.len);
    assert_int_equal(root_decode(b.data, b.len, volume, &got, &e), 0);
    assert_int_equal(got.size_bytes, UINT64_C(10) << 30);
    assert_int_equal(got.prefix_seq, 12345);
    assert_int_equal(got.part_count, 2);
    assert_int_equal(got.parts[1].number, 0x90001);
    assert_int_equal(got.snapshots[0].metadata.len, 18);
    root_encode(&got, &again);
    assert_int_equal(b.len, again.len);
    assert_memory_equal(b.data, again.data, b.len);
    buf_release(&b);
    buf_release(&again);
    root_release(&r);
    root_release(&got);
}

static void every_flipped_bit_and_every_cut_of_a_root_is_noticed(void **state)
{
    struct buf b = {0};
    struct root r, got;
    struct err e;

    (void)state;
    sample(&r);
    root_encode(&r, &b);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(root_decode(b.data, b.len, volume, &got, &e), 0);
        b.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bytes = 0; bytes < b.len; bytes++) {
        assert_int_not_equal(root_decode(b.data, bytes, volume, &got, &e), 0);
    }
    buf_release(&b);
    root_release(&r);
}

static uint32_t object_crc(const struct root *r)
{
    struct buf b = {0};
    uint32_t crc;

    root_encode(r, &b);
    crc = crc32c(0, b.data, b.len);
    buf_release(&b);
    return crc;
}

/* The root is replaced by compare-and-swap on the object's checksum. */
static void roots_that_differ_in_one_field_have_different_object_checksums(void **state)
{
    uint32_t crc;
    struct root r;

    (void)state;
    sample(&r);
    crc = object_crc(&r);
    for (unsigned bit = 0; bit < 128; bit++) {
        r.id[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(object_crc(&r), crc);
        r.id[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
#define DIFFERS(field)                                                                             \
    for (unsigned bit = 0; bit < 8 * sizeof(r.field); bit++) {                                     \
        flip_bit(&r.field, bit);                                                                   \
        assert_int_not_equal(object_crc(&r), crc);                                                 \
        flip_bit(&r.field, bit);                                                                   \
    }
    DIFFERS(epoch)
    DIFFERS(size_bytes)
    DIFFERS(checkpoint_ordinal)
    DIFFERS(prefix_number)
    DIFFERS(prefix_seq)
    DIFFERS(parts[0].number)
    DIFFERS(limits[0].value)
    DIFFERS(snapshots[0].seq)
    DIFFERS(pins[0].volume[5])
#undef DIFFERS
    assert_int_equal(object_crc(&r), crc);
    root_release(&r);
}

/* Fix the length and the CRC after a change in the middle. */
static void reseal(struct buf *b)
{
    put_u32le(b->data + 56, (uint32_t)(b->len - 72));
    put_u32le(b->data + SEAL_AT, seal_crc(0, b->data, b->len, SEAL_AT));
}

static void put_section(struct buf *b, uint16_t class)
{
    buf_put_u16le(b, 900);
    buf_put_u16le(b, class);
    buf_put_u32le(b, 3);
    buf_put(b, "new", 3);
    put_u32le(b->data + 60, get_u32le(b->data + 60) + 1);
    reseal(b);
}

static void sections_of_a_later_version_follow_their_class(void **state)
{
    (void)state;
    for (uint16_t class = 0; class < 4; class ++) {
        struct buf b = {0}, again = {0};
        struct root r, got;
        struct err e;
        int rc;

        sample(&r);
        root_encode(&r, &b);
        put_section(&b, class);
        rc = root_decode(b.data, b.len, volume, &got, &e);
        if (class == 1 || class == 2) {
            assert_int_equal(rc, 0);
            assert_int_equal(got.read_only, class == 1);
            root_encode(&got, &again); /* written back as it came */
            assert_int_equal(again.len, b.len);
            assert_memory_equal(again.data, b.data, b.len);
            root_release(&got);
        } else {
            assert_int_equal(rc, ERR_VERSION);
        }
        buf_release(&b);
        buf_release(&again);
        root_release(&r);
    }
}

static void mangled_sections_never_break_the_decoder(void **state)
{
    struct rnd rnd = rnd_seed(3);
    struct buf b = {0};
    struct root r, got;
    struct err e;

    (void)state;
    sample(&r);
    for (int i = 0; i < 20000; i++) {
        b.len = 0;
        root_encode(&r, &b);
        for (int j = 0; j < 3; j++) {
            b.data[56 + rnd_below(&rnd, b.len - 56)] = (uint8_t)rnd_next(&rnd);
        }
        reseal(&b);
        if (root_decode(b.data, b.len, volume, &got, &e) == 0) {
            root_release(&got);
        }
    }
    buf_release(&b);
    root_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_root_keeps_its_bytes_and_comes_back),
        cmocka_unit_test(every_flipped_bit_and_every_cut_of_a_root_is_noticed),
        cmocka_unit_test(roots_that_differ_in_one_field_have_different_object_checksums),
        cmocka_unit_test(sections_of_a_later_version_follow_their_class),
        cmocka_unit_test(mangled_sections_never_break_the_decoder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
