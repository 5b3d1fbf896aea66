/* Any k of the k + m stored values of a chunk give its bytes back: for every code, length, codec,
 * cipher, length of block. What is read is found as a reader finds it, by what a manifest says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "lib/seed.h"
#include "policy/erasure.h"
#include "policy/fragment0.h"
#include "proxy/encode.h"

enum { ROUNDS = 150, BLOCKS_MAX = 12 };

struct chunk {
    struct encode made; /* what it is and, unless block_bytes is set, its values */
    uint32_t block_bytes;
    uint8_t *raw; /* owned, as are the values: k * made.fragment_bytes, zeroes behind the data */
    struct buf values[PRESET_FRAGMENTS_MAX];
    struct manifest_fragment told[PRESET_FRAGMENTS_MAX];
};

static const struct {
    enum compress_codec codec;
    enum cipher cipher;
} ways[] = {
    {COMPRESS_NONE, CIPHER_NONE},
    {COMPRESS_NONE, CIPHER_AES_CTR_256},
    {COMPRESS_NONE, CIPHER_AES_256_GCM},
    {COMPRESS_NONE, CIPHER_XCHACHA20_POLY1305},
    {COMPRESS_NONE, CIPHER_AES_CBC_256},
    {COMPRESS_LZ4, CIPHER_NONE},
    {COMPRESS_LZ4, CIPHER_AES_CTR_256},
    {COMPRESS_LZ4, CIPHER_AES_256_GCM},
    {COMPRESS_LZ4, CIPHER_XCHACHA20_POLY1305},
    {COMPRESS_SNAPPY, CIPHER_NONE},
    {COMPRESS_SNAPPY, CIPHER_AES_CTR_256},
    {COMPRESS_SNAPPY, CIPHER_AES_CBC_256},
    {COMPRESS_BZIP2, CIPHER_NONE},
    {COMPRESS_BZIP2, CIPHER_AES_CTR_256},
    {COMPRESS_BZIP2, CIPHER_AES_CBC_256},
};

static bool is_format0(const struct chunk *c)
{
    return fragment0_is_for(c->made.codec, c->made.cipher);
}

static struct fragment_id id_of(const struct chunk *c, uint32_t i)
{
    return fragment_id_of(c->made.object_id, c->made.chunk, i, c->made.k);
}

static struct fragment_shape shape_of(const struct chunk *c)
{
    struct fragment_shape shape =
        fragment_shape_of(c->made.fragment_bytes, c->made.codec, c->made.cipher);

    shape.block_bytes = c->block_bytes == 0 ? shape.block_bytes : c->block_bytes;
    return shape;
}

/* ---- made ---- */

/* Half of it shrinks, by stretches. */
static void fill(struct rnd *rnd, uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (i >> 13) % 2 == 0 ? (uint8_t)rnd_next(rnd) : 7;
    }
}

static void choose(struct chunk *c, struct rnd *rnd, const struct master_key *key)
{
    size_t way = rnd_below(rnd, sizeof(ways) / sizeof(*ways));
    uint32_t k = 1 + (uint32_t)rnd_below(rnd, PRESET_K_MAX);
    uint32_t fragment = k == 1
                            ? (uint32_t)rnd_below(rnd, 100000)
                            : FRAGMENT_BLOCK_BYTES_MIN * (1 + (uint32_t)rnd_below(rnd, BLOCKS_MAX));
    uint32_t bytes = k == 1 ? fragment : 1 + (uint32_t)rnd_below(rnd, (uint64_t)k * fragment);

    *c = (struct chunk){.made = {.chunk = (uint32_t)rnd_below(rnd, 1000),
                                 .k = k,
                                 .m = (uint32_t)rnd_below(rnd, PRESET_M_MAX + 1),
                                 .codec = ways[way].codec,
                                 .cipher = ways[way].cipher,
                                 .key = ways[way].cipher == CIPHER_NONE ? NULL : key,
                                 .fragment_bytes = fragment,
                                 .with_sha1 = rnd_below(rnd, 4) == 0,
                                 .data_stays = rnd_below(rnd, 2) == 0,
                                 .data_bytes = bytes}};
    rnd_bytes(c->made.object_id, sizeof(c->made.object_id));
    c->raw = mem_zalloc((size_t)k * fragment + 1);
    fill(rnd, c->raw, bytes);
    c->made.data = c->raw;
    if (!is_format0(c) && rnd_below(rnd, 2) == 0) {
        c->block_bytes = (uint32_t)FRAGMENT_BLOCK_BYTES_MIN << rnd_below(rnd, 5);
    }
}

/* As a proxy makes it. */
static void make_by_encode(struct chunk *c)
{
    encode_run(&c->made);
    for (uint32_t i = 0; i < c->made.k + c->made.m; i++) {
        struct slice payload, image;

        encode_value(&c->made, i, &payload, &image);
        buf_put(&c->values[i], payload.data, payload.len);
        buf_put(&c->values[i], image.data, image.len);
        encode_note(&c->made, i, &c->told[i]);
    }
    encode_release(&c->made);
}

