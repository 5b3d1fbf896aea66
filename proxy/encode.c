#include "proxy/encode.h"

#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "policy/erasure.h"
#include "policy/fragment0.h"
#include "proxy/encode0.h"

enum { SLICE_BYTES_MIN = 32768 };

struct work {
    struct encode *x;
    const struct erasure *erasure;
    uint32_t slice_bytes; /* whole blocks */
    uint8_t *scratch;     /* k + m slices: padded data, parity */
    uint8_t *trailers[PRESET_FRAGMENTS_MAX];
    struct fragment_packer packers[PRESET_FRAGMENTS_MAX];
};

/* Replicas are one image, whichever of them is wanted. */
static bool is_wanted(const struct encode *x, uint32_t i)
{
    return x->wanted == 0 || x->k == 1 || (x->wanted >> i & 1) != 0;
}

static uint32_t image_count(const struct encode *x)
{
    return x->k == 1 ? 1 : x->k + x->m;
}

size_t encode_memory_bytes(uint32_t k, uint32_t m, uint32_t fragment_bytes,
                           enum compress_codec codec, enum cipher cipher)
{
    struct fragment_shape shape = fragment_shape_of(fragment_bytes, codec, cipher);
    size_t images = k == 1 ? 1 : k + m;

    if (fragment0_is_for(codec, cipher)) {
        return encode0_memory_bytes(k, m, fragment_bytes, codec, cipher);
    }
    return images * ((size_t)fragment_stored_max(&shape) + SLICE_BYTES_MIN);
}

/* A whole data fragment whose bytes are stored as they are, unless they shrink. */
static bool may_borrow(const struct encode *x, uint32_t i)
{
    return x->data_stays && !x->with_sha1 && x->cipher == CIPHER_NONE && i < x->k &&
           x->data_bytes >= (uint64_t)(i + 1) * x->fragment_bytes;
}

static void start(struct work *w)
{
    struct encode *x = w->x;
    struct fragment_shape shape = fragment_shape_of(x->fragment_bytes, x->codec, x->cipher);
    uint8_t salts[PRESET_FRAGMENTS_MAX][FRAGMENT_SALT_BYTES];
    uint32_t count = image_count(x);

    w->slice_bytes = shape.block_bytes > SLICE_BYTES_MIN ? shape.block_bytes : SLICE_BYTES_MIN;
    w->scratch = mem_aligned(64, (size_t)count * w->slice_bytes);
    rnd_bytes(salts, count * FRAGMENT_SALT_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        struct fragment_id id = fragment_id_of(x->object_id, x->chunk, i, x->k);
        struct fragment_crypto crypto = {.cipher = x->cipher, .key = x->key};

        if (!is_wanted(x, i)) {
            continue;
        }
        x->images[i] = bigmem_alloc(fragment_stored_max(&shape));
        w->trailers[i] = x->images[i] + x->fragment_bytes;
        memcpy(crypto.ctr, x->ctrs[i], CIPHER_CTR_BYTES);
        fragment_pack_start(&w->packers[i], &id, &shape, &crypto, salts[i], x->images[i],
                            w->trailers[i]);
        if (may_borrow(x, i)) {
            fragment_pack_borrow(&w->packers[i], x->data + (size_t)i * x->fragment_bytes);
        }
    }
}

/* `bytes` raw bytes of data fragment i from `offset` on: in place, or copied and padded. */
static const uint8_t *data_slice(struct work *w, uint32_t i, uint32_t offset, uint32_t bytes)
{
    const struct encode *x = w->x;
    uint64_t at = (uint64_t)i * x->fragment_bytes + offset;
    uint32_t have = at >= x->data_bytes ? 0 : x->data_bytes - (uint32_t)at;
    const uint8_t *slice;

    if (have >= bytes) {
        slice = x->data + at;
    } else {
        uint8_t *padded = w->scratch + (size_t)i * w->slice_bytes;

        if (have > 0) {
            memcpy(padded, x->data + at, have);
        }
        memset(padded + have, 0, bytes - have);
        slice = padded;
    }
    return slice;
}

/* Of data that does not shrink: neither does it. It is made where it will be stored, if all before
 * it was. */
