#include "proxy/encode0.h"

#include <stdlib.h>
#include <string.h>

#include "base/bigmem.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "policy/erasure.h"
#include "policy/fragment0.h"

enum { SLICE_BYTES = 32768 };

struct raws {
    const uint8_t *data[PRESET_K_MAX];
    uint8_t *parity[PRESET_M_MAX];
    uint8_t *padded; /* the data fragment that the data ends in */
    uint8_t *zeroes; /* those behind it */
};

size_t encode0_memory_bytes(uint32_t k, uint32_t m, uint32_t fragment_bytes,
                            enum compress_codec codec, enum cipher cipher)
{
    size_t stored = fragment0_stored_max(fragment_bytes, codec, cipher);

    return k == 1 ? stored : (k + m) * stored + (size_t)(m + 2) * fragment_bytes;
}

static void raws_init(struct raws *r, const struct encode *x)
{
    *r = (struct raws){0};
    for (uint32_t i = 0; i < x->k; i++) {
        uint64_t at = (uint64_t)i * x->fragment_bytes;
        uint32_t have = at >= x->data_bytes ? 0 : x->data_bytes - (uint32_t)at;

        if (have >= x->fragment_bytes) {
            r->data[i] = x->data + at;
        } else if (have > 0) {
            r->data[i] = r->padded = bigmem_alloc(x->fragment_bytes);
            memcpy(r->padded, x->data + at, have);
            memset(r->padded + have, 0, x->fragment_bytes - have);
        } else {
            if (r->zeroes == NULL) {
                r->zeroes = bigmem_alloc((size_t)x->fragment_bytes + 1);
                memset(r->zeroes, 0, (size_t)x->fragment_bytes + 1);
            }
            r->data[i] = r->zeroes;
        }
    }
}

static void raws_release(struct raws *r, const struct encode *x)
{
    for (uint32_t j = 0; j < x->m; j++) {
        bigmem_free(r->parity[j]);
    }
    bigmem_free(r->padded);
    bigmem_free(r->zeroes);
}

/* In slices that stay in the CPU cache. */
static void make_parity(struct raws *r, const struct encode *x)
{
    const struct erasure *erasure = erasure_get(x->k, x->m);

    for (uint32_t j = 0; j < x->m; j++) {
        r->parity[j] = bigmem_alloc((size_t)x->fragment_bytes + 1);
    }
    for (uint32_t at = 0; at < x->fragment_bytes; at += SLICE_BYTES) {
        uint32_t left = x->fragment_bytes - at;
        const uint8_t *data[PRESET_K_MAX];
        uint8_t *parity[PRESET_M_MAX];

        for (uint32_t i = 0; i < x->k; i++) {
            data[i] = r->data[i] + at;
        }
        for (uint32_t j = 0; j < x->m; j++) {
            parity[j] = r->parity[j] + at;
        }
        erasure_encode(erasure, left < SLICE_BYTES ? left : SLICE_BYTES, data, parity);
    }
}

static void pack(struct encode *x, uint32_t i, const uint8_t *raw)
{
    struct fragment_id id = fragment_id_of(x->object_id, x->chunk, i, x->k);
    struct fragment_crypto crypto = {.cipher = x->cipher, .key = x->key};

    memcpy(crypto.ctr, x->ctrs[i], CIPHER_CTR_BYTES);
    x->images[i] =
        bigmem_alloc((size_t)fragment0_stored_max(x->fragment_bytes, x->codec, x->cipher) + 1);
    x->stored_bytes[i] = fragment0_pack(&id, x->codec, x->cipher != CIPHER_NONE ? &crypto : NULL,
                                        raw, x->fragment_bytes, x->images[i]);
    x->crcs[i] = crc32c(0, x->images[i], x->stored_bytes[i]);
}

void encode0_run(struct encode *x)
{
    uint32_t count = x->k == 1 ? 1 : x->k + x->m;
    uint32_t wanted = x->wanted != 0 && x->k > 1 ? x->wanted : UINT32_MAX;
    struct raws r;

    raws_init(&r, x);
    if (count > x->k && wanted >> x->k != 0) {
        make_parity(&r, x);
    }
    for (uint32_t i = 0; i < count; i++) {
        if ((wanted >> i & 1) != 0) {
            pack(x, i, i < x->k ? r.data[i] : r.parity[i - x->k]);
        }
    }
    for (uint32_t i = count; i < x->k + x->m; i++) {
        x->images[i] = x->images[0];
        memcpy(x->ctrs[i], x->ctrs[0], CIPHER_CTR_BYTES);
        x->stored_bytes[i] = x->stored_bytes[0];
        x->crcs[i] = x->crcs[0];
    }
    x->data_crc = crc32c(0, x->data, x->data_bytes);
    raws_release(&r, x);
}
