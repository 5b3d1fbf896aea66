/* Stored forms: what version 1 wrote is read for ever; damaged bytes are told, never believed. */
#include "unit/meta/fixture.h"

#include "base/clock.h"
#include "base/hex.h"
#include "base/rnd.h"
#include "meta/ns_keys.h"
#include "meta/registry_record.h"
#include "meta/volume_record.h"

enum { LINE_MAX_BYTES = 16384 };

struct stored {
    struct slice key, value; /* owned */
};

/* "<hex key> <hex value>" lines; # begins a comment. */
static size_t load_golden(const char *name, struct stored *ret_items, size_t max)
{
    char *path = mem_printf("%s/meta/%s", GOLDEN_DIR, name);
    char *line = mem_alloc(LINE_MAX_BYTES);
    FILE *file = fopen(path, "r");
    size_t count = 0;

    assert_non_null(file);
    while (fgets(line, LINE_MAX_BYTES, file) != NULL && count < max) {
        char *space = strchr(line, ' ');
        size_t key_bytes, value_bytes;
        uint8_t *key, *value;

        if (line[0] == '#') {
            continue;
        }
        assert_non_null(space);
        *space = '\0';
        space[1 + strcspn(space + 1, "\n")] = '\0';
        key_bytes = strlen(line) / 2;
        value_bytes = strlen(space + 1) / 2;
        key = mem_alloc(key_bytes + 1);
        value = mem_alloc(value_bytes + 1);
        assert_int_equal(hex_decode(key, key_bytes, line), 0);
        assert_int_equal(hex_decode(value, value_bytes, space + 1), 0);
        ret_items[count++] =
            (struct stored){.key = slice_of(key, key_bytes), .value = slice_of(value, value_bytes)};
    }
    fclose(file);
    free(line);
    free(path);
    return count;
}

static void release(struct stored *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        slice_release(&items[i].key);
        slice_release(&items[i].value);
    }
}

static bool starts(struct slice s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.data, prefix, strlen(prefix)) == 0;
}

/* Decode by kind, as the programs do. */
static int decode(struct slice key, struct slice value, struct err *e)
{
    struct slice tail = reg_key_tail(key);
    struct registry_volume volume;
    struct manifest m;
    struct record *record;
    struct rd payload;
    uint8_t commit[NS_COMMIT_ID_BYTES];
    int64_t time_us;
    json_t *json;
    int rc;

    for (int kind = 0; kind < RECORD_KINDS; kind++) {
        if (starts(tail, record_prefix((enum record_kind)kind))) {
            rc = record_parse((enum record_kind)kind, key, value, &record, e);
            if (rc == 0) {
                record_drop(record);
            }
            return rc;
        }
    }
    if (starts(tail, REG_VOLUME)) {
        rc = volume_parse(key, value, &volume, e);
        if (rc == 0) {
            registry_volume_release(&volume);
        }
        return rc;
    }
    if (tail.len != 0) {
        rc = value_open_json(key, value, &json, e);
        if (rc == 0) {
            json_decref(json);
        }
        return rc;
    }
    switch (key.len > ns_key_prefix_bytes() ? key.data[ns_key_prefix_bytes() - 2] : 0) {
    case 'o':
        rc = ns_value_manifest_open(
            key, value, slice_of(key.data + ns_key_prefix_bytes(), key.len - ns_key_prefix_bytes()),
            &m, e);
        break;
    case 'x':
        rc = ns_value_obsolete_open(key, value, commit, &time_us, &m, e);
        break;
    default:
        return value_open(key, value, &payload, e);
    }
    if (rc == 0) {
        manifest_release(&m);
    }
    return rc;
}

static void what_version_1_wrote_is_read(void **state)
{
    struct stored items[64];
    size_t count = load_golden("v1.txt", items, 64);
    struct err e;
    size_t objects = 0;

    (void)state;
    assert_true(count > 20);
    for (size_t i = 0; i < count; i++) {
        if (decode(items[i].key, items[i].value, &e) != 0) {
            fail_msg("line %zu: %s", i, e.msg);
        }
        objects += starts(items[i].key, "/alba/v1/ns/") &&
                   items[i].key.data[ns_key_prefix_bytes() - 2] == 'o';
    }
    assert_int_equal(objects, 1);
    release(items, count);
}

