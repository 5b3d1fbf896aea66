/* Manifests: versions 1 and 2 against bytes made by hand, version 3 against its golden file,
 * and what transcoding keeps. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/wire/bytes.h"
#include "wire/llio.h"
#include "wire/manifest.h"
#include "wire/snappy_block.h"

#define OBJECT_ID "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_ID "1111111111111111111111111111111111111111111111111111111111111111"
#define CTR "c09d5619d72c28ec11e2d145cd769f5c"

/* 2+1, chunks of 64 and 32 bytes, 90 bytes; fragment (1, 2) stored nowhere. */
#define HEAD                                                                                       \
    "04000000 6e616d65 20000000 " OBJECT_ID "02000000 20000000 40000000"                           \
    "01 01 02000000 01000000 01"

static void make_manifest(struct manifest *m)
{
    uint8_t id[32];

    for (uint8_t i = 0; i < 32; i++) {
        id[i] = i;
    }
    *m = (struct manifest){.scheme = {.k = 2,
                                      .m = 1,
                                      .c = 2,
                                      .max_disks_per_node = 3,
                                      .codec = MANIFEST_CODEC_SNAPPY,
                                      .cipher = MANIFEST_CIPHER_AES_CTR_256}};
    memset(m->scheme.key_id, 0x11, sizeof(m->scheme.key_id));
    manifest_set(&m->name, slice_str("name"));
    manifest_set(&m->object_id, slice_of(id, sizeof(id)));
    manifest_set(&m->preset, slice_str("default"));
    m->preset_version = 4;
    m->size_bytes = 90;
    m->checksum = checksum_crc32c(0xe3069283);
    m->version_id = 1;
    m->timestamp_us = 1500000000500000;
    m->gc_epoch = 6;
    manifest_alloc_chunks(m, 2);
    m->chunk_bytes[0] = 64;
    m->chunk_bytes[1] = 32;
    for (uint32_t i = 0; i < 6; i++) {
        struct manifest_fragment *f = &m->fragments[i];

        f->has_osd = i != 5;
        f->osd_id = i != 5 ? 10 + i : 0;
        f->version = i == 1;
        f->packed_bytes = 0x100 + i;
        f->checksum = checksum_crc32c(i);
        f->has_ctr = i == 0;
        if (f->has_ctr) {
            memcpy(f->ctr, "\xc0\x9d\x56\x19\xd7\x2c\x28\xec\x11\xe2\xd1\x45\xcd\x76\x9f\x5c", 16);
        }
        f->fnr_bytes = i == 1 ? 2 : 0;
        memcpy(f->fnr, "\x80\x01", f->fnr_bytes);
    }
}

#define ENCRYPTED "02 01 02 01 01 20000000 " KEY_ID

static const char version_2[] =
    HEAD "02" ENCRYPTED "03 839206e3 5a00000000000000"
         "01 02000000"
         "03000000"
         "11 01 00 00000000 03 05000000 05010000 00 00"
         "15 01 01 0e000000 00000000 03 04000000 04010000 00 00"
         "15 01 01 0d000000 00000000 03 03000000 03010000 00 00"
         "03000000"
         "15 01 01 0c000000 00000000 03 02000000 02010000 00 00"
         "18 01 01 0b000000 01000000 03 01000000 01010000 00 01 02 8001"
         "26 01 01 0a000000 00000000 03 00000000 00010000 01 10 " CTR " 00"
         "01000000 03000000 000020c0"
         "0b5ad641";

static const char version_1[] =
    HEAD "02" ENCRYPTED "03 839206e3 5a00000000000000"
         "01 02000000"
         "03000000 00 00000000  01 0e000000 00000000  01 0d000000 00000000"
         "03000000 01 0c000000 00000000  01 0b000000 01000000  01 0a000000 00000000"
         "01 02000000"
         "03000000 03 05000000 03 04000000 03 03000000"
         "03000000 03 02000000 03 01000000 03 00000000"
         "01 02000000"
         "03000000 05010000 04010000 03010000"
         "03000000 02010000 01010000 00010000"
         "01000000 03000000 000020c00b5ad641"
         "01 02000000 03000000 00 00 00 03000000 00 00 01 10000000 " CTR;

