/* Keys and records of the index as bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/home.h"
#include "asd/record.h"
#include "base/crc32c.h"
#include "base/hex.h"
#include "base/mem.h"
#include "base/rnd.h"

/* ---- golden bytes: tests/golden/asd/records_v1.txt, "<name> <key> <record>" in hex ---- */

struct sample {
    const char *name;
    struct buf key;
    struct buf record;
};

enum { SAMPLES = 9 };

static const uint8_t store_id[ASD_STORE_ID_BYTES] = {1, 2,  3,  4,  5,  6,  7,  8,
                                                     9, 10, 11, 12, 13, 14, 15, 16};

static void put_internal(struct sample *s, struct asd_internal_key key)
{
    buf_put(&s->key, key.data, key.len);
}

static struct sample value_sample(const char *name, struct asd_value_record r)
{
    struct sample s = {.name = name};

    asd_key_value_put(&s.key, slice_str("some key"));
    asd_value_record_put(&s.record, slice_buf(&s.key), &r);
    buf_put(&s.record, r.value.data, r.value.len);
    return s;
}

static void make_samples(struct sample *s)
{
    struct asd_store_record store;
    struct asd_usage_record usage = {.used_bytes = 123456789, .next_slab = 7, .commit = 99};
    struct asd_slab_record slab = {
        .size_bytes = 1 << 20, .tail = 40960, .live_bytes = 20480, .sealed = true};
    struct asd_free_record free_record = {.bytes = 20480};
    struct asd_name_record name = {.client_key = slice_str("some key")};
    struct checksum sha1 = {.algo = CHECKSUM_SHA1};

    memset(s, 0, SAMPLES * sizeof(*s));
    memcpy(store.store_id, store_id, sizeof(store_id));
    memset(sha1.sha1, 0xab, sizeof(sha1.sha1));
    s[0].name = "store";
    put_internal(&s[0], asd_key_of(ASD_KEY_STORE));
    asd_store_record_put(&s[0].record, slice_buf(&s[0].key), &store);
    s[1].name = "usage";
    put_internal(&s[1], asd_key_of(ASD_KEY_USAGE));
    asd_usage_record_put(&s[1].record, slice_buf(&s[1].key), &usage);
    s[2].name = "slab";
    put_internal(&s[2], asd_key_slab(6));
    asd_slab_record_put(&s[2].record, slice_buf(&s[2].key), &slab);
    s[3].name = "free";
    put_internal(&s[3], asd_key_free(6, 8192));
    asd_free_record_put(&s[3].record, slice_buf(&s[3].key), &free_record);
    s[4] = value_sample("value_inline", (struct asd_value_record){.assertable = true,
                                                                  .checksum = checksum_none(),
                                                                  .bytes = 5,
                                                                  .crc = crc32c(0, "hello", 5),
                                                                  .value = slice_str("hello")});
    s[5] = value_sample("value_in_slab",
                        (struct asd_value_record){.in_slab = true,
                                                  .checksum = checksum_crc32c(0xe3069283),
                                                  .bytes = 20000,
                                                  .crc = 0x12345678,
                                                  .slab = 6,
                                                  .offset = 8192});
    s[6] = value_sample("value_sha1", (struct asd_value_record){.checksum = sha1});
    s[7].name = "name";
    put_internal(&s[7], asd_key_name(6, 8192));
    asd_name_record_put(&s[7].record, slice_buf(&s[7].key), &name);
    s[8].name = "identity";
    struct asd_home home = {.asd_id = (char *)(uintptr_t) "asd_1",
                            .node_id = (char *)(uintptr_t) "node 7"};
    memcpy(home.store_id, store_id, sizeof(store_id));
    asd_identity_encode(&s[8].record, &home);
}

static void release_samples(struct sample *s)
{
    for (unsigned i = 0; i < SAMPLES; i++) {
        buf_release(&s[i].key);
        buf_release(&s[i].record);
    }
}

static char *hex_of(const struct buf *b)
{
    char *text = mem_zalloc(2 * b->len + 1);

    hex_encode(text, b->data, b->len);
    return text;
}

static void records_have_the_bytes_of_the_golden_file(void **state)
{
    struct sample samples[SAMPLES];
    char line[4096];
    unsigned n = 0;
    FILE *file = fopen(GOLDEN_DIR "/asd/records_v1.txt", "r");

    (void)state;
    assert_non_null(file);
    make_samples(samples);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *key;
        char *record;
        char *expected;

        if (line[0] == '#') {
            continue;
        }
        assert_true(n < SAMPLES);
        key = hex_of(&samples[n].key);
        record = hex_of(&samples[n].record);
        expected = mem_printf("%s %s %s\n", samples[n].name, key[0] != 0 ? key : "-", record);
        assert_string_equal(line, expected);
        free(key);
        free(record);
        free(expected);
        n++;
    }
    fclose(file);
    assert_int_equal(n, SAMPLES);
    release_samples(samples);
}

