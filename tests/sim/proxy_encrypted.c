/* Encrypted objects while OSDs fail: no byte is wrong, and no nonce is used twice. */
#include "policy/fragment_cipher.h"
#include "policy/recovery_seal.h"
#include "proxy/encode.h"
#include "sim/proxy_world.h"
#include "wire/osd_keys.h"
#include "wire/recovery_info.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/hex.h"
#include "base/mem.h"

/* One image that was encrypted: AEAD: its subkey, under which blocks 0 … count - 1 were sealed;
 * AES-CTR: the counters [ctr, ctr + 16-byte blocks) under the master key. */
struct use {
    uint8_t subkey[CIPHER_KEY_BYTES];
    unsigned __int128 counter;
    uint32_t counters;
    uint32_t blocks;
    uint32_t crc; /* of the image: what is sent twice is the same bytes */
};

/* What was ever sent to an OSD, stored or not, or encoded in vain. */
struct record {
    struct rnd rnd;
    const struct master_key *key;
    struct use *uses; /* owned */
    size_t count;
    unsigned failing; /* one of so many requests fails; 0: none */
};

static struct record record;

static void note(const struct use *use)
{
    record.uses = mem_realloc(record.uses, (record.count + 1) * sizeof(*use));
    record.uses[record.count++] = *use;
}

static unsigned __int128 number_of(const uint8_t ctr[CIPHER_CTR_BYTES])
{
    unsigned __int128 n = 0;

    for (int i = 0; i < CIPHER_CTR_BYTES; i++) {
        n = n << 8 | ctr[i];
    }
    return n;
}

/* `ctr` NULL: not in counter mode. */
static void note_image(struct slice image, const uint8_t *ctr)
{
    struct fragment_ref ref = {.stored_bytes = (uint32_t)image.len};
    const uint8_t *footer = image.data + image.len - FRAGMENT_FOOTER_BYTES;
    struct use use = {.crc = crc32c(0, image.data, image.len)};
    struct err e;

    assert_true(image.len >= FRAGMENT_FOOTER_BYTES);
    assert_int_equal(fragment_describe(&ref, footer, &e), 0);
    assert_int_not_equal(ref.shape.cipher, CIPHER_NONE);
    use.blocks = fragment_block_count(&ref.shape);
    fragment_subkey(use.subkey, record.key, &ref.id, footer + 100);
    if (ctr != NULL) {
        uint32_t payload = ref.stored_bytes - fragment_trailer_bytes(&ref.shape);

        assert_int_equal(ref.shape.cipher, CIPHER_AES_CTR_256);
        use.counter = number_of(ctr);
        use.counters = (payload + 15) / 16;
    }
    note(&use);
}

/* The recovery info that comes along tells the counter; it opens under the key. */
static bool counter_of(struct slice sealed, const struct osd_fragment *name,
                       uint8_t ret_ctr[CIPHER_CTR_BYTES])
{
    struct recovery_info info;
    struct buf plain = {0};
    struct err e;
    bool has;

    assert_int_equal(
        recovery_seal_open(sealed, record.key, name->object_id, name->chunk, &plain, &e), 0);
    assert_int_equal(recovery_info_decode(slice_buf(&plain), &info, &e), 0);
    has = info.fragments[name->fragment].has_ctr;
    memcpy(ret_ctr, info.fragments[name->fragment].ctr, CIPHER_CTR_BYTES);
    recovery_info_release(&info);
    buf_release(&plain);
    return has;
}

static void note_apply(const struct asd_apply *apply)
{
    const struct asd_update *data = NULL, *recovery = NULL;
    struct osd_fragment name = {0};
    uint8_t ctr[CIPHER_CTR_BYTES];
    bool has_ctr;

    for (uint32_t i = 0; i < apply->update_count; i++) {
        struct osd_key key;

        if (apply->updates[i].is_delete || osd_key_parse(apply->updates[i].key, &key) != 0) {
            continue;
        }
        if (key.kind == OSD_KEY_FRAGMENT) {
            data = &apply->updates[i];
            name = key.fragment;
        } else if (key.kind == OSD_KEY_RECOVERY) {
            recovery = &apply->updates[i];
        }
    }
    if (data != NULL && recovery != NULL) {
        has_ctr = counter_of(recovery->value, &name, ctr);
        note_image(data->value, has_ctr ? ctr : NULL);
    }
}