static void unpack(const struct buf *record, unsigned version, struct buf *inner)
{
    struct rd r = slice_rd(record);

    assert_int_equal(rd_u8(&r), version);
    assert_int_equal(snappy_block_get(llio_string(&r), MANIFEST_RAW_BYTES_MAX, inner), 0);
    assert_false(r.bad);
    assert_int_equal(rd_left(&r), 0);
}

static void pack(const char *hex, unsigned version, struct buf *record)
{
    struct buf inner = {0};
    size_t mark;

    bytes_put(&inner, hex);
    buf_put_u8(record, (uint8_t)version);
    mark = llio_sub_begin(record);
    snappy_block_put(record, slice_buf(&inner));
    llio_sub_end(record, mark);
    buf_release(&inner);
}

static int decode(const struct buf *record, struct manifest *ret_manifest)
{
    struct rd r = slice_rd(record);
    struct err e;

    return manifest_decode(&r, ret_manifest, &e);
}

static int decode_hex(const char *hex, unsigned version, struct manifest *ret_manifest)
{
    struct buf record = {0};
    int rc;

    pack(hex, version, &record);
    rc = decode(&record, ret_manifest);
    buf_release(&record);
    return rc;
}

static void versions_1_and_2_have_their_bytes(void **state)
{
    struct manifest m;
    struct buf record = {0};
    struct buf inner = {0};
    struct err e;

    (void)state;
    make_manifest(&m);
    assert_int_equal(manifest_encode(&m, MANIFEST_V2, &record, &e), 0);
    unpack(&record, MANIFEST_V2, &inner);
    bytes_expect(&inner, version_2);
    record.len = 0;
    assert_int_equal(manifest_encode(&m, MANIFEST_V1, &record, &e), 0);
    unpack(&record, MANIFEST_V1, &inner);
    bytes_expect(&inner, version_1);
    manifest_release(&m);
    buf_release(&record);
}

static void expect_common(const struct manifest *m)
{
    assert_true(slice_eq(m->name, slice_str("name")));
    assert_int_equal(m->object_id.len, 32);
    assert_true(m->scheme.k == 2 && m->scheme.m == 1 && m->scheme.max_disks_per_node == 3);
    assert_int_equal(m->scheme.codec, MANIFEST_CODEC_SNAPPY);
    assert_int_equal(m->scheme.cipher, MANIFEST_CIPHER_AES_CTR_256);
    assert_int_equal(m->scheme.key_id[31], 0x11);
    assert_true(m->size_bytes == 90 && m->checksum.crc32c == 0xe3069283 && m->version_id == 1);
    assert_true(m->timestamp_us == 1500000000500000);
    assert_true(m->chunk_count == 2 && m->chunk_bytes[0] == 64 && m->chunk_bytes[1] == 32);
    for (uint32_t i = 0; i < 6; i++) {
        const struct manifest_fragment *f = manifest_fragment_at(m, i / 3, i % 3);

        assert_int_equal(f->has_osd, i != 5);
        assert_int_equal(f->osd_id, i != 5 ? 10 + i : 0);
        assert_int_equal(f->version, i == 1);
        assert_int_equal(f->packed_bytes, 0x100 + i);
        assert_int_equal(f->checksum.crc32c, i);
        assert_int_equal(f->has_ctr, i == 0);
    }
}

static void versions_1_and_2_are_read(void **state)
{
    struct manifest m;

    (void)state;
    assert_int_equal(decode_hex(version_2, MANIFEST_V2, &m), 0);
    expect_common(&m);
    assert_int_equal(manifest_fragment_at(&m, 0, 1)->fnr_bytes, 2);
    assert_true(m.scheme.c == 0 && m.gc_epoch == 0 && m.preset_version == -1 && !m.opaque);
    manifest_release(&m);
    assert_int_equal(decode_hex(version_1, MANIFEST_V1, &m), 0);
    expect_common(&m);
    manifest_release(&m);
}

