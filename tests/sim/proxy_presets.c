/* Presets of every kind, end to end: replicas, stripes, the widest code, fall-back, limits of nodes
 * and datacenters, fragments of format 0, and presets that change while an engine runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/mem.h"
#include "loop/run.h"
#include "meta/bytes.h"
#include "proxy/key_files.h"
#include "sim/proxy_world.h"

static struct fake_asd *asd_of(struct world *w, const struct manifest *m, uint32_t chunk,
                               uint32_t fragment)
{
    return world_asd_of(w, manifest_fragment_at(m, chunk, fragment)->osd_id);
}

static void lose(struct world *w, const struct manifest *m, uint32_t fragment)
{
    for (uint32_t c = 0; c < m->chunk_count; c++) {
        struct buf key = world_fragment_key(w, m, c, fragment);

        assert_true(fake_asd_remove(asd_of(w, m, c, fragment), slice_buf(&key)));
        buf_release(&key);
    }
}

static uint8_t *put(struct world *w, const char *name, size_t bytes, struct manifest *ret_manifest)
{
    uint8_t *data = mem_alloc(bytes + 1);

    world_fill(w, data, bytes);
    assert_int_equal(world_put(w, name, data, bytes), 0);
    world_settle(w);
    assert_true(world_manifest(w, name, ret_manifest));
    return data;
}

/* Any range equals that part of the object, in whatever way it is read. */
static void expect_ranges(struct world *w, const char *name, const uint8_t *data, size_t bytes)
{
    for (unsigned i = 0; i < 20; i++) {
        uint64_t offset = rnd_below(&w->rnd, bytes);
        uint64_t most = bytes - offset < 20000 ? bytes - offset : 20000;
        struct proxy_slice slice = {.offset = (int64_t)offset,
                                    .bytes = (int32_t)(1 + rnd_below(&w->rnd, most))};
        uint8_t *got = NULL;
        size_t got_bytes = 0;

        assert_int_equal(world_get_slices(w, name, &slice, 1, NULL, &got, &got_bytes), 0);
        assert_int_equal(got_bytes, (size_t)slice.bytes);
        assert_memory_equal(got, data + offset, got_bytes);
        free(got);
    }
}

static void replicas_are_the_same_bytes_encoded_once(void **state)
{
    const char *presets[] = {WORLD_PRESET("[[1,3,3,1]]", 65536, "lz4"),
                             WORLD_PRESET("[[1,3,3,1]]", 65536, "snappy")};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_new(4, 4, presets[i]);
        struct manifest m;
        uint8_t *data = put(w, "o", 200001, &m);

        assert_int_equal(m.chunk_count, 4);
        for (uint32_t c = 0; c < m.chunk_count; c++) {
            const struct manifest_fragment *first = manifest_fragment_at(&m, c, 0);

            for (uint32_t f = 1; f < 4;
                 f++) { /* the salt in the checksum is a fresh one each time */
                assert_true(manifest_fragment_at(&m, c, f)->has_osd);
                assert_true(
                    checksum_eq(&manifest_fragment_at(&m, c, f)->checksum, &first->checksum));
            }
        }
        for (uint32_t f = 0; f < 3; f++) { /* one is enough */
            lose(w, &m, f);
        }
        world_expect(w, "o", data, 200001);
        manifest_release(&m);
        free(data);
        world_free(w);
    }
}

static void stripes_have_no_spare_and_give_all_back(void **state)
{
    struct world *w = world_new(5, 5, WORLD_PRESET("[[5,0,5,1]]", 16384, "lz4"));
    struct manifest m;
    uint8_t *data = put(w, "o", 300001, &m), *got;
    size_t bytes;

    (void)state;
    world_expect(w, "o", data, 300001);
    expect_ranges(w, "o", data, 300001);
    lose(w, &m, 2);
    assert_int_equal(world_get(w, "o", &got, &bytes), ERR_NOT_ENOUGH);
    manifest_release(&m);
    free(data);
    world_free(w);
}

