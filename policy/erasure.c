#include "policy/erasure.h"

#include <isa-l/erasure_code.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

/* One encoder per (k, m), made by whoever asks first and never changed. */
static _Atomic(struct erasure *) cache[PRESET_K_MAX + 1][PRESET_M_MAX + 1];

struct matrix {
    uint32_t rows;
    uint32_t cols;
    uint8_t at[PRESET_FRAGMENTS_MAX][PRESET_K_MAX];
};

static void vandermonde_extended(struct matrix *v)
{
    memset(v->at, 0, sizeof(v->at));
    v->at[0][0] = 1;
    v->at[v->rows - 1][v->cols - 1] = 1;
    for (uint32_t i = 1; i + 1 < v->rows; i++) {
        v->at[i][0] = 1;
        for (uint32_t j = 1; j < v->cols; j++) {
            v->at[i][j] = gf_mul(v->at[i][j - 1], (uint8_t)i);
        }
    }
}

static void column_scale(struct matrix *v, uint32_t col, uint32_t first_row, uint8_t factor)
{
    for (uint32_t row = first_row; row < v->rows; row++) {
        v->at[row][col] = gf_mul(v->at[row][col], factor);
    }
}

/* Make row i the i-th unit row by column operations, which keep every square
 * submatrix of k rows invertible. */
static void row_to_unit(struct matrix *v, uint32_t i)
{
    uint32_t pivot = i;

    while (v->at[pivot][i] == 0) {
        pivot++;
        CHECK(pivot < v->rows);
    }
    if (pivot != i) {
        uint8_t row[PRESET_K_MAX];

        memcpy(row, v->at[i], sizeof(row));
        memcpy(v->at[i], v->at[pivot], sizeof(row));
        memcpy(v->at[pivot], row, sizeof(row));
    }
    if (v->at[i][i] != 1) {
        column_scale(v, i, 0, gf_inv(v->at[i][i]));
    }
    for (uint32_t j = 0; j < v->cols; j++) {
        uint8_t factor = v->at[i][j];

        if (j == i || factor == 0) {
            continue;
        }
        for (uint32_t row = 0; row < v->rows; row++) {
            v->at[row][j] ^= gf_mul(factor, v->at[row][i]);
        }
    }
}

/* jerasure's "big Vandermonde distribution matrix": k unit rows, then parity rows of
 * which the first is all ones (plain XOR) and the others start with one. */
static void coding_matrix(struct matrix *v)
{
    uint32_t k = v->cols;

    vandermonde_extended(v);
    for (uint32_t i = 1; i < k; i++) {
        row_to_unit(v, i);
    }
    if (v->rows == k) {
        return;
    }
    for (uint32_t j = 0; j < k; j++) {
        if (v->at[k][j] != 1) {
            column_scale(v, j, k, gf_inv(v->at[k][j]));
        }
    }
    for (uint32_t row = k + 1; row < v->rows; row++) {
        uint8_t factor = gf_inv(v->at[row][0]);

        for (uint32_t j = 0; j < k; j++) {
            v->at[row][j] = gf_mul(v->at[row][j], factor);
        }
    }
}

/* ISA-L wants the coefficients densely packed. */
static void make_tables(uint8_t *ret_tables, uint32_t rows, uint32_t k,
                        const uint8_t (*coefficients)[PRESET_K_MAX])
{
    uint8_t dense[PRESET_M_MAX * PRESET_K_MAX];

    CHECK(rows <= PRESET_M_MAX && k <= PRESET_K_MAX);
    for (uint32_t row = 0; row < rows; row++) {
        memcpy(dense + row * k, coefficients[row], k);
    }
    ec_init_tables((int)k, (int)rows, dense, ret_tables);
}

static struct erasure *erasure_make(uint32_t k, uint32_t m)
{
    struct erasure *x = mem_zalloc(sizeof(*x));
    struct matrix v = {.rows = k + m, .cols = k};

    coding_matrix(&v);
    x->k = k;
    x->m = m;
    memcpy(x->matrix, v.at, sizeof(x->matrix));
    if (m != 0) {
        make_tables(x->tables, m, k, x->matrix + k);
    }
    return x;
}