static void trailing_fields_of_older_writers_may_be_missing(void **state)
{
    static const char fragment[] = "13 01 01 0a000000 00000000 03 00000000 00010000";
    static const char head[] = "00000000 01000000 61 01000000 10000000"
                               "01 01 01000000 00000000 01 01 01 01 1000000000000000";
    char hex[600];
    struct manifest m;

    (void)state;
    snprintf(hex, sizeof(hex), "%s 01 01000000 01000000 %s 00000000 01000000 0000000000000000",
             head, fragment);
    assert_int_equal(decode_hex(hex, MANIFEST_V2, &m), 0);
    assert_true(m.chunk_count == 1 && m.fragments[0].osd_id == 10 && !m.fragments[0].has_ctr);
    manifest_release(&m);
    snprintf(hex, sizeof(hex),
             "%s 01 01000000 01000000 01 0a000000 00000000 01 01000000 01000000 01"
             "01 01000000 01000000 05000000 00000000 01000000 0000000000000000",
             head);
    assert_int_equal(decode_hex(hex, MANIFEST_V1, &m), 0);
    assert_true(m.fragments[0].osd_id == 10 && m.fragments[0].packed_bytes == 5);
    manifest_release(&m);
}

static void make_ours(struct manifest *m)
{
    static const uint8_t tail[] = {0x05, 0x02, 'h', 'i'};

    make_manifest(m);
    m->scheme.fragment_format = 1;
    m->scheme.codec = MANIFEST_CODEC_LZ4;
    m->scheme.cipher = MANIFEST_CIPHER_XCHACHA20_POLY1305;
    m->scheme.block_bytes = 32768;
    m->fragments[0].has_ctr = false;
    memset(m->fragments[0].ctr, 0, sizeof(m->fragments[0].ctr));
    manifest_set(&m->tail, slice_of(tail, sizeof(tail)));
}

static void version_3_keeps_everything(void **state)
{
    struct manifest m;
    struct manifest copy;
    struct manifest got;
    struct buf record = {0};
    struct buf again = {0};
    struct err e;

    (void)state;
    make_ours(&m);
    manifest_copy(&copy, &m);
    manifest_release(&m);
    assert_int_equal(manifest_encode(&copy, MANIFEST_V3, &record, &e), 0);
    assert_int_equal(decode(&record, &got), 0);
    assert_true(got.scheme.c == 2 && got.scheme.fragment_format == 1);
    assert_true(got.scheme.codec == MANIFEST_CODEC_LZ4 && got.scheme.block_bytes == 32768);
    assert_int_equal(got.scheme.cipher, MANIFEST_CIPHER_XCHACHA20_POLY1305);
    assert_true(slice_eq(got.preset, slice_str("default")) && got.preset_version == 4);
    assert_true(got.gc_epoch == 6 && got.timestamp_us == 1500000000500000);
    assert_int_equal(got.tail.len, 4);
    assert_true(manifest_memory_bytes(&got) == manifest_memory_bytes(&copy));
    assert_memory_equal(got.fragments, copy.fragments, 6 * sizeof(got.fragments[0]));
    assert_int_equal(manifest_encode(&got, MANIFEST_V3, &again, &e), 0);
    assert_true(slice_eq(slice_buf(&record), slice_buf(&again)));
    manifest_release(&got);
    manifest_release(&copy);
    buf_release(&record);
    buf_release(&again);
}

/* Read for ever; written so as long as snappy packs as it did. */
static void the_stored_form_stays_as_it_is(void **state)
{
    struct manifest m;
    struct manifest got;
    struct buf record = {0};
    struct err e;

    (void)state;
    make_ours(&m);
    assert_int_equal(manifest_encode(&m, MANIFEST_V3, &record, &e), 0);
    bytes_expect_golden(&record, "manifest_v3");
    record.len = 0;
    bytes_golden(&record, "manifest_v3");
    assert_int_equal(decode(&record, &got), 0);
    assert_memory_equal(got.fragments, m.fragments, 6 * sizeof(got.fragments[0]));
    manifest_release(&got);
    manifest_release(&m);
    buf_release(&record);
}

static void every_changed_byte_of_the_stored_form_is_seen(void **state)
{
    struct manifest m;
    struct buf record = {0};

    (void)state;
    bytes_golden(&record, "manifest_v3");
    for (size_t i = 0; i < record.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            record.data[i] ^= (uint8_t)(1U << bit);
            assert_int_not_equal(decode(&record, &m), 0);
            record.data[i] ^= (uint8_t)(1U << bit);
        }
    }
    buf_release(&record);
}

