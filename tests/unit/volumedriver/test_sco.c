#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/rnd.h"
#include "lib/flip.h"
#include "unit/volumedriver/golden.h"
#include "volumedriver/location.h"
#include "volumedriver/sco.h"

static const uint8_t volume[16] = "volume-uuid-0001";

/* A trailer for 3 data clusters; the data itself is not part of it. */
static size_t sample(uint8_t kind, uint8_t *trailer, struct sco_footer *ret_footer)
{
    static const uint32_t crcs[3] = {0x11111111, 0x22222222, 0x33333333};
    struct sco_extent extents[3] = {
        {.cluster = 10, .seq = 7, .count = 2, .source = location_make(0, 0x50001, 9)},
        {.cluster = 100, .seq = 9, .count = 1 << 20, .flags = SCO_EXTENT_ZERO},
        {.cluster = UINT64_C(1) << 33, .seq = 8, .count = 1, .source = location_make(0, 1, 0)},
    };
    struct sco_footer f = {.number = 0x90002,
                           .predecessor = 0x90001,
                           .kind = kind,
                           .generation = 1,
                           .epoch = 9,
                           .first_seq = kind == SCO_GC ? 0 : 5,
                           .last_seq = kind == SCO_GC ? 0 : 9,
                           .data_bytes = 3 * SCO_CLUSTER_BYTES,
                           .extent_count = 3};

    memcpy(f.volume, volume, 16);
    sco_trailer_encode(&f, crcs, extents, trailer);
    *ret_footer = f;
    return sco_trailer_bytes(kind, 3, 3);
}

static int decode(const uint8_t *trailer, size_t bytes, struct sco_footer *f,
                  struct sco_extent **ret_extents)
{
    struct err e;
    int rc = sco_footer_decode(trailer + bytes - SCO_FOOTER_BYTES, volume, 0x90002,
                               3 * SCO_CLUSTER_BYTES + bytes, f, &e);

    if (rc != 0) {
        return rc;
    }
    return sco_trailer_decode(f, trailer, bytes - SCO_FOOTER_BYTES, ret_extents, &e);
}

static void a_trailer_keeps_its_bytes(void **state)
{
    static const uint8_t kinds[2] = {SCO_CLIENT, SCO_GC};
    static const char *const names[2] = {"sco_client_v1", "sco_gc_v1"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        uint8_t trailer[1024];
        struct sco_footer f;
        size_t bytes = sample(kinds[i], trailer, &f);
        struct sco_extent *extents;

        golden_expect(names[i], trailer, bytes);
        assert_int_equal(sco_bytes(&f), 3 * SCO_CLUSTER_BYTES + bytes);
        assert_int_equal(decode(trailer, bytes, &f, &extents), 0);
        assert_int_equal(f.predecessor, 0x90001);
        assert_int_equal(extents[1].flags, SCO_EXTENT_ZERO);
        assert_int_equal(extents[2].cluster, UINT64_C(1) << 33);
        assert_int_equal(extents[0].source, kinds[i] == SCO_GC ? location_make(0, 0x50001, 9) : 0);
        free(extents);
    }
}