const struct erasure *erasure_get(uint32_t k, uint32_t m)
{
    struct erasure *x, *made;

    CHECK(k >= 1 && k <= PRESET_K_MAX && m <= PRESET_M_MAX);

    x = atomic_load(&cache[k][m]);
    if (x != NULL) {
        return x;
    }
    made = erasure_make(k, m);
    if (atomic_compare_exchange_strong(&cache[k][m], &x, made)) {
        return made;
    }
    free(made); /* another thread was first, its encoder is in x */
    return x;
}

/* ISA-L's declarations lack const, it only reads tables and sources; and its lengths
 * are int, which ERASURE_BYTES_MAX fits. */
static void run(const uint8_t *tables, uint32_t bytes, uint32_t k, uint32_t rows,
                const uint8_t *const from[], uint8_t *const to[])
{
    uint8_t *sources[PRESET_K_MAX];
    uint8_t *targets[PRESET_M_MAX];

    CHECK(bytes <= ERASURE_BYTES_MAX);
    if (rows == 0 || bytes == 0) {
        return;
    }
    for (uint32_t i = 0; i < k; i++) {
        sources[i] = (uint8_t *)(uintptr_t)from[i];
    }
    for (uint32_t i = 0; i < rows; i++) {
        targets[i] = to[i];
    }
    ec_encode_data((int)bytes, (int)k, (int)rows, (uint8_t *)(uintptr_t)tables, sources, targets);
}

void erasure_encode(const struct erasure *x, uint32_t bytes, const uint8_t *const data[],
                    uint8_t *const parity[])
{
    run(x->tables, bytes, x->k, x->m, data, parity);
}

void erasure_encode_add(const struct erasure *x, uint32_t bytes, uint32_t index,
                        const uint8_t *data, uint8_t *const parity[])
{
    uint8_t *targets[PRESET_M_MAX];

    CHECK(index < x->k && bytes <= ERASURE_BYTES_MAX);
    if (x->m == 0 || bytes == 0) {
        return;
    }
    for (uint32_t i = 0; i < x->m; i++) {
        targets[i] = parity[i];
    }
    ec_encode_data_update((int)bytes, (int)x->k, (int)x->m, (int)index,
                          (uint8_t *)(uintptr_t)x->tables, (uint8_t *)(uintptr_t)data, targets);
}

void erasure_decoder_init(struct erasure_decoder *d, const struct erasure *x, const uint8_t have[],
                          const uint8_t want[], uint32_t want_count)
{
    uint8_t survivors[PRESET_K_MAX * PRESET_K_MAX];
    uint8_t inverse[PRESET_K_MAX * PRESET_K_MAX];
    uint8_t rows[PRESET_M_MAX][PRESET_K_MAX] = {{0}};
    bool seen[PRESET_FRAGMENTS_MAX] = {false};
    uint32_t k = x->k;

    CHECK(want_count <= x->m);
    for (uint32_t i = 0; i < k; i++) {
        CHECK(have[i] < k + x->m && !seen[have[i]]);
        seen[have[i]] = true;
        memcpy(survivors + i * k, x->matrix[have[i]], k);
    }
    CHECK(gf_invert_matrix(survivors, inverse, (int)k) == 0);

    /* data = inverse * survivors, and a fragment is its matrix row times the data. */
    for (uint32_t w = 0; w < want_count; w++) {
        CHECK(want[w] < k + x->m && !seen[want[w]]);
        seen[want[w]] = true;
        for (uint32_t j = 0; j < k; j++) {
            for (uint32_t i = 0; i < k; i++) {
                rows[w][j] ^= gf_mul(x->matrix[want[w]][i], inverse[i * k + j]);
            }
        }
    }
    d->k = k;
    d->want_count = want_count;
    memcpy(d->have, have, k);
    if (want_count != 0) {
        memcpy(d->want, want, want_count);
        make_tables(d->tables, want_count, k, (const uint8_t(*)[PRESET_K_MAX])rows);
    }
}

void erasure_decode(const struct erasure_decoder *d, uint32_t bytes, const uint8_t *const have[],
                    uint8_t *const ret_want[])
{
    run(d->tables, bytes, d->k, d->want_count, have, ret_want);
}