static void a_field_of_a_newer_version_is_skipped_or_refused_by_its_tag(void **state)
{
    static const uint8_t must_know[] = {0x85, 0x01, 'x'};
    static const uint8_t torn[] = {0x05, 0x09, 'x'};
    struct manifest m;
    struct manifest got;
    struct buf record = {0};
    struct err e;

    (void)state;
    make_ours(&m);
    manifest_set(&m.tail, slice_of(must_know, sizeof(must_know)));
    assert_int_equal(manifest_encode(&m, MANIFEST_V3, &record, &e), 0);
    assert_int_equal(decode(&record, &got), ERR_VERSION);
    record.len = 0;
    manifest_set(&m.tail, slice_of(torn, sizeof(torn)));
    assert_int_equal(manifest_encode(&m, MANIFEST_V3, &record, &e), 0);
    assert_int_equal(decode(&record, &got), ERR_CORRUPT);
    record.data[0] = 4;
    assert_int_equal(decode(&record, &got), ERR_VERSION);
    manifest_release(&m);
    buf_release(&record);
}

static uint8_t tag_in_version_2(uint8_t format, uint8_t codec, uint8_t cipher, bool *ret_encrypted)
{
    enum { TAG_AT = 4 + 4 + 4 + 32 + 12 + 11 };
    struct manifest m;
    struct manifest got;
    struct buf record = {0};
    struct buf inner = {0};
    struct err e;
    uint8_t tag;

    make_manifest(&m);
    m.scheme.fragment_format = format;
    m.scheme.codec = codec;
    m.scheme.cipher = cipher;
    assert_int_equal(manifest_encode(&m, MANIFEST_V2, &record, &e), 0);
    unpack(&record, MANIFEST_V2, &inner);
    tag = inner.data[TAG_AT];
    *ret_encrypted = inner.data[TAG_AT + 1] == 2;
    assert_int_equal(decode(&record, &got), 0);
    assert_int_equal(got.opaque, tag >= 64);
    record.len = 0;
    assert_int_equal(manifest_encode(&got, MANIFEST_V3, &record, &e), tag >= 64 ? -EINVAL : 0);
    manifest_release(&got);
    manifest_release(&m);
    buf_release(&record);
    buf_release(&inner);
    return tag;
}