static void a_slab_header_has_the_checksum_of_the_golden_file(void **state)
{
    struct asd_slab_header h = {.number = 6, .size_bytes = 1 << 20};
    uint8_t data[ASD_SLAB_HEADER_BYTES];
    struct asd_slab_header back;
    struct err e;

    (void)state;
    memcpy(h.store_id, store_id, sizeof(store_id));
    asd_slab_header_encode(data, &h);
    assert_memory_equal(data, "ALBASLAB", 8);
    assert_int_equal(get_u32le(data + 8), 1);
    assert_int_equal(get_u64le(data + 32), 6);
    assert_int_equal(get_u32le(data + 4092), crc32c(0, data, 4092));
    assert_int_equal(asd_slab_header_decode(data, &back, &e), 0);
    assert_int_equal(back.number, h.number);
    assert_int_equal(back.size_bytes, h.size_bytes);
    assert_memory_equal(back.store_id, store_id, sizeof(store_id));
    data[8] = 2;
    assert_int_equal(asd_slab_header_decode(data, &back, &e), ERR_VERSION);
    data[8] = 1;
    data[100] = 1;
    assert_int_equal(asd_slab_header_decode(data, &back, &e), ERR_CORRUPT);
}

/* ---- reading back ---- */

static int decode(const struct sample *s, struct slice key, struct slice record)
{
    struct err e;
    struct asd_home home = {0};
    union {
        struct asd_store_record store;
        struct asd_usage_record usage;
        struct asd_slab_record slab;
        struct asd_free_record free_record;
        struct asd_name_record name;
        struct asd_value_record value;
    } r;
    int rc;

    switch (s->name[0] == 's' ? s->name[1] : s->name[0]) {
    case 't':
        return asd_store_record_get(key, record, &r.store, &e);
    case 'u':
        return asd_usage_record_get(key, record, &r.usage, &e);
    case 'l':
        return asd_slab_record_get(key, record, &r.slab, &e);
    case 'f':
        return asd_free_record_get(key, record, &r.free_record, &e);
    case 'n':
        return asd_name_record_get(key, record, &r.name, &e);
    case 'v':
        return asd_value_record_get(key, record, &r.value, &e);
    default:
        rc = asd_identity_decode(record, &home, &e);
        asd_home_release(&home);
        return rc;
    }
}

static void any_changed_bit_or_missing_byte_is_noticed(void **state)
{
    struct sample samples[SAMPLES];

    (void)state;
    make_samples(samples);
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct sample *s = &samples[i];
        size_t checked = s->record.len;

        assert_int_equal(decode(s, slice_buf(&s->key), slice_buf(&s->record)), 0);
        if (strcmp(s->name, "value_inline") == 0) {
            checked -= 5; /* the value has its own checksum, which its reader compares */
        }
        for (size_t bit = 0; bit < checked * 8; bit++) {
            s->record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(decode(s, slice_buf(&s->key), slice_buf(&s->record)), 0);
            s->record.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t len = 0; len < s->record.len; len++) {
            /* A copy of that length, so that the sanitizer sees a read behind it. */
            uint8_t *cut = mem_dup(s->record.data, len);

            assert_int_not_equal(decode(s, slice_buf(&s->key), slice_of(cut, len)), 0);
            free(cut);
        }
    }
    release_samples(samples);
}

static void a_record_under_another_key_is_noticed(void **state)
{
    struct sample samples[SAMPLES];

    (void)state;
    make_samples(samples);
    for (unsigned i = 0; i + 1 < SAMPLES; i++) {
        struct sample *s = &samples[i];

        s->key.data[s->key.len - 1] ^= 1;
        assert_int_equal(decode(s, slice_buf(&s->key), slice_buf(&s->record)), ERR_CORRUPT);
    }
    release_samples(samples);
}

static void a_newer_version_is_refused_by_name(void **state)
{
    struct sample samples[SAMPLES];

    (void)state;
    make_samples(samples);
    for (unsigned i = 0; i < SAMPLES; i++) {
        struct sample *s = &samples[i];

        s->record.data[strcmp(s->name, "identity") == 0 ? 8 : 0] = 2;
        assert_int_equal(decode(s, slice_buf(&s->key), slice_buf(&s->record)), ERR_VERSION);
    }
    release_samples(samples);
}

