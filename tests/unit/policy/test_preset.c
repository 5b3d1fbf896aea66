#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/seed.h"
#include "policy/preset.h"

/* All keys, as another implementation of create-preset would send them. */
static const char full_text[] =
    "{\"policies\": [[5,4,8,3],[2,2,3,4]], \"fragment_size\": 1048576, \"osds\": [\"all\"],"
    " \"compression\": \"lz4\", \"fragment_checksum\": [\"crc-32c\"],"
    " \"object_checksum\": {\"allowed\": [[\"none\"],[\"sha-1\"],[\"crc-32c\"]],"
    " \"default\": [\"crc-32c\"], \"verify_upload\": true},"
    " \"fragment_encryption\": [\"none\"], \"name\": \"default\", \"is_default\": false,"
    " \"in_use\": true, \"version\": -1}";

static void assert_same(const struct preset *a, const struct preset *b)
{
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->policy_count, b->policy_count);
    assert_memory_equal(a->policies, b->policies, a->policy_count * sizeof(a->policies[0]));
    assert_int_equal(a->fragment_bytes, b->fragment_bytes);
    assert_int_equal(a->codec, b->codec);
    assert_int_equal(a->fragment_checksum, b->fragment_checksum);
    assert_int_equal(a->cipher, b->cipher);
    assert_memory_equal(a->key_id, b->key_id, sizeof(a->key_id));
    assert_int_equal(a->osds_explicit, b->osds_explicit);
    assert_int_equal(a->osd_id_count, b->osd_id_count);
    if (a->osd_id_count != 0) {
        assert_memory_equal(a->osd_ids, b->osd_ids, a->osd_id_count * sizeof(a->osd_ids[0]));
    }
    assert_int_equal(a->object_checksums_allowed, b->object_checksums_allowed);
    assert_int_equal(a->object_checksum, b->object_checksum);
    assert_int_equal(a->verify_upload, b->verify_upload);
    assert_int_equal(a->max_per_datacenter, b->max_per_datacenter);
    assert_int_equal(a->is_default, b->is_default);
    assert_int_equal(a->in_use, b->in_use);
    assert_true(a->version == b->version);
}

static void assert_reads_back(const struct preset *p)
{
    json_t *object = preset_to_json(p);
    char *text = json_dumps(object, JSON_COMPACT);
    struct preset again;
    struct err e;

    assert_int_equal(preset_from_text(&again, text, strlen(text), &e), 0);
    assert_same(&again, p);
    preset_release(&again);
    json_decref(object);
    free(text);
}

/* The preset whose JSON is {"policies": …, <more>}. */
static int read_with(struct preset *ret_preset, const char *more, struct err *e)
{
    char *text = mem_printf("{\"policies\": [[4,2,5,2]]%s%s}", *more != '\0' ? ", " : "", more);
    int rc = preset_from_text(ret_preset, text, strlen(text), e);

    free(text);
    return rc;
}

static void assert_refused(const char *more, const char *message)
{
    struct preset p;
    struct err e;

    assert_int_equal(read_with(&p, more, &e), ERR_CONFIG);
    assert_string_equal(e.msg, message);
}

static void the_full_json_is_the_default_preset(void **state)
{
    struct preset p, expected;
    struct err e;

    (void)state;
    assert_int_equal(preset_from_text(&p, full_text, sizeof(full_text) - 1, &e), 0);
    preset_init_default(&expected);
    assert_same(&p, &expected);
    preset_release(&p);
    preset_release(&expected);
}