/* ---- OSDs that fail now and then ---- */

static enum fake_fate fate(void *ctx, struct fake_asd *asd, const struct asd_request *request)
{
    static const enum fake_fate fates[] = {FAKE_DROP,  FAKE_DROP_AFTER, FAKE_DROP_AFTER,
                                           FAKE_ERROR, FAKE_BUSY,       FAKE_FULL};

    (void)ctx;
    (void)asd;
    if (request->code != ASD_APPLY) {
        return FAKE_NORMAL;
    }
    note_apply(&request->apply);
    if (record.failing == 0 || rnd_below(&record.rnd, record.failing) != 0) {
        return FAKE_NORMAL;
    }
    return fates[rnd_below(&record.rnd, sizeof(fates) / sizeof(fates[0]))];
}

/* ---- what must not be ---- */

static int by_subkey(const void *a, const void *b)
{
    return memcmp(((const struct use *)a)->subkey, ((const struct use *)b)->subkey,
                  CIPHER_KEY_BYTES);
}

static int by_counter(const void *a, const void *b)
{
    const struct use *x = a, *y = b;

    return (x->counter > y->counter) - (x->counter < y->counter);
}

/* Two images under one subkey are one image that was sent twice; likewise ranges of counters.
 * Returns how many images there were. */
static size_t assert_no_nonce_repeats(enum cipher cipher)
{
    bool is_aead = cipher_is_aead(cipher);
    size_t images = record.count != 0;

    qsort(record.uses, record.count, sizeof(record.uses[0]), is_aead ? by_subkey : by_counter);
    for (size_t i = 1; i < record.count; i++) {
        const struct use *a = &record.uses[i - 1], *b = &record.uses[i];
        bool meet = is_aead ? by_subkey(a, b) == 0
                            : b->counter - a->counter < a->counters || a->counter == b->counter;

        if (meet && a->crc != b->crc) {
            fail_msg("%s: a nonce was used for two messages", cipher_name(cipher));
        }
        images += !meet;
    }
    return images;
}

/* ---- the world ---- */

enum { NAMES = 4, BYTES_MAX = 150000 };

struct model {
    uint8_t *data[NAMES]; /* NULL: not there */
    size_t bytes[NAMES];
};

static void give_keys(struct world *w, struct key_files *files)
{
    uint8_t bytes[CIPHER_KEY_BYTES];

    key_files_init(files);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(17 * i + 3);
    }
    record.key = key_ring_add(&files->ring, bytes);
    w->engine->options.keys = files;
}

static char *preset_of(enum cipher cipher, const char *codec, const char *policies)
{
    uint8_t key[CIPHER_KEY_BYTES], id[KEY_ID_BYTES];
    char text[KEY_ID_TEXT_BYTES];

    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t)(17 * i + 3);
    }
    key_id_of(id, key);
    hex_encode(text, id, sizeof(id));
    return mem_printf("{\"policies\":%s,\"fragment_size\":16384,\"compression\":\"%s\","
                      "\"fragment_encryption\":[\"%s\",\"%s\"]}",
                      policies, codec, cipher_name(cipher), text);
}

static uint32_t stored_count(const struct manifest *m, uint32_t chunk)
{
    uint32_t count = 0;

    for (uint32_t f = 0; f < manifest_fragments_per_chunk(m); f++) {
        count += manifest_fragment_at(m, chunk, f)->has_osd;
    }
    return count;
}

/* Some bytes of a fragment of each chunk that can lose one are changed: a read finds it, and a
 * repair makes it anew. */