static void what_foreign_clients_cannot_decode_sends_them_to_a_proxy(void **state)
{
    static const struct {
        uint8_t format, codec, cipher, tag;
        bool encrypted;
    } cases[] = {
        {0, MANIFEST_CODEC_NONE, MANIFEST_CIPHER_NONE, 1, false},
        {0, MANIFEST_CODEC_BZIP2, MANIFEST_CIPHER_AES_CBC_256, 3, true},
        {1, MANIFEST_CODEC_NONE, MANIFEST_CIPHER_NONE, 1, false},
        {1, MANIFEST_CODEC_NONE, MANIFEST_CIPHER_AES_CTR_256, 1, true},
        {1, MANIFEST_CODEC_LZ4, MANIFEST_CIPHER_NONE, 64, false},
        {1, MANIFEST_CODEC_SNAPPY, MANIFEST_CIPHER_NONE, 127, false},
        {1, MANIFEST_CODEC_NONE, MANIFEST_CIPHER_AES_GCM_256, 127, false},
        {1, MANIFEST_CODEC_NONE, MANIFEST_CIPHER_AES_CBC_256, 127, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool encrypted;

        assert_int_equal(
            tag_in_version_2(cases[i].format, cases[i].codec, cases[i].cipher, &encrypted),
            cases[i].tag);
        assert_int_equal(encrypted, cases[i].encrypted);
    }
}

static void expect_refused(struct manifest *m)
{
    struct buf record = {0};
    struct err e;

    for (unsigned version = 1; version <= 3; version++) {
        assert_int_equal(manifest_encode(m, version, &record, &e), -EINVAL);
        assert_int_equal(record.len, 0);
    }
    buf_release(&record);
}

static void limits_are_checked_before_anything_is_written(void **state)
{
    static uint8_t long_name[MANIFEST_NAME_BYTES_MAX + 1];
    struct manifest m;

    (void)state;
    make_manifest(&m);
    m.size_bytes = 97; /* in chunks of 96 */
    expect_refused(&m);
    m.size_bytes = 90;
    m.chunk_bytes[0] = 65; /* odd, for k = 2 */
    expect_refused(&m);
    m.chunk_bytes[0] = 64;
    m.chunk_bytes[1] = 66; /* larger than the first */
    expect_refused(&m);
    m.chunk_bytes[1] = 32;
    m.scheme.c = 4; /* of 3 */
    expect_refused(&m);
    m.scheme.c = 2;
    m.fragments[3].packed_bytes = UINT32_MAX;
    expect_refused(&m);
    m.fragments[3].packed_bytes = 1;
    manifest_set(&m.name, slice_of(long_name, sizeof(long_name)));
    expect_refused(&m);
    manifest_release(&m);
}

static void a_manifest_over_the_transaction_limit_is_refused(void **state)
{
    struct manifest m;
    struct buf record = {0};
    struct err e;
    uint64_t mix = 0;

    (void)state;
    make_manifest(&m);
    manifest_alloc_chunks(&m, 30000);
    for (size_t i = 0; i < 90000; i++) {
        m.fragments[i].osd_id = ++mix * 0x9e3779b97f4a7c15ULL >> 1;
        m.fragments[i].has_osd = true;
        m.fragments[i].checksum = checksum_crc32c((uint32_t)(mix * 2654435761U));
    }
    m.size_bytes = 0;
    assert_int_equal(manifest_encode(&m, MANIFEST_V3, &record, &e), ERR_TOO_LARGE);
    assert_int_equal(manifest_encode(&m, MANIFEST_V2, &record, &e), ERR_TOO_LARGE);
    assert_int_equal(record.len, 0);
    assert_true(manifest_v3_bytes_bound(4, 7, 30000, 3, &m.fragments[0]) >
                MANIFEST_RECORD_BYTES_MAX);
    manifest_release(&m);
    buf_release(&record);
}

static void malformed_foreign_manifests_are_refused(void **state)
{
    struct manifest m;
    struct buf record = {0};
    char hex[sizeof(version_2)];

    (void)state;
    bytes_put(&record, "02 05000000 ffffffff0f"); /* a block that claims 4 GiB */
    assert_int_equal(decode(&record, &m), ERR_PROTOCOL);
    memcpy(hex, version_2, sizeof(hex));
    memcpy(strstr(hex, "01 01 02000000") + 6, "15", 2); /* k = 21 */
    assert_int_equal(decode_hex(hex, MANIFEST_V2, &m), ERR_PROTOCOL);
    memcpy(hex, version_2, sizeof(hex));
    memcpy(strstr(hex, "03000000"), "04", 2); /* 4 fragments for 2+1 */
    assert_int_equal(decode_hex(hex, MANIFEST_V2, &m), ERR_PROTOCOL);
    memcpy(hex, version_2, sizeof(hex));
    memcpy(strstr(hex, "0b5ad641"), "0b5af87f", 8); /* NaN seconds */
    assert_int_equal(decode_hex(hex, MANIFEST_V2, &m), ERR_PROTOCOL);
    memcpy(hex, version_2, sizeof(hex));
    memcpy(strstr(hex, "20000000 40000000"), "40000000 20000000", 17); /* the last is larger */
    assert_int_equal(decode_hex(hex, MANIFEST_V2, &m), ERR_PROTOCOL);
    buf_release(&record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_1_and_2_have_their_bytes),
        cmocka_unit_test(versions_1_and_2_are_read),
        cmocka_unit_test(trailing_fields_of_older_writers_may_be_missing),
        cmocka_unit_test(version_3_keeps_everything),
        cmocka_unit_test(the_stored_form_stays_as_it_is),
        cmocka_unit_test(every_changed_byte_of_the_stored_form_is_seen),
        cmocka_unit_test(a_field_of_a_newer_version_is_skipped_or_refused_by_its_tag),
        cmocka_unit_test(what_foreign_clients_cannot_decode_sends_them_to_a_proxy),
        cmocka_unit_test(limits_are_checked_before_anything_is_written),
        cmocka_unit_test(a_manifest_over_the_transaction_limit_is_refused),
        cmocka_unit_test(malformed_foreign_manifests_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
