#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/hex.h"
#include "lib/seed.h"
#include "policy/erasure.h"

enum { BYTES_MAX = 3000 };

/* One coded stripe; `at` has no alignment to rely on. */
struct stripe {
    const struct erasure *x;
    uint32_t bytes;
    uint8_t *at[PRESET_FRAGMENTS_MAX];
    uint8_t room[PRESET_FRAGMENTS_MAX][BYTES_MAX + 64];
};

static void stripe_make(struct stripe *s, uint32_t k, uint32_t m, uint32_t bytes, struct rnd *rnd)
{
    s->x = erasure_get(k, m);
    s->bytes = bytes;
    for (uint32_t i = 0; i < k + m; i++) {
        s->at[i] = s->room[i] + rnd_below(rnd, 64);
        seed_fill(rnd, s->at[i], bytes);
    }
    erasure_encode(s->x, bytes, (const uint8_t *const *)s->at, s->at + k);
}

/* Decode all fragments outside `have` over [from, from + bytes) and compare. */
static void assert_decodes(const struct stripe *s, const bool *lost, uint32_t from, uint32_t bytes)
{
    static uint8_t room[PRESET_M_MAX][BYTES_MAX];
    uint8_t have[PRESET_FRAGMENTS_MAX] = {0}, want[PRESET_FRAGMENTS_MAX] = {0};
    const uint8_t *sources[PRESET_FRAGMENTS_MAX];
    uint8_t *targets[PRESET_M_MAX];
    uint32_t have_count = 0, want_count = 0;
    struct erasure_decoder d;

    for (uint32_t i = 0; i < s->x->k + s->x->m; i++) {
        if (!lost[i] && have_count < s->x->k) {
            sources[have_count] = s->at[i] + from;
            have[have_count++] = (uint8_t)i;
        } else if (lost[i]) {
            targets[want_count] = room[want_count];
            want[want_count++] = (uint8_t)i;
        }
    }
    memset(room, 0xee, sizeof(room));
    erasure_decoder_init(&d, s->x, have, want, want_count);
    erasure_decode(&d, bytes, sources, targets);
    for (uint32_t i = 0; i < want_count; i++) {
        assert_memory_equal(room[i], s->at[want[i]] + from, bytes);
        assert_int_equal(room[i][bytes], 0xee); /* and nothing behind */
    }
}

static void lose_some(bool *lost, uint32_t count, uint32_t losses, struct rnd *rnd)
{
    memset(lost, 0, count * sizeof(lost[0]));
    while (losses != 0) {
        uint32_t i = (uint32_t)rnd_below(rnd, count);

        losses -= !lost[i];
        lost[i] = true;
    }
}

static void assert_parity_rows(uint32_t k, uint32_t m, const char *const rows[])
{
    const struct erasure *x = erasure_get(k, m);

    for (uint32_t i = 0; i < m; i++) {
        char text[2 * PRESET_K_MAX + 1];

        hex_encode(text, x->matrix[k + i], k);
        assert_string_equal(text, rows[i]);
    }
}

static void matrix_rows_equal_the_published_vectors(void **state)
{
    (void)state;
    assert_parity_rows(2, 1, (const char *[]){"0101"});
    assert_parity_rows(2, 2, (const char *[]){"0101", "018f"});
    assert_parity_rows(4, 2, (const char *[]){"01010101", "01468fc8"});
    assert_parity_rows(3, 3, (const char *[]){"010101", "01c453", "01f5f4"});
    assert_parity_rows(5, 4,
                       (const char *[]){"0101010101", "019c7ba6f4", "0197d47bc5", "01a652f5a7"});
    assert_parity_rows(
        8, 3, (const char *[]){"0101010101010101", "0137274954b5e1d9", "01ac46eb8f22c865"});
    assert_parity_rows(
        16, 4,
        (const char *[]){"01010101010101010101010101010101", "01820a15803753586e4051162773d26d",
                         "010a37da27f749515491b5b4e17cd95e", "01d9ac74469eeb338f5722fac81065bd"});
    assert_parity_rows(1, 8, (const char *[]){"01", "01", "01", "01", "01", "01", "01", "01"});
}

/* Shift and add, modulo x^8 + x^4 + x^3 + x^2 + 1: what the code is defined by. */
static uint8_t slow_multiply(uint8_t a, uint8_t b)
{
    unsigned product = 0;

    for (int bit = 7; bit >= 0; bit--) {
        product = product << 1 ^ (product & 0x80 ? 0x11d : 0);
        product ^= b >> bit & 1 ? a : 0;
    }
    return (uint8_t)product;
}