static bool is_parity_raw(const struct work *w, uint32_t j, bool is_data_raw)
{
    const struct fragment_packer *p = &w->packers[w->x->k + j];

    return is_data_raw && is_wanted(w->x, w->x->k + j) && p->payload_bytes == p->raw_done;
}

static void encode_slice(struct work *w, uint32_t offset, uint32_t bytes)
{
    struct encode *x = w->x;
    const uint8_t *data[PRESET_K_MAX];
    uint8_t *parity[PRESET_M_MAX];
    bool is_data_raw = true;

    for (uint32_t i = 0; i < x->k; i++) {
        data[i] = data_slice(w, i, offset, bytes);
        if (is_wanted(x, i)) {
            fragment_pack_add(&w->packers[i], data[i], bytes);
        }
        is_data_raw = is_data_raw && w->packers[i].raw_misses > 0;
    }
    if (image_count(x) == x->k || (x->wanted != 0 && x->wanted >> x->k == 0)) {
        return;
    }
    for (uint32_t j = 0; j < x->m; j++) {
        parity[j] = is_parity_raw(w, j, is_data_raw)
                        ? x->images[x->k + j] + offset
                        : w->scratch + (size_t)(x->k + j) * w->slice_bytes;
    }
    erasure_encode(w->erasure, bytes, data, parity);
    for (uint32_t j = 0; j < x->m; j++) {
        if (is_parity_raw(w, j, is_data_raw)) {
            fragment_pack_add_raw(&w->packers[x->k + j], parity[j], bytes);
        } else if (is_wanted(x, x->k + j)) {
            fragment_pack_add(&w->packers[x->k + j], parity[j], bytes);
        }
    }
}

/* The trailer stood behind where the payload could have ended. */
static void finish(struct work *w)
{
    struct encode *x = w->x;

    for (uint32_t i = 0; i < image_count(x); i++) {
        uint32_t trailer_bytes, payload_bytes;

        if (!is_wanted(x, i)) {
            continue;
        }
        trailer_bytes = fragment_trailer_bytes(&w->packers[i].shape);
        fragment_pack_end(&w->packers[i], &payload_bytes, &x->crcs[i]);
        memmove(x->images[i] + payload_bytes, w->trailers[i], trailer_bytes);
        if (fragment_pack_is_borrowed(&w->packers[i])) {
            x->payloads[i] = x->data + (size_t)i * x->fragment_bytes;
        }
        x->stored_bytes[i] = payload_bytes + trailer_bytes;
    }
    for (uint32_t i = image_count(x); i < x->k + x->m; i++) {
        x->images[i] = x->images[0];
        x->payloads[i] = x->payloads[0];
        memcpy(x->ctrs[i], x->ctrs[0], CIPHER_CTR_BYTES);
        x->stored_bytes[i] = x->stored_bytes[0];
        x->crcs[i] = x->crcs[0];
    }
}

/* The packers have summed whole fragments, padding included: of the one that is part padding
 * the data is summed again. */
static void combine_crcs(struct work *w)
{
    struct encode *x = w->x;

    x->data_crc = 0;
    for (uint32_t i = 0; i < x->k; i++) {
        uint64_t at = (uint64_t)i * x->fragment_bytes;
        uint64_t left = at >= x->data_bytes ? 0 : x->data_bytes - at;

        if (left >= x->fragment_bytes) {
            x->data_crc = crc32c_combine(x->data_crc, w->packers[i].raw_crc, x->fragment_bytes);
        } else if (left > 0) {
            x->data_crc = crc32c(x->data_crc, x->data + at, left);
        }
    }
}

/* In format 1. */
static void run_blocks(struct encode *x)
{
    struct work *w = mem_zalloc(sizeof(*w));

    w->x = x;
    w->erasure = erasure_get(x->k, x->m);
    start(w);
    for (uint32_t at = 0; at < x->fragment_bytes; at += w->slice_bytes) {
        uint32_t left = x->fragment_bytes - at;

        encode_slice(w, at, left < w->slice_bytes ? left : w->slice_bytes);
    }
    finish(w);
    if (x->wanted == 0) {
        combine_crcs(w);
    }
    free(w->scratch);
    free(w);
}