static void spoil(struct world *w, const char *name)
{
    struct manifest m;

    if (!world_manifest(w, name, &m)) {
        return;
    }
    for (uint32_t c = 0; c < m.chunk_count; c++) {
        uint32_t f = (uint32_t)rnd_below(&record.rnd, m.scheme.k); /* reads ask for data first */
        const struct manifest_fragment *mf = manifest_fragment_at(&m, c, f);
        struct buf key = world_fragment_key(w, &m, c, f);

        if (mf->has_osd && stored_count(&m, c) > m.scheme.k) {
            for (uint32_t i = 0; i < mf->packed_bytes; i += 997) {
                fake_asd_flip(world_asd_of(w, mf->osd_id), slice_buf(&key), i);
            }
        }
        buf_release(&key);
    }
    manifest_release(&m);
}

static void put_bytes(struct world *w, struct model *model, unsigned which, size_t bytes)
{
    char name[] = {'o', (char)('0' + which), 0};
    uint8_t *data = mem_alloc(bytes + 1);

    world_fill(w, data, bytes);
    if (world_put(w, name, data, bytes) == 0) {
        free(model->data[which]);
        model->data[which] = data;
        model->bytes[which] = bytes;
    } else {
        free(data);
    }
}

static void put_one(struct world *w, struct model *model, unsigned which)
{
    bool is_small = rnd_below(&record.rnd, 4) == 0;

    put_bytes(w, model, which, rnd_below(&record.rnd, is_small ? 40 : BYTES_MAX));
}

static void expect_all(struct world *w, const struct model *model)
{
    for (unsigned i = 0; i < NAMES; i++) {
        char name[] = {'o', (char)('0' + i), 0};

        if (model->data[i] != NULL) {
            world_expect(w, name, model->data[i], model->bytes[i]);
        }
    }
}

/* The same chunk, encoded again and again: what a repair that is tried again does. */
static void encode_again(enum cipher cipher)
{
    uint8_t data[40000] = {0};

    for (uint8_t round = 0; round < 20; round++) {
        struct encode x = {.chunk = 1,
                           .k = 2,
                           .m = 1,
                           .codec = COMPRESS_NONE,
                           .cipher = cipher,
                           .key = record.key,
                           .fragment_bytes = 20480,
                           .data = data,
                           .data_bytes = sizeof(data),
                           .wanted = round % 2 == 0 ? 0 : 5};

        data[0] = data[30000] = round; /* never the same image: that would count as sent again */
        encode_run(&x);
        for (uint32_t i = 0; i < 3; i++) {
            if (x.images[i] != NULL) {
                note_image(slice_of(x.images[i], x.stored_bytes[i]),
                           cipher == CIPHER_AES_CTR_256 ? x.ctrs[i] : NULL);
            }
        }
        encode_release(&x);
    }
}

static void live(enum cipher cipher, const char *codec, const char *policies)
{
    char *json = preset_of(cipher, codec, policies);
    struct world *w = world_new(8, 4, json);
    struct model model = {0};
    struct key_files files;
    size_t before, images;

    record = (struct record){.rnd = rnd_seed(w->seed)};
    give_keys(w, &files);
    for (unsigned i = 0; i < w->asd_count; i++) {
        fake_asd_set_fate(w->asds[i], fate, NULL);
    }
    for (unsigned round = 0; round < 24; round++) {
        record.failing = round % 3 == 0 ? 0 : 12;
        put_one(w, &model, (unsigned)rnd_below(&record.rnd, NAMES));
    }
    record.failing = 0;
    world_settle(w);
    expect_all(w, &model);

    world_new_engine(w); /* which has no OSD set aside */
    w->engine->options.keys = &files;
    put_bytes(w, &model, 0, BYTES_MAX); /* has all its fragments, and data in each */
    before = record.count;
    for (unsigned i = 0; i < NAMES; i++) {
        char name[] = {'o', (char)('0' + i), 0};

        spoil(w, name);
    }
    expect_all(w, &model);           /* computed from the others */
    while (record.count == before) { /* until repairs have encrypted anew */
        loop_fixture_run_ms(&w->base, 50);
    }
    world_settle(w);
    expect_all(w, &model);

    encode_again(cipher);
    images = assert_no_nonce_repeats(cipher);
    print_message("%s %s: %zu images, %zu sent again\n", cipher_name(cipher), codec, images,
                  record.count - images);
    assert_true(images > 150);
    for (unsigned i = 0; i < NAMES; i++) {
        free(model.data[i]);
    }
    free(record.uses);
    world_free(w);
    key_files_release(&files);
    free(json);
}