static void built_in_presets_are_valid_and_read_back(void **state)
{
    struct preset p, copy;
    struct err e;

    (void)state;
    preset_init_default(&p);
    assert_int_equal(preset_validate(&p, &e), 0);
    assert_reads_back(&p);
    preset_release(&p);

    preset_init_volumes(&p, "volumes");
    assert_int_equal(preset_validate(&p, &e), 0);
    assert_int_equal(p.policies[2].min_fragments, 4);
    assert_int_equal(p.fragment_bytes, 4194304);
    assert_reads_back(&p);
    preset_copy(&copy, &p);
    preset_set_name(&p, "other");
    assert_string_equal(copy.name, "volumes");
    preset_release(&p);
    preset_release(&copy);
    preset_release(&copy); /* {0} is fine */
}

static void only_policies_must_be_given(void **state)
{
    struct preset p, standard;
    struct err e;

    (void)state;
    assert_int_equal(read_with(&p, "", &e), 0);
    preset_init_default(&standard);
    preset_set_name(&standard, "");
    standard.policies[0] = (struct preset_policy){4, 2, 5, 2};
    standard.policy_count = 1;
    assert_same(&p, &standard);
    preset_release(&p);
    preset_release(&standard);

    assert_int_equal(preset_from_text(&p, "{}", 2, &e), ERR_CONFIG);
    assert_string_equal(e.msg, "preset: policies is missing: bad configuration");
}

static void every_field_is_read_and_written(void **state)
{
    struct preset p;
    struct err e;

    (void)state;
    assert_int_equal(
        read_with(&p,
                  "\"fragment_size\": 8192, \"osds\": [\"explicit\", [7, 3, 12]],"
                  "\"compression\": \"none\", \"max_per_datacenter\": 3, \"name\": \"g\\u00f6ld\","
                  "\"object_checksum\": {\"allowed\": [[\"sha-1\"]], \"default\": [\"sha-1\"],"
                  "\"verify_upload\": false}, \"is_default\": true, \"in_use\": false,"
                  "\"version\": 41",
                  &e),
        0);
    assert_int_equal(p.fragment_bytes, 8192);
    assert_int_equal(p.codec, COMPRESS_NONE);
    assert_true(preset_allows_osd(&p, 3) && preset_allows_osd(&p, 12));
    assert_false(preset_allows_osd(&p, 4));
    assert_int_equal(p.max_per_datacenter, 3);
    assert_false(preset_allows_checksum(&p, PRESET_CHECKSUM_CRC32C));
    assert_true(preset_allows_checksum(&p, PRESET_CHECKSUM_SHA1));
    assert_false(p.verify_upload || p.in_use);
    assert_true(p.is_default && p.version == 41);
    assert_reads_back(&p);
    preset_release(&p);

    assert_int_equal(read_with(&p, "\"osds\": [\"explicit\", []]", &e), 0);
    assert_false(preset_allows_osd(&p, 0));
    assert_reads_back(&p);
    preset_release(&p);
}

static void unknown_keys_are_refused_with_the_nearest_known_one(void **state)
{
    (void)state;
    assert_refused("\"fragment_sise\": 1", "preset: unknown key 'fragment_sise', did you mean "
                                           "'fragment_size'?: bad configuration");
    assert_refused("\"Compression\": 1", "preset: unknown key 'Compression', did you mean "
                                         "'compression'?: bad configuration");
    assert_refused("\"max_per_data_center\": 1",
                   "preset: unknown key 'max_per_data_center', did you mean "
                   "'max_per_datacenter'?: bad configuration");
    assert_refused("\"zzzzzzzzzzzzz\": 1",
                   "preset: unknown key 'zzzzzzzzzzzzz': bad configuration");
    assert_refused("\"\": 1", "preset: unknown key '': bad configuration");
    assert_refused("\"a_key_that_is_much_longer_than_any_we_ever_had_in_here\": 1",
                   "preset: unknown key 'a_key_that_is_much_longer_than_any_we_ev': "
                   "bad configuration");
    assert_refused("\"object_checksum\": {\"verify\": true}",
                   "preset: object_checksum: unknown key 'verify', did you mean 'verify_upload'?: "
                   "bad configuration");
}

