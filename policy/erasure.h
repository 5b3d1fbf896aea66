/* Erasure code over GF(2^8): k data fragments, m parity fragments, any k of the
 * k + m give back the others. Byte i of a parity fragment depends only on byte i
 * of the data fragments, so everything here may be done range by range: encode in
 * slices that stay in the cache, decode only the bytes that are wanted.
 *
 * The matrix is the one ALBA uses with ISA-L, so fragments are interchangeable.
 * A struct erasure is constant once made: any thread. Works on lengths of any size. */
#ifndef POLICY_ERASURE_H
#define POLICY_ERASURE_H

#include <stdint.h>

#include "policy/preset.h"

enum {
    ERASURE_TABLE_BYTES = 32, /* ISA-L: per coefficient */
    ERASURE_BYTES_MAX = PRESET_FRAGMENT_BYTES_MAX
};

struct erasure {
    uint32_t k;
    uint32_t m;
    uint8_t matrix[PRESET_FRAGMENTS_MAX][PRESET_K_MAX]; /* k identity rows, m parity rows */
    uint8_t tables[PRESET_M_MAX * PRESET_K_MAX * ERASURE_TABLE_BYTES];
};

/* 1 <= k <= PRESET_K_MAX, m <= PRESET_M_MAX. Made on first use, lives for ever. */
const struct erasure *erasure_get(uint32_t k, uint32_t m);

/* parity[0 … m-1] = code of data[0 … k-1]; each `bytes` long, not overlapping. */
void erasure_encode(const struct erasure *x, uint32_t bytes, const uint8_t *const data[],
                    uint8_t *const parity[]);

/* The same one data fragment at a time, in any order, each exactly once:
 * zero the parity first, then add fragment 0 … k-1. */
void erasure_encode_add(const struct erasure *x, uint32_t bytes, uint32_t index,
                        const uint8_t *data, uint8_t *const parity[]);

/* How to make `want` from `have`; reusable for every chunk with the same losses. */
struct erasure_decoder {
    uint32_t k;
    uint32_t want_count;
    uint8_t have[PRESET_K_MAX];
    uint8_t want[PRESET_M_MAX];
    uint8_t tables[PRESET_M_MAX * PRESET_K_MAX * ERASURE_TABLE_BYTES];
};

/* `have`: k different fragments; `want`: up to m others, data or parity. */
void erasure_decoder_init(struct erasure_decoder *d, const struct erasure *x, const uint8_t have[],
                          const uint8_t want[], uint32_t want_count);

/* have[i] holds fragment d->have[i], ret_want[i] gets fragment d->want[i]. */
void erasure_decode(const struct erasure_decoder *d, uint32_t bytes, const uint8_t *const have[],
                    uint8_t *const ret_want[]);

#endif