/* In blocks of another length than a proxy would choose. */
static void pack(struct chunk *c, uint32_t i, const uint8_t *raw)
{
    struct fragment_crypto crypto = {.cipher = c->made.cipher, .key = c->made.key};
    struct fragment_id id = id_of(c, i);
    struct fragment_shape shape = shape_of(c);
    uint8_t salt[FRAGMENT_SALT_BYTES];
    uint8_t *image;
    uint32_t crc;

    rnd_bytes(salt, sizeof(salt));
    rnd_bytes(crypto.ctr, sizeof(crypto.ctr));
    image = buf_extend(&c->values[i], fragment_stored_max(&shape));
    c->values[i].len =
        fragment_pack(&id, &shape, crypto.key == NULL ? NULL : &crypto, salt, raw, image, &crc);
    c->told[i].packed_bytes = (uint32_t)c->values[i].len;
    memcpy(c->told[i].ctr, crypto.ctr, sizeof(crypto.ctr));
}

static void make_by_pack(struct chunk *c)
{
    uint32_t k = c->made.k, m = c->made.m, bytes = c->made.fragment_bytes;
    const uint8_t *data[PRESET_K_MAX];
    uint8_t *parity = mem_zalloc((size_t)m * bytes + 1);
    uint8_t *parities[PRESET_M_MAX];

    for (uint32_t i = 0; i < k; i++) {
        data[i] = c->raw + (size_t)i * bytes;
    }
    for (uint32_t j = 0; j < m; j++) {
        parities[j] = parity + (size_t)j * bytes;
    }
    erasure_encode(erasure_get(k, m), bytes, data, parities);
    for (uint32_t i = 0; i < k + m; i++) {
        pack(c, i, i < k ? data[i] : parities[i - k]);
    }
    free(parity);
}

/* ---- read ---- */

static void unpack(const struct chunk *c, uint32_t i, uint8_t *ret_raw)
{
    const struct manifest_fragment *told = &c->told[i];
    struct fragment_crypto crypto = {.cipher = c->made.cipher, .key = c->made.key};
    struct fragment_ref ref = {.id = id_of(c, i),
                               .shape = shape_of(c),
                               .stored_bytes = told->packed_bytes,
                               .crypto = crypto.key == NULL ? NULL : &crypto};
    struct fragment0_ref ref0 = {
        .id = ref.id,
        .raw_bytes = c->made.fragment_bytes,
        .codec = c->made.codec,
        .stored_bytes = told->packed_bytes,
        .sum = {.algo = (enum preset_checksum)told->checksum.algo, .crc32c = told->checksum.crc32c},
        .crypto = ref.crypto};
    const struct buf *value = &c->values[i];
    struct err e;
    int rc;

    memcpy(crypto.ctr, told->ctr, sizeof(crypto.ctr));
    memcpy(ref0.sum.sha1, told->checksum.sha1, sizeof(ref0.sum.sha1));
    rc = is_format0(c) ? fragment0_unpack(&ref0, value->data, (uint32_t)value->len, ret_raw, &e)
                       : fragment_unpack(&ref, value->data, (uint32_t)value->len, ret_raw, &e);
    if (rc != 0) {
        fail_msg("fragment %u: %s", i, e.msg);
    }
}

/* Numbers 0 … count - 1 in any order. */
static void shuffle(struct rnd *rnd, uint8_t *ret_order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = (uint32_t)rnd_below(rnd, i + 1);

        ret_order[i] = ret_order[j];
        ret_order[j] = (uint8_t)i;
    }
}

/* By k fragments, whichever; the others are as if they had never been. */
static void check_any_k(const struct chunk *c, struct rnd *rnd)
{
    uint32_t k = c->made.k, m = c->made.m, bytes = c->made.fragment_bytes;
    uint8_t *read = mem_zalloc((size_t)(k + m) * bytes + 1);
    uint8_t order[PRESET_FRAGMENTS_MAX];
    const uint8_t *have[PRESET_K_MAX];
    uint8_t *want[PRESET_M_MAX];
    struct erasure_decoder decoder;

    shuffle(rnd, order, k + m);
    for (uint32_t i = 0; i < k; i++) {
        have[i] = read + (size_t)order[i] * bytes;
        unpack(c, order[i], read + (size_t)order[i] * bytes);
    }
    for (uint32_t j = 0; j < m; j++) {
        want[j] = read + (size_t)order[k + j] * bytes;
    }
    erasure_decoder_init(&decoder, erasure_get(k, m), order, order + k, m);
    erasure_decode(&decoder, bytes, have, want);
    assert_memory_equal(read, c->raw, (size_t)k * bytes);
    free(read);
}

static void any_k_values_give_the_chunk_back(void **state)
{
    struct rnd rnd = seed_start("any_k_values_give_the_chunk_back");
    uint8_t bytes[CIPHER_KEY_BYTES];
    const struct master_key *key;
    struct key_ring ring;

    (void)state;
    rnd_bytes(bytes, sizeof(bytes));
    key_ring_init(&ring);
    key = key_ring_add(&ring, bytes);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct chunk c;

        choose(&c, &rnd, key);
        if (c.block_bytes == 0) {
            make_by_encode(&c);
        } else {
            make_by_pack(&c);
        }
        for (unsigned i = 0; i < 3; i++) {
            check_any_k(&c, &rnd);
        }
        for (uint32_t i = 0; i < c.made.k + c.made.m; i++) {
            buf_release(&c.values[i]);
        }
        free(c.raw);
    }
    key_ring_release(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_k_values_give_the_chunk_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