static void ciphers_name_the_id_of_their_key(void **state)
{
    static const char *const ciphers[] = {"xchacha20-poly1305", "aes-256-gcm", "aes-ctr-256"};
    const char *id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    struct preset p;
    struct err e;

    (void)state;
    for (int i = 0; i < 3; i++) {
        char *more = mem_printf("\"fragment_encryption\": [\"%s\", \"%s\"]", ciphers[i], id);

        assert_int_equal(read_with(&p, more, &e), 0);
        assert_string_equal(cipher_name(p.cipher), ciphers[i]);
        assert_int_equal(p.key_id[1], 0x11);
        assert_int_equal(p.key_id[31], 0xff);
        assert_reads_back(&p);
        preset_release(&p);
        free(more);
    }
}

/* What stands there may be a key: it is not repeated. */
static void what_is_no_key_id_is_refused_and_not_told(void **state)
{
    static const char *const bad[] = {
        "[\"aes-256-gcm\"]",
        "[\"aes-256-gcm\", \"/etc/secret\"]",
        "[\"aes-256-gcm\", 5]",
        "[\"aes-256-gcm\", \"00112233445566778899aabbccddeeff\"]",
        "[\"aes-256-gcm\", \"secret112233445566778899aabbccddeeff00112233445566778899aabbccdd\"]",
        "[\"none\", \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"]"};
    struct preset p;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *more = mem_printf("\"fragment_encryption\": %s", bad[i]);

        assert_int_equal(read_with(&p, more, &e), ERR_CONFIG);
        assert_non_null(strstr(e.msg, "a key's id of 64 hex digits"));
        assert_null(strstr(e.msg, "secret"));
        free(more);
    }
}

#define KEY_ID "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\""

static void codecs_and_ciphers_we_do_not_have_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused("\"compression\": \"test\"",
                   "preset: compression = \"test\" is not supported, accepted: \"none\", "
                   "\"lz4\", \"snappy\", \"bz2\": bad configuration");
    assert_refused("\"fragment_encryption\": [\"rot13\", \"/etc/secret.key\"]",
                   "preset: fragment_encryption = [\"rot13\"] is not supported, accepted: "
                   "[\"none\"], [\"xchacha20-poly1305\", key], [\"aes-256-gcm\", key], "
                   "[\"aes-ctr-256\", key], [\"aes-cbc-256\", key]");
    assert_refused(
        "\"compression\": \"lz4\", \"fragment_encryption\": [\"aes-cbc-256\", " KEY_ID "]",
        "preset: compression = \"lz4\" and fragment_encryption = [\"aes-cbc-256\"] do not "
        "go together: aes-cbc-256 wants none, snappy or bz2; these two none, "
        "aes-ctr-256 or aes-cbc-256");
    assert_refused(
        "\"compression\": \"bz2\", \"fragment_encryption\": [\"aes-256-gcm\", " KEY_ID "]",
        "preset: compression = \"bz2\" and fragment_encryption = [\"aes-256-gcm\"] do not "
        "go together: aes-cbc-256 wants none, snappy or bz2; these two none, "
        "aes-ctr-256 or aes-cbc-256");
    assert_refused("\"fragment_checksum\": [\"none\"]",
                   "preset: fragment_checksum = [\"none\"] is not supported, accepted: "
                   "[\"sha-1\"], [\"crc-32c\"]: bad configuration");
}