static void add_sha1s(struct encode *x)
{
    for (uint32_t i = 0; i < x->k + x->m; i++) {
        if (i > 0 && x->images[i] == x->images[0]) {
            memcpy(x->sha1s[i], x->sha1s[0], sizeof(x->sha1s[i]));
        } else if (x->images[i] != NULL) {
            struct fragment0_sum sum =
                fragment0_sum_of(PRESET_CHECKSUM_SHA1, x->images[i], x->stored_bytes[i]);

            memcpy(x->sha1s[i], sum.sha1, sizeof(x->sha1s[i]));
        }
    }
}

void encode_run(struct encode *x)
{
    CHECK(x->k >= 1 && x->k <= PRESET_K_MAX && x->m <= PRESET_M_MAX);
    CHECK(x->data_bytes <= (uint64_t)x->k * x->fragment_bytes);
    rnd_bytes(x->ctrs, sizeof(x->ctrs));
    if (fragment0_is_for(x->codec, x->cipher)) {
        encode0_run(x);
    } else {
        run_blocks(x);
    }
    if (x->with_sha1) {
        add_sha1s(x);
    }
}

void encode_release(struct encode *x)
{
    for (uint32_t i = 0; i < PRESET_FRAGMENTS_MAX; i++) {
        if (i == 0 || x->images[i] != x->images[0]) {
            bigmem_free(x->images[i]);
        }
        if (i > 0) {
            x->images[i] = NULL;
        }
    }
    x->images[0] = NULL;
}

struct checksum encode_sum(const struct encode *x, uint32_t i)
{
    struct checksum sum = {.algo = CHECKSUM_SHA1};

    if (!x->with_sha1) {
        return checksum_crc32c(x->crcs[i]);
    }
    memcpy(sum.sha1, x->sha1s[i], CHECKSUM_SHA1_BYTES);
    return sum;
}

void encode_value(const struct encode *x, uint32_t i, struct slice *ret_payload,
                  struct slice *ret_image)
{
    uint32_t payload_bytes = x->payloads[i] != NULL ? x->fragment_bytes : 0;

    *ret_payload = slice_of(x->payloads[i], payload_bytes);
    *ret_image = slice_of(x->images[i] + payload_bytes, x->stored_bytes[i] - payload_bytes);
}

void encode_note(const struct encode *x, uint32_t i, struct manifest_fragment *ret_fragment)
{
    ret_fragment->packed_bytes = x->stored_bytes[i];
    ret_fragment->checksum = encode_sum(x, i);
    ret_fragment->has_ctr = x->cipher == CIPHER_AES_CTR_256;
    if (ret_fragment->has_ctr) {
        memcpy(ret_fragment->ctr, x->ctrs[i], CIPHER_CTR_BYTES);
    }
}

/* Format 0 has no salt: there all of it counts, and a key has one encoding only. */
uint32_t encode_tail_bytes(const struct encode *x, uint32_t i)
{
    struct fragment_shape shape = fragment_shape_of(x->fragment_bytes, x->codec, x->cipher);

    return fragment0_is_for(x->codec, x->cipher) ? x->stored_bytes[i]
                                                 : fragment_trailer_bytes(&shape);
}

static bool can_be_made(const struct manifest_scheme *scheme)
{
    if (scheme->fragment_format == 0) {
        return fragment0_is_for(scheme->codec, scheme->cipher) &&
               compress_whole_is_known(scheme->codec) && !cipher_is_aead(scheme->cipher);
    }
    return scheme->fragment_format == 1 && compress_is_known(scheme->codec) &&
           scheme->cipher != MANIFEST_CIPHER_AES_CBC_256 &&
           scheme->block_bytes == fragment_shape_of(0, scheme->codec, CIPHER_NONE).block_bytes;
}

int encode_can(const struct manifest_scheme *scheme, struct err *e)
{
    if (!can_be_made(scheme)) {
        return err_set(e, ERR_VERSION,
                       "fragments in format %u, cipher %u, blocks of %u bytes cannot be made here",
                       scheme->fragment_format, scheme->cipher, scheme->block_bytes);
    }
    return 0;
}