static void the_widest_code_gives_back_what_any_eight_lost(void **state)
{
    const char *presets[] = {WORLD_PRESET("[[20,8,28,1]]", 8192, "lz4"),
                             WORLD_PRESET("[[20,8,28,1]]", 8000, "snappy")};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = world_new(28, 28, presets[i]);
        struct manifest m;
        uint8_t *data = put(w, "o", 500001, &m);
        uint32_t lost = 0, count = 0;

        while (count < 8) {
            uint32_t f = (uint32_t)rnd_below(&w->rnd, 28);

            if ((lost >> f & 1) == 0) {
                lost |= 1u << f;
                lose(w, &m, f);
                count++;
            }
        }
        expect_ranges(w, "o", data, 500001);
        world_expect(w, "o", data, 500001);
        manifest_release(&m);
        free(data);
        world_free(w);
    }
}

static enum fake_fate no_space(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    (void)ctx;
    (void)asd;
    return request->code == ASD_APPLY ? FAKE_FULL : FAKE_NORMAL;
}

/* 4+2, then with one less, then two replicas: each as long as it has to be. */
static void policies_fall_back_one_by_one_and_come_again(void **state)
{
    struct world *w =
        world_new(6, 3, WORLD_PRESET("[[4,2,6,2],[4,2,5,2],[1,1,2,1]]", 16384, "lz4"));
    static const struct {
        unsigned full;
        uint32_t k, c;
    } steps[] = {{0, 4, 6}, {1, 4, 5}, {3, 1, 2}};

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        struct manifest m;
        uint8_t *data;

        for (unsigned a = 0; a < steps[i].full; a++) {
            fake_asd_set_fate(w->asds[a], no_space, NULL);
        }
        snprintf(name, sizeof(name), "o%u", i);
        data = put(w, name, 100000, &m);
        assert_int_equal(m.scheme.k, steps[i].k);
        assert_int_equal(m.scheme.c, steps[i].c);
        world_expect(w, name, data, 100000);
        manifest_release(&m);
        free(data);
    }
    world_free(w);
}

/* Of preset "p", as our registry knows it now. */
static int64_t known_version(struct world *w)
{
    return registry_view_preset_find(registry_view(w->registry), "p")->version;
}

/* A change that somebody else made is used by an engine that runs, without a word to it. */
static void a_changed_preset_is_used_by_an_engine_that_runs(void **state)
{
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,1]]", 16384, "lz4"));
    json_t *change = json_loads("{\"policies\": [[2,1,3,1]], \"fragment_size\": 8192}", 0, NULL);
    bool changed = false;
    struct manifest m;
    uint8_t *data = put(w, "before", 50000, &m), *after;
    struct kv *kv = kv_mem_open(&w->base.loop, w->store);
    struct registry *other = registry_new(kv);
    bool closed = false;

    (void)state;
    assert_int_equal(m.scheme.k, 4);
    assert_int_equal(m.preset_version, 0);
    manifest_release(&m);
    registry_preset_update(other, "p", change, world_registry_done, &changed);
    json_decref(change);
    loop_fixture_run_until(&w->base, &changed);
    for (unsigned i = 0; i < 500 && known_version(w) == 0; i++) { /* it looks now and then */
        loop_fixture_run_ms(&w->base, 20);
    }
    after = put(w, "after", 50000, &m);
    assert_int_equal(m.scheme.k, 2);
    assert_int_equal(m.preset_version, 1);
    assert_int_equal(m.chunk_bytes[0], 16384);
    world_expect(w, "before", data, 50000);
    world_expect(w, "after", after, 50000);
    manifest_release(&m);
    free(data);
    free(after);
    registry_close(other, loop_set_true, &closed);
    loop_fixture_run_until(&w->base, &closed);
    world_free(w);
}

/* ---- format 0 ---- */

