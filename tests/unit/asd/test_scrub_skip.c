/* Behind damage of the index the scrub goes on with the first key that can be read: never before,
 * never later. A model index: sorted keys, some of which cannot be read. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "asd/record.h"
#include "asd/scrub_skip.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/rnd.h"
#include "wire/asd_msg.h"

enum { COUNT = 300, KEY_BYTES = 40 };

struct model_key {
    uint8_t bytes[KEY_BYTES];
    size_t len;
};

struct model {
    struct model_key keys[COUNT];
    unsigned count;
    unsigned bad_from, bad_to; /* cannot be read: [from, to) */
    int bad_rc;
    unsigned tries, fails;
    uint32_t tried[1000]; /* checksums */
};

static struct slice key_at(const struct model *m, unsigned i)
{
    return slice_of(m->keys[i].bytes, m->keys[i].len);
}

/* The number of the first key not below `from`. */
static unsigned first_from(const struct model *m, struct slice from)
{
    unsigned low = 0;
    unsigned high = m->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (slice_cmp(key_at(m, middle), from) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int can(void *ctx, struct slice from)
{
    struct model *m = ctx;
    unsigned i = first_from(m, from);
    uint32_t crc = crc32c(0, from.data, from.len);
    bool bad = i >= m->bad_from && i < m->bad_to;

    for (unsigned k = 0; bad && m->bad_rc == -EIO && k < m->fails; k++) {
        assert_true(m->tried[k] != crc);
    }
    if (bad && m->fails < 1000) {
        m->tried[m->fails++] = crc;
    }
    m->tries++;
    return bad ? m->bad_rc : 0;
}

static int compare(const void *a, const void *b)
{
    const struct model_key *left = a;
    const struct model_key *right = b;

    return slice_cmp(slice_of(left->bytes, left->len), slice_of(right->bytes, right->len));
}

typedef size_t (*make_cb)(struct rnd *rnd, unsigned i, uint8_t *bytes);

static size_t make_random(struct rnd *rnd, unsigned i, uint8_t *bytes)
{
    (void)i;
    for (unsigned k = 0; k < 32; k++) {
        bytes[k] = (uint8_t)rnd_below(rnd, 256);
    }
    return 32;
}

static size_t make_counter(struct rnd *rnd, unsigned i, uint8_t *bytes)
{
    (void)rnd;
    memcpy(bytes, "ns\0\0", 4);
    bytes[4] = (uint8_t)(i >> 8);
    bytes[5] = (uint8_t)i;
    return 6;
}

/* Long runs of the least and the greatest byte. */
static size_t make_edges(struct rnd *rnd, unsigned i, uint8_t *bytes)
{
    size_t len = 4 + rnd_below(rnd, 3);

    for (size_t k = 0; k < len; k++) {
        bytes[k] = rnd_below(rnd, 3) == 0 ? (uint8_t)rnd_below(rnd, 256) : i % 2 == 0 ? 0 : 0xff;
    }
    return len;
}

static size_t make_name(struct rnd *rnd, unsigned i, uint8_t *bytes)
{
    (void)rnd;
    return (size_t)snprintf((char *)bytes, KEY_BYTES - 1, "name %06u", i);
}

static struct model *model_new(make_cb make)
{
    struct model *m = mem_zalloc(sizeof(*m));
    struct rnd rnd = rnd_seed(5);
    unsigned kept = 0;

    for (unsigned i = 0; i < COUNT; i++) {
        m->keys[i].bytes[0] = ASD_KEY_VALUE;
        m->keys[i].len = 1 + make(&rnd, i, m->keys[i].bytes + 1);
    }
    qsort(m->keys, COUNT, sizeof(m->keys[0]), compare);
    for (unsigned i = 0; i < COUNT; i++) {
        if (kept == 0 || compare(&m->keys[kept - 1], &m->keys[i]) != 0) {
            m->keys[kept++] = m->keys[i];
        }
    }
    m->count = kept;
    m->bad_rc = ERR_CORRUPT;
    return m;
}

/* Damage of `run` keys from number `i` on; the scrub stands behind the key before. */
static int skip_from(struct model *m, unsigned i, unsigned run, struct buf *ret_at)
{
    uint8_t kind = ASD_KEY_VALUE;

    m->bad_from = i;
    m->bad_to = i + run < m->count ? i + run : m->count;
    m->tries = m->fails = 0;
    ret_at->len = 0;
    if (i == 0) {
        buf_put(ret_at, &kind, 1);
    } else {
        buf_put(ret_at, m->keys[i - 1].bytes, m->keys[i - 1].len);
        buf_put_u8(ret_at, 0);
    }
    return asd_scrub_skip(ret_at, can, m);
}

static void expect_all_places(struct model *m)
{
    static const unsigned runs[] = {1, 4, 25};
    struct buf at = {0};

    for (unsigned r = 0; r < 3; r++) {
        for (unsigned i = 0; i < m->count; i++) {
            int rc = skip_from(m, i, runs[r], &at);

            if (rc != 0 || first_from(m, slice_buf(&at)) != m->bad_to) {
                fail_msg("keys %u to %u of %u: rc %d, on to %u", i, m->bad_to, m->count, rc,
                         first_from(m, slice_buf(&at)));
            }
            assert_true(m->tries < 1000);
        }
    }
    buf_release(&at);
    free(m);
}

static void behind_damage_of_random_keys_the_next_one_is_found(void **state)
{
    (void)state;
    expect_all_places(model_new(make_random));
}

static void behind_damage_of_counters_the_next_one_is_found(void **state)
{
    (void)state;
    expect_all_places(model_new(make_counter));
}

static void behind_damage_of_keys_of_00_and_ff_the_next_one_is_found(void **state)
{
    (void)state;
    expect_all_places(model_new(make_edges));
}

static void behind_damage_of_names_the_next_one_is_found(void **state)
{
    (void)state;
    expect_all_places(model_new(make_name));
}

/* Each failing try may take a drive half a minute. What lies between the damage and where it goes
 * on is passed over, so it must be little: keys that begin as the damaged ones do. */
static void expect_few_fails(struct model *m, unsigned passed_max)
{
    struct buf at = {0};
    uint64_t passed = 0;

    m->bad_rc = -EIO;
    for (unsigned i = 0; i < m->count - 4; i++) {
        assert_int_equal(skip_from(m, i, 4, &at), 0);
        assert_in_range(first_from(m, slice_buf(&at)), m->bad_to, m->count);
        assert_true(m->fails <= 4);
        passed += first_from(m, slice_buf(&at)) - m->bad_to;
    }
    assert_true(passed <= (uint64_t)passed_max * m->count);
    buf_release(&at);
    free(m);
}

static void what_the_device_fails_is_tried_a_few_times_only(void **state)
{
    (void)state;
    expect_few_fails(model_new(make_random), 10);
    expect_few_fails(model_new(make_counter), 10);
    expect_few_fails(model_new(make_name), 10);
}

/* The one that the bisection once left by going back. */
static void it_never_goes_back(void **state)
{
    struct model *m = mem_zalloc(sizeof(*m));
    struct buf at = {0};

    (void)state;
    for (unsigned i = 1; i < 256; i++) {
        m->keys[m->count++] =
            (struct model_key){.bytes = {ASD_KEY_VALUE, 'a', (uint8_t)i}, .len = 3};
    }
    m->keys[m->count++] = (struct model_key){.bytes = {ASD_KEY_VALUE, 'b'}, .len = 2};
    m->bad_rc = ERR_CORRUPT;
    assert_int_equal(skip_from(m, 0xef, 0x10, &at), 0); /* a f0 … a ff */
    assert_int_equal(first_from(m, slice_buf(&at)), 255);
    free(m);
    buf_release(&at);
}

static void nothing_behind_and_other_errors_are_told_apart(void **state)
{
    struct model *m = model_new(make_counter);
    struct buf at = {0};

    (void)state;
    memset(m->keys[m->count - 1].bytes + 1, 0xff, KEY_BYTES - 1);
    m->keys[m->count - 1].len = KEY_BYTES;
    assert_int_equal(skip_from(m, m->count - 3, 3, &at), ERR_NOT_FOUND);
    m->bad_rc = -EMFILE;
    assert_int_equal(skip_from(m, 10, 4, &at), -EMFILE);
    assert_int_equal(m->fails, 1);
    m->bad_rc = -EIO;
    assert_int_equal(skip_from(m, 10, 4, &at), 0);
    assert_int_equal(first_from(m, slice_buf(&at)), 14);
    free(m);
    buf_release(&at);
}

static int can_behind(void *limit, struct slice from)
{
    return slice_cmp(from, slice_buf(limit)) > 0 ? 0 : ERR_CORRUPT;
}

/* A longer one would not be taken back from the scrub record. The damage ends close behind a key
 * as long as keys may be, so that all its bytes and more would tell where. */
static void where_it_goes_on_is_no_longer_than_behind_the_longest_key(void **state)
{
    static const size_t lens[] = {ASD_KEY_BYTES_MAX - 20, ASD_KEY_BYTES_MAX - 1, ASD_KEY_BYTES_MAX};
    struct buf limit = {0};
    struct buf at = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        size_t len = lens[i];

        at.len = limit.len = 0;
        buf_put_u8(&at, ASD_KEY_VALUE);
        memset(buf_extend(&at, len), 'k', len);
        buf_put(&limit, at.data, at.len);
        memset(buf_extend(&limit, 30), 0x80, 30);
        buf_put_u8(&at, 0);
        assert_int_equal(asd_scrub_skip(&at, can_behind, &limit), 0);
        assert_int_equal(can_behind(&limit, slice_buf(&at)), 0);
        assert_true(at.len <= 1 + ASD_KEY_BYTES_MAX + 1);
    }
    buf_release(&limit);
    buf_release(&at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behind_damage_of_random_keys_the_next_one_is_found),
        cmocka_unit_test(behind_damage_of_counters_the_next_one_is_found),
        cmocka_unit_test(behind_damage_of_keys_of_00_and_ff_the_next_one_is_found),
        cmocka_unit_test(behind_damage_of_names_the_next_one_is_found),
        cmocka_unit_test(what_the_device_fails_is_tried_a_few_times_only),
        cmocka_unit_test(it_never_goes_back),
        cmocka_unit_test(nothing_behind_and_other_errors_are_told_apart),
        cmocka_unit_test(where_it_goes_on_is_no_longer_than_behind_the_longest_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