static void no_nonce_repeats_with_xchacha20(void **state)
{
    (void)state;
    live(CIPHER_XCHACHA20_POLY1305, "lz4", "[[4,2,5,2],[4,2,4,2]]");
}

static void no_nonce_repeats_with_gcm(void **state)
{
    (void)state;
    live(CIPHER_AES_256_GCM, "none", "[[4,2,5,2],[4,2,4,2]]");
}

static void no_counter_repeats_with_counter_mode(void **state)
{
    (void)state;
    live(CIPHER_AES_CTR_256, "none", "[[4,2,5,2],[4,2,4,2]]");
}

static void no_counter_repeats_with_compressed_counter_mode(void **state)
{
    (void)state;
    live(CIPHER_AES_CTR_256, "lz4", "[[2,2,3,2],[2,2,2,2]]");
}

/* More than can be lost is changed: an error, never bytes. */
static void what_cannot_be_verified_is_not_given_out(void **state)
{
    char *json = preset_of(CIPHER_AES_256_GCM, "none", "[[2,1,3,2]]");
    struct world *w = world_new(4, 4, json);
    uint8_t data[30000], *got;
    struct key_files files;
    struct manifest m;
    size_t bytes;

    (void)state;
    record = (struct record){0};
    give_keys(w, &files);
    world_fill(w, data, sizeof(data));
    assert_int_equal(world_put(w, "o", data, sizeof(data)), 0);
    assert_true(world_manifest(w, "o", &m));
    for (uint32_t f = 0; f < 2; f++) {
        struct buf key = world_fragment_key(w, &m, 0, f);

        fake_asd_flip(world_asd_of(w, manifest_fragment_at(&m, 0, f)->osd_id), slice_buf(&key), 9);
        buf_release(&key);
    }
    assert_int_not_equal(world_get(w, "o", &got, &bytes), 0);
    manifest_release(&m);
    world_free(w);
    key_files_release(&files);
    free(json);
}

static void without_its_key_nothing_is_stored_or_read(void **state)
{
    char *json = preset_of(CIPHER_XCHACHA20_POLY1305, "lz4", "[[2,1,3,2]]");
    struct world *w = world_new(4, 4, json);
    struct key_files files;
    uint8_t *got;
    size_t bytes;

    (void)state;
    record = (struct record){0};
    assert_int_equal(world_put(w, "o", "abc", 3), ERR_KEY);
    give_keys(w, &files);
    assert_int_equal(world_put(w, "o", "abc", 3), 0);
    world_expect(w, "o", "abc", 3);
    w->engine->options.keys = NULL;
    assert_int_not_equal(world_get(w, "o", &got, &bytes), 0);
    w->engine->options.keys = &files;
    world_expect(w, "o", "abc", 3);
    world_free(w);
    key_files_release(&files);
    free(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_nonce_repeats_with_xchacha20),
        cmocka_unit_test(no_nonce_repeats_with_gcm),
        cmocka_unit_test(no_counter_repeats_with_counter_mode),
        cmocka_unit_test(no_counter_repeats_with_compressed_counter_mode),
        cmocka_unit_test(what_cannot_be_verified_is_not_given_out),
        cmocka_unit_test(without_its_key_nothing_is_stored_or_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