static const char bz2_and_sha1[] =
    "{\"policies\": [[2,1,3,1]], \"fragment_size\": 65536, \"compression\": \"bz2\","
    " \"fragment_checksum\": [\"sha-1\"]}";

static void fragments_of_format_0_of_every_size_come_back(void **state)
{
    const char *presets[] = {WORLD_PRESET("[[4,2,6,1]]", 16384, "snappy"),
                             WORLD_PRESET("[[4,2,6,1]]", 20000, "bz2"),
                             WORLD_PRESET("[[1,2,3,1]]", 30001, "snappy"),
                             WORLD_PRESET("[[3,0,3,1]]", 100, "snappy"), bz2_and_sha1};
    const size_t sizes[] = {0, 1, 15, 16, 63, 64, 65, 4096, 16384, 65536, 131073};

    (void)state;
    for (unsigned p = 0; p < sizeof(presets) / sizeof(presets[0]); p++) {
        struct world *w = world_new(6, 6, presets[p]);

        for (unsigned i = 0; i < 3 + sizeof(sizes) / sizeof(sizes[0]); i++) {
            size_t bytes =
                i < sizeof(sizes) / sizeof(sizes[0]) ? sizes[i] : rnd_below(&w->rnd, 200000);
            struct manifest m;
            uint8_t *data = put(w, "o", p == 3 ? bytes % 5000 : bytes, &m);

            bytes = p == 3 ? bytes % 5000 : bytes;
            assert_int_equal(m.scheme.fragment_format, 0);
            assert_int_equal(m.scheme.block_bytes, 0);
            world_expect(w, "o", data, bytes);
            if (bytes > 0) {
                expect_ranges(w, "o", data, bytes);
            }
            if (bytes > 0 && m.scheme.m > 0) {
                lose(w, &m, 0);
                expect_ranges(w, "o", data, bytes);
                world_expect(w, "o", data, bytes);
            }
            manifest_release(&m);
            free(data);
        }
        world_free(w);
    }
}

/* Each byte of the stored fragments, one after the other; no other fragment can stand in. */
static void every_flipped_byte_of_format_0_is_detected(void **state)
{
    struct world *w = world_new(3, 3, WORLD_PRESET("[[2,0,2,1]]", 16384, "snappy"));
    struct manifest m;
    uint8_t *data = put(w, "o", 3000, &m);

    (void)state;
    for (uint32_t f = 0; f < 2; f++) {
        struct buf key = world_fragment_key(w, &m, 0, f);
        size_t bytes = fake_asd_value(asd_of(w, &m, 0, f), slice_buf(&key)).len;

        assert_true(bytes > 100);
        for (size_t at = 0; at < bytes; at++) {
            struct proxy_slice slice = {.offset = f * 1504, .bytes = 10};
            uint8_t *got;
            size_t got_bytes;

            assert_true(fake_asd_flip(asd_of(w, &m, 0, f), slice_buf(&key), at));
            assert_int_equal(world_get(w, "o", &got, &got_bytes), ERR_NOT_ENOUGH);
            assert_int_equal(world_get_slices(w, "o", &slice, 1, NULL, &got, &got_bytes),
                             ERR_NOT_ENOUGH);
            fake_asd_flip(asd_of(w, &m, 0, f), slice_buf(&key), at);
        }
        buf_release(&key);
    }
    world_expect(w, "o", data, 3000);
    manifest_release(&m);
    free(data);
    world_free(w);
}

/* Is fragment 0 of chunk 0 there, in this version? */
static bool is_made_anew(struct world *w, uint32_t version)
{
    struct manifest m;
    struct buf key;
    bool is_there;

    assert_true(world_manifest(w, "o", &m));
    key = world_fragment_key(w, &m, 0, 0);
    is_there = manifest_fragment_at(&m, 0, 0)->version == version &&
               fake_asd_value(asd_of(w, &m, 0, 0), slice_buf(&key)).len != 0;
    buf_release(&key);
    manifest_release(&m);
    return is_there;
}

