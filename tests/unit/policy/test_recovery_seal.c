#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/seed.h"
#include "policy/recovery_seal.h"

static const uint8_t object_id[32] = {1, 2, 3};
static uint8_t key_bytes[CIPHER_KEY_BYTES] = {4, 5, 6};

static struct master_key test_key(void)
{
    struct master_key key = {.bytes = key_bytes};

    key_id_of(key.id, key_bytes);
    return key;
}

static struct buf seal(const struct master_key *key, uint32_t chunk, struct slice record)
{
    struct buf sealed = {0};

    recovery_seal_put(&sealed, key, slice_of(object_id, 32), chunk, record);
    return sealed;
}

/* From memory of exactly its size: sanitizers see every step outside. */
static int open_rc(struct slice sealed, const struct master_key *key, const uint8_t *id,
                   uint32_t chunk, struct slice expected)
{
    uint8_t *copy = mem_dup(sealed.data, sealed.len);
    struct buf record = {0};
    struct err e;
    int rc =
        recovery_seal_open(slice_of(copy, sealed.len), key, slice_of(id, 32), chunk, &record, &e);

    if (rc == 0) {
        assert_true(slice_eq(slice_buf(&record), expected));
    } else {
        assert_int_equal(record.len, 0);
    }
    buf_release(&record);
    free(copy);
    return rc;
}

static void records_come_back_and_are_not_to_be_read_meanwhile(void **state)
{
    struct rnd rnd = seed_start("seal");
    struct master_key key = test_key();
    uint8_t record[2000], id[KEY_ID_BYTES];
    struct err e;

    (void)state;
    for (int round = 0; round < 100; round++) {
        struct slice plain = slice_of(record, rnd_below(&rnd, sizeof(record)));
        struct buf sealed;

        seed_fill(&rnd, record, sizeof(record));
        sealed = seal(&key, 7, plain);
        assert_int_equal(open_rc(slice_buf(&sealed), &key, object_id, 7, plain), 0);
        assert_int_equal(recovery_seal_key_id(slice_buf(&sealed), id, &e), 0);
        assert_memory_equal(id, key.id, sizeof(id));
        if (plain.len >= 16) {
            assert_null(memmem(sealed.data, sealed.len, plain.data, 16));
        }
        buf_release(&sealed);
    }
}

static void no_two_seals_are_alike(void **state)
{
    struct master_key key = test_key();
    struct buf a = seal(&key, 0, slice_str("the same")), b = seal(&key, 0, slice_str("the same"));

    (void)state;
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.data + 34, b.data + 34, 16);
    assert_memory_not_equal(a.data + 50, b.data + 50, 8);
    buf_release(&a);
    buf_release(&b);
}

static void every_flipped_bit_and_every_cut_is_detected(void **state)
{
    struct master_key key = test_key();
    struct slice plain = slice_str("a record");
    struct buf sealed = seal(&key, 3, plain);

    (void)state;
    for (size_t at = 0; at < sealed.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            sealed.data[at] ^= (uint8_t)(1 << bit);
            assert_int_equal(open_rc(slice_buf(&sealed), &key, object_id, 3, plain),
                             at == 1 ? ERR_VERSION : ERR_CORRUPT);
            sealed.data[at] ^= (uint8_t)(1 << bit);
        }
        assert_int_equal(open_rc(slice_of(sealed.data, at), &key, object_id, 3, plain),
                         ERR_CORRUPT);
    }
    buf_release(&sealed);
}

static void it_opens_for_its_chunk_of_its_object_under_its_key(void **state)
{
    struct master_key key = test_key(), other = test_key();
    uint8_t other_bytes[CIPHER_KEY_BYTES] = {9}, other_id[32] = {1, 2, 4};
    struct slice plain = slice_str("a record");
    struct buf sealed = seal(&key, 3, plain);

    (void)state;
    other.bytes = other_bytes;
    assert_int_equal(open_rc(slice_buf(&sealed), &key, object_id, 4, plain), ERR_CORRUPT);
    assert_int_equal(open_rc(slice_buf(&sealed), &key, other_id, 3, plain), ERR_CORRUPT);
    assert_int_equal(open_rc(slice_buf(&sealed), &other, object_id, 3, plain), ERR_CORRUPT);
    assert_int_equal(open_rc(slice_buf(&sealed), &key, object_id, 3, plain), 0);
    buf_release(&sealed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back_and_are_not_to_be_read_meanwhile),
        cmocka_unit_test(no_two_seals_are_alike),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_detected),
        cmocka_unit_test(it_opens_for_its_chunk_of_its_object_under_its_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