static void parity_is_the_matrix_times_the_data(void **state)
{
    struct rnd rnd = seed_start("matrix");
    static struct stripe s;

    (void)state;
    for (uint32_t k = 1; k <= PRESET_K_MAX; k++) {
        stripe_make(&s, k, PRESET_M_MAX, 1 + (uint32_t)rnd_below(&rnd, 200), &rnd);
        for (uint32_t p = k; p < k + PRESET_M_MAX; p++) {
            for (uint32_t byte = 0; byte < s.bytes; byte++) {
                uint8_t sum = 0;

                for (uint32_t i = 0; i < k; i++) {
                    sum ^= slow_multiply(s.x->matrix[p][i], s.at[i][byte]);
                }
                assert_int_equal(s.at[p][byte], sum);
            }
        }
    }
}

static void any_m_lost_fragments_come_back_for_every_k_and_m(void **state)
{
    struct rnd rnd = seed_start("every k and m");
    static struct stripe s;
    bool lost[PRESET_FRAGMENTS_MAX];

    (void)state;
    for (uint32_t k = 1; k <= PRESET_K_MAX; k++) {
        for (uint32_t m = 0; m <= PRESET_M_MAX; m++) {
            for (int round = 0; round < 20; round++) {
                uint32_t bytes = 1 + (uint32_t)rnd_below(&rnd, round == 0 ? BYTES_MAX - 1 : 300);
                uint32_t from = (uint32_t)rnd_below(&rnd, bytes);

                stripe_make(&s, k, m, bytes, &rnd);
                lose_some(lost, k + m, m, &rnd);
                assert_decodes(&s, lost, 0, bytes);
                assert_decodes(&s, lost, from, bytes - from); /* a range alone */
                lose_some(lost, k + m, (uint32_t)rnd_below(&rnd, m + 1), &rnd);
                assert_decodes(&s, lost, 0, bytes);
            }
        }
    }
}

static void every_pair_of_4_2_and_every_four_of_16_4_comes_back(void **state)
{
    struct rnd rnd = seed_start("pairs and fours");
    static struct stripe s;
    int tried = 0;

    (void)state;
    stripe_make(&s, 4, 2, 1000, &rnd);
    for (unsigned set = 0; set < 1u << 6; set++) {
        bool lost[6];

        for (unsigned i = 0; i < 6; i++) {
            lost[i] = set >> i & 1;
        }
        if (__builtin_popcount(set) == 2) {
            assert_decodes(&s, lost, 0, s.bytes);
            tried++;
        }
    }
    assert_int_equal(tried, 15);

    stripe_make(&s, 16, 4, 65, &rnd);
    tried = 0;
    for (unsigned set = 0; set < 1u << 20; set++) {
        bool lost[20];

        if (__builtin_popcount(set) != 4) {
            continue;
        }
        for (unsigned i = 0; i < 20; i++) {
            lost[i] = set >> i & 1;
        }
        assert_decodes(&s, lost, 0, s.bytes);
        tried++;
    }
    assert_int_equal(tried, 4845);
}

static void adding_fragments_one_by_one_in_any_order_gives_the_same_parity(void **state)
{
    struct rnd rnd = seed_start("incremental");
    static uint8_t room[PRESET_M_MAX][BYTES_MAX];
    static struct stripe s;

    (void)state;
    for (int round = 0; round < 500; round++) {
        uint32_t k = 1 + (uint32_t)rnd_below(&rnd, PRESET_K_MAX);
        uint32_t m = (uint32_t)rnd_below(&rnd, PRESET_M_MAX + 1);
        uint32_t first = (uint32_t)rnd_below(&rnd, k);
        uint8_t *parity[PRESET_M_MAX];

        stripe_make(&s, k, m, 1 + (uint32_t)rnd_below(&rnd, BYTES_MAX - 1), &rnd);
        for (uint32_t i = 0; i < m; i++) {
            parity[i] = memset(room[i], 0, s.bytes);
        }
        for (uint32_t i = 0; i < k; i++) {
            uint32_t index = (first + i) % k;

            erasure_encode_add(s.x, s.bytes, index, s.at[index], parity);
        }
        for (uint32_t i = 0; i < m; i++) {
            assert_memory_equal(parity[i], s.at[k + i], s.bytes);
        }
    }
}

static void *get_all(void *arg)
{
    const struct erasure **found = arg;

    for (uint32_t k = 1; k <= PRESET_K_MAX; k++) {
        found[k] = erasure_get(k, 7);
    }
    return NULL;
}

static void threads_share_one_encoder(void **state)
{
    const struct erasure *found[4][PRESET_K_MAX + 1];
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, get_all, found[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (uint32_t k = 1; k <= PRESET_K_MAX; k++) {
        assert_int_equal(found[0][k]->k, k);
        for (int i = 1; i < 4; i++) {
            assert_ptr_equal(found[i][k], found[0][k]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share_one_encoder), /* first: nothing is cached yet */
        cmocka_unit_test(matrix_rows_equal_the_published_vectors),
        cmocka_unit_test(parity_is_the_matrix_times_the_data),
        cmocka_unit_test(any_m_lost_fragments_come_back_for_every_k_and_m),
        cmocka_unit_test(every_pair_of_4_2_and_every_four_of_16_4_comes_back),
        cmocka_unit_test(adding_fragments_one_by_one_in_any_order_gives_the_same_parity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