/* Data and parity, and with the kind of checksum that the manifest had of it. */
static void a_lost_fragment_of_format_0_is_made_anew(void **state)
{
    const char *presets[] = {WORLD_PRESET("[[3,2,5,1]]", 16384, "snappy"), bz2_and_sha1};

    (void)state;
    for (unsigned p = 0; p < 2; p++) {
        struct world *w = world_new(6, 6, presets[p]);
        struct manifest m;
        uint8_t *data = put(w, "o", 40001, &m);
        uint8_t algo = manifest_fragment_at(&m, 0, 0)->checksum.algo;

        lose(w, &m, 0);
        world_expect(w, "o", data, 40001);
        for (unsigned i = 0; i < 500 && !is_made_anew(w, 1); i++) {
            loop_fixture_run_ms(&w->base, 20);
        }
        assert_true(is_made_anew(w, 1));
        manifest_release(&m);
        assert_true(world_manifest(w, "o", &m));
        assert_int_equal(manifest_fragment_at(&m, 0, 0)->checksum.algo, algo);
        for (uint32_t f = 1; f <= m.scheme.m; f++) { /* now it is needed */
            lose(w, &m, f);
        }
        world_expect(w, "o", data, 40001);
        manifest_release(&m);
        free(data);
        world_free(w);
    }
}

/* Another repairer stored the same bytes under the next version, on every OSD, and was never
 * entered: its tags go with its epoch, and the fragments with them. */
static void what_another_repairer_left_of_format_0_is_not_taken_for_our_own(void **state)
{
    struct world *w = world_new(6, 6, WORLD_PRESET("[[3,2,5,1]]", 16384, "snappy"));
    struct manifest m;
    uint8_t *data = put(w, "o", 40001, &m);
    struct buf key = world_fragment_key(w, &m, 0, 0);
    const struct manifest_fragment *f = manifest_fragment_at(&m, 0, 0);
    struct slice value = slice_dup(fake_asd_value(world_asd_of(w, f->osd_id), slice_buf(&key)));

    (void)state;
    key.data[key.len - 4] = 1; /* its last field: the version */
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_put(w->asds[i], slice_buf(&key), value);
    }
    lose(w, &m, 0);
    world_expect(w, "o", data, 40001);
    for (unsigned i = 0; i < 500 && !is_made_anew(w, 2); i++) {
        loop_fixture_run_ms(&w->base, 20);
    }
    assert_true(is_made_anew(w, 2));
    world_expect(w, "o", data, 40001);
    slice_release(&value);
    buf_release(&key);
    manifest_release(&m);
    free(data);
    world_free(w);
}

/* ---- format 0 with a cipher ---- */

/* A preset with a fresh key; the ring in *ret_files has it. */
static char *encrypted_preset(struct key_files *ret_files, const char *codec, const char *cipher)
{
    uint8_t key[CIPHER_KEY_BYTES];
    char id[KEY_ID_TEXT_BYTES];

    rnd_bytes(key, sizeof(key));
    key_files_init(ret_files);
    hex_encode(id, key_ring_add(&ret_files->ring, key)->id, KEY_ID_BYTES);
    return mem_printf("{\"policies\": [[3,2,5,1],[1,2,3,1]], \"fragment_size\": 16384,"
                      " \"compression\": \"%s\", \"fragment_encryption\": [\"%s\", \"%s\"]}",
                      codec, cipher, id);
}

/* Where its bytes lie in the clear on an OSD. */
static bool is_on_an_osd(struct world *w, const struct manifest *m, const uint8_t *text)
{
    for (uint32_t c = 0; c < m->chunk_count; c++) {
        for (uint32_t f = 0; f < manifest_fragments_per_chunk(m); f++) {
            struct buf key = world_fragment_key(w, m, c, f);
            struct slice value = fake_asd_value(asd_of(w, m, c, f), slice_buf(&key));

            buf_release(&key);
            if (memmem(value.data, value.len, text, 100) != NULL) {
                return true;
            }
        }
    }
    return false;
}