static void value_records_survive_the_round_trip(void **state)
{
    uint64_t seed = 42;
    struct rnd rnd = rnd_seed(seed);

    (void)state;
    for (unsigned i = 0; i < 2000; i++) {
        struct asd_value_record in = {.in_slab = rnd_below(&rnd, 2) != 0,
                                      .assertable = rnd_below(&rnd, 2) != 0,
                                      .crc = (uint32_t)rnd_next(&rnd),
                                      .bytes = (uint32_t)(1 + rnd_below(&rnd, 300)),
                                      .slab = rnd_next(&rnd),
                                      .offset = (1 + rnd_below(&rnd, 1 << 20)) * 4096};
        struct asd_value_record out;
        uint8_t value[300];
        struct sample s;
        struct err e;

        rnd_bytes(value, sizeof(value));
        in.checksum.algo = (uint8_t)(1 + rnd_below(&rnd, 3));
        memset(in.checksum.sha1, in.checksum.algo == CHECKSUM_SHA1 ? 0x5a : 0, 20);
        in.checksum.crc32c = in.checksum.algo == CHECKSUM_CRC32C ? (uint32_t)rnd_next(&rnd) : 0;
        in.value = in.in_slab ? slice_of(NULL, 0) : slice_of(value, in.bytes);
        s = value_sample("value", in);
        assert_int_equal(asd_value_record_get(slice_buf(&s.key), slice_buf(&s.record), &out, &e),
                         0);
        assert_int_equal(out.in_slab, in.in_slab);
        assert_int_equal(out.assertable, in.assertable);
        assert_int_equal(out.crc, in.crc);
        assert_int_equal(out.bytes, in.bytes);
        assert_true(checksum_eq(&out.checksum, &in.checksum));
        assert_true(slice_eq(out.value, in.value));
        if (in.in_slab) {
            assert_int_equal(out.slab, in.slab);
            assert_int_equal(out.offset, in.offset);
        }
        buf_release(&s.key);
        buf_release(&s.record);
    }
}

static void internal_keys_sort_by_slab_and_offset(void **state)
{
    struct asd_internal_key a = asd_key_free(1, 0x1ff000);
    struct asd_internal_key b = asd_key_free(1, 0x200000);
    struct asd_internal_key c = asd_key_free(256, 4096);
    uint64_t slab;
    uint64_t offset;
    struct err e;

    (void)state;
    assert_true(slice_cmp(asd_internal_slice(&a), asd_internal_slice(&b)) < 0);
    assert_true(slice_cmp(asd_internal_slice(&b), asd_internal_slice(&c)) < 0);
    assert_int_equal(asd_key_free_parse(asd_internal_slice(&c), &slab, &offset, &e), 0);
    assert_int_equal(slab, 256);
    assert_int_equal(offset, 4096);
    assert_int_equal(asd_key_slab_parse(asd_internal_slice(&c), &slab, &e), ERR_CORRUPT);
    assert_int_equal(asd_key_name_parse(asd_internal_slice(&c), &slab, &offset, &e), ERR_CORRUPT);
    c = asd_key_name(7, 8192);
    assert_int_equal(asd_key_name_parse(asd_internal_slice(&c), &slab, &offset, &e), 0);
    assert_int_equal(slab, 7);
    assert_int_equal(offset, 8192);
}

/* With an argument: print the golden file. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_have_the_bytes_of_the_golden_file),
        cmocka_unit_test(a_slab_header_has_the_checksum_of_the_golden_file),
        cmocka_unit_test(any_changed_bit_or_missing_byte_is_noticed),
        cmocka_unit_test(a_record_under_another_key_is_noticed),
        cmocka_unit_test(a_newer_version_is_refused_by_name),
        cmocka_unit_test(value_records_survive_the_round_trip),
        cmocka_unit_test(internal_keys_sort_by_slab_and_offset),
    };

    (void)argv;
    if (argc > 1) {
        struct sample samples[SAMPLES];

        make_samples(samples);
        puts("# asd/FORMAT.md, version 1: name, index key, record");
        for (unsigned i = 0; i < SAMPLES; i++) {
            char *key = hex_of(&samples[i].key);
            char *record = hex_of(&samples[i].record);

            printf("%s %s %s\n", samples[i].name, key[0] != 0 ? key : "-", record);
            free(key);
            free(record);
        }
        release_samples(samples);
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