static void every_flipped_bit_and_every_cut_of_a_trailer_is_noticed(void **state)
{
    uint8_t trailer[1024];
    struct sco_footer f;
    size_t bytes = sample(SCO_GC, trailer, &f);
    struct sco_extent *extents;

    (void)state;
    for (size_t bit = 0; bit < bytes * 8; bit++) {
        trailer[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(decode(trailer, bytes, &f, &extents), 0);
        trailer[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 1; cut < bytes - SCO_FOOTER_BYTES; cut++) {
        assert_int_not_equal(decode(trailer + cut, bytes - cut, &f, &extents), 0);
    }
}

static void a_footer_of_another_volume_or_number_is_refused(void **state)
{
    static const uint8_t other[16] = "volume-uuid-0002";
    uint8_t trailer[1024];
    struct sco_footer f;
    size_t bytes = sample(SCO_CLIENT, trailer, &f);
    const uint8_t *footer = trailer + bytes - SCO_FOOTER_BYTES;
    uint64_t size = 3 * SCO_CLUSTER_BYTES + bytes;
    struct err e;

    (void)state;
    assert_int_equal(sco_footer_decode(footer, volume, 0x90002, size, &f, &e), 0);
    assert_int_equal(sco_footer_decode(footer, other, 0x90002, size, &f, &e), ERR_CORRUPT);
    assert_int_equal(sco_footer_decode(footer, volume, 0x90003, size, &f, &e), ERR_CORRUPT);
    assert_int_equal(sco_footer_decode(footer, volume, 0x90002, size + 1, &f, &e), ERR_CORRUPT);
}

static void extents_that_overlap_are_refused(void **state)
{
    static const uint32_t crcs[2] = {1, 2};
    struct sco_extent extents[2] = {{.cluster = 10, .seq = 1, .count = 1},
                                    {.cluster = 10, .seq = 2, .count = 1}},
                      *got;
    struct sco_footer f = {.number = 0x90002,
                           .kind = SCO_CLIENT,
                           .generation = 1,
                           .epoch = 9,
                           .first_seq = 1,
                           .last_seq = 2,
                           .data_bytes = 2 * SCO_CLUSTER_BYTES,
                           .extent_count = 2};
    uint8_t trailer[512];
    size_t bytes = sco_trailer_bytes(SCO_CLIENT, 2, 2);
    struct err e;

    (void)state;
    memcpy(f.volume, volume, 16);
    sco_trailer_encode(&f, crcs, extents, trailer);
    assert_int_equal(sco_footer_decode(trailer + bytes - SCO_FOOTER_BYTES, volume, 0x90002,
                                       2 * SCO_CLUSTER_BYTES + bytes, &f, &e),
                     0);
    assert_int_equal(sco_trailer_decode(&f, trailer, bytes - SCO_FOOTER_BYTES, &got, &e),
                     ERR_CORRUPT);
}

/* The object of one cluster of data (`byte` in it), or of none. */
static uint32_t object_crc(const struct sco_footer *f, uint8_t byte, struct buf *ret_object)
{
    struct sco_extent x = {.cluster = 10, .seq = 7, .count = 1};
    uint32_t crc;

    ret_object->len = 0;
    memset(buf_extend(ret_object, sco_bytes(f)), byte, (size_t)f->data_bytes);
    crc = crc32c(0, ret_object->data, (size_t)f->data_bytes);
    sco_trailer_encode(f, &crc, &x, ret_object->data + f->data_bytes);
    return crc32c(0, ret_object->data, ret_object->len);
}

static void differs(struct sco_footer *f)
{
    struct buf b = {0};
    uint32_t crc = object_crc(f, 1, &b);

#define DIFFERS(field)                                                                             \
    for (unsigned bit = 0; bit < 8 * sizeof(f->field); bit++) {                                    \
        flip_bit(&f->field, bit);                                                                  \
        assert_int_not_equal(object_crc(f, 1, &b), crc);                                           \
        flip_bit(&f->field, bit);                                                                  \
    }
    DIFFERS(volume[15])
    DIFFERS(predecessor)
    DIFFERS(generation)
    DIFFERS(first_seq)
    DIFFERS(last_seq)
#undef DIFFERS
    f->number++;
    assert_int_not_equal(object_crc(f, 1, &b), crc);
    f->number--;
    assert_int_equal(object_crc(f, 1, &b), crc);
    for (uint8_t byte = 2; f->data_bytes != 0 && byte != 0; byte++) {
        assert_int_not_equal(object_crc(f, byte, &b), crc);
    }
    buf_release(&b);
}

/* Also the data of a single cluster, which stands right in front of its own CRC. */
static void scos_that_differ_in_one_field_or_byte_have_different_object_checksums(void **state)
{
    struct sco_footer f = {.number = 0x90002,
                           .kind = SCO_CLIENT,
                           .generation = 1,
                           .epoch = 9,
                           .first_seq = 1,
                           .last_seq = 2,
                           .data_bytes = SCO_CLUSTER_BYTES,
                           .extent_count = 1};

    (void)state;
    memcpy(f.volume, volume, 16);
    differs(&f);
    f.kind = SCO_EMPTY;
    f.data_bytes = f.extent_count = 0;
    differs(&f);
}

static void a_stored_trailer_is_ours_only_when_every_byte_is(void **state)
{
    uint8_t ours[1024], stored[1024];
    struct sco_footer f;
    size_t bytes = sample(SCO_CLIENT, ours, &f);
    struct err e;

    (void)state;
    memcpy(stored, ours, bytes);
    assert_int_equal(sco_trailer_compare(&f, ours, stored, sco_bytes(&f), &e), 0);
    assert_int_equal(sco_trailer_compare(&f, ours, NULL, sco_bytes(&f) + 24, &e), ERR_CORRUPT);
    for (size_t i = 0; i < bytes; i++) {
        stored[i] ^= 1;
        assert_int_equal(sco_trailer_compare(&f, ours, stored, sco_bytes(&f), &e), ERR_CORRUPT);
        stored[i] ^= 1;
    }
}

static void names_are_parsed_strictly(void **state)
{
    char name[SCO_NAME_BYTES];
    uint64_t number;

    (void)state;
    sco_name(0x90002, name);
    assert_string_equal(name, "s_0000090002");
    assert_int_equal(sco_name_parse(name, 12, 's', &number), 0);
    assert_int_equal(number, 0x90002);
    assert_int_not_equal(sco_name_parse(name, 11, 's', &number), 0);
    assert_int_not_equal(sco_name_parse(name, 12, 'm', &number), 0);
    assert_int_not_equal(sco_name_parse("s_000009000G", 12, 's', &number), 0);
    assert_int_not_equal(sco_name_parse("s_000009000A", 12, 's', &number), 0);
    assert_int_not_equal(sco_name_parse("s_0000000000", 12, 's', &number), 0);
}

static void locations_hold_their_parts(void **state)
{
    uint64_t l = location_make(255, SCO_NUMBER_MAX, LOCATION_OFFSET_MAX);

    (void)state;
    assert_int_equal(location_ancestor(l), 255);
    assert_int_equal(location_number(l), SCO_NUMBER_MAX);
    assert_int_equal(location_offset(l), LOCATION_OFFSET_MAX);
    assert_int_equal(location_add(location_make(1, 2, 3), 4), location_make(1, 2, 7));
    assert_int_equal(location_add(LOCATION_ZERO, 4), LOCATION_ZERO);
    assert_int_equal(location_add(LOCATION_NONE, 4), LOCATION_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trailer_keeps_its_bytes),
        cmocka_unit_test(every_flipped_bit_and_every_cut_of_a_trailer_is_noticed),
        cmocka_unit_test(a_footer_of_another_volume_or_number_is_refused),
        cmocka_unit_test(extents_that_overlap_are_refused),
        cmocka_unit_test(scos_that_differ_in_one_field_or_byte_have_different_object_checksums),
        cmocka_unit_test(a_stored_trailer_is_ours_only_when_every_byte_is),
        cmocka_unit_test(names_are_parsed_strictly),
        cmocka_unit_test(locations_hold_their_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