/* As programs of older software write them. */
static void presets_for_interchange_are_of_format_0(void **state)
{
    static const struct {
        const char *more;
        unsigned format;
        enum compress_codec codec;
        enum preset_checksum sum;
    } cases[] = {
        {"\"compression\": \"snappy\"", 0, COMPRESS_SNAPPY, PRESET_CHECKSUM_CRC32C},
        {"\"compression\": \"bz2\", \"fragment_checksum\": [\"sha-1\"], \"fragment_size\": 100", 0,
         COMPRESS_BZIP2, PRESET_CHECKSUM_SHA1},
        {"\"compression\": \"none\", \"fragment_checksum\": [\"sha-1\"]", 1, COMPRESS_NONE,
         PRESET_CHECKSUM_SHA1},
        {"\"compression\": \"lz4\"", 1, COMPRESS_LZ4, PRESET_CHECKSUM_CRC32C},
        {"\"compression\": \"none\", \"fragment_encryption\": [\"aes-cbc-256\", " KEY_ID "]", 0,
         COMPRESS_NONE, PRESET_CHECKSUM_CRC32C},
        {"\"compression\": \"snappy\", \"fragment_encryption\": [\"aes-ctr-256\", " KEY_ID "]", 0,
         COMPRESS_SNAPPY, PRESET_CHECKSUM_CRC32C},
        {"\"compression\": \"none\", \"fragment_encryption\": [\"aes-ctr-256\", " KEY_ID "]", 1,
         COMPRESS_NONE, PRESET_CHECKSUM_CRC32C},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct preset p;
        struct err e;

        assert_int_equal(read_with(&p, cases[i].more, &e), 0);
        assert_int_equal(preset_fragment_format(&p), cases[i].format);
        assert_int_equal(p.codec, cases[i].codec);
        assert_int_equal(p.fragment_checksum, cases[i].sum);
        assert_reads_back(&p);
        preset_release(&p);
    }
}

static void values_out_of_range_are_named(void **state)
{
    (void)state;
    assert_refused("\"fragment_size\": 4095", "preset: fragment_size = 4095, must be a multiple "
                                              "of 4096, at most 67108864: bad configuration");
    assert_refused("\"compression\": \"snappy\", \"fragment_size\": 15",
                   "preset: fragment_size = 15, must be 16 to 67108864: bad configuration");
    assert_refused("\"fragment_size\": 67112960", "preset: fragment_size = 67112960, must be an "
                                                  "integer from 1 to 67108864: "
                                                  "bad configuration");
    assert_refused("\"fragment_size\": 5000", "preset: fragment_size = 5000, must be a multiple "
                                              "of 4096, at most 67108864: bad configuration");
    assert_refused("\"fragment_size\": \"1\"", "preset: fragment_size = \"1\", must be an integer "
                                               "from 1 to 67108864: bad configuration");
    assert_refused("\"osds\": [\"explicit\", [1, 2, 1]]",
                   "preset: osds: id 1 is there twice: bad configuration");
    assert_refused("\"osds\": [\"explicit\", [-1]]",
                   "preset: osds = -1, must be an integer from 0 to 9223372036854775807: "
                   "bad configuration");
    assert_refused("\"osds\": [\"some\"]",
                   "preset: osds = [\"some\"] is not supported, accepted: [\"all\"], "
                   "[\"explicit\", [osd ids]]: bad configuration");
    assert_refused("\"object_checksum\": {\"allowed\": [[\"sha-1\"]]}",
                   "preset: object_checksum.default is not among the allowed ones: "
                   "bad configuration");
    assert_refused("\"object_checksum\": {\"allowed\": []}",
                   "preset: object_checksum.allowed is empty: bad configuration");
    assert_refused("\"is_default\": 1", "preset: is_default = 1 is not supported, accepted: true, "
                                        "false: bad configuration");
}