static void ciphers_of_format_0_hide_what_comes_back(void **state)
{
    static const char *const kinds[][2] = {{"none", "aes-cbc-256"},
                                           {"snappy", "aes-cbc-256"},
                                           {"bz2", "aes-cbc-256"},
                                           {"snappy", "aes-ctr-256"},
                                           {"bz2", "aes-ctr-256"}};

    (void)state;
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct key_files files;
        char *json = encrypted_preset(&files, kinds[i][0], kinds[i][1]);
        struct world *w = world_new(6, 6, json);
        struct manifest m;
        uint8_t *data, *got;
        size_t bytes;

        w->engine->options.keys = &files;
        data = put(w, "o", 70001, &m);
        assert_int_equal(m.scheme.fragment_format, 0);
        assert_int_equal(manifest_fragment_at(&m, 0, 0)->has_ctr, i >= 3);
        assert_false(is_on_an_osd(w, &m, data + 5120)); /* 512 bytes there do not shrink */
        world_expect(w, "o", data, 70001);
        expect_ranges(w, "o", data, 70001);
        lose(w, &m, 0); /* and made anew by a repair, under the same key */
        world_expect(w, "o", data, 70001);
        for (unsigned n = 0; n < 500 && !is_made_anew(w, 1); n++) {
            loop_fixture_run_ms(&w->base, 20);
        }
        assert_true(is_made_anew(w, 1));
        lose(w, &m, 1);
        lose(w, &m, 2);
        world_expect(w, "o", data, 70001);

        w->engine->options.keys = NULL;
        assert_int_equal(world_get(w, "o", &got, &bytes), ERR_KEY);
        manifest_release(&m);
        free(data);
        free(json);
        world_settle(w);
        world_free(w);
        key_files_release(&files);
    }
}

/* What older clients are told of such an object is all that they need. */
static void manifests_of_format_0_go_out_as_they_are(void **state)
{
    struct world *w = world_new(6, 6, WORLD_PRESET("[[4,2,6,1]]", 16384, "snappy"));
    struct manifest m, again;
    uint8_t *data = put(w, "o", 100000, &m);
    struct buf encoded = {0};
    struct err e;
    struct rd r;

    (void)state;
    for (unsigned version = MANIFEST_V1; version <= MANIFEST_V2; version++) {
        encoded.len = 0;
        assert_int_equal(manifest_encode(&m, version, &encoded, &e), 0);
        r = rd_of(encoded.data, encoded.len);
        assert_int_equal(manifest_decode(&r, &again, &e), 0);
        assert_false(again.opaque);
        assert_int_equal(again.scheme.codec, MANIFEST_CODEC_SNAPPY);
        assert_int_equal(again.chunk_bytes[0], 65536);
        assert_true(checksum_eq(&manifest_fragment_at(&again, 1, 3)->checksum,
                                &manifest_fragment_at(&m, 1, 3)->checksum));
        manifest_release(&again);
    }
    buf_release(&encoded);
    manifest_release(&m);
    free(data);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_are_the_same_bytes_encoded_once),
        cmocka_unit_test(stripes_have_no_spare_and_give_all_back),
        cmocka_unit_test(the_widest_code_gives_back_what_any_eight_lost),
        cmocka_unit_test(policies_fall_back_one_by_one_and_come_again),
        cmocka_unit_test(a_changed_preset_is_used_by_an_engine_that_runs),
        cmocka_unit_test(fragments_of_format_0_of_every_size_come_back),
        cmocka_unit_test(every_flipped_byte_of_format_0_is_detected),
        cmocka_unit_test(a_lost_fragment_of_format_0_is_made_anew),
        cmocka_unit_test(what_another_repairer_left_of_format_0_is_not_taken_for_our_own),
        cmocka_unit_test(ciphers_of_format_0_hide_what_comes_back),
        cmocka_unit_test(manifests_of_format_0_go_out_as_they_are),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
