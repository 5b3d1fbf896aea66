/* Presets of the registry: made, changed, counted, kept while somebody uses them. */
#include "unit/meta/registry_fixture.h"

#include "meta/value.h"

static struct reg_wait last; /* the last update: its message */

static int update(struct fixture *f, struct registry *registry, const char *name, const char *json)
{
    json_t *parsed = json_loads(json, 0, NULL);

    assert_non_null(parsed);
    registry_preset_update(registry, name, parsed, reg_wait_cb, &last);
    json_decref(parsed);
    return reg_await(f, &last);
}

static const struct preset *found(struct fixture *f, struct registry *registry, const char *name)
{
    return registry_view_preset_find(refreshed(f, registry), name);
}

static void presets_are_created_updated_and_deleted(void **state)
{
    struct fixture *f = *state;
    struct preset preset, told;
    struct reg_wait w = {0};

    preset_init_volumes(&preset, "vols");
    registry_preset_create(f->a, &preset, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_preset_create(f->b, &preset, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_EXISTS);
    assert_int_equal(registry_view_preset_find(refreshed(f, f->b), "vols")->version, 0);
    assert_int_equal(update(f, f->b, "vols", "{\"fragment_size\": 2097152}"), 0);
    assert_int_equal(registry_view_preset_find(refreshed(f, f->a), "vols")->version, 1);
    assert_int_equal(registry_view_preset_find(registry_view(f->a), "vols")->fragment_bytes,
                     2 << 20);

    registry_preset_set_default(f->a, "vols", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_int_equal(create_namespace(f, f->a, "n", NULL), 0);
    assert_string_equal(ns_find(registry_view(f->a), "n")->preset, "vols");
    registry_view_preset_copy(registry_view(f->a),
                              registry_view_preset_find(registry_view(f->a), NULL), &told);
    assert_true(told.is_default && told.in_use);
    preset_release(&told);
    registry_preset_delete(f->b, "vols", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_BUSY);
    registry_preset_delete(f->b, "default", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    registry_preset_set_default(f->b, "default", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_NOT_FOUND);
    preset.policies[0].k = 0;
    preset_set_name(&preset, "bad");
    registry_preset_create(f->a, &preset, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_CONFIG);
    preset_release(&preset);
}

static void an_update_changes_what_it_names_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    const struct preset *p;

    assert_int_equal(update(f, f->a, "default", "{\"policies\": [[4,2,5,2],[1,1,1,1]]}"), 0);
    p = found(f, f->b, "default");
    assert_int_equal(p->version, 1);
    assert_int_equal(p->policy_count, 2);
    assert_int_equal(p->policies[0].k, 4);
    assert_int_equal(p->fragment_bytes, 1 << 20);
    assert_int_equal(p->codec, COMPRESS_LZ4);
    assert_int_equal(update(f, f->b, "default", "{\"max_per_datacenter\": 3}"), 0);
    p = found(f, f->a, "default");
    assert_int_equal(p->version, 2);
    assert_int_equal(p->max_per_datacenter, 3);
    assert_int_equal(p->policies[0].k, 4);
}

static void updates_of_two_processes_are_both_kept(void **state)
{
    struct fixture *f = *state;
    struct reg_wait wa = {0}, wb = {0};
    json_t *size = json_loads("{\"fragment_size\": 8192}", 0, NULL);
    json_t *policies = json_loads("{\"policies\": [[2,1,3,1]]}", 0, NULL);
    const struct preset *p;

    refreshed(f, f->a);
    refreshed(f, f->b);
    registry_preset_update(f->a, "default", size, reg_wait_cb, &wa);
    registry_preset_update(f->b, "default", policies, reg_wait_cb, &wb);
    json_decref(size);
    json_decref(policies);
    assert_int_equal(reg_await(f, &wa), 0);
    assert_int_equal(reg_await(f, &wb), 0);
    p = found(f, f->a, "default");
    assert_int_equal(p->version, 2);
    assert_int_equal(p->fragment_bytes, 8192);
    assert_int_equal(p->policy_count, 1);
}

static void an_update_that_makes_no_sense_is_refused_and_says_why(void **state)
{
    static const struct {
        const char *json, *message;
    } bad[] = {
        {"{}", "update of a preset: want a JSON object with policies, fragment_size, "
               "fragment_encryption, max_per_datacenter or some of them"},
        {"{\"policies\": [[4,2,7,1]]}", "policies[0]: min_fragment_count = 7"},
        {"{\"policies\": []}", "policies"},
        {"{\"fragment_size\": 5000}", "fragment_size = 5000"},
        {"{\"policies\": [[1,0,1,1]], \"compression\": \"none\"}",
         "compression and checksums of a preset do not change; policies, fragment_size, "
         "fragment_encryption and max_per_datacenter do"},
        {"{\"object_checksum\": {}}", "do not change"},
        {"{\"fragment_sise\": 4096}", "did you mean 'fragment_size'"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(update(f, f->a, "default", bad[i].json), ERR_CONFIG);
        if (strstr(last.err.msg, bad[i].message) == NULL) {
            fail_msg("'%s' does not say '%s'", last.err.msg, bad[i].message);
        }
    }
    assert_int_equal(update(f, f->a, "nope", "{\"fragment_size\": 8192}"), ERR_NOT_FOUND);
    assert_int_equal(found(f, f->a, "default")->version, 0);
}

static void a_preset_with_a_cipher_keeps_one(void **state)
{
    static const char one[] = "{\"fragment_encryption\": [\"aes-ctr-256\", \""
                              "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
                              "\"]}";
    static const char other[] = "{\"fragment_encryption\": [\"aes-256-gcm\", \""
                                "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
                                "\"]}";
    static const char none[] = "{\"fragment_encryption\": [\"none\"]}";
    struct fixture *f = *state;

    assert_int_equal(update(f, f->a, "default", none), 0); /* as it is */
    assert_int_equal(update(f, f->a, "default", one), 0);
    assert_int_equal(update(f, f->a, "default", none), ERR_CONFIG);
    assert_non_null(strstr(last.err.msg, "Create another preset, and a namespace that uses it"));
    assert_int_equal(found(f, f->b, "default")->cipher, CIPHER_AES_CTR_256);
    assert_int_equal(update(f, f->a, "default", other), 0);
    assert_int_equal(found(f, f->b, "default")->cipher, CIPHER_AES_256_GCM);
}

static void a_preset_in_use_stays_and_names_who_uses_it(void **state)
{
    static const char *const names[] = {"one", "two", "three", "four", "five"};
    struct fixture *f = *state;
    struct reg_wait w = {0};

    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(create_namespace(f, f->a, names[i], NULL), 0);
    }
    registry_preset_delete(f->b, "default", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_BUSY);
    assert_string_equal(w.err.msg,
                        "preset 'default' is used by namespaces: five, four, one and 2 more");
    for (unsigned i = 0; i < 5; i++) {
        registry_namespace_delete(f->a, names[i], reg_wait_cb, &w);
        assert_int_equal(reg_await(f, &w), 0);
    }
    registry_preset_delete(f->b, "default", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), -EPERM);
}

static void poke(struct fixture *f, const char *kind, const char *name, json_t *take_json)
{
    struct buf value = {0};
    struct key key;

    assert_non_null(take_json);
    value_make_json(&value, reg_key(&key, kind, name), take_json);
    kv_mem_poke(f->store, reg_key(&key, kind, name), slice_buf(&value));
    json_decref(take_json);
    buf_release(&value);
}

/* Claiming needs an OSD that answers; to presets only the record counts. */
static void poke_claimed_osd(struct fixture *f, const char *long_id, int osd_id)
{
    json_t *json = json_pack("{s:s, s:i, s:[s], s:i, s:b, s:s, s:s, s:i, s:i, s:b}", "long_id",
                             long_id, "osd_id", osd_id, "ips", "127.0.0.1", "port", 8000, "use_tls",
                             0, "node_id", "n", "datacenter", "", "capacity_bytes", 1000,
                             "claimed_since_us", 1, "decommissioned", 0);

    poke(f, REG_OSD, long_id, json);
}

static int add_osds(struct fixture *f, const char *name, const uint64_t *ids, unsigned count)
{
    registry_preset_add_osds(f->b, name, ids, count, reg_wait_cb, &last);
    return reg_await(f, &last);
}

static void osds_are_added_to_an_explicit_list_only(void **state)
{
    struct fixture *f = *state;
    const uint64_t three_and_one[] = {3, 1, 3}, unknown[] = {1, 7};
    struct preset preset;
    struct reg_wait w = {0};

    poke_claimed_osd(f, "disk-1", 1);
    poke_claimed_osd(f, "disk-2", 2);
    poke_claimed_osd(f, "disk-3", 3);
    preset_init_volumes(&preset, "few");
    preset.osds_explicit = true;
    preset.osd_ids = mem_dup((uint64_t[]){2}, sizeof(uint64_t));
    preset.osd_id_count = 1;
    registry_preset_create(f->b, &preset, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    preset_release(&preset);

    preset_init_volumes(&preset, "fewer");
    preset.osds_explicit = true;
    preset.osd_ids = mem_dup(unknown, sizeof(unknown));
    preset.osd_id_count = 2;
    preset.is_default = true;
    registry_preset_create(f->b, &preset, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), ERR_NOT_FOUND);
    assert_string_equal(w.err.msg, "unknown osd 7");
    assert_null(found(f, f->a, "fewer"));
    preset.osd_id_count = 1;
    registry_preset_create(f->b, &preset, reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), 0);
    assert_string_equal(found(f, f->a, NULL)->name, "default"); /* whatever it said of itself */
    preset_release(&preset);

    assert_int_equal(add_osds(f, "few", three_and_one, 3), 0);
    assert_int_equal(found(f, f->b, "few")->version, 1);
    assert_int_equal(found(f, f->b, "few")->osd_id_count, 3);
    assert_int_equal(found(f, f->b, "few")->osd_ids[0], 1);
    assert_int_equal(found(f, f->b, "few")->osd_ids[2], 3);
    assert_int_equal(add_osds(f, "few", three_and_one, 3), 0); /* they are there */
    assert_int_equal(found(f, f->b, "few")->version, 1);
    assert_int_equal(add_osds(f, "few", unknown, 2), ERR_NOT_FOUND);
    assert_string_equal(last.err.msg, "unknown osd 7");
    assert_int_equal(add_osds(f, "default", three_and_one, 1), ERR_CONFIG);
    assert_string_equal(last.err.msg, "preset 'default' uses every osd; it has no list to add to");
    assert_int_equal(add_osds(f, "nope", three_and_one, 1), ERR_NOT_FOUND);
}

static void the_default_preset_stays_and_without_one_it_must_be_named(void **state)
{
    struct fixture *f = *state;
    struct reg_wait w = {0};

    registry_preset_delete(f->a, "default", reg_wait_cb, &w);
    assert_int_equal(reg_await(f, &w), -EPERM);
    assert_string_equal(w.err.msg, "preset 'default' is the default; alba preset-set-default "
                                   "names another first");
    poke(f, REG_DEFAULT_PRESET, "", json_pack("{s:s}", "name", "")); /* as of older programs */
    assert_int_equal(create_namespace(f, f->b, "n", NULL), ERR_NOT_FOUND);
    assert_int_equal(create_namespace(f, f->a, "n", "nope"), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(presets_are_created_updated_and_deleted),
        TEST(an_update_changes_what_it_names_and_nothing_else),
        TEST(updates_of_two_processes_are_both_kept),
        TEST(an_update_that_makes_no_sense_is_refused_and_says_why),
        TEST(a_preset_with_a_cipher_keeps_one),
        TEST(a_preset_in_use_stays_and_names_who_uses_it),
        TEST(osds_are_added_to_an_explicit_list_only),
        TEST(the_default_preset_stays_and_without_one_it_must_be_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