static void policies_out_of_range_are_named(void **state)
{
    static const struct {
        const char *policies;
        const char *message;
    } cases[] = {
        {"[[0,2,2,2]]", "policies[0]: k = 0, must be 1 to 20"},
        {"[[21,2,22,2]]", "policies[0]: k = 21, must be 1 to 20"},
        {"[[4,2,6,2],[4,9,6,2]]", "policies[1]: m = 9, must be 0 to 8"},
        {"[[4,2,3,2]]", "policies[0]: min_fragment_count = 3, must be k to k + m (4 to 6)"},
        {"[[4,2,7,2]]", "policies[0]: min_fragment_count = 7, must be k to k + m (4 to 6)"},
        {"[[4,2,6,0]]", "policies[0]: max_disks_per_node = 0, must be 1 to 65535"},
        {"[[4,2,6,-1]]", "policies[0] = -1, must be an integer from 0 to 2147483647"},
        {"[[4,2,6,1.5]]", "policies[0] = 1.5, must be an integer from 0 to 2147483647"},
        {"[[4,2,6]]",
         "policies[0] = [4,2,6], must be [k, m, min_fragment_count, max_disks_per_node]"},
        {"[]", "policies = [] is not supported, accepted: an array of 1 to 16 policies"},
        {"{}", "policies = {} is not supported, accepted: an array of 1 to 16 policies"},
        {"[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
         "policies = [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] is not supported, accepted: an array "
         "of 1 to 16 policies"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *text = mem_printf("{\"policies\": %s}", cases[i].policies);
        char *message = mem_printf("preset: %s: bad configuration", cases[i].message);
        struct preset p;
        struct err e;

        assert_int_equal(preset_from_text(&p, text, strlen(text), &e), ERR_CONFIG);
        assert_string_equal(e.msg, message);
        free(text);
        free(message);
    }
}

static void text_that_is_not_a_preset_is_refused(void **state)
{
    const char *const texts[] = {"",
                                 "[]",
                                 "null",
                                 "{",
                                 "{\"policies\": [[4,2,5,2]]} x",
                                 "\xff",
                                 "{\"name\":\"a\",\"name\":\"b\",\"policies\":[[1,0,1,1]]}"};
    struct preset p;
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_equal(preset_from_text(&p, texts[i], strlen(texts[i]), &e), ERR_CONFIG);
    }
    assert_string_equal(e.msg, "preset: line 1: duplicate object key near '\"name\"': "
                               "bad configuration");
    assert_int_equal(preset_from_text(&p, texts[0], PRESET_TEXT_BYTES_MAX + 1, &e), ERR_CONFIG);

    preset_init_volumes(&p, "\xff\xfe");
    assert_int_equal(preset_validate(&p, &e), ERR_CONFIG);
    preset_release(&p);
}

static void mutated_presets_are_refused_or_read_back(void **state)
{
    struct rnd rnd = seed_start("mutations");
    int accepted = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof(full_text)];
        struct preset p;
        struct err e;

        memcpy(text, full_text, sizeof(text));
        for (uint64_t n = 1 + rnd_below(&rnd, 3); n != 0; n--) {
            size_t at = (size_t)rnd_below(&rnd, sizeof(text) - 1);

            text[at] = round % 2 ? (char)rnd_next(&rnd) : full_text[rnd_below(&rnd, sizeof(text))];
        }
        if (preset_from_text(&p, text, sizeof(text) - 1, &e) == 0) {
            assert_reads_back(&p);
            preset_release(&p);
            accepted++;
        }
    }
    assert_true(accepted > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_full_json_is_the_default_preset),
        cmocka_unit_test(built_in_presets_are_valid_and_read_back),
        cmocka_unit_test(only_policies_must_be_given),
        cmocka_unit_test(every_field_is_read_and_written),
        cmocka_unit_test(unknown_keys_are_refused_with_the_nearest_known_one),
        cmocka_unit_test(ciphers_name_the_id_of_their_key),
        cmocka_unit_test(what_is_no_key_id_is_refused_and_not_told),
        cmocka_unit_test(codecs_and_ciphers_we_do_not_have_are_refused_by_name),
        cmocka_unit_test(presets_for_interchange_are_of_format_0),
        cmocka_unit_test(values_out_of_range_are_named),
        cmocka_unit_test(policies_out_of_range_are_named),
        cmocka_unit_test(text_that_is_not_a_preset_is_refused),
        cmocka_unit_test(mutated_presets_are_refused_or_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