static void any_changed_byte_is_told(void **state)
{
    struct stored items[64];
    size_t count = load_golden("v1.txt", items, 64);
    struct err e;

    (void)state;
    for (size_t i = 0; i < count; i++) {
        uint8_t *value = (uint8_t *)(uintptr_t)items[i].value.data;
        uint8_t *key = (uint8_t *)(uintptr_t)items[i].key.data;
        int rc;

        for (size_t at = 0; at < items[i].value.len; at++) {
            value[at] ^= 0x10;
            rc = decode(items[i].key, items[i].value, &e);
            assert_int_equal(rc, ERR_CORRUPT);
            value[at] ^= 0x10;
        }
        for (size_t bytes = 0; bytes < items[i].value.len; bytes++) {
            rc = decode(items[i].key, slice_of(value, bytes), &e);
            assert_int_equal(rc, ERR_CORRUPT);
        }
        key[items[i].key.len - 1] ^= 1; /* the value of another key */
        assert_int_not_equal(decode(items[i].key, items[i].value, &e), 0);
        key[items[i].key.len - 1] ^= 1;
    }
    release(items, count);
}

/* Behind a good checksum may stand anything, too: a writer's mistake must not crash readers. */
static void nonsense_behind_a_good_checksum_is_told_or_harmless(void **state)
{
    static const char *const payloads[] = {"",
                                           "{}",
                                           "[]",
                                           "null",
                                           "1",
                                           "\"x\"",
                                           "{\"id\":-1}",
                                           "{\"id\":\"x\",\"ips\":[],\"name\":3}",
                                           "{\"ips\":[1],\"long_id\":\"x\",\"port\":99999}"};
    struct stored items[64];
    size_t count = load_golden("v1.txt", items, 64);
    uint64_t seed = clock_mono_ns();
    struct rnd rnd = rnd_seed(seed);
    struct err e;

    (void)state;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (size_t i = 0; i < count; i++) {
        for (size_t p = 0; p < sizeof(payloads) / sizeof(payloads[0]); p++) {
            struct buf value = {0};

            value_make(&value, items[i].key, text(payloads[p]));
            decode(items[i].key, slice_buf(&value), &e);
            buf_release(&value);
        }
        for (int n = 0; n < 200; n++) {
            struct slice payload = slice_of(items[i].value.data + VALUE_HEAD_BYTES,
                                            items[i].value.len - VALUE_HEAD_BYTES);
            uint8_t *changed = mem_alloc(payload.len + 1);
            struct buf value = {0};

            memcpy(changed, payload.data, payload.len);
            for (int k = 0; k < 3 && payload.len != 0; k++) {
                changed[rnd_below(&rnd, payload.len)] = (uint8_t)rnd_next(&rnd);
            }
            value_make(&value, items[i].key,
                       slice_of(changed, (size_t)rnd_below(&rnd, payload.len + 1)));
            decode(items[i].key, slice_buf(&value), &e);
            buf_release(&value);
            free(changed);
        }
    }
    release(items, count);
}

static void keys_sort_as_their_numbers_and_stay_in_their_prefix(void **state)
{
    struct key a, b, end;

    (void)state;
    ns_key_epoch(&a, 7, 255);
    ns_key_epoch(&b, 7, 256);
    assert_true(slice_cmp(slice_key(&a), slice_key(&b)) < 0);
    ns_key_epoch(&a, UINT64_MAX, UINT64_MAX);
    ns_key_root(&end, UINT64_MAX, 'e');
    key_prefix_end(&end);
    assert_true(slice_cmp(slice_key(&a), slice_key(&end)) < 0);
    ns_key_root(&b, UINT64_MAX, 'f');
    assert_true(slice_cmp(slice_key(&end), slice_key(&b)) < 0);
    ns_key_info(&a, 3);
    assert_int_equal(a.data[a.len - 1], 'i');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_version_1_wrote_is_read),
        cmocka_unit_test(any_changed_byte_is_told),
        cmocka_unit_test(nonsense_behind_a_good_checksum_is_told_or_harmless),
        cmocka_unit_test(keys_sort_as_their_numbers_and_stay_in_their_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
